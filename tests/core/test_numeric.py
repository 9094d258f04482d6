"""Softmax, sigmoid, rows that sum to 1, and the temperature of scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit

from fercleaner.core.numeric import bounded_minimum, fit_temperature, row_stochastic, sigmoid, softmax


def test_rows_that_sum_to_1_and_the_identity_where_nothing_is():
    rows = row_stochastic(np.array([[1.0, 3.0], [0.0, 0.0]]))
    assert rows.tolist() == [[0.25, 0.75], [0.0, 1.0]]


def test_sigmoid_overflows_nowhere():
    x = np.array([-1e4, -30.0, -1.0, 0.0, 2.0, 800.0])
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(sigmoid(x), expit(x), atol=1e-15)


def test_temperature_fit_finds_the_least_loss():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 5, 2000)
    logits = rng.normal(size=(2000, 5)) + 1.5 * np.eye(5)[truth]
    drawn = np.array([rng.choice(5, p=row) for row in softmax(logits)])
    y = np.eye(5)[drawn]
    fitted = fit_temperature(3.0 * logits, y, tolerance=1e-7)
    assert fitted == pytest.approx(3.0, rel=0.12)
    loss = [-(y * np.log(softmax(3.0 * logits / t))).sum(1).mean() for t in (fitted, fitted * 0.97, fitted * 1.03)]
    assert loss[0] <= min(loss[1:])
    assert fit_temperature(0.01 * logits, y, least=0.5, tolerance=1e-7) == pytest.approx(0.5, rel=1e-2)
    assert fit_temperature(np.zeros((0, 3)), np.zeros((0, 3)), tolerance=1e-7) == 1.0


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: (x - 1) ** 2,
        lambda x: abs(x + 0.5) ** 1.5 + 0.1 * x,
        lambda x: float(np.exp(2 * x) - 3 * x),
        lambda x: float(np.logaddexp(0, x) - 0.3 * x),
        lambda x: x,
        lambda x: -x,
        lambda x: 0 * x,
    ],
)
def test_the_bounded_minimum_is_that_of_scipy_to_the_bit(loss):
    for low, high in ((-3.0, 4.0), (-0.7, -0.1), (0.9, 1.3), (0.0, 1e-3)):
        for tolerance in (1e-3, 1e-6, 1e-9):
            known = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": tolerance}).x
            assert bounded_minimum(loss, low, high, tolerance) == known
