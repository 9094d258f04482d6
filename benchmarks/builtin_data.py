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

from fercleaner.landmarks.mediapipe import MESH_TO_68

VOTE_COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
#: FER2013's names of the expressions.
GIVEN = {"angry": 4, "disgust": 5, "fear": 6, "happy": 1, "sad": 3, "surprise": 2, "neutral": 0}
#: Blendshapes that the teacher hardly moves (noseSneer, cheekSquint, ...) are neither trained nor judged.
VARYING = 0.01
#: Shares of the near-duplicate groups: for choosing (schedule, temperature), and for the figures of the card.
HELD_BACK = {"choose": 0.075, "test": 0.075}
#: The points of the jaw.
JAW = slice(0, 17)


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
    given: Tensor
    blend_mean: Tensor
    blend_std: Tensor

    @property
    def varying(self) -> Tensor:
        """Columns of the blendshapes that vary, (52,) bool."""
        return self.blend_std >= VARYING


def read_faces(folder: Path, training: NDArray[np.bool_] | None = None, mesh: Path | None = None) -> Faces:
    """Read the folder; means and deviations come from the `training` rows alone.

    `mesh` is what `builtin_targets.py mesh` wrote of its pictures. Without it, points are those of the folder, whose
    jaw is uneven (`JAW` is not to be judged then).
    """
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
    points = np.load(folder / "landmarks_68.npy").astype(np.float32) if mesh is None else _mesh_points(mesh, names)
    blend = np.load(folder / "view_blendshapes_52.npy").astype(np.float32)
    found = np.isfinite(points).all((1, 2)) & np.isfinite(blend).all(1)
    mean, std = blend[found & chosen].mean(0), blend[found & chosen].std(0)
    scaled = np.where(found[:, None], (blend - mean) / np.maximum(std, VARYING), 0)
    return Faces(
        torch.from_numpy(pictures),
        torch.from_numpy(votes),
        torch.from_numpy(weight),
        torch.from_numpy(counts),
        torch.from_numpy(np.where(found[:, None, None], points, 0)),
        torch.from_numpy(found),
        torch.from_numpy(scaled.astype(np.float32)),
        np.array([row["group"] for row in labels]),
        torch.tensor([GIVEN[row["label"]] for row in labels]),
        torch.from_numpy(mean),
        torch.from_numpy(std),
    )


def _mesh_points(mesh: Path, names: list[str]) -> NDArray[np.float32]:
    with np.load(mesh) as stored:
        position = {name: k for k, name in enumerate(stored["ids"].tolist())}
        rows = stored["mesh"][[position[name.rsplit("/", 1)[-1]] for name in names]]
    points: NDArray[np.float32] = rows[:, list(MESH_TO_68), :2].astype(np.float32)
    return points


def teacher_values(standardized: Tensor, faces: Faces) -> Tensor:
    """Return blendshapes (M, 52) as the teacher gave them, in [0, 1], from their standardized form."""
    return (standardized * faces.blend_std.clamp_min(VARYING) + faces.blend_mean).clamp(0, 1)


def balanced_weights(votes: Tensor, weight: Tensor, rows: NDArray[np.intp], power: float = 1.0) -> Tensor:
    """Return (N,) weights of faces, mean 1 over `rows`: their voted expressions' share in `rows` to minus `power`.

    With power 1 the votes for each expression weigh the same. A share counts as one in a thousand at least.
    """
    total = (votes[rows] * weight[rows, None]).sum(0)
    rare = (total / total.sum()).clamp_min(1e-3) ** -power
    balanced = (votes @ rare) * weight
    return balanced / balanced[rows].mean()


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
