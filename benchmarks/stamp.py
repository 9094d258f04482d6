"""What scripts share: what a figure was measured on and took, results files, and how a run speaks and ends."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from fercleaner.core.errors import FercleanerError
from fercleaner.results.assemble import PACKAGES, versions

_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


@dataclass
class Cost:
    """Wall and processor time in seconds, and peak resident memory of the whole process in MiB while it ran."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mib: float = 0.0


@contextmanager
def measured() -> Iterator[Cost]:
    """Fill a Cost with what the block took. Peak memory is that of the block on Linux, since the start elsewhere."""
    cost = Cost()
    _reset_peak()
    wall, processor = time.perf_counter(), time.process_time()
    yield cost
    cost.seconds = time.perf_counter() - wall
    cost.cpu_seconds = time.process_time() - processor
    cost.peak_mib = _peak_mib()


def stamp() -> dict[str, Any]:
    """Return machine, versions, commit and date; JSON types."""
    root = Path(__file__).resolve().parents[1]
    return {
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": os.environ.get("OMP_NUM_THREADS", "all"),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": platform.system(),
        },
        "versions": versions((*PACKAGES, "scikit-learn")),
        "commit": _git(root, "rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git(root, "status", "--porcelain")),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def tell(sentence: str) -> None:
    """Say what goes on, on stderr."""
    print(sentence, file=sys.stderr, flush=True)


def command(main: Callable[[Sequence[str] | None], None]) -> Callable[..., int]:
    """Make `main` return the exit status: 0, or 1 after one line where it ends in an error of ours."""

    @wraps(main)
    def run(arguments: Sequence[str] | None = None) -> int:
        try:
            main(arguments)
        except FercleanerError as error:
            tell(f"{type(error).__name__}: {error}")
            return 1
        return 0

    return run


def write_json(file: Path, content: Any) -> None:
    """Write `content` as JSON under a temporary name and rename it; NaN becomes null."""
    write_text(file, json.dumps(as_written(content), indent=1, allow_nan=False) + "\n")


def write_text(file: Path, text: str) -> None:
    """Write `text` under a temporary name and rename it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


def as_written(value: Any) -> Any:
    """Return a value as `write_json` keeps it: text keys, lists, floats to six digits, NaN and infinities as None."""
    if isinstance(value, dict):
        return {str(key): as_written(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_written(inner) for inner in value]
    if isinstance(value, float):
        return round(value, 6) if abs(value) < float("inf") else None
    return value


def _reset_peak() -> None:
    try:
        _RESET.write_text("5")  # Linux: the high-water mark starts again from what is resident now
    except OSError:
        return


def _peak_mib() -> float:
    if _STATUS.is_file():
        line = next((row for row in _STATUS.read_text().splitlines() if row.startswith("VmHWM:")), None)
        if line is not None:
            return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    try:
        rows = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((row.partition(":")[2].strip() for row in rows if row.startswith("model name")), platform.machine())
