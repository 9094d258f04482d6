"""Evidence that is none in further ways: labels in posteriors, columns under each other's names, nearly equal rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fercleaner.core.errors import InputError
from fercleaner.core.types import Samples
from fercleaner.datasets.posteriors import read_posteriors
from fercleaner.encoders import vectors
from fercleaner.encoders.vectors import SHARED, read_view
from fercleaner.landmarks.au_columns import from_columns

CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
FER = [0, 1, 2, 3, 5, 6, 4]  # anger, disgust, fear, happiness, sadness, surprise, neutral
N = 84
IDS = [f"{i:05d}.jpg" for i in range(N)]
LABEL = np.arange(N) % 7
RANDOM = np.random.default_rng(0)
VECTORS = (RANDOM.normal(size=(7, 16))[LABEL] + RANDOM.normal(size=(N, 16))).astype("f4")
RIGHT = RANDOM.dirichlet([0.5] * 7, N) * 0.5 + np.eye(7)[LABEL] * 0.5
#: Labels of which every fifth is wrong.
GIVEN = np.where(np.arange(N) % 5 == 0, (LABEL + 3) % 7, LABEL)


def faces() -> Samples:
    return Samples(np.array(IDS), CLASSES, np.eye(7, dtype="f4")[GIVEN], np.ones(N, bool), np.full(N, ""))


def posteriors(folder: Path, values: np.ndarray, named: bool = False) -> tuple[str, ...]:
    file = folder / ("p.csv" if named else "p.npy")
    if named:
        pd.DataFrame(values, columns=CLASSES).assign(image=IDS).to_csv(file, index=False)
    else:
        np.save(file, values)
    return read_posteriors("m", file, faces())[1]


def test_given_labels_are_no_posteriors_smoothed_or_not(tmp_path: Path) -> None:
    for smoothed in (0.9, 0.6):
        with pytest.raises(InputError, match="holds the given labels themselves, smoothed"):
            posteriors(tmp_path, np.eye(7)[GIVEN] * smoothed + (1 - smoothed) / 7)
    assert posteriors(tmp_path, np.eye(7)[LABEL] * 0.9 + 0.1 / 7) == ()
    sure = np.exp(20 * np.eye(7)[GIVEN] + RANDOM.normal(size=(N, 7)))
    assert posteriors(tmp_path, sure / sure.sum(1, keepdims=True)) == ()


def test_columns_in_the_order_of_another_set(tmp_path: Path) -> None:
    assert posteriors(tmp_path, RIGHT) == ()
    with pytest.raises(InputError, match="in the order anger, disgust, fear, happiness, sadness, surprise, neutral"):
        posteriors(tmp_path, RIGHT[:, FER])
    said = posteriors(tmp_path, RIGHT[:, FER], named=True)
    assert "Are columns under each other's names?" in said[0]
    assert "sadness for neutral" in said[0]


def test_probabilities_below_0_by_rounding(tmp_path: Path) -> None:
    assert posteriors(tmp_path, np.where(RIGHT < 1e-4, -1e-9, RIGHT)) == ()
    with pytest.raises(InputError, match="expected probabilities"):
        posteriors(tmp_path, np.where(RIGHT < 1e-3, -1e-2, RIGHT))


def test_rows_that_are_nearly_one_are_no_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = VECTORS.copy()
    rows[::4] = rows[0] + RANDOM.normal(size=rows[::4].shape) * 1e-6  # of black pictures, on a GPU
    np.save(tmp_path / "v.npy", rows)
    view = read_view("v", tmp_path / "v.npy", faces())
    assert view.notes is not None
    assert (view.notes[::4] == SHARED).all()
    assert view.found.sum() == N - len(rows[::4])
    monkeypatch.setattr(vectors, "BLOCK_ROWS", 20)
    rows = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    rows[:30] = rows[0]  # whole blocks without a deviation come first
    np.save(tmp_path / "v.npy", rows)
    assert read_view("v", tmp_path / "v.npy", faces()).found.tolist() == [False] * 30 + [True] * (N - 30)
    np.save(
        tmp_path / "v.npy", np.column_stack([VECTORS, RANDOM.integers(0, 3, N) * 1e9])
    )  # one column of another size
    assert read_view("v", tmp_path / "v.npy", faces()).found.all()


@pytest.mark.parametrize("broken", [1e6, 1e12])
def test_a_few_broken_rows_do_not_make_the_others_alike(tmp_path: Path, broken: float) -> None:
    vectors = VECTORS.copy()
    vectors[:3] *= broken
    np.save(tmp_path / "v.npy", vectors)
    assert read_view("v", tmp_path / "v.npy", faces()).found.all()


def test_codes_beside_a_vector_of_named_columns(tmp_path: Path, caplog) -> None:
    named = {"abcdefghijklmnop"[k]: VECTORS[:, k] for k in range(16)}
    codes = {name: RANDOM.integers(0, 5, N) for name in ("label_id", "fold", "annotator", "gender", "subject_id")}
    pd.DataFrame({"id": IDS, **named, **codes}).to_parquet(tmp_path / "v.parquet")
    assert np.array_equal(read_view("v", tmp_path / "v.parquet", faces()).values, VECTORS)
    assert "left out: the columns label_id, fold, annotator, gender, subject_id." in caplog.text
    pd.DataFrame({"id": IDS, **named, "age": RANDOM.random(N)}).to_parquet(tmp_path / "v.parquet")
    assert read_view("v", tmp_path / "v.parquet", faces()).values.shape == (N, 17)


@pytest.mark.parametrize(
    ("name", "said"), [("v.csv", "pandas.read_csv"), ("v.h5", "h5py"), ("v.pt", "weights_only"), ("v.mat", "loadmat")]
)
def test_vectors_in_other_files_say_the_way_out(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).write_bytes(b"1")
    with pytest.raises(InputError, match=said):
        read_view("v", tmp_path / name, faces())


def units(folder: Path, **columns: object) -> Path:
    frame = {"image": IDS, **{f"AU{k:02d}": RANDOM.random(N) for k in (1, 2, 4)}, **columns}
    pd.DataFrame(frame).to_csv(folder / "au.csv", index=False)
    return folder / "au.csv"


def test_action_units_in_two_columns_or_of_two_scales(tmp_path: Path, caplog) -> None:
    with pytest.raises(InputError, match="'AU01' and 'AU_1' are both AU1"):
        from_columns(str(units(tmp_path, AU_1=RANDOM.random(N))), faces())
    from_columns(str(units(tmp_path, AU12=RANDOM.random(N) * 5)), faces())
    assert "no number of AU01, AU02, AU04 exceeds 1, while those of others do" in caplog.text
    with pytest.raises(InputError, match="the largest or the surest of a picture"):
        from_columns(str(units(tmp_path, image=[IDS[i // 2] for i in range(N)])), faces())
