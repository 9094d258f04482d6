"""The inside witnesses of `consensus`: what they say, of whom, and that no label takes part in what judges it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import oracles_consensus as oracle
import pytest
from consensus_cases import (
    crowd,
    fold_of,
    heads_alone,
    hearing_too,
    look_alikes_again,
    make_samples,
    run,
    seen_as,
    sharpened,
)

from fercleaner.core.types import ActionUnits
from fercleaner.methods.consensus import experts as rounds
from fercleaner.methods.consensus.consensus import total
from fercleaner.methods.consensus.experts import Round, Witness, inferred_from_units
from fercleaner.methods.generated import make_evidence
from fercleaner.methods.hypergraph.hypergraph import HypergraphPropagation

GRAPH = HypergraphPropagation(k=7, alpha=0.8, rounds=1)


def relabelled(evidence, faces, rng):
    """Evidence in which those faces have other labels."""
    given = evidence.samples.given.copy()
    given[faces] = np.roll(given[faces], rng.integers(1, given.shape[1]), axis=1)
    return replace(evidence, samples=evidence.samples.replacing(given=given))


def apart_from_shift_and_scale(table):
    """Lifts (M, C) up to what a mean vote and a temperature, numbers for the whole set, can change."""
    centered = table - table.mean(0)
    centered = centered - centered.mean(1, keepdims=True)
    return centered / np.linalg.norm(centered)


@pytest.mark.parametrize("seed", range(3))
def test_witness_of_scores_equals_the_loops(seed):
    rng = np.random.default_rng(seed)
    scores, fold, known = rng.random((20, 4, 3)), rng.integers(0, 4, 20), rng.random(20) < 0.8
    scores[3], scores[4, fold[4]], scores[5, (fold[5] + 1) % 4] = 0, 0, 0
    scores[6, :, 1] = 0
    known[3:7] = True
    made = Witness.of_scores(scores, fold, known)
    own, runs, says = oracle.lifts_of(scores, fold, known)
    np.testing.assert_allclose(made.own, own, atol=1e-12)
    np.testing.assert_allclose(made.runs, runs, atol=1e-12)
    assert made.known.tolist() == says
    assert not made.known[3:5].any()
    assert made.known[5:7].all()
    assert not made.runs[5, (fold[5] + 1) % 4].any()


def test_witness_of_a_table_by_hand():
    """Of three known rows the mean is (.5, .5); the fourth is unknown, the fifth has no mass."""
    table = np.array([[0.8, 0.2], [0.2, 0.8], [0.5, 0.5], [0.9, 0.1], [0, 0]])
    known = np.array([True, True, True, False, True])
    made = Witness.of_table(table, known, learned=False)
    up, down = np.log(1.6), np.log(0.4)
    np.testing.assert_allclose(made.own, [[up, down], [down, up], [0, 0], [0, 0], [0, 0]], atol=1e-12)
    assert made.known.tolist() == [True, True, True, False, False]
    np.testing.assert_array_equal(made.runs, made.own[:, None])
    assert Witness.of_table(table, known, learned=True).runs is None


@pytest.mark.parametrize("name", ["look_alikes", "probe", "kernel_probe"])
def test_no_label_of_a_fold_takes_part_in_its_run(name):
    """All labels of a fold are changed at once: its run says the same of every face, the other runs do not."""
    evidence, _, _ = crowd(0, n=60, c=3)
    fold = fold_of(evidence.samples)
    before = Round(evidence, GRAPH, fold).first()[name]
    for b in range(5):
        other = relabelled(evidence, fold == b, np.random.default_rng(b))
        after = Round(other, GRAPH, fold).first()[name]
        same, there = apart_from_shift_and_scale(before.runs[:, b]), apart_from_shift_and_scale(after.runs[:, b])
        np.testing.assert_allclose(there, same, atol=2e-4)
        mine = fold == b
        own, own_there = (apart_from_shift_and_scale(w.own[mine]) for w in (before, after))
        np.testing.assert_allclose(own_there, own, atol=2e-3)
        changed = apart_from_shift_and_scale(after.runs[:, (b + 1) % 5])
        assert np.abs(changed - apart_from_shift_and_scale(before.runs[:, (b + 1) % 5])).max() > 0.01


@pytest.mark.parametrize("name", ["look_alikes", "probe", "kernel_probe"])
def test_refined_labels_of_a_fold_take_no_part_in_its_second_run(name):
    """Nor do the labels that other runs refined; those that its own run refined for other folds do."""
    evidence, _, _ = crowd(1, n=60, c=3)
    fold, rng = fold_of(evidence.samples), np.random.default_rng(0)
    inside = Round(evidence, GRAPH, fold)
    first = inside.first()
    refined = rng.dirichlet(np.ones(3), (60, 5))
    before = inside.again(refined, first)[name]
    for b in range(5):
        other = rng.dirichlet(np.ones(3), (60, 5))
        other[fold != b, b] = refined[fold != b, b]
        after = inside.again(other, first)[name]
        same, there = apart_from_shift_and_scale(before.runs[:, b]), apart_from_shift_and_scale(after.runs[:, b])
        np.testing.assert_allclose(there, same, atol=2e-4)
        other[fold != b, b] = rng.dirichlet(np.ones(3), int((fold != b).sum()))
        changed = apart_from_shift_and_scale(inside.again(other, first)[name].runs[:, b])
        assert np.abs(changed - same).max() > 0.01


def test_look_alikes_do_not_count_a_face_for_itself():
    """In the runs of other folds, too: what a face's own label or refined label says is taken off."""
    evidence, _, _ = crowd(2, n=40, c=3)
    fold = fold_of(evidence.samples)
    inside = Round(evidence, GRAPH, fold)
    first = inside.first()
    refined = np.broadcast_to(evidence.samples.given[:, None], (40, 5, 3)).astype(np.float64)
    again = inside.again(refined, first)["look_alikes"]
    np.testing.assert_allclose(again.runs, first["look_alikes"].runs, atol=1e-4)  # rounds=1: the same labels again
    _, graph = GRAPH.runs(evidence, fold)
    scores = look_alikes_again(graph, evidence, fold, refined, 0.8)  # one-hot labels: sharpening changes nothing
    np.testing.assert_allclose(again.runs, oracle.lifts_of(scores, fold, np.ones(40, dtype=bool))[1], atol=1e-4)


