"""Label noise put in on purpose, with which a method can be tried where no clean labels exist.

T (C, C) is the transition matrix, T[i, j] = P(given = j | true = i); its rows sum to 1. Class indices are
int64, -1 for an unlabeled face, which no function here touches. Draws come from the Generator argument.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..core.arrays import Bools, Doubles, Ints, frozen_array
from ..core.errors import InputError, did_you_mean
from .transition import (
    asymmetric_matrix,
    check_classes,
    check_labels,
    check_matrix,
    check_rate,
    confusion_targets,
    scaled_matrix,
    symmetric_matrix,
    transition_matrix,
)

__all__ = [
    "KINDS",
    "NoiseSpec",
    "NoisyLabels",
    "asymmetric",
    "asymmetric_matrix",
    "confusion_targets",
    "instance_dependent",
    "parse",
    "scaled_matrix",
    "sparse",
    "symmetric",
    "symmetric_matrix",
    "transition_matrix",
    "with_transition",
]

#: Spread of the per-face flip rates around their mean, as in the paper named in `instance_dependent`.
FLIP_RATE_SPREAD = 0.1
#: Standard deviation over faces of the class scores in `instance_dependent`; a few units make the wrong class
#: depend on the picture more than on chance. Our choice: the paper's own scale is that of its raw pixels.
SCORE_SPREAD = 5.0

KINDS = ("symmetric", "asymmetric", "sparse", "instance", "human")


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Labels after noise.

    Parameters
    ----------
    labels : (N,) int64
        Noisy class indices; -1 stays -1.
    flipped : (N,) bool
        Whether the label differs from what it was.
    """

    labels: Ints
    flipped: Bools

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", frozen_array(self.labels, np.int64))
        object.__setattr__(self, "flipped", frozen_array(self.flipped, np.bool_))

    @property
    def rate(self) -> float:
        """Share of the labeled faces that were flipped; 0 where there are none."""
        labeled = int((self.labels >= 0).sum())
        return int(self.flipped.sum()) / labeled if labeled else 0.0


@dataclass(frozen=True)
class NoiseSpec:
    """A kind of noise and its rate, as written on a command line: "symmetric:0.2", "human".

    Parameters
    ----------
    kind : one of KINDS
        "symmetric", "asymmetric", "sparse", "instance", or "human" (a transition matrix measured elsewhere).
    rate : float in [0, 1], optional
        Share of labels to flip: of all labeled faces, for "sparse" of the faces of the affected classes.
        Only "human" may go without: its matrix then stands as measured.
    """

    kind: str
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(
                f"Noise '{self.kind}' is not known (known: {', '.join(KINDS)}).{did_you_mean(self.kind, KINDS)}"
            )
        if self.rate is not None:
            check_rate(self.rate)
        elif self.kind != "human":
            raise InputError(f"Noise '{self.kind}' needs a rate, such as {self.kind}:0.2.")

    def __str__(self) -> str:
        return self.kind if self.rate is None else f"{self.kind}:{self.rate:g}"

    def apply(
        self,
        labels: ArrayLike,
        classes: Sequence[str],
        rng: np.random.Generator,
        *,
        features: ArrayLike | None = None,
        matrix: ArrayLike | None = None,
        exact: bool = True,
    ) -> NoisyLabels:
        """Put this noise on `labels`.

        Parameters
        ----------
        labels : (N,) int
        classes : sequence of C str
        features : (N, D) float, optional
            Vector of each face; "instance" needs it.
        matrix : (C, C) float, optional
            Transition matrix; "human" needs it.
        exact : bool
            Whether the number of flips is fixed (see `with_transition`) or drawn.
        """
        if self.kind == "instance":
            if features is None:
                raise InputError("Noise 'instance' depends on the faces and needs a vector each. Give features.")
            return instance_dependent(labels, len(classes), self._rate, features, rng, exact=exact)
        if self.kind == "sparse":
            return sparse(labels, len(classes), self._rate, rng, exact=exact)
        if self.kind == "asymmetric":
            return asymmetric(labels, classes, self._rate, rng, exact=exact)
        if self.kind == "symmetric":
            return symmetric(labels, len(classes), self._rate, rng, exact=exact)
        if matrix is None:
            raise InputError("Noise 'human' needs a transition matrix. Measure one with transition_matrix().")
        chosen = check_matrix(matrix, len(classes))
        if self.rate is not None:
            chosen = scaled_matrix(chosen, labels, self.rate)
        return with_transition(labels, chosen, rng, exact=exact)

    @property
    def _rate(self) -> float:
        assert self.rate is not None  # __post_init__ refuses every other kind without one
        return self.rate


def parse(text: str) -> NoiseSpec:
    """Return the noise that `text` names: "KIND:RATE", or "human" alone.

    Examples
    --------
    >>> parse("symmetric:0.2")
    NoiseSpec(kind='symmetric', rate=0.2)
    """
    kind, colon, number = text.strip().partition(":")
    if not colon:
        return NoiseSpec(kind.strip().lower())
    try:
        rate = float(number)
    except ValueError:
        raise InputError(f"Noise '{text}': '{number}' is not a rate. Write KIND:RATE, such as symmetric:0.2.") from None
    return NoiseSpec(kind.strip().lower(), rate)


