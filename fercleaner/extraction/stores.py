"""Folders on object stores (s3://, gs://, hdfs://, file://), through pyarrow's filesystems: read, list, write whole."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..core.arrays import Ints
from ..core.errors import InputError, StoreError
from ..core.files import temporary_name
from .images import MAX_BYTES, FileImages

#: Bytes copied at once.
COPIED = 8 * 2**20
#: Filesystems on which a file appears when it is closed, and a rename would copy it.
WHOLE_AT_CLOSE = ("s3", "gcs")
#: Schemes of Google's store, and how long one request to it is tried again where an address does not say so: pyarrow
#: would try for a quarter of an hour without a word where the store cannot be reached.
GOOGLE, RETRIED = ("gs://", "gcs://"), "retry_limit_seconds=60"
#: What pyarrow does not find where it cannot speak to HDFS.
HADOOP = ("libjvm", "libhdfs")

_opened: dict[str, tuple[Any, str]] = {}
_opening = threading.Lock()


def is_address(text: str) -> bool:
    """Return whether a text names something on a store (SCHEME://...) and not a path on this machine."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", text) is not None


class Store:
    """A folder on a store; errors name its address.

    Parameters
    ----------
    address : str
        Such as s3://bucket/folder; options after "?" as pyarrow takes them (endpoint_override, region, scheme,
        retry_limit_seconds).
        Who may read it is said in the way of that store's own tools (AWS_ACCESS_KEY_ID, gcloud, Kerberos).

    Raises
    ------
    InputError
        pyarrow knows no such kind of store, or hdfs:// without Java and libhdfs on this machine.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._files, self._root = _open(address)

    def names(self, folder: str) -> dict[str, int]:
        """Return the files in a folder and below by their name in the store, and their bytes; none where it is not."""
        from pyarrow.fs import FileSelector, FileType

        asked = FileSelector(f"{self._root}/{folder}", allow_not_found=True, recursive=True)
        try:
            found = self._files.get_file_info(asked)
        except OSError as error:
            raise self._error("cannot be listed", error) from error
        files = (info for info in found if info.type == FileType.File)
        return {info.path[len(self._root) + 1 :]: int(info.size) for info in files}

    def read(self, name: str) -> bytes:
        """Return a small file."""
        try:
            with self._files.open_input_stream(f"{self._root}/{name}") as stream:
                return bytes(stream.read())
        except OSError as error:
            raise self._error(f"{name} cannot be read", error) from error

    def fetch(self, name: str, path: Path) -> None:
        """Copy a file to `path`, which appears whole or not at all."""
        partial = path.with_name(temporary_name())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._files.open_input_stream(f"{self._root}/{name}") as stream, open(partial, "wb") as target:
                while block := stream.read(COPIED):
                    target.write(block)
            partial.replace(path)
        except OSError as error:
            raise self._error(f"{name} cannot be copied to {path.parent}", error) from error
        finally:
            partial.unlink(missing_ok=True)

    def write(self, name: str, content: bytes | Path) -> None:
        """Write a file, from bytes or from a file on this machine, over an older one of that name."""
        whole = self._files.type_name in WHOLE_AT_CLOSE
        target = f"{self._root}/{name}"
        partial = target if whole else f"{target.rpartition('/')[0]}/{temporary_name()}"
        try:
            if not whole:
                self._files.create_dir(target.rpartition("/")[0], recursive=True)
            with self._files.open_output_stream(partial) as stream:
                if isinstance(content, bytes):
                    stream.write(content)
                else:
                    with open(content, "rb") as source:
                        while block := source.read(COPIED):
                            stream.write(block)
            if not whole:
                self._files.move(partial, target)
        except OSError as error:
            if not whole:
                with suppress(OSError):  # what was written of it takes room that may be short
                    self._files.delete_file(partial)
            raise self._error(f"{name} cannot be written", error) from error

    def _error(self, what: str, error: OSError) -> StoreError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StoreError(
                f"{self.address}: {what}: no space left there. What was written before is whole: make room and run "
                "the same command again."
            )
        return StoreError(f"{self.address}: {what} ({_first_line(error)}). Is it there, and may this account use it?")


class AddressedImages:
    """Pictures by path or by address on a store, one a row; nothing is looked at before `read`.

    Parameters
    ----------
    paths : sequence of N str
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = tuple(paths)
        self._files = FileImages(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, row: int) -> bytes:
        """Return the picture's bytes; raise OSError where it cannot be read."""
        address = self._paths[row]
        if not is_address(address):
            return self._files.read(row)
        base, _, options = address.partition("?")
        head, _, name = base.rpartition("/")
        try:
            files, root = _open(f"{head}?{options}" if options else head)
        except InputError as error:
            raise OSError(str(error)) from error
        with files.open_input_stream(f"{root}/{name}") as stream:
            data = bytes(stream.read(MAX_BYTES + 1))
        if len(data) > MAX_BYTES:
            raise OSError(f"larger than {MAX_BYTES >> 20} MiB")
        return data

    def name(self, row: int) -> str:
        """Return the picture's path or address."""
        return self._paths[row]

    def taken(self, rows: Ints) -> AddressedImages:
        """Return the pictures of some rows, which know of no other; paths hold from any working folder."""
        paths = (self._paths[row] for row in rows)
        return AddressedImages([path if is_address(path) else os.path.abspath(path) for path in paths])


def pictures_at(paths: Sequence[str]) -> FileImages | AddressedImages:
    """Return where pictures are read from: files, or stores where any path is an address."""
    return AddressedImages(paths) if any(map(is_address, paths)) else FileImages(paths)


def _open(address: str) -> tuple[Any, str]:
    """Return pyarrow's filesystem and the path in it, one a process and address."""
    from pyarrow import ArrowException
    from pyarrow.fs import FileSystem

    with _opening:
        if address not in _opened:
            try:
                files, path = FileSystem.from_uri(_patient(address))
            except (ArrowException, OSError, ValueError) as error:
                raise _unopened(address, _first_line(error)) from error
            _opened[address] = files, path.rstrip("/")
        return _opened[address]


def _patient(address: str) -> str:
    """Return the address with an end to how long Google's store is asked again, where it sets none."""
    if not address.lower().startswith(GOOGLE) or "retry_limit_seconds=" in address:
        return address
    return f"{address}{'&' if '?' in address else '?'}{RETRIED}"


def _unopened(address: str, why: str) -> InputError:
    """Return the error of an address that pyarrow does not open."""
    if any(name in why for name in HADOOP):
        return InputError(
            f"{address}: hdfs:// needs Java and Hadoop's libhdfs on this machine ({why}). Set JAVA_HOME, HADOOP_HOME "
            "(or ARROW_LIBHDFS_DIR) and CLASSPATH=$(hadoop classpath --glob), or use a path or another store."
        )
    return InputError(
        f"{address}: no such store can be opened ({why}). Expected an address such as s3://bucket/folder, "
        "gs://bucket/folder or hdfs://host:port/folder."
    )


def _first_line(error: BaseException) -> str:
    """Return what an error says; pyarrow lists every place it looked in, a line each, Google's store what it tried."""
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return line.partition(" error_info={")[0]
