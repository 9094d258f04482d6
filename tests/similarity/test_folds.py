"""Folds by a hash of group or id: balanced, whole groups, whatever the order of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fercleaner.core.groups import fold_numbers


def names(n):
    return np.array([f"face-{i:03d}" for i in range(n)])


@pytest.mark.parametrize(("n", "folds"), [(10, 3), (57, 10), (5, 10), (1, 4), (2, 2)])
def test_folds_are_balanced(n, folds):
    fold = fold_numbers(names(n), None, folds, seed=3)
    counts = np.bincount(fold, minlength=min(n, folds))
    assert len(counts) == min(n, folds)
    assert counts.max() - counts.min() <= 1
    assert fold.dtype == np.int64


def test_folds_keep_groups_together_and_deal_groups_evenly():
    rng = np.random.default_rng(0)
    group = np.array([f"g{i}" if i else "" for i in rng.integers(0, 20, 200)])
    fold = fold_numbers(names(200), group, 6, seed=0)
    dealt = []
    for name in set(group.tolist()) - {""}:
        assert len(set(fold[group == name].tolist())) == 1
        dealt.append(fold[group == name][0])
    dealt += fold[group == ""].tolist()
    counts = np.bincount(dealt, minlength=6)
    assert counts.max() - counts.min() <= 1
    assert len(set(fold[group == ""].tolist())) > 1


def test_a_group_named_as_another_face_is_not_mixed_up_with_it():
    ids, group = np.array(["a", "b", "c"]), np.array(["", "a", "a"])
    for seed in range(8):
        fold = fold_numbers(ids, group, 2, seed)
        assert fold[1] == fold[2] != fold[0]


@given(st.integers(0, 1000), st.integers(1, 60), st.integers(2, 12))
@settings(max_examples=40, deadline=None)
def test_folds_do_not_hang_on_the_order_of_rows(seed, n, folds):
    rng = np.random.default_rng(seed)
    group = np.array([f"g{i}" if i else "" for i in rng.integers(0, 8, n)])
    order = rng.permutation(n)
    here = fold_numbers(names(n), group, folds, seed)
    assert np.array_equal(fold_numbers(names(n)[order], group[order], folds, seed), here[order])


def test_folds_change_with_the_seed_and_with_nothing_else():
    first = fold_numbers(names(100), None, 10, seed=1)
    assert np.array_equal(first, fold_numbers(names(100), None, 10, seed=1))
    assert (first != fold_numbers(names(100), None, 10, seed=2)).mean() > 0.5
