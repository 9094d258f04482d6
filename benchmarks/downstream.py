"""What cleaned labels are worth: the same small classifier trained on given, cleaned and true labels.

    python benchmarks/downstream.py --data ../shared/ferplus --noise human clean --methods hypergraph --peers cleanlab

A quarter of the groups is held back. Tools see the other faces alone; a network with one hidden layer on all views side
by side is trained on each version of their labels and judged on the held-back faces with a clear truth. A tool's labels
are used in every way that it offers:

    drop      flagged faces left out
    relabel   its label for every face, hard
    weight    the given label, times its sample weight
    soft      its distribution, times its sample weight where it gives one

"truth" trains on the majority of votes. Gap closed is (tool - given) / (truth - given), where truth is the better.
Noise "clean" gives the true labels of the judged faces to every tool: what is lost there is harm. Five seeds start and
shuffle the network; the held-back faces are the same in all. Writes results/downstream-SET-NOISE.json and
results/downstream.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from beds import Bed, open_bed
from case import Shared, question, relabeled
from peers import PEERS, Verdict
from peers.base import K
from quality import RESULTS, judge, run_method
from stamp import measured, stamp, write_json, write_text

from fercleaner.errors import FercleanerError
from fercleaner.methods import available, build
from fercleaner.metrics import accuracy, calibration_error, mean_recall
from fercleaner.noise import NoiseSpec, parse
from fercleaner.pipeline import DEFAULT_K, LANDMARKS
from fercleaner.types import Bools, Doubles, Floats, Ints
from fercleaner.views import join, whiten

#: One group in this many is held back.
HELD_BACK = 4
#: The classifier: hidden units, dropout, Adam's step and decay, faces a batch, epochs.
HIDDEN, DROPOUT, RATE, DECAY, BATCH, EPOCHS = 128, 0.3, 2e-3, 1e-3, 256, 8
#: Steps at least, on small sets.
LEAST_STEPS = 400
CLEAN = "clean"


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels to train on: distributions (N, C) and weights (N,), 0 where a face is left out."""

    distribution: Doubles
    weight: Doubles


def held_back(bed: Bed) -> Bools:
    """Which faces are held back, (N,) bool: whole groups, by a hash of their name."""
    ids, groups = bed.samples.ids, bed.samples.group
    names = ids if groups is None else np.where(groups == "", ids, groups)
    digests = [hashlib.blake2b(f"held back:{name}".encode(), digest_size=8).digest() for name in names]
    return np.array([int.from_bytes(digest, "big") % HELD_BACK == 0 for digest in digests])


def classifier_inputs(bed: Bed) -> Floats:
    """Return all views side by side as the neighbor tables see them, (N, D) float32; no label takes part."""
    from fercleaner.landmarks.geometry import descriptor

    views = {view.view: whiten(view) for view in bed.views}
    if bed.landmarks is not None:
        views[LANDMARKS] = descriptor(bed.landmarks)
    return join(views).values if len(views) > 1 else next(iter(views.values())).values


def ways(verdict: Verdict, given: Ints, n_classes: int) -> dict[str, Targets]:
    """Return the ways in which a verdict can be trained on."""
    one_hot, ones = np.eye(n_classes), np.ones(len(given))
    answer: dict[str, Targets] = {}
    if verdict.flagged is not None:
        answer["drop"] = Targets(one_hot[given], (~verdict.flagged).astype(np.float64))
    if verdict.label is not None:
        answer["relabel"] = Targets(one_hot[verdict.label], ones)
    if verdict.weight is not None:
        answer["weight"] = Targets(one_hot[given], verdict.weight)
    if verdict.distribution is not None:
        answer["soft"] = Targets(verdict.distribution, ones if verdict.weight is None else verdict.weight)
    return answer


