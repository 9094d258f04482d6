"""Layout "ferplus-folders": FERPlus as its own script writes it, a folder a split.

    FER2013Train/label.csv      fer0000002.png,"(0, 0, 48, 48)",5,0,0,1,3,1,0,0,0,0       (no header)
    FER2013Train/fer0000002.png

Source: Barsoum et al., ICMI 2016, and the script that comes with the votes. The ten counts are in the order
of `expressions.FERPLUS_VOTES`.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np

from ..core.errors import InputError
from ..core.expressions import FERPLUS_VOTES
from ..core.types import Samples
from ..extraction.images import FileImages
from .assemble import assemble
from .fer2013 import votes_given
from .folders import not_listed
from .options import ReadOptions, split_name
from .table import Table, numbers, read_rows

FOLDERS = ("FER2013Train", "FER2013Valid", "FER2013Test")
LIST = "label.csv"


def folders_of(path: Path) -> list[Path]:
    """Return the split folders that hold a label.csv, `path` itself included."""
    return [f for f in (path, *(path / name for name in FOLDERS)) if f.name in FOLDERS and (f / LIST).is_file()]


def read(path: Path, options: ReadOptions) -> Samples:
    """Read FERPlus's folders; ids are paths from `path`, boxes those of the lists."""
    if options.votes.given_from == "label":
        raise InputError(f"{path}: FERPlus's folders hold votes and no labels; given_from 'label' needs fer2013.csv.")
    folders = folders_of(path)
    if not folders:
        raise InputError(f"{path} holds none of {', '.join(FOLDERS)} with a {LIST} inside.")
    records: list[tuple[Path, int, list[str]]] = []
    for folder in folders:
        for row, cells in read_rows(folder / LIST):
            if row == 1 and len(cells) > 1 and cells[1].isalpha():
                continue  # a row of names, which the published lists have not
            if len(cells) != 12:
                raise InputError(
                    f"{folder.name}/{LIST} row {row}: {len(cells)} cells, expected 12: name, box, 10 counts."
                )
            records.append((folder, row, [cell.strip() for cell in cells]))

    def where(i: int) -> str:
        return f"{records[i][0].name}/{LIST} row {records[i][1]}"

    if not records:
        raise InputError(f"{path}: every {LIST} is empty.")
    boxes = np.array([_box(cells[1], where(i)) for i, (_, _, cells) in enumerate(records)])
    counts = {name: [cells[2 + c] for _, _, cells in records] for c, name in enumerate(FERPLUS_VOTES)}
    table = Table(LIST, counts, places=where)
    passed: Counter[str] = Counter()
    for folder in folders:
        passed += not_listed(folder, (cells[0] for f, _, cells in records if f == folder), f"{folder.name}/{LIST}")
    paths = [os.path.join(options.images / f.name if options.images else f, cells[0]) for f, _, cells in records]
    return assemble(
        layout="ferplus-folders",
        source=str(path),
        where=where,
        ids=[cells[0] if f == path else f"{f.name}/{cells[0]}" for f, _, cells in records],
        labels=votes_given(table, options),
        options=options,
        paths=paths,
        images=FileImages(paths),
        split=[split_name(f.name) or f.name for f, _, _ in records],
        boxes=boxes,
        provenance={"files_left_out": dict(passed)},
    )


def _box(cell: str, where: str) -> list[float]:
    box = numbers(cell)
    if len(box) != 4 or not np.isfinite(box).all():
        raise InputError(f"{where}: box '{cell}' is not (left, top, right, bottom) in pixels.")
    return box
