"""Fit the expression and blendshape read-outs of the builtin network again, on its finished body.

The body learns under one loss for everything. Its read-outs can then do better, each for its own purpose, with the body
left as it is: the features of changed training faces are computed once, and the last layers learn on them alone.

- Expressions: cross-entropy to the votes, every expression weighing the same, since rare ones are to be found as
  often as frequent ones are (cRT: Kang et al., Decoupling representation and classifier for long-tailed recognition,
  ICLR 2020; there with hard labels and sampling instead of weights). It goes on from the layer as trained.
- Blendshapes: logits of values in [0, 1], cross-entropy to the teacher's. Most are near 0 in nearly all faces; what
  there is to know lies in few large values. While the body learns, the loss is robust and those large values hold
  less sway; a linear output also cannot be small nearly everywhere and large at times, which a sigmoid can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from builtin_augment import augment
from builtin_data import VARYING, Faces
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fercleaner.encoders.facenet import FaceNet

#: Changed copies of every training face. Passes over all copies, faces a step, learning rate (falls to 0).
COPIES, PASSES, BATCH = 8, 6, 512
RATES = {"expressions": 1e-3, "blendshapes": 5e-3}
#: Weight decay of the blendshape layers. The expression layer has few weights, starts from trained ones, and has none.
DECAY = 0.01
#: Features of the blendshape head that vary less are not enlarged further, so that float16 holds the weights.
STEADY = 0.02
#: The rarest mean of a blendshape that its logit starts from.
RAREST = 1e-4
#: For the description of the weights.
SETTINGS = {
    "copies": COPIES,
    "passes": PASSES,
    "batch": BATCH,
    "learning_rates": RATES,
    "blendshape_weight_decay": DECAY,
}


@dataclass(frozen=True)
class Features:
    """What the read-outs see of M changed faces.

    Attributes
    ----------
    rows : (M,) int64, the face that each is a changed copy of
    embedding : (M, 256) float16
    shapes : (M, 392) float16, what the blendshape head is given
    blendshapes : (M, 52) float32 in [0, 1], the teacher's, mirrored where the copy is
    """

    rows: Tensor
    embedding: Tensor
    shapes: Tensor
    blendshapes: Tensor


def teacher_values(standardized: Tensor, faces: Faces) -> Tensor:
    """Return blendshapes (M, 52) as the teacher gave them, in [0, 1], from their standardized form."""
    return (standardized * faces.blend_std.clamp_min(VARYING) + faces.blend_mean).clamp(0, 1)


def compute_features(
    network: FaceNet,
    faces: Faces,
    rows: NDArray[np.intp],
    mirror: list[int],
    seed: int,
    copies: int = COPIES,
    half: bool = True,
) -> Features:
    """Return the features of `copies` changed copies of each face in `rows`, changed as in training."""
    seen: list[Tensor] = []
    hook = network.blend.register_forward_pre_hook(lambda _, given: seen.append(given[0].half()))
    embedding, targets = [], []
    chosen = [torch.from_numpy(rows[k : k + 128]) for k in range(0, len(rows), 128)]
    try:
        with torch.inference_mode():
            for copy in range(copies):
                rng = torch.Generator().manual_seed(seed * 1_000_033 + copy)
                for some in chosen:
                    x, _, shapes, _ = augment(
                        faces.pictures[some, None].float() / 255,
                        faces.points[some],
                        faces.blendshapes[some],
                        mirror,
                        rng,
                    )
                    with torch.autocast("cpu", torch.bfloat16, enabled=half):
                        out = network(x.contiguous(memory_format=torch.channels_last))
                    embedding.append(out.embedding.half())
                    targets.append(teacher_values(shapes, faces))
    finally:
        hook.remove()
    return Features(torch.from_numpy(rows).repeat(copies), torch.cat(embedding), torch.cat(seen), torch.cat(targets))


def balanced_weights(faces: Faces, rows: NDArray[np.intp]) -> Tensor:
    """Return (N,) weights with which the votes for each expression weigh the same over `rows`, mean 1 there."""
    total = (faces.votes[rows] * faces.weight[rows, None]).sum(0)
    weight = (faces.votes @ (1 / total.clamp_min(1e-3 * total.sum()))) * faces.weight
    return weight / weight[rows].mean()


def _descend(layers: nn.Module, rate: float, decay: float, count: int, seed: int, passes: int, loss: Any) -> None:
    """Minimize `loss(rows of the features)` over the weights of `layers`."""
    optimizer = torch.optim.AdamW(layers.parameters(), lr=rate, weight_decay=decay)
    rng = torch.Generator().manual_seed(seed)
    per_pass = max(count // BATCH, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(1 - step / (passes * per_pass), 0.01))
    for _ in range(passes):
        order = torch.randperm(count, generator=rng)
        for k in range(per_pass):
            optimizer.zero_grad()
            loss(order[k * BATCH : (k + 1) * BATCH]).backward()
            optimizer.step()
            schedule.step()


def fit_expressions(
    layer: nn.Linear, features: Features, faces: Faces, weight: Tensor, dropout: float, seed: int, passes: int = PASSES
) -> None:
    """Fit the class layer to the votes, faces weighing `weight` (N,); it goes on from its present weights."""
    torch.manual_seed(seed)

    def loss(some: Tensor) -> Tensor:
        rows = features.rows[some]
        logits = layer(F.dropout(features.embedding[some].float(), dropout))
        votes: Tensor = -(faces.votes[rows] * logits.log_softmax(1)).sum(1) * weight[rows]
        return votes.mean()

    _descend(layer, RATES["expressions"], 0.0, len(features.rows), seed, passes, loss)


def fit_blendshapes(head: nn.Sequential, features: Features, faces: Faces, seed: int, passes: int = PASSES) -> None:
    """Fit the blendshape head anew; those that hardly vary become constants.

    Every blendshape's cross-entropy is divided by m (1 - m), m its mean, so that rarely raised ones count.
    """
    torch.manual_seed(seed)
    first, last = head[0], head[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    known = faces.found[features.rows].nonzero()[:, 0]
    inputs = features.shapes.float()
    mean, spread = inputs.mean(0), inputs.std(0).clamp_min(STEADY)
    target, columns = features.blendshapes, faces.varying
    usual = target[known].mean(0).clamp(RAREST, 1 - RAREST)
    scale = columns / (usual * (1 - usual))
    scale = scale / scale.sum()
    with torch.no_grad():
        first.reset_parameters()
        last.weight.zero_()
        last.bias.copy_(torch.logit(usual))

    def loss(some: Tensor) -> Tensor:
        rows = known[some]
        logits = head((inputs[rows] - mean) / spread)
        return (F.binary_cross_entropy_with_logits(logits, target[rows], reduction="none") * scale).sum(1).mean()

    _descend(head, RATES["blendshapes"], DECAY, len(known), seed, passes, loss)
    with torch.no_grad():
        first.weight.div_(spread)
        first.bias.sub_(first.weight @ mean)
        last.bias[~columns] = torch.logit(usual)[~columns]


def refit(
    network: FaceNet,
    faces: Faces,
    rows: NDArray[np.intp],
    mirror: list[int],
    seed: int,
    half: bool = True,
    copies: int = COPIES,
    passes: int = PASSES,
) -> None:
    """Fit both read-outs of `network` in place, on the training faces `rows`; its body stays as it is."""
    features = compute_features(network, faces, rows, mirror, seed, copies, half)
    network.requires_grad_(False)
    for layers in (network.classify, network.blend):
        layers.requires_grad_(True)
    weight = balanced_weights(faces, rows)
    fit_expressions(network.classify, features, faces, weight, network.config.dropout, seed, passes)
    fit_blendshapes(network.blend, features, faces, seed, passes)
    network.requires_grad_(False)
