"""The sentence about one face, with plain loops: the rules of `fercleaner.results.reasons` once more."""

from __future__ import annotations

from math import log


def nearest(labels, i, row, c):
    """Return how many of the ten nearest labeled neighbors of face i carry each class."""
    said = [labels[j] for j in row if j >= 0 and labels[j] >= 0][:10]
    return [said.count(a) for a in range(c)]


def weigh(q, floor, pro, con, doubt, labeled):
    """Return (class named, strength, whether against the decision, whether con is named as ruled out)."""
    total = sum(q)
    if total == 0:
        return pro, 0.0, False, False

    def odds(a, b):
        return log((q[a] + floor) / (q[b] + floor))

    top = pro if q[pro] == max(q) else q.index(max(q))
    if doubt:
        if top != con:
            return top, odds(top, con), False, False
        second = max((a for a in range(len(q)) if a != con), key=lambda a: q[a])
        return con, odds(con, second), True, False
    out = labeled and q[con] / total <= 0.05 and top != con
    if top == pro:
        return (con if out and q[pro] / total < 0.5 else pro), odds(pro, con), False, out and q[pro] / total < 0.5
    if out and odds(pro, con) > odds(top, pro):
        return con, odds(pro, con), False, True
    return top, odds(top, pro), True, False


def units_of(i, pro, con, doubt, labeled, units):
    """Return the statements of action units: (strength, against, text), for and against."""
    names, p, found, quality, shown, missed, typical, label, classes = units
    if not found[i]:
        return []
    c = range(len(classes))
    size = [sum(1 for j in range(len(p)) if found[j] and label[j] == k) for k in c]

    def often(flags, k, a):
        hits = sum(1 for j in range(len(p)) if found[j] and label[j] == k and flags[j][a])
        everywhere = sum(1 for j in range(len(p)) if found[j] and flags[j][a])
        return (hits + (everywhere + 0.5) / (sum(size) + 1)) / (size[k] + 1)

    def high(k, other):
        pairs = [
            (log(often(shown, k, a) / often(shown, other, a)), a)
            for a in range(len(names))
            if shown[i][a] and typical[k][a]
        ]
        return [(ratio, a) for ratio, a in pairs if ratio >= log(1.5)]

    def gone(k, other):
        pairs = [
            (log(often(missed, other, a) / often(missed, k, a)), a)
            for a in range(len(names))
            if missed[i][a] and typical[k][a] and often(missed, k, a) <= 0.05
        ]
        return [(ratio, a) for ratio, a in pairs if ratio >= log(3)]

    def statement(up, down, against, extra):
        if not up and not down:
            return None
        best = sorted(sorted(up, key=lambda pair: -pair[0])[:3], key=lambda pair: pair[1])
        parts = ["+".join(names[a] for _, a in best) + " high" + extra] if up else []
        parts += [f"no {names[a]}" for _, a in down[:3]]
        return quality[i] * max(ratio for ratio, _ in up + down), against, ", ".join(parts)

    both = [
        statement(high(pro, con), gone(con, pro) if labeled else [], False, f" as in {classes[pro]}" if doubt else ""),
        statement(high(con, pro), [] if doubt else gone(pro, con), True, "" if labeled else f" as in {classes[con]}"),
    ]
    return [one for one in both if one]


def sentence(i, classes, given, refined, flagged, no_evidence, counts, posteriors, units=None, spaces=None):
    """Return the sentence about face i; "" where nothing calls for one.

    `given` (N,) class or -1, `refined` (N, C), `counts` of the nearest or None, `posteriors` (name, row or None) in
    order, `units` as `units_of` takes them, `spaces` (disagreement, expression, landmarks) or None.
    """
    row, y = refined[i], given[i]
    best = row.index(max(row))
    if not (flagged[i] or best != y or no_evidence[i]):
        return ""
    head = f"labeled {classes[y]}" if y >= 0 else "no label"
    if no_evidence[i]:
        return head + "; no view of this face" + (": the label is kept" if y >= 0 else "")
    doubt, labeled = best == y, y >= 0
    runner_up = max((a for a in range(len(row)) if a != best), key=lambda a: row[a])
    pro, con = (runner_up if doubt else best), (y if labeled else runner_up)
    parts = [head, "in doubt, no other label is likelier" if doubt else f"refined to {classes[best]} ({row[best]:.2f})"]
    said = []
    if counts is not None:
        a, strength, against, _ = weigh(counts, 0.5, pro, con, doubt, labeled)
        said.append((strength, against, f"{counts[a]} of {sum(counts)} nearest are {classes[a]}"))
    if units is not None:
        said.extend(units_of(i, pro, con, doubt, labeled, units))
    for name, q in posteriors:
        if q is not None:
            a, strength, against, out = weigh(q, 0.01, pro, con, doubt, labeled)
            words = f"gives {classes[a]} {q[a]:.2f}" if out else f"says {classes[a]} ({q[a]:.2f})"
            said.append((strength, against, f"{name} {words}"))
    if spaces is not None and labeled:
        apart, e, v = spaces
        if apart >= 0.1 and max(e, v) >= 0.3:
            text = f"landmarks give {classes[y]} {v:.2f}, expression {e:.2f}"
            said.append((abs(log((v + 0.01) / (e + 0.01))), not doubt, text))
    said = sorted((one for one in said if one[0] >= log(1.5)), key=lambda one: -one[0])[:4]
    parts += [("but " if against else "") + text for _, against, text in said]
    if not said and counts is not None and sum(counts):
        parts.append(f"{counts[pro]} of {sum(counts)} nearest are {classes[pro]}, {counts[con]} {classes[con]}")
    return "; ".join(parts)
