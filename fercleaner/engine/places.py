"""Where shards keep their vectors: a folder that all machines see, or one on an object store, with a copy on this disk.

On a store stand the same files as in a folder (`extraction.shards`), named after their shard; a mark is written last
and lists them. The copy is at COPIES/<digest of the address>: marks and vectors that were fetched, and under `work/`
the shards that this machine is at, so that one that was killed goes on.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.arrays import Progress
from ..core.errors import StoreError
from ..core.files import write_whole
from ..core.types import Samples
from ..extraction.cache import default_folder
from ..extraction.extractor import Extractor
from ..extraction.run import RunLog
from ..extraction.shards import MARKS, VECTORS, Shard, WholeSet, is_done, read_mark, write_shard
from ..extraction.stores import Store, is_address

#: Sizes and names of what was fetched, so that files that were merged since are not fetched again.
FETCHED = "fetched"


@dataclass(frozen=True)
class ShardPlace:
    """A folder of shards, by path or by address.

    Parameters
    ----------
    name : str
        A path, or an address such as s3://bucket/folder.
    copies : path
        Where copies of folders on stores are kept; a path needs none.
    """

    name: str
    copies: Path

    @property
    def folder(self) -> Path:
        """The folder on this machine: the place itself, or its copy."""
        if not is_address(self.name):
            return Path(self.name)
        return self.copies / hashlib.sha256(self.name.encode()).hexdigest()[:16]

    def fetch_marks(self) -> None:
        """Bring the copy's marks up to what stands on the store; StoreError where it cannot be reached."""
        if not is_address(self.name):
            return
        store, folder = Store(self.name), self.folder
        names = {name for name in store.names(MARKS) if name.endswith(".json")}
        for old in (folder / MARKS).glob("*.json"):
            if f"{MARKS}/{old.name}" not in names:
                old.unlink()
        for name in sorted(names):  # a shard with unreadable pictures is gone through again, and gets another mark
            if not (folder / name).exists() or read_mark(folder / name).unreadable:
                store.fetch(name, folder / name)

    def fetch(self) -> Path:
        """Bring the copy's marks and vectors up to date and return its folder.

        StoreError, which names the shard, where a file of a marked shard is missing or cut off.
        """
        folder = self.folder
        if not is_address(self.name):
            return folder
        self.fetch_marks()
        store = Store(self.name)
        there = store.names(VECTORS)
        listed = folder / FETCHED
        had = set(listed.read_text(encoding="utf-8").splitlines()) if listed.exists() else set()
        for path in sorted((folder / MARKS).glob("*.json")):
            mark = read_mark(path)
            for name, size in mark.files.items():
                if there.get(name) != size:
                    found = "missing" if name not in there else f"{there[name]:,} bytes long"
                    raise StoreError(
                        f"{self.name}: {name} of shard {mark.shard} is {found}, not {size:,} bytes as its mark says. "
                        f"Remove the mark {MARKS}/{path.name} and run that shard again."
                    )
                if f"{size} {name}" not in had:
                    store.fetch(name, folder / name)
                    had.add(f"{size} {name}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(listed, ["".join(f"{line}\n" for line in sorted(had)).encode()])
        except OSError as error:
            raise StoreError(
                f"{folder}: the copy of {self.name} cannot be kept ({error.strerror or error})."
            ) from error
        return folder

    def write(
        self,
        shard: Shard,
        part: Samples,
        whole: WholeSet,
        extractors: Sequence[Extractor],
        *,
        workers: int = 0,
        progress: Progress | None = None,
    ) -> list[RunLog]:
        """Compute a shard as `write_shard` and set its mark, on the store after all its files are there."""
        if not is_address(self.name):
            return write_shard(shard, part, whole, extractors, self.folder, workers=workers, progress=progress)
        self.fetch_marks()
        if is_done(shard, self.folder, whole, extractors):
            return []
        work = self.folder / "work" / Path(shard.file).stem
        logs = write_shard(shard, part, whole, extractors, work, workers=workers, progress=progress)
        self._send(shard, work)
        shutil.rmtree(work, ignore_errors=True)
        return logs

    def _send(self, shard: Shard, work: Path) -> None:
        """Send a finished shard's files, then its mark, which lists them."""
        store, files, stem = Store(self.name), dict[str, int](), Path(shard.file).stem
        for folder in sorted(path for path in (work / VECTORS).iterdir() if path.is_dir()):
            store.write(f"{VECTORS}/{folder.name}/spec.json", folder / "spec.json")
            for number, path in enumerate(sorted(folder.glob("*.shard"))):
                name = f"{VECTORS}/{folder.name}/{stem}-{number:02d}.shard"
                store.write(name, path)
                files[name] = path.stat().st_size
        mark = replace(read_mark(work / MARKS / shard.file), files=files)
        store.write(f"{MARKS}/{shard.file}", mark.to_bytes())


def place_of(name: str, copies: Path | None = None) -> ShardPlace:
    """Return the place of a path or an address; copies are kept in the folder for caches by default."""
    return ShardPlace(name, copies or default_folder() / "stores")
