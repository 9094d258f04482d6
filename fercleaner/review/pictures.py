"""The pictures that the review page may show: those of the set, re-encoded, and no other file."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from ..core.errors import InputError
from ..core.refined import RefinedSet, rows_of
from ..core.types import Samples
from ..extraction.images import FileImages, UnreadableImage, decode, open_face, read_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

#: Longest side of a picture as shown, in pixels.
SIDE = 512
#: Pictures kept encoded.
KEPT = 512


class ShownPictures:
    """Pictures of a refined set by row, as PNG or JPEG of at most `SIDE` pixels a side.

    A file is opened only where it really lies (links followed) in one of `roots`, and only its pixels leave: it is
    decoded and encoded again.

    Parameters
    ----------
    refined : RefinedSet
    roots : sequence of path, optional
        Folders of the set; by default the one folder that all paths have in common.
    samples : Samples, optional
        The set that was refined, matched by id: pictures inside a csv or a Hugging Face set, and face boxes.
    """

    def __init__(self, refined: RefinedSet, roots: list[Path] | None = None, samples: Samples | None = None) -> None:
        if samples is not None and samples.images is None:
            raise InputError("--dataset: this set has no pictures.")
        self._samples, self._row_in = samples, None if samples is None else rows_of(refined, samples.ids)
        self._paths = refined.paths if self._row_in is None or samples is None else samples.paths[self._row_in]
        if roots:
            for root in roots:
                if not root.is_dir():
                    raise InputError(f"{root}: no such folder. --images names a folder that the pictures lie in.")
        self.roots = [os.path.realpath(root) for root in roots or common_folder(self._paths.tolist())]
        self._kept: OrderedDict[int, tuple[bytes, str]] = OrderedDict()
        self._lock = Lock()

    def read(self, row: int) -> tuple[bytes, str]:
        """Return the picture of a row and its media type.

        Raises
        ------
        UnreadableImage
            There is none, it lies outside the set's folders, or it cannot be read; the message says which.
        """
        with self._lock:
            if row in self._kept:
                self._kept.move_to_end(row)
                return self._kept[row]
        shown = _encoded(self._open(row))
        with self._lock:
            self._kept[row] = shown
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return shown

    def _open(self, row: int) -> Image:
        path = str(self._paths[row])
        if path:
            self._check_inside(path)
        if self._samples is not None and self._row_in is not None:
            return open_face(self._samples, int(self._row_in[row]))
        if not path:
            raise UnreadableImage("no picture")
        return decode(read_bytes(FileImages([path]), 0))

    def _check_inside(self, path: str) -> None:
        """Raise UnreadableImage unless the file really lies in one of the set's folders."""
        if "\0" in path:
            raise UnreadableImage("no picture")
        real = os.path.realpath(path)
        if not any(os.path.commonpath([real, root]) == root for root in self.roots):
            raise UnreadableImage("outside the set's folder")


def common_folder(paths: list[str]) -> list[Path]:
    """Return the deepest folder that holds all paths as they are written, in a list; empty without paths."""
    folders = {os.path.dirname(os.path.abspath(path)) for path in paths if path and "\0" not in path}
    if not folders:
        return []
    return [Path(os.path.commonpath(sorted(folders)))]


def _encoded(image: Image) -> tuple[bytes, str]:
    image.thumbnail((SIDE, SIDE))
    held = io.BytesIO()
    if image.width * image.height <= 128 * 128:
        image.save(held, "PNG", compress_level=1)
        return held.getvalue(), "image/png"
    image.save(held, "JPEG", quality=90)
    return held.getvalue(), "image/jpeg"