@pytest.mark.parametrize("name", ["probe", "kernel_probe"])
def test_probes_equal_heads_trained_one_after_another(name):
    evidence, _, _ = crowd(3, n=50, c=3, unlabeled=0.3)
    evidence = seen_as(evidence.samples, evidence.features["a"].values, found=np.arange(50) % 7 > 0)
    fold = fold_of(evidence.samples)
    inside = Round(evidence, GRAPH, fold)
    first = inside.first()
    refined = np.random.default_rng(0).dirichlet(np.ones(3), (50, 5))
    again = inside.again(refined, first)[name]
    for made, target in ((first[name], evidence.samples.given), (again, sharpened(refined))):
        scores, found = heads_alone(evidence, fold, target, name)
        _, runs, says = oracle.lifts_of(scores, fold, found)
        np.testing.assert_allclose(made.runs, runs, atol=2e-4)
        assert made.known.tolist() == says == (np.arange(50) % 7 > 0).tolist()


def test_no_label_tells_of_itself_in_either_round(monkeypatch):
    """Random labels on 40 random numbers a face, which a head can learn by heart: out of fold all is chance.

    A head that is asked about the faces it learned from finds their labels; the lift of a label over other
    classes is then plainly above 0, as the first assertion shows for runs of other folds.
    """
    rng = np.random.default_rng(0)
    samples = make_samples(np.eye(3)[rng.integers(0, 3, 90)])
    evidence = seen_as(samples, rng.normal(size=(90, 40)))
    rounds = []
    for name in ("first", "again"):
        plain = getattr(Round, name)

        def spied(self, *arguments, plain=plain):
            rounds.append(plain(self, *arguments))
            return rounds[-1]

        monkeypatch.setattr(Round, name, spied)
    run(evidence)
    assert len(rounds) == 2

    def told(lifts):
        return np.einsum("nc,nc->n", samples.given, lifts - lifts.mean(1, keepdims=True)).mean()

    other = (fold_of(samples) + 1) % 5
    for witnesses in rounds:
        assert told(witnesses["probe"].runs[np.arange(90), other]) > 0.1
        for name in ("look_alikes", "probe", "kernel_probe"):
            assert told(witnesses[name].own) < 0.03, name


