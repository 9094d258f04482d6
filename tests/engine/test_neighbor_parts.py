"""Neighbors in parts kept in a folder: the refined file of one search, finished parts taken over, damage, bad input."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from cli_runs import fails, labeled_vectors, run
from engine_views import made_view

from fercleaner.core.errors import InputError, StoreError
from fercleaner.core.types import Features
from fercleaner.engine import neighbors
from fercleaner.engine.neighbors import Task, part_search
from fercleaner.results import parquet
from fercleaner.similarity.neighbors import nearest

FACES, PART = 90, 18


@pytest.fixture
def view():
    return made_view(FACES, twin=70)


@pytest.fixture
def searched(tmp_path):
    """Return a function that searches a view in parts of `PART` faces, and what users were told."""
    said = []

    def search(view, k, **more):
        with part_search(tmp_path / "parts", None, "cpu", said.append, faces=PART) as searcher:
            return searcher(view).nearest(k, **more)

    return search, said


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


def test_finished_parts_are_taken_over_and_damaged_ones_are_not(view, searched, tmp_path, monkeypatch):
    search, said = searched
    whole, ran, run_task = search(view, 6), [], Task.run
    answers = sorted((tmp_path / "parts").glob("*/*/*.npz"))
    assert len(answers) == 5
    answers[1].unlink()
    kept = bytearray(answers[3].read_bytes())
    kept[len(kept) // 2] ^= 255
    answers[3].write_bytes(kept)
    monkeypatch.setattr(Task, "run", lambda task, device: ran.append(task.block[0]) or run_task(task, device))
    assert same(search(view, 6), whole)
    assert ran == [1] * 5 + [3] * 5
    assert len(said) == 1
    assert said[0].startswith(f"neighbors: view: 3 of 5 parts were there, in {answers[0].parent}")


def test_what_was_searched_for_other_faces_vectors_groups_or_k_is_not_taken(view, searched):
    search, said = searched
    search(view, 6)
    moved = Features("view", view.ids, np.roll(view.values, 1, axis=1), view.found, {})
    fewer = Features("view", view.ids, view.values, view.found & (np.arange(FACES) > 5), {})
    groups = np.array(["a", "a"] + [""] * (FACES - 2))
    for other, k, more in ((moved, 6, {}), (fewer, 6, {}), (view, 5, {}), (view, 6, {"apart": groups})):
        assert same(search(other, k, **more), nearest(other, k, index="exact", center=False, **more))
    assert not said
    renamed = Features("other", view.ids, view.values, view.found, {})
    assert search(renamed, 6).view == "other"  # the same vectors under another name
    assert len(said) == 1


def test_a_killed_search_goes_on(view, searched, tmp_path, monkeypatch):
    search, said = searched
    run_task = Task.run

    def killed(task, device):
        if task.block[0] == 2:
            raise KeyboardInterrupt
        return run_task(task, device)

    monkeypatch.setattr(Task, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        search(view, 6)
    monkeypatch.setattr(Task, "run", run_task)
    assert same(search(view, 6), nearest(view, 6, index="exact", center=False))
    assert "2 of 5 parts were there" in said[0]


def test_vectors_damaged_in_the_folder_are_written_anew(view, searched, tmp_path):
    search, _ = searched
    search(view, 6)
    (file,) = (tmp_path / "parts").glob("*/values.npy")
    for bad in (b"none", file.read_bytes()[:-4] + b"\x00\x00\xff\x7f"):
        file.write_bytes(bad)
        assert same(search(view, 4), nearest(view, 4, index="exact", center=False))
        for answer in file.parent.glob("*/*.npz"):
            answer.unlink()


def test_another_version_and_a_folder_that_is_not_there_name_the_machine(tmp_path):
    from fercleaner import __version__

    task = Task(tmp_path / "view", tmp_path / "view" / "search", (0, 0, 5), (0, 0, 5), 3, "0.0")
    with pytest.raises(StoreError, match=rf"fercleaner {__version__} is installed, and 0\.0 where the run was started"):
        task.run("cpu")
    task = Task(tmp_path / "view", tmp_path / "view" / "search", (0, 0, 5), (0, 0, 5), 3, __version__)
    with pytest.raises(StoreError, match=r"view cannot be read on .*one that all machines see by the same path"):
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
    assert "neighbors: v: 5 of 5 parts were there" in again
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
    assert "name a folder, not an address" in fails(*asked, "--neighbors", "s3://bucket/parts")
    (tmp_path / "file").write_text("")
    assert "Choose another folder" in fails(*asked, "--neighbors", tmp_path / "file" / "parts")
    assert not (tmp_path / "o.parquet").exists()
