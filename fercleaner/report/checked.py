"""The checks of a set, made and put into the page's data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.refined import RefinedSet
from ..core.types import Features, Samples
from ..pipeline.inputs import Callbacks
from ..results.checks import (
    UNSEEN,
    Check,
    class_check,
    count_faces,
    duplicate_checks,
    face_checks,
    group_check,
    outlier_check,
    picture_checks,
    table_of,
)
from ..results.near_duplicates import find_duplicates
from ..results.pixels import NO_PICTURE, look
from .material import Material
from .pictures import Sprite
from .rates import rate

#: Faces, and groups of faces, shown as examples of a check; faces of a group at most.
EXAMPLES, SETS, OF_A_SET = 12, 8, 6


@dataclass(frozen=True, eq=False)
class Checked:
    """Checks that were made, a table a row a face, and how even the classes are."""

    checks: tuple[Check, ...]
    table: dict[str, Any]
    classes: str

    @property
    def examples(self) -> list[int]:
        """Rows of the faces whose pictures the page needs."""
        return sorted({row for check in self.checks for _, rows in example_sets(check) for row in rows})


def check_set(
    refined: RefinedSet,
    faces: Samples,
    joint: Features | None,
    material: Material,
    callbacks: Callbacks,
    pictures: bool,
    detector: str,
) -> Checked:
    """Make all checks that the material allows; those of pictures only where `pictures`.

    `detector` is YuNet's weights file, "" for none.
    """
    checks: list[Check] = []
    seen = found = counts = None
    if pictures and faces.images is not None:
        seen = look(faces, progress=callbacks.stage("pictures"))
        found = find_duplicates(refined, faces, seen)
        checks += duplicate_checks(refined, found)
    else:
        checks.append(_unseen(pictures))
    if detector and faces.images is not None:
        counts = count_faces(faces, detector, callbacks.stage("faces"))
    unreadable = None if seen is None else ~seen.found & (seen.why != NO_PICTURE)
    checks += face_checks(refined, material.features, material.landmarks, counts, unreadable)
    outliers, nearness = outlier_check(refined, joint)
    checks.append(outliers)
    if seen is not None:
        checks += picture_checks(seen)
    groups = group_check(refined, faces)
    checks += [] if groups is None else [groups]
    return Checked(tuple(checks), table_of(refined, checks, found, seen, nearness), class_check(refined))


def _unseen(pictures: bool) -> Check:
    """Return the check that stands for all of those of pictures where none was opened."""
    why = "The refined file names none: name its set (--dataset)." if pictures else "They were not to be opened."
    return Check("pictures", "Duplicates, leaks and bad pictures", "", np.zeros(0, dtype=int), 0, f"{UNSEEN} {why}")


def example_sets(check: Check) -> list[tuple[str, tuple[int, ...]]]:
    """Return what is shown of a check: groups of faces, or single faces as one group without a text."""
    if check.sets:
        return [(text, rows[:OF_A_SET]) for text, rows in check.sets[:SETS]]
    return [("", tuple(check.rows[:EXAMPLES].tolist()))] if len(check.rows) else []


def checks_data(checked: Checked, refined: RefinedSet, small: Sprite) -> list[dict[str, Any]]:
    """Return the checks as the page's data holds them."""
    names, given = [*refined.classes, "no label"], refined.given_label
    data: list[dict[str, Any]] = []
    for check in checked.checks:
        examples = [
            {
                "text": text,
                "faces": [
                    {
                        "id": str(refined.ids[row]),
                        "text": names[given[row]],
                        "tile": small.tiles.get(row, -1),
                    }
                    for row in rows
                ],
            }
            for text, rows in example_sets(check)
        ]
        data.append(
            {
                "name": check.name,
                "title": check.title,
                "meaning": check.meaning,
                "found": rate(len(np.unique(check.rows)), check.judged) if check.judged else None,
                "note": check.note,
                "more": _more(check),
                "examples": examples,
            }
        )
    return data


def _more(check: Check) -> str:
    total, shown = (len(check.sets), SETS) if check.sets else (len(check.rows), EXAMPLES)
    what = "groups" if check.sets else "faces"
    return f"Shown: {shown} of {total:,} {what}." if total > shown else ""
