"""The parts of `consensus`: experts and their weights, models of noise, and external posteriors near and far."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import oracles_consensus as oracle
import pytest
from consensus_cases import about_right, beside, crowd, make_samples, seen_as, source
from scipy import optimize

from fercleaner.core.numeric import softmax
from fercleaner.core.types import Features
from fercleaner.methods.consensus import external
from fercleaner.methods.consensus.experts import Expert, fit_stack
from fercleaner.methods.consensus.external import BUILTIN
from fercleaner.methods.consensus.noise_models import (
    BY_CLASS,
    EVEN,
    RIGHT,
    Labels,
    Noise,
    RandomNoise,
    at_random,
    fit_random,
    measured_noise,
    systematic,
)
from fercleaner.noise.label_model import class_frequencies


def soft_labels(rng, n, c):
    return 0.7 * np.eye(c)[rng.integers(0, c, n)] + 0.3 * rng.dirichlet(np.ones(c), n)


def symmetric(c, rate):
    return (1 - rate - rate / (c - 1)) * np.eye(c) + rate / (c - 1)


def sample(seed, transition, n=3000, scale=4.0):
    """Log-likelihood ratios of clear faces, and labels drawn by a transition matrix; classes equally frequent."""
    rng, c = np.random.default_rng(seed), len(transition)
    ratios = scale * np.eye(c)[rng.integers(0, c, n)] + rng.normal(size=(n, c))
    truth = np.array([rng.choice(c, p=p) for p in softmax(ratios)])
    return ratios, np.eye(c)[[rng.choice(c, p=transition[t]) for t in truth]], truth


# Experts


def test_weights_are_the_likeliest():
    """No step from the answer makes labels likelier, beliefs counted; a useless expert weighs nothing."""
    rng = np.random.default_rng(0)
    target = soft_labels(rng, 60, 3)
    terms = {"good": 1.5 * target + rng.normal(size=(60, 3)), "bad": -target + rng.normal(size=(60, 3))}
    prior = class_frequencies(target)
    stack = fit_stack(terms, target, prior)

    def loss(weights, bias):
        rows = [oracle.softmax([b + sum(w * t[i][c] for w, t in zip(weights, terms.values(), strict=True))
                                for c, b in enumerate(bias)]) for i in range(60)]  # fmt: skip
        likelihood = sum(target[i, c] * np.log(rows[i][c]) for i in range(60) for c in range(3))
        return -likelihood + 5 * sum((b - np.log(p)) ** 2 for b, p in zip(bias, prior, strict=True))

    weights, bias = [stack.weights["good"], stack.weights["bad"]], np.log(prior) + stack.shift
    best = loss(weights, bias)
    assert weights[1] == 0
    for step in (-0.01, 0.01):
        assert loss([weights[0] + step, 0], bias) > best
        for c in range(3):
            assert loss(weights, bias + step * np.eye(3)[c]) > best
    assert loss([weights[0], 0.01], bias) > best


def searched(terms, target, prior, stack):
    """The loss of a stack of two terms, and what SciPy's search reaches from there."""
    table = np.stack(list(terms.values()))

    def loss(free):
        rows = np.log(np.maximum(softmax(free[2:] + np.tensordot(free[:2], table, 1)), 1e-300))
        return -(target * rows).sum() + 5 * ((free[2:] - np.log(prior)) ** 2).sum()

    found = np.concatenate([[stack.weights[name] for name in terms], stack.shift + np.log(prior)])
    bounds, options = [(0, 20)] * 2 + [(None, None)] * len(prior), {"ftol": 1e-15, "gtol": 1e-9}
    return loss(found), optimize.minimize(loss, found, bounds=bounds, method="L-BFGS-B", options=options).fun


