"""Exact neighbors part by part: some faces searched among one part of all others, the k best of all parts merged.

The k nearest of all faces are among the k nearest of each part, so parts may lie on disk or on other machines. The
answer is that of `search.nearest` with the exact index and vectors as they are: similarities pair by pair, ties by row
number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ...core.arrays import Floats, Ints
from ..whitening import unit_rows
from .among import Ready, nearest_among
from .exact import exact
from .scoring import ranked
from .search import BLOCK


class Best(NamedTuple):
    """The nearest of some faces: rows of the set (m, k), -1 where there are no more, and similarities (m, k)."""

    indices: Ints
    similarity: Floats


@dataclass(frozen=True, eq=False)
class Parted:
    """A view whose faces are searched among one another part by part.

    Parameters
    ----------
    values : (N, D) float32
        As for comparison. May be memory-mapped: two parts are read at a time.
    group : (N,) int64
        Faces of one number are never one another's neighbors (`core.groups.group_numbers`).
    held : (M,) int64
        Rows that are searched among, rising.
    asked : (A,) int64
        Those of them whose neighbors are wanted, rising.
    """

    values: Floats
    group: Ints
    held: Ints
    asked: Ints

    def nearest(self, block: slice, part: slice, k: int, device: str = "cpu") -> Best:
        """Return the k nearest of the faces `asked[block]` among `held[part]`, themselves and their groups left out.

        Cost: O(m n D) time; O((m + n) D + BLOCK (k + spare)) memory.
        """
        asked, held = self._ready(self.asked[block]), self._ready(self.held[part])
        m = len(asked.rows)
        best = Best(np.full((m, k), -1, dtype=np.int64), np.zeros((m, k), dtype=np.float32))
        if not m or not len(held.rows):
            return best
        backend = exact(held.vectors, device, m)
        for start in range(0, m, BLOCK):
            todo = np.arange(start, min(start + BLOCK, m))
            best.indices[todo], best.similarity[todo] = nearest_among(backend, asked, todo, held, k)
        return best

    def _ready(self, rows: Ints) -> Ready:
        return Ready(unit_rows(self.values, rows), rows, self.group[rows])


def slices(count: int, most: int) -> list[slice]:
    """Return slices of even size, none above `most`, that cover `count` rows."""
    edges = np.linspace(0, count, -(-count // most) + 1).astype(int).tolist()
    return [slice(start, end) for start, end in pairwise(edges)]


def merged_best(found: Sequence[Best], k: int) -> Best:
    """Return the k nearest of what several parts found for the same faces: most similar first, ties by row number."""
    indices = np.concatenate([one.indices for one in found], axis=1)
    similarity = np.concatenate([one.similarity for one in found], axis=1)
    return Best(*ranked(np.where(indices >= 0, similarity, np.float32(-np.inf)), indices, k))
