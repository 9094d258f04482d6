"""What a refinement run hands over: given and refined labels of every face, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from .arrays import Bools, Floats, Ints, Strings, check_distributions, frozen_array
from .errors import InputError

#: Metadata keys that the file itself writes.
RESERVED_KEYS = ("schema", "classes", "digest")


@dataclass(frozen=True, eq=False)
class RefinedSet:
    """Given and refined labels of a set of faces, and why: what one file holds.

    Parameters
    ----------
    ids, paths, split : (N,) str
        Unique names; pictures and split names, "" where there are none.
    classes : tuple of C str
    labeled : (N,) bool
    given : (N, C) float32
        Given label distributions; zero rows where not labeled.
    distribution : (N, C) float32
        Refined label distributions.
    weight, quality : (N,) float32 in [0, 1]
        Sample weight; support of the given label, low = suspicious.
    flagged, changed : (N,) bool
        Given label held to be wrong; refined class differs from the given one. Both False where not labeled.
    reason : (N,) str
        "" where there is nothing to say.
    neighbors_for, neighbors_against : tuple of N tuples of str
        Ids of the neighbors that spoke for and against the given label, most similar first.
    evidence : mapping of name -> (N,) float32
        NaN where the method had none.
    metadata : mapping
        About the run (method, params, views, versions, seed, input digest); JSON types, string keys. The keys
        of `RESERVED_KEYS` are the file's own.
    """

    ids: Strings
    paths: Strings
    split: Strings
    classes: tuple[str, ...]
    labeled: Bools
    given: Floats
    distribution: Floats
    weight: Floats
    quality: Floats
    flagged: Bools
    changed: Bools
    reason: Strings
    neighbors_for: tuple[tuple[str, ...], ...]
    neighbors_against: tuple[tuple[str, ...], ...]
    evidence: Mapping[str, Floats] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, c = len(self.ids), len(self.classes)
        object.__setattr__(self, "classes", tuple(str(name) for name in self.classes))
        columns: tuple[tuple[str, Any, tuple[int, ...]], ...] = (
            *((name, np.str_, (n,)) for name in ("ids", "paths", "split", "reason")),
            *((name, np.bool_, (n,)) for name in ("labeled", "flagged", "changed")),
            *((name, np.float32, (n,)) for name in ("weight", "quality")),
            *((name, np.float32, (n, c)) for name in ("given", "distribution")),
        )
        for name, dtype, shape in columns:
            object.__setattr__(self, name, _column(name, getattr(self, name), dtype, shape))
        evidence = {name: _column(name, values, np.float32, (n,)) for name, values in self.evidence.items()}
        object.__setattr__(self, "evidence", evidence)
        for name in ("neighbors_for", "neighbors_against"):
            rows = tuple(tuple(row) for row in getattr(self, name))
            if len(rows) != n:
                raise InputError(f"RefinedSet.{name} has {len(rows)} rows for {n} faces.")
            object.__setattr__(self, name, rows)
        object.__setattr__(self, "metadata", _json_types(self.metadata))
        _check(self)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def label(self) -> Ints:
        """Index of the refined label (first of equals), (N,) int64."""
        return np.asarray(self.distribution.argmax(1), dtype=np.int64)

    @property
    def given_label(self) -> Ints:
        """Index of the given label (first of equals), (N,) int64; -1 where not labeled."""
        return np.where(self.labeled, self.given.argmax(1), -1).astype(np.int64)

    @property
    def decided(self) -> Bools:
        """Faces that people decided (metadata "decisions"), (N,) bool."""
        return np.isin(self.ids, self.metadata.get("decisions", {}).get("ids", []))

    @property
    def certain(self) -> Bools:
        """Faces of which people decided what they show, (N,) bool; what they decided to be no face is none."""
        return self.decided & (self.weight > 0)

    def _repr_html_(self) -> str:
        """Return the set as a notebook shows it: `report.notebook.as_html`, imported when a notebook asks."""
        shown: str = import_module("fercleaner.report.notebook").as_html(self)
        return shown


def _check(refined: RefinedSet) -> None:
    n = len(refined)
    if not refined.classes or len(set(refined.classes)) != len(refined.classes):
        raise InputError(f"RefinedSet: class names must be unique: {', '.join(refined.classes) or 'none'}.")
    if len(set(refined.ids.tolist())) != n:
        names, counts = np.unique(refined.ids, return_counts=True)
        raise InputError(f"RefinedSet: id '{names[counts > 1][0]}' is there twice; ids must be unique.")
    check_distributions(refined.given, refined.labeled, "given labels")
    check_distributions(refined.distribution, np.ones(n, dtype=bool), "refined distributions")
    if refined.given[~refined.labeled].any():
        raise InputError("RefinedSet.given must be zero where a face is not labeled.")
    if ((refined.flagged | refined.changed) & ~refined.labeled).any():
        raise InputError("RefinedSet: a face without a label can be neither flagged nor changed.")
    for name in ("weight", "quality"):
        values: Floats = getattr(refined, name)
        if not ((values >= 0) & (values <= 1)).all():
            raise InputError(f"RefinedSet.{name} must lie in [0, 1].")
    for name, column in refined.evidence.items():
        if not name or np.isinf(column).any():
            raise InputError(f"RefinedSet.evidence '{name}' holds infinity or has no name.")


def rows_of(refined: RefinedSet, ids: Strings) -> Ints:
    """Return the row of each refined face among the ids (M,) of the set that was refined, (N,) int64.

    InputError names the first face that the set lacks.
    """
    at = {name: row for row, name in enumerate(ids.tolist())}
    rows = np.array([at.get(name, -1) for name in refined.ids.tolist()], dtype=np.int64)
    if (rows < 0).any():
        raise InputError(
            f"{int((rows < 0).sum()):,} of {len(rows):,} faces of the refined file are not in the set (first: "
            f"'{refined.ids[rows < 0][0]}'). Name the set that was refined, with the same --column and --split."
        )
    return rows


def _column(name: str, values: Any, dtype: Any, shape: tuple[int, ...]) -> Any:
    array = frozen_array(values, dtype, f"RefinedSet.{name}")
    if array.shape != shape:
        raise InputError(f"RefinedSet.{name} has shape {array.shape}, expected {shape}.")
    return array


def _json_types(metadata: Mapping[str, Any]) -> dict[str, Any]:
    taken = [key for key in RESERVED_KEYS if key in metadata]
    if taken:
        raise InputError(f"RefinedSet.metadata: the key '{taken[0]}' belongs to the file. Use another name.")
    try:
        copy: dict[str, Any] = json.loads(to_json(metadata))
    except (TypeError, ValueError) as error:
        raise InputError(f"RefinedSet.metadata must hold JSON types only: {error}.") from error
    return copy


def to_json(value: Mapping[str, Any]) -> str:
    """Return canonical JSON: sorted keys, no NaN; the same value gives the same text."""
    return json.dumps(dict(value), sort_keys=True, ensure_ascii=False, allow_nan=False)
