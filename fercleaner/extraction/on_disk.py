"""Vectors of large sets in a file that is mapped into memory: the system may take its pages out and bring them back."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..core.arrays import Floats

#: Bytes of vectors from which they lie in a file; fewer fit beside a graph in the memory of any machine.
MAPPED_FROM = 1 << 30


class MappedTable:
    """An array of zeros that is written to until it is sealed.

    From `MAPPED_FROM` bytes on, and where there is a folder, it lies in a file without a name there, which is gone with
    the array. All its space is taken at first, so that a disk that is too small is found out before anything is
    written. Then, and on systems that cannot take space, the array is in memory.

    Parameters
    ----------
    rows, columns : int
    folder : path, optional
        None keeps it in memory.

    Attributes
    ----------
    values : (rows, columns) float32
    """

    def __init__(self, rows: int, columns: int, folder: Path | None) -> None:
        size = 4 * rows * columns
        self._file = _taken(size, folder) if folder is not None and size >= MAPPED_FROM else None
        self._shape = rows, columns
        self.values: Floats = self._mapped("r+") if self._file else np.zeros(self._shape, dtype=np.float32)

    def sealed(self) -> Floats:
        """Return the values, which nobody can write to any more; the table is not used after this."""
        if self._file is None:
            self.values.flags.writeable = False
            return self.values
        self.values = self._mapped("r")
        self._file.close()
        return self.values

    def _mapped(self, mode: Any) -> Floats:
        assert self._file is not None  # asked for by those who have looked
        return np.memmap(self._file, dtype=np.float32, mode=mode, shape=self._shape)


def _taken(size: int, folder: Path) -> IO[bytes] | None:
    """Return a file without a name whose `size` bytes are on disk, or None where that cannot be."""
    if not hasattr(os, "posix_fallocate"):
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            file = stack.enter_context(tempfile.TemporaryFile(dir=folder))
            os.posix_fallocate(file.fileno(), 0, size)
            stack.pop_all()  # stays open: the table closes it
            return file
    except OSError:
        return None
