"""All pairs, in blocks, by torch: on a GPU that FAISS does not see."""

from __future__ import annotations

import numpy as np

from ...core.arrays import Floats, Ints
from ...core.devices import full_precision
from .backend import Apart, Backend

#: Similarities held at once, 1 GiB as float32.
HELD = 1 << 28


def on_torch(vectors: Floats, device: str) -> Backend:
    """Return a backend that compares each query with every vector on a torch device, in float32.

    Candidates alone come from here; they are scored again exactly, so that the table is that of `exact`.

    Cost: 2 N D operations a query; memory N D + `HELD` numbers on the device.
    """
    import torch

    writable = np.require(vectors, requirements=["C", "W"])  # torch warns of what is read-only
    there = torch.from_numpy(writable).to(device)

    def find(queries: Floats, want: int, depth: int, apart: Apart | None) -> Ints:
        step = max(1, HELD // len(vectors))
        near = np.empty((len(queries), want), dtype=np.int64)
        with torch.inference_mode(), full_precision():
            for start in range(0, len(queries), step):
                part = slice(start, start + step)
                asked = torch.from_numpy(np.ascontiguousarray(queries[part])).to(there.device)
                near[part] = (asked @ there.T).topk(want, dim=1).indices.cpu().numpy()
        return near

    return Backend("exact", find, about={"device": device})
