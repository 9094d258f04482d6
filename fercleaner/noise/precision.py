"""Flags at a precision that the user names, checked on labels of the same set flipped on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.arrays import Bools, Doubles, Floats, Ints
from ..core.errors import InputError
from ..core.types import Refinement, Samples
from .estimate import expected_joint, held_wrong
from .flip_curve import chances, fit_slope

#: Share of the labels flipped in a check: enough to count, few enough to leave the set nearly what it is.
FLIP_SHARE = 0.05
#: Flips wanted over all checks, and the most checks run for them, which small sets need.
FLIPS_WANTED, MOST_RUNS = 200, 5
#: Qualities are held above this where they are chances, so that a set without any quality can be checked too.
LEAST_CHANCE = 1e-9
#: A threshold that fewer flips lie below has no estimate.
LEAST_CAUGHT = 10
#: Recall of the flips from which on the number of the flagged bounds the noise rate.
RECALLED = 0.7
#: Labels added to each class's row of the transition matrix, spread as the labels are.
SPREAD_LABELS = 0.5


@dataclass(frozen=True, eq=False)
class Flipped:
    """A set with some labels flipped on purpose.

    Parameters
    ----------
    samples : Samples
        The same faces under the changed labels.
    flipped : (N,) bool
    """

    samples: Samples
    flipped: Bools


@dataclass(frozen=True, eq=False)
class PrecisionCurve:
    """Estimated precision and recall of flagging the labels up to each quality; arrays by rising threshold.

    Parameters
    ----------
    threshold : (M,) float64
        Distinct qualities of labeled faces; labels of that quality or less are flagged.
    precision : (M,) float64
        Estimated share of the flagged that is wrong, non-increasing; NaN where too few flips tell.
    recall : (M,) float64
        Share of the flips that would be flagged.
    """

    threshold: Doubles
    precision: Doubles
    recall: Doubles


@dataclass(frozen=True, eq=False)
class Calibration:
    """Flags at an estimated precision.

    Parameters
    ----------
    flagged : (N,) bool
    wanted : float
        Precision asked for.
    estimated : float or None
        Estimated precision of the flags; None where no threshold reaches `wanted` and nothing is flagged.
    recall : float or None
        Share of the flips that the threshold catches: the expected recall of the flags.
    threshold : float or None
        Labels of this quality or less are flagged.
    highest : float or None
        Highest precision that any threshold reaches; None where too few flips tell.
    noise_rate : float
        Share of wrong labels that the estimate goes by.
    flips, runs : int
        Labels flipped on purpose, and runs they were spread over.
    """

    flagged: Bools
    wanted: float
    estimated: float | None
    recall: float | None
    threshold: float | None
    highest: float | None
    noise_rate: float
    flips: int
    runs: int

    def to_dict(self) -> dict[str, Any]:
        """Return all but the flags, as JSON types."""
        names = ("wanted", "estimated", "recall", "threshold", "highest", "noise_rate", "flips", "runs")
        return {name: getattr(self, name) for name in names}

    @property
    def sentence(self) -> str:
        """What to tell the user."""
        checked = f"checked on {self.flips:,} labels flipped on purpose"
        if self.estimated is not None:
            return (
                f"Precision: flagged labels of quality {self.threshold:.4g} or less; expected to be wrong: "
                f"{100 * self.estimated:.0f} % of them ({100 * self.wanted:g} % wanted), {checked}, of which "
                f"{100 * (self.recall or 0):.0f} % would be flagged. An estimate: right labels of faces that the "
                "evidence misreads pass for wrong ones and make it too high."
            )
        if self.highest is None:
            return f"Precision: nothing is flagged; too few of the flips are found to estimate it ({checked})."
        return (
            f"Precision: nothing is flagged; no threshold is expected to reach {100 * self.wanted:g} %, the highest "
            f"is {100 * self.highest:.0f} % ({checked}). Ask for less, or add evidence."
        )


def check_precision(wanted: float | None) -> None:
    """Raise InputError unless the precision is None or lies strictly between 0 and 1."""
    if wanted is not None and (isinstance(wanted, str) or not 0 < wanted < 1):
        raise InputError(f"precision is {wanted!r}; expected a share above 0 and below 1, such as 0.8.")


def flip_runs(samples: Samples) -> int:
    """Return how many checks give about `FLIPS_WANTED` flips, at most `MOST_RUNS`."""
    each = max(1, round(FLIP_SHARE * int(samples.labeled.sum())))
    return min(MOST_RUNS, -(-FLIPS_WANTED // each))


def flipped(samples: Samples, refinement: Refinement, rng: np.random.Generator, share: float = FLIP_SHARE) -> Flipped:
    """Flip a share of the given labels as the set's own labels seem to have been.

    Faces are drawn without replacement with chances in proportion to their quality, so that mostly right labels
    are flipped; the new class d of a face of class c with chance in proportion to

        J[c, d] + pi_d / 2,    d != c,

    J the expected joint counts of true and given classes (`noise_estimate.expected_joint`), pi the frequencies of
    the given labels. Draws go by id, so the order of the rows does not matter. Where the largest given shares tie, c is
    drawn among their classes, each as likely: the first of them would depend on the order of the classes.

    Parameters
    ----------
    samples : Samples
        At least one labeled face.
    refinement : Refinement
        Of these samples by the method that is checked.
    rng : Generator
    share : float in (0, 1]
        Of the labeled faces; at least one is flipped.
    """
    order = samples.by_id
    rows = order[samples.labeled[order]]
    chance = np.maximum(refinement.quality[rows].astype(np.float64), LEAST_CHANCE)
    keys = rng.exponential(size=len(rows)) / chance
    chosen = np.argsort(keys, kind="stable")[: max(1, round(share * len(rows)))]
    given = samples.given[rows].astype(np.float64)
    joint = expected_joint(given, refinement.distribution[rows]) + SPREAD_LABELS * given.mean(0)
    np.fill_diagonal(joint, 0.0)
    idle = joint.sum(1) == 0  # a class from which nothing goes anywhere: all others alike
    joint[idle] = 1.0 - np.eye(len(joint))[idle]
    label = samples.label
    label[rows[chosen]] = _one_of_the_largest(samples.given[rows[chosen]], rng)
    edges = np.cumsum(joint[label[rows[chosen]]], axis=1)
    picks = rng.random((len(chosen), 1)) * edges[:, -1:]
    labels = label.copy()
    labels[rows[chosen]] = (picks >= edges).sum(1)
    changed = with_labels(samples, labels, label)
    # between classes on which annotators tie there is nothing to flip
    return Flipped(changed, np.asarray((changed.given != samples.given).any(1)))


def _one_of_the_largest(given: Floats, rng: np.random.Generator) -> Ints:
    """Return a class of the largest share in each row, (K,) int64; random numbers are drawn for rows that tie alone."""
    largest = given == given.max(1, keepdims=True)
    label: Ints = largest.argmax(1)
    tied = np.flatnonzero(largest.sum(1) > 1)
    if len(tied):
        label[tied] = np.where(largest[tied], rng.random((len(tied), given.shape[1])), -1.0).argmax(1)
    return label


def with_labels(samples: Samples, labels: Ints, label: Ints | None = None) -> Samples:
    """Return `samples` with the given label of each face moved to the class in `labels` (N,), -1 left alone.

    A given distribution stays as soft as it is: its largest share and that of the new class change places. Where
    several are largest, `label` (N,) says which of them moves; by default the first.
    """
    given: Floats = samples.given.copy()
    label = samples.label if label is None else label
    rows = np.flatnonzero((labels >= 0) & (labels != label) & samples.labeled)
    old, new = label[rows], labels[rows]
    given[rows, old], given[rows, new] = samples.given[rows, new], samples.given[rows, old]
    return samples.replacing(given=given)


def doubt(samples: Samples, refinement: Refinement) -> Doubles:
    """Return 1 - sum_c min(y_c, r_c) of every face, (N,): the refined chance that a single label is wrong."""
    overlap: Doubles = np.minimum(samples.given, refinement.distribution).sum(1, dtype=np.float64)
    return np.clip(1.0 - overlap, 0.0, 1.0)


def most_wrong(samples: Samples, refinement: Refinement) -> float:
    """Return the share of the labels that the method holds to be wrong, at most its mean `doubt`.

    A label is held to be wrong where the refined distribution puts another class first (`noise_estimate.held_wrong`).
    The mean doubt alone counts ambiguous faces as so many wrong labels, though their labels be right.
    """
    rows = samples.labeled
    held = held_wrong(samples.given[rows], refinement.distribution[rows])
    return float(min(held.mean(), doubt(samples, refinement)[rows].mean()))


def depths(others: Doubles, flips: Doubles) -> Doubles:
    """Return for each flip the share of `others` of lower quality, equal ones counting half; 1/2 without others."""
    if not len(others):
        return np.full(len(flips), 0.5)
    ranked = np.sort(others)
    below = np.searchsorted(ranked, flips, side="left") + np.searchsorted(ranked, flips, side="right")
    return np.asarray(below / (2.0 * len(ranked)))


def flip_depths_of(change: Flipped, again: Refinement) -> Doubles:
    """Return the `depths` of the flipped labels among the other labels, by the quality that `again` gives them."""
    quality, others = again.quality.astype(np.float64), change.samples.labeled & ~change.flipped
    return depths(quality[others], quality[change.flipped])


def noise_rate(quality: Doubles, most: float, flip_depths: Doubles) -> float:
    """Return the share of wrong labels that flips let expect.

    With F(t) the share of the labels of quality t or less, and F1(t) the share of the flips whose depth is F(t) or
    less (they would be among as many flagged),

        pi = min( most,  min of F(t) / F1(t) over F1(t) >= 0.7 )

    The second bound says that the flagged hold at least the wrong ones among them. Depths, not qualities, are
    compared, because a method's qualities shift as a set grows noisier.

    Parameters
    ----------
    quality : (L,) float64
        Of the labeled faces under the given labels.
    most : float in [0, 1]
        Share of these labels that the method holds to be wrong (`most_wrong`).
    flip_depths : (K,) float64
        `depths` of the flips among the labels that were not flipped, all runs together.
    """
    _, depth, caught = _caught(quality, flip_depths)
    recall = caught / max(1, len(flip_depths))
    bounding = recall >= RECALLED
    return float(min(most, (depth[bounding] / recall[bounding]).min())) if bounding.any() else most


def precision_curve(quality: Doubles, rate: float, flip_depths: Doubles, slope: float) -> PrecisionCurve:
    """Estimate the precision of flagging the labels up to each quality: the mean of their `chances`.

    What it was worth against known truths stands in the manual (`benchmarks/precision.py`, results/precision.json).

    It errs on the safe side where wrong labels are harder to find than flips (FER2013's own): more could be flagged.
    It is too high for `hypergraph` on injected noise on faces, where it overrules more labels than are wrong, and
    wherever evidence is weak and few labels are wrong: right labels of faces that the evidence misreads rank like wrong
    ones. Nothing but a truth tells them apart. For the same reason a few labels of a set without any mistake are
    flagged.

    Parameters
    ----------
    quality : (L,) float64
        Of the labeled faces under the given labels.
    rate : float in [0, 1]
        Share of these labels that is wrong (`noise_rate`).
    flip_depths : (K,) float64
        As in `noise_rate`.
    slope : float >= 0
        Of `fit_slope`.
    """
    threshold, _, caught = _caught(quality, flip_depths)
    ranked = np.sort(quality)
    total = np.cumsum(chances(ranked, slope, rate))
    count = np.searchsorted(ranked, threshold, side="right")
    precision = np.where(caught >= LEAST_CAUGHT, np.minimum(total[count - 1] / count, 1.0), np.nan)
    return PrecisionCurve(threshold, precision, caught / max(1, len(flip_depths)))


def _caught(quality: Doubles, flip_depths: Doubles) -> tuple[Doubles, Doubles, Ints]:
    """Return distinct qualities, the share of labels up to each, and how many flips would be among as many."""
    threshold, count = np.unique(quality, return_counts=True)
    depth = np.cumsum(count) / len(quality)
    return threshold, depth, np.searchsorted(np.sort(flip_depths), depth + 1e-12, side="right")


def calibrated(
    wanted: float, samples: Samples, first: Refinement, checks: Sequence[tuple[Flipped, Refinement]]
) -> Calibration:
    """Return the largest set of flags whose estimated precision (`precision_curve`) is at least `wanted`.

    Labels of equal quality are flagged together or not at all, a label of quality 1 (nothing speaks against it)
    never.

    Parameters
    ----------
    wanted : float in (0, 1)
    samples : Samples
    first : Refinement
        Of the given labels.
    checks : sequence of (Flipped, Refinement)
        Of the same method, on labels flipped on purpose (`flipped`).
    """
    check_precision(wanted)
    labeled = samples.labeled
    quality = first.quality.astype(np.float64)
    flip_depths = np.concatenate([flip_depths_of(change, again) for change, again in checks])
    rate = noise_rate(quality[labeled], most_wrong(samples, first), flip_depths)
    others = np.concatenate([again.quality[labeled & ~change.flipped] for change, again in checks])
    flips = np.concatenate([again.quality[change.flipped] for change, again in checks])
    slope = fit_slope(others.astype(np.float64), flips.astype(np.float64), rate)
    curve = precision_curve(quality[labeled], rate, flip_depths, slope)
    usable = (curve.threshold < 1) & ~np.isnan(curve.precision)
    reached = np.flatnonzero(usable & (curve.precision >= wanted))
    cut = int(reached[-1]) if len(reached) else None
    return Calibration(
        flagged=labeled & (quality <= curve.threshold[cut]) if cut is not None else np.zeros(len(samples), np.bool_),
        wanted=float(wanted),
        estimated=None if cut is None else float(curve.precision[cut]),
        recall=None if cut is None else float(curve.recall[cut]),
        threshold=None if cut is None else float(curve.threshold[cut]),
        highest=float(curve.precision[usable].max()) if usable.any() else None,
        noise_rate=rate,
        flips=len(flip_depths),
        runs=len(checks),
    )
