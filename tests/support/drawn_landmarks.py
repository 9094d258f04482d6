"""Landmarks of drawn faces, in the order and with the parts of real ones."""

from __future__ import annotations

import numpy as np

from fercleaner.core.arrays import Doubles
from fercleaner.demo.actions import sample_action_units
from fercleaner.demo.faces import face_points, sample_pose, sample_shape


def drawn_points(count: int) -> Doubles:
    """Return the 68 points of `count` drawn faces, (count, 68, 2), pixels."""
    rng = np.random.default_rng(3)
    drawn = [face_points(sample_shape(rng), sample_action_units(i % 7, rng), sample_pose(rng)) for i in range(count)]
    return np.stack([points[:68] for points in drawn])
