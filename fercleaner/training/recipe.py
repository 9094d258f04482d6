"""What a recipe is: settings of a training, and a system of networks, banks and losses that the loop steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from ..core.arrays import Bytes, Doubles, Floats
from ..core.errors import InputError
from .backbones import Backbone, Classifier
from .faces import Batch
from .labels import TrainingSet
from .samplers import Balance
from .views import IMAGENET, Plain, Strong, View, Weak

Schedule: TypeAlias = Literal["exponential", "linear", "cosine", "constant"]
Views: TypeAlias = Mapping[str, Callable[[Bytes, Floats | None], View]]


@dataclass(frozen=True)
class Clock:
    """Where a training stands: epoch from 0, of `epochs`; `step` of all `steps`, from 0."""

    epoch: int
    epochs: int
    step: int
    steps: int


class System(nn.Module):
    """A network and all that a recipe adds to it in training; its `state_dict` is all that a checkpoint must hold.

    Parameters
    ----------
    network : Classifier
        What is kept in the end; `forward` gives its class scores.

    Attributes
    ----------
    edge : int
        Cells along an edge of the heat maps that it learns, 0 for none.
    """

    edge: int = 0

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the class scores (B, C) of pictures as tests show them."""
        scores: Tensor = self.network(pictures)
        return scores

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Return the parts of a batch's loss, for the log; "loss" is what is minimized."""
        raise NotImplementedError

    def stepped(self, clock: Clock) -> None:
        """Go on after a step of the optimizer."""

    def ended(self, clock: Clock, predict: Callable[[], Doubles]) -> None:
        """Go on after an epoch; `predict` gives this system's class probabilities (M, C) of the training faces."""

    def kept(self) -> Classifier:
        """Return the network to keep and to test; the one that is trained, unless a recipe has an average of it."""
        return self.network


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """Settings of a training; a subclass is a paper's.

    Parameters
    ----------
    epochs, batch : int
    rate, head_rate : float > 0
        Adam's step for the body, and for the last layer and what a recipe adds.
    schedule : {"exponential", "linear", "cosine", "constant"}
        How both fall: times `decay` after every epoch; to 0 step by step, along a line or a half wave; not at all.
    decay : float in (0, 1]
    weight_decay : float >= 0
        Decoupled (AdamW).
    balance : {"none", "classes", "progressive"}
        Which faces an epoch shows (`samplers`).
    dropout : float in [0, 1)
        Before the classifier.
    """

    name: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    #: Whether a recipe learns from landmarks, from faces without a label, from action units.
    needs_landmarks: ClassVar[bool] = False
    uses_unlabeled: ClassVar[bool] = False
    needs_units: ClassVar[bool] = False

    epochs: int = 40
    batch: int = 128
    rate: float = 1e-3
    head_rate: float = 1e-3
    schedule: Schedule = "exponential"
    decay: float = 0.95
    weight_decay: float = 0.0
    balance: Balance = "none"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 2)):
            if getattr(self, name) < least:
                raise InputError(f"{self.name}: {name} is {getattr(self, name)}; expected at least {least}.")
        for name in ("rate", "head_rate", "decay"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{self.name}: {name} is {getattr(self, name)}; expected a number above 0.")
        if not 0 <= self.dropout < 1:
            raise InputError(f"{self.name}: dropout is {self.dropout}; expected 0 up to 1.")
        for name, known in (("schedule", get_args(Schedule)), ("balance", get_args(Balance))):
            if getattr(self, name) not in known:
                raise InputError(f"{self.name}: {name} is '{getattr(self, name)}'; choose {', '.join(known)}.")

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation that pictures are standardized by."""
        return IMAGENET

    def weak(self) -> Weak:
        """Return the weak view."""
        return Weak(statistics=self.statistics)

    def strong(self) -> Strong:
        """Return the strong view."""
        return Strong(self.weak())

    def plain(self) -> Plain:
        """Return the view of tests."""
        return Plain(statistics=self.statistics)

    def views(self) -> Views:
        """Return the views that a batch holds."""
        return {"weak": self.weak()}

    def network(self, backbone: Backbone, n_classes: int) -> Classifier:
        """Return the network that is kept in the end, untrained."""
        return backbone.build(n_classes, self.dropout)

    @abstractmethod
    def system(self, backbone: Backbone, faces: TrainingSet) -> System:
        """Return the system for training faces, its random weights drawn from torch's global generator."""

    def settings(self) -> dict[str, Any]:
        """Return name and settings, JSON types."""
        return {"recipe": self.name} | {f.name: getattr(self, f.name) for f in fields(self)}

    def factor(self, clock: Clock) -> float:
        """Return what the steps of Adam are multiplied by."""
        done = clock.step / max(1, clock.steps)
        if self.schedule == "exponential":
            return float(self.decay**clock.epoch)
        if self.schedule == "linear":
            return 1 - done
        if self.schedule == "cosine":
            return 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * done, dtype=torch.float64))))
        return 1.0

    def optimizer(self, system: System) -> torch.optim.Optimizer:
        """Return Adam over the system: bodies at `rate`, all else at `head_rate`; weight decay for matrices alone."""
        from .backbones import Body

        low = {id(p) for m in system.modules() if isinstance(m, Body) for p in m.parameters()}
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for parameter in system.parameters():
            if parameter.requires_grad:
                groups.setdefault((id(parameter) in low, parameter.ndim > 1), []).append(parameter)
        return torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "lr": self.rate if body else self.head_rate,
                    "initial_lr": self.rate if body else self.head_rate,
                    "weight_decay": self.weight_decay if matrix else 0.0,
                }
                for (body, matrix), parameters in groups.items()
            ]
        )
