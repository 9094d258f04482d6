"""Train the builtin model from the shared data, all steps in order, by one command that can be stopped and run again.

    python benchmarks/builtin_all.py --work WORK [--shared ../shared] [--minutes 10] [--quick]

Each step is a script of this folder (or `fercleaner refine`) in a process of its own; `steps` lists them. A step that
is done leaves a mark in WORK/done and is skipped from then on. With `--minutes` the step that is at work is stopped
when they have passed. A step that was stopped or killed goes on from what it has kept, or starts again if it is short.
Exit status: 0 all steps are done, 3 the time is spent and the same command goes on, 1 a step failed.

At the end WORK holds builtin.safetensors and what stands beside it in fercleaner/weights; nothing is copied there.
`--quick` takes some 700 crops and as many photographs and trains for two short rounds: it shows that all steps work,
and its weights are worth nothing.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fercleaner.core.files import replacing

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "fercleaner" / "weights"
#: What stands in fercleaner/weights beside the frozen split; WORK holds the new ones at the end.
RESULTS = ("builtin.safetensors", "builtin.json", "trained_on.npy", "home.npz")
#: Rounds, those of them in which the learning rate falls, options of a round; files of features of crops (only the
#: votes' layer is fitted on them); files of copies of crops and of photographs. Of the weights in the package, and of
#: `--quick`.
FULL = (("54", "17", ()), ("20", "0"), ("4", "6"))
QUICK = (("2", "1", ("--steps", "3", "--batch", "32")), ("1", "0", "--faces", "256"), ("1", "1", "--faces", "256"))
#: Packages that steps need and the package's own extras may not have brought, by module.
PACKAGES = {"openvino": "openvino", "mediapipe": "mediapipe", "cv2": "opencv-python-headless"}
#: Seconds that a stopped step has to end.
PATIENCE = 10.0
#: Exit status when the time is spent.
UNFINISHED = 3


@dataclass(frozen=True)
class Step:
    """One process: its name, what it is for, its command, and what it leaves in WORK.

    A step with `body` changes WORK/body.safetensors in place. What it made is kept as body_NAME.safetensors, from which
    the next one starts, so that it can be stopped at any time and started again.
    """

    name: str
    about: str
    argv: tuple[str, ...]
    leaves: tuple[str, ...]
    body: bool = False
    needs: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """What must be in WORK when the step is done."""
        return (f"body_{self.name}.safetensors",) if self.body else self.leaves


def steps(shared: Path, work: Path, quick: bool) -> list[Step]:
    """Return all steps of a training in their order."""
    (rounds, decay, per_round), features, copies = QUICK if quick else FULL
    data = work / "small" if quick else shared
    crops, wild, models = data / "ferplus", data / "wild", shared / "models"
    common = ["--data", crops, "--wild", wild, "--models", models, "--targets", work, "--work", work]
    common += ["--cleaned", work / "wild_train.parquet", *per_round]
    photographs = ["--images", work / "photographs", "--weights", f"yunet={models}", "--cache", work / "cache"]

    def script(name: str, *options: object) -> tuple[str, ...]:
        return (sys.executable, str(ROOT / "benchmarks" / name), *map(str, options))

    def refine(part: str, *options: object) -> tuple[str, ...]:
        words = [work / f"wild_{part}.csv", *photographs, "--out", work / f"wild_{part}.parquet", "--force", *options]
        return (sys.executable, "-m", "fercleaner", "refine", *map(str, words))

    def ask(*options: object) -> tuple[str, ...]:
        return script("builtin_targets.py", *options, "--models", models)

    def unpack(tar: Path, folder: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "tarfile", "-e", str(tar), str(work / folder))

    small = Step("small", "a few of the pictures", script("builtin_small.py", shared, data), ("small/wild/labels.csv",))
    five = ["--points", wild / "labels.csv"]
    return [
        *([small] if quick else []),
        Step("unpack-crops", "FER2013's crops as files", unpack(crops / "images.tar", "crops"), ("crops",)),
        Step("unpack-photographs", "photographs as files",
            unpack(wild / "images.tar", "photographs"), ("photographs",)),
        Step("mesh-crops", "points and blendshapes of crops (MediaPipe)",
            ask("mesh", crops / "images.tar", work / "ferplus_mesh.npz"), ("ferplus_mesh.npz",), needs=("mediapipe",)),
        Step("mesh-photographs", "points and blendshapes of photographs (MediaPipe)",
            ask("mesh", wild / "images.tar", work / "wild_mesh.npz"), ("wild_mesh.npz",), needs=("mediapipe",)),
        Step("teachers-crops", "what the five-expression network says of crops",
            ask("teachers", crops / "images.tar", work / "ferplus_teachers.npz", "--only", "emotion"),
            ("ferplus_teachers.npz",), needs=("openvino", "cv2")),
        Step("teachers-photographs", "what both expression networks say of photographs",
            ask("teachers", wild / "images.tar", work / "wild_teachers.npz", *five),
            ("wild_teachers.npz",), needs=("openvino", "cv2")),
        Step("list-train", "the photographs to train on",
            script("builtin_photographs.py", wild, "train", work / "wild_train.csv"), ("wild_train.csv",)),
        Step("list-all", "all photographs",
            script("builtin_photographs.py", wild, "all", work / "wild_all.csv"), ("wild_all.csv",)),
        Step("clean-train", "labels of photographs to train on, cleaned by `fercleaner refine`",
            refine("train"), ("wild_train.parquet",), needs=("cv2",)),
        Step("clean-all", "labels of all photographs, cleaned without the builtin model's posteriors: they judge",
            refine("all", "--posteriors", "none"), ("wild_all.parquet",), needs=("cv2",)),
        Step("train", "the body, from the weights in the package",
            script("train_builtin.py", *common, "--rounds", rounds, "--decay-rounds", decay, "--resume"),
            ("body.safetensors",), body=True),
        Step("mix", "the mean of the trained weights and of those it started from",
            script("builtin_mix.py", *common), (), body=True),
        Step("readouts", "the read-outs of expressions, fitted again on the mixed body",
            script("builtin_readouts.py", *common, "--body", "--votes", "--files", *features), (), body=True),
        Step("distill", "the read-out of photographs",
            script("builtin_distill.py", *common, "--files", *copies), (), body=True),
        Step("finish", "temperature and shares, chosen and judged on groups held back",
            script("builtin_finish.py", *common, "--judge-by", work / "wild_all.parquet"), RESULTS[:3], needs=("cv2",)),
        Step("home", "what the embedding looks like on FER2013's groups held back",
            script("builtin_home.py", "--data", crops, "--images", work / "crops",
                "--weights", work / "builtin.safetensors", "--out", work / "home.npz"), RESULTS[3:]),
    ]  # fmt: skip


def is_done(step: Step, work: Path) -> bool:
    """Say whether a step has ended well and what it left is there."""
    return (work / "done" / step.name).exists() and all((work / name).exists() for name in step.outputs)


def missing_packages(todo: list[Step]) -> str:
    """Return what to install before these steps can run, "" if nothing."""
    absent = {name: step.name for step in reversed(todo) for name in step.needs if not importlib.util.find_spec(name)}
    if not absent:
        return ""
    who = ", ".join(f"{PACKAGES[name]} (step {step})" for name, step in absent.items())
    return f"Not installed: {who}. pip install {' '.join(PACKAGES[name] for name in absent)}, and run this again."


def run_step(step: Step, before: Step | None, work: Path, lock: IO[str], seconds: float | None) -> int | None:
    """Run a step; return its exit status, or None when it was stopped since `seconds` had passed.

    `before` is the last step before it that changed WORK/body.safetensors.
    """
    body = work / "body.safetensors"
    if step.body and before is not None:
        copy_whole(work / f"body_{before.name}.safetensors", body)
    process = subprocess.Popen(step.argv, start_new_session=True, pass_fds=[lock.fileno()])
    lock.truncate(0)
    lock.write(f"step {step.name}, process {process.pid}")
    lock.flush()
    try:
        status = process.wait(seconds)
    except BaseException as stopped:  # the time is spent, or Ctrl-C
        end(process)
        if isinstance(stopped, subprocess.TimeoutExpired):
            return None
        raise
    if status == 0:
        if step.body:
            copy_whole(body, work / f"body_{step.name}.safetensors")
        absent = [name for name in step.outputs if not (work / name).exists()]
        if absent:
            print(f"Step {step.name} has ended without {', '.join(absent)}.", file=sys.stderr)
            return 1
        (work / "done" / step.name).touch()
    return status


def copy_whole(source: Path, to: Path) -> None:
    """Copy a file so that `to` is there whole or as it was."""
    with replacing(to, overwrite=True) as stream:
        stream.write(source.read_bytes())


def end(process: subprocess.Popen[bytes]) -> None:
    """End a step and all processes that it started."""
    for word in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, word)
            process.wait(PATIENCE)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def run(todo: list[Step], work: Path, minutes: float | None) -> int:
    """Run the steps that are not done, in order, and return the exit status."""
    start, first, body = time.monotonic(), True, None
    (work / "done").mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a step that outlives this process holds it on
        except BlockingIOError:
            lock.seek(0)
            print(f"{work} is at work ({lock.read()}). Wait for its end, or end it.", file=sys.stderr)
            return 1
        for number, step in enumerate(todo):
            if not is_done(step, work):
                left = None if minutes is None else 60 * minutes - (time.monotonic() - start)
                print(f"[{number + 1}/{len(todo)}] {step.name}: {step.about}", flush=True)
                status = run_step(step, body, work, lock, left) if left is None or left > 0 else None
                if status is None:
                    again = " If it gets no further, give it more --minutes." if first else ""
                    print(f"The time is spent; {number} of {len(todo)} steps are done. The same command goes on with "
                          f"{step.name}.{again}", flush=True)  # fmt: skip
                    return UNFINISHED
                if status != 0:
                    print(f"Step {step.name} failed (exit status {status}). Mend what it says and run the same command "
                          "again, which goes on from here.", file=sys.stderr)  # fmt: skip
                    return 1
                first = False
            body = step if step.body else body
    return 0


def words_of(step: Step) -> list[str]:
    """Return a step's command as it reads in a checkout and with a Python at any other place."""
    return [word.removeprefix(f"{ROOT}/") for word in step.argv[1:]]


