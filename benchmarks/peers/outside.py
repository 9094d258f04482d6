"""Peers that run in an environment of their own, since their pins may fight ours.

``python benchmarks/peers/install.py NAME`` makes one from external/requirements-NAME.txt in the folder that
FERCLEANER_PEERS names. The case goes to external/NAME_run.py as an .npz file, the answer comes back as another:

    case      given (N,) int64, vectors (N, D) float32, posterior (N, C) float64, group (N,) int64, and annotators
              (N, A) int64 where the set has them; see `Case`
    answer    for each score, SCORE/suspicion (N,) and SCORE/seconds (), and where the tool has them SCORE/flagged (N,)
              bool, SCORE/label (N,) int64 and SCORE/distribution (N, C)
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .base import Case, PeerUnavailable, Verdict
from .environments import EXTERNAL, VARIABLE, folder, python_in

#: Seconds that a tool gets for one case; some take time and memory by the square of the faces.
TIMEOUT = 900.0


def ask(environment: str, case: Case, script: str | None = None, timeout: float = TIMEOUT) -> dict[str, Verdict]:
    """Run a tool on `case` in its environment and return its verdicts by name.

    Parameters
    ----------
    environment : str
        As `install.py` knows it.
    case : Case
    script : str, optional
        Name of the script, external/SCRIPT_run.py; that of the environment without it.
    timeout : float
        Seconds after which the tool is stopped.

    Raises
    ------
    PeerUnavailable
        There is no such environment, the tool failed or took too long, or its answer does not fit; with the reason.
    """
    python = python_in(folder() / environment)
    name = script or environment
    if not python.exists():
        raise PeerUnavailable(
            f"{environment} is not installed in {folder()}: run python benchmarks/peers/install.py {environment}, or "
            f"name another folder of environments in {VARIABLE}"
        )
    with tempfile.TemporaryDirectory() as place:
        question, answer = Path(place) / "case.npz", Path(place) / "answer.npz"
        np.savez(question, **_question(case))
        command = [str(python), str(EXTERNAL / f"{name}_run.py"), str(question), str(answer)]
        _run(command, name, len(case.given), timeout, Path(place))
        try:
            with np.load(answer, allow_pickle=False) as said:
                table = {key: said[key] for key in said.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            raise PeerUnavailable(f"{name} ended without an answer that can be read") from None
    return verdicts(name, table, case)


def verdicts(name: str, table: dict[str, Any], case: Case) -> dict[str, Verdict]:
    """Return the verdicts in the answer of a tool, checked against `case`.

    Raises
    ------
    PeerUnavailable
        An array is missing, of another shape, not finite, or holds labels that are no classes.
    """
    scores = sorted({key.rpartition("/")[0] for key in table})
    n, c = len(case.given), case.n_classes
    found: dict[str, Verdict] = {}
    for score in scores:
        said = {part: table.get(f"{score}/{part}") for part in ("suspicion", "flagged", "label", "distribution")}
        if said["suspicion"] is None or f"{score}/seconds" not in table:
            raise PeerUnavailable(f"{name} answered without suspicion and seconds for '{score}'")
        for part, values in said.items():
            shape = (n, c) if part == "distribution" else (n,)
            if values is not None and (values.shape != shape or not np.isfinite(values).all()):
                raise PeerUnavailable(f"{name} answered '{score}' with a {part} that is not finite numbers of {shape}")
        label = said["label"]
        if label is not None and not np.isin(label, np.arange(c)).all():
            raise PeerUnavailable(f"{name} answered '{score}' with labels that are not classes 0 to {c - 1}")
        found[score] = Verdict(
            suspicion=said["suspicion"].astype(np.float64),
            flagged=None if said["flagged"] is None else said["flagged"].astype(np.bool_),
            label=None if label is None else label.astype(np.int64),
            distribution=None if said["distribution"] is None else said["distribution"].astype(np.float64),
            seconds=float(table[f"{score}/seconds"]),
        )
    if not found:
        raise PeerUnavailable(f"{name} answered nothing")
    return found


def _question(case: Case) -> dict[str, Any]:
    arrays = {"given": case.given, "posterior": case.posterior, "vectors": case.vectors, "group": case.group}
    return arrays if case.annotators is None else {**arrays, "annotators": case.annotators}


def _run(command: list[str], name: str, n: int, timeout: float, place: Path) -> None:
    """Run a command, its temporary files in `place`; raise PeerUnavailable where it fails."""
    # a folder on PYTHONPATH would put our packages before those that the tool pins
    settings = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"TMPDIR": str(place)}
    # the tool, and the processes it starts, make a group of their own, so that a stop reaches all of them
    with subprocess.Popen(
        command,
        cwd=place,
        env=settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as tool:
        try:
            _, said = tool.communicate(timeout=timeout)
        except BaseException as error:
            _stop(tool)
            if isinstance(error, subprocess.TimeoutExpired):
                raise PeerUnavailable(f"{name} took longer than {timeout:g} s on {n:,} faces") from None
            raise
    if tool.returncode < 0:
        raise PeerUnavailable(
            f"{name} was ended by {signal.Signals(-tool.returncode).name} on {n:,} faces, as when memory runs out"
        )
    if tool.returncode:
        lines = [line for line in said.splitlines() if line.strip()] or ["no message"]
        raise PeerUnavailable(f"{name} failed: {lines[-1].strip()}")


def _stop(tool: subprocess.Popen[str]) -> None:
    if hasattr(os, "killpg"):
        os.killpg(tool.pid, signal.SIGKILL)
    else:
        tool.kill()
