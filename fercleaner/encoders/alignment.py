"""The builtin network's looks at a face: as it comes, then turned to the canonical frame of faces.

    first  = network(pictures)
    frames = canonical_frames(first.points, first.found)
    second = network(mirror image of resampled(pictures, frames))
    third  = network(resampled(pictures, frames)), of faces in a loose picture (portraits) in place of the first
             (a small crop has no more pixels to show)
    result = the mean of two looks, their points taken back through mirror and frame

So a face is read in the same frame whatever picture it comes in, at two passes where the picture is a face crop and
three where it is not. A face that lies in the canonical frame already, or that the network does not find, is mirrored
as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .facenet import FaceOutput

#: Groups of the 68 points whose means place a face: eyes, brows (left of the picture first), nose, outer lips. The jaw
#: is left out: its points are numbered unevenly, and it moves as the mouth opens.
GROUPS = ((36, 42), (42, 48), (17, 22), (22, 27), (27, 36), (48, 60))

#: Where those means lie in FER2013's crops, in crop widths: medians of MediaPipe's points over the faces that the
#: network was trained on, made symmetric. The eyes are those of `detection.TEMPLATE`, so that a face which the
#: detector has aligned is in the canonical frame.
CANONICAL = (
    (0.3138, 0.3913),
    (0.6862, 0.3913),
    (0.2713, 0.2691),
    (0.7287, 0.2691),
    (0.5, 0.5606),
    (0.5, 0.7871),
)

#: The canonical frame may be this much of the crop's width. A larger one shows reflected border (at 1.2 faces as they
#: come gained less on the groups kept for choosing); a smaller one hardly shows a face that the first look can read.
MIN_SIDE, MAX_SIDE = 0.3, 1.1

#: A picture whose canonical frame is smaller than this is loose: its first look tells where the face is, and no more.
LOOSE = 0.75

#: Within this roll (degrees), logarithm of the side and distance of the centers (crop widths), a face is in the
#: canonical frame: resampling would cost sharpness for nothing. One in seven of FER2013's faces is.
NEAR_ROLL, NEAR_SIDE, NEAR_CENTER = 4.0, 0.05, 0.03

#: What determines the second look, JSON types.
SPEC: Mapping[str, Any] = {
    "version": 2,
    "canonical": [list(place) for place in CANONICAL],
    "side": [MIN_SIDE, MAX_SIDE],
    "near": [NEAR_ROLL, NEAR_SIDE, NEAR_CENTER],
    "loose": LOOSE,
}


def canonical_frames(points: Tensor, found: Tensor) -> Tensor:
    """Return the maps from the canonical frames of faces to their crops.

    The frame is the square in which the means of `GROUPS` lie nearest to `CANONICAL` by scale, roll and shift (least
    squares); its side is then kept within `MIN_SIDE` and `MAX_SIDE`, and its center moved so that it stays within the
    crop, or covers it where it is the larger of the two.

    Parameters
    ----------
    points : (B, 68, 2)
        Landmarks in crop widths.
    found : (B,)
        Logit that there is a face; below 0 the crop itself is the frame.

    Returns
    -------
    (B, 2, 3) float32
        (x, y) of the crop = M (u, v, 1), all in widths, (0, 0) the upper left corner. Exactly the identity where the
        crop is the frame already (`NEAR_ROLL`, `NEAR_SIDE`, `NEAR_CENTER`).
    """
    import torch

    target = points.new_tensor(CANONICAL)
    places = torch.stack([points[:, start:stop].mean(1) for start, stop in GROUPS], 1)
    middle = places.mean(1)
    t, p = target - target.mean(0), places - middle[:, None]
    size = t.square().sum()
    turn = torch.stack(((t * p).sum((1, 2)), (t[:, 0] * p[:, :, 1] - t[:, 1] * p[:, :, 0]).sum(1)), 1) / size
    side = turn.norm(dim=1, keepdim=True)
    rest = 0.5 - target.mean(0)
    across = torch.stack((-turn[:, 1], turn[:, 0]), 1)
    center = middle + rest[0] * turn + rest[1] * across
    kept = side.clamp(MIN_SIDE, MAX_SIDE)
    turn = turn * (kept / side.clamp_min(1e-6))
    reach = (turn.abs().sum(1, keepdim=True) / 2).clamp_max(0.5)
    center = center.maximum(reach).minimum(1 - reach)
    across = torch.stack((-turn[:, 1], turn[:, 0]), 1)
    frames = torch.stack((turn, across, center - (turn + across) / 2), 2)
    near = (
        (torch.atan2(turn[:, 1], turn[:, 0]).abs() < math.radians(NEAR_ROLL))
        & (kept[:, 0].log().abs() < NEAR_SIDE)
        & ((center - 0.5).norm(dim=1) < NEAR_CENTER)
    )
    stays = near | ~(found >= 0) | (side[:, 0] < 1e-6) | ~frames.isfinite().all((1, 2))
    return torch.where(stays[:, None, None], frames.new_tensor([[1, 0, 0], [0, 1, 0]]), frames)


def resampled(pictures: Tensor, frames: Tensor, size: int) -> Tensor:
    """Return the frames' content, (B, 1, size, size) in [0, 1], by cubic interpolation; the border is reflected.

    Parameters
    ----------
    pictures : (B, 1, S, S) float32 in [0, 1]
    frames : (B, 2, 3)
        As `canonical_frames` gives them.
    size : int
    """
    import torch
    from torch.nn import functional as F  # noqa: N812

    places = (torch.arange(size, device=frames.device, dtype=frames.dtype) + 0.5) / size
    v, u = torch.meshgrid(places, places, indexing="ij")
    grid = torch.stack((u, v, torch.ones_like(u)), -1) @ frames.transpose(1, 2)[:, None]
    found = F.grid_sample(pictures, grid * 2 - 1, mode="bicubic", padding_mode="reflection", align_corners=False)
    return found.clamp(0, 1)


def carried(points: Tensor, frames: Tensor) -> Tensor:
    """Return points (B, K, 2) of the canonical frames as they lie in the crops."""
    return points @ frames[:, :, :2].transpose(1, 2) + frames[:, None, :, 2]


def doubled(pictures: Tensor) -> Tensor:
    """Return pictures (B, 1, S, S) with each pixel as 2 x 2."""
    return pictures.repeat_interleave(2, 2).repeat_interleave(2, 3)


def average_with_aligned(
    network: nn.Module,
    pictures: Tensor,
    shapes: Sequence[int],
    fine: Tensor | None = None,
    is_fine: Tensor | None = None,
) -> FaceOutput:
    """Return the mean of two looks at each face, in widths of the pictures as they come.

    Parameters
    ----------
    network : FaceNet
    pictures : (B, 1, S, S) float32 in [0, 1]
        S is 48; shown to the network as blocks.
    shapes : sequence of int
        `facenet.mirror_names` of the blendshapes.
    fine : (B, 1, R, R), optional
        The same pictures with more pixels, R >= 96, to be seen and aligned from instead.
    is_fine : (B,) bool, optional
        Which rows of `fine` are there; all by default.

    Returns
    -------
    FaceOutput
    """
    import torch
    from torch.nn import functional as F  # noqa: N812

    from .facenet import average_of_looks

    size = 2 * pictures.shape[-1]
    seen = doubled(pictures)
    there = torch.zeros(len(pictures), 1, 1, 1, dtype=torch.bool, device=pictures.device)
    if fine is not None:
        there = torch.ones_like(there) if is_fine is None else is_fine[:, None, None, None]
        seen = torch.where(there, F.interpolate(fine, (size, size), mode="bilinear", antialias=True), seen)
    one = network(_in_order(seen))
    frames = canonical_frames(one.points, one.found)
    moved = (frames != frames.new_tensor([[1, 0, 0], [0, 1, 0]])).any((1, 2))[:, None, None, None]
    aligned = torch.where(moved & ~there, doubled(resampled(pictures, frames, size // 2)), seen)
    if fine is not None:
        aligned = torch.where(moved & there, resampled(fine, frames, size), aligned)
    other = network(_in_order(aligned.flip(3)))
    loose = (frames[:, :, 0].norm(dim=1) < LOOSE) & there.flatten()
    if loose.any():
        closer = network(_in_order(aligned))
        closer = closer._replace(points=carried(closer.points, frames))
        one = type(one)(*(_chosen(loose, a, b) for a, b in zip(closer, one, strict=True)))
    return average_of_looks(one, other, shapes, lambda points: carried(points, frames))


def _in_order(pictures: Tensor) -> Tensor:
    import torch

    return pictures.contiguous(memory_format=torch.channels_last)


def _chosen(rows: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Return `one` in these rows (B,) and `other` in the rest."""
    import torch

    return torch.where(rows.reshape(-1, *(1,) * (one.ndim - 1)), one, other)
