"""All pairs, in blocks: FAISS's flat index."""

from __future__ import annotations

import numpy as np

from ...core.arrays import Floats, Ints
from .backend import Backend, faiss_gpus, gpu_of, import_faiss, to_gpu


def exact(vectors: Floats, device: str) -> Backend:
    """Return a backend that compares each query with every vector; by torch on a GPU that FAISS does not see.

    Cost: 2 N D operations a query, at the speed of a matrix product.
    """
    gpu = gpu_of(device)
    if gpu and not faiss_gpus():
        from .blocks import blocks

        return blocks(vectors, gpu)
    faiss = import_faiss()
    flat = faiss.IndexFlatIP(vectors.shape[1])
    index = to_gpu(faiss, flat, device)
    index.add(vectors)

    def find(queries: Floats, want: int, depth: int) -> Ints:
        near: Ints = index.search(np.ascontiguousarray(queries), want)[1].astype(np.int64)
        return near

    return Backend("exact", find, about={"device": gpu} if gpu else {})
