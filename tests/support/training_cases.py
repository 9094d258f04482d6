"""64 drawn faces, and what the training tests do with them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch

from fercleaner import datasets
from fercleaner.core.types import Landmarks, Samples
from fercleaner.demo import draw_dataset
from fercleaner.training import (
    Backbone,
    Run,
    TrainingSet,
    fit,
    from_samples,
    measured_units,
    with_landmarks,
    with_units,
)

#: Small pictures and a small network: a recipe's whole training takes about two seconds.
SMALL = Backbone("small", 32, "none")


@cache
def drawn_folder() -> Path:
    """Return a folder of 64 drawn faces with clean labels in RAF-DB's layout."""
    folder = Path(mkdtemp(prefix="training-")) / "drawn"
    draw_dataset(folder, faces=64, noise_rate=0.0)
    return folder


@cache
def drawn() -> Samples:
    return datasets.read(drawn_folder())


@cache
def drawn_faces() -> TrainingSet:
    """Return the drawn faces on their labels, with landmarks in shares of the picture (100 x 100 pixels)."""
    samples = drawn()
    with np.load(drawn_folder() / "landmarks.npz", allow_pickle=False) as held:
        place = {str(name): k for k, name in enumerate(held["ids"])}
        points = held["points"][[place[str(name)] for name in samples.ids]]
    marks = Landmarks(samples.ids, points, np.ones(64, dtype=bool), np.ones(64))
    units = measured_units(marks, samples.classes, "du2014")
    return with_units(with_landmarks(from_samples(samples), marks), units)


def trained(recipe: Any, out: Path, faces: TrainingSet | None = None, **run: Any) -> dict[str, Any]:
    """Train on drawn faces and test on the same, on the CPU."""
    torch.set_num_threads(1)
    faces = faces or drawn_faces()
    return fit(recipe, SMALL, faces, faces, out, Run(device="cpu", **run))


def tensors(out: Path, name: str = "model.safetensors") -> dict[str, torch.Tensor]:
    from fercleaner.training.checkpoint import read_tensors

    return read_tensors(out / name).tensors


def check_gradient(function: Any, *inputs: torch.Tensor) -> None:
    """Assert that a function's gradient is that of finite differences, in float64."""
    assert torch.autograd.gradcheck(function, tuple(x.detach().double().clone().requires_grad_(True) for x in inputs))
