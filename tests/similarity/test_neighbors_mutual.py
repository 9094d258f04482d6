"""All faces searched among one another by lists: who sees whom, what both sides find, and pairs that are alike."""

from __future__ import annotations

import numpy as np
import pytest

from fercleaner.core.types import Features
from fercleaner.similarity import groups
from fercleaner.similarity.groups import ALIKE, alike_pairs, grouped
from fercleaner.similarity.neighbors import mutual, nearest, places, scan, searcher
from fercleaner.similarity.neighbors.among import Ready, nearest_among
from fercleaner.similarity.neighbors.ivf import ivf
from fercleaner.similarity.neighbors.tuning import tune

N = 1500


@pytest.fixture(autouse=True)
def small_lists(monkeypatch):
    monkeypatch.setattr(places, "FACES_A_PLACE", 25)


def unit(values):
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def made(n=N, dims=20, seed=0):
    """Unit vectors, some of them close copies of others, and an index of lists."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, dims))
    vectors[: n // 5] = vectors[n // 5 : 2 * (n // 5)] + 0.1 * rng.normal(size=(n // 5, dims))
    return unit(vectors), ivf(unit(vectors))


def looking(backend, depth):
    """Which lists each row looks into, (N, C), by full products, and the list of each row."""
    scan = backend.scan
    keys = scan.center_keys(scan.stored)
    into = np.zeros((len(scan.order), scan.lists), dtype=bool)
    into[scan.order] = keys >= np.sort(keys, axis=1)[:, scan.lists - depth][:, None]
    own = np.empty(len(scan.order), dtype=int)
    own[scan.order] = np.repeat(np.arange(scan.lists), np.diff(scan.starts))
    return into, own


@pytest.mark.parametrize("faces", [64, 1 << 14])
@pytest.mark.parametrize("grouped_by", [1, 3])
def test_a_pair_is_found_where_either_of_the_two_looks_into_the_list_of_the_other(monkeypatch, faces, grouped_by):
    """Against all pairs; in parts of 64 faces most of what one learns from another comes before or after its turn."""
    monkeypatch.setattr(mutual, "FACES", faces)
    monkeypatch.setattr(scan, "FIRST", 0)  # a bound of places that a face does not look into would drop its farthest
    vectors, backend = made()
    group = np.arange(N) // grouped_by
    backend.depth = 6
    into, own = looking(backend, 6)
    near, value = mutual.nearest_mutual(backend.scan, backend, Ready(vectors, np.arange(N), group, grouped_by > 1), 7)
    sees = into[:, own]
    product = np.where((sees | sees.T) & (group[:, None] != group), vectors @ vectors.T, -2)
    best = np.sort(product, axis=1)[:, ::-1][:, :7]
    assert sees.mean() < 0.2
    assert ((sees | sees.T).mean()) > 1.3 * sees.mean()
    np.testing.assert_allclose(value, best, atol=2e-6)
    assert (group[near] != group[:, None]).all()
    assert all(len(set(row)) == 7 for row in near.tolist())
    assert np.allclose(np.einsum("nd,nkd->nk", vectors, vectors[near]), value, atol=2e-6)


def test_one_side_alone_finds_less_at_the_same_depth():
    vectors, backend = made(dims=40)
    faces = Ready(vectors, np.arange(N), np.arange(N), False)
    backend.depth = 8
    exact = np.sort(np.where(np.eye(N) > 0, -2, vectors @ vectors.T), axis=1)[:, ::-1][:, :10]
    shares = [
        (value >= exact[:, -1:] - 2e-6).mean()
        for _, value in (
            nearest_among(backend, faces, np.arange(N), faces, 10),
            mutual.nearest_mutual(backend.scan, backend, faces, 10),
        )
    ]
    assert shares[1] > shares[0] + 0.05


def test_steps_are_the_first_depth_at_which_two_faces_see_one_another():
    vectors, backend = made(n=400)
    near = np.argsort(-(vectors @ vectors.T), axis=1)[:50, 1:6]
    near[3, 2] = -1
    steps = mutual.steps_to(backend.scan, np.arange(50), near)
    lists = backend.scan.lists
    assert steps[3, 2] == lists + 1
    for depth in (1, 3, lists):
        into, own = looking(backend, depth)
        sees = into[np.arange(50)[:, None], own[near]] | into[near, own[:50, None]]
        assert np.array_equal(steps <= depth, sees & (near >= 0))


def test_the_depth_is_the_least_that_exceeds_the_recall_by_a_quarter_of_what_is_missing():
    vectors, backend = made(n=2000, dims=12)
    tune(backend, Ready(vectors, np.arange(2000), np.arange(2000), False), 10, 0.99)
    half = np.arange(0, 2000, 2)  # the other half is what the recall is measured on
    near = np.argsort(-(vectors @ vectors.T) + 2 * np.eye(2000), axis=1)[half, :10]
    steps = mutual.steps_to(backend.scan, half, near)
    assert (steps <= backend.depth).mean() >= 0.9925 > (steps < backend.depth).mean()


def test_many_equal_faces_are_still_found():
    """More copies of one vector than candidates are held: rows that cannot be settled are searched again, wider."""
    vectors, _ = made(n=600)
    vectors[:200] = vectors[0]
    backend = ivf(vectors)
    backend.depth = backend.scan.lists
    near, value = mutual.nearest_mutual(backend.scan, backend, Ready(vectors, np.arange(600), np.arange(600)), 5)
    np.testing.assert_allclose(value[:200], 1, atol=1e-6)
    assert (near[10:200] == np.arange(5)).all()
    assert all(len(set(row)) == 5 for row in near.tolist())


def test_some_rows_alone_are_those_of_the_whole_table():
    vectors, _ = made()
    features = Features("v", np.array([f"f{i:05d}" for i in range(N)]), vectors, np.arange(N) % 50 > 0)
    only = np.arange(N) % 3 == 0
    some, whole = (nearest(features, 4, index="ivf", device="cpu", only=asked) for asked in (only, None))
    rows = only & features.found
    assert np.array_equal(some.indices[rows], whole.indices[rows])
    assert (some.indices[~rows] == -1).all()


@pytest.mark.parametrize("index", ["ivf", "hnsw"])
def test_where_no_face_has_a_neighbor_none_is_missed(index):
    vectors, _ = made(n=200)
    features = Features("v", np.array([f"f{i:05d}" for i in range(200)]), vectors, np.ones(200, dtype=bool))
    table = nearest(features, 4, index=index, device="cpu", apart=np.full(200, "one"))
    assert (table.indices == -1).all()
    assert table.search["recall"] == 1


def two_views():
    """Half of the faces have copies, alike in both views or in one alone; some miss a view."""
    rng = np.random.default_rng(5)
    ids = np.array([f"f{i:05d}" for i in range(N)])
    views = {}
    for seed, name in enumerate("ab"):
        values, noise = rng.normal(size=(N, 24)), np.where(np.arange(N) % 5 == seed, 2.0, 0.25)[:, None]
        values[1::2] = values[::2] + noise[1::2] * rng.normal(size=(N // 2, 24))
        found = np.arange(N) % 40 != seed
        views[name] = Features(name, ids, unit(np.where(found[:, None], values, 0) + 1e-30), found)
    return views


@pytest.mark.parametrize("names", ["ab", "a"])
def test_pairs_by_lists_connect_what_all_pairs_connect(monkeypatch, names):
    views = {name: two_views()[name] for name in names}
    ids = views[names[0]].ids
    apart = np.where(np.arange(N) % 7 == 0, "known", "")
    for known in (None, apart):
        every = alike_pairs(views, apart=known, device="cpu")
        with monkeypatch.context() as smaller:
            smaller.setattr(groups, "COMPARED_UP_TO", 100)
            smaller.setattr(groups, "CONNECTED_FROM", 50)
            found = alike_pairs(views, apart=known, device="cpu")
            there = {name: searcher(view, center=False, index="ivf") for name, view in views.items()}
            assert np.array_equal(alike_pairs(views, apart=known, lists=there, device="cpu"), found)
        assert len(every) > 100
        assert np.array_equal(grouped(ids, known, found), grouped(ids, known, every))


def test_a_face_of_very_many_copies_is_paired_with_a_few_in_each_list():
    vectors, _ = made()
    vectors[:700] = unit(vectors[:1] + 0.01 * vectors[:700])
    pairs = np.concatenate(list(mutual.pairs_in_lists(ivf(vectors).scan, ALIKE, np.arange(N))))
    ids = np.array([f"f{i:05d}" for i in range(N)])
    assert len(pairs) < 700 * 699 / 4
    assert len(set(grouped(ids, None, pairs)[:700])) == 1
