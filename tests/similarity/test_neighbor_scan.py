"""The scan in low precision against all pairs in float64: no true neighbor is missed, and few others are named."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fercleaner.core.types import Features
from fercleaner.similarity.neighbors import exact, nearest, scan
from fercleaner.similarity.neighbors.backend import Apart
from fercleaner.similarity.neighbors.scan import Scan


def unit(n=3000, dims=24, seed=0, clusters=40):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(clusters, dims))[rng.integers(0, clusters, n)] + 0.7 * rng.normal(size=(n, dims))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def true_nearest(vectors, rows, want):
    return np.argsort(-(vectors[rows].astype(np.float64) @ vectors.T.astype(np.float64)), axis=1, kind="stable")[
        :, :want
    ]


def missed(near, true):
    return sum(len(set(t) - set(n)) for n, t in zip(near.tolist(), true.tolist(), strict=True))


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("want", [1, 12, 400])
def test_a_scan_of_everything_names_all_true_neighbors(half, want):
    vectors = unit()
    rows = np.arange(0, 3000, 7)
    made = Scan(vectors, half=half)
    near = made.find(vectors[rows], want, made.lists)
    assert missed(near, true_nearest(vectors, rows, want)) == 0
    assert (near >= 0).sum(1).mean() < 1.5 * want + 12
    named = [[j for j in row if j >= 0] for row in near.tolist()]
    assert all(len(set(row)) == len(row) for row in named)


def test_torch_is_loaded_only_where_the_system_does_not_deny_bfloat16(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(scan, "PROCESSOR", tmp_path / "cpuinfo")
    with pytest.raises(ImportError, match="torch"):
        scan.multiplies_bfloat16()
    for able in scan.BFLOAT16:
        scan.PROCESSOR.write_text(f"flags\t\t: avx2 {able} fma\n", encoding="utf-8")
        with pytest.raises(ImportError, match="torch"):
            scan.multiplies_bfloat16()
    scan.PROCESSOR.write_text("flags\t\t: avx2 fma\n", encoding="utf-8")
    vectors = unit()
    made = Scan(vectors)
    assert missed(made.find(vectors[:9], 12, made.lists), true_nearest(vectors, np.arange(9), 12)) == 0
    features = Features("v", np.array([f"f{i:04d}" for i in range(3000)]), vectors, np.ones(3000, dtype=bool))
    assert nearest(features, 8, index="ivf", center=False, device="cpu").search["index"] == "ivf"


@pytest.mark.parametrize("half", [True, False])
def test_where_all_products_are_negative_nothing_is_missed(half):
    """Corners of a simplex, each pair at -1 / 40: no bound is above 0."""
    corners = np.eye(41) - 1 / 41
    vectors = (corners / np.linalg.norm(corners, axis=1, keepdims=True)).astype(np.float32)
    made = Scan(vectors, half=half)
    near = made.find(vectors, 41, 1)
    assert missed(near, np.tile(np.arange(41), (41, 1))) == 0


@pytest.mark.parametrize(
    "constant", [("PIECE", 300), ("TILE", 100), ("ROOM", 0), ("QUERIES", 64), ("TOGETHER", 9), ("HELD", 500)]
)
def test_blocks_and_renewed_bounds_change_no_neighbor(monkeypatch, constant):
    vectors = unit(2000)
    true = true_nearest(vectors, np.arange(2000), 9)
    monkeypatch.setattr(scan, *constant)
    made = Scan(vectors)
    assert missed(made.find(vectors, 9, made.lists), true) == 0
    shallow = Scan(vectors, sure=False)
    assert missed(shallow.find(vectors, 9, 5), true) < 0.2 * true.size


def test_more_equals_than_have_room_fill_the_row():
    vectors = np.concatenate([np.tile(unit(1), (500, 1)), unit(700, seed=1)])
    made = Scan(vectors)
    near = made.find(vectors[:3], 10, made.lists)
    assert near.shape[1] == scan.MOST * 10
    assert (near[:3] < 500).all()


def test_large_sets_are_searched_exactly_by_a_scan(monkeypatch):
    vectors = unit(1500)
    vectors[700:740] = vectors[3]
    features = Features("v", np.array([f"f{i:04d}" for i in range(1500)]), vectors, np.ones(1500, dtype=bool))
    apart = np.where(np.arange(1500) % 5 == 0, "g", "")
    by_faiss = nearest(features, 8, apart=apart, center=False, device="cpu")
    monkeypatch.setattr(exact, "SCANNED_FROM", 1000)
    scans = []
    monkeypatch.setattr(exact, "Scan", lambda vectors: scans.append(Scan(vectors)) or scans[0])
    by_scan = nearest(features, 8, apart=apart, center=False, device="cpu")
    assert scans
    assert by_scan.search == {"index": "exact"}
    assert by_scan.indices.tobytes() == by_faiss.indices.tobytes()
    assert by_scan.similarity.tobytes() == by_faiss.similarity.tobytes()


@pytest.mark.parametrize("size", [12, 20, 40])
def test_groups_take_places_among_the_nearest_and_the_answer_stays_exact(monkeypatch, size):
    """Each group is a cloud of its own, so that its members stand before all others among a face's candidates."""
    rng = np.random.default_rng(size)
    n = 3000
    center = rng.normal(size=(n // size, 16))
    vectors = (np.repeat(center, size, axis=0) + 0.15 * rng.normal(size=(n // size * size, 16))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    count = len(vectors)
    features = Features("v", np.array([f"f{i:04d}" for i in range(count)]), vectors, np.ones(count, dtype=bool))
    apart = np.array([f"g{i // size}" for i in range(count)])
    by_faiss = nearest(features, 15, apart=apart, center=False, device="cpu")
    monkeypatch.setattr(exact, "SCANNED_FROM", 1000)
    by_scan = nearest(features, 15, apart=apart, center=False, device="cpu")
    assert by_scan.indices.tobytes() == by_faiss.indices.tobytes()
    assert by_scan.similarity.tobytes() == by_faiss.similarity.tobytes()


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("size", [1, 30, 700, 3000])
def test_members_of_a_group_are_passed_over_and_no_other_is_missed(half, size):
    """Groups of the nearest faces: without them the first bounds would leave nobody."""
    vectors = unit()
    made = Scan(vectors, half=half)
    groups = np.empty(3000, dtype=np.int64)
    groups[made.order] = np.arange(3000) // size
    rows = np.arange(0, 3000, 7)
    near = made.find(vectors[rows], 12, made.lists, Apart(groups[rows], groups))
    products = vectors[rows].astype(np.float64) @ vectors.T.astype(np.float64)
    products[groups[rows][:, None] == groups] = -np.inf
    true = np.argsort(-products, axis=1, kind="stable")[:, : min(12, 3000 - size)]
    assert missed(near, true) == 0
    assert not ((groups[near] == groups[rows][:, None]) & (near >= 0)).any()


def test_faces_of_large_groups_take_one_pass(monkeypatch):
    vectors = unit(2000)
    monkeypatch.setattr(exact, "SCANNED_FROM", 0)
    features = Features("a", np.arange(2000).astype(str), vectors, np.ones(2000, dtype=bool))
    asked = []
    monkeypatch.setattr(Scan, "_find", lambda *a, find=Scan._find: asked.append(a[2]) or find(*a))
    apart = np.array([f"g{i % 4}" for i in range(2000)])
    table = nearest(features, 5, apart=apart, center=False, device="cpu")
    assert asked == [14]
    products = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    products[apart[:, None] == apart] = -np.inf
    assert np.array_equal(table.indices, np.argsort(-products, axis=1, kind="stable")[:, :5])
