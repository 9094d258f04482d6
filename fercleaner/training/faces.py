"""`Faces`: a torch Dataset over a training set, with the views that a recipe asks for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from ..core.arrays import Bytes, Floats
from .heatmaps import Heatmaps
from .labels import TrainingSet, face_of
from .views import View

#: Faces of a batch: views (B, 3, S, S) by name; "distribution" (B, C); "given", "row", "place" (B,) int64; "weight"
#: (B,); where asked for "points" (B, 68, 2) and "heatmaps" (B, K, H, H).
Batch: TypeAlias = dict[str, Tensor]


class Faces(Dataset[dict[str, Any]]):
    """Faces with their labels; an item is a dict that `collate` (torch's own default) makes batches of.

    Works in a plain loop, with a DataLoader of any number of workers, and with Lightning. The random numbers of a
    view depend on `seed`, the epoch, the face and the view alone, so that neither the number of workers nor a run that
    was broken off changes what a network sees.

    Parameters
    ----------
    faces : TrainingSet
    size : int
        Edge of the pictures, pixels.
    views : mapping of name -> callable (face (S, S, 3) uint8, points (68, 2) or None) -> View
        Such as {"weak": Weak(), "strong": Strong(), "mirror": Plain(mirrored=True)}.
    held : (M, S, S, 3) uint8, optional
        The decoded pictures (`labels.decoded`); without it pictures are decoded whenever they are asked for.
    heatmaps : Heatmaps, optional
        Adds landmarks and heat maps of the view "weak" to every item; faces without landmarks have "has_points" 0.
    seed : int

    Raises
    ------
    UnreadableImage
        On asking for a face whose picture cannot be read; `labels.decoded` takes these out beforehand.
    """

    def __init__(
        self,
        faces: TrainingSet,
        size: int,
        views: Mapping[str, Callable[[Bytes, Floats | None], View]],
        *,
        held: Bytes | None = None,
        heatmaps: Heatmaps | None = None,
        seed: int = 0,
    ) -> None:
        self.faces, self.size, self.views = faces, size, dict(views)
        self.held, self.heatmaps, self.seed = held, heatmaps, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.faces)

    def set_epoch(self, epoch: int) -> None:
        """Draw the views of another epoch from now on; call it before the epoch's DataLoader is started."""
        self.epoch = epoch

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return a face by its place, or by (place, copy): copies of a face in one epoch have other views."""
        place, copy = key if isinstance(key, tuple) else (key, 0)
        set_, row = self.faces, int(self.faces.rows[place])
        face = face_of(set_.samples, row, self.size) if self.held is None else self.held[place]
        points = None if set_.points is None else set_.points[place]
        item: dict[str, Any] = {
            "distribution": torch.from_numpy(set_.distribution[place].copy()),
            "given": int(set_.given[place]),
            "weight": torch.tensor(float(set_.weight[place])),
            "row": row,
            "place": place,
        }
        if set_.units is not None:
            item["units"] = torch.from_numpy(set_.units[place].copy())
        with torch.random.fork_rng(devices=[]):
            for name, view in self.views.items():
                torch.default_generator.manual_seed(
                    stream(self.seed, self.epoch, str(set_.samples.ids[row]), copy, name)
                )
                seen = view(face, points)
                item[name] = seen.picture
                if name == "weak" and self.heatmaps is not None:
                    item |= self.heatmaps(seen.points)
        return item


def stream(*words: int | str) -> int:
    """Return a seed for torch made of numbers and words, the same on every machine."""
    text = "\0".join(map(str, words))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")


def collate(items: Sequence[dict[str, Any]]) -> Batch:
    """Return items as one batch: tensors with the faces along the first axis."""
    batch: Batch = default_collate(list(items))
    return batch
