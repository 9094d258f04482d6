"""Keep a share of the labels, hide the rest, and compare pseudo-labels of `ambiguous` with the plain probe's.

    python benchmarks/labels_fraction.py ../shared/ferplus/labels.csv --truth ../shared/ferplus/votes.csv \\
        --view emotion=../shared/ferplus/view_emotion_1024.npy \\
        --view expression=../shared/ferplus/view_expression_256.npy \\
        --view blendshapes=../shared/ferplus/view_blendshapes_52.npy \\
        --labels-fraction 0.1 --seeds 3 --out benchmarks/results/labels_fraction.json

Prints one JSON object. Figures are over the faces whose label was hidden and whose top vote has at least
--min-votes: the probe sees the same kept labels and views as the method. "sure" are the faces that Ada-CM's
margins accept (status I); for the probe, as many of its most confident faces.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from fercleaner.datasets import read
from fercleaner.encoders.vectors import parse_view, read_view
from fercleaner.methods.ambiguous import Ambiguous
from fercleaner.methods.base import Evidence
from fercleaner.metrics import accuracy, jensen_shannon, mean_recall
from fercleaner.probe import cross_fit
from fercleaner.truth import read_truth
from fercleaner.types import Bools, Doubles, Features, Ints, Samples


def keep_share(samples: Samples, fraction: float, rng: np.random.Generator) -> Samples:
    """Return `samples` with `fraction` of each class's labels kept (one at least), the others hidden."""
    keep = np.zeros(len(samples), dtype=np.bool_)
    for label in np.unique(samples.label[samples.labeled]):
        rows = np.flatnonzero(samples.label == label)
        keep[rng.choice(rows, max(1, round(fraction * len(rows))), replace=False)] = True
    return samples.replacing(given=np.where(keep[:, None], samples.given, 0), labeled=keep)


def figures(distribution: Doubles, truth: Ints, votes: Doubles, chosen: Bools) -> dict[str, float]:
    """Return accuracy, mean recall and Jensen-Shannon divergence (log 2) over the chosen rows, with their number."""
    guess = distribution.argmax(1)[chosen]
    return {
        "faces": int(chosen.sum()),
        "accuracy": float(accuracy(guess, truth[chosen])),
        "mean_recall": float(mean_recall(guess, truth[chosen], distribution.shape[1])),
        "js": float(jensen_shannon(distribution[chosen], votes[chosen]).mean()),
    }


def run(
    samples: Samples, views: dict[str, Features], truth: Any, args: argparse.Namespace, seed: int
) -> dict[str, Any]:
    """Return the figures of one choice of kept labels."""
    rng = np.random.default_rng(seed)
    kept = keep_share(samples, args.labels_fraction, rng)
    rows = truth.rows_of(samples.ids, samples.paths)
    label = np.where(rows >= 0, truth.label[rows], -1)
    votes = truth.distribution[rows]
    hidden = ~kept.labeled & (rows >= 0) & truth.judged(args.min_votes)[rows]
    start = time.perf_counter()
    probe = cross_fit(kept, views, seed=seed, device=args.device)
    after_probe = time.perf_counter()
    method = Ambiguous(experts=args.experts)
    answer = method.refine(Evidence(kept, views, {}, {"probe": probe}), rng)
    done = time.perf_counter()
    values = probe.values.astype(np.float64)
    sure = hidden & (answer.evidence["sure"] > 0)
    rank = np.argsort(np.where(hidden, -values.max(1), np.inf), kind="stable")[: int(sure.sum())]
    confident = np.zeros(len(hidden), dtype=np.bool_)
    confident[rank] = True
    refined = answer.distribution.astype(np.float64)
    return {
        "seed": seed,
        "labels": int(kept.labeled.sum()),
        "probe": figures(values, label, votes, hidden),
        "ambiguous": figures(refined, label, votes, hidden),
        "probe, most confident": figures(values, label, votes, confident),
        "ambiguous, sure": figures(refined, label, votes, sure),
        "seconds": {"probe": after_probe - start, "ambiguous": done - after_probe},
    }


def main() -> None:
    """Read the arguments, run every seed, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--view", action="append", required=True, metavar="NAME=FILE")
    parser.add_argument("--labels-fraction", type=float, default=0.1)
    parser.add_argument("--min-votes", type=float, default=6)
    parser.add_argument("--experts", type=int, default=Ambiguous().experts)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if not 0 < args.labels_fraction < 1:
        parser.error("--labels-fraction must lie between 0 and 1")
    samples = read(args.dataset)
    views = {name: read_view(name, file, samples) for name, file in map(parse_view, args.view)}
    truth = read_truth(args.truth, samples.classes)
    result = {
        "dataset": args.dataset.parent.name,
        "faces": len(samples),
        "labels_fraction": args.labels_fraction,
        "min_votes": args.min_votes,
        "experts": args.experts,
        "views": sorted(views),
        "runs": [run(samples, views, truth, args, seed) for seed in range(args.seeds)],
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "torch", "fercleaner")},
            "date": time.strftime("%Y-%m-%d"),
        },
    }
    text = json.dumps(result, indent=2)
    print(text)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        partial = args.out.with_name(args.out.name + ".partial")
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(args.out)


if __name__ == "__main__":
    main()
