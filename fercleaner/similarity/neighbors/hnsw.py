"""A graph that is walked from face to nearer face: hierarchical navigable small worlds, in FAISS.

Source: Malkov, Yashunin, Efficient and robust approximate nearest neighbor search using hierarchical navigable small
world graphs, TPAMI 2020.
"""

from __future__ import annotations

import numpy as np

from ...core.arrays import Floats, Ints
from .backend import Backend, import_faiss

#: Links a face and layer, and candidates while building: beyond these, building gets slower faster than searching
#: gets better.
LINKS, BUILD_DEPTH = 32, 80
#: Faces around one center of `by_place`, centers at most, and rounds of k-means.
FACES_A_PLACE, MOST_PLACES, ROUNDS = 256, 1024, 6
#: Candidates kept while searching.
DEPTHS = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768)


def by_place(vectors: Floats) -> Ints:
    """Return an order of the rows in which neighbors stand close together, (N,): by the nearest center of k-means.

    Walks then stay in memory that the processor has at hand, which takes a quarter off a search.

    Cost: a `FACES_A_PLACE`-th of exact search, and less from a quarter of a million faces on.
    """
    faiss = import_faiss()
    n, d = vectors.shape
    places = max(1, min(n // FACES_A_PLACE, MOST_PLACES))
    if places == 1:
        return np.arange(n)
    centers = faiss.Kmeans(
        d, places, niter=ROUNDS, spherical=True, seed=0, min_points_per_centroid=1, max_points_per_centroid=64
    )
    centers.train(vectors)
    own = faiss.knn(vectors, centers.centroids, 1, metric=faiss.METRIC_INNER_PRODUCT)[1][:, 0]
    order: Ints = np.argsort(own, kind="stable").astype(np.int64)
    return order


def hnsw(vectors: Floats) -> Backend:
    """Return a backend that walks a graph, built by one thread in the order of the rows.

    FAISS inserts faces in parallel in no fixed order, so that two builds by several threads differ. By one thread the
    graph is the same each time; on two cores that doubles the time of the build, about half of the whole. Searches run
    on all cores: they change nothing.

    Cost: about N log N distances; 2 D + 8 LINKS bytes a face.
    """
    faiss = import_faiss()
    half = faiss.ScalarQuantizer.QT_fp16  # candidates are scored again; half the memory, a quarter less time
    index = faiss.IndexHNSWSQ(vectors.shape[1], half, LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_DEPTH
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        index.add(vectors)
    finally:
        faiss.omp_set_num_threads(threads)

    def find(queries: Floats, want: int, depth: int) -> Ints:
        index.hnsw.efSearch = max(depth, want)
        near: Ints = index.search(np.ascontiguousarray(queries), want)[1].astype(np.int64)
        return near

    return Backend("hnsw", find, DEPTHS, about={"links": LINKS, "build_depth": BUILD_DEPTH})
