"""Columns of a user's vectors that are no measurement of the face: the given label, row numbers, ids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Bools, Floats, Ints
from ..core.types import Samples
from ..similarity.whitening import unit_rows

#: Faces below which a column may repeat the labels, or count rows, by chance.
FEW_FACES = 20

#: A code of few values that tells the label by this much (Cramer's V), beside measurements, is a label of somebody's.
NEARLY, MEASUREMENTS, ROWS_A_VALUE = 0.6, 8, 6
#: A column holds few values where its first `MOST_ROWS` rows hold at most `MOST_VALUES`.
MOST_ROWS, MOST_VALUES = 1000, 64
#: Correlation with the row number beyond which a column that rises throughout its first rows counts them.
FIRST_ROWS, STEADY = 20, 0.9999
#: Numbered columns (f0, f1, ...) of one name from which on they are the vector, and columns of other names are not.
MANY_NUMBERED = 8

#: Part of how vectors differ that labels explain where each class has one vector, but for rounding; rows looked at.
ALL_OF_IT, SEEN_ROWS = 1 - 1e-6, 4096

COUNTS = "it counts the rows"
IDS = "it repeats the ids"
LABELS = "it repeats the given labels"
NEARLY_LABELS = "a few numbers that nearly repeat the given labels"

_NUMBERED = re.compile(r"(.*?)[\s_.-]*\d+")


def numbered(names: Sequence[str]) -> list[str]:
    """Return the columns that are numbered, such as f0 to f511, where most are; else all.

    >>> numbered([*(f"f{k}" for k in range(8)), "x", "y", "age"])[-1]
    'f7'
    >>> numbered(["AU01", "x", "y"])
    ['AU01', 'x', 'y']
    """
    stems = [found[1] if (found := _NUMBERED.fullmatch(name)) else None for name in names]
    counts = Counter(stem for stem in stems if stem is not None)
    kept = [name for name, stem in zip(names, stems, strict=True) if counts.get(stem or "", 0) >= MANY_NUMBERED]
    return kept if 2 * len(kept) > len(names) else list(names)


def left_out(values: Floats, found: Bools, samples: Samples) -> dict[int, str]:
    """Return column -> why it is left out, for columns that say nothing of a face but which row or label it is.

    - The values are the whole numbers from 0 or 1 up to the number of faces, each once, or rise with the row number
      alone.
    - The values are the numbers in the ids.
    - The value follows from the given label, without one exception, while other columns do not: a code, or 1 for
      one class and 0 for the others.
    - The values are a few numbers that nearly follow from the given label, while most other columns are measured:
      another person's label, the clean one, or one before it was corrected.

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
    for column in _steady(chosen, np.flatnonzero(found)):
        out.setdefault(column, COUNTS)
    repeating = _repeat_labels(chosen, samples.label[found])
    if len(repeating) + len(out) < values.shape[1]:
        out.update({int(column): LABELS for column in repeating if int(column) not in out})
    few = _few_values(chosen)
    if values.shape[1] - len(few) >= MEASUREMENTS:
        label = samples.label[found]
        codes = (int(c) for c in few if int(c) not in out)
        out.update({column: NEARLY_LABELS for column in codes if _nearly(chosen[:, column], label)})
    return out if len(out) < values.shape[1] else {}


def repeat_labels(values: Floats, found: Bools, samples: Samples) -> bool:
    """Return whether vectors (N, D) are the given labels in other words, as far as `SEEN_ROWS` of them show.

    One vector for each class, or near enough, or columns that all follow from the label without one exception.
    """
    if explained_by_labels(values, found, samples) >= ALL_OF_IT:
        return True
    rows = _some(found)
    return bool(len(_repeat_labels(values[rows], samples.label[rows])) == values.shape[1])


def explained_by_labels(values: Floats, found: Bools, samples: Samples) -> float:
    """Return the part of the variance of directions (N, D) that the given labels explain, 0 to 1, by unbiased sums.

    With u_i the rows of length 1, m their mean and m_c that of the n_c faces of class c,

        1 - [sum_i |u_i - m_c(i)|^2 / (n - C)] / [sum_i |u_i - m|^2 / (n - 1)]

    over `SEEN_ROWS` faces. 0 where too few have a label and a vector (`FEW_FACES` beyond one a class).
    """
    rows = _some(found & (samples.label >= 0))
    classes, of_row, counts = np.unique(samples.label[rows], return_inverse=True, return_counts=True)
    free = len(rows) - len(classes)
    if free < FEW_FACES or len(classes) < 2:
        return 0.0
    directions = unit_rows(values, rows)
    means = (np.eye(len(classes), dtype=np.float32)[of_row].T @ directions) / counts[:, None]
    within = float(np.square(directions - means[of_row], dtype=np.float64).sum())
    total = float(np.square(directions - directions.mean(0, dtype=np.float64)).sum())
    return max(0.0, 1 - (within / free) / (total / (len(rows) - 1))) if total > 0 else 0.0


def _some(there: Bools) -> Ints:
    """Return at most `SEEN_ROWS` of the rows that are there, from the whole set."""
    rows = np.flatnonzero(there)
    some: Ints = rows[:: max(1, -(-len(rows) // SEEN_ROWS))]
    return some


def _steady(values: Floats, rows: Ints) -> list[int]:
    """Return the columns that rise or fall with the row number alone: indices on another scale, times of frames."""
    steps = np.diff(values[:FIRST_ROWS], axis=0)
    candidates = np.flatnonzero((steps > 0).all(0) | (steps < 0).all(0))
    found = []
    for column in candidates.tolist():
        cells = values[:, column].astype(np.float64)
        if abs(float(np.corrcoef(cells, rows)[0, 1])) > STEADY:
            found.append(column)
    return found


def _few_values(values: Floats) -> Ints:
    """Return the columns that hold few different numbers, as far as the first rows show."""
    ordered = np.sort(values[:MOST_ROWS], axis=0)
    columns: Ints = np.flatnonzero((np.diff(ordered, axis=0) != 0).sum(0) < MOST_VALUES)
    return columns


def _nearly(cells: NDArray[np.float32], label: Ints) -> bool:
    """Whether few numbers and the label go together: Cramer's V of their table is at least `NEARLY`."""
    known = label >= 0
    values, row = np.unique(cells[known], return_inverse=True)
    classes, column = np.unique(label[known], return_inverse=True)
    r, c, n = len(values), len(classes), int(known.sum())
    if min(r, c) < 2 or 2 * r <= c or n < ROWS_A_VALUE * r:  # an action unit, there or not, can go with one class
        return False
    table = np.bincount(row * c + column, minlength=r * c).reshape(r, c).astype(np.float64)
    expected = table.sum(1, keepdims=True) * table.sum(0) / n
    chi = float(((table - expected) ** 2 / expected).sum())
    return bool(np.sqrt(chi / (n * (min(r, c) - 1))) >= NEARLY)


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
