"""What a trial's answers say: how well each method finds and mends flips of labels that most methods believe."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..core.arrays import Bools
from ..core.errors import InputError
from ..core.groups import group_numbers
from ..core.types import Refinement, Samples
from ..evaluation.bootstrap import DRAWS, compare_methods
from ..evaluation.metrics import auroc, average_precision, flag_scores, r_precision
from ..methods import DEFAULT
from ..noise.estimate import held_wrong
from ..noise.flip_curve import chances, fit_slope
from ..noise.injection import NoiseSpec
from ..noise.precision import Flipped, flip_depths_of, most_wrong, noise_rate

#: Figures of a run, in the order of the table.
MEASURES = ("average_precision", "auroc", "r_precision", "accuracy", "flag_precision", "flag_recall")
#: Methods whose 1 - quality is the chance that a label is wrong: their own word on their flags is taken (trial-notes).
CALIBRATED = (DEFAULT,)
#: What the figures take for granted.
ASSUMED = (
    "Judged are labels that most methods believe: a flip of one counts as wrong and the others as right. Faces that "
    "most methods misread are left out, so the figures are higher than those of finding the set's own mistakes.",
    "The expected precision of consensus is its own word, 1 - quality of what it flags. That of other methods takes it "
    "that the set's own wrong labels, of the share named, are found like the flips. Mistakes that annotators share are "
    "harder to find, and right labels of faces that the evidence misreads pass for wrong ones: expect less there.",
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
    score : float
        2/3 average precision + 1/3 accuracy.
    interval : (float, float)
        Of the score, 95 % of the bootstrap's draws.
    average_precision, accuracy : float
        Of finding the flips among believed labels, a flip weighing so much that flips are as frequent as labels that
        are not believed; and share of believed faces whose refined label is what it was before the flips. Means over
        the kinds of noise.
    share_best : float
        Share of the bootstrap's draws in which it is best.
    noise_rate : float
        Share of the set's own labels that are wrong, by this method (`precision.noise_rate`).
    flagged : float
        Share of the set's own labels that it flags.
    expected_precision : float or None
        Mean chance of being wrong of the labels that it flags; None where nothing is flagged. Of `CALIBRATED` methods
        their own, 1 - quality; of others by the curve of `flip_curve`, whose mean over the set is the trial's noise
        rate.
    precision_range : (float, float) or None
        The least and the greatest of that and of the curve's by the lower and by the higher of the two estimates of
        `Trial.noise_rate`.
    expected_recall : float
        Share of the flips that it flags, mean over the kinds of noise.
    by_noise : mapping of noise -> mapping of MEASURES -> Figure
        On believed labels, every label weighing alike.
    """

    score: float
    interval: tuple[float, float]
    average_precision: float
    accuracy: float
    share_best: float
    noise_rate: float
    flagged: float
    expected_precision: float | None
    precision_range: tuple[float, float] | None
    expected_recall: float
    by_noise: Mapping[str, Mapping[str, Figure]]


