"""Mixtures of experts with noisy top-k gates, as a neck between body and classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

#: Least deviation of the gates' noise in training.
LEAST_NOISE = 1e-2


class ResidualExpert(nn.Module):
    """A residual bottleneck: x + W2 relu(W1 x + b1) + b2, of half the width inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, max(1, width // 2)), nn.Linear(max(1, width // 2), width)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, width)."""
        said: Tensor = x + self.outer(F.relu(self.inner(x)))
        return said


def top_gates(logits: Tensor, kept: int) -> Tensor:
    """Return the softmax over the `kept` largest logits of each row, 0 elsewhere, (B, E).

    Examples
    --------
    >>> [round(g, 4) for g in top_gates(torch.tensor([[2.0, 1.0, 0.5]]), 2)[0].tolist()]
    [0.7311, 0.2689, 0.0]
    """
    best = logits.topk(min(kept, logits.shape[1]), 1)
    shares = best.values.softmax(1)  # float32 where autocast gives logits of bfloat16
    return torch.zeros_like(logits, dtype=shares.dtype).scatter(1, best.indices, shares)


class Experts(nn.Module):
    """sum_j G_j(x) E_j(x), G the softmax over the `kept` largest of noisy gate logits.

        x W_g + e (softplus(x W_n) + .01),   e ~ N(0, 1) in training, 0 after it

    After a forward pass `crowding` is the squared coefficient of variation of the experts' summed gates: 0 where all
    are used alike.

    Source
    ------
    Shazeer et al., Outrageously Large Neural Networks, ICLR 2017, eq. 3 to 6.
    """

    def __init__(self, width: int, experts: int, kept: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(ResidualExpert(width) for _ in range(experts))
        self.kept = kept
        self.gate, self.noise = nn.Linear(width, experts, bias=False), nn.Linear(width, experts, bias=False)
        for layer in (self.gate, self.noise):
            nn.init.zeros_(layer.weight)
        self.crowding = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, width)."""
        logits = self.gate(x)
        if self.training:
            logits = logits + torch.randn_like(logits) * (F.softplus(self.noise(x)) + LEAST_NOISE)
        gates = top_gates(logits, self.kept)
        used = gates.sum(0)
        self.crowding = used.var(unbiased=False) / used.mean().square().clamp_min(1e-10)
        said = torch.stack([expert(x) for expert in self.experts], 1)
        return (gates[:, :, None] * said).sum(1)


class TwoLevels(nn.Module):
    """LEAF's neck: experts, length 1 (the feature that is contrasted), experts again."""

    def __init__(self, width: int, experts: int, kept: int) -> None:
        super().__init__()
        self.semantic, self.instance = Experts(width, experts, kept), Experts(width, experts, kept)

    def contrasted(self, features: Tensor) -> Tensor:
        """Return the features (B, width) of length 1 after the first experts."""
        return F.normalize(self.semantic(features), dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return what the classifier gets."""
        decided: Tensor = self.instance(self.contrasted(features))
        return decided
