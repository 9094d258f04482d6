"""The laws of a method: kept by every built-in one, and broken by methods made to break them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fercleaner.core.errors import InputError
from fercleaner.core.evidence import Evidence
from fercleaner.core.types import Refinement
from fercleaner.methods import METHODS
from fercleaner.methods.base import keep_given
from fercleaner.methods.contract import LAWS, ContractError, check, declared
from fercleaner.methods.generated import (
    arrays_of,
    make_evidence,
    renumbered,
    with_class_order,
    with_one_label_component,
    with_view_twice,
    without_evidence,
)

FEW = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", METHODS)
def test_built_in_methods_keep_the_law(name: str, law: str):
    check(METHODS[name](), laws=[law])


@pytest.mark.parametrize("name", METHODS)
@FEW
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 40),
    classes=st.integers(2, 8),
    k=st.integers(1, 8),
    flips=st.sampled_from([0.0, 0.3, 1.0]),
    unlabeled=st.sampled_from([0.0, 0.5, 1.0]),
    missing=st.sampled_from([0.0, 0.3, 0.9]),
    soft=st.booleans(),
)
@example(seed=57648226, n=28, classes=2, k=1, flips=0.0, unlabeled=0.5, missing=0.3, soft=False)  # loose fit_stack
@example(seed=2662, n=10, classes=4, k=1, flips=0.0, unlabeled=1.0, missing=0.9, soft=False)  # ratios of rounding alone
def test_any_evidence_gives_an_answer_that_moves_with_its_rows_and_columns(name: str, seed: int, **shape: Any):
    rng = np.random.default_rng(seed)
    method = METHODS[name]()
    evidence = declared(make_evidence(rng, **shape).evidence, method)
    try:
        result = method.refine(evidence, np.random.default_rng(0))
    except InputError as error:
        if "needs" in str(error):  # nothing at all was found of any face
            return
        raise
    assert not result.flagged[~evidence.samples.labeled].any()
    order = rng.permutation(len(evidence.samples))
    columns = rng.permutation(len(evidence.samples.classes))
    moved = method.refine(with_class_order(renumbered(evidence, order), columns), np.random.default_rng(0))
    np.testing.assert_allclose(moved.distribution, result.distribution[order][:, columns], atol=1e-4)
    np.testing.assert_allclose(moved.quality, result.quality[order], atol=1e-4)
    np.testing.assert_allclose(moved.weight, result.weight[order], atol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_annotators_who_tie_do_not_decide_by_class_order(name: str):
    rng = np.random.default_rng(5)
    method = METHODS[name]()
    evidence = declared(make_evidence(rng, 60, 4).evidence, method)
    label, classes = evidence.samples.label, np.eye(4)
    tied = (classes[label] + classes[(label + rng.integers(1, 4, 60)) % 4]) / 2
    half = evidence.samples.labeled & (np.arange(60) % 2 == 0)
    given = np.where(half[:, None], tied, evidence.samples.given)
    evidence = replace(evidence, samples=evidence.samples.replacing(given=given))
    back = np.arange(4)[::-1]
    here = method.refine(evidence, np.random.default_rng(0))
    there = method.refine(with_class_order(evidence, back), np.random.default_rng(0))
    np.testing.assert_allclose(there.distribution, here.distribution[:, back], atol=1e-4)
    np.testing.assert_allclose(there.quality, here.quality, atol=1e-4)
    np.testing.assert_allclose(there.weight, here.weight, atol=1e-4)
    np.testing.assert_array_equal(there.flagged, here.flagged)


def _copy(evidence: Evidence, **changes: Any) -> Refinement:
    """Return the given labels as an answer, some fields changed."""
    samples = evidence.samples
    n = len(samples)
    base: dict[str, Any] = {
        "distribution": keep_given(samples),
        "weight": np.ones(n),
        "quality": np.ones(n),
        "flagged": np.zeros(n, dtype=bool),
        **changes,
    }
    return Refinement(samples.ids, samples.classes, method="toy", **base)


@dataclass(frozen=True)
class Toy:
    """Keeps every label; each kind of toy breaks one law."""

    name: ClassVar[str] = "toy"
    paper: ClassVar[str] = "none"
    needs: ClassVar[frozenset[str]] = frozenset({"neighbors"})
    optional: ClassVar[frozenset[str]] = frozenset()

    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        return _copy(evidence)


class HeavyWeights(Toy):
    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        return _copy(evidence, weight=np.full(len(evidence.samples), 1.5))


class FlagsUnlabelled(Toy):
    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        return _copy(evidence, flagged=~evidence.samples.labeled)


class ReadsMore(Toy):
    needs = frozenset({"posteriors"})

    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        return _copy(evidence, quality=np.full(len(evidence.samples), 1.0 / (1 + len(evidence.neighbors))))


class NeedsMore(Toy):
    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        evidence.posteriors["probe"]
        return _copy(evidence)


class UnknownNeed(Toy):
    optional = frozenset({"gaze"})


class Writes(Toy):
    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        values = next(iter(evidence.neighbors.values())).similarity
        answer = _copy(evidence)
        values.flags.writeable = True
        values *= 0.5
        values.flags.writeable = False
        return answer


class Wavers(Toy):
    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        return _copy(evidence, quality=np.random.default_rng().random(len(evidence.samples)))


class FirstRowWins(Toy):
    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        quality = np.ones(len(evidence.samples))
        quality[0] = 0.5
        return _copy(evidence, quality=quality)


class FirstClassWins(Toy):
    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        rows = keep_given(evidence.samples)
        shifted = np.where(evidence.samples.labeled[:, None], rows, np.eye(rows.shape[1])[0])
        return _copy(evidence, distribution=shifted)


class KnowsNames(Toy):
    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        rows = keep_given(evidence.samples)
        first = np.eye(rows.shape[1])[evidence.samples.classes.index(min(evidence.samples.classes))]
        return _copy(evidence, distribution=np.where(evidence.samples.labeled[:, None], rows, first))


class Doubts(Toy):
    """Mixes the class shares into every label."""

    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        rows = keep_given(evidence.samples)
        share = rows[evidence.samples.labeled].mean(0)
        return _copy(evidence, distribution=0.8 * rows + 0.2 * share)


class FlagsAgreement(Toy):
    """Flags who has many neighbors of its own label."""

    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        label, agree = evidence.samples.label, np.zeros(len(evidence.samples))
        for table in evidence.neighbors.values():
            agree += ((table.indices >= 0) & (label[table.indices] == label[:, None])).sum(1)
        return _copy(evidence, flagged=(agree > 5) & evidence.samples.labeled)


class CountsViews(Toy):
    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        return _copy(evidence, quality=np.full(len(evidence.samples), 1.0 / (1 + len(evidence.neighbors))))


class FirstViewWins(Toy):
    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        table = next(iter(evidence.neighbors.values()), None)
        quality = np.ones(len(evidence.samples))
        if table is not None:
            quality = np.clip(0.5 + 0.5 * table.similarity[:, 0], 0, 1)
        return _copy(evidence, quality=quality)


class NeedsManyNeighbors(Toy):
    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        next(iter(evidence.neighbors.values())).indices[:, 2]
        return _copy(evidence)


class WrongName(Toy):
    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        return replace(_copy(evidence), method="another")


class NoAnswer(Toy):
    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        return keep_given(evidence.samples)  # type: ignore[return-value]


def test_a_method_that_keeps_all_laws_passes():
    for seed in range(3):
        check(Toy(), seed=seed)


@pytest.mark.parametrize(
    ("toy", "law", "message"),
    [
        (HeavyWeights(), "rows are distributions", r"weight must lie in \[0, 1\]"),
        (FlagsUnlabelled(), "rows are distributions", r"in row \d+ an unlabeled face is flagged"),
        (WrongName(), "rows are distributions", "comes from 'another'"),
        (NoAnswer(), "rows are distributions", "returned ndarray, not a Refinement"),
        (ReadsMore(), "reads what it declares", "did not declare: quality of row"),
        (NeedsMore(), "reads what it declares", "refine raised KeyError: 'probe'"),
        (UnknownNeed(), "reads what it declares", "declares gaze; known: action_units"),
        (Writes(), "not written to", r"refine wrote to evidence.neighbors\['emotion'\].similarity"),
        (Wavers(), "same bits", r"gave another quality in row \d+"),
        (FirstRowWins(), "renumbering faces", "faces renumbered: quality of row"),
        (FirstClassWins(), "permuting classes", "columns permuted: distribution of row"),
        (KnowsNames(), "permuting classes", "classes renamed: distribution of row"),
        (Doubts(), "no usable evidence", r"row \d+ has no evidence"),
        (FlagsAgreement(), "carries one label", r"all that speaks of it say class \d"),
        (CountsViews(), "counts once", "with view 'emotion' given twice: quality"),
        (FirstViewWins(), "order of views", "in another order: quality of row"),
        (NeedsManyNeighbors(), "small and lopsided", "refine raised IndexError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Toy) else None,
)
def test_each_broken_law_is_caught(toy: Toy, law: str, message: str):
    (full,) = [name for name in LAWS if law in name]
    with pytest.raises(ContractError, match=message) as caught:
        check(toy, laws=[full])
    assert str(caught.value).startswith(f"Method 'toy' breaks the law '{full}' (seed 0): ")
    with pytest.raises(ContractError):
        check(toy)


def test_every_law_has_a_method_that_breaks_it():
    mark = next(m for m in test_each_broken_law_is_caught.pytestmark if m.name == "parametrize")
    broken = {next(name for name in LAWS if case[1] in name) for case in mark.args[1]}
    assert broken == set(LAWS)


def test_the_whole_registry_is_held_to_the_laws():
    assert set(METHODS) == {"hypergraph", "landmark", "au-prior", "threshold", "ambiguous", "consensus"}


def test_unknown_laws_are_named():
    with pytest.raises(InputError, match="No law is called 'gravity'"):
        check(Toy(), laws=["gravity"])


def _cases() -> Iterator[Evidence]:
    for seed in range(3):
        yield make_evidence(np.random.default_rng(seed), 30, 5, soft=bool(seed % 2)).evidence


def test_generated_evidence_is_what_it_says():
    evidence, truth = make_evidence(np.random.default_rng(0), 500, 5, flips=0.3, unlabeled=0.2, missing=0.1)
    samples = evidence.samples
    assert set(evidence.neighbors) == {"emotion", "expression", "landmarks", "joint"}
    assert samples.labeled.mean() == pytest.approx(0.8, abs=0.05)
    assert (samples.label != truth)[samples.labeled].mean() == pytest.approx(0.3, abs=0.06)
    table = evidence.neighbors["joint"]
    near = truth[table.indices] == truth[:, None]
    assert near[table.indices >= 0].mean() > 0.8
    probe = evidence.posteriors["probe"]
    assert (probe.values.argmax(1) == truth)[probe.found].mean() > 0.85
    assert (~probe.found).mean() == pytest.approx(0.1, abs=0.05)
    live = make_evidence(np.random.default_rng(0), 50, 6, used=2).truth
    assert set(live.tolist()) == {0, 1}
    with pytest.raises(InputError, match="used is 9"):
        make_evidence(np.random.default_rng(0), 50, 6, used=9)


def test_renumbering_there_and_back_changes_nothing():
    for evidence in _cases():
        order = np.random.default_rng(1).permutation(30)
        back = np.argsort(order)
        columns = np.array([3, 0, 4, 1, 2])
        again = renumbered(renumbered(evidence, order), back)
        again = with_class_order(with_class_order(again, columns), np.argsort(columns))
        assert again.samples.classes == evidence.samples.classes
        for (name, one), (_, two) in zip(arrays_of(evidence), arrays_of(again), strict=True):
            np.testing.assert_array_equal(one, two, err_msg=name)
        moved = renumbered(evidence, order)
        for view, table in evidence.neighbors.items():
            near = np.where(table.indices >= 0, evidence.samples.ids[table.indices], "")[order]
            there = moved.neighbors[view].indices
            np.testing.assert_array_equal(np.where(there >= 0, moved.samples.ids[there], ""), near)


def test_changes_of_evidence_do_what_they_say():
    for evidence in _cases():
        rows = np.array([1, 4])
        bare = without_evidence(evidence, rows)
        for table in bare.neighbors.values():
            assert (table.indices[rows] == -1).all()
            assert not np.isin(table.indices, rows).any()
        assert not bare.posteriors["probe"].found[rows].any()
        assert not bare.action_units.found[rows].any()
        assert not bare.landmarks.found[rows].any()
        assert not bare.features["emotion"].found[rows].any()
        whole, members = with_one_label_component(evidence, np.random.default_rng(2))
        label = whole.samples.label
        for table in whole.neighbors.values():
            inside = np.isin(np.arange(30), members)
            linked = table.indices >= 0
            assert (inside[:, None] == inside[table.indices])[linked].all()
        assert (whole.posteriors["probe"].values[members].argmax(1) == label[members]).all()
        twice = with_view_twice(evidence, "emotion")
        assert set(twice.neighbors) == {*evidence.neighbors, "emotion, again"}
