"""The head that the probe puts on frozen views: logistic regression, all folds at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..core.arrays import Bools, Floats, Progress

if TYPE_CHECKING:
    from torch import Tensor

#: Ridge on the linear head's weights, times 1 / sqrt(n) for n training faces, beside the mean cross-entropy of rows
#: of length 1 a view. Measured on FER2013's labels against votes, 300 to 28,709 faces: this is stronger than what
#: fits held-out given labels best (those are wrong too), and weaker than where rare classes are lost.
RIDGE = 0.1
#: Full-batch steps of the linear head at most; the held-out loss is flat from there on.
LINEAR_STEPS = 50
#: A head is done when its gradient is this part of the first one: after 30 to 40 steps on FER2013's faces.
CONVERGED = 0.005
#: Rows at once: they stay near the processor between the two products of a step.
BLOCK = 1024


def own_margin(logits: Tensor, label: Tensor) -> Tensor:
    """Return the score of the given label less the best other score, (F, N) of (F, C, N) and (N,)."""
    index = label.expand(logits.shape[0], 1, -1)
    own = logits.gather(1, index)
    return (own - logits.scatter(1, index, float("-inf")).amax(1, keepdim=True))[:, 0]


def fit_linear(
    design: Floats,
    given: Floats,
    trains: Bools,
    device: str,
    progress: Progress | None,
    strength: float = RIDGE,
    also: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Train all folds' linear heads at once; return their scores (N, F, C) and mean margins (N, F).

    With `also`, (M, D), scores are (N + M, F, C): those of these rows, which train nothing, stand behind.

    Targets are distributions: (N, C), or (N, F, C) where each fold has its own. Margins are those of the likeliest
    class, on the mean over folds in the latter case. `strength` / sqrt(n) is the ridge. Each head stops by itself, so
    that no label of its own fold has a say in when.
    """
    import torch

    n, folds, classes = len(design), trains.shape[1], given.shape[-1]
    size = np.maximum(trains.sum(0), 1)
    x = torch.from_numpy(design).to(device)
    # faces last: a row a fold and class makes long, contiguous products of few columns
    y = torch.from_numpy(np.ascontiguousarray(given.transpose(1, 0) if given.ndim == 2 else given.transpose(1, 2, 0)))
    y = y.to(device)[None] if y.ndim == 2 else y.to(device)
    share = torch.from_numpy(np.ascontiguousarray((trains / size).astype(np.float32).T)).to(device)
    label = y.mean(0).argmax(0)
    ridge = torch.from_numpy((strength / np.sqrt(size)).astype(np.float32)).to(device)
    blocks = [slice(a, min(a + BLOCK, n)) for a in range(0, n, BLOCK)]
    # the cross-entropy's curvature is at most half the largest eigenvalue of sum_i share_i x_i x_i'
    probe = torch.ones((folds, x.shape[1]), device=device)
    for _ in range(12):
        probe = probe / probe.norm(dim=1, keepdim=True).clamp_min(1e-30)
        probe = sum((((probe @ x[b].T) * share[:, b]) @ x[b] for b in blocks), torch.zeros_like(probe))
    step = 1.0 / (0.55 * probe.norm(dim=1) + 2.0 * ridge)
    prior = torch.log((torch.einsum("fn,fcn->fc", share, y.expand(folds, -1, -1)) + 1.0 / n) / (1.0 + classes / n))
    weight = torch.zeros((folds, classes, x.shape[1]), device=device)
    bias = prior.clone()
    before, bias_before = weight, bias
    margin = torch.zeros((folds, n), device=device)
    pace = torch.ones(folds, device=device)
    steps, least = torch.zeros(folds, device=device), torch.zeros(folds, device=device)
    goes_on = torch.ones(folds, dtype=torch.bool, device=device)
    for done in range(LINEAR_STEPS):
        faster = (1.0 + torch.sqrt(1.0 + 4.0 * pace**2)) / 2.0
        ahead = ((pace - 1.0) / faster)[:, None]
        at, bias_at = weight + ahead[:, :, None] * (weight - before), bias + ahead * (bias - bias_before)
        slope = torch.zeros((folds * classes, x.shape[1]), device=device)
        bias_slope = torch.zeros_like(bias)
        for b in blocks:
            z = (at.view(-1, x.shape[1]) @ x[b].T).view(folds, classes, -1) + bias_at[:, :, None]
            margin[:, b] += own_margin(z, label[b]) * goes_on[:, None]
            error = (torch.softmax(z, 1) - y[:, :, b]) * share[:, None, b]
            slope += error.view(folds * classes, -1) @ x[b]
            bias_slope += error.sum(2)
        gradient = slope.view_as(weight) + 2.0 * ridge[:, None, None] * at
        steps += goes_on
        size = gradient.norm(dim=(1, 2))
        least = CONVERGED * size if done == 0 else least
        goes_on = goes_on & (size > least)
        before, bias_before = weight, bias
        weight = torch.where(goes_on[:, None, None], at - step[:, None, None] * gradient, weight)
        bias = torch.where(goes_on[:, None], bias_at - bias_slope, bias)
        # O'Donoghue and Candes: a fold whose momentum points uphill starts its momentum anew
        uphill = (gradient * (weight - before)).sum((1, 2)) > 0
        pace = torch.where(uphill, torch.ones_like(pace), faster)
        if progress is not None:
            progress(done + 1 if goes_on.any() else LINEAR_STEPS, LINEAR_STEPS)
        if not goes_on.any():
            break
    logits = torch.empty((n + (0 if also is None else len(also)), folds, classes), device=device)
    for first, rows in ((0, x), (n, torch.from_numpy(also).to(device) if also is not None else x[:0])):
        for start in range(0, len(rows), BLOCK):
            some = rows[start : start + BLOCK]
            z = (weight.view(-1, x.shape[1]) @ some.T).view(folds, classes, -1) + bias[:, :, None]
            logits[first + start : first + start + len(some)] = z.permute(2, 0, 1)
    return logits.cpu().numpy(), (margin.T.contiguous() / steps).cpu().numpy()
