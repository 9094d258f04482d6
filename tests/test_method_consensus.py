"""The `consensus` method against its docstring in loops, its laws, and witnesses that are right, wrong or missing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import oracles_consensus as oracle
import pytest
from hypothesis import given as draw
from hypothesis import settings as configure
from hypothesis import strategies as st
from scipy.stats import rankdata

from fercleaner.errors import InputError
from fercleaner.methods import build as build_method
from fercleaner.methods import consensus as module
from fercleaner.methods import contract
from fercleaner.methods.au_prior import AuPrior
from fercleaner.methods.base import Evidence, keep_given
from fercleaner.methods.consensus import (
    Consensus,
    fit_weights,
    flagged,
    given_by,
    hearing,
    named_alike,
    outside_worth,
    renamed,
)
from fercleaner.methods.generated import make_evidence
from fercleaner.methods.hypergraph import HypergraphPropagation
from fercleaner.neighbors import nearest
from fercleaner.types import ActionUnits, Features, Neighbors, Posteriors, Samples

NAMES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
FEW = configure(max_examples=15, deadline=None)


def run(evidence, seed=0, **settings):
    return Consensus(**settings).refine(evidence, np.random.default_rng(seed))


def make_samples(given, labeled=None, classes=None):
    given = np.asarray(given, dtype=np.float32)
    n, c = given.shape
    labeled = np.ones(n, dtype=bool) if labeled is None else np.asarray(labeled)
    ids = np.array([f"face-{i:04d}" for i in range(n)])
    return Samples(ids, classes or NAMES[:c], np.where(labeled[:, None], given, 0), labeled, np.full(n, ""))


def witness(samples, values, name="elsewhere", found=None):
    found = np.ones(len(samples), dtype=bool) if found is None else found
    values = np.where(found[:, None], values, 0).astype(np.float32)
    return Posteriors(name, samples.ids, samples.classes, values, found)


def crowd(seed, *, n=240, c=4, flips=0.25, cyclic=False, spread=2.2, unlabeled=0.0):
    """Overlapping clusters with flipped labels: evidence of one view, true classes, posteriors that are about right."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % c
    to = (truth + 1) % c if cyclic else (truth + rng.integers(1, c, n)) % c
    named = np.where(rng.random(n) < flips, to, truth)
    samples = make_samples(np.eye(c)[named], rng.random(n) >= unlabeled)
    values = 1.5 * rng.normal(size=(c, 8))[truth] + spread * rng.normal(size=(n, 8))
    table = nearest(Features("a", samples.ids, values.astype(np.float32), np.ones(n, dtype=bool)), 15, device="cpu")
    right = np.exp(3 * np.eye(c)[truth] + rng.normal(size=(n, c)))
    return Evidence(samples, neighbors={"a": table}), truth, right / right.sum(1, keepdims=True)


def hearing_too(evidence, values, name="elsewhere", found=None):
    """Evidence with one more posterior."""
    more = {**evidence.posteriors, name: witness(evidence.samples, values, name, found)}
    return replace(evidence, posteriors=more)


def auroc(quality, wrong):
    rank, n = rankdata(-quality), int(wrong.sum())
    return (rank[wrong].sum() - n * (n + 1) / 2) / (n * (~wrong).sum())


def expected_of(evidence, **settings):
    method, samples = Consensus(**settings), evidence.samples
    graph = HypergraphPropagation(k=method.k, alpha=method.alpha, rounds=method.rounds, folds=method.folds)
    scores, _ = graph.scores(evidence, int(np.random.default_rng(0).integers(2**31)))
    tables = {"look_alikes": (scores, scores.max(1) > 0)}
    for name, table in evidence.posteriors.items():
        tables[name] = (table.values.astype(np.float64), table.found)
    if evidence.action_units is not None:
        units = AuPrior().infer(evidence)
        tables["action_units"] = (units.distribution, units.judged)
    outside = [name for name in evidence.posteriors if name != "probe"]
    given = samples.given.astype(np.float64)
    return oracle.refine(tables, outside, given, samples.labeled, gamma=method.gamma)


