"""Flags at a named precision: flips, depths and the curve against loops, and precision kept on known truth."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fercleaner.core.errors import InputError
from fercleaner.core.types import Features, Refinement, Samples
from fercleaner.methods.generated import make_evidence
from fercleaner.methods.hypergraph.hypergraph import HypergraphPropagation
from fercleaner.noise import precision as calibration
from fercleaner.noise.flip_curve import chances, fit_slope
from fercleaner.noise.precision import (
    LEAST_CAUGHT,
    calibrated,
    depths,
    doubt,
    flip_depths_of,
    flip_runs,
    flipped,
    most_wrong,
    noise_rate,
    precision_curve,
    with_labels,
)
from fercleaner.pipeline.inputs import Callbacks, Resources, Sources
from fercleaner.pipeline.refine import refine

NAMES = ("anger", "fear", "happiness", "neutral")
CPU = Resources(device="cpu")


def make_samples(n=40, seed=0, soft=False, unlabeled=0):
    rng = np.random.default_rng(seed)
    given = np.eye(4)[rng.integers(4, size=n)]
    if soft:
        given = 0.6 * given + 0.4 * rng.dirichlet(np.ones(4), n)
    labeled = np.arange(n) >= unlabeled
    ids = np.array([f"face {i:03d}" for i in rng.permutation(n)])
    return Samples(ids, NAMES, np.where(labeled[:, None], given, 0), labeled, np.full(n, ""))


def answer(samples, quality, distribution=None):
    n = len(samples)
    rows = np.full((n, 4), 0.25) if distribution is None else distribution
    return Refinement(samples.ids, NAMES, rows, np.ones(n), quality, np.zeros(n, dtype=bool), "toy")


def clusters(n=600, wrong=0.2, seed=0, spread=1.0):
    """Samples with wrong labels, two views that show the classes, and which labels are wrong."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 4
    label = truth.copy()
    rows = rng.permutation(n)[: round(wrong * n)]
    label[rows] = (truth[rows] + rng.integers(1, 4, len(rows))) % 4
    ids = np.array([f"face {i:04d}" for i in range(n)])
    samples = Samples(ids, NAMES, np.eye(4)[label], np.ones(n, dtype=bool), np.full(n, ""))
    views = [
        Features(
            name, ids, 1.5 * rng.normal(size=(4, 10))[truth] + spread * rng.normal(size=(n, 10)), np.ones(n, dtype=bool)
        )
        for name in ("a", "b")
    ]
    return samples, views, label != truth


# Flips


def test_labels_are_moved_and_soft_ones_stay_as_soft():
    samples = make_samples(soft=True, unlabeled=4)
    labels = samples.label.copy()
    labels[10] = (labels[10] + 1) % 4
    labels[0] = 2  # without a label: left alone
    moved = with_labels(samples, labels)
    assert moved.label[10] == labels[10]
    assert sorted(moved.given[10].tolist()) == sorted(samples.given[10].tolist())
    same = np.arange(40) != 10
    assert np.array_equal(moved.given[same], samples.given[same])
    assert not moved.labeled[0]


def test_flips_go_where_the_refined_distributions_say_and_prefer_labels_of_quality():
    samples = make_samples(n=4000)
    quality = np.where(np.arange(4000) % 2 == 0, 0.9, 0.1)
    # anger passes for fear alone, every other class is certain
    distribution = np.eye(4)[samples.label]
    distribution[samples.label == 1] = [0.5, 0.5, 0, 0]
    change = flipped(samples, answer(samples, quality, distribution), np.random.default_rng(0))
    assert change.flipped.sum() == 200
    assert np.array_equal(change.flipped, change.samples.label != samples.label)
    share = change.flipped[::2].sum() / 200
    assert 0.85 < share < 0.94  # nine to one, a little less without replacement
    from_anger = change.samples.label[change.flipped & (samples.label == 0)]
    assert (from_anger == 1).mean() > 0.97
    others = change.samples.label[change.flipped & (samples.label == 2)]
    assert set(others.tolist()) == {0, 1, 3}


def test_flips_do_not_hang_on_the_order_of_rows():
    samples = make_samples(n=200)
    rng = np.random.default_rng(3)
    quality, rows = rng.random(200).astype(np.float32), rng.dirichlet(np.ones(4), 200)
    order = rng.permutation(200)
    moved = Samples(samples.ids[order], NAMES, samples.given[order], samples.labeled[order], samples.paths[order])
    here = flipped(samples, answer(samples, quality, rows), np.random.default_rng(5))
    there = flipped(moved, answer(moved, quality[order], rows[order]), np.random.default_rng(5))
    assert np.array_equal(here.samples.given[order], there.samples.given)


