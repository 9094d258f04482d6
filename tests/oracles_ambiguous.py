"""LEAF's positives and losses, written with plain loops as its code walks them."""

from __future__ import annotations

import math


def positives(q: list[float], limit: int, mass: float, inclusive: bool) -> set[int]:
    """Take classes from the likeliest down until the sum reaches `mass`; the first is always taken."""
    limit = min(limit, len(q) - 1)
    ranked = sorted(range(len(q)), key=lambda c: (-q[c], c))
    taken: list[int] = []
    total = 0.0
    for c in ranked:
        if len(taken) == limit:
            break
        if inclusive and total >= mass:
            break
        if not inclusive and taken and total + q[c] >= mass:
            break
        taken.append(c)
        total += q[c]
    return set(taken)


def weight(q: list[float], number: int, shape: str) -> float:
    """How little the positives are contested."""
    ranked = sorted(q, reverse=True)
    mu = sum(ranked[: number + 1]) / (number + 1)
    h = ranked[number]
    if shape == "linear":
        return (mu - h) / mu
    if shape == "convex":
        return (mu - h) / (mu + h)
    return min(1.0, math.log(1 + 50 * (mu - h)) / math.log(1 + 50 * mu))


def ambiguous_loss(scores: list[float], plausible: set[int]) -> float:
    """log(1 + sum over pairs), every pair written out."""
    total = 1.0
    for a in plausible:
        for b in range(len(scores)):
            if b not in plausible:
                total += math.exp(scores[b] - scores[a])
    return math.log(total)


def cross_entropy(scores: list[float], label: int) -> float:
    """-log softmax."""
    return math.log(sum(math.exp(s) for s in scores)) - scores[label]
