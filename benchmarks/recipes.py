"""How the papers train: backbone, optimizer, schedule and changes of the pictures, as their code has them.

Only the loss is ours: cross-entropy against a label distribution, times a sample weight. What else a paper adds to it
(selection, consistency, landmarks, contrast) is what refined labels stand in for here; systems.py trains with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cnn
import numpy as np
import torch
from scoring import measures
from targets import Targets
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, WeightedRandomSampler

from fercleaner.core.arrays import Bools, Doubles, Ints
from fercleaner.core.errors import FeatureError, InputError
from fercleaner.core.types import Samples
from fercleaner.encoders.checkpoints import load_all, quiet, read_state
from fercleaner.extraction.images import UnreadableImage, open_face
from fercleaner.training.views import IMAGENET, MS_CELEB

NONE = "none"


@dataclass(frozen=True)
class Recipe:
    """A paper's training, without its loss.

    Parameters
    ----------
    source : str
    epochs, batch : int
    rate, head_rate : float
        Adam's step for the backbone and for the last layer.
    decay : float, optional
        Both are multiplied by it after every epoch; None lets them fall to 0 linearly, step by step.
    balancing : bool
        Faces are drawn evenly in the first epoch, and with equal chance for every class in the last; linear between.
    pad : int, optional
        Reflected border of which a crop of the picture's size is taken; None takes random parts of 75 to 100 % of its
        area instead, with color jitter of 0.4 and, by a chance of 0.2, 2 to 20 % of it erased.
    statistics : (3,), (3,) floats
        Means and deviations that pictures are standardized by, red green blue.
    """

    source: str
    epochs: int
    batch: int
    rate: float
    head_rate: float
    decay: float | None
    balancing: bool
    pad: int | None
    statistics: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET


RECIPES = {
    "dnfer": Recipe(
        source="DNFER's code, repository 1980x/DNFER at 05c962a: weak view and optimizer",
        epochs=40,
        batch=128,
        rate=1e-3,
        head_rate=1e-2,
        decay=0.95,
        balancing=False,
        pad=4,
    ),
    "la-net": Recipe(
        source="LA-Net's code, repository hw-tony/LA-Net at 74bb121: settings for RAF-DB",
        epochs=80,
        batch=128,
        rate=1e-3,
        head_rate=1e-3,
        decay=None,
        balancing=True,
        pad=None,
        statistics=MS_CELEB,
    ),
}


@dataclass(frozen=True)
class Backbone:
    """A network to train: "resnet18" (224 x 224 pixels) or "small" (that of cnn.py, 48 x 48), and its first weights.

    Parameters
    ----------
    name : str
    weights : Path, optional
        Checkpoint of the backbone (.safetensors, or a PyTorch state dict), with or without a last layer; None starts
        from random weights.
    """

    name: str
    weights: Path | None

    @property
    def size(self) -> int:
        """Edge of the pictures in pixels."""
        return cnn.SIZE if self.name == "small" else 224

    def build(self, n_classes: int) -> tuple[nn.Module, nn.Module]:
        """Return the network and its last layer, whose weights are random.

        Raises
        ------
        FeatureError
            The checkpoint is not of this network.
        """
        if self.name == "small":
            network = cnn.network(n_classes, channels=3)
            last = list(network.children())[-1]
            if self.weights is not None:
                raise FeatureError(f"There is no checkpoint of 'small'; {self.weights} is none. Say --weights none.")
            return network, last
        from torchvision.models import resnet18

        with quiet():
            network = resnet18(weights=None)
        width = network.fc.in_features
        if self.weights is not None:
            network.fc = nn.Identity()
            state = {name: t for name, t in read_state(self.weights).items() if not name.startswith("fc.")}
            load_all(network, state, self.weights, "resnet18")
        network.fc = nn.Linear(width, n_classes)
        return network, network.fc


def checked_weights(text: str | None, backbone: str) -> Path | None:
    """Return the checkpoint that `--weights` names, None for "none".

    Raises
    ------
    FeatureError
        Nothing was said, or there is no such file.
    """
    ways_out = (
        "Give a checkpoint that you have (ResNet-18 of MS-Celeb-1M or ImageNet, .safetensors or PyTorch state dict) "
        "with --weights FILE, or train from random weights with --weights none; nothing is downloaded."
    )
    if text is None:
        raise FeatureError(f"The papers start {backbone} from trained weights, and none were named. {ways_out}")
    if text == NONE:
        return None
    if not Path(text).is_file():
        raise FeatureError(f"--weights {text}: there is no such file. {ways_out}")
    return Path(text)


class Faces(Dataset[tuple[Tensor, int, bool]]):
    """Some faces of a set: (picture (3, S, S) standardized, place in `rows`, whether it could be read)."""

    def __init__(self, samples: Samples, rows: Ints, size: int, change: Callable[[Any], Tensor]) -> None:
        self.samples, self.rows, self.size, self.change = samples, rows, size, change

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> tuple[Tensor, int, bool]:
        """Return a face; zeros where its picture cannot be read."""
        from PIL.Image import Resampling

        try:
            image = open_face(self.samples, int(self.rows[place]))
        except UnreadableImage:
            return torch.zeros(3, self.size, self.size), place, False
        if image.size != (self.size, self.size):
            image = image.resize((self.size, self.size), Resampling.BILINEAR, reducing_gap=3.0)
        return self.change(image), place, True


def changes(recipe: Recipe, size: int) -> tuple[Callable[[Any], Tensor], Callable[[Any], Tensor]]:
    """Return what is done to a picture of `size` in training and in testing."""
    from torchvision import transforms as t

    standard = [t.ToTensor(), t.Normalize(*recipe.statistics)]
    if recipe.pad is not None:
        steps = [t.RandomCrop(size, padding=recipe.pad, padding_mode="reflect"), t.RandomHorizontalFlip(), *standard]
    else:
        steps = [
            t.RandomHorizontalFlip(),
            t.RandomResizedCrop(size, scale=(0.75, 1.0)),
            t.ColorJitter(0.4, 0.4, 0.4),
            *standard,
            t.RandomErasing(p=0.2, scale=(0.02, 0.2)),
        ]
    return t.Compose(steps), t.Compose(standard)


def drawn(recipe: Recipe, label: Ints, epoch: int, epochs: int, count: int, generator: torch.Generator) -> Sampler[int]:
    """Return the order of an epoch: `count` of the faces with classes `label`, each drawn as often as the others."""
    if not recipe.balancing:
        return RandomSampler(label, num_samples=count, generator=generator)
    share = epoch / max(1, epochs - 1)
    sizes = np.bincount(label)
    chance = (1 - share) / len(label) + share / ((sizes > 0).sum() * sizes[label])
    return WeightedRandomSampler(chance.tolist(), count, generator=generator)


def train(
    recipe: Recipe,
    backbone: Backbone,
    train_set: tuple[Samples, Ints, Targets],
    test_set: tuple[Samples, Ints],
    seed: int,
    *,
    epochs: int,
    device: str = "auto",
    workers: int = 0,
    tell: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Train by a recipe and test after every epoch.

    Parameters
    ----------
    train_set : Samples, (N,) int64, Targets
        A set, its rows to train on, and what to train them on (N rows). Faces of weight 0 are left out; the others are
        then drawn more often, so that every version of the labels is trained for as many steps.
    test_set : Samples, (M,) int64
        A set and its rows, labeled, to test on.

    Returns
    -------
    dict
        "test_accuracy" by epoch; "last" and "best" (by test accuracy, as the papers' code chooses) with accuracy, mean
        recall, calibration error and epoch; "unreadable" test pictures, which are left out.

    Raises
    ------
    InputError
        No face is left to train on or to test on.
    """
    where = cnn.device_of(device)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    samples, rows, targets = train_set
    kept = np.flatnonzero(targets.weight > 0)
    if not len(kept):
        raise InputError("Every face has weight 0: there is nothing to train on.")
    changed, plain = changes(recipe, backbone.size)
    faces = Faces(samples, rows[kept], backbone.size, changed)
    others = Faces(*test_set, backbone.size, plain)
    weight = torch.from_numpy((targets.weight[kept] / targets.weight[kept].mean()).astype(np.float32)).to(where)
    target = torch.from_numpy(targets.distribution[kept].astype(np.float32)).to(where)
    label = targets.distribution[kept].argmax(1)
    network, last = backbone.build(target.shape[1])
    network.to(where)
    heads = {id(p) for p in last.parameters()}
    optimizer = torch.optim.Adam(
        [
            {"params": [p for p in network.parameters() if id(p) not in heads], "lr": recipe.rate},
            {"params": list(last.parameters()), "lr": recipe.head_rate},
        ]
    )
    per_epoch = max(1, len(rows) // recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            max(0.0, 1 - step / (epochs * per_epoch)) if recipe.decay is None else recipe.decay ** (step // per_epoch)
        ),
    )
    history, unreadable = [], 0
    for epoch in range(epochs):
        network.train()
        order = drawn(recipe, label, epoch, epochs, len(rows), generator)
        batches = DataLoader(
            faces, recipe.batch, sampler=order, num_workers=workers, drop_last=len(rows) >= recipe.batch
        )
        for pictures, places, readable in batches:
            seen = readable.to(where, torch.float32)
            chosen = places.to(where)
            losses = nn.functional.cross_entropy(network(pictures.to(where)), target[chosen], reduction="none")
            optimizer.zero_grad()
            (losses * weight[chosen] * seen).mean().backward()
            optimizer.step()
            schedule.step()
        found, unreadable = tested(network, others, recipe.batch, where, workers)
        history.append({"epoch": epoch + 1, **found})
        tell(f"    epoch {epoch + 1} of {epochs}: test accuracy {100 * found['accuracy']:.2f} %")
    return {
        "test_accuracy": [row["accuracy"] for row in history],
        "last": history[-1],
        "best": max(history, key=lambda row: row["accuracy"]),
        "unreadable": unreadable,
    }


def tested(
    network: nn.Module, faces: Faces, batch: int, where: torch.device, workers: int
) -> tuple[dict[str, float], int]:
    """Return the measures of a network over the readable faces, and how many are not."""
    network.eval()
    probability: list[Doubles] = []
    seen: list[Bools] = []
    with torch.inference_mode():
        for pictures, _, readable in DataLoader(faces, batch, num_workers=workers):
            probability.append(torch.softmax(network(pictures.to(where)).double(), 1).cpu().numpy())
            seen.append(readable.numpy())
    known = np.concatenate(seen)
    if not known.any():
        raise InputError(f"None of the {len(known):,} test pictures can be read. Name the set's folder with --images.")
    answer = np.concatenate(probability)[known]
    label = faces.samples.label[faces.rows][known]
    return measures(answer, label), int((~known).sum())


def described(recipe: Recipe, epochs: int) -> dict[str, Any]:
    """Return a recipe as it was followed, JSON types."""
    return asdict(recipe) | {"epochs": epochs}
