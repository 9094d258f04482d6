"""Ridge regression of label distributions on features, out of fold in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from ..core.arrays import Bools, Doubles, Floats, Ints

#: Ridge added to the Gram matrix of rows of mean squared length 1, times the root of the number of faces learned from.
#: On FER2013's labels, on P's and on digits .1 and .3 serve alike; .01 loses up to .04 AP.
RIDGE = 0.1
#: Ridge on the intercept: next to none.
INTERCEPT_RIDGE = 1e-6
#: Faces whose rows are made at once; of twice as many, 32 MiB, each block is memory that the system clears anew.
BLOCK = 2048


class Design(Protocol):
    """Rows that heads are linear in, a block at a time; `nystroem.KernelRows`, or a `WholeDesign`.

    `rows` gives those of some faces and a column of ones, (n, D + 1). `ridge` gives, for the Gram matrix of all faces
    learned from, the (D + 1, D + 1) that holds coefficients, and the (D + 1,) whose product with them is the intercept.
    """

    def rows(self, at: Ints) -> Floats | Doubles:
        """Return rows (n, D + 1)."""
        ...

    def ridge(self, gram: Doubles) -> tuple[Doubles, Doubles]:
        """Return matrix and row."""
        ...


class WholeDesign:
    """A design that is there whole: (N, D) float32, columns of mean 0, rows of mean squared length 1."""

    def __init__(self, values: Floats) -> None:
        self._values = values

    def rows(self, at: Ints) -> Floats:
        """Return rows and a column of ones, (n, D + 1) float32."""
        return np.concatenate([self._values[at], np.ones((len(at), 1), np.float32)], axis=1)

    def ridge(self, gram: Doubles) -> tuple[Doubles, Doubles]:
        """Return the identity without the intercept, and the intercept."""
        intercept = np.eye(len(gram))[-1]
        return np.diag(1 - intercept), intercept


class FoldRidge:
    """Least-squares heads from which each fold, and each pair of folds, was left out.

    With X the design and a column of ones, Y the targets, and A a set of faces that leaves out some folds,

        W_A = (X_A' X_A + `RIDGE` sqrt(|A|) R)^-1 X_A' Y_A,        score of face i: x_i W_A

    R as `Design.ridge` says. X_A' X_A is a difference of the folds' own Gram matrices, so all heads cost little more
    than one. Rows of Y that sum to 1 give scores that do: rough probabilities, which can be below 0.

    Parameters
    ----------
    design : Design
        Rows in an order that does not depend on the set's.
    fold : (N,) int64
    learns : (N,) bool
        Faces that have a vector and a label.

    Cost: O(N D^2 + F^2 D^3) once, O(N D F C) for each set of targets; memory of a block beside the targets.
    """

    def __init__(self, design: Design, fold: Ints, learns: Bools) -> None:
        from scipy.linalg import cho_factor

        self._design, self._learns, self._folds = design, learns, int(fold.max()) + 1
        self._of = [np.flatnonzero(fold == f) for f in range(self._folds)]
        learned = [rows[learns[rows]] for rows in self._of]
        grams = [self._gram(rows) for rows in learned]
        total, faces = sum(grams[1:], grams[0]), sum(map(len, learned))
        ridge, intercept = design.ridge(total)
        beside = np.outer(intercept, INTERCEPT_RIDGE * intercept)
        self._factors = {}
        for a in range(self._folds):
            for b in range(a, self._folds):
                gram, size = total - grams[a], faces - len(learned[a])
                if b != a:
                    gram -= grams[b]
                    size -= len(learned[b])
                gram += RIDGE * np.sqrt(max(size, 1)) * ridge
                gram += max(size, 1) * beside
                self._factors[a, b] = cho_factor(gram, overwrite_a=True, check_finite=False)

    def own(self, targets: Doubles | Floats) -> Doubles:
        """Return each face's scores by the head without its fold, (N, C); targets (N, C), or (N, F, C) by run."""
        moments = self._moments(targets)
        result = np.zeros((len(self._learns), targets.shape[-1]))
        for f in range(self._folds):
            weights = self._weights([m if targets.ndim == 2 else m[:, f] for m in moments], f, f)
            for rows, x in self._blocks(self._of[f]):
                result[rows] = x @ weights.astype(x.dtype)
        return result

    def runs(self, targets: Doubles) -> Floats:
        """Return scores in the run of each fold, (N, F, C) float32, of targets (N, C).

        In run f a face is judged by a head that saw neither fold f nor the face's own: what such scores refine can
        train a head that will judge fold f, and was not learned by heart.
        """
        moments, c = self._moments(targets), targets.shape[-1]
        weights = {(a, b): self._weights(moments, a, b) for a, b in self._factors}
        result = np.zeros((len(self._learns), self._folds, c), dtype=np.float32)
        for b in range(self._folds):
            beside = np.concatenate([weights[min(a, b), max(a, b)] for a in range(self._folds)], axis=1)
            for rows, x in self._blocks(self._of[b]):
                result[rows] = (x @ beside.astype(x.dtype)).reshape(len(rows), self._folds, c)
        return result

    def _blocks(self, faces: Ints) -> Iterator[tuple[Ints, Floats | Doubles]]:
        """Yield some faces and their rows, a block at a time."""
        for start in range(0, len(faces), BLOCK):
            rows = faces[start : start + BLOCK]
            yield rows, self._design.rows(rows)

    def _gram(self, faces: Ints) -> Doubles:
        """Return X' X of some faces, (D + 1, D + 1)."""
        total = np.zeros((self._design.rows(faces[:0]).shape[1],) * 2)
        for _, x in self._blocks(faces):
            total += x.T @ x
        return total

    def _moments(self, targets: Doubles | Floats) -> list[Doubles]:
        """Return X_f' Y_f of the faces of each fold that are learned from, (D + 1, ...) like the targets."""
        moments = []
        for of in self._of:
            total = np.zeros((self._design.rows(of[:0]).shape[1], int(np.prod(targets.shape[1:]))))
            for rows, x in self._blocks(of[self._learns[of]]):
                total += x.T @ targets[rows].reshape(len(rows), -1).astype(x.dtype)
            moments.append(total.reshape(-1, *targets.shape[1:]))
        return moments

    def _weights(self, moments: list[Doubles], a: int, b: int) -> Doubles:
        from scipy.linalg import cho_solve

        others = (moment for f, moment in enumerate(moments) if f not in (a, b))
        weights: Doubles = cho_solve(self._factors[a, b], sum(others, np.zeros_like(moments[0])), check_finite=False)
        return weights
