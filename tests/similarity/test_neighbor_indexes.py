"""Approximate indexes: how deep they search, what they say of it, and when they stand in by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from fercleaner.core.errors import InputError
from fercleaner.core.types import Features
from fercleaner.similarity.neighbors import backend, nearest, searcher, tuning
from fercleaner.similarity.neighbors.among import Ready
from fercleaner.similarity.neighbors.backend import Backend
from fercleaner.similarity.neighbors.scoring import pair_similarities


def view(n=3000, dims=24, seed=0):
    """Faces without clusters, in which a shallow search misses neighbors."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"f{i:05d}" for i in range(n)])
    return Features("v", ids, rng.normal(size=(n, dims)).astype(np.float32), np.ones(n, dtype=bool))


def recall(exact, close):
    shared = [len(set(a) & set(b)) for a, b in zip(exact.indices.tolist(), close.indices.tolist(), strict=True)]
    return sum(shared) / exact.indices.size


def in_groups():
    """Faces of 600 groups, whose members are one another's nearest, and the groups."""
    plain = view()
    pulled = plain.values / np.linalg.norm(plain.values, axis=1, keepdims=True)
    values = pulled[np.arange(3000) % 600] + 0.3 * pulled
    return Features("v", plain.ids, values, plain.found), np.array([f"g{k % 600}" for k in range(3000)])


@pytest.mark.parametrize("index", ["hnsw", "ivf"])
def test_the_recall_wanted_is_that_of_the_neighbors_outside_a_group(index):
    """Members of a group are found by a shallow search. Strangers, which alone are asked for, by a deeper one."""
    features, group = in_groups()
    exact = nearest(features, 4, apart=group, index="exact", device="cpu", center=False)
    with_mates = searcher(features, index=index, device="cpu", center=False)
    with_mates.tune(4, recall=0.95)
    shallow = with_mates.nearest(4, apart=group)
    found = nearest(features, 4, apart=group, index=index, recall=0.95, device="cpu", center=False)
    assert recall(exact, found) >= 0.94
    assert found.search["recall"] == pytest.approx(recall(exact, found), abs=0.015)
    if index == "ivf":  # graphs are walked on until enough strangers are found
        assert recall(exact, shallow) < 0.9
        assert found.search["depth"] > shallow.search["depth"]


@pytest.mark.parametrize("index", ["hnsw", "ivf"])
@pytest.mark.parametrize("wanted", [0.9, 0.99])
def test_search_is_as_deep_as_the_recall_needs_and_says_so(index, wanted):
    features = view()
    exact = nearest(features, 10, index="exact", device="cpu")
    close = nearest(features, 10, index=index, recall=wanted, device="cpu")
    assert exact.search == {"index": "exact"}
    assert close.search["index"] == index
    assert close.search["recall_wanted"] == wanted
    assert close.search["recall_at"] == 10
    assert close.search["recall_faces"] == tuning.SAMPLE // 2
    # the sample's recall is that of all faces, within three standard errors, and as high as asked
    assert close.search["recall"] == pytest.approx(recall(exact, close), abs=0.012)
    assert recall(exact, close) >= wanted - 0.01


@pytest.mark.parametrize("index", ["hnsw", "ivf"])
def test_more_recall_takes_a_deeper_search(index):
    depths = [nearest(view(dims=80), 10, index=index, recall=r, device="cpu").search["depth"] for r in (0.5, 0.999)]
    assert depths[0] < depths[1]


def test_recall_is_measured_on_other_faces_than_the_depth_is_chosen_on():
    """A backend that finds all neighbors of the faces at even places of the sample, and none of the others."""
    vectors = np.eye(40, dtype=np.float32) + 0.1
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def find(queries, want, depth, apart):
        own = np.argmax(queries @ vectors.T, axis=1)
        near = np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :want]
        return np.where((own % 2 == 0)[:, None], near, -1)

    made = Backend("half", find, depths=(5,))
    tuning.tune(made, Ready(vectors, np.arange(40), np.arange(40), False), 3, 0.99)
    assert made.about["recall"] == 0
    assert made.about["recall_faces"] == 20


def test_a_recall_out_of_reach_is_said_as_it_is():
    vectors = view(200).values / np.linalg.norm(view(200).values, axis=1, keepdims=True)
    made = Backend("blind", lambda queries, want, depth, apart: np.full((len(queries), want), -1), depths=(1, 2, 3))
    tuning.tune(made, Ready(vectors, np.arange(200), np.arange(200), False), 3, 0.9)
    assert (made.depth, made.about["recall"]) == (3, 0)