@dataclass(frozen=True)
class Trial:
    """What injected noise tells about methods on a set.

    Parameters
    ----------
    faces, labeled, believed : int
        Believed are labels that more than half of the methods neither flag nor change.
    noises : tuple of str
    seeds : int
    noise_rate : float
        Share of the set's own labels held to be wrong: the mean of two estimates, the median over methods and the share
        of labels that are not believed.
    methods : mapping of name -> MethodFigures
        Best score first.
    leading : str
        The method to take (`led_by`): `methods.DEFAULT` where no other is clearly better, else the first.
    recommended : str or None
        The same, but None where neither it is the default nor the only one with the best score.
    indistinct : tuple of str
        Other methods that the bootstrap cannot tell from the best (`bootstrap.compare_methods`).
    draws : int
        Of the bootstrap.
    skipped : mapping of name -> str
        Methods that cannot judge this set, and why.
    """

    faces: int
    labeled: int
    believed: int
    noises: tuple[str, ...]
    seeds: int
    noise_rate: float
    methods: Mapping[str, MethodFigures]
    leading: str
    recommended: str | None
    indistinct: tuple[str, ...]
    draws: int
    skipped: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data, with what they take for granted."""
        return {**asdict(self), "assumed": list(ASSUMED)}


@dataclass(frozen=True, eq=False)
class Runs:
    """All answers of a trial: of the given labels, and of the labels under each noise, runs noise by noise.

    Parameters
    ----------
    samples : Samples
    noises : tuple of NoiseSpec
    seeds, seed : int
    first : mapping of method -> Refinement
    flips : sequence of Flipped
    answers : mapping of method -> sequence of Refinement
    skipped : mapping of method -> str
    """

    samples: Samples
    noises: tuple[NoiseSpec, ...]
    seeds: int
    seed: int
    first: Mapping[str, Refinement]
    flips: Sequence[Flipped]
    answers: Mapping[str, Sequence[Refinement]]
    skipped: Mapping[str, str]


def believed_by_most(samples: Samples, answers: Collection[Refinement]) -> Bools:
    """Return which labels more than half of the methods believe, (N,): neither flagged nor overruled by them."""
    rows = samples.labeled
    votes = np.zeros(len(samples))
    for answer in answers:
        votes[rows] += ~answer.flagged[rows] & ~held_wrong(samples.given[rows], answer.distribution[rows])
    return np.asarray(rows & (votes > len(answers) / 2))


def trial_figures(runs: Runs) -> Trial:
    """Return the figures of a trial from all its answers."""
    samples, names = runs.samples, list(runs.first)
    labeled, faces = samples.labeled, believed_by_most(samples, runs.first.values())
    doubted = 1 - faces.sum() / labeled.sum()
    if not all(0 < (change.flipped & faces).sum() < faces.sum() for change in runs.flips):
        raise InputError(
            f"Most methods believe only {int(faces.sum()):,} of {int(labeled.sum()):,} labels; too few of these were "
            "flipped, or all. Name higher rates, more seeds or other methods."
        )
    flipped = np.stack([change.flipped[faces] for change in runs.flips])
    standing = compare_methods(
        np.stack([[-a.quality[faces].astype(np.float64) for a in runs.answers[name]] for name in names]),
        flipped,
        np.repeat(np.arange(len(runs.noises)), runs.seeds),
        np.unique(group_numbers(samples.ids, samples.group)[faces], return_inverse=True)[1],
        np.random.default_rng([runs.seed, 1]),
        right=np.stack([[(a.label == samples.label)[faces] for a in runs.answers[name]] for name in names]),
        flip_weight=np.maximum(1.0, doubted * labeled.sum() / flipped.sum(1)),
    )
    rates = {name: _rate(runs, name) for name in names}
    low, high = sorted((float(np.median(list(rates.values()))), float(doubted)))
    rate = (low + high) / 2
    table: dict[str, MethodFigures] = {}
    for row in np.argsort(-standing.score, kind="stable").tolist():
        name = names[row]
        by_noise = _by_noise(runs, name, faces)
        expected, span = _precision_of_flags(runs, name, (low, rate, high))
        table[name] = MethodFigures(
            score=float(standing.score[row]),
            interval=(float(standing.interval[row, 0]), float(standing.interval[row, 1])),
            average_precision=float(standing.average_precision[row]),
            accuracy=float(standing.accuracy[row]),
            share_best=float(standing.share_best[row]),
            noise_rate=rates[name],
            flagged=float(runs.first[name].flagged[labeled].mean()),
            expected_precision=expected,
            precision_range=span,
            expected_recall=float(np.mean([_flag_recall(c, a) for c, a in _pairs(runs, name)])),
            by_noise=by_noise,
        )
    level = [name for name, alike in zip(names, standing.level, strict=True) if alike]
    leading = led_by(names[standing.best], level, names, len(runs.noises))
    return Trial(
        faces=len(samples),
        labeled=int(labeled.sum()),
        believed=int(faces.sum()),
        noises=tuple(str(noise) for noise in runs.noises),
        seeds=runs.seeds,
        noise_rate=rate,
        methods=table,
        leading=leading,
        recommended=leading if leading == DEFAULT or set(level) <= {leading} else None,
        indistinct=tuple(name for name in level if name != leading),
        draws=DRAWS,
        skipped=dict(runs.skipped),
    )


def led_by(best: str, level: Collection[str], names: Collection[str], kinds: int) -> str:
    """Return which method to take: the best, but the default where that is level with it or noise is of one kind.

    How methods rank hangs on the kind of noise, and that of the set itself is not known: one kind cannot speak against
    what was best on other sets.
    """
    return DEFAULT if DEFAULT in names and (DEFAULT in level or kinds == 1) else best


def _pairs(runs: Runs, name: str) -> list[tuple[Flipped, Refinement]]:
    return list(zip(runs.flips, runs.answers[name], strict=True))


def _rate(runs: Runs, name: str) -> float:
    """Return the share of the set's own labels that are wrong, by one method."""
    first, found = runs.first[name], np.concatenate([flip_depths_of(c, a) for c, a in _pairs(runs, name)])
    return noise_rate(first.quality[runs.samples.labeled].astype(np.float64), most_wrong(runs.samples, first), found)


