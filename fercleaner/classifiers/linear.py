"""The heads that the probe puts on frozen views: logistic regression and a small network, all folds at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..core.arrays import Bools, Floats, Progress
from ..core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

#: Ridge on the linear head's weights, times 1 / sqrt(n) for n training faces, beside the mean cross-entropy of rows
#: of length 1 a view. Measured on FER2013's labels against votes, 300 to 28,709 faces: this is stronger than what
#: fits held-out given labels best (those are wrong too), and weaker than where rare classes are lost.
RIDGE = 0.1
#: The same for a head on kernel features (`kernel`), whose rows have a length of about 1 whatever the number of views.
KERNEL_RIDGE = 0.025
#: Full-batch steps of the linear head; the held-out loss is flat from there on.
LINEAR_STEPS = 50
#: Hidden units, dropout, Adam's step and decay, faces a batch, epochs and patience of the small network.
MLP_HIDDEN = 128
MLP_DROPOUT = 0.5
MLP_RATE = 2e-3
MLP_DECAY = 1e-2
MLP_BATCH = 512
MLP_EPOCHS = 30
MLP_PATIENCE = 3
#: Small sets are gone through more often, until there were this many steps.
MLP_STEPS = 300
#: One group in this many is kept aside to stop the small network early.
MLP_HOLDOUT = 8
#: Rows whose scores are held at once.
BLOCK = 16_384


def torch_device(device: str) -> str:
    """Return the torch device for `device`; "auto" is the GPU where torch sees one, else the CPU."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    name, colon, number = device.partition(":")
    if device not in ("cpu", "cuda") and not (name == "cuda" and colon and number.isdecimal()):
        raise InputError(f"device '{device}' is not known; choose auto, cuda, cuda:NUMBER or cpu.")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.startswith("cuda") and gpus == 0:
        raise InputError(f"--device {device}: torch sees no GPU here. Use --device auto or cpu.")
    if device.startswith("cuda:") and int(device[5:]) >= gpus:
        raise InputError(f"--device {device}: torch sees {gpus} GPU here, numbered from 0. Use --device cuda:0.")
    return device


def own_margin(logits: Tensor, label: Tensor) -> Tensor:
    """Return the score of the given label less the best other score, (N, F) of (N, F, C) and (N,)."""
    index = label[:, None, None].expand(-1, logits.shape[1], 1)
    own = logits.gather(2, index)
    return (own - logits.scatter(2, index, float("-inf")).amax(2, keepdim=True))[:, :, 0]


def fit_linear(
    design: Floats,
    given: Floats,
    trains: Bools,
    device: str,
    progress: Progress | None,
    strength: float = RIDGE,
) -> tuple[Floats, Floats]:
    """Train all folds' linear heads at once; return their scores (N, F, C) and mean margins (N, F).

    Targets are distributions: (N, C), or (N, F, C) where each fold has its own. Margins are those of the likeliest
    class, on the mean over folds in the latter case. `strength` / sqrt(n) is the ridge.
    """
    import torch

    n, folds, classes = len(design), trains.shape[1], given.shape[-1]
    size = np.maximum(trains.sum(0), 1)
    x, y = torch.from_numpy(design).to(device), torch.from_numpy(np.array(given)).to(device)
    share = torch.from_numpy((trains / size).astype(np.float32)).to(device)
    y = y[:, None, :] if y.ndim == 2 else y
    label = y.mean(1).argmax(1)
    ridge = torch.from_numpy((strength / np.sqrt(size)).astype(np.float32)).to(device)
    blocks = [slice(a, min(a + BLOCK, n)) for a in range(0, n, BLOCK)]
    # the cross-entropy's curvature is at most half the largest eigenvalue of sum_i share_i x_i x_i'
    probe = torch.ones((x.shape[1], folds), device=device)
    for _ in range(12):
        probe = probe / probe.norm(dim=0).clamp_min(1e-30)
        probe = sum((x[b].T @ ((x[b] @ probe) * share[b]) for b in blocks), torch.zeros_like(probe))
    step = 1.0 / (0.55 * probe.norm(dim=0) + 2.0 * ridge)
    prior = torch.log((torch.einsum("nf,nfc->fc", share, y.expand(-1, folds, -1)) + 1.0 / n) / (1.0 + classes / n))
    weight = torch.zeros((x.shape[1], folds, classes), device=device)
    bias = prior.clone()
    before, bias_before = weight, bias
    margin = torch.zeros((n, folds), device=device)
    pace = torch.ones(folds, device=device)
    for done in range(LINEAR_STEPS):
        faster = (1.0 + torch.sqrt(1.0 + 4.0 * pace**2)) / 2.0
        ahead = ((pace - 1.0) / faster)[:, None]
        at, bias_at = weight + ahead * (weight - before), bias + ahead * (bias - bias_before)
        slope = torch.zeros((x.shape[1], folds * classes), device=device)
        bias_slope = torch.zeros_like(bias)
        for b in blocks:
            z = (x[b] @ at.view(x.shape[1], -1)).view(-1, folds, classes) + bias_at
            margin[b] += own_margin(z, label[b])
            error = (torch.softmax(z, 2) - y[b]) * share[b][:, :, None]
            slope += x[b].T @ error.view(-1, folds * classes)
            bias_slope += error.sum(0)
        gradient = slope.view_as(weight) + 2.0 * ridge[:, None] * at
        before, bias_before = weight, bias
        weight, bias = at - step[:, None] * gradient, bias_at - bias_slope
        # O'Donoghue and Candes: a fold whose momentum points uphill starts its momentum anew
        uphill = (gradient * (weight - before)).sum((0, 2)) > 0
        pace = torch.where(uphill, torch.ones_like(pace), faster)
        if progress is not None:
            progress(done + 1, LINEAR_STEPS)
    logits = torch.cat([(x[b] @ weight.view(x.shape[1], -1)).view(-1, folds, classes) + bias for b in blocks])
    return logits.cpu().numpy(), (margin / LINEAR_STEPS).cpu().numpy()


