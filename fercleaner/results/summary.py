"""What a refined set says at a glance: plain data for the command line, the report and scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..core.arrays import Bools, Ints
from ..core.errors import InputError
from ..core.refined import RefinedSet
from ..evaluation.metrics import confusion_matrix
from ..noise.estimate import NoiseEstimate, estimate_noise

#: A class of at least so many labels that loses this share of them is named.
FEW_LABELS, NEARLY_ALL = 10, 0.9
#: Rows of the two lists, by default.
TOP = 10
#: Evidence that says how much spoke: 0 is none.
COUNTS = ("vertex_degree",)


@dataclass(frozen=True)
class ClassCount:
    """Counts of one class: faces given it, faces refined to it, and what became of those given it.

    `flagged_rate` is flagged / given, None where no face was given the class; `mean_quality` likewise.
    """

    name: str
    given: int
    refined: int
    flagged: int
    flagged_rate: float | None
    changed: int
    mean_quality: float | None


@dataclass(frozen=True)
class ConfusedPair:
    """Changed faces, given one class and refined to another; `share` is of the faces given the first."""

    given: str
    refined: str
    count: int
    share: float


@dataclass(frozen=True)
class Suspect:
    """A face to look at first."""

    id: str
    path: str
    given: str
    refined: str
    quality: float
    flagged: bool
    reason: str


@dataclass(frozen=True)
class Summary:
    """A refined set in figures.

    Parameters
    ----------
    faces, labeled, unlabeled, flagged, changed : int
        `flagged` and `changed` can only be labeled faces.
    without_evidence : int
        Faces of which nothing is known (`unseen`).
    mean_quality : float or None
        Over labeled faces.
    classes : tuple of ClassCount, in class order
    confused : tuple of ConfusedPair, most faces first
    weight_deciles : tuple of 11 floats, or empty for an empty set
        Smallest weight, then the weights that 10 %, 20 %, ... 100 % of the faces do not exceed.
    suspects : tuple of Suspect, lowest quality first; faces that people decided are none
    no_evidence : tuple of Suspect, in the order of the set
        The first faces without evidence; `given` is "" for those without a label.
    noise : NoiseEstimate
        Noise rate and transition matrix that the refined distributions let expect.
    method : str or None
    params : mapping
    views : list
        Views as the file's metadata describes them.
    """

    faces: int
    labeled: int
    unlabeled: int
    flagged: int
    changed: int
    without_evidence: int
    mean_quality: float | None
    classes: tuple[ClassCount, ...]
    confused: tuple[ConfusedPair, ...]
    weight_deciles: tuple[float, ...]
    suspects: tuple[Suspect, ...]
    no_evidence: tuple[Suspect, ...]
    noise: NoiseEstimate
    method: str | None
    params: Mapping[str, Any]
    views: Any

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON types."""
        return {name: _listed(value) for name, value in asdict(self).items()}


def summarize(refined: RefinedSet, *, top: int = TOP) -> Summary:
    """Count what a refined set holds.

    Parameters
    ----------
    refined : RefinedSet
    top : int
        Most confused and most mixed pairs, faces to look at first, and faces without evidence, to list.

    Raises
    ------
    InputError
        `top` is negative.
    """
    if top < 0:
        raise InputError(f"summarize: top is {top}; it must be 0 or more.")
    n, labeled = len(refined), refined.labeled
    silent = unseen(refined)
    method = refined.metadata.get("method")
    return Summary(
        faces=n,
        labeled=int(labeled.sum()),
        unlabeled=int((~labeled).sum()),
        flagged=int(refined.flagged.sum()),
        changed=int(refined.changed.sum()),
        without_evidence=int(silent.sum()),
        mean_quality=_mean(refined.quality[labeled]),
        classes=_class_counts(refined),
        confused=_confused(refined, top),
        weight_deciles=_deciles(refined),
        suspects=_suspects(refined, top),
        no_evidence=_faces(refined, np.flatnonzero(silent)[:top]),
        noise=estimate_noise(refined, top=top),
        method=None if method is None else str(method),
        params=refined.metadata.get("params", {}),
        views=refined.metadata.get("views", []),
    )


