"""The `consensus` method written with plain loops; what look-alikes, heads and action units say comes from outside."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import oracles_sites as sites
from oracles_hypergraph import (
    chance,
    counted,
    em,
    explained,
    fit_noise,
    judged,
    label_frequencies,
    lifted,
    pooled,
    posterior,
    read_off,
    seen,
    shares,
)


def softmax(row):
    """exp(x) brought to sum 1."""
    top = max(row)
    return shares([math.exp(x - top) for x in row])


def lifts_of(scores, fold, known):
    """Own lifts (N, C) and those of each run (N, F, C) of scores (N, F, C), and who is spoken about."""
    n, folds, c = scores.shape
    says = [bool(known[i]) and sum(scores[i, fold[i]]) > 0 for i in range(n)]
    mean = shares([sum(scores[i, fold[i], t] for i in range(n) if says[i]) for t in range(c)])
    runs = np.zeros((n, folds, c))
    for i in range(n):
        for b in range(folds):
            if says[i] and sum(scores[i, b]) > 0:
                runs[i, b] = lifted(scores[i, b], mean)
    return np.array([runs[i, fold[i]] for i in range(n)]), runs, says


def joined_row(weights, lifts, i, c):
    """L_ic = sum_k w_k l^k_ic."""
    return [sum(weights[name] * lifts[name][i][t] for name in weights) for t in range(c)]


def likelihood(weights, lifts, target, prior):
    """Penalized log-likelihood of the target under softmax(log pi + L); the belief is five faces at one half."""
    total = 0.0
    for i, label in enumerate(target):
        row = read_off(joined_row(weights, lifts, i, len(prior)), prior, 1.0)
        total += sum(y * math.log(max(p, 1e-12)) for y, p in zip(label, row, strict=True))
    return total - 5.0 * sum((w - 0.5) ** 2 for w in weights.values())


def likeliest_weights(lifts, target, prior, sweeps=12, steps=20):
    """The weights in [0, 4] of greatest likelihood: golden sections of one weight after another."""
    weights, golden = dict.fromkeys(lifts, 0.5), (math.sqrt(5) - 1) / 2
    for _ in range(sweeps):
        before = dict(weights)
        for name in lifts:
            low, high = 0.0, 4.0

            def at(value, name=name):
                return likelihood({**weights, name: value}, lifts, target, prior)

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
        if max(abs(weights[name] - before[name]) for name in lifts) < 3e-4:
            break
    return weights


def pseudo_faces(given):
    """Half a face spread over each row, and a hundredth of the class and half a face on the diagonal."""
    c = given.shape[1]
    return [[0.5 / c + (0.01 * sum(given[:, a]) + 0.5 if a == b else 0.0) for b in range(c)] for a in range(c)]


def fitted(rows, given):
    """Transition matrix of greatest likelihood after 60 steps of EM."""
    return em(rows, given, pseudo_faces(given), 60)[0]


class Latent(NamedTuple):
    """Bias, sharpness, transition matrix and log-likelihood."""

    bias: list
    sharpness: float
    transition: list
    likelihood: float

    def logits(self, lift):
        return [b + self.sharpness * x for b, x in zip(self.bias, lift, strict=True)]


def fit_latent(lifts, given, prior, noisy=True):
    """40 steps of generalized EM, face by face."""
    n, c = given.shape
    pseudo = pseudo_faces(given)
    if noisy:
        sharpness, transition = fit_noise(lifts, given, prior)
    else:
        sharpness = 1.0
        transition = [[0.999 * (a == b) + 0.001 / c for b in range(c)] for a in range(c)]
    bias = [math.log(p) for p in prior]
    for _ in range(40):
        counts, occupied, voted = [list(row) for row in pseudo], [0.0] * c, [0.0] * c
        slope = curve = 0.0
        for lift, label in zip(lifts, given, strict=True):
            row = softmax([b + sharpness * x for b, x in zip(bias, lift, strict=True)])
            true = posterior(row, label, transition)
            for t in range(c):
                occupied[t] += true[t] / n
                voted[t] += row[t] / n
                slope += (true[t] - row[t]) * lift[t]
                for d in range(c):
                    counts[t][d] += true[t] * label[d]
            mean = sum(p * x for p, x in zip(row, lift, strict=True))
            curve += sum(p * (x - mean) ** 2 for p, x in zip(row, lift, strict=True))
        if noisy:
            transition = [shares(row) for row in counts]
        bias = [b + 0.7 * math.log(max(o, 1e-9) / max(v, 1e-9)) for b, o, v in zip(bias, occupied, voted, strict=True)]
        sharpness = min(16.0, max(0.2, sharpness + 0.7 * slope / max(curve, 1e-9)))
    total = 0.0
    for lift, label in zip(lifts, given, strict=True):
        row = softmax([b + sharpness * x for b, x in zip(bias, lift, strict=True)])
        for d in range(c):
            total += label[d] * math.log(max(sum(row[t] * transition[t][d] for t in range(c)), 1e-12))
    return Latent(bias, sharpness, transition, total)


def entropy(row):
    return -sum(p * math.log(max(p, 1e-12)) for p in row)


def ramp(value, low, high):
    """0 up to `low`, 1 from `high` on."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


