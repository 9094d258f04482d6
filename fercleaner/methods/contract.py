"""The laws that every method obeys, as checks that anybody can run on a method of their own.

>>> from fercleaner.methods.contract import check
>>> check(MyMethod())                                                              # doctest: +SKIP

`LAWS` holds them by name. Each runs the method on generated faces (`generated.make_evidence`) and raises
ContractError with the law and the counterexample. That save and load change nothing is a law of the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.arrays import Bools
from ..core.errors import FercleanerError, InputError
from ..core.evidence import Evidence
from ..core.types import Refinement
from ..noise.class_priors import NONE
from ..similarity.whitening import JOINT
from .base import NEEDS, Method, keep_given
from .generated import (
    arrays_of,
    make_evidence,
    renumbered,
    with_class_order,
    with_one_label_component,
    with_view_twice,
    without_evidence,
)

#: How far answers may differ where only the order of sums changed: float32 at rest, a few hundred terms.
TOLERANCE = 1e-4
#: Faces whose two best classes are this close may fall to either side when the order of sums changes.
NEAR_TIE = 1e-3


class ContractError(FercleanerError):
    """A method broke a law; the message names the law and the counterexample."""


def check(method: Method, *, seed: int = 0, laws: Iterable[str] | None = None) -> None:
    """Run the laws on `method`; return quietly or raise ContractError at the first that is broken.

    Parameters
    ----------
    method : Method
        With the hyper-parameters to be checked.
    seed : int
        Of the generated faces; the same seed gives the same faces.
    laws : iterable of str, optional
        Names out of `LAWS`; all of them by default.

    Raises
    ------
    ContractError
        Naming method, law, seed and counterexample.
    InputError
        If a law's name is not known.
    """
    chosen = list(LAWS) if laws is None else list(laws)
    unknown = [name for name in chosen if name not in LAWS]
    if unknown:
        raise InputError(f"No law is called '{unknown[0]}'; the laws: {', '.join(LAWS)}.")
    for law in chosen:
        try:
            LAWS[law](method, np.random.default_rng(seed))
        except ContractError as error:
            raise ContractError(f"Method '{method.name}' breaks the law '{law}' (seed {seed}): {error}") from error
        except Exception as error:
            raise ContractError(
                f"Method '{method.name}' breaks the law '{law}' (seed {seed}): "
                f"refine raised {type(error).__name__}: {error}"
            ) from error


def declared(evidence: Evidence, method: Method, *, optional: bool = True) -> Evidence:
    """Return `evidence` with only what `method` declares in `needs` (and in `optional`)."""
    kinds = method.needs | (method.optional if optional else frozenset())
    return Evidence(
        evidence.samples,
        evidence.features if "features" in kinds else {},
        {
            view: table
            for view, table in evidence.neighbors.items()
            if ("joint" if view == JOINT else "neighbors") in kinds
        },
        evidence.posteriors if "posteriors" in kinds else evidence.outside if "outside" in kinds else {},
        evidence.landmarks if "landmarks" in kinds else None,
        evidence.action_units if "action_units" in kinds else None,
        evidence.device,
    )


def _answer(method: Method, evidence: Evidence) -> Refinement:
    """Refine with a Generator that is always the same, and check what no law needs to be asked for."""
    result = method.refine(evidence, np.random.default_rng(12345))
    samples = evidence.samples
    if not isinstance(result, Refinement):
        raise ContractError(f"refine returned {type(result).__name__}, not a Refinement.")
    if not np.array_equal(result.ids, samples.ids):
        raise ContractError("the rows of the answer are not those of the samples.")
    if result.classes != samples.classes:
        raise ContractError(f"the answer's classes are {result.classes}, the samples' {samples.classes}.")
    if result.method != method.name:
        raise ContractError(f"the answer says it comes from '{result.method}'.")
    _all_rows(
        np.isfinite(result.distribution).all(1) & (np.abs(result.distribution.sum(1) - 1) < TOLERANCE),
        "the refined row is not a distribution",
        result.distribution,
    )
    for name in ("weight", "quality"):
        values = getattr(result, name)
        _all_rows((values >= 0) & (values <= 1), f"the {name} is outside [0, 1]", values)
    _all_rows(~result.flagged | samples.labeled, "an unlabeled face is flagged", samples.given)
    for name, values in result.evidence.items():
        if values.shape != (len(samples),):
            raise ContractError(f"evidence '{name}' has shape {values.shape}, expected ({len(samples)},).")
        _all_rows(~np.isinf(values), f"evidence '{name}' is infinite", values)
    return result


def _all_rows(holds: Bools, wrong: str, shown: Any) -> None:
    if not holds.all():
        row = int(np.flatnonzero(~holds)[0])
        raise ContractError(f"in row {row} {wrong}: {np.asarray(shown)[row].tolist()}.")


def _same(first: Refinement, second: Refinement, what: str) -> None:
    """Raise unless two answers agree to rounding; flags may differ only where two classes are level."""
    for name in ("distribution", "weight", "quality"):
        old, new = getattr(first, name), getattr(second, name)
        distance = np.abs(old.astype(np.float64) - new).reshape(len(old), -1).max(1)
        if (distance > TOLERANCE).any():
            row = int(distance.argmax())
            change = f"from {old[row].tolist()} to {new[row].tolist()}"
            raise ContractError(f"{what}: {name} of row {row} goes {change}.")
    best = np.sort(first.distribution, axis=1)
    clear = best[:, -1] - best[:, -2] > NEAR_TIE
    _all_rows((first.flagged == second.flagged) | ~clear, f"{what}: the flag changes from", first.flagged)


def _rows_are_distributions(method: Method, rng: np.random.Generator) -> None:
    for soft in (False, True):
        evidence = declared(make_evidence(rng, soft=soft).evidence, method)
        _answer(method, evidence)


def _declares_what_it_reads(method: Method, rng: np.random.Generator) -> None:
    unknown = (method.needs | method.optional) - NEEDS
    if unknown:
        raise ContractError(f"it declares {', '.join(sorted(unknown))}; known: {', '.join(sorted(NEEDS))}.")
    evidence = make_evidence(rng).evidence
    _answer(method, declared(evidence, method, optional=False))
    _same(
        _answer(method, declared(evidence, method)),
        _answer(method, evidence),
        "with evidence beside it that the method did not declare",
    )


def _inputs_are_left_alone(method: Method, rng: np.random.Generator) -> None:
    evidence = declared(make_evidence(rng).evidence, method)
    before = {name: array.copy() for name, array in arrays_of(evidence)}
    _answer(method, evidence)
    for name, array in arrays_of(evidence):
        if not np.array_equal(before[name], array):
            raise ContractError(f"refine wrote to {name}.")


def _same_bits(method: Method, rng: np.random.Generator) -> None:
    evidence = declared(make_evidence(rng).evidence, method)
    first, second = _answer(method, evidence), _answer(method, evidence)
    for name in ("distribution", "weight", "quality", "flagged"):
        old, new = getattr(first, name), getattr(second, name)
        if old.tobytes() != new.tobytes():
            row = int(np.flatnonzero((old != new).reshape(len(old), -1).any(1))[0])
            change = f"{old[row].tolist()}, then {new[row].tolist()}"
            raise ContractError(f"the same input and seed gave another {name} in row {row}: {change}.")
    if first.evidence.keys() != second.evidence.keys():
        raise ContractError("the same input and seed gave other evidence.")


def _faces_can_be_renumbered(method: Method, rng: np.random.Generator) -> None:
    evidence = declared(make_evidence(rng).evidence, method)
    order = rng.permutation(len(evidence.samples))
    here, there = _answer(method, evidence), _answer(method, renumbered(evidence, order))
    _same(_taken(here, order), there, "with the faces renumbered")


def _classes_can_be_permuted(method: Method, rng: np.random.Generator) -> None:
    evidence = declared(make_evidence(rng).evidence, method)
    cycle = rng.permutation(len(evidence.samples.classes))
    order = np.empty_like(cycle)
    order[cycle] = np.roll(cycle, 1)  # every column moves
    here = _answer(method, evidence)
    classes = tuple(here.classes[c] for c in order)
    permuted = replace(here, distribution=here.distribution[:, order], classes=classes, posteriors={})
    _same(permuted, _answer(method, with_class_order(evidence, order)), "with the class columns permuted")
    if "action_units" in method.needs | method.optional:
        return  # such a method knows expressions by name
    if hasattr(method, "base_rates"):  # by default it knows how frequent they are
        method = replace(method, base_rates=NONE)  # type: ignore[type-var]
        here = _answer(method, evidence)
        permuted = replace(here, distribution=here.distribution[:, order], classes=permuted.classes, posteriors={})
    renamed = with_class_order(evidence, order, rename=True)
    _same(permuted, _answer(method, renamed), "with the classes renamed")


def _no_evidence_keeps_the_label(method: Method, rng: np.random.Generator) -> None:
    for soft in (False, True):
        evidence = make_evidence(rng, soft=soft).evidence
        labeled = np.flatnonzero(evidence.samples.labeled)
        lonely = np.sort(rng.choice(labeled, 3, replace=False))
        evidence = declared(without_evidence(evidence, lonely), method)
        result, given = _answer(method, evidence), keep_given(evidence.samples)
        for row in lonely:
            if np.abs(result.distribution[row] - given[row]).max() > NEAR_TIE or result.flagged[row]:
                raise ContractError(
                    f"row {row} has no evidence and the given label {given[row].tolist()}; it became "
                    f"{result.distribution[row].tolist()}, flagged: {bool(result.flagged[row])}."
                )


def _agreement_is_left_alone(method: Method, rng: np.random.Generator) -> None:
    evidence, rows = with_one_label_component(make_evidence(rng).evidence, rng)
    evidence = declared(evidence, method)
    result, label = _answer(method, evidence), evidence.samples.label
    for row in rows:
        if result.label[row] != label[row] or result.flagged[row]:
            raise ContractError(
                f"row {row} and all that speaks of it say class {label[row]}; it became "
                f"{result.distribution[row].tolist()}, flagged: {bool(result.flagged[row])}."
            )


def _views_count_once(method: Method, rng: np.random.Generator) -> None:
    evidence = declared(make_evidence(rng).evidence, method)
    here = _answer(method, evidence)
    for view in sorted({*evidence.neighbors, *evidence.features} - {JOINT}):
        again = _answer(method, with_view_twice(evidence, view))
        _same(here, again, f"with view '{view}' given twice")


def _views_have_no_order(method: Method, rng: np.random.Generator) -> None:
    evidence = declared(make_evidence(rng).evidence, method)
    turned = replace(
        evidence,
        features=dict(reversed(list(evidence.features.items()))),
        neighbors=dict(reversed(list(evidence.neighbors.items()))),
        posteriors=dict(reversed(list(evidence.posteriors.items()))),
    )
    _same(_answer(method, evidence), _answer(method, turned), "with the views in another order")


def _small_sets_work(method: Method, rng: np.random.Generator) -> None:
    two = make_evidence(rng, 2, 2, k=1, unlabeled=0.0, missing=0.0).evidence
    rare = make_evidence(rng, 40, 7, used=3).evidence
    lone = make_evidence(rng, 30, 4, soft=True).evidence
    keep = np.zeros(30, dtype=bool)
    keep[int(np.flatnonzero(lone.samples.labeled)[0])] = True
    given = np.where(keep[:, None], lone.samples.given, 0)
    one = replace(lone, samples=lone.samples.replacing(given=given, labeled=keep))
    bare = make_evidence(rng, 12, 3, missing=1.0).evidence
    for what, evidence in (
        ("two faces, one neighbor, two classes", two),
        ("classes without a face", rare),
        ("all faces unlabeled but one", one),
        ("nothing found of any face", bare),
    ):
        try:
            _answer(method, declared(evidence, method))
        except InputError:
            if what != "nothing found of any face":
                raise
        except ContractError as error:
            raise ContractError(f"{what}: {error}") from error


def _taken(result: Refinement, order: Any) -> Refinement:
    rows: Callable[[Any], Any] = lambda array: array[order]  # noqa: E731
    return replace(
        result,
        ids=rows(result.ids),
        distribution=rows(result.distribution),
        weight=rows(result.weight),
        quality=rows(result.quality),
        flagged=rows(result.flagged),
        evidence={name: rows(values) for name, values in result.evidence.items()},
        posteriors={},
    )


#: What every method keeps, by name, in the order in which `check` asks.
LAWS: dict[str, Callable[[Method, np.random.Generator], None]] = {
    "rows are distributions, weights lie in [0, 1]": _rows_are_distributions,
    "a method reads what it declares": _declares_what_it_reads,
    "inputs are not written to": _inputs_are_left_alone,
    "the same input gives the same bits": _same_bits,
    "renumbering faces renumbers the answer": _faces_can_be_renumbered,
    "permuting classes permutes columns": _classes_can_be_permuted,
    "a face with no usable evidence keeps its given label": _no_evidence_keeps_the_label,
    "a component that carries one label is left alone": _agreement_is_left_alone,
    "the same view given twice counts once": _views_count_once,
    "the order of views does not matter": _views_have_no_order,
    "small and lopsided sets work": _small_sets_work,
}
