"""RAF-DB's list_patition_label.txt with other codes; everything else of the set as it is."""

from __future__ import annotations

from pathlib import Path

from ...datasets import rafdb
from ...datasets.folders import PICTURES
from ...datasets.lines import read_lines, split_line
from .job import Job, codes_of, mirror, with_field, write_text

LAYOUTS = ("rafdb", "rafdb-compound")


def write(job: Job, folder: Path) -> None:
    """Write the list with the codes of the faces that changed; lines of other faces stay as they are."""
    job.hard("rafdb")
    source = job.own_source("rafdb", LAYOUTS)
    assert job.samples is not None  # own_source has seen to it
    labels = rafdb.rafdb_list(source)
    assert labels is not None  # it was read from there
    codes = codes_of(job.refined.classes, job.samples.layout)
    place_of = {name: m for m, name in enumerate(job.ids)}
    lines = []
    for _, line in read_lines(labels):
        m = place_of.get(split_line(line, PICTURES)[0])
        if m is not None:
            lines.append(with_field(line, 0, str(codes[job.name(m)])) if job.labels.replaced[m] else line)
    inside = labels.parent.name == rafdb.LIST.parent.name
    target = folder / rafdb.LIST if inside else folder / labels.name
    write_text(target, "\n".join(lines) + "\n")
    root = labels.parent.parent if inside else labels.parent
    if source.is_dir() or inside:
        mirror(root, folder, [str(target.relative_to(folder).as_posix())], job.pictures)
