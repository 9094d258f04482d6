"""AU-prior inference written with plain loops."""

from __future__ import annotations

import math


def clip(value, low, high):
    return min(max(value, low), high)


def entropy(row):
    return -sum(value * math.log(value) for value in row if value > 0)


def rule_v(p, rates, base, temperature=1.0, units=None):
    """Return o of one face; `units` limits the columns."""
    scores = []
    for row in rates:
        total = 0.0
        for a in range(len(p)) if units is None else units:
            x, rate, b = clip(p[a], 0.01, 0.99), clip(row[a], 0.02, 0.98), clip(base[a], 0.02, 0.98)
            total += math.log(rate * x / b + (1 - rate) * (1 - x) / (1 - b))
        scores.append(total / temperature)
    mass = sum(math.exp(s) for s in scores)
    return [math.exp(s) / mass for s in scores]


def mean_rates(rates, shares):
    return [sum(share * row[a] for share, row in zip(shares, rates, strict=True)) for a in range(len(rates[0]))]


def regions(p, rates, base, region_of):
    """Return (o, weights by region, disagreement) of one face."""
    c = len(rates)
    parts = {}
    for region in sorted(set(region_of)):
        columns = [a for a in range(len(p)) if region_of[a] == region]
        parts[region] = rule_v(p, rates, base, 1.0, columns)
    weight = {r: 1 / max(entropy(o) / math.log(c), 0.05) for r, o in parts.items()}
    total = sum(weight.values())
    weight = {r: w / total for r, w in weight.items()}
    mix = [sum(weight[r] * parts[r][x] for r in parts) for x in range(c)]
    gap = (entropy(mix) - sum(weight[r] * entropy(parts[r]) for r in parts)) / math.log(c)
    return mix, list(weight.values()), gap


def transfer(o, y, limit, q):
    """Return (lambda, eta, rho)."""
    eta = 1 - entropy(o) / math.log(len(o))
    rho = sum(a * b for a, b in zip(o, y, strict=True)) / max(o)
    return limit * q * eta * (1 - rho), eta, rho


def adapted(rates, soft, p, kappa, reach):
    result = []
    for c, row in enumerate(rates):
        new = []
        for a, rate in enumerate(row):
            top = kappa * rate + sum(s[c] * x[a] for s, x in zip(soft, p, strict=True))
            value = top / (kappa + sum(s[c] for s in soft))
            new.append(clip(clip(value, rate - reach, rate + reach), 0.02, 0.98))
        result.append(new)
    return result


def au_prior(given, labeled, p, q, found, rates, *, temperature, transfer_limit, damping, rounds, kappa, reach, doubt):
    """Return (distribution, weight, flagged, own share) of every face, for fewer than 50 faces found."""
    n, c = len(given), len(rates)
    faces = [i for i in range(n) if found[i]]
    taught = [i for i in faces if labeled[i]]
    mass = [sum(given[i][x] for i in taught) for x in range(c)]
    shares = [m / sum(mass) for m in mass] if sum(mass) > 0 else [1 / c] * c
    table = rates
    for step in range(rounds + 1):
        base = mean_rates(table, shares)
        o = {i: rule_v(p[i], table, base, temperature) for i in faces}
        if step == rounds:
            break
        soft = []
        for i in faces:
            if not labeled[i]:
                soft.append(o[i])
                continue
            share = transfer(o[i], given[i], min(transfer_limit, 0.5), q[i])[0]
            soft.append([(1 - share) * y + share * x for y, x in zip(given[i], o[i], strict=True)])
        table = adapted(rates, soft, [p[i] for i in faces], max(kappa * len(faces), 20.0), reach)
    rows = []
    for i in range(n):
        if not found[i]:
            rows.append((given[i] if labeled[i] else [1 / c] * c, 1.0 if labeled[i] else 0.0, False, None))
        elif not labeled[i]:
            rows.append((o[i], None, False, None))
        else:
            share, eta, rho = transfer(o[i], given[i], transfer_limit, q[i])
            row = [(1 - share) * y + share * x for y, x in zip(given[i], o[i], strict=True)]
            own = sum(y * x for y, x in zip(given[i], o[i], strict=True))
            rows.append((row, 1 - damping * q[i] * eta * (1 - rho), q[i] * eta * (1 - rho) > doubt, own))
    return rows
