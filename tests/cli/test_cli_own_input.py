"""No command writes over a file that it reads, whatever --force says; a link to it is that file."""

from __future__ import annotations

import os

import pytest
from cli_runs import fails, labeled_vectors, run

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


def unchanged(path, *command):
    """Run a command that must fail with the words on own input; assert that the file is as it was."""
    before = path.read_bytes()
    assert "own input is never overwritten. Choose another name" in fails(*command)
    assert path.read_bytes() == before


def test_refine_and_project_keep_what_they_read(work):
    refine = ("refine", "faces.parquet", "--view", "v=v.npy", *VECTORS, *SMALL)
    unchanged(work / "faces.parquet", *refine, "--out", "faces.parquet")
    os.symlink("faces.parquet", "link.parquet")
    os.link("faces.parquet", "hard.parquet")
    unchanged(work / "faces.parquet", *refine, "--out", "link.parquet")
    unchanged(work / "faces.parquet", *refine, "--out", "hard.parquet")
    for spelled in ("mine=p.parquet", "mine=p.parquet,learned"):
        unchanged(work / "p.parquet", *refine, "--posteriors", spelled, "--out", "p.parquet")
    run("refine", "faces.csv", "--view", "v=v.npy", *VECTORS, *SMALL, "--out", "r.parquet")
    os.replace("v.npy", "v.npz.npy")
    os.link("v.npz.npy", "out.npz")
    project = ("project", "faces.csv", "--view", "v=v.npz.npy", "--encoder", "none", "--landmarks", "none", "--force")
    unchanged(work / "out.npz", *project, "--refined", "r.parquet", "--out", "out.npz")


def test_export_and_review_keep_what_they_read(work):
    run("refine", "faces.csv", "--view", "v=v.npy", *VECTORS, *SMALL, "--out", "r.parquet")
    unchanged(work / "faces.csv", "export", "r.parquet", "faces.csv", "--dataset", "faces.csv", "--force")
    os.link("r.parquet", "r.csv")
    unchanged(work / "r.parquet", "export", "r.parquet", "r.csv", "--force")
    unchanged(work / "r.parquet", "review", "r.parquet", "--top", "3", "--out", "r.csv", "--force")
    unchanged(work / "r.parquet", "review", "r.parquet", "--log", "r.csv")
