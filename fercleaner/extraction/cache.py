"""The feature cache: vectors kept by what they were made from, so that a run that was killed goes on.

A vector is keyed by the digest of its picture and the digest of the spec that made it. On disk

    FOLDER/<spec digest>/spec.json        what made these vectors
    FOLDER/<spec digest>/<unique>.shard   some of them, written once and never changed

A shard is the 8 bytes ``FCSHARD1``, the length of the header (8 bytes, little endian), the header (JSON: spec
digest, rows, width, notes), the picture digests (rows x 32 bytes), found (rows x 1 byte), the values (rows
x width float32, little endian) and the SHA-256 of all that. Shards are written under a temporary name,
synced and renamed, and their names are unique, so several processes may write at once; a shard that fails
its checksum is removed with a warning and its vectors are made again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from ..core.arrays import Bools, Bytes, Floats, spec_digest
from ..core.errors import StoreError
from ..core.files import sweep, write_whole
from ..core.text import read_json

log = logging.getLogger(__name__)

MAGIC = b"FCSHARD1"
DIGEST_SIZE = 32
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


#: What to do where the cache cannot be written to.
WAY_OUT = "Make room there, name another folder with --cache, or go without: --no-cache."


class FeatureCache:
    """A folder of vectors, shared by all datasets, encoders and processes.

    Parameters
    ----------
    folder : path, optional
        Made when first written to; `default_folder()` when None.
    way_out : str
        What to do where it cannot be written to.
    """

    def __init__(self, folder: Path | str | None = None, *, way_out: str = WAY_OUT) -> None:
        self.folder = default_folder() if folder is None else Path(folder)
        self._way_out = way_out

    def open(self, spec: Mapping[str, Any], width: int) -> CachedView:
        """Return the vectors of `width` numbers that `spec` made; use it in a `with` statement.

        Raises StoreError where the folder cannot be made, or holds another spec under this spec's digest.
        """
        return CachedView(self.folder, spec, width, self._way_out)

    def specs(self) -> dict[str, dict[str, Any]]:
        """Return the specs that have vectors here, by digest."""
        found = {}
        for folder in self._folders(None):
            try:
                found[folder.name] = read_json((folder / "spec.json").read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
        return found

    def size(self, spec: Mapping[str, Any] | None = None) -> CacheSize:
        """Return how much lies here, in all or from one spec."""
        specs = shards = total = 0
        for folder in self._folders(spec):
            specs += 1
            for path in folder.iterdir():
                shards += path.suffix == ".shard"
                try:
                    total += path.stat().st_size
                except FileNotFoundError:  # another process merged it away
                    continue
        return CacheSize(specs, shards, total)

    def clear(self, spec: Mapping[str, Any] | None = None) -> int:
        """Remove all vectors, or those of one spec; return the bytes freed. Touches nothing but our files."""
        freed = self.size(spec).bytes
        for folder in self._folders(spec):
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise StoreError(f"{folder} cannot be removed: {_reason(error)}.") from error
        return freed

    def prune(self, most: int) -> int:
        """Remove whole shards, those written longest ago first, until at most `most` bytes are left.

        Returns the bytes freed. Vectors that are removed are made again when they are asked for; a run that has them
        open keeps them.
        """
        held = []
        for path in (path for folder in self._folders(None) for path in folder.glob("*.shard")):
            with contextlib.suppress(FileNotFoundError):  # another process merged it away
                about = path.stat()
                held.append((about.st_mtime_ns, path, about.st_size))
        total, freed = sum(size for *_, size in held), 0
        for _, path, size in sorted(held):
            if total - freed <= most:
                break
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"{path} cannot be removed: {_reason(error)}.") from error
            freed += size
        return freed

    def _folders(self, spec: Mapping[str, Any] | None) -> list[Path]:
        """Folders of this cache that hold vectors; anything else that lies beside them is not ours."""
        if spec is not None:
            folder = self.folder / spec_digest(spec)
            return [folder] if folder.is_dir() else []
        if not self.folder.is_dir():
            return []
        ours = (p for p in self.folder.iterdir() if len(p.name) == 16 and (p / "spec.json").is_file())
        return sorted(ours)


@dataclass(frozen=True, slots=True)
class _Shard:
    path: Path
    digests: Bytes  # (rows, 32)
    found: Bools
    values: Floats  # (rows, width), a view of the file
    notes: dict[int, str]

    @property
    def size(self) -> int:
        return int(self.values.nbytes)


class CachedView:
    """The vectors of one spec: look up, add, and the rest is seen to. Not for use from several threads.

    What is added is written every `FLUSH_ROWS` vectors or `FLUSH_SECONDS`, and when it is closed.
    """

    def __init__(self, root: Path, spec: Mapping[str, Any], width: int, way_out: str = WAY_OUT) -> None:
        self.spec_digest = spec_digest(spec)
        self.width = width
        self._spec = spec
        self._root, self._way_out = root, way_out
        self._folder = root / self.spec_digest
        self._shards: list[_Shard] = []
        self._where: dict[bytes, tuple[int, int]] = {}
        self._added: dict[bytes, CachedVector] = {}
        self._written = time.monotonic()
        self._prepare_folder(spec)
        for path in self._listing():
            self._take(path)

    def __enter__(self) -> CachedView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, StoreError):  # the disk has just refused a write; do not ask it again
            return
        self.close()

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

    def _prepare_folder(self, spec: Mapping[str, Any]) -> None:
        wanted = json.loads(json.dumps(spec))
        path = self._folder / "spec.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if path.exists():
                try:
                    held = read_json(path.read_text(encoding="utf-8"))
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
        sweep(self._folder)
        yield from sorted(path for path in self._folder.iterdir() if path.suffix == ".shard")

    def _take(self, path: Path) -> None:
        try:
            shard = self._read(path)
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

    def _read(self, path: Path) -> _Shard | None:
        """Return the shard, its values mapped from the file, or None where it is not whole or not ours."""
        start = len(MAGIC) + 8
        if path.stat().st_size < start + DIGEST_SIZE:
            return None
        raw: Bytes = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
        end = len(raw) - DIGEST_SIZE
        whole = hashlib.sha256(raw[:end].data).digest() == raw[end:].tobytes()
        if not whole or raw[: len(MAGIC)].tobytes() != MAGIC:
            return None
        # From here on the file is what we wrote; it can still belong to another spec.
        length = int.from_bytes(raw[len(MAGIC) : start].tobytes(), "little")
        header = read_json(raw[start : start + length].tobytes())
        rows, width = int(header["rows"]), int(header["width"])
        if (header["spec"], width) != (self.spec_digest, self.width):
            return None
        at = start + length
        digests = raw[at : at + rows * DIGEST_SIZE].reshape(rows, DIGEST_SIZE)
        at += rows * DIGEST_SIZE
        found = raw[at : at + rows] != 0
        at += rows
        values = raw[at:end].view("<f4").reshape(rows, width)
        return _Shard(path, digests, found, values, {int(row): note for row, note in header["notes"].items()})

    def _write(self, digests: Bytes, found: Bools, values: Floats, notes: Mapping[int, str]) -> Path:
        rows, width = values.shape
        header = {"spec": self.spec_digest, "rows": rows, "width": width, "notes": notes}
        text = json.dumps(header, ensure_ascii=False).encode()
        parts = [
            MAGIC,
            len(text).to_bytes(8, "little"),
            text,
            digests.tobytes(),
            found.astype(np.uint8).tobytes(),
            np.ascontiguousarray(values, dtype="<f4").tobytes(),
        ]
        checksum = hashlib.sha256()
        for part in parts:
            checksum.update(part)
        path = self._folder / f"{uuid.uuid4().hex}.shard"
        if not self._folder.is_dir():
            log.warning("%s was removed during this run; it is made again for what follows", self._folder)
            self._prepare_folder(self._spec)
        try:
            write_whole(path, [*parts, checksum.digest()])
        except OSError as error:
            raise self._unwritable(error) from error
        return path

    def _merge(self, shards: list[_Shard]) -> None:
        """Write `shards` again as few large ones, then remove them; who has them open keeps them."""
        group: list[_Shard] = []
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
            f"intact. {self._way_out}"
        )


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "no space left on the disk"
    return (error.strerror or str(error)).lower()
