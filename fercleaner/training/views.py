"""Weak and strong views of a face, and where its landmarks lie in them. Random numbers are torch's global ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from ..core.arrays import Bytes, Floats

#: Mean and standard deviation of red, green and blue (0 to 1): of ImageNet, and as LA-Net's loader has them, which says
#: that they are MS-Celeb-1M's.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
MS_CELEB = ((0.5412, 0.4324, 0.3795), (0.2485, 0.2182, 0.2066))

#: Strengths of RandAugment go up to this; cutout covers this share of the edge (16 pixels of 224) with this gray.
STRONGEST, CUTOUT, CUTOUT_GRAY = 10, 16 / 224, 128


class View(NamedTuple):
    """A face as a network sees it: picture (3, S, S) standardized; landmarks (68, 2) in shares of the picture."""

    picture: Tensor
    points: Floats | None


def _uniform(low: float = 0.0, high: float = 1.0) -> float:
    return low + (high - low) * float(torch.rand(()))


def _whole(low: int, high: int) -> int:
    """Return a whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, ()))


@dataclass(frozen=True)
class Plain:
    """A face as it is, or mirrored; for tests.

    Parameters
    ----------
    statistics : pair of triples
        Mean and standard deviation that pictures are standardized by.
    mirrored : bool
    """

    statistics: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    mirrored: bool = False

    def __call__(self, face: Bytes, points: Floats | None = None) -> View:
        """Return the view of a face (S, S, 3) uint8 with landmarks (68, 2)."""
        if self.mirrored:
            face, points = face[:, ::-1], mirrored_points(points)
        return View(standardized_face(face, self.statistics), points)


@dataclass(frozen=True)
class Weak:
    """A face mirrored by chance and shifted, or cut out and resized.

    Parameters
    ----------
    statistics : pair of triples
        As in `Plain`.
    pad : int
        Pixels of reflected border of which a crop of the picture's size is taken, where `area` is None.
    area : pair of float, optional
        A part of between these shares of the picture's area, of aspect 3/4 to 4/3, is taken and enlarged instead.
    flip : float in [0, 1]
        Chance to be mirrored.
    jitter : float >= 0
        Brightness, contrast and color are multiplied by 1 - jitter to 1 + jitter, in random order.
    erase : float in [0, 1]
        Chance that 2 to 20 % of the picture become 0 (after it is standardized).
    """

    statistics: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    pad: int = 4
    area: tuple[float, float] | None = None
    flip: float = 0.5
    jitter: float = 0.0
    erase: float = 0.0

    def __call__(self, face: Bytes, points: Floats | None = None) -> View:
        """Return a view of a face (S, S, 3) uint8 with landmarks (68, 2)."""
        face, points = self.placed(face, points)
        if self.jitter:
            face = _jittered(face, self.jitter)
        picture = standardized_face(face, self.statistics)
        if self.erase and _uniform() < self.erase:
            _erase(picture)
        return View(picture, points)

    def placed(self, face: Bytes, points: Floats | None) -> tuple[Bytes, Floats | None]:
        """Return the face mirrored by chance and cut, (S, S, 3) uint8, and where its landmarks are then."""
        if _uniform() < self.flip:
            face, points = face[:, ::-1], mirrored_points(points)
        if self.area is not None:
            return _part(face, points, self.area)
        if not self.pad:
            return face, points
        size = face.shape[0]
        left, top = _whole(0, 2 * self.pad), _whole(0, 2 * self.pad)
        padded = np.pad(face, ((self.pad, self.pad), (self.pad, self.pad), (0, 0)), mode="reflect")
        moved = (
            None if points is None else (points - np.array([left - self.pad, top - self.pad]) / size).astype(np.float32)
        )
        return padded[top : top + size, left : left + size], moved


@dataclass(frozen=True)
class Strong:
    """A weak view after RandAugment and cutout.

    Parameters
    ----------
    weak : Weak
        How it is placed and standardized.
    changes : int
        Changes drawn, with replacement, from 14.
    chance : float in [0, 1]
        That a drawn change is made.
    strength : int in [1, 10]
        A change's own strength is a whole number up to it.

    Source
    ------
    RandAugment as DNFER's code has it (2 of 14, each by chance 1/2, then cutout); the list of changes and the draw of
    the strength are FixMatch's (Sohn et al., NeurIPS 2020), which that code follows as far as we know.
    """

    weak: Weak = Weak()
    changes: int = 2
    chance: float = 0.5
    strength: int = STRONGEST

    def __call__(self, face: Bytes, points: Floats | None = None) -> View:
        """Return a view of a face (S, S, 3) uint8; changes that shear or turn it leave its landmarks unknown: None."""
        face, _ = self.weak.placed(face, None)
        image = Image.fromarray(np.ascontiguousarray(face))
        for _ in range(self.changes):
            change = CHANGES[_whole(0, len(CHANGES) - 1)]
            if _uniform() < self.chance:
                image = change(image, _whole(1, self.strength) / STRONGEST)
        return View(standardized_face(_cut_out(np.array(image)), self.weak.statistics), None)


