"""What cleaned labels are worth: the same small classifier trained on given, cleaned and true labels.

    python benchmarks/downstream.py --data ../shared/ferplus --noise human clean --methods hypergraph --peers cleanlab
    python benchmarks/downstream.py --data ../shared/ferplus --noise human --classifier cnn --seeds 0 1 --ways soft

A quarter of the groups is held back. Tools see the other faces alone; a classifier is trained on each version of their
labels and judged on the held-back faces with a clear truth. It is a network with one hidden layer on all views side by
side ("head"), or a small CNN trained on the pictures from random weights ("cnn", see cnn.py). A tool's labels are used
in every way that it offers:

    drop      flagged faces left out
    relabel   its label for every face, hard
    weight    the given label, times its sample weight
    soft      its distribution, times its sample weight where it gives one

"truth" trains on the majority of votes. Gap closed is (tool - given) / (truth - given) over the same seeds, where truth
is the better. Noise "clean" gives the true labels of the judged faces to every tool: what is lost there is harm. Seeds
start and shuffle the classifier; the held-back faces are the same in all.

Writes results/downstream-SET-NOISE.json (downstream-SET-NOISE-cnn.json) after every training, then
results/downstream.md. A run that was stopped goes on: trainings that the file holds are kept where the labels they were
trained on are those that the tool gives now, and so are those of tools that are not run now.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cnn
import head
import numpy as np
from beds import Bed, open_bed
from case import Shared, question, relabeled
from peers import PEERS
from peers.base import K
from quality import RESULTS, judge, run_method
from scoring import measures
from stamp import as_written, command, measured, stamp, tell, write_json, write_text
from targets import WAYS, Targets, fingerprint, ways

from fercleaner.core.arrays import Bools, Doubles, Ints
from fercleaner.core.errors import InputError
from fercleaner.methods import available, build
from fercleaner.noise.injection import NoiseSpec, parse
from fercleaner.pipeline.refine import DEFAULT_K

#: One group in this many is held back.
HELD_BACK = 4
CLEAN = "clean"
#: Classifiers by name, in the words of the page.
CLASSIFIERS = {"head": "one hidden layer on the views", "cnn": "small CNN from pixels"}


def held_back(bed: Bed) -> Bools:
    """Which faces are held back, (N,) bool: whole groups, by a hash of their name."""
    ids, groups = bed.samples.ids, bed.samples.group
    names = ids if groups is None else np.where(groups == "", ids, groups)
    digests = [hashlib.blake2b(f"held back:{name}".encode(), digest_size=8).digest() for name in names]
    return np.array([int.from_bytes(digest, "big") % HELD_BACK == 0 for digest in digests])


@dataclass(frozen=True, eq=False)
class Exam:
    """One noise on a set, with everything a classifier is trained on and judged by.

    Parameters
    ----------
    content : dict
        What the results file says of the exam.
    versions : dict of str to (tool, owner, Targets)
        Owner is "ours", "peer", or "" for the given and the true labels.
    fit : callable
        (targets, seed) -> class probabilities of the held-back faces, (M, C).
    label : (M,) int64
        True class of the held-back faces.
    """

    content: dict[str, Any]
    versions: dict[str, tuple[str, str, Targets]]
    fit: Callable[[Targets, int], Doubles]
    label: Ints


def prepared(bed: Bed, spec: NoiseSpec | None, args: argparse.Namespace, tell: Callable[[str], None]) -> Exam:
    """Put a noise on the faces that are not held back and let every tool judge them; None is clean labels."""
    aside = held_back(bed)
    clear = bed.judged(args.min_votes)
    as_given = spec is not None and spec.kind == "human" and spec.rate is None
    rows = np.flatnonzero(~aside & (clear if not as_given else True))
    test = np.flatnonzero(aside & clear)
    part = bed.subset(rows)
    settings, fit = classifier(bed, rows, test, args)  # before tools are run: it may refuse
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
        "given": ("given", "", Targets(np.eye(c)[given], np.ones(len(given)))),
        "truth": ("truth", "", Targets(np.eye(c)[true], (part.label >= 0).astype(np.float64))),
    }
    tools: list[tuple[str, str, Callable[[], Any]]] = [
        *((name, "ours", partial(run_method, build(name), asked, 0)) for name in args.methods),
        *((name, "peer", partial(PEERS[name], asked.case)) for name in args.peers),
    ]
    skipped = {}
    for name, owner, work in tools:
        verdicts, reason = judge(name, work)
        if reason:
            skipped[name] = reason
            tell(f"  {name}: skipped, {reason}")
        for key, (verdict, _) in verdicts.items():
            for way, targets in ways(verdict, given, c).items():
                versions[f"{key}, {way}"] = (name, owner, targets)
    content = {
        "bed": bed.name,
        "noise": CLEAN if spec is None else str(spec),
        "trained_on": len(rows),
        "held_back": len(test),
        "noise_rate": float((given != part.label)[part.judged(args.min_votes)].mean()),
        "exam": fingerprint(part.samples.ids, given, part.label, bed.samples.ids[test], bed.label[test]),
        "classifier": settings,
        "skipped": skipped,
    }
    return Exam(content, versions, fit, bed.label[test])


def classifier(
    bed: Bed, rows: Ints, test: Ints, args: argparse.Namespace
) -> tuple[dict[str, Any], Callable[[Targets, int], Doubles]]:
    """Return what the classifier's training hangs on, and the training itself."""
    if args.classifier == "head":
        inputs = head.classifier_inputs(bed)
        x, asked = inputs[rows], inputs[test]
        return {"kind": "head"} | head.settings(), lambda targets, seed: head.train(x, targets, asked, seed)
    pictures = cnn.read_pictures(Path(args.data), bed.samples.ids, bed.samples.paths)
    faces, others = pictures[rows], pictures[test]
    bfloat16, epochs = not args.float32, args.epochs or cnn.EPOCHS

    def fit(targets: Targets, seed: int) -> Doubles:
        return cnn.train(
            faces,
            targets.distribution,
            targets.weight,
            others,
            seed,
            device=args.device,
            bfloat16=bfloat16,
            epochs=epochs,
        )

    return {"kind": "cnn"} | cnn.settings(bfloat16, epochs), fit


