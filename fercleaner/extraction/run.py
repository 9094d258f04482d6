"""From pictures to vectors: read, look into the cache, prepare in worker processes, compute in batches.

The result depends on the pictures and the extractor alone: not on the number of workers, nor on how much
of it came from the cache. Pictures are read by a few threads, decoded and prepared by worker processes, and
computed in the calling process, all in row order.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Bools, Floats, Progress, Strings
from ..core.errors import FeatureError
from ..core.files import named_alike
from ..core.text import shown
from ..core.types import Features, ImageSource, Samples
from . import images
from .cache import CachedView, FeatureCache
from .extractor import Extractor
from .on_disk import MappedTable
from .workers import Box, Workers

#: Pictures read by a thread at once, threads, and blocks read ahead: bounds the encoded pictures held.
READ_ROWS, READ_THREADS, READ_AHEAD = 16, 4, 6
#: Pictures handed to a worker at once, or fewer when their files are this large together.
CHUNK_ROWS, CHUNK_BYTES = 32, 8 * 2**20

NOT_FINITE = "the extractor gave NaN or infinity"


@dataclass(frozen=True)
class RunLog:
    """What an extraction did; `computed + reused + repeated + unreadable pictures = faces`.

    Parameters
    ----------
    view : str
        Name of the extractor.
    faces : int
        Rows of the dataset.
    computed, reused, repeated : int
        Faces whose result was made now, came from the cache, or was that of an earlier row with the same
        picture and box.
    unreadable, not_found : mapping of reason -> faces
        Pictures that could not be read; pictures that could, but have no vector (no face found, say).
    first_unreadable : str
        "name: reason" of the first picture that could not be read; "" where there is none.
    seconds : float
        Wall time.
    """

    view: str
    faces: int
    computed: int
    reused: int
    repeated: int
    unreadable: Mapping[str, int]
    not_found: Mapping[str, int]
    first_unreadable: str
    seconds: float


@dataclass(frozen=True, eq=False)
class Extraction:
    """The vectors of a dataset's faces, in its row order.

    Parameters
    ----------
    values : (N, width) float32
        Zero where not found.
    found : (N,) bool
    notes : (N,) str
        Why a face has no vector; where found, what is unusual about its frame, or "".
    log : RunLog
    """

    values: Floats
    found: Bools
    notes: Strings
    log: RunLog

    @property
    def computed(self) -> int:
        """Faces whose result was made in this run."""
        return self.log.computed

    @property
    def reused(self) -> int:
        """Faces whose result came from the cache."""
        return self.log.reused


def usable_cores() -> int:
    """Return how many cores this process may use; a good number of workers."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def extract(
    samples: Samples,
    extractor: Extractor,
    *,
    cache: FeatureCache | None,
    workers: int,
    progress: Progress | None = None,
) -> Extraction:
    """Run `extractor` over the pictures of `samples`.

    Each distinct picture (by content and box) is computed once. A picture that cannot be read is data: not
    found, with the reason as its note, and tried again in the next run. What is finished goes into the cache
    as the run goes on, so a run that was killed loses seconds. Ctrl-C raises KeyboardInterrupt after the
    finished work is written and the workers have ended.

    Parameters
    ----------
    samples : Samples
        `images.read` is called from several threads.
    extractor : Extractor
    cache : FeatureCache, optional
        None keeps nothing.
    workers : int
        Worker processes; 0 does all in the calling process. Processes are started when there is enough to
        do for it to pay. They are spawned: a script that calls this needs the usual
        ``if __name__ == "__main__":``.
    progress : callable (done, total), optional
        Called in the calling thread as faces are done.

    Raises
    ------
    FeatureError
        The set has no pictures, or none of them can be read, or a worker process died.
    StoreError
        The cache cannot be written to.
    """
    if samples.images is None:
        raise FeatureError(
            f"View '{extractor.name}' needs pictures, and this set names none. Use --view NAME=FILE alone, "
            "or a set with pictures."
        )
    if workers < 0:
        raise ValueError(f"workers is {workers}; 0 (none) or more")
    run = _Run(samples, samples.images, extractor, progress, cache.folder if cache else None)
    with ExitStack() as stack:
        cached = stack.enter_context(cache.open(extractor.spec, extractor.width)) if cache else None
        pool: Workers[_Picture] = stack.enter_context(Workers(extractor.prepare, workers))
        run.go(cached, pool)
    return run.finish()


def vectors_of(
    samples: Samples,
    extractor: Extractor,
    *,
    cache: FeatureCache | None,
    workers: int,
    progress: Progress | None = None,
    on_log: Callable[[RunLog], None] | None = None,
) -> Features:
    """Run an encoder over the pictures of `samples`, as `extract`; `on_log` gets what the run did."""
    done = extract(samples, extractor, cache=cache, workers=workers, progress=progress)
    if on_log is not None:
        on_log(done.log)
    return Features(extractor.name, samples.ids, done.values, done.found, dict(extractor.spec), done.notes)


class _Picture(NamedTuple):
    """An encoded picture, or the reason why there is none."""

    row: int
    digest: bytes
    data: bytes
    box: Box
    reason: str


