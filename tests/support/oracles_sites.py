"""The formulas of sites and of the uncertainty heads, written with plain loops; nothing here calls the code tested."""

from __future__ import annotations

import math

import numpy as np
from oracles_hypergraph import (
    chance,
    credit,
    explained,
    fit_noise,
    fitting,
    frequent_and_power,
    gaussian_weights,
    incidence_of,
    label_frequencies,
    lifted,
    likeliest_sharpness,
    mixed,
    operator,
    posterior,
    read_off,
    reliance,
    solve,
    view_weights,
)
from oracles_hypergraph import (
    counted as counted_in_all,
)
from oracles_hypergraph import (
    shares as brought_to_one,
)


def site_shares(votes, rows, site):
    """Frequency of each class at the face's site over that of all, (N, C); 1 where no site ("") is named."""
    n, c = len(votes), len(votes[0])
    known = [i for i in range(n) if rows[i]]
    mean = [sum(votes[i][d] for i in known) / len(known) for d in range(c)]
    ratio = {name: [1.0] * c for name in set(site)}
    for name in set(site) - {""}:
        members = [i for i in known if site[i] == name]
        for _ in range(10):
            total = [100.0 * m for m in mean]
            for i in members:
                belongs = brought_to_one([votes[i][d] * ratio[name][d] for d in range(c)])
                total = [t + b for t, b in zip(total, belongs, strict=True)]
            frequency = brought_to_one(total)
            ratio[name] = [min(max(f / m, 0.01), 100.0) if m > 0 else 1.0 for f, m in zip(frequency, mean, strict=True)]
    return np.array([ratio[name] for name in site])


def site_counts(votes, given, members, pooled):
    """T[c, d] ~ sum over members of p_ic y_id + 30 T[c, d]."""
    c = len(pooled)
    return [
        brought_to_one([sum(votes[i][t] * given[i][d] for i in members) + 30.0 * pooled[t][d] for d in range(c)])
        for t in range(c)
    ]


def counted(votes, given, rows, fold, site, pooled, run=None):
    """Each face's matrix, read off the votes at its site outside its fold and that of `run`, (N, C, C)."""
    n = len(votes)
    result = []
    for i in range(n):
        others = [j for j in range(n) if rows[j] and site[j] == site[i] != "" and fold[j] not in (fold[i], run)]
        result.append(site_counts(votes, given, others, pooled))
    return np.array(result)


def fitted(votes, given, rows, fold, site, pooled, run=None):
    """As `counted`, with votes replaced by what votes, labels and the site's own matrix say after 15 steps of EM."""
    n, c = given.shape
    matrix = dict.fromkeys(set(site), pooled)
    for _ in range(15):
        belongs = []
        for i in range(n):
            here = matrix[site[i]]
            likelihood = [sum(here[t][d] * given[i][d] for d in range(c)) for t in range(c)]
            belongs.append(brought_to_one([votes[i][t] * likelihood[t] for t in range(c)]))
        for name in set(site) - {""}:
            members = [i for i in range(n) if rows[i] and site[i] == name]
            matrix[name] = site_counts(belongs, given, members, pooled)
    return counted(belongs, given, rows, fold, site, pooled, run)


def shifted(votes, ratio):
    """Votes times the ratio of frequencies, each row brought to sum 1."""
    return np.array([brought_to_one([float(v) for v in row]) for row in np.asarray(votes) * ratio])


