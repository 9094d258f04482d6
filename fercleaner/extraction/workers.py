"""Worker processes that decode and prepare pictures, in order, and end with whoever started them."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import TracebackType
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.errors import FeatureError
from . import images
from .extractor import Prepare

T = TypeVar("T")

#: (4,) left, top, right, bottom in pixels, or None for the whole picture.
Box: TypeAlias = "NDArray[np.float32] | None"
#: An encoded picture and its box.
PictureJob: TypeAlias = tuple[bytes, Box]
#: A prepared picture, or why it cannot be read.
Prepared: TypeAlias = "NDArray[Any] | str"

#: Below this many pictures, starting processes costs more than it saves.
INLINE_PICTURES = 64

#: A worker shares the machine with the others and with the computing process.
SINGLE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
}

_prepare: Prepare | None = None


class Workers(Generic[T]):
    """Runs `prepare` over chunks of pictures and gives the results back in the order of submission.

    The first `INLINE_PICTURES` pictures are done in the calling process, at once. Processes are spawned,
    never forked, so that no lock of torch or FAISS is inherited; Ctrl-C reaches the calling process alone.

    Parameters
    ----------
    prepare : callable
        Picklable; PIL picture -> array.
    count : int
        Processes; 0 does everything in the calling process.
    """

    def __init__(self, prepare: Prepare, count: int) -> None:
        self._prepare = prepare
        self._count = count
        self._inline = INLINE_PICTURES
        self._pool: ProcessPoolExecutor | None = None
        self._chunks: deque[tuple[list[T], list[Prepared] | Future[list[Prepared]]]] = deque()

    def __enter__(self) -> Workers[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def busy(self) -> bool:
        """Whether results are still to be taken."""
        return bool(self._chunks)

    @property
    def full(self) -> bool:
        """Whether results should be taken before more is submitted: bounds the memory held."""
        return len(self._chunks) > 2 * self._count + 1

    def submit(self, keys: list[T], jobs: list[PictureJob]) -> None:
        """Have `jobs` prepared; `keys` come back beside the results."""
        if self._count == 0 or self._inline > 0:
            self._inline -= len(jobs)
            self._chunks.append((keys, prepare_chunk(self._prepare, jobs)))
            return
        with _fit_for_workers():
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    self._count,
                    mp_context=multiprocessing.get_context("spawn"),
                    initializer=_start_worker,
                    initargs=(self._prepare,),
                )
            try:
                self._chunks.append((keys, self._pool.submit(_work, jobs)))
            except BrokenProcessPool as error:
                raise _died() from error

    def take(self) -> Iterator[tuple[T, Prepared]]:
        """Yield (key, prepared array or reason) of the oldest chunk, waiting for it."""
        keys, result = self._chunks.popleft()
        if isinstance(result, Future):
            try:
                result = result.result()
            except BrokenProcessPool as error:
                raise _died() from error
        yield from zip(keys, result, strict=True)


def prepare_chunk(prepare: Prepare, jobs: list[PictureJob]) -> list[Prepared]:
    """Decode, crop and prepare pictures; a picture that cannot be read gives the reason instead."""
    results: list[Prepared] = []
    for data, box in jobs:
        try:
            image = images.decode(data)
            results.append(prepare(image if box is None else images.crop(image, box)))
        except images.UnreadableImage as error:
            results.append(str(error))
    return results


def _died() -> FeatureError:
    return FeatureError(
        "a worker process that prepares pictures died. If this is a script of yours, put its calls under "
        "if __name__ == '__main__'; if memory ran out, use fewer: --workers 1 (0 does without)."
    )


@contextmanager
def _fit_for_workers() -> Iterator[None]:
    """Let processes that start in here inherit one thread each and a blocked SIGINT.

    Blocked, not ignored: a Ctrl-C meant for this process waits until the block ends.
    """
    kept = {name: os.environ.get(name) for name in SINGLE_THREAD}
    os.environ.update(SINGLE_THREAD)
    blockable = hasattr(signal, "pthread_sigmask")
    if blockable:
        # Its start would unblock SIGINT again.
        resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if blockable else set()
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if blockable:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(prepare: Prepare) -> None:
    global _prepare
    _prepare = prepare
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot tell its workers; without this they would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _work(jobs: list[PictureJob]) -> list[Prepared]:
    if _prepare is None:
        raise RuntimeError("a worker was given pictures before its start")
    return prepare_chunk(_prepare, jobs)
