"""How far label distributions are from the true ones: the six measures that label distribution learning reports."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..core.arrays import Doubles
from ..core.errors import InputError

#: Distributions are held above this inside the logarithm of the divergence, so that a class left out costs 20 nats a
#: share and not infinity.
LEAST_SHARE = 1e-9


def distribution_measures(p: ArrayLike, q: ArrayLike) -> dict[str, float]:
    """Return six measures of distributions p against the true ones q, each a mean over rows.

        chebyshev     max_c |p_c - q_c|                                 smaller is better, 0 to 1
        clark         sqrt(sum_c (p_c - q_c)^2 / (p_c + q_c)^2)         smaller is better, 0 to sqrt(C)
        canberra      sum_c |p_c - q_c| / (p_c + q_c)                   smaller is better, 0 to C
        kl            sum_c q_c log(q_c / p_c), in nats                 smaller is better
        cosine        <p, q> / (|p| |q|)                                larger is better, 0 to 1
        intersection  sum_c min(p_c, q_c)                               larger is better, 0 to 1

    A class that neither holds adds nothing; p is held above 1e-9 in the logarithm. Clark and Canberra weigh a class by
    whether it is held at all: votes of few annotators, with shares of exactly 0, make both large.

    Parameters
    ----------
    p, q : (N, C) float
        Rows that sum to 1. NaN of each measure without rows.

    Source
    ------
    Geng, Label Distribution Learning, IEEE TKDE 28(7), 2016, table 2.

    Examples
    --------
    >>> found = distribution_measures([[0.5, 0.5, 0.0]], [[1.0, 0.0, 0.0]])
    >>> {name: round(value, 3) for name, value in found.items()}
    {'chebyshev': 0.5, 'clark': 1.054, 'canberra': 1.333, 'kl': 0.693, 'cosine': 0.707, 'intersection': 0.5}
    """
    first, second = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    if first.ndim != 2 or first.shape != second.shape:
        raise InputError(
            f"distribution_measures: shapes {first.shape} and {second.shape}; both must be the same (N, C)."
        )
    if not len(first):
        return dict.fromkeys(("chebyshev", "clark", "canberra", "kl", "cosine", "intersection"), float("nan"))
    apart, total = np.abs(first - second), first + second
    share = np.divide(apart, total, out=np.zeros_like(apart), where=total > 0)
    log_ratio = np.log(np.where(second > 0, second, 1.0) / np.where(second > 0, np.maximum(first, LEAST_SHARE), 1.0))
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    rows: dict[str, Doubles] = {
        "chebyshev": apart.max(1),
        "clark": np.sqrt((share**2).sum(1)),
        "canberra": share.sum(1),
        "kl": (second * log_ratio).sum(1),
        "cosine": (first * second).sum(1) / np.maximum(lengths, 1e-12),
        "intersection": np.minimum(first, second).sum(1),
    }
    return {name: float(values.mean()) for name, values in rows.items()}
