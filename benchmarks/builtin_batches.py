"""Batches of the builtin network's training: crops of FER2013 and photographs, changed, with what each is to teach."""

from __future__ import annotations

from dataclasses import dataclass

import builtin_photographs as photos
import numpy as np
import torch
from builtin_augment import augment, scrambled
from builtin_data import Faces, balanced_weights, teacher_values
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

#: Faces are drawn by the rarity of what was voted to this power, and weigh by it again.
RARITY = 0.5
#: Share of the photographs in a batch, and of these which are scrambled: no face, every expression alike.
SHARE_PHOTOGRAPHS, SHARE_SCRAMBLED = 0.375, 0.12
#: Weight of the expressions of scrambled ones.
NO_FACE_WEIGHT = 0.3
#: Photographs shown at 48 x 48, and crops of 48 x 48 shown smoothly enlarged: neither is to be told by its blocks.
SHOWN_SMALL, SHOWN_ENLARGED = 0.35, 0.25
#: Weights, in the geometric mean that `votes` learns of photographs, of the starting network and both teachers.
TEACHERS = (0.5, 0.25, 0.25)
#: Weight, beside these, of cleaned labels that are sure.
CLEANED = 0.4
#: Weights of both teachers in what `photographs` learns.
BOTH = (0.5, 0.5)


@dataclass
class Targets:
    """What one of both sets is to teach: N pictures and their targets, rows to train on, how often each is drawn."""

    pictures: Tensor
    frames: Tensor | None
    votes: Tensor
    photographs: Tensor
    weight: Tensor
    points: Tensor
    blendshapes: Tensor
    found: Tensor
    rows: NDArray[np.intp]

    def drawn(self, count: int, rng: np.random.Generator) -> Tensor:
        """Return `count` of the rows to train on, rare expressions more often."""
        chance = self.weight[self.rows].double().numpy()
        return torch.from_numpy(rng.choice(self.rows, count, p=chance / chance.sum()))


def crop_targets(faces: Faces, teachers: tuple[Tensor, Tensor], rows: NDArray[np.intp]) -> Targets:
    """Return FER2013's crops as targets; `teachers` is both teachers' posteriors, (N, 8) each."""
    both = photos.geometric_mean(*zip(BOTH, teachers, strict=True))
    weight = balanced_weights(faces.votes, faces.weight, rows, RARITY)
    shapes = teacher_values(faces.blendshapes, faces)
    return Targets(
        faces.pictures, None, faces.votes, both, weight, faces.points, shapes, faces.found, rows
    )  # fmt: skip


def photograph_targets(
    some: photos.Photographs, ours: Tensor, rows: NDArray[np.intp], cleaned: tuple[Tensor, Tensor] | None = None
) -> Targets:
    """Return the photographs as targets.

    `ours` is the starting network's posteriors (N, 8), `cleaned` what `photos.cleaned_labels` gives.
    """
    votes = photos.geometric_mean(*zip(TEACHERS, (ours, some.expression, some.emotion), strict=True))
    if cleaned is not None:
        share = CLEANED * cleaned[1]
        votes = photos.geometric_mean((1 - share, votes), (share, cleaned[0]))
    both = photos.geometric_mean(*zip(BOTH, (some.expression, some.emotion), strict=True))
    weight = balanced_weights(votes, torch.ones(len(votes)), rows, RARITY)
    return Targets(
        *(some.pictures, some.frames, votes, both, weight),
        *(some.points, some.blendshapes, some.found, rows),
    )


@dataclass
class Batch:
    """Pictures (B, 1, 96, 96) and their targets, as the losses take them."""

    pictures: Tensor
    votes: Tensor
    photographs: Tensor
    weight: Tensor
    points: Tensor
    blendshapes: Tensor
    found: Tensor


def _blocks(pictures: Tensor) -> Tensor:
    return F.interpolate(pictures, scale_factor=2.0, mode="nearest")


def crops_batch(t: Targets, chosen: Tensor, mirror: list[int], rng: torch.Generator) -> Batch:
    """Return changed copies of FER2013's crops."""
    x = t.pictures[chosen, None].float() / 255
    done = augment(x, t.points[chosen], t.blendshapes[chosen], mirror, rng)
    smooth = F.interpolate(done.pictures, scale_factor=2.0, mode="bicubic").clamp(0, 1)
    enlarged = (torch.rand(len(chosen), generator=rng) < SHOWN_ENLARGED)[:, None, None, None]
    pictures = torch.where(enlarged, smooth, _blocks(done.pictures))
    targets = (t.votes[chosen], t.photographs[chosen], t.weight[chosen])
    return Batch(pictures, *targets, done.points, done.blendshapes, t.found[chosen])


def photographs_batch(t: Targets, chosen: Tensor, mirror: list[int], rng: torch.Generator) -> Batch:
    """Return changed copies of photographs, the last of them scrambled."""
    assert t.frames is not None
    x = t.pictures[chosen, None].float() / 255
    done = augment(x, t.points[chosen], t.blendshapes[chosen], mirror, rng, t.frames[chosen], 96, 0.2)
    small = (torch.rand(len(chosen), generator=rng) < SHOWN_SMALL)[:, None, None, None]
    pictures = torch.where(small, _blocks(F.avg_pool2d(done.pictures, 2)), done.pictures)
    votes, teacher, weight = t.votes[chosen], t.photographs[chosen], t.weight[chosen].clone()
    found = t.found[chosen].clone()
    none = max(1, round(SHARE_SCRAMBLED * len(chosen)))
    pictures[-none:] = scrambled(pictures[-none:], rng)
    votes, teacher = votes.clone(), teacher.clone()
    votes[-none:], teacher[-none:], weight[-none:], found[-none:] = 1 / 8, 1 / 8, NO_FACE_WEIGHT, False
    return Batch(pictures, votes, teacher, weight, done.points, done.blendshapes, found)


def joined(*batches: Batch) -> Batch:
    """Return several batches as one."""
    names = Batch.__dataclass_fields__
    return Batch(**{name: torch.cat([getattr(batch, name) for batch in batches]) for name in names})


def canonical(t: Targets, rows: Tensor, size: int = 96) -> Tensor:
    """Return the canonical frames of photographs `rows`, (B, 1, size, size)."""
    assert t.frames is not None
    frames = t.frames[rows]
    center = frames[:, :, 2] + frames[:, :, :2].sum(2) / 2
    theta = torch.cat((frames[:, :, :2], (2 * center - 1)[:, :, None]), 2)
    grid = F.affine_grid(theta, [len(rows), 1, size, size], align_corners=False)
    return F.grid_sample(t.pictures[rows, None].float() / 255, grid, padding_mode="border", align_corners=False)
