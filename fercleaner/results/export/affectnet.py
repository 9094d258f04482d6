"""AffectNet with other codes: the csv lists of the first release, the *_exp.npy files of the later one."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from ...datasets import affectnet
from ...datasets.table import read_rows, read_table
from .job import Job, codes_of, mirror, place, write_array, write_text

CSV_LAYOUTS, NPY_LAYOUTS = ("affectnet",), ("affectnet-npy",)


def write_csv(job: Job, folder: Path) -> None:
    """Write the lists with the codes of the faces that changed; all other columns stay as they are."""
    job.hard("affectnet")
    source = job.own_source("affectnet", CSV_LAYOUTS)
    lists = affectnet.lists_of(source)
    codes = codes_of(job.refined.classes, "affectnet8")
    place_of = {name: m for m, name in enumerate(job.ids)}
    root = lists[0].parent
    root = root.parent if root.name in affectnet.LIST_FOLDERS[1:] else root
    rewritten = []
    for file in lists:
        table, held = read_table(file, affectnet.KEY_COLUMN.__eq__), dict(read_rows(file))
        assert table.rows is not None  # it is a file of text
        header = next(iter(held.values()))
        expression = [cell.strip() for cell in header].index("expression")
        kept = [header]
        for name, number in zip(table.columns[affectnet.KEY_COLUMN], table.rows, strict=True):
            m = place_of.get(name)
            if m is not None:
                if job.labels.replaced[m]:
                    held[number][expression] = str(codes[job.name(m)])
                kept.append(held[number])
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(kept)
        name = file.relative_to(root).as_posix()
        write_text(folder / name, text.getvalue())
        rewritten.append(name)
    if source.is_dir():
        others = [
            f"{place}{name}"
            for place in ("", *(f"{p}/" for p in affectnet.LIST_FOLDERS[1:]))
            for name in affectnet.LISTS
        ]
        mirror(root, folder, {*rewritten, *others}, job.pictures)


def write_npy(job: Job, folder: Path) -> None:
    """Write images/ and annotations/ of the faces kept: *_exp.npy of those that changed; the rest linked or copied."""
    job.hard("affectnet-npy")
    source = job.own_source("affectnet-npy", NPY_LAYOUTS)
    codes = codes_of(job.refined.classes, "affectnet8")
    place_of = {name: m for m, name in enumerate(job.ids)}
    files = job.pictures if job.pictures != "none" else "copy"
    for part in affectnet.sets_of(source):
        start = "" if part == source else f"{part.name}/"
        target = folder / start
        (target / "images").mkdir(parents=True, exist_ok=True)
        (target / "annotations").mkdir(parents=True, exist_ok=True)
        kept: dict[str, int] = {}
        for name, m in place_of.items():
            if name.startswith(f"{start}images/") and "/" not in name.removeprefix(f"{start}images/"):
                kept[Path(name).stem] = m
                picture = part / "images" / Path(name).name
                if picture.exists():
                    place(picture, target / "images" / picture.name, job.pictures)
        for note in sorted((part / "annotations").iterdir()):
            owner = kept.get(note.name.rpartition("_")[0])
            if owner is None:
                continue
            if note.name.endswith("_exp.npy") and job.labels.replaced[owner]:
                write_array(target / "annotations" / note.name, np.array(str(codes[job.name(owner)])))
            else:
                place(note, target / "annotations" / note.name, files)
        for name, m in ((name, m) for name, m in kept.items() if job.labels.replaced[m]):
            file = target / "annotations" / f"{name}_exp.npy"
            if not file.exists():  # a face that had no annotation
                write_array(file, np.array(str(codes[job.name(m)])))
