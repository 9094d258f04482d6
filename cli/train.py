"""`fercleaner train`: a network from a set or a refined file, by a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .checks import check_unused, pairs
from .refine import ENDINGS, set_name

if TYPE_CHECKING:
    from fercleaner.core.types import Samples
    from fercleaner.training import Backbone, Recipe, Run, TrainingSet

LABELS, NETWORK, RUNNING = "Labels and faces", "Network and recipe", "Running"
#: Share of the faces to test on where nothing is said.
HELD_BACK = 0.2
#: As in the library, so that `--help` need not import it.
NAMES = "soft, dnfer, la-net, leaf, poi or amy"


def train(
    source: Annotated[
        Path,
        typer.Argument(metavar="SET_OR_FILE", help="A set, or a refined Parquet file of one.", show_default=False),
    ],
    recipe: Annotated[str, typer.Option(help=f"{NAMES}.", rich_help_panel=NETWORK)] = "soft",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Set a parameter of the recipe.", rich_help_panel=NETWORK),
    ] = None,
    backbone: Annotated[
        str, typer.Option(help="torchvision:NAME, builtin or small.", rich_help_panel=NETWORK)
    ] = "torchvision:resnet18",
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|none",
            help="What the network starts from; its own published weights by default, none for random ones.",
            rich_help_panel=NETWORK,
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            help="Edge of the pictures, pixels; 224, or 48 for builtin and small.",
            rich_help_panel=NETWORK,
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="If not the recipe's.", rich_help_panel=NETWORK, show_default=False)
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            metavar="WHICH",
            help="Of a refined file: refined (distribution times weight), given, weight (given times weight), drop "
            "(given, flagged left out) or relabel.",
            rich_help_panel=LABELS,
        ),
    ] = "refined",
    dataset: Annotated[
        Path | None,
        typer.Option(
            metavar="SET",
            help="The set that was refined, for pictures and groups; else pictures are found by their paths.",
            rich_help_panel=LABELS,
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where relative paths of a manifest or a refined file start.", rich_help_panel=LABELS
        ),
    ] = None,
    landmarks: Annotated[
        str,
        typer.Option(
            metavar="TAG",
            help="For recipes that learn from landmarks: the set's own, else builtin (auto), mediapipe, "
            "face-alignment, points:FILE.",
            rich_help_panel=LABELS,
        ),
    ] = "auto",
    train_split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Train on this split; repeatable.", rich_help_panel=LABELS),
    ] = None,
    test_split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Test on this split, by given labels; repeatable.", rich_help_panel=LABELS),
    ] = None,
    hold_back: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Where no test split is named: share of the faces to test on, groups kept together; 0.2 by default.",
            rich_help_panel=LABELS,
            show_default=False,
        ),
    ] = None,
    site_by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Train a network a site, as sites would that share no faces: their bodies are averaged after every "
            "epoch. A manifest's column, or auto (the set's own).",
            rich_help_panel=LABELS,
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to write; SET.RECIPE here by default.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cuda or cpu.", rich_help_panel=RUNNING)] = "auto",
    amp: Annotated[bool, typer.Option("--amp", help="Run networks in bfloat16.", rich_help_panel=RUNNING)] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that draw views.", rich_help_panel=RUNNING)] = 0,
    seed: Annotated[int, typer.Option(help="Of every random choice.", rich_help_panel=RUNNING)] = 0,
    force: Annotated[bool, typer.Option("--force", help="Start again where DIR holds another training.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Train a network on refined or given labels, as a paper did; go on where a run was broken off.

    Examples: fercleaner train rafdb.refined.parquet --dataset rafdb --train-split train --test-split test;
    fercleaner train rafdb --recipe dnfer --weights none
    """
    from fercleaner import training
    from fercleaner.core.files import check_folder_apart

    from .console import note, print_json, progress_callbacks

    target = out or Path(f"{set_name(source)}.{recipe}")
    check_folder_apart(target, [source, dataset], [images])
    _check_splits(train_split, test_split, hold_back)
    asked: dict[str, str | float | int | bool] = dict(pairs(settings, "--set"))
    if epochs is not None:
        asked["epochs"] = epochs
    chosen = training.build(recipe, asked)
    if not chosen.needs_landmarks:
        tag = None if landmarks == "auto" else landmarks
        check_unused({"--landmarks": tag}, f"the recipe {recipe} learns from none. Leave it out.")
    network = training.Backbone(backbone, size, weights)
    faces, tests = _faces(source, dataset, images, labels, site_by)
    if chosen.needs_landmarks:
        faces = _marked(faces, landmarks, device, getattr(chosen, "table", None))
    if test_split:
        tested = training.split_of(tests, tuple(test_split))
        learned = training.split_of(faces, tuple(train_split)) if train_split else _others(faces, test_split)
    else:
        if faces.samples.group is None and dataset is None and _is_refined(source):
            note(
                "A refined file holds no groups: pictures of one person or moment can stand on both sides of the test. "
                "Name the set with --dataset, or a test split."
            )
        if train_split:
            faces, tests = (training.split_of(part, tuple(train_split)) for part in (faces, tests))
        share = HELD_BACK if hold_back is None else hold_back
        learned, tested = training.held_back(faces, share, seed)[0], training.held_back(tests, share, seed)[1]
    table = getattr(chosen, "table", None)
    reads = tuple(str(path) for path in (source, dataset, images, landmarks.partition(":")[2], table) if path)
    run = training.Run(device, amp, workers, seed, force, reads)
    if site_by is not None:
        _train_sites((chosen, network), (learned, tested), target, run, json_)
        return
    with progress_callbacks() as callbacks:
        figures = training.fit(chosen, network, learned, tested, target, run, callbacks)
    last, best = figures["last"], figures["best"]
    if json_:
        print_json({"folder": str(target), **{k: figures[k] for k in ("faces", "tested", "last", "best", "settings")}})
    note(
        f"Last epoch ({last['epoch']}): test accuracy {last['accuracy']:.4f}, mean recall {last['mean_recall']:.4f} on "
        f"{figures['tested']:,} faces. Best epoch ({best['epoch']}, chosen by the test faces): {best['accuracy']:.4f}."
        f"\nWrote {target}: model.safetensors (last epoch), best.safetensors, log.csv, figures.json, MODEL_CARD.md."
    )


