"""refine(): the one place that knows the order of the steps, from samples to a refined set."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .assembly import assembled
from .errors import InputError
from .methods.base import Evidence, Method, parameters, require_labels
from .neighbors import Index, nearest
from .refined import RefinedSet
from .types import (
    ActionUnits,
    Bools,
    Features,
    Landmarks,
    Neighbors,
    Posteriors,
    Progress,
    Samples,
)
from .views import JOINT, distinct, join, whiten

if TYPE_CHECKING:
    from .cache import FeatureCache
    from .encoders.base import Extractor
    from .encoders.builtin import BuiltinExtractor
    from .extraction import RunLog
    from .landmarks import Detector

log = logging.getLogger(__name__)

#: The view of facial geometry; its descriptor is whitened already.
LANDMARKS = "landmarks"
#: Neighbors a face for a method that does not say.
DEFAULT_K = 15


@dataclass(frozen=True)
class Watch:
    """Who is told what goes on: `progress(stage, done, total)` and `note(sentence)`."""

    progress: Callable[[str, int, int], None] = lambda stage, done, total: None
    note: Callable[[str], None] = log.info

    def stage(self, name: str) -> Progress:
        """Return a `Progress` that reports under `name`."""
        return lambda done, total: self.progress(name, done, total)


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
    index : {"exact", "ivf", "hnsw"}
        How neighbors are searched.
    seed : int
        Of every random choice.
    """

    cache: FeatureCache | None = None
    workers: int = 0
    device: str = "auto"
    index: Index = "exact"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Witnesses:
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
        Further witnesses, trained elsewhere, over the samples' classes.
    """

    encoders: Sequence[Extractor] = ()
    views: Sequence[Features] = ()
    landmarks: Detector | Landmarks = None
    action_units: ActionUnits | None = None
    posteriors: Sequence[Posteriors] = field(default_factory=tuple)


def refine(
    samples: Samples,
    method: Method,
    witnesses_: Witnesses,
    resources: Resources | None = None,
    watch: Watch | None = None,
) -> RefinedSet:
    """Run a method over a dataset, from pictures or vectors to refined labels.

    Computes what the method declares in `needs` and, where the means are there, `optional`; no more.

    Parameters
    ----------
    samples : Samples
        `group`, where set, keeps its members from voting for one another; drop it with
        ``samples.replacing(group=None)``.
    method : Method
    witnesses_ : Witnesses
    resources, watch : optional

    Returns
    -------
    RefinedSet, rows in the order of `samples`.

    Raises
    ------
    InputError
        No labelled face, one class alone, or something the method needs is missing.
    FeatureError
        No picture can be read, or weights are missing.
    """
    resources, watch = resources or Resources(), watch or Watch()
    require_labels(samples, method.name)
    evidence = gather(samples, method, witnesses_, resources, watch)
    stage = watch.stage(method.name)
    stage(0, 1)
    refinement = method.refine(evidence, np.random.default_rng(resources.seed))
    stage(1, 1)
    refinement = replace(refinement, params=parameters(method))
    return assembled(samples, evidence, refinement, index=resources.index, seed=resources.seed)


def gather(samples: Samples, method: Method, witnesses_: Witnesses, resources: Resources, watch: Watch) -> Evidence:
    """Compute the evidence that `method` asks for."""
    wanted = method.needs | method.optional
    _check_names(witnesses_)  # before the first picture is read
    witnesses_ = _unboxed(samples, witnesses_, resources, watch)
    landmarks = _landmarks(samples, witnesses_.landmarks, resources, watch)
    views = _views(samples, witnesses_, landmarks, resources, watch)
    neighbors = _neighbors(samples, method, views, resources, watch) if "neighbors" in wanted else {}
    posteriors = {p.name: p for p in witnesses_.posteriors}
    if "posteriors" in wanted and views:
        from .probe import cross_fit

        posteriors["probe"] = cross_fit(
            samples, views, seed=resources.seed, device=resources.device, progress=watch.stage("probe")
        )
    units = _action_units(witnesses_, landmarks, views) if "action_units" in wanted else None
    return Evidence(samples, views, neighbors, posteriors, landmarks, units)


def _unboxed(samples: Samples, witnesses_: Witnesses, resources: Resources, watch: Watch) -> Witnesses:
    """Return the witnesses with the network in the box replaced by what its one pass gives.

    An encoder that gives all `encoders.builtin.PARTS` becomes a view, posteriors, and, where no landmarks were
    asked for otherwise, landmarks with blendshapes.
    """
    box = _box(witnesses_)
    if box is None:
        return witnesses_
    from .encoders.builtin_views import split
    from .extraction import extract

    done = extract(samples, box, cache=resources.cache, workers=resources.workers, progress=watch.stage(box.name))
    _tell(done.log, watch)
    views = split(samples, done.values, done.found, done.notes, box.spec)
    if views.reason:
        watch.note(views.reason)
    if views.trained_on.any():
        watch.note(
            f"{box.name}: {int(views.trained_on.sum()):,} of {len(samples):,} pictures are faces that it was trained "
            "on; it is no witness about their labels."
        )
    return replace(
        witnesses_,
        encoders=tuple(e for e in witnesses_.encoders if e is not box),
        views=(*witnesses_.views, views.features),
        landmarks=views.landmarks if witnesses_.landmarks is None else witnesses_.landmarks,
        posteriors=(*witnesses_.posteriors, *([views.posteriors] if views.posteriors is not None else [])),
    )


def _box(witnesses_: Witnesses) -> BuiltinExtractor | None:
    """Return the encoder that gives all `encoders.builtin.PARTS`, if there is one."""
    from .encoders.builtin import PARTS, BuiltinExtractor

    return next((e for e in witnesses_.encoders if isinstance(e, BuiltinExtractor) and e.parts == PARTS), None)


def _landmarks(samples: Samples, source: Detector | Landmarks, resources: Resources, watch: Watch) -> Landmarks | None:
    """Return the landmarks that `source` stands for, with a note on faces without."""
    if source is None:
        return None
    if isinstance(source, Landmarks):
        found = source
    else:
        from .landmarks import detect

        found = detect(
            samples,
            source,
            cache=resources.cache,
            workers=resources.workers,
            progress=watch.stage("landmarks"),
            on_log=lambda done: _tell(done, watch),
        )
    _tell_missing("landmarks", found.found, found.notes, samples, watch)
    return found


def _views(
    samples: Samples, witnesses_: Witnesses, landmarks: Landmarks | None, resources: Resources, watch: Watch
) -> dict[str, Features]:
    """Return all views by name, those that repeat another dropped."""
    from .extraction import features

    views: dict[str, Features] = {}

    def add(view: Features) -> None:
        if not np.array_equal(view.ids, samples.ids):
            raise InputError(f"View '{view.view}' is not in the order of the samples.")
        _tell_missing(view.view, view.found, view.notes, samples, watch)
        views[view.view] = view

    for view in witnesses_.views:
        add(view)
    for name, encoder in zip(_encoder_names(witnesses_.encoders), witnesses_.encoders, strict=True):
        view = features(
            samples,
            encoder,
            cache=resources.cache,
            workers=resources.workers,
            progress=watch.stage(name),
            on_log=lambda done: _tell(done, watch),
        )
        add(replace(view, view=name))
    if landmarks is not None:
        from .landmarks.geometry import descriptor

        views[LANDMARKS] = descriptor(landmarks)
    kept = distinct(views)
    for name in views.keys() - kept.keys():
        watch.note(f"View '{name}' repeats another view and is counted once.")
    return kept


def _encoder_names(encoders: Sequence[Extractor]) -> list[str]:
    """Return the view name of each encoder: its own, numbered where two of a kind are run ("clip", "clip-2")."""
    seen: Counter[str] = Counter()
    names = []
    for encoder in encoders:
        seen[encoder.name] += 1
        names.append(encoder.name if seen[encoder.name] == 1 else f"{encoder.name}-{seen[encoder.name]}")
    return names


def _check_names(witnesses_: Witnesses) -> None:
    """Raise InputError where two views would have one name."""
    names = [view.view for view in witnesses_.views] + _encoder_names(witnesses_.encoders)
    if JOINT in names:
        raise InputError(f"A view cannot be called '{JOINT}': that is all views side by side. Give it another name.")
    pointed = witnesses_.landmarks is not None or _box(witnesses_) is not None
    taken = Counter(names + ([LANDMARKS] if pointed else []))
    for name, count in taken.items():
        if count > 1:
            raise InputError(f"Two views are called '{name}'. Give one of them another name: --view NAME=FILE.")


def _neighbors(
    samples: Samples, method: Method, views: dict[str, Features], resources: Resources, watch: Watch
) -> dict[str, Neighbors]:
    """Return the neighbor tables of all views, and of all side by side where the method asks for that."""
    k = int(getattr(method, "k", DEFAULT_K))
    if k >= len(samples):
        watch.note(f"k = {k}, but a face has only {len(samples) - 1} others; all of them are its neighbors.")
        k = max(1, len(samples) - 1)
    ready = {name: view if name == LANDMARKS else whiten(view) for name, view in views.items()}
    if "joint" in method.needs | method.optional and len(ready) > 1:
        ready[JOINT] = join(ready)
    return {
        name: nearest(
            view,
            k,
            apart=samples.group,
            center=False,
            index=resources.index,
            device=resources.device,
            progress=watch.stage(f"neighbors: {name}"),
        )
        for name, view in ready.items()
    }


def _action_units(witnesses_: Witnesses, landmarks: Landmarks | None, views: dict[str, Features]) -> ActionUnits | None:
    """Return action units from the best source at hand: the user's, blendshapes, then geometry."""
    if witnesses_.action_units is not None:
        return witnesses_.action_units
    from .landmarks import action_units

    if landmarks is not None and landmarks.blendshapes is not None:
        return action_units.from_blendshapes(landmarks)
    blendshapes = views.get("blendshapes")
    if blendshapes is not None and blendshapes.values.shape[1] == len(action_units.BLENDSHAPES):
        return action_units.from_view(blendshapes)
    return None if landmarks is None else action_units.from_landmarks(landmarks)


def _tell(done: RunLog, watch: Watch) -> None:
    """Say what an extraction did."""
    repeated = f", {done.repeated:,} with the picture of another row" if done.repeated else ""
    watch.note(
        f"{done.view}: {done.computed:,} of {done.faces:,} faces computed, {done.reused:,} from the cache{repeated}, "
        f"in {done.seconds:.1f} s."
    )
    if done.unreadable:
        why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(done.unreadable.items()))
        watch.note(
            f"{done.view}: {sum(done.unreadable.values()):,} pictures cannot be read ({why}); "
            f"first: {done.first_unreadable}"
        )


def _tell_missing(view: str, found: Bools, notes: Any, samples: Samples, watch: Watch) -> None:
    """Say how many faces a view misses, why, and what becomes of them."""
    missing = int((~found).sum())
    if missing:
        why = Counter(notes[~found].tolist()).most_common(3) if notes is not None else []
        reason = "; ".join(f"{count:,} {text or 'without a reason'}" for text, count in why)
        reason = f" ({reason})" if reason else ""
        watch.note(
            f"{view}: {missing:,} of {len(samples):,} faces have none{reason}; first: "
            f"{samples.ids[~found][0]}. They are judged by the other views, or keep their label."
        )
