"""From a set to its audit: refine it, or gather what a refined file does not hold, and look at it from all sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np

from ..core.arrays import Ints, Strings
from ..core.evidence import Evidence
from ..core.refined import RefinedSet, rows_of
from ..core.types import Samples
from ..methods.base import Method, parameters, require_labels
from ..pipeline.changes import emptied_classes
from ..pipeline.inputs import Callbacks, Resources, Sources
from ..pipeline.refine import gather, run
from ..results.assemble import assembled
from .material import Material


@dataclass(frozen=True)
class _Asked:
    """What an audit of a refined file looks at, in a method's words."""

    needs: ClassVar[frozenset[str]] = frozenset({"features", "landmarks"})
    optional: ClassVar[frozenset[str]] = frozenset({"action_units"})


def refine_and_gather(
    samples: Samples, method: Method, sources: Sources, resources: Resources, callbacks: Callbacks
) -> tuple[RefinedSet, Material]:
    """Refine a set as `pipeline.refine` does, and return beside the result all that it was refined by."""
    require_labels(samples, method.name)
    evidence = gather(samples, method, sources, resources, callbacks)
    refinement = replace(run(method, evidence, resources.seed), params=parameters(method))
    for sentence in refinement.notes:
        callbacks.note(sentence)
    for name in emptied_classes(evidence.samples, refinement):
        callbacks.note(f"No face is refined to {name}: the method holds all labels of that class to be wrong.")
    about = {"notes": list(refinement.notes)}
    refined = assembled(evidence.samples, evidence, refinement, index=resources.index, seed=resources.seed, about=about)
    return refined, _material(samples, evidence, {**evidence.posteriors, **refinement.posteriors})


def gather_for_audit(
    refined: RefinedSet,
    samples: Samples,
    sources: Sources,
    resources: Resources,
    callbacks: Callbacks,
    columns: Mapping[str, Strings],
) -> Material:
    """Return views, landmarks, experts and columns of a set that was refined before, in the order of the refined file.

    `columns` (N,) are in the order of `samples`. Groups are not looked for: neighbors are those of the refined file.
    """
    rows_of(refined, samples.ids)
    resources = replace(resources, find_groups=False)
    evidence = gather(samples, cast(Method, _Asked()), sources, resources, callbacks)
    return aligned(replace(_material(samples, evidence, evidence.posteriors), columns=columns), refined)


def _material(samples: Samples, evidence: Evidence, posteriors: Mapping[str, Any]) -> Material:
    return Material(
        samples=samples,
        features=evidence.features,
        landmarks=evidence.landmarks,
        posteriors=dict(posteriors),
        action_units=evidence.action_units,
    )


def aligned(material: Material, refined: RefinedSet) -> Material:
    """Return the material with its arrays in the order of the refined set; `samples` is matched by id when used."""
    if material.samples is None:
        return material
    rows = rows_of(refined, material.samples.ids)
    if len(rows) == len(material.samples) and (rows == np.arange(len(rows))).all():
        return material
    return replace(
        material,
        features={name: _rows(view, rows) for name, view in material.features.items()},
        landmarks=None if material.landmarks is None else _rows(material.landmarks, rows),
        posteriors={name: _rows(table, rows) for name, table in material.posteriors.items()},
        action_units=None if material.action_units is None else _rows(material.action_units, rows),
        columns={name: values[rows] for name, values in material.columns.items()},
    )


def _rows(table: Any, rows: Ints) -> Any:
    """Return a frozen table of arrays, each with a row a face, with these rows alone."""
    n = len(table.ids)
    arrays = {
        name: value[rows]
        for name, value in ((name, getattr(table, name)) for name in table.__dataclass_fields__)
        if isinstance(value, np.ndarray) and len(value) == n
    }
    return replace(table, **arrays)
