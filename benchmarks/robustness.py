"""Faults at every step of a command, and many runs of it: what is lost, what grows.

    python benchmarks/robustness.py                                  every fault, 500 runs, 200 processes
    python benchmarks/robustness.py --only refine --runs 0 --processes 0      the faults of one command
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
import contextlib
import importlib
import json
import multiprocessing.process  # noqa: F401 - notes the folder from which workers find this script
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from robustness_commands import FACES, SCENARIOS, SETUP, Scenario, run_words
from robustness_faults import FOREIGN, HANGING, TORN, Injector, Outcome, faults_of, in_child
from robustness_soak import many_processes, many_runs
from robustness_state import contents, decided, fingerprint
from stamp import command, stamp, tell, write_json

OUT = Path(__file__).with_name("results") / "robustness.json"
#: Seconds by which temporary files are made older, so that the next run may sweep them.
AGED = 2 * 24 * 3600
#: Losses of a command that the JSON spells out.
LISTED = 20


class Bench:
    """A folder with all that the commands read, and a fresh copy of it for each fault."""

    def __init__(self, scratch: Path) -> None:
        self.scratch, self.template, self.work = scratch, scratch / "template", scratch / "work"
        self.known: dict[str, str] = {}
        done = (self.template / "made").exists()  # by an earlier run in pieces (--scratch)
        if not done:
            shutil.rmtree(self.template, ignore_errors=True)
            self.template.mkdir(parents=True)
        os.chdir(self.template)
        if done:
            return
        for words in SETUP:
            done = self.child(Injector(Path("/nowhere")), words)
            if done.status:
                raise SystemExit(f"{' '.join(words)}: {done.said}")
        Path("made").touch()

    def child(self, injector: Injector, words: Sequence[str]) -> Outcome:
        """Run a command in a child in the current folder."""
        return in_child(injector, lambda: run_words(tuple(words)), self.scratch)

    def fresh(self) -> None:
        """Make the folder of work what the template is, and go into it; what is as it was there stays."""
        os.chdir(self.scratch)
        self.work.mkdir(exist_ok=True)
        wanted = {path.relative_to(self.template) for path in self.template.rglob("*")}
        for path in sorted(self.work.rglob("*"), reverse=True):  # what lies in a folder before the folder
            name = path.relative_to(self.work)
            if name not in wanted or (not path.is_dir() and _about(path) != _about(self.template / name)):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        for name in sorted(wanted):
            path, source = self.work / name, self.template / name
            if source.is_dir():
                path.mkdir(exist_ok=True)
            elif not path.exists():
                shutil.copy2(source, path)
        os.chdir(self.work)

    def faults(self, scenario: Scenario) -> dict[str, Any]:
        """Let the steps of a command fail, one a run; return the counts, and what was lost."""
        cpu = os.times()
        self.fresh()
        before = contents(self.work)
        counted = self.child(Injector(self.work), scenario.words)
        for module in counted.modules:  # so that no further child spends its time on them
            with contextlib.suppress(Exception):
                importlib.import_module(module)
        if counted.status:
            tell(f"{' '.join(scenario.words)}: {counted.said}")
            return {}
        whole = contents(self.work)
        self.known = dict[str, str]()
        ended: Counter[str] = Counter()
        tried: set[int] = set()
        lost: list[str] = []
        for number, what, fault in faults_of(counted.steps, ends=scenario.ends):
            self.fresh()
            done = self.child(Injector(self.work, number, fault), scenario.words)
            ended[_ending(done)] += 1
            tried.add(number)
            why = self.broken(scenario, done, before, whole)
            if why:
                lost.append(f"step {number} ({what}), {fault}: {why}")
        now = os.times()
        seconds = sum(now[:4]) - sum(cpu[:4])
        kinds = Counter(kind for kind, _ in counted.steps)
        return {"points": len(counted.steps), "by_kind": dict(kinds), "places": len(set(counted.steps)),
                "points_tried": len(tried), "states": len(self.known), "faults": sum(ended.values()),
                "ended": dict(ended), "lost": len(lost),
                "losses": lost[:LISTED], "cpu_seconds": seconds}  # fmt: skip

    def broken(self, scenario: Scenario, done: Outcome, before: dict[str, bytes], whole: dict[str, bytes]) -> str:
        """Return which law a fault has broken, "" if none."""
        if done.status == HANGING:
            return "it neither ended nor went on"
        if done.status == FOREIGN or "Traceback" in done.said:
            return f"an error of another kind: {done.said.strip().splitlines()[-1]}"
        held = contents(self.work)
        for name, content in before.items():
            target = name.split("/")[0] in scenario.writes
            aside = target and any(path.name.endswith(".old") for path in self.work.iterdir())  # the rerun restores it
            same = held.get(name) == content or (name.endswith(".jsonl") and held.get(name, b"").startswith(content))
            new = held.get(name) == whole.get(name) or done.status == 0  # a run that goes on writes what it could read
            if not same and not (target and new) and not aside:
                return f"{name} was there before and is damaged"
        kept = {line.split()[1] for line in done.said.splitlines() if line.startswith("kept ")}
        if kept and not kept <= decided(held.get(scenario.writes[0], b"")):
            return "a decision that was said to be on disk is not"
        for path in self.work.rglob(".fercleaner-*"):
            old = path.lstat().st_mtime - AGED
            os.utime(path, (old, old), follow_symlinks=False)
        there = any(Path(name).exists() for name in scenario.writes) and not scenario.replaces
        more = scenario.anew if scenario.anew and done.status == 0 else scenario.force if there else ""
        state = fingerprint(self.work) + more
        if state not in self.known:  # the same state gives the same rerun
            self.known[state] = self.rerun((*scenario.words, *([more] if more else [])), whole)
        return self.known[state]

    def rerun(self, words: Sequence[str], whole: dict[str, bytes]) -> str:
        """Run a command again over what a fault left; return what is wrong then, "" if nothing."""
        rerun = self.child(Injector(Path("/nowhere")), words)
        if rerun.status:
            return f"the rerun failed: {rerun.said.strip()[-300:]}"
        after = contents(self.work)
        unlike = sorted(name for name in {**after, **whole} if not _alike(name, after.get(name), whole.get(name)))
        return f"after the rerun {unlike[0]} is not what an undisturbed run gives" if unlike else ""


def _about(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _alike(name: str, one: bytes | None, two: bytes | None) -> bool:
    if name.endswith(".jsonl") and one is not None and two is not None:  # a torn line stays and never counts
        return decided(one) == decided(two)
    return one == two


def _ending(done: Outcome) -> str:
    if done.status < 0 or done.status == TORN:
        return "killed"
    return {0: "went on", 1: "one message", FOREIGN: "foreign"}.get(done.status, f"exit {done.status}")


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was asked for and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", nargs="+", choices=list(SCENARIOS), help="commands; all by default")
    parser.add_argument("--no-faults", action="store_true", help="the soak alone")
    parser.add_argument("--runs", type=int, default=500, help="runs in one process; 0 leaves them out")
    parser.add_argument("--processes", type=int, default=200, help="processes on one cache; 0 leaves them out")
    parser.add_argument("--scratch", type=Path, help="where to work, for runs in pieces; removed at the end by default")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON to write")
    args = parser.parse_args(arguments)
    home, out = Path.cwd(), args.out.absolute()
    stamped = stamp()
    held = begun(out)["faults"]
    stale = [name for name in SCENARIOS if held.get(name, {}).get("commit") != stamped["commit"]]
    chosen = [] if args.no_faults else args.only or stale
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(Path(os.path.realpath(args.scratch or temporary)))
        for name in chosen:
            if found := bench.faults(SCENARIOS[name]):
                keep(out, stamped, "faults", {name: found})
        soaks: dict[str, tuple[int, Callable[[Path, int], dict[str, Any]]]] = {
            "runs": (args.runs, many_runs), "processes": (args.processes, many_processes)}  # fmt: skip
        for name, (count, soak) in soaks.items():
            if count:
                bench.fresh()
                keep(out, stamped, "soak", {name: soak(bench.work, count)})
        os.chdir(home)
    tell(f"{begun(out)['total']}")


def begun(out: Path) -> dict[str, Any]:
    """Return what earlier runs found; nothing where there is no such file."""
    held: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {}
    return held if "soak" in held else {"faults": {}, "soak": {}}


def keep(out: Path, stamped: dict[str, Any], part: str, found: dict[str, dict[str, Any]]) -> None:
    """Add figures to the file, each with the commit that it is of, beside those of earlier runs; sum them up."""
    tell(f"{found}")
    held = begun(out)
    held[part] |= {name: {"commit": stamped["commit"], **entry} for name, entry in found.items()}
    entries = held["faults"].values()
    keys = ("points", "places", "points_tried", "faults", "lost", "cpu_seconds")
    total = {"commands": len(entries), **{key: sum(entry[key] for entry in entries) for key in keys}}
    complete = set(held["faults"]) == set(SCENARIOS) and set(held["soak"]) == {"runs", "processes"}
    parts = {"faces": FACES, "complete": complete, "total": total, "faults": held["faults"], "soak": held["soak"]}
    write_json(out, {**stamped, **parts})


if __name__ == "__main__":
    sys.exit(main())
