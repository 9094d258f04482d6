"""POI-style: one network infers expressions from action units by region; one learns from labels and inference.

The paper's equations were not available: what is certain stands in its abstract (a prior that links action units and
expressions, inference from facial regions that learn from each other, a target network that takes labels and soft
labels, an estimate of uncertainty that balances them). The formulas are ours.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ..core.errors import InputError
from ..methods.au_prior.inference import ENTROPY_FLOOR, P_RANGE, RATE_RANGE, REGIONS, region_numbers
from ..methods.au_prior.tables import prior, unit_name
from .backbones import Backbone, Body, Classifier
from .faces import Batch
from .labels import TrainingSet
from .losses import cross_entropies, weighted_mean
from .recipe import Clock, Recipe, System

#: Landmarks (of `heatmaps.AFLW_19`) around which each of `REGIONS` is seen.
POINTS_OF = ((0, 1, 2, 3, 4, 5), (6, 7, 8, 9, 10, 11), (12, 13, 14), (15, 16, 17, 18))
#: Radius of a region around its points, in widths of the picture; a region is seen on a map of at least this edge.
RADIUS, LEAST_EDGE = 0.1, 6


def log_evidence(p: Tensor, rates: Tensor, base: Tensor) -> Tensor:
    """Return log ell (B, A, C): as `methods.au_prior.inference.unit_evidence`, with a gradient into p.

    Parameters
    ----------
    p : (B, A)
    rates : (C, A)
    base : (A,)
    """
    active, table, b = p.clamp(*P_RANGE), rates.clamp(*RATE_RANGE), base.clamp(*RATE_RANGE)
    on, off = (active / b)[:, :, None], ((1 - active) / (1 - b))[:, :, None]
    return torch.log(table.T * on + (1 - table.T) * off)


def entropies(rows: Tensor) -> Tensor:
    """Return the entropy of each distribution over log C, (...)."""
    return -torch.xlogy(rows, rows).sum(-1) / math.log(rows.shape[-1])


def mixed_regions(parts: Tensor) -> Tensor:
    """Return sum_r w_r o^r, w_r ~ 1 / max(H(o^r), .05), (B, C), of region distributions (B, R, C)."""
    weight = 1 / entropies(parts).clamp_min(ENTROPY_FLOOR)
    weight = weight / weight.sum(1, keepdim=True)
    return (weight[:, :, None] * parts).sum(1)


def mutual(parts: Tensor) -> Tensor:
    """Return the mean over ordered pairs of regions of KL(o^s || o^r), gradient into o^r alone, (B,).

    Source: Zhang, Xiang, Hospedales and Lu, Deep Mutual Learning, CVPR 2018.
    """
    n = parts.shape[1]
    if n < 2:
        return parts.sum((1, 2)) * 0.0
    other = parts.detach()
    logs = parts.clamp_min(1e-8).log()
    gain = torch.xlogy(other, other).sum(2)[:, :, None] - other @ logs.transpose(1, 2)
    return gain.masked_fill(torch.eye(n, dtype=torch.bool, device=parts.device), 0.0).sum((1, 2)) / (n * (n - 1))


def transfer(inferred: Tensor, y: Tensor, limit: float, caution: float, ramp: float) -> tuple[Tensor, Tensor]:
    """Return the targets (B, C) and weights (B,) of the target network, without gradient.

    eta = 1 - H(o) / log C,   rho = <y, o> / max_c o_c
    lambda = limit ramp eta (1 - rho),   y' = (1 - lambda) y + lambda o,   w = 1 - caution ramp eta (1 - rho)
    """
    o = inferred.detach()
    doubt = ramp * (1 - entropies(o)).clamp(0, 1) * (1 - ((y * o).sum(1) / o.max(1).values).clamp(0, 1))
    share = (limit * doubt)[:, None]
    return (1 - share) * y + share * o, 1 - caution * doubt


def ramp_up(done: float) -> float:
    """Return exp(-5 (1 - min(1, done))^2): .0067 at the start, 1 from `done` = 1 on."""
    return float(np.exp(-5 * (1 - min(1.0, done)) ** 2))


class PriorNetwork(nn.Module):
    """Action units by region, and what the prior table makes of them."""

    rates: Tensor
    base: Tensor
    known: Tensor

    def __init__(self, body: Body, classes: tuple[str, ...], units: tuple[str, ...], table: str) -> None:
        super().__init__()
        held = prior(table)
        rates, known = held.rows(classes)
        there = {unit_name(name): k for k, name in enumerate(units)}
        names = tuple(name for name in held.units if name in there)
        if known.sum() < 2 or not names:
            raise InputError(
                f"poi: AU table '{table}' has {int(known.sum())} of the classes {', '.join(classes)} and "
                f"{len(names)} of the {len(units)} units measured; at least 2 and 1 are needed."
            )
        chosen = rates[known][:, [held.units.index(name) for name in names]]
        self.columns = [there[name] for name in names]
        number = region_numbers(names)
        self.members = [np.flatnonzero(number == r).tolist() for r in range(len(REGIONS))]
        self.register_buffer("rates", torch.from_numpy(chosen.astype(np.float32)))
        self.register_buffer("base", self.rates.mean(0))
        self.register_buffer("known", torch.from_numpy(known))
        edges = [edge for _, edge in body.shapes]
        last = max((k for k, edge in enumerate(edges) if edge >= LEAST_EDGE), default=len(edges) - 1)
        self.stages = copy.deepcopy(body.stages[: last + 1])
        width, self.edge = body.shapes[last]
        self.heads = nn.ModuleList(nn.Linear(width, max(1, len(held_units))) for held_units in self.members)

    def masks(self, points: Tensor, known: Tensor) -> Tensor:
        """Return where each region lies (B, R, H, H), of sum 1: around its landmarks, everywhere without landmarks."""
        cells = (torch.arange(self.edge, device=points.device) + 0.5) / self.edge
        x = (cells[None, None] - points[:, :, :1]).square()[:, :, None, :]
        y = (cells[None, None] - points[:, :, 1:]).square()[:, :, :, None]
        near = torch.exp(-(x + y) / (2 * RADIUS**2))
        regions = torch.stack([near[:, list(group)].sum(1) for group in POINTS_OF], 1)
        regions = torch.where(known[:, None, None, None] > 0, regions, torch.ones_like(regions)) + 1e-6
        return regions / regions.sum((2, 3), keepdim=True)

    def forward(self, pictures: Tensor, points: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Return the units' scores (B, A), and each region's distribution over the known classes (B, R, C')."""
        for stage in self.stages:
            pictures = stage(pictures)
        seen = torch.einsum("bdhw,brhw->brd", pictures.float(), self.masks(points, known))
        scores = seen.new_zeros(len(seen), len(self.columns))
        present = [r for r, held in enumerate(self.members) if held]
        for r in present:
            scores[:, self.members[r]] = self.heads[r](seen[:, r])
        ell = log_evidence(scores.sigmoid(), self.rates, self.base)
        parts = torch.stack([ell[:, self.members[r]].sum(1).softmax(1) for r in present], 1)
        return scores, parts


