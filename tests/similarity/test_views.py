"""Views made comparable: half-whitening against an explicit eigendecomposition, the joint view, duplicates."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from fercleaner.classifiers.probe import cross_fit
from fercleaner.core.errors import InputError
from fercleaner.core.types import Features, Samples
from fercleaner.similarity import whitening
from fercleaner.similarity.distinct import repeated
from fercleaner.similarity.whitening import COMPONENTS, JOINT, join, unit_rows, whiten


def features(values, found=None, view="clip", **more):
    values = np.asarray(values, dtype=np.float32)
    found = np.ones(len(values), dtype=bool) if found is None else np.asarray(found)
    ids = np.array([f"f{i:04d}" for i in range(len(values))])
    return Features(view, ids, np.where(found[:, None], values, 0), found, **more)


def stretched(rng, n, d):
    """Correlated columns of very different variance around a mean far from zero."""
    return rng.normal(size=(n, d)) * np.geomspace(3, 0.05, d) @ rng.normal(size=(d, d)) + rng.normal(size=d)


def oracle_whiten(values, found, components):
    """Similarities (N, N) of half-whitened unit rows in float64: x -> V diag(variance)^-1/4 V^T-coordinates."""
    rows = np.asarray(values, dtype=np.float64)
    rows = rows / np.where((rows**2).sum(1) > 0, np.sqrt((rows**2).sum(1)), 1)[:, None]
    mean = sum(rows[i] for i in np.flatnonzero(found)) / found.sum()
    covariance = sum(np.outer(rows[i] - mean, rows[i] - mean) for i in np.flatnonzero(found)) / found.sum()
    variance, directions = np.linalg.eigh(covariance)
    keep = [c for c in np.argsort(-variance)[:components] if variance[c] > 1e-6 * variance.max()]
    turned = np.zeros((len(rows), len(keep)))
    for i in np.flatnonzero(found):
        for column, c in enumerate(keep):
            turned[i, column] = (rows[i] - mean) @ directions[:, c] / variance[c] ** 0.25
        turned[i] /= np.linalg.norm(turned[i])
    return turned @ turned.T, len(keep)


@pytest.mark.parametrize(("n", "d", "components"), [(80, 6, 128), (80, 10, 4), (40, 12, 1), (9, 30, 128)])
def test_whiten_equals_the_eigendecomposition(n, d, components):
    rng = np.random.default_rng(n + d)
    found = rng.random(n) > 0.1
    view = features(stretched(rng, n, d), found)
    expected, kept = oracle_whiten(view.values, found, components)
    turned = whiten(view, components)
    assert turned.values.shape == (n, kept)
    np.testing.assert_allclose(turned.values @ turned.values.T, expected, atol=2e-3)


def test_whiten_divides_by_the_fourth_root_of_the_variance():
    """Two independent columns, the larger spread 4 times the smaller: half-whitening leaves a ratio of 2."""
    rng = np.random.default_rng(0)
    plain = np.column_stack([np.full(4000, 1000.0), 4 * rng.normal(size=4000), rng.normal(size=4000)])
    turned = whiten(features(plain)).values[:, :2].astype(np.float64)
    ratio = np.median(np.abs(turned[:, 0] / turned[:, 1]))
    raw = np.median(np.abs(plain[:, 1] / plain[:, 2]))
    assert ratio / raw == pytest.approx(0.5, rel=0.08)


def test_rows_come_out_at_length_one_and_missing_ones_at_zero():
    rng = np.random.default_rng(1)
    found = np.arange(50) % 7 > 0
    turned = whiten(features(stretched(rng, 50, 8), found, notes=np.where(found, "", "no face")))
    np.testing.assert_allclose(np.linalg.norm(turned.values[found], axis=1), 1, atol=1e-5)
    assert not turned.values[~found].any()
    assert np.array_equal(turned.found, found)
    assert (turned.notes[~found] == "no face").all()


def test_missing_rows_take_no_part_in_the_components():
    rng = np.random.default_rng(2)
    values, found = stretched(rng, 60, 5), np.arange(60) < 45
    part, whole = whiten(features(values[:45])), whiten(features(values, found))
    np.testing.assert_allclose(whole.values[:45] @ whole.values[:45].T, part.values @ part.values.T, atol=1e-4)


def test_scale_and_rotation_of_the_input_do_not_matter():
    rng = np.random.default_rng(3)
    values = stretched(rng, 60, 7)
    turn = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    here, there = whiten(features(values)).values, whiten(features(41.0 * values @ turn)).values
    np.testing.assert_allclose(here @ here.T, there @ there.T, atol=2e-3)


def test_constant_columns_are_dropped():
    rng = np.random.default_rng(4)
    values = stretched(rng, 60, 5)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    padded = np.column_stack([values, np.ones(60)])
    assert whiten(features(padded)).values.shape == (60, whiten(features(values)).values.shape[1])


def test_equal_rows_give_one_zero_column_and_no_nan():
    turned = whiten(features(np.tile([3.0, 4.0, 0.0], (10, 1))))
    assert turned.values.shape == (10, 1)
    assert not turned.values.any()


def test_no_more_components_than_asked_for_and_than_there_are():
    rng = np.random.default_rng(5)
    assert whiten(features(rng.normal(size=(300, 200)))).values.shape[1] == COMPONENTS
    assert whiten(features(rng.normal(size=(6, 200)))).values.shape[1] <= 5


@pytest.mark.parametrize("found", [[True, False, False], [False] * 3])
def test_fewer_than_two_faces_are_left_as_they_are(found):
    view = features(np.eye(3), found)
    assert whiten(view) is view


def test_two_faces_point_opposite_ways():
    turned = whiten(features([[1.0, 0.0], [0.6, 0.8]])).values
    assert turned.shape == (2, 1)
    assert turned[0, 0] == pytest.approx(-turned[1, 0])


def test_unit_rows_keep_zero_rows_and_large_numbers():
    values = np.array([[3.0, 4.0], [0.0, 0.0], [3e30, 4e30]], dtype=np.float32)
    np.testing.assert_allclose(unit_rows(values), [[0.6, 0.8], [0, 0], [0.6, 0.8]], atol=1e-6)


def test_join_gives_each_view_equal_say():
    """Cosine in the joint view is the mean of the cosines, whatever width and scale the views have."""
    rng = np.random.default_rng(6)
    a, b = features(rng.normal(size=(20, 3)) * 100, view="a"), features(rng.normal(size=(20, 40)), view="b")
    joint = join({"a": a, "b": b})
    one, two = unit_rows(a.values), unit_rows(b.values)
    np.testing.assert_allclose(joint.values @ joint.values.T, (one @ one.T + two @ two.T) / 2, atol=1e-6)
    assert joint.view == JOINT
    assert joint.spec == {"kind": "joint", "views": ["a", "b"]}


def test_a_face_that_misses_a_view_is_compared_by_the_others():
    rng = np.random.default_rng(7)
    a = features(rng.normal(size=(6, 3)), [True, True, False, False, True, True], view="a")
    b = features(rng.normal(size=(6, 4)), [True, False, True, False, True, True], view="b")
    joint = join({"a": a, "b": b})
    assert joint.found.tolist() == [True, True, True, False, True, True]
    assert not joint.values[3].any()
    similarity = joint.values @ joint.values.T
    one, two = unit_rows(a.values), unit_rows(b.values)
    assert similarity[1, 2] == 0  # nothing in common to compare by
    assert similarity[0, 1] == pytest.approx(one[0] @ one[1] / np.sqrt(2), abs=1e-6)
    assert similarity[0, 2] == pytest.approx(two[0] @ two[2] / np.sqrt(2), abs=1e-6)


def test_views_that_repeat_another_are_named():
    rng = np.random.default_rng(8)
    values = rng.normal(size=(6, 3))
    fewer = np.array([False] + [True] * 5)
    found = np.ones(6, dtype=bool)
    tables = {"b": (values, found), "a": (values, found), "other": (values + 1e-6, found), "fewer": (values, fewer)}
    assert repeated(tables) == {"b"}
    assert repeated({**tables, "landmarks": (values, found)}) == {"a", "b"}
    assert repeated({"joint": (values, found), "z": (values, found)}) == {"joint"}
    assert repeated({"flat": (values.reshape(-1), found), "a": (values, found)}) == set()


def test_distinct_tells_a_missing_face_from_a_zero_vector():
    zero = features([[0.0, 0.0], [1.0, 0.0]], [True, True], view="zero")
    missing = features([[0.0, 0.0], [1.0, 0.0]], [False, True], view="missing")
    assert not repeated({view.view: (view.values, view.found) for view in (zero, missing)})


def test_whitening_and_joining_by_blocks_change_nothing_but_rounding(monkeypatch):
    """Against the formula on the whole table in float64; a row not found stays zero and out of the components."""
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(500, 12)) * np.linspace(3, 0.2, 12) + 5).astype(np.float32)
    found = rng.random(500) < 0.9
    view = Features("a", np.arange(500).astype(str), np.where(found[:, None], values, 0), found)
    unit = values[found].astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    centered = unit - unit.mean(0)
    variance, directions = np.linalg.eigh(centered.T @ centered / found.sum())
    expected = centered @ (directions * (variance / variance.max()) ** -0.25)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    whole = whitening.whiten(view)
    for block in (whitening.BLOCK, 64, 7):
        monkeypatch.setattr(whitening, "BLOCK", block)
        made = whitening.whiten(view)
        assert not made.values[~found].any()
        cosines = made.values[found] @ made.values[found].T
        np.testing.assert_allclose(cosines, expected @ expected.T, atol=2e-5)
        side = whitening.join({"a": made, "b": whole})
        np.testing.assert_allclose(side.values[found] @ side.values[found].T, cosines, atol=1e-4)


def test_whitening_needs_memory_for_a_block_not_for_copies_of_the_view(monkeypatch):
    monkeypatch.setattr(whitening, "BLOCK", 256)
    values = np.random.default_rng(0).normal(size=(20_000, 64)).astype(np.float32)
    view = Features("a", np.arange(20_000).astype(str), values, np.ones(20_000, dtype=bool))
    tracemalloc.start()
    made = whitening.whiten(view, components=8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made.values.shape == (20_000, 8)
    assert peak < view.values.nbytes / 3


def test_tables_that_begin_alike_are_told_apart_and_equal_ones_are_not():
    one = np.arange(600, dtype=np.float32).reshape(200, 3)
    other = one.copy()
    other[-1] = 0
    assert repeated({"a": (one,), "b": (other,)}) == set()
    assert repeated({"a": (one,), "b": (one.copy(),), "c": (other,)}) == {"b"}
    assert repeated({"a": (one,), "b": (one.astype(np.float64),), "c": (one[:100],)}) == set()


def test_a_mapped_file_that_became_shorter_is_an_error_in_place_of_a_crash(tmp_path):
    file = tmp_path / "a.npy"
    np.save(file, np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float32))
    ids = np.array([f"{row:04d}" for row in range(3000)])
    view = Features("v", ids, np.load(file, mmap_mode="r"), np.ones(3000, dtype=bool))
    eye = np.eye(2, dtype=np.float32)[np.arange(3000) % 2]
    samples = Samples(ids, ("a", "b"), eye, np.ones(3000, dtype=bool), np.full(3000, ""))
    assert whiten(view).values.shape == (3000, 8)
    with open(file, "r+b") as stream:
        stream.truncate(5000)
    wanted = r"View 'v': its file has 5,000 bytes of the 96,128 that it had when it was opened\. Something else writes"
    with pytest.raises(InputError, match=wanted):
        whiten(view)
    with pytest.raises(InputError, match=wanted):
        cross_fit(samples, {"v": view})
    with pytest.raises(InputError, match=wanted):
        repeated({"v": (view.values, view.found)})
