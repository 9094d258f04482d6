"""AMY-style: hypergraph convolution in a batch tells how sure each label is; propagation relabels.

The paper's equations were not available: what is certain stands in its abstract (hyperedges of nearest neighbors with
Gaussian weights, convolution to uncertainty features, an estimator of sample weights, propagation to refined labels
that retrain the classifier). Formulas are HGNN's, SCN's and ours. Its federated rounds are
`sites.fit_sites`, for any recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ..core.errors import InputError
from .backbones import Backbone, Classifier
from .faces import Batch
from .labels import TrainingSet
from .losses import cross_entropies, weighted_mean
from .recipe import Clock, Recipe, System

#: Least weight of a hyperedge, so that no face is without one.
LEAST_EDGE_WEIGHT = 1e-6


def operator(features: Tensor, k: int) -> Tensor:
    """Return Theta (B, B) of the hypergraph with one hyperedge a face: itself and its k nearest; no gradient.

        Theta = D_v^(-1/2) H W D_e^(-1) H' D_v^(-1/2),   w_e = exp(-mean_{i in e} d(i, e)^2 / sigma^2)

    d is the Euclidean distance of the center to its others, sigma their mean over the batch. Symmetric, spectrum in
    [0, 1], Theta sqrt(d_v) = sqrt(d_v).

    Source: Feng et al., Hypergraph Neural Networks, AAAI 2019, eq. 10; the weights are ours.
    """
    with torch.no_grad():
        x = features.double()
        n, k = len(x), min(k, len(x) - 1)
        distance = torch.cdist(x, x)
        apart = distance.clone().fill_diagonal_(torch.inf)
        far, near = apart.topk(k, 1, largest=False)
        sigma = far.mean().clamp_min(1e-12)
        weight = torch.exp(-(far.square().mean(1)) / sigma**2).clamp_min(LEAST_EDGE_WEIGHT)
        h = torch.eye(n, dtype=x.dtype, device=x.device).scatter(1, near, 1.0).T  # (face, hyperedge)
        degree = (h * weight).sum(1).rsqrt()[:, None]
        scaled = degree * h
        return (scaled * (weight / (k + 1))) @ scaled.T


def propagated(theta: Tensor, y: Tensor, alpha: float) -> Tensor:
    """Return what the others' labels say of each face, rows of sum 1, (B, C); no gradient.

    With M = (1 - alpha) (I - alpha Theta)^(-1), F = (M - diag M) Y, a row divided by its sum; a face that nobody speaks
    of keeps y. A face's own label does not speak for itself.
    """
    with torch.no_grad():
        eye = torch.eye(len(theta), dtype=theta.dtype, device=theta.device)
        m = (1 - alpha) * torch.linalg.inv(eye - alpha * theta)
        f = m.fill_diagonal_(0.0) @ y.to(theta.dtype)
        total = f.sum(1, keepdim=True)
        return torch.where(total > 1e-12, f / total.clamp_min(1e-12), y.to(theta.dtype)).to(y.dtype)


class Ranks(NamedTuple):
    """The rank loss, and which faces are of the unsure group, (B,) bool."""

    loss: Tensor
    unsure: Tensor


def rank_loss(sure: Tensor, share: float, margin: float) -> Ranks:
    """Return max(0, margin - (mean of the surest `share` - mean of the others)) of (B,) in (0, 1).

    Source: Wang, Peng, Yang, Lu and Qiao, Suppressing Uncertainties (SCN), CVPR 2020, eq. 3.
    """
    n = len(sure)
    top = min(max(1, round(share * n)), n - 1)
    order = sure.argsort(descending=True, stable=True)
    gap = sure[order[:top]].mean() - sure[order[top:]].mean()
    unsure = torch.zeros(n, dtype=torch.bool, device=sure.device)
    unsure[order[top:]] = True
    return Ranks(F.relu(margin - gap), unsure)


class AmySystem(System):
    """A network, its estimator of uncertainty, and the labels as they are now."""

    labels: Tensor

    def __init__(self, network: Classifier, faces: TrainingSet, recipe: Amy) -> None:
        super().__init__(network)
        self.recipe = recipe
        width = network.body.width
        self.mix = nn.Linear(width, recipe.hidden)
        self.sure = nn.Linear(recipe.hidden, 1)
        self.register_buffer("labels", torch.from_numpy(faces.distribution.copy()))

    def certainty(self, theta: Tensor, features: Tensor) -> Tensor:
        """Return how sure each label is, (B,) in (0, 1): a sigmoid on relu(Theta X Q)."""
        hidden = F.relu(theta.to(features.dtype) @ self.mix(features))
        return torch.sigmoid(self.sure(hidden))[:, 0]

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Return the weighted cross-entropy and the rank loss, and relabel where it is time."""
        recipe, w = self.recipe, batch["weight"]
        features = self.network.body(batch["weak"]).float()
        z = self.network.classifier(self.network.dropout(features)).float()
        y = self.labels[batch["place"]]
        theta = operator(features, recipe.neighbors)
        sure = self.certainty(theta, features)
        label = weighted_mean(cross_entropies(sure[:, None] * z, y), w)
        ranks = rank_loss(sure, recipe.surest, recipe.margin)
        moved = torch.zeros_like(ranks.unsure)
        if clock.step >= recipe.relabel_from * clock.steps:
            said = propagated(theta, (y + z.detach().softmax(1)) / 2, recipe.alpha)
            lead = said.max(1).values - (said * y).sum(1)
            moved = ranks.unsure & (lead > recipe.lead)
            new = F.one_hot(said.argmax(1), y.shape[1]).to(y.dtype)
            self.labels[batch["place"]] = torch.where(moved[:, None], new, y)
        return {
            "loss": label + recipe.rank_weight * ranks.loss,
            "label": label,
            "rank": ranks.loss,
            "certainty": sure.mean(),
            "relabeled": moved.float().mean(),
        }


