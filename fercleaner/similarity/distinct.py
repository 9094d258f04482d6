"""Views compared by content: the same table given under two names counts once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.evidence import Evidence
from ..core.types import Features, Neighbors
from .whitening import JOINT

#: The view that describes the geometry of a face; all others are expression views.
LANDMARK_VIEW = "landmarks"

_Table = TypeVar("_Table")


def distinct_views(evidence: Evidence) -> dict[str, Neighbors]:
    """Return the neighbor tables of `evidence` by view, sorted by name, each content once.

    Of two equal tables the one called "landmarks" stays, otherwise the first name in alphabetical order, the
    joint view last.
    Tables in which no face has a neighbor are left out.

    Cost: one hash of every table.
    """
    tables = {name: table for name, table in evidence.neighbors.items() if (table.indices >= 0).any()}
    return _distinct(tables, {name: _digest(t.indices, t.similarity) for name, t in tables.items()})


def distinct_features(evidence: Evidence) -> dict[str, Features]:
    """Return the vectors of `evidence` by view, sorted by name, each content once; as `distinct_views`."""
    tables = {name: table for name, table in evidence.features.items() if table.found.any()}
    return _distinct(tables, {name: _digest(t.values, t.found) for name, t in tables.items()})


def _distinct(tables: Mapping[str, _Table], digest: Mapping[str, bytes]) -> dict[str, _Table]:
    owner: dict[bytes, str] = {}
    for name in sorted(tables, key=lambda name: (name != LANDMARK_VIEW, name == JOINT, name)):
        owner.setdefault(digest[name], name)
    return {name: tables[name] for name in sorted(owner.values())}


def _digest(*arrays: NDArray[Any]) -> bytes:
    seal = hashlib.sha256()
    for array in arrays:
        seal.update(repr((array.shape, array.dtype.str)).encode())
        seal.update(np.ascontiguousarray(array).data)
    return seal.digest()
