"""Landmarks of the user's own: files and datasets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fercleaner import landmarks
from fercleaner.core.errors import InputError
from fercleaner.core.types import Landmarks, Samples
from fercleaner.landmarks.points import NO_POINTS, NO_ROW, PointsFile, own_points

POINTS = np.random.default_rng(0).uniform(5, 90, (3, 68, 2))


def samples(*ids: str, **more: object) -> Samples:
    n = len(ids)
    one_hot = np.tile([1.0, 0.0], (n, 1))
    return Samples(np.array(ids), ("a", "b"), one_hot, np.ones(n, bool), np.array([f"img/{i}" for i in ids]), **more)  # type: ignore[arg-type]


SET = samples("x.png", "é y.png", "z.png")


def read(path: Path, of: Samples = SET) -> Landmarks:
    detector = landmarks.build(f"points:{path}")
    assert isinstance(detector, PointsFile)
    return landmarks.detect(of, detector)


def test_npy_by_row(tmp_path: Path) -> None:
    holes = POINTS.copy()
    holes[1] = np.nan
    np.save(tmp_path / "p.npy", holes.astype(np.float16))
    marks = read(tmp_path / "p.npy")
    assert marks.found.tolist() == [True, False, True]
    assert marks.notes is not None
    assert marks.notes.tolist() == ["", NO_POINTS, ""]
    assert marks.confidence.tolist() == [1, 0, 1]
    assert not marks.points[1].any()
    np.testing.assert_array_equal(marks.points[0], POINTS[0].astype(np.float16).astype(np.float32))
    assert marks.spec["units"] == "any"
    assert marks.ids.tolist() == SET.ids.tolist()


def test_flat_rows_are_pairs_and_a_third_number_is_confidence_or_depth(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", POINTS.reshape(3, 136))
    np.testing.assert_allclose(read(tmp_path / "flat.npy").points, POINTS, rtol=1e-6)
    sure = np.random.default_rng(1).uniform(0, 1, (3, 68, 1))
    np.save(tmp_path / "sure.npy", np.concatenate([POINTS, sure], 2))
    marks = read(tmp_path / "sure.npy")
    np.testing.assert_allclose(marks.confidence, sure.mean((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(marks.points, POINTS, rtol=1e-6)
    np.save(tmp_path / "deep.npy", np.concatenate([POINTS, sure - 0.5], 2))
    marks = read(tmp_path / "deep.npy")
    assert marks.confidence.tolist() == [1, 1, 1]
    assert marks.spec["third"] == "ignored"


def test_npz_by_id(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", ids=np.array(["z.png", "other.png", "x.png"]), points=POINTS)
    marks = read(tmp_path / "p.npz")
    assert marks.found.tolist() == [True, False, True]
    np.testing.assert_allclose(marks.points[[0, 2]], POINTS[[2, 0]], rtol=1e-6)
    assert marks.notes is not None
    assert marks.notes[1] == NO_ROW


@pytest.mark.parametrize(("suffix", "name", "identity"), [("csv", "x{}", "id"), ("parquet", "x_{}", "input")])
def test_tables_by_id(tmp_path: Path, suffix: str, name: str, identity: str) -> None:
    table = {identity: ["img/é y.png", "img/z.png", "img/x.png"]}  # paths this time
    for index in range(68):
        table[name.format(index)] = POINTS[:, index, 0].tolist()
        table[name.format(index).replace("x", "y")] = POINTS[:, index, 1].tolist()
    table["confidence"] = [0.5, 0.25, 1.0]  # type: ignore[list-item]
    frame = pd.DataFrame(table)
    frame.loc[1, [c for c in frame if c[0] in "xy"]] = np.nan
    file = tmp_path / f"p.{suffix}"
    frame.to_csv(file, index=False) if suffix == "csv" else frame.to_parquet(file)
    marks = read(file)
    assert marks.found.tolist() == [True, True, False]
    assert marks.confidence.tolist() == [1, 0.5, 0]
    np.testing.assert_allclose(marks.points[:2], POINTS[[2, 0]], rtol=1e-6)


def test_openface_headers_with_blanks_and_file_names(tmp_path: Path) -> None:
    frame = pd.DataFrame({" file": ["/data/x.png"], **{f" x_{i}": [float(i)] for i in range(68)}})
    frame = frame.assign(**{f" y_{i}": [i + 0.5] for i in range(68)})
    frame.to_csv(tmp_path / "of.csv", index=False)
    marks = read(tmp_path / "of.csv")
    assert marks.found.tolist() == [True, False, False]
    assert marks.points[0, 67].tolist() == [67, 67.5]


def save(path: Path, array: object) -> Path:
    np.save(path, array)  # type: ignore[arg-type]
    return path


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    npy = tmp_path / "p.npy"
    with pytest.raises(InputError, match=r"p.npy has 2 rows, the set has 3 faces. A .npy goes by row order"):
        read(save(npy, POINTS[:2]))
    with pytest.raises(InputError, match=r"has shape \(3, 5, 2\), expected \(N, 68, 2\), \(N, 136\) or"):
        read(save(npy, POINTS[:, :5]))
    with pytest.raises(InputError, match="expected numbers"):
        read(save(npy, np.full((3, 68, 2), "x")))
    partial = POINTS.copy()
    partial[2, 40, 1] = np.nan
    with pytest.raises(InputError, match=r"p.npy row 2: point 40 is NaN while others are not"):
        read(save(npy, partial))
    partial[2, 40, 1] = np.inf
    with pytest.raises(InputError, match=r"p.npy row 2: a coordinate is infinite"):
        read(save(npy, partial))
    with pytest.raises(InputError, match="holds pickled objects"):
        read(save(npy, np.array([{}], dtype=object)))
    npy.write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="cannot be read as a NumPy array"):
        read(npy)
    np.savez(tmp_path / "p.npz", ids=np.array(["x.png"]))
    with pytest.raises(InputError, match="has no array 'points'"):
        read(tmp_path / "p.npz")
    np.savez(tmp_path / "p.npz", ids=np.array(["x.png", "x.png"]), points=POINTS[:2])
    with pytest.raises(InputError, match=r"'x\.png' stands in .*p.npz row 0 and .*p.npz row 1"):
        read(tmp_path / "p.npz")
    np.savez(tmp_path / "p.npz", ids=np.array(["x.png"]), points=POINTS[:2])
    with pytest.raises(InputError, match="has ids of shape \\(1,\\) for 2 rows"):
        read(tmp_path / "p.npz")
    (tmp_path / "p.csv").write_text("id,x0\nx.png,1\n")
    with pytest.raises(InputError, match=r"lacks 135 of the 136 coordinate columns \(first: x1\)"):
        read(tmp_path / "p.csv")
    with pytest.raises(InputError, match="no such file"):
        landmarks.build(f"points:{tmp_path / 'none.npy'}")
    with pytest.raises(InputError, match="names no file"):
        landmarks.build("points:")


def test_points_of_the_dataset() -> None:
    own = POINTS.copy()
    own[0] = np.nan
    marks = own_points(samples("a", "b", "c", points=own, layout="AffectNet"))
    assert marks.found.tolist() == [False, True, True]
    assert marks.spec["units"] == "pixels"
    np.testing.assert_allclose(marks.points[1:], POINTS[1:], rtol=1e-6)
    with pytest.raises(InputError, match="ships no landmarks"):
        own_points(SET)
