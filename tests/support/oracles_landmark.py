"""LA-Net's label distributions and contrastive loss, written with plain loops."""

from __future__ import annotations

import math


def aggregate(indices, scores, posteriors, found):
    """Return t (None where a face has no neighbor with a posterior), a list of N lists."""
    result = []
    for i, row in enumerate(indices):
        mass, total = 0.0, [0.0] * len(posteriors[0])
        for j, score in zip(row, scores[i], strict=True):
            if j >= 0 and found[j]:
                mass += score
                for c, p in enumerate(posteriors[j]):
                    total[c] += score * p
        result.append([value / mass for value in total] if mass > 0 else None)
    return result


def bank_by_visits(given, target, momentum, visits):
    """Return the bank after visiting it `visits` times with the same target."""
    bank = list(given)
    for _ in range(visits):
        bank = [momentum * b + (1 - momentum) * t for b, t in zip(bank, target, strict=True)]
    return bank


def landmark(given, labeled, views, posteriors, found, *, k, temperature, spaces, sharpness, momentum, visits):
    """Return (distribution, quality, flagged) of every face; `views` maps names to (indices, similarity)."""
    n, c = len(given), len(given[0])
    said = {}
    for view, (indices, similarity) in views.items():
        scores = [[math.exp(s / temperature) for s in row[:k]] for row in similarity]
        said[view] = aggregate([row[:k] for row in indices], scores, posteriors, found)
    rows = []
    for i in range(n):
        expression = [said[v][i] for v in views if v != "landmarks" and said[v][i] is not None]
        points = [said[v][i] for v in views if v == "landmarks" and said[v][i] is not None]
        groups = [g for g in (expression, points) if g] if spaces else [expression + points]
        groups = [g for g in groups if g]
        y = given[i] if labeled[i] else [1.0 / c] * c
        if not groups:
            rows.append((y, 1.0 if labeled[i] else 0.0, False))
            continue
        t = [sum(sum(p[x] for p in g) / len(g) for g in groups) / len(groups) for x in range(c)]
        powered = [value**sharpness for value in t]
        t = [value / sum(powered) for value in powered]
        b = bank_by_visits(y, t, momentum, visits) if labeled[i] else t
        if labeled[i]:
            own = sum(y[x] * b[x] for x in range(c))
            best = max(b[x] for x in range(c) if y[x] == max(y))
            rows.append((b, own, best < max(b)))
        else:
            entropy = -sum(value * math.log(value) for value in b if value > 0)
            rows.append((b, 1 - entropy / math.log(c), False))
    return rows


def contrastive(queries, keys, queue, labels, queue_labels, temperature):
    """Return the per-row losses of queries against keys."""

    def dot(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True)) / temperature

    result = []
    for i, query in enumerate(queries):
        negative = sum(
            math.exp(dot(query, key)) for key, label in zip(queue, queue_labels, strict=True) if label != labels[i]
        )
        pairs = []
        for j, key in enumerate(keys):
            if labels[j] == labels[i]:
                positive = math.exp(dot(query, key))
                pairs.append(-math.log(positive / (positive + negative)))
        result.append(sum(pairs) / len(pairs))
    return result
