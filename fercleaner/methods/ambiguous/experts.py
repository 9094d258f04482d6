"""The expert head of LEAF on frozen views: distinct experts, top-k gates, a load loss, and the ambiguous loss.

Nothing here depends on the order of the classes: those whose probabilities are level share what one of them gets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...classifiers.linear import BLOCK
from ...classifiers.probe import assign_folds, calibrate, roles, side_by_side
from ...core.arrays import Bools, Doubles, Floats, Ints
from ...core.devices import torch_device
from ...core.numeric import softmax
from ...core.types import Features, Posteriors, Samples

if TYPE_CHECKING:
    from torch import Tensor

#: Principal directions of the views that the experts see, and their hidden units (released LEAF: 512 and 256).
WIDTH = 128
BOTTLENECK = 64
#: Share of dropped inputs in the teacher's weak passes and in the student's strong pass.
WEAK, STRONG = 0.1, 0.4
#: Weight of the load loss (Shazeer et al. 2017).
LOAD_SHARE = 0.01
#: Probabilities this close are level: rounding may not decide between them.
TIE = 1e-4
#: Adam's step and decay, faces a batch, and the epochs of which the first ones learn from labels alone.
RATE = 1e-3
DECAY = 1e-2
BATCH = 512
EPOCHS = 12
WARM_UP = 4
#: Small sets are gone through more often, until there were this many steps.
STEPS = 120
#: Parts into which the labeled faces are dealt; each part is judged by the head of the others.
FOLDS = 5
#: Votes are held above this, so that none can forbid a class.
LEAST_VOTE = 1e-4


def top_gates(logits: Tensor, k: int) -> Tensor:
    """Return softmax over the k largest entries of each row of `logits` (..., E), zero at the others.

    Logits (2, 1, .5) with k = 2 give (.7311, .2689, 0). Of equals the first are kept.
    """
    import torch

    order = torch.argsort(logits, dim=-1, descending=True, stable=True)[..., :k]
    kept = torch.full_like(logits, float("-inf")).scatter(-1, order, logits.gather(-1, order))
    return torch.softmax(kept, dim=-1)


def load_loss(gates: Tensor) -> Tensor:
    """Return the squared coefficient of variation of the experts' shares of a batch, scalar; 0 = even.

    Shares are the sums of `gates` (B, E) over the batch, the "importance" of Shazeer et al. 2017, eq. 6-7.
    """
    importance = gates.sum(0)
    return importance.var(unbiased=False) / importance.mean().clamp_min(1e-12) ** 2


def ambiguous_loss(logits: Tensor, positive: Tensor) -> Tensor:
    """Return log(1 + sum over classes a, b of m_a (1 - m_b) exp(s_b - s_a)), one number a row.

    Parameters
    ----------
    logits : (..., C) float
    positive : (..., C) float in [0, 1], or bool
        m: 1 for a positive, 0 for a negative; classes that are level share the places left. With one positive
        this is the cross-entropy; a row without negatives has loss 0.

    Source
    ------
    LEAF (topk_ce_FPL), from FPL: Qiao et al., Fuzzy Positive Learning, CVPR 2023; through log-sum-exp here.
    """
    import torch

    member = positive.to(logits.dtype)
    weakest = torch.logsumexp(torch.log(member) - logits, -1)
    strongest = torch.logsumexp(torch.log1p(-member) + logits, -1)
    return torch.nn.functional.softplus(weakest + strongest)


def fuzzy_positives(teacher: Tensor, limit: int, mass: float) -> tuple[Tensor, Tensor]:
    """Return LEAF's positives (..., C) and concave weight (...) of `teacher`, as `ambiguous.positives` does."""
    import torch

    ranked = torch.sort(teacher, dim=-1, descending=True).values
    total = ranked.cumsum(-1)
    m = (total < mass).sum(-1, keepdim=True).clamp(1, limit)
    mean, height = total.gather(-1, m) / (m + 1), ranked.gather(-1, m)
    weight = torch.log1p(50.0 * (mean - height).clamp_min(0)) / torch.log1p(50.0 * mean)
    edge = ranked.gather(-1, m - 1)
    beyond = teacher - edge  # compared as one number: rounding must not leave a class neither above nor level
    above, level = beyond > TIE, beyond.abs() <= TIE
    left = (m - above.sum(-1, keepdim=True)) / level.sum(-1, keepdim=True)
    return torch.where(above, 1.0, torch.where(level, left, 0.0)), weight[..., 0].clamp(0.0, 1.0)


