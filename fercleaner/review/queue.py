"""Which faces to look at first, and what noise is left: the value of a look, and its sum over what is not decided."""

from __future__ import annotations

import math
from hashlib import blake2b

import numpy as np

from ..core.arrays import Bools, Doubles, Ints
from ..core.errors import InputError
from ..core.refined import RefinedSet

#: Ways to order faces: by what a look is expected to gain, by quality, lowest first, or at random.
ORDERS = ("gain", "quality", "random")
#: 95 %: normal deviate of intervals.
Z95 = 1.959964


def expected_gain(refined: RefinedSet) -> Doubles:
    """Return the probability that the refined label of each face is wrong, (N,) float64 in [0, 1].

        g_i = 1 - max_c r_ic

    A look at the face mends it; over many faces the sum is the number of labels that looks would mend. A face whose
    given label is surely wrong and whose refined label is surely right gains nothing, though its quality is the lowest.
    """
    return np.asarray(1.0 - refined.distribution.max(1).astype(np.float64))


def lead(refined: RefinedSet) -> Doubles:
    """Return how far the refined distribution prefers its first class to its second, (N,) float64 in [0, 1]."""
    two = np.partition(refined.distribution.astype(np.float64), -2, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0])


def order(refined: RefinedSet, by: str = "gain") -> Ints:
    """Return all rows, the most valuable look first, (N,) int64; of equals the first in the set.

    Parameters
    ----------
    by : {"gain", "quality", "random"}
        "gain": the smallest `margin` first, where one decision settles most. Of four orders by expected gain (`margin`,
        `expected_gain`, that one times the faces that a face is a neighbor of, or with neighbors spread out) it gave
        the best labels on one half of FER2013's training faces; figures of the other half and of a posed set are in
        results/review-gain-*.json (`benchmarks/review_gain.py`). "quality": lowest first, unlabeled faces last.
        "random": a sample of the set, always the same one, to judge by (`fercleaner evaluate`).
        Faces whose decisions the file holds already come after all others.
    """
    if by == "gain":
        return np.lexsort((lead(refined), refined.decided)).astype(np.int64)
    if by == "quality":
        return np.lexsort((refined.quality, ~refined.labeled, refined.decided)).astype(np.int64)
    if by == "random":
        keys = [
            blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest() for name in refined.ids.tolist()
        ]
        return np.lexsort((np.array([int.from_bytes(key, "big") for key in keys], dtype=np.uint64), refined.decided))
    raise InputError(f"Review: '{by}' is not an order ({', '.join(ORDERS)}).")


def chance_range(expected: float, variance: float, most: int) -> tuple[float, float]:
    """Return the 95 % range of a number of wrong labels, each wrong by its own probability: normal, within [0, most].

    `expected` is the sum of the probabilities p, `variance` that of p (1 - p). The range is that of chance alone; it
    says nothing of how far the probabilities are right.

    Examples
    --------
    >>> chance_range(10.0, 5.0, 20)[0] > 5.6
    True
    """
    half = Z95 * math.sqrt(max(0.0, variance))
    return max(0.0, expected - half), min(float(most), max(0.0, expected) + half)


class NoiseLeft:
    """What is expected to be wrong among the faces that nobody has decided, kept up to date in constant time.

    `wrong_given` is a range: how many given labels the refined distributions overrule, and how much of the
    distributions lies beside the given labels (see `noise_estimate.estimate_noise`). `wrong_refined` is the sum of
    `expected_gain`, with the 95 % range that chance leaves where each refined label is wrong by its own probability.
    Decided faces count as right.
    """

    def __init__(self, refined: RefinedSet, decided: Bools) -> None:
        labeled = refined.labeled
        low = labeled & (refined.label != refined.given_label)
        high = np.where(labeled, 1 - (refined.given * refined.distribution).sum(1, dtype=np.float64), 0)
        self._low, self._high = low.astype(np.float64), high
        self._gain = expected_gain(refined)
        self._variance = self._gain * (1 - self._gain)
        self._open = ~decided
        self._count = int(self._open.sum())
        self.totals = np.array([float(column[self._open].sum()) for column in self._columns()])

    def set_decided(self, row: int, decided: bool) -> None:
        """Take a face out of the sums, or put it back."""
        if self._open[row] == decided:
            self._open[row] = not decided
            sign = -1 if decided else 1
            self._count += sign
            self.totals += sign * np.array([float(column[row]) for column in self._columns()])

    def _columns(self) -> tuple[Doubles, Doubles, Doubles, Doubles]:
        return self._low, self._high, self._gain, self._variance

    def to_dict(self) -> dict[str, float | int]:
        """Return the open faces and the expected numbers of wrong labels among them."""
        low, high, gain, variance = self.totals.tolist()
        wrong_low, wrong_high = chance_range(gain, variance, self._count)
        return {
            "open": self._count,
            "wrong_given_low": max(0.0, min(low, high)),
            "wrong_given_high": max(0.0, low, high),
            "wrong_refined": max(0.0, gain),
            "wrong_refined_low": wrong_low,
            "wrong_refined_high": wrong_high,
        }
