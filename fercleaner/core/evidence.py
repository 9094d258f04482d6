"""All that a method may look at, in the order of the samples."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from .errors import InputError
from .types import ActionUnits, Features, Landmarks, Neighbors, Posteriors, Samples

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that a method may look at, rows aligned with `samples`.

    Parameters
    ----------
    samples : Samples
        Given labels, groups, sites. `votes` of a truth file are never here.
    features : mapping of view -> Features
        Vectors of each view; the geometric view is called "landmarks".
    neighbors : mapping of view -> Neighbors
        k nearest faces of each view, members of one `group` already kept apart.
    posteriors : mapping of name -> Posteriors
        Sources that give class probabilities. Those that `learned` from the given labels ("probe") are out of
        fold; the others were trained elsewhere (`outside`).
    landmarks : Landmarks, optional
    action_units : ActionUnits, optional
    mirrored : mapping of view -> Features
        Vectors of the mirrored pictures, where posteriors "mirror" were asked for: to fit these again to other labels.
    kept : dict, optional
        What methods make of vectors alone, where they will run again on other labels of the same faces (`once`).
    device : str
        Where a method trains what it trains with torch: "auto", "cuda" or "cpu" (`devices.torch_device`).
    """

    samples: Samples
    features: Mapping[str, Features] = field(default_factory=dict)
    neighbors: Mapping[str, Neighbors] = field(default_factory=dict)
    posteriors: Mapping[str, Posteriors] = field(default_factory=dict)
    landmarks: Landmarks | None = None
    action_units: ActionUnits | None = None
    device: str = "auto"
    mirrored: Mapping[str, Features] = field(default_factory=dict)
    kept: dict[Hashable, Any] | None = None

    def __post_init__(self) -> None:
        tables: list[tuple[str, Any]] = [
            *((f"view '{k}'", v) for k, v in self.features.items()),
            *((f"mirrored view '{k}'", v) for k, v in self.mirrored.items()),
            *((f"neighbors of '{k}'", v) for k, v in self.neighbors.items()),
            *((f"posteriors '{k}'", v) for k, v in self.posteriors.items()),
            ("landmarks", self.landmarks),
            ("action units", self.action_units),
        ]
        for what, table in tables:
            if table is not None and not np.array_equal(table.ids, self.samples.ids):
                raise InputError(f"The {what} are not in the order of the samples; align them by id first.")
        for name, posterior in self.posteriors.items():
            if posterior.classes != self.samples.classes:
                raise InputError(f"Posteriors '{name}' have other classes than the samples.")

    def once(self, name: Hashable, make: Callable[[], _T]) -> _T:
        """Return what `make` makes of the vectors; what is `kept` under that name, where anything is."""
        if self.kept is None:
            return make()
        if name not in self.kept:
            self.kept[name] = make()
        made: _T = self.kept[name]
        return made

    @property
    def outside(self) -> dict[str, Posteriors]:
        """Posteriors of models that did not learn from the given labels, by name."""
        return {name: table for name, table in self.posteriors.items() if not table.learned}
