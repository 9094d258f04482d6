"""The landmark descriptor and the quality of a measurement."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fercleaner.core.types import Landmarks
from fercleaner.landmarks import geometry

FERPLUS = Path(os.environ.get("FERCLEANER_FERPLUS", Path(__file__).parents[3] / "shared" / "ferplus"))


def faces(count: int, seed: int = 0) -> np.ndarray:
    """Random faces around one shape with level eyes, (count, 68, 2) float64, about 60 px between the eyes."""
    rng = np.random.default_rng(seed)
    shape = np.random.default_rng(99).uniform(-60, 60, (68, 2))
    shape[geometry.RIGHT_EYE] = np.array([-30, -20]) + np.random.default_rng(1).normal(0, 4, (6, 2))
    shape[geometry.LEFT_EYE] = np.array([30, -20]) + np.random.default_rng(2).normal(0, 4, (6, 2))
    return shape + rng.normal(0, 3, (count, 68, 2)) + 100


def moved(points: np.ndarray, angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ (scale * np.array([[cos, sin], [-sin, cos]])) + shift


def landmarks(points: np.ndarray, found: np.ndarray | None = None, **more: object) -> Landmarks:
    n = len(points)
    there = np.ones(n, bool) if found is None else found
    ids = np.array([f"face{i}" for i in range(n)])
    return Landmarks(ids, points.astype(np.float32), there, there.astype(np.float32), **more)  # type: ignore[arg-type]


def loops(points: np.ndarray) -> np.ndarray:
    """The descriptor's formula with a loop a face, an SVD alignment and a matrix power by eigenvalues."""
    n = len(points)
    inner = []
    for face in points:
        right, left = face[36:42].mean(0), face[42:48].mean(0)
        angle = np.arctan2(*(left - right)[::-1])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shape = (face[17:] - face[17:].mean(0)) @ turn
        inner.append(shape / np.linalg.norm(shape))
    for _ in range(3):
        mean = np.mean(inner, axis=0)
        for i in range(n):
            u, _, vt = np.linalg.svd(inner[i].T @ mean)
            assert np.linalg.det(u @ vt) > 0
            inner[i] = inner[i] @ (u @ vt)
    flat = np.array([np.concatenate([face[:, 0], face[:, 1]]) for face in inner])
    deviation = np.empty_like(flat)
    for column in range(flat.shape[1]):
        middle = np.median(flat[:, column])
        limit = 6 * 1.4826 * np.median(np.abs(flat[:, column] - middle))
        deviation[:, column] = np.clip(flat[:, column] - middle, -limit, limit)
    deviation -= deviation.mean(0)
    variance, axes = np.linalg.eigh(np.cov(deviation.T, bias=True))
    total = np.clip(variance, 0, None).mean()
    root = axes @ np.diag(np.maximum(variance / total, 1e-3) ** -0.25) @ axes.T
    return deviation @ root / np.sqrt(total)


def test_descriptor_is_its_formula() -> None:
    points = faces(40)
    np.testing.assert_allclose(geometry.shape_vectors(points), loops(points), atol=1e-8)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    angle=st.floats(-3.1, 3.1),
    scale=st.floats(0.01, 100),
    x=st.floats(-500, 500),
    y=st.floats(-500, 500),
)
def test_descriptor_is_free_of_position_size_and_roll(
    seed: int, angle: float, scale: float, x: float, y: float
) -> None:
    points = faces(30, seed)
    other = points.copy()
    other[3] = moved(points[3], angle, scale, (x * scale, y * scale))
    other[7] = moved(points[7], -angle, 1 / scale, (y, x))
    before, after = geometry.shape_vectors(points), geometry.shape_vectors(other)
    if scale > 0.1 and scale < 10:
        assert np.abs(after - before).max() < 1e-9
    assert np.abs(after - before).max() < 1e-7


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2])
def test_descriptor_in_single_precision(angle: float) -> None:
    points = faces(200)
    other = np.stack([moved(face, angle, 1.7, (20, -9)) for face in points])
    a = geometry.descriptor(landmarks(points)).values
    b = geometry.descriptor(landmarks(other)).values
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    assert np.abs(a - b).max() < 1e-5
    assert np.abs(a @ a.T - b @ b.T).max() < 1e-5


