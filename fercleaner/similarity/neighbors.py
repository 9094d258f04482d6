"""The k nearest faces of every face by cosine similarity, exact or approximate, in FAISS."""

from __future__ import annotations

import logging
from typing import Any, Literal

import numpy as np

from ..core.arrays import Bools, Doubles, Floats, Ints, Progress, Strings
from ..core.devices import choose_device
from ..core.errors import InputError, MissingDependency
from ..core.groups import group_numbers
from ..core.types import Features, Neighbors
from .whitening import unit_rows

log = logging.getLogger(__name__)

Index = Literal["exact", "ivf", "hnsw"]
INDEXES: tuple[Index, ...] = ("exact", "ivf", "hnsw")

#: Faces searched at once: bounds memory at BLOCK x (k + spare) numbers.
BLOCK = 4096
#: Candidates beyond k, so that ties and rounding at the edge are settled exactly, not by the index.
SPARE = 8
#: A face whose wanted neighbors were not among this many candidates gets fewer (its group is that large); of
#: more equally near faces than this, those with the first row numbers are not sure to be the ones named.
MOST_CANDIDATES = 2048
#: FAISS sums in float32: two similarities closer than this may come from it in either order.
EDGE = 2e-6
#: Faces a list of the "ivf" index, at least (FAISS's own floor for training), and lists searched, at least.
FACES_A_LIST = 39
LISTS_SEARCHED = 8
#: Views of fewer dimensions do not tell near-duplicates from faces that are alike by chance.
TELLING = 16


def nearest(
    features: Features,
    k: int,
    *,
    apart: Strings | None = None,
    center: bool = True,
    index: Index = "exact",
    device: str = "auto",
    only: Bools | None = None,
    progress: Progress | None = None,
) -> Neighbors:
    """Find the k most similar other faces of every face.

    Similarity is the cosine of the vectors, after the mean vector of the view was taken off (`center`):
    networks whose features are all positive otherwise call every pair of faces alike. Candidates come from
    FAISS; their similarities are then computed again pair by pair in float64, so that the answer does not
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
    index : {"exact", "ivf", "hnsw"}
        "exact" compares all pairs in blocks; the others are approximate and meant for very large sets.
    device : {"auto", "cuda", "cuda:NUMBER", "cpu"}
        "auto" takes the GPU where FAISS sees one. The approximate "hnsw" runs on the CPU.
    only : (N,) bool, optional
        Faces whose neighbors are wanted; the rows of the others are padding.

    Returns
    -------
    Neighbors, arrays (N, k).

    Cost: exact O(N^2 D) time, O(BLOCK (k + spare) + N D) memory; never an N x N matrix.
    """
    if k < 1:
        raise InputError(f"k = {k}: at least one neighbor is needed.")
    if index not in INDEXES:
        raise InputError(f"index '{index}' is not known; choose one of {', '.join(INDEXES)}.")
    n = len(features)
    rows = np.flatnonzero(features.found)
    indices = np.full((n, k), -1, dtype=np.int64)
    similarity = np.zeros((n, k), dtype=np.float32)
    if len(rows) < 2:
        return Neighbors(features.view, features.ids, indices, similarity)
    values = features.values[rows]
    if center:
        values = (values - values.mean(0, dtype=np.float64)).astype(np.float32)
    vectors = unit_rows(values)
    groups = group_numbers(features.ids, apart)[rows]
    search = _searcher(vectors, index, device)
    asked = np.arange(len(rows)) if only is None else np.flatnonzero(only[rows])
    done = 0
    for start in range(0, len(asked), BLOCK):
        block = asked[start : start + BLOCK]
        todo = block
        want = min(k + SPARE + 1, len(rows))
        while len(todo):
            near = search(vectors[todo], want)
            best, value, wanting = _choose(vectors, todo, near, groups, k)
            settled = ~wanting if want < min(len(rows), MOST_CANDIDATES) else np.ones(len(todo), dtype=bool)
            out = rows[todo[settled]]
            indices[out] = np.where(best[settled] >= 0, rows[best[settled]], -1)
            similarity[out] = value[settled]
            todo = todo[~settled]
            want = min(4 * want, len(rows), max(MOST_CANDIDATES, k + SPARE + 1))
        done += len(block)
        if progress:
            progress(done, len(asked))
    return Neighbors(features.view, features.ids, indices, similarity)


