"""`builtin`: the builtin model; one pass gives embedding, posteriors, landmarks and blendshapes.

    extractor = builtin.build("", weights=None, device="auto", batch_size=None, parts=builtin.PARTS)
    done = extract(samples, extractor, cache=cache, workers=workers)
    views = builtin_views.split(samples, done.values, done.found, done.notes, extractor.spec)

Its weights are part of the package: no download, no network. What it was trained on, what it can do and
what it must not be used for: `fercleaner/weights/MODEL_CARD.md`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Bytes, Floats
from ..core.devices import full_precision
from ..core.errors import FeatureError, InputError
from ..extraction.detection import NO_FACE, SEVERAL_FACES, Framing, whole_frame
from ..extraction.extractor import Computed, Prepare
from . import alignment
from .network import check_aspect, pick_device

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from .facenet import FaceOutput

#: Side of the gray picture of a small face, pixels.
INPUT_SIZE = 48
#: Side of the picture that a larger face is seen and aligned from, pixels: one that fills two thirds of it is still as
#: sharp as the network can see.
FINE_SIZE = 144
#: Pictures at once; a smaller batch is filled up, so that a face's bits do not depend on its batch.
CPU_BATCH, GPU_BATCH = 64, 512
#: A face with less confidence has no landmarks.
MIN_CONFIDENCE = 0.5
#: Expressions of the posterior, in column order.
EXPRESSIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")

#: What one pass gives, in column order, and how many columns each takes.
WIDTHS: Mapping[str, int] = {
    "embedding": 256,
    "posterior": 8,
    "landmarks": 136 + 1 + 52,
    "trained_on": 1,
}
PARTS: tuple[str, ...] = tuple(WIDTHS)

NO_LANDMARKS = "landmarks too uncertain"
#: Noted of a face whose frame is turned by more than this (degrees): the picture is sideways, or the person lies.
LYING, LYING_ROLL = "found turned by more than 45 degrees", 45.0


@dataclass(frozen=True)
class PrepareFace:
    """A picture as bytes: 48 x 48 gray, where its corners lie in the picture, and 144 x 144 gray where that is more.

    Returns uint8 (2304 + 24,), of a face larger than 48 pixels (2304 + 24 + 20736,), or (1,) where no single face was
    found: 0 none, 1 several.

    Parameters
    ----------
    framing : Framing
        What part of a picture is the face.
    fine : bool
        Whether larger faces come in 144 x 144 too.
    """

    framing: Framing = field(default_factory=Framing)
    fine: bool = True

    def __call__(self, image: Image, /) -> Bytes:
        check_aspect(image)
        frame = self.framing(image)
        if isinstance(frame, str):
            return np.array([1 if frame == SEVERAL_FACES else 0], np.uint8)
        place = np.frombuffer(np.asarray(frame.to_picture, "<f4").tobytes(), np.uint8)
        parts = [frame.pixels(image, INPUT_SIZE).ravel(), place]
        if self.fine and frame.side > INPUT_SIZE:
            parts.append(frame.pixels(image, FINE_SIZE).ravel())
        return np.concatenate(parts)


def prepare_face(pixels: NDArray[np.uint8]) -> Bytes:
    """Return a face crop (H, W) or (H, W, 3) uint8 as the network sees it: (48, 48) uint8 gray."""
    from PIL import Image

    image = Image.fromarray(pixels)
    return whole_frame(image).pixels(image, INPUT_SIZE)


def weights_folder() -> Path:
    """Return the folder of the package's own weights."""
    return Path(str(resources.files("fercleaner") / "weights"))


