"""Arrow's columns made from numpy's memory are those that pyarrow makes, and come back the same."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from fercleaner.results import arrow

PRESENT = np.array([True, False, True, True, False] * 5)
TEXTS = [text if there else "" for text, there in zip(["é" * (i % 4) for i in range(25)], PRESENT, strict=True)]


@pytest.mark.parametrize("present", [None, PRESENT, np.zeros(25, dtype=bool)])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.bool_])
def test_numbers(dtype, present):
    values = (np.arange(25) % 3).astype(dtype)
    column = arrow.number_column(values, present)
    expected = pa.array(values, mask=None if present is None else ~present)
    assert column.equals(expected)
    column.validate(full=True)
    for some in (column, column[4:19], column[25:]):
        assert np.array_equal(arrow.valid(some), some.is_valid().to_numpy(zero_copy_only=False))
        assert np.array_equal(
            arrow.values_of(some), some.fill_null(pa.scalar(0).cast(some.type)).to_numpy(zero_copy_only=False)
        )


def test_absent_numbers_are_what_is_asked_for():
    found = arrow.values_of(arrow.number_column(np.ones(25, dtype=np.float32), PRESENT), absent=np.nan)
    assert np.array_equal(np.isnan(found), ~PRESENT)


@pytest.mark.parametrize("texts", [TEXTS, ["a"] * 25])
def test_texts(texts):
    assert arrow.text_column(texts).equals(pa.array(texts, pa.string()))
    there = [text if there else "" for text, there in zip(texts, PRESENT, strict=True)]
    column = arrow.text_column(there, PRESENT)
    column.validate(full=True)
    nulls = pa.array([text if there else None for text, there in zip(texts, PRESENT, strict=True)], pa.string())
    assert column.equals(nulls)
    assert arrow.lengths_of(column[2:]).tolist() == [len(text.encode()) for text in there[2:]]
    with pytest.raises(UnicodeEncodeError) as caught:
        arrow.text_column(["fine", "b\udc80"])
    assert caught.value.object == "b\udc80"


def test_what_lies_where_cells_are_null_is_not_hashed():
    some = pa.array(["ab", "xyz", "c"])
    hiding = pa.Array.from_buffers(pa.string(), 3, [pa.py_buffer(b"\x05"), *some.buffers()[1:]])
    assert hiding.to_pylist() == ["ab", None, "c"]
    for left, right in ((hiding, pa.array(["ab", None, "c"])), (hiding[1:], pa.array([None, "c"]))):
        assert b"".join(arrow.hashed_parts(left)) == b"".join(arrow.hashed_parts(right))
    assert b"".join(arrow.hashed_parts(some)) != b"".join(arrow.hashed_parts(hiding))


def test_names_and_lists():
    codes = np.where(PRESENT, np.arange(25) % 3, -1)
    wanted = [["x", "yé", "z"][code] if code >= 0 else None for code in codes.tolist()]
    assert arrow.name_column(codes, ("x", "yé", "z"), PRESENT).equals(pa.array(wanted, pa.string()))
    rows = np.arange(50, dtype=np.float32).reshape(25, 2)
    kind = pa.list_(pa.float32())
    expected = [row if there else None for row, there in zip(rows.tolist(), PRESENT, strict=True)]
    assert arrow.rows_of_floats(rows, PRESENT).equals(pa.array(expected, kind))
    assert arrow.rows_of_floats(rows).equals(pa.array(rows.tolist(), kind))
    words = [["é"] * (i % 3) for i in range(25)]
    column = arrow.rows_of_texts(words)
    column.validate(full=True)
    assert column.equals(pa.array(words, pa.list_(pa.string())))
    assert arrow.rows_of_texts([]).equals(pa.array([], pa.list_(pa.string())))
    with pytest.raises(OverflowError, match="more than 2 GiB"):
        arrow.list_column(np.full(3, 2**30), arrow.text_column([]))
