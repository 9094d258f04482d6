"""Figures of a verdict against the truth and of a classifier, and their mean and spread over seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
from peers.base import Verdict

from fercleaner.core.arrays import Bools, Doubles, Ints
from fercleaner.evaluation.metrics import (
    accuracy,
    auroc,
    average_precision,
    calibration_error,
    flag_scores,
    jensen_shannon,
    mean_recall,
    per_class,
    precision_at,
    r_precision,
)

#: Faces that a reviewer looks at first.
REVIEWED = 100


def figures(
    verdict: Verdict, given: Ints, label: Ints, votes: Doubles | None, judged: Bools, classes: tuple[str, ...]
) -> dict[str, Any]:
    """Return the figures of `verdict` over the `judged` faces; those that it has no say on are None.

    Parameters
    ----------
    given, label : (N,) int64
        Given and true class.
    votes : (N, C), optional
        Distribution of votes, for the Jensen-Shannon divergence (bits) and the cosine.
    judged : (N,) bool
    """
    given, label = given[judged], label[judged]
    wrong = given != label
    score = verdict.suspicion[judged]
    c = len(classes)
    inside = [per_class(measure, score, wrong, given, c) for measure in (auroc, average_precision)]
    answer: dict[str, Any] = {
        "auroc": auroc(score, wrong),
        "average_precision": average_precision(score, wrong),
        "auroc_per_class": _mean(inside[0]),
        "r_precision": r_precision(score, wrong),
        f"precision_at_{REVIEWED}": precision_at(REVIEWED, score, wrong),
        "per_class": {
            name: {"auroc": float(inside[0][i]), "average_precision": float(inside[1][i])}
            for i, name in enumerate(classes)
        },
        **dict.fromkeys(("flag_f1", "flag_precision", "flag_recall", "flag_calibration_gap", "refined_accuracy"), None),
        **dict.fromkeys(("refined_mean_recall", "js", "cosine"), None),
    }
    if verdict.flagged is not None:
        flags = flag_scores(verdict.flagged[judged], wrong)
        answer |= {"flag_f1": flags.f1, "flag_precision": flags.precision, "flag_recall": flags.recall}
        flagged = verdict.flagged[judged]
        if flagged.any() and score.min() >= 0 and score.max() <= 1:
            # mean suspicion of the flagged less the share of them that is wrong: above 0 is overconfident
            answer["flag_calibration_gap"] = float(score[flagged].mean()) - flags.precision
    if verdict.label is not None:
        refined = verdict.label[judged]
        answer |= {
            "refined_accuracy": accuracy(refined, label),
            "refined_mean_recall": mean_recall(refined, label, c),
        }
    if verdict.distribution is not None and votes is not None:
        p, q = verdict.distribution[judged].astype(np.float64), votes[judged]
        cosine = (p * q).sum(1) / np.maximum(np.linalg.norm(p, axis=1) * np.linalg.norm(q, axis=1), 1e-12)
        answer |= {"js": float(jensen_shannon(p, q).mean()), "cosine": float(cosine.mean())}
    return answer


def measures(probability: Doubles, label: Ints) -> dict[str, float]:
    """Return accuracy, mean recall and calibration error of class probabilities (M, C)."""
    guess = probability.argmax(1)
    return {
        "accuracy": accuracy(guess, label),
        "mean_recall": mean_recall(guess, label, probability.shape[1]),
        "calibration_error": calibration_error(np.minimum(probability.max(1), 1.0), guess == label),
    }


def over_seeds(runs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return mean and standard deviation (n - 1; 0 for one seed) of every plain figure over runs of one tool."""
    answer: dict[str, dict[str, Any]] = {}
    for name, first in runs[0].items():
        if isinstance(first, dict):
            continue
        values = np.array([np.nan if run[name] is None else run[name] for run in runs], dtype=np.float64)
        known = values[~np.isnan(values)]
        answer[name] = {
            "mean": float(known.mean()) if len(known) else None,
            "spread": float(known.std(ddof=1)) if len(known) > 1 else 0.0,
            "runs": len(known),
        }
    return answer


def _mean(values: Doubles) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
