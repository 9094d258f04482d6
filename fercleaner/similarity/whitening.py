"""Views made ready for comparison: half-whitened principal components, one joint view."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.arrays import Doubles, Floats
from ..core.types import Features

#: The view that describes the geometry of a face; all others are expression views.
LANDMARK_VIEW = "landmarks"
#: Name of the view that holds all others side by side.
JOINT = "joint"
#: Principal components kept of a view.
COMPONENTS = 128
#: Components with less than this share of the largest variance are noise or constant, and dropped.
LEAST_VARIANCE = 1e-6


def unit_rows(values: Floats) -> Floats:
    """Return the rows of `values` (N, D) scaled to length 1, float32; rows of length 0 stay zero."""
    length = np.sqrt(np.einsum("nd,nd->n", values, values, dtype=np.float64))
    return (values / np.where(length > 0, length, 1.0)[:, None]).astype(np.float32)


def whiten(features: Features, components: int = COMPONENTS) -> Features:
    """Return a view's unit rows as principal components, each divided by the fourth root of its variance.

    Cosine similarity then compares faces by many directions instead of by the two or three of largest
    variance (identity, pose, light); full whitening would weigh noise as much as signal. On FER2013 this
    raised the average precision of a 30-neighbor vote in all of four views.

    Parameters
    ----------
    features : Features
        Values (N, D). Rows not found stay zero and take no part in the components.
    components : int
        At most this many are kept.

    Returns
    -------
    Features of the same name, values (N, M) with M <= components and unit rows.

    Cost: O(N D^2 + D^3) time, O(D^2) memory beside the values.
    """
    found = features.found
    if found.sum() < 2:
        return features
    rows = unit_rows(features.values)
    mean: Doubles = rows[found].mean(0, dtype=np.float64)
    rows = np.where(found[:, None], rows - mean.astype(np.float32), np.float32(0))
    covariance = (rows.T @ rows).astype(np.float64) / found.sum()
    variance, directions = np.linalg.eigh(covariance)
    order = np.argsort(-variance, kind="stable")[:components]
    order = order[variance[order] > LEAST_VARIANCE * max(float(variance.max()), 1e-30)]
    if len(order) == 0:
        return Features(features.view, features.ids, np.zeros_like(rows[:, :1]), found, features.spec, features.notes)
    scale = (variance[order] / variance[order[0]]) ** -0.25
    turned = unit_rows(rows @ (directions[:, order] * scale).astype(np.float32))
    return Features(features.view, features.ids, turned, found, features.spec, features.notes)


def join(features: Mapping[str, Features]) -> Features:
    """Return one view with the unit rows of all `features` side by side, each view of equal say.

    A face that misses a view has zeros there and is compared by the views it has; a face with none is not
    found.
    """
    views = list(features.values())
    found = np.logical_or.reduce([view.found for view in views])
    values = np.concatenate([unit_rows(view.values) for view in views], axis=1)
    return Features(JOINT, views[0].ids, unit_rows(values), found, {"kind": "joint", "views": sorted(features)})


def whitened(views: Mapping[str, Features]) -> dict[str, Features]:
    """Return the views as neighbors are searched in them: all whitened but landmarks, comparable as they are."""
    return {name: view if name == LANDMARK_VIEW else whiten(view) for name, view in views.items()}


def joined(views: Mapping[str, Features]) -> Features:
    """Return all views, at least one, as one, each `whitened`."""
    ready = whitened(views)
    return join(ready) if len(ready) > 1 else next(iter(ready.values()))