CASES = [
    ({}, {}),
    ({"soft": True}, {"gamma": 1.0}),
    ({"missing": 0.4, "unlabeled": 0.4}, {"k": 3, "rounds": 1}),
    ({"flips": 0.7}, {"gamma": 3.0}),
]


@pytest.mark.parametrize(("shape", "settings"), CASES)
@pytest.mark.parametrize("outside", [0, 1, 2])
def test_equals_the_loops(shape, settings, outside):
    """Weights come from two optimizers, which agree to about a thousandth; the rest is exact."""
    evidence, truth = make_evidence(np.random.default_rng(3), 36, 3, **shape)
    rng = np.random.default_rng(outside)
    for number in range(outside):
        near = rng.dirichlet(np.ones(3), 36) + 2.5 * np.eye(3)[truth]
        evidence = hearing_too(evidence, near / 3.5, f"w{number}", rng.random(36) < 0.8)
    result, expected = run(evidence, **settings), expected_of(evidence, **settings)
    np.testing.assert_allclose(result.distribution, expected["distribution"], atol=2e-3)
    np.testing.assert_allclose(result.quality, expected["quality"], atol=3e-3)
    np.testing.assert_allclose(result.weight, expected["weight"], atol=4e-3)
    clear = np.abs(expected["quality"] - 0.5) > 5e-3
    assert np.array_equal(result.flagged[clear], expected["flagged"][clear])
    assert result.evidence.keys() == expected["evidence"].keys()
    for name, values in expected["evidence"].items():
        np.testing.assert_allclose(result.evidence[name], values, atol=1e-5)
    assert (expected["heard"] > 0).any() == (outside > 0 and shape != {"flips": 0.7})


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_the_likeliest(seed):
    rng = np.random.default_rng(seed)
    given = np.eye(3)[rng.integers(0, 3, 30)]
    lifts = {name: s * given + rng.normal(size=(30, 3)) for name, s in (("a", 1.0), ("b", 0.3), ("c", -0.5))}
    prior = given.mean(0)
    expected = oracle.likeliest_weights(lifts, given, prior)
    assert fit_weights(lifts, given, prior) == {name: pytest.approx(w, abs=2e-3) for name, w in expected.items()}
    assert expected["c"] < 0.05