def other_settings(work: Path, todo: list[Step]) -> bool:
    """Say whether WORK was begun with other steps or other weights to start from; note these if it is new."""
    start = hashlib.sha256((WEIGHTS / "builtin.safetensors").read_bytes()).hexdigest()
    settings = json.dumps({"starts from": start, "steps": {step.name: words_of(step) for step in todo}}, indent=1)
    file = work / "settings.json"
    if not file.exists():
        work.mkdir(parents=True, exist_ok=True)
        file.write_text(settings)
    return file.read_text() != settings


def main() -> int:
    """Read the options, run the steps, and say where the weights are and how they were judged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where everything goes")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="has ferplus, wild, models")
    parser.add_argument("--minutes", type=float, help="stop when they have passed")
    parser.add_argument("--quick", action="store_true", help="few pictures, two short rounds")
    args = parser.parse_args()
    work = args.work.resolve()
    todo = steps(args.shared.resolve(), work, args.quick)
    if other_settings(work, todo):
        print(f"{work} was begun with other data, steps or starting weights (settings.json). Take another --work.",
              file=sys.stderr)  # fmt: skip
        return 1
    absent = missing_packages([step for step in todo if not is_done(step, work)])
    if absent:
        print(absent, file=sys.stderr)
        return 1
    status = run(todo, work, args.minutes)
    if status == 0:
        about = json.loads((work / "builtin.json").read_text())
        print(f"All steps are done. {', '.join(RESULTS)} are in {work}; copied to {WEIGHTS} they replace those there.")
        print(f"Judged on crops held back (test): {json.dumps(about['test'])}; on photographs: {work / 'sources.json'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
