"""The experts of `consensus`: what each says of a face beyond what is said of faces in general, and their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...classifiers.nystroem import KernelRows
from ...classifiers.probe import PROBE
from ...classifiers.ridge import FoldRidge, WholeDesign
from ...core.arrays import Bools, Doubles, Floats, Ints
from ...core.evidence import Evidence
from ...core.numeric import softmax
from ...similarity.distinct import distinct_features

#: Belief, in faces, that the log-odds of classes are those of their frequencies: holds the bias of small sets.
BIAS_FACES = 5.0
#: Terms of the head: its scores s, and log(1 + s / `LEAST_SCORE`). Large scores tell classes apart by their difference,
#: those of rare classes by their ratio: with s alone FER2013 loses all its disgust and .025 per-class AUROC; with the
#: logarithm alone P loses .015 accuracy. .005 and .05 serve as well as .02.
HEAD = (PROBE, "probe_log")
LEAST_SCORE = 0.02
#: Most weight of an expert. The scores of a ridge head lie within 0 and 1 or so: 20 of them tell classes apart surely.
MOST_WEIGHT = 20.0
#: Relative gain of the likelihood at which the weights are settled: at 2e-9 the order of the rows moved qualities of
#: unlabeled faces by 1e-4.
SETTLED = 1e-14
#: Newton's steps at most (5 to 8 are taken), how often one that leads uphill is halved, and what is added to the
#: curvature, as a share, where two terms say nearly the same.
NEWTON_STEPS, HALVINGS, RIDGE = 100, 40, 1e-12


@dataclass(frozen=True, eq=False)
class Expert:
    """What one expert says.

    Parameters
    ----------
    own : (N, C) float64
        Terms of a sum of log-odds, in which no label of the face's fold took part; zero where it does not know the
        face.
    run : callable, number of a fold -> (N, C) float64
        The same in the run of a fold, none of whose labels took part in it.
    known : (N,) bool
    """

    own: Doubles
    run: Callable[[int], Doubles]
    known: Bools


@dataclass(frozen=True, eq=False)
class Stack:
    """The joined experts: L = sum_k w_k l^k + b - log pi, so that softmax(log pi + L) gives the labels best.

    Parameters
    ----------
    weights : mapping of name -> float
        w, at least 0.
    shift : (C,) float64
        b - log pi.
    """

    weights: Mapping[str, float]
    shift: Doubles

    def joined(self, terms: Mapping[str, Doubles]) -> Doubles:
        """Return L, the joined log-likelihood ratios, of terms (..., C) by expert."""
        total: Doubles = sum((weight * terms[name] for name, weight in self.weights.items()), np.zeros_like(self.shift))
        return total + self.shift


class KernelHead:
    """The inside expert: a ridge head on Gaussian-kernel features of all views, out of fold (`ridge.FoldRidge`)."""

    def __init__(self, evidence: Evidence) -> None:
        samples = evidence.samples
        n = len(samples.ids)
        self._order = samples.by_id
        views, self._once = distinct_features(evidence), evidence.once
        self.known = np.zeros(n, dtype=np.bool_)
        self._design: KernelRows | WholeDesign = WholeDesign(np.zeros((n, 1), dtype=np.float32))
        if views:  # else no view knows any face
            self._design = self._once("kernel rows", lambda: KernelRows(views, self._order))
            self.known[self._order] = self._design.found
        self._learns = self.known & samples.labeled

    def deal(self, fold: Ints) -> None:
        """Deal the faces into folds, (N,), that the head is to be learned without from now on."""
        fold, learns = fold[self._order], self._learns[self._order]
        name = ("heads without folds", fold.tobytes(), learns.tobytes())
        self._ridge = self._once(name, lambda: FoldRidge(self._design, fold, learns))

    def learn(self, given: Doubles) -> dict[str, Expert]:
        """Return what is learned from the given labels (N, C): `HEAD`, terms of one weight each."""
        own = self._terms(self._ridge.own(given[self._order]))
        runs = self._ridge.runs(given[self._order])

        def in_run(name: str, f: int) -> Doubles:
            return self._terms(runs[:, f])[name]

        return {name: Expert(own[name], partial(in_run, name), self.known) for name in HEAD}

    def learn_again(self, refined: Floats) -> dict[str, Doubles]:
        """Return the terms (N, C) learned from labels refined in each fold's run, (N, F, C)."""
        return self._terms(self._ridge.own(refined[self._order]))

    def _terms(self, scores: Doubles | Floats) -> dict[str, Doubles]:
        """Return scores and their logarithms in the order of the samples; zero where a face has no vector."""
        placed = np.zeros(scores.shape)
        placed[self._order] = scores
        placed[~self.known] = 0.0
        return {HEAD[0]: placed, HEAD[1]: np.log(np.maximum(placed, 0.0) / LEAST_SCORE + 1.0)}