def test_a_random_witness_weighs_nothing_and_a_vague_one_is_sharpened():
    """Of 3,000 faces the likelihood outweighs a belief of five faces: noise gets about 0, a halved truth about 2."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 3000)
    lifts = 2 * np.eye(4)[truth] + rng.normal(size=(3000, 4))
    rows = np.exp(lifts) / np.exp(lifts).sum(1, keepdims=True)
    given = np.eye(4)[[rng.choice(4, p=p) for p in rows]]
    weights = fit_weights({"half": lifts / 2, "noise": rng.normal(size=(3000, 4))}, given, given.mean(0))
    assert weights["noise"] < 0.08
    assert weights["half"] == pytest.approx(2, abs=0.2)
    assert fit_weights({"clear": lifts / 10}, given, given.mean(0))["clear"] == pytest.approx(4)


@FEW
@draw(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 14), c=st.integers(2, 4))
def test_worth_equals_the_loops(seed, n, c):
    rng = np.random.default_rng(seed)
    given = np.eye(c)[rng.integers(0, c, n)]
    p = rng.dirichlet(np.ones(c), n) + rng.choice([0.0, 3.0]) * given
    p = (p / p.sum(1, keepdims=True)).astype(np.float32).astype(np.float64)
    samples, prior = make_samples(given), np.full(c, 1 / c)
    joined = rng.choice([0.0, 1.0]) * given + 0.3 * rng.normal(size=(n, c))
    inside = np.exp(joined) / np.exp(joined).sum(1, keepdims=True)
    expected = oracle.worth(p, given, inside, prior)
    found = outside_worth(witness(samples, p), np.ones(n, dtype=bool), given, joined, prior)
    assert found == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(renamed(p, given, prior), oracle.renamed(p, given, prior), atol=1e-9)
    assert named_alike(p, given) == oracle.named_alike(p, given)


def test_worth_knows_other_names_of_the_same_classes():
    """A witness that calls a third of the sad faces neutral, as no annotator does, explains as much as any other."""
    given = np.repeat(np.eye(3), 60, axis=0)
    p = given.copy()
    p[:20] = [0, 1, 0]
    samples, prior, rows = make_samples(given), np.full(3, 1 / 3), np.ones(180, dtype=bool)
    joined = np.log(np.where(given > 0, 0.7, 0.15))
    assert outside_worth(witness(samples, p), rows, given, joined, prior) == 1
    assert outside_worth(witness(samples, p[:, [1, 2, 0]]), rows, given, joined, prior) == 0
    assert outside_worth(witness(samples, p), ~rows, given, joined, prior) == 0


@pytest.mark.parametrize(("worth", "heard"), [(0, 0), (0.5, 0), (0.65, 0.5), (0.725, 0.75), (0.8, 1), (1, 1)])
def test_hearing_by_hand(worth, heard):
    assert hearing(worth) == pytest.approx(heard)


def test_a_reading_by_hand():
    """Systematic: T read off two labelled votes beside half a face of (1/2, 1/2); the third face has no label.

    T[0] ~ (.8 + .25, .3 + .25) = (1.05, .55), T[1] ~ (.2 + .25, .7 + .25) = (.45, .95). Face 0, label 0:
    .8 x 1.05 / 1.6 = .525 against .2 x .45 / 1.4 = .0643; face 1, label 1: .3 x .55 / 1.6 = .1031 against
    .7 x .95 / 1.4 = .475.
    """
    voted, given = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]), np.array([[1.0, 0], [0, 1], [0, 0]])
    rows, prior = np.array([True, True, False]), np.array([0.5, 0.5])
    read = partial(given_by, voted, given, rows, np.zeros(3, dtype=bool), prior)
    first, second = 0.525 / (0.525 + 0.09 / 1.4), 0.165 / 1.6 / (0.165 / 1.6 + 0.475)
    np.testing.assert_allclose(read(True), [[first, 1 - first], [second, 1 - second], [0.6, 0.4]])
    assert (read(False)[[0, 1], [0, 1]] > read(True)[[0, 1], [0, 1]]).all()


@pytest.mark.parametrize("law", list(contract.LAWS))
@pytest.mark.parametrize("method", [Consensus(), Consensus(k=3, alpha=0.5, rounds=1, folds=3, precision=0.7)])
def test_obeys_the_laws_of_every_method(method, law):
    contract.check(method, seed=1, laws=[law])


def test_the_laws_hold_with_an_outside_witness():
    """The contract's evidence has none: renumbered faces and permuted classes, by hand."""
    evidence, _, right = crowd(0, n=80)
    order, columns = np.random.default_rng(1).permutation(80), np.array([2, 0, 3, 1])
    evidence = hearing_too(evidence, right, found=np.arange(80) % 5 > 0)
    samples, table = evidence.samples, evidence.neighbors["a"]
    inverse = np.argsort(order)
    moved = Samples(
        samples.ids[order],
        tuple(samples.classes[c] for c in columns),
        samples.given[order][:, columns],
        samples.labeled[order],
        np.full(80, ""),
    )
    neighbors = {"a": Neighbors("a", moved.ids, inverse[table.indices][order], table.similarity[order])}
    outside = evidence.posteriors["elsewhere"]
    posteriors = {"elsewhere": witness(moved, outside.values[order][:, columns], found=outside.found[order])}
    here, there = run(evidence), run(Evidence(moved, neighbors=neighbors, posteriors=posteriors))
    np.testing.assert_allclose(there.distribution, here.distribution[order][:, columns], atol=1e-4)
    np.testing.assert_allclose(there.quality, here.quality[order], atol=1e-4)
    assert run(evidence).distribution.tobytes() == here.distribution.tobytes()


