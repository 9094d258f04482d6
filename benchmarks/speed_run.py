"""One tool on one set, in a process of its own, so that its peak memory is its own; `speed.py` starts it.

    python benchmarks/speed_run.py hypergraph FOLDER [--index auto]

FOLDER holds view_*.npy (float16), given.npy, truth.npy (int64). Prints one line of JSON: wall and CPU seconds of each
stage, peak memory, average precision, and what the file says of its neighbors.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

#: Steps, rate and momentum of linear AUM.
STEPS, RATE, MOMENTUM = 50, 1.0, 0.9
PEERS = ("linear AUM", "SimiFeat", "Datalab", "cleanlab", "fastdup")
#: Folds and most steps of the logistic regression whose posteriors cleanlab reads; its tutorials take as many.
FOLDS, MOST_STEPS = 5, 1000
#: Neighbors that fastdup looks at.
NEAREST = 15


class Clock:
    """Wall and CPU seconds by stage; a stage ends where the next one begins."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, float]] = {}
        self.name = ""
        self.since = (0.0, 0.0)

    def start(self, name: str) -> None:
        """End the stage before and begin `name`; "" begins none."""
        now = (time.perf_counter(), cpu_seconds())
        if self.name:
            was = self.stages.setdefault(self.name, {"wall": 0.0, "cpu": 0.0})
            was["wall"] += now[0] - self.since[0]
            was["cpu"] += now[1] - self.since[1]
        self.name, self.since = name, now

    def progress(self, stage: str, done: int, total: int) -> None:
        """Take what `Callbacks.progress` is told."""
        if stage != self.name and done < total:
            self.start(stage)
        elif stage == self.name and done == total:
            self.start("between")


def cpu_seconds() -> float:
    """Return what this process and its children took, user and system, in seconds."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        total += used.ru_utime + used.ru_stime
    return total


def peak_gib() -> float:
    """Return the most memory that this process held, in GiB; in rusage, what its parent held would count."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 2**20


def average_precision(suspicion: np.ndarray, wrong: np.ndarray) -> float:
    """Return the area under precision over recall, as in scikit-learn, ties broken by row."""
    order = np.argsort(-suspicion, kind="stable")
    hits = wrong[order].astype(np.float64)
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1) * hits).sum() / max(1.0, hits.sum()))


def ours(name: str, folder: Path, args: argparse.Namespace, clock: Clock) -> tuple[np.ndarray, dict[str, Any]]:
    """Run a method from vectors to Parquet; return the suspicion of each face and what the file says."""
    from fercleaner import Callbacks, Features, Resources, Samples, Sources, refine, write
    from fercleaner.methods import build

    given = np.load(folder / "given.npy")
    n, c = len(given), int(given.max()) + 1
    ids = np.char.add("f", np.char.zfill(np.arange(n).astype(str), 7))
    samples = Samples(
        ids=ids,
        classes=tuple(f"class {i}" for i in range(c)),
        given=np.eye(c, dtype=np.float32)[given],
        labeled=np.ones(n, dtype=np.bool_),
        paths=np.full(n, ""),
    )
    views = []
    for file in sorted(folder.glob("view_*.npy"))[: args.views]:
        values = np.load(file, mmap_mode="r")
        views.append(Features(file.stem.split("_")[1], ids, values, np.ones(n, dtype=np.bool_)))
    clock.start("prepare")
    refined = refine(
        samples,
        build(name, {}),
        Sources(views=views),
        Resources(device=args.device, index=args.index),
        Callbacks(progress=clock.progress),
    )
    clock.start("write")
    write(refined, folder / "speed.refined.parquet", overwrite=True)
    clock.start("")
    return 1.0 - refined.quality, {"neighbors": refined.metadata.get("neighbors", {})}


def side_by_side(folder: Path, views: int) -> np.ndarray:
    """Return the unit rows of all views side by side, (N, D) float32."""
    parts = []
    for file in sorted(folder.glob("view_*.npy"))[:views]:
        values = np.load(file).astype(np.float32)
        values -= values.mean(0)
        parts.append(values / np.linalg.norm(values, axis=1, keepdims=True))
    return np.concatenate(parts, axis=1)


