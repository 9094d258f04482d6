"""Many inputs for every reader: none may raise anything but our errors, hang, or take much memory.

    python benchmarks/fuzz_readers.py --cases 10000                        every reader, a process each
    python benchmarks/fuzz_readers.py --cases 10000 --guided               choices driven by coverage (package atheris)
    python benchmarks/fuzz_readers.py --only view --cases 1 --seed 77      one case again, with its traceback

Inputs are made by `reader_cases.py`, case k of a reader from the seed (reader, seed + k). The JSON gives, a reader:
cases, how many were read and how many refused, foreign exceptions with their first seeds, the slowest case in seconds,
the largest growth of resident memory in MiB, the longest message.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import reader_cases
from stamp import stamp, write_json

from fercleaner.core.errors import FercleanerError

#: What a case may take.
MOST_SECONDS, MOST_MIB, LONGEST_MESSAGE = 2.0, 500.0, 2000
#: Packages that one reader alone needs.
OPTIONAL = {"huggingface": ("datasets",), "checkpoint": ("torch", "safetensors.torch")}
#: Inputs that the guided search starts from, and their bytes.
SEEDS, LENGTH = 200, 2048
#: What is instrumented for coverage.
INSTRUMENTED = ("fercleaner.datasets", "fercleaner.landmarks.", "fercleaner.results.parquet", "fercleaner.encoders.")
#: Cases that a process runs before the next takes over.
PIECE = 1000
#: Failures of one kind that are listed.
LISTED = 5


class Tally:
    """What the cases of one reader did."""

    def __init__(self) -> None:
        self.read = self.refused = 0
        self.foreign: dict[str, list[int]] = {}
        self.slowest, self.slowest_seed, self.longest, self.growth = 0.0, 0, 0, 0.0

    def run(self, reader: str, folder: Path, pick: random.Random, seed: int) -> None:
        """Run one case in an empty folder and count what became of it."""
        before, start = _resident_mib(), time.perf_counter()
        try:
            reader_cases.READERS[reader](folder, pick)
            self.read += 1
        except FercleanerError as error:
            self.refused += 1
            self.longest = max(self.longest, len(str(error)))
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)
            ours = next((f for f in reversed(frame) if "/fercleaner/" in f.filename), frame[-1])
            place = f"{type(error).__name__} at {Path(ours.filename).name}:{ours.lineno}: {str(error)[:120]}"
            self.foreign.setdefault(place, []).append(seed)
        seconds = time.perf_counter() - start
        if seconds > self.slowest:
            self.slowest, self.slowest_seed = seconds, seed
        self.growth = max(self.growth, _resident_mib() - before)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON types."""
        return {
            "cases": self.read + self.refused + sum(map(len, self.foreign.values())),
            "read": self.read,
            "refused": self.refused,
            "foreign": {place: {"cases": len(s), "first_seeds": s[:LISTED]} for place, s in self.foreign.items()},
            "slowest_seconds": round(self.slowest, 3),
            "slowest_seed": self.slowest_seed,
            "largest_growth_mib": round(self.growth, 1),
            "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "longest_message": self.longest,
        }


def _resident_mib() -> float:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        return 0.0


def fuzz(reader: str, cases: int, seed: int) -> Tally:
    """Run the cases of one reader in this process, one after the other."""
    tally = Tally()
    _warm(reader)
    for k in range(cases):
        with tempfile.TemporaryDirectory() as folder:
            tally.run(reader, Path(folder), random.Random(f"{reader} {seed + k}"), seed + k)
    return tally


def _warm(reader: str) -> None:
    """Import what readers import when they need it, so that it is not the first case's."""
    for name in ("pandas", "pyarrow.parquet", "PIL.Image", *OPTIONAL.get(reader, ())):
        importlib.import_module(name)
    for seed in range(20):
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Exception):  # counted when its case comes up
            reader_cases.READERS[reader](Path(folder), random.Random(seed))


