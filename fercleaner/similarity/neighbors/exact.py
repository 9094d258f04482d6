"""All pairs, in blocks: FAISS's flat index, or torch on a GPU that FAISS does not see."""

from __future__ import annotations

import numpy as np

from ...core.arrays import Floats, Ints
from .backend import Backend, faiss_gpus, import_faiss, to_gpu, use_gpu
from .on_torch import on_torch


def exact(vectors: Floats, device: str) -> Backend:
    """Return a backend that compares each query with every vector.

    Cost: 2 N D operations a query, at the speed of a matrix product.
    """
    faiss = import_faiss()
    gpu = use_gpu(device)
    if gpu and faiss_gpus() == 0:
        return on_torch(vectors, device)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    index = to_gpu(faiss, flat, device)
    index.add(vectors)

    def find(queries: Floats, want: int, depth: int) -> Ints:
        near: Ints = index.search(np.ascontiguousarray(queries), want)[1].astype(np.int64)
        return near

    return Backend("exact", find, about={"device": device} if gpu else {})
