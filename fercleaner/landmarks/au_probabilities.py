"""From a raw measurement that rises with an action unit to a probability: standardize, logistic, match."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.arrays import Bools, Doubles
from ..core.numeric import sigmoid

#: Slope of the logistic function, per robust standard deviation.
ALPHA = 1.5

#: Threshold in robust standard deviations where no base rate is known: z = 0 gives .095, z = 3 gives .905.
TAU = 1.5

#: Halvings of the bracket in `matched`: the threshold is then exact to about 1e-12.
_BISECTIONS = 60

#: Fewest neutral faces whose median and spread are taken in place of everybody's.
MIN_NEUTRAL = 20


def robust_scores(values: ArrayLike, reference: Bools | None = None) -> Doubles:
    """Return z = (g - median) / (1.4826 MAD) of each column of `values` (N, A); float64.

    Median and MAD are those of the `reference` rows (N,) bool, or of all rows where it is None or holds fewer
    than 20. A column whose MAD is 0 is scaled by its root mean square about the median; a
    constant one is 0.
    """
    wide = np.asarray(values, dtype=np.float64)
    if len(wide) == 0:
        return wide.copy()
    chosen = wide if reference is None or reference.sum() < MIN_NEUTRAL else wide[reference]
    middle = np.median(chosen, axis=0)
    scale = 1.4826 * np.median(np.abs(chosen - middle), axis=0)
    scale = np.where(scale > 0, scale, np.sqrt(((chosen - middle) ** 2).mean(0)))
    z: Doubles = np.where(scale > 0, (wide - middle) / np.where(scale > 0, scale, 1.0), 0.0)
    return z


def matched(slope: ArrayLike, rate: float, gate: ArrayLike = 1.0) -> tuple[Doubles, float]:
    """Turn `slope` (N,) into probabilities whose mean is `rate`; return (N,) float64 and the shift t.

        p_i = gate_i * sigmoid(slope_i - t),   t found by bisection so that mean_i p_i = rate

    With slope = 1.5 z, t = 1.5 tau. A gate whose mean lies below `rate` puts the rate out of reach; the
    probabilities then come as close to it as the gate lets them.

    Examples
    --------
    >>> p, shift = matched([0.0, 1.5, 3.0, 4.5], 0.4)
    >>> [round(float(value), 4) for value in p], round(shift / 1.5, 4)
    ([0.0516, 0.196, 0.5221, 0.8304], 1.9411)
    """
    x = np.asarray(slope, dtype=np.float64)
    g: NDArray[np.float64] = np.broadcast_to(np.asarray(gate, dtype=np.float64), x.shape)
    low, high = float(x.min()) - 40.0, float(x.max()) + 40.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if float((g * sigmoid(x - middle)).mean()) > rate:
            low = middle
        else:
            high = middle
    shift = 0.5 * (low + high)
    return g * sigmoid(x - shift), shift


def probabilities(slope: ArrayLike, rate: float | None, gate: ArrayLike = 1.0, shift: float = ALPHA * TAU) -> Doubles:
    """Return gate * sigmoid(slope - t), (N,), with t matched to `rate`, or `shift` where `rate` is None.

    A `slope` that is the same for every face says nothing of any: the probability is then `rate` for all.
    """
    x = np.asarray(slope, dtype=np.float64)
    if rate is not None:
        if len(x) == 0 or float(np.ptp(x)) == 0.0:
            return np.full(x.shape, rate)
        return matched(x, rate, gate)[0]
    result: Doubles = np.asarray(gate, dtype=np.float64) * sigmoid(x - shift)
    return result
