"""The formulas of neighbors, hypergraphs and the `hypergraph` method, written with plain loops and dense algebra.

Nothing here calls the code under test; sums are in float64 and inverses are dense.
"""

from __future__ import annotations

import math

import numpy as np


def nearest(values, found, k, *, apart=None, center=True):
    """All pairs by cosine in float64, ties (in float32) by row number: indices and similarities (N, k)."""
    n = len(values)
    rows = [i for i in range(n) if found[i]]
    vectors = np.asarray(values, dtype=np.float64)
    if center and rows:
        vectors = vectors - vectors[rows].mean(0)
    indices = np.full((n, k), -1)
    similarity = np.zeros((n, k))
    for i in rows:
        scored = []
        for j in rows:
            together = apart is not None and apart[i] != "" and apart[i] == apart[j]
            if i == j or together:
                continue
            length = np.linalg.norm(vectors[i]) * np.linalg.norm(vectors[j])
            cosine = float(vectors[i] @ vectors[j]) / length if length > 0 else 0.0
            scored.append((-cosine, j))
        for place, (negative, j) in enumerate(sorted(scored)[:k]):
            indices[i, place], similarity[i, place] = j, -negative
    return indices, similarity


def incidence_of(tables, k=None):
    """Dense H (N, views * N), and the distance of each center to each of its members, a list an edge."""
    n = len(tables[0][0])
    columns, distances = [], []
    for indices, similarity in tables:
        for i in range(n):
            column, far = np.zeros(n), []
            for j, s in zip(indices[i][:k], similarity[i][:k], strict=True):
                if j >= 0:
                    column[j] = column[i] = 1.0
                    far.append(math.sqrt(max(0.0, 2.0 - 2.0 * float(s))))
            columns.append(column)
            distances.append(far)
    return np.stack(columns, axis=1), distances


def gaussian_weights(distances, floor=1e-6):
    """w_e = exp(-mean d^2 / sigma^2), sigma the mean distance of all; 0 for an empty hyperedge."""
    everything = [d for far in distances for d in far]
    sigma = sum(everything) / len(everything) if everything else 0.0
    weights = []
    for far in distances:
        if not far:
            weights.append(0.0)
        elif sigma == 0:
            weights.append(1.0)
        else:
            weights.append(max(floor, math.exp(-sum(d * d for d in far) / len(far) / sigma**2)))
    return weights


def operator(incidence, weight, form):
    """Theta = D^-1/2 H W d^-1 H^T D^-1/2, or D^-1 H W d^-1 H^T, term by term; zero rows for lone vertices."""
    n, edges = incidence.shape
    edge_degree = [sum(incidence[i, e] for i in range(n)) for e in range(edges)]
    degree = [sum(weight[e] * incidence[i, e] for e in range(edges)) for i in range(n)]
    result = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            for e in range(edges):
                if incidence[i, e] and incidence[j, e] and weight[e] > 0:
                    share = weight[e] / edge_degree[e]
                    scale = degree[i] if form == "random-walk" else math.sqrt(degree[i] * degree[j])
                    result[i, j] += share / scale
    return result


def solve(matrix, labels, alpha):
    """F = (1 - alpha) (I - alpha P)^-1 Y."""
    return (1 - alpha) * np.linalg.inv(np.eye(len(matrix)) - alpha * matrix) @ labels


def iterate(matrix, labels, alpha, steps):
    """F_{t+1} = alpha P F_t + (1 - alpha) Y from F_0 = Y."""
    values = labels
    for _ in range(steps):
        values = alpha * matrix @ values + (1 - alpha) * labels
    return values


def sharpen(row, power):
    """row^power scaled to sum 1; entries below a millionth of the largest count as 0."""
    best = max(row)
    if best <= 0:
        return [0.0] * len(row)
    powers = [(r / best) ** power if r / best > 1e-6 else 0.0 for r in row]
    return [p / sum(powers) for p in powers]


def refine(tables, view_weights, given, labeled, fold, *, k, alpha, rounds, sharpness):
    """The complete rule of `HypergraphPropagation`; returns a dict of float64 arrays."""
    n, c = given.shape
    incidence, distances = incidence_of(tables, k)
    weight = []
    for v, factor in enumerate(view_weights):
        weight += [w * factor for w in gaussian_weights(distances[v * n : (v + 1) * n])]
    walk = operator(incidence, weight, "random-walk")
    scores = np.zeros((n, c))
    for b in sorted(set(fold.tolist())):
        trust = np.array([0.0 if fold[j] == b else 1.0 for j in range(n)])
        field = solve(walk, trust[:, None] * given, alpha)
        for _ in range(rounds - 1):
            renewed = np.zeros(n)
            for j in range(n):
                if fold[j] != b:
                    others = [max(0.0, field[j, d] - (1 - alpha) * trust[j] * given[j, d]) for d in range(c)]
                    vote = sharpen(others, sharpness)
                    renewed[j] = sum(vote[d] * given[j, d] for d in range(c))
            trust = renewed
            field = solve(walk, trust[:, None] * given, alpha)
        for i in range(n):
            if fold[i] == b:
                scores[i] = np.clip(field[i], 0, None)
    vote = np.array([sharpen(row, sharpness) for row in scores])
    spoken = scores.max(1) > 0
    frequency = given.sum(0) / given.sum()
    model = np.zeros((c, c))
    for true in range(c):
        for named in range(c):
            model[true, named] = 0.5 * frequency[named]
            for i in range(n):
                if spoken[i] and labeled[i]:
                    model[true, named] += vote[i, true] * given[i, named]
        model[true] /= model[true].sum()
    refined, quality, weights, flagged = np.zeros((n, c)), np.zeros(n), np.zeros(n), np.zeros(n, dtype=bool)
    for i in range(n):
        if not spoken[i]:
            refined[i] = given[i] if labeled[i] else 1 / c
        elif labeled[i]:
            product = [vote[i, t] * sum(model[t, d] * given[i, d] for d in range(c)) for t in range(c)]
            refined[i] = np.array(product) / sum(product) if sum(product) > 0 else vote[i]
        else:
            refined[i] = vote[i]
        if labeled[i]:
            own = sum(given[i, d] * refined[i, d] for d in range(c))
            quality[i] = own if spoken[i] else 1.0
            weights[i] = own / max(refined[i]) if spoken[i] else sum(given[i] ** 2)
            flagged[i] = spoken[i] and own < 0.5
        else:
            entropy = -sum(p * math.log(p) for p in refined[i] if p > 0)
            quality[i] = weights[i] = 1 - entropy / math.log(c)
    return {
        "distribution": refined,
        "vote": vote,
        "spoken": spoken,
        "quality": quality,
        "weight": weights,
        "flagged": flagged,
        "model": model,
    }
