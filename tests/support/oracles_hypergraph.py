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


#: Sharpness values tried: 19 from 0.2 to 16, evenly spaced in the logarithm.
SHARPNESS = [0.2 * (16 / 0.2) ** (step / 18) for step in range(19)]


def shares(row):
    """The row brought to sum 1; zero if it has no mass."""
    total = sum(row)
    return [value / total if total > 0 else 0.0 for value in row]


def lifted(row, mean):
    """log(q_c / m_c), both held above 1e-7."""
    return [math.log(max(q, 1e-7)) - math.log(max(m, 1e-7)) for q, m in zip(shares(row), mean, strict=True)]


def read_off(log_ratio, prior, sharpness, gamma=1.0):
    """p_c ~ pi_c^gamma exp(s l_c)."""
    logits = [gamma * math.log(p) + sharpness * x for p, x in zip(prior, log_ratio, strict=True)]
    return shares([math.exp(x - max(logits)) for x in logits])


def label_frequencies(given):
    return np.array(shares([sum(row[d] for row in given) + 1e-9 * len(given) for d in range(given.shape[1])]))


def likeliest_sharpness(log_ratios, given, prior):
    """The sharpness in [.2, 16] under which the given labels are likeliest, by thirds of what is left."""

    def likelihood(log_s):
        total = 0.0
        for log_ratio, label in zip(log_ratios, given, strict=True):
            p = read_off(log_ratio, prior, math.exp(log_s))
            total += math.log(max(sum(a * b for a, b in zip(p, label, strict=True)), 1e-12))
        return total

    low, high = math.log(0.2), math.log(16.0)
    for _ in range(45):
        first, second = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, second) if likelihood(first) >= likelihood(second) else (first, high)
    return math.exp((low + high) / 2)


def em(rows, given, pseudo, steps):
    """Transition matrix T[c, d] = P(given = d | true = c) after some steps of EM, and the log-likelihood."""
    n, c = given.shape
    transition = [[0.8 if a == b else 0.2 / (c - 1) for b in range(c)] for a in range(c)]
    for _ in range(steps):
        counts = [list(row) for row in pseudo]
        for i in range(n):
            likelihood = [sum(transition[t][d] * given[i, d] for d in range(c)) for t in range(c)]
            for t, share in enumerate(shares([rows[i][t] * likelihood[t] for t in range(c)])):
                for d in range(c):
                    counts[t][d] += share * given[i, d]
        transition = [shares(row) for row in counts]
    total = 0.0
    for i in range(n):
        terms = (rows[i][t] * sum(transition[t][d] * given[i, d] for d in range(c)) for t in range(c))
        total += math.log(max(sum(terms), 1e-30))
    return transition, total


def fit_noise(log_ratios, given, prior):
    """Sharpness and transition matrix of the likeliest noise model: (sharpness, T)."""
    c = given.shape[1]
    pseudo = [
        [0.5 / c + (0.01 * sum(given[:, a]) + 0.5 if a == b else 0.0) for b in range(c)] for a in range(c)
    ]  # fmt: skip
    best = None
    for s in SHARPNESS:
        transition, likelihood = em([read_off(x, prior, s) for x in log_ratios], given, pseudo, 15)
        held = sum(pseudo[a][b] * math.log(max(transition[a][b], 1e-30)) for a in range(c) for b in range(c))
        if best is None or likelihood + held > best[0]:
            best = (likelihood + held, s)
    return best[1], em([read_off(x, prior, best[1]) for x in log_ratios], given, pseudo, 60)[0]


def posterior(p, label, transition):
    """sum_d y_d (p_c T[c, d] / sum_b p_b T[b, d]) over the labels d of some probability; p itself without any."""
    c = len(p)
    result, credited = [0.0] * c, 0.0
    for d in range(c):
        predicted = sum(p[b] * transition[b][d] for b in range(c))
        if label[d] > 0 and predicted > 0:
            credited += label[d]
            for t in range(c):
                result[t] += label[d] * p[t] * transition[t][d] / predicted
    return [value / credited for value in result] if credited > 0 else list(p)


