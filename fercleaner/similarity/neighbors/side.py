"""Neighbors by all views side by side, chosen among the neighbors in each view."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...core.arrays import Bools, Floats, Ints, Strings
from ...core.groups import group_numbers
from ...core.types import Features, Neighbors
from ..whitening import JOINT, row_blocks
from .backend import EXACT_UP_TO
from .scoring import pair_similarities, ranked

#: Faces up to which the joint view is searched itself; above, `from_views` saves what a view's search takes and more.
SEARCHED_UP_TO = EXACT_UP_TO
#: Neighbors of each view that are looked at, at least.
WIDER = 40
#: Faces at once.
BLOCK = 4096


def from_views(
    views: Mapping[str, Features],
    tables: Mapping[str, Neighbors],
    k: int,
    *,
    apart: Strings | None = None,
    only: Bools | None = None,
) -> Neighbors:
    """Return the k most similar faces by all views side by side among those that some view has in its table.

    The cosine of two faces by all views (`whitening.join`) is the mean of their cosines where both have all views; a
    view that one of them misses counts 0:

        s_ij = sum_v cos_v(i, j) / sqrt(n_i n_j),      n the number of views that have a face

    A face that is near in all views together but in no single one is missed: on FER2013's faces (two views, 40
    neighbors each) .84 of the true 15 are found. What is made of them suffers nothing: the average precision of
    `hypergraph` is .8478 with them and .8469 with the true ones, on flipped labels .9513 and .9510 (docs/speed.md).

    Parameters
    ----------
    views : mapping of view -> Features
        As for comparison.
    tables : mapping of view -> Neighbors
        Of the views in it, `WIDER` or more neighbors each.
    apart : (N,) str, optional
        Faces that share a value here are never one another's neighbors.
    only : (N,) bool, optional
        Faces whose neighbors are wanted; the rows of the others are padding.

    Cost: O(N k views D): no search.
    """
    ids = next(iter(views.values())).ids
    n, cosines = len(ids), cosines_of(views)
    indices = np.full((n, k), -1, dtype=np.int64)
    similarity = np.zeros((n, k), dtype=np.float32)
    groups = group_numbers(ids, apart)
    wanted = np.arange(n) if only is None else np.flatnonzero(only)
    for start in range(0, len(wanted), BLOCK):
        rows = wanted[start : start + BLOCK]
        near = _once(np.concatenate([table.indices[rows] for table in tables.values()], axis=1))
        near[groups[near] == groups[rows][:, None]] = -1
        indices[rows], similarity[rows] = ranked(cosines(rows, near), near, k)
    indices.flags.writeable = similarity.flags.writeable = False  # so that Neighbors takes them as they are
    return Neighbors(JOINT, ids, indices, similarity, {"index": "views", "candidates": list(tables)})


def cosines_of(views: Mapping[str, Features]) -> Callable[[Ints, Ints], Floats]:
    """Return (rows (q,), others (q, m)) -> their cosines by all views, as in `from_views`, (q, m); -inf where -1."""
    scales = {name: _scale(view) for name, view in views.items()}
    count = np.maximum(np.sum([view.found for view in views.values()], axis=0), 1).astype(np.float32)

    def cosines(rows: Ints, near: Ints) -> Floats:
        there = near >= 0
        scored = np.zeros(near.shape, dtype=np.float32)
        for name, view in views.items():
            pairs = np.where(there, pair_similarities(view.values, rows, near), np.float32(0))
            scored += pairs * (scales[name][rows][:, None] * scales[name][near])
        scored = np.clip(scored / np.sqrt(count[rows][:, None] * count[near]), -1.0, 1.0)
        result: Floats = np.where(there, scored, np.float32(-np.inf))
        return result

    return cosines


def _scale(view: Features) -> Floats:
    """Return 1 / length of every vector, (N,); 0 where there is none."""
    parts = (view.values[part] for part in row_blocks(len(view)))
    length = np.concatenate([np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64)) for rows in parts])
    return np.where(length > 0, 1 / np.where(length > 0, length, 1.0), 0.0).astype(np.float32)


def _once(near: Ints) -> Ints:
    """Return each row with every face once, -1 in place of its further entries."""
    near = np.sort(near, axis=1)
    near[:, 1:][near[:, 1:] == near[:, :-1]] = -1
    return near
