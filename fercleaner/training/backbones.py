"""Networks to train: a body in stages of falling resolution, a pool, and a linear classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ..core.errors import FeatureError, InputError
from ..encoders import checkpoints

#: What `--weights` says for random weights.
NONE = "none"

#: Tags that stand alone; torchvision's classifiers are "torchvision:NAME".
BUILTIN, SMALL, TORCHVISION = "builtin", "small", "torchvision:"

#: Channels of "small": at 24 x 24 pixels twice, then at 12, 6 and 3.
SMALL_WIDTHS = (16, 32, 64, 96, 96)

#: Edge of pictures by default, pixels.
SMALL_SIZE, LARGE_SIZE = 48, 224


class Body(nn.Module):
    """Stages (B, 3, S, S) -> feature maps, each of half the resolution of the one before; then a vector a face.

    Parameters
    ----------
    stages : sequence of modules
    pool : module
        From the last feature map to (B, width).
    size : int
        Edge of the pictures, pixels.
    """

    def __init__(self, stages: list[nn.Module], pool: nn.Module, size: int) -> None:
        super().__init__()
        self.stages, self.pool, self.size = nn.ModuleList(stages), pool, size
        was_training = self.training
        self.eval()
        with torch.inference_mode():
            maps = self.maps(torch.zeros(1, 3, size, size))
            #: Channels and edge of each stage's map, and the width of the vector.
            self.shapes = [(m.shape[1], m.shape[2]) for m in maps]
            self.width = int(self.pool(maps[-1]).shape[1])
        self.train(was_training)

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """Return the feature map of every stage."""
        found = []
        for stage in self.stages:
            pictures = stage(pictures)
            found.append(pictures)
        return found

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the features (B, width)."""
        pooled: Tensor = self.pool(self.maps(pictures)[-1])
        return pooled


