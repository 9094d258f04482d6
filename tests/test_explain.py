"""Witnesses and reasons against loops, and the sentences themselves."""

from __future__ import annotations

import numpy as np
import pytest

from fercleaner.explain import COUNTED, NAMED, nearest_overall, reasons, witnesses
from fercleaner.types import Neighbors, Refinement, Samples
from fercleaner.views import JOINT

NAMES = ("anger", "happiness", "neutral", "sadness")


def make(seed, n=30, k=14, c=4):
    """Samples with some unlabeled, a refinement that changes and flags some, and a table with padding."""
    rng = np.random.default_rng(seed)
    labeled = rng.random(n) > 0.25
    given = np.where(labeled[:, None], np.eye(c)[rng.integers(0, c, n)], 0)
    ids = np.array([f"face {i:02d}" for i in range(n)])
    samples = Samples(ids, NAMES[:c], given, labeled, np.full(n, ""))
    distribution = np.where((rng.random(n) < 0.5)[:, None] & labeled[:, None], given, rng.dirichlet(np.ones(c), n))
    flagged = labeled & (rng.random(n) < 0.3)
    refinement = Refinement(ids, NAMES[:c], distribution, np.ones(n), np.ones(n), flagged, "any")
    table = np.full((n, k), -1)
    for i in range(n):
        others = rng.permutation([j for j in range(n) if j != i])[: rng.integers(0, k + 1)]
        table[i, : len(others)] = others
    return samples, refinement, table


def neighbors(view, table):
    n = len(table)
    return Neighbors(view, np.array([f"{i}" for i in range(n)]), table, np.where(np.asarray(table) >= 0, 0.5, 0))


@pytest.mark.parametrize("seed", range(6))
def test_witnesses_equal_the_loops(seed):
    samples, refinement, table = make(seed)
    expected_for, expected_against = [], []
    for i in range(len(samples)):
        own = int(samples.given[i].argmax()) if samples.labeled[i] else int(refinement.distribution[i].argmax())
        sides = {True: [], False: []}
        for j in table[i]:
            if j >= 0 and samples.labeled[j]:
                sides[int(samples.given[j].argmax()) == own].append(str(samples.ids[j]))
        expected_for.append(tuple(sides[True][:5]))
        expected_against.append(tuple(sides[False][:5]))
    spoke_for, spoke_against = witnesses(samples, refinement, table)
    assert spoke_for == tuple(expected_for)
    assert spoke_against == tuple(expected_against)
    assert max(map(len, spoke_against)) == NAMED == 5


@pytest.mark.parametrize("seed", range(6))
def test_reasons_equal_the_loops(seed):
    samples, refinement, table = make(seed)
    blind = np.random.default_rng(seed).random(len(samples)) < 0.15
    texts = reasons(samples, refinement, table, blind)
    for i in range(len(samples)):
        given = int(samples.given[i].argmax()) if samples.labeled[i] else -1
        refined = int(refinement.distribution[i].argmax())
        if not (blind[i] or refined != given or refinement.flagged[i]):
            assert texts[i] == ""
            continue
        parts = [f"labeled {NAMES[given]}" if given >= 0 else "no label"]
        if blind[i]:
            parts.append("no view of this face" + (": the label is kept" if given >= 0 else ""))
        else:
            if refined != given:
                parts.append(f"refined to {NAMES[refined]} ({refinement.distribution[i, refined]:.2f})")
            else:
                parts.append("in doubt, no other label is likelier")
            said = [int(samples.given[j].argmax()) for j in table[i] if j >= 0 and samples.labeled[j]][:10]
            if said:
                top = max(range(4), key=lambda c: (said.count(c), -c))
                parts.append(f"{said.count(top)} of {len(said)} nearest are {NAMES[top]}")
        assert texts[i] == "; ".join(parts)
    assert COUNTED == 10
    assert any(texts)
    assert "" in texts


def small(given, refined, flagged=None, notes=None):
    given = np.asarray(given, dtype=np.float32)
    n = len(given)
    ids = np.array([f"f{i}" for i in range(n)])
    samples = Samples(ids, NAMES, given, given.sum(1) > 0, np.full(n, ""), notes=notes)
    flags = np.zeros(n, dtype=bool) if flagged is None else np.asarray(flagged)
    return samples, Refinement(ids, NAMES, refined, np.ones(n), np.ones(n), flags, "any")


def test_the_sentences():
    sad, happy, doubt = [0, 0, 0, 1], [0, 1, 0, 0], [0.1, 0.4, 0.1, 0.4]
    given = [sad, happy, happy, happy, [0, 0, 0, 0], sad, sad]
    refined = [[0, 0.83, 0, 0.17], happy, happy, happy, happy, sad, [0, 0.1, 0.42, 0.48]]
    notes = np.array(["", "", "", "", "cannot be read", "", ""])
    samples, refinement = small(given, refined, [True, False, False, False, False, False, True], notes)
    table = np.array([[1, 2, 3, 5], [2, 3, 0, -1], [-1] * 4, [-1] * 4, [1, 2, -1, -1], [-1] * 4, [-1] * 4])
    blind = np.array([False, False, False, False, False, True, False])
    assert reasons(samples, refinement, table, blind) == [
        "labeled sadness; refined to happiness (0.83); 3 of 4 nearest are happiness",
        "",
        "",
        "",
        "cannot be read; refined to happiness (1.00); 2 of 2 nearest are happiness",
        "labeled sadness; no view of this face: the label is kept",
        "labeled sadness; in doubt, no other label is likelier",
    ]
    samples, refinement = small([sad, [0, 0, 0, 0]], [doubt, doubt])
    assert reasons(samples, refinement, None, np.array([False, True])) == [
        "labeled sadness; refined to happiness (0.40)",
        "no label; no view of this face",
    ]


def test_padding_never_speaks_although_it_points_at_the_last_face():
    samples, refinement = small([[1, 0, 0, 0], [0, 1, 0, 0]], [[0, 1, 0, 0], [0, 1, 0, 0]], [True, False])
    table = np.full((2, 3), -1)
    assert witnesses(samples, refinement, table) == (((), ()), ((), ()))
    assert (
        reasons(samples, refinement, table, np.zeros(2, dtype=bool))[0] == "labeled anger; refined to happiness (1.00)"
    )


def test_the_joint_view_names_the_neighbors_where_there_is_one():
    joint, other = np.array([[1], [0], [1]]), np.array([[2], [2], [0]])
    assert np.array_equal(nearest_overall({"a": neighbors("a", other), JOINT: neighbors(JOINT, joint)}), joint)
    assert np.array_equal(nearest_overall({"a": neighbors("a", other)}), other)


@pytest.mark.parametrize("seed", range(4))
def test_without_a_joint_view_the_views_take_turns_and_name_a_face_once(seed):
    rng = np.random.default_rng(seed)
    tables = {}
    for view, k in (("b", 4), ("a", 6), ("c", 2)):
        table = np.full((12, k), -1)
        for i in range(12):
            others = rng.permutation([j for j in range(12) if j != i])[: rng.integers(0, k + 1)]
            table[i, : len(others)] = others
        tables[view] = neighbors(view, table)
    merged = nearest_overall(tables)
    for i in range(12):
        expected = []
        for rank in range(6):
            for view in ("a", "b", "c"):
                row = tables[view].indices[i]
                if rank < len(row) and row[rank] >= 0 and row[rank] not in expected:
                    expected.append(int(row[rank]))
        assert [j for j in merged[i].tolist() if j >= 0] == expected
