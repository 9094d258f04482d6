"""The site's side of a round: its own step on every head that will not judge it, and what the shared head says.

A head (D + 2, C) has a row for each column of `features.design` (D + 1, C), and at the end the class frequencies of the
faces that it learned from: a site whose classes are mixed otherwise can take these out of what the head says.
"""

from __future__ import annotations

import numpy as np

from ..classifiers.ridge import FoldRidge, WholeDesign
from ..core.arrays import Bools, Doubles, Floats, Ints
from ..core.numeric import normalized
from .terms import SiteError, Terms

#: How far a site's step is held to the heads that it was sent, as a share of the mean squared length of the features.
#: On FER2013 dealt by alpha .1, 20 rounds: .02 comes nearest to the head of all faces in one place.
HOLD = 0.02
#: Ridge on the constant: next to none.
CONSTANT_RIDGE = 1e-6
#: Added to scores, which lie within 0 and 1 or so, before they are brought to sum 1.
LEAST_SCORE = 0.02
#: Added to the class frequencies of a head: a lying site can send any, also below 0.
LEAST_FREQUENCY = 0.005


class Step:
    """A site's step, in closed form: with X the features of its labeled faces, R what they are held to be, w weights,

        B + (X' w X / n + Lambda + rho I)^-1 (X' w (R - X B) / n - Lambda B),    n the sum of w

    is the ridge head of the site's own faces held to the shared head B by rho (`HOLD`), and the last row's step is the
    site's mean target less that row. What is sent is the step, not the head: shortened to `Terms.most_norm`, and only
    where the site has `Terms.least_faces` labeled faces.

    Parameters
    ----------
    design : (N, D + 1) float32
        `features.design`.
    targets : (N, C) float64
        Distributions over `Terms.classes`.
    weight : (N,) float64 in [0, 1]
        Zero for faces that do not count.

    Cost: O(N D^2 + D^3) once, O(D^2 C P) a round.

    Source
    ------
    FedProx: Li, Sahu, Zaheer, Sanjabi, Talwalkar and Smith, Federated Optimization in Heterogeneous Networks, MLSys
    2020. Differs from it in: the local problem is solved exactly.
    """

    def __init__(self, design: Floats, targets: Doubles, weight: Doubles, terms: Terms) -> None:
        from scipy.linalg import cho_factor

        self.terms = terms
        self.faces = int((weight > 0).sum())
        if self.faces < terms.least_faces:
            raise SiteError(
                f"{self.faces} labeled faces with a vector are fewer than the {terms.least_faces} that a site needs "
                "to send anything."
            )
        rows = weight > 0
        x, w, total = design[rows].astype(np.float64), weight[rows], float(weight[rows].sum())
        self._gram = (x * w[:, None]).T @ x / total
        self._right = (x * w[:, None]).T @ targets[rows] / total
        self._mean = w @ targets[rows] / total
        self._ridge = np.full(x.shape[1], terms.ridge)
        self._ridge[-1] = CONSTANT_RIDGE
        self._factor = cho_factor(self._gram + np.diag(self._ridge + HOLD))

    def of(self, head: Doubles) -> Doubles:
        """Return the step on one head (D + 2, C), before it is shortened."""
        from scipy.linalg import cho_solve

        slope = self._right - self._gram @ head[:-1] - self._ridge[:, None] * head[:-1]
        step: Doubles = np.concatenate([cho_solve(self._factor, slope), [self._mean - head[-1]]])
        return step

    def send(self, heads: Floats, noise: float = 0.0, rng: np.random.Generator | None = None) -> Floats:
        """Return the steps on the heads of other parts, (P - 1, D + 2, C) float32.

        Parameters
        ----------
        heads : (P - 1, D + 2, C) float32
            All but that of the site's own part, which will judge it and never learns from it (`rounds.others`).
        noise : float
            Standard deviation of normal noise on each number, in units of `Terms.most_norm` over the root of their
            count: at 1 the noise is as long as the longest step.
        """
        check_heads(heads, self.terms.parts - 1, self.terms)
        steps = np.stack([shortened(self.of(head.astype(np.float64)), self.terms.most_norm) for head in heads])
        if noise > 0:
            draw = rng or np.random.default_rng()
            steps += draw.normal(size=steps.shape) * noise * self.terms.most_norm / np.sqrt(steps[0].size)
        return steps.astype(np.float32)


def shortened(step: Doubles, most: float) -> Doubles:
    """Return a step (D + 2, C) brought to a Frobenius norm of at most `most`."""
    norm = float(np.linalg.norm(step))
    return step if norm <= most else step * (most / norm)


def check_heads(heads: Floats, count: int, terms: Terms) -> None:
    """Raise SiteError unless these are so many heads, (count, D + 2, C) by the terms, and finite."""
    if heads.shape != (wanted := (count, *terms.shape[1:])):
        raise SiteError(f"The heads have shape {heads.shape}; the terms say {wanted}.")
    if not np.isfinite(heads).all():
        raise SiteError("The heads hold NaN or infinity. The coordinator is broken; nothing was learned from them.")


def posteriors(design: Floats, found: Bools, head: Floats) -> Floats:
    """Return what a head (D + 2, C) says of the faces, (N, C) float32 over `Terms.classes`; zero where not found.

    p ~ max(x B, 0) + `LEAST_SCORE`.
    """
    return _scored((design @ head[:-1]).astype(np.float64), found).astype(np.float32)


def learned_mix(head: Floats) -> Doubles:
    """Return the class frequencies of the faces that a head (D + 2, C) learned from, (C,), none below about .005."""
    return normalized(np.maximum(head[-1].astype(np.float64), 0.0) + LEAST_FREQUENCY)


def own_posteriors(design: Floats, given: Doubles, found: Bools, fold: Ints) -> Doubles:
    """Return what a ridge head on the site's own given labels says of faces of other folds, (N, C); zero if not found.

    Parameters
    ----------
    design : (N, D + 1) float32
        `features.design`.
    given : (N, C) float64
        Zero rows without a label.
    fold : (N,) int64

    Cost: that of `classifiers.ridge.FoldRidge`.
    """
    return _scored(FoldRidge(WholeDesign(design[:, :-1]), fold, found & (given.sum(1) > 0)).own(given), found)


def _scored(scores: Doubles, found: Bools) -> Doubles:
    """Return scores (N, C) as posteriors, zero where not found."""
    rows: Doubles = np.where(found[:, None], normalized(np.maximum(scores, 0.0) + LEAST_SCORE), 0.0)
    return rows


def class_columns(classes: tuple[str, ...], terms: Terms) -> Ints:
    """Return the column among the site's classes of each of the terms' classes, (C,); the same names are in both."""
    return np.array([classes.index(name) for name in terms.classes], dtype=np.int64)
