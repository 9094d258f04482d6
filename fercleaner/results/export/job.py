"""What every target gets to work with, and what they share: codes of a layout, pictures linked or copied."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.arrays import Ints
from ...core.errors import InputError, StoreError
from ...core.expressions import CLASS_SETS
from ...core.refined import RefinedSet
from ...core.text import shown
from ...core.types import Samples
from ...datasets.folders import PICTURES as PICTURE_ENDINGS
from ...datasets.lines import split_line
from ...extraction.images import FileImages
from ...extraction.stores import is_address
from .selection import ExportedLabels

#: What becomes of pictures: links to them, copies, or neither.
PICTURES = ("link", "copy", "none")


@dataclass(frozen=True, eq=False)
class Job:
    """An export into a folder.

    Parameters
    ----------
    refined : RefinedSet
    rows : (M,) int64
        Faces to write, in their order.
    labels : ExportedLabels
        Of these rows.
    source : Path, optional
        The set that was refined, as the user names it.
    samples : Samples, optional
        That set, read.
    own : (N,) int64, optional
        Row of each refined face in that set.
    pictures : str
        One of `PICTURES`.
    """

    refined: RefinedSet
    rows: Ints
    labels: ExportedLabels
    source: Path | None = None
    samples: Samples | None = None
    own: Ints | None = None
    pictures: str = "link"

    @property
    def ids(self) -> list[str]:
        """Ids of the faces to write."""
        return [str(name) for name in self.refined.ids[self.rows]]

    def name(self, m: int) -> str:
        """Return the class to write of the m-th face, "" for none."""
        index = int(self.labels.index[m])
        return self.refined.classes[index] if index >= 0 else ""

    def hard(self, target: str) -> None:
        """Raise InputError where distributions are asked for and the target holds one label a face."""
        if self.labels.which == "distribution":
            raise InputError(
                f"--to {target} holds one label a face and no distributions. Choose --label refined, flagged or given; "
                "distributions go into huggingface, cleanlab, a manifest of a set that is one, and .csv and .npz."
            )

    def own_source(self, target: str, layouts: Collection[str]) -> Path:
        """Return the set whose lists are to be rewritten; InputError where it is not named or has another layout."""
        if self.source is None or self.samples is None:
            raise InputError(f"--to {target} rewrites the set's own list: name the refined set, --dataset SET.")
        if self.samples.layout not in layouts:
            raise InputError(
                f"--to {target}: {self.source} has the layout {self.samples.layout}. A set is written in its own "
                "format (--to own), or as folders, huggingface, cleanlab or label-studio; a table of any set is a name "
                "that ends in .csv, without --to."
            )
        return self.source


def codes_of(classes: Iterable[str], class_set: str) -> dict[str, int]:
    """Return class -> code in a published class set; InputError for a class outside it."""
    known = {name: code for code, name in CLASS_SETS[class_set].codes.items()}
    codes = {}
    for name in classes:
        if name not in known:
            raise InputError(f"Class '{name}' has no code in {CLASS_SETS[class_set].title} ({', '.join(known)}).")
        codes[name] = known[name]
    return codes


def with_field(line: str, number: int, text: str) -> str:
    """Return a line of a list with one of the fields behind the name (`lines.split_line`) replaced."""
    name, fields = split_line(line, PICTURE_ENDINGS)
    end = line.index(name) + len(name)
    for field in fields[: number + 1]:
        start = line.index(field, end)
        end = start + len(field)
    return line[:start] + text + line[end:]


def check_pictures(job: Job, more: str = "") -> None:
    """Raise StoreError where pictures that are files are not there: how many, the first, and the way out (`more`)."""
    if job.samples is not None and not isinstance(job.samples.images, FileImages):
        return
    gone = []
    for row in job.rows.tolist():
        names = [str(job.refined.paths[row])]
        if job.samples is not None and job.own is not None:
            names.append(str(job.samples.paths[int(job.own[row])]))
        names = [name for name in names if name]
        if names and not any(is_address(name) or os.path.isfile(name) for name in names):
            gone.append(names[-1])
    if not gone:
        return
    way = "Name the folder that the set's pictures lie in: --images DIR."
    if job.samples is None:
        way = "Run the command where the paths of the refined file start, or name the set: --dataset SET."
    if len(gone) < len(job.rows):
        way += " If they are gone for good, refine the set without them."
    raise StoreError(
        f"{len(gone):,} of {len(job.rows):,} pictures are not where they should be; first: {shown(gone[0], 300)}. "
        f"{way}{more}"
    )


def place(source: Path, target: Path, pictures: str) -> None:
    """Link or copy one file or folder to `target`, whose folder is made; nothing for pictures "none".

    Raises
    ------
    StoreError
        A picture cannot be read, linked or copied.
    OSError
        The disk is full, which is said of the whole export.
    """
    if pictures == "none":
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if pictures == "link":
            target.symlink_to(os.path.realpath(source))
        elif source.is_dir():
            _copy_tree(source, target)
        else:
            shutil.copy2(source, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        first = error.filename or source
        raise StoreError(f"{first} cannot be put at {target}: {error.strerror or error}.") from error


def _copy_tree(source: Path, target: Path) -> None:
    """Copy a folder, links followed; stop at the first error, where shutil.copytree would list one for each file."""
    target.mkdir()
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir():
                _copy_tree(Path(entry.path), target / entry.name)
            else:
                shutil.copy2(entry.path, target / entry.name)


def mirror(source: Path, target: Path, rewritten: Collection[str], pictures: str, only: Collection[str] = ()) -> None:
    """Put everything of a folder into another, but for the files in `rewritten` (paths from it with "/").

    Folders that hold no rewritten file are linked or copied whole. `only`, where given, names the entries at the top
    that are wanted.
    """
    target.mkdir(parents=True, exist_ok=True)
    for entry in sorted(os.listdir(source)):
        if (only and entry not in only) or entry in rewritten or entry.startswith("."):
            continue
        inside = [name.split("/", 1)[1] for name in rewritten if name.startswith(f"{entry}/")]
        if inside:
            mirror(source / entry, target / entry, inside, pictures)
        else:
            place(source / entry, target / entry, pictures)


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a .npy in one piece, so that a full disk is said by the system and not by NumPy's count of items."""
    held = io.BytesIO()
    np.save(held, array)
    path.write_bytes(held.getbuffer())


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with the line ends that the text has; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))