def noise_seen(noisy, clean, given, prior):
    """Likelihood that T adds, less that of chance, as a share of the labels' entropy: from .25 % to .75 %."""
    whole = len(given) * -sum(p * math.log(p) for p in prior)
    if whole <= 0:
        return 0.0
    return ramp((noisy.likelihood - clean.likelihood) / whole - chance(given, prior), 0.0025, 0.0075)


def noise_of(lifts, given, prior):
    """How plain random noise is, how far witnesses are relied on, what they explain, and the model of random noise."""
    noisy = fit_latent(lifts, given, prior)
    rows = [softmax([math.log(p) + x for p, x in zip(prior, row, strict=True)]) for row in lifts]
    share = explained(rows, given, prior) - chance(given, prior)
    plain = noise_seen(noisy, fit_latent(lifts, given, prior, noisy=False), given, prior)
    return ramp(share, 0.05, 0.1) * plain, ramp(share, 0.1, 0.25), max(share, 0.0), noisy


def weights_of_readings(random, relied):
    """Of the systematic reading, the random one, and the labels as they are."""
    shared = max(0.02, relied * (1 - random / 2))
    hit = (1 - shared) * random
    return shared, hit, 1 - shared - hit


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


class Given(NamedTuple):
    """Labels (N, C), who is judged, frequencies, folds, sites (None for one), and how far outside is heard."""

    labels: np.ndarray
    rows: list
    prior: np.ndarray
    fold: np.ndarray
    site: np.ndarray | None
    heard: list


def proven(faces, given, prior):
    """1 where chance explains a tenth of the labels' entropy of so many faces or less, 0 from a fifth on."""
    labels = [row for row in given if sum(row) > 0]
    used = sum(1 for column in zip(*labels, strict=True) if max(column) > 0)
    whole = faces * -sum(p * math.log(p) for p in prior)
    return 1 - ramp(used * (used - 1) / 2 / whole, 0.1, 0.2) if faces else 0.0


def reading(own, logits, given, matrix, site_matrices, run=None):
    """P(true | face, label) of logits (N, C), in the run of a fold or of own ones.

    Matrices are learned from `own` logits, one for each kind of face; those of sites know no label of the run's fold.
    """
    n = len(logits)
    votes, result = np.array([softmax(row) for row in own]), [softmax(row) for row in logits]
    for kind in (True, False):
        faces = [i for i in range(n) if (given.heard[i] > 0) == kind]
        learn = [i for i in faces if given.rows[i]]
        if not learn:
            continue
        pooled = matrix(votes[learn], given.labels[learn], kind)
        tables = [pooled] * n
        if given.site is not None:
            mask = np.array([i in learn for i in range(n)])
            tables = site_matrices(votes, given.labels, mask, given.fold, given.site, np.array(pooled), run)
        for i in faces:
            result[i] = posterior(result[i], given.labels[i], tables[i])
    return np.array(result)


