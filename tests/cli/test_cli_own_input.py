"""No command writes over a file that it reads, whatever --force says; a link to it is that file."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from cli_runs import fails, labeled_vectors, run

from fercleaner.results import parquet

VECTORS = ("--encoder", "none", "--landmarks", "none", "--device", "cpu", "--no-cache", "--method", "hypergraph")
SMALL = ("--set", "k=5", "--force")


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The set faces.csv and the same as faces.parquet, vectors v.npy, and posteriors p.parquet."""
    import pandas as pd

    labeled_vectors(tmp_path)
    monkeypatch.chdir(tmp_path)
    table = pd.read_csv("faces.csv")
    table.to_parquet("faces.parquet")
    shares = pd.DataFrame({name: [0.25] * len(table) for name in ("anger", "fear", "happiness", "neutral")})
    shares.insert(0, "image", table["image"])
    shares.to_parquet("p.parquet")
    return tmp_path


def kept(path, *command):
    """Run a command that must fail; return whether it says that this is own input, and the file is as it was."""
    before = path.read_bytes()
    message = fails(*command)
    return "own input is never overwritten. Choose another name" in message and path.read_bytes() == before


def test_project_without_refined_labels_says_what_is_missing(work):
    assert "nowhere: no such file or folder" in fails("project", "nowhere")
    assert "Write it: fercleaner refine faces.csv; or name another: --refined FILE" in fails("project", "faces.csv")


def test_refine_and_project_keep_what_they_read(work):
    refine = ("refine", "faces.parquet", "--view", "v=v.npy", *VECTORS, *SMALL)
    assert kept(work / "faces.parquet", *refine, "--out", "faces.parquet")
    os.symlink("faces.parquet", "link.parquet")
    os.link("faces.parquet", "hard.parquet")
    assert kept(work / "faces.parquet", *refine, "--out", "link.parquet")
    assert kept(work / "faces.parquet", *refine, "--out", "hard.parquet")
    for spelled in ("mine=p.parquet", "mine=p.parquet,learned"):
        assert kept(work / "p.parquet", *refine, "--posteriors", spelled, "--out", "p.parquet")
    run("refine", "faces.csv", "--view", "v=v.npy", *VECTORS, *SMALL, "--out", "r.parquet")
    os.replace("v.npy", "v.npz.npy")
    os.link("v.npz.npy", "out.npz")
    project = ("project", "faces.csv", "--view", "v=v.npz.npy", "--encoder", "none", "--landmarks", "none", "--force")
    assert kept(work / "out.npz", *project, "--refined", "r.parquet", "--out", "out.npz")


def test_export_and_review_keep_what_they_read(work):
    run("refine", "faces.csv", "--view", "v=v.npy", *VECTORS, *SMALL, "--out", "r.parquet")
    assert kept(work / "faces.csv", "export", "r.parquet", "faces.csv", "--dataset", "faces.csv", "--force")
    os.link("r.parquet", "r.csv")
    assert kept(work / "r.parquet", "export", "r.parquet", "r.csv", "--force")
    assert kept(work / "r.parquet", "review", "r.parquet", "--top", "3", "--out", "r.csv", "--force")
    assert kept(work / "r.parquet", "review", "r.parquet", "--log", "r.csv")


def test_audit_keeps_what_it_reads(work):
    """A truth that lies where the page's data would go; a refined file in the page's folder may be shown again."""
    run("audit", "faces.csv", "--view", "v=v.npy", *VECTORS, *SMALL, "--no-checks", "--out", "page")
    os.link("faces.csv", "page/audit.csv")
    os.replace("page/audit.csv", "page/audit.json")
    again = ("audit", "page/refined.parquet", "--out", "page", "--no-checks", "--force")
    assert kept(work / "faces.csv", *again, "--truth", "faces.csv")
    run(*again)


def test_a_refined_file_as_a_set_is_refined_from_its_given_labels(work):
    """With one that names no pictures too: labels refined before are no given labels."""
    refine = ("--view", "v=v.npy", *VECTORS, *SMALL)
    run("refine", "faces.csv", *refine, "--out", "r.parquet")
    first = parquet.load("r.parquet")
    assert first.changed.any()
    said = run("refine", "r.parquet", *refine, "--out", "again.parquet").stderr
    assert f"r.parquet is a refined file: its given labels are taken ({first.changed.sum()} of 48 refined ones" in said
    again = parquet.load("again.parquet")
    assert (again.given_label == first.given_label).all()
    assert (again.distribution == first.distribution).all()
    assert "given labels are taken" not in run("read", "r.parquet", "--column", "label=label").stderr
    parquet.write(replace(first, paths=np.full(48, "")), "bare.parquet")
    run("refine", "bare.parquet", *refine, "--out", "again.parquet")
    assert (parquet.load("again.parquet").distribution == first.distribution).all()
