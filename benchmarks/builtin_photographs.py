"""The photographs that the builtin network learns from: what several networks say of them, and which are held back.

`../shared/wild` has poor labels; they are not learned. The targets are posteriors of teachers (`builtin_targets.py`):
`photographs` learns those of the seven-expression network, `votes` the geometric mean of the shipped network (half),
the seven-expression and the five-expression network (a quarter each).
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from builtin_targets import five_points
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fercleaner.extraction.detection import aligned_frame
from fercleaner.landmarks.mediapipe import MESH_TO_68

SIDE = 128
#: Columns of the seven-expression teacher (neutral, happiness, sadness, anger, fear, disgust, surprise), and of the
#: five-expression one (neutral, happiness, sadness, surprise, anger), in the order of `facenet.EXPRESSIONS`.
EXPRESSION_COLUMNS = (0, 1, 6, 2, 3, 5, 4)
EMOTION_COLUMNS = (0, 1, 3, 2, 4)
#: Shares of the groups held back, as for FER2013.
HELD_BACK = {"choose": 0.1, "test": 0.1}


@dataclass
class Photographs:
    """N photographs in memory, row by row as in labels.csv.

    Attributes
    ----------
    pictures : (N, 128, 128) uint8, gray
    frames : (N, 2, 3) float32, the canonical frame in widths of the picture (by YuNet's five points)
    expression : (N, 8) float32, the seven-expression teacher; 0 for contempt
    emotion : (N, 8) float32, the five-expression teacher; disgust and fear as `expression` has them
    points : (N, 68, 2) float32 in picture widths; 0 where MediaPipe found no face
    blendshapes : (N, 52) float32 in [0, 1]
    found : (N,) bool
    labels : (N,) str, as they came; judged, never trained on
    groups : (N,) str
    color : (N,) bool, whether the picture has any
    """

    pictures: Tensor
    frames: Tensor
    expression: Tensor
    emotion: Tensor
    points: Tensor
    blendshapes: Tensor
    found: Tensor
    labels: NDArray[np.str_]
    groups: NDArray[np.str_]
    color: NDArray[np.bool_]


def read_photographs(folder: Path, targets: Path) -> Photographs:
    """Read `../shared/wild` and its teachers' answers (TARGETS/wild_mesh.npz and wild_teachers.npz)."""
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [row["image"] for row in rows]
    position = {name: k for k, name in enumerate(names)}
    pictures = np.zeros((len(names), SIDE, SIDE), np.uint8)
    color = np.zeros(len(names), bool)
    with tarfile.open(folder / "images.tar") as tar:
        for member in tar:
            handle = tar.extractfile(member)
            if handle is None:
                continue
            row, image = position[member.name.rsplit("/", 1)[-1]], Image.open(io.BytesIO(handle.read()))
            pixels = np.asarray(image.convert("RGB")).astype(int)
            color[row] = (pixels.max(2) - pixels.min(2)).mean() > 6
            pictures[row] = np.asarray(image.convert("L"))
    five = five_points(folder / "labels.csv")
    frames = np.array([aligned_frame(five[name]).to_picture for name in names], np.float32) / SIDE
    mesh, shapes = (_rows(targets / "wild_mesh.npz", names, key) for key in ("mesh", "blendshapes"))
    points = mesh[:, list(MESH_TO_68), :2]
    found = np.isfinite(points).all((1, 2)) & np.isfinite(shapes).all(1)
    expression, emotion = (_rows(targets / "wild_teachers.npz", names, key) for key in ("expression", "emotion"))
    return Photographs(
        torch.from_numpy(pictures),
        torch.from_numpy(frames),
        *teachers_eight(expression, emotion),
        torch.from_numpy(np.where(found[:, None, None], points, 0).astype(np.float32)),
        torch.from_numpy(np.where(found[:, None], shapes, 0).astype(np.float32)),
        torch.from_numpy(found),
        np.array([row["label"] for row in rows]),
        np.array([row["group"] for row in rows]),
        color,
    )


def _rows(file: Path, names: list[str], key: str) -> NDArray[np.float32]:
    with np.load(file) as stored:
        position = {name: k for k, name in enumerate(stored["ids"].tolist())}
        values: NDArray[np.float32] = stored[key].astype(np.float32)[[position[name] for name in names]]
    return values


def teachers_eight(expression: NDArray[np.float32], emotion: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """Return both teachers' posteriors over eight expressions, (N, 8) each.

    The five-expression one's are scaled to what the other leaves to these five; disgust and fear are the other's.
    """
    seven = np.zeros((len(expression), 8), np.float32)
    seven[:, :7] = expression[:, EXPRESSION_COLUMNS]
    five = seven.copy()
    five[:, :5] = emotion[:, EMOTION_COLUMNS] * seven[:, :5].sum(1, keepdims=True)
    return torch.from_numpy(seven), torch.from_numpy(five)


def crop_teacher(data: Path, models: Path) -> Tensor:
    """Return the seven-expression teacher's posteriors of FER2013's crops (N, 8), from its features in `data`."""
    spec = importlib.util.spec_from_file_location("teachers", models / "teachers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    weights = module.expression_weights()
    features = torch.from_numpy(np.load(data / "view_expression_256.npy").astype(np.float32))
    posteriors = (features @ weights["fc/weights"] + weights["fc/bias"]).softmax(1)
    eight = torch.zeros(len(features), 8)
    eight[:, :7] = posteriors[:, list(EXPRESSION_COLUMNS)]
    return eight


def geometric_mean(*weighted: tuple[float, Tensor]) -> Tensor:
    """Return the normalized product of distributions (N, 8), each to the power of its weight."""
    logs = sum((weight * (rows + 1e-4).log() for weight, rows in weighted), start=torch.zeros(()))
    return logs.softmax(1)


def split_photographs(groups: NDArray[np.str_], file: Path, seed: int) -> dict[str, NDArray[np.bool_]]:
    """Return the rows of "train", "choose", "test"; held-back groups are frozen in `file` under "wild" once drawn."""
    held = json.loads(file.read_text())
    if "wild" not in held:
        unique = np.unique(groups)
        order = np.random.default_rng(seed).permutation(unique)
        frozen, start = {}, 0
        for name, share in HELD_BACK.items():
            stop = start + round(share * len(unique))
            frozen[name] = sorted(order[start:stop].tolist())
            start = stop
        held["wild"] = {"set": "photographs of the wild, groups of labels.csv", "seed": seed, **frozen}
        file.write_text(json.dumps(held, separators=(",", ":")) + "\n")
    rows = {name: np.isin(groups, held["wild"][name]) for name in HELD_BACK}
    rows["train"] = ~(rows["choose"] | rows["test"])
    return rows
