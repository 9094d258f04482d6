"""DNFER's threshold: case D1, identities, and the method on generated faces."""

from __future__ import annotations

import numpy as np
import oracles_threshold as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fercleaner.core.errors import InputError
from fercleaner.core.evidence import Evidence
from fercleaner.core.types import Posteriors, Samples
from fercleaner.methods.contract import LAWS, check
from fercleaner.methods.threshold import (
    Threshold,
    consistency,
    kept_labels,
    relative_margin,
    selection_rate,
    share_that_keeps,
)

LABEL = [0, 0, 2, 1]
GIVEN = np.eye(3)[LABEL]
WEAK = np.array([[0.70, 0.20, 0.10], [0.30, 0.60, 0.10], [0.25, 0.25, 0.50], [0.55, 0.05, 0.40]])
STRONG = np.array([[0.60, 0.30, 0.10], [0.40, 0.50, 0.10], [0.25, 0.25, 0.50], [0.35, 0.25, 0.40]])


def _evidence(values: np.ndarray, given: np.ndarray, found: np.ndarray | None = None, **more: np.ndarray) -> Evidence:
    n, c = values.shape
    ids = np.array([f"{i:04d}" for i in range(n)])
    classes = tuple(f"c{k}" for k in range(c))
    samples = Samples(ids, classes, given.astype(np.float32), given.sum(1) > 0, np.full(n, ""))
    found = np.ones(n, dtype=bool) if found is None else found
    tables = {"probe": values, **more}
    return Evidence(
        samples,
        posteriors={
            name: Posteriors(name, ids, classes, np.where(found[:, None], v, 0).astype(np.float32), found)
            for name, v in tables.items()
        },
    )


def test_case_d1_keeps_and_bits() -> None:
    assert kept_labels(WEAK, GIVEN).tolist() == [True, False, True, False]
    assert kept_labels(STRONG, GIVEN).tolist() == [True, True, True, False]  # .40 >= .40: a tie is kept
    np.testing.assert_allclose(consistency(WEAK, STRONG), [0.080736, 0.067807, 0, 0.594801], atol=1e-6)


@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(2, 6))
@settings(max_examples=60, deadline=None)
def test_rules_equal_the_loops(seed: int, n: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.ones(classes), n), rng.dirichlet(np.ones(classes), n)
    label = rng.integers(0, classes, n)
    y = np.eye(classes)[label]
    assert kept_labels(p, y).tolist() == oracle.keeps(p, label.tolist())
    # float rows below the clip of 1e-8 would differ; Dirichlet draws of weight 1 hardly reach it
    np.testing.assert_allclose(consistency(p, q), oracle.symmetric_bits(p, q), rtol=1e-3, atol=1e-5)
    # a face cancels out of its own threshold: the mean of the others keeps the same
    own = p[np.arange(n), label]
    others = (p.sum(0)[label] - own) / (n - 1)
    clear = np.abs(own - others) > 1e-6
    assert (kept_labels(p, y) == (own >= others))[clear].all()


def test_calibrated_rule_is_lift_of_at_least_one() -> None:
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(4), 500)
    label = rng.integers(0, 4, 500)
    lift = p[np.arange(500), label] / p.mean(0)[label]
    np.testing.assert_array_equal(kept_labels(p, np.eye(4)[label]), lift >= 1)


def test_vote_equals_the_simulated_batches() -> None:
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.full(5, 0.6), 640)
    label = rng.integers(0, 5, 640)
    rate = selection_rate(p, np.eye(5)[label], 16)
    drawn = oracle.simulated_rate(p, label.tolist(), 16, 100, 3)
    assert np.corrcoef(rate, drawn)[0, 1] > 0.998
    # what is left is the draw itself (.04 at a rate of .5) and a batch mean that is not quite normal
    assert np.abs(rate - drawn).mean() < 0.014
    hard = kept_labels(p, np.eye(5)[label])
    np.testing.assert_array_equal(selection_rate(p, np.eye(5)[label], 0), hard)
    far = np.abs(rate - 0.5) > 1e-4
    np.testing.assert_allclose(selection_rate(p, np.eye(5)[label], 10**12)[far], hard[far], atol=1e-9)


def test_columns_without_spread_keep_all() -> None:
    flat = np.full((5, 3), 1 / 3)
    assert selection_rate(flat, np.eye(3)[[0, 1, 2, 0, 1]], 128).tolist() == [1] * 5


def test_share_that_keeps_is_the_largest() -> None:
    rng = np.random.default_rng(3)
    y, q = np.eye(4)[rng.integers(0, 4, 200)], rng.dirichlet(np.ones(4), 200)
    label, rows = y.argmax(1), np.arange(200)
    share = share_that_keeps(y, q)
    at = (1 - share)[:, None] * y + share[:, None] * q
    assert (at.argmax(1) == label).all()
    more = np.minimum(share + 0.02, 1.0)
    beyond = (1 - more)[:, None] * y + more[:, None] * q
    tight = share < 0.98
    assert tight.any()
    assert (beyond.argmax(1) != label)[tight].all()
    assert (at[rows, label] >= np.partition(at, -2, axis=1)[:, -2]).all()


