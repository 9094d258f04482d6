"""Make the environments of outside peers, each from its requirements file.

    python benchmarks/peers/install.py                       all of them
    python benchmarks/peers/install.py cleanlab fastdup      these; one that is there already is made anew

They go to the folder that FERCLEANER_PEERS names, ~/.cache/fercleaner/peers without it. One that cannot be made is
named with the reason, and the others are made all the same; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from environments import BORROWING, EXTERNAL, folder, known, python_in, requirements

#: Seconds that pip gets for one environment.
TIMEOUT = 900.0


class InstallError(Exception):
    """An environment cannot be made; the message says why."""


def make(name: str, into: Path, timeout: float = TIMEOUT) -> Path:
    """Make the environment of `name` in the folder `into` and return its interpreter.

    It is made beside its place and moved there when the tool was imported once, so that a failure leaves what was
    there before.

    Raises
    ------
    InstallError
        pip failed or took longer than `timeout` seconds, or the tool cannot be imported.
    """
    place, draft = into / name, into / f".{name}-new"
    shutil.rmtree(draft, ignore_errors=True)
    into.mkdir(parents=True, exist_ok=True)
    try:
        _build(name, draft, timeout)
        _run([python_in(draft), "-c", f"import {name}_run"], timeout, f"{name} was installed and cannot be imported")
        if place.is_symlink():
            place.unlink()
        shutil.rmtree(place, ignore_errors=True)
        os.replace(draft, place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return python_in(place)


def _build(name: str, place: Path, timeout: float) -> None:
    _run([sys.executable, "-m", "venv", place], timeout, "no virtual environment could be made")
    python = python_in(place)
    if name in BORROWING:
        own = subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
            check=True,
        )
        ours = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        Path(own.stdout.strip(), "borrowed.pth").write_text("\n".join(sorted(ours)) + "\n", encoding="utf-8")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--requirement", requirements(name)], timeout, "pip could not install it")


def _run(command: Sequence[str | Path], timeout: float, failure: str) -> None:
    """Run a command where the scripts of the tools lie; raise InstallError with `failure` and what it said."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=EXTERNAL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InstallError(f"{failure}: it took longer than {timeout:g} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        # pip's last words follow its first error, where the reason stands
        errors = [line for line in lines if line.startswith("ERROR:")] or lines[-1:]
        raise InstallError(f"{failure}: {errors[0].removeprefix('ERROR:').strip()}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the environments that the command line names; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known())}; all without")
    args = parser.parse_args(arguments)
    unknown = sorted(set(args.names) - set(known()))
    if unknown:
        parser.error(f"no requirements for {', '.join(unknown)}; known are {', '.join(known())}")
    failed = 0
    for name in args.names or known():
        try:
            print(f"{name}: {make(name, folder())}", flush=True)
        except InstallError as reason:
            failed += 1
            print(f"{name}: not made, {reason}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
