"""Weights of witnesses, the two readings of labels, and outside witnesses: by loops, by hand, and at their edges."""

from __future__ import annotations

import numpy as np
import oracles_consensus as oracle
import pytest
from consensus_cases import make_samples, witness
from hypothesis import given as draw
from hypothesis import settings as configure
from hypothesis import strategies as st

from fercleaner.methods.consensus.external import Voice, hearing, named_alike, outside_worth, proven, renamed, voice
from fercleaner.methods.consensus.noise_models import Labels, Noise, fit_weights, random, systematic
from fercleaner.noise.label_model import fit_latent
from fercleaner.noise.sites import sites_of

FEW = configure(max_examples=15, deadline=None)


def unheard(n, c):
    return Voice(np.zeros(n), np.zeros((n, c)))


def drawn(seed, n=40, c=3, sites=False):
    """Labels with some rows unlabelled or left out, logits that know them a little, and their oracle's twin."""
    rng = np.random.default_rng(seed)
    labeled = rng.random(n) < 0.85
    given = np.eye(c)[rng.integers(0, c, n)]
    given = np.where(rng.random((n, 1)) < 0.5, given, 0.7 * given + 0.3 * rng.dirichlet(np.ones(c), n))
    logits = 1.5 * rng.normal(size=(n, c)) + 2 * given
    site = np.array(["x", "y", ""])[rng.integers(0, 3, n)] if sites else None
    samples = make_samples(given, labeled, site=site)
    given, fold, rows = samples.given.astype(np.float64), rng.integers(0, 4, n), labeled & (rng.random(n) < 0.9)
    labels = Labels(given, rows, rng.dirichlet(np.full(c, 9.0)), fold, sites_of(samples))
    return labels, site, logits, rng


def twin(labels, site, heard):
    return oracle.Given(labels.given, labels.rows.tolist(), labels.prior, labels.fold, site, list(heard))


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_the_likeliest(seed):
    rng = np.random.default_rng(seed)
    target = np.eye(3)[rng.integers(0, 3, 30)]
    target = target if seed % 2 else 0.6 * target + 0.4 * rng.dirichlet(np.ones(3), 30)
    lifts = {name: s * target + rng.normal(size=(30, 3)) for name, s in (("a", 1.0), ("b", 0.3), ("c", -0.8))}
    prior = target.mean(0)
    expected = oracle.likeliest_weights(lifts, target, prior, steps=26)
    assert fit_weights(lifts, target, prior) == {name: pytest.approx(w, abs=2e-3) for name, w in expected.items()}
    assert expected["c"] < 0.05


def test_a_random_witness_weighs_nothing_and_a_vague_one_is_sharpened():
    """Of 3,000 faces the likelihood outweighs a belief of five faces: noise gets about 0, a halved truth about 2."""
    rng = np.random.default_rng(0)
    lifts = 2 * rng.normal(size=(3000, 3))
    chance = np.exp(lifts) / np.exp(lifts).sum(1, keepdims=True)
    given = np.eye(3)[[rng.choice(3, p=p) for p in chance]]
    weights = fit_weights({"vague": lifts / 2, "noise": rng.normal(size=(3000, 3))}, given, np.full(3, 1 / 3))
    assert weights["vague"] == pytest.approx(2, abs=0.15)
    assert weights["noise"] < 0.05
    assert fit_weights({"tiny": lifts / 100}, given, np.full(3, 1 / 3))["tiny"] == pytest.approx(4)


def test_without_faces_or_witnesses_weights_are_the_belief_or_none():
    assert fit_weights({}, np.zeros((0, 3)), np.full(3, 1 / 3)) == {}
    assert fit_weights({"a": np.zeros((0, 3))}, np.zeros((0, 3)), np.full(3, 1 / 3)) == {"a": pytest.approx(0.5)}


