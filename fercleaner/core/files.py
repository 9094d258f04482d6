"""Files that appear whole or not at all: written under a temporary name in their folder, flushed, renamed.

A writer holds a lock on its temporary file, which the system lets go when the process dies; so what a killed run has
left is told from what another run is writing, and is removed before the next file is written there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import StoreError

WAY_OUT = "Choose another name."
#: Names of temporary files and folders: start and end.
TEMPORARY = (".fercleaner-", ".tmp")
#: Seconds before a temporary file that nobody holds is removed: its writer may be about to lock it.
UNLOCKED_SECONDS = 60.0
#: The same where the system has no locks.
STALE_SECONDS = 24 * 3600.0


def write_whole(path: Path, parts: Sequence[bytes]) -> None:
    """Write `parts` to `path`; an older file stays as it was until the new one is there. Raises OSError."""
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

    try:
        sweep(target.parent)
        with _renamed(target, check) as stream:
            yield stream
    except OSError as error:
        raise _write_error(target, error) from error


def check_writable(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Raise the StoreError that `replacing` would raise for this path; call it before long work.

    Creates and removes an empty file beside `path`.
    """
    target = target_of(path, overwrite)
    try:
        sweep(target.parent)
        descriptor, temporary = _create_beside(target)
        os.close(descriptor)
        temporary.unlink()
    except OSError as error:
        raise _write_error(target, error) from error


def check_spared(path: str | os.PathLike[str], read: Mapping[str, Path]) -> None:
    """Raise StoreError where writing `path` would overwrite a file that is read, whatever name or link leads to it.

    Parameters
    ----------
    path : path
        What is to be written, a file or a folder.
    read : mapping of words -> path
        What each file or folder is to the user ("the set", "--view"). A folder is spared whole: `path` may be a new
        file in it, but not the folder itself nor one that holds it.
    """
    target = Path(os.path.realpath(path))
    for said, file in read.items():
        try:
            same = target.exists() and file.exists() and os.path.samefile(target, file)
        except OSError:
            continue
        if same or (target.is_dir() and target in Path(os.path.realpath(file)).parents):
            raise StoreError(
                f"{path} {'is' if same else 'holds'} {said} ({file}), which is read and never overwritten. {WAY_OUT}"
            )


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


def temporary_beside(target: Path) -> Path:
    """Return an unused name for a temporary file or folder beside `target`."""
    return target.parent / f"{TEMPORARY[0]}{secrets.token_hex(8)}{TEMPORARY[1]}"


def sweep(folder: Path) -> int:
    """Remove temporary files and folders that killed runs have left in `folder`; return how many.

    What another process is writing is locked, and stays.
    """
    removed = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(TEMPORARY[0]) and entry.name.endswith(TEMPORARY[1]):
                with contextlib.suppress(OSError):
                    removed += _sweep_one(Path(entry.path))
    return removed


def _sweep_one(path: Path) -> bool:
    if path.is_symlink() or time.time() - path.stat().st_mtime < UNLOCKED_SECONDS:
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not lock(descriptor):
            return False
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        return True
    finally:
        os.close(descriptor)


def lock(descriptor: int, shared: bool = False) -> bool:
    """Lock an open file or folder until it is closed, without waiting; return False where another process holds it.

    Where the system has no locks, what is older than `STALE_SECONDS` counts as free.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return shared or time.time() - os.fstat(descriptor).st_mtime > STALE_SECONDS
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return shared or time.time() - os.fstat(descriptor).st_mtime > STALE_SECONDS
    return True


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a temporary folder while it is filled, so that no other run sweeps it away."""
    descriptor = os.open(folder, os.O_RDONLY) if hasattr(os, "O_DIRECTORY") else None
    try:
        if descriptor is not None:
            lock(descriptor)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


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
    temporary = temporary_beside(target)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    lock(descriptor)
    return descriptor, temporary


def sync_folder(folder: Path) -> None:
    """Flush the rename itself, where the system lets folders be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_error(target: Path, error: OSError) -> StoreError:
    if isinstance(error, FileExistsError):
        return StoreError(f"{target} exists already: {error.strerror}. Use --force, or choose another name.")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        older = " The older file is unchanged." if target.exists() else ""
        return StoreError(f"{target}: the disk is full. Free some space, or choose another name.{older}")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(f"{target}: the folder cannot be written ({error.strerror}). {WAY_OUT}")
    return StoreError(f"{target} cannot be written: {error.strerror or error}. {WAY_OUT}")
