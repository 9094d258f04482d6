"""What commands say of neighbors in parts: options that wait for the last run, the next command, audits."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
from cli_runs import fails, labeled_vectors, run

from fercleaner.report import run as report_run
from fercleaner.results import parquet


@pytest.fixture
def given(tmp_path):
    """Options on a set of 60 faces and its one view."""
    labeled_vectors(tmp_path, n=60)
    return (tmp_path / "faces.csv", "--view", f"v={tmp_path / 'v.npy'}", "--landmarks", "none")


def test_a_part_says_which_options_wait_for_the_last_run_and_hands_all_of_them_on(given, tmp_path):
    later = (
        "--precision",
        "0.8",
        "--learn-from",
        "train",
        "--decisions",
        f"{tmp_path}/a b.csv",
        "--decisions",
        "c.csv",
    )
    later += ("--annotators", "people.csv", "--out", f"{tmp_path}/o.parquet", "--force")
    rule = ("--method", "hypergraph", "--set", "k=5")
    parts = ("--neighbors", f"{tmp_path}/parts")
    done = run("refine", *given, *rule, *parts, "--shard", "1/3", *later)
    assert (
        "A part holds neighbors alone: --precision, --learn-from, --decisions, --annotators, --out, --force change "
        "nothing here, and count in the last run." in done.stderr
    )
    said = done.stderr.rstrip().rpartition("Next: ")[2]
    assert shlex.split(said) == ["fercleaner", "refine", *map(str, given), *rule, *parts, *later]
    plain = run("refine", *given, *rule, *parts, "--shard", "2/3", "--json")
    assert "change nothing here" not in plain.stderr
    assert json.loads(plain.stdout) == {
        "shard": "2/3", "neighbors": f"{tmp_path}/parts", "searched": 20, "missing": 20,
    }  # fmt: skip
    assert not (tmp_path / "o.parquet").exists()


def test_the_next_command_takes_over_the_parts_as_well(given, tmp_path):
    parts = ("--neighbors", f"{tmp_path}/parts")
    told = run("trial", *given, *parts, "--methods", "hypergraph", "--seeds", "1").stderr
    assert shlex.split(told.rstrip().rpartition("Next: ")[2]) == [
        "fercleaner", "refine", *map(str, given), *parts, "--method", "hypergraph",
    ]  # fmt: skip


def test_an_audit_takes_over_the_parts_and_is_that_of_one_search(given, tmp_path):
    values, rng = np.load(tmp_path / "v.npy"), np.random.default_rng(5)
    values = np.concatenate([values, rng.normal(size=(60, 20)).astype(np.float32)], axis=1)
    values[40:44] = values[:4] + rng.normal(scale=1e-3, size=(4, values.shape[1]))  # found groups: searched again
    np.save(tmp_path / "v.npy", values.astype(np.float32))
    parts = ("--neighbors", tmp_path / "parts")
    run("audit", *given, "--no-checks", "--index", "exact", "--out", tmp_path / "one")
    run("refine", *given, *parts, "--out", tmp_path / "set.parquet")
    told = run("audit", *given, "--no-checks", *parts, "--out", tmp_path / "parted").stderr
    assert "60 of 60 faces were done" in told
    one, other = (parquet.load(tmp_path / name / "refined.parquet") for name in ("one", "parted"))
    assert np.array_equal(one.distribution, other.distribution)
    assert one.neighbors_for == other.neighbors_for
    pages = [json.loads((tmp_path / name / "audit.json").read_text()) for name in ("one", "parted")]
    assert {**pages[0], "written": ""} == {**pages[1], "written": ""}
    assert "Name it: --neighbors DIR" in fails("audit", *given, "--engine", "ray", "--out", tmp_path / "no")


def test_an_audit_of_a_refined_file_searches_nothing(given, tmp_path, monkeypatch):
    file = tmp_path / "set.parquet"
    run("refine", *given, "--out", file)
    about = (file, "--dataset", *given, "--out", tmp_path / "page", "--no-checks")
    assert "needs no neighbors that are not in it" in fails("audit", *about, "--neighbors", tmp_path / "parts")
    assert not (tmp_path / "parts").exists()
    kept = []
    plain = report_run.gather
    monkeypatch.setattr(
        report_run, "gather", lambda samples, method, sources, resources, callbacks: kept.append(resources)
        or plain(samples, method, sources, resources, callbacks)
    )  # fmt: skip
    run("audit", *about)
    assert [resources.find_groups for resources in kept] == [False]


@pytest.mark.parametrize("command", ["refine", "audit"])
def test_a_method_without_neighbors_searches_none_in_parts(given, tmp_path, command):
    out = tmp_path / ("o.parquet" if command == "refine" else "page")
    asked = (command, *given, "--method", "threshold", "--neighbors", tmp_path / "parts", "--out", out)
    assert "threshold looks at no neighbors: there is nothing to search in parts." in fails(*asked)