class PoiSystem(System):
    """The prior network and the target network."""

    def __init__(self, network: Classifier, faces: TrainingSet, recipe: Poi) -> None:
        super().__init__(network)
        self.recipe = recipe
        self.inference = PriorNetwork(network.body, faces.classes, faces.unit_names, recipe.table)
        self.edge = self.inference.edge

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Return the losses of units, regions, mutual learning and of the target network."""
        recipe, y, w = self.recipe, batch["distribution"], batch["weight"]
        scores, parts = self.inference(batch["weak"], batch["points"], batch["has_points"])
        p = batch["units"][:, self.inference.columns]
        measured = torch.isfinite(p).all(1).to(w.dtype)
        each = F.binary_cross_entropy_with_logits(scores, torch.nan_to_num(p), reduction="none").mean(1)
        units = weighted_mean(each, measured)
        judged, mass = self.inference.known, y[:, self.inference.known].sum(1)
        inside = y[:, judged] / mass.clamp_min(1e-6)[:, None]
        said = -(inside[:, None] * parts.clamp_min(1e-8).log()).sum(2).mean(1)
        region = weighted_mean(said, w * mass)
        together = weighted_mean(mutual(parts), w)
        o = torch.zeros_like(y)
        o[:, judged] = mixed_regions(parts).detach() * mass[:, None]
        o = o + y * ~judged  # the table says nothing of the other classes
        done = (clock.step + 1) / max(1.0, recipe.ramp * clock.steps)
        target, trust = transfer(o, y, recipe.limit, recipe.caution, ramp_up(done))
        label = weighted_mean(cross_entropies(self.network(batch["weak"]).float(), target), w * trust)
        return {
            "loss": label
            + recipe.unit_weight * units
            + recipe.region_weight * (region + recipe.mutual_weight * together),
            "label": label,
            "units": units,
            "regions": region,
            "mutual": together,
            "trust": trust.mean(),
        }


@dataclass(frozen=True, kw_only=True)
class Poi(Recipe):
    """POI-style: a prior network infers expressions from action units by region; a target network learns from both.

    The prior network sees each region of `REGIONS` around its landmarks, gives the probability of its action units, and
    infers o^r by the table's evidence (`log_evidence`); o mixes the regions by how sure they are. It learns

        l_u BCE(units, measured) + l_r ( mean_r CE(o^r, y) + l_m mean_rs KL(o^s || o^r) )

    The target network learns CE(z, y') times w of `transfer`: where o is decided and finds the label implausible, label
    and inference are mixed and the face counts less. Its own network is kept.

    Parameters
    ----------
    table : str
        AU table, as in method `au-prior`.
    unit_weight, region_weight, mutual_weight : float >= 0
        l_u, l_r and l_m.
    limit, caution : float in [0, 1]
        Largest share of the inference in a target; largest loss of weight.
    ramp : float > 0
        Share of the training after which transfer is full.
    others
        As in `Recipe`.

    Source
    ------
    Prior-based Objective Inference, arXiv 2411.13024: its abstract alone. All formulas are ours, built on method
    `au-prior`; mutual learning as in Zhang et al., CVPR 2018.
    """

    name: ClassVar[str] = "poi"
    paper: ClassVar[str] = "POI-style (after arXiv 2411.13024; equations not available)"
    needs_landmarks: ClassVar[bool] = True
    needs_units: ClassVar[bool] = True

    table: str = "du2014"
    unit_weight: float = 1.0
    region_weight: float = 0.5
    mutual_weight: float = 0.5
    limit: float = 0.5
    caution: float = 0.5
    ramp: float = 0.5

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)
        for name in ("limit", "caution"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"poi: {name} is {getattr(self, name)}; expected 0 to 1.")
        if self.ramp <= 0:
            raise InputError(f"poi: ramp is {self.ramp}; expected a number above 0.")
        prior(self.table)

    def system(self, backbone: Backbone, faces: TrainingSet) -> PoiSystem:
        """Return both networks."""
        return PoiSystem(self.network(backbone, len(faces.classes)), faces, self)
