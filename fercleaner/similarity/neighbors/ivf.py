"""Lists of faces around centers of k-means, of which the nearest few are searched: inverted files, in FAISS.

Source: Jégou, Douze, Schmid, Product quantization for nearest neighbor search, TPAMI 2011 (the coarse part).
"""

from __future__ import annotations

import numpy as np

from ...core.arrays import Floats, Ints
from .backend import Backend, import_faiss, to_gpu

#: Faces a list, at least, and faces a list that k-means looks at (FAISS's own bounds are 39 and 256).
FACES_A_LIST, FACES_TRAINED = 39, 64
#: Rounds of k-means.
ROUNDS = 8
#: Lists searched.
DEPTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def ivf(vectors: Floats, device: str) -> Backend:
    """Return a backend that searches the lists nearest to each query, 4 sqrt(N) lists in all.

    Cost: sqrt(N) (4 + depth / 4) D operations a query, and as many a face and round to build.
    """
    faiss = import_faiss()
    n, d = vectors.shape
    lists = max(1, min(int(4 * np.sqrt(n)), n // FACES_A_LIST))
    quantizer = faiss.IndexFlatIP(d)
    built = faiss.IndexIVFFlat(quantizer, d, lists, faiss.METRIC_INNER_PRODUCT)
    built.cp.min_points_per_centroid = 1  # else FAISS prints a warning on sets smaller than a list
    built.cp.max_points_per_centroid = FACES_TRAINED
    built.cp.niter = ROUNDS
    index = to_gpu(faiss, built, device)
    index.train(vectors)
    index.add(vectors)

    def find(queries: Floats, want: int, depth: int) -> Ints:
        index.nprobe = min(depth, lists)
        near: Ints = index.search(np.ascontiguousarray(queries), want)[1].astype(np.int64)
        return near

    depths = [depth for depth in DEPTHS if depth < lists] + ([lists] if lists <= DEPTHS[-1] else [])
    return Backend("ivf", find, depths, about={"lists": lists, "quantizer": "k-means"})