def test_renumbering_faces_renumbers_rows() -> None:
    points, order = faces(50), np.random.default_rng(0).permutation(50)
    np.testing.assert_allclose(geometry.shape_vectors(points[order]), geometry.shape_vectors(points)[order], atol=1e-9)


def test_one_wild_face_hardly_moves_the_others() -> None:
    points = faces(400)
    wild = points.copy()
    wild[0, 17:36] += 500
    cosine = [
        np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)
        for a, b in zip(geometry.shape_vectors(points)[1:], geometry.shape_vectors(wild)[1:], strict=True)
    ]
    assert min(cosine) > 0.95


def test_faces_without_landmarks_or_scale_are_not_found_and_say_why() -> None:
    points = faces(6)
    points[1, 36:48] = 50.0
    points[2] = 0
    found = np.array([True, True, False, True, True, True])
    notes = np.array(["", "", "no face found", "", "", ""])
    view = geometry.descriptor(landmarks(points, found, notes=notes))
    assert view.view == "landmarks"
    assert view.values.shape == (6, geometry.DESCRIPTOR_WIDTH)
    assert view.found.tolist() == [True, False, False, True, True, True]
    assert view.notes is not None
    assert view.notes.tolist()[:3] == [
        "",
        "landmarks give no scale: the eye centers coincide",
        "no face found",
    ]
    assert not view.values[1:3].any()
    only = geometry.descriptor(landmarks(points[[0, 3, 4, 5]]))
    np.testing.assert_allclose(view.values[view.found], only.values, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_tiny_sets(count: int) -> None:
    values = geometry.shape_vectors(faces(count))
    assert values.shape == (count, geometry.DESCRIPTOR_WIDTH)
    assert np.isfinite(values).all()
    same = geometry.shape_vectors(np.repeat(faces(1), 5, axis=0))
    assert np.abs(same).max() < 1e-6


def test_quality_by_hand() -> None:
    points = faces(3)
    points[:, 0], points[:, 16], points[:, 27] = [0, 0], [100, 0], [50, 0]
    points[1, 27] = [60, 0]  # r = |60 - 40| / 100 = 0.2
    points[2, 27] = [70, 0]  # r = 0.4 > 0.35
    points[:, 36:42], points[:, 42:48] = [43.0, 0], [58.0, 0]  # 15 px apart: half the size wanted
    expected = np.array([1.0, 1 - (0.2 / 0.35) ** 2, 0.0])
    marks = landmarks(points)
    np.testing.assert_allclose(geometry.quality(marks), expected, atol=1e-6)
    np.testing.assert_allclose(geometry.quality(marks, size=True), expected / 2, atol=1e-6)
    np.testing.assert_allclose(geometry.quality(landmarks(points, spec={"units": "pixels"})), expected / 2, atol=1e-6)
    np.testing.assert_allclose(geometry.eye_distance(points), 15)
    assert geometry.quality(landmarks(points, np.array([False, True, True])))[0] == 0


@pytest.mark.skipif(not (FERPLUS / "landmarks_68.npy").exists(), reason="ferplus is not here (FERCLEANER_FERPLUS)")
def test_neighbors_on_real_faces_agree_more_than_by_raw_coordinates() -> None:
    points = np.load(FERPLUS / "landmarks_68.npy", allow_pickle=False).astype(np.float64)
    votes = np.genfromtxt(FERPLUS / "votes.csv", delimiter=",", skip_header=1, usecols=range(1, 8))
    clear = np.isfinite(points).all((1, 2)) & (votes.max(1) >= 6)
    rows = np.flatnonzero(clear)[:6000]
    label = votes[rows].argmax(1)
    ours = geometry.shape_vectors(points[rows])

    def agreement(x: np.ndarray) -> float:
        x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
        similarity = x @ x[:1500].T
        similarity[np.arange(1500), np.arange(1500)] = -2
        nearest = np.argpartition(-similarity, 30, axis=0)[:30]
        return float((label[nearest] == label[:1500]).mean())

    raw = points[rows].reshape(len(rows), -1)
    aligned = geometry.eye_aligned(points[rows]).reshape(len(rows), -1)
    of_raw, of_aligned = (
        agreement(raw - raw.mean(0)),
        agreement((aligned - aligned.mean(0)) / aligned.std(0).clip(1e-9)),
    )
    assert agreement(ours) > of_aligned + 0.04 > of_raw + 0.08
