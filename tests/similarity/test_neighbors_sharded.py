"""Neighbors part by part: those of one search, bit for bit, and of plain loops."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fercleaner.core.groups import group_numbers
from fercleaner.core.types import Features
from fercleaner.similarity.neighbors import nearest
from fercleaner.similarity.neighbors.sharded import Best, Parted, merged_best, slices


def view(n=300, d=12, seed=0, missing=0.1):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, d)).astype(np.float32) + 2
    values[n // 2] = values[0]  # ties: the same face three times, in unlike parts
    values[n - 1] = values[0]
    found = rng.random(n) >= missing
    found[[0, n // 2, n - 1]] = True
    values[~found] = 0
    ids = np.array([f"{i:04d}" for i in range(n)])
    return Features("view", ids, values, found, {}), np.array([f"g{i // 3}" if i % 2 else "" for i in range(n)])


def whole(features, apart, edges, k, values=None):
    """Return the neighbors of all faces, searched between any two of the parts that `edges` cut."""
    rows = np.flatnonzero(features.found)
    parted = Parted(features.values if values is None else values, group_numbers(features.ids, apart), rows, rows)
    ends = np.searchsorted(rows, [0, *edges, len(features)]).tolist()
    parts = [slice(a, b) for a, b in pairwise(ends)]
    indices, similarity = np.full((len(features), k), -1), np.zeros((len(features), k), dtype=np.float32)
    for block in parts:
        best = merged_best([parted.nearest(block, part, k) for part in parts], k)
        indices[rows[block]], similarity[rows[block]] = best
    return indices, similarity


@pytest.mark.parametrize("edges", [[], [150], [1, 2, 100], [70, 140, 210, 299]])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_any_cut_gives_the_neighbors_of_one_search(edges, k):
    features, apart = view()
    one = nearest(features, k, apart=apart, index="exact", center=False)
    indices, similarity = whole(features, apart, edges, k)
    assert np.array_equal(indices, one.indices)
    assert np.array_equal(similarity, one.similarity)


def test_plain_loops():
    features, apart = view(n=40, d=5, seed=1)
    unit = [v / max(np.linalg.norm(v), 1e-30) for v in features.values.astype(np.float64)]
    indices, similarity = whole(features, apart, [13, 14, 30], 4)
    for i in range(40):
        others = [
            (-round(float(unit[i] @ unit[j]), 6), j)
            for j in range(40)
            if features.found[i] and features.found[j] and j != i and (apart[i] == "" or apart[i] != apart[j])
        ]
        expected = sorted(others)[:4]
        assert [j for _, j in expected] == [j for j in indices[i] if j >= 0]
        assert np.allclose([-s for s, _ in expected], similarity[i][indices[i] >= 0], atol=2e-6)


def test_the_same_face_everywhere_is_settled_by_row_number():
    values = np.ones((60, 4), dtype=np.float32)
    features = Features("view", np.array([str(i) for i in range(60)]), values, np.ones(60, dtype=bool), {})
    indices, _ = whole(features, None, [20, 40], 3)
    assert indices[0].tolist() == [1, 2, 3]
    assert indices[59].tolist() == [0, 1, 2]
    assert indices[1].tolist() == [0, 2, 3]


def test_a_part_without_faces_and_padding():
    features, _ = view(n=9, missing=0)
    found = np.array([True] * 3 + [False] * 3 + [True] * 3)
    features = Features("view", features.ids, np.where(found[:, None], features.values, 0), found, {})
    indices, similarity = whole(features, None, [3, 6], 7)
    assert (indices[3:6] == -1).all()
    assert not np.isin(indices, [3, 4, 5]).any()
    assert ((indices >= 0).sum(1) == [5, 5, 5, 0, 0, 0, 5, 5, 5]).all()
    assert (similarity[indices < 0] == 0).all()


def test_merging_keeps_the_best_and_drops_padding():
    one = Best(np.array([[4, 9, -1]]), np.array([[0.5, -0.2, 0.0]], dtype=np.float32))
    other = Best(np.array([[2, -1, -1]]), np.array([[0.5, 0.0, 0.0]], dtype=np.float32))
    best = merged_best([one, other], 3)
    assert best.indices.tolist() == [[2, 4, 9]]
    assert best.similarity[0].tolist() == pytest.approx([0.5, 0.5, -0.2])


def test_memory_mapped_vectors(tmp_path):
    features, apart = view()
    np.save(tmp_path / "values.npy", features.values)
    indices, _ = whole(features, apart, [100, 200], 5, np.load(tmp_path / "values.npy", mmap_mode="r"))
    assert np.array_equal(indices, nearest(features, 5, apart=apart, index="exact", center=False).indices)


def test_parts_cover_all_rows_once():
    for count, most in ((0, 5), (1, 5), (5, 5), (6, 5), (23, 5)):
        rows = [row for part in slices(count, most) for row in range(part.start, part.stop)]
        assert rows == list(range(count))
        assert all(0 < part.stop - part.start <= most for part in slices(count, most))
