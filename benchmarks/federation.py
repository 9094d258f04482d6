"""What sites that may not share faces gain from each other, and how far that is from all faces in one place.

    python benchmarks/federation.py --data ../shared/ferplus --faces 6000 --alphas 0.1 0.5 10 --seeds 0 1 2

Clear faces are dealt to ten sites, groups whole: sizes from 1 to 20, class mixes drawn from a Dirichlet distribution
of alpha times the frequencies. Sites have unlike noise, in turn: labels as given, symmetric .3, .2 turned to the next
class, correct. Judged at each site by its own labels' errors: average precision of quality, accuracy of refined labels.

- alone            `consensus` on the site's faces
- together         the same, with the shared head (`fercleaner federate`; AMY-style)
- secure           the same as together, steps added under masks (`--secure`)
- fedavg           one head by averaging on given labels, which never saw the site's part: its posteriors
- fedrep           these posteriors' scores shared, a head of the site's own on them, out of fold
- one place        `consensus` on all faces, with the sites' names

`--half tune` takes one half of the groups, on which constants were chosen, `--half report` the other. `--lies` adds
runs in which one site shuffles its classes or scales its steps; with `--secure`, under masks too. Writes
results/federation.json; `--cost` writes results/federation-cost.json beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from beds import Bed, open_bed
from stamp import command, stamp, tell, write_json

from fercleaner.core.arrays import Doubles, Ints
from fercleaner.core.errors import InputError
from fercleaner.core.groups import fold_numbers, group_numbers
from fercleaner.core.numeric import normalized
from fercleaner.evaluation.metrics import average_precision
from fercleaner.federation import rounds
from fercleaner.federation.heads import LEAST_SCORE, Step, class_columns, posteriors
from fercleaner.federation.participant import FOLDS, Participant
from fercleaner.federation.rounds import Update
from fercleaner.federation.simulate import Federated, federate, finish, participants
from fercleaner.federation.terms import Conditions, Settings
from fercleaner.methods import build
from fercleaner.noise.injection import parse
from fercleaner.pipeline.inputs import Callbacks, Resources, Sources
from fercleaner.pipeline.refine import gather, run

SITES, LARGEST, MIN_VOTES = 10, 20.0, 6.0
NOISES = ("as given", "symmetric:0.3", "pairs", "correct")
PAIRS = 0.2
RULES = ("alone", "together", "secure", "fedavg", "fedrep", "one place")
LIES = ("honest", "scaled", "shuffled")
#: Ridge of FedRep's own heads, as a share of the trace.
OWN_RIDGE = 0.01
QUIET = Callbacks(note=lambda sentence: None)


def dealt(label: Ints, group: Ints, alpha: float, faces: int, rng: np.random.Generator) -> Ints:
    """Return the site of each face, -1 for faces that are not used, groups whole."""
    frequency = np.bincount(label) / len(label)
    left = rng.permutation(np.geomspace(1, LARGEST, SITES))
    left *= faces / left.sum()
    mix = rng.dirichlet(np.maximum(alpha * len(frequency) * frequency, 1e-3), size=SITES)
    site = np.full(len(label), -1)
    names, inverse = np.unique(group, return_inverse=True)
    rows_of = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])
    for number in rng.permutation(len(names)):
        rows = rows_of[number]
        weight = np.maximum(left, 0) * mix[:, label[rows[0]]]
        if weight.sum() > 0:
            chosen = rng.choice(SITES, p=weight / weight.sum())
            site[rows], left[chosen] = chosen, left[chosen] - len(rows)
    return site


def noisy(bed: Bed, site: Ints, seed: int) -> Ints:
    """Return given labels: each site's with noise of its own."""
    given, classes = bed.samples.label.copy(), bed.samples.classes
    for number in range(SITES):
        rows, rng = np.flatnonzero(site == number), np.random.default_rng([seed, number])
        kind, truth = NOISES[number % len(NOISES)], bed.label[rows]
        if kind == "correct":
            given[rows] = truth
        elif kind == "pairs":
            given[rows] = np.where(rng.random(len(rows)) < PAIRS, (truth + 1) % len(classes), truth)
        elif kind != "as given":
            given[rows] = parse(kind).apply(truth, classes, rng).labels
    return given


