"""The feature cache: vectors kept by what they were made from, so that a run that was killed goes on.

A vector is keyed by the digest of its picture and the digest of the spec that made it. On disk

    FOLDER/<spec digest>/spec.json        what made these vectors
    FOLDER/<spec digest>/<unique>.shard   some of them, written once and never changed

(`shards` has the format of one). Shards are written under a temporary name, synced and renamed, and their names
are unique, so several processes may write at once; a shard that fails its checksum is removed with a warning and
its vectors are made again. A run holds a shared lock on the folders it uses, so that ``cache --clear`` can say that
they are in use. What is removed beside a run costs the run nothing: it keeps what it has open, and makes the folder
again for what it adds.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from ..core.arrays import Bools, Bytes, Floats, spec_digest
from ..core.errors import StoreError
from ..core.files import lock, sweep, write_whole
from .shards import DIGEST_SIZE, Shard, read_shard, shard_parts

log = logging.getLogger(__name__)

#: Name of the file that says what made a folder's vectors, and ending of those that hold them.
SPEC, SHARD = "spec.json", ".shard"
#: Vectors and seconds a killed run may lose.
FLUSH_ROWS = 1024
FLUSH_SECONDS = 10.0
#: Small shards that may lie in a folder before they are merged, and how large a merged one may get.
MERGE_ABOVE = 64
MERGED_BYTES = 256 * 2**20


def default_folder() -> Path:
    """Return $FERCLEANER_CACHE, or fercleaner's folder in the platform's place for caches."""
    named = os.environ.get("FERCLEANER_CACHE")
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "fercleaner" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fercleaner"
    shared = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    return (Path(shared) if os.path.isabs(shared) else Path.home() / ".cache") / "fercleaner"


class CachedVector(NamedTuple):
    """What the cache knows of one picture: its vector (width,), or why it has none."""

    values: Floats
    found: bool
    note: str


class CacheSize(NamedTuple):
    """How much lies in a cache: encoder specs, shard files and bytes."""

    specs: int
    shards: int
    bytes: int


class FeatureCache:
    """A folder of vectors, shared by all datasets, encoders and processes.

    Parameters
    ----------
    folder : path, optional
        Made when first written to; `default_folder()` when None.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = default_folder() if folder is None else Path(folder)

    def open(self, spec: Mapping[str, Any], width: int) -> CachedView:
        """Return the vectors of `width` numbers that `spec` made; use it in a `with` statement.

        Raises StoreError where the folder cannot be made, or holds another spec under this spec's digest.
        """
        return CachedView(self.folder, spec, width)

    def specs(self) -> dict[str, dict[str, Any]]:
        """Return the specs that have vectors here, by digest."""
        found = {}
        for folder in self._folders(None):
            try:
                found[folder.name] = json.loads((folder / SPEC).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
        return found

    def size(self, spec: Mapping[str, Any] | None = None) -> CacheSize:
        """Return how much lies here, in all or from one spec."""
        specs = shards = total = 0
        for folder in self._folders(spec):
            specs += 1
            for path in folder.iterdir():
                shards += path.suffix == SHARD
                try:
                    total += path.stat().st_size
                except FileNotFoundError:  # another process merged it away
                    continue
        return CacheSize(specs, shards, total)

    def clear(self, spec: Mapping[str, Any] | None = None) -> int:
        """Remove all vectors, or those of one spec; return the bytes freed. Touches nothing but our files.

        A run that uses them meanwhile keeps what it has open and writes what it adds anew.
        """
        freed = self.size(spec).bytes
        for folder in self._folders(spec):
            try:
                sweep(folder)
                for path in sorted(folder.iterdir(), key=lambda path: path.name == SPEC):  # what they are comes last
                    if path.suffix == SHARD or path.name == SPEC:
                        path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # a run has just added a shard, or it holds files of others
                    folder.rmdir()
            except OSError as error:
                raise StoreError(f"{folder} cannot be removed: {_reason(error)}.") from error
        return freed

    def prune(self, limit: int) -> int:
        """Remove the shards used longest ago until at most `limit` bytes are left; return the bytes freed."""
        held = []
        for folder in self._folders(None):
            for path in folder.glob(f"*{SHARD}"):
                with contextlib.suppress(FileNotFoundError):  # another process merged it away
                    about = path.stat()
                    held.append((about.st_mtime_ns, path, about.st_size))
        total, freed = sum(size for _, _, size in held), 0
        for _, path, size in sorted(held):
            if total - freed <= limit:
                break
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"{path} cannot be removed: {_reason(error)}.") from error
            freed += size
        return freed

    def in_use(self, spec: Mapping[str, Any] | None = None) -> int:
        """Return how many encoders' folders another run has open."""
        return sum(not _free(folder) for folder in self._folders(spec))

    def _folders(self, spec: Mapping[str, Any] | None) -> list[Path]:
        """Folders of this cache that hold vectors; anything else that lies beside them is not ours."""
        if spec is not None:
            folder = self.folder / spec_digest(spec)
            return [folder] if folder.is_dir() else []
        if not self.folder.is_dir():
            return []
        ours = (p for p in self.folder.iterdir() if len(p.name) == 16 and (p / SPEC).is_file())
        return sorted(ours)


