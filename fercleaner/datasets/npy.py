"""NumPy files of the user's: their sizes are checked before memory is taken, and pickles are never opened."""

from __future__ import annotations

import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.files import pointed
from ..core.text import shown
from .table import check_regular, listed, unreadable

#: An array in an .npz that is larger than `MUCH` bytes and this many times what it takes in the file is not read.
MUCH, LARGEST_RATIO = 256 << 20, 100


@contextmanager
def numpy_errors(path: Path) -> Iterator[None]:
    """Turn what NumPy and zipfile raise on damaged files into InputError."""
    try:
        yield
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory.") from error
    except OSError as error:
        if error.errno is not None:
            raise unreadable(path, error) from error
        raise _damaged(path, error) from error
    except (
        *(ValueError, TypeError, KeyError, EOFError, SyntaxError, OverflowError, RecursionError, NotImplementedError),
        *(RuntimeError, AttributeError, IndexError, TokenError),
        SystemError,  # NumPy's, of text with numbers beyond Unicode
        *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    ) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    if why := pointed(path):
        return InputError(f"{path} {why}")
    reason = shown(" ".join(str(error).split()) or type(error).__name__, 200).rstrip(".")
    return InputError(f"{path} cannot be read as a NumPy array of numbers: {reason}.")


def load_npy(path: Path) -> NDArray[Any]:
    """Return the array of a .npy file, mapped from disk.

    Raises
    ------
    InputError
        No regular file, not NumPy's format, shorter than it says, or pickled objects.
    """
    check_regular(path)
    with numpy_errors(path):
        with path.open("rb") as file:
            shape, fortran, dtype = _header(path, file)
            start, there = file.tell(), path.stat().st_size
        size = math.prod(shape) * dtype.itemsize
        if size > there - start:
            raise InputError(f"{path} says that it holds {dtype} {shape}, {size:,} bytes, but has {there - start:,}.")
        if not size:
            return np.empty(shape, dtype=dtype)
        mapped: NDArray[Any] = np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")
        return mapped


def load_npz(path: Path, wanted: Sequence[str], how: str) -> tuple[list[NDArray[Any]], tuple[str, ...]]:
    """Return the arrays `wanted` of a .npz file, and the names of the others.

    Parameters
    ----------
    path : Path
    wanted : sequence of str
    how : str
        How to write such a file, for the message where one is missing.

    Raises
    ------
    InputError
        As `load_npy` does, or an array is not there.
    """
    check_regular(path)
    with numpy_errors(path), zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        missing = [name for name in wanted if name not in members]
        if missing:
            raise InputError(f"{path} has no array '{missing[0]}' (it has {listed(list(members))}). Expected {how}.")
        arrays = [_member(path, archive, members[name]) for name in wanted]
        return arrays, tuple(name for name in members if name not in wanted)


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    if info.file_size > MUCH and info.file_size > LARGEST_RATIO * max(info.compress_size, 1):
        raise InputError(
            f"{path}: array '{info.filename}' says that it holds {info.file_size:,} bytes in {info.compress_size:,}; "
            f"it "
            "is not read."
        )
    if info.file_size > path.stat().st_size and info.compress_type == zipfile.ZIP_STORED:
        raise InputError(f"{path}: array '{info.filename}' says that it is larger than the file.")
    with archive.open(info) as stream:
        shape, fortran, dtype = _header(path, stream)
        size = math.prod(shape) * dtype.itemsize
        if size > info.file_size:
            raise InputError(f"{path}: array '{info.filename}' says that it holds {dtype} {shape}, but is shorter.")
        data = stream.read(size) if size else b""
    if len(data) < size:
        raise InputError(f"{path}: array '{info.filename}' says that it holds {dtype} {shape}, but is shorter.")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")


def _header(path: Path, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"format {version[0]}.{version[1]}, expected 1.0 or 2.0")
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = reader(file)
    if dtype.hasobject:
        raise InputError(
            f"{path} holds pickled objects, which are never opened. Save numbers as array.astype('float32'), and names "
            "(a column of pandas holds objects) as numpy.asarray(names, dtype=str)."
        )
    if any(side < 0 for side in shape) or not dtype.itemsize:
        raise ValueError(f"shape {shape} of {dtype}")
    return tuple(int(side) for side in shape), fortran, dtype


def names_of(array: NDArray[Any], path: Path, rows: int) -> tuple[list[str], bool]:
    """Return the ids in an array as text, and whether they were numbers (which may have lost leading zeros).

    Raises
    ------
    InputError
        Not one id for each of `rows`, no text or whole numbers, or bytes that are not UTF-8.
    """
    if array.shape != (rows,):
        raise InputError(f"{path} has ids of shape {array.shape} for {rows:,} rows; expected one id a row.")
    kind = array.dtype.kind
    if kind == "S":
        try:
            return [bytes(name).decode() for name in array.tolist()], False
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: an id is not UTF-8 text. Save ids as str.") from error
    if kind == "U":
        with numpy_errors(path):
            return [str(name) for name in array.tolist()], False
    if kind in "iu":
        return [str(int(value)) for value in array], True
    if kind == "f" and bool((np.isfinite(array) & (array == np.floor(array))).all()):
        return [str(int(value)) for value in array], True
    raise InputError(f"{path} has ids of type {array.dtype}; expected text or whole numbers.")
