"""The peers' formulas with plain loops; slow, for small sets."""

from __future__ import annotations

import math
from typing import Any


def cosine(a: Any, b: Any) -> float:
    return min(1.0, max(-1.0, float(sum(float(x) * float(y) for x, y in zip(a, b, strict=True)))))


def others(i: int, group: Any, vectors: Any) -> list[int]:
    """Faces that may speak of face i: of another group, both with a vector."""
    seen = [any(float(x) != 0 for x in vector) for vector in vectors]
    return [j for j in range(len(group)) if seen[i] and seen[j] and j != i and group[j] != group[i]]


def simifeat(given: Any, indices: Any, similarity: Any, c: int) -> tuple[list[float], list[bool], list[list[float]]]:
    scores, flags, votes = [], [], []
    for i, y in enumerate(given):
        vote = [0.0] * c
        for j, s in zip(indices[i], similarity[i], strict=True):
            if j >= 0:
                vote[given[j]] += max(0.0, float(s))
        total = sum(vote)
        vote = [v / total for v in vote] if total > 0 else [float(d == y) for d in range(c)]
        length = math.sqrt(sum(v * v for v in vote))
        scores.append(1.0 - vote[y] / length)
        flags.append(max(range(c), key=lambda d: (vote[d], -d)) != y)
        votes.append(vote)
    return scores, flags, votes


def deep_knn(given: Any, indices: Any, c: int) -> tuple[list[float], list[bool]]:
    scores, flags = [], []
    for i, y in enumerate(given):
        near = [given[j] for j in indices[i] if j >= 0]
        share = [near.count(d) / len(near) for d in range(c)] if near else [float(d == y) for d in range(c)]
        scores.append(1.0 - share[y])
        flags.append(any(share[d] > share[y] for d in range(c)))
    return scores, flags


def relation_graph(given: Any, vectors: Any, posterior: Any, group: Any) -> list[float]:
    scores = []
    for i, y in enumerate(given):
        total = 0.0
        for j in others(i, group, vectors):
            agreement = sum(float(p) * float(q) for p, q in zip(posterior[i], posterior[j], strict=True))
            k = max(0.0, cosine(vectors[i], vectors[j])) * agreement
            if k > 0.03:
                total += k**4 if given[j] != y else -(k**4)
        scores.append(total)
    return scores


def class_distance(given: Any, vectors: Any, group: Any) -> list[float]:
    scores = []
    for i, y in enumerate(given):
        same = [(1 - cosine(vectors[i], vectors[j])) / 2 for j in others(i, group, vectors) if given[j] == y]
        other = [(1 - cosine(vectors[i], vectors[j])) / 2 for j in others(i, group, vectors) if given[j] != y]
        if same and other:
            a, b = min(same) ** 2, min(other) ** 2
            scores.append(a / (a + b) if a + b > 0 else 0.5)
        else:
            scores.append(0.0 if same else 1.0 if other else 0.5)
    return scores


def knn_shapley(given: Any, vectors: Any, group: Any, voters: int) -> list[float]:
    """Minus the mean Shapley value of each label, by the recursion from the farthest face to the nearest."""
    n = len(given)
    total = [0.0] * n
    for i, y in enumerate(given):
        ranked = sorted(others(i, group, vectors), key=lambda j: (-cosine(vectors[i], vectors[j]), j))
        value = 0.0
        for r in range(len(ranked), 0, -1):
            match = float(given[ranked[r - 1]] == y)
            if r == len(ranked):
                value = match * min(voters, r) / (voters * r)
            else:
                value += (match - float(given[ranked[r]] == y)) / voters * min(voters, r) / r
            total[ranked[r - 1]] += value
    return [-t / n for t in total]


def shapley_by_definition(match: list[float], voters: int) -> list[float]:
    """Shapley values of a k-NN classifier's utility for one test point; `match` by falling similarity.

    The utility of a set S is the sum of match over its min(k, |S|) nearest, divided by k.
    """
    from itertools import combinations

    n = len(match)

    def utility(chosen: tuple[int, ...]) -> float:
        return sum(match[j] for j in sorted(chosen)[:voters]) / voters

    values = []
    for i in range(n):
        rest = [j for j in range(n) if j != i]
        value = 0.0
        for size in range(n):
            for chosen in combinations(rest, size):
                value += (utility((*chosen, i)) - utility(chosen)) / (n * math.comb(n - 1, size))
        values.append(value)
    return values


def mistakenness(given: Any, posterior: Any) -> tuple[list[float], list[float]]:
    """Mistakenness by confidence and by entropy."""
    by_confidence, by_entropy = [], []
    for y, p in zip(given, posterior, strict=True):
        wrong = max(range(len(p)), key=lambda d: (p[d], -d)) != y
        entropy = -sum(float(x) * math.log(float(x)) for x in p if x > 0)
        for scores, confidence in ((by_confidence, float(max(p))), (by_entropy, math.exp(-entropy))):
            scores.append((1 + confidence) / 2 if wrong else (1 - confidence) / 2)
    return by_confidence, by_entropy


def label_score(pairs: Any, given: Any) -> tuple[list[float], list[bool], list[int]]:
    """fastdup's label score from (face, similar face)."""
    scores, flags, labels = [], [], []
    for i, y in enumerate(given):
        near = [given[j] for k, j in pairs if k == i]
        scores.append(1 - near.count(y) / len(near) if near else 0.0)
        best = max(sorted(set(given)), key=near.count)
        flags.append(near.count(best) > near.count(y))
        labels.append(int(best if flags[-1] else y))
    return scores, flags, labels


def crowd_doubt(given: Any, consensus: Any, quality: Any, annotators: Any, detail: Any) -> list[float]:
    """1 - quality of the given label, by the annotators who chose it or else by the consensus."""
    answer = []
    for i, y in enumerate(given):
        own = [detail[i][a] for a, label in enumerate(annotators[i]) if label == y]
        if own:
            answer.append(1 - max(own))
        else:
            answer.append(1 - quality[i] if consensus[i] == y else quality[i])
    return answer
