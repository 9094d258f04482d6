"""Which faces to look at first, and what noise is left: the value of a look, and its sum over what is not decided."""

from __future__ import annotations

import numpy as np

from ..core.arrays import Bools, Doubles, Ints
from ..core.errors import InputError
from ..core.refined import RefinedSet

#: Ways to order faces: by what a look is expected to gain, or by quality, lowest first.
ORDERS = ("gain", "quality")


def expected_gain(refined: RefinedSet) -> Doubles:
    """Return what a look at each face is expected to gain, (N,) float64 in [0, 1].

        g_i = 1 - max_c r_ic

    The probability, by the refined distribution r, that the refined label is wrong: a look at the face mends it. A
    face whose given label is surely wrong and whose refined label is surely right gains nothing; low quality alone
    would ask for it first.
    """
    return np.asarray(1.0 - refined.distribution.max(1).astype(np.float64))


def order(refined: RefinedSet, by: str = "gain") -> Ints:
    """Return all rows, the most valuable look first, (N,) int64; of equals the first in the set.

    Parameters
    ----------
    by : {"gain", "quality"}
        `expected_gain`, greatest first; or quality, lowest first, unlabeled faces last.
    """
    if by == "gain":
        return np.argsort(-expected_gain(refined), kind="stable").astype(np.int64)
    if by == "quality":
        return np.lexsort((refined.quality, ~refined.labeled)).astype(np.int64)
    raise InputError(f"Review: '{by}' is not an order ({', '.join(ORDERS)}).")


class NoiseLeft:
    """What is expected to be wrong among the faces that nobody has decided, kept up to date in constant time.

    `wrong_given` is a range: how many given labels the refined distributions overrule, and how much of the
    distributions lies beside the given labels (see `noise_estimate.estimate_noise`). `wrong_refined` is the sum of
    `expected_gain`. Decided faces count as right.
    """

    def __init__(self, refined: RefinedSet, decided: Bools) -> None:
        labeled = refined.labeled
        low = labeled & (refined.label != refined.given_label)
        high = np.where(labeled, 1 - (refined.given * refined.distribution).sum(1, dtype=np.float64), 0)
        self._low, self._high = low.astype(np.float64), high
        self._gain = expected_gain(refined)
        self._open = ~decided
        self._count = int(self._open.sum())
        self.totals = np.array([float(column[self._open].sum()) for column in (self._low, self._high, self._gain)])

    def set_decided(self, row: int, decided: bool) -> None:
        """Take a face out of the sums, or put it back."""
        if self._open[row] == decided:
            self._open[row] = not decided
            sign = -1 if decided else 1
            self._count += sign
            self.totals += sign * np.array([self._low[row], self._high[row], self._gain[row]])

    def to_dict(self) -> dict[str, float | int]:
        """Return the open faces and the expected numbers of wrong labels among them."""
        low, high, gain = self.totals.tolist()
        return {
            "open": self._count,
            "wrong_given_low": max(0.0, min(low, high)),
            "wrong_given_high": max(0.0, low, high),
            "wrong_refined": max(0.0, gain),
        }
