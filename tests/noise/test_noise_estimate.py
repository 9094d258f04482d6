"""The expected noise of given labels: against loops, by hand, on simulated labels, and as the command prints it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from cli_runs import run
from fercleaner.cli.inspect import _headings
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from fercleaner.core.errors import InputError
from fercleaner.core.refined import RefinedSet
from fercleaner.noise.estimate import MixedPair, decided_joint, estimate_noise, expected_joint, held_wrong
from fercleaner.noise.transition import transition_matrix
from fercleaner.results.parquet import write

NAMES = ("anger", "fear", "happiness")


def refined_set(given, distribution, classes=NAMES):
    given = np.asarray(given, dtype=np.float32)
    n = len(given)
    labeled = given.sum(1) > 0
    return RefinedSet(
        ids=[f"face {i}" for i in range(n)],
        paths=[""] * n,
        split=[""] * n,
        classes=classes,
        labeled=labeled,
        given=given,
        distribution=distribution,
        weight=np.ones(n),
        quality=np.ones(n),
        flagged=np.zeros(n, bool),
        changed=labeled & (np.asarray(distribution).argmax(1) != given.argmax(1)),
        reason=[""] * n,
        neighbors_for=((),) * n,
        neighbors_against=((),) * n,
    )


def by_loops(given, distribution):
    """Return J by the docstring's formula, a face, a class and a class at a time."""
    c = len(given[0])
    joint = [[0.0] * c for _ in range(c)]
    for y, r in zip(given, distribution, strict=True):
        m = [min(a, b) for a, b in zip(y, r, strict=True)]
        left = 1 - sum(m)
        for a in range(c):
            for b in range(c):
                joint[a][b] += (m[a] if a == b else 0) + ((r[a] - m[a]) * (y[b] - m[b]) / left if left > 1e-12 else 0)
    return joint


@pytest.mark.parametrize("seed", range(5))
def test_joint_equals_the_loops(seed):
    rng = np.random.default_rng(seed)
    y, r = rng.dirichlet(np.full(4, 0.3), 30), rng.dirichlet(np.full(4, 0.5), 30)
    y[:10] = np.eye(4)[rng.integers(0, 4, 10)]
    r[20:] = y[20:]
    assert expected_joint(y, r) == pytest.approx(np.array(by_loops(y.tolist(), r.tolist())), abs=1e-12)


@settings(deadline=None, max_examples=50)
@examples(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 20))
def test_joint_keeps_both_sums_and_moves_as_little_as_can_be(seed, c, n):
    rng = np.random.default_rng(seed)
    y, r = rng.dirichlet(np.full(c, 0.3), n), rng.dirichlet(np.full(c, 0.3), n)
    joint = expected_joint(y, r)
    assert (joint >= 0).all()
    assert joint.sum(0) == pytest.approx(y.sum(0))
    assert joint.sum(1) == pytest.approx(r.sum(0))
    assert n - np.trace(joint) == pytest.approx(0.5 * np.abs(y - r).sum())
    hard = np.eye(c)[rng.integers(0, c, n)]
    assert expected_joint(hard, r) == pytest.approx(r.T @ hard)


def decided_by_loops(given, distribution):
    """Return the J of `decided_joint` by its docstring, a face at a time."""
    c = len(given[0])
    joint = [[0.0] * c for _ in range(c)]
    for y, r in zip(given, distribution, strict=True):
        label = max((a for a in range(c) if y[a] == max(y)), key=lambda a: r[a])
        joint[label if r[label] == max(r) else r.index(max(r))][label] += 1
    return joint


@pytest.mark.parametrize("seed", range(5))
def test_decided_joint_equals_the_loops(seed):
    rng = np.random.default_rng(seed)
    y, r = np.round(4 * rng.dirichlet(np.full(4, 0.5), (2, 40))) / 4  # many ties
    y[:, 0] += y.sum(1) == 0
    r[:, 3] += r.sum(1) == 0
    joint = decided_joint(y, r)
    assert joint.tolist() == decided_by_loops(y.tolist(), r.tolist())
    assert 40 - np.trace(joint) == held_wrong(y, r).sum()


def test_by_hand():
    given = [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 0]]
    rows = [[0.75, 0.25, 0], [0, 1, 0], [0, 0.4, 0.6], [0, 0.5, 0.5], [1, 0, 0]]
    noise = estimate_noise(refined_set(given, rows))
    # J: anger as anger; fear as anger, fear as fear (the tie); happiness as fear.
    assert noise.labels == 4
    assert noise.wrong == pytest.approx(2)
    assert noise.rate == pytest.approx(0.5)
    assert noise.doubt == pytest.approx((0.25 + 1 + 0.6 + 0) / 4)
    assert noise.range_text == "46.3 to 50.0 %"
    expected = [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0]]
    assert np.array(noise.transition) == pytest.approx(np.array(expected))
    assert noise.wrong_rates == pytest.approx((0.5, 0.5, None))
    assert [(p.true, p.given) for p in noise.mixed] == [("fear", "anger"), ("happiness", "fear")]
    assert noise.mixed[0].count == pytest.approx(1)
    assert noise.mixed[0].share == pytest.approx(0.5)
    assert estimate_noise(refined_set(given, rows), top=1).mixed == noise.mixed[:1]
    assert isinstance(noise.mixed[0], MixedPair)


