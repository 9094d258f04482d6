"""What a training starts with: the network, of an earlier one's weights where they fit, and the precision."""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from torch import Tensor

from fercleaner.encoders.facenet import POINTS, FaceNet, FaceNetConfig, config_of
from fercleaner.similarity.neighbors.scan import multiplies_bfloat16

#: Weights of the first version (48 x 48 pixels alone) had py-feat's jaw, 11 points down to the chin on one side: which
#: of its points each of the 17 starts from, and to which of the 17 each of its points goes in the blendshapes' input.
JAW_FROM = (0, 1, 3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 15, 16, 16, 16)
JAW_TO = (0, 1, 2, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10, 10, 11, 12, 16)


def mixed_precision(half: bool | None = None) -> torch.autocast:
    """Return a context for passes of the network in bfloat16, by default where the processor multiplies it.

    One without (AVX2) takes six times as long in bfloat16 as in float32.
    """
    return torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16() if half is None else half)


def start_network(weights: str) -> FaceNet:
    """Return a network with `weights` ("" for none), in evaluation mode.

    Weights of the first version keep what they give: the finer stem adds nothing at first, `photographs` starts from
    the votes' layer, and the points of the jaw from those nearest to their places.
    """
    state = {name: value.float() for name, value in load_file(weights).items()} if weights else {}
    network = FaceNet(FaceNetConfig(hidden=config_of(state).hidden))
    assert network.detail is not None
    with torch.no_grad():
        network.detail[-1].weight.zero_()
    if not weights:
        return network.eval()
    if not any(name.startswith("photographs.") for name in state):
        state |= _first_version(network, state)
    network.load_state_dict(state, strict=False)
    return network.eval()


def _first_version(network: FaceNet, old: dict[str, Tensor]) -> dict[str, Tensor]:
    fresh = {k: v.clone() for k, v in network.state_dict().items() if k.startswith("detail.") or k == "pool"}
    source = torch.tensor((*JAW_FROM, *range(17, POINTS)))
    for name, each in (("points.votes", 3), ("points.correction", 2)):
        for part in ("weight", "bias"):
            value = old[f"{name}.{part}"]
            fresh[f"{name}.{part}"] = value.reshape(POINTS, each, *value.shape[1:])[source].reshape(value.shape)
    first = old["blend.0.weight"].clone()
    geometry = first[:, -2 * POINTS :].reshape(len(first), POINTS, 2)
    moved = torch.zeros_like(geometry)
    moved.index_add_(1, torch.tensor((*JAW_TO, *range(17, POINTS))), geometry)
    first[:, -2 * POINTS :] = moved.flatten(1)
    fresh["blend.0.weight"] = first
    return fresh | {f"photographs.{part}": old[f"classify.{part}"] for part in ("weight", "bias")}
