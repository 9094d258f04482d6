"""Groups and sites that leave nothing to judge by: one that holds a whole class, or all faces."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ..core.arrays import Strings
from ..core.errors import InputError
from ..core.types import Samples
from .table import listed

#: Part of a class in one group from which on groups are the classes by another name, some labels being wrong. Where a
#: fifth of the labels was, `threshold` flagged 346 of 400 and left none right.
MOSTLY = 2 / 3
#: Labeled faces below which such parts are an accident.
JUDGED_FROM = 50


def check_groups(samples: Samples) -> list[str]:
    """Return what to say of groups and sites that hold whole classes; nothing where they do not.

    Faces of one group neither vote for each other nor train the model that judges them. A class with all its faces in
    one group is unknown wherever one of them is judged, so that its labels would all seem wrong.

    Raises
    ------
    InputError
        Every class lies in one group of its own, and there are several: the groups are the classes by another name.
    """
    notes: list[str] = []
    if samples.group is not None:
        notes += _of_groups(samples, samples.group)
    if samples.site is not None and len(set(samples.site.tolist())) > 1:
        alone = _held_whole(samples, samples.site)
        if len(alone) > 1 and len(alone) == len(_present(samples)):
            notes.append(
                f"Every site holds one class alone ({alone[0][1]}: {alone[0][0]}): its noise cannot be told from its "
                "faces. --site-by none reads the set without sites."
            )
    return notes


def _of_groups(samples: Samples, group: Strings) -> list[str]:
    labeled = samples.labeled
    if labeled.any() and len(set(group[labeled].tolist())) == 1:
        return [
            f"All labeled faces are in one group ('{group[labeled][0]}'), and faces of one group never vote for each "
            "other: no label can be judged. --group-by none reads the set without groups."
        ]
    alone = _held_whole(samples, group)
    present = _present(samples)
    mostly = _held_whole(samples, group, MOSTLY if labeled.sum() >= JUDGED_FROM else 1.0)
    if len(mostly) == len(present) > 1 and (len(alone) == len(present) or len({held[1] for held in mostly}) > 1):
        name, where, count = mostly[0]
        faces = int((samples.label == samples.classes.index(name)).sum())
        held = f"Every face of {name} is" if count == faces else f"Of {faces:,} faces of {name} {count:,} are"
        raise InputError(
            f"{held} in one group ('{where}'), and so is every other class: faces of one "
            "group never vote for each other, so nothing can be judged. Are these the classes by another name? "
            "--group-by none reads the set without groups, --group-by COLUMN names another column."
        )
    notes = []
    largest, faces = Counter(group[labeled].tolist()).most_common(1)[0] if labeled.any() else ("", 0)
    if faces > MOSTLY * labeled.sum() and faces > 1:
        notes.append(
            f"{faces:,} of {int(labeled.sum()):,} labeled faces are in one group ('{largest}'), and faces of one group "
            "never vote for each other: the others alone judge these labels. --group-by none reads the set without "
            "groups."
        )
    if alone:
        names = listed([f"{name} ('{where}', {count:,})" for name, where, count in alone], 6)
        notes.append(
            f"Classes with all faces in one group: {names}. Nothing outside the group shows them, so what is said of "
            "these labels means nothing. --group-by none reads the set without groups."
        )
    return notes


def _present(samples: Samples) -> list[int]:
    return [int(c) for c in np.unique(samples.label[samples.labeled])]


def _held_whole(samples: Samples, held_by: Strings, part: float = 1.0) -> list[tuple[str, str, int]]:
    """Return (class, group, its faces there) of each class of two faces or more of which `part` lies in one group."""
    found = []
    for c in _present(samples):
        rows = samples.label == c
        group, faces = Counter(held_by[rows].tolist()).most_common(1)[0]
        if faces >= part * rows.sum() and rows.sum() > 1:
            found.append((samples.classes[c], group, faces))
    return found
