"""All pairs that are more alike than some bound: each pair looked at once, which takes a fraction of a search."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.arrays import Floats, Ints
from .scan import keys_of, multiplies_bfloat16
from .scoring import pair_similarities

#: Faces that are compared with so many others at once: 8 MiB of bfloat16.
ROWS, COLUMNS = 1024, 4096
#: Others that one face is paired with in one block at most: the first.
MOST = 16


def pairs_alike(vectors: Floats, least: float, group: Ints) -> Ints:
    """Return the pairs of unit vectors (N, D) with a product of `least` or more, (P, 2) row numbers, smaller first.

    Members of one `group` (N,) are no pairs. Candidates come from products in the precision that this processor
    multiplies fastest, with room for what that rounds away; their products are then computed again. Of a face that is
    alike to more than `MOST` of `COLUMNS` others, the first are named.

    Parameters
    ----------
    least : float in (0, 1)

    Cost: N^2 D operations; memory of 2 N D bytes (bfloat16) or 4 N D.
    """
    import torch

    half = multiplies_bfloat16()
    stored = torch.empty(vectors.shape, dtype=torch.bfloat16 if half else torch.float32)
    lost = 0.0
    for start in range(0, len(vectors), COLUMNS):
        exact = torch.from_numpy(vectors[start : start + COLUMNS].copy())
        stored[start : start + COLUMNS] = exact
        lost = max(lost, float((exact - stored[start : start + COLUMNS].float()).norm(dim=1).max()))
    # as in `scan`: what the vectors lose, then the product is rounded to 8 bits
    bound = least - (lost * (2 + lost) + (2.0**-9 if half else 0.0) + 2e-6)
    found = [np.zeros((0, 2), dtype=np.int64)]
    for first in range(0, len(vectors), ROWS):
        for other in range(first, len(vectors), COLUMNS):
            products = stored[first : first + ROWS] @ stored[other : other + COLUMNS].T
            pairs = _above(products, bound, half) + np.array([first, other])
            pairs = pairs[(pairs[:, 0] < pairs[:, 1]) & (group[pairs[:, 0]] != group[pairs[:, 1]])]
            found.append(pairs[_rank(pairs[:, 0]) < MOST])
    every = np.concatenate(found)
    alike = pair_similarities(vectors, every[:, 0], every[:, 1:])[:, 0] >= least
    kept: Ints = every[alike]
    return kept


def _above(products: Any, bound: float, half: bool) -> Ints:
    """Return where the products are `bound` or more, (P, 2), row by row."""
    import torch

    keys: NDArray[Any] = (products.view(torch.int16) if half else products).numpy()
    hits = np.flatnonzero(keys >= keys_of(np.array([bound], dtype=np.float32), half))
    return np.stack(np.divmod(hits, keys.shape[1]), axis=1)


def _rank(rows: Ints) -> Ints:
    """Return how many entries before each are of the same row, (P,); rows rise."""
    start = np.flatnonzero(np.diff(rows, prepend=-1))
    rank: Ints = np.arange(len(rows)) - np.repeat(start, np.diff(np.append(start, len(rows))))
    return rank