class CachedView:
    """The vectors of one spec: look up, add, and the rest is seen to. Not for use from several threads.

    What is added is written every `FLUSH_ROWS` vectors or `FLUSH_SECONDS`, and when it is closed.
    """

    def __init__(self, root: Path, spec: Mapping[str, Any], width: int) -> None:
        self.spec_digest = spec_digest(spec)
        self.width = width
        self._root = root
        self._folder = root / self.spec_digest
        self._shards: list[Shard] = []
        self._where: dict[bytes, tuple[int, int]] = {}
        self._added: dict[bytes, CachedVector] = {}
        self._written = time.monotonic()
        self._spec = spec
        self._held: int | None = None
        self._prepare_folder(spec)
        sweep(self._folder)
        for path in self._listing():
            self._take(path)

    def __enter__(self) -> CachedView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not isinstance(error, StoreError):  # else the disk has just refused a write; do not ask it again
                self.close()
        finally:
            self._let_go()

    def __len__(self) -> int:
        return len(self._where) + len(self._added)

    def get(self, digest: bytes) -> CachedVector | None:
        """Return what is known of the picture with this digest, or None."""
        added = self._added.get(digest)
        if added is not None:
            return added
        place = self._where.get(digest)
        if place is None:
            return None
        shard, row = self._shards[place[0]], place[1]
        return CachedVector(np.array(shard.values[row]), bool(shard.found[row]), shard.notes.get(row, ""))

    def put(self, digest: bytes, values: Floats, found: bool, note: str) -> None:
        """Add the vector (width,) of a picture, or why it has none; a picture known already is left as it is.

        Raises StoreError when it was time to write and the folder cannot be written to.
        """
        if len(digest) != DIGEST_SIZE or values.shape != (self.width,):
            raise ValueError(f"a digest of {len(digest)} bytes with values of shape {values.shape}")
        if digest not in self._where:
            self._added.setdefault(digest, CachedVector(np.array(values, dtype=np.float32), found, note))
        if len(self._added) >= FLUSH_ROWS or time.monotonic() - self._written >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was added; raises StoreError where that fails, with all written before left in place."""
        self._written = time.monotonic()
        if not self._added:
            return
        entries = list(self._added.values())
        digests = np.frombuffer(b"".join(self._added), dtype=np.uint8).reshape(-1, DIGEST_SIZE)
        values = np.stack([entry.values for entry in entries])
        found = np.array([entry.found for entry in entries])
        notes = {row: entry.note for row, entry in enumerate(entries) if entry.note}
        path = self._write(digests, found, values, notes)
        self._added.clear()
        self._take(path)
        self._written = time.monotonic()

    def close(self) -> None:
        """Write what was added, and merge small shards where many have gathered."""
        self.flush()
        small = [shard for shard in self._shards if shard.size < MERGED_BYTES // 2]
        if len(small) > MERGE_ABOVE:
            self._merge(small)

    def _let_go(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _hold(self) -> None:
        """Take a shared lock on the folder, where the system lets folders be opened."""
        self._let_go()
        if hasattr(os, "O_DIRECTORY"):
            self._held = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            lock(self._held, shared=True)

    def _prepare_folder(self, spec: Mapping[str, Any]) -> None:
        wanted = json.loads(json.dumps(spec))
        path = self._folder / SPEC
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._hold()
            if path.exists():
                try:
                    held = json.loads(path.read_text(encoding="utf-8"))
                except ValueError:
                    log.warning("%s is damaged and was written again", path)
                else:
                    if held != wanted:
                        raise StoreError(
                            f"{path} describes another encoder than its folder's name says, so the vectors "
                            f"beside it cannot be trusted. Remove {self._folder}, or use another --cache."
                        )
                    return
            text = json.dumps(wanted, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
            write_whole(path, [text.encode()])
        except OSError as error:
            raise self._unwritable(error) from error

    def _listing(self) -> Iterator[Path]:
        for path in sorted(self._folder.iterdir()):
            if path.suffix == SHARD:
                yield path

    def _take(self, path: Path) -> None:
        try:
            shard = read_shard(path, self.spec_digest, self.width)
            with contextlib.suppress(OSError):
                os.utime(path)  # `prune` keeps what was used last
        except FileNotFoundError:
            # Another process merged it away; what it held is in a shard that we may not have listed.
            return
        except OSError as error:
            log.warning("%s cannot be read (%s); its vectors are made again", path, _reason(error))
            return
        if shard is None:
            log.warning("%s is damaged; it was removed and its vectors are made again", path)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s cannot be removed: %s", path, _reason(error))
            return
        number = len(self._shards)
        self._shards.append(shard)
        digests = shard.digests.tobytes()
        for row in range(len(shard.digests)):
            self._where.setdefault(digests[row * DIGEST_SIZE : (row + 1) * DIGEST_SIZE], (number, row))

    def _write(self, digests: Bytes, found: Bools, values: Floats, notes: Mapping[int, str]) -> Path:
        parts = shard_parts(self.spec_digest, digests, found, values, notes)
        path = self._folder / f"{uuid.uuid4().hex}{SHARD}"
        try:
            if not (self._folder / SPEC).exists():  # cleared beside this run
                self._prepare_folder(self._spec)
            write_whole(path, parts)
        except OSError as error:
            raise self._unwritable(error) from error
        return path

    def _merge(self, shards: list[Shard]) -> None:
        """Write `shards` again as few large ones, then remove them; who has them open keeps them."""
        group: list[Shard] = []
        for shard in [*shards, None]:
            if shard is not None and sum(s.size for s in group) + shard.size <= MERGED_BYTES:
                group.append(shard)
                continue
            if len(group) > 1:
                notes, offset = {}, 0
                for part in group:
                    notes.update({offset + row: note for row, note in part.notes.items()})
                    offset += len(part.digests)
                self._write(
                    np.concatenate([part.digests for part in group]),
                    np.concatenate([part.found for part in group]),
                    np.concatenate([part.values for part in group]),
                    notes,
                )
                for part in group:
                    try:
                        part.path.unlink(missing_ok=True)
                    except OSError as error:  # its vectors lie in the merged shard too: no harm done
                        log.warning("%s cannot be removed: %s", part.path, _reason(error))
            group = [] if shard is None else [shard]

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(
            f"the feature cache {self._root} cannot be written to: {_reason(error)}. What it held before is "
            "intact. Make room there, name another folder with --cache, or go without: --no-cache."
        )


def _free(folder: Path) -> bool:
    """Return whether no run holds a folder's shared lock."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return True
    try:
        return lock(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "no space left on the disk"
    return (error.strerror or str(error)).lower()
