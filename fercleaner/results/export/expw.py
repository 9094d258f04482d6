"""ExpW's label.lst with other codes; boxes, confidences and everything else of the set as they are."""

from __future__ import annotations

from pathlib import Path

from ...datasets import expw
from ...datasets.folders import PICTURES
from ...datasets.lines import read_lines, split_line
from .job import Job, codes_of, mirror, with_field, write_text

LAYOUTS = ("expw",)
#: Fields behind a picture's name: the number of the face comes first, the code of its expression seventh.
FACE, CODE = 0, 6


def write(job: Job, folder: Path) -> None:
    """Write the list with the codes of the faces that changed."""
    job.hard("expw")
    source = job.own_source("expw", LAYOUTS)
    labels = expw.expw_list(source)
    assert labels is not None  # it was read from there
    codes = codes_of(job.refined.classes, "expw")
    place_of = {name: m for m, name in enumerate(job.ids)}
    lines = []
    for _, line in read_lines(labels):
        name, fields = split_line(line, PICTURES)
        m = place_of.get(f"{name}#{fields[FACE]}")
        if m is not None:
            lines.append(with_field(line, CODE, str(codes[job.name(m)])) if job.labels.replaced[m] else line)
    inside = labels.parent.name == "label"
    root = labels.parent.parent if inside else labels.parent
    target = f"label/{labels.name}" if inside else labels.name
    write_text(folder / target, "\n".join(lines) + "\n")
    mirror(root, folder, [target], job.pictures)
