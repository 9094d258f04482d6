"""Which method to trust on a set without a truth: flip labels on purpose, and see which method finds them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..core.arrays import Doubles, Ints
from ..core.errors import InputError
from ..core.evidence import Evidence
from ..core.types import Refinement, Samples
from ..evaluation.bootstrap import DRAWS, compare
from ..evaluation.metrics import auroc, average_precision, flag_scores, r_precision
from ..methods.base import Method, require_labels
from ..noise.estimate import expected_joint
from ..noise.injection import NoiseSpec
from ..noise.precision import Flipped, flip_depths_of, most_wrong, noise_rate, with_labels
from .inputs import Callbacks, Resources, Sources
from .refine import evidence_for, gather_for, relabeled, run, side_by_side

#: Seeds of each kind of noise, by default.
SEEDS = 3
#: Figures of a run, in the order of the table.
MEASURES = (
    "average_precision",
    "auroc",
    "auroc_corrected",
    "r_precision",
    "flag_precision",
    "flag_recall",
)
#: What the figures take for granted.
ASSUMED = (
    "A flip counts as wrong and every other label as right, so average precision, R-precision and the precision of "
    "flags are lower bounds: the set's own wrong labels count against a method that finds them.",
    "The corrected AUROC and the expected precision take it that the set's own wrong labels, of the share named, are "
    "found like the flips. Mistakes that annotators share are harder to find, and right labels of faces that the "
    "evidence misreads pass for wrong ones: expect less there.",
)


@dataclass(frozen=True)
class Figure:
    """Mean over runs, and standard deviation (n - 1; 0 for one run); NaN where no run has the figure."""

    mean: float
    spread: float


@dataclass(frozen=True)
class MethodFigures:
    """How one method fared.

    Parameters
    ----------
    average_precision : float
        Mean over the kinds of noise.
    share_best : float
        Share of the bootstrap's draws in which it is best.
    noise_rate : float
        Share of the set's own labels that are wrong, by this method (`calibration.noise_rate`).
    flagged : float
        Share of the set's own labels that it flags.
    expected_precision : float or None
        min(1, pi R / flagged), pi the trial's noise rate and R the expected recall; None where nothing is flagged.
    expected_recall : float
        R: share of the flips that it flags, mean over the kinds of noise.
    by_noise : mapping of noise -> mapping of MEASURES -> Figure
    """

    average_precision: float
    share_best: float
    noise_rate: float
    flagged: float
    expected_precision: float | None
    expected_recall: float
    by_noise: Mapping[str, Mapping[str, Figure]]


@dataclass(frozen=True)
class Trial:
    """What injected noise tells about methods on a set.

    Parameters
    ----------
    faces, labeled : int
    noises : tuple of str
    seeds : int
    noise_rate : float
        Share of the set's own labels held to be wrong: the median over methods.
    methods : mapping of name -> MethodFigures
        Best mean average precision first.
    recommended : str
        The first of them.
    indistinct : tuple of str
        Methods that the bootstrap cannot tell from it (`comparison.compare`).
    draws : int
        Of the bootstrap.
    skipped : mapping of name -> str
        Methods that cannot judge this set, and why.
    """

    faces: int
    labeled: int
    noises: tuple[str, ...]
    seeds: int
    noise_rate: float
    methods: Mapping[str, MethodFigures]
    recommended: str
    indistinct: tuple[str, ...]
    draws: int
    skipped: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data, with what they take for granted."""
        return {**asdict(self), "assumed": list(ASSUMED)}


def run_trial(
    samples: Samples,
    methods: Sequence[Method],
    noises: Sequence[NoiseSpec],
    sources: Sources,
    resources: Resources | None = None,
    callbacks: Callbacks | None = None,
    *,
    seeds: int = SEEDS,
    skip_unfit: bool = False,
) -> Trial:
    """Flip labels of a set in known ways, run every method, and measure which finds the flips.

    All evidence that does not hang on labels is computed once; every method sees the same flips.

    Parameters
    ----------
    samples : Samples
    methods : sequence of Method
        Of different names.
    noises : sequence of NoiseSpec
        "human" takes the transition matrix that the methods' refinements of the set let expect, on average;
        "instance" the views side by side.
    sources, resources, callbacks
        As in `pipeline.refine`.
    seeds : int >= 1
        Runs of each noise.
    skip_unfit : bool
        Leave out methods that cannot judge this set, with the reason in `Trial.skipped`, instead of raising.

    Raises
    ------
    InputError
        A method lacks what it needs, none is left, or a noise flips no label or every one.

    Cost: (1 + noises x seeds) runs of every method.
    """
    resources, callbacks = resources or Resources(), callbacks or Callbacks()
    _check(samples, methods, noises, seeds)
    evidence = gather_for(samples, methods, sources, resources, callbacks)
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
    return _figures(samples, noises, seeds, first, flips, answers, skipped, resources.seed)


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
    order = np.argsort(samples.ids, kind="stable")
    features = None if vectors is None else vectors[order]
    noisy = noise.apply(samples.label[order], samples.classes, rng, features=features, matrix=matrix)
    labels: Ints = samples.label.copy()
    labels[order] = noisy.labels
    flipped, labeled = labels != samples.label, int(samples.labeled.sum())
    if not 0 < flipped.sum() < labeled:
        how, way_out = ("none", "higher") if not flipped.any() else ("all", "lower")
        raise InputError(f"Noise '{noise}' flips {how} of the {labeled:,} labels. Name a {way_out} rate.")
    return Flipped(with_labels(samples, labels), flipped)