def judged(quality: Doubles, label: Ints, given: Ints, truth: Ints) -> dict[str, float]:
    """Return average precision (NaN where no label is wrong), accuracy and the share of changed labels."""
    wrong = given != truth
    area = average_precision(-quality.astype(np.float64), wrong) if wrong.any() else float("nan")
    return {"ap": area, "accuracy": float((label == truth).mean()), "changed": float((label != given).mean())}


def averaged_heads(sites: Sequence[Participant], done: Federated) -> dict[str, Doubles]:
    """Return FedAvg's scores of each site's faces: the same rounds on given labels, by heads of other parts."""
    designs = {site.name: site._design for site in sites}
    steps = {}
    for site in sites:
        order = class_columns(site.samples.classes, done.terms)
        given, weight = site.samples.given.astype(np.float64)[:, order], site.samples.labeled.astype(np.float64)
        if site.gives:
            steps[site.name] = Step(designs[site.name], given, weight, done.terms)
    heads = rounds.start(done.terms)
    for _ in range(done.terms.rounds):
        came = []
        for name, step in steps.items():
            part = done.parts[name]
            came.append(Update(name, part, step.faces, step.send(rounds.others(heads, part))))
        heads = rounds.averaged(heads, came, done.terms)
    result = {}
    for site in sites:
        said = posteriors(designs[site.name], site.found, heads[done.parts[site.name]]).astype(np.float64)
        values = np.zeros_like(said)
        values[:, class_columns(site.samples.classes, done.terms)] = said
        result[site.name] = values
    return result


def own_head(said: Doubles, site: Participant) -> Doubles:
    """Return FedRep's posteriors: a ridge head of the site's own on the shared scores, out of fold."""
    samples = site.samples
    fold = fold_numbers(samples.ids, samples.group, FOLDS, 0)
    x = np.concatenate([said, np.ones((len(said), 1))], axis=1)
    y, result = samples.given.astype(np.float64), np.zeros_like(said)
    for number in range(int(fold.max()) + 1):
        rows = samples.labeled & (fold != number)
        gram = x[rows].T @ x[rows]
        ridge = OWN_RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
        result[fold == number] = x[fold == number] @ np.linalg.solve(gram + ridge, x[rows].T @ y[rows])
    return normalized(np.maximum(result, 0.0) + LEAST_SCORE)


def measured(bed: Bed, alpha: float, faces: int, seed: int, settings: Settings) -> tuple[dict[str, Any], list[Any]]:
    """Return the figures of one deal by rule and site, and the sites for further runs."""
    group = group_numbers(bed.samples.ids, bed.samples.group)
    site = dealt(bed.label, group, alpha, faces, np.random.default_rng([seed, 1]))
    used = np.flatnonzero(site >= 0)
    bed, site = bed.subset(used), site[used]
    given = noisy(bed, site, seed)
    names = np.array([f"site {number}" for number in range(SITES)])
    samples = bed.samples.replacing(given=np.eye(len(bed.samples.classes), dtype=np.float32)[given], site=names[site])
    method, resources = build("consensus", {}), Resources(find_groups=False)
    sites = participants(samples, method, Sources(views=bed.views), resources, QUIET)
    alone = {here.name: here.alone() for here in sites}
    before = time.process_time()
    done = federate(sites, settings)
    seconds = time.process_time() - before
    refined = finish(sites, done, QUIET)
    average = averaged_heads(sites, done)
    whole = run(method, gather(samples, method, Sources(views=bed.views), resources, QUIET), 0)
    entries = []
    for number, here in enumerate(sites):
        rows = np.flatnonzero(site == number)
        told, truth, own = given[rows], bed.label[rows], np.arange(len(rows))
        fedavg, fedrep = average[here.name], own_head(average[here.name], here)
        rules = {
            "alone": (alone[here.name].quality, alone[here.name].label),
            "together": (refined[here.name].quality, refined[here.name].label),
            "fedavg": (fedavg[own, told], fedavg.argmax(1)),
            "fedrep": (fedrep[own, told], fedrep.argmax(1)),
            "one place": (whole.quality[rows], whole.label[rows]),
        }
        entry = {"site": here.name, "faces": len(rows), "noise": NOISES[number % len(NOISES)]}
        entry |= {name: refined[here.name].metadata["federation"][name] for name in ("share", "share_of_head")}
        entry |= {"sent": done.sent[here.name], "received": done.received[here.name]}
        entries.append(entry | {name: judged(q, label, told, truth) for name, (q, label) in rules.items()})
    context = [bed, site, given, sites]
    return {"alpha": alpha, "seed": seed, "sites": entries, "rounds_cpu_seconds": seconds} | summary(entries), context


