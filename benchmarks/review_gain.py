"""What looks at faces are worth to the faces that nobody looked at: refined labels and flags after some decisions.

    python benchmarks/review_gain.py --data ../shared/ferplus --half 1
    python benchmarks/review_gain.py --data ../shared/posed --budgets 20 50 100 300
    python benchmarks/review_gain.py --data ../shared/ferplus --half 1 --method hypergraph

The reviewer is the truth: the class that most annotators chose where at least `--min-votes` did, else the two classes
with the most votes (ambiguous); a face without votes is skipped, and costs a look all the same. Faces to look at are
ordered once, from the refinement without decisions; the decisions then correct its answer about all others, as
`fercleaner refine --decisions` does. Random order is drawn `DRAWS` times; the mean is given. Judged are the faces with
a truth that nobody looked at, before and after; and all faces, decided ones included. With --replaced, beside that:
the given labels of decided faces replaced, and the method run again, which is what one would try first.

`--half` takes one half of the groups: choose on half 0, report half 1. Writes results/review-gain-SET[-METHOD].json.
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
from fercleaner.core.evidence import Evidence
from fercleaner.core.refined import RefinedSet
from fercleaner.core.types import Refinement, Samples
from fercleaner.datasets import read
from fercleaner.datasets.truth import read_truth
from fercleaner.encoders.vectors import read_view
from fercleaner.evaluation.metrics import average_precision, calibration_error, flag_scores, mean_recall
from fercleaner.methods import build
from fercleaner.methods.base import Method
from fercleaner.pipeline.decided import KnownLabels
from fercleaner.pipeline.refine import DEFAULT_K
from fercleaner.results.assemble import assembled
from fercleaner.review.decisions import Decisions
from fercleaner.review.log import AMBIGUOUS, LABEL, Decision
from fercleaner.review.queue import order

RESULTS = Path(__file__).parent / "results"
ORDERS = ("gain", "quality", "random")
#: Draws of the random order.
DRAWS = 5


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


def answered(shared: Shared, method: Method, samples: Samples, seed: int) -> tuple[Evidence, Refinement]:
    """Return the evidence of `shared` under these labels, and the method's answer."""
    posteriors = {}
    if "posteriors" in method.needs | method.optional:
        posteriors[PROBE] = cross_fit(samples, shared.evidence.features, seed=seed, device="cpu")
    evidence = replace(shared.evidence, samples=samples, posteriors=posteriors)
    evidence = evidence_for(method, evidence, DEFAULT_K)
    return evidence, method.refine(evidence, np.random.default_rng(seed))


def replaced(samples: Samples, decisions: Decisions) -> Samples:
    """Return samples whose given labels are what was decided."""
    rows, labels = decisions.known(samples)
    given, labeled = samples.given.copy(), samples.labeled.copy()
    given[rows], labeled[rows] = labels, True
    return samples.replacing(given=given, labeled=labeled)


def figures(bed: Bed, refined: Refinement, faces: Bools) -> dict[str, float]:
    """Return the figures over some faces with a truth."""
    wrong = (bed.samples.label != bed.label)[faces]
    suspicion = 1.0 - refined.quality[faces].astype(np.float64)
    return {
        "accuracy": float((refined.label == bed.label)[faces].mean()),
        "flag_f1": flag_scores(refined.flagged[faces], wrong).f1,
        "average_precision": average_precision(suspicion, wrong),
        "calibration_error": calibration_error(suspicion, wrong),
        "mean_recall": mean_recall(refined.label[faces], bed.label[faces], len(bed.samples.classes)),
    }


