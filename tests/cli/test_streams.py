"""A closed stdout, a full stderr or none at all: no result is lost, and nothing is written into one by mistake."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from cli_runs import COMMAND, environment, labeled_vectors

import fercleaner

REFINE = (*COMMAND, "refine", "faces.csv", "--view", "v=v.npy", "--method", "hypergraph", "--set", "k=5")


@pytest.fixture
def here(tmp_path):
    labeled_vectors(tmp_path)
    return tmp_path


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment(), capture_output=True, text=True, timeout=120
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "streams",
    ["2>/dev/full", "--json >/dev/full", "--json | true", "--json 2>&1 | head -c 1", "<&- >&- 2>&-", "--json 2>&-"],
)
def test_refine_writes_its_file_whatever_becomes_of_the_streams(here, streams):
    shell(f"{shlex.join(REFINE)} {streams}", here)
    assert len(fercleaner.load(here / "faces.refined.parquet")) == 48
    assert not [path for path in here.iterdir() if path.name.startswith(".fercleaner")]


def test_a_full_stderr_changes_no_exit_code_and_a_full_stdout_is_told(here):
    done = shell(f"{shlex.join(REFINE)} 2>/dev/full", here)
    assert done.returncode == 0
    refused = shell(f"{shlex.join(REFINE)} 2>/dev/full", here)
    assert refused.returncode == 1  # the file is there already
    show = shlex.join([*COMMAND, "show", "faces.refined.parquet"])
    full = shell(f"{show} >/dev/full", here)
    assert full.returncode == 1
    assert full.stderr.splitlines()[-1] == f"Error: {os.strerror(28)}."
    first = shell(f"{show} | head -1", here)
    assert len(first.stdout.splitlines()) == 1
    assert "Traceback" not in first.stderr
