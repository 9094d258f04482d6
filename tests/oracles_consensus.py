"""The `consensus` method written with plain loops; scores of look-alikes and inferences of units come from outside."""

from __future__ import annotations

import math

import numpy as np
from oracles_hypergraph import (
    counted,
    em,
    explained,
    judged,
    label_frequencies,
    lifted,
    posterior,
    read_off,
    reliance,
    shares,
)


def joined_row(weights, lifts, i, c):
    """L_ic = sum_k w_k l^k_ic."""
    return [sum(weights[name] * lifts[name][i][t] for name in weights) for t in range(c)]


def likelihood(weights, lifts, given, prior):
    """Penalized log-likelihood of the labels under softmax(log pi + L); the belief is five faces at one half."""
    total = 0.0
    for i, label in enumerate(given):
        row = read_off(joined_row(weights, lifts, i, len(prior)), prior, 1.0)
        total += sum(y * math.log(max(p, 1e-12)) for y, p in zip(label, row, strict=True))
    return total - 5.0 * sum((w - 0.5) ** 2 for w in weights.values())


def likeliest_weights(lifts, given, prior, sweeps=12, steps=26):
    """The weights in [0, 4] of greatest likelihood: golden sections of one weight after another."""
    weights, golden = dict.fromkeys(lifts, 0.5), (math.sqrt(5) - 1) / 2
    for _ in range(sweeps):
        before = dict(weights)
        for name in lifts:
            low, high = 0.0, 4.0

            def at(value, name=name):
                return likelihood({**weights, name: value}, lifts, given, prior)

            left, right = high - golden * (high - low), low + golden * (high - low)
            f_left, f_right = at(left), at(right)
            for _ in range(steps):
                if f_left < f_right:
                    low, left, f_left = left, right, f_right
                    right = low + golden * (high - low)
                    f_right = at(right)
                else:
                    high, right, f_right = right, left, f_left
                    left = high - golden * (high - low)
                    f_left = at(left)
            weights[name] = max((0.0, 4.0, (low + high) / 2), key=at)
        if max(abs(weights[name] - before[name]) for name in lifts) < 1e-4:
            break
    return weights


def gain(rows, given, prior):
    """Best mean log-likelihood of the labels beyond the frequencies, over shares of `rows` mixed into these."""
    best = -math.inf
    for share in (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9):
        total = 0.0
        for row, label in zip(rows, given, strict=True):
            for y, p, q in zip(label, prior, row, strict=True):
                total += y * (math.log(max(share * q + (1 - share) * p, 1e-12)) - math.log(p))
        best = max(best, total / len(given))
    return best


def permutations(items):
    """All orders of a list."""
    if not items:
        return [[]]
    return [[x, *rest] for i, x in enumerate(items) for rest in permutations(items[:i] + items[i + 1 :])]


def named_alike(p, given):
    """Whether no order of the columns of p overlaps more with the labels than their own."""
    n, c = p.shape
    overlap = [[sum(p[i, t] * given[i, d] for i in range(n)) for d in range(c)] for t in range(c)]
    row = [sum(overlap[t]) for t in range(c)]
    column = [sum(overlap[t][d] for t in range(c)) for d in range(c)]

    def total(order):
        terms = [(overlap[t][d], row[t] * column[d]) for t, d in enumerate(order)]
        return sum(m / math.sqrt(s) for m, s in terms if s > 0)

    return total(range(c)) >= max(total(order) for order in permutations(list(range(c)))) - 1e-9


def renamed(p, given, prior):
    """p_i T with T counted on all faces but i."""
    n, c = p.shape
    result = []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        table = counted(p[others], given[others], prior) if others else [list(prior)] * c
        result.append([sum(p[i, t] * table[t][d] for t in range(c)) for d in range(c)])
    return result


def worth(p, given, inside, prior):
    """Worth of an outside witness of which p, the labels and what is known inside are given, rows alike."""
    if not len(p) or not named_alike(p, given):
        return 0.0
    own = max(gain(inside, given, prior), 0.1 * -sum(x * math.log(x) for x in prior))
    return min(1.0, max(0.0, gain(renamed(p, given, prior), given, prior) / own))


