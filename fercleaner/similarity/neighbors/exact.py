"""All pairs, in blocks: a scan in low precision, FAISS's flat index, or torch on a GPU that FAISS does not see."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.arrays import Floats, Ints
from .backend import Apart, Backend, faiss_gpus, import_faiss, use_gpu
from .on_torch import on_torch
from .scan import Scan

#: Pairs from which on a scan takes less time than FAISS, loading torch counted: those of 20,000 faces.
SCANNED_FROM = 20_000**2


def exact(vectors: Floats, device: str, asked: int) -> Backend:
    """Return a backend that compares each query with every vector, for some `asked` queries.

    Cost: 2 N D operations a query, at the speed of a matrix product.
    """
    faiss = import_faiss()
    if use_gpu(device):
        return on_torch(vectors, device) if faiss_gpus() == 0 else _on_gpu(faiss, vectors, device)
    if len(vectors) * asked >= SCANNED_FROM:
        scan = Scan(vectors)
        everything = scan.lists

        def scanned(queries: Floats, want: int, depth: int, apart: Apart | None) -> Ints:
            return scan.find(queries, want, everything, apart)

        return Backend("exact", scanned, order=scan.order, edge=scan.slack)

    def find(queries: Floats, want: int, depth: int, apart: Apart | None) -> Ints:
        queries = np.ascontiguousarray(queries)
        near: Ints = faiss.knn(queries, vectors, want, metric=faiss.METRIC_INNER_PRODUCT)[1].astype(np.int64)
        return near

    return Backend("exact", find)


def _on_gpu(faiss: Any, vectors: Floats, device: str) -> Backend:
    number = int(device.partition(":")[2] or 0)
    index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), number, faiss.IndexFlatIP(vectors.shape[1]))
    index.add(vectors)

    def find(queries: Floats, want: int, depth: int, apart: Apart | None) -> Ints:
        near: Ints = index.search(np.ascontiguousarray(queries), want)[1].astype(np.int64)
        return near

    return Backend("exact", find, about={"device": device})
