"""Exact neighbors in parts, kept in a folder or on an object store: searched here, by jobs of an array, or on Ray.

A layer over `similarity.neighbors.sharded`. Under digests of what they are made of stand

    VIEW/SEARCH/about.json            which search this is, for people
    VIEW/SEARCH/FIRST-END.npz         the nearest of some of the faces asked, written when they are found

A search of other faces, vectors, groups or k, or by another version, has another name, so nothing is ever taken that
does not fit. Which faces a file is of is said by its name alone: parts searched by jobs of any number fit together.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..core.arrays import Bools, Floats, Ints, Progress, Strings, rows_digest
from ..core.errors import InputError
from ..core.groups import group_numbers
from ..core.types import Features, Neighbors
from ..extraction.shards import Shard
from ..extraction.stores import Store, is_address
from ..similarity.neighbors import RECALL
from ..similarity.neighbors.sharded import Best, Parted, merged_best, slices
from .on_ray import Asked

#: Faces of a part: a pair of parts is some 10^12 operations, seconds to a minute of one core.
PART_FACES = 65_536

#: What searches blocks of faces among parts of all, and yields the answers in order: of a view and a search by name.
Runner = Callable[[Parted, str, Sequence[tuple[slice, slice]], int], Iterator[Best]]


@dataclass(eq=False)
class PartSearch:
    """What makes a searcher of a view, for `Resources.searcher`.

    Parameters
    ----------
    store : Store
        Where finished parts are kept.
    runner : Runner
    tell : callable
        Gets a sentence where finished parts are taken over.
    faces : int
        Of a part at most.
    shard : Shard, optional
        The part of each search that is done here; None does all that is missing.
    missing : int
        Faces, of all views, whose neighbors other jobs must find first. Tables of such a search are not whole.
    found : int
        Faces, of all views, whose neighbors were searched here.
    """

    store: Store
    runner: Runner
    tell: Callable[[str], None] = lambda sentence: None
    faces: int = PART_FACES
    shard: Shard | None = None
    missing: int = field(default=0, init=False)
    found: int = field(default=0, init=False)

    def __call__(self, features: Features, made_of: str = "") -> PartSearcher:
        """Return the searcher of a view as for comparison.

        `made_of` is the digest of what it was made of: machines that compute with other rounding have the same. By
        default that of the vectors themselves.
        """
        return PartSearcher(features, made_of or rows_digest(features.values, features.found), self)


@dataclass(frozen=True, eq=False)
class PartSearcher:
    """A view's neighbors, searched part by part; as `similarity.neighbors.Searcher` with the exact index."""

    features: Features
    made_of: str
    whole: PartSearch

    def nearest(
        self, k: int, *, apart: Strings | None = None, only: Bools | None = None, progress: Progress | None = None
    ) -> Neighbors:
        """Return the k most similar other faces of every face; as `similarity.neighbors.nearest`, exact, uncentered.

        With a shard, rows that no job has searched yet are padding, and `PartSearch.missing` counts them.

        Raises
        ------
        StoreError
            The store cannot be written or read, or a task was lost again and again; the message says which.
        """
        if k < 1:
            raise InputError(f"k = {k}: at least one neighbor is needed.")
        view, n, whole = self.features, len(self.features), self.whole
        held = np.flatnonzero(view.found)
        asked = held if only is None else held[only[held]]
        parted = Parted(view.values, group_numbers(view.ids, apart), held, asked)
        search, table = self._opened(parted, k), _Table(n, k, asked)
        first, end = (0, len(asked)) if whole.shard is None else whole.shard.rows(len(asked))
        gaps = table.take(whole.store, search, first, end)
        searched = sum(stop - start for start, stop in gaps)
        if end - first > searched:
            where = f"in {whole.store.address}/{search}"
            whole.tell(
                f"neighbors: {view.view}: {end - first - searched:,} of {end - first:,} faces were done, {where}."
            )
        elif searched and only is None and (others := self._others(search, k)):
            whole.tell(f"neighbors: {view.view}: parts in {whole.store.address} of k = {others} do not fit k = {k}.")
        blocks = [slice(a + s.start, a + s.stop) for a, b in gaps for s in slices(b - a, whole.faces)]
        parts = slices(len(held), whole.faces)
        answers = whole.runner(parted, search, [(block, part) for block in blocks for part in parts], k)
        done = end - first - searched
        for block in blocks:
            best = merged_best(list(islice(answers, len(parts))), k)
            whole.store.write(f"{search}/{_name(block)}", _packed(best))
            table.fill(block, best)
            done += block.stop - block.start
            if progress is not None:
                progress(done, end - first)
        whole.found += searched
        if whole.shard is not None:
            gaps = _gaps(whole.store, search, 0, len(asked)) or [
                *table.take(whole.store, search, 0, first),
                *table.take(whole.store, search, end, len(asked)),
            ]
            whole.missing += sum(stop - start for start, stop in gaps)
        return Neighbors(view.view, view.ids, *table.frozen(), self.about)

    def tune(self, k: int, *, apart: Strings | None = None, recall: float = RECALL) -> None:
        """Do nothing: the search is exact; as `Searcher.tune`."""

    @property
    def depth(self) -> int:
        """0, as of every exact search."""
        return 0

    @property
    def about(self) -> dict[str, Any]:
        """What `Neighbors.search` says of the search."""
        return {"index": "exact", "parts": len(slices(int(self.features.found.sum()), self.whole.faces))}

    def _opened(self, parted: Parted, k: int) -> str:
        """Return the name of a search; write down which it is, so that a store that takes nothing ends a run early.

        StoreError where it cannot be written.
        """
        from .. import __version__

        rows = rows_digest(parted.group, parted.held, parted.asked)
        name = f"{self.made_of}/{hashlib.sha256(f'{__version__} {k} {rows}'.encode()).hexdigest()[:16]}"
        about = {"view": self.features.view, "k": k, "faces": len(parted.asked), "fercleaner": __version__}
        self.whole.store.write(f"{name}/about.json", json.dumps(about, ensure_ascii=False).encode())
        return name

    def _others(self, search: str, k: int) -> str:
        """Return of which other k there are parts, such as "10, 20"; "" where there are none."""
        store = self.whole.store
        held = set[int]()
        for name in store.names(self.made_of):
            if name.endswith("/about.json") and not name.startswith(f"{search}/"):
                with suppress(ValueError, KeyError, TypeError):  # damaged: nothing is said of it
                    held.add(int(json.loads(store.read(name))["k"]))
        return ", ".join(map(str, sorted(held - {k})))


