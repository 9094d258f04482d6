"""MediaPipe's FaceLandmarker: 478 mesh points mapped to 68, and 52 blendshapes; about 15 ms a face.

Detection runs inside `prepare`, in the worker processes, one landmarker each; `compute` only stacks.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Doubles, Floats
from ..core.errors import FeatureError, MissingDependency
from ..encoders.checkpoints import sha256
from ..extraction.extractor import Computed, Prepare
from .action_units import BLENDSHAPES
from .weights import locate

if TYPE_CHECKING:
    from PIL.Image import Image

MODEL_FILE = "face_landmarker.task"

#: Mesh vertex of each of the 68 points, in iBUG order (py-feat's table but for the jaw; 31..35 differ a little from
#: dlib's). The jaw's are those of the mesh's outline nearest to nine places as far from one another, ear to chin, in
#: the median of 13,403 photographs, alike on both sides; py-feat's has 11 points down to the chin on one, 6 on the
#: other.
MESH_TO_68: tuple[int, ...] = (
    *(127, 234, 132, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 361, 454, 356),  # jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 6, 195, 4, 240, 75, 1, 305, 460),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lip
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lip
)

#: Pictures are enlarged until their smaller side has this many pixels.
SMALLEST_SIDE = 192

#: Borders tried in turn, as shares of the smaller side, by repeating the edge: the face detector wants room
#: around a face, which tight crops do not give. Wider ones found faces in the wrong place.
BORDERS = (0.25, 0.0)

#: 68 points, a confidence, 52 blendshapes.
WIDTH = 136 + 1 + len(BLENDSHAPES)

NO_FACE = "no face found"

_landmarkers: dict[str, Any] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class FindFace:
    """Finds the face in a picture; picklable, since the landmarker is made in the process that uses it.

    Parameters
    ----------
    model : str
        Path of face_landmarker.task.
    """

    model: str

    def __call__(self, image: Image, /) -> NDArray[Any]:
        """Return points (136), confidence 1 and blendshapes (52), float32 (189,); empty if no face."""
        pixels = np.ascontiguousarray(np.asarray(image.convert("RGB")))
        for border in BORDERS:
            found = _detect(self.model, pixels, border)
            if found is not None:
                return found
        return np.zeros(0, dtype=np.float32)


class MediaPipeDetector:
    """68 landmarks and 52 blendshapes from MediaPipe.

    Coordinates are pixels of the face crop (of the picture, where the dataset has no boxes). MediaPipe gives
    no score for a face that it accepts, so the confidence is 1 where one is found. At most one face a
    picture is found.

    Parameters
    ----------
    model : str
        Path of ``face_landmarker.task``.
    batch_size : int
    """

    name = "landmarks"
    width = WIDTH

    def __init__(self, model: str, *, batch_size: int = 64) -> None:
        if importlib.util.find_spec("mediapipe") is None:
            raise MissingDependency("mediapipe", "--landmarks mediapipe", "mediapipe")
        self.batch_size = batch_size
        self._prepare = FindFace(model)
        self._spec = {
            "kind": "mediapipe",
            "version": 2,
            "weights": sha256(Path(model)),
            "smallest_side": SMALLEST_SIDE,
            "borders": list(BORDERS),
            "units": "pixels",
            "blendshapes": True,
        }

    @property
    def spec(self) -> Mapping[str, Any]:
        """Model digest and how small crops are enlarged."""
        return self._spec

    @property
    def prepare(self) -> Prepare:
        """Detect the face of one picture."""
        return self._prepare

    def compute(self, batch: Sequence[NDArray[Any]], /) -> Computed:
        """Stack what `prepare` found."""
        found = np.array([face.size == WIDTH for face in batch], dtype=np.bool_)
        values: Floats = np.zeros((len(batch), WIDTH), dtype=np.float32)
        for row, face in enumerate(batch):
            if found[row]:
                values[row] = face
        return values, found, ["" if there else NO_FACE for there in found]


def build(weights: str | None = None) -> MediaPipeDetector:
    """Return the detector with ``face_landmarker.task`` from `weights` (file or folder) or FERCLEANER_MODELS.

    Raises
    ------
    MissingDependency
        If mediapipe is not installed.
    FeatureError
        If the model file is nowhere; it says where it looked.
    """
    if importlib.util.find_spec("mediapipe") is None:
        raise MissingDependency("mediapipe", "--landmarks mediapipe", "mediapipe")
    path, looked = locate((MODEL_FILE,), weights)
    if path is None:
        raise FeatureError(
            f"--landmarks mediapipe needs {MODEL_FILE}, which is in none of: {', '.join(looked)}. "
            "Get it from MediaPipe's Face Landmarker page and name it with --weights mediapipe=FILE "
            "(or put it into the folder that FERCLEANER_MODELS names), or take another detector: "
            "--landmarks builtin, face-alignment or points:FILE."
        )
    return MediaPipeDetector(str(path))


def _detect(model: str, pixels: NDArray[np.uint8], border: float) -> NDArray[np.float32] | None:
    found = find_mesh(model, pixels, border)
    if found is None:
        return None
    mesh, shapes = found
    face = np.concatenate([mesh[list(MESH_TO_68), :2].ravel(), [1.0], shapes])
    return face.astype(np.float32) if np.isfinite(face).all() else None


def find_mesh(model: str, pixels: NDArray[np.uint8], border: float) -> tuple[Doubles, Doubles] | None:
    """Return the mesh (478, 3) of the face in pixels of the picture and its blendshapes (52,); None without a face.

    `pixels` (H, W, 3) are enlarged to `SMALLEST_SIDE` and padded by `border` of the smaller side. z grows away from
    the camera, in the units of x.
    """
    import cv2
    import mediapipe

    height, width = pixels.shape[:2]
    scale = max(1.0, SMALLEST_SIDE / min(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    enlarged = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC) if scale > 1 else pixels
    margin = round(border * min(size))
    padded = cv2.copyMakeBorder(enlarged, margin, margin, margin, margin, cv2.BORDER_REPLICATE) if margin else enlarged
    picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(padded))
    with _lock:
        landmarker = _landmarkers.get(model)
        if landmarker is None:
            with _silent_stderr():
                landmarker = _landmarkers[model] = _open(model)
                # It lives as long as the process: MediaPipe's own __del__ fails at interpreter shutdown.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(landmarker))
                result = landmarker.detect(picture)
        else:
            result = landmarker.detect(picture)
    if not result.face_landmarks:
        return None
    mesh = np.array([(p.x, p.y, p.z) for p in result.face_landmarks[0]], dtype=np.float64)
    mesh = mesh * (padded.shape[1], padded.shape[0], padded.shape[1]) - (margin, margin, 0)
    mesh *= (width / size[0], height / size[1], width / size[0])
    score = {shape.category_name: shape.score for shape in result.face_blendshapes[0]}
    return mesh, np.array([score.get(name, 0.0) for name in BLENDSHAPES], dtype=np.float64)


def _open(model: str) -> Any:
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from mediapipe.tasks import python as tasks
    from mediapipe.tasks.python import vision

    options = vision.FaceLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_path=model),
        output_face_blendshapes=True,
        num_faces=1,
    )
    try:
        return vision.FaceLandmarker.create_from_options(options)
    except (RuntimeError, ValueError, OSError) as error:
        raise FeatureError(
            f"{model} cannot be opened as MediaPipe's Face Landmarker: {error}. Get it again."
        ) from error


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Send the process's stderr to nowhere for a moment: MediaPipe's C++ code announces itself there."""
    try:
        descriptor = 2
        sys.stderr.flush()
        kept = os.dup(descriptor)
    except (OSError, ValueError, AttributeError):
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(nowhere)
