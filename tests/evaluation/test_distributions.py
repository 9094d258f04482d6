"""Measures of label distributions against loops and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial import distance
from scipy.stats import entropy

from fercleaner.core.errors import InputError
from fercleaner.evaluation.distributions import distribution_measures


def rows(seed, n=12, c=5):
    """Distributions, some classes at exactly 0."""
    table = np.random.default_rng(seed).dirichlet(np.full(c, 0.6), n)
    table[table < 0.05] = 0
    return table / table.sum(1, keepdims=True)


def test_measures_equal_scipy_and_loops():
    p, q = rows(0) * 0.9 + 0.02, rows(1)
    found = distribution_measures(p, q)
    pairs = list(zip(p, q, strict=True))
    assert found["chebyshev"] == pytest.approx(np.mean([distance.chebyshev(a, b) for a, b in pairs]))
    assert found["canberra"] == pytest.approx(np.mean([distance.canberra(a, b) for a, b in pairs]))
    assert found["cosine"] == pytest.approx(np.mean([1 - distance.cosine(a, b) for a, b in pairs]))
    assert found["kl"] == pytest.approx(np.mean([entropy(b, a) for a, b in pairs]))
    clark = [math.sqrt(sum(((x - y) / (x + y)) ** 2 for x, y in zip(a, b, strict=True) if x + y)) for a, b in pairs]
    assert found["clark"] == pytest.approx(np.mean(clark))
    both = [sum(min(x, y) for x, y in zip(a, b, strict=True)) for a, b in pairs]
    assert found["intersection"] == pytest.approx(np.mean(both))


def test_equal_and_disjoint_rows():
    same = distribution_measures(rows(2), rows(2))
    assert [same[name] for name in ("chebyshev", "clark", "canberra", "kl")] == pytest.approx([0, 0, 0, 0], abs=1e-12)
    assert [same["cosine"], same["intersection"]] == pytest.approx([1, 1])
    apart = distribution_measures([[1.0, 0.0]], [[0.0, 1.0]])
    assert apart["kl"] == pytest.approx(math.log(1e9))
    assert (apart["chebyshev"], apart["canberra"], apart["intersection"]) == (1, 2, 0)


def test_bad_input_and_no_rows():
    with pytest.raises(InputError, match="both must be the same"):
        distribution_measures([[1, 0]], [[1, 0, 0]])
    assert all(math.isnan(value) for value in distribution_measures(np.zeros((0, 3)), np.zeros((0, 3))).values())
