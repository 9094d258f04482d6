"""Which neighbors to name beside a face: those that spoke for its label, and those against it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Bools, Ints
from ..core.types import Neighbors, Refinement, Samples
from ..similarity.whitening import JOINT

#: Neighbors named a face and side.
NAMED = 5


def nearest_overall(neighbors: Mapping[str, Neighbors]) -> Ints:
    """Return the table (N, k) to name neighbors from: the joint view, or else all views by rank in turn.

    In the latter case a face that is near in several views is named once, at its first place.
    """
    if JOINT in neighbors:
        return np.asarray(neighbors[JOINT].indices)
    tables = [neighbors[view].indices for view in sorted(neighbors)]
    if len(tables) == 1:
        return np.asarray(tables[0])
    k = max(table.shape[1] for table in tables)
    padded = [np.pad(t, ((0, 0), (0, k - t.shape[1])), constant_values=-1) for t in tables]
    stacked = np.stack(padded, axis=2).reshape(len(padded[0]), -1)
    return np.where(_repeated(stacked), -1, stacked)


def _repeated(table: Ints) -> Bools:
    """Return which entries of each row stand there before, (N, m)."""
    order = np.argsort(table, axis=1, kind="stable")
    ranked = np.take_along_axis(table, order, 1)
    again = np.zeros(table.shape, dtype=np.bool_)
    again[:, 1:] = (ranked[:, 1:] == ranked[:, :-1]) & (ranked[:, 1:] >= 0)
    result = np.zeros(table.shape, dtype=np.bool_)
    np.put_along_axis(result, order, again, 1)
    return result


def named_neighbors(
    samples: Samples, refinement: Refinement, table: Ints
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    """Return the ids of up to `NAMED` labeled neighbors for and against each face's label, nearest first.

    The label is the given one, or the refined one where none was given; a neighbor speaks for it when it was
    given the same.
    """
    label = samples.label
    own = np.where(label >= 0, label, refinement.label)
    names = samples.ids.astype(object)
    speaks = (table >= 0) & (label[table] >= 0)
    agrees = speaks & (label[table] == own[:, None])
    return _first(table, agrees, names), _first(table, speaks & ~agrees, names)


def _first(table: Ints, chosen: Bools, names: NDArray[Any]) -> tuple[tuple[str, ...], ...]:
    """Return the names of the first `NAMED` chosen entries of each row."""
    keep = chosen & (chosen.cumsum(1) <= NAMED)
    rows, columns = np.nonzero(keep)
    picked = names[table[rows, columns]].tolist()
    ends = np.searchsorted(rows, np.arange(len(table) + 1)).tolist()
    return tuple(tuple(picked[start:end]) for start, end in pairwise(ends))
