"""Gaussian-kernel features of frozen views: what a linear head needs to draw curved borders between classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from ..core.arrays import Bools, Doubles, Floats, Ints
from ..core.types import Features
from ..similarity.whitening import join, whiten

_Real = TypeVar("_Real", Floats, Doubles)

#: Faces that all others are compared with; more changed nothing on 28,709 faces.
CENTERS = 1024
#: Seed of their choice among the faces in the order of their ids.
CENTERS_SEED = 0
#: Rows compared with the centers at once.
BLOCK = 4096
#: A median squared distance of unit rows below this is rounding: most centers are copies of each other.
LEAST_SCALE = 1e-12
#: Directions of the kernel with less than this share of the greatest eigenvalue are rounding, and dropped.
LEAST_EIGENVALUE = 1e-6


def kernel_features(features: Mapping[str, Features], order: Ints) -> tuple[Floats, Bools]:
    """Return features whose inner products are those of a Gaussian kernel on all views, and who has a vector.

    Views are brought to half-whitened components and set side by side (`whitening`). With x these rows and
    z_1 .. z_M `CENTERS` faces drawn among those with a vector,

        k(x, z) = exp(-|x - z|^2 / s),    F_i = K_ZZ^(-1/2) k(x_i, z),

    s the median of |z - z'|^2: the Nystrom approximation, exact where all faces are centers. Columns are brought to
    mean 0 and all to a mean squared length of 1; faces without a vector have zeros, as have all where s is 0 (most
    centers are copies of each other).

    Parameters
    ----------
    features : mapping of view -> Features
        Rows in one order; no view twice (`distinct.distinct_features`), at least one face with a vector.
    order : (N,) int64
        Row numbers: the order of the answer's rows. Sorted ids make the answer independent of row numbers.

    Returns
    -------
    (N, M) float32, (N,) bool

    Cost: O(N M (D + M) + M^3) time, O(N M) memory, D at most 128 a view.

    Source
    ------
    Williams and Seeger, Using the Nystrom Method to Speed Up Kernel Machines, NIPS 2000.
    """
    joint = join({name: whiten(_in_order(view, order)) for name, view in features.items()})
    found: Bools = np.asarray(joint.found)
    x = joint.values
    with_vector = np.flatnonzero(found)
    chosen = np.random.default_rng(CENTERS_SEED).choice(
        with_vector, min(CENTERS, len(with_vector)), replace=False, shuffle=False
    )
    centers = x[np.sort(chosen)]
    between = _squared_distances(centers.astype(np.float64), centers.astype(np.float64))
    apart = np.sort(between[~np.eye(len(centers), dtype=np.bool_)])
    scale = float(apart[(len(apart) - 1) // 2]) if len(apart) else 0.0
    if scale <= LEAST_SCALE:
        return np.zeros((len(order), len(centers)), dtype=np.float32), found
    value, vector = np.linalg.eigh(np.exp(-between / scale))
    keep = value > LEAST_EIGENVALUE * value.max()
    vector = vector[:, keep]
    root = ((vector * value[keep] ** -0.5) @ vector.T).astype(np.float32)
    table: Floats = np.empty((len(order), len(centers)), dtype=np.float32)
    for start in range(0, len(order), BLOCK):
        rows = x[start : start + BLOCK]
        table[start : start + BLOCK] = np.exp(-_squared_distances(rows, centers) / np.float32(scale)) @ root
    there = slice(None) if found.all() else found  # a mask copies all rows, twice
    table[there] -= table[there].mean(0, dtype=np.float64).astype(np.float32)
    table[~found] = 0
    length = float(np.sqrt(np.einsum("nm,nm->", table, table, dtype=np.float64) / max(int(found.sum()), 1)))
    table /= np.float32(max(length, 1e-30))
    return table, found


def _in_order(view: Features, order: Ints) -> Features:
    """Return the rows of a view in an order, so that rounding, too, does not depend on theirs."""
    notes = None if view.notes is None else view.notes[order]
    return replace(view, ids=view.ids[order], values=view.values[order], found=view.found[order], notes=notes)


def _squared_distances(rows: _Real, centers: _Real) -> _Real:
    """Return |x - z|^2 of rows (N, D) and centers (M, D), (N, M), at least 0."""
    cross = rows @ centers.T
    cross *= -2
    cross += (rows**2).sum(1, keepdims=True)
    cross += (centers**2).sum(1)
    np.maximum(cross, 0, out=cross)
    return cross
