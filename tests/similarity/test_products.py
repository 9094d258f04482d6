"""A A^T x against dense products, by scipy and by torch; propagation a few folds at a time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from fercleaner.core.types import Neighbors
from fercleaner.similarity import hypergraph, products
from fercleaner.similarity.hypergraph import build, leave_out_propagate, left_out_scores, propagate


def table(n=120, k=6, seed=0, view="a"):
    rng = np.random.default_rng(seed)
    indices = np.array([rng.permutation(np.delete(np.arange(n), i))[:k] for i in range(n)])
    similarity = -np.sort(-rng.random((n, k)).astype(np.float32), axis=1)
    return Neighbors(view, np.arange(n).astype(str), indices, similarity)


@pytest.mark.parametrize("torch_from", [0, 10**9])
def test_product_equals_dense(monkeypatch, torch_from):
    monkeypatch.setattr(products, "TORCH_FROM", torch_from)
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((40, 70)) < 0.2, rng.normal(size=(40, 70)), 0).astype(np.float32)
    dense[3] = 0  # a row without entries
    a = sparse.csr_matrix(dense)
    x = rng.normal(size=(40, 5)).astype(np.float32)
    expected = dense.astype(np.float64) @ (dense.T.astype(np.float64) @ x)
    np.testing.assert_allclose(products.gram_product(a, a.T.tocsr())(x), expected, atol=1e-5)


def test_torch_and_scipy_propagate_alike(monkeypatch):
    tables = {"a": table(), "b": table(seed=1, view="b")}
    labels = np.eye(4, dtype=np.float32)[np.arange(120) % 4]
    by_scipy = propagate(build(tables), labels, 0.8)
    monkeypatch.setattr(products, "TORCH_FROM", 0)
    used = []
    by = products._by_torch
    monkeypatch.setattr(products, "_by_torch", lambda a, at: used.append(1) or by(a, at))
    by_torch = propagate(build(tables), labels, 0.8)
    assert used
    np.testing.assert_allclose(by_torch, by_scipy, atol=2e-6)


@pytest.mark.parametrize("columns", [1, 9, 40])
def test_own_entries_are_those_of_all_folds(monkeypatch, columns):
    monkeypatch.setattr(hypergraph, "COLUMNS", columns)
    graph = build({"a": table()})
    labels = np.eye(4, dtype=np.float32)[np.arange(120) % 4]
    fold = np.random.default_rng(0).integers(0, 7, 120)
    whole = leave_out_propagate(graph, labels, fold, 0.8)
    np.testing.assert_allclose(left_out_scores(graph, labels, fold, 0.8), whole[np.arange(120), fold], atol=1e-7)


def test_an_own_label_takes_no_part_in_its_own_score():
    graph = build({"a": table()})
    fold = np.arange(120) % 5
    labels = np.eye(4, dtype=np.float32)[np.arange(120) % 4]
    other = labels.copy()
    other[fold == 2] = np.eye(4, dtype=np.float32)[0]
    one, two = (left_out_scores(graph, given, fold, 0.8, tolerance=1e-3) for given in (labels, other))
    assert one[fold == 2].tobytes() == two[fold == 2].tobytes()
    assert not np.array_equal(one[fold != 2], two[fold != 2])