@pytest.mark.parametrize("sites", [False, True])
@pytest.mark.parametrize("heard_by", ["nobody", "some", "all"])
def test_readings_equal_the_loops(heard_by, sites):
    labels, site, own, rng = drawn(1 + sites, sites=sites)
    n, c = own.shape
    heard = {"nobody": np.zeros(n), "some": np.where(rng.random(n) < 0.5, rng.random(n), 0), "all": np.ones(n)}
    said = Voice(heard[heard_by], np.zeros((n, c)))
    logits, model = own + rng.normal(size=(n, c)), fit_latent(own[labels.rows], labels.given[labels.rows], labels.prior)
    runs = np.stack([logits, own, 2 * logits, -own], axis=1)
    here = twin(labels, site, heard[heard_by])
    found = systematic(own, runs, labels, said), random(own, runs, labels, said, model)
    for b in range(4):
        shared = oracle.systematic(own, runs[:, b], here, b)
        np.testing.assert_allclose(found[0][:, b], shared, atol=1e-9)
        hit = oracle.random(own, runs[:, b], here, model.transition, b)
        np.testing.assert_allclose(found[1][:, b], hit, atol=1e-9)
        alone = systematic(own, runs[:, b], labels, said)
        np.testing.assert_allclose(alone, oracle.systematic(own, runs[:, b], here), atol=1e-9)
    assert np.abs(found[0] - found[1]).max() > 0.01


def test_a_systematic_reading_by_hand():
    """T read off two labelled votes beside half a face of (1/2, 1/2); the third face has no label.

    T[0] ~ (.8 + .25, .3 + .25) = (1.05, .55), T[1] ~ (.2 + .25, .7 + .25) = (.45, .95). Face 0, label 0:
    .8 x 1.05 / 1.6 = .525 against .2 x .45 / 1.4 = .0643; face 1, label 1: .3 x .55 / 1.6 = .1031 against
    .7 x .95 / 1.4 = .475.
    """
    logits, given = np.log([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]), np.array([[1.0, 0], [0, 1], [0, 0]])
    labels = Labels(given, np.array([True, True, False]), np.array([0.5, 0.5]), np.zeros(3, dtype=np.int64), None)
    first, second = 0.525 / (0.525 + 0.09 / 1.4), 0.165 / 1.6 / (0.165 / 1.6 + 0.475)
    expected = [[first, 1 - first], [second, 1 - second], [0.6, 0.4]]
    np.testing.assert_allclose(systematic(logits, logits, labels, unheard(3, 2)), expected)


def test_a_label_counts_half_beside_a_witness_that_is_fully_heard():
    """As by hand above, all faces heard: p (pT / p)^(1/2) of each, brought to sum 1."""
    logits, given = np.log([[0.8, 0.2], [0.3, 0.7]]), np.eye(2)
    labels = Labels(given, np.array([True, True]), np.array([0.5, 0.5]), np.zeros(2, dtype=np.int64), None)
    plain = systematic(logits, logits, labels, unheard(2, 2))
    halved = np.sqrt(plain * np.exp(logits))
    found = systematic(logits, logits, labels, Voice(np.ones(2), np.zeros((2, 2))))
    np.testing.assert_allclose(found, halved / halved.sum(1, keepdims=True))


def test_a_random_reading_reads_by_the_model():
    """p = (.8, .2), T = (.9 .1; .3 .7), label 1: (.08, .14) / .22; without a label p itself."""
    logits, given = np.log([[0.8, 0.2], [0.8, 0.2]]), np.array([[0, 1.0], [0, 0]])
    labels = Labels(given, np.array([True, False]), np.array([0.5, 0.5]), np.zeros(2, dtype=np.int64), None)
    rows = np.array([[0.0, 1.0]])
    model = fit_latent(np.zeros((1, 2)), rows, labels.prior)
    model = type(model)(model.bias, 1.0, np.array([[0.9, 0.1], [0.3, 0.7]]), 0.0)
    found = random(logits, logits, labels, unheard(2, 2), model)
    np.testing.assert_allclose(found, [[4 / 11, 7 / 11], [0.8, 0.2]])


