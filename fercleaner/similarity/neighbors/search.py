"""The search itself: an index over a view, what it is asked, and what it answers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ...core.arrays import Bools, Floats, Ints, Progress, Strings
from ...core.errors import InputError
from ...core.groups import group_numbers
from ...core.types import Features, Neighbors
from ..whitening import are_unit, unit_rows
from .among import Ready, nearest_among
from .backend import INDEXES, RECALL, Backend, Index, index_for
from .exact import exact
from .hnsw import hnsw
from .ivf import ivf
from .mutual import nearest_mutual, pairs_in_lists
from .places import by_place
from .tuning import tune

log = logging.getLogger(__name__)


#: Faces searched at once: bounds memory at BLOCK x (k + spare) numbers.
BLOCK = 16_384
#: Views of fewer dimensions do not tell near-duplicates from faces that are alike by chance.
TELLING = 16


def nearest(
    features: Features,
    k: int,
    *,
    apart: Strings | None = None,
    center: bool = True,
    index: Index = "auto",
    device: str = "auto",
    recall: float = RECALL,
    recall_at: int | None = None,
    only: Bools | None = None,
    progress: Progress | None = None,
) -> Neighbors:
    """Find the k most similar other faces of every face.

    Similarity is the cosine of the vectors, after the mean vector of the view was taken off (`center`):
    networks whose features are all positive otherwise call every pair of faces alike. Candidates come from
    a scan or FAISS; their similarities are then computed again pair by pair, so that the answer does not
    depend on block sizes or on the order of the faces, and ties are broken by row number.

    Parameters
    ----------
    features : Features
        Vectors (N, D); faces not found have no neighbors and are nobody's neighbor.
    k : int
        Neighbors a face, at least 1. At most N - 1 exist; the rest is padding (-1, similarity 0).
    apart : (N,) str, optional
        Faces that share a value here are never one another's neighbors (near-duplicates, one subject).
        "" stands for a face alone.
    center : bool
        Subtract the mean vector first.
    index : {"auto", "exact", "hnsw", "ivf"}
        "exact" compares all pairs in blocks; "hnsw" and "ivf" are approximate and meant for very large sets: they
        search as deep as `recall` needs. "auto" is exact up to `EXACT_UP_TO` faces and "ivf" above.
    device : {"auto", "cuda", "cuda:NUMBER", "cpu"}
        "auto" takes the GPU where FAISS sees one. The approximate indexes run on the CPU.
    recall : float in (0, 1]
        Share of the true k nearest, those of a face's group left out, that an approximate index must find on a sample
        of the faces.
    recall_at : int, optional
        Of how many nearest, at most k; all k by default.
    only : (N,) bool, optional
        Faces whose neighbors are wanted; the rows of the others are padding.

    Returns
    -------
    Neighbors, arrays (N, k); `Neighbors.search` names the index, its depth and the recall measured.

    Cost: exact O(N^2 D) time, approximate a part of it; O(BLOCK (k + spare) + N D) memory; never an N x N matrix.
    """
    if k < 1:
        raise InputError(f"k = {k}: at least one neighbor is needed.")
    asked = None if only is None else int((only & features.found).sum())
    made = searcher(features, center=center, index=index, device=device, asked=asked)
    made.tune(min(k, recall_at or k), apart=apart, recall=recall)
    return made.nearest(k, apart=apart, only=only, progress=progress)


class Searches(Protocol):
    """What finds a view's neighbors, several times over: `Searcher`, or one that spreads the work."""

    def nearest(
        self, k: int, *, apart: Strings | None = None, only: Bools | None = None, progress: Progress | None = None
    ) -> Neighbors:
        """Return the k most similar other faces of every face; as `nearest`."""

    def tune(self, k: int, *, apart: Strings | None = None, recall: float = RECALL) -> None:
        """Let an approximate search look as deep as the share `recall` of the true k nearest needs."""

    @property
    def depth(self) -> int:
        """How far an approximate search looks; 0 of an exact one."""

    @property
    def about(self) -> dict[str, Any]:
        """What `Neighbors.search` says of the search."""


