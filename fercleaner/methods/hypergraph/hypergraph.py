"""`hypergraph`: uncertainty-weighted label propagation on hypergraphs over faces (AMY-style)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.arrays import Bools, Doubles, Floats, Ints
from ...core.errors import InputError
from ...core.evidence import Evidence
from ...core.groups import fold_numbers
from ...core.numeric import normalized
from ...core.types import Refinement, Samples
from ...noise.class_priors import NONE, base_rates, pooled_priors, rates_beside
from ...noise.label_model import (
    LabelModel,
    chance,
    class_frequencies,
    distribution,
    expected_transition,
    explained,
    fit_noise,
    fit_sharpness,
    log_ratio,
    mean_vote,
    reliance,
)
from ...noise.sites import Sites, site_posterior, sites_of
from ...similarity.distinct import distinct_views
from ...similarity.hypergraph import (
    Hypergraph,
    build,
    estimated_influence,
    leave_out_propagate,
    left_out_scores,
    propagate,
)
from ..base import keep_given, own_share, require
from .uncertainty import estimate
from .view_weights import fitting_k, view_weights

#: Random signs that estimate a label's share in its own score.
SIGNS = 16
#: What votes weigh at least against labels: too little to change one, enough to rank faces by.
LEAST_CREDIT = 0.02
#: Shares of the entropy that votes must settle, once the labels' noise is accounted for, to weigh more than by what
#: they explain, and fully: .63 to .67 on FER2013 with 30 and 40 % symmetric noise; .40 to .45 on drawn faces seen by
#: HOG alone, whose right labels look as if 3 of 10 were flipped.
CERTAIN = (0.5, 0.65)
#: By how much a label leads that the margin has held back.
LEAST_LEAD = 1e-5
#: The final distribution is sharper than the likeliest one for the given labels by this factor: wrong labels
#: make votes look vaguer than the faces are.
SHARPER = 1.5
#: Of the power of the frequencies beyond 1, so much is left where base rates say themselves which classes are rare.
KNOWN_POWER = 0.5


@dataclass(frozen=True)
class HypergraphPropagation:
    """Let every face's nearest neighbors vote on its label, through hyperedges of a face and its k nearest.

    Each face and view makes one hyperedge (the face and its k nearest), weighed by a Gaussian of how tight it
    is and by how much of the given labels the view's votes explain (`view_weights`). With P the random-walk
    operator of `hypergraph.Hypergraph` and Y the given labels without those of face i's fold,

        F = (1 - alpha) (I - alpha P)^-1 U Y,      l_ic = log(F_ic / m_c),  rows of F and m brought to sum 1

    m the mean of F over faces. By default U = I: plain label propagation. With more `rounds`, before each further one
    a noise model (sharpness s, transition matrix T; `label_model.fit_noise`) is fitted to l and given labels, and
    U_j = P(true = y_j | l_j, y_j), l_j without all that comes from y_j, also on walks that return to it
    (`hypergraph.estimated_influence`): labels that their surroundings contradict lose their vote. In the end

        p_ic ~ pi*_c^g exp(1.5 s l_ic),   T[c, d] ~ sum_i p_ic y_id + pi_d / 2,
        r_ic = sum_d y_id p_ic T[c, d] / sum_b p_ib T[b, d]

    with pi the frequencies of the given labels and s their likeliest sharpness; pi* = pi and g = gamma, but with base
    rates beta of expressions pi* ~ pi^e beta^(1 - e) and g = (1 + gamma) / 2, e the share of the labels' entropy that
    the votes explain beyond chance. Where the votes, pi_c exp(s l_ic), explain little of the labels
    (`label_model.explained`, `reliance` below 1), g and 1.5 move towards 1 and T towards the fitted one, so that weak
    views overrule few labels; and r is mixed with y (`credit`), so that those that hardly explain any change none. In
    sets of few faces k is at most half the mean size of the classes that occur.

    r is the refined distribution, quality is <y_i, r_i> / max_c y_ic, the weight <y_i, r_i> / max_c r_ic, and a
    label is flagged when its quality is below one half. An unlabeled face gets p_i, with weight and quality
    1 - H(p_i) / log C. A face with no neighbors in any view keeps its given label. Labels are left out in folds
    that keep a group together and hang on ids alone: no label takes part in the vote that judges it, or judges
    its near-duplicates. (Frequencies, sharpness, T and view weights are single numbers for the whole set, fitted
    to all labels; for sites see below.)

    Parameters
    ----------
    k : int
        Neighbors a hyperedge.
    alpha : float in [0, 1)
        How far labels travel.
    rounds : int
        Propagations; 1 is plain label propagation, 2 weighs labels by their uncertainty. On FER2013's faces 2 finds
        flips to a similar class better, and symmetric, many, or annotators' own mistakes worse; it costs labels that
        were right, and twice the time (docs/hypergraph-notes.md).
    gamma : float >= 0
        Power of the label frequencies. Above 1 says that the true classes are less even than the given labels:
        noise flattens frequencies. 1 for sets whose classes were balanced by hand.
    base_rates : str
        "none", or what `base_rates.base_rates` knows: "wild" for pictures from the wild whose labels lean to classes
        that are rare there (FER2013's fear), rates of one's own. Not for sets balanced by hand: where labels are
        wrong at random besides, they do harm, much more of it than in `consensus`.
    folds : int
        Labels are left out a fold at a time.
    margin : float in [0, 1]
        A label gives way only to a class that leads it by more in r (SCN's relabeling margin). Where the lead is
        less, r is mixed with y until y's class leads again (`labels_kept`); quality, weight and flags stay those of
        r. 0 lets the most likely class stand.
    uncertainty : bool
        Add the evidence `uncertainty`, how little a face's surroundings tell of its class
        (`uncertainty.estimate`): a head a site on the smoothed class scores, rank-regularized as in SCN. It weighs
        nothing; U does.

    Sites
    -----
    Where `Samples.site` names more than one client or annotator pool, each has a transition matrix of its own,
    which stands for T both in U and in r, and votes are read with the class frequencies of the site
    (`sites.Sites`). Both are drawn towards those of the whole set, the more the fewer faces a site has labeled,
    and the labels of a face's fold take no part in the matrix that it is read by, nor do in a fold's run those of
    that fold. Nearest neighbors vote across sites.
    With one site, or none, the rule is as above.

    Source
    ------
    Ding, Yan, Lu, Xue, Wang, AMY: hypergraph-guided federated FER, TCSVT 2024 (arXiv 2501.01816). AMY-style:
    of the paper only the abstract and summaries were available (kNN hyperedges, Gaussian weights, hypergraph
    uncertainty weights, label propagation). k, alpha, the operator, the rounds, the view weights and the label
    model are ours; the operator is that of Zhou, Huang, Schoelkopf (NIPS 2006).
    """

    name: ClassVar[str] = "hypergraph"
    paper: ClassVar[str] = "AMY (TCSVT 2024), arXiv 2501.01816"
    needs: ClassVar[frozenset[str]] = frozenset({"neighbors"})
    optional: ClassVar[frozenset[str]] = frozenset({"joint"})

    k: int = 15
    alpha: float = 0.8
    rounds: int = 1
    gamma: float = 2.0
    folds: int = 10
    base_rates: str = NONE
    margin: float = 0.0
    uncertainty: bool = False

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError(f"hypergraph: k = {self.k}; at least one neighbor is needed.")
        if not 0 <= self.alpha < 1:
            raise InputError(f"hypergraph: alpha = {self.alpha}; expected 0 <= alpha < 1.")
        if self.rounds < 1:
            raise InputError(f"hypergraph: rounds = {self.rounds}; at least one is needed.")
        if not 0 <= self.gamma < np.inf:
            raise InputError(f"hypergraph: gamma = {self.gamma}; expected a number of at least 0.")
        if self.folds < 2:
            raise InputError(f"hypergraph: folds = {self.folds}; at least 2 are needed.")
        if not 0 <= self.margin <= 1:
            raise InputError(f"hypergraph: margin = {self.margin}; expected 0 <= margin <= 1.")
        base_rates((), self.base_rates)

    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        """Return the refined labels; `rng` seeds only how faces are dealt into folds."""
        require(evidence, self)
        samples = evidence.samples
        seed = int(rng.integers(2**31))
        scores, graph = self.scores(evidence, seed)
        fold = self._folds(samples, seed)
        spoken = scores.max(1) > 0
        rows = spoken & samples.labeled
        given = samples.given.astype(np.float64)
        prior = class_frequencies(given)
        sites = sites_of(samples)
        log_ratios = log_ratio(scores, mean_vote(scores, spoken))
        sharpness = fit_sharpness(log_ratios[rows], given[rows], prior)
        share = explained(distribution(log_ratios[rows], prior, sharpness), given[rows], prior)
        beyond = share - chance(given[rows], prior)
        trust = reliance(share)
        fitted = fit_noise(log_ratios[rows], given[rows], prior) if reliance(beyond) < 1 else None
        credited = credit(beyond, log_ratios[rows], prior, fitted)
        sharpness *= 1 + trust * (SHARPER - 1)
        rates = rates_beside(prior, samples.classes, self.base_rates)
        power = (self.gamma - 1) * (1.0 if rates is None else KNOWN_POWER)
        vote = distribution(log_ratios, pooled_priors(prior, rates, max(beyond, 0.0)), sharpness, 1 + trust * power)
        if sites is not None:
            vote = normalized(vote * sites.shares(vote, spoken))
        model = mixed_model(expected_transition(vote[rows], given[rows], prior), sharpness, trust, fitted)
        if sites is None:
            read = model.posterior(vote, given)
        else:
            read = site_posterior(
                vote, given, site_transitions(sites, vote, given, rows, fold, model.transition, trust)
            )
        read = np.where(samples.labeled[:, None], credited * read + (1 - credited) * given, read)
        refined = np.where(spoken[:, None], read, keep_given(samples))
        quality, weight = quality_and_weight(samples, refined, spoken)
        beside = {
            "neighbor_vote": np.where(rows, own_share(given, vote), np.nan).astype(np.float32),
            "vertex_degree": graph.vertex_degree.astype(np.float32),
        }
        if self.uncertainty:
            unsure = estimate(log_ratios, given, prior, rows, fold, graph.vertex_degree, sites)
            beside["uncertainty"] = np.where(spoken, unsure, np.nan).astype(np.float32)
        return Refinement(
            ids=samples.ids,
            classes=samples.classes,
            distribution=labels_kept(refined, given, self.margin).astype(np.float32),
            weight=weight.astype(np.float32),
            quality=quality.astype(np.float32),
            flagged=rows & (quality < 0.5),
            method=self.name,
            evidence=beside,
        )

    def scores(self, evidence: Evidence, seed: int) -> tuple[Doubles, Hypergraph]:
        """Return what each face's surroundings say, (N, C) >= 0, no label of its own fold taking part; and the graph.

        Rows of no mass: nothing speaks about that face.
        """
        samples = evidence.samples
        fold = self._folds(samples, seed)
        if self.rounds > 1:
            runs, graph = self.runs(evidence, fold)
            return runs[np.arange(len(fold)), fold].astype(np.float64), graph
        graph = self._graph(evidence)
        return left_out_scores(graph, samples.given, fold, self.alpha).astype(np.float64), graph

    def runs(self, evidence: Evidence, fold: Ints) -> tuple[Floats, Hypergraph]:
        """Return what speaks about each face in the run of each fold, (N, folds, C) >= 0; and the graph.

        In run b no label of fold b takes part. Nor does a face's own label in what is said of it, whichever walk it
        takes (`estimated_influence`). `fold` (N,) is as `fold_numbers` gives it.
        """
        samples = evidence.samples
        graph = self._graph(evidence)
        signs = np.empty((len(samples), SIGNS), dtype=np.float32)
        signs[samples.by_id] = np.random.default_rng(0).choice([-1.0, 1.0], size=signs.shape)
        influence = estimated_influence(graph, self.alpha, signs).astype(np.float32)
        sites = sites_of(samples)
        own_fold = (np.arange(len(samples)), fold)
        scores = leave_out_propagate(graph, samples.given, fold, self.alpha)
        trust = (fold[:, None] != np.arange(scores.shape[1])).astype(np.float32)
        for _ in range(self.rounds - 1):
            others = _others(scores, trust, influence, samples).astype(np.float64)
            trust = trust_of(others[own_fold], others, samples, fold, sites)
            trust[own_fold] = 0
            weighted = trust[:, :, None] * samples.given[:, None, :]
            scores = propagate(graph, weighted.reshape(len(samples), -1), self.alpha).reshape(scores.shape)
        return _others(scores, trust, influence, samples), graph

    def _graph(self, evidence: Evidence) -> Hypergraph:
        tables = distinct_views(evidence) or dict(evidence.neighbors)
        k = fitting_k(self.k, evidence.samples)
        return build(tables, k=k, view_weight=view_weights(tables, evidence.samples, k))

    def _folds(self, samples: Samples, seed: int) -> Ints:
        return fold_numbers(samples.ids, samples.group, self.folds, seed)


def _others(scores: Floats, trust: Floats, influence: Floats, samples: Samples) -> Floats:
    """Return scores (N, folds, C) without what each face's own label, weighed by `trust` (N, folds), adds to them."""
    own = influence[:, None, None] * trust[:, :, None] * samples.given[:, None, :]
    result: Floats = np.clip(scores - own, 0, None)
    return result


def credit(beyond: float, log_ratios: Doubles, prior: Doubles, fitted: LabelModel | None) -> float:
    """Return what votes weigh against labels when they explain the share `beyond` of the labels' entropy beyond chance.

    `reliance` of it; more where flips at random hide what the votes know, up to 1 where they leave little open by the
    sharpness of the `fitted` noise model (`CERTAIN`). Votes that explain less than `reliance` asks for weigh
    `LEAST_CREDIT`.
    """
    relied = reliance(beyond)
    if relied > 0 and fitted is not None:
        rows = distribution(log_ratios, prior, fitted.sharpness)
        left = float((rows * np.log(np.maximum(rows, 1e-300))).sum(1).mean() / (prior * np.log(prior)).sum())
        low, high = CERTAIN
        relied = max(relied, min((1 - left - low) / (high - low), 1.0))
    return max(LEAST_CREDIT, relied)


def mixed_model(seen: Doubles, sharpness: float, trust: float, fitted: LabelModel | None) -> LabelModel:
    """Return the label model of votes that are relied on as far as `trust` in [0, 1] says.

    At 1 the transition matrix is the one `seen`, read off the votes; at 0 it is the `fitted` one, which counts labels
    as right where votes are vague.
    """
    if fitted is None:
        return LabelModel(seen, sharpness)
    return LabelModel(trust * seen + (1 - trust) * fitted.transition, sharpness)


def site_transitions(
    sites: Sites, vote: Doubles, given: Doubles, rows: Bools, fold: Ints, pooled: Doubles, trust: float
) -> Doubles:
    """Return each face's transition matrix, (N, C, C), mixed by `trust` as in `mixed_model`."""
    seen = sites.counted(vote, given, rows, fold, pooled).of_faces()
    if trust == 1:
        return seen
    return trust * seen + (1 - trust) * sites.fitted(vote, given, rows, fold, pooled).of_faces()


def trust_of(left_out: Doubles, others: Doubles, samples: Samples, fold: Ints, sites: Sites | None = None) -> Floats:
    """Return how likely each given label is right, by what speaks in each fold's run, (N, folds) in [0, 1].

    Parameters
    ----------
    left_out : (N, C)
        Scores in which the face's own label took no part; the noise model is fitted to these.
    others : (N, folds, C)
        Scores of each run with the face's own label taken off.
    """
    scores, given = left_out.astype(np.float64), samples.given.astype(np.float64)
    rows = (scores.max(1) > 0) & samples.labeled
    if not rows.any():
        return np.ones(others.shape[:2], dtype=np.float32)
    prior = class_frequencies(given)
    mean = mean_vote(scores, scores.max(1) > 0)
    model = fit_noise(log_ratio(scores, mean)[rows], given[rows], prior)
    votes = distribution(log_ratio(others, mean), prior, model.sharpness)
    if sites is None:
        read = model.posterior(votes, given)
    else:
        own = distribution(log_ratio(scores, mean), prior, model.sharpness)
        shares = sites.shares(own, scores.max(1) > 0)
        matrices = sites.fitted(normalized(own * shares), given, rows, fold, model.transition)
        read = matrices.posterior(normalized(votes * shares[:, None]), given)
    share = np.einsum("nbc,nc->nb", read, given)
    return np.where(others.max(2) > 0, share, 1.0).astype(np.float32)


def quality_and_weight(samples: Samples, refined: Doubles, spoken: Bools) -> tuple[Doubles, Doubles]:
    """Return quality and weight, (N,) each in [0, 1], of refined distributions (N, C); see the method's docstring.

    With y a distribution, <y, r> cannot pass max_c y_c; quality is the share of that which is reached.
    """
    given = keep_given(samples)
    own = own_share(given, refined)
    entropy = -(refined * np.log(np.where(refined > 0, refined, 1.0))).sum(1)
    certainty = np.clip(1.0 - entropy / np.log(len(samples.classes)), 0.0, 1.0)
    quality = np.where(samples.labeled, np.where(spoken, own / given.max(1), 1.0), certainty)
    weight = np.where(samples.labeled, np.where(spoken, own / refined.max(1), own_share(given, given)), certainty)
    return np.clip(quality, 0, 1), np.clip(weight, 0, 1)


def labels_kept(refined: Doubles, given: Doubles, margin: float) -> Doubles:
    """Return refined distributions (N, C) in which a label gives way only to a class that leads it by `margin`.

    The label of a face is the most likely class of y (of several, the one of greatest r). A row whose most likely
    class leads it by less becomes (1 - a) r + a y with the least a that puts the label first. Unlabeled faces
    and rows whose most likely class is the label stay as they are.
    """
    if margin == 0:
        return refined
    top = given.max(1, keepdims=True)
    first = (given >= top) & (top > 0)
    label = np.where(first, refined, -1.0).max(1, keepdims=True)
    lead = refined - label
    held = (top[:, 0] > 0) & (lead.max(1) > 0) & (lead.max(1) < margin)
    close = ~first & (lead > -LEAST_LEAD)
    needed = np.where(close, (lead + LEAST_LEAD) / np.maximum(lead + top - given, LEAST_LEAD), 0.0)
    share = np.where(held, np.clip(needed.max(1), 0.0, 1.0), 0.0)[:, None]
    return (1 - share) * refined + share * given
