"""Whether weighing labels by their uncertainty pays where sites have noise of their own, or noise follows the face.

    python benchmarks/hypergraph_sites.py --data ../shared/ferplus --limit 3000 --sites 8 --seeds 0 1

Clear faces with their true labels are dealt to sites at random. Each site flips its labels by a confusion of its own: a
permutation of the classes without a fixed point, drawn anew, at a rate between 0 and .5; or all labels are flipped
as instance-dependent noise has it. `hypergraph` with one round and with two, told the sites or not. Writes
results/hypergraph_sites.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from beds import open_bed
from case import Shared, evidence_for, relabeled
from stamp import command, stamp, tell, write_json

from fercleaner.core.arrays import Ints
from fercleaner.core.types import Samples
from fercleaner.evaluation.metrics import average_precision
from fercleaner.methods import build
from fercleaner.noise.injection import parse, with_transition
from fercleaner.pipeline.refine import DEFAULT_K

#: Votes of a clear face, and the greatest rate of a site.
MIN_VOTES, MOST = 6.0, 0.5


def by_site(samples: Samples, label: Ints, sites: int, rng: np.random.Generator) -> Samples:
    """Return the samples dealt to sites, each with flips of its own."""
    c = len(samples.classes)
    site, given = rng.integers(sites, size=len(samples)), label.copy()
    for number in range(sites):
        rows = np.flatnonzero(site == number)
        rate = MOST * number / max(sites - 1, 1)
        turned = np.roll(np.arange(c), int(rng.integers(1, c)))
        matrix = (1 - rate) * np.eye(c) + rate * np.eye(c)[turned]
        given[rows] = with_transition(label[rows], matrix, rng).labels
    names = np.char.add("site ", site.astype(str))
    return samples.replacing(given=np.eye(c, dtype=np.float32)[given], site=names)


@command
def main(arguments: Sequence[str] | None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a FERPlus folder, digits, demo, or FILE.py:FUNCTION")
    parser.add_argument("--limit", type=int, default=3000)
    parser.add_argument("--sites", type=int, default=8)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "hypergraph_sites.json")
    args = parser.parse_args(arguments)
    shared = Shared.of(open_bed(args.data).sample(args.limit, MIN_VOTES), DEFAULT_K, args.device)
    bed, entries = shared.bed, list[dict[str, Any]]()
    for seed in args.seeds:
        own = by_site(bed.samples, bed.label, args.sites, np.random.default_rng([seed, 3]))
        follows = relabeled(bed, parse("instance:0.3"), seed, shared.vectors)
        sets = {"sites, named": own, "sites, not named": own.replacing(site=None), "instance:0.3": follows}
        for noise, samples in sets.items():
            wrong = samples.label != bed.label
            for rounds in (1, 2):
                method = build("hypergraph", {"rounds": str(rounds)})
                given = evidence_for(method, shared.evidence, DEFAULT_K)
                answer = method.refine(replace(given, samples=samples), np.random.default_rng(seed))
                area = average_precision(-answer.quality.astype(np.float64), wrong)
                accuracy = float((answer.label == bed.label).mean())
                entries.append(
                    {"noise": noise, "seed": seed, "rounds": rounds, "average_precision": area, "accuracy": accuracy}
                )
                tell(f"{noise}, seed {seed}, {rounds} rounds: AP {area:.4f}, accuracy {accuracy:.4f}")
    write_json(args.out, {"faces": len(bed.samples), "sites": args.sites, "entries": entries, **stamp()})


if __name__ == "__main__":
    sys.exit(main())
