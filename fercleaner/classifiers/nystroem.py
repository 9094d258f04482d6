"""Gaussian-kernel comparisons of frozen views: what a linear head needs to draw curved borders between classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from ..core.arrays import Doubles, Floats, Ints
from ..core.types import Features
from ..similarity.whitening import unit_rows, whiten

_Real = TypeVar("_Real", Floats, Doubles)

#: Faces that all others are compared with; more changed nothing on 28,709 faces.
CENTERS = 1024
#: Seed of their choice among the faces in the order of their ids.
CENTERS_SEED = 0
#: Rows compared with the centers at once.
BLOCK = 2048
#: Bytes of comparisons that are kept for the next pass (131,072 faces); of larger sets they are made again, a block at
#: a time, which takes 9 microseconds a face and pass.
KEPT = 1 << 29
#: A median squared distance of unit rows below this is rounding: most centers are copies of each other.
LEAST_SCALE = 1e-12
#: Directions of the kernel with less than this share of the greatest eigenvalue are rounding, and dropped.
LEAST_EIGENVALUE = 1e-6


class KernelRows:
    """What a Gaussian kernel on all views says of faces and `CENTERS` of them, made block by block.

    Views are brought to half-whitened components and set side by side (`whitening`). With x these rows and
    z_1 .. z_M `CENTERS` faces drawn among those with a vector,

        k(x, z) = exp(-|x - z|^2 / s),        f(x) = sum_m a_m k(x, z_m),        |f|^2 = a' K_ZZ a

    s the median of |z - z'|^2: the Nystrom approximation, exact where all faces are centers. Directions of K_ZZ below
    `LEAST_EIGENVALUE` of the greatest count as that one, so that f has next to none of them. Where s is 0 (most centers
    are copies of each other) all comparisons are 0.

    Parameters
    ----------
    features : mapping of view -> Features
        Rows in one order; no view twice (`distinct.distinct_features`), at least one face with a vector.
    order : (N,) int64
        Row numbers: the order of the rows here. Sorted ids make all that follows independent of row numbers.

    Attributes
    ----------
    found : (N,) bool
        Who has a vector, in that order.
    width : int
        M.

    Cost: O(N M D + M^3) time, O(N D) memory and at most `KEPT` bytes beside; D at most 128 a view.

    Source
    ------
    Williams and Seeger, Using the Nystrom Method to Speed Up Kernel Machines, NIPS 2000.
    """

    def __init__(self, features: Mapping[str, Features], order: Ints) -> None:
        views = [whiten(_in_order(view, order)) for view in features.values()]
        self.found = np.logical_or.reduce([view.found for view in views])
        self._views = [view.values for view in views]
        with_vector = np.flatnonzero(self.found)
        chosen = np.random.default_rng(CENTERS_SEED).choice(
            with_vector, min(CENTERS, len(with_vector)), replace=False, shuffle=False
        )
        self._centers = self._side_by_side(np.sort(chosen))
        self.width = len(self._centers)
        exact = self._centers.astype(np.float64)
        between = _squared_distances(exact, exact)
        apart = np.sort(between[~np.eye(self.width, dtype=np.bool_)])
        self._scale = float(apart[(len(apart) - 1) // 2]) if len(apart) else 0.0
        self._kept: Floats | None = None
        if self._scale <= LEAST_SCALE:
            self._length = self._inverse = np.eye(self.width)
            return
        value, vector = np.linalg.eigh(np.exp(-between / self._scale))
        keep = value > LEAST_EIGENVALUE * value.max()
        self._length = (vector * np.where(keep, value, value.max())) @ vector.T
        self._inverse = (vector[:, keep] / value[keep]) @ vector[:, keep].T
        if len(order) * self.width * 4 <= KEPT:
            kept = np.empty((len(order), self.width), dtype=np.float32)
            for start in range(0, len(order), BLOCK):
                kept[start : start + BLOCK] = self._compared(np.arange(start, min(start + BLOCK, len(order))))
            self._kept = kept

    def rows(self, at: Ints) -> Doubles:
        """Return the comparisons of the faces `at` (n,) and a column of ones, (n, M + 1) float64."""
        result = np.empty((len(at), self.width + 1))
        result[:, -1] = 1.0
        if self._scale > LEAST_SCALE:
            result[:, :-1] = self._compared(at) if self._kept is None else self._kept[at]
        else:
            result[:, :-1] = 0.0
        return result

    def ridge(self, gram: Doubles) -> tuple[Doubles, Doubles]:
        """Return what holds a head's coefficients, (M + 1, M + 1), and its intercept, (M + 1,).

        As squares of the first by these and of the product with the second: |f|^2 by the mean squared length of the
        faces about their mean, and what the head says of the mean face.

        Parameters
        ----------
        gram : (M + 1, M + 1) float64
            Sum of the outer products of `rows` over the faces learned from.
        """
        mean, faces = gram[-1] / max(gram[-1, -1], 1.0), gram[-1, -1]
        centered = gram[:-1, :-1] - faces * np.outer(mean[:-1], mean[:-1])
        length = float(np.vdot(self._inverse, centered)) / max(faces, 1.0)
        held = np.zeros_like(gram)
        held[:-1, :-1] = self._length * (length if length > 0 else 1.0)
        mean[-1] = 1.0
        return held, mean

    def _side_by_side(self, at: Ints) -> Floats:
        """Return the unit rows of all views of some faces side by side, (n, D) float32; as `whitening.join`."""
        return unit_rows(np.concatenate([unit_rows(values[at]) for values in self._views], axis=1))

    def _compared(self, at: Ints) -> Floats:
        result = _squared_distances(self._side_by_side(at), self._centers)
        result /= np.float32(-self._scale)
        return np.exp(result, out=result)


def _in_order(view: Features, order: Ints) -> Features:
    """Return the rows of a view in an order, so that rounding, too, does not depend on theirs."""
    if np.array_equal(order, np.arange(len(order))):
        return view  # the largest part of a large set, which may be mapped from a file
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