def fit_stack(
    terms: Mapping[str, Doubles], target: Doubles, prior: Doubles, fixed: Mapping[str, float] | None = None
) -> Stack:
    """Return the weights and the bias under which target labels (M, C) are likeliest.

    The likelihood is that of softmax(b + sum_k w_k l^k), 0 <= w <= `MOST_WEIGHT`; b is held to log pi by a belief of
    `BIAS_FACES` faces. It is concave: one maximum.

    Parameters
    ----------
    terms : mapping of name -> (M, C) float64
    target : (M, C) float64
        Distributions.
    prior : (C,) float64
        pi, their frequencies.
    fixed : mapping of name -> float, optional
        Weights that stay as they are.
    """
    held = dict(fixed or {})
    names = sorted(name for name in terms if name not in held)
    start = np.log(prior)
    offset = sum((weight * terms[name] for name, weight in held.items()), np.zeros_like(target))
    table = np.stack([terms[name] for name in names]) if names else np.zeros((0, *target.shape))
    k = len(names)

    def loss(free: Doubles) -> tuple[float, Doubles]:
        rows = softmax(offset + free[k:] + np.tensordot(free[:k], table, 1))
        pull = free[k:] - start
        likelihood = float((target * np.log(np.maximum(rows, 1e-300))).sum())
        slope = rows - target
        gradient = np.concatenate([np.einsum("nc,knc->k", slope, table), slope.sum(0) + 2 * BIAS_FACES * pull])
        return -likelihood + BIAS_FACES * float(pull @ pull), gradient

    def curvature(free: Doubles) -> Doubles:
        rows = softmax(offset + free[k:] + np.tensordot(free[:k], table, 1))
        moves = rows * (table - (rows * table).sum(-1, keepdims=True))
        by_bias = np.diag(rows.sum(0) + 2 * BIAS_FACES) - rows.T @ rows
        beside = moves.sum(1)
        return np.block([[np.einsum("kmc,lmc->kl", moves, table), beside], [beside.T, by_bias]])

    low, high = np.repeat([[0.0, -np.inf], [MOST_WEIGHT, np.inf]], [k, len(start)], axis=1)
    best = _newton(np.concatenate([np.ones(k), start]), loss, curvature, (low, high))
    return Stack(held | dict(zip(names, best[:k].tolist(), strict=True)), best[k:] - start)


def _newton(
    at: Doubles,
    loss: Callable[[Doubles], tuple[float, Doubles]],
    curvature: Callable[[Doubles], Doubles],
    limits: tuple[Doubles, Doubles],
) -> Doubles:
    """Return where a convex loss is least within limits, by Newton's steps: halved until it falls, settled at last."""
    low, high = limits
    value, slope = loss(at)
    for _ in range(NEWTON_STEPS):
        step = _within(at, slope, curvature(at), limits)
        limit = np.where(step < 0, low, high)
        room = np.where(step != 0, (limit - at) / np.where(step != 0, step, 1.0), np.inf)
        share, gain = min(1.0, float(room.min())), -float(slope @ step)
        for _ in range(HALVINGS if gain > SETTLED * abs(value) else 1):
            there = np.where(room <= share, limit, at + share * step)
            less, slope_there = loss(there)
            if less < value:
                break
            share /= 2
        else:
            break
        at, value, slope = there, less, slope_there
    return at


def _within(at: Doubles, slope: Doubles, curvature: Doubles, limits: tuple[Doubles, Doubles]) -> Doubles:
    """Return Newton's step of the numbers that it does not lead out of their limits, 0 for the others."""
    low, high = limits
    free = ~((at <= low) & (slope > 0)) & ~((at >= high) & (slope < 0))
    while True:
        some = np.flatnonzero(free)
        bent = curvature[np.ix_(some, some)]
        step = np.zeros_like(at)
        step[some] = -np.linalg.solve(bent + RIDGE * np.trace(bent) * np.eye(len(some)), slope[some])
        outward = ((at <= low) & (step < 0)) | ((at >= high) & (step > 0))
        if not outward.any():
            return step
        free &= ~outward  # each would fall by itself, but not beside the others