def train(inputs: Floats, targets: Targets, asked: Floats, seed: int) -> Doubles:
    """Train the classifier on `inputs` (N, D) and return its class probabilities for `asked` (M, D), (M, C)."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    rows = np.flatnonzero(targets.weight > 0)
    # weights of mean 1, so that the step does not hang on how they are scaled
    weight = torch.from_numpy((targets.weight[rows] / targets.weight[rows].mean()).astype(np.float32))
    x = torch.from_numpy(inputs[rows])
    y = torch.from_numpy(targets.distribution[rows].astype(np.float32))
    scale = float(np.sqrt(inputs.shape[1]))
    network = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], HIDDEN),
        torch.nn.ReLU(),
        torch.nn.Dropout(DROPOUT),
        torch.nn.Linear(HIDDEN, y.shape[1]),
    )
    # as many steps whatever is left out, so that dropping faces is not also training less
    steps = max(LEAST_STEPS, EPOCHS * -(-len(inputs) // BATCH))
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    while schedule.last_epoch < steps:
        order = torch.randperm(len(rows), generator=generator)
        for batch in torch.split(order, BATCH)[: steps - schedule.last_epoch]:
            losses = torch.nn.functional.cross_entropy(network(x[batch] * scale), y[batch], reduction="none")
            optimizer.zero_grad()
            (losses * weight[batch]).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        probability: Doubles = torch.softmax(network(torch.from_numpy(asked) * scale), 1).double().numpy()
    return probability


def trained(inputs: Floats, targets: Targets, asked: Floats, label: Ints, seeds: Sequence[int]) -> dict[str, Any]:
    """Return mean and spread over seeds of accuracy, mean recall and calibration error on `asked`."""
    runs = []
    for seed in seeds:
        probability = train(inputs, targets, asked, seed)
        guess = probability.argmax(1)
        runs.append(
            {
                "accuracy": accuracy(guess, label),
                "mean_recall": mean_recall(guess, label, probability.shape[1]),
                "calibration_error": calibration_error(np.minimum(probability.max(1), 1.0), guess == label),
            }
        )
    table = {key: np.array([run[key] for run in runs]) for key in runs[0]}
    return {
        key: {
            "mean": float(values.mean()),
            "spread": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
            "runs": values.tolist(),
        }
        for key, values in table.items()
    }


def one_noise(
    bed: Bed, spec: NoiseSpec | None, args: argparse.Namespace, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Return the figures of every version of the labels under one noise; None is clean labels."""
    inputs = classifier_inputs(bed)
    aside = held_back(bed)
    clear = bed.judged(args.min_votes)
    as_given = spec is not None and spec.kind == "human" and spec.rate is None
    rows = np.flatnonzero(~aside & (clear if not as_given else True))
    test = np.flatnonzero(aside & clear)
    part = bed.subset(rows)
    k = max([K, DEFAULT_K, *(int(getattr(build(name), "k", 0)) for name in args.methods)])
    shared = Shared.of(part, min(k, len(rows) - 1), args.device)
    if spec is None:
        samples = part.samples.replacing(given=np.eye(len(part.samples.classes), dtype=np.float32)[part.label])
    else:
        samples = relabeled(part, spec, 0, shared.vectors)
    asked = question(shared, samples, 0, args.device)
    given, c = samples.label, len(samples.classes)
    true = np.maximum(part.label, 0)
    versions = {
        "given": Targets(np.eye(c)[given], np.ones(len(given))),
        "truth": Targets(np.eye(c)[true], (part.label >= 0).astype(np.float64)),
    }
    owners = {"given": "", "truth": ""}
    tools: list[tuple[str, bool, Callable[[], Any]]] = [
        *((name, True, partial(run_method, build(name), asked, 0)) for name in args.methods),
        *((name, False, partial(PEERS[name], asked.case)) for name in args.peers),
    ]
    skipped = {}
    for name, own, work in tools:
        verdicts, reason = judge(name, work)
        if reason:
            skipped[name] = reason
        for key, (verdict, _) in verdicts.items():
            for way, targets in ways(verdict, given, c).items():
                versions[f"{key}, {way}"] = targets
                owners[f"{key}, {way}"] = "ours" if own else "peer"
    figures = {}
    for name, targets in versions.items():
        figures[name] = {
            "owner": owners[name],
            "faces": int((targets.weight > 0).sum()),
            **trained(inputs[rows], targets, inputs[test], bed.label[test], args.seeds),
        }
        tell(f"  {name}: accuracy {figures[name]['accuracy']['mean']:.4f}")
    set_gaps(figures)
    return {
        "bed": bed.name,
        "noise": CLEAN if spec is None else str(spec),
        "trained_on": len(rows),
        "held_back": len(test),
        "noise_rate": float((given != part.label)[part.judged(args.min_votes)].mean()),
        "seeds": list(args.seeds),
        "classifier": {"hidden": HIDDEN, "dropout": DROPOUT, "rate": RATE, "decay": DECAY, "epochs": EPOCHS},
        "skipped": skipped,
        "figures": figures,
    }


