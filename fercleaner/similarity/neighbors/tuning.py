"""How deep an approximate index must search, measured on some of the faces themselves."""

from __future__ import annotations

import numpy as np

from ...core.arrays import Floats
from .backend import Backend
from .exact import exact
from .scoring import EDGE, pair_similarities

#: Faces whose neighbors are searched exactly: on one half the depth is chosen, on the other the recall is measured.
#: Its standard error is about .002 at a recall of .99.
SAMPLE = 1024


def tune(backend: Backend, vectors: Floats, k: int, spare: int, recall: float, device: str) -> None:
    """Set `backend.depth` to the least of its depths that reaches `recall` at k, and write what was measured.

    Where none does, the greatest is taken; `about["recall"]` says how far it comes.

    Cost: exact search for `SAMPLE` faces, and a search of these for each depth tried.
    """
    n = len(vectors)
    rows = np.unique(np.linspace(0, n - 1, min(SAMPLE, n)).astype(np.int64))
    k = min(k, n - 1)
    want = min(k + spare, n)
    queries = vectors[rows]
    true = _ranked(vectors, rows, exact(vectors, device).candidates(queries, min(k + 1, n)))[:, k - 1]
    choose = np.arange(len(rows)) % 2 == 0
    part = choose if len(rows) > 1 else ~choose
    for depth in backend.depths:
        backend.depth = depth
        if _recall(backend, vectors, rows[part], true[part], k, want) >= recall:
            break
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
    found = _ranked(vectors, rows, backend.candidates(vectors[rows], want))[:, :k]
    return float((found >= true[:, None] - EDGE).mean())


def _ranked(vectors: Floats, rows: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Return the similarities of candidates, the face itself left out, falling, (q, m); -inf is padding."""
    exact_ = pair_similarities(vectors, rows, near)
    exact_ = np.where((near >= 0) & (near != rows[:, None]), exact_, -np.inf)
    ranked: np.ndarray = -np.sort(-exact_, axis=1)
    return ranked
