"""A paper's whole training by `fercleaner.training`, for papers.py: selection, consistency, banks, experts and all."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from recipes import Backbone
from targets import Targets

from fercleaner import landmarks, training
from fercleaner.core.types import Samples
from fercleaner.pipeline.inputs import Callbacks


def system_of(args: argparse.Namespace) -> training.Recipe:
    """Return the recipe that `--system` names, with the epochs asked for."""
    return training.build(args.system, {} if args.epochs is None else {"epochs": args.epochs})


def train_system(
    splits: tuple[Samples, Samples],
    targets: Targets,
    backbone: Backbone,
    seed: int,
    args: argparse.Namespace,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Train on `targets` of the training split, test on the other; return what `recipes.train` does.

    Landmarks, for systems that learn from them, are the set's own or those of `--landmarks`.
    """
    recipe = system_of(args)
    faces = replace(
        training.from_samples(splits[0]),
        distribution=targets.distribution.astype(np.float32),
        weight=targets.weight.astype(np.float32),
    )
    if recipe.needs_landmarks:
        if splits[0].points is not None and not args.landmarks:
            points = landmarks.own_points(splits[0])
        else:
            points = landmarks.detect(splits[0], landmarks.build(args.landmarks or "builtin", device=args.device))
        faces = training.with_landmarks(faces, points)
        if recipe.needs_units:
            units = training.measured_units(points, faces.classes, training.Poi().table)
            faces = training.with_units(faces, units)
    tag = backbone.name if backbone.name == "small" else f"torchvision:{backbone.name}"
    network = training.Backbone(tag, backbone.size, str(backbone.weights or training.NONE))
    test = training.from_samples(splits[1])
    with tempfile.TemporaryDirectory() as folder:
        how = training.Run(args.device, workers=args.workers, seed=seed)
        figures = training.fit(recipe, network, faces, test, Path(folder), how, Callbacks(note=tell))
    epochs = figures["epochs"]
    return {
        "test_accuracy": [row["accuracy"] for row in epochs],
        "last": figures["last"],
        "best": figures["best"],
        "unreadable": len(splits[1]) - epochs[-1]["tested"],
    }
