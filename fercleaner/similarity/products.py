"""A A^T x for a sparse A and many columns x: the step of which label propagation is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.arrays import Floats

if TYPE_CHECKING:
    from scipy import sparse

#: Entries of A from which torch multiplies. Its gathering sums take an eighth of scipy's time, but loading torch takes
#: as long as scipy does for some 2 million entries (40,000 faces in three views of 15 neighbors).
TORCH_FROM = 2_000_000

Product = Callable[[Floats], Floats]


def gram_product(a: sparse.csr_matrix, at: sparse.csr_matrix) -> Product:
    """Return x (N, M) float32 -> A (A^T x), (N, M) float32.

    Each sum goes over the entries of a row in their order, whatever the number of threads.

    Parameters
    ----------
    a, at : (N, E) and (E, N) CSR float32
        A and its transpose.
    """
    if a.nnz < TORCH_FROM:
        return lambda x: np.asarray(a @ (at @ x))
    return _by_torch(a, at)


def _by_torch(a: sparse.csr_matrix, at: sparse.csr_matrix) -> Product:
    """Return the product as weighted sums of gathered rows (`embedding_bag`)."""
    import torch

    def parts(matrix: sparse.csr_matrix) -> tuple[Any, Any, Any]:
        kind = np.int32 if matrix.nnz < np.iinfo(np.int32).max else np.int64
        return (
            torch.from_numpy(matrix.indices.astype(kind, copy=False)),
            torch.from_numpy(matrix.indptr.astype(kind, copy=False)),
            torch.from_numpy(matrix.data),
        )

    first, second = parts(at), parts(a)

    def summed(rows: Any, matrix: tuple[Any, Any, Any]) -> Any:
        indices, starts, weights = matrix
        return torch.nn.functional.embedding_bag(
            indices, rows, starts, mode="sum", per_sample_weights=weights, include_last_offset=True
        )

    def product(x: Floats) -> Floats:
        with torch.inference_mode():
            result: Floats = summed(summed(torch.from_numpy(np.ascontiguousarray(x)), first), second).numpy()
        return result

    return product
