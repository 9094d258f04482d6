"""The pictures that the review page may show: those of the set, re-encoded, and no other file."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from ..core.errors import InputError
from ..core.refined import RefinedSet
from ..extraction.images import UnreadableImage, decode

#: Longest side of a picture as shown, in pixels.
SIDE = 512
#: Pictures kept encoded.
KEPT = 512


class Pictures:
    """Pictures of a refined set by row, as PNG or JPEG of at most `SIDE` pixels a side.

    A file is opened only where it really lies (links followed) in one of `roots`, and only its pixels leave: it is
    decoded and encoded again.

    Parameters
    ----------
    refined : RefinedSet
    roots : sequence of path, optional
        Folders of the set; by default the one folder that all paths have in common.
    """

    def __init__(self, refined: RefinedSet, roots: list[Path] | None = None) -> None:
        self._paths = refined.paths
        if roots:
            for root in roots:
                if not root.is_dir():
                    raise InputError(f"{root}: no such folder. --images names a folder that the pictures lie in.")
        self.roots = [os.path.realpath(root) for root in roots or common_folder(refined.paths.tolist())]
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
        shown = _encoded(self._bytes(row))
        with self._lock:
            self._kept[row] = shown
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return shown

    def _bytes(self, row: int) -> bytes:
        path = str(self._paths[row])
        if not path or "\0" in path:
            raise UnreadableImage("no picture")
        real = os.path.realpath(path)
        if not any(os.path.commonpath([real, root]) == root for root in self.roots):
            raise UnreadableImage("outside the set's folder")
        try:
            with open(real, "rb") as file:
                return file.read()
        except OSError as error:
            raise UnreadableImage((error.strerror or str(error)).lower()) from error


def common_folder(paths: list[str]) -> list[Path]:
    """Return the deepest folder that holds all paths as they are written, in a list; empty without paths."""
    folders = {os.path.dirname(os.path.abspath(path)) for path in paths if path and "\0" not in path}
    if not folders:
        return []
    return [Path(os.path.commonpath(sorted(folders)))]


def _encoded(data: bytes) -> tuple[bytes, str]:
    image = decode(data)
    image.thumbnail((SIDE, SIDE))
    held = io.BytesIO()
    if image.width * image.height <= 128 * 128:
        image.save(held, "PNG", compress_level=1)
        return held.getvalue(), "image/png"
    image.save(held, "JPEG", quality=90)
    return held.getvalue(), "image/jpeg"
