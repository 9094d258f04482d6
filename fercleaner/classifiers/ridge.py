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

        n, width = len(design), design.shape[1] + 1
        self._design = np.concatenate([design, np.ones((n, 1), dtype=np.float32)], axis=1)
        self._folds = int(fold.max()) + 1
        self._of = [np.flatnonzero(fold == f) for f in range(self._folds)]
        self._learn = [rows[learns[rows]] for rows in self._of]
        grams = [(self._design[rows].T @ self._design[rows]).astype(np.float64) for rows in self._learn]
        total, faces = np.sum(grams, axis=0), sum(len(rows) for rows in self._learn)
        self._factors = {}
        for a in range(self._folds):
            for b in range(a, self._folds):
                out = {a, b}
                gram = total - np.sum([grams[f] for f in out], axis=0)
                size = max(faces - sum(len(self._learn[f]) for f in out), 1)
                ridge = np.full(width, RIDGE * np.sqrt(size))
                ridge[-1] = INTERCEPT_RIDGE * size
                gram[np.diag_indices(width)] += ridge
                self._factors[a, b] = cho_factor(gram, overwrite_a=True)

    def own(self, targets: Doubles) -> Doubles:
        """Return each face's scores by the head without its fold, (N, C); targets (N, C), or (N, F, C) by run."""
        result = np.zeros((len(self._design), targets.shape[-1]))
        for f, rows in enumerate(self._of):
            result[rows] = self._scores(targets if targets.ndim == 2 else targets[:, f], f, f, rows)
        return result

    def runs(self, targets: Doubles) -> Doubles:
        """Return scores in the run of each fold, (N, F, C), of targets (N, C).

        In run f a face is judged by a head that saw neither fold f nor the face's own: what such scores refine can
        train a head that will judge fold f, and was not learned by heart.
        """
        result = np.zeros((len(self._design), self._folds, targets.shape[-1]))
        for a in range(self._folds):
            for b in range(a, self._folds):
                result[self._of[b], a] = self._scores(targets, a, b, self._of[b])
                result[self._of[a], b] = self._scores(targets, a, b, self._of[a])
        return result

    def _scores(self, targets: Doubles, a: int, b: int, rows: Ints) -> Doubles:
        from scipy.linalg import cho_solve

        kept = [f for f in range(self._folds) if f not in (a, b)]
        right = np.zeros((self._design.shape[1], targets.shape[-1]))
        for learn in (self._learn[f] for f in kept):
            right += self._design[learn].T @ targets[learn].astype(np.float32)
        weights = cho_solve(self._factors[a, b], right).astype(np.float32)
        scores: Doubles = (self._design[rows] @ weights).astype(np.float64)
        return scores