def systematic(own, logits, given, run=None):
    """T counted where a class is voted; a label counts to the power 1 - u / 2 beside an outside witness."""
    told = reading(own, logits, given, lambda p, y, _: counted(p, y, given.prior), sites.counted, run)
    for i, u in enumerate(given.heard):
        if u > 0:
            vote = softmax(logits[i])
            told[i] = shares([t ** (1 - u / 2) * v ** (u / 2) for t, v in zip(told[i], vote, strict=True)])
    return told


def random(own, logits, given, transition, run=None):
    """T of the latent model; the likeliest one for faces that an outside witness judges."""
    return reading(own, logits, given, lambda p, y, heard: fitted(p, y) if heard else transition, sites.fitted, run)


class Outside(NamedTuple):
    """How far outside witnesses are heard (N,), and that times what they say (N, C)."""

    heard: list
    logits: list

    def over(self, logits, joined):
        """(1 - u) logits + u (mean log p + .1 L), face by face."""
        rows = zip(self.heard, self.logits, logits, joined, strict=True)
        return [
            [(1 - u) * x + o + u * 0.1 * j for x, o, j in zip(xs, os, js, strict=True)] for u, os, xs, js in rows
        ]  # fmt: skip


def voices(outside, given, labeled, joined, prior):
    """What outside witnesses, a dict of name -> (values, found), say together."""
    n, c = given.shape
    say = {}
    for name, (values, found) in outside.items():
        both = [i for i in range(n) if found[i] and labeled[i]]
        plain = [read_off(joined[i], prior, 1.0) for i in both]
        say[name] = ramp(worth(values[both], given[both], plain, prior), 0.5, 0.8) * proven(len(both), given, prior)
    heard, logits = [0.0] * n, [[0.0] * c for _ in range(n)]
    for i in range(n):
        speak = {name: u for name, u in say.items() if outside[name][1][i] and u > 0}
        total = sum(speak.values())
        heard[i] = min(1.0, total)
        for t in range(c):
            terms = [u * math.log(max(outside[name][0][i][t], 1e-6)) for name, u in speak.items()]
            logits[i][t] = heard[i] * sum(terms) / total if total else 0.0
    return Outside(heard, logits)


class First(NamedTuple):
    """All that the first round leaves behind."""

    given: Given
    said: Outside
    share: list
    noise: float
    rates: list | None
    explained: float
    refined: np.ndarray
    runs: np.ndarray
    spoken: list
    evidence: dict
    weights: dict


