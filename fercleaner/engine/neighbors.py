"""Exact neighbors in parts that lie in a folder: searched here or as Ray tasks, finished ones kept.

A layer over `similarity.neighbors.sharded`. The folder holds, under digests of what they are made of:

    VIEW/values.npy                   a view's vectors as for comparison, (N, D) float32
    VIEW/SEARCH/group.npy, ...        who is searched among whom
    VIEW/SEARCH/NUMBER.npz            the nearest of one block of faces among all, written when they are found

A search of other faces, vectors, groups or k, or by another version, has another name, so nothing is ever taken that
does not fit. A task holds nothing between calls: it maps its two parts from files that all machines see, so one that is
lost with its machine is started again elsewhere. (Reading a part is linear in its faces, searching it quadratic: actors
that held parts would save next to nothing, and wait for a core when one is lost.)
"""

from __future__ import annotations

import hashlib
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..core.arrays import Bools, Ints, Progress, Strings
from ..core.errors import InputError, StoreError
from ..core.files import replacing
from ..core.groups import group_numbers
from ..core.types import Features, Neighbors
from ..similarity.neighbors import RECALL
from ..similarity.neighbors.sharded import Best, Parted, merged_best, slices
from ..similarity.whitening import row_blocks
from .on_ray import AGAIN, Asked, cluster

#: Faces of a part: a pair of parts is some 10^12 operations, seconds to a minute of one core.
PART_FACES = 65_536
#: Tasks asked for ahead of the one that is waited for: bounds the answers that are held.
AHEAD = 64
#: Arrays of a search, by file name.
ARRAYS = ("group", "held", "asked")


