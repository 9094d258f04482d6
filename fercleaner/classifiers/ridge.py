"""Ridge regression of label distributions on features, out of fold in closed form."""

from __future__ import annotations

import numpy as np

from ..core.arrays import Bools, Doubles, Floats, Ints

#: Ridge added to the Gram matrix of rows of mean squared length 1, times the root of the number of faces learned from.
#: On FER2013's labels, on P's and on digits .1 and .3 serve alike; .01 loses up to .04 AP.
RIDGE = 0.1
#: Ridge on the intercept: next to none.
INTERCEPT_RIDGE = 1e-6


class FoldRidge:
    """Least-squares heads from which each fold, and each pair of folds, was left out.

    With X the features and a column of ones, Y the targets, and A a set of faces that leaves out some folds,

        W_A = (X_A' X_A + `RIDGE` sqrt(|A|) I)^-1 X_A' Y_A,        score of face i: x_i W_A

    X_A' X_A is a difference of the folds' own Gram matrices, so all heads cost little more than one. Rows of Y that
    sum to 1 give scores that do: rough probabilities, which can be below 0.

    Parameters
    ----------
    design : (N, M) float32
        Columns of mean 0 (`nystroem.kernel_features`). Rows in an order that does not depend on the set's.
    fold : (N,) int64
    learns : (N,) bool
        Faces that have a vector and a label.

    Cost: O(N M^2 + F^2 M^3) once, O(N M F C) for each set of targets.
    """

    def __init__(self, design: Floats, fold: Ints, learns: Bools) -> None:
        from scipy.linalg import cho_factor

        width = design.shape[1] + 1
        self._folds = int(fold.max()) + 1
        self._of = [np.flatnonzero(fold == f) for f in range(self._folds)]
        self._learn = [learns[rows] for rows in self._of]
        self._parts = [np.concatenate([design[rows], np.ones((len(rows), 1), np.float32)], axis=1) for rows in self._of]
        grams = []
        for part, learn in zip(self._parts, self._learn, strict=True):
            chosen = part if learn.all() else part[learn]
            grams.append((chosen.T @ chosen).astype(np.float64))
        total, faces = np.sum(grams, axis=0), sum(int(learn.sum()) for learn in self._learn)
        self._factors = {}
        for a in range(self._folds):
            for b in range(a, self._folds):
                out = {a, b}
                gram = total - np.sum([grams[f] for f in out], axis=0)
                size = max(faces - sum(int(self._learn[f].sum()) for f in out), 1)
                ridge = np.full(width, RIDGE * np.sqrt(size))
                ridge[-1] = INTERCEPT_RIDGE * size
                gram[np.diag_indices(width)] += ridge
                self._factors[a, b] = cho_factor(gram, overwrite_a=True)

    def own(self, targets: Doubles) -> Doubles:
        """Return each face's scores by the head without its fold, (N, C); targets (N, C), or (N, F, C) by run."""
        moments = self._moments(targets)
        result = np.zeros((sum(map(len, self._of)), targets.shape[-1]))
        for f, rows in enumerate(self._of):
            weights = self._weights([m if targets.ndim == 2 else m[:, f] for m in moments], f, f)
            result[rows] = self._parts[f] @ weights
        return result

    def runs(self, targets: Doubles) -> Doubles:
        """Return scores in the run of each fold, (N, F, C), of targets (N, C).

        In run f a face is judged by a head that saw neither fold f nor the face's own: what such scores refine can
        train a head that will judge fold f, and was not learned by heart.
        """
        moments, c = self._moments(targets), targets.shape[-1]
        weights = {(a, b): self._weights(moments, a, b) for a, b in self._factors}
        result = np.zeros((sum(map(len, self._of)), self._folds, c))
        for b, rows in enumerate(self._of):
            beside = np.concatenate([weights[min(a, b), max(a, b)] for a in range(self._folds)], axis=1)
            result[rows] = (self._parts[b] @ beside).reshape(len(rows), self._folds, c)
        return result

    def _moments(self, targets: Doubles) -> list[Doubles]:
        """Return X_f' Y_f of the faces of each fold that are learned from, (M + 1, ...) like the targets."""
        moments = []
        for rows, learn, part in zip(self._of, self._learn, self._parts, strict=True):
            y = np.where(learn.reshape(-1, *[1] * (targets.ndim - 1)), targets[rows], 0).astype(np.float32)
            product = (part.T @ y.reshape(len(rows), -1)).astype(np.float64)
            moments.append(product.reshape(-1, *targets.shape[1:]))
        return moments

    def _weights(self, moments: list[Doubles], a: int, b: int) -> Floats:
        from scipy.linalg import cho_solve

        right = np.sum([moment for f, moment in enumerate(moments) if f not in (a, b)], axis=0)
        if not np.ndim(right):
            right = np.zeros_like(moments[0])
        weights: Floats = cho_solve(self._factors[a, b], right).astype(np.float32)
        return weights