def test_nobody_judged_leaves_votes_as_they_are():
    labels, _, logits, _ = drawn(0)
    nobody = Labels(labels.given, np.zeros(40, dtype=bool), labels.prior, labels.fold, None)
    votes = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(systematic(logits, logits, nobody, unheard(40, 3)), votes)


@pytest.mark.parametrize("seed", range(3))
def test_noise_equals_the_loops(seed):
    """Unjudged rows take no part."""
    labels, _, _, rng = drawn(seed, n=30)
    lifts = rng.normal(size=(30, 3)) + (0.5 + seed) * labels.given
    noise = Noise.of(lifts, labels)
    inside = lifts[labels.rows].tolist(), labels.given[labels.rows], labels.prior
    seen, relied, share, noisy = oracle.noise_of(*inside)
    assert (noise.random, noise.relied, noise.explained) == pytest.approx((seen, relied, share), abs=1e-6)
    assert noise.shares == pytest.approx(oracle.weights_of_readings(seen, relied), abs=1e-6)
    np.testing.assert_allclose(noise.model.transition, noisy.transition, atol=1e-6)
    lifts[~labels.rows] = 99
    same = Noise.of(lifts, labels)
    assert (same.random, same.relied) == (noise.random, noise.relied)


@pytest.mark.parametrize(
    ("random_noise", "relied", "expected"),
    [
        (0.0, 1.0, (1.0, 0.0, 0.0)),
        (1.0, 1.0, (0.5, 0.5, 0.0)),
        (0.5, 0.4, (0.3, 0.35, 0.35)),
        (1.0, 0.0, (0.02, 0.98, 0.0)),
        (0.0, 0.0, (0.02, 0.0, 0.98)),
    ],
)
def test_shares_by_hand(random_noise, relied, expected):
    assert Noise(random_noise, relied, 0.0, None).shares == pytest.approx(expected)


@FEW
@draw(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 30), c=st.integers(2, 4))
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


def test_one_face_explains_no_label_by_having_met_it():
    """By hand: of face i alone T is the prior, so what is renamed is the prior, whatever the label."""
    given, prior = np.array([[0.0, 1.0]]), np.array([0.7, 0.3])
    np.testing.assert_allclose(renamed(np.array([[0.2, 0.8]]), given, prior), [prior])


@pytest.mark.parametrize(("worth", "heard"), [(0, 0), (0.5, 0), (0.65, 0.5), (0.725, 0.75), (0.8, 1), (1, 1)])
def test_hearing_by_hand(worth, heard):
    assert hearing(worth) == pytest.approx(heard)


@pytest.mark.parametrize(
    ("faces", "expected"), [(0, 0), (3, 0), (20, 0), (53, 0), (72, 0.501), (107, 0.992), (108, 1), (5000, 1)]
)
def test_faces_that_prove_a_witness_by_hand(faces, expected):
    """Seven even classes: 21 nats of log 7 = 1.946 a face; of 72 faces chance explains .1499, half-way of .1 to .2."""
    given = np.tile(np.eye(7), (900, 1))
    assert proven(np.arange(6300) < faces, given, np.full(7, 1 / 7)) == pytest.approx(expected, abs=1e-3)


def test_classes_that_a_witness_does_not_know_count_as_well():
    """It may know faces of one class alone; one class in the whole set is proven by any face."""
    given, prior = np.tile(np.eye(4), (50, 1)), np.full(4, 0.25)
    assert proven(np.arange(200) < 20, given, prior) == 0
    assert proven(np.arange(200) % 4 == 1, given, prior) == 1
    assert proven((np.arange(200) % 4 == 1) & (np.arange(200) < 80), given, prior) == 0
    assert proven(np.arange(9) < 1, np.tile([1.0, 0], (9, 1)), np.array([1 - 1e-9, 1e-9])) == 1