def test_refinement_of_case_d1() -> None:
    result = Threshold(sharpen=1.0, blend=0.5).refine(_evidence(WEAK, GIVEN), np.random.default_rng(0))
    assert result.evidence["kept"].tolist() == [1, 0, 1, 0]
    np.testing.assert_allclose(result.evidence["class_threshold"], [0.45, 0.45, 0.275, 0.275], atol=1e-6)
    np.testing.assert_allclose(result.distribution[0], [0.85, 0.10, 0.05], atol=1e-6)
    np.testing.assert_allclose(result.distribution[1], WEAK[1], atol=1e-6)
    assert result.flagged.tolist() == [False, True, False, True]
    np.testing.assert_allclose(result.quality, [0.75, 0.35, 0.625, 0.25], atol=1e-6)
    np.testing.assert_allclose(result.quality, relative_margin(GIVEN, WEAK), atol=1e-6)


def test_ranks_by_its_own_rule_where_asked() -> None:
    own = Threshold(rank="threshold").refine(_evidence(WEAK, GIVEN), np.random.default_rng(0))
    np.testing.assert_allclose(own.quality, [0.625, 0.425, 0.6125, 0.3875], atol=1e-6)  # (1 + P_y - mu_y) / 2
    margin = Threshold().refine(_evidence(WEAK, GIVEN), np.random.default_rng(0))
    assert np.array_equal(own.flagged, margin.flagged)
    assert np.array_equal(own.distribution, margin.distribution)
    assert not np.array_equal(own.quality, margin.quality)
    kept = own.evidence["kept"] == 1
    assert own.quality[kept].min() >= 0.5 > own.quality[~kept].max()
    with pytest.raises(InputError, match=r"threshold: rank is 'gap'; choose margin or threshold"):
        Threshold(rank="gap")


def test_kept_labels_stay_unless_told_otherwise() -> None:
    p = np.array([[0.30, 0.70, 0.0], [0.05, 0.90, 0.05], [0.05, 0.05, 0.90]])
    y = np.eye(3)[[0, 1, 2]]
    rng = np.random.default_rng(0)
    firm = Threshold(blend=1.0, sharpen=1.0).refine(_evidence(p, y), rng)
    loose = Threshold(blend=1.0, sharpen=1.0, firm=False).refine(_evidence(p, y), rng)
    assert firm.evidence["kept"][0] == 1
    assert firm.label.tolist() == [0, 1, 2]
    assert loose.label.tolist() == [1, 1, 2]
    assert not loose.flagged.any()  # a kept label is never held to be wrong


def test_mirrored_view_gives_divergence_and_half_the_vote() -> None:
    rng = np.random.default_rng(0)
    both = Threshold(batch=0).refine(_evidence(WEAK, GIVEN, mirror=STRONG), rng)
    np.testing.assert_allclose(both.evidence["view_divergence_bits"], oracle.symmetric_bits(WEAK, STRONG), atol=1e-5)
    assert both.weight.tolist() == [1, 0.5, 1, 0]  # face 1 is dropped in the weak view and kept in the strong
    assert "view_divergence_bits" not in Threshold().refine(_evidence(WEAK, GIVEN), rng).evidence


def test_faces_without_label_or_posterior() -> None:
    y = GIVEN.copy()
    y[[1, 3]] = 0
    found = np.array([True, True, False, False])
    result = Threshold(sharpen=2.0).refine(_evidence(WEAK, y, found), np.random.default_rng(0))
    squared = WEAK[1] ** 2 / (WEAK[1] ** 2).sum()
    np.testing.assert_allclose(result.distribution[1], squared, atol=1e-6)
    np.testing.assert_allclose(result.weight[1:], [0.6, 1, 0], atol=1e-6)
    np.testing.assert_allclose(result.quality[1:], [0.65, 1, 0], atol=1e-6)
    np.testing.assert_allclose(result.distribution[2:], [[0, 0, 1], [1 / 3] * 3], atol=1e-6)
    assert not result.flagged[1:].any()


def test_the_mirror_can_be_the_posterior_that_is_named() -> None:
    rng = np.random.default_rng(0)
    named = Threshold(posterior="mirror").refine(_evidence(WEAK, GIVEN, mirror=STRONG), rng)
    np.testing.assert_array_equal(named.distribution, Threshold().refine(_evidence(STRONG, GIVEN), rng).distribution)


def test_another_posterior_where_there_is_no_probe() -> None:
    evidence = _evidence(WEAK, GIVEN)
    other = Evidence(evidence.samples, posteriors={"zeta": evidence.posteriors["probe"]})
    here, there = (Threshold().refine(e, np.random.default_rng(0)) for e in (evidence, other))
    np.testing.assert_array_equal(here.distribution, there.distribution)
    with pytest.raises(InputError, match="needs posteriors: add --encoder or --view"):
        Threshold().refine(Evidence(evidence.samples), np.random.default_rng(0))


@pytest.mark.parametrize("wrong", [{"batch": -1}, {"batch": 1}, {"sharpen": 0.0}, {"blend": 1.5}])
def test_parameters_are_checked(wrong: dict[str, float]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(InputError, match=f"threshold: {name} is {value}; expected"):
        Threshold(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("method", [Threshold(), Threshold(batch=0, firm=False)], ids=["default", "loose"])
def test_laws(method: Threshold, law: str) -> None:
    check(method, laws=[law])
