"""The `consensus` method: its first round in loops, its laws, and sources that are right, wrong, near or far."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import oracles_consensus as oracle
import pytest
from consensus_cases import beside, crowd, folds_of, make_samples, run, seen_as, source

from fercleaner.classifiers.nystroem import KernelRows
from fercleaner.core.errors import InputError
from fercleaner.core.numeric import normalized
from fercleaner.core.types import Features
from fercleaner.evaluation.metrics import average_precision
from fercleaner.methods import build as build_method
from fercleaner.methods import contract
from fercleaner.methods.base import keep_given, leading
from fercleaner.methods.consensus import consensus
from fercleaner.methods.consensus.consensus import Consensus, deals, surest_stay
from fercleaner.methods.consensus.experts import KernelHead, fit_stack
from fercleaner.methods.consensus.noise_models import Labels, Noise, measured_noise
from fercleaner.methods.consensus.reader import Reader
from fercleaner.methods.generated import make_evidence, with_class_order
from fercleaner.noise.class_priors import base_rates, pooled_priors
from fercleaner.noise.label_model import class_frequencies


def accuracy(refined, truth):
    return (refined.label == truth).mean()


def first_round(evidence, fold, rates):
    """Weights and shares are the library's (tested by themselves); heads, frequencies and readings are in loops."""
    samples, given = evidence.samples, evidence.samples.given.astype(float)
    order = np.argsort(samples.ids)
    made = KernelRows(evidence.features, order)
    rows, learns = made.rows(np.arange(30)), made.found & samples.labeled[order]
    held, mean = made.ridge(rows[learns].T @ rows[learns])
    design = (rows - mean)[:, :-1] @ np.linalg.inv(np.linalg.cholesky(held[:-1, :-1])).T
    scores, found = np.zeros_like(given), made.found
    scores[order] = oracle.own_scores(design, given[order], fold[order], learns)
    known = np.zeros(30, dtype=bool)
    known[order] = found
    scores[~known] = 0
    terms = {"probe": scores, "probe_log": np.log(1 + 50 * np.maximum(scores, 0))}
    head = KernelHead(evidence)
    head.deal(fold)
    for name, expert in head.learn(given).items():
        np.testing.assert_allclose(expert.own, terms[name], atol=1e-3)
    rows, prior = known & samples.labeled, class_frequencies(given)
    stack = fit_stack({name: values[rows] for name, values in terms.items()}, given[rows], prior)
    ratios = stack.joined(terms)
    noise = measured_noise(ratios, Labels(given, rows, prior, fold, None))
    shared, hit, left = noise.shares
    start = np.log(pooled_priors(prior, base_rates(samples.classes, rates), noise.explained**2))
    first = oracle.systematic(start + ratios, start + ratios, given, rows, prior, np.ones(30))
    for i in range(30):
        kept = given[i] if samples.labeled[i] else oracle.softmax(start + ratios[i])
        at_random = np.zeros(3)
        for share, model in noise.models:
            vote = oracle.softmax(model.bias + model.sharpness * ratios[i])
            at_random += share * np.array(oracle.posterior(vote, given[i], model.transition))
        first[i] = shared * first[i] + hit * at_random + left * np.array(kept)
    return np.where(known[:, None], first, keep_given(samples)), rows


@pytest.mark.parametrize("rates", ["none", "even"])
def test_the_first_round_equals_the_loops(rates):
    evidence, _ = make_evidence(np.random.default_rng(3), 30, 3, soft=True)
    samples, given = evidence.samples, evidence.samples.given.astype(float)
    answers = [first_round(evidence, fold, rates) for fold in folds_of(samples)]
    expected, rows = np.mean([answer for answer, _ in answers], axis=0), answers[0][1]
    answer = run(evidence, rounds=1, base_rates=rates)
    kept = np.array(["surest" in note for note in answer.notes])
    assert not kept.any()
    np.testing.assert_allclose(answer.distribution, expected, atol=2e-3)
    quality = (expected * given).sum(1) / given.max(1, where=given > 0, initial=1e-9)
    np.testing.assert_allclose(answer.quality[rows], quality[rows], atol=2e-3)


