"""Files that appear whole or not at all: written under a temporary name in their folder, flushed, renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import StoreError
from .text import shown

WAY_OUT = "Choose another name."
#: Beginning and end of the names of temporary files and folders, which lie beside what they become.
TEMPORARY = (".fercleaner-", ".tmp")
#: How a pointer of Git LFS begins, and what is said of one.
POINTER, IS_POINTER = b"version https://git-lfs", "a pointer of Git LFS, not the file itself. Fetch it: git lfs pull"
#: Those of a killed run are removed when older than this.
STALE_SECONDS = 24 * 3600.0


def write_whole(path: Path, parts: Sequence[bytes]) -> None:
    """Write `parts` to `path`; an older file stays as it was until the new one is there. Raises OSError.

    What killed runs left beside it is removed (`sweep`).
    """
    sweep(path.parent)
    with _renamed(path) as stream:
        for part in parts:
            stream.write(part)


@contextmanager
def replacing(path: str | os.PathLike[str], overwrite: bool) -> Iterator[Any]:
    """Yield a binary stream whose content becomes the file `path` when the block ends well.

    On any failure the temporary file is removed and an older file of that name stays as it was.

    Raises
    ------
    StoreError
        The file exists and `overwrite` is False; the folder is missing or cannot be written; the disk is full.
    """
    target = target_of(path, overwrite)

    def check() -> None:
        if target.exists() and not overwrite:
            raise FileExistsError(errno.EEXIST, "it appeared while this run was writing", str(target))

    sweep(target.parent)
    try:
        with _renamed(target, check) as stream:
            yield stream
    except OSError as error:
        raise write_error(target, error) from error


def check_writable(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Raise the StoreError that `replacing` would raise for this path; call it before long work.

    Creates and removes an empty file beside `path`, and removes what killed runs left there (`sweep`).
    """
    target = target_of(path, overwrite)
    sweep(target.parent)
    try:
        descriptor, temporary = _create_beside(target)
        os.close(descriptor)
        temporary.unlink()
    except OSError as error:
        raise write_error(target, error) from error


def temporary_name() -> str:
    """Return a new name for what will be renamed when it is whole."""
    return secrets.token_hex(8).join(TEMPORARY)


def sweep(folder: Path) -> None:
    """Remove temporary files and folders of runs killed a day ago or earlier; never those of a run at work."""
    now = time.time()
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if not (name.startswith(TEMPORARY[0]) and name.endswith(TEMPORARY[1])):
                continue
            with contextlib.suppress(OSError):  # its writer has just renamed it, or it is not ours to remove
                if now - entry.stat(follow_symlinks=False).st_mtime > STALE_SECONDS:
                    shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)