def _choose(vectors: Floats, todo: Ints, near: Ints, groups: Ints, k: int) -> tuple[Ints, Floats, Bools]:
    """Score candidates exactly, drop self and group members, and keep the k best of each row.

    Returns indices and similarities (len(todo), k), and which rows want more candidates: they came short of
    k, or their k-th is level with the last candidate, beyond which equals may stand.
    """
    allowed = (near >= 0) & (near != todo[:, None]) & (groups[near] != groups[todo][:, None])
    exact = np.empty(near.shape, dtype=np.float64)
    for i in range(len(todo)):
        exact[i] = pair_similarity(vectors[near[i]], vectors[todo[i]])
    last = np.where(near >= 0, exact, np.inf).min(1)
    exact = np.where(allowed, np.clip(exact, -1.0, 1.0), -np.inf).astype(np.float32)
    order = np.lexsort((near, -exact), axis=1)[:, :k]
    value = np.take_along_axis(exact, order, 1)
    best = np.where(np.isfinite(value), np.take_along_axis(near, order, 1), -1)
    value = np.where(best >= 0, value, 0.0).astype(np.float32)
    if best.shape[1] < k:
        pad = ((0, 0), (0, k - best.shape[1]))
        best, value = np.pad(best, pad, constant_values=-1), np.pad(value, pad)
    wanting = (allowed.sum(1) < k) | (value[:, -1] <= last + EDGE)
    return best.astype(np.int64), value.astype(np.float32), np.asarray(wanting)


def pair_similarity(others: Floats, own: Floats) -> Doubles:
    """Return the dot product of `own` (D,) with each row of `others` (m, D) in float64, (m,).

    Each product is summed in one fixed order, so that a pair has the same value whichever rows stand beside it.
    """
    products: Doubles = (others.astype(np.float64) * own.astype(np.float64)).sum(1)
    return products


def _searcher(vectors: Floats, index: Index, device: str) -> Any:
    """Build the FAISS index over `vectors` and return search(queries, k) -> candidate rows (q, k)."""
    try:
        import faiss
    except ImportError as error:
        raise MissingDependency("faiss-cpu", "Finding neighbors") from error
    n, d = vectors.shape
    built: Any
    if index == "hnsw":
        built = faiss.IndexHNSWFlat(d, 32, faiss.METRIC_INNER_PRODUCT)
        built.hnsw.efConstruction = 200
        built.hnsw.efSearch = 256
    elif index == "ivf":
        lists = max(1, min(int(4 * np.sqrt(n)), n // FACES_A_LIST))
        quantizer = faiss.IndexFlatIP(d)
        built = faiss.IndexIVFFlat(quantizer, d, lists, faiss.METRIC_INNER_PRODUCT)
        built.cp.min_points_per_centroid = 1  # else FAISS prints a warning on sets smaller than a list
        built.nprobe = min(lists, max(LISTS_SEARCHED, lists // 16))
    else:
        built = faiss.IndexFlatIP(d)
    if use_gpu(device) and index != "hnsw":
        number = int(device.partition(":")[2] or 0)
        built = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), number, built)
    if not built.is_trained:
        built.train(vectors)
    built.add(vectors)

    def search(queries: Floats, k: int) -> Ints:
        near: Ints = built.search(np.ascontiguousarray(queries), k)[1].astype(np.int64)
        return near

    return search


def use_gpu(device: str) -> bool:
    """Return whether FAISS shall use a GPU, as in `choose_device`."""

    def count() -> int:
        import faiss

        return int(faiss.get_num_gpus()) if hasattr(faiss, "get_num_gpus") else 0

    return choose_device(device, count, "FAISS") != "cpu"
