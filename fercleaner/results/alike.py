"""Pairs of like pictures among many: copies, mirrored copies, and copies that were cropped otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..core.arrays import Bools, Bytes, Floats, Ints, Progress

#: Side of the thumbnails that are compared (pixels).
SIDE = 16
#: Rows compared at once: bounds memory at BLOCK x N numbers.
BLOCK = 512
#: Slack for rounding in the bound that leaves pairs out.
SLACK = 1e-3


class Pairs(NamedTuple):
    """Pairs of pictures: row numbers (P,), first < second; their cosine (P,), and whether one is mirrored (P,)."""

    first: Ints
    second: Ints
    cosine: Floats
    mirrored: Bools


def thumbnails(gray: Bytes) -> tuple[Floats, Bools]:
    """Return (N, SIDE^2) float32 thumbnails of gray copies (N, S, S), mean off and length 1, and which are not even.

    S is a multiple of `SIDE`. Rows of even pictures (a standard deviation under one gray level) are zero.
    """
    n, s, _ = gray.shape
    step = s // SIDE
    small = gray.reshape(n, SIDE, step, SIDE, step).mean((2, 4), dtype=np.float32).reshape(n, SIDE * SIDE)
    return unit(small, 1.0)


def unit(rows: Floats, least: float) -> tuple[Floats, Bools]:
    """Return rows with their mean off and length 1, and which have a standard deviation of at least `least`."""
    rows = rows - rows.mean(1, keepdims=True)
    spread = np.sqrt(np.mean(rows**2, axis=1))
    telling = spread >= least
    scale = np.where(telling, spread * np.sqrt(rows.shape[1]), np.inf)
    return (rows / scale[:, None]).astype(np.float32), telling


def halves(thumbs: Floats) -> tuple[Floats, Floats]:
    """Return the even and the odd part of thumbnails about the vertical axis, (N, SIDE^2 / 2) each.

    With e and o these parts, <x, y> = <e_x, e_y> + <o_x, o_y>, and for y mirrored <e_x, e_y> - <o_x, o_y>: one pass
    finds copies and mirrored copies.
    """
    grid = thumbs.reshape(len(thumbs), SIDE, SIDE)
    left, right = grid[:, :, : SIDE // 2], grid[:, :, : SIDE // 2 - 1 : -1]
    root = np.float32(np.sqrt(0.5))
    even, odd = (left + right) * root, (left - right) * root
    half = SIDE * SIDE // 2
    return even.reshape(-1, half), odd.reshape(-1, half)


def alike(thumbs: Floats, threshold: float, progress: Progress | None = None) -> Pairs:
    """Return all pairs of thumbnails whose cosine, one of them mirrored or not, is at least `threshold`.

    Exact: pairs are left out only where they cannot reach it. Two unit vectors of cosine c differ by at most
    sqrt(2 - 2c) in any direction; the faces are sorted along the direction of largest variance of their even parts,
    which mirroring leaves be, and only those within that reach are compared.

    Parameters
    ----------
    thumbs : (N, SIDE^2) float32
        Of length 1, or zero for pictures that are like nothing.
    threshold : float

    Cost: O(N^2 SIDE^2) at most, about a quarter of it on faces at 0.99.
    """
    rows = np.flatnonzero(thumbs.any(1))
    if len(rows) < 2:
        return _no_pairs()
    even, odd = halves(thumbs[rows])
    at = even @ leading_direction(even)
    order = np.argsort(at, kind="stable")
    rows, even, odd, at = rows[order], even[order], odd[order], at[order]
    reach = np.sqrt(max(0.0, 2 - 2 * threshold)) + SLACK
    found = list(_windows(even, odd, at, reach, threshold, progress))
    if not found:
        return _no_pairs()
    a, b, cosine, mirrored = (np.concatenate(parts) for parts in zip(*found, strict=True))
    a, b = rows[a], rows[b]
    first, second = np.minimum(a, b), np.maximum(a, b)
    order = np.lexsort((mirrored, second, first))
    return Pairs(first[order], second[order], cosine[order].astype(np.float32), mirrored[order])


def _no_pairs() -> Pairs:
    none = np.zeros(0, dtype=np.int64)
    return Pairs(none, none, np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.bool_))


def leading_direction(values: Floats) -> Floats:
    """Return the direction of largest variance (D,) float32."""
    centered = values - values.mean(0)
    _, directions = np.linalg.eigh((centered.T @ centered).astype(np.float64))
    return np.asarray(directions[:, -1], dtype=np.float32)


def _windows(
    even: Floats, odd: Floats, at: Floats, reach: float, threshold: float, progress: Progress | None
) -> Iterator[tuple[Ints, Ints, Floats, Bools]]:
    """Yield (row, row, cosine, mirrored) of sorted faces, a block of rows at a time, each pair once."""
    n = len(at)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        end = int(np.searchsorted(at, at[stop - 1] + reach, side="right"))
        symmetric, skew = even[start:stop] @ even[start:end].T, odd[start:stop] @ odd[start:end].T
        for mirrored, cosine in ((False, symmetric + skew), (True, symmetric - skew)):
            i, j = np.nonzero(cosine >= threshold)
            once = j > i
            i, j = i[once], j[once]
            yield start + i, start + j, cosine[i, j], np.full(len(i), mirrored)
        if progress is not None:
            progress(stop, n)
