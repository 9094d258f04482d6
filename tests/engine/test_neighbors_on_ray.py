"""Neighbors by Ray tasks on two nodes: those of one process, a node killed in the middle, a part that is damaged."""

from __future__ import annotations

import numpy as np
import pytest

from fercleaner.core.errors import InputError, StoreError
from fercleaner.core.types import Features
from fercleaner.engine.neighbors import nearest_on_ray, write_part
from fercleaner.engine.on_ray import Asked
from fercleaner.similarity.neighbors import nearest

ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'fercleaner[ray]')")
FACES = 240


@pytest.fixture(scope="module")
def nodes():
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def view():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(FACES, 10)).astype(np.float32)
    values[200] = values[3]
    found = rng.random(FACES) > 0.1
    values[~found] = 0
    return Features("view", np.array([f"{i:04d}" for i in range(FACES)]), values, found, {})


def of(found):
    best = [one for _, one in found]
    return np.concatenate([b.indices for b in best]), np.concatenate([b.similarity for b in best])


def test_two_nodes_one_killed_in_the_middle(view, tmp_path, nodes):
    parts = write_part(tmp_path / "parts", view.values, view.found, np.arange(FACES), 4)
    one = nearest(view, 6, index="exact", center=False)
    node = nodes.add_node(num_cpus=2)
    seen = []
    found = nearest_on_ray(parts, 6, Asked(), center=False, progress=lambda n, of: seen.append((n, of)))
    first = next(found)
    nodes.remove_node(node, allow_graceful=False)  # its tasks start again on the other
    indices, similarity = of([first, *found])
    assert np.array_equal(indices, one.indices)
    assert np.array_equal(similarity, one.similarity)
    assert seen[-1] == (4, 4)


def test_a_part_that_is_damaged_is_named(view, tmp_path, nodes):
    parts = write_part(tmp_path / "parts", view.values, view.found, np.arange(FACES), 2)
    (tmp_path / "parts" / "0001.values.npy").write_bytes(b"none")
    with pytest.raises(StoreError, match=r"Part 1 in .*part 1 cannot be read"):
        list(nearest_on_ray(parts, 3, Asked()))
    with pytest.raises(InputError, match="k = 0"):
        next(nearest_on_ray(parts, 0, Asked()))
