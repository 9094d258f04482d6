"""Image encoders: each turns a face into a vector, and is named by a tag such as "clip:ViT-B-32/openai"."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

from ..core.errors import InputError, did_you_mean
from ..extraction.extractor import Extractor

#: What plain "clip" means.
DEFAULT_CLIP = "clip:ViT-B-32/laion2b_s34b_b79k"

#: The encoder when none is named.
DEFAULT = "builtin"

#: The module that builds each kind, imported when that kind is asked for.
KINDS = {
    "builtin": "fercleaner.encoders.builtin",
    "clip": "fercleaner.encoders.clip",
    "timm": "fercleaner.encoders.timm",
    "torchvision": "fercleaner.encoders.torchvision",
    "hog": "fercleaner.encoders.hog",
}


class Builder(Protocol):
    """The `build` of a kind's module; `name` is the tag after the colon, "" where there is none."""

    def __call__(self, name: str, *, weights: Path | None, device: str, batch_size: int | None) -> Extractor: ...


def build(tag: str, *, weights: Path | None = None, device: str = "auto", batch_size: int | None = None) -> Extractor:
    """Return the encoder that `tag` names.

    Parameters
    ----------
    tag : str
        ``builtin``, ``clip[:MODEL/PRETRAINED]``, ``timm:NAME``, ``torchvision:NAME[/WEIGHTS]`` or ``hog``.
    weights : path, optional
        A local checkpoint (.safetensors, or a PyTorch state dict) instead of the published one.
    device : str
        "auto" (the GPU where there is one), "cpu", "cuda", "cuda:1", ...
    batch_size : int, optional
        Pictures at once on a GPU; halved when memory runs out.

    Raises
    ------
    InputError
        The tag names nothing that exists.
    FeatureError
        The weights are neither here nor within reach, or do not cover the model.
    MissingDependency
        The package behind the tag is not installed.
    """
    kind, _, name = tag.partition(":")
    if kind not in KINDS:
        raise InputError(f"encoder '{tag}' is none of {', '.join(KINDS)}.{did_you_mean(kind, KINDS)}")
    if batch_size is not None and batch_size < 1:
        raise InputError(f"a batch of {batch_size} pictures; at least 1 is needed.")
    builder = cast(Builder, importlib.import_module(KINDS[kind]).build)
    return builder(name, weights=weights, device=device, batch_size=batch_size)