def test_flips_where_every_quality_is_zero_and_nothing_is_confused():
    samples = make_samples(n=30, unlabeled=10)
    certain = np.where(samples.labeled[:, None], samples.given, 0.25)
    change = flipped(samples, answer(samples, np.zeros(30), certain), np.random.default_rng(0), 0.5)
    assert change.flipped.sum() == 10
    assert not change.flipped[:10].any()


def test_two_faces_of_one_class_can_be_flipped():
    samples = Samples(np.array(["a", "b"]), NAMES, np.eye(4)[[0, 0]], np.ones(2, dtype=bool), np.full(2, ""))
    change = flipped(samples, answer(samples, np.ones(2), np.eye(4)[[0, 0]]), np.random.default_rng(0))
    assert change.flipped.sum() == 1


@pytest.mark.parametrize(("labeled", "runs"), [(20_000, 1), (4000, 1), (2000, 2), (1000, 4), (500, 5), (1, 5)])
def test_small_sets_are_checked_more_often(labeled, runs):
    samples = make_samples(n=labeled)
    assert flip_runs(samples) == runs


def test_doubt_is_what_the_refined_distribution_takes_from_the_label():
    samples = make_samples(n=2)
    rows = np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]], dtype=np.float32)
    expected = [1 - rows[i, samples.label[i]] for i in range(2)]
    np.testing.assert_allclose(doubt(samples, answer(samples, np.ones(2), rows)), expected, atol=1e-6)
    soft = make_samples(n=2, soft=True)
    np.testing.assert_allclose(doubt(soft, answer(soft, np.ones(2), soft.given)), 0, atol=1e-6)


def test_most_wrong_is_what_is_overruled_and_no_more_than_the_doubt():
    samples = make_samples(n=6, unlabeled=2)
    label, rows = samples.label, np.full((6, 4), 0.1)
    for i, own in enumerate([0.1, 0.1, 0.7, 0.7, 0.4, 0.1]):  # the last is overruled, the others stand
        rows[i, label[i]] = own
        rows[i, (label[i] + 1) % 4] = 0.8 - own
    ambiguous = [0.3, 0.3, 0.6, 0.9]
    doubts = doubt(samples, answer(samples, np.ones(6), rows))[2:]
    np.testing.assert_allclose(doubts, ambiguous, atol=1e-6)
    assert most_wrong(samples, answer(samples, np.ones(6), rows)) == pytest.approx(0.25)
    # overruled by a hair everywhere: the doubt is less than the share overruled
    all_labeled = make_samples(n=6)
    close = 0.49 * all_labeled.given + 0.51 * np.roll(all_labeled.given, 1, axis=1)
    assert most_wrong(all_labeled, answer(all_labeled, np.ones(6), close)) == pytest.approx(0.51)


# The curve


levels = st.lists(st.integers(0, 6).map(lambda i: i / 8), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(levels, levels)
def test_depths_equal_a_count(others, flips):
    got = depths(np.array(others), np.array(flips))
    for value, depth in zip(flips, got, strict=True):
        below = sum(other < value for other in others) + 0.5 * sum(other == value for other in others)
        assert depth == pytest.approx(below / len(others))


def rate_by_loops(quality, rate, flip_depths):
    """The `noise_rate`, threshold by threshold."""
    for t in set(quality):
        share = sum(q <= t for q in quality) / len(quality)
        recall = sum(depth <= share + 1e-12 for depth in flip_depths) / len(flip_depths)
        if recall >= 0.7:
            rate = min(rate, share / recall)
    return rate


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([3, 9, 1000]))
def test_the_curve_equals_loops(seed, steps):
    rng = np.random.default_rng(seed)
    quality = np.round(rng.random(60) * steps) / steps
    most, slope, flip_depths = rng.random() * 0.6, 2 * rng.random(), np.sort(rng.random(25)) ** 2
    assert noise_rate(quality, most, flip_depths) == pytest.approx(rate_by_loops(quality, most, flip_depths))
    got, wrong = precision_curve(quality, most, flip_depths, slope), chances(quality, slope, most)
    assert wrong.mean() == pytest.approx(most)
    assert got.threshold.tolist() == sorted(set(quality))
    for t, precision, recall in zip(got.threshold, got.precision, got.recall, strict=True):
        caught = sum(depth <= (quality <= t).mean() + 1e-12 for depth in flip_depths)
        assert recall == pytest.approx(caught / 25)
        expected = wrong[quality <= t].mean() if caught >= LEAST_CAUGHT else np.nan
        assert precision == pytest.approx(expected, nan_ok=True)
    known = got.precision[~np.isnan(got.precision)]
    assert (np.diff(known) <= 1e-12).all()


