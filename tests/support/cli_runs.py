"""How the tests of the command line run it: in this process, or as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from fercleaner.cli.app import app
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "fercleaner"]
NAMES = ("anger", "fear", "happiness", "neutral")


def run(*args, exit_code=0):
    """Run a command in this process and return its result; anything but the exit code named is a failure."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, f"exit {result.exit_code}: {result.stderr or result.stdout}"
    assert "Traceback" not in result.stderr
    return result


def fails(*args):
    """Run a command that must end with exit code 1 and one message; return the message."""
    result = run(*args, exit_code=1)
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert sum(line.split(":")[0].endswith("Error") for line in lines) == 1, result.stderr
    return lines[-1]


def environment(**more):
    """Return an environment in which no thread spins on a busy machine and no hub is asked."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", **more}


def process(*args, cwd=None, **more):
    """Run the command as a process of its own."""
    return subprocess.run(
        [*COMMAND, *map(str, args)], capture_output=True, text=True, cwd=cwd, env=environment(**more), timeout=120
    )


def manifest(path, labels: Sequence[str], images: Sequence[str] | None = None):
    """Write a CSV of images and labels; the pictures need not exist."""
    images = images or [f"nowhere/{i}.png" for i in range(len(labels))]
    lines = [f"{image},{label}\n" for image, label in zip(images, labels, strict=True)]
    Path(path).write_text("image,label\n" + "".join(lines), encoding="utf-8")
    return Path(path)


def labeled_vectors(folder, n=48, wrong=4, seed=0):
    """Write faces.csv (no pictures), v.npy and clean.csv with `wrong` wrong labels; return the folder."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % len(NAMES)
    vectors = 3 * rng.normal(size=(len(NAMES), 12))[truth] + rng.normal(size=(n, 12))
    given = truth.copy()
    given[:wrong] = (given[:wrong] + 1) % len(NAMES)
    manifest(folder / "faces.csv", [NAMES[i] for i in given])
    manifest(folder / "clean.csv", [NAMES[i] for i in truth])
    np.save(folder / "v.npy", vectors.astype(np.float32))
    return folder
