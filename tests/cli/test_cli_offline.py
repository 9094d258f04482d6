"""No command but a download opens a socket or asks for a host; commands run where a system is unlike a usual one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from cli_runs import COMMAND, environment, labeled_vectors

#: Runs each command line of a JSON list in one process in which any use of a socket is an error.
WATCHED = """
import json, sys
seen = []
def watch(event, args):
    if event.startswith("socket.") and event not in ("socket.gethostname", "socket.__new__"):
        seen.append((event, repr(args)))
sys.addaudithook(watch)
from typer.testing import CliRunner
from fercleaner.cli.app import app
for line in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, (line, done.stderr, done.exception)
    assert not seen, (line, seen)
print(len(sys.argv))
"""
VECTORS = ["--view", "v=v.npy", "--landmarks", "none", "--device", "cpu", "--no-cache"]


def pictures(folder):
    """Pictures of noise for the set, so that the builtin model runs."""
    from PIL import Image

    rng = np.random.default_rng(0)
    lines = (folder / "faces.csv").read_text().splitlines()
    for i in range(len(lines) - 1):
        Image.fromarray(rng.integers(0, 255, (48, 48), np.uint8)).save(folder / f"{i}.png")
    rows = [f"{i}.png,{line.rsplit(',', 1)[1]}" for i, line in enumerate(lines[1:])]
    (folder / "faces.csv").write_text("\n".join(["image,label", *rows]) + "\n")


def test_no_command_opens_a_socket(tmp_path):
    labeled_vectors(tmp_path)
    pictures(tmp_path)
    small = ["--method", "hypergraph", "--set", "k=5"]
    lines = [
        ["read", "faces.csv"],
        ["refine", "faces.csv", "--workers", "0", "--cache", "c", "--out", "b.parquet"],
        ["refine", "faces.csv", *VECTORS, *small, "--out", "r.parquet"],
        ["show", "r.parquet", "--duplicates"],
        ["review", "r.parquet", "--top", "3"],
        ["evaluate", "r.parquet", "--truth", "faces.csv"],
        ["audit", "r.parquet", "--dataset", "faces.csv", *VECTORS, "--out", "page"],
        ["export", "r.parquet", "out.csv"],
        ["export", "r.parquet", "out", "--to", "folders"],
        ["trial", "faces.csv", *VECTORS, "--methods", "hypergraph", "--inject", "symmetric:0.2"],
        ["project", "faces.csv", "--workers", "0", "--cache", "c", "--refined", "b.parquet", "--out", "p.npz"],
        ["methods", "hypergraph"],
        ["demo", "drawn", "--faces", "14"],
        ["cache", "--cache", "c"],
        ["doctor", "--json"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, json.dumps(lines)], cwd=tmp_path, env=environment(), capture_output=True,
        text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def refine(folder, *more, command=COMMAND, **variables):
    """Run a small refinement as a process of its own; return it."""
    line = [*command, "refine", "faces.csv", *VECTORS[:-1], "--method", "hypergraph", "--set", "k=5", *more]
    env = {name: value for name, value in environment(**variables).items() if value != "UNSET"}
    return subprocess.run(line, cwd=folder, env=env, capture_output=True, timeout=120)


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
        {"HOME": "UNSET", "XDG_CACHE_HOME": "UNSET"},
        {"HOME": "/proc/none", "XDG_CACHE_HOME": "UNSET", "FERCLEANER_CACHE": "UNSET"},
    ],
    ids=["ascii", "no home", "a home that cannot be written"],
)
def test_unusual_surroundings(tmp_path, variables):
    """Names beyond ASCII, blanks and signs in the folder's name, no HOME: the same file as anywhere."""
    folder = tmp_path / "größe 顔 😀 & ; x"
    folder.mkdir()
    labeled_vectors(folder)
    text = (folder / "faces.csv").read_text().replace("nowhere/3.png", "nowhere/größe 😀.png")
    (folder / "faces.csv").write_text(text, encoding="utf-8")
    usual = refine(folder, "--out", "usual.parquet")
    assert usual.returncode == 0, usual.stderr.decode()
    done = refine(folder, "--out", "r.parquet", **variables)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert (folder / "r.parquet").read_bytes() == (folder / "usual.parquet").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="processors of a process are chosen as Linux does it")
def test_one_core(tmp_path):
    labeled_vectors(tmp_path)
    core = str(min(os.sched_getaffinity(0)))
    done = refine(tmp_path, "--out", "one.parquet", command=["taskset", "-c", core, *COMMAND])
    assert done.returncode == 0, done.stderr.decode()
    assert refine(tmp_path, "--out", "all.parquet").returncode == 0
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "all.parquet").read_bytes()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_pipe_or_a_full_disk_behind_the_terminal_loses_no_result(tmp_path, stream):
    """`fercleaner refine ... | head -0`, and messages that go to a full disk: the file is written all the same."""
    labeled_vectors(tmp_path)
    line = [*COMMAND, "refine", "faces.csv", *VECTORS[:-1], "--method", "hypergraph", "--set", "k=5", "--json"]
    with open("/dev/full", "wb") as full:
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: full}
        subprocess.run([*line, "--out", f"{stream}.parquet"], cwd=tmp_path, env=environment(), timeout=120, **streams)
    usual = refine(tmp_path, "--out", "usual.parquet")
    assert usual.returncode == 0
    assert (tmp_path / f"{stream}.parquet").read_bytes() == (tmp_path / "usual.parquet").read_bytes()
