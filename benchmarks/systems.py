"""A paper's whole training, its own loss included, in the protocol of papers.py: `fercleaner.training`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from recipes import NONE, Backbone
from targets import Targets

from fercleaner import landmarks as detectors
from fercleaner import training
from fercleaner.core.errors import InputError
from fercleaner.core.types import Landmarks, Samples
from fercleaner.methods.au_prior.tables import PRESETS
from fercleaner.pipeline.inputs import Callbacks


def settings_of(name: str, epochs: int | None) -> dict[str, Any]:
    """Return a recipe of `fercleaner.training` as it will be followed, JSON types."""
    changed: dict[str, str | float | int | bool] = {} if epochs is None else {"epochs": epochs}
    return training.build(name, changed).settings()


def landmarks_of(samples: Samples, tag: str | None, device: str) -> Landmarks:
    """Return the landmarks of a set: found by the detector `tag`, else its own.

    Raises
    ------
    InputError
        No detector is named, and the set ships none.
    """
    if tag is not None:
        return detectors.detect(samples, detectors.build(tag, device=device))
    if samples.points is None:
        raise InputError("This recipe learns from landmarks, and the set ships none. Name a detector: --landmarks TAG.")
    return detectors.from_samples(samples)


def learned_from(
    samples: Samples, targets: Targets, recipe: training.Recipe, found: Landmarks | None
) -> training.TrainingSet:
    """Return the faces with what they are trained on, and with what the recipe needs beside it."""
    faces = replace(
        training.from_samples(samples),
        distribution=targets.distribution.astype(np.float32),
        weight=targets.weight.astype(np.float32),
    )
    if found is None:
        return faces
    if recipe.needs_units:
        table = getattr(recipe, "table", next(iter(PRESETS)))
        faces = training.with_units(faces, training.measured_units(found, faces.classes, table))
    return training.with_landmarks(faces, found)


def train(
    settings: dict[str, Any],
    backbone: Backbone,
    train_set: tuple[Samples, Targets],
    test_set: Samples,
    seed: int,
    *,
    folder: Path,
    landmarks: str | None = None,
    device: str = "auto",
    workers: int = 0,
    tell: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Train by a paper's own loss and test after every epoch; return what `recipes.train` returns.

    Parameters
    ----------
    settings : dict
        Of `settings_of`.
    train_set : Samples, Targets
        Faces of weight 0 are left out, but by recipes that learn from faces without a label.
    folder : Path
        Where the state is kept meanwhile, so that a training that is stopped goes on; removed in the end.
    """
    own = dict(settings)
    recipe = training.build(str(own.pop("recipe")), own)
    samples, targets = train_set
    wanted = recipe.needs_landmarks or recipe.needs_units
    found = landmarks_of(samples, landmarks, device) if wanted else None
    tag = backbone.name if backbone.name == "small" else f"torchvision:{backbone.name}"
    weights = NONE if backbone.weights is None else str(backbone.weights)
    figures = training.fit(
        recipe,
        training.Backbone(tag, backbone.size, weights),
        learned_from(samples, targets, recipe, found),
        training.from_samples(test_set),
        folder,
        training.Run(device, workers=workers, seed=seed),
        Callbacks(note=lambda sentence: tell(f"    {sentence}")),
    )
    shutil.rmtree(folder)
    return {
        "test_accuracy": [row["accuracy"] for row in figures["epochs"]],
        "last": figures["last"],
        "best": figures["best"],
        "unreadable": len(test_set) - figures["tested"],
    }
