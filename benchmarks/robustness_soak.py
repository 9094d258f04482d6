"""Many runs in one process, and many processes on one cache: do memory, handles and the cache stay bounded?"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

#: Processes that run at once, and bytes that every second of them leaves in the cache.
AT_ONCE, PRUNED_TO = 4, "16K"
#: Runs before memory is looked at: imports and pools are filled by then.
WARM = 10

WORDS = ("refine", "set", "--encoder", "hog", "--landmarks", "points:set/landmarks.npz", "--cache", "cache", "--method",
         "hypergraph", "--set", "k=5", "--device", "cpu", "--workers", "0", "--force")  # fmt: skip


def many_runs(folder: Path, count: int) -> dict[str, Any]:
    """Refine `count` times in this process; return resident MiB and open handles after the first runs and the last."""
    from fercleaner.cli.app import app

    os.chdir(folder)
    memory, handles, digests = [], [], set()
    for number in range(count):
        with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
            app([*WORDS, "--out", "soak.parquet"], prog_name="fercleaner")
        digests.add(hashlib.sha256(Path("soak.parquet").read_bytes()).hexdigest())
        if number >= WARM or number == count - 1:
            memory.append(_resident_mib())
            handles.append(len(os.listdir("/proc/self/fd")))
    return {
        "count": count,
        "mib_first": memory[0],
        "mib_last": memory[-1],
        "mib_per_100_runs": 100 * (memory[-1] - memory[0]) / max(len(memory) - 1, 1),
        "handles_first": handles[0],
        "handles_last": handles[-1],
        "different_files": len(digests),
    }


def many_processes(folder: Path, count: int) -> dict[str, Any]:
    """Refine in `count` processes, `AT_ONCE` at a time, on one cache; every second one is followed by a prune."""
    os.chdir(folder)
    command = [sys.executable, "-m", "fercleaner"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    failed, digests, largest, running = 0, set(), 0, []
    for number in range(count):
        name = f"soak{number % AT_ONCE}.parquet"
        line = [*command, *WORDS, "--out", name]
        running.append((name, subprocess.Popen(line, env=environment, stderr=subprocess.DEVNULL)))
        if number % 2:
            subprocess.run([*command, "cache", "--cache", "cache", "--prune", PRUNED_TO], env=environment, check=True,
                           stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # fmt: skip
        if len(running) == AT_ONCE or number == count - 1:
            for made, process in running:
                failed += process.wait() != 0
                digests.add(hashlib.sha256(Path(made).read_bytes()).hexdigest())
            running = []
            largest = max(largest, sum(path.stat().st_size for path in Path("cache").rglob("*") if path.is_file()))
    left = [path.name for path in Path("cache").rglob("*.tmp")]
    return {"count": count, "at_once": AT_ONCE, "failed": failed, "different_files": len(digests),
            "cache_bytes_largest": largest, "temporary_files_left": len(left)}  # fmt: skip


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