def corrected_auroc(observed: float, rate: float) -> float:
    """Return the AUROC of finding flips among right labels alone, from that among all other labels.

    Of the labels that were not flipped a share `rate` is wrong too. Where those rank like the flips, half of the
    pairs with them are won: observed = (1 - rate) true + rate / 2. The answer lies in [0, 1]; NaN for a rate of 1.

    Examples
    --------
    >>> round(corrected_auroc(0.86, 0.2), 3)
    0.95
    """
    if rate >= 1:
        return float("nan")
    return float(np.clip((observed - rate / 2) / (1 - rate), 0.0, 1.0))


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
        vectors = side_by_side(evidence.features).values.astype(np.float64)
    if any(noise.kind == "human" for noise in noises):
        given = samples.given[samples.labeled]
        joint = np.sum([expected_joint(given, one.distribution[samples.labeled]) for one in first], axis=0)
        mass = joint.sum(1, keepdims=True)
        matrix = np.where(mass > 0, joint / np.where(mass > 0, mass, 1.0), np.eye(len(joint)))
    return [
        inject(samples, noise, np.random.default_rng([seed, number, repeat]), vectors=vectors, matrix=matrix)
        for number, noise in enumerate(noises)
        for repeat in range(seeds)
    ]


def _figures(
    samples: Samples,
    noises: Sequence[NoiseSpec],
    seeds: int,
    first: Mapping[str, Refinement],
    flips: Sequence[Flipped],
    answers: Mapping[str, Sequence[Refinement]],
    skipped: Mapping[str, str],
    seed: int,
) -> Trial:
    """Return the trial's figures from all answers, runs in the order of `flips`."""
    labeled = samples.labeled
    rates = {}
    for name, one in first.items():
        found = np.concatenate([flip_depths_of(c, a) for c, a in zip(flips, answers[name], strict=True)])
        quality = one.quality[labeled].astype(np.float64)
        rates[name] = noise_rate(quality, most_wrong(samples, one), found)
    rate = float(np.median(list(rates.values())))
    suspicion = np.stack([[-a.quality[labeled].astype(np.float64) for a in answers[name]] for name in first])
    standing = compare(
        suspicion,
        np.stack([change.flipped[labeled] for change in flips]),
        np.repeat(np.arange(len(noises)), seeds),
        _group_numbers(samples)[labeled],
        np.random.default_rng([seed, 1]),
    )
    table: dict[str, MethodFigures] = {}
    names = list(first)
    for row in np.argsort(-standing.average_precision, kind="stable").tolist():
        name = names[row]
        runs = [_measured(c, a, rate) for c, a in zip(flips, answers[name], strict=True)]
        by_noise = {
            str(noise): _over_seeds(runs[number * seeds : (number + 1) * seeds]) for number, noise in enumerate(noises)
        }
        recall = float(np.mean([figures["flag_recall"].mean for figures in by_noise.values()]))
        flagged = float(first[name].flagged[labeled].mean())
        table[name] = MethodFigures(
            average_precision=float(standing.average_precision[row]),
            share_best=float(standing.share_best[row]),
            noise_rate=rates[name],
            flagged=flagged,
            expected_precision=min(1.0, rate * recall / flagged) if flagged else None,
            expected_recall=recall,
            by_noise=by_noise,
        )
    return Trial(
        faces=len(samples),
        labeled=int(labeled.sum()),
        noises=tuple(str(noise) for noise in noises),
        seeds=seeds,
        noise_rate=rate,
        methods=table,
        recommended=names[standing.best],
        indistinct=tuple(n for i, n in enumerate(names) if standing.level[i] and i != standing.best),
        draws=DRAWS,
        skipped=dict(skipped),
    )


def _measured(change: Flipped, answer: Refinement, rate: float) -> dict[str, float]:
    """Return the MEASURES of one run over the labeled faces."""
    labeled = change.samples.labeled
    score, flipped = -answer.quality[labeled].astype(np.float64), change.flipped[labeled]
    flags = flag_scores(answer.flagged[labeled], flipped)
    area = auroc(score, flipped)
    return {
        "average_precision": average_precision(score, flipped),
        "auroc": area,
        "auroc_corrected": corrected_auroc(area, rate),
        "r_precision": r_precision(score, flipped),
        "flag_precision": flags.precision,
        "flag_recall": flags.recall,
    }


def _over_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, Figure]:
    """Return mean and spread of each measure, runs without it (no flag) left out."""
    answer = {}
    for name in MEASURES:
        values = np.array([run[name] for run in runs])
        known = values[~np.isnan(values)]
        answer[name] = Figure(
            float(known.mean()) if len(known) else float("nan"),
            float(known.std(ddof=1)) if len(known) > 1 else 0.0,
        )
    return answer


def _group_numbers(samples: Samples) -> Ints:
    """Return a number a face from 0, equal within a group; faces without a group stand alone."""
    names = np.array([f"id:{name}" for name in samples.ids.tolist()])
    if samples.group is not None:
        inside = samples.group != ""
        names = np.where(inside, np.char.add("group:", samples.group), names)
    return np.unique(names, return_inverse=True)[1].astype(np.int64)