def set_gaps(figures: dict[str, Any]) -> None:
    """Put into every version's figures the share of given-to-truth that it closes; None where truth is not better."""
    for key in ("accuracy", "mean_recall"):
        floor, ceiling = figures["given"][key]["mean"], figures["truth"][key]["mean"]
        for row in figures.values():
            row[key]["gap_closed"] = (row[key]["mean"] - floor) / (ceiling - floor) if ceiling > floor else None


def page(contents: list[dict[str, Any]]) -> str:
    """Return the tables as Markdown."""
    parts = ["# What cleaned labels are worth to a classifier\n", "Written by `benchmarks/downstream.py`.\n"]
    for content in contents:
        parts.append(
            f"## {content['bed']}, {content['noise']}: trained on {content['trained_on']:,} faces, judged on "
            f"{content['held_back']:,} held back\n\nNoise rate {content['noise_rate']:.3f}; seeds "
            f"{', '.join(map(str, content['seeds']))}; {content['date'][:10]}, commit {content['commit'][:12]}. ± is "
            "the standard deviation over the classifier's seeds.\n\n"
            "| labels | accuracy | gap closed | mean recall | gap closed | calibration error | faces used |\n"
            "|---|---|---|---|---|---|---|"
        )
        rows = content["figures"]
        for name in sorted(rows, key=lambda name: -rows[name]["accuracy"]["mean"]):
            row = rows[name]
            cells = [f"`{name}`" if row["owner"] == "ours" else f"*{name}*" if not row["owner"] else name]
            for key in ("accuracy", "mean_recall"):
                gap = row[key]["gap_closed"]
                cells += [f"{row[key]['mean']:.4f} ± {row[key]['spread']:.4f}", "" if gap is None else f"{gap:.0%}"]
            error = row["calibration_error"]
            cells += [f"{error['mean']:.3f}", f"{row['faces']:,}"]
            parts.append(f"| {' | '.join(cells)} |")
        parts += [f"\n{name} was skipped: {reason}" for name, reason in content["skipped"].items()] + [""]
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    methods = list(available())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a FERPlus folder, digits, demo, or FILE.py:FUNCTION")
    parser.add_argument("--noise", nargs="+", default=["human", CLEAN], help="human, KIND:RATE, or clean")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--methods", nargs="*", default=methods, choices=methods, metavar="NAME")
    parser.add_argument("--peers", nargs="*", default=["SimiFeat", "cleanlab"], choices=list(PEERS), metavar="NAME")
    parser.add_argument("--limit", type=int, help="faces at most, always the same ones")
    parser.add_argument("--min-votes", type=float, default=6.0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)

    def tell(sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)

    try:
        bed = open_bed(args.data).sample(args.limit)
        for text in args.noise:
            spec = None if text == CLEAN else parse(text)
            tell(f"{bed.name}, {text}:")
            with measured() as cost:
                content = one_noise(bed, spec, args, tell)
            file = args.results / f"downstream-{bed.name}-{content['noise'].replace(':', '-')}.json"
            write_json(file, content | {"total": asdict(cost), **stamp()})
            tell(f"Wrote {file}.")
        files = sorted(args.results.glob("downstream-*.json"))
        write_text(args.results / "downstream.md", page([json.loads(f.read_text(encoding="utf-8")) for f in files]))
        tell(f"Wrote {args.results / 'downstream.md'}.")
    except FercleanerError as error:
        tell(f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
