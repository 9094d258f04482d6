"""Random Fourier features: what a shared head looks at, the same at every site, drawn without a look at any face."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from ..core.arrays import Bools, Doubles, Floats
from ..core.types import Features
from ..similarity.whitening import LANDMARK_VIEW, unit_rows
from .terms import SiteError, Terms

#: Faces whose distances a site measures for `spread`, and the seed of their choice.
MEASURED, MEASURED_SEED = 500, 0
#: Rows turned at once.
BLOCK = 4096


def shared_views(features: Mapping[str, Features]) -> dict[str, Features]:
    """Return the views that heads are shared on: all but landmarks, whose descriptor differs from set to set.

    SiteError where none is left.
    """
    views = {name: features[name] for name in sorted(features) if name != LANDMARK_VIEW}
    if not views:
        raise SiteError("Sites share heads on embeddings, and this set has landmarks alone. Add --encoder or --view.")
    return views


def unit_views(features: Mapping[str, Features]) -> tuple[Floats, Bools]:
    """Return the unit rows of all views side by side, (N, D) float32, zeros where a view misses; and who has any."""
    views = [features[name] for name in sorted(features)]
    found: Bools = np.logical_or.reduce([view.found for view in views])
    return np.concatenate([unit_rows(view.values) for view in views], axis=1), found


def median_distance(rows: Floats, found: Bools) -> float:
    """Return the median squared distance of two faces, rounded to a power of two; 1 where it cannot be measured.

    Measured on at most `MEASURED` faces. Rounding hides what one face adds; accuracy is the same from half to thrice.
    """
    faces = np.flatnonzero(found)
    chosen = np.random.default_rng(MEASURED_SEED).permutation(faces)[:MEASURED]
    x = rows[chosen].astype(np.float64)
    square = (x**2).sum(1)
    apart = square[:, None] + square - 2 * x @ x.T
    apart = apart[np.triu_indices(len(x), 1)]
    middle = float(np.median(apart)) if len(apart) else 0.0
    return float(2.0 ** np.round(np.log2(middle))) if middle > 1e-9 else 1.0


def random_frequencies(width: int, columns: int, seed: int, scale: float) -> Floats:
    """Return the frequencies of the random features, (width, columns / 2) float32: normal, of variance 2 / scale."""
    drawn: Doubles = np.random.default_rng(seed).normal(size=(width, columns // 2))
    scaled: Floats = (drawn * np.sqrt(2.0 / scale)).astype(np.float32)
    return scaled


def frequencies_digest(width: int, columns: int, seed: int, scale: float) -> str:
    """Return the first 16 hex digits of the SHA-256 of `random_frequencies`."""
    return _digest(random_frequencies(width, columns, seed, scale))


def _digest(drawn: Floats) -> str:
    return hashlib.sha256(np.ascontiguousarray(drawn, dtype="<f4").tobytes()).hexdigest()[:16]


def design(rows: Floats, found: Bools, terms: Terms) -> Floats:
    """Return the random Fourier features of unit rows and a constant, (N, D + 1) float32; zeros where not found.

        z(x) = sqrt(2 / D) [cos(x w_1), ..., cos(x w_D/2), sin(x w_1), ..., sin(x w_D/2)],    w ~ N(0, 2 / s I)

    so that z(x) z(x') is about exp(-|x - x'|^2 / s), s the terms' `spread`.

    Raises
    ------
    SiteError
        The frequencies drawn here differ from the federation's: another seed, number of columns or numpy.

    Source
    ------
    Rahimi and Recht, Random Features for Large-Scale Kernel Machines, NIPS 2007.
    """
    drawn = random_frequencies(rows.shape[1], terms.columns, terms.seed, terms.spread)
    have = _digest(drawn)
    if have != terms.check:
        raise SiteError(
            f"The random features drawn here ({have}) are not the federation's ({terms.check}): seed {terms.seed}, "
            f"{terms.columns} columns, spread {terms.spread:g}. Use the same versions of fercleaner and numpy."
        )
    half, scale = terms.columns // 2, np.float32(np.sqrt(2.0 / terms.columns))
    table: Floats = np.zeros((len(rows), terms.columns + 1), dtype=np.float32)
    for start in range(0, len(rows), BLOCK):
        angle = rows[start : start + BLOCK] @ drawn
        block = table[start : start + BLOCK]
        block[:, :half], block[:, half:-1], block[:, -1] = scale * np.cos(angle), scale * np.sin(angle), 1.0
    table[~found] = 0.0
    return table
