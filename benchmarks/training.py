"""What each paper's training is worth on FER2013's own label noise, beside plain training and refined labels.

    python benchmarks/training.py --data ../shared/ferplus
    python benchmarks/training.py --data ../shared/ferplus --faces 20000 --backbone torchvision:resnet18 --device cuda

Trains on a set's faces, clear or not, under FER2013's own labels ("given"), under what `consensus` made of these
labels ("refined": distributions and weights), or under the majority of the votes ("truth", plain training alone). Tests
on other faces, groups kept apart, whose annotators agree (top vote at least 6 of 10), by their votes. The method sees
no vote and not the test faces: its views are the set's outside ones. The builtin model is not used at all, and networks
start from random weights: it learned from these votes.

Every training has the same network, Adam, schedule, batch and epochs; the recipe and the labels differ. The papers'
settings that count epochs or steps are shortened as `SHORTER` says. The last epoch counts. A training that the results
file holds with the same settings is not run again. "soft" on given labels is plain cross-entropy.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cnn
import numpy as np
from beds import Bed, open_bed
from stamp import as_written, command, measured, stamp, tell, write_json

from fercleaner import methods, training
from fercleaner.core.groups import group_numbers
from fercleaner.core.refined import RefinedSet
from fercleaner.extraction.images import ArrayImages
from fercleaner.pipeline.inputs import Callbacks, Resources, Sources
from fercleaner.pipeline.refine import refine
from fercleaner.results import parquet

RESULTS = Path(__file__).parent / "results" / "training.json"
#: Faces to test on at most, votes that their top class needs, and the share of groups kept for them.
TESTED, VOTES, HELD_BACK = 3000, 6, 4
COMMON: dict[str, Any] = {"batch": 128, "rate": 3e-3, "head_rate": 3e-3, "schedule": "cosine", "weight_decay": 0.02}
#: What the papers' settings become in trainings of some ten epochs.
SHORTER: dict[str, dict[str, Any]] = {
    "dnfer": {"warm_up": 2},
    "la-net": {"momentum": 0.99},
    "leaf": {"momentum": 0.99},
}


def split(bed: Bed, faces: int) -> tuple[Bed, Bed]:
    """Return faces to train on and clear faces to test on, no group on both sides; always the same ones."""
    group = group_numbers(bed.samples.ids, bed.samples.group)
    rng = np.random.default_rng(0)
    side = rng.integers(0, HELD_BACK, int(group.max()) + 1)[group] == 0
    learned, tested = np.flatnonzero(~side), np.flatnonzero(side & bed.judged(VOTES))
    chosen = [np.sort(rng.permutation(rows)[:most]) for rows, most in ((learned, faces), (tested, TESTED))]
    return bed.subset(chosen[0]), bed.subset(chosen[1])


def pictured(bed: Bed, folder: Path) -> Bed:
    """Return the bed with its pictures in memory."""
    pictures = cnn.read_pictures(folder, bed.samples.ids, bed.samples.paths)
    return replace(bed, samples=bed.samples.replacing(images=ArrayImages(pictures)))


def refined(bed: Bed, method: str, work: Path) -> RefinedSet:
    """Return what a method makes of the given labels; kept in `work`."""
    file = work / f"{method}-{len(bed.samples)}.parquet"
    if not file.is_file():
        tell(f"{method} on {len(bed.samples):,} faces")
        sources = Sources(views=list(bed.views), landmarks=bed.landmarks)
        answer = refine(bed.samples, methods.build(method), sources, Resources(), Callbacks())
        parquet.write(answer, file)
    return parquet.load(file)


def versions(bed: Bed, args: argparse.Namespace, work: Path) -> dict[str, training.TrainingSet]:
    """Return the training faces under each kind of labels."""
    given = training.from_samples(bed.samples)
    points = None
    if bed.landmarks is not None:
        points = np.where(bed.landmarks.found[:, None, None], bed.landmarks.points, np.nan).astype(np.float32)
    eye = np.eye(len(given.classes), dtype=np.float32)
    truth = replace(given, distribution=eye[np.maximum(bed.label, 0)], weight=(bed.label >= 0).astype(np.float32))
    made = {"given": given, "truth": truth}
    if "refined" in args.labels:
        made["refined"] = training.from_refined(refined(bed, args.method, work), bed.samples)
    made = {name: replace(faces, points=points) for name, faces in made.items()}
    if bed.landmarks is not None:
        units = training.measured_units(bed.landmarks, given.classes, training.Poi().table)
        made = {name: training.with_units(faces, units) for name, faces in made.items()}
    return made


def settings_of(recipe: str, labels: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Return all that a training hangs on, JSON types."""
    made = training.build(recipe, COMMON | SHORTER.get(recipe, {}) | {"epochs": args.epochs})
    own = {"labels": labels, "seed": seed, "faces": args.faces, "backbone": args.backbone, "size": args.size}
    return dict(as_written(own | made.settings() | ({"method": args.method} if labels == "refined" else {})))


