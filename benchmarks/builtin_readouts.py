"""Fit the two expression read-outs of the builtin network again, on its finished body.

The body learns under one loss for everything, and its read-outs follow it while it moves. With the body left as it is,
the embeddings of changed faces are computed once, and both layers go on from where they are on these alone: every
expression weighing the same, since rare ones are to be found as often as frequent ones (cRT: Kang et al., Decoupling
representation and classifier for long-tailed recognition, ICLR 2020; there with hard labels).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from builtin_batches import Targets, crops_batch, photographs_batch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fercleaner.encoders.facenet import FaceNet

#: Changed copies of every crop and of every photograph. Passes over all, faces a step, learning rate (falls to 0).
COPIES, PASSES, BATCH, RATE = (2, 3), 6, 512, 1e-3
SETTINGS = {"copies": COPIES, "passes": PASSES, "batch": BATCH, "learning_rate": RATE}


@dataclass(frozen=True)
class Features:
    """What the read-outs see of M changed faces: embedding (M, 256), both targets (M, 8), crop or photograph (M,)."""

    embedding: Tensor
    votes: Tensor
    photographs: Tensor
    is_crop: Tensor


def compute_features(
    network: FaceNet, sets: tuple[Targets, Targets], mirror: list[int], seed: int, copies: tuple[int, int] = COPIES
) -> Features:
    """Return the features of changed copies of every face to train on, changed as in training."""
    parts: list[tuple[Tensor, ...]] = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for which, (some, times) in enumerate(zip(sets, copies, strict=True)):
            for copy in range(times):
                rng = torch.Generator().manual_seed(seed * 1_000_033 + 2 * copy + which)
                for start in range(0, len(some.rows), 128):
                    rows = torch.from_numpy(some.rows[start : start + 128])
                    make = photographs_batch if which else crops_batch
                    batch = make(some, rows, mirror, rng)
                    x = batch.pictures.contiguous(memory_format=torch.channels_last)
                    out, _ = network.looks(x)
                    kept = batch.weight > 0
                    crop = torch.full((int(kept.sum()),), which == 0)
                    parts.append((out.embedding[kept], batch.votes[kept], batch.photographs[kept], crop))
    return Features(*(torch.cat(column) for column in zip(*parts, strict=True)))


def balanced(target: Tensor) -> Tensor:
    """Return weights (M,) with which every expression weighs the same in `target`, mean 1."""
    total = target.sum(0)
    weight = target @ (1 / total.clamp_min(1e-3 * float(total.sum())))
    return weight / weight.mean()


def fit(layer: nn.Linear, embedding: Tensor, target: Tensor, seed: int, passes: int = PASSES) -> None:
    """Fit the layer to targets (M, C), C its first outputs, by balanced cross-entropy; it goes on from its weights."""
    weight, width = balanced(target), target.shape[1]
    optimizer = torch.optim.AdamW(layer.parameters(), lr=RATE, weight_decay=0.0)
    rng = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    steps = max(len(embedding) // BATCH, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(1 - step / (passes * steps), 0.01))
    for _ in range(passes):
        order = torch.randperm(len(embedding), generator=rng)
        for k in range(steps):
            some = order[k * BATCH : (k + 1) * BATCH]
            logits = layer(F.dropout(embedding[some].float(), 0.2))[:, :width]
            optimizer.zero_grad()
            (-(target[some] * logits.log_softmax(1)).sum(1) * weight[some]).mean().backward()
            optimizer.step()
            schedule.step()


def refit(network: FaceNet, sets: tuple[Targets, Targets], mirror: list[int], seed: int) -> None:
    """Fit both read-outs in place: `classify` on crops' votes, `photographs` on the teacher's answers to both sets."""
    features = compute_features(network, sets, mirror, seed)
    refit_on(network, features, seed)


def refit_on(network: FaceNet, features: Features, seed: int, passes: int = PASSES) -> None:
    """Fit both read-outs in place on these features; the body stays as it is."""
    network.requires_grad_(False)
    for layer in (network.classify, network.photographs):
        layer.requires_grad_(True)
    crops = features.is_crop
    embedding = features.embedding.clone()
    fit(network.classify, embedding[crops], features.votes[crops].clone(), seed, passes)
    fit(network.photographs, embedding, features.photographs[:, :7].clone(), seed, passes)
    network.requires_grad_(False)
