"""Soft labels: cross-entropy with the refined distribution, times the sample weight; with mixup where asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..core.errors import InputError
from .backbones import Backbone, Classifier
from .faces import Batch
from .labels import TrainingSet
from .losses import mixup, smoothed, soft_cross_entropy
from .recipe import Clock, Recipe, System


class SoftSystem(System):
    """A network under `soft_cross_entropy`."""

    def __init__(self, network: Classifier, smoothing: float, mixing: float) -> None:
        super().__init__(network)
        self.smoothing, self.mixing = smoothing, mixing

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Return the weighted cross-entropy of a batch."""
        pictures, weight = batch["weak"], batch["weight"]
        target = smoothed(batch["distribution"], self.smoothing)
        if self.mixing > 0:
            share = float(torch.distributions.Beta(self.mixing, self.mixing).sample())
            partner = torch.randperm(len(pictures)).to(pictures.device)
            pictures, target, weight = mixup(pictures, target, weight, share, partner)
        return {"loss": soft_cross_entropy(self.network(pictures), target, weight)}


@dataclass(frozen=True, kw_only=True)
class Soft(Recipe):
    """Train on label distributions: cross-entropy times the sample weight. On given labels it is plain training.

    Parameters
    ----------
    smoothing : float in [0, 1)
        Share of the uniform distribution mixed into every label.
    mixing : float >= 0
        a of mixup's Beta(a, a); 0 mixes nothing.
    others
        As in `Recipe`.
    """

    name: ClassVar[str] = "soft"
    paper: ClassVar[str] = "none: what refined labels are made for"

    smoothing: float = 0.0
    mixing: float = 0.0

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)
        if not 0 <= self.smoothing < 1:
            raise InputError(f"soft: smoothing is {self.smoothing}; expected 0 up to 1.")
        if not 0 <= self.mixing < float("inf"):
            raise InputError(f"soft: mixing is {self.mixing}; expected 0 (no mixup) or more.")

    def system(self, backbone: Backbone, faces: TrainingSet) -> SoftSystem:
        """Return a network and its loss."""
        return SoftSystem(self.network(backbone, len(faces.classes)), self.smoothing, self.mixing)
