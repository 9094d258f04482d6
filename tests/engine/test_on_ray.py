"""Shards as Ray tasks: the vectors of one process, a worker lost in the middle, and errors that name the shard."""

from __future__ import annotations

from pathlib import Path

import engine_cases
import numpy as np
import pytest
from cli_runs import fails, run
from engine_cases import Full, Mortal

from fercleaner.core.errors import MissingDependency, StoreError
from fercleaner.datasets import read
from fercleaner.demo import draw_dataset
from fercleaner.encoders.hog import Hog
from fercleaner.engine import on_ray
from fercleaner.engine.on_ray import Asked, RayJob, _task, cluster, extract_shards
from fercleaner.engine.places import ShardPlace
from fercleaner.extraction.run import extract
from fercleaner.extraction.shards import Shard, WholeSet, cache_of, extracted

ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'fercleaner[ray]')")
FACES = 40


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder / "set", faces=FACES, noise_rate=0.1, seed=0)
    return folder / "set"


@pytest.fixture(scope="module")
def started():
    """Ray on this machine, with as many cores as two tasks need, whatever it has; workers find the tests' modules."""
    here = str(Path(engine_cases.__file__).parent)
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": {"PYTHONPATH": here}},
    )
    yield
    ray.shutdown()


def test_shards_on_ray_hold_the_vectors_of_one_process(drawn, tmp_path, started):
    samples, place = read(drawn), ShardPlace(str(tmp_path / "to"), tmp_path / "copies")
    seen = []
    done = extract_shards(samples, [Hog()], place, 3, Asked(), progress=lambda n, of: seen.append((n, of)))
    assert sorted((one.shard, one.computed) for one in done) == [("1/3", 13), ("2/3", 13), ("3/3", 14)]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert extracted(tmp_path / "to", samples, [Hog()]).missing == ()
    again = extract(samples, Hog(), cache=cache_of(tmp_path / "to"), workers=0)
    assert again.computed == 0
    assert np.array_equal(again.values, extract(samples, Hog(), cache=None, workers=0).values)
    done = extract_shards(samples, [Hog()], place, 3, Asked())
    assert [one.computed for one in done] == [0, 0, 0]


def test_a_worker_that_is_killed_costs_its_shard_alone(drawn, tmp_path, started):
    samples, place = read(drawn), ShardPlace(str(tmp_path / "to"), tmp_path / "copies")
    (tmp_path / "lives").mkdir()
    (tmp_path / "lives" / "1").write_text("")
    done = extract_shards(samples, [Mortal(lives=str(tmp_path / "lives"))], place, 4, Asked())
    assert not list((tmp_path / "lives").iterdir())  # a worker was killed
    assert sum(one.computed for one in done) == FACES
    assert extracted(tmp_path / "to", samples, [Hog()]).missing == ()


def test_a_shard_that_kills_every_worker_is_named_and_the_others_stay(drawn, tmp_path, started, monkeypatch):
    monkeypatch.setattr(on_ray, "AGAIN", 0)
    samples, place = read(drawn), ShardPlace(str(tmp_path / "to"), tmp_path / "copies")
    (tmp_path / "lives").mkdir()
    (tmp_path / "lives" / "1").write_text("")
    said = []
    with pytest.raises(StoreError, match=r"1 of 4 shards failed; .*First: Shard \d/4: its worker was lost 1 times"):
        extract_shards(samples, [Mortal(lives=str(tmp_path / "lives"))], place, 4, Asked(), tell=said.append)
    assert len(said) == 1
    missing = extracted(tmp_path / "to", samples, [Hog()]).missing
    assert [f"Shard {missing[0]}"] == [said[0].partition(":")[0]]
    again = extract_shards(samples, [Mortal(lives=str(tmp_path / "lives"))], place, 4, Asked())
    assert sorted(one.computed for one in again) == [0, 0, 0, 10]


def test_a_full_disk_at_one_shard_names_it_and_its_machine(drawn, tmp_path, started):
    samples, place = read(drawn), ShardPlace(str(tmp_path / "to"), tmp_path / "copies")
    (tmp_path / "lives").mkdir()
    (tmp_path / "lives" / "1").write_text("")
    with pytest.raises(StoreError, match=r"1 of 3 shards failed; .*First: Shard \d/3 on \S+: .*no space left"):
        extract_shards(samples, [Full(lives=str(tmp_path / "lives"))], place, 3, Asked())
    again = extract_shards(samples, [Full(lives=str(tmp_path / "lives"))], place, 3, Asked())
    assert sorted(one.computed for one in again)[:2] == [0, 0]


def test_a_machine_with_another_version_is_named(drawn, tmp_path, started):
    samples = read(drawn)
    job = RayJob(WholeSet.of(samples), [Hog()], ShardPlace(str(tmp_path), tmp_path), 0, "0.0.1")
    outcome = _task([ray.put(job)], Shard(1, 1), samples)
    assert "is installed there, and 0.0.1 here" in outcome.error
    assert outcome.machine


def test_the_command_runs_on_ray(drawn, tmp_path, started):
    common = [drawn, "--encoder", "hog", "--landmarks", "none", "--to", tmp_path / "to", "--engine", "ray"]
    said = run("extract", *common, "--shards", "2").stderr
    assert "40 vectors computed in 2 shards; machines: 1." in said
    assert "2 of 2 shards are done, 40 of 40 faces." in said
    assert "Leave one out" in fails("extract", *common, "--shard", "1/2")


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingDependency, match=r"fercleaner\[ray\]"), cluster(None):
        pass


def test_a_cluster_that_is_not_there(started):
    ray.shutdown()
    with (
        pytest.raises(StoreError, match=r"--address 127.0.0.1:9: no Ray cluster answers there"),
        cluster("127.0.0.1:9"),
    ):
        pass
