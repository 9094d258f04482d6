"""Sources trained elsewhere: how far posteriors that did not learn from this set's labels are heard about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...core.arrays import Bools, Doubles
from ...core.numeric import softmax
from ...core.types import Posteriors
from ...noise.label_model import SPREAD_FACES, chance

#: Worth from which on an outside witness is heard a little, and fully.
HEARD = (0.5, 0.8)
#: Share of the labels' entropy that a transition matrix explains by chance (`label_model.chance`) up to which a witness
#: is heard as its worth says, and from which on it knows too few faces to be heard: with seven even classes 108 faces
#: and 54, with four 43 and 22. Where it knows as few, even one that repeats their labels proves nothing.
BY_CHANCE = (0.1, 0.2)
#: Inside witnesses count as explaining this share of the labels' entropy at least.
LEAST_INSIDE = 0.1
#: What is left of the inside witnesses where an outside one is fully heard.
INSIDE_SHARE = 0.1
#: Outside posteriors are held above this.
LEAST_OUTSIDE = 1e-6
#: Shares of an outside witness tried while its worth is measured.
OUTSIDE_SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)


@dataclass(frozen=True, eq=False)
class Voice:
    """What the outside witnesses say together.

    Parameters
    ----------
    heard : (N,) float64 in [0, 1]
        How far they are heard about each face; 0 where none knows it.
    logits : (N, C) float64
        `heard` times the mean of log p over witnesses, weighed by how far each is heard.
    """

    heard: Doubles
    logits: Doubles

    def over(self, logits: Doubles, joined: Doubles) -> Doubles:
        """Return (1 - h) logits + h (log p + `INSIDE_SHARE` joined), rows (N, ..., C)."""
        shape = (len(self.heard), *([1] * (logits.ndim - 1)))
        heard = self.heard.reshape(shape)
        outside = self.logits.reshape(len(self.heard), *shape[1:-1], self.logits.shape[1])
        mixed: Doubles = (1 - heard) * logits + outside + heard * INSIDE_SHARE * joined
        return mixed


def voice(
    witnesses: Mapping[str, Posteriors],
    known: Mapping[str, Bools],
    rows: Bools,
    given: Doubles,
    joined: Doubles,
    prior: Doubles,
) -> Voice:
    """Return what outside witnesses say, each heard as far as it fits this set: `hearing` times `proven`.

    A witness that has seen the labels of many faces cannot be told from one that finds them right. It is none of the
    outside: `Posteriors.learned` says so.

    Parameters
    ----------
    witnesses, known : by name
        Posteriors, and which faces each knows, (N,) bool.
    rows : (N,) bool
        Labeled faces to measure on.
    given : (N, C) float64
    joined : (N, C) float64
        Joined lifts of the inside witnesses.
    prior : (C,) float64
    """
    heard, logits = np.zeros(len(given)), np.zeros_like(given)
    for name, posterior in sorted(witnesses.items()):
        judged = known[name] & rows
        worth = outside_worth(posterior, judged, given, joined, prior)
        say = np.where(known[name], hearing(worth) * proven(judged, given[rows], prior), 0.0)
        logits += say[:, None] * np.log(np.maximum(posterior.values.astype(np.float64), LEAST_OUTSIDE))
        heard += say
    return Voice(np.minimum(heard, 1.0), logits / np.maximum(heard, 1.0)[:, None])


def hearing(worth: float) -> float:
    """Return how far an outside witness of that worth is heard, in [0, 1]."""
    low, high = HEARD
    return float(np.clip((worth - low) / (high - low), 0.0, 1.0))


def proven(judged: Bools, given: Doubles, prior: Doubles) -> float:
    """Return how far the labeled faces that a witness knows are enough to measure its worth, in [0, 1].

    `outside_worth` fits a transition matrix to them. Of the entropy of n labels its K (K - 1) numbers explain
    K (K - 1) / 2 nats by chance, K the classes that occur in the whole set: 1 where that is at most the first
    share of `BY_CHANCE`, 0 from the second on.

    Parameters
    ----------
    judged : (N,) bool
        Labeled faces that the witness knows.
    given : (M, C) float64
        All labels of the set.
    prior : (C,) float64
    """
    low, high = BY_CHANCE
    faces = int(judged.sum())
    if faces == 0:
        return 0.0
    return float(np.clip((high - chance(given, prior) * len(given) / faces) / (high - low), 0.0, 1.0))


def outside_worth(posterior: Posteriors, rows: Bools, given: Doubles, joined: Doubles, prior: Doubles) -> float:
    """Return how much of the labels an outside witness explains, relative to the inside ones, in [0, 1].

    The gain of distributions p is their mean log-likelihood of the labels beyond that of the frequencies, p mixed
    into them by the share of `OUTSIDE_SHARES` that serves best; the worth is the gain of the witness over that of
    the inside ones, these taken to explain at least a tenth of the labels' entropy (`LEAST_INSIDE`).

    The witness may name expressions otherwise than this set's annotators did: its posteriors are compared with
    the labels through a transition matrix (`renamed`). A witness that says the same of every face, that knows
    other faces than these, or whose classes go by other names (`named_alike`) explains nothing.
    """
    p, y = posterior.values[rows].astype(np.float64), given[rows]
    if not rows.any() or not named_alike(p, y):
        return 0.0
    base = (y * np.log(prior)).sum(1).mean()

    def gain(rows_: Doubles) -> float:
        return max(
            float((y * np.log(np.maximum(s * rows_ + (1 - s) * prior, 1e-12))).sum(1).mean() - base)
            for s in OUTSIDE_SHARES
        )

    inside = max(gain(softmax(np.log(prior) + joined[rows])), LEAST_INSIDE * -float((prior * np.log(prior)).sum()))
    return float(np.clip(gain(renamed(p, y, prior)) / inside, 0.0, 1.0)) if inside > 0 else 0.0


def renamed(p: Doubles, given: Doubles, prior: Doubles) -> Doubles:
    """Return the labels (N, C) that posteriors p let expect: p_i T, T read off all other faces.

    T[c, d] ~ sum_(j != i) p_jc y_jd + pi_d / 2. A face's own label takes no part, so that a witness of few faces
    explains no label by having met it.
    """
    together, mass = p.T @ given + SPREAD_FACES * prior, p.sum(0) + SPREAD_FACES
    result = np.zeros_like(p)
    for c in range(p.shape[1]):
        own = p[:, c, None]
        result += own * np.maximum(together[c] - own * given, 0.0) / (mass[c] - own)
    return result


def named_alike(p: Doubles, given: Doubles) -> bool:
    """Return whether no renaming of a witness's classes fits the labels better than their own names.

    With the overlap M[c, d] = sum_i p_ic y_id, each entry over the root of its row's and its column's sum, the
    one-to-one assignment of greatest sum must be c to c. Systematic noise passes as long as no cycle of classes
    is exchanged more often than kept.
    """
    from scipy.optimize import linear_sum_assignment

    overlap = p.T @ given
    scale = np.sqrt(np.outer(overlap.sum(1), overlap.sum(0)))
    overlap = np.where(scale > 0, overlap / np.where(scale > 0, scale, 1.0), 0.0)
    best = overlap[linear_sum_assignment(overlap, maximize=True)].sum()
    return bool(np.trace(overlap) >= best - 1e-9)
