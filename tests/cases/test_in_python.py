"""What people pass from Python by mistake: a list for a dict, a file of another kind, nothing; each is one error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from review_cases import refined_set

import fercleaner
from fercleaner.core.errors import InputError
from fercleaner.core.types import Features, Samples

TABLE = "image,label\n" + "".join(f"{i}.jpg,{('anger', 'fear', 'grin')[i % 3]}\n" for i in range(12))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "s.csv").write_text(TABLE)
    return tmp_path / "s.csv"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"alias": ["grin=happiness"]}, r'^alias is a list; expected a dict, such as \{"grin": "happiness"\}\.$'),
        ({"alias": "grin=happiness"}, r"^alias is text \('grin=happiness'\); expected a dict"),
        ({"columns": ["label"]}, r'^columns is a list; expected a dict, such as \{"label": "emotion"\}\.$'),
        ({"split": 3}, r"^split is an? int; expected text, or a list of texts\.$"),
        ({"split": ["train", 3]}, r"^split holds 3, expected text"),
        ({"classes": {"anger": 0}}, r"^classes is a dict; expected text"),
        ({"images": 3}, r"^images is an? int; expected the name of a folder\.$"),
        ({"layout": 3}, r"^layout is an? int; expected one of folders, manifest"),
        ({"votes": ["ties=first"]}, r"^votes is a list; expected a dict"),
        ({"votes": {"tie": "first"}}, r"tie: not a rule .* Did you mean 'ties'\?"),
        ({"votes": {"ties": "last"}}, r"Vote rule ties is 'last'"),
        ({"votes": {"outliers": "few"}}, r"outliers=few: expected a number"),
    ],
)
def test_options_of_another_kind_are_errors(table: Path, said: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fercleaner.read(table, **said)  # type: ignore[arg-type]


def test_options_are_taken_as_the_command_line_writes_them(table: Path) -> None:
    found = fercleaner.read(table, alias={"grin": "happiness"}, classes="happiness, fear,anger")
    assert found.classes == ("happiness", "fear", "anger")
    votes = table.with_name("v.csv")
    votes.write_text("image,anger,fear\na,1,1\nb,2,1\nc,1,3\n")
    assert fercleaner.read(votes, votes={"ties": "unlabeled", "outliers": "0"}).labeled.tolist() == [False, True, True]


@pytest.mark.parametrize("name", ["x.csv", "x.CSV", "x.json", "x.npz", "x.xlsx"])
def test_a_refined_file_is_not_called_as_files_of_other_kinds(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"refined files are Parquet; give the file the ending \.parquet"):
        fercleaner.write(refined_set(4), tmp_path / name)
    fercleaner.write(refined_set(4), tmp_path / "x.refined")
    assert len(fercleaner.load(tmp_path / "x.refined")) == 4


def test_classes_of_a_truth_are_several_names(table: Path) -> None:
    with pytest.raises(InputError, match="Class names are a str; expected a tuple of names, in order"):
        fercleaner.read_truth(table, "anger")


@pytest.mark.parametrize("field", ["given", "labeled", "paths"])
def test_samples_without_a_field_that_they_need(field: str) -> None:
    n = 6
    given = {"given": np.eye(3)[np.arange(n) % 3], "labeled": np.ones(n, bool), "paths": np.full(n, "")}
    with pytest.raises(InputError, match=rf"Samples\.{field} is None; expected an array of 6 rows"):
        Samples(ids=[f"f{i}" for i in range(n)], classes=("a", "b", "c"), **{**given, field: None})  # type: ignore[arg-type]


def test_a_vector_of_nan_says_how_to_say_that_there_is_none() -> None:
    with pytest.raises(InputError, match=r"row 1 holds NaN or infinity\. For no vector: 0, found False"):
        Features("v", ["a", "b"], np.array([[1, 2], [np.nan, 1]]), np.array([True, False]))  # type: ignore[arg-type]
