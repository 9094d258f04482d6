"""`consensus`: all witnesses together, each heard as far as it explains the labels of the set at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import InputError
from ..label_model import (
    SPREAD_FACES,
    LabelModel,
    distribution,
    expected_transition,
    explained,
    fit_transition,
    frequencies,
    lift,
    mean_vote,
    reliance,
    softmax,
)
from ..types import Bools, Doubles, Posteriors, Refinement
from .au_prior import AuInference, AuPrior
from .base import Evidence, keep_given, own_share, require
from .hypergraph import SHARPER, HypergraphPropagation, judged

#: The witness that is trained on the labels at hand; every other posterior was trained elsewhere.
PROBE = "probe"
#: A witness can be sharpened up to this factor.
MOST_WEIGHT = 4.0
#: Belief that a witness weighs START_WEIGHT, in faces: holds the weights of small sets.
START_WEIGHT, WEIGHT_FACES = 0.5, 5.0
#: Powers of the label frequencies and sharpness under the two readings of noise.
RANDOM_GAMMA, RANDOM_SHARPER = 1.5, 2.0
#: Worth from which on an outside witness is heard a little, and fully.
HEARD = (0.5, 0.8)
#: Inside witnesses count as explaining this share of the labels' entropy at least.
LEAST_INSIDE = 0.1
#: What is left of the inside witnesses where an outside one is fully heard.
INSIDE_SHARE = 0.2
#: Outside posteriors are held above this.
LEAST_OUTSIDE = 1e-6
#: Shares of an outside witness tried while its worth is measured.
OUTSIDE_SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)


@dataclass(frozen=True)
class Consensus:
    """Weigh all evidence by what it explains of this set's labels, and average over two readings of noise.

    Each witness k gives a lift l^k_ic = log(q^k_ic / m^k_c), what it says of face i beyond what it says of faces
    in general, zero where it does not know the face: look-alikes (the scores of `hypergraph`), an out-of-fold
    probe, action units (`au-prior`). They are joined as

        L_ic = sum_k w_k l^k_ic,    w the likeliest for softmax(log pi + L) to give the labels, 0 <= w_k <= 4

    held towards 1/2 by a belief of five faces (no label takes part in what judges it), so that a witness that
    knows nothing about this set gets no say.

    A witness trained elsewhere (a model in the box, say) is not asked to repeat this set's mistakes: what it
    explains is measured through a transition matrix (`outside_worth`), relative to what L explains. With h in
    [0, 1] how far that lets it be heard (`hearing`) and p its posterior,

        log v_ic = (1 - h) (gamma log pi_c + s L_ic) + h (log p_ic + 0.2 L_ic) + const

    so that one that fits the set leads, and one that is wrong, shuffled, or has its classes in another order
    (`named_alike`) leaves the answer as it was. h is 0 for faces that it does not know; of several, log p is
    their mean weighed by h, and h their sum, at most 1.

    Two readings of the noise are averaged: random noise (gamma = 1.5, s = 2), whose transition matrix is fitted
    by maximum likelihood (`label_model.fit_transition`) and which trusts labels, and systematic noise (the
    parameter gamma, s = 1.5), which annotators share, whose matrix T[c, d] ~ sum_i v_ic y_id + pi_d / 2 is read
    off the votes and which trusts the witnesses. With t in [0, 1] how much of the labels softmax(log pi + L)
    explains (`label_model.explained`, `reliance`), gamma and s go to 1 as t goes to 0, and the systematic reading
    weighs (1 - h) (1 + 2 t) / 4 + h. Each gives

        r_ic = sum_d y_id v_ic T[c, d] / sum_b v_ib T[b, d]        (v_ic where unlabelled)

    with a matrix of its own for the faces that an outside witness is heard on. Quality, weight and flags as in
    `hypergraph`; a face that no witness knows keeps its given label. Evidence: how much of each witness's
    pi_c exp(l^k_ic), brought to sum 1, lies on the given label.

    Parameters
    ----------
    k, alpha, rounds, folds
        Of the hypergraph.
    gamma : float >= 0
        Power of the label frequencies under systematic noise, as in `hypergraph`.
    precision : float in [0, 1)
        0: a label is flagged when its quality is below one half. Else the flags are as many of the lowest
        qualities as keep the mean of 1 - quality, the model's own estimate of precision, at this level.

    Source
    ------
    fercleaner's own; see the methods it draws on for theirs.
    """

    name: ClassVar[str] = "consensus"
    paper: ClassVar[str] = "fercleaner, after all of the above"
    needs: ClassVar[frozenset[str]] = frozenset({"neighbors"})
    optional: ClassVar[frozenset[str]] = frozenset({"joint", "posteriors", "action_units"})

    k: int = 15
    alpha: float = 0.8
    rounds: int = 2
    gamma: float = 2.0
    folds: int = 10
    precision: float = 0.0

    def __post_init__(self) -> None:
        HypergraphPropagation(k=self.k, alpha=self.alpha, rounds=self.rounds, gamma=self.gamma, folds=self.folds)
        if not 0 <= self.precision < 1:
            raise InputError(f"consensus: precision = {self.precision}; expected 0 <= precision < 1.")

    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        """Return the refined labels; `rng` seeds only how faces are dealt into folds."""
        require(evidence, self)
        samples = evidence.samples
        lifts, known = self._witnesses(evidence, int(rng.integers(2**31)))
        spoken = np.logical_or.reduce(list(known.values()))
        rows = spoken & samples.labeled
        given, prior = samples.given.astype(np.float64), frequencies(samples.given.astype(np.float64))
        inside = [name for name in lifts if name not in evidence.posteriors or name == PROBE]
        joined = np.zeros_like(given)
        if rows.any():
            weights = fit_weights({name: lifts[name][rows] for name in inside}, given[rows], prior)
            joined = sum((weights[name] * lifts[name] for name in inside), joined)
        refined = self._refined(evidence, lifts, known, joined)
        refined = np.where(spoken[:, None], refined, keep_given(samples))
        quality, weight = judged(samples, refined, spoken)
        return Refinement(
            ids=samples.ids,
            classes=samples.classes,
            distribution=refined.astype(np.float32),
            weight=weight.astype(np.float32),
            quality=quality.astype(np.float32),
            flagged=flagged(quality, rows, self.precision),
            method=self.name,
            evidence={
                name: np.where(
                    known[name] & samples.labeled, own_share(given, distribution(lifts[name], prior, 1.0)), np.nan
                ).astype(np.float32)
                for name in lifts
            },
        )

    def _witnesses(self, evidence: Evidence, seed: int) -> tuple[dict[str, Doubles], dict[str, Bools]]:
        """Return each witness's lifts (N, C), zero where it does not know a face, and whom it knows (N,)."""
        graph = HypergraphPropagation(k=self.k, alpha=self.alpha, rounds=self.rounds, folds=self.folds)
        scores, _ = graph.scores(evidence, seed)
        tables = {"look_alikes": (scores, scores.max(1) > 0)}
        for name, posterior in sorted(evidence.posteriors.items()):
            tables[name] = (posterior.values.astype(np.float64), np.asarray(posterior.found))
        units = _inferred_from_units(evidence)
        if units is not None and units.classes.all():
            tables["action_units"] = (units.distribution, units.judged)
        lifts, known = {}, {}
        for name, (values, found) in tables.items():
            if found.any():
                says = found & (values.sum(1) > 0)
                lifts[name] = np.where(says[:, None], lift(values, mean_vote(values, says)), 0.0)
                known[name] = says
        return lifts, known or {"look_alikes": scores.max(1) > 0}

    def _refined(
        self, evidence: Evidence, lifts: Mapping[str, Doubles], known: Mapping[str, Bools], joined: Doubles
    ) -> Doubles:
        """Return the refined distributions (N, C) of all faces, the two readings of noise averaged."""
        samples = evidence.samples
        given, prior = samples.given.astype(np.float64), frequencies(samples.given.astype(np.float64))
        rows = np.logical_or.reduce(list(known.values())) & samples.labeled
        if not rows.any():
            return softmax(np.log(prior) + joined)
        trust = reliance(explained(softmax(np.log(prior) + joined[rows]), given[rows], prior))
        heard, outside = np.zeros(len(given)), np.zeros_like(given)
        for name, posterior in evidence.posteriors.items():
            if name != PROBE and name in known:
                worth = outside_worth(posterior, known[name] & rows, given, joined, prior)
                say = np.where(known[name], hearing(worth), 0.0)
                outside += say[:, None] * np.log(np.maximum(posterior.values.astype(np.float64), LEAST_OUTSIDE))
                heard += say
        outside /= np.maximum(heard, 1.0)[:, None]
        heard = np.minimum(heard, 1.0)
        result = np.zeros_like(given)
        for gamma, sharper, systematic in ((RANDOM_GAMMA, RANDOM_SHARPER, False), (self.gamma, SHARPER, True)):
            sharper, gamma = 1 + trust * (sharper - 1), 1 + trust * (gamma - 1)
            inside = gamma * np.log(prior) + sharper * joined
            logits = (1 - heard)[:, None] * inside + outside + (heard * INSIDE_SHARE)[:, None] * joined
            reading = given_by(softmax(logits), given, rows, heard > 0, prior, systematic)
            share = (1 - heard) * (0.25 + 0.5 * trust) + heard
            result += (share if systematic else 1 - share)[:, None] * reading
        return result


