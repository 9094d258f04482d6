"""Exact neighbors of a view that outgrows a machine: each pair of parts a Ray task, the k best of all parts merged.

A thin layer over `similarity.neighbors.sharded`. A task holds nothing between calls: it opens its two parts from files
that all machines see, so one that is lost with its machine is started again elsewhere. (Reading a part is linear in its
faces, searching it quadratic: actors that held parts would save next to nothing, and wait for a core when one is lost.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import Bools, Doubles, Floats, Ints, Progress
from ..core.errors import InputError, StoreError
from ..similarity.neighbors.sharded import Best, Part, mean_of, merged_best, nearest_in, padded, ready, summed
from .on_ray import AGAIN, Asked, cluster

#: Parts whose tasks are asked for ahead of the one that is merged: bounds the answers that are held.
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


def write_part(folder: Path, values: Floats, found: Bools, group: Ints, count: int) -> list[PartFiles]:
    """Write a view in `count` parts of even size and return them."""
    folder.mkdir(parents=True, exist_ok=True)
    edges = [len(values) * number // count for number in range(count + 1)]
    parts = []
    for number, (start, end) in enumerate(pairwise(edges)):
        parts.append(PartFiles(folder, number, start))
        parts[-1].write(values[start:end], found[start:end], group[start:end])
    return parts


def nearest_on_ray(
    parts: Sequence[PartFiles], k: int, asked: Asked, *, center: bool = True, progress: Progress | None = None
) -> Iterator[tuple[Part, Best]]:
    """Find the k nearest faces of every face, each pair of parts a Ray task; as `sharded.nearest_by_parts`.

    Parameters
    ----------
    parts : sequence of PartFiles
        In a folder that all machines see: a task reads its two parts there, and sends back the nearest alone.
    k : int
        At least 1.
    asked : Asked
        A task takes a GPU where the cluster has any and `device` is not "cpu".

    Raises
    ------
    StoreError
        A part that cannot be read, or whose task was lost again and again; the message says which.
    """
    if k < 1:
        raise InputError(f"k = {k}: at least one neighbor is needed.")
    with cluster(asked.address) as ray:
        gpu = asked.gpus(ray)
        spread = {"num_cpus": 1, "max_retries": AGAIN, "scheduling_strategy": "SPREAD"}
        summing = ray.remote(_summed).options(**spread)
        searching = ray.remote(_nearest).options(**spread, num_gpus=gpu)
        sums = [_got(ray, answer, part) for part, answer in [(part, summing.remote(part)) for part in parts]]
        mean = ray.put(mean_of(sums) if center else np.zeros_like(sums[0][0]))
        waiting: deque[list[Any]] = deque()
        for number in range(len(parts) + AHEAD):
            if number < len(parts):
                device = "cuda" if gpu else "cpu"
                waiting.append([searching.remote(parts[number], other, mean, k, device) for other in parts])
            if number >= AHEAD:
                mine, answers = parts[number - AHEAD], waiting.popleft()
                found = [_got(ray, answer, part) for answer, part in zip(answers, parts, strict=True)]
                yield (part := mine.open()), padded(part, merged_best(found, k))
                if progress is not None:
                    progress(number - AHEAD + 1, len(parts))


def _summed(files: PartFiles) -> tuple[Doubles, int]:
    """Return the sum of a part's vectors and their number, in a Ray worker."""
    return summed(files.open())


def _nearest(mine: PartFiles, other: PartFiles, mean: Doubles, k: int, device: str) -> Best:
    """Return the nearest in another part of a part's found faces, in a Ray worker."""
    asked = ready(mine.open(), mean)
    return nearest_in(asked, asked if other == mine else ready(other.open(), mean), k, device)


def _got(ray: Any, answer: Any, part: PartFiles) -> Any:
    try:
        return ray.get(answer)
    except ray.exceptions.RayTaskError as error:
        raise StoreError(f"Part {part.number} in {part.folder}: {error.cause}") from error
    except ray.exceptions.RayError as error:
        raise StoreError(
            f"Part {part.number} in {part.folder}: its task was lost {AGAIN + 1} times ({type(error).__name__}). Give "
            "each machine more memory, or cut the view in more parts."
        ) from error
