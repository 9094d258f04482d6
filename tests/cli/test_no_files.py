"""A pipe or a device in place of a file: refused by every command that reads one, and never waited for."""

from __future__ import annotations

import os
import signal

import pytest
from cli_runs import fails, labeled_vectors, run

VECTORS = ("--view", "v=v.npy", "--landmarks", "none", "--device", "cpu", "--no-cache")
SMALL = ("--method", "hypergraph", "--set", "k=5")
REFINE = ("refine", "faces.csv", *VECTORS, *SMALL)
LINES = [
    *(("read", "p.csv"), ("read", "p.parquet"), ("read", "p.txt"), ("read", "listed"), ("read", "saved")),
    *(("refine", "faces.csv", "--view", f"v=p.{ending}", *SMALL) for ending in ("npy", "npz", "parquet")),
    *(("refine", "faces.csv", *VECTORS[:2], "--landmarks", f"points:p.{ending}") for ending in ("npy", "csv")),
    *((*REFINE, "--posteriors", f"m=p.{ending}") for ending in ("npy", "json", "csv")),
    *((*REFINE, option, "p.csv") for option in ("--action-units", "--annotators", "--decisions")),
    (*REFINE, "--out", "p.parquet", "--force"),
    *(("show", "p.parquet"), ("show", "r.parquet", "--against", "p.parquet"), ("export", "p.parquet", "o.csv")),
    *(("export", "r.parquet", "p.csv"), ("evaluate", "r.parquet", "--truth", "p.csv")),
    ("audit", "p.parquet", "--out", "o"),
    *(("audit", "r.parquet", "--columns", "p.csv", "--by", "x", "--out", "o"), ("train", "p.parquet")),
    *(("review", "p.parquet", "--top", "3"), ("review", "r.parquet", "--log", "p.jsonl")),
    ("site", "faces.csv", *VECTORS, "--coordinator", "127.0.0.1:1", "--key", "p.key"),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = labeled_vectors(tmp_path_factory.mktemp("pipes"))
    before = os.getcwd()
    os.chdir(where)
    run(*REFINE, "--out", "r.parquet")
    for name in ("csv", "parquet", "txt", "npy", "npz", "json", "jsonl", "key"):
        os.mkfifo(f"p.{name}")
    for name in ("listed/labels.csv", "saved/state.json", "saved/dataset_info.json"):
        os.makedirs(os.path.dirname(name), exist_ok=True)
        os.mkfifo(name)
    yield where
    os.chdir(before)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line[0]} {line[-1]}")
def test_a_pipe_is_refused(folder, line):
    def waited(*_):
        raise AssertionError("the pipe was waited for")

    signal.signal(signal.SIGALRM, waited)
    signal.alarm(60)
    try:
        assert fails(*line)
    finally:
        signal.alarm(0)
    assert not (folder / "o.csv").exists()