def expert_posteriors(
    samples: Samples,
    features: Mapping[str, Features],
    rng: np.random.Generator,
    *,
    experts: int = 4,
    active: int = 2,
    limit: int = 3,
    mass: float = 0.9,
    fold: Ints | None = None,
    votes: Floats | None = None,
    device: str = "auto",
) -> Posteriors:
    """Return out-of-fold class posteriors of a mixture of experts trained on labeled and unlabeled faces.

    With x the views side by side, turned to their first principal directions, the head is

        h = sum_j G_j(x) E_j(x),   E_j(x) = x + W2_j relu(W1_j x + b1_j) + b2_j,   z = V h + c,

    E_j distinct, G softmax over the `active` largest of a learned linear map of x. Each fold's head minimizes

        L = [sum over labeled faces of CE + sum over the others of omega L_amb, scaled to the worth of CE on
             argmax times the mean confidence] / faces + .01 cv^2(load)

    L_amb over all faces whose label it may not see: unlabeled ones and those of its own fold. What is positive
    for them is read off the teacher: the mean scores of two weak passes (a tenth of the inputs dropped, no
    gradient) and, where there are `votes`, their mean with log v: the head and the graph train it together. It
    is learned in a strong pass (four tenths dropped). In the first third of the epochs it is trained on votes alone,
    or, without them, on labels.

    Parameters
    ----------
    experts, active : int
        How many there are, and how many speak for a face.
    limit, mass : int, float
        Most positives, and the probability below which classes stay positive: `Ambiguous`.
    fold : (N,) int64, optional
        Which head may not see each face's label; by default five folds dealt by `probe.assign_folds`.
    votes : (N, F, C) float, optional
        v: what another source that saw no label of fold f holds of every face (`label_graph.graph_votes`).
    rng : Generator
        Seeds the folds and the training.

    Returns
    -------
    Posteriors
        Named "experts"; `found` as in `probe.cross_fit`.

    Source
    ------
    Zhang et al., LEAF: Unveiling Two Sides of the Same Coin in Semi-supervised Facial Expression Recognition,
    arXiv 2404.15041. Differs from its released code in: experts are distinct, several are active, fusion is
    linear, the load loss counts, the backbone is frozen (so no NT-Xent term and no image augmentation; inputs
    are dropped instead), no class margin scales the unlabeled loss, a second teacher is possible, and a labeled
    face counts as much as any other (LEAF's batches are half labeled, which fits a few wrong labels by heart).
    """
    seed = int(rng.integers(2**31))
    order = samples.by_id
    design, found = side_by_side(samples, features, order)
    usable = np.zeros_like(found)
    usable[order] = found
    dealt = assign_folds(samples, FOLDS, seed, usable=usable) if fold is None else fold
    given = np.asarray(samples.given, dtype=np.float32)[order]
    used = found & samples.labeled[order]
    trains, judges = roles(dealt[order], used, found)
    guide = None if votes is None else np.log(np.maximum(votes[order], LEAST_VOTE)).astype(np.float32)
    values, seen = np.zeros(given.shape), np.zeros(len(found), dtype=np.bool_)
    if judges.any():
        limit = min(limit, given.shape[1] - 1)
        head = _Training(design, given, trains, found, guide, experts, active, limit, mass)
        logits = head.run(seed, torch_device(device))
        temperature = calibrate(logits, given, judges & used[:, None])
        share = judges / np.maximum(judges.sum(1, keepdims=True), 1)
        values[order] = np.einsum("nf,nfc->nc", share, softmax((logits / temperature).astype(np.float64)))
        seen[order] = judges.any(1)
        values[~seen] = 0.0
    return Posteriors("experts", samples.ids, samples.classes, values.astype(np.float32), seen, learned=True)


def _principal(design: Floats, found: Bools, width: int) -> Floats:
    """Return the rows of `design` turned to their `width` widest directions, at mean square 1 a row's entry."""
    gram: Doubles = (design[found].T @ design[found]).astype(np.float64)
    _, directions = np.linalg.eigh(gram)
    turned: Floats = (design @ directions[:, ::-1][:, :width].astype(np.float32)).astype(np.float32)
    scale = np.sqrt(np.mean(turned[found].astype(np.float64) ** 2))
    return (turned / max(float(scale), 1e-12)).astype(np.float32)


