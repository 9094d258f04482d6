"""The chance that a label is wrong, from its quality: a logistic curve fitted to known flips and unknown others."""

from __future__ import annotations

import numpy as np

from ..core.arrays import Doubles
from ..core.numeric import sigmoid

#: Chances of being wrong, 1 - quality, are held this far from 0 and 1 where their log-odds are taken.
EDGE = 1e-4
#: Slope that the log-odds start from, and the belief in it, in squared steps of 1: holds that of few flips.
START_SLOPE, SLOPE_BELIEF = 1.0, 1.0
#: Most steps of `fit_slope`, its Newton steps in each and how far one goes, and the change at which it ends.
SLOPE_STEPS, NEWTON_STEPS, LONGEST, SETTLED = 100, 8, 1.0, 1e-4


def fit_slope(others: Doubles, flips: Doubles, rate: float) -> float:
    """Return a, how fast the log-odds of being wrong rise with those of 1 - quality, at least 0.

    With l = log((1 - q) / q), the flips are drawn from the wrong labels, and of the others, of which nothing is known
    but the share pi that is wrong,

        P(wrong | l) = 1 / (1 + exp(-a l - b)),    b such that its mean over the others is pi

    fitted by the EM algorithm: these chances of the others, then the logistic curve that tells flips and wrong
    others from right ones. 1 for a method whose qualities are probabilities, more for one whose refined labels
    stay closer to the given ones than evidence allows.

    Parameters
    ----------
    others, flips : (M,) and (K,) float64
        Qualities of labels that were not flipped, and of the flips, in the runs on flipped labels.
    rate : float in [0, 1]
        pi.

    Source
    ------
    Ward, Hastie, Barry, Elith and Leathwick, Presence-only data and the EM algorithm, Biometrics 2009: positives and
    an unlabeled sample of known prevalence. Differs from it in: the slope is held towards 1 by a normal belief.
    """
    low, high = _log_odds(others), _log_odds(flips)
    both, share = np.concatenate([low, high]), rate * len(low)
    slope = START_SLOPE
    if share <= 0 or len(flips) == 0:
        return slope
    for _ in range(SLOPE_STEPS):
        before, start = slope, _intercept(low, slope, rate)
        target = np.concatenate([sigmoid(slope * low + start), np.ones(len(high))])
        start += float(np.log1p(len(high) / share))  # flips make wrong ones more frequent
        for _ in range(NEWTON_STEPS):
            chance = sigmoid(slope * both + start)
            spread = chance * (1 - chance)
            curve = np.array([[spread @ both**2, spread @ both], [spread @ both, spread.sum()]]) + 1e-9 * np.eye(2)
            curve[0, 0] += SLOPE_BELIEF
            rise = np.array([(target - chance) @ both - SLOPE_BELIEF * (slope - START_SLOPE), (target - chance).sum()])
            step = np.clip(np.linalg.solve(curve, rise), -LONGEST, LONGEST)
            slope, start = slope + float(step[0]), start + float(step[1])
        slope = max(slope, 0.0)
        if abs(slope - before) < SETTLED:
            break
    return slope


def chances(quality: Doubles, slope: float, rate: float) -> Doubles:
    """Return the chance that each label is wrong, (L,): the curve of `fit_slope`, its mean over these labels `rate`."""
    if rate <= 0:
        return np.zeros(len(quality))
    odds = _log_odds(quality)
    return sigmoid(slope * odds + _intercept(odds, slope, rate))


def _log_odds(quality: Doubles) -> Doubles:
    wrong = np.clip(1.0 - quality, EDGE, 1.0 - EDGE)
    return np.asarray(np.log(wrong) - np.log1p(-wrong))


def _intercept(odds: Doubles, slope: float, rate: float) -> float:
    """Return b such that the mean of 1 / (1 + exp(-slope odds - b)) is `rate`, in (0, 1)."""
    from scipy.optimize import brentq

    rate = min(max(rate, 1e-9), 1 - 1e-9)
    reach = slope * float(np.abs(odds).max()) + 21.0  # sigmoid(+-21) lies beyond the rates above
    return float(brentq(lambda b: float(sigmoid(slope * odds + b).mean()) - rate, -reach, reach))
