"""Rows of a user's vectors that are no vector of a face: NaN, zeros, one number, or what very many faces share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Bools, Floats, Ints
from ..similarity.whitening import unit_rows

#: Rows looked at together.
BLOCK_ROWS = 8192
#: A row shared by at least so many faces, and by this part of all, while most others have one of their own, says
#: nothing about a face. Near-duplicates of one picture are fewer.
MANY, LARGE_PART = 10, 0.02
#: Part of the other faces that must have a row of their own.
DISTINCT = 0.5
#: Rows are alike where no column differs by more than its spread divided by this, about; rows from the whole file that
#: tell the spread.
STEPS, SPREAD_ROWS = 1000, 1024
#: A row of one number throughout is no vector from this many dimensions on.
FEW_COLUMNS = 8

ALL_NAN = "the view's row is NaN throughout"
ALL_ZERO = "the view's row is zero throughout"
CONSTANT = "the view's row is one number throughout"
SHARED = "the view's row is shared by many faces"


def empty_rows(values: Floats) -> dict[str, NDArray[np.bool_]]:
    """Return reason -> which rows (N,) are no vector for it.

    Rows are shared where both they and their directions are the same: beside rows of a thousand, rows of a millionth
    seem to be one, and tell as much.

    Parameters
    ----------
    values : (N, D) float16 or float32
    """
    kinds = (ALL_NAN, ALL_ZERO, CONSTANT) if values.shape[1] >= FEW_COLUMNS else (ALL_NAN, ALL_ZERO)
    empty = {kind: np.zeros(len(values), dtype=np.bool_) for kind in kinds}
    for start in range(0, len(values), BLOCK_ROWS):
        block = values[start : start + BLOCK_ROWS]
        found = {ALL_NAN: np.isnan(block).all(1), ALL_ZERO: ~block.any(1), CONSTANT: (block == block[:, :1]).all(1)}
        for kind in kinds:
            empty[kind][start : start + BLOCK_ROWS] = found[kind]
    rest = np.flatnonzero(~np.any(list(empty.values()), axis=0))
    some = values[rest[:: max(1, len(rest) // SPREAD_ROWS)]]
    if values.shape[1] >= FEW_COLUMNS:
        step, turn = _step(some), _step(_directions(some))
        digests = _digests(values, rest, lambda block: _rounded(block, step))
        alike = _often(digests, len(values))
        digests[alike] = _digests(values, rest[alike], lambda block: _rounded(_directions(block), turn))
    else:
        digests = _digests(values, rest, lambda block: block)
    empty[SHARED] = np.zeros(len(values), dtype=np.bool_)
    empty[SHARED][rest[_often(digests, len(values))]] = True
    return empty


def _digests(values: Floats, rows: Ints, made: Callable[[Floats], Floats]) -> Ints:
    """Return a number for what is made of each of these rows, (len(rows),) int64."""
    digests = np.zeros(len(rows), dtype=np.int64)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = made(values[rows[start : start + BLOCK_ROWS]])
        digests[start : start + BLOCK_ROWS] = [hash(row.tobytes()) for row in block]
    return digests


def _often(digests: Ints, faces: int) -> Bools:
    """Return which entries very many share, while most of the others are alone, shape of `digests`."""
    _, of_row, counts = np.unique(digests, return_inverse=True, return_counts=True)
    many = counts >= max(MANY, LARGE_PART * faces)
    others = int(counts[~many].sum())
    if not (many.any() and others and (~many).sum() >= DISTINCT * others):
        return np.zeros(len(digests), dtype=np.bool_)
    often: Bools = many[of_row]
    return often


def _step(rows: Floats) -> Floats:
    """Return a small part of how far each column of rows (M, D) spreads, (D,).

    From the 5 % to the 95 % quantile, so that a broken row does not count; the standard deviation where that is 0, as
    in a column of few values beside 0; 1 where both are, or no number.
    """
    some = rows.astype(np.float64)
    if not len(some):
        return np.ones(rows.shape[1], dtype=np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        low, high = np.quantile(some, [0.05, 0.95], axis=0)
        step: Floats = (np.where(high > low, high - low, some.std(0)) / STEPS).astype(np.float32)
    step[~np.isfinite(step) | (step == 0)] = 1.0
    return step


def _directions(rows: Floats) -> Floats:
    """Return rows (N, D) of length 1; those that hold NaN or infinity are refused later."""
    with np.errstate(invalid="ignore"):
        return unit_rows(rows)


def _rounded(rows: Floats, step: Floats) -> Floats:
    """Return rows (N, D) in whole steps (D,): what a network says of one picture varies by less than these."""
    with np.errstate(invalid="ignore", over="ignore"):
        steps: Floats = np.divide(rows, step, dtype=np.float32)
        np.rint(steps, out=steps)
        steps += 0.0  # so that there is no -0
    return steps
