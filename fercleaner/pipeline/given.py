"""Check what a caller of `refine` gives before anything is computed: kinds of things, and the order of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from ..core.checks import expect_kind, kind_of
from ..core.errors import InputError
from ..core.refined import to_json
from ..core.types import ActionUnits, Features, Landmarks, Posteriors, Samples
from ..similarity.neighbors import Index
from .inputs import Resources, Sources

BUILD = "fercleaner.{}.build(...) makes one"


def check_given(samples: Samples, sources: Sources, resources: Resources) -> None:
    """Raise InputError where an argument is of another kind, or evidence is not of these faces in this order."""
    expect_kind(samples, Samples, "samples", "fercleaner.read(...) makes them")
    expect_kind(sources, Sources, "sources", "such as fercleaner.Sources(views=[...])")
    expect_kind(resources, Resources, "resources", "such as fercleaner.Resources(device='cpu')")
    _sequence(sources.encoders, None, "Sources.encoders")
    _sequence(sources.views, Features, "Sources.views")
    _sequence(sources.posteriors, Posteriors, "Sources.posteriors")
    if isinstance(sources.landmarks, str | np.ndarray):
        raise InputError(f"Sources.landmarks is {kind_of(sources.landmarks)}; {BUILD.format('landmarks')}.")
    units, identity = sources.action_units, sources.identity
    if units is not None:
        expect_kind(units, ActionUnits, "Sources.action_units")
        _in_order(units, samples, "The action units")
    if identity is not None:
        expect_kind(identity, Features, "Sources.identity")
        _in_order(identity, samples, f"View '{identity.view}'")
    if isinstance(sources.landmarks, Landmarks):
        _in_order(sources.landmarks, samples, "The landmarks")
    for view in sources.views:
        _in_order(view, samples, f"View '{view.view}'")
        if not view.values.shape[1]:
            raise InputError(f"View '{view.view}' has no columns.")
        _json(view)
    for table in sources.posteriors:
        _in_order(table, samples, f"Posteriors '{table.name}'")
    _resources(resources)


def check_method(method: Any) -> None:
    """Raise InputError where the method is a name, or anything else that does not refine."""
    if not hasattr(method, "refine"):
        raise InputError(f"method is {kind_of(method)}; {BUILD.format('methods')}.")


def _resources(resources: Resources) -> None:
    if resources.index not in get_args(Index):
        raise InputError(f"index '{resources.index}' is not known; choose {', '.join(get_args(Index))}.")
    for name in ("seed", "workers"):
        value = getattr(resources, name)
        if not isinstance(value, int | np.integer) or value < 0:
            raise InputError(f"{name} is {value!r}; expected a whole number from 0.")
    if resources.cache is not None and not hasattr(resources.cache, "open"):
        raise InputError(
            f"Resources.cache is {kind_of(resources.cache)}; expected a FeatureCache "
            "(fercleaner.extraction.cache.FeatureCache(FOLDER)), or None."
        )


def _sequence(values: Any, wanted: type | None, what: str) -> None:
    """Raise InputError unless `values` is a sequence of `wanted`, or of anything but text where that is None."""
    named = f"a list of {wanted.__name__}" if wanted else "a list of encoders (fercleaner.encoders.build(...))"
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InputError(f"{what} is {kind_of(values)}; expected {named}.")
    for value in values:
        if isinstance(value, str) or not isinstance(value, wanted or object):
            raise InputError(f"{what} holds {kind_of(value)}; expected {named}.")


def _json(view: Features) -> None:
    try:
        to_json(view.spec)
    except (TypeError, ValueError) as error:
        raise InputError(f"View '{view.view}': its spec must hold JSON types, to be written: {error}.") from error


def _in_order(given: Any, samples: Samples, what: str) -> None:
    if len(given.ids) != len(samples):
        raise InputError(f"{what}: {len(given.ids):,} rows for the {len(samples):,} faces of the set; rows must agree.")
    other = np.flatnonzero(given.ids != samples.ids)
    if len(other):
        row = int(other[0])
        raise InputError(
            f"{what}: row {row} is '{given.ids[row]}', in the set '{samples.ids[row]}'. Rows must be in the order of "
            "the set: align them by id first."
        )
