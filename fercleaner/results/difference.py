"""What two refined files differ in: faces, classes, labels, flags, parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..core.arrays import Ints
from ..core.errors import InputError
from ..core.refined import RefinedSet

#: Metadata keys that say what made a file; compared key by key.
COMPARED = (
    "method",
    "params",
    "learn_from",
    "layout",
    "read_as",
    "boxed",
    "grouped",
    "sites",
    "views",
    "index",
    "neighbors",
    "seed",
    "input_digest",
    "versions",
    "precision",
    "decisions",
    "annotators",
)
#: Shown of faces that differ, the largest differences first, unless said otherwise.
TOP = 10


@dataclass(frozen=True)
class MovedFace:
    """A face whose refined label or flag differs; `shift` is half the L1 distance of its distributions, 0 to 1."""

    id: str
    given: str
    before: str
    after: str
    flagged_before: bool
    flagged_after: bool
    shift: float


@dataclass(frozen=True)
class MovedPair:
    """How many common faces have the refined label `before` in the first file and `after` in the second."""

    before: str
    after: str
    count: int


@dataclass(frozen=True)
class Difference:
    """What `compare` found.

    Parameters
    ----------
    common : int
        Faces of both files, by id; all further counts are of these.
    only_first, only_second : int
        Faces of one file alone.
    classes_only_first, classes_only_second : tuple of str
        Classes of one file alone.
    given : int
        Faces that were given another label.
    labels : int
        Faces with another refined label.
    flags : int
        Faces flagged in one file only.
    newly_flagged : int
        Those flagged in the second only.
    mean_shift : float or None
        Mean over the faces of half the L1 distance of the distributions over all classes of both files; None where no
        face is common.
    pairs : tuple of MovedPair, most faces first
    faces : tuple of MovedFace, largest shift first
    settings : mapping of key -> (first, second)
        What made the files, where it differs; parameters as "params.NAME".
    """

    common: int
    only_first: int
    only_second: int
    classes_only_first: tuple[str, ...]
    classes_only_second: tuple[str, ...]
    given: int
    labels: int
    flags: int
    newly_flagged: int
    mean_shift: float | None
    pairs: tuple[MovedPair, ...]
    faces: tuple[MovedFace, ...]
    settings: Mapping[str, tuple[Any, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as JSON types."""
        whole = asdict(self)
        whole["settings"] = {key: {"first": a, "second": b} for key, (a, b) in self.settings.items()}
        for name in ("pairs", "faces", "classes_only_first", "classes_only_second"):
            whole[name] = list(whole[name])
        return whole


def compare(first: RefinedSet, second: RefinedSet, *, top: int = TOP) -> Difference:
    """Compare two refined sets face by face (by id) and class by class (by name).

    Parameters
    ----------
    first, second : RefinedSet
    top : int
        Pairs and faces to list.

    Raises
    ------
    InputError
        `top` is negative.
    """
    if top < 0:
        raise InputError(f"compare: top is {top}; it must be 0 or more.")
    place = {name: row for row, name in enumerate(second.ids.tolist())}
    pairs = [(row, place[name]) for row, name in enumerate(first.ids.tolist()) if name in place]
    a, b = (np.array(rows, dtype=np.int64) for rows in zip(*pairs, strict=True)) if pairs else (_none(), _none())
    names = np.array([*first.classes, *(name for name in second.classes if name not in first.classes), ""])
    before, after = _named(first, first.label, a), _named(second, second.label, b)
    given_a, given_b = _named(first, first.given_label, a), _named(second, second.given_label, b)
    shift = 0.5 * np.abs(_spread(first, names, a) - _spread(second, names, b)).sum(1)
    flag_a, flag_b = first.flagged[a], second.flagged[b]
    moved, flags = before != after, flag_a != flag_b
    shown = np.flatnonzero(moved | flags)
    shown = shown[np.argsort(-shift[shown], kind="stable")][:top]
    counted = Counter(zip(before[moved].tolist(), after[moved].tolist(), strict=True))
    return Difference(
        common=len(a),
        only_first=len(first) - len(a),
        only_second=len(second) - len(b),
        classes_only_first=tuple(name for name in first.classes if name not in second.classes),
        classes_only_second=tuple(name for name in second.classes if name not in first.classes),
        given=int((given_a != given_b).sum()),
        labels=int(moved.sum()),
        flags=int(flags.sum()),
        newly_flagged=int((flag_b & ~flag_a).sum()),
        mean_shift=float(shift.mean()) if len(a) else None,
        pairs=tuple(
            MovedPair(old, new, count)
            for (old, new), count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:top]
        ),
        faces=tuple(
            MovedFace(
                id=str(first.ids[a[m]]),
                given=str(given_a[m]),
                before=str(before[m]),
                after=str(after[m]),
                flagged_before=bool(flag_a[m]),
                flagged_after=bool(flag_b[m]),
                shift=float(shift[m]),
            )
            for m in shown.tolist()
        ),
        settings=_settings(first.metadata, second.metadata),
    )


def _none() -> Ints:
    return np.zeros(0, dtype=np.int64)


def _named(refined: RefinedSet, index: Ints, rows: Ints) -> Any:
    """Return the class names of rows, "" where the index is -1."""
    return np.array([*refined.classes, ""], dtype=np.str_)[index[rows]]


def _spread(refined: RefinedSet, names: Any, rows: Ints) -> Any:
    """Return the refined distributions of rows over the classes of both files, (M, C + 1) float64."""
    column = {name: c for c, name in enumerate(names.tolist())}
    wide = np.zeros((len(rows), len(names)))
    wide[:, [column[name] for name in refined.classes]] = refined.distribution[rows]
    return wide


def _settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    found: dict[str, tuple[Any, Any]] = {}
    for key in COMPARED:
        a, b = first.get(key), second.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            for name in sorted({*a, *b}):
                if a.get(name) != b.get(name):
                    found[f"{key}.{name}"] = (a.get(name), b.get(name))
        elif a != b:
            found[key] = (a, b)
    return found
