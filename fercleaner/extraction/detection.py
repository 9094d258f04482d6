"""Where the face is in a picture: the whole of it, or found by YuNet and turned upright.

`choose_framing` turns what the user wrote after ``--crop`` into a `Framing`, which workers can hold.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import math
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.arrays import Bytes, Doubles
from ..core.errors import FeatureError, InputError, MissingDependency

if TYPE_CHECKING:
    from PIL.Image import Image

NO_FACE = "no face found"
SEVERAL_FACES = "several faces"

#: Names under which YuNet's weights are published.
DETECTOR_FILES = ("yunet_n_320_320.onnx", "face_detection_yunet_2023mar.onnx")
#: Environment variable naming a folder of weight files.
MODELS_VARIABLE = "FERCLEANER_MODELS"

#: Where eyes, nose tip and mouth corners lie in FER2013's crops, in crop widths: medians of MediaPipe's
#: points over its training faces, made symmetric. The network was trained on these crops.
TEMPLATE = np.array([(0.314, 0.391), (0.686, 0.391), (0.5, 0.585), (0.348, 0.772), (0.652, 0.772)])

#: The detector sees pictures with their longer side at most this (pixels); small ones are enlarged to half.
DETECTOR_SIDE = 640
#: Detections with a lower score are not faces.
MIN_SCORE = 0.6
#: The detector sees only half of a roll at a time: a face that lies turned by more than this (degrees) in what it
#: looked at is turned upright and looked at again, so often at most.
TURNED, LOOKS = 6.0, 3
#: A picture whose face scores less than `SURE` (5 in 100 upright ones; upside down half are found, all as if they stood
#: upright, at .87 at most) is looked at from its other sides too, and one of these is taken if it scores at least
#: `SURE_SIDEWAYS`. Chosen on 300 photographs turned by 0 to 180 degrees, groups kept for choosing.
SURE, SURE_SIDEWAYS = 0.9, 0.8
#: Another face counts when its area is at least this share of the largest one's.
RIVAL_AREA = 0.4
#: A picture no larger than this (pixels; RAF-DB's aligned faces have 100) is a face crop already. Every larger one is
#: brought to the same frame: a portrait whose face spans .7 of it, taken whole, is no crop as the network knows them.
SMALL = 112

_lock = threading.Lock()


@dataclass(frozen=True)
class Frame:
    """A square in a picture, upright or turned.

    Parameters
    ----------
    to_picture : ((a, b, c), (d, e, f))
        Takes (u, v) of the square, 0 to 1, to pixels: x = a u + b v + c, y = d u + e v + f. What lies
        outside the picture repeats its edge.
    """

    to_picture: tuple[tuple[float, float, float], tuple[float, float, float]]

    @property
    def side(self) -> float:
        """Length of the square's side in pixels."""
        (a, b, _), (d, e, _) = self.to_picture
        return math.sqrt(abs(a * e - b * d))

    @property
    def roll(self) -> float:
        """Angle by which the square is turned, degrees, from -180 to 180."""
        (a, _, _), (d, _, _) = self.to_picture
        return math.degrees(math.atan2(d, a))

    def widened(self, factor: float) -> Frame:
        """Return the frame with the same center and `factor` times the side."""
        (a, b, c), (d, e, f) = self.to_picture
        rest = (1 - factor) / 2
        return Frame(
            (
                (a * factor, b * factor, c + rest * (a + b)),
                (d * factor, e * factor, f + rest * (d + e)),
            )
        )

    def turned_back(self, quarters: int, size: tuple[int, int]) -> Frame:
        """Return the frame in a picture (width, height) of one in it turned by `quarters`, against the clock."""
        turn = np.linalg.matrix_power(np.array([(0.0, -1.0), (1.0, 0.0)]), quarters)
        matrix, middle = np.array(self.to_picture), np.array(size) / 2
        matrix[:, 2] -= abs(turn) @ middle
        matrix = turn @ matrix
        matrix[:, 2] += middle
        (a, b, c), (d, e, f) = matrix.tolist()
        return Frame(((a, b, c), (d, e, f)))

    def pixels(self, image: Image, size: int) -> Bytes:
        """Return the square as (size, size) uint8 gray, averaged where it is made smaller."""
        gray = image.convert("L")
        (a, b, _), (d, e, _) = self.to_picture
        if b == 0 and d == 0 and (a, e) == (max(image.size),) * 2:
            return _resized(_squared(np.asarray(gray)), size)
        shrink = max(1, int(self.side // (8 * size)))
        if shrink > 1:
            gray = gray.reduce(shrink)
        matrix = np.array(self.to_picture) / shrink
        fine = size * min(8, max(1, math.ceil(self.side / shrink / size)))
        corners = np.array([(0, 0), (1, 0), (0, 1), (1, 1)]) @ matrix[:, :2].T + matrix[:, 2]
        low = np.maximum(0, np.ceil(1 - corners.min(0))).astype(int)
        high = np.maximum(0, np.ceil(corners.max(0) + 1 - gray.size)).astype(int)
        padded = np.pad(np.asarray(gray), ((low[1], high[1]), (low[0], high[0])), mode="edge")
        return _resized(_sampled(padded, matrix + np.array([[0, 0, low[0]], [0, 0, low[1]]]), fine), size)


def whole_frame(image: Image) -> Frame:
    """Return the frame of a whole picture: the square around it, the shorter side padded by its edge."""
    width, height = image.size
    side = float(max(width, height))
    left, top = (width - side) / 2, (height - side) / 2
    return Frame(((side, 0.0, float(math.ceil(left))), (0.0, side, float(math.ceil(top)))))


def aligned_frame(points: ArrayLike) -> Frame:
    """Return the frame that puts five points nearest to `TEMPLATE` by scale, roll and shift (least squares).

    Parameters
    ----------
    points : (5, 2)
        Eye on the left of the picture, eye on the right, nose tip, left and right mouth corner; pixels.
    """
    target = np.asarray(points, dtype=np.float64)
    if target.shape != (5, 2) or not np.isfinite(target).all():
        raise InputError(f"Five points (5, 2) are needed to align a face, got shape {target.shape}.")
    p = TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]
    q = target[:, 0] + 1j * target[:, 1]
    centered = p - p.mean()
    turn = complex((centered.conj() * (q - q.mean())).sum() / (abs(centered) ** 2).sum())
    shift = complex(q.mean() - turn * p.mean())
    a, d = turn.real, turn.imag
    return Frame(((a, -d, shift.real), (d, a, shift.imag)))


@dataclass(frozen=True)
class Face:
    """A detected face: box (left, top, right, bottom) and five points (5, 2) in pixels, and its score."""

    box: tuple[float, float, float, float]
    points: tuple[tuple[float, float], ...]
    score: float

    @property
    def area(self) -> float:
        """Area of the box, square pixels."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


@dataclass(frozen=True)
class Framing:
    """What part of a picture is taken as the face.

    Parameters
    ----------
    detector : str
        Path of YuNet's weights; "" takes every picture (or its box) whole.
    """

    detector: str = ""

    @property
    def spec(self) -> Mapping[str, Any]:
        """What determines the frame; JSON types."""
        if not self.detector:
            return {"crop": "whole"}
        return {"crop": "detected", "version": 4, "detector": "yunet", "weights": _digest(self.detector)}

    def __call__(self, image: Image) -> Frame | str:
        """Return the frame of the picture's face, or why there is none: `NO_FACE`, `SEVERAL_FACES`."""
        if not self.detector or max(image.size) <= SMALL:
            return whole_frame(image)
        return self._found(image)[0]

    def count(self, image: Image) -> int:
        """Return how many faces the search for the frame finds in a picture of any size, a rival by `RIVAL_AREA`."""
        return self._found(image)[1]

    def _found(self, image: Image) -> tuple[Frame | str, int]:
        """Return the frame of the picture's face at any roll, or why there is none, and how many faces there are."""
        frame, count, score = self._one_side(image)
        if score >= SURE:
            return frame, count
        sides = [(*self._one_side(image.rotate(90 * quarters, expand=True)), quarters) for quarters in (1, 2, 3)]
        other, others, best, quarters = max(sides, key=lambda side: side[2])
        if best < SURE_SIDEWAYS or best <= score:
            return frame, count
        return other if isinstance(other, str) else other.turned_back(quarters, image.size), others

    def _one_side(self, image: Image) -> tuple[Frame | str, int, float]:
        """Return the frame of the face that stands upright, or why there is none, how many there are, the score."""
        faces = find_faces(image, self.detector)
        if not faces:
            return NO_FACE, 0, 0.0
        count = sum(face.area >= RIVAL_AREA * faces[0].area for face in faces)
        if count > 1:
            return SEVERAL_FACES, count, min(face.score for face in faces[:2])
        frame, score = self._upright(image, faces[0])
        return frame, 1, score

    def _upright(self, image: Image, face: Face) -> tuple[Frame, float]:
        """Look again in the turned square as long as the face is found turned in it; return the last look's score."""
        from PIL import Image as PilImage

        frame, score = aligned_frame(face.points), face.score
        turned = frame.roll
        for _ in range(LOOKS):
            if abs(turned) <= TURNED:
                break
            wide = frame.widened(2.0)
            seen = PilImage.fromarray(wide.pixels(image, DETECTOR_SIDE // 2))
            faces = find_faces(seen, self.detector, room=False)
            if not faces:
                return frame, 0.0
            matrix = np.array(wide.to_picture)
            points = np.array(faces[0].points) / (DETECTOR_SIDE // 2)
            turned, score = aligned_frame(points).roll, faces[0].score
            frame = aligned_frame(points @ matrix[:, :2].T + matrix[:, 2])
        return frame, score


def choose_framing(
    crop: str = "auto", detector_weights: str | None = None, option: str = "--weights yunet=FILE"
) -> tuple[Framing, str]:
    """Return the framing for ``--crop`` and a line that says which was taken and why.

    Parameters
    ----------
    crop : "auto", "none" or "box"
        "none" takes pictures whole; "box" crops them to the dataset's boxes, which the reading of pictures
        does; "auto" looks for the face, where a detector's weights are at hand, in pictures larger than
        `SMALL`.
    detector_weights : str, optional
        YuNet's ONNX file, or the folder that holds it; FERCLEANER_MODELS is looked at otherwise.
    option : str
        How the user gives that file.

    Raises
    ------
    InputError
        Another word.
    FeatureError
        `detector_weights` names no such file.
    MissingDependency
        Weights are given, and OpenCV is not installed.
    """
    if crop not in ("auto", "none", "box"):
        raise InputError(f"--crop {crop} is none of auto, none, box.")
    if crop == "none":
        return Framing(), "pictures are taken whole (--crop none)"
    if crop == "box":
        return Framing(), "pictures are cropped to the dataset's boxes (--crop box)"
    path = _locate(detector_weights, option)
    if path is None:
        return Framing(), (
            f"pictures are taken whole: no face detector here ({DETECTOR_FILES[0]} in {MODELS_VARIABLE} or {option})"
        )
    if importlib.util.find_spec("cv2") is None:
        if detector_weights:
            raise MissingDependency("opencv-python-headless", option)
        return Framing(), "pictures are taken whole: OpenCV, which runs the face detector, is not installed"
    done = f"faces are looked for with YuNet ({path.name}) in pictures larger than {SMALL} pixels"
    return Framing(str(path)), done


def find_faces(image: Image, weights: str, room: bool = True) -> list[Face]:
    """Return the faces in a picture, largest first, by YuNet; close-ups need `room` around them to be found.

    Raises
    ------
    FeatureError
        The weights cannot be opened.
    """
    import cv2

    bgr = np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])
    longest = max(image.size)
    scale = min(DETECTOR_SIDE / longest, max(1.0, DETECTOR_SIDE / 2 / longest))
    if scale != 1:
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        bgr = cv2.resize(bgr, size, interpolation=how)
    factor = np.array([image.width / bgr.shape[1], image.height / bgr.shape[0]])
    margin = min(bgr.shape[:2]) // 4 if room else 0
    bgr = cv2.copyMakeBorder(bgr, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    with _lock:
        detector = _detector(weights)
        detector.setInputSize((bgr.shape[1], bgr.shape[0]))
        rows = detector.detect(bgr)[1]
    faces = []
    for row in np.zeros((0, 15)) if rows is None else np.asarray(rows, dtype=np.float64):
        corners = np.array([row[:2], row[:2] + row[2:4]])
        left, top, right, bottom = ((corners - margin) * factor).ravel().tolist()
        points = (row[4:14].reshape(5, 2) - margin) * factor
        faces.append(Face((left, top, right, bottom), tuple((float(x), float(y)) for x, y in points), float(row[14])))
    return sorted(faces, key=lambda face: -face.area)


@functools.lru_cache(maxsize=1)
def _detector(weights: str) -> Any:
    import cv2

    try:
        return cv2.FaceDetectorYN.create(weights, "", (DETECTOR_SIDE, DETECTOR_SIDE), MIN_SCORE)
    except cv2.error as error:
        raise FeatureError(
            f"{weights} cannot be opened as YuNet face detector weights. Get it again, or use --crop none."
        ) from error


def _locate(weights: str | None, option: str) -> Path | None:
    if weights:
        given = Path(weights).expanduser()
        for file in (given, *(given / name for name in DETECTOR_FILES)):
            if file.is_file():
                return file
        said = option.replace("FILE", weights)
        raise FeatureError(f"{said}: no such file, nor a folder with {' or '.join(DETECTOR_FILES)}.")
    folder = os.environ.get(MODELS_VARIABLE)
    files = [Path(folder).expanduser() / name for name in DETECTOR_FILES] if folder else []
    return next((file for file in files if file.is_file()), None)


@functools.lru_cache(maxsize=4)
def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _squared(gray: Bytes) -> Bytes:
    height, width = gray.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    rest = ((top, side - height - top), (left, side - width - left))
    return np.pad(gray, rest, mode="edge")


def _resized(square: Bytes, size: int) -> Bytes:
    from PIL import Image as PilImage

    if square.shape == (size, size):
        return np.ascontiguousarray(square)
    how = PilImage.Resampling.HAMMING if len(square) > size else PilImage.Resampling.BICUBIC
    return np.asarray(PilImage.fromarray(square).resize((size, size), how))


def _sampled(gray: Bytes, matrix: Doubles, size: int) -> Bytes:
    from PIL import Image as PilImage

    # Pillow maps pixel centers of the result to places in the source.
    step: NDArray[np.float64] = matrix / np.array([size, size, 1.0])
    image = PilImage.fromarray(np.ascontiguousarray(gray))
    how = PilImage.Resampling.BICUBIC
    return np.asarray(image.transform((size, size), PilImage.Transform.AFFINE, tuple(step.ravel()), how))
