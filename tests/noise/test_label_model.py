"""The label models: EM and Jeffrey's rule against loops and by hand, recovery of known noise, and their edges."""

from __future__ import annotations

import math

import numpy as np
import oracles_consensus
import oracles_hypergraph as oracle
import pytest
from hypothesis import given as draw
from hypothesis import settings
from hypothesis import strategies as st

from fercleaner.core.numeric import normalized, softmax
from fercleaner.noise.label_model import (
    SHARPNESS,
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
    right_most_often,
)

FEW = settings(max_examples=20, deadline=None)


def sample(seed, transition, n=4000, sharpness=1.0, scale=4.0):
    """Draw log ratios, truth ~ softmax(sharpness log_ratio), given labels of a known noise; classes alike."""
    rng = np.random.default_rng(seed)
    c = len(transition)
    log_ratios = scale * np.eye(c)[rng.integers(0, c, n)] + rng.normal(size=(n, c))
    rows = softmax(sharpness * log_ratios)
    truth = np.array([rng.choice(c, p=p) for p in rows])
    given = np.eye(c)[[rng.choice(c, p=transition[t]) for t in truth]]
    return log_ratios, rows, truth, given


def symmetric(c, rate):
    return (1 - rate) * np.eye(c) + rate * (1 - np.eye(c)) / (c - 1)


ASYMMETRIC = np.array([[0.7, 0.3, 0, 0], [0, 0.9, 0.1, 0], [0, 0, 0.6, 0.4], [0, 0, 0, 1.0]])


def soft_labels(rng, n, c):
    given = np.eye(c)[rng.integers(0, c, n)]
    return np.where(rng.random((n, 1)) < 0.5, given, 0.6 * given + 0.4 * rng.dirichlet(np.ones(c), n))


@pytest.mark.parametrize("seed", range(3))
def test_fitted_noise_equals_the_loops(seed):
    rng = np.random.default_rng(seed)
    n, c = 20, 3
    given = soft_labels(rng, n, c)
    log_ratios = 1.5 * rng.normal(size=(n, c)) + 2 * given
    model, prior = fit_noise(log_ratios, given, class_frequencies(given)), oracle.label_frequencies(given)
    sharpness, transition = oracle.fit_noise(log_ratios, given, prior)
    assert model.sharpness == pytest.approx(sharpness)
    np.testing.assert_allclose(model.transition, transition, atol=1e-8)
    assert fit_sharpness(log_ratios, given, prior) == pytest.approx(
        oracle.likeliest_sharpness(log_ratios, given, prior), rel=2e-3
    )


@pytest.mark.parametrize("true", [symmetric(4, 0.3), ASYMMETRIC], ids=["symmetric", "asymmetric"])
def test_finds_the_transition_matrix_of_informative_votes(true):
    """4,000 faces, a thousand a class: a rate's standard error is below .016, and the votes' own doubt adds to it."""
    log_ratios, _, _, given = sample(0, true)
    model = fit_noise(log_ratios, given, np.full(4, 0.25))
    np.testing.assert_allclose(model.transition, true, atol=0.08)
    assert 0.6 < model.sharpness < 1.7


@pytest.mark.parametrize(("counts", "least"), [((100, 100, 100), 0.79), ((200, 80, 20), 0.6)])
def test_labels_count_as_right_where_votes_are_vague(counts, least):
    """Votes that equal the frequencies cannot tell noise: T stays near the start, and no label is overruled."""
    given = np.repeat(np.eye(3), counts, axis=0)
    prior = class_frequencies(given)
    vague = np.tile(prior, (300, 1))
    tiny = 1e-3 * np.random.default_rng(0).normal(size=(300, 3))
    transition = fit_noise(tiny, given, prior).transition
    assert np.diag(transition).min() > least
    posterior = LabelModel(transition, 1.0).posterior(vague, given)
    assert (posterior.argmax(1) == given.argmax(1)).all()
    assert (posterior * given).sum(1).min() > 0.5