def explained(rows, given, prior):
    """Mean gain in log-likelihood of the labels over the frequencies, as a share of the frequencies' entropy."""
    c = len(prior)
    entropy = -sum(prior[d] * math.log(prior[d]) for d in range(c))
    if not len(rows) or entropy <= 0:
        return 0.0
    gain = 0.0
    for row, label in zip(rows, given, strict=True):
        gain += sum(label[d] * (math.log(max(row[d], 1e-12)) - math.log(prior[d])) for d in range(c))
    return min(1.0, max(0.0, gain / len(rows) / entropy))


def reliance(share):
    """0 up to .1, 1 from .3 on, straight between."""
    return min(1.0, max(0.0, (share - 0.1) / 0.2))


def chance(given, prior):
    """K (K - 1) / 2 nats as a share of the labels' entropy, K classes that occur."""
    used = sum(1 for d in range(given.shape[1]) if len(given) and max(given[:, d]) > 0)
    whole = len(given) * -sum(p * math.log(p) for p in prior)
    return used * (used - 1) / 2 / whole if whole > 0 else 0.0


def credit(beyond, log_ratios, prior, sharpness):
    """Reliance, or more by what votes of the noise model's sharpness (None: no model) leave open; .02 at least."""
    relied = reliance(beyond)
    if relied > 0 and sharpness is not None:
        rows = [read_off(x, prior, sharpness) for x in log_ratios]
        left = np.mean([-sum(p * math.log(p) for p in row if p > 0) for row in rows])
        settled = 1 - left / -sum(p * math.log(p) for p in prior)
        relied = max(relied, min(1.0, (settled - 0.5) / 0.15))
    return max(0.02, relied)


def mixed(share, read, label):
    return [share * r + (1 - share) * y for r, y in zip(read, label, strict=True)]


def counted(rows, given, prior):
    """T[c, d] ~ sum_i p_ic y_id + pi_d / 2."""
    table = []
    for t in range(len(prior)):
        counts = [0.5 * p for p in prior]
        for row, label in zip(rows, given, strict=True):
            counts = [count + row[t] * y for count, y in zip(counts, label, strict=True)]
        table.append(shares(counts))
    return table


