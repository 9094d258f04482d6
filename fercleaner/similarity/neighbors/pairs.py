"""All pairs that are more alike than some bound: each pair looked at once, which takes a fraction of a search."""

from __future__ import annotations

import numpy as np

from ...core.arrays import Floats, Ints
from .scoring import pair_similarities

#: Faces that are compared with so many others at once: 8 MiB of products.
ROWS, COLUMNS = 1024, 2048
#: Others that one face is paired with in one block at most: the first.
MOST = 16
#: Share of all squares that the leading columns hold: strangers then pass once in 1,000 to 10,000 pairs.
LEADING = 0.55
#: Leading columns are filled up to a multiple of this: products are fastest so.
MULTIPLE = 16
#: Share of a block's pairs from which on all of its products take less time than those of the pairs that pass.
MANY = 1 / 32
#: What sums of float32 can be off by.
ROUNDING = 1e-5


def pairs_alike(vectors: Floats, least: float, group: Ints) -> Ints:
    """Return the pairs of unit vectors (N, D) with a product of `least` or more, (P, 2) row numbers, smaller first.

    Members of one `group` (N,) are no pairs. With x = (p, r), p the columns that hold most of the squares and r the
    others,

        <x, y> = <p_x, p_y> + <r_x, r_y> <= <p_x, p_y> + |r_x| |r_y|        (Cauchy and Schwarz)

    so that products of p and one column more name every such pair and few others; these are then computed in full. Of
    a face that is alike to more than `MOST` of `COLUMNS` others, the first are named.

    Parameters
    ----------
    least : float in (0, 1)

    Cost: a third to a fifth of the N^2 D operations of all products; memory of 1 to 2 N D bytes.
    """
    short = _shortened(vectors)
    found = [np.zeros((0, 2), dtype=np.int64)]
    for first in range(0, len(vectors), ROWS):
        for other in range(first, len(vectors), COLUMNS):
            rows, columns = slice(first, first + ROWS), slice(other, other + COLUMNS)
            pairs, size = _above(short[rows], short[columns], least)
            many = len(pairs) > MANY * size
            if many:
                pairs, _ = _above(vectors[rows], vectors[columns], least)
            pairs += np.array([first, other])
            pairs = pairs[(pairs[:, 0] < pairs[:, 1]) & (group[pairs[:, 0]] != group[pairs[:, 1]])]
            if many:
                pairs = _first(pairs)
            found.append(_first(pairs[pair_similarities(vectors, pairs[:, 0], pairs[:, 1:])[:, 0] >= least]))
    return np.concatenate(found)


def _shortened(vectors: Floats) -> Floats:
    """Return the columns that hold `LEADING` of all squares and, last, the length of each row's others, (N, M)."""
    squares = np.einsum("nd,nd->d", vectors, vectors, dtype=np.float64)
    order = np.argsort(-squares, kind="stable")
    wanted = int(np.searchsorted(np.cumsum(squares[order]), LEADING * squares.sum())) + 2
    count = min(-(-wanted // MULTIPLE) * MULTIPLE - 1, len(order))
    short: Floats = np.empty((len(vectors), count + 1), dtype=np.float32)
    for start in range(0, len(vectors), COLUMNS):
        part = slice(start, start + COLUMNS)
        rest = vectors[part, order[count:]]
        short[part, :count] = vectors[part, order[:count]]
        short[part, count] = np.sqrt(np.einsum("nd,nd->n", rest, rest))
    return short


def _above(one: Floats, other: Floats, least: float) -> tuple[Ints, int]:
    """Return where products of rows are `least`, or all but that, (P, 2), row by row, and the number of products."""
    products = one @ other.T
    hits = np.flatnonzero(products >= np.float32(least - ROUNDING))
    return np.stack(np.divmod(hits, products.shape[1]), axis=1), products.size


def _first(pairs: Ints) -> Ints:
    """Return the first `MOST` pairs of each first face; these rise."""
    start = np.flatnonzero(np.diff(pairs[:, 0], prepend=-1))
    rank = np.arange(len(pairs)) - np.repeat(start, np.diff(np.append(start, len(pairs))))
    return pairs[rank < MOST]