@pytest.mark.parametrize("c", [2, 7])
def test_weights_are_settled_where_two_terms_say_nearly_the_same(c):
    rng = np.random.default_rng(c)
    target = soft_labels(rng, 150, c)
    scores = np.clip(0.3 * target + 0.25 * rng.normal(size=(150, c)) + 0.3, 0, None)
    terms, prior = {"a": scores, "b": np.log(50 * scores + 1)}, class_frequencies(target)
    there = fit_stack(terms, target, prior)
    loss, less = searched(terms, target, prior, there)
    assert loss <= less * (1 + 1e-12)
    turned = fit_stack({name: values[::-1] for name, values in terms.items()}, target[::-1], prior)
    np.testing.assert_allclose(turned.shift, there.shift, atol=1e-7)


@pytest.mark.parametrize("seed", [16, 20, 91, 135])
def test_weights_are_found_where_a_whole_step_leads_too_far(seed):
    """Of 300 draws of terms of any size, those in which Newton's steps must be halved."""
    rng = np.random.default_rng(seed)
    c, n = int(rng.integers(2, 8)), int(rng.integers(20, 200))
    target = np.eye(c)[rng.choice(c, n, p=rng.dirichlet(np.full(c, 0.5)))]
    size = 10 ** rng.uniform(-1, 3)
    a = size * (target * rng.uniform(-1, 1) + rng.normal(size=(n, c)))
    terms = {"a": a, "b": 10 ** rng.uniform(-1, 2) * (rng.uniform(0, 1) * target + rng.normal(size=(n, c)))}
    prior = class_frequencies(target)
    loss, less = searched(terms, target, prior, fit_stack(terms, target, prior))
    assert loss <= less * (1 + 1e-9)


@pytest.mark.parametrize("seed", [7, 24, 32, 50, 71])
def test_weights_do_not_stop_at_a_limit_that_a_whole_step_leads_beyond(seed):
    """Of 150 draws of two terms alike, some of 48 in which the loss falls along a limit but Newton's step leaves it."""
    rng = np.random.default_rng(seed)
    target = np.eye(3)[rng.integers(3, size=60)]
    a = rng.uniform(0, 2) * target + rng.normal(size=(60, 3))
    terms = {"a": a, "b": rng.uniform(0.2, 1.5) * a + rng.uniform(0, 0.5) * rng.normal(size=(60, 3))}
    prior = class_frequencies(target)
    loss, less = searched(terms, target, prior, fit_stack(terms, target, prior))
    assert loss <= less * (1 + 1e-9)


def test_fixed_weights_stay_and_joined_ratios_add_up():
    rng = np.random.default_rng(1)
    target = soft_labels(rng, 40, 3)
    terms = {"a": target + rng.normal(size=(40, 3)), "b": rng.normal(size=(40, 3))}
    stack = fit_stack(terms, target, class_frequencies(target), {"b": 0.7})
    assert stack.weights["b"] == 0.7
    expected = stack.weights["a"] * terms["a"] + 0.7 * terms["b"] + stack.shift
    np.testing.assert_allclose(stack.joined(terms), expected)


# Noise


def labels_of(given, prior=None, start=None):
    """Labels (N, C) all of which an expert knows, of one fold and no site."""
    rows = np.ones(len(given), dtype=bool)
    prior = class_frequencies(given) if prior is None else prior
    return Labels(given, rows, prior, np.zeros(len(given), dtype=np.int64), None, start)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("shape", [BY_CLASS, EVEN, RIGHT])
def test_random_noise_equals_em_in_loops(shape, known):
    rng = np.random.default_rng(2)
    given, prior, other = soft_labels(rng, 24, 3), *rng.dirichlet(np.full(3, 8.0), 2)
    ratios = 1.5 * rng.normal(size=(24, 3)) + 2 * given + [0.0, 0.7, 0]
    model = fit_random(ratios, labels_of(given, prior, other if known else None), shape)
    start = other if known else prior
    bias, sharp, matrix, likelihood, to_one = oracle.fit_random(ratios.tolist(), given, start, shape)
    np.testing.assert_allclose(model.bias, bias, atol=1e-8)
    np.testing.assert_allclose(model.transition, matrix, atol=1e-8)
    assert model.sharpness == pytest.approx(sharp, abs=1e-8)
    assert model.likelihood == pytest.approx(likelihood, abs=1e-7)
    assert model.to_one == pytest.approx(to_one, abs=1e-8)


