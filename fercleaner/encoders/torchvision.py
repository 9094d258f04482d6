"""`torchvision:NAME` or `torchvision:NAME/WEIGHTS`: a classifier of torchvision without its last layer.

The vector is what the last linear layer is given. It is found as the model's `fc`, `classifier`, `head` or
`heads`, or the last step of it: alexnet, convnext, densenet, efficientnet, googlenet, inception, maxvit,
mnasnet, mobilenet, regnet, resnet, resnext, shufflenet, swin, vgg, vit and wide_resnet have one. squeezenet,
which ends in a convolution, has not.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError, MissingDependency
from . import checkpoints
from .network import Network, take_apart

if TYPE_CHECKING:
    import torch

#: densenet's published files keep the names of its first release: "norm.1" for "norm1".
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")
#: Second heads that serve training alone.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")


def build(name: str, *, weights: Path | None, device: str, batch_size: int | None) -> Network:
    """Return the torchvision model NAME with the preprocessing of WEIGHTS, by default its best.

    `weights` may have a last layer of any size, or none. Every other tensor must fit.

    Raises
    ------
    InputError
        torchvision has no such classifier or weights, or the model does not end in a linear layer.
    FeatureError
        The weights are not here, or do not cover the model.
    """
    try:
        import torchvision
    except ImportError as error:
        raise MissingDependency("torchvision", f"encoder 'torchvision:{name}'") from error

    model_name, _, entry_name = name.partition("/")
    known = torchvision.models.list_models(module=torchvision.models)
    if model_name not in known:
        raise InputError(
            f"torchvision has no classifier '{model_name}'.{checkpoints.suggestion(model_name, known)} "
            f"It has {', '.join(known)}."
        )
    entries = torchvision.models.get_model_weights(model_name)
    if entry_name and entry_name not in entries.__members__:
        names = ", ".join(entry.name for entry in entries)
        raise InputError(f"torchvision has no weights '{entry_name}' for {model_name} ({names}).")
    entry = entries[entry_name] if entry_name else entries.DEFAULT
    what = f"torchvision:{model_name}"
    with checkpoints.quiet():
        model = torchvision.models.get_model(model_name, weights=None, **_options(model_name, entry))
    head = _behead(model, model_name)
    if weights:
        path = checkpoints.given_file(weights)
    else:
        path = checkpoints.from_url(entry.url, checkpoints.torch_folder(), f"{what}/{entry.name}")
    state = {}
    for key, tensor in checkpoints.read_state(path).items():
        if not key.startswith((head, *_AUXILIARY)):
            state[_OLD_DENSENET.sub(r"\1\2", key)] = tensor
    checkpoints.load_all(model, state, path, what)
    spec = {
        "kind": "torchvision",
        "model": model_name,
        "pretrained": "" if weights else entry.name,
        "weights": checkpoints.sha256(path),
    }
    preprocessing = take_apart(entry.transforms())
    return Network("torchvision", spec, model, preprocessing, device=device, batch_size=batch_size)


def _options(model_name: str, entry: Any) -> dict[str, Any]:
    """What torchvision itself sets when it builds a model for published weights."""
    if model_name in ("googlenet", "inception_v3"):
        return {"transform_input": True, "aux_logits": False, "init_weights": False}
    if model_name.startswith("vit_"):
        return {"image_size": entry.meta["min_size"][0]}
    return {}


def _behead(model: torch.nn.Module, name: str) -> str:
    """Replace the last linear layer by nothing; return the prefix of its tensors' names."""
    from torch import nn

    for attribute in ("fc", "classifier", "heads", "head"):
        part = getattr(model, attribute, None)
        if isinstance(part, nn.Linear):
            setattr(model, attribute, nn.Identity())
            return f"{attribute}."
        if isinstance(part, nn.Sequential) and len(part):
            last_name, last = list(part.named_children())[-1]
            if isinstance(last, nn.Linear):
                setattr(part, last_name, nn.Identity())
                return f"{attribute}.{last_name}."
    raise InputError(
        f"torchvision:{name} does not end in a linear layer, so it has no vector before it. "
        "Use another model, such as torchvision:resnet18."
    )
