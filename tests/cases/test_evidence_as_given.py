"""Vectors, landmarks and action units of the user's: nothing is swallowed, lost or taken for evidence unsaid."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawn_landmarks import drawn_points

from fercleaner.core.errors import InputError
from fercleaner.core.types import Samples
from fercleaner.datasets.faces import match
from fercleaner.encoders.vectors import ALL_ZERO, SHARED, read_view
from fercleaner.landmarks import PointsFile
from fercleaner.landmarks.au_columns import from_columns

N = 60
IDS = [f"f{i:05d}.jpg" for i in range(N)]


def faces(ids: list[str] | None = None, seed: int = 0) -> Samples:
    ids = ids or IDS
    n = len(ids)
    label = np.random.default_rng(seed).integers(0, 3, n)
    return Samples(np.array(ids), ("a", "b", "c"), np.eye(3, dtype="f4")[label], np.ones(n, bool), np.full(n, ""))


def vectors(n: int = N, d: int = 8) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, d)).astype("f4")


def parquet(tmp_path: Path, **columns: object) -> Path:
    pd.DataFrame({"id": IDS, **columns}).to_parquet(tmp_path / "v.parquet")
    return tmp_path / "v.parquet"


def numeric() -> dict[str, np.ndarray]:
    return {f"f{k}": column for k, column in enumerate(vectors().T)}


@pytest.mark.parametrize("name", ["label", "Emotion", "class", "target", "group", "Unnamed: 0", "index", "split"])
def test_columns_that_are_no_measurement_are_left_out_of_a_view(tmp_path: Path, name: str, caplog) -> None:
    rng = np.random.default_rng(5)
    view = read_view("v", parquet(tmp_path, **{name: rng.integers(0, 3, N)}, **numeric()), faces())
    assert np.array_equal(view.values, vectors())
    assert f"view 'v': left out: the columns {name}." in caplog.messages


def test_a_label_under_any_name_is_left_out_of_a_view(tmp_path: Path, caplog) -> None:
    set_ = faces()
    codes, hot = (set_.label * 2 + 1).astype("f4"), (set_.label == 1).astype("f8")
    named = {f"m{'abcdefgh'[k]}": column for k, column in enumerate(vectors().T)}
    view = read_view("v", parquet(tmp_path, **named, g=codes, h=hot), set_)
    assert np.array_equal(view.values, vectors())
    assert "g (it repeats the given labels); h (it repeats the given labels)" in caplog.text
    np.save(tmp_path / "v.npy", np.column_stack([np.arange(N), vectors(), set_.label]))
    view = read_view("v", tmp_path / "v.npy", set_)
    assert np.array_equal(view.values, vectors())
    assert view.spec["left_out"] == [0, 9]
    np.savez(tmp_path / "v.npz", ids=IDS, values=np.column_stack([np.arange(N) + 1, vectors()]), label=set_.label)
    view = read_view("v", tmp_path / "v.npz", set_)
    assert np.array_equal(view.values, vectors())
    assert "left out: the arrays label" in caplog.text


@pytest.mark.parametrize("kind", ["one-hot", "codes", "smoothed", "scaled", "beside ids", "nearly"])
def test_a_view_that_is_the_given_labels(tmp_path: Path, kind: str) -> None:
    set_ = faces()
    exact, random = np.eye(3)[set_.label], np.random.default_rng(3)
    ways = {
        "one-hot": exact,
        "codes": np.stack([set_.label + 1, (set_.label + 1) ** 2], axis=1),
        "smoothed": exact * 0.9 + 0.05,
        "scaled": exact * random.uniform(1, 9, (N, 1)),
        "beside ids": np.column_stack([exact * 7, np.arange(N)]),
        "nearly": exact + random.normal(size=(N, 3)) * 1e-5,
    }
    np.save(tmp_path / "v.npy", ways[kind].astype(np.float32))
    with pytest.raises(InputError, match=r"view 'v': .*v\.npy holds the given labels themselves"):
        read_view("v", tmp_path / "v.npy", set_)


def test_views_that_separate_classes_are_taken_as_they_are(tmp_path: Path) -> None:
    set_ = faces()
    noise = np.random.default_rng(4).normal(size=(N, 3))
    np.save(tmp_path / "v.npy", np.eye(3)[set_.label] + 0.05 * noise)
    assert read_view("v", tmp_path / "v.npy", set_).values.shape == (N, 3)
    wrong = np.where(np.isin(np.arange(N), (7, 8, 9)), (set_.label + 1) % 3, set_.label)  # of each class one is wrong
    np.save(tmp_path / "v.npy", np.eye(3)[wrong])
    assert read_view("v", tmp_path / "v.npy", set_).values.shape == (N, 3)


def test_text_in_a_view(tmp_path: Path, caplog) -> None:
    columns = numeric()
    mixed = {name: c if k < 2 else c.astype(str) for k, (name, c) in enumerate(columns.items())}
    with pytest.raises(InputError, match=r"the columns f2, f3, .* hold numbers as text"):
        read_view("v", parquet(tmp_path, **mixed), faces())
    view = read_view("v", parquet(tmp_path, **columns, note=["x"] * N, ok=[True] * N), faces())
    assert view.values.shape == (N, 8)
    assert "left out: the columns note, ok." in caplog.text


def test_rows_of_very_different_lengths_are_vectors(tmp_path: Path) -> None:
    lengths = np.where(np.arange(200) % 3 == 0, 1e-6, 1e3)[:, None]
    np.save(tmp_path / "v.npy", vectors(200) * lengths)
    assert read_view("v", tmp_path / "v.npy", faces([f"{i}.png" for i in range(200)])).found.all()


def test_rows_that_are_no_vector(tmp_path: Path) -> None:
    rows = vectors(200)
    rows[:20] = 0
    rows[20:40] = rows[40]  # the vector of a black picture
    rows[50:53] = rows[53]  # near-duplicates
    rows[60] = 1
    np.save(tmp_path / "v.npy", rows)
    view = read_view("v", tmp_path / "v.npy", faces([f"{i}.png" for i in range(200)]))
    assert view.notes is not None
    assert view.found.sum() == 200 - 20 - 21 - 1
    assert (view.notes[0], view.notes[20], view.notes[40]) == (ALL_ZERO, SHARED, SHARED)
    assert view.notes[60] == "the view's row is one number throughout"
    assert view.found[50:54].all()
    np.save(tmp_path / "z.npy", np.zeros((200, 8)))
    with pytest.raises(InputError, match="holds nothing but zeros"):
        read_view("v", tmp_path / "z.npy", faces([f"{i}.png" for i in range(200)]))


@pytest.mark.parametrize("kind", ["int64", "float64", "S"])
def test_ids_that_lost_their_zeros_are_found_by_value(tmp_path: Path, kind: str, caplog) -> None:
    set_ = faces([f"{9970 + i:05d}" for i in range(N)])
    written = np.array([9970 + i for i in range(N)]).astype(kind) if kind != "S" else np.array(set_.ids.astype("S"))
    np.savez(tmp_path / "v.npz", ids=written, values=vectors())
    assert read_view("v", tmp_path / "v.npz", set_).found.all()
    np.savez(tmp_path / "p.npz", ids=written, points=drawn_points(N))
    assert PointsFile(str(tmp_path / "p.npz")).read(set_).found.all()
    assert ("whole numbers, leading zeros aside" in caplog.text) == (kind != "S")
    frame = pd.DataFrame({"id": written.astype(str) if kind == "S" else written, **numeric()})
    frame.to_parquet(tmp_path / "v.parquet")
    assert read_view("v", tmp_path / "v.parquet", set_).found.all()


@pytest.mark.parametrize("ids", [["00000", "00001", "NA"], ["1.10", "1e5", "null"], ["1", "01", "nan"]])
def test_ids_in_tables_are_text(tmp_path: Path, ids: list[str]) -> None:
    rows = "".join(f"{name},1,{k % 2},{k % 3}\n" for k, name in enumerate(ids))
    (tmp_path / "au.csv").write_text(f"id,success,AU01_r,AU04_r\n{rows}")
    assert from_columns(str(tmp_path / "au.csv"), faces(ids)).found.all()


def rows_of(ids: list[str], written: list[str], **options: bool) -> list[int]:
    return match(np.array(ids), np.array([""] * len(ids)), written, "v.csv", **options).tolist()


def test_one_way_of_matching_faces(caplog) -> None:
    assert rows_of(["a/1.png", "a/2.png"], ["2.png", "1.png"]) == [1, 0]
    assert rows_of(["a/1.png", "a/2.png"], ["/x/a/2", "/x/a/1"]) == [1, 0]
    assert rows_of(["caf\u00e9.png"], ["cafe\u0301.png"]) == [0]
    assert caplog.messages[-1] == "v.csv: faces are matched by ids in another Unicode normal form."
    assert rows_of(["001", "010", "x"], ["1", "10"], numeric=True) == [0, 1, -1]
    assert rows_of(["001", "01"], ["1", "001"], numeric=True) == [1, -1]  # 1 fits both, 001 is there
    assert rows_of(["train/1.png", "test/2.png"], ["train/1.png", "val/2.png"]) == [0, -1]
    with pytest.raises(InputError, match=r"none of its 1 names .*it has 'q', the set has 'p'"):
        rows_of(["p"], ["q"])


def au_table(tmp_path: Path, **columns: object) -> str:
    y = faces().label
    plain = {"AU01": 0.05 + 0.9 * (y == 1), "AU04": 0.05 + 0.9 * (y == 0)}
    pd.DataFrame({"input": IDS, **plain, **columns}).to_csv(tmp_path / "au.csv", index=False)
    return str(tmp_path / "au.csv")


def test_probabilities_that_leave_their_range_by_rounding_stay_probabilities(tmp_path: Path) -> None:
    y = faces().label
    over = np.where(np.arange(N) == 7, 1.0000001, 0.05 + 0.9 * (y == 1))
    units = from_columns(au_table(tmp_path, AU12=over, FaceScore=np.where(np.arange(N) == 3, 1.0000001, 0.99)), faces())
    assert units.spec["columns"]["AU12"] == "AU12: probability"
    assert (units.probability.max(), units.quality.max()) == (1.0, 1.0)
    one = np.where(np.arange(N) == 7, 1.5, 0.5 - 0.1 * y)
    with pytest.raises(
        InputError, match=r"au.csv row 9: AU12 is 1.5, but 1 of 60 rows alone .* Probabilities .*or int"
    ):
        from_columns(au_table(tmp_path, AU12=one), faces())
    libre = pd.DataFrame({"image": IDS, "au_1_intensity": 3.0 * (y == 1) - 0.01, "au_4_intensity": 5.2 * (y == 0)})
    libre.to_csv(tmp_path / "libre.csv", index=False)
    assert from_columns(str(tmp_path / "libre.csv"), faces()).found.all()


def test_columns_that_would_take_the_evidence_away_are_left_out(tmp_path: Path, caplog) -> None:
    few = np.where(np.arange(N) < 5, 0.3 + 0.1 * np.arange(N), np.nan)
    units = from_columns(au_table(tmp_path, AU07=np.nan, AU09=0.0, AU12=few), faces())
    assert (units.names, units.found.all()) == (("AU1", "AU4"), True)
    told = "AU07 is empty; AU09 is 0 throughout; AU12 is empty in 55 of 60 rows"
    assert f"action units left out: {told}." in caplog.messages


def test_how_many_faces_have_action_units_is_told(tmp_path: Path, caplog) -> None:
    path = au_table(tmp_path, success=[0] * 5 + [1] * (N - 5))
    pd.read_csv(path).iloc[:30].to_csv(path, index=False)
    units = from_columns(path, faces())
    assert int(units.found.sum()) == 25
    assert "action units: AU1, AU4 as probability" in caplog.messages[0]
    assert caplog.messages[1] == (
        "action units: 35 of 60 faces have none (30 no row in the file; 5 success is 0); first: f00000.jpg."
    )


def test_truth_and_falsehood_are_numbers(tmp_path: Path) -> None:
    path = au_table(tmp_path, success=["False"] * 5 + ["True"] * (N - 5))
    assert int(from_columns(path, faces()).found.sum()) == N - 5


def test_an_id_that_counts_rows_gives_way_to_pictures(tmp_path: Path) -> None:
    path = au_table(tmp_path)
    frame = pd.read_csv(path).iloc[::-1].reset_index(drop=True)
    frame.insert(0, "id", range(N))
    frame.to_csv(path, index=False)
    assert from_columns(path, faces()).found.all()


def test_sizes_that_lie_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    header = np.lib.format
    with (tmp_path / "big.npy").open("wb") as file:
        header.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 512)})
        file.write(b"\0" * 64)
    with pytest.raises(InputError, match=r"says that it holds float32 \(1000000000, 512\), .* but has 64"):
        read_view("v", tmp_path / "big.npy", faces())
    with pytest.raises(InputError, match="says that it holds"):
        PointsFile(str(tmp_path / "big.npy")).read(faces())
    with zipfile.ZipFile(tmp_path / "big.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "big.npy", "values.npy")
        with archive.open("ids.npy", "w") as file:
            header.write_array_header_1_0(file, {"descr": "<U9", "fortran_order": False, "shape": (10**9,)})
    with pytest.raises(InputError, match="but is shorter"):
        read_view("v", tmp_path / "big.npz", faces())
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("ids.npy", "values.npy"):
            with archive.open(name, "w") as file:
                for _ in range(300):
                    file.write(b"\0" * (1 << 20))
    with pytest.raises(InputError, match=r"says that it holds 314,572,800 bytes in .*; it is not read"):
        read_view("v", tmp_path / "bomb.npz", faces())
    rows = pa.table({"id": pa.array(np.zeros(2_000_000, "i1")), "f0": pa.array(np.zeros(2_000_000, "i1"))})
    pq.write_table(rows, tmp_path / "rows.parquet", compression="zstd")
    with pytest.raises(InputError, match="says that it has 2,000,000 rows, but is"):
        read_view("v", tmp_path / "rows.parquet", faces())
