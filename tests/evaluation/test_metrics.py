"""Metrics against scikit-learn, against plain loops, and on cases worked by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from fercleaner.core.errors import InputError
from fercleaner.evaluation import metrics


def ranking(seed: int, n: int = 60, levels: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """A ranking with many ties that is better than chance."""
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.3
    positive[:2] = True, False
    return np.round((positive * 0.4 + rng.random(n)) * levels) / levels, positive


rankings = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=12)


@pytest.mark.parametrize("seed", range(5))
def test_auroc_and_average_precision_equal_scikit_learn_with_ties(seed):
    score, positive = ranking(seed)
    assert len(np.unique(score)) < len(score) / 2
    assert metrics.auroc(score, positive) == pytest.approx(oracle.roc_auc_score(positive, score), abs=1e-12)
    expected = oracle.average_precision_score(positive, score)
    assert metrics.average_precision(score, positive) == pytest.approx(expected, abs=1e-12)


@given(rankings)
@settings(max_examples=100, deadline=None)
def test_auroc_is_the_share_of_pairs_won(rows):
    score, positive = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    pairs = list(itertools.product(score[positive], score[~positive]))
    wins = [1.0 if p > q else 0.5 if p == q else 0.0 for p, q in pairs]
    if pairs:
        assert metrics.auroc(score, positive) == pytest.approx(sum(wins) / len(wins))
    else:
        assert math.isnan(metrics.auroc(score, positive))


@given(rankings.filter(lambda rows: len(rows) <= 6), st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_precision_at_is_the_mean_over_all_orders_of_tied_rows(rows, k):
    orders = [sorted(order, key=lambda row: -row[0]) for order in itertools.permutations(rows)]
    depth = min(k, len(rows))
    expected = np.mean([np.mean([row[1] for row in order[:depth]]) for order in orders])
    got = metrics.precision_at(k, [r[0] for r in rows], [r[1] for r in rows])
    assert got == pytest.approx(expected)


def test_r_precision_by_hand():
    assert metrics.r_precision([5, 4, 3, 2, 1], [True, False, True, False, False]) == 0.5
    assert metrics.r_precision([3, 3, 3, 3], [True, False, False, False]) == 0.25
    assert math.isnan(metrics.r_precision([1, 2], [False, False]))


def test_rows_may_come_in_any_order():
    score, positive = ranking(7)
    order = np.random.default_rng(0).permutation(len(score))
    for measure in (metrics.auroc, metrics.average_precision, metrics.r_precision):
        assert measure(score, positive) == pytest.approx(measure(score[order], positive[order]), abs=1e-12)


def test_figures_that_do_not_exist_are_nan():
    assert math.isnan(metrics.auroc([1, 2], [True, True]))
    assert math.isnan(metrics.average_precision([1, 2], [False, False]))
    assert math.isnan(metrics.auroc([], []))
    assert math.isnan(metrics.average_precision([], []))
    assert math.isnan(metrics.precision_at(3, [], []))
    assert math.isnan(metrics.accuracy([], []))
    assert math.isnan(metrics.mean_recall([], [], 3))
    assert math.isnan(metrics.calibration_error([], []))


def test_per_class_leaves_out_classes_with_one_kind_of_row():
    score, positive = ranking(3, n=200)
    label = np.random.default_rng(1).integers(0, 4, 200)
    positive[label == 2] = True
    expected = [oracle.roc_auc_score(positive[label == c], score[label == c]) for c in (0, 1, 3)]
    figures = metrics.per_class(metrics.auroc, score, positive, label, 5)
    assert figures[[0, 1, 3]] == pytest.approx(expected)
    assert np.isnan(figures[[2, 4]]).all()


def test_a_score_that_knows_only_class_priors_has_half_per_class_auroc():
    label = np.repeat([0, 1], 100)
    positive = np.arange(200) % 10 < np.where(label == 0, 1, 6)
    assert metrics.auroc(label, positive) > 0.7
    assert metrics.per_class(metrics.auroc, label, positive, label, 2).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("seed", range(3))
def test_flag_scores_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    flagged, positive = rng.random(50) < 0.4, rng.random(50) < 0.3
    precision, recall, f1, _ = oracle.precision_recall_fscore_support(positive, flagged, average="binary")
    assert metrics.flag_scores(flagged, positive) == pytest.approx((precision, recall, f1))


def test_flag_scores_without_flags_or_noise():
    none = metrics.flag_scores([False, False], [True, False])
    assert math.isnan(none.precision)
    assert (none.recall, none.f1) == (0.0, 0.0)
    clean = metrics.flag_scores([True, False], [False, False])
    assert math.isnan(clean.recall)
    assert (clean.precision, clean.f1) == (0.0, 0.0)
    assert all(math.isnan(value) for value in metrics.flag_scores([False], [False]))


def test_jensen_shannon_equals_scipy_and_loops():
    from scipy.spatial.distance import jensenshannon

    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.full(5, 0.4), 20), rng.dirichlet(np.full(5, 0.4), 20)
    p[0], q[0] = [1, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0]
    got = metrics.jensen_shannon(p, q)
    for row in range(20):
        total = 0.0
        for a, b in zip(p[row], q[row], strict=True):
            m = (a + b) / 2
            total += 0.5 * (a * math.log2(a / m) if a else 0) + 0.5 * (b * math.log2(b / m) if b else 0)
        assert got[row] == pytest.approx(total, abs=1e-12)
        assert got[row] == pytest.approx(jensenshannon(p[row], q[row], base=2) ** 2, abs=1e-12)


def test_jensen_shannon_bounds_and_symmetry():
    p = [[1.0, 0.0], [0.5, 0.5], [0.2, 0.8]]
    q = [[0.0, 1.0], [0.5, 0.5], [0.9, 0.1]]
    assert metrics.jensen_shannon(p, q)[:2].tolist() == [1.0, 0.0]
    assert metrics.jensen_shannon(p, q) == pytest.approx(metrics.jensen_shannon(q, p))


def test_accuracy_recall_and_confusion_equal_scikit_learn():
    rng = np.random.default_rng(4)
    true, predicted = rng.integers(0, 4, 80), rng.integers(0, 5, 80)
    assert metrics.accuracy(predicted, true) == pytest.approx(oracle.accuracy_score(true, predicted))
    expected = oracle.recall_score(true, predicted, labels=range(4), average="macro", zero_division=0)
    assert metrics.mean_recall(predicted, true, 5) == pytest.approx(expected)
    matrix = oracle.confusion_matrix(true, predicted, labels=range(5))
    assert metrics.confusion_matrix(true, predicted, 5).tolist() == matrix.tolist()


def test_calibration_error_equals_loops():
    rng = np.random.default_rng(5)
    confidence = np.round(rng.random(300), 2)
    confidence[:3] = 0, 1, 0.2
    correct = rng.random(300) < confidence**2
    expected = 0.0
    for b in range(10):
        low, high = b / 10, (b + 1) / 10
        rows = [i for i in range(300) if low < confidence[i] <= high or (b == 0 and confidence[i] == 0)]
        if rows:
            expected += abs(np.mean(correct[rows]) - np.mean(confidence[rows])) * len(rows) / 300
    assert metrics.calibration_error(confidence, correct, bins=10) == pytest.approx(expected, abs=1e-12)
    assert metrics.calibration_error([1.0, 0.0], [True, False]) == 0.0
    assert metrics.calibration_error([1.0, 0.0], [False, True]) == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.auroc([1, 2], [True]), r"score has shape \(2,\), positive \(1,\)"),
        (lambda: metrics.auroc([[1, 2]], [True]), r"score has shape \(1, 2\), expected \(N,\)"),
        (lambda: metrics.auroc([1, math.nan], [True, False]), "score: row 1 is NaN"),
        (lambda: metrics.precision_at(0, [1], [True]), "k is 0; it must be at least 1"),
        (lambda: metrics.jensen_shannon([[1, 0]], [[1, 0, 0]]), "both must be the same"),
        (lambda: metrics.confusion_matrix([0, 3], [0, 0], 3), r"outside \[0, 3\)"),
        (lambda: metrics.confusion_matrix([0], [0, 0], 3), r"expected \(1,\) integers"),
        (lambda: metrics.calibration_error([1.5], [True]), r"must lie in \[0, 1\]"),
        (lambda: metrics.calibration_error([0.5], [True], bins=0), "at least 1 is needed"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
