"""Runs that are killed or stopped: what was extracted is not computed twice, and nothing is left running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from cli_runs import environment, process, run

import fercleaner

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

FACES = 42

#: The command itself, with the cache written every 8 vectors, and something done at each of its writes.
SCRIPT = """
import os, signal, sys, time
from fercleaner.extraction import cache, workers
from fercleaner.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is started deaf to it
cache.FLUSH_ROWS = 8
workers.INLINE_PICTURES = {inline}
flush, flushed = cache.CachedView.flush, []

def watched(cached):
    flush(cached)
    flushed.append(len(cached))
    {act}

cache.CachedView.flush = watched
if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume") / "drawn"
    run("demo", folder, "--faces", FACES, "--seed", "4")
    return folder


def command(drawn, out, *more):
    return ["refine", drawn, "--encoder", "hog", "--set", "k=5", "--device", "cpu", "--out", out, *more]


def start(folder, arguments, act, inline=10**9):
    script = folder / "interrupted.py"
    script.write_text(SCRIPT.format(act=act, inline=inline))
    return subprocess.Popen(
        [sys.executable, script, *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment(FERCLEANER_CACHE=str(folder / "cache"), PYTHONUNBUFFERED="1"),
    )


def group_is_gone(number, seconds=10.0):
    """Whether all processes of a session have ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.killpg(number, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_killed_half_way_and_started_again(drawn, tmp_path):
    """SIGKILL at 24 of 42 faces: the first 24 come from the cache, and the file is that of an undisturbed run."""
    killed = start(tmp_path, command(drawn, "a.parquet"), "flushed[-1] >= 24 and os.kill(os.getpid(), signal.SIGKILL)")
    _, stderr = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, stderr
    assert not (tmp_path / "a.parquet").exists()
    assert group_is_gone(killed.pid)

    again = process(*command(drawn, "a.parquet"), cwd=tmp_path, FERCLEANER_CACHE=str(tmp_path / "cache"))
    assert again.returncode == 0, again.stderr
    counts = re.search(r"hog: (\d+) of 42 faces computed, (\d+) from the cache", again.stderr)
    assert counts is not None, again.stderr
    computed, reused = map(int, counts.groups())
    assert computed + reused == FACES
    assert 24 <= reused < FACES

    whole = process(*command(drawn, "b.parquet"), cwd=tmp_path, FERCLEANER_CACHE=str(tmp_path / "another"))
    assert "42 of 42 faces computed, 0 from the cache" in whole.stderr
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_ends_in_one_line_and_leaves_nothing_running(drawn, tmp_path, workers):
    stopped = start(
        tmp_path,
        command(drawn, "a.parquet", "--workers", workers),
        "print('flushed', file=sys.stderr); time.sleep(0.5)",
        inline=8 if workers else 10**9,
    )
    lines = []
    for line in stopped.stderr:
        lines.append(line)
        if line == "flushed\n":
            break
    os.killpg(stopped.pid, signal.SIGINT)
    stdout, rest = stopped.communicate(timeout=60)
    told = "".join(line for line in [*lines, *rest.splitlines(True)] if line != "flushed\n")
    assert stopped.returncode == 130, told
    assert stdout == ""
    assert "Traceback" not in told
    last = told.strip().splitlines()[-1]
    assert last == "Stopped. Run the same command again: vectors that are in the cache are not computed twice."
    assert "Layout" in told.splitlines()[0]
    assert len([line for line in told.splitlines() if "every split" not in line]) == 5
    assert group_is_gone(stopped.pid)
    assert not list(tmp_path.glob("*.parquet"))

    again = run(*command(drawn, tmp_path / "a.parquet", "--cache", tmp_path / "cache", "--workers", "0"))
    assert re.search(r"hog: \d+ of 42 faces computed, [1-9]\d* from the cache", again.stderr)


def test_the_same_seed_gives_the_same_bytes(drawn, tmp_path):
    for name, options in (("a", []), ("b", ["--workers", "2"]), ("c", ["--no-cache", "--workers", "0"])):
        run(*command(drawn, tmp_path / f"{name}.parquet", "--cache", tmp_path / "cache", *options))
    first = (tmp_path / "a.parquet").read_bytes()
    assert first == (tmp_path / "b.parquet").read_bytes() == (tmp_path / "c.parquet").read_bytes()
    run(*command(drawn, tmp_path / "d.parquet", "--cache", tmp_path / "cache", "--seed", "1"))
    assert fercleaner.load(tmp_path / "d.parquet").metadata["seed"] == 1


def test_progress_when_piped_is_lines_with_rate_and_time_left(monkeypatch, capsys):
    from fercleaner.cli import console

    clock = iter([0.0, 5.0, 11.0, 12.0, 21.5])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    plain = console.PlainProgress()
    for done in (0, 250, 550, 600, 1000):
        plain.progress("hog", done, 1000)
    assert capsys.readouterr().err == "hog: 550 of 1,000 (55 %), 50/s, 9 s left\n"
