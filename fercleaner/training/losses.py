"""Cross-entropy with label distributions and sample weights, and what is often done to labels beforehand."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def soft_cross_entropy(logits: Tensor, distribution: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the weighted mean cross-entropy of class scores against label distributions.

        L = sum_i w_i ( - sum_c r_ic log softmax(z_i)_c ) / sum_i w_i

    Parameters
    ----------
    logits : (B, C)
    distribution : (B, C)
        Rows sum to 1; one-hot rows give plain cross-entropy.
    weight : (B,) >= 0, optional
        1 for every face by default; where all are 0 the loss is 0.

    Returns
    -------
    Tensor of no dimension.

    Examples
    --------
    >>> z = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    >>> round(float(soft_cross_entropy(z, torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([1.0, 3.0]))), 6)
    0.801592
    """
    each = cross_entropies(logits, distribution)
    if weight is None:
        return each.mean()
    return weighted_mean(each, weight)


def cross_entropies(logits: Tensor, distribution: Tensor) -> Tensor:
    """Return the cross-entropy of each face, (B,)."""
    return -(distribution * F.log_softmax(logits, 1)).sum(1)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return sum_i w_i x_i / sum_i w_i of (B,) and (B,); 0 (with a gradient of 0) where the weights are all 0."""
    total = weight.sum()
    return (values * weight).sum() / torch.where(total > 0, total, torch.ones_like(total))


def smoothed(distribution: Tensor, share: float) -> Tensor:
    """Return (1 - share) r + share / C: label smoothing, of distributions (B, C) as of one-hot labels."""
    return (1 - share) * distribution + share / distribution.shape[1]


class Mixed(NamedTuple):
    """Pictures and labels after mixup; the arguments of a network and of `soft_cross_entropy`."""

    pictures: Tensor
    distribution: Tensor
    weight: Tensor


def mixup(pictures: Tensor, distribution: Tensor, weight: Tensor, share: float, partner: Tensor) -> Mixed:
    """Return each face mixed with a partner, with its label distribution and weight mixed alike.

        x' = s x_i + (1 - s) x_j,   w' = s w_i + (1 - s) w_j,   r' = (s w_i r_i + (1 - s) w_j r_j) / w'

    so that w' times the cross-entropy against r' is the mix of both faces' weighted losses: a label that is not
    trusted counts as little in a mix as alone. Where w' is 0, r' is the plain mix.

    Parameters
    ----------
    pictures : (B, 3, S, S)
    distribution : (B, C)
    weight : (B,)
    share : float in [0, 1]
        s, drawn from Beta(a, a) a batch (`torch.distributions.Beta`).
    partner : (B,) int64
        j of each i, such as torch.randperm(B).

    Source
    ------
    Zhang, Cisse, Dauphin and Lopez-Paz, mixup, ICLR 2018; the weights are ours.
    """
    own, other = share * weight, (1 - share) * weight[partner]
    total = own + other
    kept = torch.where(total > 0, own / torch.where(total > 0, total, torch.ones_like(total)), share)[:, None]
    return Mixed(
        share * pictures + (1 - share) * pictures[partner],
        kept * distribution + (1 - kept) * distribution[partner],
        total,
    )


def symmetric_kl_bits(first: Tensor, second: Tensor) -> Tensor:
    """Return KL(p || q) + KL(q || p) in bits for the softmaxes of logits (B, C) and (B, C), (B,) >= 0.

        sum_c (p_c - q_c) (log2 p_c - log2 q_c)

    The gradient goes into both sides.
    """
    a, b = F.log_softmax(first, 1), F.log_softmax(second, 1)
    return ((a.exp() - b.exp()) * (a - b)).sum(1) / torch.log(torch.tensor(2.0, dtype=a.dtype, device=a.device))
