"""What else is wrong with a set than its labels: pictures, duplicates, leaks, faces, outliers, classes, groups."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.arrays import Bools, Doubles, Floats, Ints, Progress
from ..core.errors import InputError
from ..core.files import replacing
from ..core.refined import RefinedSet
from ..core.types import Features, Landmarks, Samples
from ..extraction.detection import Framing
from ..extraction.images import UnreadableImage, open_face
from ..similarity.neighbors import nearest
from .near_duplicates import KINDS, Duplicates
from .pixels import NO_PICTURE, Pixels

#: Robust standard deviations from the set's median from which a face stands out.
FAR = 3.5
#: A face is tiny under this many pixels a side, or under this share of the set's median.
TINY, TINY_SHARE = 32, 0.5
#: Dark: 95 % of the pixels lie under this gray level. Bright: 95 % lie over that. Flat: less contrast (the
#: standard deviation of gray levels; of 4,000 faces of FER2013 three empty pictures have 0, all others at least 0.07).
DARK, BRIGHT, FLAT = 0.35, 0.6, 0.02
#: Neighbors whose mean similarity says whether a face is like any other.
LIKE = 5
#: What detectors note of faces that they did not take.
NO_FACE, SEVERAL_FACES = "no face", "several faces"
#: Said of a check of pictures where none was seen.
UNSEEN = "Not checked: no picture was seen."


@dataclass(frozen=True, eq=False)
class Check:
    """What one check found.

    Parameters
    ----------
    name : str
        Of its column in the table.
    title, meaning : str
        In words.
    rows : (M,) int64
        Faces found, the plainest first.
    judged : int
        Faces that it could judge; 0 where it could not be made.
    note : str
        What it went by, or why it could not be made.
    sets : tuple of (text, rows)
        Faces that belong together, such as duplicates; for checks of single faces empty.
    """

    name: str
    title: str
    meaning: str
    rows: Ints
    judged: int
    note: str = ""
    sets: tuple[tuple[str, tuple[int, ...]], ...] = ()


def picture_checks(seen: Pixels) -> list[Check]:
    """Return checks of light, contrast, sharpness and size; thresholds follow the set where it is unlike others.

    A face must miss a fixed bound and stand out in its own set as well: a set of dark pictures is dark, not faulty.
    Whether pictures are gray or in color is not judged.
    """
    found = seen.found
    n = int(found.sum())
    why = Counter(str(reason) for reason in seen.why[~found].tolist())
    side = np.minimum(seen.width, seen.height).astype(np.float64)
    bound = max(TINY, TINY_SHARE * float(np.median(side[found]))) if n else TINY
    low_dark = min(DARK, _edge(seen.dark[found], -1))
    high_bright = max(BRIGHT, _edge(seen.bright[found], 1))
    soft = np.log(np.maximum(seen.sharpness.astype(np.float64), 1e-6))
    soft_edge = _edge(soft[found & (seen.sharpness > 0)], -1)
    even = found & (seen.contrast < FLAT)
    return [
        Check(
            "unreadable",
            "Pictures that cannot be read",
            "A face without a picture is judged by other evidence, or not at all.",
            np.flatnonzero(~found & (seen.why != NO_PICTURE)),
            len(found) - why.get(NO_PICTURE, 0),
            "; ".join(f"{count:,} {reason}" for reason, count in why.most_common()) or "Every picture was decoded.",
        ),
        _by("tiny", "Tiny faces", "Too few pixels to tell an expression by.", found & (side < bound), side, n,
            f"Under {bound:.0f} pixels a side; the set's median is {np.median(side[found]) if n else 0:.0f}."),
        _by("dark", "Dark faces", "Hardly any light in the picture.", found & (seen.dark < low_dark), seen.dark, n,
            f"95 % of the pixels are darker than {100 * low_dark:.0f} % of white."),
        _by("bright", "Washed-out faces", "Hardly any shadow in the picture.", found & (seen.bright > high_bright),
            -seen.bright, n, f"95 % of the pixels are brighter than {100 * high_bright:.0f} % of white."),
        _by("flat", "Pictures without contrast", "Of one even color, or nearly.", even, seen.contrast, n,
            f"Gray levels vary by less than {100 * FLAT:.0f} % of white."),
        _by("blurred", "Blurred faces", "Edges are much softer than in the rest of the set.",
            found & ~even & (soft < soft_edge), soft, n,
            f"Sharpness is under {np.exp(soft_edge):.3f}; the set's median is {_median(seen.sharpness[found]):.3f}."),
    ]  # fmt: skip


def _by(name: str, title: str, meaning: str, chosen: Bools, order: Any, judged: int, note: str) -> Check:
    """Return a check whose faces go by rising `order`."""
    rows = np.flatnonzero(chosen)
    return Check(name, title, meaning, rows[np.argsort(order[rows], kind="stable")], judged, note if judged else UNSEEN)


def _edge(values: Any, sign: int) -> float:
    """Return the value `FAR` robust standard deviations (1.4826 times the median deviation) from the median."""
    if not len(values):
        return sign * float("inf")
    middle = float(np.median(values))
    return middle + sign * FAR * 1.4826 * float(np.median(np.abs(values - middle)))


def _median(values: Any) -> float:
    return float(np.median(values)) if len(values) else 0.0


def duplicate_checks(refined: RefinedSet, found: Duplicates) -> list[Check]:
    """Return the checks of duplicates, of leaks over splits, and of unlike labels among duplicates."""
    at = {name: row for row, name in enumerate(refined.ids.tolist())}
    kinds = Counter(group.kind for group in found.groups)
    listed = ", ".join(f"{kinds[kind]:,} {kind}" for kind in KINDS if kinds[kind])
    left = ", ".join(f"{count:,} {reason}" for reason, count in found.unread.items())
    note = f"{len(found.groups):,} groups{f' ({listed})' if listed else ''}."
    note += "" if found.crops_sought else " Copies that were cropped otherwise were not sought in a set of this size."
    note += f" Not compared: {left}." if left else ""
    if found.compared < 2:
        note = f"Not checked: fewer than two pictures could be compared{f' ({left})' if left else ''}."

    def check(name: str, title: str, meaning: str, groups: Sequence[Any], text: str) -> Check:
        sets = []
        for group in groups:
            labels = ", ".join(sorted({label or "no label" for label in group.given}))
            about = {"kind": group.kind, "labels": labels, "splits": ", ".join(sorted(set(group.splits) - {""}))}
            sets.append((text.format(**about) + f"; keep {group.keep}", tuple(at[name] for name in group.ids)))
        rows = np.array([row for _, members in sets for row in members], dtype=np.int64)
        split = name != "leak" or len(set(refined.split.tolist()) - {""}) > 1
        made = split and found.compared > 1
        said = f"{len(groups):,} of {len(found.groups):,} groups of duplicates." if name != "duplicate" else note
        said = said if split else "Not checked: the set does not name several splits."
        said = said if found.compared > 1 or not split else note
        return Check(name, title, meaning, rows, found.compared if made else 0, said, tuple(sets))

    conflicting = [group for group in found.groups if group.conflicting]
    leaking = [group for group in found.groups if group.leaking]
    return [
        check("leak", "Leaks: one picture in several splits", "A model is tested on what it was trained on.", leaking,
              "{kind}, in {splits}"),
        check("conflict", "Duplicates with different labels", "At most one of the labels is right.", conflicting,
              "{kind}: {labels}"),
        check("duplicate", "Duplicates", "One picture under several ids: copies, mirrored or cropped otherwise. Put "
              "them into one group, or keep one.", found.groups, "{kind}"),
    ]  # fmt: skip


def face_checks(
    refined: RefinedSet,
    views: Mapping[str, Features],
    landmarks: Landmarks | None,
    counts: Ints | None,
    unreadable: Bools | None = None,
) -> list[Check]:
    """Return the checks "no face" and "several faces", as far as a detector was at work.

    Parameters
    ----------
    refined : RefinedSet
    views, landmarks
        What their detectors noted of faces that they did not take. Pictures taken whole have no detector.
    counts : (N,) int64, optional
        Faces in each picture (`count_faces`), -1 where it cannot be read.
    unreadable : (N,) bool, optional
        Pictures that cannot be read: nobody knows what they show, and they are not judged.
    """
    n = len(refined)
    shut = np.zeros(n, dtype=np.bool_) if unreadable is None else unreadable
    shut = shut if counts is None else shut | (counts < 0)
    none, several = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    sources: list[Features | Landmarks] = [*views.values(), *([] if landmarks is None else [landmarks])]
    detected = [source for source in sources if not _whole(source.spec)]
    for source in detected:
        if source.notes is not None:
            none |= np.char.find(source.notes, NO_FACE) >= 0
            several |= np.char.find(source.notes, SEVERAL_FACES) >= 0
    by = ["landmarks"] if landmarks is not None and landmarks in detected else []
    if by and landmarks is not None:
        none |= ~landmarks.found & ~several
    framed = any(source.spec.get("framing", {}).get("crop") == "detected" for source in detected)
    looked = ["detector"] if counts is not None else []
    if counts is not None:
        none |= counts == 0
        several |= counts > 1
    by += ["crop"] if framed else []
    none, judged = none & ~shut, n - int(shut.sum())
    absent = "Not checked: pictures were taken whole, and no detector looked at them (--find-faces)."
    order = refined.quality
    return [
        _checked("no_face", "No face found", "Not a face, turned away, hidden, or too small for the detector.", none,
                 order, judged if by or looked else 0, f"By: {', '.join(by + looked)}." if by or looked else absent),
        _checked("several_faces", "Several faces", "It is not plain whose expression the label means.", several, order,
                 judged if framed or looked else 0,
                 f"By: {', '.join([*(['crop'] if framed else []), *looked])}." if framed or looked else absent),
    ]  # fmt: skip


def _whole(spec: Mapping[str, Any]) -> bool:
    """Return whether a source took every picture for a face: a view of vectors, or one without a detector."""
    return bool(spec.get("framing", {}).get("crop") == "whole")


def count_faces(faces: Samples, weights: str, progress: Progress | None = None) -> Ints:
    """Return how many faces YuNet finds in each picture, (N,) int64; -1 where it cannot be read.

    Faces are looked for as for the crop (`detection.Framing`), whichever way up the picture lies.

    Parameters
    ----------
    faces : Samples
        Pictures are taken without their boxes.
    weights : str
        YuNet's ONNX file.

    Cost: 10 to 20 ms a look; a picture without a sure face is looked at from four sides.
    """
    whole, framing = faces.replacing(boxes=None), Framing(weights)
    counts = np.full(len(faces), -1, dtype=np.int64)
    for row in range(len(faces)):
        with suppress(UnreadableImage, InputError):
            counts[row] = framing.count(open_face(whole, row))
        if progress is not None:
            progress(row + 1, len(faces))
    return counts


def _checked(name: str, title: str, meaning: str, chosen: Bools, order: Any, judged: int, note: str) -> Check:
    rows = np.flatnonzero(chosen)
    return Check(name, title, meaning, rows[np.argsort(order[rows], kind="stable")], judged, note)


def outlier_check(refined: RefinedSet, joint: Features | None) -> tuple[Check, Floats]:
    """Return the faces that are like no other by their vectors, and the mean similarity to the `LIKE` nearest, (N,)."""
    title, meaning = "Outliers", "Like no other face of the set: off topic, badly cropped, drawn, or rare."
    nearness = np.full(len(refined), np.nan, dtype=np.float32)
    none = np.zeros(0, dtype=np.int64)
    if joint is None or joint.found.sum() <= LIKE:
        return Check("outlier", title, meaning, none, 0, "Not checked: no vectors were at hand."), nearness
    table = nearest(joint, LIKE, center=False)
    spoke = (table.indices >= 0).sum(1)
    rows = np.flatnonzero(joint.found & (spoke > 0))
    nearness[rows] = table.similarity[rows].sum(1) / spoke[rows]
    edge = _edge(nearness[rows].astype(np.float64), -1)
    far = rows[nearness[rows] < edge]
    note = f"Mean similarity to the {LIKE} nearest under {edge:.2f}; the set's median is {_median(nearness[rows]):.2f}."
    return Check("outlier", title, meaning, far[np.argsort(nearness[far], kind="stable")], len(rows), note), nearness


def class_check(refined: RefinedSet) -> str:
    """Return how even the classes are, in words, by given labels and by refined."""
    listed = []
    for what, labels in (("given", refined.given_label[refined.labeled]), ("refined", refined.label[refined.labeled])):
        counts: Doubles = np.bincount(labels, minlength=len(refined.classes)).astype(np.float64)
        most, least = int(counts.argmax()), int(counts.argmin())
        share = counts / max(counts.sum(), 1)
        even = float(np.exp(-(share[share > 0] * np.log(share[share > 0])).sum()))
        ratio = counts[most] / counts[least] if counts[least] else float("inf")
        listed.append(
            f"{what} labels: most faces are {refined.classes[most]} ({counts[most]:,.0f}), fewest "
            f"{refined.classes[least]} ({counts[least]:,.0f}), a ratio of {ratio:.1f}; the classes are as even as "
            f"{even:.1f} equal ones would be ({len(counts)} at best)"
        )
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in listed)


def group_check(refined: RefinedSet, faces: Samples) -> Check | None:
    """Return the groups whose faces were given unlike labels, those of fewest faces first; None without groups."""
    if faces.group is None:
        return None
    names, number = np.unique(faces.group, return_inverse=True)
    given = refined.given_label
    sets = []
    order = np.argsort(number, kind="stable")
    order = order[given[order] >= 0]
    ends = np.flatnonzero(np.diff(number[order])) + 1
    groups = [rows for rows in np.split(order, ends) if len(rows) > 1]
    for rows in groups:
        labels = Counter(refined.classes[i] for i in given[rows].tolist())
        if len(labels) > 1:
            listed = ", ".join(f"{count} {name}" for name, count in labels.most_common())
            sets.append((f"{names[number[rows[0]]]}: {listed}", tuple(rows.tolist())))
    sets.sort(key=lambda pair: len(pair[1]))
    rows = np.array([row for _, members in sets for row in members], dtype=np.int64)
    meaning = "Expected where a group is a subject or a video; a mistake where it is one picture."
    judged = int(sum(len(rows) for rows in groups))
    return Check("unlike_group", "Groups with unlike labels", meaning, rows, judged,
                 f"{len(sets):,} of {len(groups):,} groups of two labeled faces or more.", tuple(sets))  # fmt: skip


def table_of(
    refined: RefinedSet, checks: Sequence[Check], found: Duplicates | None, seen: Pixels | None, nearness: Floats | None
) -> dict[str, Any]:
    """Return the columns of the table, a row a face: id, a column a check that was made, and what they went by."""
    n = len(refined)
    columns: dict[str, Any] = {"id": refined.ids}
    for check in checks:
        if check.judged:
            hit = np.zeros(n, dtype=np.bool_)
            hit[check.rows] = True
            columns[check.name] = hit
    if found is not None:
        kept = {group.keep for group in found.groups}
        kinds = np.array([*(group.kind for group in found.groups), ""], dtype=np.str_)
        columns["duplicate_group"] = found.number
        columns["duplicate_kind"] = kinds[found.number]
        columns["duplicate_keep"] = (found.number < 0) | np.isin(refined.ids, list(kept))
    if seen is not None:
        for name in ("width", "height", "dark", "bright", "contrast", "sharpness"):
            columns[f"picture_{name}"] = getattr(seen, name)
    if nearness is not None:
        columns["nearness"] = nearness
    return columns


def write_table(columns: Mapping[str, Any], path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write the columns of `table_of` as Parquet; the file appears whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {name: pa.array(values.tolist() if values.dtype.kind == "U" else values) for name, values in columns.items()}
    )
    with replacing(path, overwrite) as stream:
        pq.write_table(table, stream, compression="zstd")
