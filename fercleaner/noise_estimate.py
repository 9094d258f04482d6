"""How noisy the given labels of a refined set are expected to be: rate, transition matrix, what is mixed with what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .errors import InputError
from .refined import RefinedSet
from .types import Doubles


@dataclass(frozen=True)
class MixedPair:
    """Faces expected to be of class `true` and labeled `given`: how many, and their share of the true class."""

    true: str
    given: str
    count: float
    share: float


@dataclass(frozen=True)
class NoiseEstimate:
    """What a refined set lets expect of its given labels; see `estimate_noise`.

    Parameters
    ----------
    labels : int
        Labeled faces, which alone count.
    wrong : float
        How many of their labels are expected to be wrong.
    rate : float or None
        wrong / labels; None without labels.
    transition : tuple of C tuples of C floats
        T[c][d] = P(given = d | true = c), rows and columns in class order; the identity's row for a class of
        which no face is expected.
    wrong_rates : tuple of C (float or None)
        Expected share of wrong labels among those given each class; None where none was given.
    mixed : tuple of MixedPair
        Off-diagonal entries of the joint counts, most faces first.
    """

    labels: int
    wrong: float
    rate: float | None
    transition: tuple[tuple[float, ...], ...]
    wrong_rates: tuple[float | None, ...]
    mixed: tuple[MixedPair, ...]


def estimate_noise(refined: RefinedSet, *, top: int = 10) -> NoiseEstimate:
    """Estimate noise rate and transition matrix of the given labels from the refined distributions.

    With J of `expected_joint` over the labeled faces,

        rate  = 1 - sum_c J[c, c] / sum_cd J[c, d]
        T     = J[c, d] / sum_d J[c, d]                (P(given = d | true = c))
        wrong share of given class d = 1 - J[d, d] / sum_c J[c, d]

    This takes the refined distributions at their word: that of the faces with r_ic = 0.7 seven in ten are of
    class c. `hypergraph` and `consensus` mean theirs so; other methods' are blends rather than probabilities, and
    what comes out for them describes what they did. Even for those two it is a rough figure. A mistake that
    annotators and look-alikes share passes for truth, which makes it too low; doubt about an ambiguous face counts
    as a share of noise, which makes it too high where labels are good. Measured, with the votes of FER2013's
    annotators as truth (faces on which at least 6 of 10 agree; three views, and landmarks in the first row; one seed;
    error of T: mean over its entries):

        labels                               wrong   `hypergraph`, error of T   `consensus`, error of T
        FER2013's own (21,733 faces)         .280    .233   .042                .198   .034
        correct (6,000 faces)                .000    .070   .037                .057   .024
        a fifth wrong at random              .198    .264   .064                .235   .037
        a fifth wrong in pairs of classes    .190    .250   .039                .224   .037

    Parameters
    ----------
    refined : RefinedSet
    top : int
        Pairs to list in `mixed`, those of no expected face left out.

    Raises
    ------
    InputError
        `top` is negative.
    """
    if top < 0:
        raise InputError(f"estimate_noise: top is {top}; it must be 0 or more.")
    c = len(refined.classes)
    joint = expected_joint(refined.given[refined.labeled], refined.distribution[refined.labeled])
    labels = int(refined.labeled.sum())
    right, true, given = joint.diagonal(), joint.sum(1), joint.sum(0)
    transition = np.where(true[:, None] > 0, joint / np.where(true > 0, true, 1.0)[:, None], np.eye(c))
    wrong = max(0.0, labels - float(right.sum()))
    return NoiseEstimate(
        labels=labels,
        wrong=wrong,
        rate=wrong / labels if labels else None,
        transition=tuple(tuple(row) for row in transition.tolist()),
        wrong_rates=tuple(float(1 - right[d] / given[d]) if given[d] > 0 else None for d in range(c)),
        mixed=_mixed(joint, transition, refined.classes, top),
    )


def expected_joint(given: ArrayLike, distribution: ArrayLike) -> Doubles:
    """Return J (C, C) float64: how many faces are expected to be of class c and labeled d; its sum is N.

    With y the given and r the refined distribution of a face, their overlap m_c = min(y_c, r_c) counts as right,
    and what r has beyond it is matched with what y has beyond it:

        J[c, d] = sum_i  [c = d] m_ic + (r_ic - m_ic) (y_id - m_id) / (1 - sum_b m_ib)

    For a single label (y one-hot) that is sum_i r_ic y_id. A distribution of several annotators that the method
    agrees with (r = y) is ambiguous, not wrong: it counts on the diagonal alone. Of all ways to match r with y
    this is the one with the fewest wrong labels.

    Parameters
    ----------
    given, distribution : (N, C)
        Distributions, no zero rows.

    Examples
    --------
    A label that is right with 0.8, and one on which two annotators disagree and the method with them:

    >>> expected_joint([[1, 0], [0.5, 0.5]], [[0.8, 0.2], [0.5, 0.5]]).tolist()
    [[1.3, 0.0], [0.2, 0.5]]
    """
    y, r = (np.asarray(rows, dtype=np.float64) for rows in (given, distribution))
    y, r = y / y.sum(1, keepdims=True), r / r.sum(1, keepdims=True)
    overlap = np.minimum(y, r)
    left = 1.0 - overlap.sum(1)
    share = np.divide(1.0, left, out=np.zeros_like(left), where=left > 1e-12)
    joint: Doubles = ((r - overlap) * share[:, None]).T @ (y - overlap)
    joint[np.diag_indices(y.shape[1])] += overlap.sum(0)
    return joint


def _mixed(joint: Doubles, transition: Doubles, classes: tuple[str, ...], top: int) -> tuple[MixedPair, ...]:
    c = len(classes)
    counts = joint * (1 - np.eye(c))
    return tuple(
        MixedPair(classes[cell // c], classes[cell % c], float(counts.flat[cell]), float(transition.flat[cell]))
        for cell in np.argsort(-counts, axis=None, kind="stable")[:top].tolist()
        if counts.flat[cell] > 0
    )
