"""A small classifier on frozen views: one hidden layer on all of them side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from beds import Bed
from targets import Targets

from fercleaner.core.arrays import Doubles, Floats
from fercleaner.pipeline.refine import LANDMARKS
from fercleaner.similarity.whitening import join, whiten

#: The classifier: hidden units, dropout, Adam's step and decay, faces a batch, epochs.
HIDDEN, DROPOUT, RATE, DECAY, BATCH, EPOCHS = 128, 0.3, 2e-3, 1e-3, 256, 8
#: Steps at least, on small sets.
LEAST_STEPS = 400


def settings() -> dict[str, Any]:
    """Return what a training hangs on, JSON types."""
    return {"hidden": HIDDEN, "dropout": DROPOUT, "rate": RATE, "decay": DECAY, "epochs": EPOCHS}


def classifier_inputs(bed: Bed) -> Floats:
    """Return all views side by side as the neighbor tables see them, (N, D) float32; no label takes part."""
    from fercleaner.landmarks.geometry import descriptor

    views = {view.view: whiten(view) for view in bed.views}
    if bed.landmarks is not None:
        views[LANDMARKS] = descriptor(bed.landmarks)
    return join(views).values if len(views) > 1 else next(iter(views.values())).values


def train(inputs: Floats, targets: Targets, asked: Floats, seed: int) -> Doubles:
    """Train the classifier on `inputs` (N, D) and return its class probabilities for `asked` (M, D), (M, C)."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    rows = np.flatnonzero(targets.weight > 0)
    # weights of mean 1, so that the step does not hang on how they are scaled
    weight = torch.from_numpy((targets.weight[rows] / targets.weight[rows].mean()).astype(np.float32))
    x = torch.from_numpy(inputs[rows])
    y = torch.from_numpy(targets.distribution[rows].astype(np.float32))
    scale = float(np.sqrt(inputs.shape[1]))
    network = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], HIDDEN),
        torch.nn.ReLU(),
        torch.nn.Dropout(DROPOUT),
        torch.nn.Linear(HIDDEN, y.shape[1]),
    )
    # as many steps whatever is left out, so that dropping faces is not also training less
    steps = max(LEAST_STEPS, EPOCHS * -(-len(inputs) // BATCH))
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    while schedule.last_epoch < steps:
        order = torch.randperm(len(rows), generator=generator)
        for batch in torch.split(order, BATCH)[: steps - schedule.last_epoch]:
            losses = torch.nn.functional.cross_entropy(network(x[batch] * scale), y[batch], reduction="none")
            optimizer.zero_grad()
            (losses * weight[batch]).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        probability: Doubles = torch.softmax(network(torch.from_numpy(asked) * scale), 1).double().numpy()
    return probability
