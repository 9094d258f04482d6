"""Neighbors by Ray tasks on two nodes: those of one process, a node killed in the middle, a folder that is gone."""

from __future__ import annotations

import shutil
from functools import partial

import numpy as np
import pytest
from cli_runs import fails, labeled_vectors, run
from engine_views import made_view

from fercleaner.core.errors import StoreError
from fercleaner.engine import neighbors
from fercleaner.engine.neighbors import part_search
from fercleaner.engine.neighbors_on_ray import RayRunner
from fercleaner.engine.on_ray import Asked
from fercleaner.results import parquet
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
    return made_view(FACES, twin=200)


def test_two_nodes_one_killed_in_the_middle(view, tmp_path, nodes):
    one = nearest(view, 6, index="exact", center=False)
    node = nodes.add_node(num_cpus=2)
    seen = []

    def kill(done, total):
        if not seen:
            nodes.remove_node(node, allow_graceful=False)  # its tasks start again on the other
        seen.append((done, total))

    with part_search(tmp_path, Asked(), "cpu", print, faces=60) as searcher:
        table = searcher(view).nearest(6, progress=kill)
    assert np.array_equal(table.indices, one.indices)
    assert np.array_equal(table.similarity, one.similarity)
    assert len(seen) == 4
    assert seen[-1] == (view.found.sum(),) * 2


def test_refine_on_ray_makes_the_file_of_the_exact_index(tmp_path, nodes, monkeypatch):
    labeled_vectors(tmp_path, n=96)
    asked = ("refine", tmp_path / "faces.csv", "--view", f"v={tmp_path / 'v.npy'}", "--landmarks", "none")
    run(*asked, "--index", "exact", "--out", tmp_path / "one.parquet")
    monkeypatch.setattr(neighbors, "part_search", partial(part_search, faces=40))
    run(*asked, "--neighbors", tmp_path / "parts", "--engine", "ray", "--out", tmp_path / "ray.parquet")
    one, other = parquet.load(tmp_path / "one.parquet"), parquet.load(tmp_path / "ray.parquet")
    for field in ("distribution", "weight", "quality", "flagged", "changed", "reason"):
        assert np.array_equal(getattr(one, field), getattr(other, field)), field
    assert one.neighbors_for == other.neighbors_for
    assert len(list((tmp_path / "parts").glob("*/*/*.npz"))) >= 3


def test_parts_on_a_store_are_read_by_every_machine(view, address, nodes, tmp_path, monkeypatch):
    monkeypatch.setenv("FERCLEANER_CACHE", str(tmp_path / "cache"))
    with part_search(address, Asked(), "cpu", print, faces=60) as searcher:
        table = searcher(view).nearest(6)
    one = nearest(view, 6, index="exact", center=False)
    assert np.array_equal(table.indices, one.indices)
    with part_search(address, None, "cpu", print, faces=60) as searcher:
        assert np.array_equal(searcher(view).nearest(6).similarity, one.similarity)
    assert searcher.found == 0


def test_files_that_a_machine_does_not_see_are_named(view, tmp_path, nodes, monkeypatch):
    with part_search(tmp_path / "parts", Asked(), "cpu", print, faces=60) as searcher:
        made = searcher(view)
        written = RayRunner._written

        def gone(self, *asked):
            files = written(self, *asked)
            shutil.rmtree(tmp_path / "parts")
            return files

        monkeypatch.setattr(RayRunner, "_written", gone)
        with pytest.raises(StoreError, match=r"Neighbors of faces 0 to [0-9]+ in .*cannot be read on .*all machines"):
            made.nearest(3)


def test_no_cluster_at_the_address_is_told_at_once(tmp_path):
    labeled_vectors(tmp_path)
    ray.shutdown()
    told = fails(
        *("refine", tmp_path / "faces.csv", "--view", f"v={tmp_path / 'v.npy'}", "--out", tmp_path / "o.parquet"),
        *("--neighbors", tmp_path / "parts", "--engine", "ray", "--address", "127.0.0.1:1"),
    )
    assert "--address 127.0.0.1:1: no Ray cluster answers there" in told
