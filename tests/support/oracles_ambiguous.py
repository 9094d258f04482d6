"""LEAF's positives and losses, written with plain loops as its code walks them; the graph by dense inverses."""

from __future__ import annotations

import math

import numpy as np
import oracles_hypergraph as graphs


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


def graph_votes(samples, tables, fold, *, k, alpha):
    """Posteriors (N, C), what each fold's run says (N, F, C), and of whom anything is said, by dense inverses."""
    given, labeled = samples.given.astype(float), samples.labeled
    n, c = given.shape
    linked = [any((table.indices[i] >= 0).any() for table in tables.values()) for i in range(n)]
    k = graphs.fitting(k, given, linked)
    plain = {view: (table.indices[:, :k], table.similarity[:, :k]) for view, table in tables.items()}
    incidence, distances = graphs.incidence_of(list(plain.values()), k)
    factors = graphs.view_weights(plain, given, labeled)
    weight = []
    for v, view in enumerate(plain):
        weight += [w * factors[view] for w in graphs.gaussian_weights(distances[v * n : (v + 1) * n])]
    walk = graphs.operator(incidence, weight, "random-walk")
    runs = [graphs.solve(walk, given * (fold != f)[:, None], alpha) for f in range(max(fold) + 1)]
    everything = graphs.solve(walk, given, alpha)
    scores = [runs[fold[i]][i] if labeled[i] else everything[i] for i in range(n)]
    spoken = [bool(linked[i] and max(scores[i]) > 0) for i in range(n)]
    total = sum(np.array(scores[i]) for i in range(n) if spoken[i])
    mean, prior = graphs.shares(total), graphs.label_frequencies(given)
    log_ratios = [graphs.lifted(row, mean) for row in scores]
    rows = [i for i in range(n) if spoken[i] and labeled[i]]
    sharpness = graphs.likeliest_sharpness([log_ratios[i] for i in rows], given[rows], prior)
    values = [graphs.read_off(log_ratios[i], prior, sharpness) if spoken[i] else [0.0] * c for i in range(n)]
    by_fold = np.full((n, len(runs), c), 1 / c)
    for f, run in enumerate(runs):
        for i in range(n):
            if linked[i] and max(run[i]) > 0:
                by_fold[i, f] = graphs.read_off(graphs.lifted(run[i], mean), prior, sharpness)
    return values, by_fold, spoken