@pytest.mark.parametrize("cyclic", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_an_outside_witness_that_is_right_improves_the_answer(seed, cyclic):
    """It is right of about nine faces in ten where a quarter of labels is wrong and look-alikes overlap."""
    evidence, truth, right = crowd(seed, cyclic=cyclic)
    wrong = evidence.samples.label != truth
    alone, helped = run(evidence), run(hearing_too(evidence, right))
    assert auroc(helped.quality, wrong) > max(0.95, auroc(alone.quality, wrong) + 0.02)
    assert (helped.label == truth).mean() > (alone.label == truth).mean() + 0.05


def wrong_witnesses(right, rng):
    """Posteriors that know nothing of the faces, or name classes in another order."""
    n, c = right.shape
    return {
        "shuffled": right[rng.permutation(n)],
        "constant": np.full_like(right, 1 / c),
        "one class": np.tile(np.r_[0.7, np.full(c - 1, 0.3 / (c - 1))], (n, 1)),
        "random": rng.dirichlet(np.ones(c), n),
        "all classes turned": np.roll(right, 1, axis=1),
        "two classes swapped": right[:, np.r_[1, 0, 2:c]],
    }


@pytest.mark.parametrize("spread", [0.6, 2.2, 50.0], ids=["clear", "overlapping", "pure noise"])
@pytest.mark.parametrize("flips", [0.2, 0.3])
def test_an_outside_witness_that_is_wrong_leaves_the_answer(flips, spread):
    """However much or little look-alikes know; with pure noise inside, nothing else could contradict it."""
    for n in (40, 240):
        evidence, _, right = crowd(1, n=n, flips=flips, spread=spread)
        alone = run(evidence)
        for name, values in wrong_witnesses(right, np.random.default_rng(2)).items():
            result = run(hearing_too(evidence, values))
            assert np.abs(result.distribution - alone.distribution).max() < 0.02, (n, name)
            assert np.array_equal(result.flagged, alone.flagged), (n, name)


def test_an_outside_witness_is_heard_where_look_alikes_know_nothing():
    evidence, truth, right = crowd(2, spread=50.0)
    alone, helped = run(evidence), run(hearing_too(evidence, right))
    assert (helped.label == truth).mean() > 0.9 > 0.8 > (alone.label == truth).mean()


def test_a_wrong_witness_beside_a_right_one_does_not_silence_it():
    evidence, truth, right = crowd(3)
    helped = run(hearing_too(evidence, right))
    both = run(hearing_too(hearing_too(evidence, right), np.roll(right, 1, axis=1), "turned"))
    np.testing.assert_allclose(both.distribution, helped.distribution, atol=1e-6)
    assert (both.label == truth).mean() > 0.9


def test_a_random_probe_hardly_counts():
    """The probe is an inside witness: its weight is fitted, not judged by its worth."""
    evidence, truth, right = crowd(4)
    alone = run(evidence)
    noise = run(hearing_too(evidence, np.random.default_rng(0).dirichlet(np.ones(4), 240), "probe"))
    assert (noise.label == truth).mean() > (alone.label == truth).mean() - 0.04
    assert (run(hearing_too(evidence, right, "probe")).label == truth).mean() > (alone.label == truth).mean() + 0.05


def test_missing_witnesses():
    full = make_evidence(np.random.default_rng(5), 60, 4).evidence
    plain = run(replace(full, posteriors={}, action_units=None))
    assert set(plain.evidence) == {"look_alikes"}
    assert set(run(replace(full, action_units=None)).evidence) == {"look_alikes", "probe"}
    assert set(run(full).evidence) == {"look_alikes", "probe", "action_units"}
    nowhere = np.zeros(60, dtype=bool)
    units = full.action_units
    blank = replace(units, found=nowhere, probability=np.zeros_like(units.probability), quality=np.zeros(60))
    absent = replace(hearing_too(full, np.zeros((60, 4)), "probe", nowhere), action_units=blank)
    absent = hearing_too(absent, np.zeros((60, 4)), "elsewhere", nowhere)
    result = run(absent)
    assert set(result.evidence) == {"look_alikes"}
    np.testing.assert_array_equal(result.distribution, plain.distribution)


def test_action_units_that_cannot_judge_these_classes_have_no_say():
    """Names that no table knows, and a class that nobody measured: the rest of the evidence is used."""
    evidence, _, _ = crowd(6, n=60)
    known = make_evidence(np.random.default_rng(0), 60, 4).evidence.action_units
    for classes in (("a", "b", "c", "d"), ("anger", "contempt", "fear", "sadness")):
        samples = evidence.samples.replacing(classes=classes)
        units = replace(known, ids=samples.ids)
        here = replace(evidence, samples=samples)
        result = run(replace(here, action_units=units))
        assert set(result.evidence) == {"look_alikes"}
        np.testing.assert_array_equal(result.distribution, run(here).distribution)
    strange = ActionUnits(known.ids, ("AU99",), np.ones((60, 1)), np.ones(60, dtype=bool), np.ones(60))
    strange = replace(strange, ids=evidence.samples.ids)
    assert set(run(replace(evidence, action_units=strange)).evidence) == {"look_alikes"}


def test_faces_without_any_witness_keep_their_label():
    rng = np.random.default_rng(0)
    found = np.arange(42) < 40
    given = np.vstack([np.eye(3)[rng.integers(0, 3, 40)], [[0.2, 0.5, 0.3]], [[0, 0, 0]]])
    samples = make_samples(given, np.arange(42) < 41)
    values = np.where(found[:, None], rng.normal(size=(42, 4)), 0).astype(np.float32)
    table = nearest(Features("a", samples.ids, values, found), 3, device="cpu")
    evidence = hearing_too(Evidence(samples, neighbors={"a": table}), np.full((42, 3), 1 / 3), "probe", found)
    result = run(evidence, precision=0.05)
    np.testing.assert_allclose(result.distribution[40:], [[0.2, 0.5, 0.3], [1 / 3] * 3], atol=1e-6)
    assert result.quality[40] == 1
    assert result.weight[40] == pytest.approx(0.38)
    assert result.weight[41] == pytest.approx(0, abs=1e-6)
    assert not result.flagged[40:].any()
    assert all(np.isnan(values[40:]).all() for values in result.evidence.values())


def test_nothing_known_of_any_face_keeps_all_labels():
    samples = make_samples(np.eye(3)[[0, 1, 2, 0]])
    table = Neighbors("a", samples.ids, np.full((4, 2), -1), np.zeros((4, 2)))
    result = run(Evidence(samples, neighbors={"a": table}))
    np.testing.assert_array_equal(result.distribution, keep_given(samples).astype(np.float32))
    assert not result.flagged.any()
    assert result.evidence == {}


def test_unlabelled_faces_get_what_the_witnesses_say():
    evidence, truth, right = crowd(7, unlabeled=0.5)
    result = run(hearing_too(evidence, right), precision=0.5)
    rows = ~evidence.samples.labeled
    assert (result.label == truth)[rows].mean() > 0.85
    assert not result.flagged[rows].any()
    assert all(np.isnan(values[rows]).all() for values in result.evidence.values())
    entropy = -(result.distribution * np.log(result.distribution)).sum(1)
    np.testing.assert_allclose(result.weight[rows], 1 - entropy[rows] / np.log(4), atol=1e-5)
    np.testing.assert_array_equal(result.weight[rows], result.quality[rows])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [40, 200])