def check_apart(path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Raise StoreError where `path` is one of the files that a run reads, links of both kinds followed.

    What names no file, such as the name of an encoder, is passed over.
    """
    for source in inputs:
        if os.path.isfile(source) and _same(path, source):
            raise StoreError(
                f"{path} is {source}, which this command reads; own input is never overwritten. Choose another name."
            )


def check_folder_apart(
    folder: str | os.PathLike[str],
    sets: Iterable[str | os.PathLike[str] | None],
    others: Iterable[str | os.PathLike[str] | None] = (),
    *,
    names: Iterable[str] = (),
    replaced: bool = False,
) -> None:
    """Raise StoreError where a folder to write into is one that a run reads, whatever --force says.

    Parameters
    ----------
    folder : path
    sets : iterable of path, or None for an option that was not used
        Folders of sets, which `folder` may not lie in either, or their tables; what is not there is passed over.
    others : iterable of path or None
        Further files and folders that are read.
    names : iterable of str
        What will be written into the folder, relative to it: none of these may be read either (`check_apart`).
    replaced : bool
        Whether all that the folder holds makes room: then nothing that is read may lie in it.
    """
    place = Path(os.path.realpath(folder))
    sets, others = [[one for one in given if one is not None and os.path.exists(one)] for given in (sets, others)]
    for source in sets:
        if os.path.isdir(source) and Path(os.path.realpath(source)) in (place, *place.parents):
            raise StoreError(
                f"{folder} lies in the set ({source}), which is read and never written to. Choose another folder."
            )
    for source in others:
        if os.path.isdir(source) and _same(folder, source):
            raise StoreError(f"{folder} is a folder that this command reads. Choose another folder.")
    for source in (*sets, *others) if replaced else ():
        if place in Path(os.path.realpath(source)).parents:
            raise StoreError(f"{folder} holds {source}, which this command reads. Choose another folder.")
    for name in names:
        check_apart(place / name, (*sets, *others))


def _same(path: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):  # not there, or no file name
        return False


def target_of(path: str | os.PathLike[str], overwrite: bool) -> Path:
    """Return the file behind `path`, links followed; raise StoreError where it cannot be written."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise StoreError(f"{path} is a folder. Name a file in it, such as {Path(path) / 'refined.parquet'}.")
    if not target.parent.is_dir():
        raise StoreError(f"{path}: the folder {target.parent} does not exist. Make it, or choose another name.")
    if target.exists() and not target.is_file():
        raise StoreError(f"{path} is not a regular file. {WAY_OUT}")
    if target.exists() and not overwrite:
        raise StoreError(f"{path} exists already. Overwrite it with --force, or choose another name.")
    return target


@contextmanager
def _renamed(target: Path, check: Callable[[], None] = lambda: None) -> Iterator[Any]:
    """Yield a stream to a temporary file that is renamed to `target` in the end, `check` called just before."""
    descriptor, temporary = _create_beside(target)
    try:
        with open(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        check()
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):  # the error that led here says more
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def _create_beside(target: Path) -> tuple[int, Path]:
    temporary = target.parent / temporary_name()
    return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), temporary


def sync_folder(folder: Path) -> None:
    """Flush the rename itself, where the system lets folders be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_error(target: Path, error: OSError) -> StoreError:
    """Return the error for a file, or a folder that appears whole or not at all, that could not be written."""
    if isinstance(error, FileExistsError):
        return StoreError(f"{target} exists already: {error.strerror}. Use --force, or choose another name.")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        older = f" The older {'folder' if target.is_dir() else 'file'} is unchanged." if target.exists() else ""
        return StoreError(f"{target}: the disk is full. Free some space, or choose another name.{older}")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(f"{target}: the folder cannot be written ({error.strerror}). {WAY_OUT}")
    return StoreError(f"{target} cannot be written: {error.strerror or error}. {WAY_OUT}")


def pointed(path: str | os.PathLike[str]) -> str:
    """Return that a file is a pointer of Git LFS and the way out; "" where it is something else or cannot be read."""
    try:
        with open(path, "rb") as stream:
            return f"is {IS_POINTER}" if stream.read(len(POINTER)) == POINTER else ""
    except OSError:
        return ""


def missing(path: Path, why: str = "no such file or folder.") -> str:
    """Return the message on a set or file that is not there; of an address (https://...) how to get it here.

    >>> missing(Path("faces"))
    'faces: no such file or folder.'
    """
    address = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]+):/+", str(path))  # a Path keeps one stroke of the two
    if address is None:
        return f"{shown(path, 300)}: {why}"
    rest, scheme = str(path)[address.end() :], address[1].lower()
    if scheme == "file":
        return f"{shown(path, 300)}: write the path alone, without file://: /{shown(rest, 300)}"
    pictures = (
        f" The pictures of a list may stay: its image column takes {scheme}:// addresses."
        if scheme in ("s3", "gs", "hdfs")
        else ""
    )
    return (
        f"{scheme}://{shown(rest, 300)} is an address, and sets, lists and refined files are read from this machine's "
        f"disks. Download it first, unpack it where it is an archive, and name the folder or file.{pictures}"
    )


def named_alike(path: str) -> str:
    """Say which file beside a missing `path` differs from it by case or ending alone, in brackets; "" for none.

    Of a link that leads nowhere it says that.
    """
    if os.path.islink(path):
        return f" (it is a link to {shown(os.readlink(path))}, which is not there)"
    folder, name = os.path.split(path)
    stem = os.path.splitext(name)[0].casefold()
    try:
        beside = sorted(other for other in os.listdir(folder or ".") if os.path.splitext(other)[0].casefold() == stem)
    except OSError:
        return ""
    return f" (its folder has {shown(beside[0])}: names must be the same, ending included)" if beside else ""