class _Training:
    """Trains the heads of all folds side by side."""

    def __init__(
        self,
        design: Floats,
        given: Floats,
        trains: Bools,
        found: Bools,
        votes: Floats | None,
        experts: int,
        active: int,
        limit: int,
        mass: float,
    ) -> None:
        self.x = _principal(design, found, min(WIDTH, design.shape[1]))
        self.given, self.trains, self.found, self.votes = given, trains, found, votes
        self.experts, self.active, self.limit, self.mass = experts, min(active, experts), limit, mass

    def run(self, seed: int, device: str) -> Floats:
        """Return the scores of every fold's head, (N, F, C)."""
        import torch

        x = torch.from_numpy(self.x).to(device)
        y = torch.from_numpy(self.given).to(device)
        learn = torch.from_numpy(self.trains).to(device)
        unlabeled = torch.from_numpy(self.found[:, None] & ~self.trains).to(device)
        votes = None if self.votes is None else torch.from_numpy(self.votes).to(device)
        self.generator = torch.Generator().manual_seed(seed)
        self._build(x.shape[1], device)
        adam = torch.optim.AdamW(list(self.layers.values()), lr=RATE, weight_decay=DECAY)
        pool = torch.from_numpy(np.flatnonzero(self.found)).to(device)
        times = max(1, -(-STEPS // (EPOCHS * -(-len(pool) // BATCH))))
        for epoch in range(EPOCHS * times):
            for batch in torch.split(torch.randperm(len(pool), generator=self.generator), BATCH):
                rows = pool[batch.to(device)]
                z, gates = self._scores(self._dropped(x[rows], STRONG))
                fit = -(y[rows][:, None, :] * torch.log_softmax(z, 2)).sum(2)
                loss = (fit * learn[rows]).sum() / len(rows)
                loss = loss + LOAD_SHARE * sum(load_loss(gates[:, f]) for f in range(gates.shape[1]))
                warm = epoch >= WARM_UP * times
                if (warm or votes is not None) and bool(unlabeled[rows].any()):
                    guide = None if votes is None else votes[rows]
                    loss = loss + self._unlabeled(self._teacher(x[rows], guide, warm), z, unlabeled[rows])
                adam.zero_grad()
                torch.autograd.backward(loss)
                adam.step()
        with torch.no_grad():
            scores = torch.cat([self._scores(part)[0] for part in torch.split(x, BLOCK)])
        out: Floats = scores.cpu().numpy()
        return out

    def _build(self, width: int, device: str) -> None:
        import torch

        f, e, c = self.trains.shape[1], self.experts, self.given.shape[1]

        def random(*shape: int, scale: float) -> Tensor:
            return torch.randn(shape, generator=self.generator).to(device) * scale

        prior = np.log((self.trains.T @ self.given + 1.0) / (self.trains.sum(0)[:, None] + c))
        self.layers: dict[str, Tensor] = {
            "gate": random(width, f * e, scale=0.01),
            "inner": random(width, f * e * BOTTLENECK, scale=float(np.sqrt(1.0 / width))),
            "inner_bias": torch.zeros(f * e * BOTTLENECK, device=device),
            "outer": random(f, e, BOTTLENECK, width, scale=0.01),
            "outer_bias": torch.zeros((f, e, width), device=device),
            "clf": torch.zeros((f, width, c), device=device),
            "clf_bias": torch.from_numpy(prior.astype(np.float32)).to(device),
        }
        for layer in self.layers.values():
            layer.requires_grad_(True)

    def _scores(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (B, F, C) and gates (B, F, E) of inputs (B, D)."""
        import torch

        at, f, e = self.layers, self.trains.shape[1], self.experts
        gates = top_gates((x @ at["gate"]).view(-1, f, e), self.active)
        hidden = torch.relu(x @ at["inner"] + at["inner_bias"]).view(-1, f, e, BOTTLENECK)
        spoken = (hidden * gates[..., None]).permute(1, 0, 2, 3).flatten(2)
        mixed = torch.bmm(spoken, at["outer"].flatten(1, 2)) + torch.einsum("bfe,fed->fbd", gates, at["outer_bias"])
        mixed = mixed + x
        return torch.bmm(mixed, at["clf"]).permute(1, 0, 2) + at["clf_bias"], gates

    def _dropped(self, x: Tensor, share: float) -> Tensor:
        import torch

        keep = torch.rand(x.shape, generator=self.generator) >= share
        return x * keep.to(x.device) / (1.0 - share)

    def _teacher(self, x: Tensor, votes: Tensor | None, warm: bool) -> Tensor:
        """Return the targets of unlabeled faces, (B, F, C): by weak passes (once `warm`) and log `votes`."""
        import torch

        if not warm and votes is not None:
            return torch.softmax(votes, 2)
        with torch.no_grad():
            weak = (self._scores(self._dropped(x, WEAK))[0] + self._scores(self._dropped(x, WEAK))[0]) / 2
            return torch.softmax(weak if votes is None else (torch.log_softmax(weak, 2) + votes) / 2, 2)

    def _unlabeled(self, teacher: Tensor, strong: Tensor, unlabeled: Tensor) -> Any:
        """Return LEAF's loss on the faces whose label a fold may not see, a share of the batch, summed over folds."""
        import torch

        positive, omega = fuzzy_positives(teacher, self.limit, self.mass)
        ambiguous = _mean(ambiguous_loss(strong, positive) * omega, unlabeled)
        top = teacher >= teacher.amax(2, keepdim=True) - TIE
        certain = -(torch.log_softmax(strong, 2) * top).sum(2) / top.sum(2)
        worth = (_mean(certain, unlabeled) / ambiguous.clamp_min(1e-6)).detach()
        sure = _mean(teacher.amax(2), unlabeled)
        return (ambiguous * worth * sure * unlabeled.sum(0) / len(unlabeled)).sum()


def _mean(values: Tensor, rows: Tensor) -> Tensor:
    """Return the mean over the chosen rows of (B, F) a fold, (F,); 0 where none is chosen."""
    return (values * rows).sum(0) / rows.sum(0).clamp_min(1)
