"""Judge a refined set against the truth: are the wrong labels found, and are the refined ones better?"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.arrays import Ints
from ..core.errors import InputError
from ..core.refined import RefinedSet
from ..datasets.truth import Truth
from .metrics import (
    FlagScores,
    accuracy,
    auroc,
    average_precision,
    calibration_error,
    confusion_matrix,
    flag_scores,
    jensen_shannon,
    mean_recall,
    per_class,
    precision_at,
    r_precision,
)

_LOG = logging.getLogger(__name__)

#: Judged faces from which on the truth is compared with chance.
COMPARED_FROM = 50
#: Votes that the top class must have for a face to be judged: a clear majority of FERPlus's ten.
MIN_VOTES = 6
#: Depth of the precision a reviewer sees first.
REVIEW_DEPTH = 100


@dataclass(frozen=True)
class ClassFigures:
    """Figures of the judged faces that were given one class; NaN where undefined.

    Parameters
    ----------
    name : str
    given : int
        Judged faces with this given label.
    wrong : int
        Those whose true class is another.
    auroc, average_precision, r_precision : float in [0, 1]
        Of finding the wrong ones by low quality.
    true : int
        Judged faces whose true class this is.
    given_recall, refined_recall : float in [0, 1]
        Share of them whose given label, and whose refined label, is this class.
    """

    name: str
    given: int
    wrong: int
    auroc: float
    average_precision: float
    r_precision: float
    true: int
    given_recall: float
    refined_recall: float


@dataclass(frozen=True)
class Evaluation:
    """How a refined set stands to the truth; figures in [0, 1], NaN where undefined.

    Detection (noise rate to flags, and the given figures) goes over judged faces that have a given label; the
    refined figures go over all judged faces.

    Parameters
    ----------
    faces, judged : int
        Faces in the set; those with a clear truth.
    labeled : int
        Judged faces with a given label.
    noise_rate : float
        Share of given labels that differ from the truth.
    auroc, average_precision, r_precision : float
        Of finding the wrong labels by low quality, pooled over classes.
    auroc_per_class : float
        Mean AUROC within each given class that holds both wrong and right labels.
    given_accuracy, refined_accuracy : float
    js_given, js_refined : float
        Mean Jensen-Shannon divergence from the true distribution, in bits.
    flags : FlagScores
    precision_at_review : float
        Share of wrong labels among the 100 of lowest quality.
    given_mean_recall, refined_mean_recall : float
        Mean over true classes of the share with that label.
    quality_calibration, refined_calibration : float
        Expected calibration error of `quality` as the chance that the given label is right, and of the
        largest entry of the distribution as the chance that the refined one is.
    per_class : tuple of ClassFigures
    min_votes : float or None
        None where the truth is clean labels.
    """

    faces: int
    judged: int
    labeled: int
    noise_rate: float
    auroc: float
    auroc_per_class: float
    average_precision: float
    r_precision: float
    given_accuracy: float
    refined_accuracy: float
    js_given: float
    js_refined: float
    flags: FlagScores
    precision_at_review: float
    given_mean_recall: float
    refined_mean_recall: float
    quality_calibration: float
    refined_calibration: float
    per_class: tuple[ClassFigures, ...]
    min_votes: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the main figures as JSON types; null (None) where undefined."""
        return {
            "faces": self.faces,
            "judged": self.judged,
            "noise_rate": _plain(self.noise_rate),
            "auroc": _plain(self.auroc),
            "auroc_per_class": _plain(self.auroc_per_class),
            "average_precision": _plain(self.average_precision),
            "r_precision": _plain(self.r_precision),
            "given_accuracy": _plain(self.given_accuracy),
            "refined_accuracy": _plain(self.refined_accuracy),
            "js_given": _plain(self.js_given),
            "js_refined": _plain(self.js_refined),
            "flags": {name: _plain(value) for name, value in self.flags._asdict().items()},
        }

    def details(self) -> dict[str, Any]:
        """Return the further figures as JSON types: mean recall, calibration, a table of the classes."""
        return {
            "labeled": self.labeled,
            "min_votes": self.min_votes,
            f"precision_at_{REVIEW_DEPTH}": _plain(self.precision_at_review),
            "given_mean_recall": _plain(self.given_mean_recall),
            "refined_mean_recall": _plain(self.refined_mean_recall),
            "quality_calibration": _plain(self.quality_calibration),
            "refined_calibration": _plain(self.refined_calibration),
            "classes": [
                {name: _plain(value) if isinstance(value, float) else value for name, value in vars(row).items()}
                for row in self.per_class
            ],
        }


