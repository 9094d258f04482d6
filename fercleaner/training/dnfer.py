"""DNFER: labels are selected by the batch's mean posterior; weak and strong views must agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from ..core.errors import InputError
from .backbones import Backbone, Classifier
from .faces import Batch
from .labels import TrainingSet
from .losses import cross_entropies, soft_cross_entropy, symmetric_kl_bits, weighted_mean
from .recipe import Clock, Recipe, System, Views

#: Posteriors are kept this far from 0 and 1.
CLAMP = 1e-8


def selected(logits: Tensor, distribution: Tensor) -> Tensor:
    """Return which labels of a batch DNFER keeps, (B,) bool, without gradient.

    With p_i = softmax(z_i), kept away from 0 and 1 by 1e-8, and tau_c = mean_j p_j,c over the whole batch,

        keep_i = [ p_i,y >= tau_y ]        (ties kept)

    A label distribution takes <y_i, p_i> and <y_i, tau>.

    Parameters
    ----------
    logits, distribution : (B, C)
    """
    with torch.no_grad():
        p = F.softmax(logits.double(), 1).clamp(CLAMP, 1 - CLAMP)
        y = distribution.double()
        # one rounding error below the threshold is a tie
        return (p * y).sum(1) >= y @ p.mean(0) - 1e-7


def selected_cross_entropy(logits: Tensor, distribution: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the (weighted) mean cross-entropy over the labels kept, over all if none is, and which are kept (B,)."""
    keep = selected(logits, distribution)
    used = keep if bool(keep.any()) else torch.ones_like(keep)
    weights = used.to(logits.dtype) if weight is None else used * weight
    return weighted_mean(cross_entropies(logits, distribution), weights), keep


class DnferSystem(System):
    """A network under DNFER's loss."""

    def __init__(self, network: Classifier, warm_up: int, alpha: float) -> None:
        super().__init__(network)
        self.warm_up, self.alpha = warm_up, alpha

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Return the loss of a batch with the views "weak" and "strong"."""
        weak, strong = self.network(batch["weak"]), self.network(batch["strong"])
        y, w = batch["distribution"], batch["weight"]
        if clock.epoch < self.warm_up:
            return {"loss": (soft_cross_entropy(weak, y, w) + soft_cross_entropy(strong, y, w)) / 2}
        first, kept = selected_cross_entropy(weak, y, w)
        second, _ = selected_cross_entropy(strong, y, w)
        label = (first + second) / 2
        agreement = symmetric_kl_bits(weak, strong).mean()
        return {
            "loss": (1 - self.alpha) * label + self.alpha * agreement,
            "label": label,
            "consistency": agreement,
            "kept": kept.float().mean(),
        }


@dataclass(frozen=True, kw_only=True)
class Dnfer(Recipe):
    """DNFER: cross-entropy over the labels that reach the batch's mean posterior, and consistency of two views.

    For the first `warm_up` epochs the mean of both views' cross-entropies over all faces; then

        L = (1 - alpha) (S(z_w) + S(z_s)) / 2 + alpha mean_i [ KL(p_w || p_s) + KL(p_s || p_w) ]

    in bits, with S the cross-entropy over what `selected` keeps, each view by its own thresholds.

    Parameters
    ----------
    warm_up : int >= 0
        Epochs before labels are selected.
    alpha : float in [0, 1]
        Share of the consistency.
    others
        As in `Recipe`.

    Source
    ------
    Gera, Badveeti, Raj Kumar and Balasubramanian, arXiv 2208.10221, MTAP 2023; repository 1980x/DNFER at 05c962a.
    Differs from it in: labels may be distributions with weights (given labels have weight 1 and the code's loss); the
    last epoch counts, and the best stands beside it.
    """

    name: ClassVar[str] = "dnfer"
    paper: ClassVar[str] = "DNFER (Gera et al., arXiv 2208.10221)"

    head_rate: float = 1e-2
    warm_up: int = 5
    alpha: float = 0.5

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)
        if self.warm_up < 0:
            raise InputError(f"dnfer: warm_up is {self.warm_up}; expected 0 or more epochs.")
        if not 0 <= self.alpha <= 1:
            raise InputError(f"dnfer: alpha is {self.alpha}; expected 0 to 1.")

    def views(self) -> Views:
        """Return the weak and the strong view."""
        return {"weak": self.weak(), "strong": self.strong()}

    def system(self, backbone: Backbone, faces: TrainingSet) -> DnferSystem:
        """Return a network and its loss."""
        return DnferSystem(self.network(backbone, len(faces.classes)), self.warm_up, self.alpha)