def fit_mlp(
    design: Floats,
    given: Floats,
    trains: Bools,
    aside: Bools,
    seed: int,
    device: str,
    progress: Progress | None,
) -> tuple[Floats, Floats]:
    """Train all folds' small networks at once; return their scores (N, F, C) and mean margins (N, F)."""
    import torch

    n, folds, classes = len(design), trains.shape[1], given.shape[1]
    learns = trains & ~aside[:, None]
    learns = np.where(learns.any(0), learns, trains)
    stops = trains & aside[:, None]
    x, y = torch.from_numpy(design).to(device), torch.from_numpy(np.array(given)).to(device)
    label, learn = y.argmax(1), torch.from_numpy(learns).to(device)
    generator = torch.Generator().manual_seed(seed)
    width = folds * MLP_HIDDEN
    inner = torch.randn((x.shape[1], width), generator=generator).to(device) * 0.5
    inner_bias = torch.full((width,), 0.1, device=device)
    outer = torch.zeros((folds, MLP_HIDDEN, classes), device=device)
    prior = np.log((trains.T @ given + 1.0) / (trains.sum(0)[:, None] + classes))
    outer_bias = torch.from_numpy(prior.astype(np.float32)).to(device)
    layers = [inner, inner_bias, outer, outer_bias]
    for layer in layers:
        layer.requires_grad_(True)
    adam = torch.optim.AdamW(layers, lr=MLP_RATE, weight_decay=MLP_DECAY)

    def scores(rows: Tensor, keep: Tensor | None) -> Tensor:
        hidden = torch.relu(x[rows] @ inner + inner_bias).view(-1, folds, MLP_HIDDEN)
        if keep is not None:
            hidden = hidden * keep / (1.0 - MLP_DROPOUT)
        return torch.einsum("nfh,fhc->nfc", hidden, outer) + outer_bias

    def all_scores() -> Tensor:
        with torch.no_grad():
            return torch.cat([scores(b, None) for b in torch.split(torch.arange(n, device=device), BLOCK)])

    pool = np.flatnonzero(learns.any(1))
    margin, visits = torch.zeros((n, folds), device=device), 0
    best_loss, stale = np.full(folds, np.inf), np.zeros(folds, dtype=np.int64)
    best = torch.zeros((n, folds, classes), device=device)
    times = max(1, -(-MLP_STEPS // (MLP_EPOCHS * -(-len(pool) // MLP_BATCH))))
    epochs = MLP_EPOCHS * times
    for epoch in range(epochs):
        for batch in torch.split(torch.randperm(len(pool), generator=generator), MLP_BATCH):
            rows = torch.from_numpy(pool[batch.numpy()]).to(device)
            keep = torch.rand((len(rows), folds, MLP_HIDDEN), generator=generator) >= MLP_DROPOUT
            z = scores(rows, keep.to(device).float())
            margin[rows] += own_margin(z.detach(), label[rows])
            loss = -(y[rows][:, None, :] * torch.log_softmax(z, 2)).sum(2)
            adam.zero_grad()
            torch.autograd.backward(((loss * learn[rows]).sum(0) / learn[rows].sum(0).clamp_min(1)).sum())
            adam.step()
        visits += 1
        now = all_scores()
        fit = -(y[:, None, :] * torch.log_softmax(now, 2)).sum(2).cpu().numpy()
        held = np.where(stops, fit, 0.0).sum(0) / np.maximum(stops.sum(0), 1)
        better = (held < best_loss) | ~stops.any(0)
        best = torch.where(torch.from_numpy(better).to(device)[:, None], now, best)
        best_loss, stale = np.where(better, held, best_loss), np.where(better, 0, stale + 1)
        if progress is not None:
            progress(epoch + 1, epochs)
        if (stale >= MLP_PATIENCE * times).all():
            break
    if progress is not None:
        progress(epochs, epochs)
    return best.cpu().numpy(), (margin / max(visits, 1)).cpu().numpy()
