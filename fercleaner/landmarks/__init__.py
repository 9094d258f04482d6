"""Landmarks: 68 points a face from a detector, from the user's file, or from the dataset; what they measure.

`build` turns what the user wrote after ``--landmarks`` into a detector, `detect` runs it over a dataset. The
modules `geometry` (descriptor, quality) and `action_units` make views and evidence of the points.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..core.arrays import Bools, Floats, Progress, Strings
from ..core.errors import InputError, did_you_mean
from ..core.types import Landmarks, Samples
from .points import PointsFile, own_points

if TYPE_CHECKING:
    from ..extraction.cache import FeatureCache
    from ..extraction.extractor import Extractor
    from ..extraction.run import RunLog

__all__ = ["KINDS", "Detector", "PointsFile", "build", "detect", "from_values", "own_points"]

#: What `build` gives and `detect` takes; None stands for "no landmarks".
Detector: TypeAlias = "Extractor | PointsFile | None"

NOT_ASKED = "landmarks were not asked for"


def _builtin(option: str, weights: str | None, device: str, crop: str) -> Detector:
    from . import builtin

    _refuse_option("builtin", option)
    return builtin.build(weights, device=device)


def _face_alignment(option: str, weights: str | None, device: str, crop: str) -> Detector:
    from . import face_alignment

    return face_alignment.build(weights, device=device, crop=crop, face_detector=option or "sfd")


def _mediapipe(option: str, weights: str | None, device: str, crop: str) -> Detector:
    from . import mediapipe

    _refuse_option("mediapipe", option)
    return mediapipe.build(weights)


def _refuse_option(kind: str, option: str) -> None:
    if option:
        raise InputError(f"--landmarks {kind} takes nothing after a colon, got '{option}'.")


def _points(option: str, weights: str | None, device: str, crop: str) -> Detector:
    return PointsFile(option)


def _none(option: str, weights: str | None, device: str, crop: str) -> Detector:
    _refuse_option("none", option)
    return None


#: Word before the colon of a tag -> what makes the detector from (option, weights, device, crop).
KINDS: dict[str, Callable[[str, str | None, str, str], Detector]] = {
    "builtin": _builtin,
    "face-alignment": _face_alignment,
    "mediapipe": _mediapipe,
    "points": _points,
    "none": _none,
}


def build(tag: str, *, weights: str | None = None, device: str = "auto", crop: str = "whole") -> Detector:
    """Return the detector that `tag` names, with its weights found; no model is loaded yet.

    Parameters
    ----------
    tag : str
        ``builtin``, ``face-alignment`` (or ``face-alignment:DETECTOR``: sfd, blazeface, retinaface, yunet),
        ``mediapipe``, ``points:FILE`` or ``none``.
    weights : str, optional
        Weight file, or a folder that holds it.
    device : "auto", "cpu" or "cuda"
    crop : "whole" or "detect"
        face-alignment: whether pictures are face crops already (the default: published FER sets are, or
        come with boxes), or a face is to be found in each. MediaPipe always looks for the face.

    Raises
    ------
    InputError
        Unknown tag or option, or no such file.
    FeatureError
        Weights that are nowhere; the message names the file, where it was looked for, and the ways out.
    MissingDependency
        The detector's package is not installed.
    """
    kind, _, option = tag.strip().partition(":")
    if kind not in KINDS:
        known = ", ".join(f"{name}:FILE" if name == "points" else name for name in KINDS)
        raise InputError(f"Landmark detector '{tag}' is not one of {known}.{did_you_mean(kind, KINDS)}")
    return KINDS[kind](option.strip(), weights, device, crop)


def detect(
    samples: Samples,
    detector: Detector,
    *,
    cache: FeatureCache | None = None,
    workers: int = 0,
    progress: Progress | None = None,
    on_log: Callable[[RunLog], None] | None = None,
) -> Landmarks:
    """Return the landmarks of each face; a face without any is not found and says why.

    Parameters
    ----------
    samples : Samples
    detector : Extractor, PointsFile or None
        As `build` gives it. A detector is run over the pictures; a file is read; None finds nothing.
    cache, workers, progress
        As in `extraction.extract`; for a detector alone.
    on_log : callable, optional
        Gets what the run over the pictures did.
    """
    if detector is None:
        n, zero = len(samples), np.float32(0)
        return Landmarks(
            samples.ids,
            points=np.full((n, 68, 2), zero),
            found=np.zeros(n, dtype=np.bool_),
            confidence=np.full(n, zero),
            notes=np.full(n, NOT_ASKED),
        )
    if isinstance(detector, PointsFile):
        return detector.read(samples)
    from ..extraction.run import extract

    done = extract(samples, detector, cache=cache, workers=workers, progress=progress)
    if on_log is not None:
        on_log(done.log)
    return from_values(samples, detector, done.values, done.found, done.notes)


def from_values(samples: Samples, detector: Extractor, values: Floats, found: Bools, notes: Strings) -> Landmarks:
    """Unpack the vectors (N, 137 or 189) of a detector: 136 coordinates, confidence, 52 blendshapes."""
    points = values[:, :136].reshape(-1, 68, 2)
    blendshapes = values[:, 137:] if values.shape[1] > 137 else None
    return Landmarks(samples.ids, points, found, values[:, 136], blendshapes, dict(detector.spec), notes)
