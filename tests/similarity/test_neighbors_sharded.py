"""Neighbors shard by shard: those of one machine, bit for bit where the mean is, and of plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from fercleaner.core.errors import InputError
from fercleaner.core.groups import group_numbers
from fercleaner.core.types import Features
from fercleaner.similarity.neighbors import nearest
from fercleaner.similarity.neighbors.sharded import Best, Part, mean_of, merged_best, nearest_by_parts, summed


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


def cut(features, apart, edges):
    group = group_numbers(features.ids, apart)
    return [
        Part(a, features.values[a:b], features.found[a:b], group[a:b])
        for a, b in zip([0, *edges], [*edges, len(features)], strict=True)
    ]


def whole(parts, k, **options):
    found = [best for _, best in nearest_by_parts(parts.__getitem__, len(parts), k, **options)]
    return np.concatenate([b.indices for b in found]), np.concatenate([b.similarity for b in found])


@pytest.mark.parametrize("edges", [[], [150], [1, 2, 100], [70, 140, 210, 299]])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_any_cut_gives_the_neighbors_of_one_machine(edges, k):
    features, apart = view()
    one = nearest(features, k, apart=apart, index="exact", center=False)
    indices, similarity = whole(cut(features, apart, edges), k, center=False)
    assert np.array_equal(indices, one.indices)
    assert np.array_equal(similarity, one.similarity)


def test_centered_to_the_tie_rule():
    features, apart = view(seed=3)
    one = nearest(features, 8, apart=apart, index="exact")
    indices, similarity = whole(cut(features, apart, [90, 200]), 8)
    assert np.allclose(similarity, one.similarity, atol=1e-6)
    unlike = indices != one.indices
    assert np.abs(similarity - one.similarity)[unlike].max(initial=0) < 1e-6
    assert unlike.mean() < 0.01


def test_plain_loops():
    features, apart = view(n=40, d=5, seed=1)
    x = features.values.astype(np.float64)
    mean = sum(x[i] for i in range(40) if features.found[i]) / features.found.sum()
    unit = [(v - mean) / np.linalg.norm(v - mean) for v in x]
    indices, similarity = whole(cut(features, apart, [13, 14, 30]), 4)
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
    indices, _ = whole(cut(features, None, [20, 40]), 3, center=False)
    assert indices[0].tolist() == [1, 2, 3]
    assert indices[59].tolist() == [0, 1, 2]
    assert indices[1].tolist() == [0, 2, 3]


def test_a_part_without_faces_and_padding():
    features, _ = view(n=9, missing=0)
    parts = cut(features, None, [3, 6])
    empty = Part(parts[1].first, parts[1].values, np.zeros(3, dtype=bool), parts[1].group)
    indices, similarity = whole([parts[0], empty, parts[2]], 7, center=False)
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


def test_memory_mapped_parts(tmp_path):
    features, apart = view()
    np.save(tmp_path / "values.npy", features.values)
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    group = group_numbers(features.ids, apart)
    parts = [Part(a, mapped[a : a + 100], features.found[a : a + 100], group[a : a + 100]) for a in (0, 100, 200)]
    indices, _ = whole(parts, 5, center=False)
    assert np.array_equal(indices, nearest(features, 5, apart=apart, index="exact", center=False).indices)
    assert np.allclose(mean_of(summed(part) for part in parts), features.values[features.found].mean(0), atol=1e-5)


def test_no_neighbors_asked_for():
    with pytest.raises(InputError, match="k = 0"):
        list(nearest_by_parts(cut(*view(), []).__getitem__, 1, 0))