def fitting(k, given, labeled):
    """k, at most half the mean size of the classes that some label names, at least 1."""
    used = sum(1 for d in range(given.shape[1]) if any(row[d] > 0 for row in given))
    return max(1, min(k, sum(bool(x) for x in labeled) // (2 * max(used, 1))))


def information(indices, similarity, given, labeled):
    """Nats a face that the neighbor vote tells about the given label beyond the label frequencies."""
    prior = label_frequencies(given)
    votes, labels = [], []
    for i in range(len(given)):
        vote = [0.0] * given.shape[1]
        for j, s in zip(indices[i], similarity[i], strict=True):
            if j >= 0 and s > 0:
                vote = [v + float(s) ** 2 * y for v, y in zip(vote, given[j], strict=True)]
        if labeled[i] and sum(vote) > 0:
            votes.append(shares(vote))
            labels.append(given[i])
    best = 0.0
    for share in (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9):
        gains = [
            sum(y * math.log((share * v + (1 - share) * p) / p) for y, v, p in zip(label, vote, prior, strict=True))
            for vote, label in zip(votes, labels, strict=True)
        ]
        best = max(best, sum(gains) / len(gains) if gains else 0.0)
    return best


def view_weights(tables, given, labeled):
    """Factor of each view in `tables`, a dict of view -> (indices, similarity); "joint" counts as all others."""
    worth = {view: information(*table, given, labeled) for view, table in tables.items()}
    best = max(worth.values())
    return {
        view: (max((value / best) ** 2, 1e-3) if best > 0 else 1.0)
        * (max(1, len(tables) - 1) if view == "joint" else 1)
        for view, value in worth.items()
    }


def judged(refined, given, labeled, spoken):
    """Quality <y, r> / max y, weight <y, r> / max r, flag quality < 1/2; 1 - H / log C where unlabelled."""
    n, c = given.shape
    quality, weights, flagged = np.zeros(n), np.zeros(n), np.zeros(n, dtype=bool)
    for i in range(n):
        if labeled[i]:
            own = sum(given[i, d] * refined[i, d] for d in range(c))
            quality[i] = min(1.0, own / max(given[i])) if spoken[i] else 1.0
            weights[i] = own / max(refined[i]) if spoken[i] else sum(given[i] ** 2)
            flagged[i] = spoken[i] and quality[i] < 0.5
        else:
            entropy = -sum(p * math.log(p) for p in refined[i] if p > 0)
            quality[i] = weights[i] = 1 - entropy / math.log(c)
    return quality, weights, flagged


def seen(rates, prior):
    """Base rates in which a class without labels is as rare as in the frequencies; None stays None."""
    return rates and shares([r if p > 1e-8 else p for r, p in zip(rates, prior, strict=True)])


def pooled(own, known, trust):
    """own^trust known^(1 - trust) over its sum; None says nothing."""
    return own if known is None else shares([o**trust * k ** (1 - trust) for o, k in zip(own, known, strict=True)])


def frequent_and_power(prior, rates, beyond, gamma):
    """Frequencies with base rates mixed in, and their power: of what it is above 1, base rates leave half."""
    return pooled(prior, seen(rates, prior), max(0.0, beyond)), (gamma if rates is None else (1 + gamma) / 2)


def refine(tables, given, labeled, fold, *, k, alpha, rounds, gamma, rates=None):
    """The complete rule of `HypergraphPropagation`; returns a dict of float64 arrays.

    `tables`: dict of view -> (indices, similarity); `rates`: base rates by class, or None.
    """
    n, c = given.shape
    k = fitting(k, given, labeled)
    incidence, distances = incidence_of(list(tables.values()), k)
    nearest_k = {view: (indices[:, :k], similarity[:, :k]) for view, (indices, similarity) in tables.items()}
    factors = view_weights(nearest_k, given, labeled)
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
        spoken = [i for i in range(n) if scores[i].max() > 0]
        rows = [i for i in spoken if labeled[i]]
        mean = shares(sum(scores[i] for i in spoken) / len(spoken)) if spoken else [1 / c] * c
        return rows, mean, [lifted(scores[i], mean) for i in rows]

    fields, scores = run()
    for _ in range(rounds - 1):
        rows, mean, log_ratios = known(scores)
        if rows:
            sharpness, transition = fit_noise(log_ratios, given[rows], prior)
        renewed = {}
        for b in folds:
            renewed[b] = np.zeros(n)
            for j in range(n):
                others = [max(0.0, fields[b][j, d] - own[j] * trust[b][j] * given[j, d]) for d in range(c)]
                if fold[j] != b and (not rows or max(others) <= 0):
                    renewed[b][j] = 1.0
                elif fold[j] != b:
                    p = read_off(lifted(others, mean), prior, sharpness)
                    renewed[b][j] = np.dot(posterior(p, given[j], transition), given[j])
        trust = renewed
        fields, scores = run()
    rows, mean, log_ratios = known(scores)
    sharpness = likeliest_sharpness(log_ratios, given[rows], prior)
    share = explained([read_off(x, prior, sharpness) for x in log_ratios], given[rows], prior)
    relied, beyond = reliance(share), share - chance(given[rows], prior)
    fitted = fit_noise(log_ratios, given[rows], prior) if reliance(beyond) < 1 else (None, 0.0)
    credited = credit(beyond, log_ratios, prior, fitted[0])
    frequent, gamma = frequent_and_power(prior, rates, beyond, gamma)
    sharpness, gamma = sharpness * (1 + relied * 0.5), 1 + relied * (gamma - 1)
    vote = np.array([read_off(lifted(scores[i], mean), frequent, sharpness, gamma) for i in range(n)])
    model = relied * np.array(counted(vote[rows], given[rows], prior)) + (1 - relied) * np.array(fitted[1])
    spoken = scores.max(1) > 0
    refined = np.zeros((n, c))
    for i in range(n):
        if not spoken[i]:
            refined[i] = given[i] if labeled[i] else 1 / c
        else:
            refined[i] = mixed(credited, posterior(vote[i], given[i], model), given[i]) if labeled[i] else vote[i]
    quality, weights, flagged = judged(refined, given, labeled, spoken)
    return {
        "distribution": refined,
        "vote": vote,
        "spoken": spoken,
        "quality": quality,
        "weight": weights,
        "flagged": flagged,
        "reliance": relied,
        "scores": scores,
    }


def self_influence(graph, alpha):
    """The diagonal of (1 - alpha) (I - alpha P)^-1, P the random walk of a `Hypergraph`, by a dense inverse."""
    n = graph.incidence.shape[0]
    walk = np.asarray(graph.smooth(np.eye(n, dtype=np.float32)), dtype=np.float64)
    return np.diag(solve(walk, np.eye(n), alpha)).copy()
