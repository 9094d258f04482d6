"""The user's own vectors: aligned with the faces, or refused with a reason."""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fercleaner.core.errors import InputError
from fercleaner.core.types import Samples
from fercleaner.encoders import vectors
from fercleaner.encoders.vectors import ALL_NAN, ALL_ZERO, NO_ID, parse_view, read_view

IDS = ["a.png", "b.png", "größe/顔.png", "d.png"]


@pytest.fixture
def faces() -> Samples:
    n = len(IDS)
    given = np.zeros((n, 2), dtype=np.float32)
    given[:, 1] = 1
    return Samples(np.array(IDS), ("a", "b"), given, np.ones(n, dtype=bool), np.full(n, ""))


def numbers(n: int = 4, width: int = 3) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, width)).astype(np.float32)


def saved(tmp_path: Path, array: Any, name: str = "v.npy") -> Path:
    np.save(tmp_path / name, array)
    return tmp_path / name


@pytest.mark.parametrize(
    ("dtype", "mapped"), [("float16", True), ("float32", True), ("float64", False), (">f4", False)]
)
def test_a_file_of_plain_numbers_stays_on_disk(tmp_path: Path, faces: Samples, dtype: str, mapped: bool) -> None:
    view = read_view("v", saved(tmp_path, numbers().astype(dtype)), faces)
    base: Any = view.values
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, mmap.mmap) == mapped
    np.testing.assert_array_equal(view.values, numbers().astype(dtype))


def test_a_row_without_a_vector_leaves_the_file_as_it_is(tmp_path: Path, faces: Samples) -> None:
    array = numbers()
    array[1] = np.nan
    file = saved(tmp_path, array)
    before = file.read_bytes()
    view = read_view("v", file, faces)
    assert view.values[1].tolist() == [0, 0, 0]
    assert file.read_bytes() == before


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "uint8", ">f4"])
def test_npy_in_row_order(tmp_path: Path, faces: Samples, dtype: str) -> None:
    array = (numbers() * 50 + 100).astype(dtype)
    file = saved(tmp_path, array)
    view = read_view("mine", file, faces)
    assert view.view == "mine"
    assert view.ids.tolist() == IDS
    assert np.array_equal(view.values, array.astype(np.float32))
    assert view.found.all()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert view.spec == {"kind": "vectors", "sha256": digest, "shape": [4, 3]}


def test_more_axes_are_flattened_and_large_files_read_in_blocks(
    tmp_path: Path, faces: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "BLOCK_ROWS", 3)
    array = numbers(4, 12).reshape(4, 3, 2, 2)
    view = read_view("map", saved(tmp_path, array), faces)
    assert np.array_equal(view.values, array.reshape(4, 12))
    assert np.array_equal(read_view("map", saved(tmp_path, np.asfortranarray(array)), faces).values, view.values)


def test_npz_by_id(tmp_path: Path, faces: Samples) -> None:
    array = numbers(5)
    file = tmp_path / "v.npz"
    np.savez(file, ids=np.array(["d.png", "x", "größe/顔.png", "a.png", "y"]), values=array)
    view = read_view("mine", file, faces)
    assert view.found.tolist() == [True, False, True, True]
    assert np.array_equal(view.values, np.stack([array[3], np.zeros(3), array[2], array[0]]))
    assert view.notes is not None
    assert view.notes.tolist() == ["", NO_ID, "", ""]


@pytest.mark.parametrize("shape", ["list", "columns"])
def test_parquet_by_id(tmp_path: Path, faces: Samples, shape: str) -> None:
    pd = pytest.importorskip("pandas")
    array = numbers(4)
    ids = IDS[::-1]
    if shape == "list":
        table = pd.DataFrame({"id": ids, "path": ids, "vector": list(array)})
    else:
        table = pd.DataFrame({"id": ids, "x": array[:, 0], "y": array[:, 1], "z": array[:, 2], "note": ids})
    table.to_parquet(tmp_path / "v.parquet")
    view = read_view("mine", tmp_path / "v.parquet", faces)
    assert np.array_equal(view.values, array[::-1])
    assert view.found.all()


def test_parquet_with_a_missing_list_and_id_as_index(tmp_path: Path, faces: Samples) -> None:
    pd = pytest.importorskip("pandas")
    array = numbers(4)
    table = pd.DataFrame({"vector": [array[0], None, array[2], array[3]]}, index=pd.Index(IDS, name="id"))
    table.to_parquet(tmp_path / "v.parquet")
    view = read_view("mine", tmp_path / "v.parquet", faces)
    assert view.found.tolist() == [True, False, True, True]
    assert np.array_equal(view.values[2], array[2])


def test_a_row_of_nan_or_of_zeros_is_no_vector(tmp_path: Path, faces: Samples) -> None:
    array = numbers()
    array[1] = np.nan
    array[2] = 0
    view = read_view("mine", saved(tmp_path, array), faces)
    assert view.found.tolist() == [True, False, False, True]
    assert view.notes is not None
    assert view.notes.tolist() == ["", ALL_NAN, ALL_ZERO, ""]
    assert not view.values[1:3].any()


