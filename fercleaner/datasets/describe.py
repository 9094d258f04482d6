"""What was read, in words and as JSON types: columns, classes with counts, what was left out and why."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.expressions import (
    BASIC,
    CLASS_SETS,
    IN_MANY_LANGUAGES,
    canonical,
    closest_class,
    is_expression,
    translated,
)
from ..core.types import Samples
from .options import GROUP_LIKE, spelled
from .table import listed

#: Classes, reasons and columns that a sentence names at most.
NAMED = 16
#: Columns that may say where the face is, and are not read so: corners, or a corner and sides.
BOX_LIKE = (
    *(("xmin", "ymin", "xmax", "ymax"), ("x min", "y min", "x max", "y max"), ("x1", "y1", "x2", "y2")),
    *(
        ("x", "y", "w", "h"),
        ("x", "y", "width", "height"),
        ("left", "top", "w", "h"),
        ("left", "top", "width", "height"),
    ),
    ("left", "top", "right", "bottom"),
)
#: What may stand before such a name; DeepFace writes "region.x".
BOX_WORDS = ("", "face ", "bbox ", "box ", "face box ", "rect ", "region ", "region.", "facerect", "facial area.")
#: More splits than this are subjects or the like, and few of them hold every class.
MOST_SPLITS = 6


def describe(samples: Samples) -> dict[str, Any]:
    """Return what was read as JSON types.

    Keys: layout, faces, labeled, classes (name -> faces whose given label is largest there), unlabeled (reason ->
    faces), splits, groups, sites, boxes, landmarks, pictures, votes; and those of `Samples.provenance`: columns (role
    -> column), columns_left_out, files_left_out (reason -> files), folders_left_out, empty_classes.
    """
    counts = np.bincount(samples.label[samples.labeled], minlength=len(samples.classes)).tolist()
    why = samples.notes[~samples.labeled].tolist() if samples.notes is not None else []
    return {
        "layout": samples.layout,
        "faces": len(samples),
        "labeled": int(samples.labeled.sum()),
        "classes": dict(zip(samples.classes, counts, strict=True)),
        "unlabeled": dict(Counter(reason or "no label" for reason in why).most_common()),
        "splits": {} if samples.split is None else dict(Counter(samples.split.tolist()).most_common()),
        "groups": None if samples.group is None else len(set(samples.group.tolist())),
        "sites": None if samples.site is None else len(set(samples.site.tolist())),
        "boxes": None if samples.boxes is None else int(np.isfinite(samples.boxes).all(1).sum()),
        "landmarks": None if samples.points is None else int(np.isfinite(samples.points).all((1, 2)).sum()),
        "votes": samples.votes is not None,
        "pictures": samples.images is not None,
        **samples.provenance,
    }


def sentences(samples: Samples) -> list[str]:
    """Return what was read in a few sentences, each a line of its own; nothing that goes without saying."""
    said = describe(samples)
    lines = [_read(said), f"Classes: {_counted(said['classes'])}."]
    columns = said.get("columns")
    if columns:
        roles = "; ".join(f"{role} from {_quoted(names)}" for role, names in columns.items())
        left = said.get("columns_left_out") or []
        lines.append(f"Columns: {roles}{f'; left out: {listed(left)}' if left else ''}.")
        people = [name for name in left if spelled(name) in GROUP_LIKE]
        if people and said["groups"] is None:
            lines.append(
                f"If the column '{people[0]}' says who is shown, --group-by {shlex.quote(people[0])} keeps faces "
                "of one person from voting for each other."
            )
        spelling = {spelled(name): name for name in left}
        boxes = ([word + edge for edge in edges] for word in BOX_WORDS for edges in BOX_LIKE)
        box = next((edges for edges in boxes if all(edge in spelling for edge in edges)), None)
        if box is not None and said["boxes"] is None:
            lines.append(
                f"If the columns {listed([spelling[edge] for edge in box])} say where the face is, write its corners "
                "in pixels into columns left, top, right and bottom; as it is, pictures are taken whole."
            )
    if len(said["splits"]) > 1:
        lines.append(f"Splits: {_counted({name or 'none': count for name, count in said['splits'].items()})}.")
        lines += _of_some_splits(samples)
    files, folders = said.get("files_left_out") or {}, said.get("folders_left_out") or []
    if files:
        total = sum(files.values())
        lines.append(f"Left out: {total:,} {'file' if total == 1 else 'files'} ({_counted(files)}).")
    if folders:
        lines.append(f"Folders left out: {listed(folders)}.")
    if said.get("empty_classes"):
        lines.append(
            f"No picture was found in {listed(said['empty_classes'])}: no face is of that class unless others are."
        )
    return lines + _of_classes(samples.classes)


def _of_classes(classes: Sequence[str]) -> list[str]:
    """Return what to ask about the names of classes: numbers, other languages, misspelt ones."""
    lines = []
    meant = _meant(classes)
    if all(name.lstrip("-").isdecimal() for name in classes):
        lines.append(
            f"The classes are the numbers {listed(classes, 40)}. Say what they mean, so that the builtin model "
            f"and action units can judge them: {_class_sets(classes)}--classes A,B,... in the order of the "
            "numbers, or --alias NUMBER=NAME for each."
        )
    elif not meant and not any(map(is_expression, classes)):
        lines.append(
            "No class is named after an expression that is known, so the builtin model and action units judge none. "
            "Are these the classes? Where they are expressions, say so for each: --alias "
            f"{shlex.quote(f'{classes[0]}=NAME')}"
        )
    if near := _misspelt(classes):
        name, expression = next(iter(near.items()))
        lines.append(
            f"Some classes are nearly spelled as expressions, and are none as they are: "
            f"{listed([f'{name} ({near[name]}?)' for name in near], 8)}. If so, say it for each: --alias "
            f"{shlex.quote(f'{name}={expression}')}"
        )
    if meant:
        name, expression = next(iter(meant.items()))
        lines.append(
            f"These classes are not known as expressions, so the builtin model and action units do not judge them: "
            f"{listed([f'{name} can mean {meant[name]}' for name in meant], 8)}. If so, say it for each: --alias "
            f"{shlex.quote(f'{name}={expression}')}"
        )
    return lines


def _class_sets(classes: Sequence[str]) -> str:
    """Return "--classes rafdb (if these are the codes of RAF-DB), " of the published class sets that fit best.

    Those with just these codes, else with codes that are no expression beside them (AffectNet's 8 to 10), else with one
    class more, which a set may have left out; nothing where none fits so.
    """
    held, fits = {int(name) for name in classes}, dict[str, tuple[int, int]]()
    for name, known in CLASS_SETS.items():
        lacking, junk = known.codes.keys() - held, held & known.junk.keys()
        if held <= known.codes.keys() | junk and len(lacking) <= (0 if junk else 1):
            fits[name] = (len(lacking), len(junk))
    best = [CLASS_SETS[name] for name, rank in fits.items() if rank == min(fits.values())]
    return "".join(f"--classes {known.name} (if these are the codes of {known.title}), " for known in best)


def _meant(classes: Sequence[str]) -> dict[str, str]:
    """Return class -> expression for what may be expressions under other names: "emo_happy", "happy.jpg", "triste".

    Nothing where a class is a known expression of English alone, or all can mean the same one.
    """
    shared = list(filter(is_expression, classes))
    meant: dict[str, str] = {}
    for name in classes:
        words = {canonical(w) for w in re.split(r"[\W\d_]+", name) if len(w) > 2 and is_expression(w)}
        one = next(iter(words)) if len(words) == 1 else None
        if (known := translated(name) or one) is not None and name not in shared:
            meant[name] = known
    several = len(set(meant.values())) > 1
    return meant if several and all(canonical(name) in IN_MANY_LANGUAGES for name in shared) else {}


def _misspelt(classes: Sequence[str]) -> dict[str, str]:
    """Return class -> expression for names that are nearly one's ("hapy"), where others are expressions as they are."""
    if not any(map(is_expression, classes)):
        return {}
    strange = [name for name in classes if not is_expression(name) and translated(name) is None]
    near = {name: closest_class(name, BASIC) for name in strange}
    return {name: found for name, found in near.items() if found is not None}


def _of_some_splits(samples: Samples) -> list[str]:
    """Return a sentence on classes that some splits have and others have not."""
    names = np.array([] if samples.split is None else samples.split)
    splits = [name for name in np.unique(names) if samples.labeled[names == name].any()]
    held = {c: [s for s in splits if (samples.label[names == s] == c).any()] for c in range(len(samples.classes))}
    some = [f"{samples.classes[c]} ({listed(where)})" for c, where in held.items() if 0 < len(where) < len(splits)]
    return [f"Classes that not every split has: {listed(some)}."] if some and len(splits) <= MOST_SPLITS else []


def _read(said: dict[str, Any]) -> str:
    """Return "Read 400 faces, 4 classes, 20 groups; labeled 360 of 400 (90.0 %); unlabeled: 40 no label."."""
    faces, labeled = said["faces"], said["labeled"]
    grouped = "" if said["groups"] is None else f", {said['groups']:,} groups"
    why = ", ".join(f"{count:,} {reason}" for reason, count in said["unlabeled"].items())
    return (
        f"Read {faces:,} faces, {len(said['classes'])} classes{grouped}; labeled {labeled:,} of {faces:,} "
        f"({100 * labeled / faces:.1f} %){f'; unlabeled: {why}' if why else ''}."
    )


def missing_pictures(samples: Samples) -> tuple[int, str]:
    """Return how many faces name a picture file that is not there, and the first of them; opens none."""
    gone = [path for path in samples.paths.tolist() if path and not os.path.isfile(path)]
    return len(gone), gone[0] if gone else ""


def _counted(counts: dict[str, int]) -> str:
    first = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:NAMED])
    return first if len(counts) <= NAMED else f"{first}, ... ({len(counts):,} in all)"


def _quoted(names: str | list[str]) -> str:
    return f"'{names}'" if isinstance(names, str) else listed([f"'{name}'" for name in names], 8)
