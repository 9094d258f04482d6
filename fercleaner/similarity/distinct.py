"""Views compared by content: the same table given under two names counts once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import check_mapped
from ..core.evidence import Evidence
from ..core.types import Features, Neighbors
from .whitening import JOINT, LANDMARK_VIEW

#: Rows by which tables are told apart before all of them are hashed.
BEGINNING = 64


def distinct_views(evidence: Evidence) -> dict[str, Neighbors]:
    """Return the neighbor tables of `evidence` by view, sorted by name, each content once.

    Of equal tables the one stays that `repeated` does not name. Tables in which no face has a neighbor are left out.

    Cost: one hash of every table.
    """
    tables = {name: table for name, table in evidence.neighbors.items() if (table.indices >= 0).any()}
    again = repeated({name: (table.indices, table.similarity) for name, table in tables.items()})
    return {name: tables[name] for name in sorted(tables) if name not in again}


def distinct_features(evidence: Evidence) -> dict[str, Features]:
    """Return the vectors of `evidence` by view, sorted by name, each content once; as `distinct_views`."""
    tables = {name: table for name, table in evidence.features.items() if table.found.any()}
    again = repeated({name: (table.values, table.found) for name, table in tables.items()})
    return {name: tables[name] for name in sorted(tables) if name not in again}


def repeated(tables: Mapping[str, tuple[NDArray[Any], ...]]) -> set[str]:
    """Return the names whose arrays are those of another, by content.

    Of equals the one called "landmarks" is the first, otherwise the first in alphabetical order, the joint view last.
    """
    seen: set[bytes] = set()
    again = set()
    for name, arrays in tables.items():
        check_mapped(arrays[0], f"View '{name}'")
    begins = {name: tuple(map(_beginning, tables[name])) for name in tables}
    often = Counter(begins.values())
    for name in sorted(tables, key=lambda name: (name != LANDMARK_VIEW, name == JOINT, name)):
        if often[begins[name]] == 1:
            continue
        seal = hashlib.sha256()
        for array in tables[name]:
            seal.update(repr((array.shape, array.dtype.str)).encode())
            seal.update(np.ascontiguousarray(array).data)
        if seal.digest() in seen:
            again.add(name)
        seen.add(seal.digest())
    return again


def _beginning(array: NDArray[Any]) -> tuple[Any, ...]:
    """Return shape, type and first values of an array: arrays that differ in these need not be read."""
    return array.shape, array.dtype.str, array[:BEGINNING].tobytes()