@pytest.mark.parametrize("rate", [0.2, 0.4])
@pytest.mark.parametrize("shape", [BY_CLASS, EVEN])
def test_random_noise_finds_the_transition_matrix(rate, shape):
    """3,000 faces, 750 a class: a rate's standard error is below .018."""
    ratios, given, _ = sample(3, symmetric(4, rate))
    found = fit_random(ratios, labels_of(given), shape).transition
    np.testing.assert_allclose(found, symmetric(4, rate), atol=0.06)


def test_classes_do_not_change_places():
    """Experts take most faces of class 0 for class 1 and the reverse: labels are not explained as exchanged."""
    rng = np.random.default_rng(3)
    truth = np.arange(300) % 4
    said = np.where(rng.random(300) < 0.8, np.array([1, 0, 2, 3])[truth], truth)
    given = np.eye(4)[truth]
    fitted = fit_random(2.0 * np.eye(4)[said] + 0.3 * rng.normal(size=(300, 4)), labels_of(given), BY_CLASS)
    assert (np.diag(fitted.transition) >= fitted.transition.max(1) - 1e-12).all()


@pytest.mark.parametrize("c", [2, 3])
@pytest.mark.parametrize("shape", [EVEN, BY_CLASS])
def test_experts_that_contradict_all_labels_do_not_make_wrong_ones_likelier(c, shape):
    rng = np.random.default_rng(c)
    given = np.eye(c)[rng.integers(0, c, 30)]
    found = fit_random(rng.normal(size=(30, c)) - 2 * given, labels_of(given), shape).transition
    assert (np.diag(found) >= found.max(1) - 1e-12).all()


def test_the_gain_of_a_second_round_by_hand():
    """(.3 x 4 + .7 x -1) nats more for labels of entropy 10 log 2."""
    given = np.eye(2)[np.arange(10) % 2]
    before, after = (
        Noise(0.5, 1.0, tuple((w, RandomNoise(np.zeros(2), 1.0, np.eye(2), x, 0.0)) for w, x in ((0.3, a), (0.7, b))))
        for a, b in ((-9.0, -7.0), (-5.0, -8.0))
    )
    assert before.gained(after, labels_of(given)) == pytest.approx(0.5 / (10 * np.log(2)))


@pytest.mark.parametrize("shape", [BY_CLASS, EVEN, RIGHT])
def test_sharpness_of_all_but_certain_faces_does_not_hang_on_their_order(shape):
    rng = np.random.default_rng(0)
    given = np.eye(2)[np.arange(14) % 2]
    ratios = 18 * given + rng.normal(size=(14, 2))
    order = rng.permutation(14)
    here, there = (fit_random(ratios[rows], labels_of(given[rows]), shape) for rows in (np.arange(14), order))
    assert there.sharpness == pytest.approx(here.sharpness, abs=1e-9)


def test_known_frequencies_say_which_class_a_frequent_label_flips_to():
    """Of 100 classes A and B, 3 are B, and four of ten A are labeled B: from labels alone B reads as frequent."""
    rng = np.random.default_rng(0)
    truth = np.where(rng.random(4000) < 0.03, 1, 0)
    given = np.eye(2)[np.where((truth == 0) & (rng.random(4000) < 0.4), 1, truth)]
    vague = np.where(rng.random(4000)[:, None] < 0.5, 0.0, 1.0)  # half of the faces tell nothing
    votes = softmax(vague * (2 * np.eye(2)[truth] + rng.normal(size=(4000, 2))) + np.log([0.97, 0.03]))
    told = votes @ np.array([[0.6, 0.4], [0, 1]])  # the labels, as an expert learns them
    ratios, known = np.log(told / class_frequencies(given)), np.array([0.97, 0.03])
    flipped = [fit_random(ratios, labels_of(given, start=start), BY_CLASS).transition[0, 1] for start in (None, known)]
    assert abs(flipped[1] - 0.4) < abs(flipped[0] - 0.4) - 0.1


