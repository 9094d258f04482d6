"""Columns of a user's vectors that are no measurement of the face: the given label, row numbers, ids."""

from __future__ import annotations

import re
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Bools, Floats, Ints
from ..core.types import Samples

#: Faces below which a column may repeat the labels, or count rows, by chance.
FEW_FACES = 20

COUNTS = "it counts the rows"
IDS = "it repeats the ids"
LABELS = "it repeats the given labels"


def left_out(values: Floats, found: Bools, samples: Samples) -> dict[int, str]:
    """Return column -> why it is left out, for columns that say nothing of a face but which row or label it is.

    - The values are the whole numbers from 0 or 1 up to the number of faces, each once.
    - The values are the numbers in the ids.
    - The value follows from the given label, without one exception, while other columns do not: a code, or 1 for
      one class and 0 for the others.

    Parameters
    ----------
    values : (N, D) float32
    found : (N,) bool
    samples : Samples

    Fewer than `FEW_FACES` faces show nothing. Cost: a pass over the values.
    """
    if int(found.sum()) < FEW_FACES:
        return {}
    out: dict[int, str] = {}
    chosen = values[found]
    whole = np.flatnonzero((chosen == np.floor(chosen)).all(0))
    numbers = _numbers_in(samples)[found] if len(whole) else np.zeros(0)
    for column in whole.tolist():
        cells = chosen[:, column].astype(np.float64)
        if _counts(cells, len(values)):
            out[column] = COUNTS
        elif len(numbers) and np.array_equal(cells, numbers.astype(np.float32)):
            out[column] = IDS
    repeating = _repeat_labels(chosen, samples.label[found])
    if len(repeating) + len(out) < values.shape[1]:
        out.update({int(column): LABELS for column in repeating if int(column) not in out})
    return out if len(out) < values.shape[1] else {}


def _counts(cells: NDArray[np.float64], rows: int) -> bool:
    """Whether whole numbers are all different and lie from 0 or 1 up to the number of rows."""
    low, high = cells.min(), cells.max()
    return bool(low >= 0 and high <= rows and len(np.unique(cells)) == len(cells) and high - low < rows)


def _numbers_in(samples: Samples) -> NDArray[np.float64]:
    """Return the last number in each id's file name, (N,) float64, or none at all where an id has none."""
    found = [re.findall(r"\d{1,15}", PurePath(str(name)).stem) for name in samples.ids]
    return np.array([float(digits[-1]) if digits else np.nan for digits in found])


def _repeat_labels(values: Floats, label: Ints) -> Ints:
    """Return the columns whose value follows from the label and differs between some labels."""
    rows = np.flatnonzero(label >= 0)
    order = rows[np.argsort(label[rows], kind="stable")]
    if len(order) < FEW_FACES:
        return np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.diff(label[order], prepend=-1))
    if len(starts) < 2:
        return np.zeros(0, dtype=np.int64)
    ordered = values[order]
    low, high = np.minimum.reduceat(ordered, starts), np.maximum.reduceat(ordered, starts)
    fixed = (low == high).all(0) & (low.min(0) < low.max(0))
    columns: Ints = np.flatnonzero(fixed)
    return columns
