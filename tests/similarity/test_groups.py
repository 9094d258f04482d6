"""Faces that pass for one subject in one moment: which pairs, which groups, and that nothing else changes."""

from __future__ import annotations

from itertools import pairwise

import networkx
import numpy as np
import pytest

from fercleaner.core.errors import InputError
from fercleaner.core.types import Features, Samples
from fercleaner.methods import build
from fercleaner.pipeline.inputs import Callbacks, Resources, Sources
from fercleaner.pipeline.refine import gather, gather_for, refine
from fercleaner.similarity import groups
from fercleaner.similarity.groups import ALIKE, ALIKE_ALONE, ONE_PERSON, alike_pairs, grouped, person_pairs
from fercleaner.similarity.neighbors import nearest, pairs
from fercleaner.similarity.neighbors.scoring import pair_similarities
from fercleaner.similarity.whitening import join

CPU = Resources(device="cpu")
NAMES = ("anger", "fear", "happiness", "neutral")


def make_views(n=80, frames=20, noise=0.15, seed=0, width=24):
    """Two views of faces, the last `frames` of them near copies of the first."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"face {i:03d}" for i in range(n)])
    views = {}
    for name in ("a", "b"):
        values = rng.normal(size=(n, width))
        values[n - frames :] = values[:frames] + noise * rng.normal(size=(frames, width))
        views[name] = Features(name, ids, values, np.ones(n, dtype=bool))
    return views


def unit(values):
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.mark.parametrize("names", [("a", "b"), ("a",)])
def test_pairs_are_those_of_brute_force(names):
    views = {name: view for name, view in make_views(noise=0.3).items() if name in names}
    side = unit(np.concatenate([unit(view.values.astype(np.float64)) for view in views.values()], axis=1))
    cosine = side @ side.T
    least = ALIKE if len(names) == 2 else ALIKE_ALONE
    expected = [(i, j) for i in range(80) for j in range(i + 1, 80) if cosine[i, j] >= least]
    found = alike_pairs(views, device="cpu")
    assert [tuple(pair) for pair in found.tolist()] == expected
    assert 0 < len(expected) <= 20
    table = nearest(join(views) if len(names) == 2 else views["a"], 15, center=False, device="cpu")
    assert np.array_equal(alike_pairs(views, table=table, device="cpu"), found)
    group = np.where(np.arange(80) % 60 < 20, np.char.add("g", (np.arange(80) % 60).astype(str)), "")
    assert len(alike_pairs(views, apart=group, device="cpu")) == 0  # known already


@pytest.mark.parametrize("many", [0.0, 1.0])
@pytest.mark.parametrize("names", [("a", "b"), ("a",)])
def test_comparing_each_pair_once_finds_the_pairs_of_a_search(monkeypatch, names, many):
    views = {name: view for name, view in make_views(noise=0.3).items() if name in names}
    found = np.arange(80) != 61
    views["a"] = Features("a", views["a"].ids, np.where(found[:, None], views["a"].values, 0), found)
    side = join(views) if len(names) == 2 else views["a"]
    both = (None, views["a"].ids.astype("U7"))
    tables = [nearest(side, 15, apart=apart, center=False, device="cpu") for apart in both]
    searched = [alike_pairs(views, table=table, device="cpu") for table in tables]
    monkeypatch.setattr(pairs, "ROWS", 16)
    monkeypatch.setattr(pairs, "COLUMNS", 24)
    monkeypatch.setattr(pairs, "MANY", many)
    monkeypatch.setattr(groups, "nearest", None)
    compared = [alike_pairs(views, apart=apart, device="cpu") for apart in both]
    assert len(searched[0]) > 3
    for one, other in zip(searched, compared, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("leading", [0.0, 0.3, 1.0])
def test_a_few_columns_rule_out_no_pair(monkeypatch, leading):
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(200, 60)) * np.linspace(2, 0.1, 60)
    vectors[100:] = vectors[:100] + rng.uniform(0, 1, (100, 1)) * rng.normal(size=(100, 60))
    vectors = unit(vectors).astype(np.float32)
    monkeypatch.setattr(pairs, "LEADING", leading)
    looked_at = []
    monkeypatch.setattr(pairs, "pair_similarities", lambda *of: looked_at.append(len(of[1])) or pair_similarities(*of))
    found = pairs.pairs_alike(vectors, 0.8, np.arange(200))
    above = np.argwhere(np.triu(vectors @ vectors.T, 1) >= 0.8)
    assert np.array_equal(found, above)
    assert 20 < len(found) <= sum(looked_at) < 2000


def test_very_many_faces_that_are_alike_become_one_group_without_all_their_pairs(monkeypatch):
    rng = np.random.default_rng(0)
    one = rng.normal(size=24).astype(np.float32)
    vectors = unit(one + 0.01 * rng.normal(size=(300, 24)).astype(np.float32))
    monkeypatch.setattr(pairs, "COLUMNS", 64)
    found = pairs.pairs_alike(vectors, 0.9, np.arange(300))
    assert len(found) < 300 * 5 * pairs.MOST
    ids = np.char.add("f", np.arange(300).astype(str))
    assert len(set(grouped(ids, None, found))) == 1


def test_views_of_few_dimensions_cannot_tell():
    views = make_views(width=8)
    assert len(alike_pairs(views, device="cpu")) == 0
    wide = make_views()["a"]
    mixed = {"a": wide, "b": views["b"]}
    alone = alike_pairs({"a": wide}, device="cpu")
    assert np.array_equal(alike_pairs(mixed, device="cpu"), alone)
    assert len(alone)


def test_persons_are_told_by_an_identity_embedding():
    views = make_views(noise=0.9)
    identity = views["a"]
    cosine = unit(identity.values.astype(np.float64))
    cosine = cosine @ cosine.T
    pairs = person_pairs(identity, device="cpu")
    assert len(pairs)
    assert all(cosine[i, j] >= ONE_PERSON for i, j in pairs)
    assert len(alike_pairs({"a": identity}, device="cpu")) < len(pairs)


def test_groups_are_the_connected_parts():
    rng = np.random.default_rng(3)
    ids = np.array([f"face {i:02d}" for i in rng.permutation(40)])
    old = np.where(np.arange(40) % 4 == 0, np.char.add("subject ", (np.arange(40) % 12).astype(str)), "")
    pairs = rng.integers(0, 40, size=(12, 2))
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    graph = networkx.Graph(pairs.tolist())
    graph.add_nodes_from(range(40))
    for name in set(old.tolist()) - {""}:
        members = np.flatnonzero(old == name).tolist()
        graph.add_edges_from(pairwise(members))
    got = grouped(ids, old, pairs)
    parts = list(networkx.connected_components(graph))
    assert len(parts) < 40
    for part in parts:
        members = sorted(part)
        names = {name for name in old[members].tolist() if name}
        if len(members) == 1:
            assert got[members[0]] == old[members[0]]
            continue
        assert len(set(got[members].tolist())) == 1
        assert got[members[0]] == (min(names) if names else f"alike:{min(ids[members])}")
    order = rng.permutation(40)
    where = np.argsort(order)
    again = grouped(ids[order], old[order], np.sort(where[pairs], axis=1))
    assert np.array_equal(again, got[order])
    assert np.array_equal(grouped(ids, None, np.zeros((0, 2), dtype=np.int64)), np.full(40, ""))


# In the pipeline


def make_set(noise=0.1):
    views = make_views(noise=noise)
    ids = views["a"].ids
    label = np.arange(80) % 4
    label[60:] = label[:20]
    samples = Samples(ids, NAMES, np.eye(4)[label], np.ones(80, dtype=bool), np.full(80, ""))
    return samples, tuple(views.values())


def test_frames_of_one_subject_do_not_vote_for_each_other_and_it_is_said():
    samples, views = make_set()
    notes: list[str] = []
    method = build("hypergraph", {"k": "6"})
    evidence = gather(samples, method, Sources(views=views), CPU, Callbacks(note=notes.append))
    assert any(note.startswith("40 of 80 faces, in 20 groups, pass for pictures of one subject") for note in notes)
    assert any("--no-find-groups" in note for note in notes)
    mates = np.r_[np.arange(60, 80), np.full(40, -2), np.arange(20)]
    known = samples.replacing(group=evidence.samples.group)
    direct = gather(known, method, Sources(views=views), CPU, Callbacks(note=lambda text: None))
    for name, table in evidence.neighbors.items():
        assert not (table.indices == mates[:, None]).any()
        np.testing.assert_array_equal(table.indices, direct.neighbors[name].indices)
        np.testing.assert_array_equal(table.similarity, direct.neighbors[name].similarity)
    together = gather(
        samples, method, Sources(views=views), Resources(device="cpu", find_groups=False), Callbacks(note=notes.append)
    )
    assert together.samples.group is None
    assert (together.neighbors["a"].indices[:, 0] == mates)[:20].all()


def test_methods_without_neighbors_keep_groups_in_one_fold_too():
    samples, views = make_set()
    found = gather_for(samples, (build("threshold"),), Sources(views=views), CPU, Callbacks(note=lambda text: None))
    assert found.samples.group is not None
    assert found.samples.group[0] == found.samples.group[60] == "alike:face 000"
    assert not found.neighbors


def test_an_identity_embedding_adds_groups():
    samples, views = make_set(noise=2.0)  # not alike
    identity = make_views(noise=0.1, seed=5)["a"]
    notes: list[str] = []
    seen = Sources(views=views, identity=identity)
    refined = refine(samples, build("hypergraph", {"k": "6"}), seen, CPU, Callbacks(note=notes.append))
    assert refined.metadata["grouped"]
    assert any("or by the identity embedding" in note for note in notes)
    plain = refine(
        samples, build("hypergraph", {"k": "6"}), Sources(views=views), CPU, Callbacks(note=lambda text: None)
    )
    assert not plain.metadata["grouped"]


@pytest.mark.parametrize("joined", [60, 79])
def test_vectors_that_make_most_faces_one_person_are_said_or_refused(joined):
    """With 60 of 80 in one group the rest still shows four classes; with 79 nothing can tell right from wrong."""
    samples, views = make_set(noise=2.0)
    values = make_views(noise=2.0, seed=5)["a"].values.copy()
    values[:joined] += 20  # as vectors that were never centered: all alike
    seen = Sources(views=views, identity=Features("mine", samples.ids, values, np.ones(80, dtype=bool)))
    notes: list[str] = []

    def run():
        return gather(samples, build("hypergraph", {"k": "6"}), seen, CPU, Callbacks(note=notes.append))

    if joined == 79:
        with pytest.raises(InputError, match=r"79 of 80 faces \(98.8 %\) pass for one subject.*of 1 class, .*'mine'"):
            run()
        return
    run()
    said = [note for note in notes if note.startswith("60 of 80 faces (75.0 %) pass for one subject")]
    assert len(said) == 1
    assert "of 4 classes, judge their labels. Is 'mine' an embedding of who it is" in said[0]
    assert said[0].endswith("Leave --identity out, or give other vectors.")