def mirrored_points(points: Floats | None) -> Floats | None:
    """Return landmarks (68, 2) in shares of the picture as they lie in its mirror image, left and right swapped."""
    if points is None:
        return None
    from ..encoders.facenet import MIRROR_POINTS

    swapped = points[list(MIRROR_POINTS)]
    return np.stack((1 - swapped[:, 0], swapped[:, 1]), 1)


def standardized_face(face: Bytes, statistics: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """Return a face (S, S, 3) uint8 as (3, S, S) float32, less the mean, over the deviation."""
    x = torch.from_numpy(np.array(face)).permute(2, 0, 1).float() / 255
    mean, deviation = (torch.tensor(values)[:, None, None] for values in statistics)
    return (x - mean) / deviation


def _part(face: Bytes, points: Floats | None, area: tuple[float, float]) -> tuple[Bytes, Floats | None]:
    """Return a random part of a face, enlarged to the face's size; the whole face where ten draws do not fit in it."""
    size = face.shape[0]
    for _ in range(10):
        share, aspect = _uniform(*area), float(np.exp(_uniform(np.log(3 / 4), np.log(4 / 3))))
        width, height = round(size * (share * aspect) ** 0.5), round(size * (share / aspect) ** 0.5)
        if 0 < width <= size and 0 < height <= size:
            break
    else:
        return face, points
    left, top = _whole(0, size - width), _whole(0, size - height)
    part = Image.fromarray(np.ascontiguousarray(face[top : top + height, left : left + width]))
    resized = np.asarray(part.resize((size, size), Image.Resampling.BILINEAR), dtype=np.uint8)
    if points is None:
        return resized, None
    moved = (points * size - np.array([left, top])) / np.array([width, height])
    return resized, moved.astype(np.float32)


def _jittered(face: Bytes, jitter: float) -> Bytes:
    image = Image.fromarray(np.ascontiguousarray(face))
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for which in torch.randperm(3).tolist():
        image = enhancers[which](image).enhance(_uniform(max(0.0, 1 - jitter), 1 + jitter))
    return np.asarray(image, dtype=np.uint8)


def _erase(picture: Tensor, area: tuple[float, float] = (0.02, 0.2)) -> None:
    """Set a rectangle of 2 to 20 % of a picture (3, S, S), of aspect .3 to 3.3, to 0."""
    size = picture.shape[1]
    for _ in range(10):
        share, aspect = _uniform(*area), float(np.exp(_uniform(np.log(0.3), np.log(3.3))))
        height, width = round(size * (share * aspect) ** 0.5), round(size * (share / aspect) ** 0.5)
        if 0 < height < size and 0 < width < size:
            top, left = _whole(0, size - height), _whole(0, size - width)
            picture[:, top : top + height, left : left + width] = 0
            return


def _cut_out(face: Bytes) -> Bytes:
    """Cover a square around a random point with gray, in place."""
    size = face.shape[0]
    half = max(1, round(CUTOUT * size)) / 2
    x, y = _uniform(0, size), _uniform(0, size)
    left, top = max(0, round(x - half)), max(0, round(y - half))
    face[top : min(size, round(y + half)), left : min(size, round(x + half))] = CUTOUT_GRAY
    return face


def _signed(value: float) -> float:
    return value if _uniform() < 0.5 else -value


def _affine(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=(CUTOUT_GRAY,) * 3
    )


def _enhanced(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Callable[[Image.Image, float], Image.Image]:
    return lambda image, s: kind(image).enhance(0.9 * s + 0.05)


#: Change a picture by a strength of 0 to 1: FixMatch's fourteen.
CHANGES: tuple[Callable[[Image.Image, float], Image.Image], ...] = (
    lambda image, s: image,
    lambda image, s: ImageOps.autocontrast(image),
    lambda image, s: ImageOps.equalize(image),
    _enhanced(ImageEnhance.Brightness),
    _enhanced(ImageEnhance.Color),
    _enhanced(ImageEnhance.Contrast),
    _enhanced(ImageEnhance.Sharpness),
    lambda image, s: ImageOps.posterize(image, int(4 * s) + 4),
    lambda image, s: ImageOps.solarize(image, 256 - int(256 * s)),
    lambda image, s: image.rotate(_signed(30 * s), Image.Resampling.BILINEAR, fillcolor=(CUTOUT_GRAY,) * 3),
    lambda image, s: _affine(image, (1, _signed(0.3 * s), 0, 0, 1, 0)),
    lambda image, s: _affine(image, (1, 0, 0, _signed(0.3 * s), 1, 0)),
    lambda image, s: _affine(image, (1, 0, _signed(0.3 * s) * image.width, 0, 1, 0)),
    lambda image, s: _affine(image, (1, 0, 0, 0, 1, _signed(0.3 * s) * image.height)),
)