def test_one_rate_flips_to_classes_that_occur():
    ratios, given, _ = sample(4, symmetric(3, 0.2), n=600)
    wide = np.hstack([ratios, np.full((600, 1), -30.0)])
    found = fit_random(
        wide, labels_of(np.hstack([given, np.zeros((600, 1))]), np.array([0.333, 0.333, 0.333, 0.001])), EVEN
    )
    np.testing.assert_allclose(found.transition[:3, 3], 0)
    np.testing.assert_allclose(found.transition[:3, :3], symmetric(3, 0.2), atol=0.05)


def flips_of_one_class(c, rate):
    matrix = np.eye(c)
    matrix[0, :2] = 1 - rate, rate
    return matrix


@pytest.mark.parametrize(("matrix", "alike"), [(symmetric(4, 0.2), 1), (flips_of_one_class(4, 0.5), 0)])
def test_even_noise_is_told_from_flips_of_one_class(matrix, alike):
    ratios, given, _ = sample(5, matrix)
    labels = Labels(given, np.ones(3000, dtype=bool), class_frequencies(given), np.zeros(3000, dtype=np.int64), None)
    noise = measured_noise(ratios, labels)
    assert [share for share, _ in noise.models] == pytest.approx([1 - alike, alike], abs=0.05)
    assert noise.random == 1


def test_noise_of_clear_faces_is_random_where_it_was_put_in_so_and_not_else():
    for rate, expected in ((0.0, 0), (0.25, 1)):
        ratios, given, _ = sample(6, symmetric(4, rate), n=1500)
        rows = np.ones(1500, dtype=bool)
        noise = measured_noise(
            ratios, Labels(given, rows, class_frequencies(given), np.zeros(1500, dtype=np.int64), None)
        )
        assert noise.random == pytest.approx(expected, abs=0.05)


def test_flips_of_one_class_to_one_other_are_seen_though_they_explain_little_of_all_labels():
    """One of 12 classes is flipped to another at a rate of .4: 3 % of all labels."""
    for rate, expected in ((0.0, 0), (0.4, 1)):
        matrix = np.eye(12)
        matrix[0, :2] = 1 - rate, rate
        ratios, given, _ = sample(4, matrix, n=3600)
        noise = measured_noise(ratios, labels_of(given))
        assert noise.random == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("explained", "random", "expected"),
    [(0.05, 0, (0.02, 0, 0.98)), (0.25, 0, (1, 0, 0)), (0.6, 0, (1, 0, 0)), (0.8, 0, (0.6, 0, 0.4)),
     (0.5, 1, (0, 1, 0)), (0.175, 0.5, (0.25, 0.5, 0.25)), (0.075, 1, (0.01, 0.5, 0.49))],
)  # fmt: skip
def test_shares_by_hand(explained, random, expected):
    noise = Noise(explained, random, ((1.0, RandomNoise(np.zeros(2), 1.0, np.eye(2), 0.0, 0.0)),))
    assert noise.shares == pytest.approx(expected)


@pytest.mark.parametrize(("one_rate", "expected"), [(2, (0.02, 0, 0.98)), (3, (0.01, 0.5, 0.49)), (4, (0, 1, 0))])
def test_one_rate_that_is_seen_is_believed_however_little_is_explained(one_rate, expected):
    even = RandomNoise(np.zeros(2), 1.0, np.eye(2), 0.0, 0.0)
    assert Noise(0.03, 1.0, ((1.0, even),), one_rate=one_rate).shares == pytest.approx(expected)
    assert Noise(0.03, 0.0, ((1.0, even),), one_rate=one_rate).shares == pytest.approx((0.02, 0, 0.98))


@pytest.mark.parametrize(("rate", "seen"), [(0.0, False), (0.6, True)])
def test_one_rate_for_all_by_standard_deviations_of_chance(rate, seen):
    """Six of ten labels drawn: experts explain little of them; without noise one rate explains no more than none."""
    ratios, given, _ = sample(3, symmetric(4, rate), n=1000)
    noise = measured_noise(ratios, labels_of(given))
    even, right = (fit_random(ratios, labels_of(given), shape).likelihood for shape in (EVEN, RIGHT))
    assert noise.one_rate == pytest.approx(np.sqrt(2 * max(even - right, 0)))
    assert (noise.one_rate > 4) == seen
    assert (noise.one_rate < 2) != seen