def linear_aum(x: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return minus the mean margin of the given label over the steps of a linear softmax model.

    Source: Pleiss, Zhang, Elenberg, Weinberger, Identifying mislabeled data using the area under the margin ranking,
    NeurIPS 2020; theirs trains a network by mini-batches, here all faces take part in each step.
    """
    n, c = len(given), int(given.max()) + 1
    x = x * np.float32(np.sqrt(x.shape[1]))
    one_hot = np.eye(c, dtype=np.float32)[given]
    weight, speed = np.zeros((x.shape[1], c), dtype=np.float32), np.zeros((x.shape[1], c), dtype=np.float32)
    margin, rows = np.zeros(n), np.arange(n)
    rate = np.float32(RATE / x.shape[1])
    for _ in range(STEPS):
        logits = x @ weight
        own = logits[rows, given]
        margin += own - np.where(one_hot > 0, -np.inf, logits).max(1)
        odds = np.exp(logits - logits.max(1, keepdims=True))
        gradient = x.T @ (odds / odds.sum(1, keepdims=True) - one_hot) / np.float32(n) * np.float32(x.shape[1])
        speed = np.float32(MOMENTUM) * speed - rate * gradient
        weight += speed
    return -margin


def simifeat(x: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return the peer SimiFeat's suspicion, its neighbors by FAISS's flat index."""
    import faiss
    from peers.base import Case, K
    from peers.simifeat import simifeat as peer

    x = np.ascontiguousarray(x / np.linalg.norm(x, axis=1, keepdims=True))
    similarity, indices = faiss.knn(x, x, K + 1, metric=faiss.METRIC_INNER_PRODUCT)
    c = int(given.max()) + 1
    nothing = np.full((len(x), c), 1 / c)
    groups = np.arange(len(x))
    return peer(Case(given, c, x, groups, indices[:, 1:], similarity[:, 1:], nothing, groups * 0.0)).suspicion


def datalab(x: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return the suspicion of cleanlab's Datalab by vectors alone."""
    from cleanlab import Datalab

    lab = Datalab({"label": given.tolist()}, label_name="label", task="classification", verbosity=0)
    lab.find_issues(features=x, issue_types={"label": {}})
    return 1.0 - lab.get_issues("label")["label_score"].to_numpy()


def cleanlab(x: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return the suspicion of cleanlab by out-of-fold posteriors of logistic regression: 1 - self-confidence.

    As its tutorials do it: scikit-learn's `cross_val_predict` on the vectors, then the labels
    found wrong by confident learning, most suspicious first.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    model = LogisticRegression(max_iter=MOST_STEPS)
    posterior = cross_val_predict(model, x, given, cv=FOLDS, method="predict_proba")
    find_label_issues(given, posterior, return_indices_ranked_by="self_confidence", n_jobs=1)
    return 1.0 - np.asarray(get_label_quality_scores(given, posterior))


def fastdup(x: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return the share of fastdup's nearest neighbors that have another label, as its gallery of wrong labels does.

    By one thread, on vectors alone; fastdup keeps neighbors in files of its own.
    """
    import fastdup as peer

    with tempfile.TemporaryDirectory() as folder:
        names = [f"{row:07d}.jpg" for row in range(len(x))]
        peer.save_binary_feature(folder, names, np.ascontiguousarray(x))
        with contextlib.redirect_stdout(sys.stderr):
            peer.run(
                "",
                work_dir=folder,
                run_mode=2,
                d=x.shape[1],
                nearest_neighbors_k=NEAREST,
                num_threads=1,
                threshold=0.0,
                lower_threshold=0.0,
            )
        lines = (Path(folder) / "similarity.csv").read_text(encoding="utf-8").splitlines()[1:]
    pairs = np.array([[int(name[:7]) for name in line.split(",")[:2]] for line in lines])
    other = (given[pairs[:, 0]] != given[pairs[:, 1]]).astype(np.float64)
    count = np.bincount(pairs[:, 0], minlength=len(x))
    return np.bincount(pairs[:, 0], weights=other, minlength=len(x)) / np.maximum(1, count)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one tool and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("tool")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--index", default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--views", type=int, default=2)
    args = parser.parse_args(arguments)
    clock = Clock()
    wall, cpu = time.perf_counter(), cpu_seconds()
    clock.start("read")
    about: dict[str, Any] = {}
    if args.tool in PEERS:
        x, given = side_by_side(args.folder, args.views), np.load(args.folder / "given.npy")
        tools = (linear_aum, simifeat, datalab, cleanlab, fastdup)
        work = dict(zip(PEERS, tools, strict=True))[args.tool]
        clock.start("run")
        suspicion = work(x, given)
        clock.start("")
    else:
        suspicion, about = ours(args.tool, args.folder, args, clock)
    took = {"wall_s": time.perf_counter() - wall, "cpu_s": cpu_seconds() - cpu}
    wrong = np.load(args.folder / "given.npy") != np.load(args.folder / "truth.npy")
    found = average_precision(np.asarray(suspicion, dtype=np.float64), wrong)
    print(json.dumps({**took, "peak_gib": peak_gib(), "average_precision": found, "stages": clock.stages, **about}))


if __name__ == "__main__":
    main()
