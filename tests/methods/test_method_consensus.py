"""The `consensus` method against its docstring in loops, its laws, and witnesses that are right, wrong or missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from consensus_cases import (
    by_loops,
    crowd,
    fold_of,
    heads_alone,
    hearing_too,
    make_samples,
    run,
    seen_as,
)

from fercleaner.core.errors import InputError
from fercleaner.core.evidence import Evidence
from fercleaner.core.types import Features, Neighbors
from fercleaner.evaluation.metrics import auroc, average_precision
from fercleaner.methods import build as build_method
from fercleaner.methods import contract
from fercleaner.methods.base import keep_given
from fercleaner.methods.consensus.consensus import Consensus, total
from fercleaner.methods.consensus.experts import Round
from fercleaner.methods.consensus.noise_models import Labels, Noise
from fercleaner.methods.generated import make_evidence, renumbered, with_class_order
from fercleaner.methods.hypergraph.hypergraph import HypergraphPropagation


def clusters(seed, transition, *, n=600, spread=1.2):
    """Equally frequent clusters of which labels are drawn by a transition matrix: evidence and true classes."""
    rng, c = np.random.default_rng(seed), len(transition)
    truth = np.arange(n) % c
    named = np.array([rng.choice(c, p=transition[t]) for t in truth])
    values = 1.5 * rng.normal(size=(c, 8))[truth] + spread * rng.normal(size=(n, 8))
    return seen_as(make_samples(np.eye(c)[named]), values), truth


def at_sites(evidence, site):
    return replace(evidence, samples=evidence.samples.replacing(site=np.asarray(site)))


def generated(shape, outside=0, views=True, n=30):
    evidence, truth = make_evidence(np.random.default_rng(3), n, 3, **shape)
    rng = np.random.default_rng(outside)
    for number in range(outside):
        near = rng.dirichlet(np.ones(3), n) + 2.5 * np.eye(3)[truth]
        evidence = hearing_too(evidence, near / 3.5, f"w{number}", rng.random(n) < 0.8)
    return evidence if views else replace(evidence, features={})


def overlapping(seed, spread, flips, *, outside=False, sites=False):
    evidence, _, right = crowd(seed, n=42, c=3, spread=spread, flips=flips)
    evidence = hearing_too(evidence, right, found=np.arange(42) % 2 == 0) if outside else evidence
    return at_sites(evidence, np.array(["a", "b", ""])[np.arange(42) % 3]) if sites else evidence


#: What each case is about: shares of the readings between 0 and 1, noise half seen, outside witnesses, sites.
CASES = {
    "all witnesses": (lambda: generated({"soft": True}), {"base_rates": "even"}),
    "one outside, unlabelled faces": (
        lambda: generated({"missing": 0.4, "unlabeled": 0.4}, outside=1),
        {"k": 3, "rounds": 1, "folds": 3},
    ),
    "two outside, no views": (lambda: generated({"missing": 0.4}, outside=2, views=False), {}),
    "noise half seen, sites": (lambda: overlapping(22, 1.5, 0.3, sites=True), {}),
    "half relied on": (lambda: overlapping(7, 2.0, 0.1), {}),
    "outside knows some faces, sites": (lambda: overlapping(2, 3.0, 0.2, outside=True, sites=True), {"alpha": 0.5}),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_the_loops(case):
    """Weights come from two optimizers, which agree to about a thousandth; the rest is exact."""
    make, settings = CASES[case]
    evidence = make()
    result, expected = run(evidence, **settings), by_loops(evidence, **settings)
    np.testing.assert_allclose(result.distribution, expected["distribution"], atol=2e-3)
    np.testing.assert_allclose(result.quality, expected["quality"], atol=3e-3)
    np.testing.assert_allclose(result.weight, expected["weight"], atol=4e-3)
    clear = np.abs(expected["quality"] - 0.5) > 5e-3
    assert np.array_equal(result.flagged[clear], expected["flagged"][clear])
    assert result.evidence.keys() == expected["evidence"].keys()
    for name, values in expected["evidence"].items():
        np.testing.assert_allclose(result.evidence[name], values, atol=1e-5)
    assert (expected["heard"] > 0).any() == ("outside" in case)
    assert (0 < expected["noise"] < 1) == ("half seen" in case)
    if "half" in case:
        assert 0.02 < expected["share"][:, 0].min() < 1


@pytest.mark.parametrize("flips", [0.0, 0.2])
@pytest.mark.parametrize("n", [80, 240])
def test_views_that_know_nothing_change_nothing(n, flips):
    for seed in range(3):
        evidence, _, _ = crowd(seed, n=n, flips=flips, spread=1000.0)
        result = run(evidence)
        assert not result.flagged.any()
        assert np.array_equal(result.label, evidence.samples.label)


@pytest.mark.parametrize("law", list(contract.LAWS))
def test_obeys_the_laws_with_other_settings(law):
    """Every method is held to the laws as it comes; this one also with all of its parameters changed."""
    contract.check(Consensus(k=3, alpha=0.5, rounds=1, folds=3, base_rates="none"), seed=1, laws=[law])


def test_the_laws_hold_with_an_outside_witness_and_sites():
    """The contract's evidence has neither: renumbered faces and permuted classes."""
    evidence, _, right = crowd(0, n=80)
    evidence = hearing_too(evidence, right, found=np.arange(80) % 5 > 0)
    evidence = at_sites(evidence, np.array(["a", "b"])[np.arange(80) // 4 % 2])
    order, columns = np.random.default_rng(1).permutation(80), np.array([2, 0, 3, 1])
    here, there = run(evidence), run(with_class_order(renumbered(evidence, order), columns))
    np.testing.assert_allclose(there.distribution, here.distribution[order][:, columns], atol=1e-4)
    np.testing.assert_allclose(there.quality, here.quality[order], atol=1e-4)
    assert run(evidence).distribution.tobytes() == here.distribution.tobytes()


@pytest.mark.parametrize("cyclic", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_an_outside_witness_that_is_right_leads(seed, cyclic):
    """It is right of about nine faces in ten where a quarter of labels is wrong and look-alikes overlap."""
    evidence, truth, right = crowd(seed, cyclic=cyclic)
    wrong = evidence.samples.label != truth
    alone, helped = run(evidence), run(hearing_too(evidence, right))
    assert auroc(-helped.quality, wrong) > max(0.95, auroc(-alone.quality, wrong) + 0.02)
    assert (helped.label == truth).mean() > (alone.label == truth).mean() + 0.05


def wrong_witnesses(right, rng):
    """Posteriors that know nothing of the faces, or name classes in another order."""
    n, c = right.shape
    near = np.full_like(right, 1 / c) + 1e-3 * rng.normal(size=right.shape)
    return {
        "shuffled": right[rng.permutation(n)],
        "near-constant": near / near.sum(1, keepdims=True),
        "one class": np.tile(np.r_[0.7, np.full(c - 1, 0.3 / (c - 1))], (n, 1)),
        "random": rng.dirichlet(np.ones(c), n),
        "all classes turned": np.roll(right, 1, axis=1),
        "two classes swapped": right[:, np.r_[1, 0, 2:c]],
    }


@pytest.mark.parametrize(
    ("spread", "n"),
    [(0.6, 40), (2.2, 40), (2.2, 160), (50.0, 80)],
    ids=["clear", "few, overlapping", "overlapping", "pure noise"],
)
def test_an_outside_witness_that_is_wrong_leaves_the_answer(n, spread):
    """However much or little look-alikes know; with pure noise inside, nothing else could contradict it."""
    evidence, _, right = crowd(1, n=n, flips=0.3, spread=spread)
    alone = run(evidence)
    for name, values in wrong_witnesses(right, np.random.default_rng(2)).items():
        result = run(hearing_too(evidence, values))
        np.testing.assert_array_equal(result.distribution, alone.distribution, err_msg=name)
        np.testing.assert_array_equal(result.flagged, alone.flagged, err_msg=name)


@pytest.mark.parametrize("few", [1, 3, 10, 20])
def test_an_outside_witness_of_few_faces_is_not_heard(few):
    """Random ones; one that repeats the given labels of the faces that it knows, one that does of one class's alone."""
    evidence, _, _ = crowd(2, n=120)
    alone, found, label = run(evidence), np.arange(120) < few, evidence.samples.label
    said = [(np.random.default_rng(seed).dirichlet(np.ones(4), 120), found) for seed in range(4)]
    same = np.cumsum(label == 1) <= few
    for values, known in [*said, (evidence.samples.given, found), (evidence.samples.given, same & (label == 1))]:
        result = run(hearing_too(evidence, values, found=known))
        np.testing.assert_array_equal(result.distribution, alone.distribution)


@pytest.mark.parametrize("spread", [0.6, 2.2], ids=["clear", "overlapping"])
def test_posteriors_that_learned_from_the_labels_are_no_outside_witness(spread):
    """Be it that "mirror" repeats all given labels or is right: with views, heads on these are heard."""
    evidence, _, right = crowd(4, n=160, spread=spread)
    alone = run(evidence)
    for values in (evidence.samples.given, right):
        result = run(hearing_too(evidence, values, "mirror"))
        np.testing.assert_array_equal(result.distribution, alone.distribution)
        assert result.evidence.keys() == alone.evidence.keys()
    stranger = hearing_too(evidence, right, "elsewhere")
    assert not np.array_equal(run(stranger).distribution, alone.distribution)
    blind = replace(evidence, features={})
    assert run(hearing_too(blind, right, "mirror")).evidence.keys() == {"look_alikes", "mirror"}


def test_what_the_heads_say_is_handed_back():
    """Out of fold, of faces with a vector alone; without views nothing."""
    evidence, _, _ = crowd(5, n=80, unlabeled=0.2)
    evidence = seen_as(evidence.samples, evidence.features["a"].values, found=np.arange(80) % 7 > 0)
    result = run(evidence)
    assert result.posteriors.keys() == {"probe"}
    probe = result.posteriors["probe"]
    scores, found = heads_alone(evidence, fold_of(evidence.samples), evidence.samples.given)
    assert probe.learned
    assert probe.found.tolist() == found.tolist() == (np.arange(80) % 7 > 0).tolist()
    expected = scores[np.arange(80), fold_of(evidence.samples)]
    np.testing.assert_allclose(probe.values[found], expected[found], atol=1e-4)
    assert run(replace(evidence, features={})).posteriors == {}


def test_posteriors_by_the_name_of_a_witness_made_here_are_an_error():
    evidence, _, right = crowd(5, n=40)
    strange = replace(hearing_too(evidence, right, "probe").posteriors["probe"], learned=False)
    with pytest.raises(InputError, match=r"posteriors are called 'probe', which is a witness of its own, but did not"):
        run(replace(evidence, posteriors={"probe": strange}))
    for name in ("look_alikes", "action_units"):
        with pytest.raises(InputError, match=rf"posteriors are called '{name}', which .* Give them another name"):
            run(hearing_too(evidence, right, name))


def test_an_unheard_witness_is_none_for_faces_that_only_it_knows():
    """Six faces without a vector keep their labels, be there a shuffled witness that knows them or not."""
    evidence, _, right = crowd(3, n=80)
    lone = seen_as(evidence.samples, evidence.features["a"].values, found=np.arange(80) >= 6)
    alone = run(lone)
    given = keep_given(lone.samples).astype(np.float32)
    np.testing.assert_allclose(alone.distribution[:6], given[:6], atol=1e-6)
    unheard = run(hearing_too(lone, np.roll(right, 1, axis=1)))
    np.testing.assert_array_equal(unheard.distribution, alone.distribution)
    np.testing.assert_array_equal(unheard.quality, alone.quality)
    heard = run(hearing_too(lone, right))
    assert np.abs(heard.distribution[:6] - right[:6]).max() < 0.95
    assert np.abs(heard.distribution[:6] - given[:6]).max() > 1e-3


def test_an_outside_witness_is_heard_where_look_alikes_know_nothing():
    evidence, truth, right = crowd(2, spread=50.0)
    alone, helped = run(evidence), run(hearing_too(evidence, right))
    assert (helped.label == truth).mean() > 0.9 > 0.85 > (alone.label == truth).mean()


def test_a_wrong_witness_beside_a_right_one_does_not_silence_it():
    evidence, truth, right = crowd(3)
    helped = run(hearing_too(evidence, right))
    both = run(hearing_too(hearing_too(evidence, right), np.roll(right, 1, axis=1), "turned"))
    np.testing.assert_allclose(both.distribution, helped.distribution, atol=1e-6)
    assert (both.label == truth).mean() > 0.9


def test_a_probe_from_elsewhere_is_weighed_by_what_it_explains():
    """It counts where there are no views: a random one hardly, a right one much. With views it is not asked."""
    evidence, truth, right = crowd(4)
    noise = np.random.default_rng(0).dirichlet(np.ones(4), 240)
    blind = replace(evidence, features={})
    alone = (run(blind).label == truth).mean()
    assert (run(hearing_too(blind, noise, "probe")).label == truth).mean() > alone - 0.04
    assert (run(hearing_too(blind, right, "probe")).label == truth).mean() > alone + 0.05
    np.testing.assert_array_equal(run(hearing_too(evidence, right, "probe")).distribution, run(evidence).distribution)


def test_views_to_learn_from_again_make_the_answer_better():
    """Three sets of 240 faces; without vectors there are look-alikes alone, and one round."""
    better = []
    for seed in (10, 11, 13):
        evidence, truth, _ = crowd(seed, spread=2.5)
        once, twice = run(replace(evidence, features={})), run(evidence)
        better.append((twice.label == truth).mean() - (once.label == truth).mean())
    assert min(better) > -0.01
    assert np.mean(better) > 0.02


def test_missing_witnesses_cost_quality_alone():
    """Every subset of the evidence gives distributions, columns of its own, and an answer better than the labels."""
    full, truth = make_evidence(np.random.default_rng(5), 100, 4, flips=0.25)
    named = (keep_given(full.samples).argmax(1) == truth)[full.samples.labeled].mean()
    for views in (full.features, {}):
        for posteriors in (full.posteriors, {}):
            for units in (full.action_units, None):
                here = replace(full, features=views, posteriors=posteriors, action_units=units)
                result = run(here)
                expected = {"look_alikes"} | ({"action_units"} if units is not None else set())
                expected |= {"probe", "kernel_probe"} if views else {"probe"} if posteriors else set()
                assert set(result.evidence) == expected
                np.testing.assert_allclose(result.distribution.sum(1), 1, atol=1e-5)
                assert (result.label == truth)[full.samples.labeled].mean() > named + 0.1


def test_witnesses_that_know_nobody_are_none():
    full = make_evidence(np.random.default_rng(5), 60, 4).evidence
    plain = run(replace(full, features={}, posteriors={}, action_units=None))
    nowhere, units = np.zeros(60, dtype=bool), full.action_units
    blank = replace(units, found=nowhere, probability=np.zeros_like(units.probability), quality=np.zeros(60))
    views = {n: Features(n, v.ids, np.zeros_like(v.values), nowhere) for n, v in full.features.items()}
    absent = replace(hearing_too(full, np.zeros((60, 4)), "probe", nowhere), features=views, action_units=blank)
    result = run(hearing_too(absent, np.zeros((60, 4)), "elsewhere", nowhere))
    assert set(result.evidence) == {"look_alikes"}
    np.testing.assert_array_equal(result.distribution, plain.distribution)


def test_faces_without_any_witness_keep_their_label():
    rng = np.random.default_rng(0)
    found = np.arange(42) < 40
    given = np.vstack([np.eye(3)[rng.integers(0, 3, 40)], [[0.2, 0.5, 0.3]], [[0, 0, 0]]])
    samples = make_samples(given, np.arange(42) < 41)
    evidence = seen_as(samples, rng.normal(size=(42, 4)), k=3, found=found)
    evidence = hearing_too(evidence, np.full((42, 3), 1 / 3), "elsewhere", found)
    for here in (evidence, replace(evidence, features={})):
        result = run(here)
        np.testing.assert_allclose(result.distribution[40:], [[0.2, 0.5, 0.3], [1 / 3] * 3], atol=1e-6)
        assert result.quality[40] == 1
        assert result.weight[40] == pytest.approx(0.38)
        assert result.weight[41] == pytest.approx(0, abs=1e-6)
        assert not result.flagged[40:].any()
        assert all(np.isnan(values[40:]).all() for values in result.evidence.values())
        assert all(np.isfinite(values[:40]).all() for values in result.evidence.values())


def test_nothing_known_of_any_face_keeps_all_labels():
    samples = make_samples(np.eye(3)[[0, 1, 2, 0]])
    table = Neighbors("a", samples.ids, np.full((4, 2), -1), np.zeros((4, 2)))
    result = run(Evidence(samples, neighbors={"a": table}))
    np.testing.assert_array_equal(result.distribution, keep_given(samples).astype(np.float32))
    assert not result.flagged.any()
    assert result.evidence == {}


def test_unlabelled_faces_get_what_the_witnesses_say():
    evidence, truth, right = crowd(7, unlabeled=0.5)
    result = run(hearing_too(evidence, right))
    rows = ~evidence.samples.labeled
    assert (result.label == truth)[rows].mean() > 0.85
    assert not result.flagged[rows].any()
    assert all(np.isnan(values[rows]).all() for values in result.evidence.values())
    entropy = -(result.distribution * np.log(result.distribution)).sum(1)
    np.testing.assert_allclose(result.weight[rows], 1 - entropy[rows] / np.log(4), atol=1e-5)
    np.testing.assert_array_equal(result.weight[rows], result.quality[rows])


def test_evidence_of_an_outside_witness_is_its_share_on_the_given_label():
    evidence, _, right = crowd(8, n=60, unlabeled=0.2)
    found, labeled = np.arange(60) % 3 > 0, evidence.samples.labeled
    column = run(hearing_too(evidence, right, found=found)).evidence["elsewhere"]
    own = right[np.arange(60), evidence.samples.label]
    np.testing.assert_allclose(column, np.where(found & labeled, own, np.nan), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [40, 200])
def test_clean_labels_are_left_alone(seed, n):
    """Separated clusters without a wrong label: at most 1 % of the faces changed or flagged."""
    evidence, truth, right = crowd(seed, n=n, flips=0.0, spread=0.4)
    for here in (evidence, hearing_too(evidence, right), replace(evidence, features={})):
        result = run(here)
        assert (result.label != truth).mean() <= 0.01
        assert result.flagged.mean() <= 0.01


@pytest.mark.parametrize("seed", range(3))
def test_sparse_noise_is_found(seed):
    """Two classes of five lose almost half of their labels to one other: neighbors alone outvote the right labels."""
    transition = np.eye(5)
    transition[0, :2], transition[2, 2:4] = (0.55, 0.45), (0.6, 0.4)
    evidence, truth = clusters(seed, transition, n=500)
    result, label = run(evidence), evidence.samples.label
    vote = (label[evidence.neighbors["a"].indices] == label[:, None]).mean(1)
    found = average_precision(-result.quality, label != truth)
    assert found > average_precision(-vote, label != truth) + 0.25
    assert found > 0.9
    assert (result.label == truth).mean() > (label == truth).mean() + 0.1


@pytest.mark.parametrize("rate", [0.2, 0.3, 0.4])
def test_symmetric_noise_is_measured(rate):
    """150 faces a class: a rate's standard error is up to .04 a cell, the largest of 16 errors up to .1."""
    true = (1 - rate) * np.eye(4) + rate * (1 - np.eye(4)) / 3
    evidence, truth = clusters(2, true, spread=1.0)
    samples, fold = evidence.samples, fold_of(evidence.samples)
    inside = Round(evidence, HypergraphPropagation(folds=5), fold)
    given, prior = samples.given.astype(np.float64), samples.given.mean(0).astype(np.float64)
    joined, _ = total(inside.first(), given, prior, samples.labeled)
    noise = Noise.of(joined, Labels(given, samples.labeled, prior, fold, None))
    model = noise.model
    assert noise.random == 1
    assert noise.shares == (0.5 * noise.relied, 1 - 0.5 * noise.relied, 0)
    counted = np.array([given[truth == c].mean(0) for c in range(4)])
    np.testing.assert_allclose(model.transition, counted, atol=0.08)
    np.testing.assert_allclose(model.transition, true, atol=0.12)
    assert (run(evidence).label == truth).mean() > 0.94


def test_one_site_is_none():
    evidence, _, _ = crowd(0, n=80)
    plain = run(evidence).distribution.tobytes()
    assert run(at_sites(evidence, ["only"] * 80)).distribution.tobytes() == plain
    assert run(at_sites(evidence, [""] * 80)).distribution.tobytes() == plain
    assert run(at_sites(evidence, ["a", "b"] * 40)).distribution.tobytes() != plain


def test_sites_of_different_noise_are_read_apart():
    """One site calls two in five faces by the next class, the other by the last one."""
    better = []
    for seed in range(2):
        rng, truth = np.random.default_rng(seed), np.arange(600) % 3
        site = rng.integers(0, 2, 600)
        named = np.where(rng.random(600) < 0.4, (truth + 1 + site) % 3, truth)
        values = 2.5 * rng.normal(size=(3, 8))[truth] + 2.5 * rng.normal(size=(600, 8))
        evidence = seen_as(make_samples(np.eye(3)[named]), values)
        pooled, apart = run(evidence), run(at_sites(evidence, np.array(["x", "y"])[site]))
        better.append((apart.label == truth).mean() - (pooled.label == truth).mean())
        assert auroc(-apart.quality, named != truth) > auroc(-pooled.quality, named != truth)
    assert min(better) > 0.01
    assert np.mean(better) > 0.02


@pytest.mark.parametrize("labels", [[0, 1], [0, 0]])
def test_two_faces_one_neighbor_two_classes(labels):
    samples = make_samples(np.eye(2)[labels])
    table = Neighbors("a", samples.ids, [[1], [0]], [[0.3], [0.3]])
    evidence = Evidence(samples, neighbors={"a": table})
    view = Features("a", samples.ids, np.eye(2, dtype=np.float32), np.ones(2, dtype=bool))
    for here in (evidence, hearing_too(evidence, np.full((2, 2), 0.5)), replace(evidence, features={"a": view})):
        result = run(here, k=1)
        np.testing.assert_allclose(result.distribution.sum(1), 1, atol=1e-6)
        if labels == [0, 0]:
            np.testing.assert_allclose(result.distribution, samples.given, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k = 0; at least one neighbor is needed"),
        ({"alpha": 1.0}, "alpha = 1.0; expected 0 <= alpha < 1"),
        ({"rounds": 0}, "rounds = 0; at least one is needed"),
        ({"base_rates": "wald"}, "base_rates is 'wald', which is not known. Did you mean 'wild'?"),
        ({"base_rates": "joy:much"}, "base_rates has 'joy:much'; expected a class and a number above 0"),
        ({"folds": 1}, "folds = 1; at least 2 are needed"),
    ],
)
def test_bad_parameters_are_errors(settings, message):
    with pytest.raises(InputError, match=message):
        Consensus(**settings)


def test_settings_and_needs():
    assert build_method("consensus", {"base_rates": "even", "k": "7"}) == Consensus(base_rates="even", k=7)
    with pytest.raises(InputError, match="precision"):
        build_method("consensus", {"precision": "0.8"})
    samples = make_samples(np.eye(2))
    with pytest.raises(InputError, match=r"Method 'consensus' needs neighbors: add --encoder or --view NAME=FILE"):
        run(Evidence(samples))
    table = Neighbors("a", samples.ids, [[1], [0]], [[0.3], [0.3]])
    with pytest.raises(InputError, match=r"No face carries a label; method 'consensus' needs some labeled faces"):
        run(Evidence(make_samples(np.eye(2), [False, False]), neighbors={"a": table}))
