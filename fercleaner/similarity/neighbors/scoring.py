"""Similarities of given pairs, in float64, each summed in one fixed order."""

from __future__ import annotations

import numpy as np

from ...core.arrays import Doubles, Floats, Ints

#: FAISS sums in float32: two similarities closer than this may come from it in either order.
EDGE = 2e-6
#: Numbers gathered at once: 8 MiB as float64, about what a core keeps near.
GATHERED = 1 << 20


def pair_similarities(vectors: Floats, rows: Ints, near: Ints) -> Doubles:
    """Return the dot product of vector rows[q] with each of vectors near[q], (q, m) float64.

    Each product is summed in one fixed order, so that a pair has the same value whichever pairs stand beside it, and
    from whichever side it is looked at. Entries of -1 in `near` get the value of the last row.

    Cost: q m D operations; memory `GATHERED` numbers, four times.
    """
    result = np.empty(near.shape, dtype=np.float64)
    step = max(1, GATHERED // max(1, near.shape[1] * vectors.shape[1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        others = vectors[near[part]].astype(np.float64)
        others *= vectors[rows[part], None]
        result[part] = others.sum(2)
    return result
