"""Neighbors against all pairs in float64: ties, groups, padding, missing faces, blocks, approximate indexes."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import oracles_hypergraph as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fercleaner.core.errors import InputError, MissingDependency
from fercleaner.core.types import Features
from fercleaner.similarity.neighbors import among, nearest, search, use_gpu


def features(values, found=None, view="clip"):
    values = np.asarray(values, dtype=np.float32)
    found = np.ones(len(values), dtype=bool) if found is None else np.asarray(found)
    ids = np.array([f"f{i:05d}" for i in range(len(values))])
    return Features(view, ids, np.where(found[:, None], values, 0), found)


def clusters(rng, n=1200, clusters_=12, dims=24, spread=0.35):
    centers = rng.normal(size=(clusters_, dims))
    return centers[np.arange(n) % clusters_] + spread * rng.normal(size=(n, dims))


def assert_same(found, expected, slack=2e-6):
    """Equal similarities, and equal rows wherever no other face is as near to within rounding."""
    indices, similarity = expected
    np.testing.assert_allclose(found.similarity, similarity, atol=slack)
    assert ((found.indices < 0) == (indices < 0)).all()
    gap_up = np.abs(np.diff(similarity, axis=1, prepend=2.0)) > 2 * slack
    gap_down = np.abs(np.diff(similarity, axis=1, append=-3.0)) > 2 * slack
    sure = gap_up & gap_down
    sure[:, -1] = False  # the face just beyond the table may be as near
    np.testing.assert_array_equal(found.indices[sure], indices[sure])
    assert sure[:, :-1][indices[:, :-1] >= 0].mean() > 0.9


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("grouped", [True, False])
def test_equals_all_pairs_in_float64(center, grouped):
    rng = np.random.default_rng(3)
    values = clusters(rng, n=90, clusters_=5, dims=7) + 2.0
    found = rng.random(90) > 0.15
    apart = np.array([f"g{i}" if i else "" for i in rng.integers(0, 12, 90)]) if grouped else None
    view = features(values, found)
    expected = oracle.nearest(view.values, found, 9, apart=apart, center=center)
    table = nearest(view, 9, apart=apart, center=center, device="cpu")
    assert_same(table, expected)
    assert table.view == "clip"
    assert np.array_equal(table.ids, view.ids)


def test_centering_tells_faces_apart_that_all_point_one_way():
    rng = np.random.default_rng(0)
    values = clusters(rng, n=60, clusters_=3) + 50
    plain = nearest(features(values), 3, center=False, device="cpu")
    centered = nearest(features(values), 3, device="cpu")
    assert plain.similarity.min() > 0.99
    assert (centered.indices % 3 == np.arange(60)[:, None] % 3).all()
    assert centered.similarity.max() < 0.99


@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_ties_go_to_the_first_rows(seed, n, k):
    """Vectors with entries -1, 0, 1: cosines are exact in float32 only up to rounding, so equal ones tie by number."""
    rng = np.random.default_rng(seed)
    view = features(rng.choice([-1.0, 1.0], (n, 4)))
    indices, similarity = oracle.nearest(view.values, view.found, k, center=False)
    table = nearest(view, k, center=False, device="cpu")
    np.testing.assert_array_equal(table.indices, indices)
    np.testing.assert_allclose(table.similarity, similarity, atol=1e-7)


def test_more_equals_than_spare_candidates_still_go_to_the_first_rows():
    rng = np.random.default_rng(1)
    values = np.concatenate([np.tile([1.0, 0.0, 0.0], (300, 1)), rng.normal(size=(50, 3))])
    order = rng.permutation(350)
    table = nearest(features(values[order]), 4, center=False, device="cpu")
    twins = np.flatnonzero(order < 300)
    for row in twins:
        assert table.indices[row].tolist() == [t for t in twins if t != row][:4]


def test_groups_larger_than_k_are_kept_apart():
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(size=(1, 8)) + 0.01 * rng.normal(size=(120, 8)), rng.normal(size=(30, 8))])
    apart = np.array(["video 1"] * 120 + [""] * 30)
    view = features(values)
    table = nearest(view, 6, apart=apart, device="cpu")
    assert (table.indices[:120] >= 120).all()
    assert_same(table, oracle.nearest(view.values, view.found, 6, apart=apart))


def test_candidates_that_are_all_of_the_own_group_are_not_the_end_of_the_search():
    """Ten near and five far members of one group stand before the only faces that may vote, farther still."""
    near, far, others = [[1.0, 0.01 * i] for i in range(10)], [[-0.5, 1.0]] * 5, [[-1.0, 0.1 * i] for i in range(4)]
    view = features(near + far + others)
    apart = np.array(["video"] * 15 + [""] * 4)
    table = nearest(view, 3, apart=apart, center=False, device="cpu")
    assert (table.indices[:10] >= 15).all()
    assert_same(table, oracle.nearest(view.values, view.found, 3, apart=apart, center=False))


def test_one_group_alone_leaves_padding():
    rng = np.random.default_rng(2)
    table = nearest(features(rng.normal(size=(40, 5))), 3, apart=np.full(40, "one subject"), device="cpu")
    assert (table.indices == -1).all()
    assert not table.similarity.any()


def test_empty_group_names_are_faces_alone():
    rng = np.random.default_rng(2)
    view = features(rng.normal(size=(20, 5)))
    alone = nearest(view, 3, apart=np.full(20, ""), device="cpu")
    assert np.array_equal(alone.indices, nearest(view, 3, device="cpu").indices)


def test_groups_of_faces_that_are_not_found_do_not_matter():
    rng = np.random.default_rng(5)
    found = np.arange(30) % 3 > 0
    view = features(rng.normal(size=(30, 4)), found)
    apart = np.array(["a", "b", ""] * 10)[rng.permutation(30)]
    table = nearest(view, 5, apart=apart, device="cpu")
    assert_same(table, oracle.nearest(view.values, found, 5, apart=apart))


def test_faces_not_found_have_no_neighbors_and_are_nobodys():
    found = np.arange(30) % 4 != 1
    table = nearest(features(np.random.default_rng(0).normal(size=(30, 4)), found), 10, device="cpu")
    assert (table.indices[~found] == -1).all()
    assert not np.isin(table.indices, np.flatnonzero(~found)).any()
    assert (table.indices[found] >= 0).all()


def test_faces_not_found_do_not_shift_the_mean():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 4)) + 3
    found = np.arange(40) < 30
    whole, part = nearest(features(values, found), 4, device="cpu"), nearest(features(values[:30]), 4, device="cpu")
    assert np.array_equal(whole.indices[:30], part.indices)
    assert np.array_equal(whole.similarity[:30], part.similarity)


@pytest.mark.parametrize("index", ["exact", "ivf", "hnsw"])
def test_two_faces(index):
    table = nearest(features([[1.0, 0.0], [0.6, 0.8]]), 3, center=False, index=index, device="cpu")
    assert table.indices.tolist() == [[1, -1, -1], [0, -1, -1]]
    np.testing.assert_allclose(table.similarity, [[0.6, 0, 0], [0.6, 0, 0]], atol=1e-7)


@pytest.mark.parametrize("found", [[True, False, False], [False, False, False]])
def test_fewer_than_two_faces_found_is_all_padding(found):
    table = nearest(features(np.ones((3, 2)), found), 2, device="cpu")
    assert (table.indices == -1).all()


@pytest.mark.parametrize("k", [9, 10, 25])
def test_k_of_n_or_more_names_all_others_and_pads(k):
    view = features(np.random.default_rng(4).normal(size=(10, 3)))
    table = nearest(view, k, device="cpu")
    assert table.indices.shape == (10, k)
    for row in range(10):
        assert sorted(table.indices[row, :9].tolist()) == [j for j in range(10) if j != row]
    assert (table.indices[:, 9:] == -1).all()


def test_a_zero_vector_is_like_nothing_and_never_nan():
    table = nearest(features([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), 3, center=False, device="cpu")
    assert table.similarity[0].tolist() == [0, 0, 0]
    assert table.indices[0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("block", [1, 7, 64])
def test_block_size_never_changes_a_bit(monkeypatch, block):
    rng = np.random.default_rng(8)
    view = features(clusters(rng, n=130))
    apart = np.array([f"g{i}" for i in rng.integers(0, 30, 130)])
    whole = nearest(view, 7, apart=apart, device="cpu")
    monkeypatch.setattr(search, "BLOCK", block)
    parts = nearest(view, 7, apart=apart, device="cpu")
    assert whole.indices.tobytes() == parts.indices.tobytes()
    assert whole.similarity.tobytes() == parts.similarity.tobytes()


def test_progress_counts_every_face_once(monkeypatch):
    monkeypatch.setattr(search, "BLOCK", 16)
    seen = []
    view = features(np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) != 5)
    nearest(view, 2, device="cpu", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(16, 39), (32, 39), (39, 39)]


def test_renumbering_faces_renumbers_neighbors():
    rng = np.random.default_rng(6)
    view = features(clusters(rng, n=150))
    order = rng.permutation(150)
    here, there = nearest(view, 8, device="cpu"), nearest(features(view.values[order]), 8, device="cpu")
    np.testing.assert_allclose(there.similarity, here.similarity[order], atol=1e-6)
    assert (order[there.indices] == here.indices[order]).mean() > 0.999


def test_a_pair_has_one_similarity_from_both_sides():
    rng = np.random.default_rng(7)
    table = nearest(features(rng.normal(size=(25, 200))), 24, device="cpu")
    matrix = np.zeros((25, 25), dtype=np.float32)
    np.put_along_axis(matrix, table.indices, table.similarity, 1)
    assert np.array_equal(matrix, matrix.T)


@pytest.mark.parametrize(("index", "least"), [("hnsw", 0.98), ("ivf", 0.98)])
def test_approximate_indexes_find_most_of_the_same_neighbors(index, least):
    rng = np.random.default_rng(9)
    view = features(clusters(rng, n=2500))
    exact = nearest(view, 10, device="cpu")
    close = nearest(view, 10, index=index, device="cpu")
    shared = [len(set(a) & set(b)) for a, b in zip(exact.indices.tolist(), close.indices.tolist(), strict=True)]
    assert sum(shared) / exact.indices.size >= least
    mine = {(i, j): s for i in range(2500) for j, s in zip(exact.indices[i], exact.similarity[i], strict=True)}
    for i in range(0, 2500, 50):
        for j, s in zip(close.indices[i], close.similarity[i], strict=True):
            assert mine.get((i, j), s) == s


@pytest.mark.parametrize("n", [2, 3, 10, 40, 200])
def test_ivf_works_on_small_sets_and_warns_of_nothing(n, capfd):
    table = nearest(features(np.random.default_rng(n).normal(size=(n, 6))), 1, index="ivf", device="cpu")
    assert (table.indices >= 0).all()
    streams = capfd.readouterr()
    assert streams.out + streams.err == ""


def test_memory_grows_with_n_and_never_with_its_square(monkeypatch):
    """A matrix of all 6,000 x 6,000 pairs would be 144 MB as float32, and 36 MB as bytes."""
    monkeypatch.setattr(search, "BLOCK", 256)
    view = features(np.random.default_rng(0).normal(size=(6000, 8)))
    widest = []
    choose = among.chosen

    def watched(faces, held, near, numbers, edge):
        widest.append(near.size)
        return choose(faces, held, near, numbers, edge)

    monkeypatch.setattr(among, "chosen", watched)
    nearest(features(view.values[:50]), 5, device="cpu")
    tracemalloc.start()
    table = nearest(view, 5, device="cpu")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (table.indices >= 0).all()
    assert peak < 8e6
    assert max(widest) <= 256 * (5 + among.SPARE + 1)


def test_inputs_are_not_written_to():
    view = features(np.random.default_rng(0).normal(size=(30, 4)))
    before = view.values.copy()
    nearest(view, 3, device="cpu")
    assert np.array_equal(view.values, before)


@pytest.mark.parametrize("k", [0, -3])
def test_k_below_one_is_an_error(k):
    with pytest.raises(InputError, match=f"k = {k}: at least one neighbor is needed"):
        nearest(features(np.eye(3)), k)


def test_unknown_index_is_an_error():
    with pytest.raises(InputError, match=r"index 'flat' is not known; choose one of auto, exact, hnsw, ivf"):
        nearest(features(np.eye(3)), 1, index="flat")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:", "mps", "auto:1"])
def test_unknown_device_is_an_error(device):
    with pytest.raises(InputError, match=f"device '{device}' is not known; choose auto, cuda, cuda:NUMBER or cpu"):
        nearest(features(np.eye(3)), 1, device=device)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_without_a_gpu_is_an_error_and_auto_is_not(monkeypatch, device):
    faiss = pytest.importorskip("faiss")
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0, raising=False)
    with pytest.raises(InputError, match=rf"--device {device}: FAISS sees no GPU here\. Use --device auto or cpu"):
        nearest(features(np.eye(3)), 1, device=device)
    assert nearest(features(np.eye(3)), 1, device="auto").k == 1


def test_a_gpu_number_too_high_is_an_error(monkeypatch):
    faiss = pytest.importorskip("faiss")
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1, raising=False)
    with pytest.raises(InputError, match=r"--device cuda:1: FAISS sees 1 GPU here, numbered from 0"):
        use_gpu("cuda:1")
    assert use_gpu("cuda:0")
    assert use_gpu("cuda")
    assert not use_gpu("cpu")


def test_without_faiss_the_message_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(
        MissingDependency, match=r"Finding neighbors needs the package faiss-cpu.*pip install faiss-cpu"
    ):
        nearest(features(np.eye(3)), 1, device="cpu")


def test_some_rows_alone_are_searched_as_all_are():
    rng = np.random.default_rng(0)
    view = features(rng.normal(size=(90, 12)), rng.random(90) < 0.9)
    apart = np.where(np.arange(90) % 3 == 0, "x", "")
    only = rng.random(90) < 0.3
    whole = nearest(view, 7, apart=apart, device="cpu")
    some = nearest(view, 7, apart=apart, device="cpu", only=only)
    np.testing.assert_array_equal(some.indices[only], whole.indices[only])
    np.testing.assert_array_equal(some.similarity[only], whole.similarity[only])
    assert (some.indices[~only] == -1).all()
    assert (whole.indices[~only] >= 0).any()