class Guided(random.Random):
    """Random choices read from the bytes that the fuzzer changes."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data, self._at = data, 0

    def getrandbits(self, k: int, /) -> int:
        """Return k bits from the data, zeros behind its end."""
        size = (k + 7) // 8
        taken = self._data[self._at : self._at + size].ljust(size, b"\0")
        self._at += size
        return int.from_bytes(taken, "big") >> (8 * size - k)

    def random(self) -> float:
        """Return a number in [0, 1) from the data."""
        return self.getrandbits(24) / 2**24


def guided(reader: str, cases: int, out: Path) -> None:
    """Run coverage-guided cases until there are enough; the tally is written as it grows. Does not return."""
    import atheris

    tally = Tally()
    _warm(reader)
    for name in [name for name in sys.modules if name.startswith(INSTRUMENTED)]:
        _instrument(atheris, sys.modules[name])

    def one(data: bytes) -> None:
        done = tally.read + tally.refused + sum(map(len, tally.foreign.values()))
        with tempfile.TemporaryDirectory() as folder:
            tally.run(reader, Path(folder), Guided(data), done)
        if done % 250 == 0 or done >= cases - 1:
            out.write_text(json.dumps(tally.to_dict()), encoding="utf-8")

    corpus = out.with_name("corpus")
    corpus.mkdir()
    for k in range(SEEDS):
        (corpus / str(k)).write_bytes(random.Random(k).randbytes(LENGTH))
    limits = [f"-runs={cases}", f"-max_len={LENGTH}", "-len_control=0", "-verbosity=0", "-rss_limit_mb=3000"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], one)
    atheris.Fuzz()


def _instrument(atheris: Any, module: Any) -> None:
    for name, value in list(vars(module).items()):
        if getattr(value, "__module__", None) == module.__name__ and hasattr(value, "__code__"):
            setattr(module, name, atheris.instrument_func(value))


def child(reader: str, cases: int, seed: int, by_coverage: bool) -> dict[str, Any]:
    """Run a piece of a reader's cases in a process of its own; return its tally, or how it died."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "tally.json"
        words = ["--only", reader, "--cases", str(cases), "--seed", str(seed), "--child", str(out)]
        line = [sys.executable, __file__, *words, *(["--guided"] if by_coverage else [])]
        done = subprocess.run(line, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
        if out.exists():
            tally: dict[str, Any] = json.loads(out.read_text())
            return tally
        return {"died": f"seeds {seed} to {seed + cases - 1}: {done.stderr.decode()[-2000:]}"}


def joined(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    """Return the tally of two pieces of one reader's cases."""
    if not one or "died" in one or "died" in two:
        return two if not one or "died" in two else one
    foreign = dict(one["foreign"])
    for place, found in two["foreign"].items():
        known = foreign.get(place, {"cases": 0, "first_seeds": []})
        seeds = [*known["first_seeds"], *found["first_seeds"]][:LISTED]
        foreign[place] = {"cases": known["cases"] + found["cases"], "first_seeds": seeds}
    slower = max(one, two, key=lambda tally: tally["slowest_seconds"])
    return {
        **({"commit": one["commit"]} if "commit" in one else {}),
        **{key: one[key] + two[key] for key in ("cases", "read", "refused")},
        "foreign": foreign,
        **{key: slower[key] for key in ("slowest_seconds", "slowest_seed")},
        **{key: max(one[key], two[key]) for key in ("largest_growth_mib", "peak_mib", "longest_message")},
    }


def begun(out: Path | None, same: dict[str, Any], keep: bool) -> dict[str, Any]:
    """Return the tallies of an earlier run with the same seed and choices: of the same commit, or of any to `keep`."""
    if out is None or not out.is_file():
        return {}
    held: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    if any(held.get(key) != same[key] for key in ("seed", "choices")):
        return {}
    return {name: tally for name, tally in held["readers"].items() if keep or tally.get("commit") == same["commit"]}


def main() -> int:
    """Run every reader in processes of its own and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(reader_cases.READERS))
    parser.add_argument("--guided", action="store_true", help="let coverage drive the choices (package atheris)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after a piece that ends later")
    parser.add_argument("--out", type=Path, help="JSON; a run of the same commit, broken off, is gone on with")
    parser.add_argument("--keep", action="store_true", help="keep what readers did at other commits, too")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    if wanted.only and wanted.cases == 1:
        with tempfile.TemporaryDirectory() as folder:
            print(reader_cases.READERS[wanted.only](Path(folder), random.Random(f"{wanted.only} {wanted.seed}")))
        return 0
    if wanted.child:
        if wanted.guided:
            guided(wanted.only, wanted.cases, wanted.child)
        wanted.child.write_text(json.dumps(fuzz(wanted.only, wanted.cases, wanted.seed).to_dict()), encoding="utf-8")
        return 0
    start, stamped = time.monotonic(), stamp()
    same = {"commit": stamped["commit"], "seed": wanted.seed}
    same["choices"] = "guided by coverage" if wanted.guided else "random"
    results = begun(wanted.out, same, wanted.keep)
    piece = wanted.cases if wanted.guided else PIECE
    for reader in [wanted.only] if wanted.only else reader_cases.READERS:
        found = results.get(reader, {})
        while "died" not in found and found.get("cases", 0) < wanted.cases:
            if time.monotonic() - start > wanted.seconds:
                return 1
            done = found.get("cases", 0)
            found = joined(found, child(reader, min(piece, wanted.cases - done), wanted.seed + done, wanted.guided))
            results[reader] = found = {"commit": same["commit"], **found}
            bad = [name for name, tally in results.items() if not within(tally)]
            if wanted.out:
                write_json(wanted.out, {**stamped, **same, "readers": results, "outside_the_limits": bad})
        print(reader, json.dumps(found), flush=True)
    return 1 if any(not within(tally) for tally in results.values()) else 0


def within(found: dict[str, Any]) -> bool:
    """Whether a reader raised our errors alone and took no more than allowed."""
    return (
        "died" not in found
        and not found["foreign"]
        and found["slowest_seconds"] < MOST_SECONDS
        and found["largest_growth_mib"] < MOST_MIB
        and found["longest_message"] < LONGEST_MESSAGE
    )


if __name__ == "__main__":
    sys.exit(main())