@dataclass(frozen=True, kw_only=True)
class Amy(Recipe):
    """AMY-style: labels weighted by a hypergraph's estimate of how sure they are, and relabeled by propagation.

    In each batch a hypergraph of nearest faces (`operator`) smooths the features, a head gives each label's certainty
    s_i, and the network learns

        mean_i w_i CE(s_i z_i, y_i) + l_r max(0, margin - (mean of the surest - mean of the others))

    From a share of the training on, an unsure face is relabeled, for good, where what the others' labels and posteriors
    say of it after propagation (`propagated`, half each) leads its label by `lead`.

    Parameters
    ----------
    neighbors : int >= 1
        Others in a hyperedge.
    hidden : int >= 1
        Width of the uncertainty features.
    surest : float in (0, 1)
        Share of a batch in the sure group.
    margin, rank_weight, lead : float >= 0
        Of the rank loss, its weight l_r, and of relabeling.
    relabel_from : float in [0, 1]
        Share of the training after which faces are relabeled; 1 relabels none.
    alpha : float in (0, 1)
        Of the propagation.
    others
        As in `Recipe`.

    Source
    ------
    Ding, Yan, Lu, Xue and Wang, TCSVT 2024, arXiv 2501.01816: its abstract alone. Convolution and propagation as in
    Feng et al., AAAI 2019, and Zhou et al., NeurIPS 2006; certainty, rank loss, margins and relabeling as in SCN (Wang
    et al., CVPR 2020: surest .7, margin .15, lead .2). That posteriors take half of what is propagated, and that the
    network's own features make the graph, is ours.
    """

    name: ClassVar[str] = "amy"
    paper: ClassVar[str] = "AMY-style (after arXiv 2501.01816; equations not available)"

    neighbors: int = 8
    hidden: int = 128
    surest: float = 0.7
    margin: float = 0.15
    rank_weight: float = 1.0
    lead: float = 0.2
    relabel_from: float = 0.25
    alpha: float = 0.5

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)
        for name in ("neighbors", "hidden"):
            if getattr(self, name) < 1:
                raise InputError(f"amy: {name} is {getattr(self, name)}; expected at least 1.")
        for name in ("surest", "alpha"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"amy: {name} is {getattr(self, name)}; expected a number above 0 and below 1.")

    def system(self, backbone: Backbone, faces: TrainingSet) -> AmySystem:
        """Return network, estimator and labels."""
        return AmySystem(self.network(backbone, len(faces.classes)), faces, self)