def symmetric(
    labels: ArrayLike, n_classes: int, rate: float, rng: np.random.Generator, *, exact: bool = True
) -> NoisyLabels:
    """Flip a share `rate` of the labels, each to one of the other classes with equal chance.

    T[i, i] = 1 - rate, T[i, j] = rate / (C - 1). Every flip changes the label (some papers draw from all C
    classes, own one included; their rate r is (C - 1) / C r here). `exact` as in `with_transition`.

    Examples
    --------
    >>> noisy = symmetric([0, 1, 2, 0, 1, 2, 0, 1, 2, 0], 3, 0.2, np.random.default_rng(0))
    >>> int(noisy.flipped.sum())
    2
    """
    return with_transition(labels, symmetric_matrix(n_classes, rate), rng, exact=exact)


def asymmetric(
    labels: ArrayLike, classes: Sequence[str], rate: float, rng: np.random.Generator, *, exact: bool = True
) -> NoisyLabels:
    """Flip a share `rate` of the labels, each to the one class given by `confusion_targets`."""
    return with_transition(labels, asymmetric_matrix(classes, rate), rng, exact=exact)


def sparse(
    labels: ArrayLike,
    n_classes: int,
    rate: float,
    rng: np.random.Generator,
    *,
    sources: Sequence[int] | None = None,
    exact: bool = True,
) -> NoisyLabels:
    """Flip a share `rate` of the faces of a few classes, each class to one other; the rest stay right.

    Neighbor votes suffer most from it, since whole regions agree on the wrong label.

    Parameters
    ----------
    rate : float in [0, 1]
        Share flipped within the affected classes (the share of the whole set is smaller: `NoisyLabels.rate`).
    sources : sequence of int, optional
        Affected classes; a third of the classes (at least 1) at random if not given. Their targets are
        drawn from the unaffected classes, where there are any.
    """
    check_classes(n_classes)
    check_rate(rate)
    if sources is None:
        chosen = rng.permutation(n_classes)[: max(1, round(n_classes / 3))].tolist()
    else:
        chosen = sorted(set(sources))
        if not chosen or chosen[0] < 0 or chosen[-1] >= n_classes:
            raise InputError(f"Sparse noise: sources {list(sources)} must name classes in [0, {n_classes}).")
    unaffected = [index for index in range(n_classes) if index not in chosen]
    matrix = np.eye(n_classes)
    for source in chosen:
        targets = unaffected or [index for index in range(n_classes) if index != source]
        matrix[source, source] = 1 - rate
        matrix[source, int(rng.choice(targets))] += rate
    return with_transition(labels, matrix, rng, exact=exact)


def with_transition(
    labels: ArrayLike, matrix: ArrayLike, rng: np.random.Generator, *, exact: bool = True
) -> NoisyLabels:
    """Draw noisy labels from a transition matrix.

    Parameters
    ----------
    labels : (N,) int
        Class indices; -1 is left alone.
    matrix : (C, C) float
        T[i, j] = P(given = j | true = i).
    exact : bool
        True: the number of flips is the expected one, sum_i n_i (1 - T_ii), to the nearest integer, and the
        number going from i to j is within 1 of n_i T_ij (systematic sampling over the cells in random order);
        which faces flip is random. False: each face draws on its own from its row of T.
    """
    values = np.asarray(matrix, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise InputError(f"Transition matrix has shape {values.shape}, expected (C, C).")
    n_classes = len(values)
    values = check_matrix(values, n_classes)
    true = check_labels(labels, n_classes)
    noisy = true.copy()
    if exact:
        sizes = np.bincount(true[true >= 0], minlength=n_classes)
        counts = _flip_counts(values, sizes, rng)
        for source in range(n_classes):
            rows = rng.permutation(np.flatnonzero(true == source))
            targets = np.repeat(np.arange(n_classes), counts[source])[: len(rows)]
            noisy[rows[: len(targets)]] = targets
    else:
        rows = np.flatnonzero(true >= 0)
        noisy[rows] = _draw(values[true[rows]], rng)
    return NoisyLabels(noisy, noisy != true)


def instance_dependent(
    labels: ArrayLike,
    n_classes: int,
    rate: float,
    features: ArrayLike,
    rng: np.random.Generator,
    *,
    exact: bool = True,
) -> NoisyLabels:
    """Flip labels to classes that depend on the face itself.

    With x_n the vector of face n and y_n its class,

        q_n ~ N(rate, 0.1^2) cut to [0, 1]                    (the face's own flip rate)
        W_c ~ N(0, 1), a (D, C) matrix a class                (one random scorer a true class)
        p_n = q_n softmax_{j != y_n}(x_n W_{y_n}),  p_n[y_n] = 1 - q_n

    and the noisy label is drawn from p_n. Similar faces of a class are mistaken for the same other class.
    With `exact`, round(rate N) faces flip, drawn without replacement with weights q_n; else each flips with
    chance q_n (the cut at 0 then raises the rate: 0.1 becomes about 0.13).
    Cost: N D C multiplications.

    Parameters
    ----------
    features : (N, D) float
        Vector of each face, finite; a zero row (no vector) gets a target by chance alone.

    Source
    ------
    X. Xia et al., "Part-dependent Label Noise: Towards Instance-dependent Label Noise", NeurIPS 2020, the
    algorithm that generates instance-dependent noise. Differs from it in: x is not raw pixels but a vector
    centered and scaled so that the class scores have a standard deviation of 5, since embeddings come in any
    scale; and the exact number of flips.
    """
    check_classes(n_classes)
    check_rate(rate)
    true = check_labels(labels, n_classes)
    vectors = np.asarray(features, dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(true):
        raise InputError(f"Features have shape {vectors.shape}, expected ({len(true)}, D): one row a label.")
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])
        raise InputError(f"Features: row {row} holds NaN or infinity. Leave the face out, or give it a zero row.")
    rows = np.flatnonzero(true >= 0)
    own_rate = np.zeros(len(true)) if rate == 0 else _truncated_normal(rate, len(true), rng)
    vectors = _standardized(vectors, rows)
    scores = np.zeros((len(true), n_classes))
    for index in range(n_classes):
        scorer = rng.standard_normal((vectors.shape[1], n_classes))
        members = true == index
        scores[members] = vectors[members] @ scorer
    scores[rows, true[rows]] = -np.inf
    chosen = rows[_flip_rows(own_rate[rows], rate, rng, exact=exact)]
    logits = scores[chosen] - scores[chosen].max(1, keepdims=True) if len(chosen) else scores[chosen]
    chances = np.exp(logits)
    noisy = true.copy()
    noisy[chosen] = _draw(chances / chances.sum(1, keepdims=True), rng)
    return NoisyLabels(noisy, noisy != true)


