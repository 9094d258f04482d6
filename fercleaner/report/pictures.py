"""The pictures of a refined set, wherever they are: found, opened, made small, laid out in one sprite."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..core.arrays import Floats, Progress
from ..core.errors import InputError
from ..core.refined import RefinedSet, rows_of
from ..core.types import Samples
from ..extraction.images import FileImages, SelectedImages, UnreadableImage, open_face

if TYPE_CHECKING:
    from PIL.Image import Image

#: What is laid under a picture that does not fill its square (gray levels).
PAPER = (128, 128, 128)
#: Quality of the sprites (WebP, 0 to 100) and of a single thumbnail.
QUALITY = 80
#: WebP holds no picture with a longer side (pixels).
LONGEST = 16_383
NO_PICTURE = "no picture"


class Place(NamedTuple):
    """Where a picture lies in its tile: pixel (x, y) is drawn at (x * scale + left, y * scale + top).

    `width` is the picture's own, in pixels.
    """

    scale: float
    left: float
    top: float
    width: float


def faces_of(refined: RefinedSet, samples: Samples | None = None, root: Path | None = None) -> Samples:
    """Return the faces of a refined set as `Samples` in its order, with the pictures that can be had.

    Parameters
    ----------
    refined : RefinedSet
    samples : Samples, optional
        The set that was refined: pictures inside a csv or a Hugging Face dataset, boxes, groups, sites and landmarks
        come from it, matched by id.
    root : Path, optional
        Where relative paths of the refined file start, for those that do not exist from the current folder; without
        `samples` only.

    Raises
    ------
    InputError
        `samples` lacks a face of the refined set.
    """
    if samples is None:
        paths = [_found(path, root) for path in refined.paths.tolist()]
        return Samples(
            ids=refined.ids,
            classes=_two(refined.classes),
            given=refined.given if len(refined.classes) > 1 else np.pad(refined.given, ((0, 0), (0, 1))),
            labeled=refined.labeled,
            paths=np.array(paths, dtype=np.str_),
            split=refined.split if refined.split.any() else None,
            images=FileImages(paths) if any(paths) else None,
        )
    rows = rows_of(refined, samples.ids)
    if len(rows) == len(samples) and (rows == np.arange(len(rows))).all():
        return samples

    def taken(values: Any) -> Any:
        return None if values is None else values[rows]

    return Samples(
        ids=refined.ids,
        classes=samples.classes,
        given=samples.given[rows],
        labeled=samples.labeled[rows],
        paths=samples.paths[rows],
        images=None if samples.images is None else SelectedImages(samples.images, rows),
        layout=samples.layout,
        **{name: taken(getattr(samples, name)) for name in ("votes", "split", "group", "site", "boxes", "points")},
    )


def _two(classes: tuple[str, ...]) -> tuple[str, ...]:
    return classes if len(classes) > 1 else (*classes, f"not {classes[0]}")


def _found(path: str, root: Path | None) -> str:
    if not path or root is None or Path(path).is_absolute() or Path(path).exists():
        return path
    beside = root / path
    return str(beside) if beside.exists() else path


def open_picture(faces: Samples, row: int) -> Image:
    """Return the face of `row` as 8-bit RGB; raise UnreadableImage with a short reason, "no picture" among them."""
    if faces.images is None or (isinstance(faces.images, FileImages) and not faces.paths[row]):
        raise UnreadableImage(NO_PICTURE)
    return open_face(faces, row)


def squared(picture: Image, side: int) -> tuple[Image, Place]:
    """Return a picture fitted into a square of `side` pixels, and where it lies there."""
    from PIL import Image

    scale = side / max(picture.size)
    width, height = (max(1, round(edge * scale)) for edge in picture.size)
    small = picture.resize((width, height), Image.Resampling.LANCZOS)
    left, top = (side - width) // 2, (side - height) // 2
    place = Place(scale, float(left), float(top), float(picture.width))
    if (width, height) == (side, side):
        return small, place
    square = Image.new("RGB", (side, side), PAPER)
    square.paste(small, (left, top))
    return square, place


def thumbnail(faces: Samples, row: int, side: int) -> bytes:
    """Return the face of `row` as a WebP of `side` x `side` pixels; raise UnreadableImage where there is none."""
    buffer = io.BytesIO()
    squared(open_picture(faces, row), side)[0].save(buffer, "WEBP", quality=QUALITY)
    return buffer.getvalue()


@dataclass(frozen=True, eq=False)
class Sprite:
    """Many thumbnails in one picture, in rows of `columns` tiles.

    Parameters
    ----------
    side, columns : int
        Pixels of a tile; tiles in a row.
    tiles : mapping of row of the set -> number of its tile
    place : mapping of row -> Place
    missing : mapping of row -> reason
    data : bytes
        WebP; empty without a tile.
    """

    side: int
    columns: int
    tiles: dict[int, int]
    place: dict[int, Place]
    missing: dict[int, str]
    data: bytes

    def to_dict(self) -> dict[str, Any]:
        """Return the sprite as the page's data holds it."""
        url = f"data:image/webp;base64,{base64.b64encode(self.data).decode()}" if self.data else ""
        return {"side": self.side, "columns": self.columns, "tiles": len(self.tiles), "url": url}


def sprite(faces: Samples, rows: Sequence[int], side: int, progress: Progress | None = None) -> Sprite:
    """Return the pictures of `rows` as one sprite; those that cannot be read are in `missing`.

    Raises
    ------
    InputError
        They do not fit into one WebP: fewer, or smaller ones.
    """
    from PIL import Image

    columns = max(1, math.ceil(math.sqrt(len(rows))))
    if columns * side > LONGEST:
        raise InputError(f"{len(rows):,} pictures of {side} pixels do not fit into one sprite. Show fewer faces.")
    tiles: dict[int, int] = {}
    place: dict[int, Place] = {}
    missing: dict[int, str] = {}
    drawn: list[Image.Image] = []
    for done, row in enumerate(rows, 1):
        try:
            picture, place[row] = squared(open_picture(faces, row), side)
        except UnreadableImage as error:
            missing[row] = str(error)
        else:
            tiles[row] = len(drawn)
            drawn.append(picture)
        if progress is not None:
            progress(done, len(rows))
    if not drawn:
        return Sprite(side, 1, tiles, place, missing, b"")
    columns = math.ceil(math.sqrt(len(drawn)))
    sheet = Image.new("RGB", (columns * side, math.ceil(len(drawn) / columns) * side), PAPER)
    for number, picture in enumerate(drawn):
        sheet.paste(picture, (number % columns * side, number // columns * side))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=QUALITY, method=2)
    return Sprite(side, columns, tiles, place, missing, buffer.getvalue())


def tile_side(faces: Samples, rows: Sequence[int], most: int) -> int:
    """Return the side for thumbnails of a set: `most` pixels, or the pictures' own where they are smaller."""
    longer = []
    for row in rows[:50]:
        try:
            longer.append(max(open_picture(faces, row).size))
        except UnreadableImage:
            continue
    own = int(np.median(longer)) if longer else most
    return min(most, 16 * math.ceil(own / 16))


def points_in_tile(points: Floats, place: Place) -> list[list[float]]:
    """Return landmarks as pixels of a tile, [[x, y], ...] with one decimal.

    Parameters
    ----------
    points : (68, 2) float32
        In pixels of the picture, or in its widths where none lies beyond 2.
    place : Place
    """
    pixels = points * place.width if np.abs(points).max() <= 2 else points
    tile: list[list[float]] = (
        np.round(pixels * place.scale + np.array([place.left, place.top]), 1).astype(float).tolist()
    )
    return tile
