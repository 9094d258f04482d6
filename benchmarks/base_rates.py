"""What is left of the lead of `consensus` where peers know the class priors of the wild, too.

    python benchmarks/base_rates.py --ferplus ../shared/ferplus

The faces, labels and figures are those of by_set.py's "FER2013, outside views". Out-of-fold posteriors of two probes, a
linear one and the kernel head of `consensus`, are multiplied by base rates over the labels' frequencies; both stand
alone ("x base rates"), and every peer that takes posteriors is given them in place of its own. A lead is the figure of
`consensus` less the peer's; its interval holds 95 % of draws of whole groups of faces, the same for both. "best_f1" is
that of the best threshold. Writes results/base_rates.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from beds import Bed, ferplus
from by_set import RATE, SEED, VOTES, figures, labels, outside_views
from case import Shared, question
from peers import PEERS, PeerUnavailable, Verdict
from peers.base import Case, K
from set_tools import by_consensus, group_draws, told_rates, verdict
from stamp import stamp, write_json

from fercleaner.classifiers.probe import PROBE
from fercleaner.core.arrays import Doubles, Ints
from fercleaner.evaluation.bootstrap import weighted_average_precision
from fercleaner.noise.class_priors import WILD, base_rates

#: Peers that take posteriors.
TAKERS = ("prediction differs", "Neural Relation Graph", "FiftyOne mistakenness", "cleanlab", "doubtlab")
LABELS = ("own", "people", f"symmetric:{RATE}", f"asymmetric:{RATE}")


def main() -> None:
    """Run all and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ferplus", type=Path, required=True)
    parser.add_argument("--half", choices=("choose", "report"), default="report")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "base_rates.json")
    options = parser.parse_args()
    bed, rows, skipped = outside_views(ferplus(options.ferplus), options.half), [], dict[str, str]()
    for kind in LABELS:
        part = bed if kind == "own" else bed.sample(None, VOTES)
        given = labels(part, kind)
        found = verdicts(part, given, skipped)
        ahead = leads(found, part, given)
        for tool, said in found.items():
            rows.append({"labels": kind, "tool": tool, **figures(said, part, given), **ahead[tool]})
            print(kind, tool, rows[-1]["average_precision"], rows[-1]["flag_f1"], rows[-1]["accuracy"], flush=True)
    what = {"half": options.half, "seed": SEED, "rate": RATE, "skipped": skipped, "rows": rows}
    write_json(options.out, {**stamp(), **what})


def verdicts(part: Bed, given: Ints, skipped: dict[str, str]) -> dict[str, Verdict]:
    """Return what `consensus` says, and each probe and peer that knows the base rates; name peers that cannot run."""
    samples = part.samples.replacing(given=np.eye(len(part.samples.classes), dtype=np.float32)[given])
    shared = Shared.of(part, min(K, len(samples) - 1), "cpu")
    answer, case = by_consensus(samples, shared, None, None, SEED), question(shared, samples, SEED, "cpu").case
    rates = base_rates(samples.classes, WILD)
    assert rates is not None
    found = {"consensus": verdict(answer)}
    for name, posterior in (("linear", case.posterior), ("kernel", answer.posteriors[PROBE].values)):
        informed = told_rates(posterior, case.prior, rates, given)
        found[f"{name} probe x base rates"] = informed
        assert informed.distribution is not None
        for peer, said in informed_peers(replace(case, posterior=informed.distribution), skipped):
            found[f"{peer}, {name} probe x base rates"] = said
    return found


def informed_peers(case: Case, skipped: dict[str, str]) -> Iterator[tuple[str, Verdict]]:
    """Yield what the peers that take posteriors say of a case."""
    for peer in TAKERS:
        try:
            said = PEERS[peer](case)
        except PeerUnavailable as reason:
            skipped[peer] = str(reason)
            continue
        # Datalab looks at vectors, not at posteriors.
        several = said if isinstance(said, dict) else {peer: said}
        yield from ((name, one) for name, one in several.items() if "features only" not in name)


def leads(found: Mapping[str, Verdict], bed: Bed, given: Ints) -> dict[str, dict[str, Any]]:
    """Return by how much `consensus` leads each tool in average precision and F1 of flags, 95 % of draws of groups."""
    judged = bed.judged(VOTES)
    wrong = (given != bed.label)[judged]
    group = bed.samples.ids if bed.samples.group is None else bed.samples.group
    weights = group_draws(np.unique(group[judged], return_inverse=True)[1], SEED)
    area = {tool: weighted_average_precision(said.suspicion[judged], wrong, weights) for tool, said in found.items()}
    share = {tool: weighted_f1(said.flagged[judged], wrong, weights) for tool, said in found.items()
             if said.flagged is not None}  # fmt: skip

    def lead(draws: Mapping[str, Doubles], tool: str) -> list[float] | None:
        if tool not in draws:
            return None
        return [round(float(x), 4) for x in np.quantile(draws["consensus"] - draws[tool], [0.025, 0.975])]

    return {
        tool: {
            "best_f1": best_f1(said.suspicion[judged], wrong),
            "lead_ap_95": lead(area, tool),
            "lead_f1_95": lead(share, tool),
        }
        for tool, said in found.items()
    }


def best_f1(suspicion: Doubles, wrong: Any) -> float:
    """Return the F1 of the most suspicious faces flagged, as many as serve best."""
    hits = wrong[np.argsort(-suspicion, kind="stable")].cumsum()
    return float((2 * hits / (np.arange(1, len(hits) + 1) + wrong.sum())).max())


def weighted_f1(flagged: Any, wrong: Any, weights: Doubles) -> Doubles:
    """Return the F1 of flags of each draw, (`weights` rows,)."""
    hits = weights @ (flagged & wrong)
    answer: Doubles = 2 * hits / np.maximum(weights @ flagged.astype(np.float64) + weights @ wrong, 1e-12)
    return answer


if __name__ == "__main__":
    main()
