"""Ridge heads of folds and pairs of folds: the normal equations in loops, and which labels take part in which score."""

from __future__ import annotations

import numpy as np
import oracles_consensus as oracle
import pytest

from fercleaner.classifiers.ridge import FoldRidge, WholeDesign


def drawn(seed, n=40, folds=4, c=3):
    rng = np.random.default_rng(seed)
    design = rng.normal(size=(n, 5)).astype(np.float32) / np.sqrt(5)
    fold, learns = np.arange(n) % folds, rng.random(n) < 0.8
    return design - design.mean(0), fold, learns, rng.dirichlet(np.ones(c), n)


@pytest.mark.parametrize("seed", range(2))
def test_scores_equal_heads_trained_one_after_another(seed):
    design, fold, learns, targets = drawn(seed)
    heads = FoldRidge(WholeDesign(design), fold, learns)
    np.testing.assert_allclose(heads.own(targets), oracle.own_scores(design, targets, fold, learns), atol=1e-5)
    np.testing.assert_allclose(heads.runs(targets), oracle.run_scores(design, targets, fold, learns), atol=1e-5)


def test_targets_of_each_run_teach_its_head():
    design, fold, learns, targets = drawn(2)
    heads = FoldRidge(WholeDesign(design), fold, learns)
    by_run = np.stack([np.roll(targets, shift, axis=1) for shift in range(4)], axis=1)
    expected = [heads.own(by_run[:, f])[i] for i, f in enumerate(fold)]
    np.testing.assert_allclose(heads.own(by_run), expected, atol=1e-6)


def test_no_label_takes_part_where_its_fold_is_left_out():
    design, fold, learns, targets = drawn(3)
    heads = FoldRidge(WholeDesign(design), fold, learns)
    changed = targets.copy()
    changed[fold == 1] = np.roll(targets[fold == 1], 1, axis=1)
    own, runs = heads.own(changed) - heads.own(targets), heads.runs(changed) - heads.runs(targets)
    assert not own[fold == 1].any()
    assert np.abs(own[fold != 1]).max(1).min() > 1e-6
    assert not runs[:, 1].any()
    assert not runs[fold == 1].any()
    assert np.abs(runs[fold == 0][:, [0, 2, 3]]).max(2).min() > 1e-6


def test_scores_of_distributions_sum_to_one():
    design, fold, learns, targets = drawn(4)
    np.testing.assert_allclose(FoldRidge(WholeDesign(design), fold, learns).runs(targets).sum(2), 1, atol=1e-4)


def test_a_fold_that_holds_all_labels_leaves_its_faces_without_scores():
    design, _, _, targets = drawn(5, n=6)
    fold, learns = np.array([0, 0, 0, 0, 1, 1]), np.array([1, 1, 1, 1, 0, 0], dtype=bool)
    heads = FoldRidge(WholeDesign(design), fold, learns)
    assert not heads.own(targets)[fold == 0].any()
    assert heads.own(targets)[fold == 1].any()
    assert not heads.runs(targets)[fold == 0].any()
