"""Neighbors in parts that are kept: the refined file of one search, parts of jobs, on a store, damage, bad input."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from cli_runs import fails, labeled_vectors, run
from engine_views import made_view

from fercleaner import __version__
from fercleaner.core.errors import InputError, StoreError
from fercleaner.core.types import Features
from fercleaner.engine import neighbors
from fercleaner.engine.neighbors import part_search
from fercleaner.engine.neighbors_on_ray import RayRunner, Task
from fercleaner.engine.places import place_of
from fercleaner.extraction.shards import Shard
from fercleaner.extraction.stores import Store
from fercleaner.results import parquet
from fercleaner.similarity.neighbors import nearest
from fercleaner.similarity.neighbors.sharded import Parted, slices

FACES, PART = 90, 18


@pytest.fixture
def view():
    return made_view(FACES, twin=70)


@pytest.fixture
def searched(tmp_path):
    """Return a function that searches a view in parts of `PART` faces, and what users were told."""
    said = []

    def search(view, k, *, made_of="", shard=None, **more):
        with part_search(tmp_path / "parts", None, "cpu", said.append, faces=PART, shard=shard) as searcher:
            return searcher(view, made_of).nearest(k, **more)

    return search, said


@pytest.fixture
def ran(monkeypatch):
    """Return the list of blocks that are searched from now on, one for each part they are searched among."""
    found, plain = [], Parted.nearest
    monkeypatch.setattr(
        Parted,
        "nearest",
        lambda self, block, *rest: found.append((block.start, block.stop)) or plain(self, block, *rest),
    )
    return found


def same(one, other):
    return np.array_equal(one.indices, other.indices) and np.array_equal(one.similarity, other.similarity)


def test_as_one_search_with_groups_and_for_some_faces_alone(view, searched):
    search, said = searched
    apart = np.array([f"g{i // 4}" for i in range(FACES)])
    only = np.arange(FACES) % 3 == 0
    for more in ({}, {"apart": apart}, {"only": only}, {"apart": apart, "only": only}):
        seen = []
        table = search(view, 6, progress=lambda done, total, seen=seen: seen.append((done, total)), **more)
        assert same(table, nearest(view, 6, index="exact", center=False, **more))
        asked = int((view.found & more.get("only", True)).sum())
        assert seen[-1] == (asked, asked)
        assert table.search == {"index": "exact", "parts": 5}
    assert not said


def test_finished_parts_are_taken_over_and_damaged_ones_are_not(view, searched, tmp_path, ran):
    search, said = searched
    whole = search(view, 6)
    answers = sorted((tmp_path / "parts").glob("*/*/*.npz"))
    assert len(answers) == 5
    answers[1].unlink()
    kept = bytearray(answers[3].read_bytes())
    kept[len(kept) // 2] ^= 255
    answers[3].write_bytes(kept)
    ran.clear()
    assert same(search(view, 6), whole)
    faces = slices(int(view.found.sum()), PART)
    assert ran == [(faces[1].start, faces[1].stop)] * 5 + [(faces[3].start, faces[3].stop)] * 5
    assert len(said) == 1
    assert f" of {view.found.sum()} faces were done, in {answers[0].parent}" in said[0]


@pytest.mark.parametrize("count", [1, 3, 7])
def test_parts_of_jobs_are_one_search_whatever_their_number(view, tmp_path, ran, count):
    one, faces = nearest(view, 6, index="exact", center=False), int(view.found.sum())
    for number in range(count, 0, -1):  # in any order
        with part_search(tmp_path, None, "cpu", len, faces=PART, shard=Shard(number, count)) as searcher:
            table = searcher(view).nearest(6)
        done = sum(Shard(n, count).rows(faces)[1] - Shard(n, count).rows(faces)[0] for n in range(number, count + 1))
        assert searcher.missing == faces - done
        assert searcher.found == np.diff(Shard(number, count).rows(faces))
    assert same(table, one)  # the last one has all
    ran.clear()
    for shard in (None, Shard(2, 5)):
        with part_search(tmp_path, None, "cpu", len, faces=PART, shard=shard) as searcher:
            assert same(searcher(view).nearest(6), one)
        assert (searcher.missing, searcher.found, ran) == (0, 0, [])


def test_what_overlaps_is_not_searched_twice(view, searched, ran):
    search, _ = searched
    faces = int(view.found.sum())
    search(view, 6, shard=Shard(2, 3))
    first, end = Shard(2, 3).rows(faces)
    ran.clear()
    search(view, 6, shard=Shard(1, 2))
    assert {stop for _, stop in ran} <= set(range(first + 1))
    ran.clear()
    assert same(search(view, 6), nearest(view, 6, index="exact", center=False))
    assert min(start for start, _ in ran) == end


def test_views_of_other_rounding_are_one_search_by_what_they_were_made_of(view, searched):
    search, said = searched
    search(view, 6, made_of="of these")
    rounded = Features("view", view.ids, view.values * np.float32(1 + 1e-6), view.found, {})
    assert search(rounded, 6, made_of="of these") is not None
    assert len(said) == 1
    search(rounded, 6)
    assert len(said) == 1


def test_what_was_searched_for_other_faces_vectors_groups_or_k_is_not_taken(view, searched, tmp_path):
    search, said = searched
    search(view, 6)
    moved = Features("view", view.ids, np.roll(view.values, 1, axis=1), view.found, {})
    fewer = Features("view", view.ids, view.values, view.found & (np.arange(FACES) > 5), {})
    groups = np.array(["a", "a"] + [""] * (FACES - 2))
    for other, k, more in ((moved, 6, {}), (fewer, 6, {}), (view, 5, {}), (view, 6, {"apart": groups})):
        assert same(search(other, k, **more), nearest(other, k, index="exact", center=False, **more))
    assert said[0] == f"neighbors: view: parts in {tmp_path / 'parts'} of k = 6 do not fit k = 5."
    said.clear()
    renamed = Features("other", view.ids, view.values, view.found, {})
    assert search(renamed, 6).view == "other"  # the same vectors under another name
    assert len(said) == 1


def test_a_killed_search_goes_on(view, searched, monkeypatch):
    search, said = searched
    plain = Parted.nearest

    def killed(parted, block, *rest):
        if block.start > PART:
            raise KeyboardInterrupt
        return plain(parted, block, *rest)

    monkeypatch.setattr(Parted, "nearest", killed)
    with pytest.raises(KeyboardInterrupt):
        search(view, 6)
    monkeypatch.setattr(Parted, "nearest", plain)
    assert same(search(view, 6), nearest(view, 6, index="exact", center=False))
    end = slices(int(view.found.sum()), PART)[1].stop
    assert said[0].startswith(f"neighbors: view: {end} of {view.found.sum()} faces were done")


def test_on_a_store(view, address):
    one = nearest(view, 6, index="exact", center=False)
    for number in (2, 1):
        with part_search(address, None, "cpu", len, faces=PART, shard=Shard(number, 2)) as searcher:
            searcher(view).nearest(6)
    names = Store(address).names("")
    assert sum(name.endswith(".npz") for name in names) == 2 * 3
    with part_search(address, None, "cpu", len, faces=PART) as searcher:
        assert same(searcher(view).nearest(6), one)
    assert searcher.found == 0


def test_what_ray_tasks_read_is_written_anew_where_it_is_damaged(view, tmp_path, address):
    runner = RayRunner(None, place_of(address, tmp_path / "copies"), None)
    held = np.flatnonzero(view.found)
    parted = Parted(view.values, np.arange(FACES), held, held)

    def answer(place):
        files = runner._written(parted, "view/search")
        return Task(place, files, (0, 20), (20, len(held)), 3, __version__).run("cpu")

    wanted = parted.nearest(slice(0, 20), slice(20, len(held)), 3)
    elsewhere = place_of(address, tmp_path / "other machine")
    for place in (runner.place, elsewhere):
        assert np.array_equal(answer(place).indices, wanted.indices)
    (values,) = (tmp_path / "copies").glob("*/view/values-*.npy")
    for bad in (b"none", values.read_bytes()[:-4] + b"\x00\x00\xff\x7f"):
        values.write_bytes(bad)
        assert np.array_equal(answer(runner.place).indices, wanted.indices)


def test_another_version_and_a_folder_that_is_not_there_name_the_machine(tmp_path):
    task = Task(place_of(str(tmp_path / "parts")), ("v/values-0.npy",), (0, 5), (0, 5), 3, "0.0")
    with pytest.raises(StoreError, match=rf"fercleaner {__version__} is installed, and 0\.0 where the run was started"):
        task.run("cpu")
    task = replace(task, version=__version__)
    with pytest.raises(StoreError, match=r"parts cannot be read on .*one that all machines see by the same path"):
        task.run("cpu")


def test_a_view_without_faces_and_no_neighbors_asked_for(view, searched):
    search, _ = searched
    none = Features("view", view.ids, np.zeros_like(view.values), np.zeros(FACES, dtype=bool), {})
    assert (search(none, 3).indices == -1).all()
    with pytest.raises(InputError, match="k = 0"):
        search(view, 0)


@pytest.mark.parametrize("method", ["hypergraph", "consensus"])
def test_refine_makes_the_file_of_the_exact_index(method, tmp_path, monkeypatch):
    labeled_vectors(tmp_path, n=96)
    rng = np.random.default_rng(5)
    values = np.load(tmp_path / "v.npy")
    values = np.concatenate([values, rng.normal(size=(96, 20)).astype(np.float32)], axis=1)
    values[40:48] = values[:8] + rng.normal(scale=1e-3, size=(8, values.shape[1]))  # found groups: searched again
    np.save(tmp_path / "v.npy", values.astype(np.float32))
    np.save(tmp_path / "w.npy", (values @ rng.normal(size=(values.shape[1], 30))).astype(np.float32))
    views = ("--view", f"v={tmp_path / 'v.npy'}", "--view", f"w={tmp_path / 'w.npy'}", "--landmarks", "none")
    asked = ("refine", tmp_path / "faces.csv", "--method", method, *views)
    run(*asked, "--index", "exact", "--out", tmp_path / "one.parquet")
    monkeypatch.setattr(neighbors, "part_search", partial(part_search, faces=20))
    told = run(*asked, "--neighbors", tmp_path / "parts", "--out", tmp_path / "parted.parquet").stderr
    assert "kept apart" in told
    again = run(*asked, "--neighbors", tmp_path / "parts", "--out", tmp_path / "again.parquet").stderr
    assert "neighbors: v: 96 of 96 faces were done" in again
    one = parquet.load(tmp_path / "one.parquet")
    for name in ("parted", "again"):
        other = parquet.load(tmp_path / f"{name}.parquet")
        for field in ("distribution", "weight", "quality", "flagged", "changed", "reason"):
            assert np.array_equal(getattr(one, field), getattr(other, field)), field
        assert one.neighbors_for == other.neighbors_for
        assert one.neighbors_against == other.neighbors_against
        assert other.metadata["index"] == "exact"
        assert {table["index"] for table in other.metadata["neighbors"].values()} == {"exact"}
        assert {table["parts"] for table in other.metadata["neighbors"].values()} == {5}


def test_options_that_do_not_go_together(tmp_path):
    labeled_vectors(tmp_path)
    asked = ("refine", tmp_path / "faces.csv", "--view", f"v={tmp_path / 'v.npy'}", "--out", tmp_path / "o.parquet")
    assert "Name it: --neighbors DIR" in fails(*asked, "--engine", "ray")
    assert "Add --engine ray" in fails(*asked, "--neighbors", tmp_path / "parts", "--address", "auto")
    assert "neighbors searched in parts are exact" in fails(*asked, "--neighbors", "parts", "--index", "ivf")
    assert "no such store can be opened" in fails(*asked, "--neighbors", "gopher://bucket/parts")
    assert "Name where parts are kept" in fails(*asked, "--shard", "1/3")
    assert "--engine ray does all of them" in fails(
        *asked, "--shard", "1/3", "--neighbors", tmp_path / "parts", "--engine", "ray"
    )
    assert "--shard 4/3: expected NUMBER/COUNT" in fails(*asked, "--shard", "4/3", "--neighbors", tmp_path / "parts")
    no_neighbors = (*asked, "--method", "threshold", "--shard", "1/3", "--neighbors", tmp_path / "parts")
    assert "threshold looks at no neighbors" in fails(*no_neighbors)
    limited = (*asked, "--shard", "1/3", "--neighbors", tmp_path / "parts", "--memory", "1GiB")
    assert "needs was not measured" in run(*limited, exit_code=2).stderr
    (tmp_path / "file").write_text("")
    assert "file/parts: " in fails(*asked, "--neighbors", tmp_path / "file" / "parts")
    assert not (tmp_path / "o.parquet").exists()


def test_jobs_of_an_array_and_the_run_after_them(tmp_path):
    labeled_vectors(tmp_path, n=96)
    values, rng = np.load(tmp_path / "v.npy"), np.random.default_rng(5)
    values = np.concatenate([values, rng.normal(size=(96, 20)).astype(np.float32)], axis=1)
    values[40:48] = values[:8] + rng.normal(scale=1e-3, size=(8, values.shape[1]))  # found groups: searched again
    np.save(tmp_path / "v.npy", values.astype(np.float32))
    asked = ("refine", tmp_path / "faces.csv", "--view", f"v={tmp_path / 'v.npy'}", "--landmarks", "none")
    parts = ("--neighbors", tmp_path / "parts")
    run(*asked, "--index", "exact", "--out", tmp_path / "one.parquet")
    told = [run(*asked, *parts, "--shard", f"{number}/3").stderr for number in (3, 1, 2, 1, 2, 3)]
    assert "Part 3/3: neighbors of 32 faces searched, over all views. 64 are missing yet" in told[0]
    assert "kept apart" not in told[1]
    assert "kept apart" in told[2]  # the last of the first search finds the groups
    assert "All are there.\nNext: fercleaner refine" in told[5]
    assert not list(tmp_path.glob("*.refined.parquet"))
    run(*asked, *parts, "--out", tmp_path / "jobs.parquet")
    one, other = (parquet.load(tmp_path / f"{name}.parquet") for name in ("one", "jobs"))
    assert np.array_equal(one.distribution, other.distribution)
    assert one.neighbors_for == other.neighbors_for


def test_a_trial_takes_over_the_parts(tmp_path):
    labeled_vectors(tmp_path, n=60)
    common = (tmp_path / "faces.csv", "--view", f"v={tmp_path / 'v.npy'}", "--landmarks", "none")
    parts = ("--neighbors", tmp_path / "parts")
    trial = ("trial", *common, "--methods", "hypergraph", "--seeds", "1", "--json")
    assert run(*trial, *parts).stdout == run(*trial, "--index", "exact").stdout
    assert "60 of 60 faces were done" in run(*trial, *parts).stderr
    assert "Name it: --neighbors DIR" in fails(*trial, "--engine", "ray")
