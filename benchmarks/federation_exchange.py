"""Whether sites gain by sharing what they know of their noise, or class prototypes, beside the heads.

    python benchmarks/federation_exchange.py --data ../shared/ferplus --half tune --seeds 0

Deals as in federation.py. Variants of what a site does in the end, all with the same shared heads:

- together      as `fercleaner federate` beside the shared head alone: the site's own transition matrix, belief in
                labels its prior
- matrices      the prior is the mean of the other sites' transition matrices (C x C numbers a site)
- prototypes    scores of the head and of the classes' mean features over the other sites, each site's means weighed
                alike, class by class, from at least `LEAST` faces; added before they are read

Writes results/federation-exchange.json. What does not gain is left out of the product: this is the measurement.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from beds import open_bed
from federation import NOISES, QUIET, SITES, dealt, half_of, judged, noisy
from stamp import command, stamp, tell, write_json

from fercleaner.core.arrays import Doubles
from fercleaner.core.groups import fold_numbers, group_numbers
from fercleaner.core.numeric import normalized
from fercleaner.federation import reading
from fercleaner.federation.heads import LEAST_SCORE
from fercleaner.federation.participant import FOLDS, Participant
from fercleaner.federation.simulate import federate, participants
from fercleaner.federation.terms import Settings
from fercleaner.methods import build
from fercleaner.methods.hypergraph.hypergraph import quality_and_weight as quality_of
from fercleaner.noise.label_model import LabelModel, class_frequencies, explained
from fercleaner.pipeline.inputs import Resources, Sources

#: Faces of a class that a site must have before it shares the class's mean.
LEAST = 50
VARIANTS = ("together", "matrices", "prototypes")


def read_labels(
    said: Doubles, learned: Doubles, given: Doubles, known: Any, fold: Any, prior: Doubles
) -> tuple[Doubles, float, Doubles]:
    """Return what `reading.read_labels` does with another prior, and the last fold's transition matrix."""
    p = normalized(said**reading.SHARPENED / learned)
    labeled = known & (given.sum(1) > 0)
    result, expected, transition = np.zeros_like(p), np.zeros_like(p), normalized(prior)
    for b in range(int(fold.max()) + 1):
        others = labeled & (fold != b)
        transition, before = normalized(prior), reading.frequencies(given[others], learned)
        frequency = before
        for _ in range(reading.STEPS):
            read = LabelModel(transition, 1.0).posterior(normalized(p[others] * frequency), given[others])
            transition = normalized(read.T @ given[others] + reading.NOISE_FACES * prior)
            frequency = normalized(read.sum(0) + reading.SHARE_FACES * before)
        rows = known & (fold == b)
        here = normalized(p[rows] * frequency)
        result[rows], expected[rows] = LabelModel(transition, 1.0).posterior(here, given[rows]), here @ transition
    share = explained(expected[labeled], given[labeled], class_frequencies(given[labeled]))
    return result, min(share / reading.BORNE_OUT, 1.0), transition


def prototypes(sites: Sequence[Participant]) -> dict[str, Doubles]:
    """Return each site's scores by the other sites' class means of unit features; zero where no site has enough."""
    means = {}
    for site in sites:
        x = site._design[:, :-1] / np.maximum(np.linalg.norm(site._design[:, :-1], axis=1, keepdims=True), 1e-9)
        r = site.alone().distribution * (site.found & site.samples.labeled)[:, None]
        means[site.name] = np.where(r.sum(0)[:, None] >= LEAST, r.T @ x / np.maximum(r.sum(0)[:, None], 1e-9), np.nan)
    scores = {}
    for site in sites:
        others = np.stack([mean for name, mean in means.items() if name != site.name])
        center = np.nan_to_num(np.nanmean(np.where(np.isnan(others), np.nan, others), axis=0))
        raw = site._design[:, :-1] @ center.T
        low, high = raw.min(1, keepdims=True), raw.max(1, keepdims=True)
        scores[site.name] = normalized(np.maximum((raw - low) / np.maximum(high - low, 1e-9), 0) + LEAST_SCORE)
    return scores


