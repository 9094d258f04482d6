"""Faults at every step of a command, and many runs of it: what is lost, what grows.

    python benchmarks/robustness.py                                  every fault, 500 runs, 200 processes
    python benchmarks/robustness.py --only refine --every 5          one step in five of one command
    python benchmarks/robustness.py --no-faults --runs 100 --processes 40

A set of 28 drawn faces, the `hog` encoder, a cache. A first run counts the steps of a command (`robustness_faults`);
then each step fails once, in a process of its own. After each fault: (1) the command ended in one message of ours, or
by the signal, or did its work; (2) every file that was there before is as it was, and a file to be replaced is the old
or the new one, whole; (3) the same command run again, two days later by the clock of the files, gives the same bytes as
without the fault, and nothing temporary stays beside them. A fault that breaks one of these is lost. The soak: refine
again and again in one process, and in many processes on one cache, half of them with `cache --prune` between; resident
memory (MiB) and open handles by run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustness_faults import FOREIGN, TORN, Injector, Outcome, faults_of, in_child
from robustness_soak import many_processes, many_runs
from stamp import command, stamp, tell, write_json

FACES = 28
OUT = Path(__file__).with_name("results") / "robustness.json"
#: Seconds by which temporary files are made older, so that the next run may sweep them.
AGED = 2 * 24 * 3600
#: Where a run that failed may leave what is no loss: vectors that need not be computed again.
CACHE = "cache"

REFINE = ("refine", "set", "--encoder", "hog", "--landmarks", "points:set/landmarks.npz", "--cache", CACHE)
SMALL = ("--method", "hypergraph", "--set", "k=5", "--device", "cpu", "--workers", "0")


@dataclass(frozen=True)
class Scenario:
    """A command: its words, the paths it writes, and whether they stand there before with other content."""

    words: tuple[str, ...]
    writes: tuple[str, ...]
    replaces: bool = False


SCENARIOS: dict[str, Scenario] = {
    "refine": Scenario((*REFINE, *SMALL, "--out", "new.parquet"), ("new.parquet",)),
    "refine --force": Scenario((*REFINE, *SMALL, "--out", "old.parquet", "--force"), ("old.parquet",), True),
    "project": Scenario(("project", "set", *REFINE[2:], "--device", "cpu", "--workers", "0", "--refined", "set.parquet",
                         "--out", "new.npz"), ("new.npz",)),
    "export csv": Scenario(("export", "set.parquet", "new.csv"), ("new.csv",)),
    "export --force": Scenario(("export", "set.parquet", "old.csv", "--force"), ("old.csv",), True),
    "export folder": Scenario(("export", "set.parquet", "new", "--to", "folders", "--pictures", "copy"), ("new",)),
    "export folder --force": Scenario(
        ("export", "set.parquet", "oldfolder", "--to", "cleanlab", "--force"), ("oldfolder",), True),
    "audit": Scenario(("audit", "set.parquet", "--out", "page"), ("page",)),
    "review list": Scenario(("review", "set.parquet", "--top", "9", "--out", "list.csv"), ("list.csv",)),
    "review log": Scenario(("log",), ("log.jsonl",)),
}  # fmt: skip


def run_words(words: Sequence[str]) -> int:
    """Run a command line in this process, as its own process would, and return its exit status."""
    from fercleaner.cli.app import app

    if words == ("log",):
        return decide()
    try:
        app(list(words), prog_name="fercleaner")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1
    return 0


def decide() -> int:
    """Append five decisions to a log, those that stand in it left out; write "kept N" once N are on disk."""
    from fercleaner.core.errors import FercleanerError
    from fercleaner.review.log import Decision, DecisionLog, Entry

    try:
        log = DecisionLog("log.jsonl")
        done = {entry.id for entry in log.read().entries}
        for number in range(5):
            if f"f{number}" not in done:
                fear = Decision("label", ("fear",))
                log.append([Entry(f"f{number}", "ann", "label", fear, at=f"2026-01-0{number + 1}")])
            print(f"kept f{number}", flush=True)
    except FercleanerError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a folder but the cache's, by name; a link's target for a link."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.split("/")[0] != CACHE and (path.is_file() or path.is_symlink()):
            found[name] = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
    return found


class Bench:
    """A folder with all that the commands read, and a fresh copy of it for each fault."""

    def __init__(self, scratch: Path) -> None:
        self.scratch, self.template, self.work = scratch, scratch / "template", scratch / "work"
        self.template.mkdir()
        os.chdir(self.template)
        setup = [
            ("demo", "set", "--faces", str(FACES)),
            (*REFINE, *SMALL, "--out", "set.parquet"),
            (*REFINE[:2], *REFINE[2:], *SMALL, "--set", "alpha=0.5", "--out", "old.parquet"),
            ("export", "old.parquet", "old.csv"),
            ("export", "old.parquet", "oldfolder", "--to", "cleanlab"),
        ]
        for words in setup:
            done = self.child(Injector(Path("/nowhere")), words)
            if done.status:
                raise SystemExit(f"{' '.join(words)}: {done.said}")
        shutil.rmtree(CACHE)

    def child(self, injector: Injector, words: Sequence[str]) -> Outcome:
        """Run a command in a child in the current folder."""
        return in_child(injector, lambda: run_words(tuple(words)), self.scratch)

    def fresh(self) -> None:
        """Go into a fresh copy of the template."""
        os.chdir(self.scratch)
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.template, self.work, symlinks=True)
        os.chdir(self.work)

    def faults(self, scenario: Scenario, every: int) -> dict[str, Any]:
        """Let each step of a command fail; return the counts, and what was lost."""
        self.fresh()
        before = contents(self.work)
        counted = self.child(Injector(self.work), scenario.words)
        if counted.status:
            raise SystemExit(f"{' '.join(scenario.words)}: {counted.said}")
        whole = contents(self.work)
        ended: Counter[str] = Counter()
        lost: list[str] = []
        for number, kind, fault in faults_of(counted.steps, every):
            self.fresh()
            done = self.child(Injector(self.work, number, fault), scenario.words)
            ended[_ending(done)] += 1
            why = self.broken(scenario, done, before, whole)
            if why:
                lost.append(f"step {number} ({kind}), {fault}: {why}")
        points = len(counted.steps)
        return {"points": points, "by_kind": dict(Counter(counted.steps)), "faults": sum(ended.values()),
                "ended": dict(ended), "lost": len(lost), "losses": lost[:20]}  # fmt: skip

    def broken(self, scenario: Scenario, done: Outcome, before: dict[str, bytes], whole: dict[str, bytes]) -> str:
        """Return which law a fault has broken, "" if none."""
        if done.status == FOREIGN or "Traceback" in done.said:
            return f"an error of another kind: {done.said.strip().splitlines()[-1]}"
        held = contents(self.work)
        log = scenario.words == ("log",)
        for name, content in before.items():
            target = name.split("/")[0] in scenario.writes
            aside = target and any(path.name.endswith(".old") for path in self.work.iterdir())  # the rerun restores it
            if held.get(name) != content and not (target and held.get(name) == whole.get(name)) and not aside:
                return f"{name} was there before and is damaged"
        kept = [line.split()[1] for line in done.said.splitlines() if line.startswith("kept ")] if log else []
        for name in kept:
            if f'"id": "{name}"'.encode() not in held.get("log.jsonl", b""):
                return f"decision {name} was said to be on disk and is not"
        for path in self.work.rglob(".fercleaner-*"):
            old = path.lstat().st_mtime - AGED
            os.utime(path, (old, old), follow_symlinks=False)
        again = scenario.words if scenario.replaces or log else (*scenario.words, "--force")
        rerun = self.child(Injector(Path("/nowhere")), again)
        if rerun.status:
            return f"the rerun failed: {rerun.said.strip()[-300:]}"
        after = contents(self.work)
        if log:
            return "" if _standing(after["log.jsonl"]) == _standing(whole["log.jsonl"]) else "the rerun's log differs"
        unlike = sorted(name for name in {**after, **whole} if after.get(name) != whole.get(name))
        return f"after the rerun {unlike[0]} is not what an undisturbed run gives" if unlike else ""


def _standing(log: bytes) -> set[str]:
    return {line.split('"id": "')[1].split('"')[0] for line in log.decode().splitlines() if line.startswith('{"at"')}


def _ending(done: Outcome) -> str:
    if done.status < 0 or done.status == TORN:
        return "killed"
    return {0: "went on", 1: "one message", FOREIGN: "foreign"}.get(done.status, f"exit {done.status}")


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was asked for and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", nargs="+", choices=list(SCENARIOS), help="commands; all by default")
    parser.add_argument("--every", type=int, default=1, help="let one step in so many fail")
    parser.add_argument("--no-faults", action="store_true", help="the soak alone")
    parser.add_argument("--runs", type=int, default=500, help="runs in one process; 0 leaves them out")
    parser.add_argument("--processes", type=int, default=200, help="processes on one cache; 0 leaves them out")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON to write")
    args = parser.parse_args(arguments)
    result: dict[str, Any] = {**stamp(), "faces": FACES, "every": args.every, "faults": {}}
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(os.path.realpath(scratch)))
        for name in [] if args.no_faults else args.only or SCENARIOS:
            result["faults"][name] = bench.faults(SCENARIOS[name], args.every)
            tell(f"{name}: {result['faults'][name]}")
            write_json(home / args.out, result)
        soaks: tuple[tuple[str, int, Callable[[Path, int], dict[str, Any]]], ...] = (
            ("runs", args.runs, many_runs), ("processes", args.processes, many_processes))  # fmt: skip
        for name, count, soak in soaks:
            if count:
                bench.fresh()
                result[name] = soak(bench.work, count)
                tell(f"{name}: {result[name]}")
        os.chdir(home)
    totals = result["faults"].values()
    result["total"] = {key: sum(entry[key] for entry in totals) for key in ("points", "faults", "lost")}
    write_json(home / args.out, result)
    tell(f"{result['total']}")


if __name__ == "__main__":
    sys.exit(main())