def test_unlabelled_faces_are_judged_and_teach_nobody():
    evidence, _, _ = crowd(4, n=60, c=3, unlabeled=0.4)
    fold, rows = fold_of(evidence.samples), ~evidence.samples.labeled
    inside = Round(evidence, GRAPH, fold)
    first = inside.first()
    refined = np.random.default_rng(0).dirichlet(np.ones(3), (60, 5))
    other = np.where(rows[:, None, None], 1 / 3, refined)
    for name in ("look_alikes", "probe", "kernel_probe"):
        assert first[name].known[rows].all()
        assert np.abs(first[name].own[rows]).max() > 0.1
        here, there = inside.again(refined, first)[name], inside.again(other, first)[name]
        np.testing.assert_array_equal(here.runs, there.runs)


def test_a_face_that_nobody_could_learn_about_is_not_known():
    """One labelled face: the head of its own fold has nobody to learn from, those of the others have it."""
    evidence, _, _ = crowd(5, n=20, c=3)
    alone = evidence.samples.replacing(
        given=np.where(np.arange(20)[:, None] == 3, evidence.samples.given, 0), labeled=np.arange(20) == 3
    )
    fold = fold_of(alone)
    probe = Round(replace(evidence, samples=alone), GRAPH, fold).first()["probe"]
    assert not probe.known[fold == fold[3]].any()
    assert probe.known[fold != fold[3]].all()
    assert not probe.runs[:, fold[3]].any()


def test_a_probe_from_elsewhere_is_used_where_there_are_no_views():
    evidence, _, right = crowd(6, n=60)
    evidence = replace(hearing_too(evidence, right, "probe", np.arange(60) % 4 > 0), features={})
    inside = Round(evidence, GRAPH, fold_of(evidence.samples))
    probe = inside.first()["probe"]
    assert not inside.repeats
    assert probe.runs is None
    assert probe.known.tolist() == (np.arange(60) % 4 > 0).tolist()


@pytest.mark.parametrize(
    ("what", "labels", "labeled"),
    [
        ("fewer faces than folds", [0, 1, 0], [1, 1, 1]),
        ("one face", [0], [1]),
        ("one label", [0, 1, 2, 0, 1, 2, 0, 1], [0, 0, 1, 0, 0, 0, 0, 0]),
        ("one class", [1] * 12, [1] * 12),
        ("a class of one face", [0] * 6 + [1] * 6 + [2], [1] * 13),
        ("labels in one fold alone", [0, 1, 2] * 8, None),
    ],
)
def test_small_and_lopsided_sets_have_finite_witnesses(what, labels, labeled):
    """Both rounds; a run with nobody to learn from says nothing."""
    rng, n, c = np.random.default_rng(0), len(labels), 3
    given = np.eye(c)[labels]
    samples = make_samples(given)
    fold = fold_of(samples)
    labeled = fold == 0 if labeled is None else np.array(labeled, dtype=bool)
    samples = make_samples(given, labeled)
    evidence = seen_as(samples, rng.normal(size=(n, 4)), k=max(1, min(4, n - 1)))
    inside = Round(evidence, GRAPH, fold)
    first = inside.first()
    folds = int(fold.max()) + 1
    for witnesses in (first, inside.again(rng.dirichlet(np.ones(c), (n, folds)), first)):
        for name, told in witnesses.items():
            assert told.own.shape == (n, c), (what, name)
            assert told.runs.shape == (n, folds, c), (what, name)
            assert np.isfinite(told.runs).all(), (what, name)
            assert not told.own[~told.known].any(), (what, name)
            for b in range(folds):
                if not (labeled & (fold != b)).any():
                    assert not told.runs[:, b].any(), (what, name)
    result = run(evidence, k=1)
    assert np.isfinite(result.distribution).all()
    if what in ("one face", "one label"):
        assert np.array_equal(result.label[labeled], samples.label[labeled])


