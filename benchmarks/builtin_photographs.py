"""The photographs that the builtin network learns from: what several networks say of them, and which are held back.

    python benchmarks/builtin_photographs.py ../shared/wild train WORK/wild_train.csv      (or choose, or test, or all)
    fercleaner refine WORK/wild_train.csv --images UNPACKED --out WORK/wild.refined.parquet

`../shared/wild` has poor labels; they are not learned. The targets are posteriors of teachers (`builtin_targets.py`):
`photographs` learns the geometric mean of the seven-expression and the five-expression network, `votes` that of the
starting network (half) and of both (a quarter each); with `--cleaned`, the labels too, as `fercleaner refine` cleaned
them.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from builtin_targets import five_points
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fercleaner.encoders.facenet import EXPRESSIONS
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
    names : N file names
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

    names: list[str]
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
        names,
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


def crop_teachers(data: Path, models: Path, targets: Path) -> tuple[Tensor, Tensor]:
    """Return both teachers' posteriors of FER2013's crops, (N, 8) each.

    The seven-expression one's follow from its features in `data`, the five-expression one's are in
    TARGETS/ferplus_teachers.npz.
    """
    spec = importlib.util.spec_from_file_location("teachers", models / "teachers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    weights = module.expression_weights()
    features = torch.from_numpy(np.load(data / "view_expression_256.npy").astype(np.float32))
    posteriors = (features @ weights["fc/weights"] + weights["fc/bias"]).softmax(1)
    with (data / "labels.csv").open(newline="") as file:
        names = [row["image"].rsplit("/", 1)[-1] for row in csv.DictReader(file)]
    return teachers_eight(posteriors.numpy(), _rows(targets / "ferplus_teachers.npz", names, "emotion"))


def geometric_mean(*weighted: tuple[float | Tensor, Tensor]) -> Tensor:
    """Return the normalized product of distributions (N, 8), each to the power of its weight, a number or (N, 1)."""
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


def cleaned_labels(file: Path, names: list[str]) -> tuple[Tensor, Tensor]:
    """Return what `fercleaner refine` made of the photographs' labels, and how far it is to be trusted.

    Distributions (N, 8) in the order of `facenet.EXPRESSIONS` and their weights (N, 1); 0 for photographs that the
    refined set does not hold (those held back).
    """
    from fercleaner.results.parquet import load

    refined = load(file)
    position = {name.rsplit("/", 1)[-1]: k for k, name in enumerate(refined.ids.tolist())}
    columns = [EXPRESSIONS.index(name) for name in refined.classes]
    distribution, weight = np.zeros((len(names), len(EXPRESSIONS)), np.float32), np.zeros(len(names), np.float32)
    for row, name in enumerate(names):
        if name in position:
            distribution[row, columns] = refined.distribution[position[name]]
            weight[row] = refined.weight[position[name]]
    return torch.from_numpy(distribution), torch.from_numpy(weight)[:, None]


def main() -> None:
    """Write image, label and group of the photographs of a part, or of all: what `refine` and `--truth` take."""
    folder, part, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    groups = Path(__file__).resolve().parent.parent / "fercleaner" / "weights" / "heldback_groups.json"
    parts = split_photographs(np.array([row["group"] for row in rows]), groups, 0)
    kept = np.ones(len(rows), bool) if part == "all" else parts[part]
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, ("image", "label", "group"), extrasaction="ignore")
        writer.writeheader()
        for k in np.flatnonzero(kept).tolist():
            writer.writerow({**rows[k], "image": f"images/{rows[k]['image']}"})


if __name__ == "__main__":
    main()
