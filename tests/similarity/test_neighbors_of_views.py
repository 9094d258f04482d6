"""Neighbors of all views side by side, chosen among those of the single ones; members of a group taken out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fercleaner.core.types import Features, Neighbors, Samples
from fercleaner.pipeline import neighborhoods
from fercleaner.pipeline.inputs import Callbacks, Resources
from fercleaner.similarity.neighbors import Searcher, nearest, places, searcher
from fercleaner.similarity.neighbors.side import from_views
from fercleaner.similarity.whitening import JOINT, join

N = 300


def views(seed=0):
    rng = np.random.default_rng(seed)
    ids = np.array([f"f{i:05d}" for i in range(N)])
    centers = rng.normal(size=(10, 12))
    made = {}
    for name in ("a", "b"):
        values = centers[np.arange(N) % 10] + 0.8 * rng.normal(size=(N, 12))
        made[name] = Features(name, ids, values.astype(np.float32), np.ones(N, dtype=bool))
    return made


def samples(group=None):
    ids = next(iter(views().values())).ids
    label = np.arange(N) % 3
    return Samples(
        ids=ids,
        classes=("x", "y", "z"),
        given=np.eye(3, dtype=np.float32)[label],
        labeled=np.ones(N, dtype=bool),
        paths=np.full(N, ""),
        group=group,
    )


def search(group=None, **resources):
    given = Resources(device="cpu", **resources)
    return neighborhoods.search(samples(group), 5, True, views(), None, given, Callbacks())


def test_of_all_faces_as_candidates_the_choice_is_the_exact_table():
    ready = views()
    apart = np.array([f"g{i}" for i in np.random.default_rng(1).integers(0, 60, N)])
    tables = {name: nearest(view, N - 1, center=False, device="cpu") for name, view in ready.items()}
    side = join(ready)
    exact = nearest(side, 7, apart=apart, center=False, device="cpu")
    among = from_views(ready, tables, 7, apart=apart)
    assert np.array_equal(among.indices, exact.indices)
    np.testing.assert_allclose(among.similarity, exact.similarity, atol=1e-6)
    assert among.search == {"index": "views", "candidates": ["a", "b"]}


def test_a_view_that_a_face_misses_counts_nothing():
    ready = views()
    for name, missing in (("a", slice(0, 40)), ("b", slice(30, 60))):
        found = np.ones(N, dtype=bool)
        found[missing] = False
        values = 3 * np.where(found[:, None], ready[name].values, 0)
        ready[name] = Features(name, ready[name].ids, values, found)
    everyone = np.array([[j for j in range(N) if j != i] for i in range(N)])
    exact = nearest(join(ready), 7, center=False, device="cpu")
    table = replace(exact, indices=everyone, similarity=np.ones(everyone.shape, dtype=np.float32))
    among = from_views(ready, {"a": table}, 7)
    known = np.arange(N) >= 40
    np.testing.assert_allclose(among.similarity[known], exact.similarity[known], atol=1e-6)
    assert (among.indices[known] == exact.indices[known]).mean() > 0.999


def test_fewer_candidates_than_k_leave_padding():
    ready = views()
    tables = {name: nearest(view, 2, center=False, device="cpu") for name, view in ready.items()}
    among = from_views(ready, tables, 9)
    count = (among.indices >= 0).sum(1)
    assert count.min() >= 2
    assert count.max() <= 4


@pytest.fixture(autouse=True)
def compared_as_they_are(monkeypatch):
    """The views of these tests are made as for comparison."""
    monkeypatch.setattr(neighborhoods, "whitened", dict)


@pytest.mark.parametrize(("index", "up_to", "how"), [("auto", 0, "views"), ("auto", N, "exact"), ("exact", 0, "exact")])
def test_the_joint_table_is_searched_in_small_sets_and_where_exact_search_is_asked_for(monkeypatch, index, up_to, how):
    monkeypatch.setattr(neighborhoods, "SEARCHED_UP_TO", up_to)
    _, tables = search(index=index, find_groups=False)
    assert tables[JOINT].search["index"] == how
    assert {name: table.k for name, table in tables.items()} == {"a": 5, "b": 5, JOINT: 5}


@pytest.mark.parametrize("up_to", [0, N])
def test_taking_out_a_group_later_gives_the_table_of_a_search_that_knew_it(monkeypatch, up_to):
    """Groups of 3 leave enough of a wide table; one of 60 does not, and is searched again."""
    monkeypatch.setattr(neighborhoods, "SEARCHED_UP_TO", up_to)
    late = np.array([f"g{i // 3}" for i in range(N)])
    late[: N // 5] = "large"
    monkeypatch.setattr(neighborhoods, "keep_apart", lambda given, *_, **__: given.replacing(group=late))
    parted, tables = search()
    assert np.array_equal(parted.group, late)
    for name in ("a", "b"):
        known = nearest(views()[name], 5, apart=late, center=False, device="cpu")
        assert np.array_equal(tables[name].indices, known.indices)
        assert tables[name].similarity.tobytes() == known.similarity.tobytes()
    mates = late[tables[JOINT].indices] == late[:, None]
    assert not (mates & (tables[JOINT].indices >= 0)).any()


def test_faces_that_groups_leave_short_are_searched_in_the_index_that_is_there(monkeypatch):
    late = np.array(["large" if i < N // 5 else "" for i in range(N)])
    monkeypatch.setattr(neighborhoods, "keep_apart", lambda given, *_, **__: given.replacing(group=late))
    made, asked = [], []
    build, find = neighborhoods.searcher, Searcher.nearest
    monkeypatch.setattr(neighborhoods, "searcher", lambda view, *a, **b: made.append(view.view) or build(view, *a, **b))
    monkeypatch.setattr(Searcher, "nearest", lambda self, *a, **b: asked.append(b.get("only")) or find(self, *a, **b))
    search(index="exact")
    assert made == ["a", "b", JOINT]
    again = [only for only in asked if only is not None]
    assert len(asked) == 6
    assert len(again) == 3
    assert all(0 < only.sum() <= N // 5 for only in again)


@pytest.mark.parametrize("count", [1, 2])
def test_views_are_searched_once_where_no_table_tells_groups(monkeypatch, count):
    """Without a joint table groups of several views are found pair by pair; those of a single view in its table."""
    late = np.array(["large" if i < N // 5 else "" for i in range(N)])
    monkeypatch.setattr(neighborhoods, "keep_apart", lambda given, *_, **__: given.replacing(group=late))
    asked, find = [], Searcher.nearest
    monkeypatch.setattr(Searcher, "nearest", lambda self, *a, **b: asked.append(b.get("only")) or find(self, *a, **b))
    some = dict(list(views().items())[:count])
    resources = Resources(device="cpu", index="exact")
    _, tables = neighborhoods.search(samples(), 5, False, some, None, resources, Callbacks())
    assert [only is None for only in asked] == ([True, True] if count > 1 else [True, False])
    for name, view in some.items():
        known = nearest(view, 5, apart=late, center=False, device="cpu")
        assert np.array_equal(tables[name].indices, known.indices)
        assert tables[name].similarity.tobytes() == known.similarity.tobytes()


@pytest.mark.parametrize("up_to", [0, N])
def test_an_approximate_index_is_searched_once_when_it_is_known_who_is_no_stranger(monkeypatch, up_to):
    """Views in which a shallow look finds all of a group of six, and misses those beyond it."""
    rng = np.random.default_rng(3)
    far = {}
    for name, view in views().items():
        values = rng.normal(size=(N // 6, 12)).repeat(6, axis=0) + 0.05 * rng.normal(size=(N, 12))
        far[name] = Features(name, view.ids, values.astype(np.float32), view.found)
    late = np.array([f"g{i // 6}" for i in range(N)])
    asked, find = [], Searcher.nearest
    monkeypatch.setattr(Searcher, "nearest", lambda self, *a, **b: asked.append(1) or find(self, *a, **b))
    monkeypatch.setattr(places, "FACES_A_PLACE", 6)
    monkeypatch.setattr(neighborhoods, "SEARCHED_UP_TO", up_to)
    monkeypatch.setattr(neighborhoods, "keep_apart", lambda given, *_, **__: given.replacing(group=late))
    resources = Resources(device="cpu", index="ivf")
    found = neighborhoods.search(samples(), 5, True, far, None, resources, Callbacks())[1]
    assert len(asked) == (2 if up_to == 0 else 3)
    for name, table in found.items():
        side = join(far) if name == JOINT else far[name]
        exact = nearest(side, 5, apart=late, center=False, index="exact", device="cpu")
        same = (table.similarity >= exact.similarity[:, -1:] - 1e-6).mean()
        assert same > (0.97 if "recall" in table.search else 0.8)
        assert ((table.indices < 0) | (late[table.indices] != late[:, None])).all()
    shallow = searcher(far["a"], center=False, index="ivf", device="cpu")
    shallow.tune(5)
    assert found["a"].search["depth"] > shallow.depth


def test_a_user_is_told_where_the_recall_wanted_is_not_reached():
    about = {
        "index": "hnsw",
        "depth": 768,
        "recall": 0.94,
        "recall_at": 15,
        "recall_wanted": 0.99,
        "recall_faces": 1024,
    }
    indices = np.zeros((2, 1), dtype=np.int64) - 1
    table = Neighbors("a", np.array(["one", "two"]), indices, np.zeros((2, 1), dtype=np.float32), about)
    notes = []
    neighborhoods._say([table, replace(table, search={**about, "recall": 0.9896})], Callbacks(note=notes.append))
    assert "94.0 % of the true 15 nearest are found" in notes[0]
    assert "fewer than the 99 % wanted" in notes[0]
    assert "wanted" not in notes[1]


def test_a_user_is_told_of_approximate_tables_and_what_they_find():
    notes = []
    given = Resources(device="cpu", index="hnsw")
    neighborhoods.search(samples(), 5, False, views(), None, given, replace(Callbacks(), note=notes.append))
    told = [note for note in notes if "searched approximately (hnsw, depth" in note]
    assert [note.split(":")[1].strip() for note in told] == ["a", "b"]
    assert all("of the true 5 nearest are found, measured on 150 faces" in note for note in told)