def _flip_counts(matrix: Doubles, sizes: Ints, rng: np.random.Generator) -> Ints:
    """Return how many faces go from i to j (C, C), 0 on the diagonal: systematic sampling of n_i T_ij."""
    n_classes = len(matrix)
    sources = rng.permutation(n_classes)
    cells = np.stack([source * n_classes + rng.permutation(n_classes) for source in sources]).ravel()
    expected = (sizes[:, None] * matrix * ~np.eye(n_classes, dtype=bool)).ravel()[cells]
    edges = np.cumsum(expected)
    whole = math.floor(edges[-1] + 1e-9)
    part = max(0.0, float(edges[-1]) - whole)
    offset = rng.uniform(1 - part, 1) if part >= 0.5 else rng.uniform(0, 1 - part)
    reached = np.floor(edges + offset + 1e-9).astype(np.int64)
    counts = np.zeros(n_classes * n_classes, dtype=np.int64)
    counts[cells] = np.diff(reached, prepend=0)
    return counts.reshape(n_classes, n_classes)


def _flip_rows(chances: Doubles, rate: float, rng: np.random.Generator, *, exact: bool) -> Ints:
    """Return the rows that flip: drawn one by one, or round(rate N) of them with chances in proportion."""
    n = len(chances)
    if not exact:
        return np.flatnonzero(rng.random(n) < chances)
    wanted = round(rate * n)
    if wanted == 0:
        return np.zeros(0, dtype=np.int64)
    keys = rng.exponential(size=n) / np.maximum(chances, np.finfo(np.float64).tiny)
    return np.sort(np.argpartition(keys, wanted - 1)[:wanted])


def _truncated_normal(mean: float, n: int, rng: np.random.Generator) -> Doubles:
    values = rng.normal(mean, FLIP_RATE_SPREAD, n)
    outside = (values < 0) | (values > 1)
    while outside.any():
        values[outside] = rng.normal(mean, FLIP_RATE_SPREAD, int(outside.sum()))
        outside = (values < 0) | (values > 1)
    return values


def _standardized(vectors: Doubles, rows: Ints) -> Doubles:
    """Return vectors centered and scaled: a standard-normal scorer gives scores of spread SCORE_SPREAD."""
    used = np.zeros(len(vectors), dtype=bool)
    used[rows] = True
    used &= vectors.any(1)
    if not used.any():
        return vectors
    centered = np.where(used[:, None], vectors - vectors[used].mean(0), 0.0)
    length = math.sqrt(float(np.square(centered[used]).sum(1).mean()))
    return centered * (SCORE_SPREAD / length) if length else centered


def _draw(chances: Doubles, rng: np.random.Generator) -> Ints:
    """Return one column index a row of `chances`, whose rows sum to 1."""
    edges = np.cumsum(chances, axis=1)
    picks = rng.random((len(chances), 1)) * edges[:, -1:]
    return np.asarray((picks >= edges).sum(1), dtype=np.int64)
