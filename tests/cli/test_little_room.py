"""Too little memory, too few files or threads: the work done or an error in one message; no hang, no traceback."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from cli_runs import environment, fails, labeled_vectors
from fercleaner.cli.app import _message

pytest.importorskip("resource", reason="limits of a process are set as Unix does it")

MIB = 2**20
REFINE = ["refine", "faces.csv", "--view", "v=v.npy", "--landmarks", "none", "--device", "cpu", "--no-cache",
          "--method", "hypergraph", "--set", "k=5", "--out", "r.parquet"]  # fmt: skip
#: Runs a command line as its process does, with a limit set once Python stands.
LIMITED = """
import resource, sys
from fercleaner.cli import main
limit = int(sys.argv.pop(1))
which = getattr(resource, sys.argv.pop(1))
resource.setrlimit(which, (limit, limit))
main()
"""


def under(folder, which, most):
    """Refine in a process that may take so much; return it."""
    line = [sys.executable, "-c", LIMITED, str(most), which, *REFINE]
    return subprocess.run(line, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux")
@pytest.mark.parametrize("mib", [450, 900, 1200])
def test_too_little_memory(tmp_path, mib):
    labeled_vectors(tmp_path)
    done = under(tmp_path, "RLIMIT_AS", mib * MIB)
    assert "Traceback" not in done.stderr
    assert (done.returncode == 0) == (tmp_path / "r.parquet").exists()
    if done.returncode:
        assert any(word in done.stderr.lower() for word in ("memory", "cannot be loaded")), done.stderr
    assert not list(tmp_path.glob(".fercleaner-*"))


def test_a_library_that_finds_no_memory_is_said_as_such():
    error = ImportError("libarrow.so.2600: failed to map segment from shared object")
    assert "Error: out of memory. Close other programs" in str(_message(error))
    assert _message(ImportError("No module named 'x'")) is None


@pytest.mark.parametrize("files", [4, 5])
def test_too_few_open_files(tmp_path, files):
    labeled_vectors(tmp_path)
    done = under(tmp_path, "RLIMIT_NOFILE", files)
    assert "Traceback" not in done.stderr
    assert (done.returncode == 0) == (tmp_path / "r.parquet").exists()
    if done.returncode:
        assert "too many open files" in done.stderr.lower(), done.stderr


def test_no_more_threads(tmp_path, monkeypatch):
    labeled_vectors(tmp_path)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    said = fails("extract", "faces.csv", "--encoder", "hog", "--landmarks", "none", "--to", "v")
    assert "the system starts no more threads. Close other programs, or raise the limit (ulimit -u)" in said