@pytest.mark.parametrize("seed", range(2))
def test_readings_equal_the_loops(seed):
    rng = np.random.default_rng(seed)
    given, rows, prior = soft_labels(rng, 20, 3), np.arange(20) % 4 > 0, rng.dirichlet(np.full(3, 5.0))
    given[~rows] = 0
    labels = Labels(given, rows, prior, np.arange(20) % 3, None)
    own, runs, power = rng.normal(size=(20, 3)), rng.normal(size=(20, 2, 3)), rng.random(20)
    found = systematic(own, runs, labels, power)
    for run in range(2):
        expected = oracle.systematic(own, runs[:, run], given, rows, prior, power)
        np.testing.assert_allclose(found[:, run], expected, atol=1e-10)
    matrix = rng.dirichlet(np.ones(3), 3)
    expected = [oracle.posterior(oracle.softmax(v), y, matrix) for v, y in zip(own, given, strict=True)]
    np.testing.assert_allclose(at_random(own, own, labels, matrix), expected, atol=1e-10)


# External posteriors


def test_an_external_expert_equals_the_loops():
    rng = np.random.default_rng(7)
    given, labeled, fold = soft_labels(rng, 15, 3), np.arange(15) % 5 > 0, np.arange(15) % 3
    given[~labeled] = 0
    prior, found, p = class_frequencies(given), np.arange(15) != 4, rng.dirichlet(np.ones(3), 15)
    p = p.astype(np.float32)
    table = source(make_samples(np.eye(3)[np.arange(15) % 3]), p, found=found)
    expert = external.as_expert(table, given, labeled, fold, prior)
    expected = oracle.external(p.astype(float), found, given, labeled, fold, prior)
    np.testing.assert_allclose(np.stack([expert.run(f) for f in range(3)], axis=1), expected, atol=1e-6)
    np.testing.assert_allclose(expert.own, expected[np.arange(15), fold], atol=1e-6)


def test_classes_by_other_names_are_learned_from_the_labels():
    evidence, truth, right = crowd(8, n=400)
    given, labeled = evidence.samples.given.astype(float), evidence.samples.labeled
    fold, prior = np.arange(400) % 5, class_frequencies(given)
    turned = external.as_expert(source(evidence.samples, right[:, [1, 2, 3, 0]]), given, labeled, fold, prior)
    plain = external.as_expert(source(evidence.samples, right), given, labeled, fold, prior)
    np.testing.assert_allclose(turned.own, plain.own, atol=1e-5)
    assert (plain.own.argmax(1) == truth).mean() > 0.85


@pytest.mark.parametrize(("distance", "near"), [(None, 0), (-0.01, 1), (0.1, 1), (0.225, 0.5), (0.35, 0), (2.0, 0)])
def test_nearness_by_hand(distance, near):
    assert external.nearness(distance) == pytest.approx(near)


def home_like(shift, n=700, per_class=True):
    """Evidence with a view called builtin whose class means lie `shift` deviations off home's in every component."""
    home, rng = external.home(), np.random.default_rng(9)
    label = np.arange(n) % len(home.classes)
    rows = home.means[label] + shift + rng.normal(size=(n, home.means.shape[1]))
    values = home.center + rows @ np.linalg.pinv(home.directions)
    samples = make_samples(np.eye(len(home.classes))[label], classes=home.classes)
    view = Features(BUILTIN, samples.ids, values.astype(np.float32), np.ones(n, dtype=bool))
    return replace(seen_as(samples, values), features={BUILTIN: view})


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.8])
def test_distance_is_that_of_class_means(shift):
    assert external.distance_from_home(home_like(shift)) == pytest.approx(shift**2, abs=0.03)


