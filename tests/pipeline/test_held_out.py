"""Splits that are judged and not learned from: nothing of their labels reaches the rows of learned faces."""

from __future__ import annotations

import numpy as np
import pytest

from fercleaner import methods
from fercleaner.core.errors import InputError
from fercleaner.core.types import ActionUnits, Features, Samples
from fercleaner.methods.au_prior.tables import prior
from fercleaner.pipeline.held_out import hide, label_posterior, transition
from fercleaner.pipeline.inputs import Callbacks, Resources, Sources
from fercleaner.pipeline.refine import refine

NAMES = ("anger", "fear", "happiness", "neutral")
N, TEST = 120, 40
CPU, QUIET = Resources(device="cpu"), Callbacks(note=lambda text: None)


def make_set(seed=0):
    """Faces whose last third is the test split, a fifth of all labels wrong; two views and action units."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, N)
    label = np.where(rng.random(N) < 0.2, (truth + 1) % 4, truth)
    ids = np.array([f"face {i:03d}" for i in range(N)])
    split = np.where(np.arange(N) < N - TEST, "train", "test")
    samples = Samples(ids, NAMES, np.eye(4)[label], np.ones(N, dtype=bool), np.full(N, ""), split=split)
    everyone = np.ones(N, dtype=bool)
    views = [
        Features(name, ids, (rng.normal(size=(4, 18)) * 1.5)[truth] + rng.normal(size=(N, 18)), everyone)
        for name in ("a", "b")
    ]
    table = prior("du2014")
    chance = np.clip(rng.normal(0.4, 0.2, size=(N, len(table.units))), 0.01, 0.99).astype(np.float32)
    units = ActionUnits(ids, table.units, chance, everyone, np.ones(N, dtype=np.float32))
    return samples, truth, Sources(views=views, action_units=units)


def other_labels(samples):
    """The same set with every test label moved on by one class, and some taken away."""
    moved = np.where(samples.split == "test", (samples.label + 1) % 4, samples.label)
    labeled = ~((samples.split == "test") & (np.arange(N) % 7 == 0))
    return samples.replacing(given=np.where(labeled[:, None], np.eye(4)[moved], 0), labeled=labeled)


@pytest.mark.parametrize("name", [name for name in methods.METHODS if name != "landmark"])
@pytest.mark.parametrize("precision", [None, 0.6])
def test_altered_test_labels_leave_every_train_row_bit_equal(name, precision):
    if precision is not None and name not in ("hypergraph", "threshold"):
        pytest.skip("the checks on flipped labels are the pipeline's own, whatever the method")
    samples, _, evidence = make_set()
    options = {"learn_from": ["train"], "precision": precision}
    first = refine(samples, methods.build(name), evidence, CPU, QUIET, **options)
    second = refine(other_labels(samples), methods.build(name), evidence, CPU, QUIET, **options)
    train = samples.split == "train"
    for column in ("distribution", "weight", "quality", "flagged", "changed", "reason", "given", "labeled"):
        before, after = getattr(first, column), getattr(second, column)
        np.testing.assert_array_equal(before[train], after[train], err_msg=column)
    for column in ("neighbors_for", "neighbors_against"):
        before, after = getattr(first, column), getattr(second, column)
        assert [row for row, kept in zip(before, train, strict=True) if kept] == [
            row for row, kept in zip(after, train, strict=True) if kept
        ]
    for column, values in first.evidence.items():
        np.testing.assert_array_equal(values[train], second.evidence[column][train], err_msg=column)
    without = refine(samples, methods.build(name), evidence, CPU, QUIET, precision=precision)
    assert not np.array_equal(without.quality[train], first.quality[train])  # test labels count where not left out


def test_hidden_labels_are_judged_by_what_was_learned():
    samples, truth, evidence = make_set()
    refined = refine(samples, methods.build("hypergraph"), evidence, CPU, QUIET, learn_from=["train"])
    test = samples.split == "test"
    assert np.array_equal(refined.labeled, samples.labeled)
    assert np.array_equal(refined.given, samples.given)
    wrong = samples.label != truth
    assert refined.quality[test & ~wrong].mean() > refined.quality[test & wrong].mean() + 0.4
    assert (refined.label == truth)[test].mean() > (samples.label == truth)[test].mean()
    assert refined.metadata["learn_from"] == ["train"]
    flagged = np.flatnonzero(test & refined.flagged)
    assert len(flagged)
    for row in flagged:
        given = NAMES[samples.label[row]]
        assert refined.reason[row].startswith(f"labeled {given}, not learned from (split test); refined to ")
        named = [*refined.neighbors_for[row], *refined.neighbors_against[row]]
        assert named
        assert not set(named) & set(samples.ids[test])
        label = dict(zip(samples.ids, samples.label, strict=True))
        assert all(label[face] == samples.label[row] for face in refined.neighbors_for[row])
        head = f"labeled {given}, not learned from (split test); refined to {NAMES[refined.label[row]]}"
        assert refined.reason[row].startswith(f"{head} ({refined.distribution[row].max():.2f})")
    assert not refined.reason[test & ~refined.flagged & ~refined.changed].astype(bool).any()
    assert not (refined.changed & ~refined.flagged)[test].any()


def test_the_reason_of_a_hidden_label_is_of_what_was_decided():
    """Not of what the method says without the label; a face that nobody knows keeps its reason."""
    samples, _, evidence = make_set()
    blind, rng, views = np.arange(N) == N - 3, np.random.default_rng(0), []
    for view in evidence.views:
        weak = np.where(blind[:, None], 0, view.values + 3 * rng.normal(size=view.values.shape))
        views.append(Features(view.view, view.ids, weak, ~blind, {}, np.where(blind, "torn", "")))
    refined = refine(samples, methods.build("threshold"), Sources(views=views), CPU, QUIET, learn_from=["train"])
    changed = np.flatnonzero((samples.split == "test") & refined.changed)
    assert len(changed)
    for row in changed:
        share = f"{NAMES[refined.label[row]]} ({refined.distribution[row].max():.2f})"
        assert f"(split test); refined to {share}" in refined.reason[row]
    given = NAMES[samples.label[N - 3]]
    assert refined.reason[N - 3] == (
        f"labeled {given}, not learned from (split test); no view of this face (torn): the label is kept"
    )


def test_hidden_labels_by_loops():
    rng = np.random.default_rng(1)
    said = rng.dirichlet(np.ones(3), size=6)
    given = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    given[5] = [0.5, 0.5, 0]
    matrix = rng.dirichlet(np.ones(3), size=3)
    got = label_posterior(said, given, matrix)
    for p, y, r in zip(said, given, got, strict=True):
        expected = np.zeros(3)
        for d in range(3):
            joint = np.array([p[c] * matrix[c, d] for c in range(3)])
            expected += y[d] * joint / joint.sum()
        np.testing.assert_allclose(r, expected, atol=1e-12)
    np.testing.assert_allclose(
        label_posterior(np.eye(2)[:1], np.eye(2)[1:], np.eye(2)), [[1, 0]]
    )  # ruled out: left out


def test_the_matrix_counts_learned_faces_alone():
    samples, _, evidence = make_set()
    refined = refine(samples, methods.build("hypergraph"), evidence, CPU, QUIET, learn_from=["train"])
    train = samples.split == "train"
    counts = np.zeros((4, 4))
    for given, new in zip(samples.label[train], refined.label[train], strict=True):
        counts[new, given] += 1
    counts += 0.5 * np.bincount(samples.label[train], minlength=4) / train.sum()
    learned = hide(samples, ["train"])
    expected = counts / counts.sum(1, keepdims=True)
    np.testing.assert_allclose(transition(learned, refined.distribution), expected, atol=1e-6)


def test_a_precision_leaves_quality_alone_and_changes_no_label_that_is_not_flagged():
    samples, _, evidence = make_set()
    options = {"learn_from": ["train"], "precision": None}
    plain = refine(samples, methods.build("threshold"), evidence, CPU, QUIET, **options)
    strict = refine(samples, methods.build("threshold"), evidence, CPU, QUIET, **options | {"precision": 0.95})
    test = samples.split == "test"
    assert 0 < strict.flagged[test].sum() < plain.changed[test].sum()
    np.testing.assert_array_equal(strict.quality, plain.quality)
    assert not (strict.changed & ~strict.flagged).any()
    flagged = strict.flagged
    np.testing.assert_array_equal(strict.distribution[flagged], plain.distribution[flagged])


@pytest.mark.parametrize("name", ["hypergraph", "threshold"])
def test_hidden_labels_stay_where_nothing_was_learned_of_face_or_class(name):
    samples, _, sources = make_set()
    test = samples.split == "test"
    label = np.where(~test & (samples.label == 3), 0, samples.label)  # no learned face is neutral
    samples = samples.replacing(given=np.eye(4)[label])
    blank = test & (np.arange(N) % 4 == 0)
    seen = [
        Features(v.view, v.ids, np.where(blank[:, None], 0, v.values).astype(np.float32), ~blank) for v in sources.views
    ]
    refined = refine(samples, methods.build(name), Sources(views=seen), CPU, QUIET, learn_from=["train"])
    kept = blank | (test & (label == 3))
    assert (blank & (label == 3)).any()
    np.testing.assert_array_equal(refined.distribution[kept], samples.given[kept])
    assert (refined.quality[kept] == 1).all()
    assert not (refined.flagged | refined.changed)[kept].any()
    assert refined.flagged[test & ~kept].any()


@pytest.mark.parametrize("learn_from", [None, ["train"]])
def test_a_tie_is_changed_by_no_class_order(learn_from):
    samples, truth, sources = make_set()
    tied = (np.eye(4)[truth] + np.eye(4)[(truth + 1) % 4]) / 2
    samples = samples.replacing(given=np.where(np.arange(N)[:, None] % 2 == 0, tied, samples.given))
    turned = samples.replacing(classes=NAMES[::-1], given=samples.given[:, ::-1])
    here, there = (
        refine(of, methods.build("threshold"), sources, CPU, QUIET, learn_from=learn_from) for of in (samples, turned)
    )
    np.testing.assert_array_equal(here.changed, there.changed)
    np.testing.assert_allclose(here.quality, there.quality, atol=1e-4)


def test_splits_that_cannot_be_learned_from():
    samples, _, _ = make_set()
    with pytest.raises(InputError, match=r"learn_from: no labeled face is in split 'trian'\. Did you mean 'train'"):
        hide(samples, ["trian"])
    with pytest.raises(InputError, match=r"learn_from: the set has no splits"):
        hide(samples.replacing(split=None), ["train"])
