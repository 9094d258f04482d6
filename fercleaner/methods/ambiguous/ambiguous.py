"""LEAF's ambiguous pseudo-labels with Ada-CM's class margins, for labeled and unlabeled faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, get_args

import numpy as np

from ...classifiers.probe import assign_folds
from ...core.arrays import Bools, Doubles, Floats, Ints
from ...core.errors import InputError
from ...core.evidence import Evidence
from ...core.numeric import softmax
from ...core.types import Posteriors, Refinement, Samples
from ...similarity.distinct import distinct_features, distinct_views
from ..base import keep_given, own_class, own_share, parameters, require
from ..threshold import choose_posteriors, relative_margin
from .label_graph import graph_votes

WeightShape = Literal["concave", "linear", "convex"]

#: Ada-CM: share of the mean confidence of correct faces that is asked for, after many epochs.
MARGIN_SHARE = 0.97
#: Faces' worth of belief that a class is as easy as the average one.
MARGIN_PRIOR = 10.0
#: Lowest margin, as a multiple of chance and of the overall mean confidence.
FLOOR_CHANCE = 1.5
FLOOR_SHARE = 0.6
#: Share of the uniform distribution in every pseudo-distribution.
SMOOTHING = 0.02
#: Steepness of the concave ambiguity weight.
STEEPNESS = 50.0
#: Weight of a labeled face whose label is not among the positives of an unsure posterior.
UNSURE_WEIGHT = 0.7
#: Probabilities this close are level: rounding may not decide between two classes.
TIE = 1e-4
#: Parts into which the labeled faces are dealt; each is judged without its own labels.
FOLDS = 5


class Positives(NamedTuple):
    """The plausible classes of each face: `member` (N, C), how many (N,), and the ambiguity `weight` (N,).

    `member` is 1 for a positive and 0 for a negative; classes that are level for the last places share them.
    """

    member: Doubles
    number: Ints
    weight: Doubles


@dataclass(frozen=True)
class Ambiguous:
    """Give each face a distribution over the few classes that its posteriors hold for plausible.

    Sources are the probe's out-of-fold posterior, a mirrored copy's (`view`), and two that learn from faces
    without a label: labels that traveled over the graph of nearest neighbors (`label_graph.graph_votes`, where there
    are neighbors), and a mixture-of-experts head trained here on the views (`experts`, where there are features),
    which learns the unlabeled faces from the graph and from itself. p_i is their mean, q_i their normalized
    geometric mean (the softmax of mean scores). With q_(1) >= q_(2) >= ... and P_n the sum of the n largest,

        m_i     = clip(#{n : P_n < mass}, 1, K)              (`inclusive`: #{n : P_(n-1) < mass}, P_0 = 0)
        omega_i = log(1 + 50 (mu - h)) / log(1 + 50 mu),     mu = P_(m+1) / (m + 1), h = q_(m+1)
        d_i     = q_i^g over the m_i likeliest classes, renormalized; 2 % spread evenly
        T_c     = clip(.97 mean confidence of correct faces labeled c, floor, .97)
        a_i     = 1 - JS divergence of the sources         (1 with one source)

    and a face is sure (status I) where max p_i >= T of its likeliest class, else unsure (status II).
    Unlabeled: d_i with weight omega_i a_i, halved where unsure. Labeled y:

        y = argmax q      r_i = (1 - blend) y + blend d_i               weight 1
        y plausible       r_i = (1 - l) y + l d_i                       weight 1 - .5 (1 - q_y / q_(1))
                          l = max(blend, .5 (1 - q_y / q_(1)))
        y not, sure       r_i = (1 - relabel) y + relabel d_i           weight 1 - omega_i
        y not, unsure     r_i = (1 - blend) y + blend d_i               weight .7

    A face without posterior keeps its given label with weight 1 (uniform, weight 0, where unlabeled). Quality is
    (1 + q_y - max over other c of q_c) / 2, the likeliest class standing for y where unlabeled. Flagged: q_i
    holds another class for likelier than y (a superset of the faces whose refined label is another).

    Parameters
    ----------
    positives : int >= 1
        K; at most C - 1 are used, so that one class stays negative.
    mass : float in (0, 1)
        Probability that the plausible classes hold together.
    inclusive : bool
        Whether the class that carries the sum across `mass` is plausible too. LEAF leaves it out, which makes a
        clean tie of two classes a single label; as a distribution to hand out, both are meant.
    shape : {"concave", "linear", "convex"}
        Of omega: as above, (mu - h) / mu, (mu - h) / (mu + h).
    sharpen : float > 0
        g. Heads trained on noisy labels are flatter than annotators' votes; 1 is LEAF's, 1.5 came closer to them.
    blend, relabel : float in [0, 1]
        Share of d_i in a label that is not, and that is, contradicted by a sure posterior.
    align : bool
        Whether to bring the mean of the unlabeled posteriors to the labeled class frequencies first
        (distribution alignment): for unlabeled faces known to be spread like the labeled ones.
    experts : int >= 0
        Experts of the head that is trained where features are at hand; 0 trains none.
    active : int >= 1
        Experts that speak for a face.
    k : int >= 1
        Neighbors a hyperedge of the graph.
    alpha : float in [0, 1)
        How far labels travel on it; further than in `hypergraph`, since the next labeled face may be far.
    posterior, view : str
        As in `Threshold`.

    Source
    ------
    Zhang et al., LEAF, arXiv 2404.15041, with the category level of Fuzzy Positive Learning, CVPR 2023, as in
    LEAF's released code; margins of Li et al., Towards Semi-Supervised Deep Facial Expression Recognition with
    an Adaptive Confidence Margin (Ada-CM), CVPR 2022. Differs from them in: frozen views, out-of-fold
    posteriors in place of weak augmentations, margins at the end of training, shrunk towards the mean and with a
    floor for calibrated posteriors; agreement, smoothing and the rule for labeled faces are ours (the papers
    take given labels as right), and so is the graph: it stands for what a network that is not frozen learns from
    image augmentations, that pictures close by are of one class.

    Examples
    --------
    >>> q = np.array([[.55, .25, .12, .05, .02, .005, .005], [.48, .44, .03, .02, .01, .01, .01]])
    >>> [round(float(w), 4) for w in positives(q).weight]
    [0.8361, 0.2181]
    >>> positives(q).number.tolist(), positives(q, inclusive=True).number.tolist()
    ([2, 1], [3, 2])
    """

    name: ClassVar[str] = "ambiguous"
    paper: ClassVar[str] = "LEAF (Zhang et al., arXiv 2404.15041) with Ada-CM's margins"
    needs: ClassVar[frozenset[str]] = frozenset({"posteriors"})
    optional: ClassVar[frozenset[str]] = frozenset({"features", "neighbors", "joint"})

    positives: int = 3
    mass: float = 0.9
    inclusive: bool = True
    shape: WeightShape = "concave"
    sharpen: float = 1.5
    blend: float = 0.8
    relabel: float = 0.9
    align: bool = False
    experts: int = 4
    active: int = 2
    k: int = 15
    alpha: float = 0.9
    posterior: str = "probe"
    view: str = "mirror"

    def __post_init__(self) -> None:
        if self.positives < 1:
            raise InputError(f"ambiguous: positives is {self.positives}; expected at least 1.")
        if not 0 < self.mass < 1:
            raise InputError(f"ambiguous: mass is {self.mass}; expected between 0 and 1.")
        if self.shape not in get_args(WeightShape):
            raise InputError(
                f"ambiguous: shape '{self.shape}' is not known; choose {', '.join(get_args(WeightShape))}."
            )
        if not 0 < self.sharpen < np.inf:
            raise InputError(f"ambiguous: sharpen is {self.sharpen}; expected a number above 0.")
        for what in ("blend", "relabel"):
            if not 0 <= getattr(self, what) <= 1:
                raise InputError(f"ambiguous: {what} is {getattr(self, what)}; expected 0 to 1.")
        if self.experts < 0 or self.active < 1:
            raise InputError(
                f"ambiguous: experts is {self.experts} and active {self.active}; expected at least 0 and 1."
            )
        if self.k < 1:
            raise InputError(f"ambiguous: k is {self.k}; at least one neighbor is needed.")
        if not 0 <= self.alpha < 1:
            raise InputError(f"ambiguous: alpha is {self.alpha}; expected 0 <= alpha < 1.")

    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        """Return the refined labels; `rng` starts the expert head."""
        require(evidence, self)
        samples = evidence.samples
        tables = self._tables(evidence, rng)
        sources, found = _filled(tables)
        labeled, given = samples.labeled, keep_given(samples)
        if self.align:
            sources = [distribution_aligned(p, samples, found) for p in sources]
        p, q = np.mean(sources, axis=0), geometric_mean(sources)
        agreement = 1.0 - disagreement(sources)
        judged = found & labeled
        margins = class_margins(p[judged], given[judged], len(samples.classes))
        sure = p.max(1) >= np.where(_level(p), margins, np.inf).min(1)
        plausible = positives(q, self.positives, self.mass, inclusive=self.inclusive, shape=self.shape)
        omega = plausible.weight
        pseudo = pseudo_distribution(q, plausible.member, self.sharpen)

        label = own_class(given, q)
        rows = np.arange(len(samples))
        relative = q[rows, label] / q.max(1)
        softer = 0.5 * (1.0 - relative)
        agrees, fits = _level(q)[rows, label], plausible.member[rows, label] > 0
        cases = [agrees, fits, sure]
        share = np.select(cases, [self.blend, np.maximum(self.blend, softer), self.relabel], self.blend)
        trust = np.select(cases, [1.0, 1.0 - softer, 1.0 - omega], UNSURE_WEIGHT)
        share = np.where(found, np.where(labeled, share, 1.0), 0.0)[:, None]
        distribution = (1.0 - share) * given + share * pseudo
        weight = np.where(labeled, trust, omega * agreement * np.where(sure, 1.0, 0.5))
        target = np.where(labeled[:, None], given, np.eye(len(samples.classes))[q.argmax(1)])
        numbers = {
            "posterior_given": np.where(labeled, own_share(given, q), np.nan),
            "positives": plausible.number.astype(np.float64),
            "label_plausible": np.where(labeled, fits, np.nan),
            "ambiguity_weight": omega,
            "sure": sure.astype(np.float64),
            "agreement": agreement if len(sources) > 1 else np.full(len(samples), np.nan),
        }
        for table in tables:
            if table.name == "graph":
                numbers["neighbor_vote"] = np.where(
                    labeled & table.found, own_share(given, table.values.astype(np.float64)), np.nan
                )
        absent = labeled.astype(np.float64)
        return Refinement(
            ids=samples.ids,
            classes=samples.classes,
            distribution=distribution.astype(np.float32),
            weight=np.where(found, np.clip(weight, 0.0, 1.0), absent).astype(np.float32),
            quality=np.where(found, relative_margin(target, q), absent).astype(np.float32),
            flagged=judged & ~agrees,
            method=self.name,
            params=parameters(self),
            evidence={k: np.where(found, v, np.nan).astype(np.float32) for k, v in numbers.items()},
        )

    def _tables(self, evidence: Evidence, rng: np.random.Generator) -> list[Posteriors]:
        """Return the sources: probe, mirrored copy, graph, experts, as far as there is what they need."""
        samples = evidence.samples
        tables = [choose_posteriors(evidence, self.posterior, self.view)]
        other = evidence.posteriors.get(self.view)
        if other is not None and other is not tables[0]:
            tables.append(other)
        nobody = np.zeros(len(samples), dtype=np.bool_)
        seen, neighbors = distinct_features(evidence), distinct_views(evidence)
        shown = np.logical_or.reduce([nobody, *(view.found for view in seen.values())])
        linked = np.logical_or.reduce([nobody, *((table.indices >= 0).any(1) for table in neighbors.values())])
        fold = assign_folds(samples, FOLDS, int(rng.integers(2**31)), usable=shown | linked)
        votes = None
        if (linked & samples.labeled).any():
            graph = graph_votes(samples, neighbors, fold, k=self.k, alpha=self.alpha)
            votes = graph.by_fold
            tables.append(graph.posteriors)
        if self.experts > 0 and (shown & samples.labeled).any():
            from .experts import expert_posteriors

            tables.append(
                expert_posteriors(
                    samples,
                    seen,
                    rng,
                    experts=self.experts,
                    active=self.active,
                    limit=self.positives,
                    mass=self.mass,
                    fold=fold,
                    votes=votes,
                    device=evidence.device,
                )
            )
        return tables


def _filled(tables: list[Posteriors]) -> tuple[list[Doubles], Bools]:
    """Return the posteriors to go by, uniform where nothing is found, and who has any.

    A source that says nothing of a face gives way to the mean of the others there.
    """
    found = np.stack([t.found for t in tables])
    values = np.stack([t.values.astype(np.float64) for t in tables])
    spoken = found.sum(0)
    mean = np.where(found[:, :, None], values, 0.0).sum(0) / np.maximum(spoken, 1)[:, None]
    mean[spoken == 0] = 1.0 / values.shape[2]
    return [np.where(f[:, None], v, mean) for f, v in zip(found, values, strict=True)], spoken > 0


def _level(rows: Doubles) -> Bools:
    """Return which classes are the likeliest of their row of (N, C), or level with it."""
    best: Bools = rows >= rows.max(1, keepdims=True) - TIE
    return best


def class_margins(posterior: Doubles, given: Doubles, classes: int) -> Doubles:
    """Return Ada-CM's confidence margin of each class, (C,) in (0, .97].

    T_c = .97 x the mean confidence of faces labeled c that the posterior gets right, shrunk by MARGIN_PRIOR
    faces towards the mean over all classes; not below max(1.5 / C, .6 of that mean). The paper's floor of .8
    suits overconfident networks, not calibrated posteriors. Where n classes are level, each is right by 1 / n.

    Parameters
    ----------
    posterior, given : (N, C) float64
        Of labeled faces; N may be 0.
    """
    label, top = own_class(given, posterior), posterior.max(1)
    level = _level(posterior)
    right = level[np.arange(len(label)), label] / np.maximum(level.sum(1), 1)
    overall = float(right @ top / right.sum()) if right.any() else 0.0
    count = np.bincount(label, weights=right, minlength=classes)
    total = np.bincount(label, weights=right * top, minlength=classes)
    mean = (total + MARGIN_PRIOR * overall) / (count + MARGIN_PRIOR)
    floor = min(max(FLOOR_CHANCE / classes, FLOOR_SHARE * overall), MARGIN_SHARE)
    margins: Doubles = np.clip(MARGIN_SHARE * mean, floor, MARGIN_SHARE)
    return margins


def positives(
    q: Doubles, limit: int = 3, mass: float = 0.9, *, inclusive: bool = False, shape: WeightShape = "concave"
) -> Positives:
    """Return the plausible classes of each row of `q` (N, C) and how little they are contested.

    As coded in LEAF and Fuzzy Positive Learning (`inclusive` False); formulas in `Ambiguous`. Classes that are
    level share the places that are left for them, whatever their order. Cost: O(N C log C).
    """
    n, classes = q.shape
    rows = np.arange(n)
    ranked = -np.sort(-q, axis=1)
    total = np.cumsum(ranked, axis=1)
    below = (total < mass).sum(1) + int(inclusive)
    count = np.clip(below, 1, min(limit, classes - 1)).astype(np.int64)
    mean, height = total[rows, count] / (count + 1), ranked[rows, count]
    gap = np.maximum(mean - height, 0.0)
    if shape == "concave":
        weight = np.log1p(STEEPNESS * gap) / np.log1p(STEEPNESS * mean)
    elif shape == "linear":
        weight = gap / mean
    else:
        weight = gap / (mean + height)
    edge = ranked[rows, count - 1][:, None]
    beyond = q - edge  # compared as one number: rounding must not leave a class neither above nor level
    above, level = beyond > TIE, np.abs(beyond) <= TIE
    left = (count[:, None] - above.sum(1, keepdims=True)) / level.sum(1, keepdims=True)
    member = np.where(above, 1.0, np.where(level, left, 0.0))
    return Positives(member, count, np.clip(weight, 0.0, 1.0))


def pseudo_distribution(q: Doubles, member: Doubles, sharpen: float = 1.0) -> Doubles:
    """Return q^sharpen over its plausible classes alone, renormalized, with SMOOTHING spread evenly, (N, C)."""
    kept = member * (q / q.max(1, keepdims=True)) ** sharpen
    rows: Doubles = (1.0 - SMOOTHING) * kept / kept.sum(1, keepdims=True) + SMOOTHING / q.shape[1]
    return rows


def geometric_mean(sources: list[Doubles]) -> Doubles:
    """Return the normalized geometric mean of several (N, C) posteriors: the softmax of their mean scores."""
    logs = np.mean([np.log(np.maximum(p, 1e-12)) for p in sources], axis=0)
    return softmax(logs)


def disagreement(sources: list[Doubles]) -> Doubles:
    """Return the Jensen-Shannon divergence of several (N, C) posteriors over its greatest value, (N,) in [0, 1]."""
    if len(sources) < 2:
        return np.zeros(len(sources[0]))

    def entropy(p: Doubles) -> Doubles:
        h: Doubles = -(p * np.log(np.where(p > 0, p, 1.0))).sum(1)
        return h

    apart = entropy(np.mean(sources, axis=0)) - np.mean([entropy(p) for p in sources], axis=0)
    greatest = np.log(min(len(sources), sources[0].shape[1]))
    share: Doubles = np.clip(apart / greatest, 0.0, 1.0)
    return share


def distribution_aligned(posterior: Doubles, samples: Samples, found: Bools) -> Doubles:
    """Return `posterior` with the unlabeled rows brought to the labeled class frequencies on average.

    q_c x pi_c / mean q_c, renormalized, pi the mean given label (distribution alignment, Berthelot et al. 2020).
    """
    rows = found & ~samples.labeled
    if not rows.any():
        return posterior
    given: Floats = samples.given[samples.labeled]
    ratio = given.mean(0, dtype=np.float64) / np.maximum(posterior[rows].mean(0), 1e-12)
    out = posterior.copy()
    moved = out[rows] * ratio
    mass = moved.sum(1, keepdims=True)
    out[rows] = np.where(mass > 0, moved / np.where(mass > 0, mass, 1.0), out[rows])
    return out
