"""DNFER: a label is trusted where its posterior reaches its class's average, in the whole set or over mini-batches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

import numpy as np

from ..core.arrays import Bools, Doubles
from ..core.errors import InputError
from ..core.evidence import Evidence
from ..core.types import Posteriors, Refinement
from ..noise.estimate import held_wrong
from .base import keep_given, own_class, own_share, parameters, require

Rank: TypeAlias = Literal["margin", "threshold"]

#: Posteriors are float32: this much below the threshold is still a tie, and ties are kept.
TIE = 1e-7
#: How far a kept label is put ahead of the next class in the refined distribution.
LEAD = 0.01


@dataclass(frozen=True)
class Threshold:
    """Keep labels whose posterior reaches the class average; give the others their posterior.

    With P_i the out-of-fold posterior of face i, y its given label, mu_c and s_c the mean and unbiased standard
    deviation of column c of P over the labeled faces (over the mini-batch, in training),

        keep_i = [ P_i,y >= mu_y ]                              (ties kept)
        w_i    = Phi( (P_i,y - mu_y) sqrt(B - 1) / s_y )        (how often kept in random batches of B faces)
        q_i    = P_i^g / sum_c P_i,c^g                          (the sharpened posterior)
        r_i    = (1 - a_i) y_i + a_i q_i  where kept,  q_i  where dropped.

    a_i is `blend`, or less where the kept label would not stay the likeliest class. A given distribution y takes
    sums over its classes, such as <y, mu>; where several of them lead, the one of greatest P_i is the label. An
    unlabeled face gets q_i, with its largest entry as weight. A face without posterior keeps its given label with
    weight 1 (uniform, weight 0, where unlabeled).

    With a second posterior for mirrored or augmented pictures (`view`; `--posteriors mirror` makes one), each of the
    two has its own thresholds, w_i is the mean of both, a label is kept if the mean posterior reaches the mean
    threshold, and the symmetric divergence of the two in bits is evidence of ambiguity.

    Quality, by which faces are ranked, is (1 + P_i,y - max over other c of P_i,c) / 2: the normalized margin of
    confident learning (Northcutt et al., JAIR 2021; cleanlab), not DNFER's. With `rank` "threshold" it is DNFER's own,
    (1 + P_i,y - mu_y) / 2, which the vote w_i rises with but saturates at 0 and 1. For an unlabeled face the likeliest
    class stands for y. Flagged: dropped, and another class is likelier.

    Parameters
    ----------
    batch : int >= 0
        B of the vote; 0 means the whole set (B to infinity): weights are then 0 or 1.
    sharpen : float > 0
        g. A probe trained on noisy labels is flatter than annotators' votes; 1.5 came closest to them.
    blend : float in [0, 1]
        Largest share of the posterior in a kept label.
    firm : bool
        Whether a kept label stays the likeliest class, as in the paper. Without it the refined labels of
        FER2013 agree with its ten annotators more often, and kept faces can change.
    rank : {"margin", "threshold"}
        What quality is; see above.
    posterior, view : str
        Which posteriors to use; where `posterior` is absent, the first other name in alphabetical order.

    Source
    ------
    Gera, Badveeti, Raj Kumar and Balasubramanian, Dynamic Adaptive Threshold based Learning for Noisy
    Annotations Robust Facial Expression Recognition, arXiv 2208.10221, MTAP 2023; its released code. Differs
    from it in: whole-set statistics in place of one batch's; the vote in closed form; the weight of unlabeled
    faces, quality and r_i are ours, the paper drops a face and relabels none.

    Examples
    --------
    >>> P = np.array([[.70, .20, .10], [.30, .60, .10], [.25, .25, .50], [.55, .05, .40]])
    >>> kept_labels(P, np.eye(3)[[0, 0, 2, 1]]).tolist()
    [True, False, True, False]
    """

    name: ClassVar[str] = "threshold"
    paper: ClassVar[str] = "DNFER (Gera et al., arXiv 2208.10221)"
    needs: ClassVar[frozenset[str]] = frozenset({"posteriors"})
    optional: ClassVar[frozenset[str]] = frozenset()

    batch: int = 128
    sharpen: float = 1.5
    blend: float = 0.7
    firm: bool = True
    rank: Rank = "margin"
    posterior: str = "probe"
    view: str = "mirror"

    def __post_init__(self) -> None:
        if self.batch < 0 or self.batch == 1:
            raise InputError(f"threshold: batch is {self.batch}; expected 0 (the whole set) or at least 2.")
        if self.rank not in get_args(Rank):
            raise InputError(f"threshold: rank is '{self.rank}'; choose margin or threshold.")
        if not 0 < self.sharpen < np.inf:
            raise InputError(f"threshold: sharpen is {self.sharpen}; expected a number above 0.")
        if not 0 <= self.blend <= 1:
            raise InputError(f"threshold: blend is {self.blend}; expected 0 to 1.")

    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        """Return the refined labels; `rng` is not used."""
        require(evidence, self)
        samples = evidence.samples
        first = choose_posteriors(evidence, self.posterior, self.view)
        second = evidence.posteriors.get(self.view)
        views = [first] if second is None or second is first else [first, second]
        given = keep_given(samples)
        found = np.logical_and.reduce([p.found for p in views])
        tables = [p.values.astype(np.float64) for p in views]
        judged = found & samples.labeled
        posterior = np.mean(tables, axis=0)
        kept = np.ones(len(samples), dtype=np.bool_)
        weight = samples.labeled.astype(np.float64)
        if judged.any():
            kept[judged] = kept_labels(posterior[judged], given[judged])
            votes = [selection_rate(p[judged], given[judged], self.batch) for p in tables]
            weight[judged] = np.mean(votes, axis=0)
        alone = found & ~samples.labeled
        weight[alone] = posterior[alone].max(1)

        sharp = given.copy()
        powered = (posterior[found] / posterior[found].max(1, keepdims=True)) ** self.sharpen
        sharp[found] = powered / powered.sum(1, keepdims=True)
        share = np.full(len(samples), self.blend)
        if self.firm:
            share = np.minimum(share, share_that_keeps(given, sharp))
        share = np.where(kept & samples.labeled, share, 1.0)[:, None]
        distribution = (1.0 - share) * given + share * sharp

        target = np.where(samples.labeled[:, None], given, np.eye(len(samples.classes))[posterior.argmax(1)])
        mean = posterior[judged].mean(0) if judged.any() else np.zeros(posterior.shape[1])
        if self.rank == "margin":
            score = relative_margin(target, posterior)
        else:
            score = np.clip((1.0 + own_share(target, posterior) - target @ mean) / 2.0, 0.0, 1.0)
        quality = np.where(found, score, samples.labeled.astype(np.float64))
        threshold = np.full(len(samples), np.nan)
        if judged.any():
            threshold[judged] = given[judged] @ mean
        own = np.where(judged, own_share(given, posterior), np.nan)
        numbers = {"posterior_given": own, "class_threshold": threshold, "kept": np.where(judged, kept, np.nan)}
        if len(views) == 2:
            numbers["view_divergence_bits"] = np.where(found, consistency(tables[0], tables[1]), np.nan)
        return Refinement(
            ids=samples.ids,
            classes=samples.classes,
            distribution=distribution.astype(np.float32),
            weight=np.clip(weight, 0.0, 1.0).astype(np.float32),
            quality=quality.astype(np.float32),
            flagged=judged & ~kept & held_wrong(given, distribution),
            method=self.name,
            params=parameters(self),
            evidence={name: values.astype(np.float32) for name, values in numbers.items()},
        )


def kept_labels(posterior: Doubles, given: Doubles) -> Bools:
    """Return which labels DNFER keeps: <y_i, P_i> >= <y_i, mean_j P_j>, (N,) bool; ties are kept.

    Parameters
    ----------
    posterior, given : (N, C) float64
        Distributions; each row of the batch counts for every class's mean.
    """
    kept: Bools = own_share(given, posterior) >= given @ posterior.mean(0) - TIE
    return kept


def selection_rate(posterior: Doubles, given: Doubles, batch: int) -> Doubles:
    """Return in which share of random mini-batches a label is kept, (N,) in [0, 1].

    The closed form Phi((P_y - mu_y) sqrt(B - 1) / s_y): the face itself cancels out of its batch's mean, the
    other B - 1 are drawn from the set. `batch` 0 gives `kept_labels` as 0 and 1; so does a column without spread.
    """
    gap = own_share(given, posterior) - given @ posterior.mean(0)
    hard: Doubles = (gap >= -TIE).astype(np.float64)
    if batch == 0 or len(posterior) < 2:
        return hard
    spread = given @ posterior.std(0, ddof=1)
    moves = spread > TIE
    return np.where(moves, normal_below(gap * np.sqrt(batch - 1.0) / np.where(moves, spread, 1.0)), hard)


def normal_below(z: Doubles) -> Doubles:
    """Return Phi(z), the share of a normal distribution below z (N,); `scipy.special.ndtr` without loading scipy."""
    return 0.5 * np.fromiter(map(math.erfc, (z * -math.sqrt(0.5)).tolist()), dtype=np.float64, count=len(z))


def consistency(first: Doubles, second: Doubles) -> Doubles:
    """Return KL(p || p') + KL(p' || p) in bits of each pair of rows, (N,) >= 0."""
    p, q = np.clip(first, 1e-8, None), np.clip(second, 1e-8, None)
    divergence: Doubles = ((p - q) * (np.log2(p) - np.log2(q))).sum(1)
    return divergence


def choose_posteriors(evidence: Evidence, name: str, view: str) -> Posteriors:
    """Return the posteriors called `name`, else the first other than `view` in alphabetical order."""
    names = sorted(set(evidence.posteriors) - {view}) or sorted(evidence.posteriors)
    return evidence.posteriors[name if name in evidence.posteriors else names[0]]


def relative_margin(given: Doubles, posterior: Doubles) -> Doubles:
    """Return (1 + P_y - max over other c of P_c) / 2, (N,) in [0, 1], y the `own_class` of `given`."""
    rows, label = np.arange(len(given)), own_class(given, posterior)
    others = posterior.copy()
    others[rows, label] = -np.inf
    margin: Doubles = np.clip((1.0 + posterior[rows, label] - others.max(1)) / 2.0, 0.0, 1.0)
    return margin


def share_that_keeps(given: Doubles, other: Doubles) -> Doubles:
    """Return the largest a at which (1 - a) given + a other has its given label ahead by LEAD, (N,) in [0, 1]."""
    rows, label = np.arange(len(given)), own_class(given, other)
    lead = given[rows, label][:, None] - given
    lag = other - other[rows, label][:, None]
    wanted = np.minimum(lead, LEAD)
    short = lead + lag
    limit = np.where(short > 0, (lead - wanted) / np.where(short > 0, short, 1.0), 1.0)
    limit[rows, label] = 1.0
    share: Doubles = np.clip(limit.min(1), 0.0, 1.0)
    return share
