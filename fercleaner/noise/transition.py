"""Transition matrices of label noise: counted from labels, or of a given kind and rate.

T (C, C) float64, T[i, j] = P(given = j | true = i); rows sum to 1. Class indices are int64,
-1 for an unlabeled face, which never counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..core.arrays import Doubles, Ints
from ..core.errors import InputError
from ..core.expressions import canonical
from ..core.numeric import row_stochastic

#: Where faces of an expression most often go in FER2013: the two largest off-diagonal entries of each row of
#: T, measured from FER2013's labels against the FERPlus majorities of at least 6 of 10 votes (21,733 training
#: faces). Contempt, which FER2013 does not have, goes to neutral and then happiness by choice, not measured.
CONFUSIONS: dict[str, tuple[str, ...]] = {
    "anger": ("fear", "sadness"),
    "disgust": ("anger", "fear"),
    "fear": ("surprise", "anger"),
    "happiness": ("neutral", "surprise"),
    "sadness": ("fear", "anger"),
    "surprise": ("fear", "happiness"),
    "neutral": ("sadness", "fear"),
    "contempt": ("neutral", "happiness"),
}

#: Rows of a transition matrix may miss 1 by this much.
ROW_SUM_TOLERANCE = 1e-6


def symmetric_matrix(n_classes: int, rate: float) -> Doubles:
    """Return T (C, C) of symmetric noise: 1 - rate on the diagonal, rate / (C - 1) elsewhere."""
    check_classes(n_classes)
    check_rate(rate)
    matrix = np.full((n_classes, n_classes), rate / (n_classes - 1))
    np.fill_diagonal(matrix, 1 - rate)
    return matrix


def asymmetric_matrix(classes: Sequence[str], rate: float) -> Doubles:
    """Return T (C, C) of pair noise: 1 - rate on the diagonal, rate at each class's confusion target."""
    targets = confusion_targets(classes)
    check_rate(rate)
    matrix = np.eye(len(classes)) * (1 - rate)
    matrix[np.arange(len(classes)), targets] += rate
    return matrix


def confusion_targets(classes: Sequence[str]) -> Ints:
    """Return the class that each is mistaken for, (C,) int64, never itself.

    Expressions follow `CONFUSIONS` where the target is in the set; any other class goes to the next one, the
    last to the first (the pair flips of Patrini et al., CVPR 2017, and Han et al., NeurIPS 2018).
    """
    check_classes(len(classes))
    names = [canonical(name) for name in classes]
    column = {name: index for index, name in enumerate(names)}
    targets = []
    for index, name in enumerate(names):
        known = [column[other] for other in CONFUSIONS.get(name, ()) if other in column]
        targets.append(known[0] if known else (index + 1) % len(names))
    return np.array(targets, dtype=np.int64)


def transition_matrix(given: ArrayLike, true: ArrayLike, n_classes: int) -> Doubles:
    """Return T (C, C) float64 counted from given and true class indices: T[i, j] = P(given = j | true = i).

    Rows with -1 on either side do not count. A true class with no face gets the identity row.
    """
    check_classes(n_classes)
    columns, rows = check_labels(given, n_classes), check_labels(true, n_classes)
    if columns.shape != rows.shape:
        raise InputError(f"transition_matrix: {len(columns)} given labels for {len(rows)} true ones.")
    known = (columns >= 0) & (rows >= 0)
    flat = np.bincount(rows[known] * n_classes + columns[known], minlength=n_classes**2)
    counts = flat.reshape(n_classes, n_classes).astype(np.float64)
    return row_stochastic(counts)


def scaled_matrix(matrix: ArrayLike, labels: ArrayLike, rate: float) -> Doubles:
    """Return T, its off-diagonal scaled by one factor so that a share `rate` of `labels` is to flip.

    Raises InputError where the pattern cannot reach the rate (a row would exceed 1, or nothing flips at all).
    """
    check_rate(rate)
    values = np.asarray(matrix, dtype=np.float64)
    values = check_matrix(values, values.shape[0] if values.ndim else 0)
    true = check_labels(labels, len(values))
    sizes = np.bincount(true[true >= 0], minlength=len(values))
    flips = 1 - values.diagonal()
    now = float(sizes @ flips / max(1, sizes.sum()))
    if now == 0 and rate > 0:
        raise InputError("The transition matrix flips none of these labels and cannot be scaled to a rate.")
    factor = rate / now if now else 0.0
    if factor * flips.max() > 1 + ROW_SUM_TOLERANCE:
        raise InputError(
            f"Rate {rate:g} is out of reach: at {now / float(flips.max()):.3f} a whole class is flipped. "
            "Lower the rate."
        )
    scaled = values * factor
    np.fill_diagonal(scaled, 1 - flips * factor)
    return np.clip(scaled, 0.0, 1.0)


def check_labels(labels: ArrayLike, n_classes: int) -> Ints:
    """Return labels as (N,) int64; raise InputError unless they are class indices or -1."""
    array = np.asarray(labels)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InputError(f"Labels have shape {array.shape} and type {array.dtype}, expected (N,) class indices.")
    if array.size and (array.min() < -1 or array.max() >= n_classes):
        raise InputError(f"Labels must be class indices in [0, {n_classes}), or -1 where unlabeled.")
    return array.astype(np.int64)


def check_matrix(matrix: ArrayLike, n_classes: int) -> Doubles:
    """Return the matrix as (C, C) float64; raise InputError unless its rows are distributions."""
    values = np.asarray(matrix, dtype=np.float64)
    if values.shape != (n_classes, n_classes):
        raise InputError(f"Transition matrix has shape {values.shape}, expected ({n_classes}, {n_classes}).")
    bad = ~np.isfinite(values).all(1) | (values < 0).any(1) | (np.abs(values.sum(1) - 1) > ROW_SUM_TOLERANCE)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"Transition matrix: row {row} is not a distribution: {values[row].tolist()}.")
    return values


def check_rate(rate: float) -> None:
    """Raise InputError unless the rate lies in [0, 1]."""
    if not 0 <= rate <= 1:
        raise InputError(f"Noise rate {rate:g} is outside [0, 1]. Give a share, such as 0.2 for 20 %.")


def check_classes(n_classes: int) -> None:
    """Raise InputError for fewer than 2 classes."""
    if n_classes < 2:
        raise InputError(f"Noise needs at least 2 classes, got {n_classes}.")