def run(args: argparse.Namespace) -> None:
    """Run every training that is not there yet."""
    work = args.work or Path(tempfile.mkdtemp(prefix="training-"))
    work.mkdir(parents=True, exist_ok=True)
    bed: Bed | None = None
    for seed in args.seeds:
        for labels in args.labels:
            for recipe in args.recipes if labels != "truth" else ["soft"]:
                settings = settings_of(recipe, labels, seed, args)
                if any(old["settings"] == settings for old in held(args.results)) and not args.force:
                    tell(f"{recipe} on {labels}, seed {seed}: there already")
                    continue
                if bed is None:
                    learned, tested = split(open_bed(args.data), args.faces)
                    bed, test_bed = pictured(learned, Path(args.data)), pictured(tested, Path(args.data))
                    faces = versions(bed, args, work)
                    test = training.from_samples(test_bed.samples)
                    eye = np.eye(len(test.classes), dtype=np.float32)
                    test = replace(test, distribution=eye[test_bed.label], weight=np.ones(len(test), np.float32))
                tell(f"{recipe} on {labels}, seed {seed}")
                found = trained(settings, recipe, faces[labels], test, args)
                keep(args.results, {"settings": settings, **found})


def trained(
    settings: dict[str, Any],
    recipe: str,
    faces: training.TrainingSet,
    test: training.TrainingSet,
    args: argparse.Namespace,
) -> dict[str, Any]:
    """Train and return the figures, the seconds of an epoch, and the peak memory."""
    made = training.build(recipe, COMMON | SHORTER.get(recipe, {}) | {"epochs": args.epochs})
    backbone = training.Backbone(args.backbone, args.size, "none")
    with tempfile.TemporaryDirectory() as folder, measured() as cost:
        how = training.Run(args.device, args.half, seed=settings["seed"])
        figures = training.fit(made, backbone, faces, test, Path(folder), how, Callbacks(note=tell))
    epochs = figures["epochs"]
    return {
        "last": figures["last"],
        "best": figures["best"],
        "accuracy": [row["accuracy"] for row in epochs],
        "trained_on": figures["faces"],
        "tested": figures["tested"],
        "cpu_seconds_an_epoch": float(np.median([row["cpu_seconds"] for row in epochs])),
        "total": asdict(cost),
        **stamp(),
    }


def held(file: Path) -> list[dict[str, Any]]:
    """Return the trainings in a results file."""
    return list(json.loads(file.read_text(encoding="utf-8"))["trainings"]) if file.is_file() else []


def keep(file: Path, entry: dict[str, Any]) -> None:
    """Add a training to a results file, in place of one with the same settings."""
    others = [old for old in held(file) if old["settings"] != entry["settings"]]
    key = ("labels", "recipe", "seed")
    everything = sorted([*others, entry], key=lambda one: [str(one["settings"][name]) for name in key])
    write_json(file, {"trainings": everything})


def table(trainings: list[dict[str, Any]]) -> str:
    """Return the trainings as a Markdown table: mean and, of several seeds, the spread of the last epoch's figures."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in trainings:
        groups.setdefault((one["settings"]["recipe"], one["settings"]["labels"]), []).append(one)
    plain = groups.get(("soft", "given"), [])
    base = float(np.mean([one["cpu_seconds_an_epoch"] for one in plain])) if plain else float("nan")
    rows = [
        "| recipe | labels | accuracy | mean recall | best epoch | CPU an epoch | peak memory | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    order = {"given": 0, "refined": 1, "truth": 2}
    names = list(training.RECIPES)
    for recipe, labels in sorted(groups, key=lambda key: (order[key[1]], names.index(key[0]))):
        runs = groups[recipe, labels]
        accuracy, recall = ([one["last"][name] for one in runs] for name in ("accuracy", "mean_recall"))
        best = float(np.mean([one["best"]["accuracy"] for one in runs]))
        seconds = float(np.mean([one["cpu_seconds_an_epoch"] for one in runs]))
        memory = float(np.mean([one["total"]["peak_mib"] for one in runs]))
        rows.append(
            f"| {recipe} | {labels} | {_spread(accuracy)} | {_spread(recall)} | {best:.3f} | {seconds:.1f} s "
            f"({seconds / base:.1f} x) | {memory:,.0f} MiB | {len(runs)} |"
        )
    return "\n".join(rows) + "\n"


def _spread(values: list[float]) -> str:
    mean = float(np.mean(values))
    return f"{mean:.3f} ± {float(np.std(values, ddof=1)):.3f}" if len(values) > 1 else f"{mean:.3f}"


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="as for quality.py: a FERPlus folder with images.tar")
    parser.add_argument("--faces", type=int, default=8000, help="to train on")
    parser.add_argument("--recipes", nargs="+", default=list(training.RECIPES), choices=list(training.RECIPES))
    parser.add_argument("--labels", nargs="+", default=["given", "refined", "truth"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--backbone", default="small")
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--method", default="consensus")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--half", action="store_true", help="bfloat16")
    parser.add_argument("--work", type=Path, help="where refined labels are kept; a temporary folder by default")
    parser.add_argument("--force", action="store_true", help="run again what is there")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


@command
def main(arguments: Sequence[str] | None) -> None:
    """Run the trainings and print the table."""
    args = parsed(arguments)
    run(args)
    print(table(held(args.results)), end="")


if __name__ == "__main__":
    sys.exit(main())
