"""What a run is given: callbacks, resources, and the sources of its evidence."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ..core.arrays import Progress
from ..core.errors import InputError
from ..core.types import ActionUnits, Features, Landmarks, Posteriors
from ..similarity.neighbors import Index, Searches

if TYPE_CHECKING:
    from ..extraction.cache import FeatureCache
    from ..extraction.extractor import Extractor
    from ..landmarks import Detector
    from ..methods.base import Method

log = logging.getLogger("fercleaner.pipeline.refine")


@dataclass(frozen=True)
class Callbacks:
    """Called while a run goes on: `progress(stage, done, total)` and `note(sentence)`."""

    progress: Callable[[str, int, int], None] = lambda stage, done, total: None
    note: Callable[[str], None] = log.info

    def stage(self, name: str) -> Progress:
        """Return a `Progress` that reports under `name`."""
        return lambda done, total: self.progress(name, done, total)


class Searching(Protocol):
    """What makes a searcher of a view as for comparison, made of vectors of a digest; others may take part in it."""

    missing: int  # faces whose neighbors others must find first: tables are not whole

    def __call__(self, features: Features, made_of: str = "") -> Searches:
        """Return the searcher."""


@dataclass(frozen=True)
class Resources:
    """What a run may use.

    Parameters
    ----------
    cache : FeatureCache, optional
        Where extracted vectors are kept; None keeps none.
    workers : int
        Processes that decode pictures; 0 decodes in this one.
    device : str
        "auto", "cuda" or "cpu".
    index : {"auto", "exact", "hnsw", "ivf"}
        How neighbors are searched; "auto" is exact up to `similarity.neighbors.EXACT_UP_TO` faces.
    seed : int
        Of every random choice.
    find_groups : bool
        Whether faces that pass for one subject in one moment are found and kept apart, beside the groups that the set
        comes with.
    searcher : Searching, optional
        Makes what searches a view, in place of `index`, which is "exact" then (`engine.neighbors.part_search`).
    memory : int, optional
        Bytes that a run may hold: one that needs more is refused before its neighbors are searched (`memory`).
    """

    cache: FeatureCache | None = None
    workers: int = 0
    device: str = "auto"
    index: Index = "auto"
    seed: int = 0
    find_groups: bool = True
    searcher: Searching | None = None
    memory: int | None = None

    def check_search(self, methods: Sequence[Method]) -> None:
        """Raise InputError where neighbors are to be searched in parts, and none of these methods looks at any."""
        if self.searcher is not None and not any("neighbors" in one.needs | one.optional for one in methods):
            raise InputError(f"{methods[0].name} looks at no neighbors: there is nothing to search in parts.")


@dataclass(frozen=True, eq=False)
class Sources:
    """Where the evidence comes from.

    Parameters
    ----------
    encoders : sequence of Extractor
        Run over the pictures; each is a view.
    views : sequence of Features
        Vectors that are there already.
    landmarks : Extractor, PointsFile, Landmarks or None
        Points, or what finds them; "landmarks" becomes a view.
    action_units : ActionUnits, optional
        Of the user's own detector; else they are measured from blendshapes or landmarks.
    posteriors : sequence of Posteriors
        Further sources over the samples' classes: trained elsewhere or, out of fold, on the labels at hand
        (`Posteriors.learned`). None is called "probe", which is fitted here.
    builtin_posteriors : bool
        Whether the builtin model, where it is among the encoders, gives its posteriors too, or its views alone.
    mirrored : bool
        Whether the probe is asked about mirrored pictures too, as posteriors "mirror", for methods that use posteriors:
        encoders then run twice; vectors, landmarks and action units stay as they are.
    identity : Features, optional
        Vectors that tell persons apart (a face-verification network's): no view, but pictures of one person are kept
        apart by them.
    """

    encoders: Sequence[Extractor] = ()
    views: Sequence[Features] = ()
    landmarks: Detector | Landmarks = None
    action_units: ActionUnits | None = None
    posteriors: Sequence[Posteriors] = field(default_factory=tuple)
    builtin_posteriors: bool = True
    mirrored: bool = False
    identity: Features | None = None


def encoder_names(encoders: Sequence[Extractor]) -> list[str]:
    """Return the view name of each encoder: its own, numbered where two of a kind are run ("clip", "clip-2")."""
    seen: Counter[str] = Counter()
    names = []
    for encoder in encoders:
        seen[encoder.name] += 1
        names.append(encoder.name if seen[encoder.name] == 1 else f"{encoder.name}-{seen[encoder.name]}")
    return names


def action_units_of(sources: Sources, landmarks: Landmarks | None, views: dict[str, Features]) -> ActionUnits | None:
    """Return action units from the best source at hand: the user's, blendshapes, then geometry."""
    if sources.action_units is not None:
        return sources.action_units
    from ..landmarks import action_units

    if landmarks is not None and landmarks.blendshapes is not None:
        return action_units.from_blendshapes(landmarks)
    blendshapes = views.get("blendshapes")
    if blendshapes is not None and blendshapes.values.shape[1] == len(action_units.BLENDSHAPES):
        return action_units.from_view(blendshapes)
    return None if landmarks is None else action_units.from_landmarks(landmarks)
