"""How deep an approximate index must search, measured on some of the faces themselves."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

import numpy as np

from ...core.arrays import Bools, Floats, Ints
from .among import Ready, nearest_among
from .backend import Backend
from .exact import exact
from .mutual import steps_to
from .scoring import EDGE

#: Faces whose neighbors are searched exactly: on one half the depth is chosen, on the other the recall is measured.
#: Its standard error is .0013 at a recall of .99: a face that misses neighbors misses several.
SAMPLE = 2048
#: Share of what is missing that the aim lies above the recall that is wanted: two standard errors at .99. By a tenth,
#: one search in five of 300,000 faces fell short (docs/speed.md).
MARGIN = 0.25


def thorough(backend: Backend, vectors: Floats, asked: int) -> Backend:
    """Return an index of the same vectors that finds all but every true neighbor, for some `asked` queries.

    Lists do so themselves where all of them are searched.
    """
    if backend.name == "ivf":
        return Backend("exact", backend.find, depth=backend.depths[-1])
    return exact(vectors, "cpu", asked)


class TrueNeighbors(NamedTuple):
    """The true neighbors of some faces: their place in the index (q,), `Ready.rows` of neighbors (q, k), -1 for none,
    and the least similarity (q,).
    """

    rows: Ints
    near: Ints
    least: Floats

    def share(self, near: Ints, value: Floats) -> float:
        """Return which share of them is found in the same faces' rows of a table, its first k columns; 1 of none."""
        k, known = self.near.shape[1], int((self.near >= 0).sum())
        held = (near[:, :k] >= 0) & (value[:, :k] >= self.least[:, None] - EDGE)
        return min(1.0, float(held.sum() / known)) if known else 1.0


def tune(backend: Backend, faces: Ready, k: int, recall: float) -> None:
    """Set `backend.depth` to the least of its depths, from the present one on, that reaches `recall` at k.

    What was measured is written into `backend.about`. Faces of a group are no neighbors of one another, here as in the
    search that follows: strangers are further away and harder to find. The aim lies above `recall` by `MARGIN` of
    what is missing, so that the whole set and the other half of the sample seldom fall short. Where no depth reaches
    it, the greatest is taken; `about["recall"]` says how far it comes.

    Cost: exact search for `SAMPLE` faces, and a search of these for some of the depths (by halving); no search where
    faces are found from both sides (`mutual.steps_to`).
    """
    n = len(faces.rows)
    rows = np.unique(np.linspace(0, n - 1, min(SAMPLE, n)).astype(np.int64))
    k = min(k, n - 1)
    near, true = nearest_among(thorough(backend, faces.vectors, len(rows)), faces, rows, faces, k)
    least = np.where(near >= 0, true, np.inf).min(1, initial=np.inf).astype(np.float32)
    one, other = (TrueNeighbors(rows[half::2], near[half::2], least[half::2]) for half in (0, 1))
    aim = recall + MARGIN * (1 - recall)
    if backend.scan is None:
        found = _by_searching(backend, faces, one, other, aim)
    else:
        found = _by_centers(backend, faces, one, other, aim)

        def check(asked: Ready, near: Ints, value: Floats) -> float | None:
            same = near.shape[1] >= k and np.array_equal(asked.group, faces.group)
            return round(other.share(near[other.rows], value[other.rows]), 4) if same else None

        backend.check = check
    backend.about |= {
        "depth": backend.depth,
        "recall": round(found, 4),
        "recall_at": k,
        "recall_wanted": recall,
        "recall_faces": len(other.rows),
    }


def _by_searching(backend: Backend, faces: Ready, one: TrueNeighbors, other: TrueNeighbors, aim: float) -> float:
    """Set the least depth that finds the share `aim` of what is known of one half; return the share of the other."""

    def found(known: TrueNeighbors) -> float:
        return known.share(*nearest_among(backend, faces, known.rows, faces, known.near.shape[1]))

    def reaches(depth: int) -> bool:
        backend.depth = depth
        return found(one) >= aim

    deep = [depth for depth in backend.depths if depth >= backend.depth]
    backend.depth = deep[min(bisect_left(deep, True, key=reaches), len(deep) - 1)]
    return found(other)


def _by_centers(backend: Backend, faces: Ready, one: TrueNeighbors, other: TrueNeighbors, aim: float) -> float:
    """As `_by_searching`, by who sees whom at which depth; the search that follows finds all but all of these."""
    place = np.full(int(faces.rows.max()) + 2, -1)
    place[faces.rows] = np.arange(len(faces.rows))
    steps, there = steps_to(backend.scan, one.rows, place[one.near]), one.near >= 0
    wanted = int(np.ceil(aim * there.sum()))
    backend.depth = max(backend.depth, int(np.sort(steps[there])[wanted - 1]) if wanted else 1)
    seen: Bools = steps_to(backend.scan, other.rows, place[other.near]) <= backend.depth
    known = int((other.near >= 0).sum())
    return float(seen.sum() / known) if known else 1.0