def test_clean_labels_are_left_alone(seed, n):
    """Separated clusters without a wrong label: at most 1 % of the faces changed or flagged."""
    evidence, truth, right = crowd(seed, n=n, flips=0.0, spread=0.3)
    for here in (evidence, hearing_too(evidence, right)):
        result = run(here)
        assert (result.label != truth).mean() <= 0.01
        assert result.flagged.mean() <= 0.01


@pytest.mark.parametrize("labels", [[0, 1], [0, 0]])
def test_two_faces_one_neighbor_two_classes(labels):
    samples = make_samples(np.eye(2)[labels])
    table = Neighbors("a", samples.ids, [[1], [0]], [[0.3], [0.3]])
    evidence = Evidence(samples, neighbors={"a": table})
    for here in (evidence, hearing_too(evidence, np.full((2, 2), 0.5)), hearing_too(evidence, np.eye(2), "probe")):
        result = run(here, k=1)
        np.testing.assert_allclose(result.distribution.sum(1), 1, atol=1e-6)
        if labels == [0, 0] and "probe" not in here.posteriors:
            np.testing.assert_allclose(result.distribution, samples.given, atol=1e-6)


def test_flags_at_a_precision_by_hand():
    """1 - quality of labelled faces .95 .9 .8 .4 .1 has the running means .95 .925 .883 .7625 .63."""
    quality = np.array([0.1, 0.9, 0.05, 0.6, 0.0, 0.2])
    rows = np.array([True, True, True, True, False, True])
    assert flagged(quality, rows, 0.0).tolist() == [True, False, True, False, False, True]
    assert flagged(quality, rows, 0.88).tolist() == [True, False, True, False, False, True]
    assert flagged(quality, rows, 0.76).tolist() == [True, False, True, True, False, True]
    assert flagged(quality, rows, 0.94).tolist() == [False, False, True, False, False, False]
    assert not flagged(quality, rows, 0.96).any()
    assert not flagged(quality, np.zeros(6, dtype=bool), 0.5).any()


