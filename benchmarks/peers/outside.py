"""Peers that run in an interpreter of their own, since their pins may fight ours.

Install a peer with ``pip install -r benchmarks/peers/external/requirements-NAME.txt`` into any environment and name
its interpreter in FERCLEANER_PEERS_PYTHON (several: separated like PATH).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from .base import Case, PeerUnavailable, Verdict

VARIABLE = "FERCLEANER_PEERS_PYTHON"
SCRIPTS = Path(__file__).parent / "external"


def ask(package: str, case: Case) -> dict[str, Verdict]:
    """Run external/`package`_run.py on `case` and return its verdicts by name.

    Raises
    ------
    PeerUnavailable
        No interpreter has the package, or its script failed; with the reason.
    """
    python = interpreter(package)
    if python is None:
        raise PeerUnavailable(
            f"{package} is not installed: pip install -r benchmarks/peers/external/requirements-{package}.txt into an "
            f"environment of its own and set {VARIABLE} to its python"
        )
    with tempfile.TemporaryDirectory() as place:
        question, answer = Path(place) / "case.npz", Path(place) / "answer.npz"
        np.savez(question, given=case.given, posterior=case.posterior, vectors=case.vectors)
        done = subprocess.run(
            [python, str(SCRIPTS / f"{package}_run.py"), str(question), str(answer)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not answer.is_file():
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise PeerUnavailable(f"{package} failed: {lines[-1]}")
        with np.load(answer, allow_pickle=False) as said:
            table = {key: said[key] for key in said.files}
    names = sorted({key.rpartition("/")[0] for key in table})
    return {
        name: Verdict(
            suspicion=table[f"{name}/suspicion"].astype(np.float64),
            flagged=table.get(f"{name}/flagged"),
            label=table.get(f"{name}/label"),
            seconds=float(table[f"{name}/seconds"]),
        )
        for name in names
    }


@cache
def interpreter(package: str) -> str | None:
    """Return the first interpreter that can find `package`: the named ones, then this one; None if none can."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    for python in [*filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)), sys.executable]:
        try:
            found = subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0
        except OSError:
            continue
        if found:
            return python
    return None
