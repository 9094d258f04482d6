"""Landmarks and action units for a training set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..core.arrays import Floats, Progress
from ..core.types import ActionUnits, Landmarks
from ..extraction.images import UnreadableImage, open_face
from ..landmarks import action_units
from ..methods.au_prior.tables import prior
from .labels import TrainingSet

#: Coordinates within this range are shares of the crop already: no picture is two pixels wide.
SHARES = (-1.0, 2.0)


def with_landmarks(faces: TrainingSet, landmarks: Landmarks, progress: Progress | None = None) -> TrainingSet:
    """Return the faces with landmarks in shares of their crops.

    Parameters
    ----------
    faces : TrainingSet
    landmarks : Landmarks
        In the order of `faces.samples`: pixels of the face crop (each picture is opened for its size), or shares of it.
    """
    points = np.where(landmarks.found[:, None, None], landmarks.points, np.nan)[faces.rows].astype(np.float32)
    known = points[np.isfinite(points)]
    if known.size and not (known.min() >= SHARES[0] and known.max() <= SHARES[1]):
        points = points / _sizes(faces, progress)[:, None, :]
    return replace(faces, points=points)


def _sizes(faces: TrainingSet, progress: Progress | None) -> Floats:
    """Return width and height of each face's crop in pixels, (M, 2); NaN where it cannot be read."""
    sizes = np.full((len(faces), 2), np.nan, dtype=np.float32)
    for place, row in enumerate(faces.rows.tolist()):
        try:
            sizes[place] = open_face(faces.samples, row).size
        except UnreadableImage:
            continue
        if progress is not None and (place % 256 == 255 or place + 1 == len(faces)):
            progress(place + 1, len(faces))
    return sizes


def measured_units(landmarks: Landmarks, classes: tuple[str, ...], table: str) -> ActionUnits:
    """Return the action units of landmarks, from blendshapes where there are some, at the mean rates of an AU table."""
    rates = prior(table).base_rates(classes)
    if landmarks.blendshapes is not None:
        return action_units.from_blendshapes(landmarks, base_rate=rates)
    return action_units.from_landmarks(landmarks, base_rate=rates)


def with_units(faces: TrainingSet, units: ActionUnits) -> TrainingSet:
    """Return the faces with action units in the order of `faces.samples`; NaN where a face has none."""
    values = np.where(units.found[:, None], units.probability, np.nan)[faces.rows]
    return replace(faces, units=values.astype(np.float32), unit_names=tuple(units.names))