class _Table:
    """Neighbors of all faces, filled in as they come."""

    def __init__(self, faces: int, k: int, asked: Ints) -> None:
        self.indices, self.similarity = np.full((faces, k), -1, dtype=np.int64), np.zeros((faces, k), dtype=np.float32)
        self._asked, self._k = asked, k

    def fill(self, rows: slice, best: Best) -> None:
        self.indices[self._asked[rows]], self.similarity[self._asked[rows]] = best

    def take(self, store: Store, search: str, first: int, end: int) -> list[tuple[int, int]]:
        """Fill in what finished parts say of the faces from `first` to `end`; return what is missing, (from, to)."""
        at, gaps = first, list[tuple[int, int]]()
        for start, stop in _ranges(store, search):
            if stop <= at or start >= end:
                continue
            best = _unpacked(store.read(f"{search}/{_name(slice(start, stop))}"), stop - start, self._k)
            if best is None:
                continue
            low, high = max(start, at), min(stop, end)
            if low > at:
                gaps.append((at, low))
            part = slice(low - start, high - start)
            self.fill(slice(low, high), Best(best.indices[part], best.similarity[part]))
            at = high
        return gaps if at == end else [*gaps, (at, end)]

    def frozen(self) -> tuple[Ints, Floats]:
        """Return the table, read-only so that `Neighbors` takes it as it is."""
        self.indices.flags.writeable = self.similarity.flags.writeable = False
        return self.indices, self.similarity


@contextmanager
def part_search(
    place: str | Path,
    asked: Asked | None,
    device: str,
    tell: Callable[[str], None],
    *,
    shard: Shard | None = None,
    faces: int = PART_FACES,
) -> Iterator[PartSearch]:
    """Yield what makes a searcher of a view, for `Resources.searcher`: in this process, or on the cluster `asked` for.

    Parameters
    ----------
    place : path or str
        Folder, or address on a store, where parts are kept; with Ray, one that all machines see by this name.
    asked : Asked or None
        A task takes a GPU where the cluster has any and `device` is not "cpu".
    tell : callable
        Gets sentences for the user.
    shard : Shard, optional
        Do this part alone; not with Ray, which does all.
    faces : int
        Of a part at most.
    """
    name = str(place) if is_address(str(place)) else str(Path(place).absolute())
    store = Store(name)
    if asked is None:
        yield PartSearch(store, _here(device), tell, faces, shard)
        return
    from .neighbors_on_ray import RayRunner

    with RayRunner.joined(name, asked) as runner:
        yield PartSearch(store, runner, tell, faces)


def _here(device: str) -> Runner:
    def run(parted: Parted, search: str, pairs: Sequence[tuple[slice, slice]], k: int) -> Iterator[Best]:
        return (parted.nearest(block, part, k, device) for block, part in pairs)

    return run


def _name(rows: slice) -> str:
    return f"{rows.start:012d}-{rows.stop:012d}.npz"


def _ranges(store: Store, search: str) -> list[tuple[int, int]]:
    """Return which faces the finished parts of a search are of, in order."""
    found = (re.fullmatch(r"(\d{12})-(\d{12})\.npz", name.rpartition("/")[2]) for name in store.names(search))
    return sorted((int(one[1]), int(one[2])) for one in found if one is not None)


def _gaps(store: Store, search: str, first: int, end: int) -> list[tuple[int, int]]:
    """Return which faces no finished part is of, by the names of files."""
    at, gaps = first, list[tuple[int, int]]()
    for start, stop in _ranges(store, search):
        if start > at:
            gaps.append((at, start))
        at = max(at, stop)
    return gaps if at >= end else [*gaps, (at, end)]


def _packed(best: Best) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, indices=best.indices, similarity=best.similarity)
    return stream.getvalue()


def _unpacked(data: bytes, faces: int, k: int) -> Best | None:
    """Return the neighbors of a finished part; None where it is damaged (zip's checksums)."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as held:
            best = Best(held["indices"], held["similarity"])
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        return None
    return best if best.indices.shape == best.similarity.shape == (faces, k) else None
