"""FER2013's held-back faces changed as users' pictures are, through the package's own path."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import torch
from builtin_augment import affine, blur, warp
from builtin_data import Faces
from builtin_figures import expression_figures, run_network
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fercleaner.encoders.alignment import canonical_frames
from fercleaner.encoders.builtin import BuiltinExtractor, prepare_face
from fercleaner.encoders.facenet import FaceNet

CHANGES = (
    "none",
    "tint",
    "enlarged to 224",
    "looser 20 %",
    "tighter 20 %",
    "roll 15 degrees",
    "roll 30 degrees",
    "enlarged to 224, looser 20 %",
    "blur, sigma 1",
    "JPEG 30",
    "enlarged to 224, tint, JPEG 30",
)


def changed(pictures: Tensor, points: Tensor, name: str) -> tuple[list[Image.Image], Tensor]:
    """Return pictures (N, 48, 48) uint8 as a user might have them, and where their points (N, 68, 2) lie then."""
    n = len(pictures)
    x = pictures[:, None].float() / 255
    if "224" in name:
        large = [Image.fromarray(row).resize((224, 224), Image.Resampling.BICUBIC) for row in pictures.numpy()]
        x = torch.from_numpy(np.stack([np.asarray(image) for image in large]))[:, None].float() / 255
    still, zero = torch.ones(n), torch.zeros(n)
    rng = torch.Generator().manual_seed(0)
    sign = (torch.rand(n, generator=rng) < 0.5).float() * 2 - 1
    for change, (scale, roll) in {
        "looser 20 %": (still * 1.2, zero),
        "tighter 20 %": (still * 0.8, zero),
        "roll 15 degrees": (still, sign * math.radians(15)),
        "roll 30 degrees": (still, sign * math.radians(30)),
    }.items():
        if change in name:
            x, points = warp(x, points, affine(scale, roll, zero), torch.zeros(n, 2), "reflection")
    if "blur" in name:
        x = blur(x, still)
    levels = (x[:, 0] * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return [_seen_by_camera(Image.fromarray(row), name) for row in levels], points


def _seen_by_camera(image: Image.Image, name: str) -> Image.Image:
    if "tint" in name:
        gains = (1.0, 0.8, 0.6)
        image = Image.merge("RGB", [image.point([int(v * g) for v in range(256)]) for g in gains])
    if "JPEG" in name:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=30)
        image = Image.open(buffer)
    return image.convert("RGB")


def through_package(extractor: BuiltinExtractor, images: list[Image.Image]) -> Tensor:
    """Return the "posterior" and "landmarks" columns (N, 197) of pictures, as the package gives them."""
    prepared = [extractor.prepare(image) for image in images]
    starts = range(0, len(prepared), extractor.batch_size)
    return torch.from_numpy(
        np.concatenate([extractor.compute(prepared[k : k + extractor.batch_size])[0] for k in starts])
    )


def change_figures(
    extractor: BuiltinExtractor, images: list[Image.Image], points: Tensor, faces: Faces, rows: NDArray[np.intp]
) -> dict[str, Any]:
    """Accuracy, recall, divergence and landmark error on changed pictures of `rows`; points in their widths."""
    values = through_package(extractor, images)
    row = expression_figures(values[:, :8].clamp_min(1e-12).log(), faces, rows, 1.0)
    found = faces.found[rows]
    truth, guess = points[found], values[found, 8:144].reshape(-1, 68, 2) / images[0].width
    eyes = (truth[:, 36:42].mean(1) - truth[:, 42:48].mean(1)).norm(dim=1)
    error = (truth - guess).norm(dim=2).mean(1) / eyes
    return {k: row[k] for k in ("faces", "accuracy", "mean_recall", "js")} | {
        "landmark_error_median": float(error.median()),
        "landmark_error_p90": float(error.quantile(0.9)),
    }


def share_aligned(network: FaceNet, images: list[Image.Image]) -> float:
    """Return the share of pictures whose second look is turned, moved or scaled."""
    pictures = torch.from_numpy(np.stack([prepare_face(np.asarray(image)) for image in images]))
    out = run_network(network, pictures)
    return float((canonical_frames(out.points, out.found) != torch.eye(3)[:2]).any((1, 2)).float().mean())
