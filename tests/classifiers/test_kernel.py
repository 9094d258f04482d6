"""Gaussian-kernel rows: exact where every face is a center, by ids alone, and the same whether kept or made again."""

from __future__ import annotations

import numpy as np
import pytest

from fercleaner.classifiers import nystroem, ridge
from fercleaner.classifiers.nystroem import KernelRows
from fercleaner.classifiers.ridge import FoldRidge
from fercleaner.core.types import Features
from fercleaner.similarity.whitening import join, whiten


def view(values, found=None, name="a"):
    n = len(values)
    found = np.ones(n, dtype=bool) if found is None else found
    ids = np.array([f"face-{i:04d}" for i in range(n)])
    return Features(name, ids, np.where(found[:, None], values, 0).astype(np.float32), found)


def by_loops(rows):
    """The centered kernel matrix of rows (N, D), brought to a mean diagonal of 1."""
    n = len(rows)
    distance = [[sum((a - b) ** 2 for a, b in zip(x, z, strict=True)) for z in rows.tolist()] for x in rows.tolist()]
    apart = sorted(distance[i][j] for i in range(n) for j in range(n) if i != j)
    scale = apart[(len(apart) - 1) // 2]
    matrix = np.exp(-np.array(distance) / scale)
    centered = np.array(
        [[matrix[i, j] - matrix[i].mean() - matrix[:, j].mean() + matrix.mean() for j in range(n)] for i in range(n)]
    )
    return centered / np.mean([centered[i, i] for i in range(n)])


def products(views, order):
    """Inner products of the faces with a vector, about their mean, in the space in which `ridge` measures heads."""
    made = KernelRows(views, order)
    rows = made.rows(np.flatnonzero(made.found))
    held, mean = made.ridge(rows.T @ rows)
    about = (rows - mean)[:, :-1]
    np.testing.assert_allclose(mean, [*rows[:, :-1].mean(0), 1], atol=1e-12)
    return about @ np.linalg.pinv(held[:-1, :-1], rcond=1e-9) @ about.T


def test_inner_products_are_those_of_the_kernel():
    rng = np.random.default_rng(0)
    views = {"a": view(rng.normal(size=(30, 5))), "b": view(rng.normal(size=(30, 3)), name="b")}
    joint = join({name: whiten(values) for name, values in views.items()}).values
    np.testing.assert_allclose(products(views, np.arange(30)), by_loops(joint.astype(np.float64)), atol=2e-3)


def test_centers_stand_for_all_faces(monkeypatch):
    """A third of the faces as centers: inner products stay close where the views have few directions."""
    rng = np.random.default_rng(1)
    views = {"a": view(rng.normal(size=(150, 2)))}
    exact = products(views, np.arange(150))
    monkeypatch.setattr(nystroem, "CENTERS", 50)
    assert KernelRows(views, np.arange(150)).rows(np.arange(150)).shape == (150, 51)
    np.testing.assert_allclose(products(views, np.arange(150)), exact, atol=0.02)


def test_rows_follow_the_order():
    rng = np.random.default_rng(2)
    views = {"a": view(rng.normal(size=(40, 4)))}
    order = rng.permutation(40)
    plain, turned = products(views, np.arange(40)), products(views, order)
    np.testing.assert_allclose(turned, plain[np.ix_(order, order)], atol=1e-4)


def test_faces_without_a_vector_take_no_part():
    rng = np.random.default_rng(3)
    values, found = rng.normal(size=(40, 4)), np.arange(40) % 4 > 0
    views = {"a": view(values, found)}
    assert np.array_equal(KernelRows(views, np.arange(40)).found, found)
    np.testing.assert_allclose(
        products(views, np.arange(40)), products({"a": view(values[found])}, np.arange(30)), atol=1e-4
    )


@pytest.mark.parametrize("seed", range(3))
def test_rows_kept_and_rows_made_again_are_the_same(monkeypatch, seed):
    """But for rounding, in blocks of another size too: heads do not depend on whether a set is large."""
    rng = np.random.default_rng(seed)
    views = {"a": view(rng.normal(size=(90, 6)), rng.random(90) < 0.9), "b": view(rng.normal(size=(90, 3)), name="b")}
    fold, learns, targets = np.arange(90) % 3, rng.random(90) < 0.8, rng.dirichlet(np.ones(4), 90)
    kept = KernelRows(views, np.arange(90))
    monkeypatch.setattr(nystroem, "KEPT", 0)
    again = KernelRows(views, np.arange(90))
    assert kept._kept is not None
    assert again._kept is None
    at = rng.permutation(90)
    np.testing.assert_allclose(kept.rows(at), again.rows(at), atol=1e-6)
    whole = FoldRidge(kept, fold, learns)
    monkeypatch.setattr(ridge, "BLOCK", 7)
    parts = FoldRidge(again, fold, learns)
    np.testing.assert_allclose(parts.own(targets), whole.own(targets), atol=1e-6)
    np.testing.assert_allclose(parts.runs(targets), whole.runs(targets), atol=1e-6)
    by_run = whole.runs(targets)
    np.testing.assert_allclose(parts.own(by_run), whole.own(by_run), atol=1e-6)


@pytest.mark.parametrize("values", [np.ones((12, 3)), np.eye(3)[[0]], np.eye(3)[[0, 1]]])
def test_few_points_have_finite_rows(values):
    made = KernelRows({"a": view(values)}, np.arange(len(values)))
    rows = made.rows(np.arange(len(values)))
    assert made.found.all()
    assert np.isfinite(rows).all()
    assert all(np.isfinite(part).all() for part in made.ridge(rows.T @ rows))


def test_copies_of_one_face_leave_no_scale():
    """Nine of ten centers are one point, so that the median distance is 0: heads know frequencies alone."""
    values = np.vstack([np.ones((9, 3)), [[1, 2, 3]]])
    made = KernelRows({"a": view(values)}, np.arange(10))
    assert made.found.all()
    assert not made.rows(np.arange(10))[:, :-1].any()
    targets = np.eye(2)[np.arange(10) % 2]
    scores = FoldRidge(made, np.arange(10) % 5, np.ones(10, dtype=bool)).own(targets)
    np.testing.assert_allclose(scores, 0.5, atol=1e-5)