def _check_splits(train_split: list[str] | None, test_split: list[str] | None, hold_back: float | None) -> None:
    """Raise InputError where a split would be on both sides, or a share is to be held back beside it."""
    from fercleaner.core.errors import InputError

    for name in train_split or []:
        if name in (test_split or []):
            raise InputError(f"Split '{name}' is named by --train-split and by --test-split. Name it once.")
    if test_split:
        check_unused({"--hold-back": hold_back}, "--test-split says what to test on. Leave one out.")


def _is_refined(source: Path) -> bool:
    from fercleaner.results import parquet

    return source.suffix.lower() in ENDINGS and parquet.is_refined(source)


def _train_sites(
    network: tuple[Recipe, Backbone], faces: tuple[TrainingSet, TrainingSet], out: Path, run: Run, json_: bool
) -> None:
    """Train a network a site and tell what each came to."""
    import numpy as np

    from fercleaner import training

    from .console import note, print_json, print_table, progress_callbacks

    learned = training.of_each_site(faces[0], note, "faces to train on")
    tested = training.of_each_site(faces[1], note, "faces to test on")
    nothing = faces[1].taking(np.arange(0))
    pairs_ = {name: (learned.get(name, nothing), tested.get(name, nothing)) for name in {**learned, **tested}}
    with progress_callbacks() as callbacks:
        found = training.fit_sites(*network, pairs_, out, run, callbacks)
    last = {name: figures["last"] for name, figures in found["sites"].items()}
    if json_:
        print_json({"folder": str(out), **found})
    else:
        rows = [
            [name, f"{figures['faces']:,}", f"{last[name]['accuracy']:.4f}", f"{last[name]['mean_recall']:.4f}"]
            for name, figures in found["sites"].items()
        ]
        print_table("", ["site", "faces", "test accuracy", "mean recall"], rows)
    note(
        f"Last round: mean test accuracy {found['accuracy']:.4f} over {len(last)} sites. Wrote {out}: a folder a site, "
        "each as of a training."
    )


def _faces(
    source: Path, dataset: Path | None, images: Path | None, labels: str, site_by: str | None
) -> tuple[TrainingSet, TrainingSet]:
    """Return the faces with the labels to train on, and with the labels to test on."""
    from fercleaner import datasets, training
    from fercleaner.core.errors import InputError
    from fercleaner.results import parquet

    columns = {} if site_by in (None, "auto") else {"site": str(site_by)}
    if _is_refined(source):
        refined = parquet.load(source)
        if site_by is not None and dataset is None:
            raise InputError("A refined file names no sites. Name the set that was refined with --dataset SET.")
        read_as = refined.metadata.get("read_as", {})
        samples: Samples | None = None
        if dataset is not None:
            samples = datasets.read_again(dataset, read_as, images=images, columns=columns)
        roots = [place for place in (images, source.parent) if place is not None]
        learned, tested = (training.from_refined(refined, samples, which, roots) for which in (labels, "given"))
        return learned, tested
    if dataset is not None:
        raise InputError(f"--dataset goes with a refined file, and {source} is none. Leave it out.")
    if labels not in ("refined", "given"):
        raise InputError(f"--labels {labels} needs a refined file: fercleaner refine {source} makes one.")
    faces = training.from_samples(datasets.read(source, images=images, columns=columns))
    return faces, faces


def _marked(faces: TrainingSet, tag: str, device: str, table: str | None) -> TrainingSet:
    """Return the faces with landmarks, and with action units where an AU table is named."""
    from fercleaner import landmarks, training

    from .console import progress_callbacks

    with progress_callbacks() as callbacks:
        if tag == "auto" and faces.samples.points is not None:
            found = landmarks.own_points(faces.samples)
        else:
            detector = landmarks.build("builtin" if tag == "auto" else tag, device=device)
            found = landmarks.detect(faces.samples, detector, progress=callbacks.stage("landmarks"))
        if table is not None:
            faces = training.with_units(faces, training.measured_units(found, faces.classes, table))
        return training.with_landmarks(faces, found, callbacks.stage("sizes of pictures"))


def _others(faces: TrainingSet, splits: list[str]) -> TrainingSet:
    """Return the faces of all splits but some."""
    import numpy as np

    assert faces.samples.split is not None  # a test split was found in it
    return faces.taking(~np.isin(faces.samples.split[faces.rows], splits))