@pytest.mark.parametrize(("value", "word"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_nan_or_infinity_within_a_row(tmp_path: Path, faces: Samples, value: float, word: str) -> None:
    array = numbers()
    array[2, 1] = value
    with pytest.raises(
        InputError, match=rf"view 'mine': .*v\.npy row 2, column 1 is {word}; 1 row holds such a number"
    ):
        read_view("mine", saved(tmp_path, array), faces)


def test_the_row_named_is_that_of_the_file(tmp_path: Path, faces: Samples) -> None:
    array = numbers()
    array[3, 0] = np.inf
    np.savez(tmp_path / "v.npz", ids=np.array(IDS[::-1]), values=array)
    with pytest.raises(InputError, match="row 3, column 0"):
        read_view("mine", tmp_path / "v.npz", faces)


def test_float64_beyond_float32(tmp_path: Path, faces: Samples) -> None:
    array = numbers().astype(np.float64)
    array[0, 2] = 1e300
    match = r"row 0, column 2 is 1e\+300, beyond the largest number of float32 \(3.4e\+38\); 1 row holds"
    with pytest.raises(InputError, match=match):
        read_view("mine", saved(tmp_path, array), faces)
    pd.DataFrame({"id": IDS, "values": list(array)}).to_parquet(tmp_path / "v.parquet")
    with pytest.raises(InputError, match=match):
        read_view("mine", tmp_path / "v.parquet", faces)


def test_files_that_do_not_fit(tmp_path: Path, faces: Samples) -> None:
    def refused(message: str, file: Path) -> None:
        with pytest.raises(InputError, match=message):
            read_view("mine", file, faces)

    refused(r"v\.npy has 5 rows, the set has 4 faces.*\.npz or \.parquet", saved(tmp_path, numbers(5)))
    refused(r"shape \(4,\), expected a vector a face", saved(tmp_path, np.arange(4.0)))
    refused(r"shape \(4, 0\)", saved(tmp_path, np.zeros((4, 0))))
    refused(r"v\.npy holds pickled objects.*float32", saved(tmp_path, np.array([[None]] * 4, dtype=object)))
    refused(r"holds <U1, expected numbers", saved(tmp_path, np.array([["a"]] * 4)))
    refused(r"holds complex128", saved(tmp_path, numbers().astype(complex)))
    refused("the same vector for every face", saved(tmp_path, np.ones((4, 3))))
    refused("nothing but NaN", saved(tmp_path, np.full((4, 3), np.nan)))
    refused(r"gone\.npy does not exist", tmp_path / "gone.npy")
    refused("is a folder", tmp_path)
    (tmp_path / "v.csv").write_text("1,2")
    refused(r"v\.csv is none of \.npy, \.npz and \.parquet", tmp_path / "v.csv")
    for name in ("bad.npy", "bad.npz", "bad.parquet", "empty.npy"):
        (tmp_path / name).write_bytes(b"" if name == "empty.npy" else b"nonsense")
        refused(rf"{name} (cannot be read|holds pickled|is not a Parquet file)", tmp_path / name)
    whole = saved(tmp_path, numbers()).read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-10])
    refused(r"cut\.npy says that it holds float32 \(4, 3\), 48 bytes, but has 38", tmp_path / "cut.npy")


def test_npz_that_do_not_fit(tmp_path: Path, faces: Samples) -> None:
    file = tmp_path / "v.npz"
    cases: list[tuple[str, dict[str, Any]]] = [
        (r"no array 'ids' \(it has values\)", {"values": numbers()}),
        (r"ids of shape \(3,\) for 4 rows", {"ids": np.array(IDS[:3]), "values": numbers()}),
        (r"'a\.png' stands in row 0 and row 1", {"ids": np.array(["a.png", "a.png", "c", "d"]), "values": numbers()}),
        (
            r"none of its 4 names .*it has 'p', the set has 'a\.png'",
            {"ids": np.array(list("pqrs")), "values": numbers()},
        ),
        ("holds pickled objects", {"ids": np.array(IDS, dtype=object), "values": numbers()}),
    ]
    for message, arrays in cases:
        np.savez(file, **arrays)
        with pytest.raises(InputError, match=message):
            read_view("mine", file, faces)


def test_parquet_that_does_not_fit(tmp_path: Path, faces: Samples) -> None:
    pd = pytest.importorskip("pandas")
    file = tmp_path / "v.parquet"
    rows = list(numbers())
    cases: list[tuple[str, Any]] = [
        (r"no column 'id' \(it has .*vector", pd.DataFrame({"vector": rows})),
        ("neither a column of lists nor numeric columns beside", pd.DataFrame({"id": IDS, "text": IDS})),
        (r"2 columns of lists \(u, v\)", pd.DataFrame({"id": IDS, "u": rows, "v": rows})),
        (
            "row 2: a list of 2 numbers, the first has 3",
            pd.DataFrame({"id": IDS, "u": [*rows[:2], rows[2][:2], rows[3]]}),
        ),
    ]
    for message, table in cases:
        table.to_parquet(file)
        with pytest.raises(InputError, match=message):
            read_view("mine", file, faces)


def test_parse_view() -> None:
    assert parse_view("emotion=dir/a=b.npy") == ("emotion", Path("dir/a=b.npy"))
    assert parse_view("x = ~/v.npy") == ("x", Path.home() / "v.npy")
    for text in ("emotion", "=file.npy", "emotion=", ""):
        with pytest.raises(InputError, match=rf"--view '{text}' is not NAME=FILE"):
            parse_view(text)
