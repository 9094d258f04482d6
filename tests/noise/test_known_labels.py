"""Known labels of some faces correct the refined distributions of all: made errors, an oracle, and what must not be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from fercleaner.noise import known_labels
from fercleaner.noise.known_labels import corrected


def made(n=4000, c=4, seed=0, wrong=0.3, sharpness=1.0, shift=(0.0, 0.0, 0.0, 0.0), own=0.0):
    """Return given one-hot labels, refined distributions off by a known correction, and true labels (N,)."""
    rng = np.random.default_rng(seed)
    right = rng.dirichlet(np.full(c, 0.3), size=n)
    truth = (right.cumsum(1) > rng.random((n, 1))).argmax(1)
    given = np.eye(c)[np.where(rng.random(n) < wrong, rng.integers(0, c, n), truth)]
    likelihood = np.where(given.argmax(1)[:, None] == np.arange(c), 1 - wrong + wrong / c, wrong / c)
    posterior = right * likelihood
    logs = sharpness * np.log(posterior + 1e-9) + np.array(shift) + own * given
    refined = np.exp(logs - logs.max(1, keepdims=True))
    return given, refined / refined.sum(1, keepdims=True), truth


def loss(distribution, truth):
    return -np.log(np.maximum(distribution[np.arange(len(truth)), truth], 1e-12)).mean()


@pytest.mark.parametrize("change", [{}, {"shift": (0, 1.5, -1, 0)}, {"own": 2.0}, {"own": -2.0}, {"sharpness": 1.5}])
def test_a_method_that_errs_in_a_known_way_is_mended(change):
    given, refined, truth = made(**change)
    rows = np.random.default_rng(1).permutation(len(truth))[:400]
    rest = np.setdiff1d(np.arange(len(truth)), rows)
    after = corrected(given, refined, rows, np.eye(4)[truth[rows]])
    best = made()[1]
    before, now, least = (loss(table[rest], truth[rest]) for table in (refined, after, best))
    assert now < least + 0.02
    assert now < before + 0.02
    assert before > least + 0.03 or not change


def test_the_faces_may_be_chosen_by_what_the_method_says():
    given, refined, truth = made(n=8000, own=1.5)
    rows = np.argsort(refined.max(1))[:800]
    rest = np.setdiff1d(np.arange(len(truth)), rows)
    after = corrected(given, refined, rows, np.eye(4)[truth[rows]])
    best = made(n=8000)[1]
    assert loss(after[rest], truth[rest]) < loss(best[rest], truth[rest]) + 0.02 < loss(refined[rest], truth[rest])


def test_few_labels_move_little_and_none_nothing():
    given, refined, truth = made()
    none = corrected(given, refined, np.zeros(0, np.int64), np.zeros((0, 4)))
    assert np.abs(none - refined).max() < 0.01
    one = corrected(given, refined, np.array([0]), np.eye(4)[[truth[0]]])
    assert np.abs(one - refined).max() < 0.35


def test_it_is_the_likeliest_correction_of_the_formula():
    """An oracle: the formula of the docstring in loops, minimized without its slope."""
    given, refined, truth = made(n=60, c=3, shift=(0.0, 1.0, 0.0), own=1.0)
    given[5] = 0  # no label
    rows = np.arange(0, 60, 2)
    known = np.eye(3)[truth[rows]]
    known[0] = [0.5, 0.5, 0.0]

    def distributions(terms):
        answer = np.zeros((60, 3))
        for i in range(60):
            for c in range(3):
                z = (1 + terms[0]) * np.log(refined[i, c] + known_labels.FLOOR) + terms[2 + c] + terms[1] * given[i, c]
                for d in range(3):
                    z += given[i, d] * terms[5 + 3 * d + c]
                answer[i, c] = np.exp(z)
            answer[i] /= answer[i].sum()
        return answer

    def belief(terms):
        said = distributions(terms)[rows]
        return -(known * np.log(said)).sum() + sum(0.5 * (term / known_labels.BELIEF) ** 2 for term in terms)

    found = minimize(belief, np.zeros(14), method="BFGS", options={"gtol": 1e-6})
    assert np.abs(distributions(found.x) - corrected(given, refined, rows, known)).max() < 2e-4


def test_neither_the_order_of_faces_nor_of_classes_matters():
    given, refined, truth = made(n=600, shift=(0, 1, -1, 0.5), own=0.7)
    rng = np.random.default_rng(3)
    rows, order, classes = rng.permutation(600)[:150], rng.permutation(600), rng.permutation(4)
    known = np.eye(4)[truth[rows]]
    first = corrected(given, refined, rows, known)
    place = np.argsort(order)
    again = corrected(given[order][:, classes], refined[order][:, classes], place[rows][::-1], known[::-1][:, classes])
    assert np.abs(first[order][:, classes] - again).max() < 1e-5


def test_one_class_and_certain_distributions_are_no_trouble():
    assert corrected(np.ones((3, 1)), np.ones((3, 1)), np.array([0]), np.ones((1, 1))).tolist() == [[1]] * 3
    given = np.eye(2)[[0, 1, 0, 1]]
    after = corrected(given, given, np.array([0, 1]), np.eye(2)[[1, 0]])
    assert np.isfinite(after).all()
    assert np.allclose(after.sum(1), 1)