class BuiltinExtractor:
    """An `Extractor` around the builtin model; each face is seen as it comes and, mirrored, aligned.

    The mean of both is given (`alignment`): faces that are rolled, off center or in a loose crop lose less.

    On the CPU it runs in float32 and a face's vector does not depend on its batch; on a GPU in float32 too
    (the network is small), where the last bits can vary.

    Parameters
    ----------
    parts : sequence of str
        Which of `PARTS` a vector holds, in that order. "landmarks" are 136 coordinates in pixels of the
        picture that was prepared (x0, y0, x1, ...), the confidence, 52 blendshapes in [0, 1].
    weights : path, optional
        Another safetensors file of the same network, with its description (.json) beside it.
    device : str
        "auto", "cpu", "cuda", ...
    batch_size : int, optional
        On a GPU.
    framing : Framing
        What part of a picture is the face.
    name : str
        Name of the view.
    align : bool
        Off: the mirrored face is not aligned; to measure what aligning does.

    Raises
    ------
    FeatureError
        The weights are not here, or not of this network.
    InputError
        A part or a device that does not exist.
    """

    def __init__(
        self,
        parts: Sequence[str] = ("embedding",),
        *,
        weights: Path | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        framing: Framing | None = None,
        name: str = "builtin",
        align: bool = True,
    ) -> None:
        unknown = [part for part in parts if part not in WIDTHS]
        if unknown or not parts:
            raise InputError(f"builtin gives {', '.join(PARTS)}, not '{', '.join(unknown) or 'nothing'}'.")
        self.name = name
        self.parts = tuple(part for part in PARTS if part in parts)
        self.width = sum(WIDTHS[part] for part in self.parts)
        self._weights = weights or weights_folder() / "builtin.safetensors"
        self._about = read_description(self._weights)
        self._device = device
        self._align = align
        self.batch_size = CPU_BATCH if pick_device(device).type == "cpu" else (batch_size or GPU_BATCH)
        framing = framing or Framing()
        self.prepare: Prepare = PrepareFace(framing, fine=align)
        self.spec: Mapping[str, Any] = {
            "kind": "builtin",
            "version": 4,
            "mirror": True,
            "align": {**alignment.SPEC, "source": FINE_SIZE} if align else None,
            "weights": _sha256(str(self._weights), self._weights.stat().st_mtime_ns),
            "parts": list(self.parts),
            "temperature": self._about["temperature"],
            "input": INPUT_SIZE,
            "framing": framing.spec,
        }
        if pick_device(device).type != "cpu":  # sums go in another order there: kept apart in the cache
            self.spec = {**self.spec, "device": pick_device(device).type}

    def compute(self, batch: Sequence[NDArray[Any]], /) -> Computed:
        """Run the network; a picture without a single face is not found. A face that lies has the note `LYING`."""
        values = np.zeros((len(batch), self.width), np.float32)
        found = np.array([len(item) > 1 for item in batch], np.bool_)
        notes = [_note(item) for item in batch]
        rows = np.flatnonzero(found)
        if len(rows):
            size = INPUT_SIZE * INPUT_SIZE
            stacked = np.stack([batch[int(row)][: size + 24] for row in rows])
            places = np.ascontiguousarray(stacked[:, size:]).view("<f4").reshape(-1, 2, 3)
            pictures = np.ascontiguousarray(stacked[:, :size]).reshape(-1, INPUT_SIZE, INPUT_SIZE)
            values[rows] = self._run(pictures, places, [batch[int(row)][size + 24 :] for row in rows])
            if self.parts == ("landmarks",):
                sure = values[:, 136] >= MIN_CONFIDENCE
                notes = [NO_LANDMARKS if f and not s else n for f, s, n in zip(found, sure, notes, strict=True)]
                found &= sure
                values[~found] = 0
        return values, found, notes

    def _run(self, pictures: Bytes, places: Floats, fine: Sequence[Bytes]) -> Floats:
        import torch

        from .facenet import mirror_names

        network = _network(str(self._weights), str(pick_device(self._device)))
        device = next(network.parameters()).device
        with torch.inference_mode(), torch.autocast(device.type, enabled=False), full_precision():
            out = self._looked_at(network, self._filled(pictures), fine, mirror_names(self._about["blendshapes"]))
            posterior = (out.logits.double() / self._about["temperature"]).softmax(1).float()
            columns = {
                "embedding": out.embedding,
                "posterior": posterior,
                "points": out.points.flatten(1),
                "confidence": out.found.sigmoid()[:, None],
                "blendshapes": out.blendshapes.sigmoid(),
            }
            arrays = {key: value.cpu().numpy()[: len(pictures)] for key, value in columns.items()}
        parts = {
            "embedding": arrays["embedding"],
            "posterior": arrays["posterior"],
            "landmarks": np.concatenate(
                (
                    _placed(arrays["points"], places),
                    arrays["confidence"],
                    self._shapes(arrays["blendshapes"]),
                ),
                1,
            ),
            "trained_on": _seen(pictures)[:, None] if "trained_on" in self.parts else places[:, 0, :1] * 0,
        }
        return np.concatenate([parts[part] for part in self.parts], axis=1).astype(np.float32)

    def _filled(self, pictures: Bytes) -> Tensor:
        """Return pictures (B, S, S) as the network takes them, filled up to a batch."""
        import torch

        short = self.batch_size - len(pictures)
        filled = np.pad(pictures, ((0, short), (0, 0), (0, 0))) if short > 0 else pictures
        device = pick_device(self._device)
        return (torch.from_numpy(filled).to(device)[:, None].float() / 255).contiguous(
            memory_format=torch.channels_last
        )

    def _looked_at(self, network: Any, pictures: Tensor, fine: Sequence[Bytes], shapes: Sequence[int]) -> FaceOutput:
        import torch

        from .facenet import average_with_mirror

        if not self._align:
            return average_with_mirror(network, pictures, shapes)
        is_fine = np.array([len(item) > 0 for item in fine], np.bool_)
        if not is_fine.any():
            return alignment.average_with_aligned(network, pictures, shapes)
        finer = np.zeros((len(fine), FINE_SIZE * FINE_SIZE), np.uint8)
        finer[is_fine] = np.stack([item for item in fine if len(item)])
        which = torch.from_numpy(np.pad(is_fine, (0, len(pictures) - len(is_fine)))).to(pictures.device)
        return alignment.average_with_aligned(
            network, pictures, shapes, self._filled(finer.reshape(-1, FINE_SIZE, FINE_SIZE)), which
        )

    def _shapes(self, values: Floats) -> Floats:
        mean = np.array(self._about["blendshape_mean"], np.float32)
        varies = np.array(self._about["blendshape_varies"], np.bool_)
        shapes: Floats = np.where(varies, values, mean)
        return shapes