@pytest.mark.parametrize(
    ("faces", "times"), [(30, 4), (8_192, 4), (8_193, 3), (16_384, 2), (16_385, 1), (1_000_000, 1)]
)
def test_small_sets_are_dealt_into_folds_several_times(faces, times):
    assert deals(np.arange(faces + 5) < faces) == times


@pytest.mark.parametrize("law", list(contract.LAWS))
@pytest.mark.parametrize("settings", [{"rounds": 1}, {"folds": 3, "base_rates": "none"}])
def test_obeys_the_laws_with_other_settings(law, settings):
    contract.check(Consensus(**settings), laws=[law])


@pytest.mark.parametrize("kind", ["random", "cyclic"])
def test_wrong_labels_are_found_and_mended(kind):
    evidence, truth, _ = crowd(1, n=600, flips=0.25, cyclic=kind == "cyclic", spread=1.5)
    refined = run(evidence)
    wrong = evidence.samples.label != truth
    assert average_precision(1 - refined.quality, wrong) > 0.9
    assert accuracy(refined, truth) > 0.88


def test_the_second_round_is_no_worse():
    evidence, truth, _ = crowd(2, n=600, flips=0.3, spread=2.0)
    assert accuracy(run(evidence), truth) >= accuracy(run(evidence, rounds=1), truth) - 0.01


@pytest.mark.parametrize("seed", range(2))
def test_right_labels_that_are_learned_stay(seed):
    evidence, truth, _ = crowd(seed, n=500, flips=0.0, spread=1.0)
    refined = run(evidence)
    assert (refined.label != truth).mean() <= 0.015
    assert refined.flagged.mean() <= 0.015


def test_views_that_know_nothing_change_nothing():
    evidence, _, _ = crowd(4, n=300, flips=0.3)
    noise = np.random.default_rng(0).normal(size=(300, 8))
    refined = run(seen_as(evidence.samples, noise))
    assert (refined.label == evidence.samples.label).all()
    assert not refined.flagged.any()


@pytest.mark.parametrize("near", [None, 1.0])
def test_a_source_that_is_right_helps(near):
    evidence, truth, right = crowd(5, n=600, flips=0.25, spread=2.5)
    alone, told = run(evidence), run(beside(evidence, right, near=near))
    assert accuracy(told, truth) > accuracy(alone, truth) + 0.02
    assert told.evidence.keys() == {"probe", "elsewhere"}


@pytest.mark.parametrize("what", ["shuffled", "other classes", "constant"])
@pytest.mark.parametrize("near", [None, 1.0])
def test_a_source_that_is_wrong_does_no_harm(what, near):
    """Even where the user says that it was validated on such faces: the labels do not bear it out."""
    evidence, truth, right = crowd(6, n=600, flips=0.2, spread=1.5)
    wrong = {
        "shuffled": np.random.default_rng(0).permutation(right),
        "other classes": right[:, [1, 2, 3, 0]],
        "constant": np.tile(right.mean(0), (600, 1)),
    }[what]
    alone, told = run(evidence), run(beside(evidence, wrong, near=near))
    assert accuracy(told, truth) >= accuracy(alone, truth) - 0.01


def test_a_biased_source_that_is_far_does_not_overrule_labels():
    """It reads one class as another on most faces: far, its say is what it explains; near, it would empty the class."""
    evidence, truth, right = crowd(7, n=600, flips=0.1, spread=1.3)
    biased = right.copy()
    turned = (truth == 0) & (np.arange(600) % 8 > 0)
    biased[turned] = right[turned][:, [1, 0, 2, 3]]
    alone, far = run(evidence), run(beside(evidence, biased))
    assert accuracy(far, truth) >= accuracy(alone, truth) - 0.01
    assert any("read anger as disgust" in note for note in far.notes)
    assert far.evidence["elsewhere"][truth == 2].mean() > 0.5


def test_posteriors_that_learned_from_the_labels_are_not_used():
    evidence, _, right = crowd(8)
    alone, told = run(evidence), run(beside(evidence, right, learned=True))
    assert np.array_equal(alone.distribution, told.distribution)