def seven_classes(seed, n=2100):
    """Labels of seven classes as uneven as FER2013's, a quarter of them wrong; what is known inside, and outside.

    Inside and outside explain about a third of the labels' entropy, as look-alikes and a model trained elsewhere do.
    """
    rng, prior = np.random.default_rng(seed), np.array([0.14, 0.02, 0.14, 0.25, 0.17, 0.11, 0.17])
    truth = rng.choice(7, n, p=prior / prior.sum())
    named = np.where(rng.random(n) < 0.25, rng.choice(7, n, p=prior / prior.sum()), truth)
    samples = make_samples(np.eye(7)[named])
    outside = np.exp(3.5 * np.eye(7)[truth] + rng.normal(size=(n, 7)))
    joined = 2.5 * np.eye(7)[truth] + rng.normal(size=(n, 7))
    return samples, joined, outside / outside.sum(1, keepdims=True), rng


def heard_of(samples, values, joined, known):
    given = samples.given.astype(np.float64)
    table = witness(samples, values, found=known)
    return voice({"a": table}, {"a": known}, samples.labeled, given, joined, given.mean(0)).heard[known].max()


@pytest.mark.parametrize(("faces", "expected"), [(3, 0), (10, 0), (20, 0), (50, 0), (300, 1)])
def test_a_witness_that_repeats_the_labels_of_few_faces_is_not_heard(faces, expected):
    """Of three hundred it cannot be told from one that finds them right."""
    for seed in range(3):
        samples, joined, _, _ = seven_classes(seed)
        known = np.arange(len(samples)) < faces
        assert heard_of(samples, samples.given, joined, known) == expected


@pytest.mark.parametrize("faces", [200, 400, 2100])
def test_a_good_witness_of_some_hundred_faces_is_fully_heard_and_a_wrong_one_not_at_all(faces):
    for seed in range(3):
        samples, joined, right, rng = seven_classes(seed)
        known = np.arange(len(samples)) < faces
        assert heard_of(samples, right, joined, known) == 1
        assert heard_of(samples, right[rng.permutation(len(right))], joined, known) == 0
        assert heard_of(samples, right[:, [1, 2, 3, 4, 5, 6, 0]], joined, known) == 0


def test_voice_over_inside_logits_by_hand():
    """Heard by a half: half of (2, 0), the outside's log p times a half, a twentieth of the joined lifts (3, 1)."""
    said = Voice(np.array([0.5, 0.0]), np.array([[-1.0, -2.0], [0, 0]]))
    logits, joined = np.array([[2.0, 0], [2, 0]]), np.array([[3.0, 1], [3, 1]])
    expected = [[1 - 1 + 0.15, 0 - 2 + 0.05], [2, 0]]
    np.testing.assert_allclose(said.over(logits, joined), expected, atol=1e-12)
    stacked = said.over(np.stack([logits, logits], axis=1), np.stack([joined, joined], axis=1))
    np.testing.assert_allclose(stacked, np.stack([expected, expected], axis=1), atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_voice_of_several_witnesses_equals_the_loops(seed):
    """Two that are right (heard about the faces they know), one that is not."""
    rng = np.random.default_rng(seed)
    labels, _, _, _ = drawn(seed, n=60)
    samples = make_samples(labels.given, labels.given.any(1))
    prior, joined = np.full(3, 1 / 3), rng.normal(size=(60, 3)) + labels.given
    right = rng.dirichlet(np.ones(3), 60) + 4 * labels.given
    right /= right.sum(1, keepdims=True)
    tables = {"a": right, "b": np.sqrt(right), "c": rng.dirichlet(np.ones(3), 60)}
    outside, twins = {}, {}
    for name, values in tables.items():
        found = rng.random(60) < 0.7
        outside[name] = witness(samples, values / values.sum(1, keepdims=True), name, found)
        twins[name] = (outside[name].values.astype(np.float64), found)
    known = {name: posterior.found for name, posterior in outside.items()}
    said = voice(outside, known, samples.labeled, labels.given, joined, prior)
    expected = oracle.voices(twins, labels.given, samples.labeled, joined.tolist(), prior)
    np.testing.assert_allclose(said.heard, expected.heard, atol=1e-6)
    np.testing.assert_allclose(said.logits, expected.logits, atol=1e-5)
    assert said.heard.max() > 0.9
    np.testing.assert_array_equal(said.heard > 0, known["a"] | known["b"])
