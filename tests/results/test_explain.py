"""Which neighbors are named, against loops."""

from __future__ import annotations

import numpy as np
import pytest

from fercleaner.core.types import Neighbors, Refinement, Samples
from fercleaner.results.named_neighbors import NAMED, named_neighbors, nearest_overall
from fercleaner.similarity.whitening import JOINT

NAMES = ("anger", "happiness", "neutral", "sadness")


def make(seed, n=30, k=14, c=4):
    """Samples with some unlabeled, a refinement that changes and flags some, and a table with padding."""
    rng = np.random.default_rng(seed)
    labeled = rng.random(n) > 0.25
    given = np.where(labeled[:, None], np.eye(c)[rng.integers(0, c, n)], 0)
    ids = np.array([f"face {i:02d}" for i in range(n)])
    samples = Samples(ids, NAMES[:c], given, labeled, np.full(n, ""))
    distribution = np.where((rng.random(n) < 0.5)[:, None] & labeled[:, None], given, rng.dirichlet(np.ones(c), n))
    flagged = labeled & (rng.random(n) < 0.3)
    refinement = Refinement(ids, NAMES[:c], distribution, np.ones(n), np.ones(n), flagged, "any")
    table = np.full((n, k), -1)
    for i in range(n):
        others = rng.permutation([j for j in range(n) if j != i])[: rng.integers(0, k + 1)]
        table[i, : len(others)] = others
    return samples, refinement, table


def neighbors(view, table):
    n = len(table)
    return Neighbors(view, np.array([f"{i}" for i in range(n)]), table, np.where(np.asarray(table) >= 0, 0.5, 0))


@pytest.mark.parametrize("seed", range(6))
def test_witnesses_equal_the_loops(seed):
    samples, refinement, table = make(seed)
    expected_for, expected_against = [], []
    for i in range(len(samples)):
        own = int(samples.given[i].argmax()) if samples.labeled[i] else int(refinement.distribution[i].argmax())
        sides = {True: [], False: []}
        for j in table[i]:
            if j >= 0 and samples.labeled[j]:
                sides[int(samples.given[j].argmax()) == own].append(str(samples.ids[j]))
        expected_for.append(tuple(sides[True][:5]))
        expected_against.append(tuple(sides[False][:5]))
    spoke_for, spoke_against = named_neighbors(samples, refinement, table)
    assert spoke_for == tuple(expected_for)
    assert spoke_against == tuple(expected_against)
    assert max(map(len, spoke_against)) == NAMED == 5


def test_padding_never_speaks_although_it_points_at_the_last_face():
    ids, given = np.array(["f0", "f1"]), np.eye(4, dtype=np.float32)[:2]
    samples = Samples(ids, NAMES, given, np.ones(2, dtype=bool), np.full(2, ""))
    refinement = Refinement(ids, NAMES, given[[1, 1]], np.ones(2), np.ones(2), np.array([True, False]), "any")
    assert named_neighbors(samples, refinement, np.full((2, 3), -1)) == (((), ()), ((), ()))


def test_the_joint_view_names_the_neighbors_where_there_is_one():
    joint, other = np.array([[1], [0], [1]]), np.array([[2], [2], [0]])
    assert np.array_equal(nearest_overall({"a": neighbors("a", other), JOINT: neighbors(JOINT, joint)}), joint)
    assert np.array_equal(nearest_overall({"a": neighbors("a", other)}), other)


@pytest.mark.parametrize("seed", range(4))
def test_without_a_joint_view_the_views_take_turns_and_name_a_face_once(seed):
    rng = np.random.default_rng(seed)
    tables = {}
    for view, k in (("b", 4), ("a", 6), ("c", 2)):
        table = np.full((12, k), -1)
        for i in range(12):
            others = rng.permutation([j for j in range(12) if j != i])[: rng.integers(0, k + 1)]
            table[i, : len(others)] = others
        tables[view] = neighbors(view, table)
    merged = nearest_overall(tables)
    for i in range(12):
        expected = []
        for rank in range(6):
            for view in ("a", "b", "c"):
                row = tables[view].indices[i]
                if rank < len(row) and row[rank] >= 0 and row[rank] not in expected:
                    expected.append(int(row[rank]))
        assert [j for j in merged[i].tolist() if j >= 0] == expected
