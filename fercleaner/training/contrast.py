"""Contrastive losses: across two spaces with a queue of keys (LA-Net), and between two views of a batch (NT-Xent)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

#: Width of a projection, hidden and in the end.
PROJECTED = 64
#: Pseudo-label of the random vectors that a queue starts with: no face has it, so that they are negatives of all.
NOBODY = torch.iinfo(torch.int64).min


class Projector(nn.Module):
    """Two layers to vectors (B, 64) of length 1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, PROJECTED), nn.ReLU(), nn.Linear(PROJECTED, PROJECTED))

    def forward(self, features: Tensor) -> Tensor:
        """Return the projections of features (B, d)."""
        return F.normalize(self.layers(features), dim=1)


class KeyQueue(nn.Module):
    """The last keys and their pseudo-labels; at first random unit vectors of no pseudo-label."""

    keys: Tensor
    pseudo: Tensor
    at: Tensor

    def __init__(self, length: int) -> None:
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(length, PROJECTED), dim=1))
        self.register_buffer("pseudo", torch.full((length,), NOBODY))
        self.register_buffer("at", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, keys: Tensor, pseudo: Tensor) -> None:
        """Put keys (B, 64) in place of the oldest."""
        keys, pseudo = keys[-len(self.keys) :], pseudo[-len(self.keys) :]
        places = (self.at + torch.arange(len(keys), device=self.at.device)) % len(self.keys)
        self.keys[places], self.pseudo[places] = keys.to(self.keys.dtype), pseudo
        self.at.copy_((self.at + len(keys)) % len(self.keys))


def pseudo_labels(bank: Tensor, place: Tensor, confidence: float) -> Tensor:
    """Return the likeliest class where its share reaches `confidence`, else an id of the face's own below 0, (B,)."""
    most, label = bank.max(1)
    return torch.where(most >= confidence, label, -1 - place)


def across_spaces(
    query: Tensor, key: Tensor, pseudo: Tensor, queue: Tensor, queue_pseudo: Tensor, temperature: float
) -> Tensor:
    """Return LA-Net's contrast of queries of one space against keys of the other.

        mean_i mean_{j: s_j = s_i} -log[ e^(q_i k_j / T) / ( e^(q_i k_j / T) + sum_{m: s_m != s_i} e^(q_i k_m / T) ) ]

    j runs over the batch, i itself included, m over the queue: each positive competes with the negatives alone, and
    keys in the queue of the same pseudo-label s are left out.

    Parameters
    ----------
    query, key : (B, D), unit length
    pseudo : (B,) int64
    queue, queue_pseudo : (M, D), (M,)
    """
    positive = query @ key.T / temperature
    other = pseudo[:, None] != queue_pseudo[None]
    negative = (query @ queue.T / temperature).masked_fill(~other, -torch.inf)
    # where there is no negative, the loss is 0 and must not be not-a-number in the gradient
    some = other.any(1, keepdim=True)
    rest = negative.masked_fill(~some, 0.0).logsumexp(1, keepdim=True)
    pair = F.softplus(rest - positive) * some
    same = (pseudo[:, None] == pseudo[None]).to(pair.dtype)
    return ((pair * same).sum(1) / same.sum(1)).mean()


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return NT-Xent of two views' features (B, d), which are normalized here; 0 for less than two faces.

    Of the 2 B vectors each has its other view as positive and all others but itself as the rest of the softmax.

    Source
    ------
    Chen, Kornblith, Norouzi and Hinton, A Simple Framework for Contrastive Learning, ICML 2020, eq. 1.
    """
    n = len(first)
    if n < 2:
        return (first.sum() + second.sum()) * 0.0
    x = F.normalize(torch.cat((first, second)), dim=1)
    scores = (x @ x.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool, device=x.device), -torch.inf)
    other = torch.arange(2 * n, device=x.device).roll(n)
    return F.cross_entropy(scores, other)


@torch.no_grad()
def follow(copy: nn.Module, model: nn.Module, momentum: float, *, buffers: bool = False) -> None:
    """Move the parameters of a copy towards a model's: m c + (1 - m) p; where asked, batch statistics alike."""
    for slow, fast in zip(copy.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast, 1 - momentum)
    for old, new in zip(copy.buffers(), model.buffers(), strict=True) if buffers else ():
        if old.is_floating_point():
            old.lerp_(new, 1 - momentum)
        else:
            old.copy_(new)
