"""Injected noise: exact counts, the right cells, the rate asked for, and the same draw from the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fercleaner.core.errors import InputError
from fercleaner.noise import injection

FER = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")


def labels(n: int = 1000, c: int = 7, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).choice(c, n, p=np.arange(1, c + 1) / np.arange(1, c + 1).sum())
    values[: n // 20] = -1
    return values


def counts(true: np.ndarray, noisy: np.ndarray, c: int) -> np.ndarray:
    table = np.zeros((c, c), dtype=int)
    for i, j in zip(true, noisy, strict=True):
        if i >= 0:
            table[i, j] += 1
    return table


@given(st.integers(0, 60), st.integers(2, 6), st.floats(0, 1), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_exact_transition_counts(n, c, rate, seed):
    rng = np.random.default_rng(seed)
    true = rng.integers(-1, c, n)
    matrix = (1 - rate) * np.eye(c) + rate * rng.dirichlet(np.ones(c), c)
    result = injection.with_transition(true, matrix, rng)
    table = counts(true, result.labels, c)
    sizes = np.array([(true == i).sum() for i in range(c)])
    assert (result.labels[true < 0] == -1).all()
    assert table.sum(1).tolist() == sizes.tolist()
    off = ~np.eye(c, dtype=bool)
    expected = sizes[:, None] * matrix
    assert (np.abs(table - expected)[off] < 1 + 1e-6).all()
    assert abs(table[off].sum() - expected[off].sum()) <= 0.5 + 1e-6
    assert (result.flipped == (result.labels != true)).all()


def test_exact_counts_have_the_right_expectation_for_a_tiny_class():
    """One face of a class, T_01 = 0.3: it must flip in about 3 of 10 draws, never always or never."""
    matrix = np.array([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.3, 0.0, 0.7]])
    true = np.array([0, 1, 1, 2])
    rng = np.random.default_rng(0)
    draws = [injection.with_transition(true, matrix, rng).labels for _ in range(2000)]
    flips = [d[0] != 0 for d in draws]
    # Both cells expect 0.3, together 0.6 to the nearest integer: 1 flip, shared equally.
    assert {int((d != true).sum()) for d in draws} == {1}
    assert np.mean(flips) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.2, 0.4, 1.0])
def test_symmetric_flips_exactly_the_share_and_spreads_evenly(rate):
    true = labels(4000)
    result = injection.symmetric(true, 7, rate, np.random.default_rng(1))
    labeled = int((true >= 0).sum())
    assert int(result.flipped.sum()) == round(rate * labeled)
    assert result.rate == pytest.approx(rate, abs=1 / labeled)
    table = counts(true, result.labels, 7)
    sizes = table.sum(1)
    off = table[~np.eye(7, dtype=bool)].reshape(7, 6)
    assert (np.abs(off - sizes[:, None] * rate / 6) <= 1 + 1e-9).all()


def test_expected_rate_draws_each_face_on_its_own():
    true = np.zeros(20_000, dtype=np.int64)
    result = injection.symmetric(true, 5, 0.3, np.random.default_rng(2), exact=False)
    # Standard deviation of the rate: sqrt(.3 * .7 / 20000) = .0032; four of them.
    assert result.rate == pytest.approx(0.3, abs=0.013)
    assert np.bincount(result.labels, minlength=5)[1:] / 20_000 == pytest.approx(np.full(4, 0.075), abs=0.008)


def test_asymmetric_follows_the_known_confusions():
    true = labels(3000)
    result = injection.asymmetric(true, FER, 0.25, np.random.default_rng(0))
    pairs = {(FER[i], FER[j]) for i, j in zip(true[result.flipped], result.labels[result.flipped], strict=True)}
    assert pairs == {
        ("anger", "fear"),
        ("disgust", "anger"),
        ("fear", "surprise"),
        ("happiness", "neutral"),
        ("sadness", "fear"),
        ("surprise", "fear"),
        ("neutral", "sadness"),
    }


def test_confusions_take_aliases_fall_back_and_go_round_for_other_classes():
    assert injection.confusion_targets(("Happy", "neutral", "sad")).tolist() == [1, 2, 0]
    assert injection.confusion_targets(("happiness", "surprise")).tolist() == [1, 0]
    assert injection.confusion_targets(("cat", "dog", "owl")).tolist() == [1, 2, 0]
    for classes in (FER, (*FER, "contempt"), ("happily surprised", "sadly angry")):
        targets = injection.confusion_targets(classes)
        assert (targets != np.arange(len(classes))).all()


def test_sparse_flips_few_classes_each_to_one():
    true = labels(3000)
    result = injection.sparse(true, 7, 0.4, np.random.default_rng(3))
    table = counts(true, result.labels, 7)
    np.fill_diagonal(table, 0)
    sources = np.flatnonzero(table.sum(1))
    assert len(sources) == 2
    assert ((table > 0).sum(1)[sources] == 1).all()
    assert not set(table.argmax(1)[sources]) & set(sources)
    for source in sources:
        assert table[source].sum() == pytest.approx(0.4 * (true == source).sum(), abs=1)


def test_sparse_with_named_sources():
    result = injection.sparse(np.repeat([0, 1, 2], 10), 3, 0.5, np.random.default_rng(0), sources=[1])
    assert result.flipped.sum() == 5
    assert set(np.flatnonzero(result.flipped)) <= set(range(10, 20))
    with pytest.raises(InputError, match=r"sources \[3\] must name classes in \[0, 3\)"):
        injection.sparse([0], 3, 0.5, np.random.default_rng(0), sources=[3])


def test_instance_dependent_flips_similar_faces_alike():
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(6, 20)) * 3
    cluster = rng.integers(0, 6, 1200)
    features = centers[cluster] + rng.normal(size=(1200, 20)) * 0.1
    true = cluster % 2
    result = injection.instance_dependent(true, 5, 0.3, features, np.random.default_rng(1))
    assert int(result.flipped.sum()) == 360
    agreement = []
    for index in range(6):
        to = result.labels[result.flipped & (cluster == index)]
        agreement.append(np.bincount(to).max() / len(to))
    # Targets by chance would agree in about 1 of 4.
    assert np.mean(agreement) > 0.7
    to_of = [np.bincount(result.labels[result.flipped & (cluster == i)]).argmax() for i in (0, 2, 4)]
    assert len(set(to_of)) > 1


def test_instance_dependent_expected_rate_and_zero_rows():
    true = labels(4000, 4)
    features = np.random.default_rng(2).normal(size=(4000, 8)) * 1e-3
    features[:500] = 0
    drawn = injection.instance_dependent(true, 4, 0.4, features, np.random.default_rng(3), exact=False)
    assert drawn.rate == pytest.approx(0.4, abs=0.035)
    assert (drawn.labels[true < 0] == -1).all()
    assert (drawn.labels[drawn.flipped] != true[drawn.flipped]).all()
    assert injection.instance_dependent(true, 4, 0.0, features, np.random.default_rng(3), exact=False).rate == 0
    everything = injection.instance_dependent(true, 4, 1.0, features, np.random.default_rng(3))
    assert everything.flipped[true >= 0].all()


def test_instance_dependent_ignores_the_scale_of_the_features():
    true, features = labels(300, 3), np.random.default_rng(0).normal(size=(300, 6))
    one = injection.instance_dependent(true, 3, 0.2, features, np.random.default_rng(1))
    other = injection.instance_dependent(true, 3, 0.2, features * 1024 + 4096, np.random.default_rng(1))
    assert (one.labels == other.labels).mean() > 0.99


def test_transition_matrix_by_hand():
    given_, true = [0, 1, 1, 1, -1, 0], [0, 0, 1, 1, 1, -1]
    expected = [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]]
    assert injection.transition_matrix(given_, true, 3).tolist() == expected


def test_transition_matrix_comes_back_from_its_own_noise():
    matrix = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.0, 0.4, 0.6]])
    true = np.repeat([0, 1, 2], 1000)
    result = injection.with_transition(true, matrix, np.random.default_rng(0))
    assert injection.transition_matrix(result.labels, true, 3) == pytest.approx(matrix, abs=1e-3 + 1e-9)


def test_scaled_matrix_reaches_the_rate_and_keeps_the_pattern():
    matrix = np.array([[0.9, 0.1, 0.0], [0.0, 1.0, 0.0], [0.1, 0.2, 0.7]])
    true = np.array([0] * 50 + [1] * 30 + [2] * 20)
    scaled = injection.scaled_matrix(matrix, true, 0.2)
    assert scaled.sum(1) == pytest.approx(np.ones(3))
    assert np.bincount(true) @ (1 - scaled.diagonal()) / 100 == pytest.approx(0.2)
    assert scaled[2, 1] / scaled[0, 1] == pytest.approx(2)
    with pytest.raises(InputError, match=r"out of reach: at 0\.367 a whole class is flipped"):
        injection.scaled_matrix(matrix, true, 0.5)
    with pytest.raises(InputError, match="flips none"):
        injection.scaled_matrix(np.eye(3), true, 0.1)


@pytest.mark.parametrize(
    "text", ["symmetric:0.2", "asymmetric:0.3", "sparse:0.4", "instance:0.1", "human:0.3", "human"]
)
def test_a_spec_reads_prints_and_repeats_itself(text):
    spec = injection.parse(text)
    assert str(spec) == text
    true = labels(400)
    extra = {
        "features": np.random.default_rng(0).normal(size=(400, 5)),
        "matrix": injection.symmetric_matrix(7, 0.15),
    }
    one = spec.apply(true, FER, np.random.default_rng(5), **extra)
    two = spec.apply(true, FER, np.random.default_rng(5), **extra)
    other = spec.apply(true, FER, np.random.default_rng(6), **extra)
    assert (one.labels == two.labels).all()
    assert (one.labels != other.labels).any()
    if spec.kind != "sparse":
        assert one.rate == pytest.approx(spec.rate or 0.15, abs=0.5 / 380)


def test_inputs_are_left_alone_and_results_are_read_only():
    true = labels(50)
    copy = true.copy()
    result = injection.symmetric(true, 7, 0.5, np.random.default_rng(0))
    assert (true == copy).all()
    with pytest.raises(ValueError, match="read-only"):
        result.labels[0] = 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: injection.parse("symetric:0.2"), r"Noise 'symetric' is not known .* Did you mean 'symmetric'\?"),
        (lambda: injection.parse("symmetric"), "needs a rate, such as symmetric:0.2"),
        (lambda: injection.parse("symmetric:a"), "'a' is not a rate"),
        (lambda: injection.parse("symmetric:1.2"), r"Noise rate 1.2 is outside \[0, 1\]"),
        (lambda: injection.parse("symmetric:nan"), r"Noise rate nan is outside \[0, 1\]"),
        (lambda: injection.parse("human").apply([0], FER, np.random.default_rng(0)), "needs a transition matrix"),
        (lambda: injection.parse("instance:.1").apply([0], FER, np.random.default_rng(0)), "needs a vector each"),
        (lambda: injection.symmetric([0, 7], 7, 0.1, np.random.default_rng(0)), r"class indices in \[0, 7\)"),
        (lambda: injection.symmetric([0.5], 7, 0.1, np.random.default_rng(0)), "type float64"),
        (lambda: injection.symmetric([0], 1, 0.1, np.random.default_rng(0)), "at least 2 classes"),
        (
            lambda: injection.with_transition([0], [[0.5, 0.4], [0, 1]], np.random.default_rng(0)),
            "row 0 is not a dist",
        ),
        (lambda: injection.with_transition([0], [[1.0, 0.0]], np.random.default_rng(0)), r"expected \(C, C\)"),
        (
            lambda: injection.instance_dependent([0, 1], 2, 0.1, [[np.nan], [1]], np.random.default_rng(0)),
            "row 0 holds NaN",
        ),
        (
            lambda: injection.instance_dependent([0, 1], 2, 0.1, [[1.0]], np.random.default_rng(0)),
            r"expected \(2, D\)",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
