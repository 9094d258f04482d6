"""Training on refined labels: datasets, samplers, losses, and what each paper adds to a training loop. Needs torch.

    refined = fercleaner.load("rafdb.refined.parquet")
    faces = from_refined(refined)
    fit(Soft(epochs=20), Backbone("torchvision:resnet18"), *held_back(faces, 0.2, seed=0), Path("out"))

Importing this package imports torch; nothing else of fercleaner imports it but the command line, when it is called for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..core.errors import InputError, did_you_mean
from .amy import Amy
from .backbones import NONE, Backbone, Classifier
from .checkpoint import load_network
from .dnfer import Dnfer
from .evidence import measured_units, with_landmarks, with_units
from .faces import Faces, collate
from .la_net import LaNet
from .labels import TrainingSet, decoded, from_refined, from_samples, held_back, split_of
from .leaf import Leaf
from .loop import Run, fit
from .losses import mixup, smoothed, soft_cross_entropy, symmetric_kl_bits
from .poi import Poi
from .recipe import Recipe, System
from .samplers import EpochSampler, progressive_counts
from .sites import fit_sites, of_each_site
from .soft import Soft
from .views import Plain, Strong, Weak

#: Every recipe by name, in the order in which help shows them.
RECIPES: dict[str, type[Recipe]] = {recipe.name: recipe for recipe in (Soft, Dnfer, LaNet, Leaf, Poi, Amy)}

__all__ = [
    "NONE",
    "RECIPES",
    "Amy",
    "Backbone",
    "Classifier",
    "Dnfer",
    "EpochSampler",
    "Faces",
    "LaNet",
    "Leaf",
    "Plain",
    "Poi",
    "Recipe",
    "Run",
    "Soft",
    "Strong",
    "System",
    "TrainingSet",
    "Weak",
    "build",
    "collate",
    "decoded",
    "fit",
    "fit_sites",
    "from_refined",
    "from_samples",
    "held_back",
    "load_network",
    "measured_units",
    "mixup",
    "of_each_site",
    "progressive_counts",
    "smoothed",
    "soft_cross_entropy",
    "split_of",
    "symmetric_kl_bits",
    "with_landmarks",
    "with_units",
]


def build(name: str, settings: Mapping[str, str | float | int | bool] | None = None) -> Recipe:
    """Return a recipe by name, with some settings changed; texts are read as the setting's kind of number.

    Raises
    ------
    InputError
        No such recipe or setting, or a value that the recipe refuses.
    """
    if name not in RECIPES:
        raise InputError(f"'{name}' is not a recipe ({', '.join(RECIPES)}).{did_you_mean(name, RECIPES)}")
    kind = RECIPES[name]
    known = {f.name: f.default for f in fields(kind)}
    values: dict[str, Any] = {}
    for key, value in (settings or {}).items():
        if key not in known:
            raise InputError(f"{name} has no setting '{key}' ({', '.join(known)}).{did_you_mean(key, known)}")
        values[key] = _read(f"{name}: {key}", value, known[key])
    return kind(**values)


def _read(what: str, value: Any, default: Any) -> Any:
    """Return a value as the kind of its default."""
    if not isinstance(value, str) or isinstance(default, str):
        return value
    if isinstance(default, bool):
        if value.lower() not in ("true", "false"):
            raise InputError(f"{what} is '{value}'; expected true or false.")
        return value.lower() == "true"
    try:
        return type(default)(value)
    except ValueError as error:
        raise InputError(f"{what} is '{value}'; expected a {'whole ' * (type(default) is int)}number.") from error
