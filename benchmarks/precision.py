"""What `--precision` and the expected noise rate are worth, against a truth.

    python benchmarks/precision.py --data ../shared/ferplus --limit 6000 --noise human
    python benchmarks/precision.py --data ../shared/ferplus --limit 4000 \\
        --noise symmetric:0.2 asymmetric:0.2 instance:0.2 symmetric:0.05 symmetric:0
    python benchmarks/precision.py --data ../shared/ferplus --limit 4000 --min-votes 10 --noise symmetric:0
    python benchmarks/precision.py --data digits --noise asymmetric:0.2 symmetric:0.05
    python benchmarks/precision.py --data demo --noise symmetric:0.2 symmetric:0.05

A method refines given labels, again after some were flipped on purpose (`pipeline.flip_checks`), and flags what it
expects to be wrong with the precision asked for (`calibration.calibrated`). Told are the true share of wrong labels
among these flags, and the expected noise rate and transition matrix (`noise_estimate`) beside the true ones. Noise is
put on the true labels of judged faces, "human" stands for the labels that a set came with, "symmetric:0" for none.
Entries are added to results/precision.json; README's table is made from those of the commands above.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from beds import Bed, open_bed
from case import Shared, evidence_for, question, relabeled
from quality import built
from stamp import command, stamp, write_json

from fercleaner.core.numeric import row_stochastic
from fercleaner.core.types import Samples
from fercleaner.noise.estimate import decided_joint, held_wrong
from fercleaner.noise.injection import NoiseSpec, parse
from fercleaner.noise.precision import calibrated, doubt
from fercleaner.noise.transition import transition_matrix
from fercleaner.pipeline.inputs import Callbacks, Resources
from fercleaner.pipeline.refine import DEFAULT_K, flip_checks, run

#: Precisions asked for.
WANTED = (0.6, 0.7, 0.8, 0.9)


def worth(shared: Shared, samples: Samples, name: str, min_votes: float, seed: int, device: str) -> dict[str, Any]:
    """Return what flags and noise estimate of one method are worth under the labels of `samples`."""
    method, bed, resources = built(name), shared.bed, Resources(device=device, seed=seed)
    evidence = evidence_for(method, question(shared, samples, seed, device).evidence, DEFAULT_K)
    first = run(method, evidence, seed)
    checks = flip_checks(method, evidence, first, resources, Callbacks())
    judged = bed.judged(min_votes) & samples.labeled
    wrong = (samples.label != bed.label) & judged
    flags = {}
    for wanted in WANTED:
        told = calibrated(wanted, samples, first, checks)
        shown = told.flagged & judged
        flags[f"{wanted:g}"] = {
            "flagged": int(shown.sum()),
            "precision": float(wrong[shown].mean()) if shown.any() else None,
            "recall": float(shown[wrong].mean()) if wrong.any() else None,
        }
    given, said = samples.given[judged], first.distribution[judged]
    true = transition_matrix(samples.label[judged], bed.label[judged], given.shape[1])
    there = np.bincount(bed.label[judged], minlength=given.shape[1]) > 0
    expected = row_stochastic(decided_joint(given, said))
    return {
        "flags": flags,
        "rate": float(held_wrong(given, said).mean()),
        "doubt": float(doubt(samples, first)[judged].mean()),
        "transition_error": float(np.abs(expected - true)[there].mean()),
    }


def measure(bed: Bed, spec: NoiseSpec, args: argparse.Namespace) -> dict[str, Any]:
    """Return the entry of one noise on one bed."""
    own = spec.kind == "human" and spec.rate is None
    part = bed.sample(args.limit, None if own else args.min_votes)
    shared = Shared.of(part, DEFAULT_K, args.device)
    samples = relabeled(part, spec, args.seed, shared.vectors)
    judged = part.judged(args.min_votes) & samples.labeled
    wrong = samples.label[judged] != part.label[judged]
    return {
        "bed": part.name,
        "noise": args.spelled[spec],
        "min_votes": args.min_votes,
        "faces": len(samples),
        "judged": int(judged.sum()),
        "wrong": float(wrong.mean()),
        "methods": {
            name: worth(shared, samples, name, args.min_votes, args.seed, args.device) for name in args.methods
        },
        **stamp(),
    }


@command
def main(arguments: Sequence[str] | None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a FERPlus folder, digits, demo, or FILE.py:FUNCTION")
    parser.add_argument("--noise", nargs="+", default=["human"], metavar="KIND[:RATE]")
    parser.add_argument("--methods", nargs="+", default=["consensus", "hypergraph"], metavar="NAME[,PARAMETER=VALUE]")
    parser.add_argument("--limit", type=int, help="faces at most")
    parser.add_argument("--min-votes", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "precision.json")
    args = parser.parse_args(arguments)
    args.spelled = {parse(text): text for text in args.noise}
    bed = open_bed(args.data)
    entries = json.loads(args.out.read_text())["entries"] if args.out.is_file() else []
    for spec in args.spelled:
        entry = measure(bed, spec, args)
        same = ("bed", "noise", "min_votes")
        entries = [old for old in entries if any(old[key] != entry[key] for key in same)] + [entry]
        write_json(args.out, {"entries": sorted(entries, key=lambda e: [e[key] for key in same])})
        print(f"{entry['bed']}, {entry['noise']}: {entry['judged']:,} judged, wrong {entry['wrong']:.3f}")
        for name, figures in entry["methods"].items():
            kept = " ".join(
                "none" if at["precision"] is None else f"{at['precision']:.2f} ({at['flagged']})"
                for at in figures["flags"].values()
            )
            low, high = sorted((figures["rate"], figures["doubt"]))
            print(f"  {name:12s} {kept}; rate {low:.3f} to {high:.3f}, T {figures['transition_error']:.3f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