@pytest.mark.parametrize("known", [0.5, 1.0, 2.0])
def test_finds_a_known_sharpness(known):
    """Tried values lie a factor of 1.28 apart; the answer is the known one to within one step."""
    log_ratios, _, _, given = sample(1, np.eye(4), sharpness=known, scale=2.0)
    found = fit_sharpness(log_ratios, given, np.full(4, 0.25))
    assert abs(math.log(found / known)) <= math.log(SHARPNESS[1] / SHARPNESS[0])


def test_jeffreys_rule_by_hand():
    """p = (.8, .2), T = (.9 .1; .3 .7). Label 0: (.72, .06) / .78; label 1: (.08, .14) / .22; three of four say 0."""
    model = LabelModel(np.array([[0.9, 0.1], [0.3, 0.7]]), 1.0)
    p = np.array([[0.8, 0.2]] * 4)
    given = np.array([[1, 0], [0, 1], [0.75, 0.25], [0, 0]])
    first, second = np.array([12 / 13, 1 / 13]), np.array([4 / 11, 7 / 11])
    expected = [first, second, 0.75 * first + 0.25 * second, p[3]]
    np.testing.assert_allclose(model.posterior(p, given), expected, atol=1e-12)


def test_labels_of_no_probability_are_left_out():
    model = LabelModel(np.eye(3), 1.0)
    p = np.array([[0.6, 0.4, 0.0]] * 3)
    given = np.array([[0, 0, 1], [0.5, 0, 0.5], [0.3, 0.3, 0.4]])
    np.testing.assert_allclose(model.posterior(p, given), [[0.6, 0.4, 0], [1, 0, 0], [0.5, 0.5, 0]])


@FEW
@draw(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 12), c=st.integers(2, 6), zero=st.booleans())
def test_posterior_equals_the_loops(seed, n, c, zero):
    rng = np.random.default_rng(seed)
    rows, transition = rng.dirichlet(np.ones(c), n), rng.dirichlet(np.ones(c), c)
    given = soft_labels(rng, n, c)
    if zero:
        given[0], rows[-1, 0], transition[:, 1] = 0, 0, 0
        rows, transition = normalized(rows), normalized(transition)
    result = LabelModel(transition, 1.0).posterior(rows, given)
    np.testing.assert_allclose(result, [oracle.posterior(p, y, transition) for p, y in zip(rows, given, strict=True)])
    stacked = LabelModel(transition, 1.0).posterior(np.stack([rows, rows[::-1]], axis=1), given)
    np.testing.assert_allclose(stacked[:, 0], result, atol=1e-12)


def test_what_is_open_among_annotators_stays_open():
    """With T = I the posterior is the given distribution; the plain product would have let the vote decide."""
    given = np.array([[0.5, 0.5, 0.0]])
    np.testing.assert_allclose(LabelModel(np.eye(3), 1.0).posterior(np.array([[0.9, 0.05, 0.05]]), given), given)


@FEW
@draw(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 12), c=st.integers(2, 6))
def test_explained_equals_the_loops(seed, n, c):
    rng = np.random.default_rng(seed)
    given = soft_labels(rng, n, c)
    rows = normalized(given + rng.random((n, c)))
    prior = class_frequencies(given)
    share = explained(rows, given, prior)
    assert share == pytest.approx(oracle.explained(rows, given, prior), abs=1e-9)
    assert 0 <= share <= 1


def test_explained_is_nothing_for_frequencies_and_all_for_the_labels():
    given = np.eye(3)[[0, 1, 2, 0]]
    prior = class_frequencies(given)
    assert explained(np.tile(prior, (4, 1)), given, prior) == pytest.approx(0, abs=1e-9)
    assert explained(given, given, prior) == pytest.approx(1)
    assert explained(given[[1, 0, 0, 1]], given, prior) == 0


def test_without_rows_nothing_is_explained_and_labels_are_right():
    none, prior = np.zeros((0, 3)), np.full(3, 1 / 3)
    assert explained(none, none, prior) == 0
    assert fit_noise(none, none, prior).transition.argmax(1).tolist() == [0, 1, 2]
    np.testing.assert_allclose(mean_vote(none, np.zeros(0, dtype=bool)), prior)


def test_one_class_alone_cannot_be_relied_on():
    given = np.eye(2)[[0, 0, 0]]
    assert reliance(explained(given, given, class_frequencies(given))) == 0


