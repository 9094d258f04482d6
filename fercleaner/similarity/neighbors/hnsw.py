"""A graph that is walked from face to nearer face: hierarchical navigable small worlds, in FAISS.

Source: Malkov, Yashunin, Efficient and robust approximate nearest neighbor search using hierarchical navigable small
world graphs, TPAMI 2020.
"""

from __future__ import annotations

import numpy as np

from ...core.arrays import Floats, Ints
from .backend import Apart, Backend, import_faiss

#: Links a face and layer, and candidates while building: beyond these, building gets slower faster than searching
#: gets better.
LINKS, BUILD_DEPTH = 32, 80
#: Candidates kept while searching.
DEPTHS = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768)


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

    def find(queries: Floats, want: int, depth: int, apart: Apart | None) -> Ints:
        index.hnsw.efSearch = max(depth, want)
        near: Ints = index.search(np.ascontiguousarray(queries), want)[1].astype(np.int64)
        return near

    return Backend("hnsw", find, DEPTHS, about={"links": LINKS, "build_depth": BUILD_DEPTH})