@dataclass
class _Run:
    """The state of one extraction."""

    samples: Samples
    images: ImageSource
    extractor: Extractor
    progress: Progress | None
    folder: Path | None
    done: int = 0
    computed: int = 0
    reused: int = 0
    batch: list[tuple[_Picture, NDArray[Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        n = len(self.samples)
        self.started = time.monotonic()
        self.table = MappedTable(n, self.extractor.width, self.folder)
        self.values = self.table.values
        self.found: Bools = np.zeros(n, dtype=bool)
        self.notes: list[str] = [""] * n
        self.unreadable: Bools = np.zeros(n, dtype=bool)
        self.first_row: dict[bytes, int] = {}
        self.repeats: list[tuple[int, int]] = []

    def go(self, cached: CachedView | None, pool: Workers[_Picture]) -> None:
        waiting: list[_Picture] = []
        for block in self._read():
            for picture in block:
                if self._settled(picture, cached):
                    continue
                waiting.append(picture)
                if len(waiting) >= CHUNK_ROWS or sum(len(p.data) for p in waiting) >= CHUNK_BYTES:
                    self._submit(waiting, pool)
                    waiting = []
                    while pool.full:
                        self._take(pool, cached)
            self._tell()
        self._submit(waiting, pool)
        while pool.busy:
            self._take(pool, cached)
        self._compute(cached)

    def finish(self) -> Extraction:
        for row, first in self.repeats:
            self.values[row] = self.values[first]
            self.found[row] = self.found[first]
            self.notes[row] = self.notes[first]
            self.unreadable[row] = self.unreadable[first]
        unreadable = Counter(self.notes[row] for row in np.flatnonzero(self.unreadable))
        not_found = Counter(self.notes[row] for row in np.flatnonzero(~self.found & ~self.unreadable))
        first_name = ""
        if self.unreadable.any():
            worst = int(self.unreadable.argmax())
            first_name = self.images.name(worst)
            alike = "" if os.path.exists(first_name) else named_alike(first_name)
            first_name = f"{first_name}: {self.notes[worst]}{alike}"
        n = len(self.samples)
        if self.unreadable.all():
            raise FeatureError(
                f"None of the {n:,} pictures can be read (first: {first_name}). If the set's paths start "
                "in another folder, name it with --images DIR."
            )
        repeated = sum(not self.unreadable[row] for row, _ in self.repeats)
        log = RunLog(
            self.extractor.name,
            n,
            self.computed,
            self.reused,
            repeated,
            dict(unreadable.most_common()),
            dict(not_found.most_common()),
            first_name,
            time.monotonic() - self.started,
        )
        return Extraction(self.table.sealed(), self.found, np.array(self.notes, dtype=np.str_), log)

    def _read(self) -> Iterator[list[_Picture]]:
        """Yield all pictures in row order, a few blocks read ahead by threads."""
        n = len(self.samples)
        readers = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="fercleaner-read")
        try:
            starts = iter(range(0, n, READ_ROWS))
            ahead = deque(readers.submit(self._block, start) for start in islice(starts, READ_AHEAD))
            while ahead:
                block = ahead.popleft().result()
                ahead.extend(readers.submit(self._block, start) for start in islice(starts, 1))
                yield block
        finally:
            readers.shutdown(wait=True, cancel_futures=True)

    def _block(self, start: int) -> list[_Picture]:
        return [self._picture(row) for row in range(start, min(start + READ_ROWS, len(self.samples)))]

    def _picture(self, row: int) -> _Picture:
        box = images.known_box(self.samples, row)
        try:
            data = images.read_bytes(self.images, row)
        except images.UnreadableImage as error:
            return _Picture(row, b"", b"", box, str(error))
        return _Picture(row, images.digest(data, box), data, box, "")

    def _settled(self, picture: _Picture, cached: CachedView | None) -> bool:
        """Say whether nothing is left to compute for this picture."""
        if picture.reason:
            self._fail(picture.row, picture.reason)
            return True
        first = self.first_row.setdefault(picture.digest, picture.row)
        if first != picture.row:
            self.repeats.append((picture.row, first))
            self.done += 1
            return True
        entry = cached.get(picture.digest) if cached is not None else None
        if entry is None:
            return False
        self.values[picture.row], self.found[picture.row], self.notes[picture.row] = entry
        self.reused += 1
        self.done += 1
        return True

    def _fail(self, row: int, reason: str) -> None:
        self.notes[row] = reason
        self.unreadable[row] = True
        self.done += 1

    def _submit(self, pictures: list[_Picture], pool: Workers[_Picture]) -> None:
        if pictures:
            # The key goes without the file's bytes: they are not needed here again.
            pool.submit([p._replace(data=b"") for p in pictures], [(p.data, p.box) for p in pictures])

    def _take(self, pool: Workers[_Picture], cached: CachedView | None) -> None:
        for picture, prepared in pool.take():
            if isinstance(prepared, str):
                self._fail(picture.row, prepared)
                continue
            self.batch.append((picture, prepared))
            if len(self.batch) >= self.extractor.batch_size:
                self._compute(cached)
        self._tell()

    def _compute(self, cached: CachedView | None) -> None:
        if not self.batch:
            return
        batch, self.batch = self.batch, []
        try:
            values, found, notes = self.extractor.compute([prepared for _, prepared in batch])
        except RuntimeError as error:  # what torch raises where a device fails
            raise FeatureError(
                f"'{self.extractor.name}' failed while it computed vectors: {shown(error, 300)}. Run the same command "
                "again, which goes on from the cache; if it fails again, try --device cpu."
            ) from error
        wanted = (len(batch), self.extractor.width)
        if values.shape != wanted or len(found) != len(batch) or len(notes) != len(batch):
            raise ValueError(f"'{self.extractor.name}' computed shape {values.shape}, expected {wanted}")
        for (picture, _), vector, is_found, note in zip(batch, values, found, notes, strict=True):
            row = picture.row
            self.computed += 1
            self.done += 1
            if is_found and not np.isfinite(vector).all():
                self.notes[row] = NOT_FINITE
                continue
            if is_found:
                self.values[row] = vector
            self.found[row], self.notes[row] = bool(is_found), note
            if cached is not None:
                cached.put(picture.digest, self.values[row], bool(is_found), self.notes[row])
        self._tell()

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(self.done, len(self.samples))
