"""What the builtin network is trained on and judged by: faces, votes, points, blendshapes, splits."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

VOTE_COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
#: FER2013's names of the expressions.
GIVEN = {"angry": 4, "disgust": 5, "fear": 6, "happy": 1, "sad": 3, "surprise": 2, "neutral": 0}
#: Blendshapes that the teacher hardly moves (noseSneer, cheekSquint, ...) are neither trained nor judged.
VARYING = 0.01
#: Shares of the near-duplicate groups: for choosing (schedule, temperature), and for the figures of the card.
HELD_BACK = {"choose": 0.075, "test": 0.075}
#: Components kept of each outside view when it serves as a teacher of the embedding.
VIEW_COMPONENTS = 96


@dataclass
class Faces:
    """The training set in memory, row by row as in labels.csv (N faces).

    Attributes
    ----------
    pictures : (N, 48, 48) uint8
    votes : (N, 8) float32, distributions over `VOTE_COLUMNS`; rows with no valid vote are zero
    weight : (N,) float32, valid votes (neither unknown nor not-a-face) as a share of all
    counts : (N, 8) float32, the valid votes
    points : (N, 68, 2) float32 in crop widths; zero where not found
    found : (N,) bool
    blendshapes : (N, 52) float32, in standard deviations from the mean; zero where not found
    groups : (N,) str
    views : (N, V) float32, outside views as principal components, or (N, 0)
    given : (N,) int64, FER2013's label as a column of `VOTE_COLUMNS`; judged, never trained on
    blend_mean, blend_std : (52,) float32
    """

    pictures: Tensor
    votes: Tensor
    weight: Tensor
    counts: Tensor
    points: Tensor
    found: Tensor
    blendshapes: Tensor
    groups: NDArray[np.str_]
    views: Tensor
    given: Tensor
    blend_mean: Tensor
    blend_std: Tensor

    @property
    def varying(self) -> Tensor:
        """Columns of the blendshapes that vary, (52,) bool."""
        return self.blend_std >= VARYING


def read_faces(folder: Path, training: NDArray[np.bool_] | None = None, views: bool = True) -> Faces:
    """Read the folder; means, deviations and components come from the `training` rows alone."""
    with (folder / "labels.csv").open(newline="") as file:
        labels = list(csv.DictReader(file))
    with (folder / "votes.csv").open(newline="") as file:
        ballots = list(csv.DictReader(file))
    if [row["image"] for row in labels] != [row["image"] for row in ballots]:
        raise SystemExit("labels.csv and votes.csv do not list the same faces in the same order.")
    names = [row["image"] for row in labels]
    pictures = np.zeros((len(names), 48, 48), np.uint8)
    position = {name: k for k, name in enumerate(names)}
    with tarfile.open(folder / "images.tar") as tar:
        for member in tar:
            row = position.get(member.name.removeprefix("./"))
            handle = tar.extractfile(member) if row is not None else None
            if handle is not None:
                pictures[row] = np.asarray(Image.open(io.BytesIO(handle.read())).convert("L"))
    counts = np.array([[float(row[c]) for c in VOTE_COLUMNS] for row in ballots], np.float32)
    other = np.array([float(row["unknown"]) + float(row["NF"]) for row in ballots], np.float32)
    valid = counts.sum(1)
    votes = counts / np.maximum(valid, 1)[:, None]
    weight = valid / np.maximum(valid + other, 1)
    chosen = np.ones(len(names), bool) if training is None else training
    points = np.load(folder / "landmarks_68.npy").astype(np.float32)
    blend = np.load(folder / "view_blendshapes_52.npy").astype(np.float32)
    found = np.isfinite(points).all((1, 2)) & np.isfinite(blend).all(1)
    mean, std = blend[found & chosen].mean(0), blend[found & chosen].std(0)
    scaled = np.where(found[:, None], (blend - mean) / np.maximum(std, VARYING), 0)
    teachers = [np.zeros((len(names), 0), np.float32)]
    if views:
        for name in ("view_emotion_1024.npy", "view_expression_256.npy"):
            teachers.append(_components(np.load(folder / name).astype(np.float32), chosen))
    return Faces(
        torch.from_numpy(pictures),
        torch.from_numpy(votes),
        torch.from_numpy(weight),
        torch.from_numpy(counts),
        torch.from_numpy(np.where(found[:, None, None], points, 0)),
        torch.from_numpy(found),
        torch.from_numpy(scaled.astype(np.float32)),
        np.array([row["group"] for row in labels]),
        torch.from_numpy(np.concatenate(teachers, 1)),
        torch.tensor([GIVEN[row["label"]] for row in labels]),
        torch.from_numpy(mean),
        torch.from_numpy(std),
    )


def _components(view: NDArray[np.float32], chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the view's leading principal components, half whitened, each row of length 1."""
    view = view / np.maximum(np.linalg.norm(view, axis=1, keepdims=True), 1e-6)
    center = view[chosen].mean(0)
    covariance = np.cov((view[chosen] - center).T)
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(values)[::-1][:VIEW_COMPONENTS]
    scale = np.maximum(values[order], 1e-12) ** -0.25
    scores = (view - center) @ (vectors[:, order] * scale)
    return (scores / np.maximum(np.linalg.norm(scores, axis=1, keepdims=True), 1e-6)).astype(np.float32)


def split_groups(groups: NDArray[np.str_], file: Path, seed: int) -> dict[str, NDArray[np.bool_]]:
    """Return the rows of "train", "choose" and "test"; held-back groups are frozen in `file` once drawn."""
    if not file.exists():
        unique = np.unique(groups)
        order = np.random.default_rng(seed).permutation(unique)
        frozen, start = {}, 0
        for name, share in HELD_BACK.items():
            stop = start + round(share * len(unique))
            frozen[name] = sorted(order[start:stop].tolist(), key=lambda g: (len(g), g))
            start = stop
        head = {"set": "FER2013 training faces, groups of labels.csv", "seed": seed, **frozen}
        file.write_text(json.dumps(head, separators=(",", ":")) + "\n")
    held = json.loads(file.read_text())
    rows = {name: np.isin(groups, held[name]) for name in HELD_BACK}
    rows["train"] = ~(rows["choose"] | rows["test"])
    return rows
