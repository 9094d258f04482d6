"""LA-Net's label distributions: what nearest neighbors and faces of the same geometry predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ...core.arrays import Bools, Doubles, Floats, Ints
from ...core.errors import InputError
from ...core.evidence import Evidence
from ...core.types import Neighbors, Posteriors, Refinement
from ...evaluation.metrics import jensen_shannon
from ...similarity.distinct import distinct_features, distinct_views
from ...similarity.whitening import JOINT, LANDMARK_VIEW
from ..base import keep_given, own_share, parameters, require

#: How the contribution of each neighbor is found.
Scores = Literal["uniform", "kernel", "learned"]
#: How spaces are averaged: every view one share, or expression and landmarks one half each.
Pooling = Literal["views", "spaces"]

#: Faces handled at once, so that memory stays at BLOCK x k x C numbers.
BLOCK = 8192


@dataclass(frozen=True)
class Landmark:
    """Give each face the distribution that its neighbors predict, in expression and in landmark space.

    With p_j the out-of-fold posterior of face j, N_v(i) the k nearest faces of i in view v, and s_ij the
    contribution score of a neighbor,

        omega_ij = s_ij / sum_{j in N_v(i)} s_ij
        t_i^v    = sum_{j in N_v(i)} omega_ij p_j               (what view v says)
        t_i      = mean of t_i^v over the views that have i      (pooling "views")
                 = t_i^u / 2 + t_i^landmarks / 2                 (pooling "spaces", u the mean of the others)
        t_i     <- t_i^sharpness, renormalized
        b_i      = momentum^visits y_i + (1 - momentum^visits) t_i

    b, the label bank after `visits` visits, is the refined distribution. Quality is the mean of b over the
    given label, <y_i, b_i>; the weight is <y_i, b_i> / max_c b_ic; a face is flagged where the bank leaves
    its label (the largest class of b is not that of y). The own posterior and the own label are no part of
    t_i, but the heads behind p_j learned from the labels of other folds than j's, that of i among them: it moves
    t_i by .01 to .05 (300 faces). A face without landmarks has only its expression views; one without any neighbor
    that has a posterior keeps its given label. An unlabeled face gets t_i, and 1 - H(t_i) / log C as quality and
    weight.
    The joint view, which holds the landmarks too, is not used.
    Labels cannot change unless t_max - t_y > momentum^visits / (1 - momentum^visits): .917 at 7 visits, .259
    at 15.

    Parameters
    ----------
    k : int
        Neighbors a view that count, of those given; LA-Net has 8 (within a batch).
    scores : {"kernel", "uniform", "learned"}
        "kernel": exp(similarity / temperature). "uniform": 1. "learned": LA-Net's pair network, fitted on the
        features (N, D) of each view with the loss KL(p || b); needs torch and minutes on large sets.
    temperature : float > 0
        Of the kernel, in cosine.
    pooling : {"views", "spaces"}
        "spaces" is the paper's; with one expression view both are the same.
    sharpness : float > 0
        Power of t; 1 is the paper's. Averages over neighbors are flatter than annotators' votes.
    momentum : float in [0, 1]
        Share of the bank's distribution that stays at each visit.
    visits : int
        Epochs E in which the bank was updated.
    source : str
        Which posteriors p are.

    Evidence
    --------
    "neighbors": <y, t> without sharpening; "expression", "landmarks": <y, t^u>, <y, t^landmarks>;
    "disagreement": JS(t^u, t^landmarks) in bits, large where a pose or an ambiguous expression makes the two
    spaces differ. NaN where unknown.

    Source
    ------
    Z. Wu, J. Cui, "LA-Net: Landmark-aware learning for reliable facial expression recognition under label
    noise", ICCV 2023, and its public code (label distribution estimation). Differs from it in: frozen vectors
    and out-of-fold posteriors in place of a network in training; neighbors over the whole set in place of a
    batch; the bank in closed form. The kernel, sharpening, equal shares of views and the weight are ours. The
    expression-landmark contrastive loss is `contrast.fit_projection`.

    Examples
    --------
    >>> Landmark().bank_share
    0.794108867905351
    """

    k: int = 30
    scores: Scores = "kernel"
    temperature: float = 0.1
    pooling: Pooling = "views"
    sharpness: float = 3.0
    momentum: float = 0.9
    visits: int = 15
    source: str = "probe"

    name: ClassVar[str] = "landmark"
    paper: ClassVar[str] = "LA-Net (Wu and Cui, ICCV 2023)"
    needs: ClassVar[frozenset[str]] = frozenset({"neighbors", "posteriors"})
    optional: ClassVar[frozenset[str]] = frozenset({"landmarks", "features"})

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError(f"landmark: k = {self.k}; at least one neighbor is needed.")
        if self.scores not in ("uniform", "kernel", "learned"):
            raise InputError(f"landmark: scores '{self.scores}'; choose kernel, uniform or learned.")
        if self.pooling not in ("views", "spaces"):
            raise InputError(f"landmark: pooling '{self.pooling}' is not known; choose views or spaces.")
        if not self.temperature > 0 or not self.sharpness > 0:
            raise InputError("landmark: temperature and sharpness must be above 0.")
        if not 0 <= self.momentum <= 1 or self.visits < 0:
            raise InputError("landmark: momentum must lie in [0, 1] and visits be 0 or more.")
        if self.scores == "learned":
            object.__setattr__(self, "needs", type(self).needs | {"features"})

    @property
    def bank_share(self) -> float:
        """Share of t in the bank: 1 - momentum^visits."""
        return float(1.0 - self.momentum**self.visits)

    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        """Return the label bank as refined labels.

        Cost: O(N k C) a view and BLOCK x k x C numbers of memory; "learned" adds the fit of a small network.
        """
        require(evidence, self)
        samples = evidence.samples
        source = named_posteriors(evidence, self.source, self.name)
        views = {view: table for view, table in distinct_views(evidence).items() if view != JOINT}
        weights = self._contributions(evidence, views, source, rng)
        said = {
            view: aggregate(table.indices[:, : self.k], weights[view], source.values, source.found)
            for view, table in views.items()
        }
        t_u, has_u = mean_of_parts([said[view] for view in said if view != LANDMARK_VIEW], samples.given.shape)
        t_v, has_v = said.get(LANDMARK_VIEW, mean_of_parts([], samples.given.shape))
        if self.pooling == "views":
            pool, known = mean_of_parts(list(said.values()), samples.given.shape)
        else:
            pool, known = mean_of_parts([(t_u, has_u), (t_v, has_v)], samples.given.shape)
        sharp = sharpened(pool, self.sharpness)
        given, labeled = keep_given(samples), samples.labeled
        bank = np.where(labeled[:, None], label_bank(given, sharp, self.bank_share), sharp)
        bank = np.where(known[:, None], bank, given)
        own = np.clip(own_share(given, bank), 0.0, 1.0)
        sure = certainty(bank)
        quality = np.where(labeled, np.where(known, own, 1.0), sure)
        weight = np.where(labeled, np.where(known, own / bank.max(1), 1.0), sure)
        both = has_u & has_v

        def spoken(values: Doubles, rows: Bools) -> Floats:
            return np.where(rows, values, np.nan).astype(np.float32)

        return Refinement(
            samples.ids,
            samples.classes,
            bank.astype(np.float32),
            np.clip(weight, 0.0, 1.0).astype(np.float32),
            quality.astype(np.float32),
            labeled & known & (own_at_best(given, bank) < bank.max(1)),
            self.name,
            parameters(self),
            {
                "neighbors": spoken(own_share(given, pool), known & labeled),
                "expression": spoken(own_share(given, t_u), has_u & labeled),
                "landmarks": spoken(own_share(given, t_v), has_v & labeled),
                "disagreement": spoken(jensen_shannon(t_u, t_v), both),
            },
        )

    def _contributions(
        self,
        evidence: Evidence,
        views: Mapping[str, Neighbors],
        source: Posteriors,
        rng: np.random.Generator,
    ) -> dict[str, Doubles]:
        """Return the scores (N, k) of each view."""
        if self.scores == "uniform":
            return {view: np.ones(table.indices[:, : self.k].shape) for view, table in views.items()}
        if self.scores == "kernel":
            return {
                view: kernel_scores(table.indices[:, : self.k], table.similarity, source.found, self.temperature)
                for view, table in views.items()
            }
        features = distinct_features(evidence)
        missing = [view for view in views if view not in features]
        if missing:
            raise InputError(
                f"landmark: learned scores need the features of view '{missing[0]}', which were not given. "
                "Set scores=kernel, or add --view NAME=FILE."
            )
        from .pair_scores import fit_pair_scores

        return fit_pair_scores(
            [features[view].values for view in views],
            [table.indices[:, : self.k] for table in views.values()],
            source.values,
            source.found,
            keep_given(evidence.samples),
            share=np.where(evidence.samples.labeled, self.bank_share, 1.0),
            order=evidence.samples.by_id,
            rng=rng,
            names=list(views),
        )


def named_posteriors(evidence: Evidence, name: str, method: str) -> Posteriors:
    """Return the posteriors called `name`, or raise InputError with the names there are."""
    if name not in evidence.posteriors:
        known = ", ".join(sorted(evidence.posteriors))
        raise InputError(
            f"{method}: there are no posteriors '{name}'; there are {known}. "
            f"Name one with --set source={min(evidence.posteriors, default='probe')}."
        )
    return evidence.posteriors[name]


def kernel_scores(indices: Ints, similarity: Floats, found: Bools, temperature: float) -> Doubles:
    """Return exp((s_ij - max_j s_ij) / temperature), (N, k): the kernel, over its greatest value for each face.

    The greatest is that of the neighbors with a posterior; the scores of others are at most 1 and do not count.

    Parameters
    ----------
    indices : (N, k) int64
        Neighbors; -1 is padding.
    similarity : (N, k or more) float32
    found : (N,) bool
        Which faces have a posterior.
    """
    closeness = similarity[:, : indices.shape[1]].astype(np.float64)
    usable = (indices >= 0) & found[indices]
    best = np.where(usable, closeness, -np.inf).max(1, keepdims=True)
    apart = closeness - np.where(np.isfinite(best), best, 0.0)
    return np.asarray(np.exp(np.minimum(apart, 0.0) / temperature))


def aggregate(indices: Ints, scores: Doubles, values: Floats, found: Bools) -> tuple[Doubles, Bools]:
    """Return t_i = sum_j omega_ij p_j (N, C) float64 and which faces have a neighbor to go by (N,).

    Parameters
    ----------
    indices : (N, k) int64
        Neighbors; -1 is padding.
    scores : (N, k) float
        Non-negative contributions; normalized over the neighbors whose posterior was found.
    values, found : (N, C), (N,)
        Posteriors p. Rows without any neighbor come out zero.
    """
    n, c = values.shape
    total = np.zeros((n, c))
    has = np.zeros(n, dtype=np.bool_)
    for start in range(0, n, BLOCK):
        rows = slice(start, start + BLOCK)
        near = indices[rows]
        score = np.where((near >= 0) & found[near], scores[rows], 0.0)
        mass = score.sum(1)
        has[rows] = mass > 0
        omega = score / np.where(mass > 0, mass, 1.0)[:, None]
        total[rows] = np.einsum("nk,nkc->nc", omega, values[near].astype(np.float64))
    return total, has


def mean_of_parts(parts: list[tuple[Doubles, Bools]], shape: tuple[int, ...]) -> tuple[Doubles, Bools]:
    """Return the mean (N, C) of the parts that have each face, zero where none, and which have one."""
    total, count = np.zeros(shape), np.zeros(shape[0])
    for values, has in parts:
        total += np.where(has[:, None], values, 0.0)
        count += has
    return total / np.maximum(count, 1)[:, None], count > 0


def label_bank(given: Doubles, target: Doubles, share: float) -> Doubles:
    """Return b = (1 - share) y + share t: the bank with a constant t, share = 1 - momentum^visits."""
    return (1.0 - share) * given + share * target


def sharpened(rows: Doubles, power: float) -> Doubles:
    """Return rows (N, C) raised to `power` and renormalized; rows of no mass become uniform."""
    top = rows.max(1, keepdims=True)
    raised = np.where(top > 0, rows / np.where(top > 0, top, 1.0), 1.0) ** power
    return np.asarray(raised / raised.sum(1, keepdims=True))


def certainty(rows: Doubles) -> Doubles:
    """Return 1 - H(q) / log C of each distribution (N, C): 0 for uniform rows, 1 for one-hot ones."""
    inside = np.where(rows > 0, rows, 1.0)
    entropy = -(rows * np.log(inside)).sum(1)
    sure: Doubles = np.clip(1.0 - entropy / np.log(rows.shape[1]), 0.0, 1.0)
    return sure


def own_at_best(given: Doubles, distribution: Doubles) -> Doubles:
    """Return how much of `distribution` lies on the largest given class (the best of equals), (N,)."""
    top = given >= given.max(1, keepdims=True)
    return np.asarray(np.where(top, distribution, 0.0).max(1))