@dataclass(frozen=True)
class Task:
    """Some faces searched among one part of all: what a worker needs to know.

    Parameters
    ----------
    view, search : path
        Folders.
    block, part : (number, first, end)
        Of `Parted.asked` and `Parted.held`.
    k : int
    version : str
        Of fercleaner; other machines must have the same.
    """

    view: Path
    search: Path
    block: tuple[int, int, int]
    part: tuple[int, int, int]
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
            values = np.load(self.view / "values.npy", mmap_mode="r", allow_pickle=False)
            arrays = {name: np.load(self.search / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS}
        except (OSError, ValueError, EOFError) as error:
            raise StoreError(
                f"{self.view} cannot be read on {socket.gethostname()} ({error}). The folder of --neighbors must be "
                "one that all machines see by the same path."
            ) from error
        return Parted(values, **arrays).nearest(slice(*self.block[1:]), slice(*self.part[1:]), self.k, device)


#: What runs tasks, and yields their answers in order.
Runner = Callable[[Sequence[Task]], Iterator[Best]]


@dataclass(frozen=True, eq=False)
class PartSearcher:
    """A view's neighbors, searched part by part; as `similarity.neighbors.Searcher` with the exact index.

    Parameters
    ----------
    features : Features
        As for comparison.
    folder : path
    runner : Runner
    tell : callable
        Gets a sentence where finished blocks are taken over.
    faces : int
        Of a part at most.
    """

    features: Features
    folder: Path
    runner: Runner
    tell: Callable[[str], None] = lambda sentence: None
    faces: int = PART_FACES

    def nearest(
        self, k: int, *, apart: Strings | None = None, only: Bools | None = None, progress: Progress | None = None
    ) -> Neighbors:
        """Return the k most similar other faces of every face; as `similarity.neighbors.nearest`, exact, uncentered.

        Raises
        ------
        StoreError
            The folder cannot be written or read, or a task was lost again and again; the message says which.
        """
        if k < 1:
            raise InputError(f"k = {k}: at least one neighbor is needed.")
        view, n = self.features, len(self.features)
        held = np.flatnonzero(view.found)
        asked = held if only is None else held[only[held]]
        search = self._written({"group": group_numbers(view.ids, apart), "held": held, "asked": asked}, k)
        blocks, parts = slices(len(asked), self.faces), slices(len(held), self.faces)
        indices, similarity = np.full((n, k), -1, dtype=np.int64), np.zeros((n, k), dtype=np.float32)
        kept = [_kept(search / f"{number:04d}.npz", block, k) for number, block in enumerate(blocks)]
        if done := sum(best is not None for best in kept):
            self.tell(f"neighbors: {view.view}: {done} of {len(blocks)} parts were there, in {search}.")
        answers = self.runner(
            [t for b, best in enumerate(kept) if best is None for t in _tasks(search, b, blocks, parts, k)]
        )
        for number, block in enumerate(blocks):
            best, kept[number] = kept[number], None
            if best is None:
                best = merged_best(list(islice(answers, len(parts))), k)
                _keep(search / f"{number:04d}.npz", best)
            indices[asked[block]], similarity[asked[block]] = best
            if progress is not None:
                progress(block.stop, len(asked))
        indices.flags.writeable = similarity.flags.writeable = False  # so that Neighbors takes them as they are
        return Neighbors(view.view, view.ids, indices, similarity, self.about)

    def tune(self, k: int, *, apart: Strings | None = None, recall: float = RECALL) -> None:
        """Do nothing: the search is exact; as `Searcher.tune`."""

    @property
    def depth(self) -> int:
        """0, as of every exact search."""
        return 0

    @property
    def about(self) -> dict[str, Any]:
        """What `Neighbors.search` says of the search."""
        return {"index": "exact", "parts": len(slices(int(self.features.found.sum()), self.faces))}

    def _written(self, arrays: dict[str, Ints], k: int) -> Path:
        """Return the folder of a search, with the view and who is searched among whom in it."""
        from .. import __version__

        values = self.features.values
        seal = hashlib.sha256(f"{values.shape} {values.dtype}".encode())
        for part in row_blocks(len(values)):
            seal.update(values[part].tobytes())
        view = self.folder / seal.hexdigest()[:16]
        seal = hashlib.sha256(f"{__version__} {k} {self.faces}".encode())
        for name in ARRAYS:
            seal.update(arrays[name].tobytes())
        search = view / seal.hexdigest()[:16]
        try:
            search.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{search}: cannot be made ({error.strerror or error}). Choose another folder.") from error
        if not _same(view / "values.npy", values):
            _write(view / "values.npy", values)
        for name in ARRAYS:
            _write(search / f"{name}.npy", arrays[name])
        return search


@contextmanager
def part_search(
    folder: Path, asked: Asked | None, device: str, tell: Callable[[str], None], *, faces: int = PART_FACES
) -> Iterator[Callable[[Features], PartSearcher]]:
    """Yield what makes a searcher of a view, for `Resources.searcher`: in this process, or on the cluster `asked` for.

    Parameters
    ----------
    folder : path
        Where parts lie; with Ray, one that all machines see by this path.
    asked : Asked or None
        A task takes a GPU where the cluster has any and `device` is not "cpu".
    tell : callable
        Gets sentences for the user.
    faces : int
        Of a part at most.
    """
    folder = folder.absolute()
    if asked is None:
        yield lambda view: PartSearcher(view, folder, lambda tasks: (task.run(device) for task in tasks), tell, faces)
        return
    with cluster(asked.address) as ray:
        yield lambda view: PartSearcher(view, folder, lambda tasks: _on_ray(ray, tasks, asked), tell, faces)


def _tasks(search: Path, number: int, blocks: Sequence[slice], parts: Sequence[slice], k: int) -> list[Task]:
    """Return the tasks of one block."""
    from .. import __version__

    block = (number, blocks[number].start, blocks[number].stop)
    return [
        Task(search.parent, search, block, (other, part.start, part.stop), k, __version__)
        for other, part in enumerate(parts)
    ]


def _on_ray(ray: Any, tasks: Sequence[Task], asked: Asked) -> Iterator[Best]:
    """Yield the answers of tasks in order, each a Ray task."""
    gpu = asked.gpus(ray)
    run = ray.remote(_run).options(num_cpus=1, num_gpus=gpu, max_retries=AGAIN, scheduling_strategy="SPREAD")
    waiting: deque[tuple[Any, Task]] = deque()
    for task in tasks:
        waiting.append((run.remote(task, "cuda" if gpu else "cpu"), task))
        if len(waiting) > AHEAD:
            yield _got(ray, *waiting.popleft())
    while waiting:
        yield _got(ray, *waiting.popleft())


def _run(task: Task, device: str) -> Best:
    """Run a task in a Ray worker."""
    return task.run(device)


def _got(ray: Any, answer: Any, task: Task) -> Any:
    where = f"Neighbors of part {task.block[0]} in part {task.part[0]} in {task.search}"
    try:
        return ray.get(answer)
    except ray.exceptions.RayTaskError as error:
        raise StoreError(f"{where}: {error.cause}") from error
    except ray.exceptions.RayError as error:
        raise StoreError(
            f"{where}: the task was lost {AGAIN + 1} times ({type(error).__name__}). Give each machine more memory; "
            "what was finished is kept."
        ) from error


def _write(path: Path, array: Any) -> None:
    """Write an array whole; StoreError where that fails."""
    with replacing(path, overwrite=True) as stream:
        np.save(stream, array, allow_pickle=False)


def _same(path: Path, values: Any) -> bool:
    """Return whether a file holds these values, as far as it can be read."""
    try:
        there = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    if there.shape != values.shape or there.dtype != values.dtype:
        return False
    return all(np.array_equal(there[part], values[part]) for part in row_blocks(len(values)))


def _keep(path: Path, best: Best) -> None:
    with replacing(path, overwrite=True) as stream:
        np.savez(stream, indices=best.indices, similarity=best.similarity)


def _kept(path: Path, block: slice, k: int) -> Best | None:
    """Return a block's neighbors that were found before; None where they are not there or damaged (zip's checksums)."""
    try:
        with np.load(path, allow_pickle=False) as held:
            best = Best(held["indices"], held["similarity"])
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        return None
    return best if best.indices.shape == best.similarity.shape == (block.stop - block.start, k) else None
