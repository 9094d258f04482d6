"""Is `consensus` behind a peer by more than chance? Average precision on the same flips, and its paired bootstrap.

    python benchmarks/paired.py --data ../shared/ferplus --limit 6000 --noise instance:0.4 symmetric:0.1 --seeds 0 1 2

Faces, flips and seeds are those of `quality.py`. A difference is the method's average precision less the peer's; its
interval holds 95 % of draws of whole groups of faces, the same for both; that of the mean over seeds holds the draws'
means. Writes results/paired.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from beds import open_bed
from case import Shared, question, relabeled
from peers import PEERS
from peers.base import K
from quality import judge, run_method
from set_tools import group_draws
from stamp import command, stamp, tell, write_json

from fercleaner.core.arrays import Doubles
from fercleaner.core.groups import group_numbers
from fercleaner.evaluation.bootstrap import weighted_average_precision
from fercleaner.methods import build
from fercleaner.noise.injection import parse

METHOD = "consensus"
#: The peers that come near it, on one noise or another.
NEAR = ("linear AUM", "cleanlab")


@command
def main(arguments: Sequence[str] | None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a FERPlus folder, digits, demo, or FILE.py:FUNCTION")
    parser.add_argument("--noise", nargs="+", required=True, metavar="KIND:RATE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--peers", nargs="+", default=list(NEAR), choices=list(PEERS), metavar="NAME")
    parser.add_argument("--limit", type=int, help="faces at most, always the same ones")
    parser.add_argument("--min-votes", type=float, default=6.0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "paired.json")
    args = parser.parse_args(arguments)
    bed = open_bed(args.data).sample(args.limit, args.min_votes)
    shared = Shared.of(bed, min(K, len(bed.samples) - 1), args.device)
    found = {}
    for noise in args.noise:
        areas = [one_seed(shared, noise, seed, args) for seed in args.seeds]
        everywhere = [name for name in areas[0] if all(name in area for area in areas)]
        mean = {name: np.mean([area[name] for area in areas], axis=0) for name in everywhere}
        found[noise] = {"mean": compared(mean), "by_seed": [compared(area) for area in areas]}
        behind = [name for name, (_, most) in found[noise]["mean"]["lead_95"].items() if most < 0]
        tell(f"{noise}: behind by more than chance: {', '.join(behind) or 'none'}")
    write_json(args.out, {"stamp": stamp(), "faces": len(bed.samples), "seeds": args.seeds, "noises": found})
    tell(f"Wrote {args.out}.")


def one_seed(shared: Shared, noise: str, seed: int, args: argparse.Namespace) -> dict[str, Doubles]:
    """Return the average precision of each tool under one noise, over all faces and in each draw, (`DRAWS` + 1,)."""
    samples = relabeled(shared.bed, parse(noise), seed, shared.vectors)
    asked = question(shared, samples, seed, args.device)
    verdicts, _ = judge(METHOD, lambda: run_method(build(METHOD), asked, seed))
    for name in args.peers:
        more, reason = judge(name, lambda peer=name: PEERS[peer](asked.case))
        verdicts |= more
        if reason:
            tell(f"{name}: skipped, {reason}")
    judged = shared.bed.judged(args.min_votes)
    wrong = (samples.label != shared.bed.label)[judged]
    drawn = group_draws(group_numbers(samples.ids, samples.group), seed)[:, judged]
    weights = np.concatenate([np.ones((1, drawn.shape[1])), drawn])
    return {
        name: weighted_average_precision(verdict.suspicion[judged], wrong, weights)
        for name, (verdict, _) in verdicts.items()
    }


def compared(area: dict[str, Doubles]) -> dict[str, Any]:
    """Return average precisions, and the method's lead over each peer with its interval."""
    leads = {name: area[METHOD] - rows for name, rows in area.items() if name != METHOD}
    return {
        "average_precision": {name: float(rows[0]) for name, rows in area.items()},
        "lead": {name: float(rows[0]) for name, rows in leads.items()},
        "lead_95": {name: np.quantile(rows[1:], [0.025, 0.975]).tolist() for name, rows in leads.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
