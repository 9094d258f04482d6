"""How well labels are judged and refined: ranking, flags, distributions, calibration.

Everywhere `positive` (N,) bool says which labels truly are wrong and `score` (N,) is larger for the more
suspicious ones. A figure that does not exist (no wrong label, or no right one) is NaN, never 0 or 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.arrays import Bools, Doubles, Ints
from ..core.errors import InputError

#: A figure of a ranking: (score (N,), positive (N,)) to one number.
RankingMeasure: TypeAlias = Callable[[ArrayLike, ArrayLike], float]

#: Bins of the calibration error; 15 is the usual choice since Guo et al., ICML 2017.
CALIBRATION_BINS = 15


class FlagScores(NamedTuple):
    """Precision, recall and F1 of flags; NaN where the denominator is 0."""

    precision: float
    recall: float
    f1: float


def auroc(score: ArrayLike, positive: ArrayLike) -> float:
    """Return the area under the ROC curve of finding the positives by high score.

    It is the share of (positive, negative) pairs in which the positive scores higher, a tie counting half;
    equal to `sklearn.metrics.roc_auc_score`. NaN without a positive or without a negative.
    Cost: one sort.

    Examples
    --------
    >>> auroc([0.9, 0.5, 0.5, 0.1], [True, True, False, False])
    0.875
    """
    scores, hits = _ranking(score, positive)
    n_positive = int(hits.sum())
    n_negative = len(hits) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    _, group, size = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = (np.cumsum(size) - (size - 1) / 2.0)[group]
    wins = float(mean_rank[hits].sum()) - n_positive * (n_positive + 1) / 2.0
    return wins / (n_positive * n_negative)


def average_precision(score: ArrayLike, positive: ArrayLike) -> float:
    """Return the average precision of finding the positives by high score.

    AP = sum_t (R_t - R_{t-1}) P_t over the distinct scores t from high to low, with P_t and R_t the precision
    and recall of all rows scoring at least t. Tied rows enter together, so the order of rows never matters;
    equal to `sklearn.metrics.average_precision_score`. NaN without a positive.

    Examples
    --------
    >>> average_precision([0.9, 0.5, 0.1], [True, False, True])
    0.8333333333333333
    """
    scores, hits = _ranking(score, positive)
    found, taken = _hits_by_threshold(scores, hits)
    if not len(found) or not found[-1]:
        return float("nan")
    return float(np.sum(np.diff(found, prepend=0) * found / taken) / found[-1])


def precision_at(k: int, score: ArrayLike, positive: ArrayLike) -> float:
    """Return the share of positives among the `k` highest scores.

    Where a tie straddles rank k, the expected share over all orders of the tied rows is given, so that row
    order never matters. With fewer than k rows, all of them count. NaN without rows.

    Examples
    --------
    >>> precision_at(2, [0.9, 0.5, 0.5], [True, True, False])
    0.75
    """
    if k < 1:
        raise InputError(f"precision_at: k is {k}; it must be at least 1.")
    scores, hits = _ranking(score, positive)
    if not len(scores):
        return float("nan")
    k = min(k, len(scores))
    found, taken = _hits_by_threshold(scores, hits)
    last = int(np.searchsorted(taken, k))
    before_found, before_taken = (found[last - 1], taken[last - 1]) if last else (0, 0)
    share = (found[last] - before_found) / (taken[last] - before_taken)
    return float((before_found + (k - before_taken) * share) / k)


def r_precision(score: ArrayLike, positive: ArrayLike) -> float:
    """Return the precision among the R highest scores, R the number of positives (ties as in `precision_at`).

    It equals the recall at that depth. NaN without a positive.
    """
    _, hits = _ranking(score, positive)
    total = int(hits.sum())
    return precision_at(total, score, positive) if total else float("nan")


def per_class(
    measure: RankingMeasure, score: ArrayLike, positive: ArrayLike, given: ArrayLike, n_classes: int
) -> Doubles:
    """Return `measure` within each given class, (C,) float64; NaN where a class lacks positives or negatives.

    Parameters
    ----------
    given : (N,) int
        Class index of each row, in [0, n_classes).
    """
    scores, hits = _ranking(score, positive)
    groups = _indices(given, n_classes, "given", len(scores))
    figures = np.full(n_classes, np.nan)
    for index in range(n_classes):
        rows = groups == index
        chosen = hits[rows]
        if chosen.any() and not chosen.all():
            figures[index] = measure(scores[rows], chosen)
    return figures


def flag_scores(flagged: ArrayLike, positive: ArrayLike) -> FlagScores:
    """Return precision, recall and F1 of `flagged` (N,) bool against `positive` (N,) bool.

    F1 = 2 TP / (2 TP + FP + FN). Precision is NaN with nothing flagged, recall NaN with nothing to find, F1
    NaN only with neither.
    """
    flags, hits = _bools(flagged, "flagged"), _bools(positive, "positive")
    _same_length(flags, hits, "flagged", "positive")
    true_positive = int((flags & hits).sum())
    n_flags, n_hits = int(flags.sum()), int(hits.sum())
    return FlagScores(
        _ratio(true_positive, n_flags),
        _ratio(true_positive, n_hits),
        _ratio(2 * true_positive, n_flags + n_hits),
    )


def jensen_shannon(p: ArrayLike, q: ArrayLike) -> Doubles:
    """Return the Jensen-Shannon divergence of each row of `p` from that of `q`, (N,) float64 in [0, 1].

    JS(p, q) = KL(p | m) / 2 + KL(q | m) / 2 with m = (p + q) / 2, in bits: logarithms to base 2, which is the
    divergence in nats divided by log 2. 0 for equal rows, 1 for rows without a common class. Not the square
    root (the Jensen-Shannon distance). Rows are taken as they are, not normalized.

    Parameters
    ----------
    p, q : (N, C) float
        Distributions.

    Source
    ------
    J. Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. Information Theory 37(1), 1991.

    Examples
    --------
    >>> jensen_shannon([[1, 0], [1, 0]], [[1, 0], [0, 1]]).tolist()
    [0.0, 1.0]
    """
    first, second = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    if first.ndim != 2 or first.shape != second.shape:
        raise InputError(f"jensen_shannon: shapes {first.shape} and {second.shape}; both must be the same (N, C).")
    middle = (first + second) / 2
    divergence = (_relative_entropy(first, middle) + _relative_entropy(second, middle)) / 2
    return np.clip(divergence, 0.0, 1.0)


def accuracy(predicted: ArrayLike, true: ArrayLike) -> float:
    """Return the share of rows in which the class indices (N,) agree; NaN without rows."""
    left, right = np.asarray(predicted), np.asarray(true)
    _same_length(left, right, "predicted", "true")
    return float((left == right).mean()) if len(left) else float("nan")


def confusion_matrix(true: ArrayLike, predicted: ArrayLike, n_classes: int) -> Ints:
    """Return counts (C, C) int64: rows the true class, columns the predicted (or given) one."""
    rows = _indices(true, n_classes, "true")
    columns = _indices(predicted, n_classes, "predicted", len(rows))
    return np.bincount(rows * n_classes + columns, minlength=n_classes**2).reshape(n_classes, n_classes)


def mean_recall(predicted: ArrayLike, true: ArrayLike, n_classes: int) -> float:
    """Return the mean over true classes of the share predicted right (balanced accuracy).

    Classes without a true row do not count; NaN without rows.
    """
    counts = confusion_matrix(true, predicted, n_classes)
    sizes = counts.sum(1)
    known = sizes > 0
    return float((counts.diagonal()[known] / sizes[known]).mean()) if known.any() else float("nan")


def calibration_error(confidence: ArrayLike, correct: ArrayLike, *, bins: int = CALIBRATION_BINS) -> float:
    """Return the expected calibration error of `confidence` (N,) in [0, 1], itself in [0, 1].

    ECE = sum_b (n_b / N) |accuracy_b - mean confidence_b| over `bins` equal-width bins, each closed above:
    (0, 1/B], (1/B, 2/B], ... with 0 in the first. NaN without rows.

    Source
    ------
    C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    values, hits = _ranking(confidence, correct, "confidence", "correct")
    if bins < 1:
        raise InputError(f"calibration_error: {bins} bins; at least 1 is needed.")
    if not len(values):
        return float("nan")
    if values.min() < 0 or values.max() > 1:
        raise InputError("calibration_error: confidences must lie in [0, 1].")
    edges = np.linspace(0.0, 1.0, bins + 1)
    where = np.searchsorted(edges[1:-1], values, side="left")
    gap = np.bincount(where, hits - values, minlength=bins)
    return float(np.abs(gap).sum() / len(values))


