"""How a site weighs the shared head against a head of its own: rules compared on deals that chose between them.

    python benchmarks/federation_reading.py --data ../shared/ferplus --seeds 10 11 12

Deals as in benchmarks/federation.py, of the half of the groups that constants are chosen on. A site reads its labels
beside a posteriors of the shared head + (1 - a) posteriors of its own head, which is out of fold, and joins that with
its own answer. Rules:

- as said           a = 1, the class frequencies that the shared head learned from left in
- shared            a = 1, these taken out
- own               a = 0: nothing of the others
- half              a = .5
- likeliest         a of 1, .75, ... 0 under which the site's labels are likeliest
- one error         the largest a under which they are as likely, to one standard error
- fercleaner        to 1.5 (`fercleaner.federation`)
- three errors      to three
- shared, capped    a = 1, and what is read counts for .4 at most

By rule and alpha: means over sites and deals of average precision and accuracy, the gain over itself alone at the site
that is worst alone (least of all deals), the sites' largest losses (mean and largest over deals), how many more labels
change at sites whose labels are all right. Writes results/federation-reading.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from beds import open_bed
from federation import half_of, judged, measured
from stamp import command, stamp, tell, write_json

from fercleaner.core.groups import fold_numbers
from fercleaner.federation import reading
from fercleaner.federation.heads import own_posteriors
from fercleaner.federation.participant import FOLDS
from fercleaner.federation.simulate import federate
from fercleaner.federation.terms import Settings
from fercleaner.methods.hypergraph.hypergraph import quality_and_weight

#: By rule: the shares of the shared head that may be taken, the standard errors allowed, and the most that counts.
RULES: dict[str, tuple[tuple[float, ...], float, float]] = {
    "as said": ((1.0,), 0.0, 1.0),
    "shared": ((1.0,), 0.0, 1.0),
    "own": ((0.0,), 0.0, 1.0),
    "half": ((0.5,), 0.0, 1.0),
    "likeliest": (reading.HEAD_SHARES, 0.0, 1.0),
    "one error": (reading.HEAD_SHARES, 1.0, 1.0),
    "fercleaner": (reading.HEAD_SHARES, reading.ERRORS, 1.0),
    "three errors": (reading.HEAD_SHARES, 3.0, 1.0),
    "shared, capped": ((1.0,), 0.0, 0.4),
}


def deal(bed: Any, alpha: float, faces: int, seed: int) -> dict[str, Any]:
    """Return the figures of one deal by rule."""
    entry, (bed, site, given, sites) = measured(bed, alpha, faces, seed, Settings())
    done = federate(sites, Settings())
    found: dict[str, list[dict[str, float]]] = {rule: [] for rule in RULES}
    for number, here in enumerate(sites):
        rows = np.flatnonzero(site == number)
        labels, alone = here.samples.given.astype(np.float64), here.alone()
        fold = fold_numbers(here.samples.ids, here.samples.group, FOLDS, 0)
        shared = here.shared(done.head_of(here.name)).values.astype(np.float64)
        own = own_posteriors(here._design, labels, here.found, fold)
        for rule, (shares, errors, most) in RULES.items():
            reading.HEAD_SHARES, reading.ERRORS = shares, errors
            learned = here.learned(done.head_of(here.name))
            if rule == "as said":
                learned = np.full(len(learned), 1 / len(learned))
            read, _ = reading.read_beside_both(shared, own, learned, labels, here.found, fold)
            count = min(reading.share_of_others(here.faces), most) * read.borne_out
            refined = reading.together(alone.distribution.astype(np.float64), read.distribution, here.found, count)
            quality, _ = quality_and_weight(here.samples, refined, here.found)
            quality = np.where(here.found, quality, alone.quality)
            found[rule].append(judged(quality, refined.argmax(1), given[rows], bed.label[rows]))
    return {"alpha": alpha, "seed": seed, "rules": {rule: _figures(entry["sites"], one) for rule, one in found.items()}}


def _figures(sites: Sequence[dict[str, Any]], found: Sequence[dict[str, float]]) -> dict[str, float]:
    alone, area = (np.array([one["ap"] for one in rows]) for rows in ([e["alone"] for e in sites], found))
    changed = [
        after["changed"] - entry["alone"]["changed"]
        for entry, after in zip(sites, found, strict=True)
        if entry["noise"] == "correct"
    ]
    return {
        "ap": float(np.nanmean(area)),
        "accuracy": float(np.mean([one["accuracy"] for one in found])),
        "worst_alone": float((area - alone)[np.nanargmin(alone)]),
        "least": float(np.nanmin(area - alone)),
        "correct_changed_more": float(max(changed)),
    }


@command
def main(arguments: Sequence[str] | None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a FERPlus folder, digits, demo, or FILE.py:FUNCTION")
    parser.add_argument("--faces", type=int, default=6000)
    parser.add_argument("--alphas", nargs="+", type=float, default=[0.1, 0.5, 10.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[10, 11, 12])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "federation-reading.json")
    args = parser.parse_args(arguments)
    bed, entries = half_of(open_bed(args.data), "tune"), list[dict[str, Any]]()
    for seed in args.seeds:
        for alpha in args.alphas:
            entries.append(deal(bed, alpha, args.faces, seed))
            tell(f"alpha {alpha:g}, seed {seed}: {entries[-1]['rules']}")
    write_json(args.out, {"faces": args.faces, "half": "tune", "entries": entries, **stamp()})


if __name__ == "__main__":
    sys.exit(main())
