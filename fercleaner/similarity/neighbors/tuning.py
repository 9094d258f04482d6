"""How deep an approximate index must search, measured on some of the faces themselves."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from ...core.arrays import Bools, Floats
from .among import Ready, nearest_among
from .backend import Backend
from .exact import exact
from .scoring import EDGE

#: Faces whose neighbors are searched exactly: on one half the depth is chosen, on the other the recall is measured.
#: Its standard error is about .001 at a recall of .99.
SAMPLE = 2048


def thorough(backend: Backend, vectors: Floats, asked: int) -> Backend:
    """Return an index of the same vectors that finds all but every true neighbor, for some `asked` queries.

    Lists do so themselves where all of them are searched.
    """
    if backend.name == "ivf":
        return Backend("exact", backend.find, depth=backend.depths[-1])
    return exact(vectors, "cpu", asked)


def tune(backend: Backend, faces: Ready, k: int, recall: float) -> None:
    """Set `backend.depth` to the least of its depths, from the present one on, that reaches `recall` at k.

    What was measured is written into `backend.about`. Faces of a group are no neighbors of one another, here as in the
    search that follows: strangers are further away and harder to find. The aim is a tenth of what is missing above
    `recall`, so that the other half of the sample seldom falls short. Where no depth reaches it, the greatest is taken;
    `about["recall"]` says how far it comes.

    Cost: exact search for `SAMPLE` faces, and a search of these for some of the depths (by halving).
    """
    n = len(faces.rows)
    rows = np.unique(np.linspace(0, n - 1, min(SAMPLE, n)).astype(np.int64))
    k = min(k, n - 1)
    best, true = nearest_among(thorough(backend, faces.vectors, len(rows)), faces, rows, faces, k)
    there = best >= 0
    least = np.where(there, true, np.inf).min(1, initial=np.inf)

    def found(part: Bools) -> float:
        near, value = nearest_among(backend, faces, rows[part], faces, k)
        held = (near >= 0) & (value >= least[part, None] - EDGE)
        return min(1.0, float(held.sum() / max(1, there[part].sum())))

    def reaches(depth: int) -> bool:
        backend.depth = depth
        return found(part) >= recall + (1 - recall) / 10

    part = np.arange(len(rows)) % 2 == 0
    deep = [depth for depth in backend.depths if depth >= backend.depth]
    backend.depth = deep[min(bisect_left(deep, True, key=reaches), len(deep) - 1)]
    backend.about |= {
        "depth": backend.depth,
        "recall": round(found(~part), 4),
        "recall_at": k,
        "recall_wanted": recall,
        "recall_faces": int((~part).sum()),
    }