def test_soft_labels_teach_as_distributions():
    """Heads are those that are trained on the distributions, and softer than those of single labels."""
    rng = np.random.default_rng(1)
    values, hard = rng.normal(size=(60, 6)), np.eye(3)[rng.integers(0, 3, 60)]
    soft = 0.6 * hard + 0.4 * rng.dirichlet(np.ones(3), 60)
    fold = fold_of(make_samples(hard))
    told = {}
    for name, given in (("hard", hard), ("soft", soft)):
        evidence = seen_as(make_samples(given), values)
        told[name] = Round(evidence, GRAPH, fold).first()["probe"]
        scores, found = heads_alone(evidence, fold, evidence.samples.given)
        np.testing.assert_allclose(told[name].runs, oracle.lifts_of(scores, fold, found)[1], atol=2e-4)
    assert np.abs(told["hard"].runs).max() > np.abs(told["soft"].runs).max()


def test_heads_are_trained_where_the_user_says(monkeypatch):
    evidence, _, _ = crowd(7, n=40, c=3)
    asked = []
    monkeypatch.setattr(rounds, "torch_device", lambda device: asked.append(device) or "cpu")
    run(replace(evidence, device="cuda:1"))
    assert asked == ["cuda:1"]


def test_posteriors_that_learned_from_the_labels_are_asked_where_there_are_no_views():
    evidence, _, right = crowd(6, n=60)
    evidence = hearing_too(evidence, right, "mirror")
    fold = fold_of(evidence.samples)
    assert Round(evidence, GRAPH, fold).first().keys() == {"look_alikes", "probe", "kernel_probe"}
    blind = Round(replace(evidence, features={}), GRAPH, fold)
    told = blind.first()
    assert told.keys() == {"look_alikes", "mirror"}
    assert told["mirror"].runs is None
    assert blind.posteriors == {}


def test_units_that_cannot_judge_the_classes_have_no_say():
    evidence = make_evidence(np.random.default_rng(0), 40, 4).evidence
    assert inferred_from_units(evidence) is not None
    assert inferred_from_units(replace(evidence, action_units=None)) is None
    samples, units = evidence.samples, evidence.action_units
    strange = ActionUnits(units.ids, ("AU99",), np.ones((40, 1)), np.ones(40, dtype=bool), np.ones(40))
    assert inferred_from_units(replace(evidence, action_units=strange)) is None
    fold = fold_of(samples)
    for classes in (("a", "b", "c", "d"), ("anger", "contempt", "fear", "sadness")):
        named = replace(evidence, samples=samples.replacing(classes=classes), posteriors={})
        assert "action_units" not in Round(named, GRAPH, fold).first()


def test_joined_lifts_of_runs_leave_out_who_is_not_told_fold_by_fold():
    rng = np.random.default_rng(0)
    known = np.ones(30, dtype=bool)
    lifts, given = rng.normal(size=(30, 2, 3)), np.eye(3)[rng.integers(0, 3, 30)]
    told = Witness(lifts[:, 0] + given, lifts, known)
    untold = Witness(rng.normal(size=(30, 3)) + given, None, known)
    own, runs = total({"a": told, "b": untold}, given, np.full(3, 1 / 3), known)
    weights = oracle.likeliest_weights({"a": told.own, "b": untold.own}, given, [1 / 3] * 3)
    np.testing.assert_allclose(own, weights["a"] * told.own + weights["b"] * untold.own, atol=5e-3)
    np.testing.assert_allclose(runs, weights["a"] * lifts, atol=5e-3)
