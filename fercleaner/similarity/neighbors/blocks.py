"""All pairs, as matrix products of torch: for GPUs that FAISS does not see."""

from __future__ import annotations

import numpy as np

from ...core.arrays import Floats, Ints
from ...core.devices import full_precision
from .backend import Backend

#: Queries and vectors multiplied at once: a block of products takes 4 x QUERIES x VECTORS bytes (256 MiB).
QUERIES, VECTORS = 1024, 65_536


def blocks(vectors: Floats, device: str) -> Backend:
    """Return a backend that compares each query with every vector on a torch device, in float32 without TensorFloat.

    Cost: 2 N D operations a query; one copy of the vectors and one block of products on the device.
    """
    import torch

    held = torch.tensor(vectors, dtype=torch.float32, device=device)

    def best(block: torch.Tensor, want: int) -> torch.Tensor:
        value = torch.empty((len(block), 0), device=block.device)
        row = torch.empty((len(block), 0), dtype=torch.int64, device=block.device)
        for first in range(0, len(held), VECTORS):
            products = block @ held[first : first + VECTORS].T
            near = products.topk(min(want, products.shape[1]), dim=1)
            value, row = torch.cat([value, near.values], 1), torch.cat([row, near.indices + first], 1)
            kept = value.topk(min(want, value.shape[1]), dim=1)
            value, row = kept.values, row.gather(1, kept.indices)
        return row

    def find(queries: Floats, want: int, depth: int) -> Ints:
        near = np.full((len(queries), want), -1, dtype=np.int64)
        with full_precision():
            for start in range(0, len(queries), QUERIES):
                rows = best(torch.tensor(queries[start : start + QUERIES], device=device), want)
                near[start : start + QUERIES, : rows.shape[1]] = rows.cpu().numpy()
        return near

    return Backend("exact", find, about={"device": device, "by": "torch"})
