"""Flags at a named precision: flips, depths and the curve against loops, and precision kept on known truth."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fercleaner import calibration
from fercleaner.calibration import (
    LEAST_CAUGHT,
    calibrated,
    depths,
    doubt,
    flip_depths_of,
    flip_runs,
    flipped,
    precision_curve,
    with_labels,
)
from fercleaner.errors import InputError
from fercleaner.methods.generated import make_evidence
from fercleaner.methods.hypergraph import HypergraphPropagation
from fercleaner.pipeline import Resources, Watch, Witnesses, refine
from fercleaner.types import Features, Refinement, Samples

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
    assert change.flipped.sum() == 400
    assert np.array_equal(change.flipped, change.samples.label != samples.label)
    share = change.flipped[::2].sum() / 400
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


@pytest.mark.parametrize(("labeled", "runs"), [(20_000, 1), (2000, 1), (1000, 2), (500, 4), (48, 5), (1, 5)])
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


# The curve


levels = st.lists(st.integers(0, 6).map(lambda i: i / 8), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(levels, levels)
def test_depths_equal_a_count(others, flips):
    got = depths(np.array(others), np.array(flips))
    for value, depth in zip(flips, got, strict=True):
        below = sum(other < value for other in others) + 0.5 * sum(other == value for other in others)
        assert depth == pytest.approx(below / len(others))


def curve_by_loops(quality, doubts, flip_depths):
    """The curve of `precision_curve`, threshold by threshold."""
    n, table, rate = len(quality), [], sum(doubts) / len(doubts)
    for t in sorted(set(quality)):
        share = sum(q <= t for q in quality) / n
        caught = sum(depth <= share + 1e-12 for depth in flip_depths)
        recall = caught / len(flip_depths)
        if recall >= 0.7:
            rate = min(rate, share / recall)
        table.append((t, share, caught, recall))
    rows = []
    for t, share, caught, recall in table:
        rows.append((t, min(1, rate * recall / share) if caught >= LEAST_CAUGHT else None, recall))
    monotone = []
    for i, (t, own, recall) in enumerate(rows):
        looser = [value for _, value, _ in rows[i:] if value is not None]
        monotone.append((t, max(looser) if own is not None else np.nan, recall))
    return monotone, rate


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([3, 9, 1000]))
def test_the_curve_equals_loops(seed, steps):
    rng = np.random.default_rng(seed)
    quality = np.round(rng.random(60) * steps) / steps
    doubts, flip_depths = rng.random(60) * 0.6, np.sort(rng.random(25)) ** 2
    got = precision_curve(quality, doubts, flip_depths)
    expected, rate = curve_by_loops(quality.tolist(), doubts.tolist(), flip_depths.tolist())
    assert got.noise_rate == pytest.approx(rate)
    np.testing.assert_allclose(got.threshold, [t for t, _, _ in expected])
    np.testing.assert_allclose(got.precision, [p for _, p, _ in expected], atol=1e-12)
    np.testing.assert_allclose(got.recall, [r for _, _, r in expected], atol=1e-12)
    known = got.precision[~np.isnan(got.precision)]
    assert (np.diff(known) <= 1e-12).all()


def test_flips_found_like_the_wrong_labels_give_the_true_precision():
    rng = np.random.default_rng(0)
    n, rate = 40_000, 0.2
    wrong = rng.random(n) < rate
    quality = np.where(wrong, rng.beta(1, 4, n), rng.beta(6, 1, n))
    others = np.where(rng.random(n) < rate, rng.beta(1, 4, n), rng.beta(6, 1, n))
    curve = precision_curve(quality, np.full(n, 0.35), depths(others, rng.beta(1, 4, 4000)))
    assert 0.19 < curve.noise_rate < 0.24  # too high a doubt is bounded
    for t in (0.3, 0.5, 0.6):
        at = int(np.searchsorted(curve.threshold, t)) - 1
        assert curve.precision[at] == pytest.approx(wrong[quality <= t].mean(), abs=0.03 + curve.noise_rate - rate)


# The decision


def toy(quality, flip_quality, n=200):
    """A calibration of samples with these qualities, the flips of one check having theirs."""
    samples = make_samples(n=n)
    change = flipped(samples, answer(samples, np.ones(n)), np.random.default_rng(0), 0.2)
    again = np.asarray(quality, dtype=np.float64).copy()
    again[change.flipped] = flip_quality
    half = np.full((n, 4), 1 / 6)
    half[np.arange(n), samples.label] = 0.5
    return samples, answer(samples, quality, half), [(change, answer(change.samples, again))]


def test_equal_qualities_are_flagged_together():
    quality = np.repeat([0.1, 0.9], [60, 140])
    samples, first, checks = toy(quality, 0.1)
    decision = calibrated(0.6, samples, first, checks)
    assert np.array_equal(decision.flagged, quality < 0.5)
    assert decision.threshold == pytest.approx(0.1)
    assert decision.recall == 1.0
    assert decision.estimated == pytest.approx(1.0)
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
        refine(samples, HypergraphPropagation(k=5), Witnesses(views=views), CPU, precision=wanted)


def test_flips_are_ranked_among_the_other_labels():
    _, _, [(change, again)] = toy(np.linspace(0, 0.9, 200), 0.45)
    others = again.quality[~change.flipped].astype(float)
    expected = (others < np.float32(0.45)).mean() + 0.5 * (others == np.float32(0.45)).mean()
    np.testing.assert_allclose(flip_depths_of(change, again), expected)


# Through the pipeline


@pytest.mark.parametrize("wanted", [0.7, 0.9])
def test_precision_is_kept_where_noise_is_random(wanted):
    samples, views, wrong = clusters(spread=2.0)
    refined = refine(samples, HypergraphPropagation(k=8), Witnesses(views=views), CPU, precision=wanted)
    about = refined.metadata["precision"]
    assert about["wanted"] == wanted
    assert about["estimated"] >= wanted
    assert about["runs"] == 4
    flags = refined.flagged
    # 120 wrong labels: two standard errors of a share among about as many flags are 0.08
    assert wrong[flags].mean() > wanted - 0.1
    assert flags[wrong].mean() > 0.5
    assert np.array_equal(flags, refined.quality <= np.float32(about["threshold"]))


def test_more_precision_flags_fewer_and_the_rest_of_the_answer_stays():
    samples, views, _ = clusters(spread=2.0)
    method, seen, notes = HypergraphPropagation(k=8), Witnesses(views=views), []
    plain = refine(samples, method, seen, CPU)
    loose, strict = (
        refine(samples, method, seen, CPU, Watch(note=notes.append), precision=wanted) for wanted in (0.5, 0.95)
    )
    assert strict.flagged.sum() < loose.flagged.sum()
    assert not (strict.flagged & ~loose.flagged).any()
    assert np.array_equal(plain.distribution, strict.distribution)
    assert np.array_equal(plain.quality, strict.quality)
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
    here = refine(samples, method, Witnesses(views=views), CPU, precision=0.8)
    there = refine(moved, method, Witnesses(views=turned), CPU, precision=0.8)
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