def _precision_of_flags(
    runs: Runs, name: str, rates: tuple[float, float, float]
) -> tuple[float | None, tuple[float, float] | None]:
    """Return the expected precision of a method's flags, and its range, by the lower, mean and higher noise rate."""
    first = runs.first[name]
    flags = first.flagged & runs.samples.labeled
    if not flags.any():
        return None, None
    low, mean, high = (_by_curve(runs, name, rate) for rate in rates)
    expected = float(1 - first.quality[flags].astype(np.float64).mean()) if name in CALIBRATED else mean
    return expected, (min(low, expected), max(high, expected))


def _by_curve(runs: Runs, name: str, rate: float) -> float:
    """Return the mean chance of being wrong of the labels that a method flags, if a share `rate` of all is wrong."""
    labeled, first = runs.samples.labeled, runs.first[name]
    others = np.concatenate([a.quality[labeled & ~c.flipped] for c, a in _pairs(runs, name)]).astype(np.float64)
    flips = np.concatenate([a.quality[c.flipped] for c, a in _pairs(runs, name)]).astype(np.float64)
    slope = fit_slope(others, flips, rate)
    return float(chances(first.quality[labeled].astype(np.float64), slope, rate)[first.flagged[labeled]].mean())


def _flag_recall(change: Flipped, answer: Refinement) -> float:
    return float(answer.flagged[change.flipped].mean())


def _by_noise(runs: Runs, name: str, faces: Bools) -> dict[str, dict[str, Figure]]:
    """Return mean and spread of each measure on the believed labels under each noise."""
    each = [_measured(change, answer, runs.samples, faces) for change, answer in _pairs(runs, name)]
    seeds = runs.seeds
    return {
        str(noise): _over_seeds(each[number * seeds : (number + 1) * seeds]) for number, noise in enumerate(runs.noises)
    }


def _measured(change: Flipped, answer: Refinement, samples: Samples, faces: Bools) -> dict[str, float]:
    """Return the MEASURES of one run over the believed labels."""
    score, flipped = -answer.quality[faces].astype(np.float64), change.flipped[faces]
    flags = flag_scores(answer.flagged[faces], flipped)
    return {
        "average_precision": average_precision(score, flipped),
        "auroc": auroc(score, flipped),
        "r_precision": r_precision(score, flipped),
        "accuracy": float((answer.label == samples.label)[faces].mean()),
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
