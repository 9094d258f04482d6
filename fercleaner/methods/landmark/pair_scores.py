"""LA-Net's pair networks: how much each neighbor should contribute, learned from the posteriors."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.arrays import Bools, Doubles, Floats, Ints
from ...core.errors import MissingDependency

log = logging.getLogger(__name__)

#: Width of the first layer, halved into a center's and a neighbor's part; LA-Net keeps that of its features.
WIDTH = 128
EPOCHS = 4
BATCH = 512
LEARNING_RATE = 1e-3
#: LA-Net's epsilon in the normalization of scores.
EPSILON = 1e-8


def fit_pair_scores(
    features: Sequence[Floats],
    indices: Sequence[Ints],
    values: Floats,
    found: Bools,
    given: Doubles,
    *,
    share: Doubles,
    order: Ints,
    rng: np.random.Generator,
    names: Sequence[str],
    epochs: int = EPOCHS,
) -> dict[str, Doubles]:
    """Fit one pair network a view, together, and return its scores (N, k) in (0, 1) by view.

    h = Linear(D, 128)(x) is split into a (first half) and b; the pair (i, j) passes [a_i, b_j] through
    Linear(128, 64), ReLU, Linear(64, 32), ReLU, Linear(32, 2) and a softmax, whose first component is s_ij.
    Over random batches of faces that have a posterior, Adam minimises

        mean_i KL(p_i || b_i),   b_i = (1 - share_i) y_i + share_i mean_views sum_j omega_ij p_j

    with omega the scores normalized over the neighbors that have a posterior, and y, p held fixed.

    Parameters
    ----------
    features, indices : V arrays (N, D_v) and (N, k_v)
        Vectors, zero where a face has none, and neighbors of each view, -1 padding. Vectors are centered on their mean
        and scaled to length sqrt(D) here.
    values, found, given : (N, C), (N,), (N, C)
        Posteriors p and where they are, given distributions y.
    share : (N,)
        Of t in the bank.
    order : (N,) int
        Rows in an order that does not depend on how the faces are numbered (by id); batches come from it.

    Source
    ------
    LA-Net's public code, layers.py (Wu and Cui, ICCV 2023). Differs from it in: the first layer is 128 wide
    whatever D is; neighbors come from the whole set; the bank is in closed form; posteriors are fixed, and
    therefore the divergence is turned round: with p fixed, KL(b || p) of the paper is least for neighbors that are
    sure, not for those that are right.

    Cost: about 10 s an epoch, view and 30,000 faces of 1,024 dimensions on two cores; O(N k) memory.
    """
    if not features:
        return {}
    torch = import_torch("Learned pair scores")
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    inputs = [torch.from_numpy(centered_rows(x, _mean_vector(x))) for x in features]
    near = [torch.from_numpy(i.copy()) for i in indices]
    p = torch.from_numpy(values.copy())
    has = torch.from_numpy(found.copy())
    y = torch.from_numpy(given.astype(np.float32))
    part = torch.from_numpy(np.asarray(share, dtype=np.float32))[:, None]
    nets = [_pair_network(torch, x.shape[1], generator) for x in inputs]
    usable = np.zeros(len(found), dtype=bool)
    for table in indices:
        usable |= ((table >= 0) & found[table]).any(1)
    rows = torch.from_numpy(order[(usable & found)[order]])
    optimizer = torch.optim.Adam([w for net in nets for w in net.parameters()], lr=LEARNING_RATE)
    for epoch in range(epochs if len(rows) else 0):
        shuffled = rows[torch.randperm(len(rows), generator=generator)]
        total = 0.0
        for batch in shuffled.split(BATCH):
            targets, weight = [], []
            for net, x, table in zip(nets, inputs, near, strict=True):
                target, known = _target(torch, net, x, table[batch], p, has, batch)
                targets.append(target * known[:, None])
                weight.append(known)
            pool = torch.stack(targets).sum(0) / torch.stack(weight).sum(0)[:, None]
            bank = (1 - part[batch]) * y[batch] + part[batch] * pool
            loss = -(p[batch] * bank.clamp_min(1e-6).log()).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(batch)
        log.debug("pair scores, epoch %d: cross-entropy %.4f", epoch + 1, total / len(rows))
    result: dict[str, Doubles] = {}
    with torch.no_grad():
        for name, net, x, table in zip(names, nets, inputs, near, strict=True):
            every = torch.arange(len(table))
            known = torch.cat([net.project(rows) for rows in x.split(BATCH)])
            scores = torch.cat(
                [net.score(known[batch], known[table[batch].clamp_min(0)]) for batch in every.split(BATCH)]
            )
            result[name] = scores.double().numpy()
    return result


def _target(torch: Any, net: Any, x: Any, near: Any, p: Any, has: Any, batch: Any) -> tuple[Any, Any]:
    """Return t (B, C) of one view and whether each face has a neighbor to go by, (B,) float."""
    inside = near.clamp_min(0)
    mask = ((near >= 0) & has[inside]).float()
    score = net(x, batch, near) * mask
    omega = score / (score.sum(1, keepdim=True) + EPSILON)
    return torch.einsum("bk,bkc->bc", omega, p[inside]), (mask.sum(1) > 0).float()


def _pair_network(torch: Any, dimensions: int, generator: Any) -> Any:
    """Return LA-Net's score network, its weights drawn from `generator`."""
    nn = torch.nn

    class PairNetwork(nn.Module):  # type: ignore[misc, name-defined]
        """Scores (B, k) of the neighbors `near` (B, k) of the faces `centers` (B,)."""

        def __init__(self) -> None:
            super().__init__()
            half = WIDTH // 2
            self.project = nn.Linear(dimensions, WIDTH)
            self.head = nn.Sequential(
                nn.Linear(WIDTH, half),
                nn.ReLU(),
                nn.Linear(half, half // 2),
                nn.ReLU(),
                nn.Linear(half // 2, 2),
            )

        def score(self, center: Any, others: Any) -> Any:
            """Score `others` (B, k, WIDTH) for `center` (B, WIDTH), both projected."""
            half = WIDTH // 2
            own = center[:, None, :half].expand(-1, others.shape[1], -1)
            return torch.softmax(self.head(torch.cat([own, others[..., half:]], dim=2)), dim=2)[..., 0]

        def forward(self, x: Any, centers: Any, near: Any) -> Any:
            needed, where = torch.unique(near.clamp_min(0), return_inverse=True)
            return self.score(self.project(x[centers]), self.project(x[needed])[where])

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        return PairNetwork()


def _mean_vector(values: Floats) -> Floats:
    """Return the mean of the rows of `values` (N, D) that are not zero, (D,)."""
    count = max(1, int(values.any(1).sum()))
    return np.asarray(values.sum(0, dtype=np.float64) / count, dtype=np.float32)


def centered_rows(values: Floats, mean: Floats) -> Floats:
    """Return `values` (N, D) less `mean`, scaled to length sqrt(D) so that entries are of order 1; float32."""
    rows: Floats = (values - mean).astype(np.float32)
    length = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64) / rows.shape[1])
    return np.asarray(rows / np.where(length > 0, length, 1.0)[:, None], dtype=np.float32)


def import_torch(purpose: str) -> Any:
    """Return the torch module, or raise MissingDependency."""
    try:
        import torch
    except ImportError as error:
        raise MissingDependency("torch", purpose) from error
    return torch
