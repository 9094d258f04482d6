"""A small view to search neighbors of: some faces have no vector, two have the same."""

import numpy as np

from fercleaner.core.types import Features


def made_view(faces, twin):
    """Return a view of 10 columns in which face `twin` has the vector of face 3, and a tenth of the faces none."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(faces, 10)).astype(np.float32)
    values[twin] = values[3]
    found = rng.random(faces) > 0.1
    values[~found] = 0
    return Features("view", np.array([f"{i:04d}" for i in range(faces)]), values, found, {})
