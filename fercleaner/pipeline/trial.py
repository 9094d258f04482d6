"""Which method to trust on a set without a truth: flip labels on purpose, and see which method finds them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from ..core.arrays import Doubles, Ints
from ..core.errors import InputError
from ..core.evidence import Evidence
from ..core.numeric import row_stochastic
from ..core.types import Refinement, Samples
from ..methods.base import Method, require_labels
from ..noise.estimate import expected_joint
from ..noise.injection import NoiseSpec
from ..noise.precision import Flipped, with_labels
from ..similarity.whitening import joined
from .inputs import Callbacks, Resources, Sources
from .memory import check_promise
from .refine import evidence_for, gather_for, relabeled, run
from .trial_figures import Runs, Trial, trial_figures

#: Noises that are put in where none is named: as the methods expect it of the set itself, and three kinds beside, at
#: a rate that leaves the set nearly what it is.
NOISES = tuple(NoiseSpec(kind, 0.05) for kind in ("human", "symmetric", "asymmetric", "instance"))
#: Flips wanted over all kinds where the number of runs is not named, and the most runs of a kind for them.
FLIPS_WANTED, MOST_SEEDS = 100, 5
#: Runs of each kind of noise that is named on a command line, by default.
SEEDS = 3


def run_trial(
    samples: Samples,
    methods: Sequence[Method],
    noises: Sequence[NoiseSpec],
    sources: Sources,
    resources: Resources | None = None,
    callbacks: Callbacks | None = None,
    *,
    seeds: int | None = None,
    skip_unfit: bool = False,
) -> Trial:
    """Flip labels of a set in known ways, run every method, and measure which finds the flips and mends them.

    All evidence that does not hang on labels is computed once; every method sees the same flips. Judged are the labels
    that more than half of the methods believe before any flip: elsewhere nobody knows what is right, and a method that
    finds the set's own mistakes must not lose by it.

    Parameters
    ----------
    samples : Samples
    methods : sequence of Method
        Of different names.
    noises : sequence of NoiseSpec
        `NOISES`, say. "human" takes the transition matrix that the methods' refinements of the set let expect, on
        average; "instance" the views side by side.
    sources, resources, callbacks
        As in `refine.refine`.
    seeds : int >= 1, optional
        Runs of each noise; by default as many as give `FLIPS_WANTED` flips over all kinds, at most `MOST_SEEDS`.
    skip_unfit : bool
        Leave out methods that cannot judge this set, with the reason in `Trial.skipped`, instead of raising.

    Raises
    ------
    InputError
        A method lacks what it needs, none is left, or a noise flips no label or every one.

    Cost: (1 + noises x seeds) runs of every method.
    """
    return trial_figures(
        runs_of(samples, methods, noises, sources, resources, callbacks, seeds=seeds, skip_unfit=skip_unfit)
    )


def runs_of(
    samples: Samples,
    methods: Sequence[Method],
    noises: Sequence[NoiseSpec],
    sources: Sources,
    resources: Resources | None = None,
    callbacks: Callbacks | None = None,
    *,
    seeds: int | None = None,
    skip_unfit: bool = False,
) -> Runs:
    """Return all answers of a trial; as `run_trial`."""
    resources, callbacks = resources or Resources(), callbacks or Callbacks()
    seeds = enough_seeds(int(samples.labeled.sum()), noises) if seeds is None else seeds
    _check(samples, methods, noises, seeds)
    check_promise(resources.memory, methods[0], trial=True)
    evidence = replace(gather_for(samples, methods, sources, resources, callbacks), kept={})
    samples = evidence.samples
    first, skipped = _first_runs(methods, evidence, resources, skip_unfit)
    fit = [method for method in methods if method.name in first]
    flips = _injected(samples, noises, seeds, evidence, first.values(), resources.seed)
    answers: dict[str, list[Refinement]] = {method.name: [] for method in fit}
    stage, total, done = callbacks.stage("trial"), len(flips) * len(fit), 0
    for change in flips:
        noisy = relabeled(evidence, change.samples, resources, Callbacks())
        for method in fit:
            stage(done, total)
            answers[method.name].append(run(method, evidence_for(method, noisy), resources.seed))
            done += 1
    stage(done, total)
    return Runs(samples, tuple(noises), seeds, resources.seed, first, flips, answers, skipped)


def enough_seeds(labels: int, noises: Sequence[NoiseSpec]) -> int:
    """Return how many runs of each noise give about `FLIPS_WANTED` flips over all kinds, at most `MOST_SEEDS`."""
    flips = max(1.0, labels * sum(0.2 if noise.rate is None else noise.rate for noise in noises))
    return int(np.clip(np.ceil(FLIPS_WANTED / flips), 1, MOST_SEEDS))


def inject(
    samples: Samples,
    noise: NoiseSpec,
    rng: np.random.Generator,
    *,
    vectors: Doubles | None = None,
    matrix: Doubles | None = None,
) -> Flipped:
    """Put a noise on the given labels (the likeliest class of a distribution); unlabeled faces are left alone.

    Draws go by id, so the order of the rows does not matter. `vectors` (N, D) and `matrix` (C, C) as in
    `NoiseSpec.apply`. Raises InputError where no label is flipped, or every one.
    """
    order = samples.by_id
    features = None if vectors is None else vectors[order]
    noisy = noise.apply(samples.label[order], samples.classes, rng, features=features, matrix=matrix)
    labels: Ints = samples.label.copy()
    labels[order] = noisy.labels
    changed = with_labels(samples, labels)
    # between classes on which annotators tie there is nothing to flip
    flipped, labeled = np.asarray((changed.given != samples.given).any(1)), int(samples.labeled.sum())
    if not 0 < flipped.sum() < labeled:
        how, way_out = ("none", "higher") if not flipped.any() else ("all", "lower")
        raise InputError(f"Noise '{noise}' flips {how} of the {labeled:,} labels. Name a {way_out} rate.")
    return Flipped(changed, flipped)


def _check(samples: Samples, methods: Sequence[Method], noises: Sequence[NoiseSpec], seeds: int) -> None:
    if not methods or not noises or seeds < 1:
        raise InputError(
            f"A trial of {len(methods)} methods, {len(noises)} noises and {seeds} seeds; it takes at least one of each."
        )
    for what, names in (("Method", [m.name for m in methods]), ("Noise", [str(noise) for noise in noises])):
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"{what} '{name}' is there twice. Name it once.")
    require_labels(samples, methods[0].name)
    for noise in noises:
        if noise.kind in ("symmetric", "asymmetric"):
            inject(samples, noise, np.random.default_rng(0))  # one that flips nothing is refused before any work


def _first_runs(
    methods: Sequence[Method], evidence: Evidence, resources: Resources, skip_unfit: bool
) -> tuple[dict[str, Refinement], dict[str, str]]:
    """Return each method's refinement of the given labels, and why the others cannot judge this set."""
    first: dict[str, Refinement] = {}
    skipped: dict[str, str] = {}
    for method in methods:
        try:
            first[method.name] = run(method, evidence_for(method, evidence), resources.seed)
        except InputError as error:
            if not skip_unfit:
                raise
            skipped[method.name] = str(error)
    if not first:
        raise InputError("No method can judge this set. " + " ".join(skipped.values()))
    return first, skipped


def _injected(
    samples: Samples,
    noises: Sequence[NoiseSpec],
    seeds: int,
    evidence: Evidence,
    first: Collection[Refinement],
    seed: int,
) -> list[Flipped]:
    """Return the set under each noise and seed, noise by noise."""
    vectors = matrix = None
    if any(noise.kind == "instance" for noise in noises):
        vectors = joined(evidence.features).values.astype(np.float64)
    if any(noise.kind == "human" for noise in noises):
        given = samples.given[samples.labeled]
        joint = np.sum([expected_joint(given, one.distribution[samples.labeled]) for one in first], axis=0)
        matrix = row_stochastic(joint)
    return [
        inject(samples, noise, np.random.default_rng([seed, number, repeat]), vectors=vectors, matrix=matrix)
        for number, noise in enumerate(noises)
        for repeat in range(seeds)
    ]