def test_chances_rise_with_the_log_odds_of_one_minus_quality():
    quality = np.array([0.1, 0.3, 0.5, 0.9])
    wrong = chances(quality, 2.0, 0.4)
    odds = np.log(wrong / (1 - wrong)) - 2.0 * np.log((1 - quality) / quality)
    np.testing.assert_allclose(odds, odds[0])
    assert wrong.mean() == pytest.approx(0.4)
    assert chances(quality, 0.0, 0.25).tolist() == pytest.approx([0.25] * 4)
    assert chances(quality, 2.0, 0.0).tolist() == [0] * 4
    assert chances(np.array([0.0, 1.0]), 30.0, 1.0) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("slope", "rate"), [(0.6, 0.2), (1.0, 0.05), (2.5, 0.3)])
def test_the_slope_is_found_from_flips_and_a_mixture(slope, rate):
    """Log-odds normal with variance 1, means `slope` apart: their density ratio is exp(slope l) but for a factor."""
    rng = np.random.default_rng(0)
    n = 40_000
    odds = rng.normal(size=n) + slope * (rng.random(n) < rate)
    flips = rng.normal(size=4000) + slope
    found = fit_slope(1 / (1 + np.exp(odds)), 1 / (1 + np.exp(flips)), rate)
    assert found == pytest.approx(slope, abs=0.1)


def test_slopes_of_little_evidence_stay_near_one():
    assert fit_slope(np.full(50, 0.9), np.array([0.1]), 0.1) == pytest.approx(1.0, abs=0.5)
    assert fit_slope(np.full(50, 0.7), np.full(5, 0.7), 0.1) == pytest.approx(1.0, abs=0.1)
    assert fit_slope(np.array([0.2, 0.9]), np.zeros(0), 0.1) == 1.0
    upside_down = fit_slope(np.tile([0.2, 0.3], 200), np.full(100, 0.99), 0.2)
    assert upside_down == 0.0


def test_flips_found_like_the_wrong_labels_give_the_true_precision():
    rng = np.random.default_rng(0)
    n, rate = 40_000, 0.2

    def qualities(wrong):
        return 1 / (1 + np.exp(1.5 * rng.normal(size=len(wrong)) + np.where(wrong, 1.5, -1.5)))

    wrong, others, flips = rng.random(n) < rate, rng.random(n) < rate, np.ones(4000, dtype=bool)
    quality, rest, found = qualities(wrong), qualities(others), qualities(flips)
    flip_depths = depths(rest, found)
    assert 0.2 < noise_rate(quality, 0.35, flip_depths) < 0.3  # too high a share held wrong is bounded
    curve = precision_curve(quality, rate, flip_depths, fit_slope(rest, found, rate))
    for t in (0.1, 0.2, 0.4, 0.6):
        at = int(np.searchsorted(curve.threshold, t)) - 1
        assert curve.precision[at] == pytest.approx(wrong[quality <= t].mean(), abs=0.03)


# The decision


def toy(quality, flip_quality, n=200):
    """A calibration of samples with these qualities, the flips of one check having theirs."""
    samples = make_samples(n=n)
    change = flipped(samples, answer(samples, np.ones(n)), np.random.default_rng(0), 0.2)
    again = np.asarray(quality, dtype=np.float64).copy()
    again[change.flipped] = flip_quality
    overruled = 0.4 * samples.given + 0.6 * np.roll(samples.given, 1, axis=1)
    return samples, answer(samples, quality, overruled), [(change, answer(change.samples, again))]


def test_equal_qualities_are_flagged_together():
    quality = np.repeat([0.1, 0.9], [60, 140])
    samples, first, checks = toy(quality, 0.1)
    decision = calibrated(0.6, samples, first, checks)
    assert np.array_equal(decision.flagged, quality < 0.5)
    assert decision.threshold == pytest.approx(0.1)
    assert decision.recall == 1.0
    assert 0.9 < decision.estimated <= 1.0
    assert decision.noise_rate == pytest.approx(0.3)
    assert decision.flips == 40
    assert json.loads(json.dumps(decision.to_dict())) == decision.to_dict()
    assert "60 % wanted" in decision.sentence


def test_no_label_of_quality_one_is_flagged():
    samples, first, checks = toy(np.ones(200), 1.0)
    decision = calibrated(0.05, samples, first, checks)
    assert not decision.flagged.any()
    assert decision.highest is None
    assert "nothing is flagged; too few of the flips are found" in decision.sentence


def test_what_cannot_be_reached_is_said():
    rng = np.random.default_rng(0)
    samples, first, checks = toy(0.9 * rng.random(200), 0.9 * rng.random(40))
    decision = calibrated(0.99, samples, first, checks)
    assert not decision.flagged.any()
    assert decision.estimated is decision.threshold is decision.recall is None
    assert 0.3 < decision.highest < 0.99
    assert "no threshold is expected to reach 99 %, the highest is" in decision.sentence


