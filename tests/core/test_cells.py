"""Text cells of a CSV: harmless to spreadsheets, and as they were when read again."""

from __future__ import annotations

import csv

from hypothesis import example, given
from hypothesis import strategies as st
from review_cases import HOSTILE

from fercleaner.core.cells import ESCAPED, harmless, restored, written
from fercleaner.datasets.table import read_table

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@given(TEXT)
@example("=1")
@example("+1")
@example("-1")
@example("@x")
@example("\tx")
def test_no_cell_begins_like_a_formula(text):
    assert harmless(text)[:1] not in tuple("=+-@\t\r\n")
    assert harmless(text) == harmless(text).strip()


@given(st.lists(st.tuples(TEXT.filter(bool), TEXT), min_size=1, max_size=5))
def test_a_table_comes_back_as_it_was(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text(written(("a", "b"), rows)[0], encoding="utf-8", newline="")
    table = read_table(path)
    assert list(zip(table.columns["a"], table.columns["b"], strict=True)) == rows
    assert ESCAPED not in table.columns


def test_the_mark_is_there_only_where_needed_and_numbers_stay_numbers():
    assert written(("a", "b"), [("x", -1.5)]) == ("a,b\nx,-1.5\n", 0)
    text, rows = written(("a", "b"), [("x", 1), ("=1", 2)])
    assert text == 'a,b,fercleaner_escaped\nx,1,0\n"""=1""",2,1\n'
    assert rows == 1


def test_class_names_that_are_formulas_come_back_as_columns():
    text, _ = written(("id", "=x"), [("a", 1)])
    assert "\n=" not in "\n" + text.replace(",", "\n")
    assert next(csv.reader(text.splitlines()))[1] == '"=x"'
    assert list(restored({"id": ["a"], '"=x"': ["1"], ESCAPED: ["0"]})) == ["id", "=x"]


def test_cells_of_other_tables_are_left_alone():
    columns = {"a": ['"=1"', "x"]}
    assert restored(columns) == columns
    assert restored({"a": ['"=1"', '"=1"', '"broken'], ESCAPED: ["1", "0", "1"]}) == {"a": ["=1", '"=1"', '"broken']}
    assert len({harmless(text) for text in HOSTILE}) == len(HOSTILE)
