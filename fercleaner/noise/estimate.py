"""How noisy the given labels of a refined set are expected to be: rate, transition matrix, what is mixed with what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..core.arrays import Bools, Doubles
from ..core.errors import InputError
from ..core.numeric import row_stochastic
from ..core.refined import RefinedSet


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
    doubt : float or None
        Mean share of the refined distributions that lies beside the labels: the rate if every doubt were an even bet
        on a mistake, and no face ambiguous. None without labels.
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
    doubt: float | None
    transition: tuple[tuple[float, ...], ...]
    wrong_rates: tuple[float | None, ...]
    mixed: tuple[MixedPair, ...]

    @property
    def range_text(self) -> str:
        """`rate` and `doubt` as a user reads them: "19.9 to 22.7 %", "-" without labels."""
        if self.rate is None or self.doubt is None:
            return "-"
        low, high = (f"{100 * share:.1f}" for share in sorted((self.rate, self.doubt)))
        return f"{low} %" if low == high else f"{low} to {high} %"


def estimate_noise(refined: RefinedSet, *, top: int = 10) -> NoiseEstimate:
    """Estimate noise rate and transition matrix of the given labels from the refined distributions.

    A label is wrong if most annotators would choose another class, and r is what they would choose: so a label counts
    as wrong where r puts another class first. With J of `decided_joint` over the labeled faces,

        rate  = 1 - sum_c J[c, c] / sum_cd J[c, d]
        T     = J[c, d] / sum_d J[c, d]                (P(given = d | true = c))
        wrong share of given class d = 1 - J[d, d] / sum_c J[c, d]
        doubt = mean_i (1 - sum_c min(y_ic, r_ic))

    What r leaves to other classes where it confirms the label is no part of the rate: the face may be ambiguous and
    the label right. It may be an undecided mistake as well, which `doubt` counts. Neither labels nor views tell the
    two apart, so rate and doubt are the ends of a range (`range_text`). The truth may lie outside of it: mistakes that
    annotators and nearest neighbors share pass for truth and make both too low (FER2013's own labels); right labels of
    faces that the views misread make both too high (weak views; correct labels of unclear faces).

    Ranges beside known rates stand in the manual's benchmarks, errors of T in results/precision.json
    (`benchmarks/precision.py`).

    Other methods' distributions are blends rather than probabilities, and what comes out for them describes what
    they did.

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
    y, r = refined.given[refined.labeled], refined.distribution[refined.labeled]
    joint = decided_joint(y, r)
    labels = int(refined.labeled.sum())
    right, given = joint.diagonal(), joint.sum(0)
    transition = row_stochastic(joint)
    wrong = max(0.0, labels - float(right.sum()))
    return NoiseEstimate(
        labels=labels,
        wrong=wrong,
        rate=wrong / labels if labels else None,
        doubt=max(0.0, 1 - float(np.trace(expected_joint(y, r))) / labels) if labels else None,
        transition=tuple(tuple(row) for row in transition.tolist()),
        wrong_rates=tuple(float(1 - right[d] / given[d]) if given[d] > 0 else None for d in range(c)),
        mixed=_mixed(joint, transition, refined.classes, top),
    )


def held_wrong(given: ArrayLike, distribution: ArrayLike) -> Bools:
    """Return which labels the refined distributions overrule, (N,) bool.

    A label is the most likely class of y, or one of several; it stands where none is likelier by r.

    Parameters
    ----------
    given, distribution : (N, C)
        Distributions, no zero rows.
    """
    y, r = np.asarray(given), np.asarray(distribution)
    first = y >= y.max(1, keepdims=True)
    return np.asarray(r.max(1) > np.where(first, r, -np.inf).max(1))


def decided_joint(given: ArrayLike, distribution: ArrayLike) -> Doubles:
    """Return J (C, C) float64: how many faces are labeled d and of class c by decision; its sum is N.

    d is the most likely class of y (of several, the one of greatest r); c is d unless r has a likelier one.

    Parameters
    ----------
    given, distribution : (N, C)
        Distributions, no zero rows.

    Examples
    --------
    A label that stands, one that is overruled, and one of two that annotators chose alike:

    >>> decided_joint([[1, 0], [1, 0], [0.5, 0.5]], [[0.8, 0.2], [0.3, 0.7], [0.4, 0.6]]).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    y, r = np.asarray(given), np.asarray(distribution)
    label = np.where(y >= y.max(1, keepdims=True), r, -np.inf).argmax(1)
    true = np.where(held_wrong(y, r), r.argmax(1), label)
    joint: Doubles = np.zeros((y.shape[1], y.shape[1]))
    np.add.at(joint, (true, label), 1.0)
    return joint


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