def test_a_face_that_only_a_source_knows_is_read_by_it():
    evidence, truth, right = crowd(9, n=400, flips=0.2)
    view = evidence.features["a"]
    found = np.arange(400) % 4 > 0
    values = np.where(found[:, None], view.values, 0)
    part = replace(evidence, features={"a": Features("a", view.ids, values, found)}, neighbors={})
    alone, told = run(part), run(beside(part, right, near=1.0))
    assert (alone.label[~found] == evidence.samples.label[~found]).all()
    assert (told.label == truth)[~found].mean() > (evidence.samples.label == truth)[~found].mean()


def test_unlabeled_faces_get_what_experts_say():
    evidence, truth, _ = crowd(10, n=600, unlabeled=0.3, spread=1.3)
    refined = run(evidence)
    bare = ~evidence.samples.labeled
    assert (refined.label == truth)[bare].mean() > 0.85
    assert not refined.flagged[bare].any()


def test_flags_and_changes_do_not_contradict():
    evidence, _, _ = crowd(11, n=500, flips=0.3, spread=1.4)
    refined = run(evidence)
    changed = refined.label != evidence.samples.label
    assert changed.any()
    assert refined.flagged[changed].all()
    assert ((refined.quality < 0.5) == refined.flagged).all()


def test_of_a_class_that_would_be_emptied_the_surest_labels_stay():
    """Class 1: three labels, expected to hold 1.2 right ones; class 2 keeps a face and is left alone."""
    given = np.eye(3)[[0, 0, 1, 1, 1, 2, 2]]
    refined = np.array([[0.9, 0.1, 0], [1, 0, 0], [0.6, 0.4, 0], [0.55, 0.45, 0], [0.65, 0.35, 0],
                        [0.1, 0, 0.9], [0.9, 0, 0.1]])  # fmt: skip
    answer, kept = surest_stay(refined, given, np.ones(7, dtype=bool))
    assert np.flatnonzero(kept).tolist() == [3]
    np.testing.assert_allclose((1 - kept[3]) * refined[3] + kept[3] * given[3], answer[3])
    assert answer.argmax(1).tolist() == [0, 0, 0, 1, 0, 2, 0]
    np.testing.assert_allclose(np.delete(answer, 3, axis=0), np.delete(refined, 3, axis=0))
    np.testing.assert_allclose(answer[3].sum(), 1)


def test_annotators_who_tie_name_no_class_that_could_be_emptied():
    """Of two classes level in a label or an answer none is first, whatever the order of classes."""
    given = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 0]])
    refined = np.array([[1, 0, 0], [0.9, 0.1, 0], [0.8, 0.1, 0.1], [0, 0, 1]])
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        answer, kept = surest_stay(refined[:, order], given[:, order], np.ones(4, dtype=bool))
        assert not kept.any()
        np.testing.assert_array_equal(answer, refined[:, order])
    level = np.array([[0.5 + 1e-7, 0.5 - 1e-7]])
    assert consensus.emptied(level, np.eye(2)[[0]], np.ones(1, dtype=bool)) == []
    assert consensus.emptied(level, np.eye(2)[[1]], np.ones(1, dtype=bool)) == []


@pytest.mark.parametrize("n", [5, 20])
def test_ties_of_annotators_do_not_hang_on_the_order_of_classes(n):
    evidence = make_evidence(np.random.default_rng(n), n, 7).evidence
    samples = evidence.samples
    tied = np.where(samples.labeled[:, None], (np.eye(7)[samples.label] + np.eye(7)[(samples.label + 1) % 7]) / 2, 0)
    evidence = replace(evidence, samples=samples.replacing(given=tied.astype(np.float32)))
    order = np.array([3, 6, 0, 5, 1, 4, 2])
    here, there = run(evidence), run(with_class_order(evidence, order))
    np.testing.assert_allclose(here.distribution[:, order], there.distribution, atol=2e-6)


