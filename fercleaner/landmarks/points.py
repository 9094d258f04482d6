"""Landmarks that the user or the dataset already has: 68 points in the iBUG order, in any one unit a face."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Bools, Doubles, Ints
from ..core.errors import InputError
from ..core.types import Landmarks, Samples
from ..datasets.faces import check_unique, face_column, match
from ..datasets.npy import load_npy, load_npz, names_of
from ..datasets.options import FACE_COLUMNS, spelled
from ..datasets.table import Table, Where, listed, measured, read_table
from ..encoders.checkpoints import sha256

_COORDINATE = re.compile(r"^([xy])_?(\d+)$", re.IGNORECASE)
CONFIDENCE = ("confidence", "facescore")
_FURTHER = (*FACE_COLUMNS, *CONFIDENCE)
#: Probabilities and confidences may leave [0, 1] by this much: they were rounded.
ROUNDING = 1e-3
_LOG = logging.getLogger(__name__)

#: Brows, nose, eyes and mouth in the iBUG order: each lies together, which tells whether points come in that order.
PARTS = (slice(17, 22), slice(22, 27), slice(27, 36), slice(36, 42), slice(42, 48), slice(48, 68))
#: Mean spread of a part in that of the face: .20 to .30 on 3,000 faces of FER2013 and of a posed set; beyond .38 where
#: the points are numbered from another start, .5 where x and y come in blocks, .8 where they are in any order.
MOST_SPREAD = 0.35
#: Faces from which on the order is judged, by their median.
JUDGED_FROM = 20

#: Points that at least so many faces share, and this part of all, are no detection.
MANY, LARGE_PART = 10, 0.02

NO_POINTS = "no landmarks in the file"
NO_ROW = "no row in the landmark file"
SHARED_POINTS = "its landmarks are those of many faces"


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
        file = Path(self.path)
        suffix = file.suffix.lower()
        extra: dict[str, Any] = {}
        place: Where = f"{self.path} row {{}}".format if suffix in (".npy", ".npz") else str
        if suffix == ".npy":
            points, confidence, extra = _shaped(load_npy(file), self.path)
            if len(points) != len(samples):
                raise InputError(
                    f"{self.path} has {len(points):,} rows, the set has {len(samples):,} faces. "
                    "A .npy goes by row order; use .npz with ids, or a table with an id column."
                )
            rows = np.arange(len(samples))
        elif suffix == ".npz":
            (named, array), left_out = load_npz(file, ("ids", "points"), "numpy.savez(FILE, ids=..., points=...)")
            points, confidence, extra = _shaped(array, self.path)
            names, numeric = names_of(named, file, len(points))
            rows = _rows(samples, names, self.path, place, numeric=numeric)
            if left_out:
                _LOG.warning("%s: the arrays %s are left out.", self.path, listed(left_out))
        else:
            table, identity, points, confidence = _from_table(self.path)
            place = table.where
            names = table.columns[identity]
            rows = _rows(samples, names, self.path, place, numeric=identity in table.numeric)
        _refuse_partial(points, place)
        _check_order(points, self.path)
        spec = {
            "kind": "points-file",
            "file": file.name,
            "sha256": sha256(file),
            "units": "any",
            **extra,
        }
        read = _landmarks(samples, points, confidence, rows, spec)
        if not read.found.any():
            reason = str(read.notes[rows >= 0][0]) if read.notes is not None else ""
            raise InputError(
                f"{self.path}: no face of the set has landmarks ({reason}). Points of one place, or of a mean face, "
                "tell no faces apart."
            )
        return read


def _rows(samples: Samples, names: Sequence[str], path: str, place: Where, *, numeric: bool) -> Ints:
    check_unique(names, path, place, "Keep one row a face, such as the largest or the surest of a picture.")
    return match(samples.ids, samples.paths, names, path, numeric=numeric)


def own_points(samples: Samples) -> Landmarks:
    """Return the landmarks that came with the dataset (`Samples.points`, pixels); InputError if none did."""
    if samples.points is None:
        raise InputError(f"This set ({samples.layout or 'unnamed layout'}) ships no landmarks.")
    points = samples.points.astype(np.float64)
    _refuse_partial(points, "the dataset's landmarks, row {}".format)
    spec = {"kind": "dataset", "layout": samples.layout, "units": "pixels"}
    return _landmarks(samples, points, np.ones(len(samples)), np.arange(len(samples)), spec)


def _landmarks(
    samples: Samples, points: Doubles, confidence: Doubles, rows: NDArray[np.int64], spec: dict[str, Any]
) -> Landmarks:
    there = rows >= 0
    chosen = np.where(there[:, None, None], points[rows], np.nan)
    empty = np.isnan(chosen).all((1, 2)) | (chosen == chosen[:, :1]).all((1, 2))  # -1 or 0 throughout: no face found
    again = _shared(chosen, there & ~empty)
    found = there & ~empty & ~again
    notes = np.where(found, "", np.where(again, SHARED_POINTS, np.where(there, NO_POINTS, NO_ROW)))
    sure = np.where(found, np.nan_to_num(confidence[rows], nan=0.0), 0.0)
    clean = np.where(found[:, None, None], chosen, 0.0).astype(np.float32)
    return Landmarks(samples.ids, clean, found, sure.astype(np.float32), spec=spec, notes=notes)


def _shared(points: Doubles, there: Bools) -> Bools:
    """Return which faces have the points of so many others that they are no detection but a mean shape, (N,) bool."""
    digests = np.array([hash(points[row].tobytes()) for row in np.flatnonzero(there).tolist()], dtype=np.int64)
    _, of_row, counts = np.unique(digests, return_inverse=True, return_counts=True)
    many = np.zeros(len(points), dtype=np.bool_)
    many[there] = counts[of_row] >= max(MANY, LARGE_PART * len(points))
    return many


def _shaped(array: NDArray[Any], path: str) -> tuple[Doubles, Doubles, dict[str, Any]]:
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path} holds {array.dtype}, expected numbers.")
    shape = array.shape
    if not shape or not shape[0] or shape[1:] not in ((68, 2), (68, 3), (136,)):
        raise InputError(f"{path} has shape {shape}, expected (N, 68, 2), (N, 136) or (N, 68, 3).")
    wide = array.astype(np.float64).reshape(len(array), 68, -1)
    if wide.shape[2] == 2:
        return wide, np.ones(len(wide)), {}
    points, third = wide[..., :2], wide[..., 2]
    known = third[~np.isnan(third)]
    if known.size and not known.any():
        return points, np.ones(len(points)), {"third": "ignored"}  # 0 throughout: nobody measured it
    if known.size and known.min() >= 0 and known.max() <= 1:
        _LOG.warning("%s: the third number of a point is taken as its confidence (mean %.2f).", path, known.mean())
        filled = np.nan_to_num(third, nan=0.0)
        return points, filled.mean(1), {"third": "confidence"}
    _LOG.warning("%s: the third number of a point is no confidence (0 to 1) and left out.", path)
    return points, np.ones(len(points)), {"third": "ignored"}


def _from_table(path: str) -> tuple[Table, str, Doubles, Doubles]:
    table = read_table(Path(path), lambda name: bool(_COORDINATE.match(name)) or spelled(name) in _FURTHER)
    identity = face_column(table, option="rename the column")
    columns: dict[tuple[str, int], str] = {}
    for column in table.columns:
        found = _COORDINATE.match(column)
        if found:
            columns[found[1].lower(), int(found[2])] = column
    if ("x", 68) in columns and not {("x", 0), ("y", 0)} & columns.keys():  # counted from 1, as in the papers
        columns = {(axis, index - 1): column for (axis, index), column in columns.items()}
    missing = [f"{axis}{index}" for axis in "xy" for index in range(68) if (axis, index) not in columns]
    if missing:
        raise InputError(
            f"{path} lacks {len(missing)} of the 136 coordinate columns (first: {missing[0]}). "
            "Expected x0..x67 and y0..y67, or x_0.. and y_0.."
        )
    points = np.empty((len(table), 68, 2))
    for axis, letter in enumerate("xy"):
        for index in range(68):
            column = columns[letter, index]
            points[:, index, axis] = measured(table.columns[column], table.where, column)
    return table, identity, points, confidence_of(table)


def confidence_of(table: Table) -> Doubles:
    """Return the column `confidence` or `FaceScore` (N,) in [0, 1], 0 where empty; 1 where there is no such column.

    What leaves [0, 1] by rounding is clipped; InputError for the first cell that leaves it by more.
    """
    for column, cells in table.columns.items():
        if spelled(column) in CONFIDENCE:
            said = measured(cells, table.where, column)
            if np.isnan(said).all():
                _LOG.warning("%s: the column '%s' is empty and left out.", table.name, column)
                return np.ones(len(table))
            if np.isnan(said).any():
                _LOG.warning(
                    "%s: the column '%s' is empty in %d of %d rows: a confidence of 0.",
                    table.name,
                    column,
                    int(np.isnan(said).sum()),
                    len(said),
                )
            values: Doubles = np.nan_to_num(said, nan=0.0, posinf=np.inf, neginf=-np.inf)
            outside = (values < -ROUNDING) | (values > 1 + ROUNDING)
            if outside.any():
                row = int(np.flatnonzero(outside)[0])
                raise InputError(
                    f"{table.where(row)}: {column} is {values[row]:g}, expected a confidence between 0 and 1."
                    f"{' Divide percents by 100.' if 1 < values[row] <= 100 else ''}"
                )
            return np.clip(values, 0, 1)
    return np.ones(len(table))


def _check_order(points: Doubles, path: str) -> None:
    """Raise InputError where the points of most faces come in another order, or are mirrored."""
    there = points[~np.isnan(points).any((1, 2)) & (points != points[:, :1]).any((1, 2))]
    if len(there) < JUDGED_FROM:
        return
    size = np.sqrt(((there - there.mean(1, keepdims=True)) ** 2).sum(2).mean(1))
    parts = [there[:, part] - there[:, part].mean(1, keepdims=True) for part in PARTS]
    spread = float(np.median(np.mean([np.sqrt((part**2).sum(2).mean(1)) for part in parts], axis=0) / size))
    if spread > MOST_SPREAD:
        raise InputError(
            f"{path}: the points are not in the iBUG order of 68 (jaw 0 to 16, brows to 26, nose to 35, right eye 36 "
            "to 41, left eye 42 to 47, mouth 48 to 67), each x and y together: what should be one part of a face lies "
            f"{spread / MOST_SPREAD:.1f} times as far apart as it may. Put them in that order."
        )
    right, left, mouth = (there[:, slice(a, b)].mean(1) for a, b in ((36, 42), (42, 48), (48, 68)))
    across, down = left - right, mouth - (left + right) / 2
    if np.median((across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]) / size**2) < 0:
        raise InputError(
            f"{path}: the faces are mirrored: x and y are swapped, y points up, or left and right are. Expected x to "
            "the right, y down, and points 36 to 41 on the person's right eye, which is on the left of the picture."
        )


def _refuse_partial(points: Doubles, where: Where) -> None:
    missing = np.isnan(points)
    partial = missing.any((1, 2)) & ~missing.all((1, 2))
    if partial.any():
        row = int(np.flatnonzero(partial)[0])
        point = int(np.flatnonzero(missing[row].any(1))[0])
        raise InputError(
            f"{where(row)}: point {point} is NaN while others are not. "
            "Give all 68 points of a face, or NaN for all of them (no landmarks)."
        )
    infinite = np.isinf(points).any((1, 2)) | (np.abs(np.nan_to_num(points)) > 1e9).any((1, 2))
    if infinite.any():
        row = int(np.flatnonzero(infinite)[0])
        raise InputError(f"{where(row)}: a coordinate is infinite or beyond 1e9.")