@pytest.mark.parametrize("index", ["hnsw", "ivf"])
def test_the_order_of_the_rows_changes_no_neighbor(index):
    features = view(1500)
    order = np.random.default_rng(1).permutation(1500)
    turned = Features("v", features.ids[order], features.values[order], features.found)
    here = nearest(features, 8, index=index, recall=0.9, center=False, device="cpu")
    there = nearest(turned, 8, index=index, recall=0.9, center=False, device="cpu")
    assert np.array_equal(order[there.indices], here.indices[order])
    assert there.similarity.tobytes() == here.similarity[order].tobytes()
    assert here.search == there.search


@pytest.mark.parametrize("index", ["hnsw", "ivf"])
def test_equally_near_faces_go_by_row_number_as_in_exact_search(index):
    some = view(100).values[np.arange(600) % 100]
    features = Features("v", np.array([f"f{k:03d}" for k in range(600)][::-1]), some, np.ones(600, dtype=bool))
    exact = nearest(features, 4, index="exact", center=False, device="cpu")
    assert exact.indices[[0, 599]].tolist() == [[100, 200, 300, 400], [99, 199, 299, 399]]
    found = nearest(features, 4, index=index, recall=1.0, center=False, device="cpu")
    assert np.array_equal(found.indices, exact.indices)


@pytest.mark.parametrize("index", ["hnsw", "ivf"])
def test_two_searches_are_the_same_to_the_bit(index):
    one, two = (nearest(view(), 8, index=index, recall=0.9, device="cpu") for _ in range(2))
    assert one.indices.tobytes() == two.indices.tobytes()
    assert one.similarity.tobytes() == two.similarity.tobytes()


def test_auto_is_exact_up_to_a_size_and_approximate_above(monkeypatch):
    monkeypatch.setattr(backend, "EXACT_UP_TO", 200)
    assert nearest(view(200), 5, device="cpu").search == {"index": "exact"}
    assert nearest(view(201), 5, device="cpu").search["index"] == "ivf"
    assert nearest(view(201), 5, index="exact", device="cpu").search == {"index": "exact"}
    assert nearest(view(100), 5, index="ivf", device="cpu").search["index"] == "ivf"


def test_faces_not_found_do_not_count_for_the_switch(monkeypatch):
    monkeypatch.setattr(backend, "EXACT_UP_TO", 50)
    features = view(80)
    half = Features("v", features.ids, np.where(np.arange(80)[:, None] < 40, features.values, 0), np.arange(80) < 40)
    assert nearest(half, 5, device="cpu").search["index"] == "exact"


@pytest.mark.parametrize("index", ["hnsw", "ivf"])
def test_groups_are_kept_apart_by_approximate_indexes_too(index):
    features = view(600)
    apart = np.where(np.arange(600) % 2 == 0, "one", "")
    table = nearest(features, 6, apart=apart, index=index, device="cpu")
    assert (table.indices >= 0).all()
    assert (table.indices[::2] % 2 == 1).all()


@pytest.mark.parametrize("recall", [0, -1, 1.01])
def test_an_impossible_recall_is_an_error(recall):
    with pytest.raises(InputError, match=rf"recall = {recall}: expected 0 < recall <= 1"):
        nearest(view(10), 2, recall=recall)


@pytest.mark.parametrize("gathered", [1, 100, 1 << 20])
def test_pairs_are_scored_as_one_by_one_whatever_the_block(monkeypatch, gathered):
    from fercleaner.similarity.neighbors import scoring

    monkeypatch.setattr(scoring, "GATHERED", gathered)
    vectors = view(60, 33).values
    rows, near = np.arange(60), np.random.default_rng(0).integers(0, 60, (60, 7))
    found = pair_similarities(vectors, rows, near)
    for i in range(60):
        for m in range(7):
            one = (vectors[i].astype(np.float64) * vectors[near[i, m]].astype(np.float64)).sum()
            assert found[i, m] == pytest.approx(one, abs=4e-6 * 33)
    assert (
        found.tobytes()
        == np.stack([pair_similarities(vectors, rows[i : i + 1], near[i : i + 1])[0] for i in range(60)]).tobytes()
    )
