"""Gaussian-kernel features: exact where every face is a center, by ids alone, and what faces without a vector get."""

from __future__ import annotations

import numpy as np
import pytest

from fercleaner.classifiers import nystroem
from fercleaner.classifiers.nystroem import kernel_features
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


def test_inner_products_are_those_of_the_kernel():
    rng = np.random.default_rng(0)
    views = {"a": view(rng.normal(size=(30, 5))), "b": view(rng.normal(size=(30, 3)), name="b")}
    table, found = kernel_features(views, np.arange(30))
    joint = join({name: whiten(values) for name, values in views.items()}).values
    assert found.all()
    np.testing.assert_allclose(table @ table.T, by_loops(joint.astype(np.float64)), atol=2e-3)


def test_centers_stand_for_all_faces(monkeypatch):
    """A third of the faces as centers: inner products stay close where the views have few directions."""
    rng = np.random.default_rng(1)
    views = {"a": view(rng.normal(size=(150, 2)))}
    exact, _ = kernel_features(views, np.arange(150))
    monkeypatch.setattr(nystroem, "CENTERS", 50)
    fewer, _ = kernel_features(views, np.arange(150))
    assert fewer.shape == (150, 50)
    np.testing.assert_allclose(fewer @ fewer.T, exact @ exact.T, atol=0.02)


def test_rows_follow_the_order():
    rng = np.random.default_rng(2)
    views = {"a": view(rng.normal(size=(40, 4)))}
    order = rng.permutation(40)
    plain, _ = kernel_features(views, np.arange(40))
    turned, _ = kernel_features(views, order)
    np.testing.assert_allclose(turned @ turned.T, (plain @ plain.T)[np.ix_(order, order)], atol=1e-4)


def test_faces_without_a_vector_are_zero_and_take_no_part():
    rng = np.random.default_rng(3)
    values, found = rng.normal(size=(40, 4)), np.arange(40) % 4 > 0
    table, there = kernel_features({"a": view(values, found)}, np.arange(40))
    alone, _ = kernel_features({"a": view(values[found])}, np.arange(30))
    assert np.array_equal(there, found)
    assert not table[~found].any()
    np.testing.assert_allclose(table[found] @ table[found].T, alone @ alone.T, atol=1e-4)


@pytest.mark.parametrize("values", [np.ones((12, 3)), np.eye(3)[[0]], np.eye(3)[[0, 1]]])
def test_few_points_have_finite_features(values):
    table, found = kernel_features({"a": view(values)}, np.arange(len(values)))
    assert np.isfinite(table).all()
    assert found.all()
    if len(np.unique(values, axis=0)) == 1:
        assert not table.any()


def test_copies_of_one_face_leave_no_scale():
    """Nine of ten centers are one point, so that the median distance is 0."""
    values = np.vstack([np.ones((9, 3)), [[1, 2, 3]]])
    table, found = kernel_features({"a": view(values)}, np.arange(10))
    assert found.all()
    assert not table.any()
