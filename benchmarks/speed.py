"""How long a run takes, from vectors to Parquet, as sets grow: our methods and peers on the same faces.

    python benchmarks/speed.py --data ../shared/ferplus --faces 10000 40000 100000
    python benchmarks/speed.py --data ../shared/ferplus --faces 40000 --tools hypergraph --against ../before
    python benchmarks/speed.py --data ../shared/ferplus --faces 100000 --tools hypergraph --device cuda

Faces are real ones, drawn with replacement and moved part of the way to another face of the same true class, with
noise added; a fifth of the labels is flipped. Two views of 512 columns. Each tool runs in a process of its own
(`speed_run.py`). CPU seconds are user and system time of the process; where other work loads the machine, they and
ratios within one run mean more than wall time. Adds to results/speed.json, by tool, faces, and tree of code.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from beds import Bed, open_bed
from speed_run import PEERS, cpu_seconds
from stamp import command, stamp, tell, write_json

RESULTS = Path(__file__).parent / "results" / "speed.json"
#: Columns of each view; share of the way to another face, at most; noise, in standard deviations of a column.
COLUMNS, WAY, NOISE = 512, 0.4, 0.1
FLIPPED = 0.2
BLOCK = 20_000
TOOLS = ("hypergraph", "threshold", *PEERS)


def make_set(bed: Bed, faces: int, folder: Path) -> None:
    """Write view_*.npy (faces, COLUMNS) float16, given.npy and truth.npy (faces,) int64; the same ones each time."""
    rng = np.random.default_rng([0, faces])
    rows = np.flatnonzero(bed.judged(6))
    truth = bed.label[rows]
    order = np.argsort(truth, kind="stable")
    start = np.searchsorted(truth[order], np.arange(truth.max() + 2))
    one = rng.integers(0, len(rows), faces)
    of = truth[one]
    other = order[start[of] + (rng.random(faces) * (start[of + 1] - start[of])).astype(np.int64)]
    way = rng.uniform(0, WAY, (faces, 1)).astype(np.float32)
    views = [view for view in bed.views if view.found.all()][:2]
    for view in views:
        turn = rng.normal(size=(view.values.shape[1], COLUMNS)).astype(np.float32) / np.float32(np.sqrt(COLUMNS))
        values = view.values[rows].astype(np.float32) @ turn
        spread = NOISE * values.std(0)
        out = np.lib.format.open_memmap(folder / f"view_{view.view}.npy", "w+", np.float16, (faces, COLUMNS))
        for first in range(0, faces, BLOCK):
            part = slice(first, first + BLOCK)
            mixed = (1 - way[part]) * values[one[part]] + way[part] * values[other[part]]
            out[part] = mixed + spread * rng.standard_normal(mixed.shape, dtype=np.float32)
        out.flush()
    given = of.copy()
    flip = rng.random(faces) < FLIPPED
    classes = int(truth.max()) + 1
    given[flip] = (given[flip] + rng.integers(1, classes, int(flip.sum()))) % classes
    np.save(folder / "given.npy", given)
    np.save(folder / "truth.npy", of)


def machine_speed() -> dict[str, float]:
    """Return what one process of this machine does now: float32 products and copies, a CPU second."""
    a = np.random.default_rng(0).random((2048, 2048), dtype=np.float32)
    cpu = cpu_seconds()
    for _ in range(3):
        a @ a
    products = 3 * 2 * 2048**3 / (cpu_seconds() - cpu) / 1e9
    large = np.zeros(1 << 27, dtype=np.uint8)
    cpu = cpu_seconds()
    for _ in range(4):
        large.copy()
    return {"gflops": round(products, 1), "gbytes": round(4 * 2 * large.nbytes / (cpu_seconds() - cpu) / 1e9, 1)}


def run_one(tool: str, folder: Path, args: argparse.Namespace, tree: Path | None) -> dict[str, Any]:
    """Run a tool in a process of its own, with the code of `tree` where one is given."""
    python = args.fastdup_python if tool == "fastdup" else sys.executable
    words = [python, str(Path(__file__).parent / "speed_run.py"), tool, str(folder)]
    index = args.index if tree is None else args.index.replace("auto", "exact")
    words += ["--index", index, "--device", args.device, "--views", str(args.views)]
    environment = dict(os.environ)
    if tree is not None:
        environment["PYTHONPATH"] = str(tree.resolve())
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return {"skipped": (done.stderr.strip().splitlines() or ["no reason given"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def exponents(runs: Sequence[dict[str, Any]], least: int = 40_000) -> dict[str, float]:
    """Return the slope of log CPU seconds over log faces, from `least` faces on, by tool and code."""
    found = {}
    for key in sorted({(run["tool"], run["code"], run["index"], run["views"]) for run in runs if "cpu_s" in run}):
        mine = [
            (run["faces"], run["cpu_s"])
            for run in runs
            if "cpu_s" in run
            and (run["tool"], run["code"], run["index"], run["views"]) == key
            and run["faces"] >= least
        ]
        if len({faces for faces, _ in mine}) > 1:
            x, y = np.log(np.array(mine, dtype=np.float64)).T
            found[" ".join(map(str, key))] = round(float(np.polyfit(x, y, 1)[0]), 2)
    return found


def together(earlier: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return both; of runs of one tool, size, code, index, views and device, the later."""
    names = ("faces", "views", "tool", "code", "index", "device")
    runs = {tuple(run[name] for name in names): run for run in [*earlier, *now]}
    return [runs[key] for key in sorted(runs)]


def rounded(value: Any) -> Any:
    """Return the value with all floats to four places."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and add to results/speed.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", default="../shared/ferplus")
    parser.add_argument("--faces", type=int, nargs="+", default=[10_000, 40_000])
    parser.add_argument("--tools", nargs="+", default=list(TOOLS), help="methods of ours, and peers")
    parser.add_argument("--index", default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--fastdup-python", default=sys.executable, help="an interpreter that has fastdup")
    parser.add_argument("--against", type=Path, help="another tree of this project, run in turn with this one")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    bed = open_bed(args.data)
    old = json.loads(args.out.read_text(encoding="utf-8"))["runs"] if args.out.is_file() else []
    runs: list[dict[str, Any]] = []
    for faces in args.faces:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            make_set(bed, faces, folder)
            for tool in args.tools:
                both = args.against is not None and tool not in PEERS
                for tree, code in [(None, "this"), *([(args.against, "before")] if both else [])]:
                    found = rounded(run_one(tool, folder, args, tree))
                    about = {"faces": faces, "views": args.views, "tool": tool, "code": code, "index": args.index}
                    runs.append({**about, "device": args.device, "load": round(os.getloadavg()[0], 1), **found})
                    tell(f"{faces:,} {tool} ({code}): " + json.dumps({k: v for k, v in found.items() if k != "stages"}))
    every = together(old, runs)
    kept = {key: value for key, value in stamp().items() if key != "uncommitted_changes"}
    made = {"when": time.strftime("%Y-%m-%d"), "floor": machine_speed(), "exponents": exponents(every)}
    write_json(args.out, {**kept, **made, "runs": every})


if __name__ == "__main__":
    sys.exit(main())
