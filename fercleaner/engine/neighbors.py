"""Exact neighbors of a view that outgrows a machine: each part held by a Ray actor, the k best of all parts merged.

A thin layer over `similarity.neighbors.sharded`. An actor opens its part from files that all machines see, so that one
that is lost with its machine is started again elsewhere and what it was asked for is asked again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import Bools, Doubles, Floats, Ints, Progress
from ..core.errors import InputError, StoreError
from ..similarity.neighbors.sharded import Best, Part, Ready, mean_of, merged, nearest_in, padded, ready, summed
from .on_ray import AGAIN, Asked, cluster

#: Questions that wait at a time, for each part: bounds the vectors that travel.
AHEAD = 4


@dataclass(frozen=True)
class PartFiles:
    """A part of a view in a folder: `NUMBER.values.npy` (n, D) float32, `NUMBER.found.npy`, `NUMBER.group.npy`.

    Parameters
    ----------
    folder : path
    number : int
        From 0.
    first : int
        Row of the set that its row 0 is.
    """

    folder: Path
    number: int
    first: int

    def write(self, values: Floats, found: Bools, group: Ints) -> None:
        """Write the part, each file whole."""
        for name, array in (("values", values.astype(np.float32)), ("found", found), ("group", group)):
            with open(self._path(name).with_suffix(".part"), "wb") as stream:
                np.save(stream, array, allow_pickle=False)
            self._path(name).with_suffix(".part").replace(self._path(name))

    def open(self) -> Part:
        """Return the part, its vectors mapped from the file; StoreError, which names it, where it cannot be read."""
        try:
            values = np.load(self._path("values"), mmap_mode="r", allow_pickle=False)
            found = np.load(self._path("found"), allow_pickle=False)
            return Part(self.first, values, found, np.load(self._path("group"), allow_pickle=False))
        except (OSError, ValueError) as error:
            raise StoreError(f"{self._path('values')}: part {self.number} cannot be read ({error}).") from error

    def _path(self, name: str) -> Path:
        return self.folder / f"{self.number:04d}.{name}.npy"


def written(folder: Path, values: Floats, found: Bools, group: Ints, count: int) -> list[PartFiles]:
    """Write a view in `count` parts of even size and return them."""
    folder.mkdir(parents=True, exist_ok=True)
    edges = [len(values) * number // count for number in range(count + 1)]
    parts = []
    for number, (start, end) in enumerate(pairwise(edges)):
        parts.append(PartFiles(folder, number, start))
        parts[-1].write(values[start:end], found[start:end], group[start:end])
    return parts


class Holder:
    """A part in an actor: its vectors stay there, and the nearest in it of others' faces are asked for.

    Parameters
    ----------
    files : PartFiles
    device : str
    """

    def __init__(self, files: PartFiles, device: str) -> None:
        self._files, self._device, self._ready = files, device, dict[bytes, Ready]()

    def summed(self) -> tuple[Doubles, int]:
        """Return the sum of the part's vectors and their number."""
        return summed(self._files.open())

    def ready(self, mean: Doubles) -> Ready:
        """Return the part's unit vectors, for the other actors to look at."""
        key = mean.tobytes()
        if key not in self._ready:
            self._ready = {key: ready(self._files.open(), mean)}
        return self._ready[key]

    def nearest(self, asked: Ready, mean: Doubles, k: int) -> Best:
        """Return the nearest in this part of the faces asked for."""
        return nearest_in(asked, self.ready(mean), k, self._device)


def nearest_on_ray(
    parts: Sequence[PartFiles], k: int, asked: Asked, *, center: bool = True, progress: Progress | None = None
) -> Iterator[tuple[Part, Best]]:
    """Find the k nearest faces of every face with parts held by Ray actors; as `sharded.nearest_by_parts`.

    Parameters
    ----------
    parts : sequence of PartFiles
        In a folder that all machines see.
    k : int
        At least 1.
    asked : Asked
        An actor takes a GPU where the cluster has any and `device` is not "cpu".

    Raises
    ------
    StoreError
        A part that cannot be read, or whose actor was lost again and again; the message says which.
    """
    if k < 1:
        raise InputError(f"k = {k}: at least one neighbor is needed.")
    with cluster(asked.address) as ray:
        gpu = int(asked.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0)
        kind = ray.remote(Holder).options(num_cpus=1, num_gpus=gpu, max_restarts=AGAIN, max_task_retries=AGAIN)
        holders = [kind.remote(part, "cuda" if gpu else "cpu") for part in parts]
        sums = [_got(ray, held.summed.remote(), part) for held, part in zip(holders, parts, strict=True)]
        mean = ray.put(mean_of(sums) if center else np.zeros_like(sums[0][0]))
        waiting: list[list[Any]] = []
        for number in range(len(parts) + AHEAD):
            if number < len(parts):
                vectors = holders[number].ready.remote(mean)
                waiting.append([vectors, *(held.nearest.remote(vectors, mean, k) for held in holders)])
            if number >= AHEAD:
                vectors, *answers = waiting[number - AHEAD]
                waiting[number - AHEAD] = []  # lets Ray forget the vectors
                found = [_got(ray, answer, part) for answer, part in zip(answers, parts, strict=True)]
                part = parts[number - AHEAD].open()
                yield part, padded(part, _got(ray, vectors, parts[number - AHEAD]), merged(found, k))
                if progress is not None:
                    progress(number - AHEAD + 1, len(parts))


def _got(ray: Any, answer: Any, part: PartFiles) -> Any:
    try:
        return ray.get(answer)
    except ray.exceptions.RayTaskError as error:
        raise StoreError(f"Part {part.number} in {part.folder}: {error.cause}") from error
    except ray.exceptions.RayError as error:
        raise StoreError(
            f"Part {part.number} in {part.folder}: its actor was lost {AGAIN + 1} times ({type(error).__name__}). Give "
            "each machine more memory, or cut the view in more parts."
        ) from error
