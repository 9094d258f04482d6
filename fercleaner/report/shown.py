"""The faces that the page shows, each with its picture and what speaks for and against its label."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.arrays import Ints, Progress
from ..core.refined import RefinedSet
from ..core.types import Posteriors, Samples
from .material import NEIGHBORS, Material, ambiguous
from .pictures import Sprite, points_in_tile, sprite, tile_side

#: Sides of the pictures at most (pixels): of a face, and of a neighbor or an example.
FACE_SIDE, SMALL_SIDE = 112, 48
#: Kinds of reasons that faces can be filtered by, and how the pieces of a reason are told apart.
REASONS = (
    ("neighbors", re.compile(r" nearest are ")),
    ("action units", re.compile(r"^(but )?(no )?AU\d")),
    ("landmarks against expression", re.compile(r"^(but )?landmarks give ")),
    ("no view of the face", re.compile(r"^no view of this face")),
    ("in doubt", re.compile(r"^in doubt")),
    ("kept for its class", re.compile(r"^kept against the evidence")),
)
#: Kinds of landmarks (`Landmarks.spec`) in pixels of the whole picture; detectors see the face that its box cuts out.
OF_PICTURE = ("dataset", "points-file")
#: "builtin says happiness (0.97)", "probe gives sad 0.02".
EXPERT = re.compile(r"^(?:but )?(\S+) (?:says|gives) ")


def pictures(
    refined: RefinedSet, faces: Samples, rows: Ints, examples: Sequence[int], progress: Progress | None = None
) -> dict[str, Sprite]:
    """Return the sprites: "faces" of the shown ones, "small" of their neighbors and of the examples of checks."""
    small = sorted({*neighbor_rows(refined, rows), *examples})
    face_side = tile_side(faces, rows.tolist(), FACE_SIDE)
    total = len(rows) + len(small)

    def after(count: int) -> Progress | None:
        return None if progress is None else lambda done, _: progress(count + done, total)

    return {
        "faces": sprite(faces, rows.tolist(), face_side, after(0)),
        "small": sprite(faces, small, min(SMALL_SIDE, face_side), after(len(rows))),
    }


def neighbor_rows(refined: RefinedSet, rows: Ints) -> list[int]:
    """Return the rows of the neighbors shown beside `rows`."""
    names = {
        name
        for row in rows.tolist()
        for side in (refined.neighbors_for, refined.neighbors_against)
        for name in side[row][:NEIGHBORS]
    }
    return [row for row, name in enumerate(refined.ids.tolist()) if name in names]


def shown_faces(
    refined: RefinedSet, faces: Samples, rows: Ints, sprites: Mapping[str, Sprite], material: Material
) -> list[dict[str, Any]]:
    """Return what the page says of each shown face, in the order of `rows`."""
    unsure, given, label = ambiguous(refined), refined.given_label, refined.label
    at = {name: row for row, name in enumerate(refined.ids.tolist())}
    marks = _marks(faces, rows, sprites["faces"], material)
    return [
        {
            "row": row,
            "id": str(refined.ids[row]),
            "path": str(refined.paths[row]),
            "kind": "ambiguous" if unsure[row] else "suspicious",
            "given": int(given[row]),
            "refined": int(label[row]),
            "given_distribution": _rounded(refined.given[row]),
            "distribution": _rounded(refined.distribution[row]),
            "quality": round(float(refined.quality[row]), 4),
            "weight": round(float(refined.weight[row]), 4),
            "flagged": bool(refined.flagged[row]),
            "changed": bool(refined.changed[row]),
            "reason": str(refined.reason[row]),
            "reasons": kinds_of(str(refined.reason[row])),
            "tile": sprites["faces"].tiles.get(row, -1),
            "missing": sprites["faces"].missing.get(row, ""),
            "points": marks.get(row, []),
            "for": _named(refined.neighbors_for[row], at, given, sprites["small"]),
            "against": _named(refined.neighbors_against[row], at, given, sprites["small"]),
            "support": {
                name: round(float(values[row]), 4)
                for name, values in sorted(refined.evidence.items())
                if not np.isnan(values[row])
            },
            "experts": _experts(refined, row, material.posteriors),
        }
        for row in rows.tolist()
    ]


def kinds_of(reason: str) -> list[str]:
    """Return which kinds of evidence a reason names, to filter by.

    Examples
    --------
    >>> kinds_of("labeled sad; refined to happy (0.93); 9 of 10 nearest are happy; AU6+AU12 high; probe gives sad 0.02")
    ['neighbors', 'action units', 'expert: probe']
    """
    kinds = []
    for piece in reason.split("; "):
        kind = next((name for name, pattern in REASONS if pattern.search(piece)), None)
        expert = EXPERT.match(piece)
        if kind is None and expert is not None:
            kind = f"expert: {expert[1]}"
        if kind is not None and kind not in kinds:
            kinds.append(kind)
    return kinds


def _named(names: Sequence[str], at: Mapping[str, int], given: Ints, small: Sprite) -> list[dict[str, Any]]:
    found = [(name, at.get(name, -1)) for name in names[:NEIGHBORS]]
    return [
        {"id": name, "given": int(given[row]) if row >= 0 else -1, "tile": small.tiles.get(row, -1)}
        for name, row in found
    ]


def _experts(refined: RefinedSet, row: int, posteriors: Mapping[str, Posteriors]) -> list[dict[str, Any]]:
    """Return the distributions of the experts that know a face; of those over the same classes."""
    return [
        {"name": name, "distribution": _rounded(table.values[row])}
        for name, table in sorted(posteriors.items())
        if table.classes == refined.classes and table.found[row]
    ]


def _marks(faces: Samples, rows: Ints, tiles: Sprite, material: Material) -> dict[int, list[list[float]]]:
    """Return the landmarks of the shown faces in pixels of their tiles, by row."""
    landmarks = material.landmarks
    whole = landmarks is None or landmarks.spec.get("kind", OF_PICTURE[0]) in OF_PICTURE
    marks: dict[int, list[list[float]]] = {}
    for row in tiles.tiles:
        if landmarks is not None and landmarks.found[row]:
            points = landmarks.points[row]
        elif landmarks is None and faces.points is not None and not np.isnan(faces.points[row]).any():
            points = faces.points[row]
        else:
            continue
        boxed = faces.boxes is not None and not np.isnan(faces.boxes[row]).any()
        if whole and boxed and faces.boxes is not None and np.abs(points).max() > 2:
            points = points - np.maximum(np.rint(faces.boxes[row, :2]), 0)
        marks[row] = points_in_tile(points, tiles.place[row])
    return marks


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 4) for value in values]