def _hits_by_threshold(scores: Doubles, hits: Bools) -> tuple[Ints, Ints]:
    """Return (positives, rows) scoring at least each distinct score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(ordered) else np.zeros(0, np.int64)
    return np.cumsum(hits[order], dtype=np.int64)[ends], (ends + 1).astype(np.int64)


def _relative_entropy(p: Doubles, m: Doubles) -> Doubles:
    inside = p > 0
    ratio = np.divide(p, m, out=np.ones_like(p), where=inside)
    return np.asarray((p * np.log2(ratio)).sum(1))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _ranking(
    score: ArrayLike, positive: ArrayLike, score_name: str = "score", positive_name: str = "positive"
) -> tuple[Doubles, Bools]:
    scores, hits = np.asarray(score, dtype=np.float64), _bools(positive, positive_name)
    if scores.ndim != 1:
        raise InputError(f"{score_name} has shape {scores.shape}, expected (N,).")
    _same_length(scores, hits, score_name, positive_name)
    if np.isnan(scores).any():
        row = int(np.flatnonzero(np.isnan(scores))[0])
        raise InputError(f"{score_name}: row {row} is NaN; give every row a number.")
    return scores, hits


def _bools(values: ArrayLike, name: str) -> Bools:
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputError(f"{name} has shape {array.shape}, expected (N,).")
    return array.astype(np.bool_)


def _indices(values: ArrayLike, n_classes: int, name: str, length: int | None = None) -> Ints:
    array = np.asarray(values)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu" or (length is not None and len(array) != length):
        wanted = "N" if length is None else str(length)
        raise InputError(f"{name} has shape {array.shape} and type {array.dtype}, expected ({wanted},) integers.")
    if array.size and (array.min() < 0 or array.max() >= n_classes):
        raise InputError(f"{name} holds class indices outside [0, {n_classes}).")
    return array.astype(np.int64)


def _same_length(left: NDArray[Any], right: NDArray[Any], left_name: str, right_name: str) -> None:
    if left.shape != right.shape:
        raise InputError(f"{left_name} has shape {left.shape}, {right_name} {right.shape}; they must be the same.")