def after_looks(
    bed: Bed, answer: Refinement, rows: Ints, options: argparse.Namespace
) -> tuple[dict[str, Any], Decisions, Bools]:
    """Return what decisions about the faces `rows` do, the decisions, and the judged faces that they are not about."""
    decisions, samples = reviewed(bed, rows, options.min_votes), bed.samples
    after = KnownLabels(*decisions.known(samples)).applied(samples, answer)
    looked = np.zeros(len(samples), dtype=np.bool_)
    looked[rows] = True
    judged = bed.judged(options.min_votes)
    rest = judged & ~looked
    known, labels = decisions.known(samples)
    all_labels = after.label.copy()
    all_labels[known] = labels.argmax(1)
    found = {
        "decided": len(decisions),
        "undecided": int(rest.sum()),
        "before": figures(bed, answer, rest),
        "after": figures(bed, after, rest),
        "accuracy_of_all": float((all_labels == bed.label)[judged].mean()),
    }
    return found, decisions, rest


def ordered(name: str, first: RefinedSet, draw: int) -> Ints:
    """Return all rows in the order `name`."""
    if name == "random":
        return np.random.default_rng([draw, 11]).permutation(len(first)).astype(np.int64)
    return order(first, name)


def mean_of(found: Sequence[Any]) -> Any:
    """Return the mean of each figure of several draws."""
    if isinstance(found[0], dict):
        return {key: mean_of([one[key] for one in found]) for key in found[0]}
    return float(np.mean(found))


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/ferplus")
    parser.add_argument("--half", type=int, choices=(0, 1))
    parser.add_argument("--limit", type=int, help="at most so many faces")
    parser.add_argument("--method", default="consensus")
    parser.add_argument("--budgets", type=int, nargs="+", default=[50, 100, 200, 500, 2000])
    parser.add_argument("--orders", nargs="+", default=list(ORDERS), choices=ORDERS)
    parser.add_argument("--replaced", action="store_true", help="run the method on replaced labels, too")
    parser.add_argument("--min-votes", type=float, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file to write; results/review-gain-SET[-METHOD].json by default")
    options = parser.parse_args(arguments)
    folder = Path(options.data)
    bed = posed(folder) if (folder / "truth.csv").is_file() else open_bed(options.data)
    bed = bed if options.half is None else half_of(bed, options.half)
    bed = bed.sample(options.limit)
    method = build(options.method)
    shared = Shared.of(bed, max(DEFAULT_K, int(getattr(method, "k", DEFAULT_K))), "cpu")
    with measured() as cost:
        evidence, answer = answered(shared, method, bed.samples, options.seed)
    tell(f"{bed.name}: {len(bed.samples):,} faces, first refinement in {cost.seconds:.0f} s")
    first = assembled(bed.samples, evidence, answer, "exact", options.seed)
    found: list[dict[str, Any]] = []
    for name in options.orders:
        for budget in options.budgets:
            draws, again = [], []
            for draw in range(DRAWS if name == "random" else 1):
                result, decisions, rest = after_looks(bed, answer, ordered(name, first, draw)[:budget], options)
                draws.append(result)
                if options.replaced and draw == 0:
                    labels = replaced(bed.samples, decisions)
                    again.append(figures(bed, answered(shared, method, labels, options.seed)[1], rest))
            found.append({"order": name, "looks": budget, **mean_of(draws)})
            found[-1] |= {"replaced": again[0]} if again else {}
            before, after = (found[-1][key]["accuracy"] for key in ("before", "after"))
            tell(f"{name} {budget}: {before:.4f} to {after:.4f} of the undecided")
    ending = "" if options.method == "consensus" else f"-{options.method}"
    out = options.out or RESULTS / f"review-gain-{bed.name}{ending}.json"
    settings = {"data": bed.name, "half": options.half, "faces": len(bed.samples), "seed": options.seed}
    judged = bed.judged(options.min_votes)
    write_json(
        out,
        {
            **stamp(),
            **settings,
            "method": options.method,
            "min_votes": options.min_votes,
            "judged": int(judged.sum()),
            "without": figures(bed, answer, judged),
            "figures": found,
        },
    )
    tell(f"Wrote {out}")


if __name__ == "__main__":
    raise SystemExit(main())
