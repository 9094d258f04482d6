"""face-alignment's 2D-FAN: 68 landmarks by heatmap regression.

The package's own weights and network are used; cropping and reading the heatmaps are ours, because the
package rounds points to whole pixels of the picture, 5 % of the eye distance on a 48 x 48 face.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Doubles, Floats
from ..core.devices import torch_device
from ..core.errors import FeatureError, InputError, MissingDependency, did_you_mean
from ..encoders.checkpoints import reach, read_state, sha256
from ..extraction.extractor import Computed, Prepare
from .weights import locate

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

#: The network sees this many pixels and answers with heatmaps of the other.
CROP, HEATMAP = 256, 64

#: FAN was trained on squares moved up by this share of a box's height, of side 200 (w + h) / reference; the
#: reference is the face detector's own, 195 for sfd, whose tight boxes a face crop resembles most.
UP, WHOLE_REFERENCE = 0.12, 195.0

#: 68 points and a confidence.
WIDTH = 136 + 1

NO_FACE = "no face found"

#: Least heat for the logarithm that places a peak between pixels.
_COLDEST = 1e-6

FAN_FILE = "2DFAN4-11f355bf06.pth.tar"

#: Point that each point becomes when the picture is mirrored.
MIRROR: tuple[int, ...] = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *(27, 28, 29, 30, 35, 34, 33, 32, 31),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)


@dataclass(frozen=True)
class FaceDetectorKind:
    """One of the package's face detectors.

    Parameters
    ----------
    files : tuple of tuple of str
        Each weight file, under any one of its names.
    url_keys : tuple of str
        Where the package keeps each file's address: a key of its `models_urls`, or "" for `model_url`.
    """

    files: tuple[tuple[str, ...], ...]
    url_keys: tuple[str, ...]


FACE_DETECTORS: dict[str, FaceDetectorKind] = {
    "sfd": FaceDetectorKind((("s3fd-619a316812.pth",),), ("s3fd",)),
    "blazeface": FaceDetectorKind((("blazeface.pth",), ("anchors.npy",)), ("blazeface_weights", "blazeface_anchors")),
    "retinaface": FaceDetectorKind((("retinaface_mobilenet0.25.pth",),), ("retinaface_mobilenet0.25",)),
    "yunet": FaceDetectorKind((("face_detection_yunet_2023mar.onnx", "yunet_n_320_320.onnx"),), ("",)),
}

#: A square of the picture at network size, and where it was: left, top, side in pixels.
_SEEN = np.dtype([("pixels", np.uint8, (CROP, CROP, 3)), ("frame", np.float64, (3,))])


def square_of(box: Sequence[float], reference: float = WHOLE_REFERENCE) -> tuple[float, float, float]:
    """Return the square (left, top, side; pixels) that FAN is to see for a box (left, top, right, bottom)."""
    left, top, right, bottom = (float(edge) for edge in box[:4])
    width, height = right - left, bottom - top
    side = 200.0 * (width + height) / reference
    return (left + right - side) / 2.0, (top + bottom - side) / 2.0 - UP * height, side


def see(image: Image, frame: tuple[float, float, float]) -> NDArray[Any]:
    """Return the square (left, top, side) of `image` at network size, black outside; 0-d, dtype `_SEEN`."""
    from PIL import Image as PilImage

    left, top, side = frame
    corner = (math.floor(left), math.floor(top))
    outer = image.crop((*corner, math.ceil(left + side), math.ceil(top + side)))
    x, y = left - corner[0], top - corner[1]
    square = outer.resize((CROP, CROP), PilImage.Resampling.BILINEAR, box=(x, y, x + side, y + side))
    seen = np.zeros((), dtype=_SEEN)
    seen["pixels"], seen["frame"] = np.asarray(square.convert("RGB")), frame
    return seen


def whole_picture(image: Image) -> NDArray[Any]:
    """Prepare a picture that is a face crop already: its edges are the face box."""
    return see(image, square_of((0, 0, *image.size)))


def plain_picture(image: Image) -> NDArray[Any]:
    """Prepare a picture in which a face is yet to be found: (H, W, 3) uint8."""
    return np.asarray(image.convert("RGB"))


def read_heatmaps(heat: NDArray[np.floating], frames: Doubles) -> tuple[Doubles, Doubles]:
    """Return where the heatmaps of B faces peak: points (B, 68, 2), pixels of the picture; heights (B, 68).

    The peak is placed between pixels by a parabola through the logarithm of its neighbors, exact for the
    Gaussian blobs that FAN was trained to draw. `frames` (B, 3) holds each square's left, top and side.
    """
    count = len(heat)
    flat = np.asarray(heat, dtype=np.float64).reshape(count, 68, HEATMAP * HEATMAP)
    best = flat.argmax(2)
    height: Doubles = np.take_along_axis(flat, best[..., None], axis=2)[..., 0]
    padded = np.pad(
        np.log(np.maximum(flat, _COLDEST)).reshape(count, 68, HEATMAP, HEATMAP),
        ((0,) * 2, (0,) * 2, (1, 1), (1, 1)),
        "edge",
    )
    y, x = best // HEATMAP + 1, best % HEATMAP + 1
    face, point = np.arange(count)[:, None], np.arange(68)[None]

    def shift(down: int, right: int) -> Doubles:
        before, here, after = (padded[face, point, y + step * down, x + step * right] for step in (-1, 0, 1))
        bend = before - 2.0 * here + after
        moved: Doubles = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, -1.0), 0.0)
        return moved.clip(-0.5, 0.5)

    place = np.stack([x - 1 + shift(0, 1), y - 1 + shift(1, 0)], axis=2)
    points: Doubles = frames[:, None, :2] + (place + 0.5) * (frames[:, None, 2:] / HEATMAP)
    return points, height


class FaceAlignmentDetector:
    """68 landmarks from 2D-FAN, with the picture's edges or a detector's box as the face box.

    Coordinates are pixels of the face crop (of the picture, where the dataset has no boxes). Confidence is
    the mean height of the heatmaps' peaks, clipped to [0, 1]. Of several faces the largest is taken.

    Parameters
    ----------
    weights : str
        Path of the 2D-FAN-4 state dict.
    crop : "whole" or "detect"
        Whether the picture is a face crop already, or a face detector is to find the face in it.
    face_detector : str
        One of `FACE_DETECTORS`; used with crop="detect" alone.
    detector_weights : sequence of str
        Its weight files.
    device : "auto", "cpu" or "cuda"
    batch_size : int
    """

    name = "landmarks"
    width = WIDTH

    def __init__(
        self,
        weights: str,
        *,
        crop: Literal["whole", "detect"] = "whole",
        face_detector: str = "sfd",
        detector_weights: Sequence[str] = (),
        device: str = "auto",
        batch_size: int = 16,
    ) -> None:
        self.batch_size = batch_size
        self._weights = Path(weights)
        self._crop = crop
        self._face_detector = face_detector
        self._detector_weights = [str(path) for path in detector_weights]
        self._device_name = device
        self._spec: dict[str, Any] = {
            "kind": "face-alignment",
            "version": 1,
            "model": "2DFAN-4",
            "weights": sha256(self._weights),
            "crop": crop,
            "units": "pixels",
        }
        if crop == "detect":
            self._spec["face_detector"] = face_detector
            self._spec["detector_weights"] = [sha256(Path(path)) for path in self._detector_weights]

    @property
    def spec(self) -> Mapping[str, Any]:
        """Model, digests of weights, and whether the whole picture or a detector's box was taken."""
        return self._spec

    @property
    def prepare(self) -> Prepare:
        """Cut the network's square from a face crop; leave other pictures as they are."""
        return whole_picture if self._crop == "whole" else plain_picture

    def compute(self, batch: Sequence[NDArray[Any]], /) -> Computed:
        """Find 68 points in each prepared picture."""
        seen = list(batch) if self._crop == "whole" else [self._find(picture) for picture in batch]
        found = np.array([face is not None for face in seen], dtype=np.bool_)
        values: Floats = np.zeros((len(batch), WIDTH), dtype=np.float32)
        if found.any():
            faces = [face for face in seen if face is not None]
            heat = self._heatmaps(np.stack([face["pixels"] for face in faces]))
            points, height = read_heatmaps(heat, np.stack([face["frame"] for face in faces]))
            values[found, :136] = points.reshape(len(points), 136)
            values[found, 136] = height.mean(1).clip(0.0, 1.0)
        return values, found, ["" if there else NO_FACE for there in found]

    def _heatmaps(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            x = torch.from_numpy(pixels).to(self._device).permute(0, 3, 1, 2).float().div_(255.0)
            straight = self._network(x)[-1]
            mirrored = self._network(x.flip(3))[-1].flip(3)[:, list(MIRROR)]
            heat: NDArray[np.float32] = straight.add(mirrored).mul(0.5).float().cpu().numpy()
        return heat

    def _find(self, picture: NDArray[np.uint8]) -> NDArray[Any] | None:
        from PIL import Image as PilImage

        boxes = [np.asarray(box, dtype=np.float64) for box in self._boxes.detect_from_image(picture.copy())]
        boxes = [box for box in boxes if np.isfinite(box).all() and (box[2:4] - box[:2] > 1).all()]
        if not boxes:
            return None
        largest = max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
        return see(PilImage.fromarray(picture), square_of(largest.tolist(), float(self._boxes.reference_scale)))

    @cached_property
    def _device(self) -> str:
        return torch_device(self._device_name)

    @cached_property
    def _network(self) -> Any:
        from face_alignment.models import FAN

        network = FAN(4)
        try:
            network.load_state_dict(read_state(self._weights))
        except RuntimeError as error:
            raise FeatureError(
                f"{self._weights} does not hold the weights of 2D-FAN-4: {str(error).splitlines()[0]} "
                f"Get {FAN_FILE} again, or name another file: --weights face-alignment=FILE."
            ) from error
        return network.to(self._device).eval()

    @cached_property
    def _boxes(self) -> Any:
        module = importlib.import_module(f"face_alignment.detection.{self._face_detector}")
        options: dict[str, Any] = {"path_to_detector": self._detector_weights[0]}
        if len(self._detector_weights) > 1:
            options["path_to_anchor"] = self._detector_weights[1]
        on = "cpu" if self._face_detector == "yunet" else self._device
        try:
            return module.FaceDetector(device=on, **options)
        except Exception as error:  # torch and OpenCV raise whatever damaged bytes lead them to
            raise FeatureError(
                f"{self._detector_weights[0]} cannot be opened as the weights of face detector "
                f"'{self._face_detector}' ({type(error).__name__}: {str(error).partition(chr(10))[0]})."
            ) from error


def build(
    weights: str | None = None,
    *,
    device: str = "auto",
    crop: str = "whole",
    face_detector: str = "sfd",
) -> FaceAlignmentDetector:
    """Return the detector with its weights from `weights`, FERCLEANER_MODELS, torch hub or its source.

    Parameters
    ----------
    weights : str, optional
        The 2D-FAN-4 file, or a folder that holds it (and the face detector's, with crop="detect").
    device, crop, face_detector
        As in `FaceAlignmentDetector`.

    Raises
    ------
    InputError
        Unknown `crop` or `face_detector`.
    MissingDependency
        If face-alignment is not installed.
    FeatureError
        If a weight file is nowhere and cannot be downloaded: its name, and where it was looked for.
    """
    if crop not in ("whole", "detect"):
        raise InputError(
            f"Landmark crop is '{crop}', expected whole or detect.{did_you_mean(crop, ('whole', 'detect'))}"
        )
    if face_detector not in FACE_DETECTORS:
        raise InputError(
            f"Face detector '{face_detector}' is not one of {', '.join(FACE_DETECTORS)}."
            f"{did_you_mean(face_detector, FACE_DETECTORS)}"
        )
    if importlib.util.find_spec("face_alignment") is None:
        raise MissingDependency("face-alignment", "--landmarks face-alignment")
    kind = FACE_DETECTORS[face_detector]
    parts: list[tuple[str, tuple[str, ...], str]] = [("face_alignment.api", (FAN_FILE,), "2DFAN-4")]
    if crop == "detect":
        module = f"face_alignment.detection.{face_detector}.{face_detector}_detector"
        parts += [(module, names, key) for names, key in zip(kind.files, kind.url_keys, strict=True)]
    paths = _all_files(parts, weights)
    return FaceAlignmentDetector(
        str(paths[0]),
        crop="whole" if crop == "whole" else "detect",
        face_detector=face_detector,
        detector_weights=[str(path) for path in paths[1:]],
        device=device,
    )


def _all_files(parts: Sequence[tuple[str, tuple[str, ...], str]], weights: str | None) -> list[Path]:
    """Return the file of each part (module that knows its address, names, key); download what is missing."""
    import torch

    hub = Path(torch.hub.get_dir()) / "checkpoints"
    found: list[Path | None] = []
    looked: list[str] = []
    for position, (_, names, _) in enumerate(parts):
        named = weights if position == 0 or (weights and Path(weights).expanduser().is_dir()) else None
        path, places = locate(names, named, (hub,), strict=position == 0)
        found.append(path)
        looked = looked or places
    reason = ""
    for position, (module, names, key) in enumerate(parts):
        if found[position] is None and not reason:
            known = importlib.import_module(module)
            url = known.models_urls[key] if key else known.model_url
            found[position], reason = _download(url, hub / names[0])
    missing = [names[0] for (_, names, _), path in zip(parts, found, strict=True) if path is None]
    if missing:
        raise FeatureError(
            f"--landmarks face-alignment needs {' and '.join(missing)}; "
            f"looked in {', '.join(looked)}; {reason.rstrip('.')}. "
            f"Put {'it' if len(missing) == 1 else 'them'} into {hub} or name the file (or its folder) with "
            "--weights face-alignment=FILE, or take another detector: --landmarks builtin, mediapipe or points:FILE."
        )
    return [path for path in found if path is not None]


def _download(url: str, target: Path) -> tuple[Path | None, str]:
    """Return (target, "") with the file of `url` in it, or (None, why not)."""
    import torch

    trouble = reach(url)
    if trouble:
        return None, trouble
    log.info("downloading %s to %s", url, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(target), progress=False)
    except Exception as error:  # transport or disk: whatever it is, the weights are not here
        return None, f"the download failed: {error}"
    return target, ""
