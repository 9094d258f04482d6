"""Neighbors of parts as Ray tasks: each maps its two parts from files that all machines see, or from a copy of them.

A task holds nothing between calls, so one that is lost with its machine is started again elsewhere. (Reading a part is
linear in its faces, searching it quadratic: actors that held parts would save next to nothing, and wait for a core when
one is lost.) For the tasks stand, beside what `neighbors` keeps,

    VIEW/values-DIGEST.npy            a view's vectors as for comparison, (N, D) float32
    VIEW/SEARCH/group.npy, ...        who is searched among whom
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.arrays import rows_digest
from ..core.errors import StoreError
from ..core.files import replacing
from ..extraction.stores import Store, is_address
from ..similarity.neighbors.sharded import Best, Parted
from ..similarity.whitening import row_blocks
from .on_ray import AGAIN, Asked, cluster
from .places import ShardPlace, place_of

#: Tasks asked for ahead of the one that is waited for: bounds the answers that are held.
AHEAD = 64
#: Arrays of a search, by file name.
ARRAYS = ("group", "held", "asked")


@dataclass(frozen=True)
class Task:
    """Some faces searched among one part of all: what a worker needs to know.

    Parameters
    ----------
    place : ShardPlace
    files : tuple of str
        Of the vectors and of `ARRAYS`, in the place.
    block, part : (first, end)
        Of `Parted.asked` and `Parted.held`.
    k : int
    version : str
        Of fercleaner; other machines must have the same.
    """

    place: ShardPlace
    files: tuple[str, ...]
    block: tuple[int, int]
    part: tuple[int, int]
    k: int
    version: str

    def run(self, device: str) -> Best:
        """Search; StoreError, which names the machine, where the files cannot be read or the version is another."""
        from .. import __version__

        if self.version != __version__:
            raise StoreError(
                f"On {socket.gethostname()} fercleaner {__version__} is installed, and {self.version} where the run "
                "was started. Install the same."
            )
        try:
            values, *rows = (self._mapped(name) for name in self.files)
        except (OSError, ValueError, EOFError) as error:
            raise StoreError(
                f"{self.place.name} cannot be read on {socket.gethostname()} ({error}). The folder of --neighbors must "
                "be one that all machines see by the same path, or an address."
            ) from error
        return Parted(values, *rows).nearest(slice(*self.block), slice(*self.part), self.k, device)

    def _mapped(self, name: str) -> Any:
        """Return an array, mapped into memory; from a copy on this machine where it lies on a store."""
        path = self.place.folder / name
        if is_address(self.place.name) and not path.exists():
            Store(self.place.name).fetch(name, path)
        return np.load(path, mmap_mode="r", allow_pickle=False)


@dataclass(frozen=True, eq=False)
class RayRunner:
    """Runs a search as Ray tasks; a `neighbors.Runner`."""

    ray: Any
    place: ShardPlace
    asked: Asked

    @classmethod
    @contextmanager
    def joined(cls, name: str, asked: Asked) -> Iterator[RayRunner]:
        """Yield a runner for a folder or address, the cluster joined meanwhile."""
        with cluster(asked.address) as ray:
            yield cls(ray, place_of(name), asked)

    def __call__(self, parted: Parted, search: str, pairs: Sequence[tuple[slice, slice]], k: int) -> Iterator[Best]:
        """Yield the answers of all pairs of parts in order."""
        from .. import __version__

        if not pairs:
            return
        files = self._written(parted, search)
        gpu = self.asked.gpus(self.ray)
        run = self.ray.remote(_run).options(num_cpus=1, num_gpus=gpu, max_retries=AGAIN, scheduling_strategy="SPREAD")
        waiting: deque[tuple[Any, Task]] = deque()
        for block, part in pairs:
            task = Task(self.place, files, (block.start, block.stop), (part.start, part.stop), k, __version__)
            waiting.append((run.remote(task, "cuda" if gpu else "cpu"), task))
            if len(waiting) > AHEAD:
                yield self._got(*waiting.popleft(), search)
        while waiting:
            yield self._got(*waiting.popleft(), search)

    def _written(self, parted: Parted, search: str) -> tuple[str, ...]:
        """Return the files of a search, written where they are not as they must be; StoreError where that fails."""
        view = search.rpartition("/")[0]
        files = {f"{view}/values-{rows_digest(parted.values)}.npy": parted.values}
        files |= {f"{search}/{name}.npy": getattr(parted, name) for name in ARRAYS}
        away = is_address(self.place.name)
        there = Store(self.place.name).names(view) if away else {}
        for name, array in files.items():
            path = self.place.folder / name
            if not _same(path, array):
                try:
                    path.parent.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise StoreError(f"{path.parent}: cannot be made ({error.strerror or error}).") from error
                with replacing(path, overwrite=True) as stream:
                    np.save(stream, array, allow_pickle=False)
            if away and there.get(name) != path.stat().st_size:
                Store(self.place.name).write(name, path)
        return tuple(files)

    def _got(self, answer: Any, task: Task, search: str) -> Best:
        where = f"Neighbors of faces {task.block[0]:,} to {task.block[1]:,} in {self.place.name}/{search}"
        try:
            best: Best = self.ray.get(answer)
        except self.ray.exceptions.RayTaskError as error:
            raise StoreError(f"{where}: {error.cause}") from error
        except self.ray.exceptions.RayError as error:
            raise StoreError(
                f"{where}: the task was lost {AGAIN + 1} times ({type(error).__name__}). Give each machine more "
                "memory; what was finished is kept."
            ) from error
        return best


def _run(task: Task, device: str) -> Best:
    """Run a task in a Ray worker."""
    return task.run(device)


def _same(path: Any, values: Any) -> bool:
    """Return whether a file holds these values, as far as it can be read."""
    try:
        there = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    if there.shape != values.shape or there.dtype != values.dtype:
        return False
    return all(np.array_equal(there[part], values[part]) for part in row_blocks(len(values)))