def _inferred_from_units(evidence: Evidence) -> AuInference | None:
    """Return what action units say; None without them, or where their table knows too few classes or units."""
    if evidence.action_units is None:
        return None
    try:
        return AuPrior().infer(evidence)
    except InputError:  # an optional witness that cannot judge this class set has no say
        return None


def given_by(voted: Doubles, given: Doubles, rows: Bools, heard: Bools, prior: Doubles, systematic: bool) -> Doubles:
    """Return P(true | voted, given label), (N, C), with a transition matrix for each kind of face.

    Faces that an outside witness judges have other votes than the rest, hence a matrix of their own.
    """
    result = voted.copy()
    for kind in (heard, ~heard):
        learn = rows & kind
        if learn.any():
            if systematic:
                transition = expected_transition(voted[learn], given[learn], prior)
            else:
                transition = fit_transition(voted[learn], given[learn])
            result[kind] = LabelModel(transition, 1.0).posterior(voted[kind], given[kind])
    return result


def hearing(worth: float) -> float:
    """Return how far an outside witness of that worth is heard, in [0, 1]."""
    low, high = HEARD
    return float(np.clip((worth - low) / (high - low), 0.0, 1.0))


def fit_weights(lifts: Mapping[str, Doubles], given: Doubles, prior: Doubles) -> dict[str, float]:
    """Return the weight of each witness in [0, `MOST_WEIGHT`] under which the given labels (N, C) are likeliest."""
    from scipy.optimize import minimize

    names = sorted(lifts)
    table = np.stack([lifts[name] for name in names])

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        rows = softmax(np.log(prior) + np.tensordot(weights, table, 1))
        held = weights - START_WEIGHT
        likelihood = float((given * np.log(np.maximum(rows, 1e-12))).sum())
        slope: Doubles = ((rows - given)[None] * table).sum((1, 2)) + 2 * WEIGHT_FACES * held
        return -likelihood + WEIGHT_FACES * float(held @ held), slope

    start = np.full(len(names), START_WEIGHT)
    best = minimize(loss, start, jac=True, bounds=[(0.0, MOST_WEIGHT)] * len(names), method="L-BFGS-B")
    return dict(zip(names, best.x.tolist(), strict=True))


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


def flagged(quality: Doubles, rows: Bools, precision: float) -> Bools:
    """Return the flags, (N,): qualities below one half, or the lowest ones at an estimated precision."""
    if precision == 0:
        return np.asarray(rows & (quality < 0.5))
    order = np.argsort(np.where(rows, quality, np.inf), kind="stable")[: int(rows.sum())]
    estimate = np.cumsum(1 - quality[order]) / np.arange(1, len(order) + 1)
    flags = np.zeros(len(quality), dtype=np.bool_)
    enough = np.flatnonzero(estimate >= precision)
    flags[order[: enough[-1] + 1 if len(enough) else 0]] = True
    return flags
