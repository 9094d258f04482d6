"""Layout "expw": Expression in-the-Wild.

    label.lst (or label/label.lst), a line a face:
    image_name face_id_in_image face_box_top face_box_left face_box_right face_box_bottom
    face_box_confidence expression_label

    image/origin/NAME, origin/NAME or image/NAME

Source: Zhang, Luo, Loy, Tang, IJCV 2018, and the readme that comes with the data. Codes count from 0. A
picture may hold several faces.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from ..core.errors import InputError
from ..core.expressions import CLASS_SETS
from ..core.text import counted, shown
from ..core.types import Samples
from ..extraction.images import FileImages
from .assemble import assemble, one_hot
from .boxes import check_edges
from .folders import PICTURES
from .labels import resolve
from .lines import read_list, split_line
from .options import ReadOptions
from .table import numbers

_LOG = logging.getLogger(__name__)

LIST = "label.lst"


def expw_list(path: Path) -> Path | None:
    """Return the label list of an ExpW folder (or the list itself), or None if this is no ExpW."""
    return next((p for p in (path, path / LIST, path / "label" / LIST) if p.name == LIST and p.is_file()), None)


def read(path: Path, options: ReadOptions) -> Samples:
    """Read ExpW; a face's id is `image_name#face_id`, and its box crops it out of the picture."""
    labels = expw_list(path)
    if labels is None:
        raise InputError(f"{path} has no {LIST}, which ExpW keeps its labels in.")
    lines = read_list(labels, PICTURES)

    def where(i: int) -> str:
        return f"{labels.name} line {lines[i][0]}"

    names, ids, codes, further = [], [], [], 0
    boxes = np.empty((len(lines), 4), dtype=np.float32)
    for i, (_, line) in enumerate(lines):
        name, fields = split_line(line, PICTURES)
        box = numbers(" ".join(fields[1:5]))
        if len(fields) < 7 or len(box) != 4 or not np.isfinite(box).all():
            raise InputError(
                f"{where(i)}: '{shown(line)}' is not image_name face_id top left right bottom confidence label."
            )
        top, left, right, bottom = box
        with np.errstate(over="ignore"):
            boxes[i] = left, top, right, bottom
        names.append(name)
        ids.append(f"{name}#{fields[0]}")
        codes.append(fields[6])
        further += len(fields) > 7
    if further:
        _LOG.warning(
            "%s: %s more than 8 fields; those behind the label are left out.",
            labels.name,
            counted(further, "line holds", "lines hold"),
        )
    check_edges(boxes, labels.name)
    root = labels.parent.parent if labels.parent.name == "label" else labels.parent
    places = (root / "image" / "origin", root / "origin", root / "image", root)
    folder = options.images or next(place for place in places if place.is_dir())
    paths = [os.path.join(folder, name) for name in names]
    return assemble(
        layout="expw",
        source=str(labels),
        where=where,
        ids=ids,
        labels=one_hot(resolve(codes, where, options, CLASS_SETS["expw"])),
        options=options,
        paths=paths,
        images=FileImages(paths),
        boxes=boxes,
    )
