"""Posteriors of models trained elsewhere: one expert among others, and near their home set more than that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ...core.arrays import Bools, Doubles, Ints
from ...core.errors import FeatureError
from ...core.evidence import Evidence
from ...core.expressions import canonical
from ...core.numeric import normalized, softmax
from ...core.types import Features, Posteriors, Samples
from .experts import Expert

#: Name of the builtin model: of the view of its embedding, and of its posteriors.
BUILTIN = "builtin"
#: Distances from home (`distance_from_home`) up to which a source's posteriors may overrule labels fully, and from
#: which on not at all. FER2013's own faces lie at .00 with the labels that they came with and at .02 to .08 under other
#: labels, right ones and 20 % wrong; photographs of the wild lie at .09, drawn faces at .44. With the weights before,
#: which had learned no photographs, these lay at .17, and the nearest set on which posteriors did harm at .35.
NEAR, FAR = 0.1, 0.35
#: Classes of fewer faces do not count in the distance: their mean is mostly chance.
LEAST_FACES = 8
#: A source's gain over the labels' frequencies, as a share of the joined experts', from which on it may overrule labels
#: fully, and at which not at all. Near home it is .74; that of shuffled posteriors is below 0.
TRUSTED, DISTRUSTED = 0.5, 0.25
#: Share of the labels' entropy that a matrix explains by chance up to which a source has labels enough to be measured,
#: and from which on too few (`label_model.chance`): with seven even classes 108 faces and 54.
BY_CHANCE = (0.1, 0.2)
#: Posteriors are held above this.
LEAST = 1e-6
#: Faces of a class added to each row of a transition matrix, spread as the labels are.
SPREAD_FACES = 0.5
#: Shares of a source's posteriors mixed into the frequencies while its gain is measured: the best of them counts, so
#: that a source which is too sure of itself is not taken for one that knows nothing. A grid; nothing was chosen by it.
SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
#: What joined experts weigh beside posteriors that overrule labels. On held-back FER2013 half of it moves average
#: precision by .0001 and accuracy by .0006, twice by -.0005 and -.0024.
INSIDE = 0.1
#: They overrule labels at most by this many times what experts leave unexplained of them: where labels are learned
#: almost wholly, few are wrong. Right labels of held-back faces of FER2013 and of photographs leave .12 to .17, their
#: own ones .29 to .5. At 5 right ones are changed again; 3 takes a third of the photographs' gain.
OVERRULES = 4.0
#: Power of a label beside them, where its noise is systematic: annotators go wrong about the same faces everywhere.
#: On held-back FER2013 .25 moves average precision by -.0011 and accuracy by -.0048, .75 by .0000 and .0006.
LABEL_POWER = 0.5
#: Strength, in faces, of the belief that class frequencies are those known beforehand (`shifted`), and EM steps.
KNOWN_FACES, SHIFT_STEPS = 200.0, 30
#: A bias is reported where a source reads at least this share of the faces given a class as one other.
LEAST_BIAS = 0.4

#: What the distance is measured against; benchmarks/builtin_home.py makes home.npz. The others are of earlier weights,
#: whose vectors users have kept.
HOMES = tuple(Path(__file__).parents[2] / "weights" / name for name in ("home.npz", "home_before.npz"))


@dataclass(frozen=True, eq=False)
class Home:
    """What the builtin model's embedding looks like on the faces that it was validated on.

    Parameters
    ----------
    classes : tuple of K str
    center : (D,) float64
    directions : (D, 32) float64
        Principal components, each over its standard deviation.
    means, errors : (K, 32) float64
        Of each class, in these components, and the sampling variance of the mean.
    posterior : (K,) float64
        Mean posteriors.
    """

    classes: tuple[str, ...]
    center: Doubles
    directions: Doubles
    means: Doubles
    errors: Doubles
    posterior: Doubles

    def distance(self, view: Features, samples: Samples) -> float | None:
        """Return the mean over classes of |m_c - h_c|^2 / 32 less what sampling adds; None where no class counts.

        m_c is the mean of the faces given class c, h_c that at home, in units of the components' deviation. A face
        whose largest given shares tie counts for each of their classes.
        """
        if view.values.shape[1] != len(self.center):
            return None
        rows = (view.values.astype(np.float64) - self.center) @ self.directions
        usable, found = samples.labeled & view.found, []
        largest = samples.given == samples.given.max(1, keepdims=True)
        for column, name in enumerate(samples.classes):
            faces = rows[usable & largest[:, column]]
            if len(faces) >= LEAST_FACES and canonical(name) in self.classes:
                at = self.classes.index(canonical(name))
                apart = (faces.mean(0) - self.means[at]) ** 2 - faces.var(0, ddof=1) / len(faces) - self.errors[at]
                found.append(float(apart.mean()))
        return float(np.mean(found)) if found else None


@cache
def homes() -> tuple[Home, ...]:
    """Return what FER2013's held-back faces look like to the builtin model, as it is and as it was before."""
    return tuple(read_home(path) for path in HOMES)