def evaluate(refined: RefinedSet, truth: Truth, *, min_votes: float = MIN_VOTES) -> Evaluation:
    """Judge a refined set against votes or clean labels.

    A face is judged where the truth has a label for it, with at least `min_votes` votes if it is voted; a
    given label is wrong where its class differs from the true one; the score of a face is 1 - quality.

    Parameters
    ----------
    refined : RefinedSet
    truth : Truth
        Over the same classes in the same order (`read_truth(file, refined.classes)`); faces are matched by id
        or path, see `Truth.rows_of`.
    min_votes : float
        Votes for the top class, not counting the others; plays no part for clean labels.

    Raises
    ------
    InputError
        No face is in both, none has a clear truth, or the classes differ.
    """
    if not isinstance(truth, Truth) or not isinstance(refined, RefinedSet):
        raise InputError(
            f"evaluate takes a RefinedSet (fercleaner.load) and a Truth (fercleaner.read_truth), in this order; it was "
            f"given a {type(refined).__name__} and a {type(truth).__name__}."
        )
    if truth.classes != refined.classes:
        raise InputError(
            f"The truth is over the classes {', '.join(truth.classes)}, the refined set over "
            f"{', '.join(refined.classes)}. Read it with read_truth(file, refined.classes)."
        )
    rows = truth.rows_of(refined.ids, refined.paths)
    judged = (rows >= 0) & truth.judged(min_votes)[rows]
    if not judged.any():
        raise InputError(_nothing_judged(truth, min_votes, int((rows >= 0).sum())))
    c = len(refined.classes)
    rows = rows[judged]
    true, target = truth.label[rows], truth.distribution[rows]
    labeled = refined.labeled[judged]
    given, label = refined.given_label[judged][labeled], refined.label[judged]
    distribution = refined.distribution[judged].astype(np.float64)
    quality = refined.quality[judged][labeled].astype(np.float64)
    score, wrong = 1.0 - quality, given != true[labeled]
    _warn_of_chance(true, label, c)
    by_class = per_class(auroc, score, wrong, given, c)
    known = by_class[~np.isnan(by_class)]
    given_distribution = refined.given[judged][labeled].astype(np.float64)
    return Evaluation(
        faces=len(refined),
        judged=len(rows),
        labeled=int(labeled.sum()),
        noise_rate=_mean(wrong),
        auroc=auroc(score, wrong),
        auroc_per_class=_mean(known),
        average_precision=average_precision(score, wrong),
        r_precision=r_precision(score, wrong),
        given_accuracy=accuracy(given, true[labeled]),
        refined_accuracy=accuracy(label, true),
        js_given=_mean(jensen_shannon(given_distribution, target[labeled])),
        js_refined=_mean(jensen_shannon(distribution, target)),
        flags=flag_scores(refined.flagged[judged][labeled], wrong),
        precision_at_review=precision_at(REVIEW_DEPTH, score, wrong),
        given_mean_recall=mean_recall(given, true[labeled], c),
        refined_mean_recall=mean_recall(label, true, c),
        quality_calibration=calibration_error(quality, ~wrong),
        refined_calibration=calibration_error(np.minimum(distribution.max(1), 1.0), label == true),
        per_class=_class_figures(refined.classes, score, wrong, given, true, labeled, label),
        min_votes=None if truth.votes is None else min_votes,
    )


def _class_figures(
    classes: tuple[str, ...], score: Any, wrong: Any, given: Any, true: Any, labeled: Any, label: Any
) -> tuple[ClassFigures, ...]:
    c = len(classes)
    figures = [per_class(measure, score, wrong, given, c) for measure in (auroc, average_precision, r_precision)]
    given_counts = confusion_matrix(true[labeled], given, c)
    refined_counts = confusion_matrix(true, label, c)
    return tuple(
        ClassFigures(
            name=name,
            given=int(given_counts[:, i].sum()),
            wrong=int(given_counts[:, i].sum() - given_counts[i, i]),
            auroc=float(figures[0][i]),
            average_precision=float(figures[1][i]),
            r_precision=float(figures[2][i]),
            true=int(refined_counts[i].sum()),
            given_recall=_ratio(int(given_counts[i, i]), int(given_counts[i].sum())),
            refined_recall=_ratio(int(refined_counts[i, i]), int(refined_counts[i].sum())),
        )
        for i, name in enumerate(classes)
    )


def _warn_of_chance(true: Ints, label: Ints, c: int) -> None:
    """Say so where refined labels (M,) agree with the true ones (M,) no more than chance: within two deviations."""
    if len(true) < COMPARED_FROM:
        return
    agree = float((true == label).mean())
    chance = float(np.bincount(true, minlength=c) @ np.bincount(label, minlength=c)) / len(true) ** 2
    if chance < 1 and agree <= chance + 2 * math.sqrt(chance * (1 - chance) / len(true)):
        _LOG.warning(
            "The truth agrees with %.0f %% of the refined labels; chance alone gives %.0f %%. Is it of this set, row "
            "by row, and of these classes?",
            100 * agree,
            100 * chance,
        )


def _nothing_judged(truth: Truth, min_votes: float, matched: int) -> str:
    if truth.votes is None:
        return f"{truth.source}: none of the {matched:,} matched faces has a clean label. Fill the label column."
    highest = float(truth.top[truth.label >= 0].max(initial=0.0))
    return (
        f"{truth.source}: none of the {matched:,} matched faces has a class with at least {min_votes:g} "
        f"votes (the highest count is {highest:g}). Lower --min-votes."
    )


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