def refine(tables, given, labeled, fold, site, *, k, alpha, gamma, rates=None):
    """The rule of `HypergraphPropagation` with two rounds on a set of several sites: distributions and votes."""
    n, c = given.shape
    k = fitting(k, given, labeled)
    incidence, distances = incidence_of(list(tables.values()), k)
    factors = view_weights({v: (i[:, :k], s[:, :k]) for v, (i, s) in tables.items()}, given, labeled)
    weight = []
    for v, view in enumerate(tables):
        weight += [w * factors[view] for w in gaussian_weights(distances[v * n : (v + 1) * n])]
    walk = operator(incidence, weight, "random-walk")
    own = np.diag(solve(walk, np.eye(n), alpha))
    folds, prior = sorted(set(fold.tolist())), label_frequencies(given)
    trust = {b: np.array([0.0 if fold[j] == b else 1.0 for j in range(n)]) for b in folds}

    def run():
        fields = {b: solve(walk, trust[b][:, None] * given, alpha) for b in folds}
        return fields, np.array([np.clip(fields[fold[i]][i], 0, None) for i in range(n)])

    def known(scores):
        spoken = np.array([scores[i].max() > 0 for i in range(n)])
        mean = brought_to_one(scores[spoken].mean(0))
        return spoken, spoken & labeled, mean, [lifted(scores[i], mean) for i in range(n)]

    fields, scores = run()
    spoken, rows, mean, log_ratios = known(scores)
    sharpness, pooled = fit_noise([log_ratios[i] for i in np.flatnonzero(rows)], given[rows], prior)
    votes = [read_off(x, prior, sharpness) for x in log_ratios]
    ratio = site_shares(votes, spoken, site)
    matrices = {b: fitted(shifted(votes, ratio), given, rows, fold, site, pooled, b) for b in folds}
    renewed = {b: np.zeros(n) for b in folds}
    for b in folds:
        for j in range(n):
            others = [max(0.0, fields[b][j, d] - own[j] * trust[b][j] * given[j, d]) for d in range(c)]
            if fold[j] != b and max(others) <= 0:
                renewed[b][j] = 1.0
            elif fold[j] != b:
                p = read_off(lifted(others, mean), prior, sharpness)
                p = brought_to_one([v * r for v, r in zip(p, ratio[j], strict=True)])
                renewed[b][j] = np.dot(posterior(p, given[j], matrices[b][j]), given[j])
    trust = renewed
    _, scores = run()
    spoken, rows, mean, log_ratios = known(scores)
    inside = np.flatnonzero(rows)
    sharpness = likeliest_sharpness([log_ratios[i] for i in inside], given[rows], prior)
    share = explained([read_off(log_ratios[i], prior, sharpness) for i in inside], given[rows], prior)
    relied, beyond = reliance(share), share - chance(given[rows], prior)
    read = fit_noise([log_ratios[i] for i in inside], given[rows], prior) if reliance(beyond) < 1 else (None, 0.0)
    credited = credit(beyond, [log_ratios[i] for i in inside], prior, read[0])
    frequent, gamma = frequent_and_power(prior, rates, share - chance(given[rows], prior), gamma)
    sharpness, gamma = sharpness * (1 + relied * 0.5), 1 + relied * (gamma - 1)
    vote = np.array([read_off(x, frequent, sharpness, gamma) for x in log_ratios])
    vote = shifted(vote, site_shares(vote, spoken, site))
    pooled = relied * np.array(counted_in_all(vote[rows], given[rows], prior)) + (1 - relied) * np.array(read[1])
    matrices = relied * counted(vote, given, rows, fold, site, pooled)
    matrices = matrices + (1 - relied) * fitted(vote, given, rows, fold, site, pooled)
    refined = np.zeros((n, c))
    for i in range(n):
        if spoken[i]:
            refined[i] = mixed(credited, posterior(vote[i], given[i], matrices[i]), given[i]) if labeled[i] else vote[i]
        else:
            refined[i] = given[i] if labeled[i] else 1 / c
    return {"distribution": refined, "vote": vote, "reliance": relied}


def head_loss(flat, z, expected, chance, site, sites):
    """What the heads minimize, face by face."""
    heads = np.reshape(flat, (sites + 1, -1))
    weights = []
    value = 0.5 * sum(w * w for w in heads[-1]) + 15.0 * sum(v * v for v in heads[:-1].ravel())
    for i in range(len(z)):
        total = sum(
            (heads[-1][d] + (heads[site[i]][d] if site[i] < sites else 0.0)) * z[i][d] for d in range(len(z[i]))
        )
        weights.append(1 / (1 + math.exp(-total)))
        value -= math.log(weights[i] * expected[i] + (1 - weights[i]) * chance[i])
    ranked = sorted(weights, reverse=True)
    certain = max(1, round(0.7 * len(ranked)))
    if certain < len(ranked):
        gap = sum(ranked[:certain]) / certain - sum(ranked[certain:]) / (len(ranked) - certain)
        value += len(ranked) * max(0.0, 0.15 - gap) ** 2
    return value
