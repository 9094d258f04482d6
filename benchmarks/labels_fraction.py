"""Keep a share of the labels, hide the rest, and compare pseudo-labels of `ambiguous` with the plain probe's.

    python benchmarks/labels_fraction.py ../shared/ferplus --labels-fraction 0.1 --seeds 3 \\
        --out benchmarks/results/labels_fraction.json
    python benchmarks/labels_fraction.py ../shared/ferplus --labels true
    python benchmarks/labels_fraction.py digits --labels-fraction 0.05

The first argument is a bed (see `beds.py`). `--labels true` hands out true labels in place of the given ones, so that
what unlabeled faces teach is seen apart from what they mend.

Prints one JSON object. Figures are over the faces whose label was hidden and whose top vote has at least
--min-votes: the probe sees the same kept labels and views as the method. "sure" are the faces that Ada-CM's
margins accept (status I); for the probe, as many of its most confident faces.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from beds import Bed, open_bed
from stamp import stamp, write_json

from fercleaner.classifiers.probe import cross_fit
from fercleaner.core.arrays import Bools, Doubles, Ints
from fercleaner.core.errors import FercleanerError
from fercleaner.core.evidence import Evidence
from fercleaner.core.types import Samples
from fercleaner.evaluation.metrics import accuracy, jensen_shannon, mean_recall
from fercleaner.methods.ambiguous.ambiguous import Ambiguous
from fercleaner.pipeline.inputs import Callbacks, Resources, Sources
from fercleaner.pipeline.refine import gather


def keep_share(samples: Samples, fraction: float, rng: np.random.Generator) -> Samples:
    """Return `samples` with `fraction` of each class's labels kept (one at least), the others hidden."""
    keep = np.zeros(len(samples), dtype=np.bool_)
    for label in np.unique(samples.label[samples.labeled]):
        rows = np.flatnonzero(samples.label == label)
        keep[rng.choice(rows, max(1, round(fraction * len(rows))), replace=False)] = True
    return samples.replacing(given=np.where(keep[:, None], samples.given, 0), labeled=keep)


def with_true_labels(bed: Bed) -> Samples:
    """Return the samples of `bed` with the true class as label; faces without one are unlabeled."""
    known = bed.label >= 0
    given = np.where(known[:, None], np.eye(len(bed.samples.classes), dtype=np.float32)[bed.label], np.float32(0))
    return bed.samples.replacing(given=given, labeled=known)


def figures(distribution: Doubles, truth: Ints, votes: Doubles, chosen: Bools) -> dict[str, float]:
    """Return accuracy, mean recall and Jensen-Shannon divergence (log 2) over the chosen rows, with their number."""
    guess = distribution.argmax(1)[chosen]
    return {
        "faces": int(chosen.sum()),
        "accuracy": float(accuracy(guess, truth[chosen])),
        "mean_recall": float(mean_recall(guess, truth[chosen], distribution.shape[1])),
        "js": float(jensen_shannon(distribution[chosen], votes[chosen]).mean()),
    }


def run(bed: Bed, samples: Samples, evidence: Evidence, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return the figures of one choice of kept labels; views and neighbors are those of `evidence`."""
    rng = np.random.default_rng(seed)
    kept = keep_share(samples, args.labels_fraction, rng)
    votes = np.eye(len(kept.classes))[bed.label] if bed.votes is None else bed.votes
    hidden = ~kept.labeled & bed.judged(args.min_votes)
    start = time.perf_counter()
    probe = cross_fit(kept, evidence.features, seed=seed, device=args.device)
    after_probe = time.perf_counter()
    method = Ambiguous(experts=args.experts)
    answer = method.refine(Evidence(kept, evidence.features, evidence.neighbors, {"probe": probe}), rng)
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
        "probe": figures(values, bed.label, votes, hidden),
        "ambiguous": figures(refined, bed.label, votes, hidden),
        "probe, most confident": figures(values, bed.label, votes, confident),
        "ambiguous, sure": figures(refined, bed.label, votes, sure),
        "seconds": {"probe": after_probe - start, "ambiguous": done - after_probe},
    }


def gains(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return by how much `ambiguous` is ahead of the probe, mean and sample deviation over the runs."""
    return {
        key: {
            "mean": float(np.mean(ahead := [r["ambiguous"][key] - r["probe"][key] for r in runs])),
            "deviation": float(np.std(ahead, ddof=1)) if len(ahead) > 1 else float("nan"),
        }
        for key in ("accuracy", "mean_recall", "js")
    }


def main() -> None:
    """Read the arguments, run every seed, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bed", help="a folder with labels.csv and votes.csv, digits, demo, FILE.py:FUNCTION")
    parser.add_argument("--labels", choices=("given", "true"), default="given")
    parser.add_argument("--labels-fraction", type=float, default=0.1)
    parser.add_argument("--min-votes", type=float, default=6)
    parser.add_argument("--experts", type=int, default=Ambiguous().experts)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if not 0 < args.labels_fraction < 1:
        parser.error("--labels-fraction must lie between 0 and 1")
    bed = open_bed(args.bed)
    samples = with_true_labels(bed) if args.labels == "true" else bed.samples
    resources = Resources(device=args.device)
    evidence = gather(samples, Ambiguous(), Sources(views=bed.views), resources, Callbacks())
    runs = [run(bed, samples, evidence, args, seed) for seed in range(args.seeds)]
    result = {
        "dataset": bed.name,
        "labels": args.labels,
        "faces": len(samples),
        "labels_fraction": args.labels_fraction,
        "min_votes": args.min_votes,
        "experts": args.experts,
        "views": sorted(evidence.features),
        "gains": gains(runs),
        "runs": runs,
        **stamp(),
    }
    if args.out is not None:
        write_json(args.out, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    try:
        main()
    except FercleanerError as error:
        print(f"{os.path.basename(__file__)}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
