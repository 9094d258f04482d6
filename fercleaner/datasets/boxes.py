"""Face boxes of a manifest: left, top, right, bottom in pixels, in one column or four."""

from __future__ import annotations

import numpy as np

from ..core.arrays import Floats
from ..core.errors import InputError
from ..core.text import shown
from .options import spelled
from .table import MISSING_NUMBERS, Table, numbers

EDGES = ("left", "top", "right", "bottom")
#: Deviation of log(width / height) above which boxes are no boxes of faces, whose shapes are much alike.
_SHAPES = 0.3
#: Part of the boxes that have sides above 0, below which their edges are in another order.
_SOUND = 0.8
#: Boxes within this are shares of a picture, no pixels.
_SHARES = 2.0
#: Boxes from which on their shapes are compared.
_COMPARED_FROM = 10


def boxes_of(table: Table, column: str | None) -> Floats | None:
    """Return the face boxes (N, 4), NaN where a row has none, or None without box columns."""
    lower = {spelled(name): name for name in table.columns}
    if column is not None:
        cells = table.columns[column]
    elif all(edge in lower for edge in EDGES):
        cells = [" ".join(parts).strip() for parts in zip(*(table.columns[lower[e]] for e in EDGES), strict=True)]
    else:
        return None
    boxes = np.full((len(cells), 4), np.nan, dtype=np.float32)
    for i, cell in enumerate(cells):
        values = numbers(cell)
        if cell.casefold() in MISSING_NUMBERS or (len(values) == 4 and not any(values)):
            continue  # 0 0 0 0: a detector that found no face
        if len(values) != 4 or not np.isfinite(values).all() or values[2] <= values[0] or values[3] <= values[1]:
            raise InputError(
                f"{table.where(i)}: box '{shown(cell)}' is not 'left top right bottom' in pixels. Write the corners."
            )
        boxes[i] = values
    known = boxes[~np.isnan(boxes).any(1)]
    if len(known) and np.abs(known).max() <= _SHARES:
        raise InputError(
            f"{table.name}: no corner of a box lies beyond {np.abs(known).max():g}: are these shares of the picture's "
            "width and height? Write pixels."
        )
    _check_corners(boxes[~np.isnan(boxes).any(1)], table.name)
    return boxes


def check_edges(boxes: Floats, name: str) -> None:
    """Raise InputError where boxes (N, 4) that were read as top, left, right, bottom have another order of edges.

    Boxes of faces are much alike in shape; edges in another order make them differ, or turn them inside out.
    """
    if len(boxes) < _COMPARED_FROM:
        return
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    sound = (width > 0) & (height > 0)
    shapes = float(np.std(np.log(width[sound] / height[sound]))) if sound.any() else 0.0
    if shapes > _SHAPES or sound.mean() < _SOUND:
        raise InputError(
            f"{name}: read as top, left, right, bottom, as ExpW has them, {int((~sound).sum()):,} of {len(boxes):,} "
            f"boxes have no area, and the shapes of the others differ by {shapes:.0%}: are the edges in another order, "
            "or width and height? Write them in ExpW's order."
        )


def _check_corners(boxes: Floats, name: str) -> None:
    """Raise InputError where boxes are much alike in shape as x, y, width, height, and not at all as two corners."""
    if len(boxes) < _COMPARED_FROM:
        return
    as_sizes = float(np.std(np.log(boxes[:, 2] / np.maximum(boxes[:, 3], 1))))
    as_corners = float(np.std(np.log((boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1]))))
    if as_corners > _SHAPES and as_corners > 3 * as_sizes:
        raise InputError(
            f"{name}: the boxes look like x, y, width, height: read so, their shapes differ by {as_sizes:.0%}, and by "
            f"{as_corners:.0%} as left, top, right, bottom. Write the corners: in one column, or in columns left, top, "
            "right and bottom."
        )