def test_a_class_that_the_second_round_empties_is_judged_by_the_first(monkeypatch):
    """The second reading is made to forget class 0: its labels are judged as with one round, all others are not."""
    evidence, _, _ = crowd(3, n=300, flips=0.1)
    first, read, calls = run(evidence, rounds=1), Reader.read, []

    def forgetful(self, own, joined, noise, sure=1.0):
        calls.append(len(calls))
        answer = read(self, own, joined, noise, sure)
        return answer if len(calls) % 8 != 7 else normalized(answer * [0.0, 1, 1, 1] + [0.0, 0.01, 0, 0])

    monkeypatch.setattr(Reader, "read", forgetful)
    second = run(evidence)
    assert len(calls) == 32  # three readings and one in each fold's run, in each of four deals
    labels = evidence.samples.given.argmax(1)
    np.testing.assert_allclose(second.distribution[labels == 0], first.distribution[labels == 0], atol=1e-6)
    assert (second.label[labels > 0] > 0).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_right_labels_stay_where_few_faces_leave_heads_weak(seed, monkeypatch):
    """150 faces, six classes, 30 columns that hardly tell them apart: without proof a label in twenty would change."""
    rng = np.random.default_rng(seed)
    truth = np.arange(150) % 6
    values = 0.5 * rng.normal(size=(6, 30))[truth] + rng.normal(size=(150, 30))
    evidence = seen_as(make_samples(np.eye(6)[truth]), values)
    refined = run(evidence)
    assert (refined.label == truth).all()
    assert not refined.flagged.any()
    assert any("Refined labels are believed by" in note for note in refined.notes)
    monkeypatch.setattr(consensus, "verified", lambda gained: 1.0)
    assert (run(evidence).label != truth).mean() >= 0.05


def test_what_is_learned_from_mended_labels_predicts_labels_left_out_better():
    """A quarter of the labels flipped: the gain is above zero, and nothing is told of doubt."""
    evidence, truth, _ = crowd(3, n=400)
    refined = run(evidence)
    assert not any("Refined labels are believed by" in note for note in refined.notes)
    assert (refined.label == truth).mean() > (evidence.samples.label == truth).mean() + 0.05


def test_one_of_two_proofs_is_enough(monkeypatch):
    """Models of noise are made to find the labels less likely: that heads predict them better is counted beside."""
    evidence, _, _ = crowd(3, n=400)
    monkeypatch.setattr(Noise, "gained", lambda *_: -1.0)
    assert not any("Refined labels are believed by" in note for note in run(evidence).notes)


def test_labels_that_are_not_believed_are_ranked_but_stay(monkeypatch):
    """Quality still tells wrong labels from right ones, by differences that change nothing."""
    evidence, truth, _ = crowd(3, n=400)
    monkeypatch.setattr(consensus, "verified", lambda gained: 0.0)
    refined, label = run(evidence), evidence.samples.label
    assert (refined.label == label).all()
    assert not refined.flagged.any()
    assert refined.quality.min() > 0.9
    assert average_precision(1 - refined.quality, label != truth) > 0.8


@pytest.mark.parametrize(("groups", "believed"), [(1, False), (5, False), (6, True)])
def test_labels_of_few_subjects_are_ranked_but_stay(groups, believed):
    evidence, truth, _ = crowd(3, n=400)
    subject = np.char.add("s", np.random.default_rng(0).permutation(np.arange(400) % groups).astype(str))
    refined = run(replace(evidence, samples=evidence.samples.replacing(group=subject)))
    assert any(f"are of {groups} group" in note for note in refined.notes) != believed
    assert (refined.label != evidence.samples.label).any() == believed
    assert refined.flagged.any() == believed
    assert average_precision(1 - refined.quality, evidence.samples.label != truth) > (0.8 if groups > 1 else 0)


@pytest.mark.parametrize(("gained", "expected"), [(-0.1, 0), (-0.03, 0), (-0.0225, 0.5), (-0.015, 1), (0.3, 1)])
def test_belief_in_refined_labels_by_hand(gained, expected):
    assert consensus.verified(gained) == pytest.approx(expected)


