"""A folder per class, with or without folders per split, of links to the pictures or copies of them.

Faces of a set of folders keep their names. Other ids become file names, with the characters that a file name cannot
hold as %XX; faces cut out of their pictures are PNG, so that nothing is lost. `NAMES` says which file is which face:
`datasets.folders` reads the ids from it.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from urllib.parse import quote

from ...core.errors import InputError, StoreError
from ...core.types import Samples
from ...datasets.folders import NAMES, PICTURES
from ...datasets.options import split_name
from ...extraction.images import UnreadableImage, known_box, open_face
from .job import Job, check_pictures, place

#: Folder of faces without a label.
UNLABELED = "unlabeled"
#: Longest file name that common file systems take (bytes).
LONGEST_NAME = 255


def write(job: Job, folder: Path) -> None:
    """Write the folders.

    Raises
    ------
    InputError
        A class or split cannot be the name of a folder, two faces would be one file, or pictures are "none".
    StoreError
        A picture is missing or cannot be read.
    """
    job.hard("folders")
    if job.pictures == "none":
        raise InputError("--to folders --pictures none: folders are nothing but pictures. Choose link or copy.")
    for name in (*job.refined.classes, *set(job.refined.split.tolist())):
        if name in (".", "..") or "/" in name or "\0" in name or name.startswith("."):
            raise InputError(f"--to folders: '{name}' cannot be the name of a folder.")
    check_pictures(job)
    layout = job.refined.metadata.get("layout")
    names: dict[str, str] = {}
    for m, (row, name) in enumerate(zip(job.rows.tolist(), job.ids, strict=True)):
        split = str(job.refined.split[row])
        top = f"{split}/" if split else ""
        path = "" if _own_box(job, row) else str(job.refined.paths[row])
        file = top + (job.name(m) or UNLABELED) + "/" + _file_name(name, split, layout, path)
        if file in names:
            raise InputError(f"--to folders: '{names[file]}' and '{name}' would both be {file}.")
        names[file] = name
        _put(job, row, folder / file)
    with open(folder / NAMES, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("file", "id"), *names.items()])


def _file_name(name: str, split: str, layout: object, path: str) -> str:
    if layout == "folders" and path.replace(os.sep, "/").endswith(f"/{name}"):
        parts = name.split("/")
        if split and split_name(parts[0]) == split_name(split) and len(parts) > 2:
            parts = parts[1:]
        return "/".join(parts[1:] if len(parts) > 1 else parts)
    safe = quote(name, safe=" !#$&'()+,-;=@[]^_`{}~")
    safe = f"%2E{safe[1:]}" if safe.startswith(".") else safe
    suffix = os.path.splitext(path)[1].lower()
    suffix = suffix if suffix in PICTURES else ".png"
    whole = safe if safe.lower().endswith(suffix) else safe + suffix
    if len(whole.encode()) > LONGEST_NAME:
        raise InputError(f"--to folders: the id '{name}' is too long for a file name.")
    return whole


def _own_box(job: Job, row: int) -> bool:
    """Return whether the set says by a box where in its picture a face is."""
    return job.samples is not None and job.own is not None and known_box(job.samples, int(job.own[row])) is not None


def _put(job: Job, row: int, target: Path) -> None:
    """Put a face's picture at `target`: its file, or, where it has a box or lies inside a table, the face itself."""
    path = str(job.refined.paths[row])
    if job.samples is not None and job.own is not None:
        own = int(job.own[row])
        if job.samples.images is not None and (not job.samples.paths[own] or _own_box(job, row)):
            _save(job.samples, own, target)
            return
        path = path if os.path.isfile(path) else str(job.samples.paths[own])
    if not path:
        raise StoreError(f"'{job.refined.ids[row]}' has no picture file. Name the set that holds it, --dataset SET.")
    place(Path(path), target, job.pictures)


def _save(samples: Samples, row: int, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        open_face(samples, row).save(target, "PNG")
    except UnreadableImage as error:
        raise StoreError(f"'{samples.ids[row]}': its picture cannot be read ({error}).") from error
