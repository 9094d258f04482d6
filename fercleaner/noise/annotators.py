"""Labels of several people: Dawid-Skene for the start, how good each person is, and whom to ask next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.arrays import Doubles, Ints, Strings
from ..core.errors import InputError, MissingDependency

#: Rounds of expectation-maximization at most.
ROUNDS = 100
#: Added to each person's counts before the confusion matrix is taken: half a label spread over the classes.
PRIOR_LABELS = 0.5
#: Normal deviate of 95 % intervals.
Z95 = 1.959964
#: Pairs of people and questions listed.
MOST = 20
#: People compared with all others at once: 20,000 of whom every two have a face in common take 350 MB.
PEOPLE_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Annotations:
    """Who says what of which face; a person may label a face once.

    Parameters
    ----------
    faces : int
        Number of faces N.
    classes : tuple of C str
    people : tuple of P str
    face, person, label : (M,) int64
        Row of the face, index of the person, class.
    """

    faces: int
    classes: tuple[str, ...]
    people: tuple[str, ...]
    face: Ints
    person: Ints
    label: Ints

    def __post_init__(self) -> None:
        if not len(self.face):
            raise InputError("The annotators' table has no label.")
        pairs = self.face * len(self.people) + self.person
        values, counts = np.unique(pairs, return_counts=True)
        if (counts > 1).any():
            twice = int(values[counts > 1][0])
            raise InputError(
                f"'{self.people[twice % len(self.people)]}' labels the face in row {twice // len(self.people)} of the "
                "set twice. Keep one of them."
            )

    @property
    def labeled(self) -> Any:
        """Faces that somebody labeled, (N,) bool."""
        return np.bincount(self.face, minlength=self.faces) > 0


@dataclass(frozen=True, eq=False)
class DawidSkene:
    """What Dawid-Skene makes of annotations.

    Parameters
    ----------
    distribution : (N, C) float64
        Posterior of the true class; zero rows where nobody labeled the face.
    prior : (C,) float64
    confusion : (P, C, C) float64
        [p, t, l] = P(person p says l | true class t), rows summing to 1, drawn a little to the even share.
    """

    distribution: Doubles
    prior: Doubles
    confusion: Doubles


def dawid_skene(annotations: Annotations) -> DawidSkene:
    """Estimate true classes and each person's confusion matrix together, from labels alone.

        q_i(t)  proportional to  pi_t prod_{p labels i} T_p[t, l_ip]        (E)
        T_p[t, l]  proportional to  sum_{i: l_ip = l} q_i(t)                (M)

    starting from the majority; crowd-kit does the rounds. The confusion matrices are taken once more from its
    posterior, with `PRIOR_LABELS`, so that nobody is held to be infallible.

    Source
    ------
    Dawid and Skene, Maximum likelihood estimation of observer error-rates using the EM algorithm, Applied Statistics
    28(1), 1979; Ustalov et al., crowd-kit, JOSS 2024.

    Raises
    ------
    MissingDependency
        crowd-kit is not installed.
    """
    try:
        from crowdkit.aggregation.classification.dawid_skene import DawidSkene as CrowdKit
    except ImportError as error:
        raise MissingDependency("crowd-kit", "A table of annotators", extra="annotators") from error
    import pandas as pd

    table = pd.DataFrame({"task": annotations.face, "worker": annotations.person, "label": annotations.label})
    found = CrowdKit(n_iter=ROUNDS).fit_predict_proba(table)
    n, c = annotations.faces, len(annotations.classes)
    distribution = np.zeros((n, c))
    distribution[np.ix_(found.index.to_numpy(), found.columns.to_numpy())] = found.to_numpy()
    sums = distribution.sum(1, keepdims=True)
    distribution = np.divide(distribution, sums, out=np.zeros_like(distribution), where=sums > 0)
    counts = np.full((len(annotations.people), c, c), PRIOR_LABELS / c)
    np.add.at(counts.transpose(0, 2, 1), (annotations.person, annotations.label), distribution[annotations.face])
    confusion = counts / counts.sum(2, keepdims=True)
    return DawidSkene(distribution, distribution.sum(0) / distribution.sum(), confusion)


def report(annotations: Annotations, found: DawidSkene, ids: Strings, refined: Doubles) -> dict[str, Any]:
    """Return how good each person is, how far pairs agree, and whom to ask next; JSON types.

    `refined` (N, C) are the refined distributions of a run that started from Dawid-Skene's: there the views
    spoke beside the people, as one more annotator.

    - people: labels given; expected share right, the mean of the posterior of the class said over faces that others
      labeled too, with a 95 % interval from the spread of that mean (the person's own label is in the posterior,
      weighed by the estimated skill); the same over all faces by the refined distributions ("with_views"), which also
      see a mistake that people share, as far as the views tell it; and the class pair most often confused.
    - pairs: common faces, share on which both say the same with its Wilson interval, Cohen's kappa; the most common
      faces first, `MOST` at most.
    - ask: faces whose two first classes are closest, and who of those not asked yet tells these two apart best.
    """
    chance = found.distribution[annotations.face, annotations.label]
    shared = np.bincount(annotations.face, minlength=annotations.faces)[annotations.face] > 1
    views = np.asarray(refined, np.float64)[annotations.face, annotations.label]
    labels = np.cumsum(np.bincount(annotations.person, minlength=len(annotations.people)))
    rows = np.split(np.argsort(annotations.person, kind="stable"), labels[:-1])
    people = [
        {**_person(annotations, found, p, own, chance[own[shared[own]]]), "with_views": _mean_range(views[own])}
        for p, own in enumerate(rows)
    ]
    return {"people": people, "pairs": _pairs(annotations), "ask": _ask(annotations, found, ids)}


def _person(annotations: Annotations, found: DawidSkene, p: int, own: Ints, values: Doubles) -> dict[str, Any]:
    off = found.confusion[p] * found.prior[:, None] * (1 - np.eye(len(annotations.classes)))
    true, said = np.unravel_index(int(off.argmax()), off.shape)
    return {
        "name": annotations.people[p],
        "labels": len(own),
        "shared": len(values),
        **_mean_range(values),
        "confuses": {
            "true": annotations.classes[int(true)],
            "said": annotations.classes[int(said)],
            "rate": float(found.confusion[p, true, said]),
        },
    }


def _mean_range(values: Doubles) -> dict[str, float | None]:
    """Return the mean of probabilities with the 95 % interval that their spread gives; None where there are too few."""
    n = len(values)
    if not n:
        return {"right": None, "low": None, "high": None}
    mean = float(values.mean())
    if n == 1:
        return {"right": mean, "low": None, "high": None}
    half = Z95 * float(values.std(ddof=1)) / math.sqrt(n)
    return {"right": mean, "low": max(0.0, mean - half), "high": min(1.0, mean + half)}


def _pairs(annotations: Annotations) -> list[dict[str, Any]]:
    pairs = []
    for a, b in _most_in_common(annotations):
        one, other = (np.flatnonzero(annotations.person == p) for p in (a, b))
        _, x, y = np.intersect1d(annotations.face[one], annotations.face[other], True, return_indices=True)
        agreement = _agreement(annotations.label[one[x]], annotations.label[other[y]], annotations)
        pairs.append({"people": [annotations.people[a], annotations.people[b]], **agreement})
    return pairs


def _most_in_common(annotations: Annotations) -> list[tuple[int, int]]:
    """Return the pairs of people with the most faces in common, at most `MOST`; of equal ones the first people."""
    from scipy.sparse import csr_array

    people, rows = len(annotations.people), (annotations.person, annotations.face)
    labels = csr_array((np.ones(len(annotations.face), dtype=np.int32), rows), shape=(people, annotations.faces))
    best: list[tuple[int, int, int]] = []  # faces in common, as a negative number, and the two people
    for start in range(0, people, PEOPLE_AT_ONCE):
        common = (labels[start : start + PEOPLE_AT_ONCE] @ labels.T).tocoo()
        first, second, count = common.row + start, common.col, common.data
        rising = np.flatnonzero(first < second)
        if len(rising) > MOST:
            rising = rising[count[rising] >= np.partition(count[rising], -MOST)[-MOST]]
        most = rising[np.lexsort((second[rising], first[rising], -count[rising]))[:MOST]]
        found = zip((-count[most]).tolist(), first[most].tolist(), second[most].tolist(), strict=True)
        best = sorted([*best, *found])[:MOST]
    return [(a, b) for _, a, b in best]


def _agreement(x: Ints, y: Ints, annotations: Annotations) -> dict[str, Any]:
    n, c = len(x), len(annotations.classes)
    same = int((x == y).sum())
    p, z2 = same / n, Z95**2 / n
    middle = (p + z2 / 2) / (1 + z2)
    half = math.sqrt(p * (1 - p) * z2 + z2 * z2 / 4) / (1 + z2)
    by_chance = float((np.bincount(x, minlength=c) / n) @ (np.bincount(y, minlength=c) / n))
    return {
        "faces": n,
        "same": same,
        "low": max(0.0, middle - half),
        "high": min(1.0, middle + half),
        "kappa": (p - by_chance) / (1 - by_chance) if by_chance < 1 else None,
    }


def _ask(annotations: Annotations, found: DawidSkene, ids: Strings) -> list[dict[str, Any]]:
    rows = np.flatnonzero(annotations.labeled)
    order = np.argsort(-found.distribution[rows], axis=1, kind="stable")[:, :2]
    shares = np.take_along_axis(found.distribution[rows], order, 1)
    first = np.argsort(shares[:, 0] - shares[:, 1], kind="stable")[:MOST]
    asked = set(zip(annotations.face.tolist(), annotations.person.tolist(), strict=True))
    questions = []
    for m in first.tolist():
        a, b = (int(t) for t in order[m])
        telling = found.confusion[:, a, a] + found.confusion[:, b, b]
        free = [p for p in range(len(annotations.people)) if (int(rows[m]), p) not in asked]
        if free:
            best = max(free, key=lambda p: float(telling[p]))
            questions.append(
                {
                    "id": str(ids[rows[m]]),
                    "between": [annotations.classes[a], annotations.classes[b]],
                    "shares": [float(share) for share in shares[m]],
                    "who": annotations.people[best],
                }
            )
    return questions


def from_table(
    names: Sequence[str], people: Sequence[str], labels: Ints, classes: tuple[str, ...], rows: Mapping[str, int], n: int
) -> Annotations:
    """Return annotations from columns of a table; rows without a label (-1) say nothing.

    Parameters
    ----------
    names, people : sequences of M str
        Face and person of each row.
    labels : (M,) int64
    classes : tuple of C str
    rows : mapping of name -> row of the set
    n : int
        Faces of the set.
    """
    known = sorted(set(people))
    place = {name: p for p, name in enumerate(known)}
    kept = [m for m in range(len(names)) if labels[m] >= 0 and names[m] in rows]
    return Annotations(
        n,
        classes,
        tuple(known),
        np.array([rows[names[m]] for m in kept], dtype=np.int64),
        np.array([place[people[m]] for m in kept], dtype=np.int64),
        np.asarray(labels, dtype=np.int64)[kept],
    )