def test_what_annotators_and_method_agree_to_find_ambiguous_is_no_noise():
    rows = np.random.default_rng(0).dirichlet(np.ones(3), 40).astype(np.float32)
    noise = estimate_noise(refined_set(rows, rows))
    assert noise.rate == pytest.approx(0, abs=1e-9)
    assert np.array(noise.transition) == pytest.approx(np.eye(3), abs=1e-9)


def test_without_labels_and_without_faces_of_a_class():
    noise = estimate_noise(refined_set(np.zeros((2, 3)), np.eye(3)[:2]))
    assert (noise.labels, noise.wrong, noise.rate, noise.doubt, noise.mixed) == (0, 0.0, None, None, ())
    assert noise.range_text == "-"
    assert noise.wrong_rates == (None, None, None)
    assert np.array_equal(noise.transition, np.eye(3))
    noise = estimate_noise(refined_set(np.eye(3)[[0, 0]], np.eye(3)[[0, 1]]))
    assert noise.wrong_rates == (0.5, None, None)
    assert noise.transition == ((1, 0, 0), (1, 0, 0), (0, 0, 1))


def test_a_negative_top_is_refused():
    with pytest.raises(InputError, match="top is -1; it must be 0 or more"):
        estimate_noise(refined_set(np.eye(3), np.eye(3)), top=-1)


def test_calibrated_distributions_give_the_doubt():
    """True classes drawn from the refined rows: the doubt is the truth but for the draw, 3 sigma below .01."""
    rng = np.random.default_rng(0)
    n = 30_000
    rows = rng.dirichlet(np.full(3, 0.4), n)
    label = rng.integers(0, 3, n)
    rows = 0.5 * rows + 0.5 * np.eye(3)[label]
    rows /= rows.sum(1, keepdims=True)
    true = (rng.random(n)[:, None] > rows.cumsum(1)).sum(1)
    assert estimate_noise(refined_set(np.eye(3)[label], rows)).doubt == pytest.approx((true != label).mean(), abs=0.01)


@pytest.mark.parametrize("matrix", [np.eye(3), [[0.8, 0.2, 0], [0, 0.9, 0.1], [0.05, 0.05, 0.9]]])
def test_ambiguous_faces_with_the_label_of_most_annotators_are_no_noise(matrix):
    """Labels are what most annotators say, moved by a matrix; the refined rows are what annotators say."""
    rng = np.random.default_rng(1)
    n = 30_000
    rows = rng.dirichlet(np.full(3, 0.4), n)
    true = rows.astype(np.float32).argmax(1)
    label = (rng.random(n)[:, None] > np.asarray(matrix)[true].cumsum(1)).sum(1)
    noise = estimate_noise(refined_set(np.eye(3)[label], rows))
    assert noise.rate == pytest.approx((true != label).mean(), abs=1e-9)
    assert np.array(noise.transition) == pytest.approx(transition_matrix(label, true, 3))
    assert noise.doubt > noise.rate + 0.1


def test_show_prints_rate_matrix_and_pairs(tmp_path):
    file = tmp_path / "a.parquet"
    write(refined_set([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]]), file)
    out = run("show", file).stdout
    assert "Expected noise 25.0 %" in out
    assert re.search(r"^class +ange +fear +happ$", out, re.MULTILINE)
    assert re.search(r"^fear +50 +50 +0$", out, re.MULTILINE)
    assert re.search(r"^anger +fear +1 +50\.0 %$", out, re.MULTILINE)
    assert re.search(r"^anger +2 +1 +0 +0\.0 % +1 +50\.0 % +1\.000$", out, re.MULTILINE)
    noise = json.loads(run("show", file, "--json").stdout)["noise"]
    assert noise["rate"] == 0.25
    assert noise["transition"] == [[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]]
    assert noise["wrong_rates"] == [0.5, 0, 0]
    assert noise["mixed"] == [{"true": "fear", "given": "anger", "count": 1, "share": 0.5}]
    bare = tmp_path / "b.parquet"
    write(refined_set(np.zeros((2, 3)), np.eye(3)[:2]), bare)
    assert "Expected noise" not in run("show", bare).stdout
    assert json.loads(run("show", bare, "--json").stdout)["noise"]["rate"] is None


def test_classes_that_begin_alike_are_numbered():
    assert _headings(["anger", "fear"]) == (["anger", "fear"], ["ange", "fear"])
    assert _headings(["sadly angry", "sadly fearful"]) == (["1 sadly angry", "2 sadly fearful"], ["1", "2"])
