"""`consensus` in plain loops: ridge heads, experts, noise models, and the readings."""

from __future__ import annotations

import math

import numpy as np


def softmax(row):
    top = max(row)
    weights = [math.exp(x - top) for x in row]
    return [w / sum(weights) for w in weights]


def shares(row):
    total = sum(row)
    return [x / total if total > 0 else 0.0 for x in row]


def chance(given, prior):
    """Half a nat for each of K (K - 1) numbers, as a share of the labels' entropy."""
    k = sum(1 for c in range(given.shape[1]) if any(row[c] > 0 for row in given))
    return k * (k - 1) / 2 / (len(given) * -sum(p * math.log(p) for p in prior))


def head(design, targets, rows, strength=0.1):
    """Least squares with a ridge on all but the intercept, learned from `rows`, as a function of a design row."""
    x = np.array([[*design[i], 1.0] for i in rows])
    y = np.array([targets[i] for i in rows])
    ridge = np.diag([strength * math.sqrt(len(rows))] * design.shape[1] + [1e-6 * len(rows)])
    weights = np.linalg.solve(x.T @ x + ridge, x.T @ y)
    return lambda row: np.array([*row, 1.0]) @ weights


def own_scores(design, targets, fold, learns):
    """Each face by a head without its fold."""
    result = []
    for i in range(len(design)):
        rows = [j for j in range(len(design)) if learns[j] and fold[j] != fold[i]]
        result.append(head(design, targets, rows)(design[i]))
    return np.array(result)


def run_scores(design, targets, fold, learns):
    """Each face in the run of each fold: by a head without that fold and without the face's own."""
    n, folds = len(design), max(fold) + 1
    result = np.zeros((n, folds, targets.shape[1]))
    for i in range(n):
        for f in range(folds):
            rows = [j for j in range(n) if learns[j] and fold[j] not in (f, fold[i])]
            result[i, f] = head(design, targets, rows)(design[i])
    return result


def external(p, found, given, labeled, fold, prior):
    """log(p_i T / pi), T counted on the labels of other folds, for each run."""
    n, c = p.shape
    folds = max(fold) + 1
    result = np.zeros((n, folds, c))
    for f in range(folds):
        counts = [[0.5 * prior[d] for d in range(c)] for _ in range(c)]
        for j in range(n):
            if labeled[j] and found[j] and fold[j] != f:
                for a in range(c):
                    for d in range(c):
                        counts[a][d] += p[j, a] * given[j, d]
        matrix = [shares(row) for row in counts]
        for i in range(n):
            if found[i]:
                for d in range(c):
                    expected = sum(p[i, a] * matrix[a][d] for a in range(c))
                    result[i, f, d] = math.log(max(expected, 1e-6) / prior[d])
    return result


def posterior(row, label, matrix):
    """sum_d y_d P(true | face, label d), labels without probability left out."""
    c = len(row)
    result = [0.0] * c
    for d in range(c):
        predicted = sum(row[a] * matrix[a][d] for a in range(c))
        if label[d] > 0 and predicted > 0:
            for a in range(c):
                result[a] += label[d] * row[a] * matrix[a][d] / predicted
    return shares(result) if sum(result) > 0 else list(row)


def right_most_often(matrix, named):
    """Rows in which no entry is above the diagonal's: as few of them as can share its value do."""
    c, result = len(matrix), []
    for a, row in enumerate(matrix):
        row = list(row)
        if named[a]:
            others = sorted((d for d in range(c) if d != a), key=lambda d: -row[d])
            for count in range(c):
                pool = [a, *others[:count]]
                mean = sum(row[d] for d in pool) / len(pool)
                if all(row[d] <= mean for d in others[count:]):
                    break
            row = [mean if d in pool else row[d] for d in range(c)]
        result.append(row)
    return result


def named(given, rows):
    return [any(given[j][d] > 0 for j in range(len(given)) if rows[j]) for d in range(len(given[0]))]


def systematic(own, logits, given, rows, prior, power):
    """Labels beside logits by the matrix counted on `own`."""
    c = len(prior)
    counts = [[0.5 * prior[d] for d in range(c)] for _ in range(c)]
    for j in range(len(own)):
        if rows[j]:
            vote = softmax(own[j])
            for a in range(c):
                for d in range(c):
                    counts[a][d] += vote[a] * given[j][d]
    matrix = right_most_often([shares(row) for row in counts], named(given, rows))
    result = []
    for i in range(len(own)):
        vote = softmax(logits[i])
        read = posterior(vote, given[i], matrix)
        result.append(shares([r ** power[i] * v ** (1 - power[i]) for r, v in zip(read, vote, strict=True)]))
    return np.array(result)


def fit_random(ratios, given, prior, shape):
    """Bias, sharpness, transition matrix, log-likelihood, greatest share to one class: EM, in loops."""
    n, c = given.shape

    def one_rate(rate):
        return [[1 - rate if a == b else rate / (c - 1) for b in range(c)] for a in range(c)]

    matrix = one_rate(0.001 if shape == "right" else 0.2)
    start = [[(0.01 * sum(given[:, a]) + 0.5) * (a == b) + 0.5 / c for b in range(c)] for a in range(c)]
    bias, sharp = [math.log(p) for p in prior], 1.0
    for _ in range(120 if shape == "even" else 40):
        counts, true_share, vote_share = [list(row) for row in start], [0.0] * c, [0.0] * c
        slope = curve = 0.0
        for ratio, label in zip(ratios, given, strict=True):
            row = softmax([b + sharp * x for b, x in zip(bias, ratio, strict=True)])
            true = posterior(row, label, matrix)
            mean = sum(p * x for p, x in zip(row, ratio, strict=True))
            for a in range(c):
                true_share[a] += true[a] / n
                vote_share[a] += row[a] / n
                slope += (true[a] - row[a]) * ratio[a]
                curve += row[a] * (ratio[a] - mean) ** 2
                for d in range(c):
                    counts[a][d] += true[a] * label[d]
        if shape == "by class":
            matrix = right_most_often([shares(row) for row in counts], named(given, [True] * n))
        if shape == "even":
            matrix = one_rate(1 - sum(counts[a][a] for a in range(c)) / sum(map(sum, counts)))
        bias = [
            b + 0.7 * math.log(max((t + 0.01 * p) / 1.01, 1e-9) / max(v, 1e-9))
            for b, t, v, p in zip(bias, true_share, vote_share, prior, strict=True)
        ]
        sharp = min(16.0, max(0.2, sharp + 0.7 * slope / max(curve, 1e-9)))
    total = 0.0
    for ratio, label in zip(ratios, given, strict=True):
        row = softmax([b + sharp * x for b, x in zip(bias, ratio, strict=True)])
        for d in range(c):
            total += label[d] * math.log(max(sum(row[a] * matrix[a][d] for a in range(c)), 1e-12))
    to_one = max(counts[a][d] / (sum(counts[a]) + 100) for a in range(c) for d in range(c) if a != d)
    return bias, sharp, matrix, total, to_one


def shifted(p, trained, known):
    """30 steps of EM for class frequencies, 200 faces of `known` added."""
    pi = list(known)
    rows = [list(row) for row in p]
    for _ in range(30):
        rows = [shares([x * f / t for x, f, t in zip(row, pi, trained, strict=True)]) for row in p]
        pi = shares([sum(row[c] for row in rows) + 200 * known[c] for c in range(len(pi))])
    return rows, pi
