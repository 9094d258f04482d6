"""Landmarks that the user or the dataset already has: 68 points in the iBUG order, in any one unit a face."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Doubles
from ..core.errors import InputError
from ..core.types import Landmarks, Samples
from ..encoders.checkpoints import sha256
from .tables import id_column, numbers, read_table, rows_of

_COORDINATE = re.compile(r"^([xy])_?(\d+)$", re.IGNORECASE)
_CONFIDENCE = ("confidence", "facescore")

NO_POINTS = "no landmarks in the file"
NO_ROW = "no row in the landmark file"


@dataclass(frozen=True)
class PointsFile:
    """A file of the user's own landmarks, `--landmarks points:FILE`.

    - ``.npy``: (N, 68, 2), (N, 136) as x0, y0, x1, y1, ..., or (N, 68, 3), in the set's row order. A third
      number within [0, 1] throughout is taken as a confidence, otherwise (a depth) it is ignored.
    - ``.npz``: `ids` (M,) and `points` shaped as above; faces are found by id.
    - CSV, TSV, Parquet: a column that names the face (id, image, path, file, input, ...) and x0..x67, y0..y67
      (OpenFace's and py-feat's x_0 too); `confidence` or `FaceScore` within [0, 1] is used.

    A row that is all NaN, empty or all zero is a face without landmarks.

    Parameters
    ----------
    path : str
    """

    path: str

    def __post_init__(self) -> None:
        if not self.path:
            raise InputError("--landmarks points: names no file. Write points:FILE with .npy, .npz, .csv or .parquet.")
        if not Path(self.path).is_file():
            raise InputError(f"Landmark file {self.path}: no such file.")

    def read(self, samples: Samples) -> Landmarks:
        """Return the landmarks of `samples`; raise InputError naming the file and row that cannot be used."""
        suffix = Path(self.path).suffix.lower()
        extra: dict[str, Any] = {}
        if suffix == ".npy":
            points, confidence, extra = _shaped(_load(self.path), self.path)
            if len(points) != len(samples):
                raise InputError(
                    f"{self.path} has {len(points):,} rows, the set has {len(samples):,} faces. "
                    "A .npy goes by row order; use .npz with ids, or a table with an id column."
                )
            rows = np.arange(len(samples))
        elif suffix == ".npz":
            ids, array = _load_named(self.path)
            points, confidence, extra = _shaped(array, self.path)
            if len(ids) != len(points):
                raise InputError(f"{self.path} has {len(ids):,} ids for {len(points):,} rows of points.")
            rows = rows_of(samples, ids.tolist(), self.path)
        else:
            names, points, confidence = _from_table(self.path)
            rows = rows_of(samples, names, self.path)
        _refuse_partial(points, self.path)
        spec = {
            "kind": "points-file",
            "file": Path(self.path).name,
            "sha256": sha256(Path(self.path)),
            "units": "any",
            **extra,
        }
        return _landmarks(samples, points, confidence, rows, spec)


def from_samples(samples: Samples) -> Landmarks:
    """Return the landmarks that came with the dataset (`Samples.points`, pixels); InputError if none did."""
    if samples.points is None:
        raise InputError(f"This set ({samples.layout or 'unnamed layout'}) ships no landmarks.")
    points = samples.points.astype(np.float64)
    _refuse_partial(points, "the dataset's landmarks")
    spec = {"kind": "dataset", "layout": samples.layout, "units": "pixels"}
    return _landmarks(samples, points, np.ones(len(samples)), np.arange(len(samples)), spec)


def _landmarks(
    samples: Samples, points: Doubles, confidence: Doubles, rows: NDArray[np.int64], spec: dict[str, Any]
) -> Landmarks:
    there = rows >= 0
    chosen = np.where(there[:, None, None], points[rows], np.nan)
    empty = np.isnan(chosen).all((1, 2)) | (chosen == 0).all((1, 2))
    found = there & ~empty
    notes = np.where(found, "", np.where(there, NO_POINTS, NO_ROW))
    sure = np.where(found, np.nan_to_num(confidence[rows], nan=0.0), 0.0)
    clean = np.where(found[:, None, None], chosen, 0.0).astype(np.float32)
    return Landmarks(samples.ids, clean, found, sure.astype(np.float32), spec=spec, notes=notes)


def _load(path: str) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a NumPy array of numbers: {error}") from error


def _load_named(path: str) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in ("ids", "points") if key not in archive.files]
            if missing:
                raise InputError(
                    f"{path} has no array '{missing[0]}' (it has {', '.join(archive.files)}); expected ids and points."
                )
            return archive["ids"], archive["points"]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read as NumPy arrays ids and points: {error}") from error


def _shaped(array: NDArray[Any], path: str) -> tuple[Doubles, Doubles, dict[str, Any]]:
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path} holds {array.dtype}, expected numbers.")
    shape = array.shape
    if shape[1:] not in ((68, 2), (68, 3), (136,)):
        raise InputError(f"{path} has shape {shape}, expected (N, 68, 2), (N, 136) or (N, 68, 3).")
    wide = array.astype(np.float64).reshape(len(array), 68, -1)
    if wide.shape[2] == 2:
        return wide, np.ones(len(wide)), {}
    points, third = wide[..., :2], wide[..., 2]
    known = third[~np.isnan(third)]
    if known.size and known.min() >= 0 and known.max() <= 1:
        filled = np.nan_to_num(third, nan=0.0)
        return points, filled.mean(1), {"third": "confidence"}
    return points, np.ones(len(points)), {"third": "ignored"}


def _from_table(path: str) -> tuple[list[object], Doubles, Doubles]:
    table = read_table(path)
    names = table[id_column(table, path)].tolist()
    columns: dict[tuple[str, int], str] = {}
    for column in table.columns:
        match = _COORDINATE.match(str(column))
        if match:
            columns[match[1].lower(), int(match[2])] = str(column)
    missing = [f"{axis}{index}" for axis in "xy" for index in range(68) if (axis, index) not in columns]
    if missing:
        raise InputError(
            f"{path} lacks {len(missing)} of the 136 coordinate columns (first: {missing[0]}). "
            "Expected x0..x67 and y0..y67, or x_0.. and y_0.."
        )
    points = np.empty((len(table), 68, 2))
    for axis, letter in enumerate("xy"):
        for index in range(68):
            points[:, index, axis] = numbers(table, columns[letter, index], path)
    confidence = np.ones(len(table))
    for column in table.columns:
        if str(column).lower() in _CONFIDENCE:
            confidence = np.nan_to_num(numbers(table, str(column), path), nan=0.0)
            if confidence.min() < 0 or confidence.max() > 1:
                row = int(np.flatnonzero((confidence < 0) | (confidence > 1))[0])
                raise InputError(
                    f"{path} row {row + 1}: {column} is {confidence[row]:g}, expected a confidence in [0, 1]."
                )
            break
    return names, points, confidence


def _refuse_partial(points: Doubles, path: str) -> None:
    missing = np.isnan(points)
    partial = missing.any((1, 2)) & ~missing.all((1, 2))
    if partial.any():
        row = int(np.flatnonzero(partial)[0])
        point = int(np.flatnonzero(missing[row].any(1))[0])
        raise InputError(
            f"{path} row {row + 1}: point {point} is NaN while others are not. "
            "Give all 68 points of a face, or NaN for all of them (no landmarks)."
        )
    infinite = np.isinf(points).any((1, 2)) | (np.abs(np.nan_to_num(points)) > 1e9).any((1, 2))
    if infinite.any():
        row = int(np.flatnonzero(infinite)[0])
        raise InputError(f"{path} row {row + 1}: a coordinate is infinite or beyond 1e9.")
