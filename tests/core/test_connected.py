"""Rows that pairs connect, against a library for graphs."""

from __future__ import annotations

import networkx
import numpy as np
import pytest

from fercleaner.core.groups import first_connected

N = 60
STEPS = np.stack([np.arange(N - 1), np.arange(1, N)], axis=1)
MIXED = np.random.default_rng(0).permutation(N)
PAIRS = {
    "none": np.zeros((0, 2), dtype=np.int64),
    "a path": STEPS,
    "a path in any order": MIXED[STEPS],
    "a star around the last": np.stack([np.full(N - 1, N - 1), np.arange(N - 1)], axis=1),
    "some": np.random.default_rng(1).integers(0, N, (25, 2)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_each_row_is_given_the_first_that_it_is_connected_to(name):
    graph = networkx.Graph(PAIRS[name].tolist())
    graph.add_nodes_from(range(N))
    expected = {row: min(part) for part in networkx.connected_components(graph) for row in part}
    assert first_connected(PAIRS[name], N).tolist() == [expected[row] for row in range(N)]
