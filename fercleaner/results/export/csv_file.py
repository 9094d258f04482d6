"""A CSV that any tool, a spreadsheet and fercleaner itself read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ...core import cells
from ...core.arrays import Ints
from ...core.errors import InputError
from ...core.refined import RefinedSet

#: Columns of the CSV before those of the classes.
COLUMNS = (
    "id",
    "image",
    "split",
    "given_label",
    "label",
    "weight",
    "quality",
    "flagged",
    "reason",
    "neighbors_for",
    "neighbors_against",
)
#: What stands between two ids in a cell of the CSV.
BETWEEN = "; "


def csv_content(refined: RefinedSet, rows: Ints, path: Path) -> tuple[bytes, int]:
    """Return the CSV of `rows` and how many rows have cells made harmless; `path` is where it will stand."""
    for name in refined.classes:
        if name in COLUMNS:
            raise InputError(f"Class '{name}' has the name of a column of the CSV. Export to .npz instead.")
    given, label = refined.given_label, refined.label
    images = from_folder(refined.paths.tolist(), path.parent)
    text, escaped = cells.written(
        [*COLUMNS, *refined.classes],
        (
            (
                str(refined.ids[row]),
                images[row] or str(refined.ids[row]),
                str(refined.split[row]),
                refined.classes[given[row]] if given[row] >= 0 else "",
                refined.classes[label[row]],
                Number(refined.weight[row]),
                Number(refined.quality[row]),
                int(refined.flagged[row]),
                str(refined.reason[row]),
                BETWEEN.join(refined.neighbors_for[row]),
                BETWEEN.join(refined.neighbors_against[row]),
                *map(Number, refined.distribution[row]),
            )
            for row in rows.tolist()
        ),
    )
    return text.encode("utf-8"), escaped


def from_folder(paths: list[str], folder: Path) -> list[str]:
    """Return relative `paths` as they lead from `folder`; unchanged where none leads to a file from here."""
    relative = [path for path in paths if path and not os.path.isabs(path) and "\0" not in path]
    if os.path.realpath(folder) == os.path.realpath(".") or not any(os.path.exists(path) for path in relative):
        return paths
    moved = {path: os.path.relpath(path, os.path.realpath(folder)) for path in set(relative)}
    return [moved.get(path, path) for path in paths]


class Number:
    """A float32 that is written as the shortest decimal that is this number."""

    def __init__(self, value: np.float32) -> None:
        self._text = np.format_float_positional(value, unique=True, trim="0")

    def __str__(self) -> str:
        return self._text
