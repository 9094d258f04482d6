"""Changes of face crops and of their landmarks and blendshapes, a batch at a time, all in torch."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fercleaner.encoders.facenet import MIRROR_POINTS

# The luminance table of the JPEG standard (annex K), for degradation.
_JPEG = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
).float()
_K = torch.arange(8).float()
_DCT = torch.cos((2 * _K[None] + 1) * _K[:, None] * math.pi / 16) / 2
_DCT[0] /= math.sqrt(2)


def uniform(n: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    return torch.rand(n, generator=rng) * (high - low) + low


def warp(
    pictures: Tensor, points: Tensor, matrix: Tensor, shift: Tensor, padding: str, size: int | None = None
) -> tuple[Tensor, Tensor]:
    """Sample pictures (B, 1, S, S) where `matrix` (B, 2, 2) and `shift` (B, 2) send each output place.

    Places run from -1 to 1; points (B, 68, 2) in crop widths move along. The result has `size` pixels (default S).
    """
    theta = torch.cat((matrix, shift[:, :, None]), 2)
    side = size or pictures.shape[-1]
    grid = F.affine_grid(theta, [len(pictures), 1, side, side], align_corners=False)
    moved = torch.linalg.solve(matrix, ((points * 2 - 1) - shift[:, None]).transpose(1, 2)).transpose(1, 2)
    return F.grid_sample(pictures, grid, padding_mode=padding, align_corners=False), (moved + 1) / 2


def affine(scale: Tensor, roll: Tensor, aspect: Tensor) -> Tensor:
    """Return (B, 2, 2): scale > 1 is a looser crop; roll in radians; aspect stretches x against y."""
    cos, sin = roll.cos(), roll.sin()
    turn = torch.stack((torch.stack((cos, -sin), 1), torch.stack((sin, cos), 1)), 1)
    stretch = torch.stack((scale * aspect.exp(), scale / aspect.exp()), 1)
    return turn * stretch[:, None, :]


def jpeg(pictures: Tensor, quality: Tensor) -> Tensor:
    """Return pictures (B, 1, S, S) in [0, 1] as JPEG keeps their luminance; quality (B,) 1 to 100."""
    b, _, h, w = pictures.shape
    factor = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None, None]
    table = ((_JPEG * factor + 50) / 100).floor().clamp(1, 255)[:, None]
    blocks = (pictures * 255 - 128).reshape(b, h // 8, 8, w // 8, 8).transpose(2, 3).reshape(b, -1, 8, 8)
    kept = ((_DCT @ blocks @ _DCT.T) / table).round() * table
    blocks = (_DCT.T @ kept @ _DCT).reshape(b, h // 8, w // 8, 8, 8).transpose(2, 3).reshape(b, 1, h, w)
    return ((blocks + 128) / 255).clamp(0, 1)


def blur(pictures: Tensor, sigma: Tensor) -> Tensor:
    """Return pictures (B, 1, S, S) under a Gaussian of `sigma` (B,) pixels, 7 x 7."""
    reach = torch.arange(-3, 4).float()
    kernel = torch.exp(-(reach[None] ** 2) / (2 * sigma[:, None] ** 2))
    kernel = kernel / kernel.sum(1, keepdim=True)
    x = F.pad(pictures.transpose(0, 1), (3, 3, 3, 3), mode="replicate")
    x = F.conv2d(x, kernel[:, None, None, :], groups=len(pictures))
    return F.conv2d(x, kernel[:, None, :, None], groups=len(pictures)).transpose(0, 1)


class Changed(NamedTuple):
    """Changed copies of faces: pictures (B, 1, size, size), points (B, 68, 2), blendshapes (B, 52), flips (B,)."""

    pictures: Tensor
    points: Tensor
    blendshapes: Tensor
    flipped: Tensor


def augment(
    pictures: Tensor,
    points: Tensor,
    blendshapes: Tensor,
    mirror: list[int],
    rng: torch.Generator,
    frames: Tensor | None = None,
    size: int = 48,
    looser: float = 0.06,
) -> Changed:
    """Return changed copies of pictures (B, 1, S, S) in [0, 1] and of their points and blendshapes.

    Parameters
    ----------
    frames : (B, 2, 3), optional
        Where the faces' canonical frames lie, in widths of the pictures; else the pictures are the frames.
    size : int
        Side of the changed pictures.
    looser : float
        Share of the faces that are shown in up to twice as wide a frame, as portraits come.
    """
    b = len(pictures)
    place = torch.eye(3)[:2].expand(b, 2, 3) if frames is None else frames
    move = (torch.rand(b, generator=rng) < 0.85).float()
    scale = (move * uniform(b, -0.26, 0.24, rng)).exp()
    wide = torch.rand(b, generator=rng) < looser
    scale = torch.where(wide, uniform(b, 0.2, 0.7, rng).exp(), scale)
    roll = move * torch.where(torch.rand(b, generator=rng) < 0.6, uniform(b, -20, 20, rng), uniform(b, -6, 6, rng))
    roll = torch.where(torch.rand(b, generator=rng) < 0.05, uniform(b, -45, 45, rng), roll)
    matrix = affine(scale, roll * (math.pi / 180), move * uniform(b, -0.07, 0.07, rng))
    shift = move[:, None] * (torch.rand(b, 2, generator=rng) * 2 - 1) * 0.16
    flip = torch.rand(b, generator=rng) < 0.5
    matrix = matrix * torch.where(flip, -1.0, 1.0)[:, None, None] ** torch.tensor([1.0, 0.0])
    # Places from -1 to 1 of the frame, then of the picture.
    center = place[:, :, 2] + place[:, :, :2].sum(2) / 2
    shift = 2 * center - 1 + (place[:, :, :2] @ shift[:, :, None])[:, :, 0]
    matrix = place[:, :, :2] @ matrix
    padding = ("reflection", "border", "reflection", "zeros")[int(torch.randint(4, (1,), generator=rng))]
    level = pictures.mean((2, 3), keepdim=True)
    moved, points = warp(pictures - level, points, matrix, shift, padding, size)
    pictures = moved + level
    points = torch.where(flip[:, None, None], points[:, list(MIRROR_POINTS)], points)
    blendshapes = torch.where(flip[:, None], blendshapes[:, mirror], blendshapes)
    return Changed(degraded(pictures, rng), points, blendshapes, flip)


def degraded(pictures: Tensor, rng: torch.Generator) -> Tensor:
    """Return pictures under other light, softer, coarser, compressed, noisy or partly covered."""
    b = len(pictures)
    gamma = uniform(b, -0.45, 0.45, rng).exp()[:, None, None, None]
    gain = uniform(b, -0.35, 0.35, rng).exp()[:, None, None, None]
    offset = uniform(b, -0.15, 0.15, rng)[:, None, None, None]
    dark = (torch.rand(b, generator=rng) < 0.12)[:, None, None, None]
    gain = torch.where(dark, gain * 0.3, gain)
    shade = (torch.rand(b, 2, generator=rng) * 2 - 1) * (torch.rand(b, 1, generator=rng) < 0.3) * 0.25
    ramp = torch.linspace(-1, 1, pictures.shape[3])
    slope = shade[:, :1, None, None] * ramp + shade[:, 1:, None, None] * ramp[:, None]
    pictures = (pictures.clamp(0, 1) ** gamma * gain + offset * ~dark + slope).clamp(0, 1)
    for chance, change in ((0.2, _soften), (0.12, _shrink), (0.2, _compress)):
        chosen = torch.rand(b, generator=rng) < chance
        if int(chosen.sum()) > 0:
            pictures[chosen] = change(pictures[chosen], rng)
    noise = uniform(b, 0, 0.06, rng) * (torch.rand(b, generator=rng) < 0.25)
    pictures = pictures + torch.randn(pictures.shape, generator=rng) * noise[:, None, None, None]
    return _occlude(pictures.clamp(0, 1), rng)


def scrambled(pictures: Tensor, rng: torch.Generator, cells: int = 6) -> Tensor:
    """Return pictures (B, 1, S, S) with their `cells` x `cells` tiles in another order: no faces any more."""
    b, _, s, _ = pictures.shape
    side = s // cells
    tiles = pictures.reshape(b, cells, side, cells, side).permute(0, 1, 3, 2, 4).reshape(b, cells * cells, side, side)
    order = torch.rand(b, cells * cells, generator=rng).argsort(1)
    tiles = tiles.gather(1, order[:, :, None, None].expand_as(tiles))
    return tiles.reshape(b, cells, cells, side, side).permute(0, 1, 3, 2, 4).reshape(b, 1, s, s)


def _soften(pictures: Tensor, rng: torch.Generator) -> Tensor:
    return blur(pictures, uniform(len(pictures), 0.4, 1.3, rng))


def _shrink(pictures: Tensor, rng: torch.Generator) -> Tensor:
    side = round(float(uniform(1, 0.45, 0.88, rng)) * pictures.shape[-1])
    small = F.interpolate(pictures, (side, side), mode="bilinear", antialias=True)
    return F.interpolate(small, tuple(pictures.shape[2:]), mode="bicubic").clamp(0, 1)


def _compress(pictures: Tensor, rng: torch.Generator) -> Tensor:
    return jpeg(pictures, uniform(len(pictures), 12, 75, rng))


def _occlude(pictures: Tensor, rng: torch.Generator) -> Tensor:
    b, _, h, _ = pictures.shape
    center = torch.rand(b, 2, generator=rng)
    half = uniform(2 * b, 0.06, 0.2, rng).reshape(b, 2)
    place = (torch.arange(h).float() + 0.5) / h
    inside = ((place - center[:, :1]).abs() < half[:, :1])[:, None, :, None] & (
        (place - center[:, 1:]).abs() < half[:, 1:]
    )[:, None, None, :]
    inside &= (torch.rand(b, generator=rng) < 0.25)[:, None, None, None]
    return torch.where(inside, torch.rand(b, 1, 1, 1, generator=rng), pictures)