def test_ties_of_annotators_count_for_every_class_whatever_their_order():
    evidence = home_like(0.5)
    given = evidence.samples.given.copy()
    given[::3] = (given[::3] + np.roll(given[::3], 1, axis=1)) / 2
    order = np.arange(given.shape[1])[::-1]
    here = evidence.samples.replacing(given=given)
    there = here.replacing(given=given[:, order], classes=tuple(here.classes[c] for c in order))
    distances = [external.distance_from_home(replace(evidence, samples=samples)) for samples in (here, there)]
    assert distances[0] == pytest.approx(distances[1], rel=1e-12)
    assert distances[0] != pytest.approx(external.distance_from_home(evidence), rel=1e-3)


def test_distance_is_not_known_without_the_view_or_with_few_faces():
    evidence = home_like(0.0)
    assert external.distance_from_home(replace(evidence, features={})) is None
    assert external.distance_from_home(home_like(0.0, n=49)) is None
    short = Features(BUILTIN, evidence.samples.ids, np.ones((700, 3), dtype=np.float32), np.ones(700, dtype=bool))
    assert external.distance_from_home(replace(evidence, features={BUILTIN: short})) is None


def test_trust_needs_a_source_that_is_right_and_labels_to_tell():
    evidence, _, right = crowd(10, n=600, flips=0.15)
    given, labeled = evidence.samples.given.astype(float), evidence.samples.labeled
    prior, inside = class_frequencies(given), np.log(np.maximum(right, 1e-3)) * 0.7

    def trusted(values, found=None):
        return external.trust(source(evidence.samples, values, found=found), given, labeled, inside, prior)

    assert trusted(right) == 1
    assert trusted(np.random.default_rng(0).permutation(right)) == 0
    assert trusted(right[:, [1, 2, 3, 0]]) == 0
    assert trusted(right, np.arange(600) < 15) == 0


def test_shifted_posteriors_equal_em_in_loops_and_find_frequencies():
    rng = np.random.default_rng(11)
    p, trained, known = rng.dirichlet(np.ones(3), 30), rng.dirichlet(np.full(3, 9.0)), np.array([0.5, 0.3, 0.2])
    rows, pi = external.shifted(p, trained, known)
    expected, frequent = oracle.shifted(p.tolist(), trained, known)
    np.testing.assert_allclose(rows, expected, atol=1e-10)
    np.testing.assert_allclose(pi, frequent, atol=1e-10)
    share, even = np.array([0.6, 0.3, 0.1]), np.full(3, 1 / 3)
    truth = rng.choice(3, 5000, p=share)
    clear = softmax(3 * np.eye(3)[truth] + rng.normal(size=(5000, 3)))  # calibrated for even classes
    np.testing.assert_allclose(external.shifted(clear, even, even)[1], share, atol=0.03)


def test_a_bias_is_told_of():
    samples = make_samples(np.eye(3)[np.arange(60) % 3])
    reads = np.where(np.arange(60) % 6 == 0, 1, np.arange(60) % 3)  # half of class 0 is read as class 1
    table = source(samples, np.eye(3)[reads], "mine")
    everyone = np.ones(60, dtype=bool)
    told = "Posteriors 'mine' read anger as disgust on 50 % of the 20 faces labeled so."
    assert external.bias_of(table, samples, everyone) == told
    assert external.bias_of(source(samples, np.eye(3)[np.arange(60) % 3]), samples, everyone) == ""


def test_what_is_stated_of_a_source_counts_before_what_is_measured():
    evidence, truth, right = crowd(12, n=400)
    given, labeled = evidence.samples.given.astype(float), evidence.samples.labeled
    prior, joined = class_frequencies(given), np.log(np.maximum(about_right(truth, 4, np.random.default_rng(1)), 1e-3))
    for near, expected in ((None, 0), (0.5, 0.5), (1.0, 1.0)):
        told = beside(evidence, right, near=near)
        table = told.posteriors["elsewhere"]
        expert = external.as_expert(table, given, labeled, np.arange(400) % 5, prior)
        assert isinstance(expert, Expert)
        found = external.external_sources(told, {"elsewhere": expert}, joined, prior, prior)["elsewhere"]
        np.testing.assert_allclose(found.near, expected, atol=0.01)
        assert found.notes[0].startswith("Posteriors 'elsewhere': ")