@FEW
@draw(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 20), low=st.floats(0.01, 0.98), step=st.floats(0, 0.5))
def test_precision_is_kept_and_monotone(seed, n, low, step):
    rng = np.random.default_rng(seed)
    quality, rows = rng.random(n), rng.random(n) < 0.8
    many, few = flagged(quality, rows, low), flagged(quality, rows, min(low + step, 0.99))
    assert many.tolist() == oracle.flags(quality, rows, low)
    assert not (few & ~many).any()
    assert not (many & ~rows).any()
    for flags, precision in ((many, low), (few, min(low + step, 0.99))):
        assert not flags.any() or (1 - quality[flags]).mean() >= precision - 1e-12


def test_precision_changes_flags_alone():
    evidence, truth, right = crowd(8)
    evidence = hearing_too(evidence, right)
    plain, counts = run(evidence), []
    for precision in (0.5, 0.8, 0.95):
        result = run(evidence, precision=precision)
        np.testing.assert_array_equal(result.distribution, plain.distribution)
        np.testing.assert_array_equal(result.quality, plain.quality)
        assert (1 - result.quality[result.flagged]).mean() >= precision - 1e-6
        counts.append(result.flagged.sum())
    assert counts == sorted(counts, reverse=True)
    wrong = evidence.samples.label != truth
    assert wrong[run(evidence, precision=0.95).flagged].mean() > 0.85


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k = 0; at least one neighbor is needed"),
        ({"alpha": 1.0}, "alpha = 1.0; expected 0 <= alpha < 1"),
        ({"rounds": 0}, "rounds = 0; at least one is needed"),
        ({"gamma": -1.0}, "gamma = -1.0; expected a number of at least 0"),
        ({"folds": 1}, "folds = 1; at least 2 are needed"),
        ({"precision": 1.0}, "consensus: precision = 1.0; expected 0 <= precision < 1"),
        ({"precision": -0.1}, "consensus: precision = -0.1; expected 0 <= precision < 1"),
        ({"precision": float("nan")}, "consensus: precision = nan; expected 0 <= precision < 1"),
    ],
)
def test_bad_parameters_are_errors(settings, message):
    with pytest.raises(InputError, match=message):
        Consensus(**settings)


def test_settings_and_needs():
    assert build_method("consensus", {"precision": "0.8", "k": "7"}) == Consensus(precision=0.8, k=7)
    samples = make_samples(np.eye(2))
    with pytest.raises(InputError, match=r"Method 'consensus' needs neighbors: add --encoder or --view NAME=FILE"):
        run(Evidence(samples))
    table = Neighbors("a", samples.ids, [[1], [0]], [[0.3], [0.3]])
    with pytest.raises(InputError, match=r"No face carries a label; method 'consensus' needs some labeled faces"):
        run(Evidence(make_samples(np.eye(2), [False, False]), neighbors={"a": table}))
    assert module.PROBE == "probe"
