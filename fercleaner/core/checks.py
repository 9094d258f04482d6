"""What must hold of the faces of a dataset and of the names of its classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from .arrays import check_distributions, check_range
from .errors import InputError

if TYPE_CHECKING:
    from .types import Samples


def kind_of(value: object) -> str:
    """Return what a value is, in words, for a message."""
    return f"text ('{value}')" if isinstance(value, str) else f"a {type(value).__name__}"


def expect_kind(value: object, wanted: type, what: str, way: str = "") -> None:
    """Raise InputError unless `value` is a `wanted`; `what` names it, `way` says how one is made."""
    if not isinstance(value, wanted):
        raise InputError(f"{what} is {kind_of(value)}; expected {wanted.__name__}{way and f' ({way})'}.")


def names_in_order(names: Iterable[object], what: str = "Class names") -> tuple[str, ...]:
    """Return names in order as text; InputError where one text stands in place of several, one is twice or none."""
    if isinstance(names, str | bytes | set | frozenset):
        raise InputError(f"{what} are a {type(names).__name__}; expected a tuple of names, in order.")
    texts = tuple(str(name) for name in names)
    if len(set(texts)) != len(texts):
        raise InputError(f"{what} are not unique: {', '.join(texts)}.")
    return texts


def check_samples(samples: Samples) -> None:
    """Raise InputError unless the fields of `samples` fit each other and their docstring."""
    n, c = len(samples.ids), len(samples.classes)
    for name in ("given", "labeled", "paths"):
        if getattr(samples, name) is None:
            raise InputError(f"Samples.{name} is None; expected an array of {n} rows.")
    if c < 2:
        raise InputError(f"The set has {c} class ({', '.join(samples.classes) or 'none'}); at least 2 are needed.")
    if n == 0:
        raise InputError("The set holds no faces.")
    values, counts = np.unique(samples.ids, return_counts=True)
    if values[0] == "":
        raise InputError(f"Row {int((samples.ids == '').argmax()) + 1} has no id; every face needs one of its own.")
    if (counts > 1).any():
        twice = str(values[counts > 1][0])
        rows = np.flatnonzero(samples.ids == twice)[:2] + 1
        raise InputError(f"Id '{twice}' stands in rows {rows[0]} and {rows[1]}; ids must be unique. Remove one.")
    if samples.images is not None and len(samples.images) != n:
        raise InputError(f"{len(samples.images)} pictures for {n} faces.")
    if samples.images is not None and not hasattr(samples.images, "read"):
        raise InputError(
            f"Samples.images is {kind_of(samples.images)}; expected an object with read(row), name(row) and a "
            "length, as fercleaner.read makes one."
        )
    check_distributions(samples.given, samples.labeled, "given labels")
    bare = (~samples.labeled) & (samples.given != 0).any(1)
    if bare.any():
        row = int(bare.argmax())
        raise InputError(
            f"given labels: row {row} is not labeled, but holds {samples.given[row].tolist()}; expected 0."
        )
    check_range("Samples", None, votes=samples.votes)
