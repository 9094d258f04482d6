"""LEAF: an ambiguous loss on several positives, class margins, experts with gates, and a mean teacher."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from ..core.arrays import Doubles, Ints
from ..core.errors import InputError
from .backbones import Backbone, Classifier
from .contrast import follow, nt_xent
from .experts import TwoLevels
from .faces import Batch
from .labels import TrainingSet
from .losses import cross_entropies, weighted_mean
from .recipe import Clock, Recipe, Schedule, System, Views
from .views import Strong

#: Least margin of a class, and its highest share of the mean confidence (Ada-CM's constants).
FLOOR, CEILING = 0.8, 0.97
#: Curvature of the "concave" weight.
CURVE = 50.0


class FuzzyPositives(NamedTuple):
    """Which classes of a pseudo-label count as right, (B, C) bool, and how much the face counts, (B,) in [0, 1]."""

    mask: Tensor
    weight: Tensor


def fuzzy_positives(q: Tensor, most: int = 3, mass: float = 0.9) -> FuzzyPositives:
    """Return the likeliest classes whose cumulative share stays below `mass`, and the weight of their lead.

    With q sorted, P_n its cumulative sums, K = min(most, C - 1) and h = q_(m + 1) the best of the others,

        m = min(K, max(1, #{n: P_n < mass})),   mu = P_(m + 1) / (m + 1),
        omega = min(1, log(1 + 50 (mu - h)) / log(1 + 50 mu))

    so that a clean tie of two classes gives one positive of low weight. No gradient.

    Source
    ------
    `topk_ce_FPL` of zfkarl/LEAF at 7873d3a, weight "concave"; Qiao et al., Fuzzy Positive Learning, CVPR 2023.
    """
    with torch.no_grad():
        c = q.shape[1]
        ranked, order = torch.sort(q, dim=1, descending=True, stable=True)
        total = ranked.cumsum(1)
        m = (total < mass).sum(1).clamp(1, min(most, c - 1))
        at = m[:, None]
        mu = total.gather(1, at)[:, 0] / (m + 1)
        lead = (mu - ranked.gather(1, at)[:, 0]).clamp_min(0)
        omega = (torch.log1p(CURVE * lead) / torch.log1p(CURVE * mu)).clamp(0, 1)
        best = torch.arange(c, device=q.device)[None] < at
        return FuzzyPositives(torch.zeros_like(best).scatter(1, order, best), omega)


def ambiguous_losses(logits: Tensor, positive: Tensor) -> Tensor:
    """Return log(1 + sum_{a in P} sum_{b not in P} exp(s_b - s_a)) of each face, (B,): all of P before the others.

    With one positive it is cross-entropy.

    Parameters
    ----------
    logits : (B, C)
    positive : (B, C) bool
        At least one class in and one out of it.
    """
    against = logits.masked_fill(positive, -torch.inf).logsumexp(1)
    for_ = (-logits).masked_fill(~positive, -torch.inf).logsumexp(1)
    return F.softplus(against + for_)


def class_margins(p: Doubles, label: Ints, epoch: int) -> Doubles:
    """Return Ada-CM's margin of every class after epoch t = 1, 2, ..., (C,).

        T_c = max(.8, .97 mean(confidence) / (1 + exp(-t)))

    over the labeled faces of class c that are classified right; .8 where there is none.

    Parameters
    ----------
    p : (M, C) float64
        The mean teacher's posteriors of labeled faces.
    label : (M,) int64
    """
    margins = np.full(p.shape[1], FLOOR)
    right = p.argmax(1) == label
    for c in range(p.shape[1]):
        sure = p[right & (label == c), c]
        if len(sure):
            margins[c] = max(FLOOR, CEILING * float(sure.mean()) / (1 + np.exp(-epoch)))
    return margins


class LeafSystem(System):
    """LEAF's network, its mean teacher and its margins."""

    margins: Tensor

    def __init__(self, network: Classifier, faces: TrainingSet, recipe: Leaf) -> None:
        super().__init__(network)
        self.recipe = recipe
        self.teacher = copy.deepcopy(network).requires_grad_(False)
        self.register_buffer("margins", torch.full((len(faces.classes),), FLOOR))
        self.known = faces.weight > 0
        self.label = faces.label
        #: Where every face has a label, all of them serve as faces without one too.
        self.both = bool(self.known.all())

    def kept(self) -> Classifier:
        """Return the mean teacher."""
        return self.teacher

    def scores(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return the contrasted features and the class scores."""
        neck = self.network.neck
        assert isinstance(neck, TwoLevels)
        features = neck.contrasted(self.network.dropout(self.network.body(pictures)))
        return features.float(), self.network.classifier(neck.instance(features)).float()

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Return the losses of labeled faces, of pseudo-labels, of contrast and of crowded gates."""
        recipe, w = self.recipe, batch["weight"]
        first, z1 = self.scores(batch["weak"])
        crowding = self._crowding()
        labeled = weighted_mean(cross_entropies(z1, batch["distribution"]), w)
        free = torch.ones_like(w, dtype=torch.bool) if self.both else w == 0
        parts = {"label": labeled, "crowding": crowding}
        if int(free.sum()) < 2:  # by chance, or no pairs: batch statistics need two faces
            return {"loss": recipe.label_weight * labeled + recipe.crowding_weight * crowding, **parts}
        second, z2 = self.scores(batch["weak2"][free])
        _, s = self.scores(batch["strong"][free])
        first, z1 = first[free], z1[free]
        pseudo, accepted = self._pseudo(z1, z2)
        positive, omega = fuzzy_positives(((z1 + z2) / 2).softmax(1), recipe.positives, recipe.mass)
        ambiguous = (ambiguous_losses(s, positive) * omega).mean()
        scale = F.cross_entropy(s, pseudo).detach() / ambiguous.detach().clamp_min(1e-8)
        unlabeled = ambiguous * scale * accepted.float().mean()
        contrast = nt_xent(first[~accepted], second[~accepted], recipe.temperature)
        return {
            "loss": recipe.label_weight * labeled
            + unlabeled
            + recipe.contrast_weight * contrast
            + recipe.crowding_weight * crowding,
            **parts,
            "unlabeled": unlabeled,
            "contrast": contrast,
            "accepted": accepted.float().mean(),
            "positives": positive.float().sum(1).mean(),
        }

    def _pseudo(self, z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
        """Return the likeliest class of the mean posterior, and whether it reaches its class's margin."""
        with torch.no_grad():
            confidence, pseudo = ((z1.softmax(1) + z2.softmax(1)) / 2).max(1)
            return pseudo, confidence >= self.margins[pseudo]

    def _crowding(self) -> Tensor:
        neck = self.network.neck
        assert isinstance(neck, TwoLevels)
        return neck.semantic.crowding + neck.instance.crowding

    def stepped(self, clock: Clock) -> None:
        """Let the teacher follow, batch statistics included."""
        follow(self.teacher, self.network, self.recipe.momentum, buffers=True)

    def ended(self, clock: Clock, predict: Callable[[], Doubles]) -> None:
        """Set the margins by the teacher's confidence on the labeled faces."""
        p = predict()[self.known]
        margins = class_margins(p, self.label[self.known], clock.epoch + 1)
        self.margins.copy_(torch.from_numpy(margins).to(self.margins))


@dataclass(frozen=True, kw_only=True)
class Leaf(Recipe):
    """LEAF: labeled faces, and pseudo-labels of several positives for faces without a label.

        L = l_x CE(labeled) + A (B / A*) mean_i [ p_i reaches its class's margin ] + l_s NT-Xent(the others)

    A is the mean of omega times the ambiguous loss of the strong view over all faces without a label, B the mean
    cross-entropy of the strong view against the likeliest class, and * stops the gradient: the value is that of
    cross-entropy, the gradient that of the ambiguous loss. Where a set is labeled throughout, each face takes both
    parts; `from_refined(..., which="drop")` takes the labels of flagged faces away. The mean teacher is kept.

    Parameters
    ----------
    experts, kept_experts : int >= 1
        Of each level, and how many of them a face is shown to; 1 and 1 is what the released run configuration comes to:
        a residual layer.
    positives : int >= 1
        Classes that count as right at most.
    mass : float in (0, 1)
        Below which their cumulative share stays.
    label_weight, contrast_weight, crowding_weight : float >= 0
        l_x, l_s, and of the gates' crowding.
    temperature : float > 0
        Of NT-Xent.
    momentum : float in [0, 1)
        Of the teacher.
    others
        As in `Recipe`; a batch holds as many faces with as without a label.

    Source
    ------
    Zhang et al., LEAF: Unveiling Two Sides of the Same Coin in Semi-supervised Facial Expression
    Recognition, CVIU 2025, arXiv 2404.15041; repository zfkarl/LEAF at 7873d3a, and hangyu94/Ada-CM at aca2b35 for
    margins, views and weights. Differs from it in: experts are distinct and fused along a line, as the paper says (the
    code has one expert eight times, fused in log space); both levels are on features, as in the code (the paper has the
    second on class scores); the crowding of gates is part of the loss, by their summed gates alone; an epoch is a pass
    over the faces; every view is shifted by up to 4 pixels, before it is changed (Ada-CM: 8, by chance 1/2, after it).
    """

    name: ClassVar[str] = "leaf"
    paper: ClassVar[str] = "LEAF (arXiv 2404.15041)"
    uses_unlabeled: ClassVar[bool] = True

    epochs: int = 20
    batch: int = 32
    rate: float = 5e-4
    head_rate: float = 5e-4
    schedule: Schedule = "constant"
    weight_decay: float = 0.02
    dropout: float = 0.5
    experts: int = 4
    kept_experts: int = 2
    positives: int = 3
    mass: float = 0.9
    label_weight: float = 0.5
    contrast_weight: float = 0.1
    crowding_weight: float = 0.01
    temperature: float = 0.07
    momentum: float = 0.999

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)
        for name in ("experts", "kept_experts", "positives"):
            if getattr(self, name) < 1:
                raise InputError(f"leaf: {name} is {getattr(self, name)}; expected at least 1.")
        if not 0 < self.mass < 1:
            raise InputError(f"leaf: mass is {self.mass}; expected a number above 0 and below 1.")
        if not 0 <= self.momentum < 1:
            raise InputError(f"leaf: momentum is {self.momentum}; expected 0 up to 1.")

    def strong(self) -> Strong:
        """Return RandAugment(3, 5) and cutout."""
        return Strong(self.weak(), changes=3, strength=5)

    def views(self) -> Views:
        """Return two weak views and a strong one."""
        return {"weak": self.weak(), "weak2": self.weak(), "strong": self.strong()}

    def network(self, backbone: Backbone, n_classes: int) -> Classifier:
        """Return a network with two levels of experts."""
        return backbone.build(n_classes, self.dropout, lambda width: TwoLevels(width, self.experts, self.kept_experts))

    def system(self, backbone: Backbone, faces: TrainingSet) -> LeafSystem:
        """Return network, teacher and margins."""
        return LeafSystem(self.network(backbone, len(faces.classes)), faces, self)
