"""Small number helpers: rows that sum to 1, softmax, sigmoid, and the temperature of scores."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from .arrays import Doubles

#: Columns up to which rows are reduced a column at a time: numpy takes 4 to 9 times as long for short rows.
SHORT = 32


def _over_classes(step: np.ufunc, values: Doubles) -> Doubles:
    """Return `step.reduce` of values (..., C) over the classes, (..., 1)."""
    classes = values.shape[-1]
    if not 0 < classes <= SHORT:
        return np.asarray(step.reduce(values, axis=-1, keepdims=True))
    result = np.array(values[..., 0])
    for c in range(1, classes):
        step(result, values[..., c], out=result)
    return result[..., None]


def class_sums(values: Doubles) -> Doubles:
    """Return the sums of `values` (..., C) over the classes, (..., 1)."""
    return _over_classes(np.add, values)


def normalized(values: Doubles) -> Doubles:
    """Return `values` (..., C) divided by their sums; rows of no mass stay zero."""
    total = class_sums(values)
    result: Doubles = np.where(total > 0, values / np.where(total > 0, total, 1.0), 0.0)
    return result


def softmax(logits: Doubles) -> Doubles:
    """Return exp(logits) (..., C) divided by their sums, without overflow."""
    weights: Doubles = np.exp(logits - _over_classes(np.maximum, logits))
    weights /= class_sums(weights)
    return weights


def row_stochastic(counts: Doubles) -> Doubles:
    """Return counts (C, C) >= 0 divided by their row sums; the identity's row where there is none."""
    rows = normalized(counts)
    return np.where(counts.sum(1, keepdims=True) > 0, rows, np.eye(len(counts)))


def sigmoid(x: ArrayLike) -> Doubles:
    """Return 1 / (1 + exp(-x)), without overflow."""
    half: Doubles = 0.5 * (1.0 + np.tanh(0.5 * np.asarray(x, dtype=np.float64)))
    return half


def fit_temperature(
    scores: Doubles, given: Doubles, *, least: float = 0.1, most: float = 10.0, belief: float = 0.0, tolerance: float
) -> float:
    """Return the T in [least, most] that makes the given labels likeliest under softmax(scores / T).

    Parameters
    ----------
    scores, given : (N, C) float64
        Scores of faces and their given distributions; without a face T is 1.
    belief : float >= 0
        Strength, in faces, of the belief that T is 1: `belief` (log T)^2 is added to -sum_ic y_ic log p_ic.
    tolerance : float
        Of log T.
    """
    if not len(scores):
        return 1.0
    own = float((given * scores).sum())
    mass, top = given.sum(1), scores.max(1, keepdims=True)

    def loss(log_t: float) -> float:
        inverse = float(np.exp(-log_t))
        norm = np.log(np.exp((scores - top) * inverse).sum(1)) + top[:, 0] * inverse
        return float((mass * norm).sum()) - own * inverse + belief * log_t**2

    bounds = (float(np.log(least)), float(np.log(most)))
    return float(np.exp(bounded_minimum(loss, *bounds, tolerance)))


def bounded_minimum(loss: Callable[[float], float], low: float, high: float, tolerance: float) -> float:
    """Return where in (low, high) a function of one minimum there is least, to about `tolerance`.

    The point of `scipy.optimize.minimize_scalar(method="bounded")`, to the bit; loading that takes .3 seconds.

    Source: Brent, Algorithms for Minimization without Derivatives, 1973, chapter 5: a parabola through the best three
    points, or a golden section where that leads out or does not halve the step before the last.
    """
    golden, root = 0.5 * (3 - math.sqrt(5)), math.sqrt(2.2e-16)
    best = second = third = low + golden * (high - low)
    least = loss(best)
    least_second = least_third = least
    step = before = 0.0
    for _ in range(500):
        middle, near = 0.5 * (low + high), root * abs(best) + tolerance / 3
        if abs(best - middle) <= 2 * near - 0.5 * (high - low):
            break
        fits = False
        if abs(before) > near:
            r = (best - second) * (least - least_third)
            q = (best - third) * (least - least_second)
            p = (best - third) * q - (best - second) * r
            q = 2 * (q - r)
            p, q = (-p if q > 0 else p), abs(q)
            last, before = before, step
            fits = abs(p) < abs(0.5 * q * last) and q * (low - best) < p < q * (high - best)
            if fits:
                step = p / q
                if best + step - low < 2 * near or high - best - step < 2 * near:
                    step = near if middle >= best else -near
        if not fits:
            before = (low if best >= middle else high) - best
            step = golden * before
        at = best + (1 if step >= 0 else -1) * max(abs(step), near)
        value = loss(at)
        if value <= least:
            low, high = (best, high) if at >= best else (low, best)
            third, least_third, second, least_second, best, least = second, least_second, best, least, at, value
            continue
        low, high = (at, high) if at < best else (low, at)
        if value <= least_second or second == best:
            third, least_third, second, least_second = second, least_second, at, value
        elif value <= least_third or third in (best, second):
            third, least_third = at, value
    return best