def earlier_runs(file: Path, exam: Exam, fresh: bool) -> list[dict[str, Any]]:
    """Return the trainings that a results file holds and that still stand.

    Those of a tool that was run now stand where it gives the same labels; those of other tools stand.

    Raises
    ------
    InputError
        The file was measured on other faces or labels, or with another classifier.
    """
    if fresh or not file.is_file():
        return []
    old = json.loads(file.read_text(encoding="utf-8"))
    words = {"exam": "other faces or given labels", "classifier": "other settings of the classifier"}
    differs = [text for key, text in words.items() if old.get(key) != as_written(exam.content[key])]
    if differs and old.get("runs", True):  # a file that was stopped before its first training holds nothing
        raise InputError(
            f"{file} was measured with {' and '.join(differs)}. Replace it with --fresh, or write elsewhere with "
            "--results FOLDER."
        )
    now = {name: fingerprint(t.distribution, t.weight) for name, (_, _, t) in exam.versions.items()}
    ran = {tool for tool, _, _ in exam.versions.values()}
    return [run for run in old["runs"] if run["tool"] not in ran or now.get(run["version"], "") == run["labels"]]


def trained(exam: Exam, file: Path, args: argparse.Namespace, tell: Callable[[str], None]) -> None:
    """Train on every version of the labels under every seed, but for what the results file holds; keep it written."""
    runs = earlier_runs(file, exam, args.fresh)
    done = {(run["version"], run["seed"]) for run in runs}
    chosen = {
        name: version
        for name, version in exam.versions.items()
        if not version[1] or name.rpartition(", ")[2] in args.ways
    }
    origin = stamp()
    write_json(file, results(exam, runs) | origin)
    for seed in args.seeds:
        for name, (tool, owner, targets) in chosen.items():
            if (name, seed) in done:
                continue
            with measured() as cost:
                figures = measures(exam.fit(targets, seed), exam.label)
            runs.append(
                {
                    "version": name,
                    "tool": tool,
                    "owner": owner,
                    "seed": seed,
                    "labels": fingerprint(targets.distribution, targets.weight),
                    "faces": int((targets.weight > 0).sum()),
                    **figures,
                    "cpu_seconds": cost.cpu_seconds,
                    "seconds": cost.seconds,
                    "commit": origin["commit"],
                    "date": origin["date"],
                }
            )
            write_json(file, results(exam, runs) | origin)
            tell(f"  {name}, seed {seed}: accuracy {figures['accuracy']:.4f}, {cost.cpu_seconds:.0f} CPU s")