def build(
    name: str = "",
    *,
    weights: Path | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    parts: Sequence[str] = ("embedding",),
    framing: Framing | None = None,
) -> BuiltinExtractor:
    """Return the builtin encoder; `parts` says what a vector holds (the embedding alone by default).

    Raises
    ------
    InputError
        Something stands after the colon of the tag.
    FeatureError
        The weights are missing or damaged.
    """
    if name:
        raise InputError(f"--encoder builtin takes nothing after a colon, got '{name}'.")
    return BuiltinExtractor(parts, weights=weights, device=device, batch_size=batch_size, framing=framing)


def read_description(weights: Path) -> dict[str, Any]:
    """Return the description (.json) that stands beside the weights; FeatureError where either is missing."""
    path = weights.with_suffix(".json")
    for file in (weights, path):
        if not file.is_file():
            raise FeatureError(
                f"The builtin network needs {file}, which is not there. Reinstall fercleaner, or use another encoder."
            )
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        about["temperature"] = float(about["temperature"])
    except (ValueError, KeyError, TypeError) as error:
        raise FeatureError(f"{path} is damaged: {error}. Reinstall fercleaner.") from error
    return about


@functools.lru_cache(maxsize=2)
def _network(path: str, device: str) -> Any:
    from safetensors import SafetensorError

    from .facenet import load_facenet

    try:
        return load_facenet(path).to(device)
    except (SafetensorError, ValueError, RuntimeError, OSError) as error:
        raise FeatureError(f"{path} does not hold the builtin network: {error} Reinstall fercleaner.") from error


@functools.lru_cache(maxsize=8)
def _sha256(path: str, changed: int) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@functools.lru_cache(maxsize=1)
def _training_digests() -> NDArray[np.uint64]:
    digests: NDArray[np.uint64] = np.load(weights_folder() / "trained_on.npy", allow_pickle=False)
    return digests


def picture_digests(pictures: Bytes) -> NDArray[np.uint64]:
    """Return a 64-bit digest of each prepared picture (N, 48, 48), (N,) uint64."""
    digests = [hashlib.blake2b(picture.tobytes(), digest_size=8).digest() for picture in pictures]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def _seen(pictures: Bytes) -> Floats:
    known = _training_digests()
    seen: Floats = np.isin(picture_digests(pictures), known).astype(np.float32)
    return seen


def _note(prepared: Bytes) -> str:
    """Return why a prepared face is none, or that it lies in its picture; "" otherwise."""
    if len(prepared) == 1:
        return SEVERAL_FACES if prepared[0] else NO_FACE
    size = INPUT_SIZE * INPUT_SIZE
    place = prepared[size : size + 24].view("<f4")
    return LYING if abs(math.degrees(math.atan2(place[3], place[0]))) > LYING_ROLL else ""


def _placed(points: Floats, places: Floats) -> Floats:
    """Move points (n, 136) from crop widths to the picture by the affine maps (n, 2, 3)."""
    xy = points.reshape(-1, 68, 2)
    moved = np.einsum("nij,nkj->nki", places[:, :, :2], xy) + places[:, None, :, 2]
    flat: Floats = moved.reshape(len(points), 136).astype(np.float32)
    return flat