@pytest.mark.parametrize(("share", "expected"), [(0, 0), (0.1, 0), (0.2, 0.5), (0.25, 0.75), (0.3, 1), (1, 1)])
def test_reliance_by_hand(share, expected):
    assert reliance(share) == pytest.approx(expected)


def test_expected_transition_by_hand():
    """Class 0 is voted .9 + .2 times on label 0 and .4 times on label 1, beside half a face spread as (.6, .4)."""
    rows, given = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]), np.eye(2)[[0, 0, 1]]
    expected = [[1.4 / 2.0, 0.6 / 2.0], [1.2 / 2.0, 0.8 / 2.0]]
    found = expected_transition(rows, given, np.array([0.6, 0.4]))
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(found, oracle.counted(rows, given, [0.6, 0.4]))


def test_log_ratios_and_distributions_equal_the_loops():
    rng = np.random.default_rng(0)
    scores, prior = rng.random((6, 4)), np.array([0.4, 0.3, 0.2, 0.1])
    scores[0, 1] = 0
    mean = mean_vote(scores, np.arange(6) != 2)
    expected_mean = oracle.shares(np.delete(scores, 2, axis=0).mean(0))
    np.testing.assert_allclose(mean, expected_mean)
    log_ratios = log_ratio(scores, mean)
    np.testing.assert_allclose(log_ratios, [oracle.lifted(row, expected_mean) for row in scores])
    for gamma in (0.0, 1.0, 2.0):
        expected = [oracle.read_off(row, prior, 1.7, gamma) for row in log_ratios]
        np.testing.assert_allclose(distribution(log_ratios, prior, 1.7, gamma), expected)


def test_rows_of_no_mass_stay_zero_and_large_logits_do_not_overflow():
    assert normalized(np.array([[0.0, 0.0], [1.0, 3.0]])).tolist() == [[0, 0], [0.25, 0.75]]
    np.testing.assert_allclose(softmax(np.array([[1000.0, 0.0], [-1000.0, -1000.0]])), [[1, 0], [0.5, 0.5]])


def test_chance_by_hand():
    """Three classes, one of them never given, in 5 faces: K = 2, one nat of 5 x .673 (shares .4, .6) nats."""
    given = np.eye(3)[[0, 0, 1, 1, 1]]
    assert chance(given, class_frequencies(given)) == pytest.approx(1 / 3.365, abs=1e-4)
    assert chance(given, class_frequencies(given)) == pytest.approx(
        oracles_consensus.chance(given, class_frequencies(given))
    )
    assert chance(np.eye(2)[[0, 0]], class_frequencies(np.eye(2)[[0, 0]])) == pytest.approx(0, abs=1e-6)


def test_no_wrong_label_is_likelier_than_the_right_one_by_hand():
    matrix = np.array([[0.2, 0.5, 0.3, 0], [0.1, 0.6, 0.2, 0.1], [0.4, 0.3, 0.1, 0.2], [0, 0, 0.55, 0.45]])
    expected = [[0.35, 0.35, 0.3, 0], [0.1, 0.6, 0.2, 0.1], [0.8 / 3, 0.8 / 3, 0.8 / 3, 0.2], [0, 0, 0.5, 0.5]]
    np.testing.assert_allclose(right_most_often(matrix, np.eye(4)), expected)
    np.testing.assert_allclose(right_most_often(matrix, np.eye(4)[[1, 2]])[[0, 3]], matrix[[0, 3]])


@pytest.mark.parametrize("seed", range(5))
def test_such_rows_are_the_likeliest_for_the_same_counts(seed):
    """No row drawn at random whose right label is likeliest has a greater likelihood."""
    rng = np.random.default_rng(seed)
    row = rng.dirichlet(np.ones(5), 5)
    found = right_most_often(row, np.eye(5))
    np.testing.assert_allclose(found, oracles_consensus.right_most_often(row.tolist(), [True] * 5))
    assert (found.max(1) <= np.diag(found) + 1e-12).all()
    for c in range(5):
        others = rng.dirichlet(np.ones(5), 20000)
        allowed = others[others[:, c] >= others.max(1)]
        assert (np.log(allowed) @ row[c]).max() <= np.log(found[c]) @ row[c] + 1e-9
