"""DNFER's rules written with plain loops."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]


def thresholds(posterior: Table) -> list[float]:
    """Mean of every column, all rows counted."""
    n, classes = posterior.shape
    return [sum(float(posterior[i, c]) for i in range(n)) / n for c in range(classes)]


def keeps(posterior: Table, label: list[int]) -> list[bool]:
    """keep_i = P_i,y >= tau_y, ties kept to rounding."""
    tau = thresholds(posterior)
    return [float(posterior[i, y]) >= tau[y] - 1e-9 for i, y in enumerate(label)]


def loss(posterior: Table, label: list[int]) -> float:
    """Mean cross-entropy over kept rows, over all rows if none is kept."""
    kept = keeps(posterior, label)
    rows = [i for i, keep in enumerate(kept) if keep] or list(range(len(label)))
    return sum(-math.log(float(posterior[i, label[i]])) for i in rows) / len(rows)


def symmetric_bits(p: Table, q: Table) -> list[float]:
    """KL(p || q) + KL(q || p), logarithm to the base 2."""
    out = []
    for a, b in zip(p.tolist(), q.tolist(), strict=True):
        total = 0.0
        for x, y in zip(a, b, strict=True):
            total += x * math.log2(x / y) + y * math.log2(y / x)
        out.append(total)
    return out


def simulated_rate(posterior: Table, label: list[int], batch: int, rounds: int, seed: int) -> Table:
    """Share of random batches in which each row is kept."""
    rng = np.random.default_rng(seed)
    n = len(label)
    seen, kept = np.zeros(n), np.zeros(n)
    for _ in range(rounds):
        order = rng.permutation(n)
        for start in range(0, n - batch + 1, batch):
            rows = order[start : start + batch]
            for row, keep in zip(rows, keeps(posterior[rows], [label[r] for r in rows]), strict=True):
                seen[row] += 1
                kept[row] += keep
    return kept / np.maximum(seen, 1)