@dataclass(frozen=True, eq=False)
class Searcher:
    """A view's index, of which several searches may be asked; made by `searcher`.

    Parameters
    ----------
    features : Features
    rows : (m,) int64
        Faces in the index, in its order.
    vectors : (m, D) float32
        Theirs, of length 1.
    backend : Backend, optional
        None where fewer than two faces have a vector.
    index : str
        Of which kind it is.
    """

    features: Features
    rows: Ints
    vectors: Floats
    backend: Backend | None
    index: Index

    def nearest(
        self, k: int, *, apart: Strings | None = None, only: Bools | None = None, progress: Progress | None = None
    ) -> Neighbors:
        """Return the k most similar other faces of every face; as `nearest`."""
        n, rows = len(self.features), self.rows
        indices = np.full((n, k), -1, dtype=np.int64)
        similarity = np.zeros((n, k), dtype=np.float32)
        view, ids, backend = self.features.view, self.features.ids, self.backend
        if backend is None:
            return Neighbors(view, ids, indices, similarity, self.about)
        faces = self._ready(apart)
        if backend.scan is not None:
            best, value = nearest_mutual(backend.scan, backend, faces, k, progress)
            measured = None if backend.check is None else backend.check(faces, best, value)
            if measured is not None:
                backend.about["recall"] = measured
            wanted = slice(None) if only is None else only[rows]
            indices[rows[wanted]] = best[wanted]
            similarity[rows[wanted]] = value[wanted]
            indices.flags.writeable = similarity.flags.writeable = False
            return Neighbors(view, ids, indices, similarity, self.about)
        asked = np.arange(len(rows)) if backend.order is None else backend.order
        if only is not None:
            asked = asked[only[rows[asked]]]
        done = 0
        for start in range(0, len(asked), BLOCK):
            block = asked[start : start + BLOCK]
            best, value = nearest_among(backend, faces, block, faces, k)
            out = rows[block]
            indices[out] = best
            similarity[out] = value
            done += len(block)
            if progress:
                progress(done, len(asked))
        indices.flags.writeable = similarity.flags.writeable = False  # so that Neighbors takes them as they are
        return Neighbors(view, ids, indices, similarity, self.about)

    def alike(self, least: float, *, apart: Strings | None = None) -> Iterator[Ints]:
        """Yield pairs of faces whose similarity is `least` or all but that, (P, 2) rows; of an index of lists alone.

        As `mutual.pairs_in_lists`.
        """
        if self.backend is None or self.backend.scan is None:
            return
        for pairs in pairs_in_lists(self.backend.scan, least, self._ready(apart).group):
            yield self.rows[pairs]

    @property
    def depth(self) -> int:
        """How far an approximate index looks; 0 of an exact one."""
        return 0 if self.backend is None else self.backend.depth

    @property
    def about(self) -> dict[str, Any]:
        """What `Neighbors.search` says of the index."""
        return {"index": self.index} if self.backend is None else {"index": self.backend.name, **self.backend.about}

    def tune(self, k: int, *, apart: Strings | None = None, recall: float = RECALL) -> None:
        """Let an approximate index look as deep as the share `recall` of the true k nearest needs, or as now if deeper.

        Groups are left out as in `nearest`. See `tuning.tune`; an exact index stays as it is.
        """
        if not 0 < recall <= 1:
            raise InputError(f"recall = {recall}: expected 0 < recall <= 1.")
        if self.backend is not None and self.backend.depths:
            tune(self.backend, self._ready(apart), k, recall)

    def _ready(self, apart: Strings | None) -> Ready:
        group = group_numbers(self.features.ids, apart)[self.rows]
        return Ready(self.vectors, self.rows, group, apart is not None)


def searcher(
    features: Features,
    *,
    center: bool = True,
    index: Index = "auto",
    device: str = "auto",
    asked: int | None = None,
) -> Searcher:
    """Return an index over a view, an approximate one to be tuned (`Searcher.tune`); arguments as those of `nearest`.

    Parameters
    ----------
    asked : int, optional
        About how many faces will be asked about; all by default.

    Cost: memory of 2 N D bytes; 4 N D more where faces are not in the order of their ids, or vectors not of length 1.
    """
    if index not in INDEXES:
        raise InputError(f"index '{index}' is not known; choose one of {', '.join(INDEXES)}.")
    rows = np.flatnonzero(features.found)
    index = index_for(index, len(rows), device)
    if index != "exact":  # an approximate answer hangs on the order in which faces are added
        rows = rows[np.argsort(features.ids[rows], kind="stable")]
    if len(rows) < 2:
        return Searcher(features, rows, features.values[rows], None, index)
    if center:
        values = features.values[rows]
        vectors = unit_rows((values - values.mean(0, dtype=np.float64)).astype(np.float32))
    elif len(rows) == len(features) and (rows == np.arange(len(rows))).all() and are_unit(features.values):
        vectors = features.values
    else:
        vectors = unit_rows(features.values, rows)
    if index == "hnsw":
        placed = by_place(vectors)
        rows, vectors = rows[placed], vectors[placed]
    if index == "exact":
        return Searcher(features, rows, vectors, exact(vectors, device, len(rows) if asked is None else asked), index)
    return Searcher(features, rows, vectors, hnsw(vectors) if index == "hnsw" else ivf(vectors), index)