def measured(bed: Any, alpha: float, faces: int, seed: int) -> dict[str, Any]:
    """Return the mean and each site's average precision and accuracy by variant."""
    group = group_numbers(bed.samples.ids, bed.samples.group)
    site = dealt(bed.label, group, alpha, faces, np.random.default_rng([seed, 1]))
    used = np.flatnonzero(site >= 0)
    bed, site = bed.subset(used), site[used]
    given, c = noisy(bed, site, seed), len(bed.samples.classes)
    names = np.array([f"site {number}" for number in range(SITES)])
    samples = bed.samples.replacing(given=np.eye(c, dtype=np.float32)[given], site=names[site])
    sources, resources = Sources(views=bed.views), Resources(find_groups=False)
    sites = participants(samples, build("consensus", {}), sources, resources, QUIET)
    done = federate(sites, Settings())
    belief = reading.RIGHT * np.eye(c) + (1 - reading.RIGHT) / c
    said = {one.name: one.shared(done.head_of(one.name)).values.astype(np.float64) for one in sites}
    fold = {one.name: fold_numbers(one.samples.ids, one.samples.group, FOLDS, 0) for one in sites}

    def read(one: Participant, scores: Doubles, prior: Doubles) -> tuple[Doubles, float, Doubles]:
        labels = one.samples.given.astype(np.float64)
        return read_labels(scores, one.learned(done.head_of(one.name)), labels, one.found, fold[one.name], prior)

    own = {one.name: read(one, said[one.name], belief) for one in sites}
    near = prototypes(sites)
    entries = []
    for number, one in enumerate(sites):
        rows = np.flatnonzero(site == number)
        prior = np.mean([own[name][2] for name in own if name != one.name], axis=0)
        answers = {
            "together": own[one.name],
            "matrices": read(one, said[one.name], prior),
            "prototypes": read(one, normalized(said[one.name] + near[one.name]), belief),
        }
        entry: dict[str, Any] = {"site": one.name, "faces": len(rows), "noise": NOISES[number % len(NOISES)]}
        for name, (others, borne_out, _) in answers.items():
            share = reading.share_of_others(one.faces) * borne_out
            refined = reading.together(one.alone().distribution.astype(np.float64), others, one.found, share)
            quality, _ = quality_of(one.samples, refined, one.found)
            entry[name] = judged(quality, refined.argmax(1), given[rows], bed.label[rows])
        entries.append(entry)
    mean = {name: float(np.nanmean([entry[name]["ap"] for entry in entries])) for name in VARIANTS}
    right = {name: float(np.mean([entry[name]["accuracy"] for entry in entries])) for name in VARIANTS}
    return {"alpha": alpha, "seed": seed, "sites": entries, "mean_ap": mean, "mean_accuracy": right}


@command
def main(arguments: Sequence[str] | None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a FERPlus folder, digits, demo, or FILE.py:FUNCTION")
    parser.add_argument("--faces", type=int, default=6000)
    parser.add_argument("--alphas", nargs="+", type=float, default=[0.1, 0.5])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--half", choices=("tune", "report"), default="report")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "federation-exchange.json")
    args = parser.parse_args(arguments)
    bed, entries = half_of(open_bed(args.data), args.half), list[dict[str, Any]]()
    for seed in args.seeds:
        for alpha in args.alphas:
            entries.append(measured(bed, alpha, args.faces, seed))
            tell(f"alpha {alpha:g}, seed {seed}: AP {entries[-1]['mean_ap']}, accuracy {entries[-1]['mean_accuracy']}")
            write_json(args.out, {"faces": args.faces, "half": args.half, "entries": entries, **stamp()})


if __name__ == "__main__":
    sys.exit(main())
