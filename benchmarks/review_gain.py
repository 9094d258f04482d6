"""What looks at faces are worth: accuracy of the refined labels after 100, 500 and 2,000 decisions, by order of faces.

    python benchmarks/review_gain.py --data ../shared/ferplus --half 1
    python benchmarks/review_gain.py --data ../shared/posed --budgets 20 50 100

The reviewer is the truth: the class that most annotators chose where at least `--min-votes` did, else the two classes
with the most votes (ambiguous); a face without votes is skipped, and costs a look all the same. Faces to look at are
ordered once, from the refinement without decisions; then the set is refined with the decisions. Judged are all faces
with a truth, and apart those of them that nobody looked at (what the decisions did for other faces).

`--half` takes one half of the groups: choose an order on half 0, report half 1. Writes results/review-gain-SET.json.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from beds import Bed, open_bed
from case import Shared, evidence_for
from stamp import command, measured, stamp, tell, write_json

from fercleaner.classifiers.probe import PROBE, cross_fit
from fercleaner.core.arrays import Bools, Ints
from fercleaner.core.refined import RefinedSet
from fercleaner.core.types import Samples
from fercleaner.datasets import read
from fercleaner.datasets.truth import read_truth
from fercleaner.encoders.vectors import read_view
from fercleaner.methods import build
from fercleaner.methods.base import Method
from fercleaner.pipeline.refine import DEFAULT_K
from fercleaner.results.assemble import assembled
from fercleaner.review.decisions import Decisions
from fercleaner.review.log import AMBIGUOUS, LABEL, Decision
from fercleaner.review.queue import order

RESULTS = Path(__file__).parent / "results"
ORDERS = ("gain", "quality", "random")


def posed(folder: Path) -> Bed:
    """Read a set with clean labels of some faces: labels.csv, truth.csv and view_*.npy."""
    samples = read(folder / "labels.csv")
    truth = read_truth(folder / "truth.csv", samples.classes)
    rows = truth.rows_of(samples.ids, samples.paths)
    label = np.where(rows >= 0, truth.label[rows], -1)
    names = [file for file in sorted(folder.glob("view_*.npy")) if "builtin" not in file.name]
    views = tuple(read_view(file.stem.split("_")[1], file, samples) for file in names)
    return Bed(folder.name, samples, views, label, np.where(label >= 0, np.inf, 0).astype(np.float32))


def half_of(bed: Bed, half: int) -> Bed:
    """Return the faces whose group (or id) falls into one half, always the same ones."""
    names = bed.samples.ids if bed.samples.group is None else bed.samples.group
    side = np.array([zlib.crc32(name.encode()) % 2 for name in names.tolist()])
    return bed.subset(np.flatnonzero(side == half))


def reviewed(bed: Bed, rows: Ints, min_votes: float) -> Decisions:
    """Return what the truth decides about `rows`."""
    classes, judged = bed.samples.classes, bed.judged(min_votes)
    said: dict[str, Decision] = {}
    for row in rows.tolist():
        if judged[row]:
            said[str(bed.samples.ids[row])] = Decision(LABEL, (classes[bed.label[row]],))
        elif bed.votes is not None and (bed.votes[row] > 0).sum() >= 2:
            two = np.sort(np.argsort(-bed.votes[row], kind="stable")[:2])
            said[str(bed.samples.ids[row])] = Decision(AMBIGUOUS, tuple(classes[c] for c in two))
    return Decisions(said)


def refined_with(shared: Shared, method: Method, samples: Samples, seed: int) -> RefinedSet:
    """Refine the faces of `shared` under labels of their own."""
    posteriors = {}
    if "posteriors" in method.needs | method.optional:
        posteriors[PROBE] = cross_fit(samples, shared.evidence.features, seed=seed, device="cpu")
    evidence = replace(shared.evidence, samples=samples, posteriors=posteriors)
    answer = method.refine(evidence_for(method, evidence, DEFAULT_K), np.random.default_rng(seed))
    return assembled(samples, evidence_for(method, evidence, DEFAULT_K), answer, "exact", seed)


def figures(bed: Bed, refined: RefinedSet, decided: Bools, min_votes: float) -> dict[str, Any]:
    """Return accuracies with their counts."""
    judged = bed.judged(min_votes)
    right = refined.label == bed.label
    rest = judged & ~decided
    return {
        "judged": int(judged.sum()),
        "accuracy": float(right[judged].mean()),
        "undecided": int(rest.sum()),
        "undecided_accuracy": float(right[rest].mean()),
    }


def ordered(name: str, first: RefinedSet, seed: int) -> Ints:
    """Return all rows in the order `name`."""
    if name == "random":
        return np.random.default_rng([seed, 11]).permutation(len(first)).astype(np.int64)
    return order(first, name)


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/ferplus")
    parser.add_argument("--half", type=int, choices=(0, 1))
    parser.add_argument("--limit", type=int, help="at most so many faces")
    parser.add_argument("--method", default="consensus")
    parser.add_argument("--budgets", type=int, nargs="+", default=[100, 500, 2000])
    parser.add_argument("--orders", nargs="+", default=list(ORDERS))
    parser.add_argument("--min-votes", type=float, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file to write; results/review-gain-SET.json by default")
    options = parser.parse_args(arguments)
    folder = Path(options.data)
    bed = posed(folder) if (folder / "truth.csv").is_file() else open_bed(options.data)
    bed = bed if options.half is None else half_of(bed, options.half)
    bed = bed.sample(options.limit)
    method = build(options.method)
    shared = Shared.of(bed, max(DEFAULT_K, int(getattr(method, "k", DEFAULT_K))), "cpu")
    with measured() as cost:
        first = refined_with(shared, method, bed.samples, options.seed)
    tell(f"{bed.name}: {len(bed.samples):,} faces, first refinement in {cost.seconds:.0f} s")
    nothing = np.zeros(len(bed.samples), dtype=np.bool_)
    found: list[dict[str, Any]] = [{"order": "none", "decisions": 0, **figures(bed, first, nothing, options.min_votes)}]
    for name in options.orders:
        rows = ordered(name, first, options.seed)
        for budget in options.budgets:
            decisions = reviewed(bed, rows[:budget], options.min_votes)
            again = refined_with(shared, method, decisions.relabeled(bed.samples), options.seed)
            settled = decisions.settled(again, bed.samples)
            looked = nothing.copy()
            looked[rows[:budget]] = True
            measured_now = figures(bed, settled, looked, options.min_votes)
            found.append({"order": name, "decisions": budget, "decided": len(decisions), **measured_now})
            tell(f"{name} {budget}: {found[-1]['accuracy']:.4f}, undecided {found[-1]['undecided_accuracy']:.4f}")
    out = options.out or RESULTS / f"review-gain-{bed.name}.json"
    settings = {"data": bed.name, "half": options.half, "faces": len(bed.samples), "seed": options.seed}
    write_json(
        out,
        {**stamp(), **settings, "method": options.method, "min_votes": options.min_votes, "figures": found},
    )
    tell(f"Wrote {out}")


if __name__ == "__main__":
    raise SystemExit(main())