def summary(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return means over sites, the share of the way from alone to one place, and gains."""
    rules = [rule for rule in RULES if rule in entries[0]]
    area = {rule: np.array([entry[rule]["ap"] for entry in entries]) for rule in rules}
    mean = {rule: float(np.nanmean(area[rule])) for rule in rules}
    accuracy = {rule: float(np.mean([entry[rule]["accuracy"] for entry in entries])) for rule in rules}
    gain = area["together"] - area["alone"]
    correct = [e["together"]["changed"] - e["alone"]["changed"] for e in entries if e["noise"] == "correct"]
    return {
        "mean_ap": mean,
        "mean_accuracy": accuracy,
        "way": (mean["together"] - mean["alone"]) / (mean["one place"] - mean["alone"]),
        "gain_of_worst_site": float(gain[np.nanargmin(area["alone"])]),
        "least_gain": float(np.nanmin(gain)),
        "correct_changed_more": float(max(correct)),
    }


def lied(context: list[Any], settings: Settings, how: str) -> dict[str, Any]:
    """Return mean average precision of the honest sites where the third largest site lies."""
    bed, site, given, sites = context
    liar = sorted(sites, key=lambda here: here.faces)[-3].name

    def tamper(update: Update, number: int) -> Update | None:
        if update.site != liar:
            return update
        if how == "honest":
            return update
        if how == "scaled":
            return replace(update, steps=update.steps * np.float32(-1e3), faces=10**7)
        return replace(update, steps=np.roll(update.steps, 1, axis=2))

    done = federate(sites, settings, tamper=tamper)
    refined = finish(sites, done, QUIET)
    areas = []
    for number, here in enumerate(sites):
        rows = np.flatnonzero(site == number)
        if here.name != liar:
            answer = refined[here.name]
            areas.append(judged(answer.quality, answer.label, given[rows], bed.label[rows])["ap"])
    return {"liar": liar, "how": how, "honest_ap": float(np.nanmean(areas)), "areas": areas}


def secured(context: list[Any], settings: Settings) -> list[dict[str, float]]:
    """Return the figures of each site where steps are added under masks, in the order of the sites."""
    bed, site, given, sites = context
    done = federate(sites, settings)
    refined, figures = finish(sites, done, QUIET), []
    for number, here in enumerate(sites):
        rows, answer = np.flatnonzero(site == number), refined[here.name]
        figures.append(judged(answer.quality, answer.label, given[rows], bed.label[rows]))
    return figures


def cost_of(bed: Bed, settings: Settings) -> dict[str, float]:
    """Return what a federation of all faces takes, dealt to ten sites of one size: processor seconds and bytes."""
    group = group_numbers(bed.samples.ids, bed.samples.group)
    names = np.array([f"site {number}" for number in range(SITES)])
    samples, started = bed.samples.replacing(site=names[group % SITES]), time.process_time()
    method = build("consensus", {})
    sites = participants(samples, method, Sources(views=bed.views), Resources(find_groups=False), QUIET)
    gathered = time.process_time()
    for here in sites:
        here.alone()
    alone = time.process_time()
    done = federate(sites, settings)
    joined = time.process_time()
    finish(sites, done, QUIET)
    return {
        "faces": len(samples),
        "views_and_neighbors": gathered - started,
        "each_site_alone": alone - gathered,
        "rounds": joined - alone,
        "each_site_with_the_others": time.process_time() - joined,
        "sent_and_received": max(done.sent[name] + done.received[name] for name in done.sent),
    }


def half_of(bed: Bed, half: str) -> Bed:
    """Return the faces with a clear truth of the groups on which is chosen ("tune"), of the others, or "all"."""
    rows = np.flatnonzero(bed.judged(MIN_VOTES))
    if half != "all":
        side = group_numbers(bed.samples.ids, bed.samples.group)[rows] % 2
        rows = rows[side == (0 if half == "tune" else 1)]
    return bed.subset(rows)


@command
def main(arguments: Sequence[str] | None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a FERPlus folder, digits, demo, or FILE.py:FUNCTION")
    parser.add_argument("--faces", type=int, default=6000)
    parser.add_argument("--alphas", nargs="+", type=float, default=[0.1, 0.5, 10.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--half", choices=("tune", "report", "all"), default="report")
    parser.add_argument("--rounds", type=int, default=Settings().rounds)
    parser.add_argument("--lies", action="store_true")
    parser.add_argument("--secure", action="store_true", help="add what sites gain under secure aggregation")
    parser.add_argument("--cost", action="store_true", help="measure what all faces take, and nothing else")
    parser.add_argument("--keep", action="store_true", help="keep the other deals of an earlier run in the file")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "federation.json")
    args = parser.parse_args(arguments)
    bed = open_bed(args.data)
    if args.cost:
        write_json(
            args.out.with_name("federation-cost.json"),
            {"rounds": args.rounds, "cost": cost_of(bed, Settings(rounds=args.rounds)), **stamp()},
        )
        return
    bed, settings, entries = half_of(bed, args.half), Settings(rounds=args.rounds), list[dict[str, Any]]()
    if args.keep and args.out.exists():
        held = json.loads(args.out.read_text(encoding="utf-8"))
        if (held["faces"], held["half"]) != (args.faces, args.half):
            raise InputError(f"{args.out} was measured on other faces. Leave --keep out.")
        again = {(alpha, seed) for alpha in args.alphas for seed in args.seeds}
        entries = [entry for entry in held["entries"] if (entry["alpha"], entry["seed"]) not in again]
    for seed in args.seeds:
        for alpha in args.alphas:
            entry, context = measured(bed, alpha, args.faces, seed, settings)
            if args.lies:
                entry["lies"] = [lied(context, settings, how) for how in LIES]
            if args.secure:
                masked = replace(settings, aggregate="secure")
                for here in context[-1]:
                    here.conditions = Conditions(aggregate=masked.aggregate)
                for one, figures in zip(entry["sites"], secured(context, masked), strict=True):
                    one["secure"] = figures
                entry |= summary(entry["sites"])
                if args.lies:
                    entry["secure_lies"] = [lied(context, masked, how) for how in LIES]
            entries.append(entry)
            entries.sort(key=lambda one: (one["seed"], one["alpha"]))
            tell(
                f"alpha {alpha:g}, seed {seed}: "
                + ", ".join(f"{rule} {area:.3f}" for rule, area in entry["mean_ap"].items())
                + f"; way {entry['way']:.2f}, worst site {entry['gain_of_worst_site']:+.3f}, least gain "
                f"{entry['least_gain']:+.3f}, correct changed {entry['correct_changed_more']:+.3f}"
            )
            terms = {"rounds": settings.rounds, "columns": settings.columns}
            write_json(args.out, {"faces": args.faces, "half": args.half, **terms, "entries": entries, **stamp()})


if __name__ == "__main__":
    sys.exit(main())
