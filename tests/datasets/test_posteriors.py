"""Posteriors of the user's own model: every kind of file, columns, rows, and what is wrong with them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from consensus_cases import make_samples

from fercleaner.core.errors import InputError
from fercleaner.core.types import Samples
from fercleaner.datasets.posteriors import read_posteriors

SAMPLES = make_samples(np.eye(3)[[0, 1, 2, 0]])
ROWS = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5], [0.6, 0.4, 0.0]])
SHUFFLED = [2, 0, 3, 1]


def written(folder, kind, rows=ROWS, names=("anger", "disgust", "fear"), ids=SAMPLES.ids):
    file = folder / f"said{kind}"
    if kind == ".npy":
        np.save(file, rows)
    elif kind == ".npz":
        np.savez(file, values=rows, ids=ids, classes=np.array(names))
    else:
        table = pd.DataFrame(dict(zip(names, np.asarray(rows).T, strict=True)))
        table.insert(0, "image", ids)
        table.to_csv(file, index=False) if kind == ".csv" else table.to_parquet(file)
    return file


@pytest.mark.parametrize("kind", [".csv", ".npz", ".parquet"])
def test_rows_are_matched_by_id_and_columns_by_name(tmp_path, kind):
    """Rows out of order; columns in another order, by other names, one of a class that the set lacks."""
    rows = np.column_stack([0.5 * ROWS[:, [2, 0, 1]], np.full(4, 0.5)])[SHUFFLED]
    file = written(tmp_path, kind, rows, ("fearful", "angry", "disgust", "contempt"), SAMPLES.ids[SHUFFLED])
    table, said = read_posteriors("mine", file, SAMPLES)
    np.testing.assert_allclose(table.values, ROWS, atol=1e-6)
    assert table.found.all()
    assert (table.name, table.learned, table.near) == ("mine", False, None)
    assert said == (
        "Posteriors 'mine': dropped contempt, which this set does not have.",
        "Posteriors 'mine': 4 of 4 rows brought to sum 1 (they added up to 0.5).",
    )


def test_a_table_without_names_goes_by_order(tmp_path):
    table, said = read_posteriors("mine", written(tmp_path, ".npy"), SAMPLES, learned=True, near=0.5)
    np.testing.assert_allclose(table.values, ROWS, atol=1e-6)
    assert (table.learned, table.near, said) == (True, 0.5, ())


def test_faces_without_a_row_or_with_nan_have_none(tmp_path):
    rows = ROWS.copy()
    rows[1] = np.nan
    rows[2] = 0
    file = written(tmp_path, ".csv", rows[:3], ids=SAMPLES.ids[:3])
    table, said = read_posteriors("mine", file, SAMPLES)
    assert table.found.tolist() == [True, False, False, False]
    assert not table.values[1:].any()
    assert said == ("Posteriors 'mine': 3 of 4 faces have none.",)


def test_what_is_wrong_is_named(tmp_path):
    negative = ROWS.copy()
    negative[2, 1] = -0.5
    cases = {
        "does not exist": tmp_path / "none.csv",
        "no column for fear": written(tmp_path, ".csv", ROWS[:, :2], ("anger", "disgust")),
        "face-0002 has -0.5 for disgust": written(tmp_path, ".npz", negative),
        "2 columns for 3 classes": written(tmp_path, ".npy", ROWS[:, :2]),
    }
    for message, file in cases.items():
        with pytest.raises(InputError, match=message):
            read_posteriors("mine", file, SAMPLES)
    for message, rows, ids in (
        ("3 rows, the set 4", ROWS[:3], None),
        ("none of its 4 names belongs to a face of the set", ROWS, np.array(list("abcd"))),
        ("1 row repeats a face", ROWS, np.array(list("aabc"))),
        ("says nothing of any face", np.full((4, 3), np.nan), SAMPLES.ids),
        (f"its column {SAMPLES.classes[1]} is empty", np.tile([0.5, np.nan, 0.5], (4, 1)), SAMPLES.ids),
    ):
        file = written(tmp_path, ".npy", rows) if ids is None else written(tmp_path, ".npz", rows, ids=ids)
        with pytest.raises(InputError, match=message):
            read_posteriors("mine", file, SAMPLES)


@pytest.mark.parametrize("kind", [".csv", ".parquet"])
def test_ids_that_look_like_numbers_stay_what_they_are(tmp_path, kind):
    """Zero-padded ids of unlike lengths, as FER2013's; Parquet holds them as numbers."""
    ids = np.array([f"{number:05d}" for number in (9, 98, 10199, 7)])
    samples = Samples(ids, SAMPLES.classes, SAMPLES.given, SAMPLES.labeled, SAMPLES.paths)
    file = written(tmp_path, kind, ids=ids if kind == ".csv" else ids.astype(np.int64))
    table, _ = read_posteriors("mine", file, samples)
    assert table.found.all()
    np.testing.assert_allclose(table.values, ROWS, atol=1e-6)


def test_two_columns_of_one_class_are_an_error(tmp_path):
    file = written(tmp_path, ".csv", np.column_stack([ROWS, ROWS[:, 0]]), ("anger", "disgust", "fear", "angry"))
    with pytest.raises(InputError, match=r"'anger' and 'angry' are one class\. Keep one"):
        read_posteriors("mine", file, SAMPLES)


@pytest.mark.parametrize("name", ["said.txt", "broken.npz", "broken.json", "nokey.csv"])
def test_files_of_another_kind_are_errors(tmp_path, name):
    file = tmp_path / name
    file.write_text("anger,disgust,fear\n.1,.2,.7\n")
    messages = {"said.txt": "is none of", "nokey.csv": "no column names the face"}
    message = messages.get(name, "cannot be read")
    with pytest.raises(InputError, match=message):
        read_posteriors("mine", file, SAMPLES)
