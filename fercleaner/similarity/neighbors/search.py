"""The search itself: candidates from a backend, scored again exactly, those of one group kept apart."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...core.arrays import Bools, Floats, Ints, Progress, Strings
from ...core.errors import InputError
from ...core.groups import group_numbers
from ...core.types import Features, Neighbors
from ..whitening import are_unit, unit_rows
from .backend import INDEXES, RECALL, Apart, Backend, Index, index_for
from .exact import exact
from .hnsw import hnsw
from .ivf import ivf
from .places import by_place
from .scoring import EDGE, pair_similarities, ranked
from .tuning import SAMPLE, sample, thorough, tune

log = logging.getLogger(__name__)


class Ready(NamedTuple):
    """Faces to search among: unit vectors (m, D), row numbers that name them and settle ties, and groups (m,).

    `grouped` says whether any group has more than one member.
    """

    vectors: Floats
    rows: Ints
    group: Ints
    grouped: bool = True


#: Faces searched at once: bounds memory at BLOCK x (k + spare) numbers.
BLOCK = 16_384
#: Candidates beyond k, so that ties and rounding at the edge are settled exactly, not by the index.
SPARE = 8
#: A face whose wanted neighbors were not among this many candidates gets fewer (its group is that large); of
#: more equally near faces than this, those with the first row numbers are not sure to be the ones named.
MOST_CANDIDATES = 2048
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
        Share of the true k nearest that an approximate index must find on a sample of the faces.
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
    at = min(k, recall_at or k)
    made = searcher(features, at, center=center, index=index, device=device, recall=recall, asked=asked)
    return made.nearest(k, apart=apart, only=only, progress=progress)


class Searches(Protocol):
    """What finds a view's neighbors, several times over: `Searcher`, or one that spreads the work."""

    def nearest(
        self, k: int, *, apart: Strings | None = None, only: Bools | None = None, progress: Progress | None = None
    ) -> Neighbors:
        """Return the k most similar other faces of every face; as `nearest`."""

    def recall_of(self, table: Neighbors, k: int, *, apart: Strings | None = None) -> dict[str, Any]:
        """Return what share of the true k nearest a table holds; {} where the search is exact."""


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
            return Neighbors(view, ids, indices, similarity, {"index": self.index})
        faces = Ready(self.vectors, np.arange(len(rows)), group_numbers(ids, apart)[rows], apart is not None)
        asked = np.arange(len(rows)) if backend.order is None else backend.order
        if only is not None:
            asked = asked[only[rows[asked]]]
        done = 0
        for start in range(0, len(asked), BLOCK):
            block = asked[start : start + BLOCK]
            best, value = nearest_among(backend, faces, block, faces, k)
            out = rows[block]
            indices[out] = np.where(best >= 0, rows[best], -1)
            similarity[out] = value
            done += len(block)
            if progress:
                progress(done, len(asked))
        indices.flags.writeable = similarity.flags.writeable = False  # so that Neighbors takes them as they are
        return Neighbors(view, ids, indices, similarity, {"index": backend.name, **backend.about})

    def recall_of(self, table: Neighbors, k: int, *, apart: Strings | None = None) -> dict[str, Any]:
        """Return what share of the true k nearest the first k columns of a table of these faces hold.

        Measured on `SAMPLE` / 2 faces, those of one group (`apart`) left out, as `Neighbors.search` names it: "recall",
        "recall_at" and "recall_faces"; {} where the search was exact.
        """
        backend, rows = self.backend, self.rows
        if backend is None or not backend.depths:
            return {}
        at = sample(len(rows), SAMPLE // 2)
        whole = thorough(backend, self.vectors, "cpu", len(at))
        faces = Ready(self.vectors, np.arange(len(rows)), group_numbers(table.ids, apart)[rows], apart is not None)
        best, true = nearest_among(whole, faces, at, faces, k)
        there = best >= 0
        least = np.where(there, true, np.inf).min(1, initial=np.inf)
        out = rows[at]
        held = (table.indices[out, :k] >= 0) & (table.similarity[out, :k] >= least[:, None] - EDGE)
        share = float(held.sum() / max(1, there.sum()))
        return {"recall": round(min(share, 1.0), 4), "recall_at": k, "recall_faces": len(at)}


def searcher(
    features: Features,
    k: int,
    *,
    center: bool = True,
    index: Index = "auto",
    device: str = "auto",
    recall: float = RECALL,
    asked: int | None = None,
) -> Searcher:
    """Return an index over a view; arguments as those of `nearest`.

    Parameters
    ----------
    k : int
        Of how many nearest an approximate index must find the share `recall`; more may be asked for.
    asked : int, optional
        About how many faces will be asked about; all by default.

    Cost: memory of 2 N D bytes; 4 N D more where faces are not in the order of their ids, or vectors not of length 1.
    """
    if index not in INDEXES:
        raise InputError(f"index '{index}' is not known; choose one of {', '.join(INDEXES)}.")
    if not 0 < recall <= 1:
        raise InputError(f"recall = {recall}: expected 0 < recall <= 1.")
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
    backend = built(vectors, k, index, device, recall, len(rows) if asked is None else asked)
    return Searcher(features, rows, vectors, backend, index)


def built(vectors: Floats, k: int, index: Index, device: str, recall: float, asked: int) -> Backend:
    """Return an index over unit vectors for some `asked` queries, an approximate one as deep as `recall` at k needs."""
    if index == "exact":
        return exact(vectors, device, asked)
    backend = hnsw(vectors) if index == "hnsw" else ivf(vectors)
    tune(backend, vectors, k, SPARE + 1, recall, device)
    return backend


def nearest_among(backend: Backend, asked: Ready, todo: Ints, held: Ready, k: int) -> tuple[Ints, Floats]:
    """Return the k nearest of the faces asked[todo] among those held by an index, itself and its group left out.

    Returns their `held.rows`, -1 where there are no more, and similarities, both (len(todo), k).
    """
    n = len(held.rows)
    indices, similarity = np.full((len(todo), k), -1, dtype=np.int64), np.zeros((len(todo), k), dtype=np.float32)
    place, want = np.arange(len(todo)), min(k + SPARE + 1, n)
    while len(place):
        apart = Apart(asked.group[todo[place]], held.group) if held.grouped else None
        near = backend.candidates(asked.vectors[todo[place]], want, apart)
        best, value, wanting = _choose((asked, todo[place]), held, near, (k, want), backend.edge)
        settled = ~wanting if want < min(n, MOST_CANDIDATES) else np.ones(len(place), dtype=np.bool_)
        indices[place[settled]], similarity[place[settled]] = best[settled], value[settled]
        place, want = place[~settled], min(4 * want, n, max(MOST_CANDIDATES, k + SPARE + 1))
    return indices, similarity


def _choose(
    faces: tuple[Ready, Ints], held: Ready, near: Ints, numbers: tuple[int, int], edge: float
) -> tuple[Ints, Floats, Bools]:
    """Score candidates exactly, drop self and group members, and keep the k best of each row.

    `faces` are the faces and which of them are asked about, `numbers` k and how many candidates were wanted.

    Returns indices and similarities (rows, k), and which rows want more candidates: they came short of k; or their
    k-th is within `edge` of the last candidate of a full row, beyond which equals may stand; or it does not lie among
    the `want` nearest, of which alone a row is sure to have all (those that were left out took their places).
    """
    (asked, todo), (k, want) = faces, numbers
    there = near >= 0
    rows = np.where(there, held.rows[near], -1)
    allowed = there & (rows != asked.rows[todo][:, None]) & (held.group[near] != asked.group[todo][:, None])
    pairs = pair_similarities(held.vectors, todo, near, asked=asked.vectors)
    last = np.where(there.all(1), pairs.min(1, initial=np.inf), -np.inf)
    best, value = ranked(np.where(allowed, np.clip(pairs, -1.0, 1.0), np.float32(-np.inf)), rows, k)
    wanting = (allowed.sum(1) < k) | (value[:, -1] <= last + edge) | ((pairs > value[:, -1:]).sum(1) >= want)
    return best, value, np.asarray(wanting)
