"""Exact neighbors shard by shard: each part of a view searched by itself, the k best of all parts merged.

The k nearest of all faces are among the k nearest of each part, so parts may lie on disk or on other machines. The
answer is that of `search.nearest` with the exact index: similarities pair by pair, ties by row number. (The
mean that is taken off is summed part by part; its last bit, and with it that of a similarity, may differ.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...core.arrays import Bools, Doubles, Floats, Ints, Progress
from ...core.errors import InputError
from ..whitening import unit_rows
from .among import Ready, nearest_among
from .exact import exact
from .scoring import ranked
from .search import BLOCK


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a view, one after the other.

    Parameters
    ----------
    first : int
        Row of the set that row 0 is.
    values : (n, D) float32
        May be memory-mapped: it is read when it is this part's turn.
    found : (n,) bool
    group : (n,) int64
        Faces of one number are never one another's neighbors (`core.groups.group_numbers` of the whole set).
    """

    first: int
    values: Floats
    found: Bools
    group: Ints


class Best(NamedTuple):
    """The nearest of some faces: rows of the set (m, k), -1 where there are no more, and similarities (m, k)."""

    indices: Ints
    similarity: Floats


def summed(part: Part) -> tuple[Doubles, int]:
    """Return the sum of a part's found vectors (D,), and how many they are."""
    total, count = np.zeros(part.values.shape[1]), 0
    for start in range(0, len(part.values), BLOCK):
        block = part.values[start : start + BLOCK][part.found[start : start + BLOCK]]
        total += block.sum(0, dtype=np.float64)
        count += len(block)
    return total, count


def mean_of(sums: Iterable[tuple[Doubles, int]]) -> Doubles:
    """Return the mean vector of all parts, zero where no face was found."""
    totals, counts = zip(*sums, strict=True)
    mean: Doubles = np.sum(totals, axis=0) / max(1, sum(counts))
    return mean


def ready(part: Part, mean: Doubles) -> Ready:
    """Return a part's found faces, the mean vector taken off; rows are those of the whole set."""
    inside = np.flatnonzero(part.found)
    vectors = unit_rows((part.values[inside] - mean).astype(np.float32))
    return Ready(vectors, part.first + inside, part.group[inside])


def nearest_in(asked: Ready, part: Ready, k: int, device: str = "cpu") -> Best:
    """Return the k nearest faces that a part holds of each face asked for, itself and its group left out.

    Cost: O(m n D) time; O(n D + BLOCK (k + spare)) memory.
    """
    m = len(asked.rows)
    best = Best(np.full((m, k), -1, dtype=np.int64), np.zeros((m, k), dtype=np.float32))
    if not len(part.rows):
        return best
    backend = exact(part.vectors, device, m)
    for start in range(0, m, BLOCK):
        todo = np.arange(start, min(start + BLOCK, m))
        best.indices[todo], best.similarity[todo] = nearest_among(backend, asked, todo, part, k)
    return best


def merged_best(found: Sequence[Best], k: int) -> Best:
    """Return the k nearest of what several parts found for the same faces: most similar first, ties by row number."""
    indices = np.concatenate([one.indices for one in found], axis=1)
    similarity = np.concatenate([one.similarity for one in found], axis=1)
    return Best(*ranked(np.where(indices >= 0, similarity, np.float32(-np.inf)), indices, k))


def nearest_by_parts(
    parts: Callable[[int], Part],
    count: int,
    k: int,
    *,
    center: bool = True,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Iterable[tuple[Part, Best]]:
    """Find the k nearest faces of every face, two parts in memory at a time.

    Parameters
    ----------
    parts : callable
        Opens part 0, 1, ..., count - 1; called again and again.
    count : int
    k : int
        Neighbors a face, at least 1.
    center : bool
        Take the mean vector off first.
    progress : callable (done, total), optional
        Pairs of parts.

    Yields
    ------
    Each part with the nearest of its rows, (n, k): padding for faces that were not found.

    Cost: O(N^2 D) time; memory of two parts; each part is read count + 2 times.
    """
    if k < 1:
        raise InputError(f"k = {k}: at least one neighbor is needed.")
    sums = [summed(parts(number)) for number in range(count)]
    mean = mean_of(sums) if center else np.zeros_like(sums[0][0])
    for number in range(count):
        part = parts(number)
        asked, found = ready(part, mean), list[Best]()
        for other in range(count):
            found.append(nearest_in(asked, asked if other == number else ready(parts(other), mean), k, device))
            if progress is not None:
                progress(number * count + other + 1, count * count)
        yield part, padded(part, merged_best(found, k))


def padded(part: Part, best: Best) -> Best:
    """Return the nearest of a part's found faces as those of all its rows, padding for the others."""
    n, k = len(part.found), best.indices.shape[1]
    rows = np.flatnonzero(part.found)
    full = Best(np.full((n, k), -1, dtype=np.int64), np.zeros((n, k), dtype=np.float32))
    full.indices[rows], full.similarity[rows] = best.indices, best.similarity
    return full
