"""LA-Net: a label bank fed by neighbors in expression and landmark space, a landmark branch, contrast of the two."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ..core.errors import InputError
from .backbones import Backbone, Body, Classifier
from .contrast import KeyQueue, Projection, across_spaces, follow, pseudo_labels
from .faces import Batch
from .heatmaps import AFLW_19
from .labels import TrainingSet
from .losses import cross_entropies, weighted_mean
from .recipe import Clock, Recipe, Schedule, System
from .samplers import Balance
from .views import MS_CELEB, Weak

#: Channels of the landmark branch's maps; the branch starts where pictures are at most this many pixels a cell.
BRANCH_WIDTH, SHARED_STRIDE = 64, 4

#: Keeps a sum of scores away from 0.
TINY = 1e-8


def nearest_in_batch(features: Tensor, k: int) -> Tensor:
    """Return the places of each face's k nearest others by cosine similarity, (B, k) int64; no gradient."""
    with torch.no_grad():
        unit = F.normalize(features.float(), dim=1)
        similarity = unit @ unit.T
        similarity.fill_diagonal_(-torch.inf)
        return similarity.topk(min(k, len(features) - 1), 1).indices


class PairScores(nn.Module):
    """How much each neighbor counts for a face: s_ij in (0, 1), not symmetric.

    With h = W x split into halves a and b, s_ij is the first of the softmax of a three-layer net on (a_i, b_j).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        even = width - width % 2
        self.split = nn.Linear(width, even)
        self.score = nn.Sequential(
            *(nn.Linear(even, even // 2), nn.ReLU(), nn.Linear(even // 2, max(1, even // 4)), nn.ReLU()),
            nn.Linear(max(1, even // 4), 2),
        )

    def forward(self, features: Tensor, neighbors: Tensor) -> Tensor:
        """Return the scores of features (B, d) and neighbors (B, k), (B, k)."""
        own, other = self.split(features).chunk(2, 1)
        pairs = torch.cat((own[:, None].expand(-1, neighbors.shape[1], -1), other[neighbors]), 2)
        scores: Tensor = self.score(pairs).softmax(2)[:, :, 0]
        return scores


def neighborhood(scores: Tensor, neighbors: Tensor, p: Tensor) -> Tensor:
    """Return sum_j omega_ij p_j, omega_ij = s_ij / sum_j s_ij, (B, C), for scores and neighbors (B, k), p (B, C)."""
    omega = scores / (scores.sum(1, keepdim=True) + TINY)
    return (omega[:, :, None] * p[neighbors]).sum(1)


def adaptive_wing(
    found: Tensor, wanted: Tensor, alpha: float = 2.1, omega: float = 14.0, epsilon: float = 1.0, theta: float = 0.5
) -> Tensor:
    """Return the adaptive wing loss of each cell of heat maps, of their shape.

    With d = |wanted - found| and g = alpha - wanted,

        omega ln(1 + (d / epsilon)^g)   where d < theta,   A d - C   elsewhere,
        A = omega g (theta / epsilon)^(g - 1) / (epsilon (1 + (theta / epsilon)^g)),
        C = theta A - omega ln(1 + (theta / epsilon)^g)

    Source: Wang, Bo and Fuxin, Adaptive Wing Loss for Robust Face Alignment, ICCV 2019, eq. 5 and 6.
    """
    d, g = (wanted - found).abs(), alpha - wanted
    at = (theta / epsilon) ** g
    slope = omega * g * (theta / epsilon) ** (g - 1) / (epsilon * (1 + at))
    near = omega * torch.log1p((d / epsilon) ** g)
    return torch.where(d < theta, near, slope * (d - theta) + omega * torch.log1p(at))


def landmark_loss(found: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
    """Return the mean adaptive wing loss over the faces with landmarks; cells near a point count ten times.

    Parameters
    ----------
    found, wanted : (B, K, H, H)
    known : (B,)
        1 where a face has landmarks, else 0.
    """
    near = F.max_pool2d(wanted, 3, 1, 1) > 0.2
    cells = adaptive_wing(found, wanted) * torch.where(near, 10.0, 1.0)
    return weighted_mean(cells.mean((1, 2, 3)), known)


class LandmarkBranch(nn.Module):
    """A copy of the body's later stages, and a top-down path to a map at a quarter of the picture's resolution."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        edges = [edge for _, edge in body.shapes]
        self.shared = max(1, sum(body.size <= SHARED_STRIDE * edge for edge in edges))
        if self.shared == len(edges):
            raise InputError("la-net needs a backbone with stages below a quarter of the picture's resolution.")
        self.edge = edges[self.shared - 1]
        self.stages = copy.deepcopy(body.stages[self.shared :])
        self.lateral = nn.ModuleList(nn.Conv2d(c, BRANCH_WIDTH, 1) for c, _ in body.shapes[self.shared - 1 :])
        self.maps = nn.Conv2d(BRANCH_WIDTH, len(AFLW_19), 1)

    def forward(self, shared: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, 64) and heat maps (B, 19, H, H) of the shared map."""
        levels = [shared]
        for stage in self.stages:
            levels.append(stage(levels[-1]))
        x = self.lateral[-1](levels[-1])
        for lateral, level in zip(reversed(self.lateral[:-1]), reversed(levels[:-1]), strict=True):
            x = F.interpolate(x, size=level.shape[2:], mode="bilinear", align_corners=False) + lateral(level)
        return x.mean((2, 3)), self.maps(x)


class TwoSpaces(nn.Module):
    """Body, landmark branch and projections: what has a slowly following copy that makes the keys."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body, self.branch = body, LandmarkBranch(body)
        self.project_u, self.project_v = Projection(body.width), Projection(BRANCH_WIDTH)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return expression features, landmark features, heat maps."""
        shared = pictures
        for stage in self.body.stages[: self.branch.shared]:
            shared = stage(shared)
        expression = shared
        for stage in self.body.stages[self.branch.shared :]:
            expression = stage(expression)
        return (self.body.pool(expression), *self.branch(shared))


class LaNetSystem(System):
    """LA-Net's networks, bank and queues."""

    bank: Tensor

    def __init__(self, network: Classifier, faces: TrainingSet, recipe: LaNet) -> None:
        super().__init__(network)
        self.recipe = recipe
        self.spaces = TwoSpaces(network.body)
        self.keys = copy.deepcopy(self.spaces).requires_grad_(False)
        self.edge = self.spaces.branch.edge
        self.scores = nn.ModuleList((PairScores(network.body.width), PairScores(BRANCH_WIDTH)))
        self.expression_queue, self.landmark_queue = KeyQueue(recipe.queue), KeyQueue(recipe.queue)
        self.fresh: tuple[Tensor, Tensor, Tensor]
        self.register_buffer("bank", torch.from_numpy(faces.distribution.copy()))

    def target(self, features: tuple[Tensor, Tensor], p: Tensor) -> Tensor:
        """Return t (B, C): what both spaces' neighbors say, half each; the gradient goes on into scores and p."""
        said = []
        for scores, x in zip(self.scores, features, strict=True):
            near = nearest_in_batch(x, self.recipe.neighbors)
            said.append(neighborhood(scores(x, near), near, p))
        return (said[0] + said[1]) / 2

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Return cross-entropy, landmark loss, divergence from the bank and contrast of a batch."""
        recipe, y, w = self.recipe, batch["distribution"], batch["weight"]
        u, v, maps = self.spaces(batch["weak"])
        z = self.network.classifier(self.network.dropout(u)).float()
        u, v = u.float(), v.float()
        b = recipe.memory * self.bank[batch["place"]] + (1 - recipe.memory) * self.target((u, v), z.softmax(1))
        self.bank[batch["place"]] = b.detach()
        label = weighted_mean(cross_entropies(z, y), w)
        spread = weighted_mean((torch.xlogy(b, b) - b * F.log_softmax(z, 1)).sum(1), w)
        points = landmark_loss(maps.float(), batch["heatmaps"], batch["has_points"])
        contrast = self.contrast(batch, (u, v), b.detach())
        return {
            "loss": label
            + recipe.landmark_weight * points
            + recipe.bank_weight * spread
            + recipe.contrast_weight * contrast,
            "label": label,
            "landmarks": points,
            "bank": spread,
            "contrast": contrast,
        }

    def contrast(self, batch: Batch, features: tuple[Tensor, Tensor], bank: Tensor) -> Tensor:
        """Return both directions' contrast, and hold this batch's keys until the step is done."""
        with torch.no_grad():
            ku, kv, _ = self.keys(batch["weak"])
            key_u, key_v = self.keys.project_u(ku.float()), self.keys.project_v(kv.float())
        pseudo = pseudo_labels(bank, batch["place"], self.recipe.confidence)
        u, v = self.spaces.project_u(features[0]), self.spaces.project_v(features[1])
        self.fresh = (key_u, key_v, pseudo)
        t, by_u, by_v = self.recipe.temperature, self.expression_queue, self.landmark_queue
        return across_spaces(u, key_v, pseudo, by_v.keys, by_v.pseudo, t) + across_spaces(
            v, key_u, pseudo, by_u.keys, by_u.pseudo, t
        )

    def stepped(self, clock: Clock) -> None:
        """Put the batch's keys into the queues, and let the keys' networks follow."""
        key_u, key_v, pseudo = self.fresh
        self.expression_queue.push(key_u, pseudo)
        self.landmark_queue.push(key_v, pseudo)
        follow(self.keys, self.spaces, self.recipe.momentum)


@dataclass(frozen=True, kw_only=True)
class LaNet(Recipe):
    """LA-Net: cross-entropy, and divergence from a label bank that neighbors in two spaces feed.

        b_i <- m b_i + (1 - m) t_i,   t_i = 1/2 sum_j omega^u_ij p_j + 1/2 sum_j omega^v_ij p_j
        L = CE(z, y) + l_lm AWing + l_kl KL(b || softmax z) + l_cl EL

    over the batch's k nearest faces in the expression space u and in the landmark space v, with p the network's own
    posteriors; b starts as the given label. EL (`contrast.across_spaces`) draws faces of one pseudo-label together
    across the spaces. The landmark branch, the score nets and the projections are dropped in the end.

    Parameters
    ----------
    neighbors : int >= 1
        k.
    memory : float in [0, 1)
        m of the bank.
    landmark_weight, bank_weight, contrast_weight : float >= 0
        l_lm, l_kl and l_cl.
    confidence : float in [0, 1]
        Of a bank's likeliest class, from which on it is a face's pseudo-label.
    momentum : float in [0, 1)
        Of the networks that make the keys.
    queue : int >= 1
        Keys a queue holds.
    temperature : float > 0
        Of the contrast.
    others
        As in `Recipe`.

    Source
    ------
    Wu and Cui, LA-Net: Landmark-Aware Learning for Reliable Facial Expression Recognition under Label Noise, ICCV
    2023, arXiv 2307.09023; repository hw-tony/LA-Net at 74bb121. Differs from it in: 19 points are taken out of 68 (an
    eye's own point is the mean of its six), and left and right are swapped in mirrored faces, which its code forgets;
    faces without landmarks are left out of the landmark loss; the first face's private id is not class 0; labels may be
    distributions with weights, which then times cross-entropy and divergence.
    """

    name: ClassVar[str] = "la-net"
    paper: ClassVar[str] = "LA-Net (Wu and Cui, ICCV 2023)"
    needs_landmarks: ClassVar[bool] = True

    epochs: int = 80
    schedule: Schedule = "linear"
    balance: Balance = "progressive"
    neighbors: int = 8
    memory: float = 0.9
    landmark_weight: float = 1.0
    bank_weight: float = 1.0
    contrast_weight: float = 0.1
    confidence: float = 0.7
    momentum: float = 0.999
    queue: int = 8192
    temperature: float = 0.1

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)
        for name in ("neighbors", "queue"):
            if getattr(self, name) < 1:
                raise InputError(f"la-net: {name} is {getattr(self, name)}; expected at least 1.")
        for name in ("memory", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"la-net: {name} is {getattr(self, name)}; expected 0 up to 1.")
        if self.temperature <= 0:
            raise InputError(f"la-net: temperature is {self.temperature}; expected a number above 0.")

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Those of its loader."""
        return MS_CELEB

    def weak(self) -> Weak:
        """Return its one view."""
        return Weak(self.statistics, area=(0.75, 1.0), jitter=0.4, erase=0.2)

    def system(self, backbone: Backbone, faces: TrainingSet) -> LaNetSystem:
        """Return networks, bank and queues."""
        return LaNetSystem(self.network(backbone, len(faces.classes)), faces, self)
