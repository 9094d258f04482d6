"""refine(): the one place that knows the order of the steps, from samples to a refined set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..classifiers.probe import MIRROR, PROBE
from ..core.errors import InputError
from ..core.evidence import Evidence
from ..core.refined import RefinedSet
from ..core.types import Features, Landmarks, Neighbors, Posteriors, Refinement, Samples
from ..datasets.groups import check_groups
from ..methods.base import Method, parameters, require_labels
from ..noise.class_priors import NONE, base_rates
from ..noise.precision import Flipped, calibrated, check_precision, flip_runs, flipped
from ..results.assemble import assembled
from ..similarity.distinct import repeated
from ..similarity.whitening import JOINT, whitened
from .changes import emptied_classes, kept_unflagged
from .decided import KnownLabels, answers
from .given import check_given, check_method
from .held_out import hide, judge_hidden
from .inputs import Callbacks, Resources, Sources, action_units_of, encoder_names
from .memory import check_memory, check_promise
from .mirror import mirror_encoders, mirrored_views
from .neighborhoods import keep_apart, nearest_of, search
from .notes import note_missing, note_run, note_unused, note_view

if TYPE_CHECKING:
    from ..encoders.builtin import BuiltinExtractor
    from ..landmarks import Detector
    from ..review.decisions import Decisions

#: The view of facial geometry; its descriptor is whitened already.
LANDMARKS = "landmarks"
#: Neighbors a face for a method that does not say.
DEFAULT_K = 15


def refine(
    samples: Samples,
    method: Method,
    sources: Sources,
    resources: Resources | None = None,
    callbacks: Callbacks | None = None,
    *,
    precision: float | None = None,
    learn_from: str | Sequence[str] | None = None,
    decisions: Decisions | None = None,
) -> RefinedSet:
    """Run a method over a dataset, from pictures or vectors to refined labels.

    Computes what the method declares in `needs` and, where the means are there, `optional`; no more.

    Parameters
    ----------
    samples : Samples
        `group`, where set, keeps its members from voting for one another; drop it with
        ``samples.replacing(group=None)``. Faces that pass for one subject in one moment are found and kept apart too
        (`Resources.find_groups`).
    method : Method
    sources : Sources
    resources, callbacks : optional
    precision : float in (0, 1), optional
        Replace the method's own flags by as many of the lowest qualities as keep this estimated share of the
        flags right (`precision.calibrated`); metadata "precision" says what was estimated. The method runs again
        on labels flipped on purpose, up to `precision.MOST_RUNS` times on small sets.
    learn_from : sequence of str, or str, optional
        Splits whose labels are learned from, such as ("train",). Faces of other splits get distributions, and their
        labels are judged, but neither vote nor fit: altering them leaves the rows of learned faces as they are, bit by
        bit (`held_out`).
    decisions : Decisions, optional
        What people decided about some faces. It is certain of these, and corrects what the method says of the others
        (`decided.KnownLabels.applied`); the method itself sees the set's own labels.

    Returns
    -------
    RefinedSet, rows in the order of `samples`.

    Raises
    ------
    InputError
        No labeled face, something the method needs is missing, a precision outside (0, 1), or more memory needed than
        there may be.
    FeatureError
        No picture can be read, or weights are missing.
    """
    resources, callbacks = resources or Resources(), callbacks or Callbacks()
    check_method(method)
    check_given(samples, sources, resources)
    check_precision(precision)
    whole, known = samples, None
    learn_from = (learn_from,) if isinstance(learn_from, str) else learn_from
    if decisions is not None:
        samples = decisions.without_no_faces(samples)
        known = KnownLabels(*decisions.known(samples))
    faces = samples
    if learn_from is not None:
        samples = hide(samples, learn_from)
        known = None if known is None else known.only_labeled(faces, samples)
    require_labels(samples, method.name)
    check_groups(samples)
    base_rates(samples.classes, getattr(method, "base_rates", NONE))  # a class without a rate is an error at once
    check_promise(resources.memory, method, precision=precision is not None, mirrored=sources.mirrored)
    check_memory(resources.memory, (method,), samples, {view.view: view for view in sources.views})
    evidence = replace(gather(samples, method, sources, resources, callbacks), kept=None if precision is None else {})
    samples = evidence.samples
    stage = callbacks.stage(method.name)
    stage(0, 1)
    said, answer = answers(method, evidence, resources.seed, known)
    refinement = answer
    stage(1, 1)
    notes = list(answer.notes)
    if known is not None and len(known.rows):
        notes.append(known.sentence(samples, said, answer, precision=precision is not None))
    about: dict[str, Any] = {"notes": notes}
    for sentence in notes:
        callbacks.note(sentence)
    if precision is not None:
        checks = flip_checks(method, evidence, refinement, resources, callbacks, known)
        decision = calibrated(precision, samples, refinement, checks)
        refinement = kept_unflagged(samples, replace(refinement, flagged=decision.flagged))
        about["precision"] = decision.to_dict()
        callbacks.note(decision.sentence)
    for name in emptied_classes(samples, refinement):
        callbacks.note(f"No face is refined to {name}: the method holds all labels of that class to be wrong.")
    refinement = replace(refinement, params=parameters(method))
    if learn_from is not None:
        about["learn_from"] = list(learn_from)
    refined = assembled(samples, evidence, refinement, index=resources.index, seed=resources.seed, about=about)
    refined = refined if learn_from is None else judge_hidden(refined, faces, evidence, answer)
    return refined if decisions is None else decisions.settled(refined, whole)


def run(method: Method, evidence: Evidence, seed: int) -> Refinement:
    """Return the answer of `method`, its random choices those of `seed`."""
    return method.refine(evidence, np.random.default_rng(seed))


def flip_checks(
    method: Method,
    evidence: Evidence,
    first: Refinement,
    resources: Resources,
    callbacks: Callbacks,
    known: KnownLabels | None = None,
) -> list[tuple[Flipped, Refinement]]:
    """Return labels flipped on purpose and what the method, run again, says of them; for `precision.calibrated`.

    `known` corrects these answers, too.
    """
    stage = callbacks.stage("precision")
    runs = flip_runs(evidence.samples)
    checks = []
    for number in range(runs):
        stage(number, runs)
        changed = flipped(evidence.samples, first, np.random.default_rng([resources.seed, number]))
        again = relabeled(evidence, changed.samples, resources, Callbacks())
        checks.append((changed, answers(method, again, resources.seed, known)[1]))
    stage(runs, runs)
    return checks


def gather(samples: Samples, method: Method, sources: Sources, resources: Resources, callbacks: Callbacks) -> Evidence:
    """Compute the evidence that `method` asks for."""
    return evidence_for(method, gather_for(samples, (method,), sources, resources, callbacks))


def gather_for(
    samples: Samples, methods: Sequence[Method], sources: Sources, resources: Resources, callbacks: Callbacks
) -> Evidence:
    """Compute once what any of `methods` asks for; `evidence_for` gives each its own part."""
    check_given(samples, sources, resources)
    wanted = frozenset[str]().union(*(method.needs | method.optional for method in methods))
    resources.check_search(methods)
    _check_names(sources)  # before the first picture is read
    encoders, given = mirror_encoders(sources, "posteriors" in wanted), sources.posteriors
    sources, landmarks, views = _seen(samples, sources, resources, callbacks)
    check_memory(resources.memory, methods, samples, views)
    k = max(_k(method) for method in methods)
    neighbors, identity = dict[str, Neighbors](), sources.identity
    if "neighbors" in wanted:
        samples, neighbors = search(samples, k, "joint" in wanted, views, identity, resources, callbacks)
    else:
        samples = keep_apart(samples, whitened(views), identity, resources, callbacks)
    posteriors, mirrored = {p.name: p for p in sources.posteriors}, dict[str, Features]()
    if "posteriors" in wanted and views:
        posteriors[PROBE] = _probe(samples, views, resources, callbacks)
        if encoders:
            mirrored = mirrored_views(samples, encoders, resources, callbacks)
            posteriors[MIRROR] = _mirror(samples, views, mirrored, resources)
    if PROBE in posteriors or "posteriors" not in wanted:  # else the first that are given stand in for the probe
        note_unused(given, methods, callbacks)
    units = action_units_of(sources, landmarks, views) if "action_units" in wanted else None
    if units is None and sources.action_units is not None:
        callbacks.note("The action units given are not used: of the methods here, au-prior alone looks at any.")
    return Evidence(samples, views, neighbors, posteriors, landmarks, units, resources.device, mirrored)


def search_neighbors(
    samples: Samples, method: Method, sources: Sources, resources: Resources, callbacks: Callbacks
) -> None:
    """Search the neighbors that `refine` would, for a searcher that keeps them; InputError for a method without."""
    wanted = method.needs | method.optional
    resources.check_search([method])
    check_given(samples, sources, resources)
    _check_names(sources)
    _, _, views = _seen(samples, sources, resources, callbacks)
    search(samples, _k(method), "joint" in wanted, views, sources.identity, resources, callbacks)


def evidence_for(method: Method, evidence: Evidence) -> Evidence:
    """Return the part of `evidence` that `method` declares: its tables, its k, the probe and action units or not.

    Views, landmarks and other posteriors are handed on as they are: reasons name them.
    """
    wanted, k = method.needs | method.optional, _k(method)
    return replace(
        evidence,
        neighbors={
            name: nearest_of(table, k)
            for name, table in evidence.neighbors.items()
            if "neighbors" in wanted and (name != JOINT or "joint" in wanted)
        },
        posteriors={
            name: table
            for name, table in evidence.posteriors.items()
            if name not in (PROBE, MIRROR) or "posteriors" in wanted
        },
        action_units=evidence.action_units if "action_units" in wanted else None,
    )


def relabeled(evidence: Evidence, samples: Samples, resources: Resources, callbacks: Callbacks) -> Evidence:
    """Return `evidence` under other given labels of the same faces.

    The probe hangs on labels and is fitted again, where there is one, for mirrored pictures too. Other posteriors that
    learned from the labels are left out, since they cannot be; all else is taken over.
    """
    posteriors = evidence.outside
    if PROBE in evidence.posteriors:
        posteriors[PROBE] = _probe(samples, evidence.features, resources, callbacks)
    if MIRROR in evidence.posteriors and evidence.mirrored:
        posteriors[MIRROR] = _mirror(samples, evidence.features, evidence.mirrored, resources)
    return replace(evidence, samples=samples, posteriors=posteriors)


def _k(method: Method) -> int:
    return int(getattr(method, "k", DEFAULT_K))


def _probe(samples: Samples, views: Mapping[str, Features], resources: Resources, callbacks: Callbacks) -> Posteriors:
    """Return the out-of-fold posteriors of all views side by side, fitted to the given labels."""
    from ..classifiers.probe import cross_fit

    return cross_fit(samples, views, seed=resources.seed, device=resources.device, progress=callbacks.stage(PROBE))


def _mirror(
    samples: Samples, views: Mapping[str, Features], mirrored: Mapping[str, Features], resources: Resources
) -> Posteriors:
    """Return what the probe says of mirrored pictures."""
    from ..classifiers.probe import mirror_fit

    return mirror_fit(samples, views, mirrored, seed=resources.seed, device=resources.device)


def _seen(
    samples: Samples, sources: Sources, resources: Resources, callbacks: Callbacks
) -> tuple[Sources, Landmarks | None, dict[str, Features]]:
    """Return the sources with the builtin model replaced by what it gives, the landmarks, and all views by name."""
    sources = _builtin_expanded(samples, sources, resources, callbacks)
    landmarks = _landmarks(samples, sources.landmarks, resources, callbacks)
    return sources, landmarks, _views(samples, sources, landmarks, resources, callbacks)


def _builtin_expanded(samples: Samples, sources: Sources, resources: Resources, callbacks: Callbacks) -> Sources:
    """Return the sources with the builtin model replaced by what its one pass gives.

    An encoder that gives all `encoders.builtin.PARTS` becomes a view, posteriors, and, where no landmarks were
    asked for otherwise, landmarks with blendshapes.
    """
    builtin = _builtin_of(sources)
    if builtin is None:
        return sources
    from ..encoders.builtin_views import split
    from ..extraction.run import extract

    done = extract(
        samples, builtin, cache=resources.cache, workers=resources.workers, progress=callbacks.stage(builtin.name)
    )
    note_run(done.log, callbacks)
    views = split(samples, done.values, done.found, done.notes, builtin.spec)
    gives = sources.builtin_posteriors
    if gives and views.reason:
        callbacks.note(views.reason)
    if gives and views.trained_on.any():
        callbacks.note(
            f"{builtin.name}: {int(views.trained_on.sum()):,} of {len(samples):,} pictures are faces that it was "
            "trained on; its posteriors are not used for these faces."
        )
    return replace(
        sources,
        encoders=tuple(e for e in sources.encoders if e is not builtin),
        views=(*sources.views, views.features),
        landmarks=views.landmarks if sources.landmarks is None else sources.landmarks,
        posteriors=(*sources.posteriors, *([views.posteriors] if gives and views.posteriors is not None else [])),
    )


def _builtin_of(sources: Sources) -> BuiltinExtractor | None:
    """Return the encoder that gives all `encoders.builtin.PARTS`, if there is one."""
    from ..encoders.builtin import PARTS, BuiltinExtractor

    return next((e for e in sources.encoders if isinstance(e, BuiltinExtractor) and e.parts == PARTS), None)


def _landmarks(
    samples: Samples, source: Detector | Landmarks, resources: Resources, callbacks: Callbacks
) -> Landmarks | None:
    """Return the landmarks that `source` stands for, with a note on faces without."""
    if source is None:
        return None
    if isinstance(source, Landmarks):
        found = source
    else:
        from ..landmarks import detect

        found = detect(
            samples,
            source,
            cache=resources.cache,
            workers=resources.workers,
            progress=callbacks.stage("landmarks"),
            on_log=lambda done: note_run(done, callbacks),
        )
    note_missing("landmarks", found.found, found.notes, samples, callbacks)
    return found


def _views(
    samples: Samples, sources: Sources, landmarks: Landmarks | None, resources: Resources, callbacks: Callbacks
) -> dict[str, Features]:
    """Return all views by name, those that repeat another dropped."""
    from ..extraction.run import vectors_of

    views: dict[str, Features] = {}

    def add(view: Features) -> None:
        note_view(view, samples, callbacks)
        views[view.view] = view

    for view in sources.views:
        add(view)
    for name, encoder in zip(encoder_names(sources.encoders), sources.encoders, strict=True):
        view = vectors_of(
            samples,
            encoder,
            cache=resources.cache,
            workers=resources.workers,
            progress=callbacks.stage(name),
            on_log=lambda done: note_run(done, callbacks),
        )
        add(replace(view, view=name))
    if landmarks is not None:
        from ..landmarks.geometry import descriptor

        views[LANDMARKS] = descriptor(landmarks)
    for name in sorted(repeated({name: (view.values, view.found) for name, view in views.items()})):
        callbacks.note(f"View '{name}' repeats another view and is counted once.")
        del views[name]
    return views


def _check_names(sources: Sources) -> None:
    """Raise InputError where two views, or two posteriors, would have one name."""
    names = [view.view for view in sources.views] + encoder_names(sources.encoders)
    if JOINT in names:
        raise InputError(f"A view cannot be called '{JOINT}': that is all views side by side. Give it another name.")
    builtin = _builtin_of(sources)
    pointed = sources.landmarks is not None or builtin is not None
    taken = Counter(names + ([LANDMARKS] if pointed else []))
    for name, count in taken.items():
        if count > 1:
            raise InputError(f"Two views are called '{name}'. Give one of them another name: --view NAME=FILE.")
    own = [builtin.name] if builtin is not None and sources.builtin_posteriors else []
    own += [MIRROR] if sources.mirrored else []
    said = Counter([table.name for table in sources.posteriors] + own)
    for name, count in said.items():
        if count > 1:
            raise InputError(f"Two posteriors are called '{name}'. Give one of them another name.")
        if name == PROBE:
            raise InputError(f"Posteriors cannot be called '{PROBE}': it is fitted here. Give them another name.")