@pytest.mark.parametrize(("beyond", "gained"), [(2.0, -0.9), (4.5, -0.4), (9.0, 0.1)])
def test_labels_prove_themselves_through_a_matrix_only_where_it_is_seen(beyond, gained, monkeypatch):
    """The gain through the matrix is .1, the direct one -.9; both by half where the matrix is half seen."""
    evidence, _, _ = crowd(3, n=200)
    share = float(np.interp(beyond, consensus.SEEN, [0, 1]))
    monkeypatch.setattr(consensus, "ramp", lambda value, limits: share)
    monkeypatch.setattr(Noise, "gained", lambda self, after, labels: 0.1)
    explained = itertools.cycle([-0.9, 0.0])
    monkeypatch.setattr(consensus, "_explained", lambda joined, labels: next(explained))
    asked = []
    monkeypatch.setattr(consensus, "verified", lambda gained: asked.append(gained) or 1.0)
    run(evidence)
    assert asked[-1] == pytest.approx(gained)


def test_a_label_leads_by_the_least_share():
    rng = np.random.default_rng(12)
    refined, given = rng.dirichlet(np.ones(4), 50), 0.6 * np.eye(4)[np.arange(50) % 4] + 0.1
    answer = leading(refined, given)
    assert (answer.argmax(1) == given.argmax(1)).all()
    there = refined.argmax(1) == given.argmax(1)
    assert np.abs(answer - refined)[there].max() < 2e-3
    lead = answer.max(1) - np.sort(answer, axis=1)[:, -2]
    assert lead[~there].max() < 2e-2


def test_an_emptied_class_is_named():
    evidence, truth, right = crowd(13, n=400, flips=0.0, spread=1.2)
    label = truth.copy()
    label[np.flatnonzero(truth == 0)[:4]] = 3
    label[(truth == 3)] = np.arange((truth == 3).sum()) % 3
    samples = make_samples(np.eye(4)[label])
    refined = run(replace(beside(evidence, right, near=1.0), samples=samples), base_rates="none")
    assert (refined.label == 3).any()


def test_sites_of_different_noise_are_read_apart():
    evidence, truth, _ = crowd(14, n=800, flips=0.0, spread=1.6)
    site = np.where(np.arange(800) % 8 < 4, "good", "bad")
    label = np.where((site == "bad") & (np.arange(800) % 3 == 0), (truth + 1) % 4, truth)
    samples = make_samples(np.eye(4)[label], site=site)
    apart, together = (run(replace(evidence, samples=s)) for s in (samples, samples.replacing(site=None)))
    wrong = label != truth
    scores = [average_precision(1 - refined.quality, wrong) for refined in (apart, together)]
    assert scores[0] > scores[1]


@pytest.mark.parametrize("name", ["probe", "probe_log"])
def test_a_source_may_not_take_the_name_of_a_term_of_the_expert(name):
    evidence, _, right = crowd(15)
    with pytest.raises(InputError, match=f"cannot be called '{name}'"):
        run(beside(evidence, right, name))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 1}, "folds = 1; at least 2"),
        ({"rounds": 3}, "rounds = 3; expected 1 or 2"),
        ({"base_rates": "mars"}, "base_rates is 'mars'"),
    ],
)
def test_bad_parameters_are_errors(settings, message):
    with pytest.raises(InputError, match=message):
        Consensus(**settings)


def test_settings_and_needs():
    method = build_method("consensus", {"folds": "4", "base_rates": "even"})
    assert method == Consensus(folds=4, base_rates="even")
    assert method.needs == {"features"}
    evidence, _, _ = crowd(16)
    with pytest.raises(InputError, match="needs features"):
        run(replace(evidence, features={}))


def test_nearness_beyond_its_range_is_an_error():
    with pytest.raises(InputError, match=r"near is 1\.5; expected a number from 0 to 1"):
        source(make_samples(np.eye(2)), np.eye(2), near=1.5)


def test_a_label_that_stays_for_its_class_is_flagged_and_known():
    """A class of four faces that look like another: the surest stays, flagged, and says so."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 100)
    values = 4.0 * np.eye(8)[truth] + rng.normal(size=(300, 8))
    label = truth.copy()
    label[:4] = 3
    samples = make_samples(np.eye(4)[label])
    refined = Consensus().refine(seen_as(samples, values), np.random.default_rng(0))
    stays = refined.stays
    assert stays.sum() == 1
    assert np.flatnonzero(stays)[0] < 4
    assert (refined.flagged & (refined.label == 3))[stays].all()
    assert refined.notes[-1].endswith("the surest keep theirs, and their reasons say so: 1.")