def results(exam: Exam, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the content of the results file: the exam, figures by version, and every training."""
    by_version: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        by_version.setdefault(run["version"], []).append(run)
    figures: dict[str, Any] = {}
    for name, mine in by_version.items():
        mine.sort(key=lambda run: run["seed"])
        figures[name] = {
            "owner": mine[0]["owner"],
            "faces": mine[0]["faces"],
            "seeds": [run["seed"] for run in mine],
        }
        for key in ("accuracy", "mean_recall", "calibration_error"):
            values = np.array([run[key] for run in mine])
            spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
            figures[name][key] = {"mean": float(values.mean()), "spread": spread, "runs": values.tolist()}
    set_gaps(figures)
    return exam.content | {
        "seeds": sorted({run["seed"] for run in runs}),
        "seconds": float(sum(run["seconds"] for run in runs)),
        "figures": figures,
        "runs": runs,
    }


def set_gaps(figures: dict[str, Any]) -> None:
    """Put into every version's figures the share of given-to-truth that it closes, over its own seeds.

    None where truth is not better, and where given or truth lack one of the seeds.
    """
    for key in ("accuracy", "mean_recall"):
        for row in figures.values():
            ends = [_mean(figures.get(name), key, row["seeds"]) for name in ("given", "truth")]
            floor, ceiling = ends
            gap = None
            if floor is not None and ceiling is not None and ceiling > floor:
                gap = (row[key]["mean"] - floor) / (ceiling - floor)
            row[key]["gap_closed"] = gap


def _mean(row: dict[str, Any] | None, key: str, seeds: Sequence[int]) -> float | None:
    """Return the mean of a figure over some seeds, or None where one of them is not there."""
    known = {} if row is None else dict(zip(row["seeds"], row[key]["runs"], strict=True))
    return float(np.mean([known[seed] for seed in seeds])) if set(seeds) <= set(known) else None


def page(contents: list[dict[str, Any]]) -> str:
    """Return the tables as Markdown."""
    parts = [
        "# What cleaned labels are worth to a classifier\n",
        "Written by `benchmarks/downstream.py`. ± is the standard deviation over the classifier's seeds; gap closed is "
        "(tool - given) / (truth - given).\n",
    ]
    for content in contents:
        most = max((len(row["accuracy"]["runs"]) for row in content["figures"].values()), default=0)
        kind = CLASSIFIERS[content["classifier"].get("kind", "head")]
        parts.append(
            f"## {content['bed']}, {content['noise']}, {kind}: trained on {content['trained_on']:,} faces, "
            f"judged on {content['held_back']:,} held back\n\n"
            f"Noise rate {content['noise_rate']:.3f}; seeds {', '.join(map(str, content['seeds']))}; "
            f"{content['date'][:10]}, commit {content['commit'][:12]}.\n\n"
            "| labels | accuracy | gap closed | mean recall | gap closed | calibration error | faces used |\n"
            "|---|---|---|---|---|---|---|"
        )
        rows = content["figures"]
        for name in sorted(rows, key=lambda name: -rows[name]["accuracy"]["mean"]):
            row = rows[name]
            cells = [f"`{name}`" if row["owner"] == "ours" else f"*{name}*" if not row["owner"] else name]
            if len(row["accuracy"]["runs"]) < most:
                cells[0] += f" ({len(row['accuracy']['runs'])} of {most} seeds)"
            for key in ("accuracy", "mean_recall"):
                gap = row[key]["gap_closed"]
                cells += [f"{row[key]['mean']:.4f} ± {row[key]['spread']:.4f}", "" if gap is None else f"{gap:.0%}"]
            error = row["calibration_error"]
            cells += [f"{error['mean']:.3f}", f"{row['faces']:,}"]
            parts.append(f"| {' | '.join(cells)} |")
        parts += [f"\n{name} was skipped: {reason}" for name, reason in content["skipped"].items()] + [""]
    return "\n".join(parts)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments."""
    methods = list(available())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a FERPlus folder, digits, demo, or FILE.py:FUNCTION")
    parser.add_argument("--noise", nargs="+", default=["human", CLEAN], help="human, KIND:RATE, or clean")
    parser.add_argument("--classifier", default="head", choices=list(CLASSIFIERS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--methods", nargs="*", default=methods, choices=methods, metavar="NAME")
    parser.add_argument("--peers", nargs="*", default=["SimiFeat", "cleanlab"], choices=list(PEERS), metavar="NAME")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--limit", type=int, help="faces at most, always the same ones")
    parser.add_argument("--min-votes", type=float, default=6.0)
    parser.add_argument("--epochs", type=int, help="of the CNN, if not its own")
    parser.add_argument("--float32", action="store_true", help="train the CNN without bfloat16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--fresh", action="store_true", help="drop what the results file holds")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


@command
def main(arguments: Sequence[str] | None) -> None:
    """Run the benchmark."""
    args = parsed(arguments)
    bed = open_bed(args.data).sample(args.limit)
    for text in args.noise:
        spec = None if text == CLEAN else parse(text)
        tell(f"{bed.name}, {text}, {args.classifier}:")
        exam = prepared(bed, spec, args, tell)
        ending = "" if args.classifier == "head" else f"-{args.classifier}"
        file = args.results / f"downstream-{bed.name}-{exam.content['noise'].replace(':', '-')}{ending}.json"
        trained(exam, file, args, tell)
        tell(f"Wrote {file}.")
    files = sorted(args.results.glob("downstream-*.json"))
    write_text(args.results / "downstream.md", page([json.loads(f.read_text(encoding="utf-8")) for f in files]))
    tell(f"Wrote {args.results / 'downstream.md'}.")


if __name__ == "__main__":
    sys.exit(main())
