"""Similarities of given pairs, each summed in one fixed order, and candidates ranked by them."""

from __future__ import annotations

import numpy as np

from ...core.arrays import Floats, Ints

#: FAISS sums in float32: two similarities closer than this may come from it in either order.
EDGE = 2e-6
#: Numbers gathered at once: 4 MiB as float32, about what a core keeps near.
GATHERED = 1 << 20


def pair_similarities(vectors: Floats, rows: Ints, near: Ints, *, asked: Floats | None = None) -> Floats:
    """Return the dot product of vector rows[q] with each of vectors near[q], (q, m) float32; -inf where near is -1.

    The rows are those of `asked` where it is given, else of `vectors` themselves.

    Each product is summed in one fixed order, so that a pair has the same value whichever pairs stand beside it, and
    from whichever side it is looked at.

    Cost: q m D operations; memory `GATHERED` numbers, twice.
    """
    result = np.full(near.shape, -np.inf, dtype=np.float32)
    asked = vectors if asked is None else asked
    own, column = np.nonzero(near >= 0)
    first, second = rows[own], near[own, column]
    values = np.empty(len(own), dtype=np.float32)
    step = max(1, GATHERED // vectors.shape[1])
    for start in range(0, len(own), step):
        part = slice(start, start + step)
        one, other = asked.take(first[part], axis=0), vectors.take(second[part], axis=0)
        np.einsum("md,md->m", one, other, out=values[part])
    result[own, column] = values
    return result


def ranked(scored: Floats, near: Ints, k: int) -> tuple[Ints, Floats]:
    """Return the k candidates of each row with the highest scores, equals by row number, and these scores.

    Parameters
    ----------
    scored : (q, m) float32
        -inf for what is no candidate; such entries come out as -1 with a score of 0.
    near : (q, m) int64
        Row numbers below 2^32.

    Returns
    -------
    (q, k) int64 and float32, padded with -1 and 0.
    """
    bits = (scored + np.float32(0)).view(np.uint32)  # -0 is 0
    falling = np.where(bits >> np.uint32(31), bits, ~(bits | np.uint32(0x80000000)))
    keys = (falling.astype(np.uint64) << np.uint64(32)) | near.astype(np.uint32).astype(np.uint64)
    keys = np.sort(keys, axis=1)[:, :k]
    best = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
    falling = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(falling >> np.uint32(31), falling, ~falling & np.uint32(0x7FFFFFFF))
    value = bits.view(np.float32)
    there = np.isfinite(value)
    pad = ((0, 0), (0, max(0, k - best.shape[1])))
    return (
        np.pad(np.where(there, best, -1), pad, constant_values=-1),
        np.pad(np.where(there, value, np.float32(0)), pad),
    )