def first_round(scored, told, outside, given, labeled, fold, site, rates):
    """The first round.

    `scored`: witness -> (scores (N, F, C), known (N,)); `told`: witness -> (table (N, C), known (N,), whether it
    takes part in runs); `outside`: witness -> (table (N, C), found (N,)); `rates`: base rates
    by class, or None.
    """
    n, c = given.shape
    folds = max(fold) + 1
    prior = label_frequencies(given)
    own, runs, known = {}, {}, {}
    for name, (scores, found) in scored.items():
        own[name], runs[name], known[name] = lifts_of(scores, fold, found)
    for name, (table, found, in_runs) in told.items():
        own[name], same, known[name] = lifts_of(np.repeat(table[:, None], folds, axis=1), fold, found)
        if in_runs:
            runs[name] = same
    own = {name: lifts for name, lifts in own.items() if any(known[name])}
    inside = [any(known[name][i] for name in own) for i in range(n)]
    faces = [i for i in range(n) if inside[i] and labeled[i]]
    weights = likeliest_weights({name: own[name][faces] for name in own}, given[faces], prior)
    joined = [joined_row(weights, own, i, c) for i in range(n)]
    said = voices(outside, given, labeled, joined, prior)
    spoken = [inside[i] or said.heard[i] > 0 for i in range(n)]
    rows = [spoken[i] and bool(labeled[i]) for i in range(n)]
    labels = Given(given, rows, prior, fold, site, said.heard)
    inner = [i for i in range(n) if rows[i]]
    noise, relied, known_share, noisy = noise_of([joined[i] for i in inner], given[inner], prior)
    rates = seen(rates, prior)
    gamma, frequent = (2.0 if rates is None else 1.5), pooled(prior, rates, known_share)
    weighs = weights_of_readings(noise, relied)
    share = [[(1 - u) * w + (u if k == 0 else 0.0) for k, w in enumerate(weighs)] for u in said.heard]

    def refined(lifts, run=None):
        shared, hit = ([], []), ([], [])
        for place, table in enumerate((joined, lifts)):
            logits = [[gamma * math.log(p) + 1.5 * x for p, x in zip(frequent, row, strict=True)] for row in table]
            shared[place].extend(said.over(logits, table))
            hit[place].extend(said.over([noisy.logits(row) for row in table], table))
        return blend(
            share,
            systematic(*shared, labels, run),
            random(*hit, labels, noisy.transition, run),
            stays(given, shared[1]),
        )

    each = np.zeros((n, folds, c))
    for b in range(folds):
        part = {name: table[:, b] for name, table in runs.items() if name in own}
        each[:, b] = refined([joined_row({k: weights[k] for k in part}, part, i, c) for i in range(n)], b)
    evidence = {}
    for name, lifts in own.items():
        evidence[name] = [
            np.dot(given[i], read_off(lifts[i], prior, 1.0)) if known[name][i] and labeled[i] else np.nan
            for i in range(n)
        ]
    for name, (table, found) in outside.items():
        evidence[name] = [np.dot(given[i], table[i]) if found[i] and labeled[i] else np.nan for i in range(n)]
    return First(labels, said, share, noise, rates, known_share, refined(joined), each, spoken, evidence, weights)


def stays(given, logits):
    """The labels as they are; what is read of faces without one."""
    return [row if sum(row) > 0 else softmax(logit) for row, logit in zip(given, logits, strict=True)]


def blend(share, *readings):
    return np.array(
        [
            sum(w * np.asarray(reading[i]) for w, reading in zip(weights, readings, strict=True))
            for i, weights in enumerate(share)
        ]
    )


def second_round(first, scored, told):
    """What the second round makes of new scores; `scored` and `told` as in the first. Refined labels (N, C)."""
    given, rows = first.given.labels, [i for i, inside in enumerate(first.given.rows) if inside]
    n, c = given.shape
    own = {name: lifts_of(scores, first.given.fold, found)[0] for name, (scores, found) in scored.items()}
    for name, (table, found, _) in told.items():
        own[name] = lifts_of(table[:, None], np.zeros(n, dtype=int), found)[0]
    inner = {name: lifts[rows] for name, lifts in own.items()}
    prior = label_frequencies(first.refined[rows])
    weights = likeliest_weights(inner, first.refined[rows], prior)
    learned = [joined_row(weights, own, i, c) for i in range(n)]
    gamma, sharper = (1.5 - 0.5 * first.noise if first.rates is None else 1.0), 0.8 + 0.2 * first.noise
    frequent = pooled(prior, first.rates, first.explained)
    logits = [[gamma * math.log(p) + sharper * x for p, x in zip(frequent, row, strict=True)] for row in learned]
    shared = first.said.over(logits, learned)
    weights = likeliest_weights(inner, given[rows], first.given.prior)
    explained = [joined_row(weights, own, i, c) for i in range(n)]
    model = fit_latent([explained[i] for i in rows], given[rows], first.given.prior)
    hit = first.said.over([model.logits(row) for row in explained], explained)
    read = systematic(shared, shared, first.given), random(hit, hit, first.given, model.transition)
    return blend(first.share, *read, stays(given, shared))


def answer(first, refined, labeled):
    """Distribution, quality, weight and flags; faces that nobody speaks about keep their label."""
    given = first.given.labels
    n, c = given.shape
    result = np.array([refined[i] if first.spoken[i] else (given[i] if labeled[i] else [1 / c] * c) for i in range(n)])
    return result, *judged(result, given, labeled, first.spoken)
