"""Which of several rankings finds the wrong labels best, and how sure that is: a paired bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..core.arrays import Bools, Doubles, Ints
from ..core.errors import InputError

#: Draws of the bootstrap.
DRAWS = 200
#: A method is behind the best where it falls short of it in more than this share of the draws.
CONFIDENCE = 0.95
#: Numbers in a block of draws.
BLOCK_SIZE = 4_000_000


#: Share of average precision in a score; the rest is the accuracy of the refined labels.
AP_SHARE = 2 / 3


@dataclass(frozen=True, eq=False)
class Standing:
    """How M methods stand; arrays in their order.

    Parameters
    ----------
    average_precision, accuracy : (M,) float64
        Means over the kinds of noise and the runs of each; accuracy NaN where nothing is known of it.
    score : (M,) float64
        What methods are ranked by: 2/3 average precision + 1/3 accuracy, or average precision alone.
    interval : (M, 2) float64
        Of the score: 2.5 % and 97.5 % of the draws.
    share_best : (M,) float64
        Share of the draws in which the method is best, draws without a single best one shared out evenly; sum 1.
    level : (M,) bool
        Whether the data cannot tell the method from the best one: it falls short of it in no more than 95 % of
        the draws. True for the best one itself.
    """

    average_precision: Doubles
    accuracy: Doubles
    score: Doubles
    interval: Doubles
    share_best: Doubles
    level: Bools

    @property
    def best(self) -> int:
        """Index of the method of the highest score (first of equals)."""
        return int(np.argmax(self.score))


def compare_methods(
    suspicion: ArrayLike,
    flipped: ArrayLike,
    noise: ArrayLike,
    group: ArrayLike,
    rng: np.random.Generator,
    *,
    right: ArrayLike | None = None,
    flip_weight: ArrayLike | None = None,
    draws: int = DRAWS,
) -> Standing:
    """Compare methods by how well they find and mend the same flipped labels.

    Each draw takes as many groups of faces as there are, and of each kind of noise as many runs as there are, with
    replacement and the same for every method; faces that share a group stay together, since their fates do.

    Parameters
    ----------
    suspicion : (M, R, L) float
        Of M methods in R runs about L labels; larger is more suspicious.
    flipped : (R, L) bool
    noise : (R,) int
        Number of the kind of noise of each run; kinds count alike, however many runs they have.
    group : (L,) int
        Number of each face's group, 0 .. G - 1.
    rng : Generator
    right : (M, R, L) bool, optional
        Whether the refined label is what the label was before the flips.
    flip_weight : (R,) float, optional
        Weight of a flip of a run in average precision, that of other labels being 1; 1 by default.
    draws : int >= 1

    Cost: O(M R L draws).
    """
    scores, hits = np.asarray(suspicion, dtype=np.float64), np.asarray(flipped, dtype=np.bool_)
    kinds, groups = np.asarray(noise, dtype=np.int64), np.asarray(group, dtype=np.int64)
    if scores.ndim != 3 or hits.shape != scores.shape[1:] or len(kinds) != len(hits) or len(groups) != hits.shape[1]:
        raise InputError(
            f"compare: suspicion has shape {scores.shape}, flipped {hits.shape}, noise {kinds.shape}, group "
            f"{groups.shape}; expected (M, R, L), (R, L), (R,) and (L,)."
        )
    heavy = np.ones(len(hits)) if flip_weight is None else np.asarray(flip_weight, dtype=np.float64)
    correct = None if right is None else np.asarray(right, dtype=np.float64)

    def measured(faces: Doubles, runs: Doubles) -> tuple[Doubles, Doubles, Doubles]:
        """Return average precision, accuracy and score under B weightings of faces (B, L) and runs (B, R), (M, B)."""
        area = np.einsum("mrb,br->mb", _per_run(scores, hits, heavy, faces), runs)
        if correct is None:
            return area, np.full(area.shape, np.nan), area
        share = np.einsum("mrl,bl,br->mb", correct, faces / faces.sum(1, keepdims=True), runs, optimize=True)
        return area, share, AP_SHARE * area + (1 - AP_SHARE) * share

    area, share, mean = (row[:, 0] for row in measured(np.ones((1, hits.shape[1])), _run_weights(kinds, None, 1)))
    weights = _run_weights(kinds, rng, draws)
    drawn = np.zeros((len(scores), draws))
    step = max(1, BLOCK_SIZE // hits.shape[1])
    for start in range(0, draws, step):
        block = slice(start, min(start + step, draws))
        faces = _group_counts(groups, rng, block.stop - block.start)
        drawn[:, block] = measured(faces, weights[block])[2]
    first = drawn >= drawn.max(0) - 1e-12
    short = (drawn < drawn[int(np.argmax(mean))] - 1e-12).mean(1)
    interval: Doubles = np.quantile(drawn, [0.025, 0.975], axis=1).T
    return Standing(area, share, mean, interval, (first / first.sum(0)).mean(1), short <= CONFIDENCE)


def weighted_average_precision(score: Doubles, positive: Bools, weights: Doubles) -> Doubles:
    """Return the average precision under each of B weightings of the rows, (B,); 0 where no positive has weight.

    As `metrics.average_precision`, a row of weight w counting as w equal rows.

    Parameters
    ----------
    score : (L,) float64
        Larger is more suspicious; equal scores enter together.
    positive : (L,) bool
    weights : (B, L) float64 >= 0
    """
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    taken = weights[:, order]
    found = np.cumsum(taken * positive[order], axis=1)[:, ends]
    seen = np.cumsum(taken, axis=1)[:, ends]
    precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
    total = found[:, -1]
    area = (np.diff(found, axis=1, prepend=0.0) * precision).sum(1)
    answer: Doubles = np.divide(area, total, out=np.zeros_like(total), where=total > 0)
    return answer


def _per_run(scores: Doubles, hits: Bools, heavy: Doubles, weights: Doubles) -> Doubles:
    """Return the average precision of each method, run and weighting (B, L) of the faces, (M, R, B)."""
    areas = np.zeros((*scores.shape[:2], len(weights)))
    for run, (found, weight) in enumerate(zip(hits, heavy, strict=True)):
        weighted = np.where(found, weight, 1.0) * weights
        for method, table in enumerate(scores):
            areas[method, run] = weighted_average_precision(table[run], found, weighted)
    return areas


def _run_weights(kinds: Ints, rng: np.random.Generator | None, draws: int) -> Doubles:
    """Return the weight of each run in each draw, (B, R): runs of a kind drawn anew, kinds alike; rows sum to 1."""
    weights = np.zeros((draws, len(kinds)))
    names = np.unique(kinds)
    for name in names:
        runs = np.flatnonzero(kinds == name)
        chance = np.full(len(runs), 1 / len(runs))
        counts = np.ones((draws, len(runs))) if rng is None else rng.multinomial(len(runs), chance, size=draws)
        weights[:, runs] = counts / (len(runs) * len(names))
    return weights


def _group_counts(groups: Ints, rng: np.random.Generator, draws: int) -> Doubles:
    """Return how often each face is in each draw, (B, L)."""
    count = int(groups.max()) + 1
    picks = rng.integers(count, size=(draws, count)) + count * np.arange(draws)[:, None]
    counts = np.bincount(picks.ravel(), minlength=draws * count).reshape(draws, count)
    return counts[:, groups].astype(np.float64)
