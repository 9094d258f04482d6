"""FER2013's csv with other codes in the column of labels; pixels and usage as they are."""

from __future__ import annotations

import csv
from pathlib import Path

from ...core.errors import InputError
from ...datasets import fer2013
from ...datasets.options import COLUMN_NAMES, spelled
from ...datasets.table import read_rows
from .job import Job, codes_of

LAYOUTS = ("fer2013",)


def write(job: Job, folder: Path) -> None:
    """Write the csv, a row at a time. Ids are row numbers: faces left out shift those after them."""
    job.hard("fer2013")
    source = job.own_source("fer2013", LAYOUTS)
    file = fer2013.csv_of(source)
    assert file is not None  # it was read from there
    codes = codes_of(job.refined.classes, "fer2013")
    place_of = {name: m for m, name in enumerate(job.ids)}
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / file.name, "w", encoding="utf-8", newline="") as out:
        stream, writer = read_rows(file), csv.writer(out, lineterminator="\n")
        _, header = next(stream)
        writer.writerow(header)
        names = [spelled(cell) for cell in header]
        label = next((name for name in ("emotion", *COLUMN_NAMES["label"]) if name in names), None)
        if label is None:
            raise InputError(f"{file} has no column 'emotion' to write labels into.")
        emotion = names.index(label)
        for number, (_, cells) in enumerate(stream):
            m = place_of.get(f"{number:05d}")
            if m is not None:
                if job.labels.replaced[m]:
                    cells[emotion] = str(codes[job.name(m)])
                writer.writerow(cells)
