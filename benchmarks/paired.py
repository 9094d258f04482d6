"""Is `consensus` behind a peer by more than chance? Average precision on the same flips, and its paired bootstrap.

    python benchmarks/paired.py --data ../shared/ferplus --limit 6000 --noise instance:0.4 symmetric:0.1 --seeds 0 1 2

Faces, flips and seeds are those of `quality.py`. A difference is the method's average precision less the peer's; its
interval holds 95 % of draws of whole groups of faces, the same for both. Writes results/paired.json.
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
    found = {noise: [one_seed(shared, noise, seed, args) for seed in args.seeds] for noise in args.noise}
    write_json(args.out, {"stamp": stamp(), "faces": len(bed.samples), "seeds": args.seeds, "noises": found})
    tell(f"Wrote {args.out}.")


def one_seed(shared: Shared, noise: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Return average precisions under one noise, and the interval of the method's lead over each peer."""
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
    area = {
        name: weighted_average_precision(verdict.suspicion[judged], wrong, weights)
        for name, (verdict, _) in verdicts.items()
    }
    leads = {name: area[METHOD] - area[name] for name in area if name != METHOD}
    answer = {
        "average_precision": {name: float(rows[0]) for name, rows in area.items()},
        "lead": {name: float(rows[0]) for name, rows in leads.items()},
        "lead_95": {name: np.quantile(rows[1:], [0.025, 0.975]).tolist() for name, rows in leads.items()},
    }
    behind = [name for name, (_, most) in answer["lead_95"].items() if most < 0]
    tell(f"{noise}, seed {seed}: behind by more than chance: {', '.join(behind) or 'none'}")
    return answer


if __name__ == "__main__":
    sys.exit(main())