def read_home(path: Path) -> Home:
    """Return the home in a file that benchmarks/builtin_home.py wrote; FeatureError where it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("center", "directions", "means", "errors", "posterior")}
            return Home(tuple(file["classes"].tolist()), **{k: v.astype(np.float64) for k, v in arrays.items()})
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise FeatureError(
            f"{path.name} is missing or damaged: {error}. Reinstall fercleaner, or leave the builtin "
            "model's posteriors out: --posteriors none."
        ) from None


def home() -> Home:
    """Return the home of the builtin model as it is."""
    return homes()[0]


def distance_from_home(evidence: Evidence) -> float | None:
    """Return how far this set is from the builtin model's home; None without a view of its embedding.

    The least of those from `homes`: vectors may be of earlier weights, and lie nearest to their own home.
    """
    view = evidence.features.get(BUILTIN)
    found = [] if view is None else [each.distance(view, evidence.samples) for each in homes()]
    return min((value for value in found if value is not None), default=None)


def nearness(distance: float | None) -> float:
    """Return how near a set is, 1 (at most `NEAR`) to 0 (`FAR`, or not known)."""
    return 0.0 if distance is None else float(np.clip((FAR - distance) / (FAR - NEAR), 0.0, 1.0))


@dataclass(frozen=True, eq=False)
class Source:
    """External posteriors and how far they go.

    Parameters
    ----------
    expert : Expert
        What they say of the labels.
    truth : (N, C) float64
        log p, of the true classes, for this set's class frequencies.
    near : (N,) float64 in [0, 1]
        How far p may overrule labels.
    frequencies : (C,) float64, optional
        Of the true classes, by p, where it tells (`shifted`).
    notes : tuple of str
    """

    expert: Expert
    truth: Doubles
    near: Doubles
    frequencies: Doubles | None
    notes: tuple[str, ...]


def as_expert(table: Posteriors, given: Doubles, rows: Bools, fold: Ints, prior: Doubles) -> Expert:
    """Return what posteriors say of the labels: log(p_i T / pi), T[c, d] ~ sum_j p_jc y_jd + pi_d / 2.

    T is the transition matrix from what the source calls a face to what this set's annotators do; in the run of a fold
    its labels take no part in T. So a source that names classes otherwise says what its names mean here, one that
    knows nothing says nothing, and its weight is fitted to the very thing that is used.
    """

    def run(f: int) -> Doubles:
        p = table.values.astype(np.float64)
        learn = rows & table.found & (fold != f)
        matrix = normalized(p[learn].T @ given[learn] + SPREAD_FACES * prior)
        return np.where(table.found[:, None], np.log(np.maximum(p @ matrix, LEAST) / prior), 0.0)

    own = np.zeros(given.shape)
    for f in range(int(fold.max()) + 1):
        own[fold == f] = run(f)[fold == f]
    return Expert(own, run, np.asarray(table.found))


def trust(table: Posteriors, given: Doubles, rows: Bools, joined: Doubles, prior: Doubles) -> float:
    """Return how far labels bear out raw posteriors, in [0, 1].

    The gain of p is its mean log-likelihood of the labels beyond that of their frequencies pi, p mixed into pi by the
    share of `SHARES` that serves best; trust rises with the gain over that of the joined experts, from `DISTRUSTED` to
    `TRUSTED`, and is less where few labels are there to tell (`BY_CHANCE`).
    """
    judged = rows & table.found
    if not judged.any():
        return 0.0
    p, y = table.values[judged].astype(np.float64), given[judged]
    entropy = -float((prior * np.log(prior)).sum())

    def gain(q: Doubles) -> float:
        level = [(y * np.log(np.maximum(s * q + (1 - s) * prior, 1e-12))).sum(1).mean() for s in SHARES]
        return float(max(level) - (y * np.log(prior)).sum(1).mean())

    inside = gain(softmax(np.log(prior) + joined[judged]))
    used = int(given.any(0).sum())
    if inside <= 0 or entropy <= 0:
        return 0.0
    low, high = BY_CHANCE
    proven = np.clip((high - used * (used - 1) / 2 / (entropy * int(judged.sum()))) / (high - low), 0.0, 1.0)
    borne_out = np.clip((gain(p) / inside - DISTRUSTED) / (TRUSTED - DISTRUSTED), 0.0, 1.0)
    return float(proven * borne_out)


def shifted(p: Doubles, trained: Doubles, known: Doubles) -> tuple[Doubles, Doubles]:
    """Return posteriors (M, C) for the class frequencies of this set, and those frequencies (C,).

        pi_c ~ sum_i r_ic + `KNOWN_FACES` known_c,    r_ic ~ p_ic pi_c / trained_c

    by EM from pi = known: label shift, with a Dirichlet prior.

    Source
    ------
    Saerens, Latinne and Decaestecker, Neural Computation 14, 2002; Alexandari, Kundaje and Shrikumar, ICML 2020.
    Differs from them in: the prior.
    """
    pi = known
    rows = p
    for _ in range(SHIFT_STEPS):
        rows = normalized(p * (pi / trained))
        pi = normalized(rows.sum(0) + KNOWN_FACES * known)
    return rows, pi


def bias_of(table: Posteriors, samples: Samples, rows: Bools) -> str:
    """Return a sentence on the class that a source reads otherwise most often; "" where it does so seldom."""
    judged = np.flatnonzero(rows & table.found)
    guess, label, c = table.values[judged].argmax(1), samples.label[judged], len(samples.classes)
    counts = np.zeros((c, c))
    np.add.at(counts, (label, guess), 1)
    of = counts.sum(1, keepdims=True)
    shares = np.where(of >= LEAST_FACES, counts / np.maximum(of, 1), 0.0)
    np.fill_diagonal(shares, 0.0)
    a, b = np.unravel_index(int(shares.argmax()), shares.shape)
    if shares[a, b] < LEAST_BIAS:
        return ""
    return (
        f"Posteriors '{table.name}' read {samples.classes[a]} as {samples.classes[b]} on {100 * shares[a, b]:.0f} % of "
        f"the {int(of[a, 0]):,} faces labeled so."
    )


def external_sources(
    evidence: Evidence, experts: Mapping[str, Expert], joined: Doubles, prior: Doubles, known: Doubles
) -> dict[str, Source]:
    """Return the external posteriors of `evidence` by name.

    Parameters
    ----------
    experts : mapping of name -> Expert
        `as_expert` of each.
    joined : (N, C) float64
        Joined log-likelihood ratios of all experts.
    prior, known : (C,) float64
        Frequencies of the labels, and those known beforehand.
    """
    samples = evidence.samples
    given, result = samples.given.astype(np.float64), {}
    for name, expert in experts.items():
        table, p = evidence.posteriors[name], evidence.posteriors[name].values.astype(np.float64)
        distance = distance_from_home(evidence) if name == BUILTIN else None
        near = nearness(distance) if table.near is None else table.near
        near *= trust(table, given, samples.labeled, joined, prior)
        frequencies = None
        if name == BUILTIN and near > 0 and all(canonical(c) in home().classes for c in samples.classes):
            at = [home().classes.index(canonical(c)) for c in samples.classes]
            p[table.found], frequencies = shifted(p[table.found], normalized(home().posterior[at]), known)
        notes = [f"Posteriors '{name}': {_said(near, distance, table.near)}."]
        if near < 1:
            notes += [bias_of(table, samples, samples.labeled)]
        truth = np.log(np.maximum(p, LEAST))
        result[name] = Source(expert, truth, np.where(table.found, near, 0.0), frequencies, tuple(filter(None, notes)))
    return result


def _said(near: float, distance: float | None, stated: float | None) -> str:
    """Return in words how far a source goes, and why."""
    where = "" if distance is None else f" (distance from its home set {distance:.2f})"
    if stated is None and distance is None:
        where = " (not known how far this set is from what the model was validated on)"
    if near >= 1:
        return f"may overrule labels{where}"
    if near > 0:
        return f"may overrule labels by {100 * near:.0f} %{where}"
    return f"one expert among others, its weight fitted to the labels{where}"