@pytest.mark.parametrize("wanted", [0, 1, -0.1, 1.5, float("nan")])
def test_precisions_that_mean_nothing(wanted):
    samples, views, _ = clusters(n=40)
    with pytest.raises(InputError, match=r"precision is .*; expected a share above 0 and below 1"):
        refine(samples, HypergraphPropagation(k=5), Sources(views=views), CPU, precision=wanted)


def test_flips_are_ranked_among_the_other_labels():
    _, _, [(change, again)] = toy(np.linspace(0, 0.9, 200), 0.45)
    others = again.quality[~change.flipped].astype(float)
    expected = (others < np.float32(0.45)).mean() + 0.5 * (others == np.float32(0.45)).mean()
    np.testing.assert_allclose(flip_depths_of(change, again), expected)


# Through the pipeline


@pytest.mark.parametrize("wanted", [0.7, 0.9])
def test_precision_is_kept_where_noise_is_random(wanted):
    samples, views, wrong = clusters(spread=2.0)
    refined = refine(samples, HypergraphPropagation(k=8), Sources(views=views), CPU, precision=wanted)
    about = refined.metadata["precision"]
    assert about["wanted"] == wanted
    assert about["estimated"] >= wanted
    assert about["runs"] == 5
    flags = refined.flagged
    # 120 wrong labels: two standard errors of a share among about as many flags are 0.08
    assert wrong[flags].mean() > wanted - 0.1
    assert flags[wrong].mean() > 0.5
    assert np.array_equal(flags, refined.quality <= np.float32(about["threshold"]))


def test_precision_is_kept_where_few_labels_are_wrong():
    samples, views, wrong = clusters(n=1200, wrong=0.05, spread=2.0)
    refined = refine(samples, HypergraphPropagation(k=8), Sources(views=views), CPU, precision=0.7)
    # 60 wrong labels: two standard errors of a share among about as many flags are 0.12
    assert wrong[refined.flagged].mean() > 0.58
    assert refined.flagged[wrong].mean() > 0.7
    assert 0.03 < refined.metadata["precision"]["noise_rate"] < 0.08


def test_hardly_a_correct_label_is_flagged():
    samples, views, _ = clusters(wrong=0.0, spread=2.0)
    refined = refine(samples, HypergraphPropagation(k=8), Sources(views=views), CPU, precision=0.7)
    assert refined.flagged.mean() < 0.01
    assert refined.metadata["precision"]["noise_rate"] < 0.01


def test_more_precision_flags_fewer_and_the_rest_of_the_answer_stays():
    samples, views, _ = clusters(spread=2.0)
    method, seen, notes = HypergraphPropagation(k=8), Sources(views=views), []
    plain = refine(samples, method, seen, CPU)
    loose, strict = (
        refine(samples, method, seen, CPU, Callbacks(note=notes.append), precision=wanted) for wanted in (0.5, 0.95)
    )
    assert strict.flagged.sum() < loose.flagged.sum()
    assert not (strict.flagged & ~loose.flagged).any()
    same = plain.flagged == strict.flagged
    assert same.any()
    assert np.array_equal(plain.distribution[same], strict.distribution[same])
    assert not (strict.changed & ~strict.flagged).any()  # a label not held wrong is not changed
    assert "precision" not in plain.metadata
    assert len(notes) == 2
    assert all(note.startswith("Precision: flagged labels of quality") for note in notes)


def test_flags_at_a_precision_do_not_hang_on_the_order_of_rows(monkeypatch):
    monkeypatch.setattr(calibration, "MOST_RUNS", 1)
    samples, views, _ = clusters(n=240)
    order = np.random.default_rng(1).permutation(240)
    moved = Samples(samples.ids[order], NAMES, samples.given[order], samples.labeled[order], samples.paths[order])
    turned = [Features(v.view, moved.ids, v.values[order], v.found[order]) for v in views]
    method = HypergraphPropagation(k=8)
    here = refine(samples, method, Sources(views=views), CPU, precision=0.8)
    there = refine(moved, method, Sources(views=turned), CPU, precision=0.8)
    assert here.flagged.any()
    assert (here.flagged[order] == there.flagged).mean() > 0.98


@pytest.mark.parametrize("name", ["threshold", "landmark", "au-prior", "consensus"])
def test_every_method_can_be_calibrated(name):
    from fercleaner import methods

    evidence = make_evidence(np.random.default_rng(0), n=150, unlabeled=0.1, missing=0.05).evidence
    method, rng = methods.build(name), np.random.default_rng
    samples = evidence.samples
    first = method.refine(evidence, rng(0))
    checks = []
    for number in range(flip_runs(samples)):
        change = flipped(samples, first, rng(number))
        checks.append((change, method.refine(replace(evidence, samples=change.samples), rng(0))))
    decision = calibrated(0.3, samples, first, checks)
    assert not decision.flagged[~samples.labeled].any()
    assert decision.flagged.any()