def unseen(refined: RefinedSet) -> Bools:
    """Return the faces of which nothing is known, (N,): no evidence (or, of `COUNTS`, 0), and no neighbor spoke.

    Such a face has no picture that can be read, no face in it, or no vector. It keeps its given label and the
    weight of one that nothing contradicts; its `reason` says what is wrong with it. What people decided is known.
    """
    silent = np.array(
        [not (a or b) for a, b in zip(refined.neighbors_for, refined.neighbors_against, strict=True)],
        dtype=np.bool_,
    )
    for name, values in refined.evidence.items():
        silent &= np.isnan(values) | ((values == 0) & (name in COUNTS))
    return silent & ~refined.certain


def _class_counts(refined: RefinedSet) -> tuple[ClassCount, ...]:
    given, c = refined.given_label, len(refined.classes)
    rows = given[refined.labeled]
    totals = np.bincount(rows, minlength=c)
    now = np.bincount(refined.label, minlength=c)
    flagged = np.bincount(given[refined.flagged], minlength=c)
    changed = np.bincount(given[refined.changed], minlength=c)
    quality = np.bincount(rows, refined.quality[refined.labeled].astype(np.float64), minlength=c)
    return tuple(
        ClassCount(
            name=name,
            given=int(totals[i]),
            refined=int(now[i]),
            flagged=int(flagged[i]),
            flagged_rate=float(flagged[i] / totals[i]) if totals[i] else None,
            changed=int(changed[i]),
            mean_quality=float(quality[i] / totals[i]) if totals[i] else None,
        )
        for i, name in enumerate(refined.classes)
    )


def _confused(refined: RefinedSet, top: int) -> tuple[ConfusedPair, ...]:
    rows, c = refined.changed, len(refined.classes)
    counts = confusion_matrix(refined.given_label[rows], refined.label[rows], c)
    totals = np.bincount(refined.given_label[refined.labeled], minlength=c)
    order = np.argsort(-counts, axis=None, kind="stable")[:top]
    return tuple(
        ConfusedPair(
            given=refined.classes[cell // c],
            refined=refined.classes[cell % c],
            count=int(counts.flat[cell]),
            share=float(counts.flat[cell] / totals[cell // c]),
        )
        for cell in order.tolist()
        if counts.flat[cell]
    )


def nearly_lost(refined: RefinedSet) -> list[str]:
    """Return a sentence on each class of which almost all given labels are changed, the largest class first."""
    label, sentences = refined.given_label, []
    for c in np.argsort(-np.bincount(label[refined.labeled], minlength=len(refined.classes)), kind="stable").tolist():
        own = refined.labeled & (label == c)
        given, changed = int(own.sum()), int(refined.changed[own].sum())
        if given >= FEW_LABELS and changed >= NEARLY_ALL * given:
            sentences.append(
                f"{changed:,} of {given:,} {refined.classes[c]} labels are changed ({100 * changed / given:.1f} %). "
                "Look at some of these faces before you use the refined labels."
            )
    return sentences


def absent_classes(refined: RefinedSet) -> list[bool]:
    """Return of each class whether no face is believed to be of it: how its faces are labeled is not known.

    No face is refined to it, or those alone whose label is held wrong and stays, so that the class is not emptied.
    """
    believed = refined.label[~(refined.flagged & ~refined.changed)]
    return [bool(count == 0) for count in np.bincount(believed, minlength=len(refined.classes))]


def _suspects(refined: RefinedSet, top: int) -> tuple[Suspect, ...]:
    rows = np.flatnonzero(refined.labeled & ~refined.decided)
    return _faces(refined, rows[np.argsort(refined.quality[rows], kind="stable")[:top]])


def _faces(refined: RefinedSet, rows: Ints) -> tuple[Suspect, ...]:
    given, label = refined.given_label, refined.label
    return tuple(
        Suspect(
            id=str(refined.ids[row]),
            path=str(refined.paths[row]),
            given=refined.classes[given[row]] if given[row] >= 0 else "",
            refined=refined.classes[label[row]],
            quality=float(refined.quality[row]),
            flagged=bool(refined.flagged[row]),
            reason=str(refined.reason[row]),
        )
        for row in rows.tolist()
    )


def _deciles(refined: RefinedSet) -> tuple[float, ...]:
    if not len(refined):
        return ()
    cuts = np.linspace(0, 1, 11)
    return tuple(np.quantile(refined.weight.astype(np.float64), cuts, method="inverted_cdf").tolist())


def _mean(values: Any) -> float | None:
    return float(np.mean(values, dtype=np.float64)) if len(values) else None


def _listed(value: Any) -> Any:
    """Return `value` with every tuple as a list, as JSON would give it back."""
    if isinstance(value, Mapping):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value