def fitted(rows, given):
    """Transition matrix of greatest likelihood after 60 steps of EM."""
    c = given.shape[1]
    pseudo = [[0.5 / c + (0.01 * sum(given[:, a]) + 0.5 if a == b else 0.0) for b in range(c)] for a in range(c)]
    return em(rows, given, pseudo, 60)[0]


def refine(tables, outside, given, labeled, *, gamma):
    """The complete rule.

    `tables`: dict of witness -> (values (N, C), known (N,)), outside ones as well; `outside`: their names.
    """
    n, c = given.shape
    prior = label_frequencies(given)
    lifts, known = {}, {}
    for name, (values, found) in tables.items():
        says = [bool(found[i]) and sum(values[i]) > 0 for i in range(n)]
        if any(found):
            mean = shares([sum(values[i][t] for i in range(n) if says[i]) for t in range(c)])
            lifts[name] = [lifted(values[i], mean) if says[i] else [0.0] * c for i in range(n)]
            known[name] = says
    spoken = [any(says[i] for says in known.values()) for i in range(n)]
    rows = [i for i in range(n) if spoken[i] and labeled[i]]
    inside = [name for name in lifts if name not in outside]
    weights = likeliest_weights({k: [lifts[k][i] for i in rows] for k in inside}, given[rows], prior)
    joined = [joined_row(weights, lifts, i, c) for i in range(n)]
    plain = [read_off(joined[i], prior, 1.0) for i in range(n)]
    trust = reliance(explained([plain[i] for i in rows], given[rows], prior))
    say = {}
    for name in outside:
        if name in known:
            both = [i for i in rows if known[name][i]]
            value = worth(tables[name][0][both], given[both], [plain[i] for i in both], prior)
            say[name] = min(1.0, max(0.0, (value - 0.5) / 0.3))
    heard, refined = np.zeros(n), np.zeros((n, c))
    readings = ((1.5, 2.0, False), (gamma, 1.5, True))
    votes = {systematic: np.zeros((n, c)) for _, _, systematic in readings}
    for i in range(n):
        speak = {name: h for name, h in say.items() if known[name][i]}
        total = sum(speak.values())
        heard[i] = min(1.0, total)
        mean = [
            sum(h * math.log(max(tables[name][0][i][t], 1e-6)) for name, h in speak.items()) / max(total, 1e-300)
            for t in range(c)
        ]
        for power, sharper, systematic in readings:
            g, s, h = 1 + trust * (power - 1), 1 + trust * (sharper - 1), heard[i]
            logits = [
                (1 - h) * (g * math.log(prior[t]) + s * joined[i][t]) + h * (mean[t] + 0.2 * joined[i][t])
                for t in range(c)
            ]
            votes[systematic][i] = shares([math.exp(x - max(logits)) for x in logits])
    for systematic, vote in votes.items():
        for kind in (True, False):
            faces = [i for i in range(n) if (heard[i] > 0) == kind]
            learn = [i for i in faces if i in rows]
            for i in faces:
                share = (1 - heard[i]) * (1 + 2 * trust) / 4 + heard[i]
                reading = vote[i]
                if learn:
                    if i == faces[0]:
                        table = counted(vote[learn], given[learn], prior) if systematic else None
                        table = table or fitted(vote[learn], given[learn])
                    reading = np.array(posterior(vote[i], given[i], table))
                refined[i] += (share if systematic else 1 - share) * reading
    for i in range(n):
        if not spoken[i]:
            refined[i] = given[i] if labeled[i] else 1 / c
    quality, weight, flagged = judged(refined, given, labeled, spoken)
    evidence = {
        name: [
            np.dot(given[i], read_off(lifts[name][i], prior, 1.0)) if known[name][i] and labeled[i] else np.nan
            for i in range(n)
        ]
        for name in lifts
    }
    return {
        "distribution": refined,
        "quality": quality,
        "weight": weight,
        "flagged": flagged,
        "evidence": evidence,
        "weights": weights,
        "heard": heard,
        "trust": trust,
        "spoken": np.array(spoken),
    }


def flags(quality, rows, precision):
    """As many of the lowest qualities as keep the mean of 1 - quality at `precision`."""
    order = sorted((i for i in range(len(quality)) if rows[i]), key=lambda i: (quality[i], i))
    number = 0
    for m in range(1, len(order) + 1):
        if sum(1 - quality[i] for i in order[:m]) / m >= precision:
            number = m
    return [i in order[:number] for i in range(len(quality))]
