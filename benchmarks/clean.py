"""The promise on clean data: faces whose annotators are all of one mind keep that label.

    python benchmarks/clean.py --data ../shared/ferplus

Each method refines the faces with at least `--min-votes` equal votes (10 of 10), given their majority label. A label is
wrongly lost where the refined class is another, or where it is flagged. Writes results/clean.json. `--per-class 340
--min-votes 6 --out results/clean-even.json` asks the same of classes balanced by hand, which no base rate foresees.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from beds import Bed, open_bed
from case import Shared, question, relabeled
from quality import built, run_method
from stamp import command, stamp, write_json

from fercleaner.core.errors import InputError
from fercleaner.methods import available
from fercleaner.noise.injection import parse
from fercleaner.pipeline.refine import DEFAULT_K

#: Share of labels that may change.
PROMISE = 0.01


def kept(bed: Bed, methods: Sequence[str], seed: int, device: str) -> dict[str, dict[str, float]]:
    """Return, by method, the share of true labels of `bed` that it changes and flags, and that by true class."""
    shared = Shared.of(bed, DEFAULT_K, device)
    asked = question(shared, relabeled(bed, parse("symmetric:0"), seed, shared.vectors), seed, device)
    answer: dict[str, dict[str, float]] = {}
    for name in methods:
        verdict = run_method(built(name), asked, seed)
        assert verdict.label is not None  # every method of ours has labels and flags
        assert verdict.flagged is not None
        lost = verdict.label != bed.label
        by_class = {c: lost[bed.label == i] for i, c in enumerate(bed.samples.classes)}
        answer[name] = {
            "changed": float(lost.mean()),
            "flagged": float(verdict.flagged.mean()),
            **{f"changed of {c}": float(rows.mean()) for c, rows in by_class.items() if len(rows)},
        }
    return answer


@command
def main(arguments: Sequence[str] | None) -> None:
    """Run the check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a FERPlus folder, digits, demo, or FILE.py:FUNCTION")
    parser.add_argument("--min-votes", type=float, default=10.0)
    parser.add_argument("--methods", nargs="+", default=list(available()), metavar="NAME[,PARAMETER=VALUE...]")
    parser.add_argument("--per-class", type=int, help="faces of each true class at most: a balanced set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "clean.json")
    args = parser.parse_args(arguments)
    bed = open_bed(args.data)
    rows = np.flatnonzero(bed.judged(args.min_votes))
    if not len(rows):
        raise InputError(f"No face of {args.data} has {args.min_votes:g} equal votes. Ask for fewer: --min-votes.")
    part = bed.subset(rows) if args.per_class is None else bed.even(args.per_class, args.min_votes)
    results = kept(part, args.methods, args.seed, args.device)
    counts = np.bincount(part.label, minlength=len(bed.samples.classes)).tolist()
    content: dict[str, Any] = {
        "bed": part.name,
        "min_votes": args.min_votes,
        "faces": len(part.samples),
        "faces_by_class": dict(zip(bed.samples.classes, counts, strict=True)),
        "promise": PROMISE,
        "results": results,
        **stamp(),
    }
    write_json(args.out, content)
    for name, figures in results.items():
        print(f"{name:12s} changed {100 * figures['changed']:.2f} %, flagged {100 * figures['flagged']:.2f} %")


if __name__ == "__main__":
    sys.exit(main())
