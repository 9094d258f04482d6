"""Layouts "rafdb" and "rafdb-compound": RAF-DB's basic and compound sets.

    EmoLabel/list_patition_label.txt      train_00001.jpg 5          (the file name is spelled so)
    Image/aligned/train_00001_aligned.jpg
    Image/original/train_00001.jpg
    Annotation/boundingbox/train_00001_boundingbox.txt               left top right bottom

Source: Li, Deng, Du, CVPR 2017, and the readme that comes with the data. Codes count from 1.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import numpy as np

from ..core.arrays import Floats
from ..core.errors import InputError
from ..core.expressions import CLASS_SETS
from ..core.text import counted, shown
from ..core.types import Samples
from ..extraction.images import FileImages
from .assemble import assemble, one_hot
from .folders import PICTURES, not_listed
from .labels import resolve
from .lines import read_lines, read_list, split_line
from .options import ReadOptions
from .table import number, numbers, unreadable

_LOG = logging.getLogger(__name__)

#: Codes joined by a mark, where blanks stand behind the name.
_SEVERAL = re.compile(r"^\"?\s+\d+\s*[,;|/+]\s*\d+")

#: The two sets, and the codes that only the second has.
BASIC, COMPOUND = "rafdb", "rafdb-compound"
COMPOUND_ALONE = (8, 9, 10, 11)
LIST = Path("EmoLabel") / "list_patition_label.txt"


def rafdb_list(path: Path) -> Path | None:
    """Return the label list of a RAF-DB folder (or the list itself), or None if this is no RAF-DB."""
    for place in (path, path / LIST, path / LIST.name):
        if place.name == LIST.name and place.is_file():
            return place
    return None


def kind(labels: Path) -> tuple[str, str]:
    """Return "rafdb" or "rafdb-compound" and why: compound has codes up to 11, or says so in its path.

    Raises
    ------
    InputError
        All codes of the basic set are there, and some above 7, but not all of the compound set's: a basic set with a
        slip or a class more, or a part of the compound set.
    """
    lines = [(row, split_line(line, PICTURES)[1]) for row, line in read_lines(labels)]
    codes = {number(fields[0]): row for row, fields in reversed(lines) if fields}
    above = [code for code in COMPOUND_ALONE if code in codes]
    root = _root(labels)
    if "compound" in root.resolve().name.lower():
        return COMPOUND, f"the folder is named {root.resolve().name}"
    if above and len(above) < len(COMPOUND_ALONE) and codes.keys() >= set(CLASS_SETS[BASIC].codes):
        raise InputError(
            f"{labels.name} line {codes[above[0]]}: code {above[0]} is none of RAF-DB's basic set (1 to 7), and of the "
            f"compound set (1 to 11) not all codes are there. Which is it? --layout {COMPOUND}, or --layout {BASIC} "
            f"with --alias {above[0]}=NAME for a class of your own, --alias {above[0]}= for no label."
        )
    if above:
        return COMPOUND, "its codes go beyond 7"
    return BASIC, "its codes end at 7"


def read(path: Path, options: ReadOptions, layout: str = "rafdb") -> Samples:
    """Read RAF-DB from its folder or its list.

    Aligned faces are taken where `Image/aligned` exists, else the originals, with their face boxes where
    `Annotation/boundingbox` has them. Ids are the names as the list writes them; splits their first word.
    """
    labels = rafdb_list(path)
    if labels is None:
        raise InputError(f"{path} has no {LIST.as_posix()}, which RAF-DB keeps its labels in.")
    lines = read_list(labels, PICTURES)

    def where(i: int) -> str:
        return f"{labels.name} line {lines[i][0]}"

    names, codes, further = [], [], 0
    for i, (_, line) in enumerate(lines):
        name, fields = split_line(line, PICTURES)
        if not fields or (
            not name.lower().endswith(PICTURES) and (len(fields) > 1 or fields[0].lower().endswith(PICTURES))
        ):
            raise InputError(f"{where(i)}: '{shown(line)}' is not a file name and a code, such as 'train_00001.jpg 5'.")
        if _SEVERAL.search(line[line.index(name) + len(name) :]) or (
            len(fields) >= len(CLASS_SETS[layout].classes) and all(number(field) == number(field) for field in fields)
        ):
            raise InputError(
                f"{where(i)}: '{shown(line)}' holds {len(fields)} numbers behind the name: several labels, or a "
                "count a class? A list holds one code a face; write a manifest with a column a class "
                "(image,anger,happiness,...)."
            )
        names.append(name)
        codes.append(fields[0])
        further += len(fields) > 1
    if further:
        _LOG.warning(
            "%s: %s more than a name and a code; the code is what stands right behind the name, the rest is left out.",
            labels.name,
            counted(further, "line holds", "lines hold"),
        )
    root = _root(labels)
    folder = options.images or next(
        (f for f in (root / "Image" / "aligned", root / "Image" / "original", root / "aligned") if f.is_dir()),
        root / "Image" / "aligned",
    )
    paths = _find(folder, names)
    return assemble(
        layout=layout,
        source=str(labels),
        where=where,
        ids=names,
        labels=one_hot(resolve(codes, where, options, CLASS_SETS[layout])),
        options=options,
        paths=paths,
        images=FileImages(paths),
        split=[name.replace("\\", "/").rsplit("/", 1)[-1].split("_", 1)[0] for name in names],
        boxes=_boxes(root, names, paths),
        provenance={"files_left_out": dict(not_listed(folder, map(os.path.basename, paths), labels.name))},
    )


def _root(labels: Path) -> Path:
    return labels.parent.parent if labels.parent.name == "EmoLabel" else labels.parent


def _find(folder: Path, names: list[str]) -> list[str]:
    """Return each name's file: with the suffix "_aligned" where there, or where neither is there."""
    try:
        there = set(os.listdir(folder)) if folder.is_dir() else set()
    except OSError as error:
        raise unreadable(folder, error) from error
    paths = []
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        aligned = name if stem.endswith("_aligned") else f"{stem}_aligned{dot}{suffix}"
        take = aligned if aligned in there or (name not in there and folder.name == "aligned") else name
        paths.append(os.path.join(folder, take))
    return paths


def _boxes(root: Path, names: list[str], paths: list[str]) -> Floats | None:
    """Return the face boxes of the originals; an aligned face is its own box."""
    originals = [i for i, path in enumerate(paths) if not Path(path).stem.endswith("_aligned")]
    folder = next((f for f in (root / "Annotation" / "boundingbox", root / "boundingbox") if f.is_dir()), None)
    if folder is None or not originals:
        return None
    boxes = np.full((len(names), 4), np.nan, dtype=np.float32)
    for i in originals:
        file = folder / f"{Path(names[i]).stem}_boundingbox.txt"
        if not file.is_file():
            continue
        values = numbers(" ".join(line for _, line in read_lines(file)))
        if len(values) != 4 or not np.isfinite(values).all():
            raise InputError(f"{file}: expected four numbers, left top right bottom.")
        boxes[i] = values
    return boxes