class Classifier(nn.Module):
    """A body and a linear classifier, with dropout and what a recipe puts there (`neck`) between them.

    The neck, nothing by default, maps features (B, width) to features of the same width.
    """

    def __init__(self, body: Body, n_classes: int, dropout: float = 0.0, neck: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.dropout = body, nn.Dropout(dropout)
        self.neck = nn.Identity() if neck is None else neck
        self.classifier = nn.Linear(body.width, n_classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the class scores (B, C)."""
        scores: Tensor = self.classifier(self.neck(self.dropout(self.body(pictures))))
        return scores


@dataclass(frozen=True)
class Backbone:
    """Which network is trained, on pictures of which size, from which weights.

    Parameters
    ----------
    tag : str
        "torchvision:NAME" (a network of convolutions, such as torchvision:resnet18), "builtin" (the body of the builtin
        model) or "small" (five convolutions).
    size : int, optional
        Edge of the pictures, pixels; 48 for small and builtin, 224 for others.
    weights : str, optional
        A file (.safetensors or PyTorch state dict; one that `fercleaner train` wrote fits too), "none" for random
        weights, or None for the network's own: the published ones of torchvision, the builtin model's. "small" has
        none of its own: say "none".
    """

    tag: str
    size: int | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        if self.tag not in (BUILTIN, SMALL) and not self.tag.startswith(TORCHVISION):
            raise InputError(
                f"--backbone {self.tag} is not known; choose torchvision:NAME (such as torchvision:resnet18), "
                f"{BUILTIN} or {SMALL}."
            )
        if self.size is not None and not 16 <= self.size <= 1024:
            raise InputError(f"--size {self.size}: expected 16 to 1024 pixels.")
        if self.tag == BUILTIN and self.size not in (None, SMALL_SIZE, 2 * SMALL_SIZE):
            raise InputError(f"--size {self.size}: the builtin body sees 48 or 96 pixels.")

    @property
    def edge(self) -> int:
        """Edge of the pictures, pixels."""
        return self.size or (LARGE_SIZE if self.tag.startswith(TORCHVISION) else SMALL_SIZE)

    def build(self, n_classes: int, dropout: float = 0.0, neck: Callable[[int], nn.Module] | None = None) -> Classifier:
        """Return the network, its classifier and neck (made for the body's width) random, by torch's global generator.

        Raises
        ------
        InputError
            torchvision has no such network, or it has no feature maps.
        FeatureError
            The weights are not here, or do not fit.
        """
        if self.tag == BUILTIN:
            body = _builtin_body(self.edge, self.weights)
        elif self.tag == SMALL:
            body = _small_body(self.edge, self.weights)
        else:
            body = _torchvision_body(self.tag.removeprefix(TORCHVISION), self.edge, self.weights)
        if (file := self._file()) is not None and (state := _own_state(file)):
            checkpoints.load_all(body, state, file, f"--backbone {self.tag}")
        return Classifier(body, n_classes, dropout, None if neck is None else neck(body.width))

    def _file(self) -> Path | None:
        return None if self.weights in (None, NONE) else checkpoints.given_file(Path(str(self.weights)))


def _own_state(file: Path) -> dict[str, Tensor]:
    """Return a body's tensors of a file that `fercleaner train` wrote; none of another file."""
    state = checkpoints.read_state(file)
    return {name.removeprefix("body."): t for name, t in state.items() if name.startswith("body.stages.")} | {
        name.removeprefix("body."): t for name, t in state.items() if name.startswith("body.pool.")
    }


def _staged(layers: list[nn.Module], size: int) -> list[nn.Module]:
    """Return layers grouped by the edge of their maps: a group halves it and goes on until the next one does."""
    groups: list[list[nn.Module]] = []
    x, before = torch.zeros(1, 3, size, size), size
    modes = [layer.training for layer in layers]
    with torch.inference_mode():
        for layer in layers:
            layer.eval()
            x = layer(x)
            if not groups or x.shape[2] != before:
                groups.append([])
            groups[-1].append(layer)
            before = x.shape[2]
    for layer, mode in zip(layers, modes, strict=True):
        layer.train(mode)
    return [nn.Sequential(*group) for group in groups]


def _average() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _small_body(size: int, weights: str | None) -> Body:
    if weights is None:
        raise FeatureError(
            "--backbone small has no weights of its own. Train it from random weights with --weights none, or name a "
            "file that fercleaner train wrote with --weights FILE."
        )
    layers: list[nn.Module] = []
    before = 3
    for k, width in enumerate(SMALL_WIDTHS):
        pool = [nn.MaxPool2d(2)] if k >= 2 else []
        convolution = nn.Conv2d(before, width, 3, stride=2 if k == 0 else 1, padding=1, bias=False)
        layers += [*pool, convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        before = width
    return Body(_staged(layers, size), _average(), size)


def _torchvision_body(name: str, size: int, weights: str | None) -> Body:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise InputError(f"torchvision has no classifier '{name}'.{checkpoints.suggestion(name, known)}")
    with checkpoints.quiet():
        model = torchvision.models.get_model(name, weights=None)
    if hasattr(model, "layer4"):
        model.fc = nn.Identity()
        part, prefix, head = model, "", "fc."
        layers = [
            model.conv1,
            model.bn1,
            model.relu,
            model.maxpool,
            *(getattr(model, f"layer{k}") for k in range(1, 5)),
        ]
    elif isinstance(getattr(model, "features", None), nn.Sequential):
        part, prefix, head = model.features, "features.", "classifier."
        layers = list(model.features.children())
    else:
        raise InputError(
            f"--backbone torchvision:{name} has no feature maps that fercleaner can train on. Choose a network of "
            "convolutions, such as torchvision:resnet18, mobilenet_v3_small, efficientnet_b0 or convnext_tiny."
        )
    file = _published(name) if weights is None else None if weights == NONE else checkpoints.given_file(Path(weights))
    if file is not None and not _own_state(file):
        state = {
            key.removeprefix(prefix): t for key, t in checkpoints.read_state(file).items() if not key.startswith(head)
        }
        checkpoints.load_all(part, state, file, f"torchvision:{name}")
    return Body(_staged(layers, size), _average(), size)


def _published(name: str) -> Path:
    """Return torchvision's own weights, fetched if need be."""
    import torchvision

    entry = torchvision.models.get_model_weights(name).DEFAULT
    try:
        return checkpoints.from_url(entry.url, checkpoints.torch_folder(), f"torchvision:{name}/{entry.name}")
    except FeatureError as error:
        raise FeatureError(
            f"{str(error).removesuffix(checkpoints.WAYS_OUT)}Give a file you have with --weights FILE, or train from "
            "random weights with --weights none."
        ) from error


class _BuiltinStem(nn.Module):
    """The builtin model's way from pictures (B, 3, 48 or 96, the same), however standardized, to its first map."""

    def __init__(self, network: Any, floor: float) -> None:
        super().__init__()
        self.stem, self.detail, self.floor = network.stem, network.detail, floor

    def forward(self, pictures: Tensor) -> Tensor:
        gray = pictures.mean(1, keepdim=True)
        if gray.shape[-1] == SMALL_SIZE:
            gray = F.interpolate(gray, scale_factor=2.0, mode="nearest")
        coarse = F.avg_pool2d(gray, 2)
        mean = coarse.mean((2, 3), keepdim=True)
        spread = coarse.std((2, 3), keepdim=True, unbiased=False).clamp_min(self.floor)
        x = self.stem((coarse - mean) / spread)
        if self.detail is not None:
            x = x + self.detail((gray - mean) / spread)
        return F.silu(x)


class _BuiltinPool(nn.Module):
    """The builtin model's embedding of its last map: means, and where on the face things are."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.where, self.norm = network.where, network.norm
        self.embed, self.embed_norm = network.embed, network.embed_norm

    def forward(self, last: Tensor) -> Tensor:
        pooled = torch.cat((last.mean((2, 3)), self.where(last).flatten(1)), 1)
        embedded: Tensor = self.embed_norm(self.embed(self.norm(pooled)))
        return embedded


def _builtin_body(size: int, weights: str | None) -> Body:
    from ..encoders.builtin import weights_folder
    from ..encoders.facenet import CONTRAST_FLOOR, FaceNet, FaceNetConfig, load_facenet

    detail, own = size > SMALL_SIZE, weights == NONE
    if weights not in (None, NONE):
        state = _own_state(checkpoints.given_file(Path(str(weights))))
        detail, own = any(".detail." in name for name in state), bool(state)
    if own:
        network = FaceNet(FaceNetConfig(detail=detail))
    else:
        file = Path(weights) if weights else weights_folder() / "builtin.safetensors"
        try:
            network = load_facenet(str(file))
        except Exception as error:  # safetensors and torch raise whatever a file leads them to
            raise FeatureError(
                f"{file} does not fit the builtin body: {str(error).rstrip('.')}. Leave --weights out for its own, or "
                "say --weights none for random ones."
            ) from error
        network.requires_grad_(True)
    # a deviation of 1 of a standardized picture is about .225 of the gray range that the floor is meant in
    stem = _BuiltinStem(network, CONTRAST_FLOOR / 0.225)
    return Body([stem, network.stage1, network.stage2, network.stage3], _BuiltinPool(network), size)
