"""How deep an approximate index must search, measured on some of the faces themselves."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from ...core.arrays import Floats, Ints
from .backend import Backend
from .exact import exact
from .scoring import EDGE, pair_similarities

#: Faces whose neighbors are searched exactly: on one half the depth is chosen, on the other the recall is measured.
#: Its standard error is about .001 at a recall of .99.
SAMPLE = 2048


def sample(n: int, count: int) -> Ints:
    """Return `count` of n rows, or all where there are fewer, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(count, n)).astype(np.int64))


def thorough(backend: Backend, vectors: Floats, device: str, asked: int) -> Backend:
    """Return an index of the same vectors that finds all but every true neighbor, for some `asked` queries.

    Lists do so themselves where all of them are searched.
    """
    if backend.name == "ivf":
        return Backend("exact", backend.find, depth=backend.depths[-1])
    return exact(vectors, device, asked)


def tune(backend: Backend, vectors: Floats, k: int, spare: int, recall: float, device: str) -> None:
    """Set `backend.depth` to the least of its depths that reaches `recall` at k, and write what was measured.

    The aim is a tenth of what is missing above it, so that the other half of the sample seldom falls short. Where no
    depth reaches it, the greatest is taken; `about["recall"]` says how far it comes.

    Cost: exact search for `SAMPLE` faces, and a search of these for some of the depths (by halving).
    """
    n = len(vectors)
    rows = sample(n, SAMPLE)
    k = min(k, n - 1)
    want = min(k + spare, n)
    queries = vectors[rows]
    found = thorough(backend, vectors, device, len(rows)).candidates(queries, min(k + 1, n))
    true = _sorted(vectors, rows, found)[:, k - 1]
    aim = recall + (1 - recall) / 10
    choose = np.arange(len(rows)) % 2 == 0
    part = choose if len(rows) > 1 else ~choose

    def reaches(depth: int) -> bool:
        backend.depth = depth
        return _recall(backend, vectors, rows[part], true[part], k, want) >= aim

    backend.depth = backend.depths[min(bisect_left(backend.depths, True, key=reaches), len(backend.depths) - 1)]
    other = ~part if len(rows) > 1 else part
    reached = _recall(backend, vectors, rows[other], true[other], k, want)
    backend.about |= {
        "depth": backend.depth,
        "recall": round(reached, 4),
        "recall_at": k,
        "recall_wanted": recall,
        "recall_faces": int(other.sum()),
    }


def _recall(backend: Backend, vectors: Floats, rows: np.ndarray, true: np.ndarray, k: int, want: int) -> float:
    """Return the share of the k nearest that are found: those at least as near as the true k-th, `true` (q,)."""
    found = _sorted(vectors, rows, backend.candidates(vectors[rows], want))[:, :k]
    return float((found >= true[:, None] - EDGE).sum() / (k * len(rows)))


def _sorted(vectors: Floats, rows: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Return the similarities of candidates, the face itself left out, falling, (q, m); -inf is padding."""
    exact_ = pair_similarities(vectors, rows, near)
    exact_ = np.where((near >= 0) & (near != rows[:, None]), exact_, -np.inf)
    ranked: np.ndarray = -np.sort(-exact_, axis=1)
    return ranked
