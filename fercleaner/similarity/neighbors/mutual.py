"""All faces searched among one another by lists: a pair is found where either of the two looks into the other's list.

A face in a sparse place has neighbors in many lists. These often have it among the few lists that they look into
themselves, so that a search in which both sides count reaches a recall at a third of the lists that one side needs
(docs/speed.md). How deep it must look is read off the centers alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...core.arrays import Bools, Floats, Ints, Progress
from .among import SPARE, Ready, chosen, nearest_among
from .backend import Apart, Backend
from .scan import HELD, MOST, ROOM, Packed, Scan, bits_of, keys_of, packed_hits
from .scoring import pair_similarities, ranked

#: Faces at once, a multiple of 8; their number must fit 16 bits.
FACES = 16_384
#: Lists that faces look into for others of a fixed similarity or more: of 300,000 faces' pairs that are alike, .997 see
#: one another then (docs/speed.md).
LISTS_ALIKE = 4
#: Others that one face is paired with in one list at most: the first.
MOST_ALIKE = 16


class Sight(NamedTuple):
    """Which faces look into each list, as bits: (C, ceil(N / 8)) uint8, faces by place; and each one's own list."""

    bits: NDArray[np.uint8]
    own: Ints

    def askers(self, place: int, part: slice) -> Ints:
        """Return which faces of a part look into a list, counted from the part's first, a multiple of 8."""
        asks = np.unpackbits(self.bits[place, part.start >> 3 : -(-part.stop >> 3)], count=part.stop - part.start)
        return np.flatnonzero(asks.view(np.bool_))

    def into(self, faces: Ints, lists: Ints) -> Bools:
        """Return whether each of some faces looks into one list of `lists` each."""
        asks: Bools = (self.bits[lists, faces >> 3] << (faces & 7).astype(np.uint8) & np.uint8(128)) > 0
        return asks


def looks(scan: Scan, depth: int) -> Sight:
    """Return who looks where if each face looks into the `depth` lists whose centers are nearest to it."""
    n = len(scan.order)
    bits = np.empty((scan.lists, -(-n // 8)), dtype=np.uint8)
    for part in parts(n):
        bits[:, part.start >> 3 : -(-part.stop >> 3)] = np.packbits(scan.probed(scan.stored[part], depth), axis=1)
    return Sight(bits, np.repeat(np.arange(scan.lists), np.diff(scan.starts)))


def parts(n: int) -> list[slice]:
    """Return slices of `FACES` that cover n faces."""
    return [slice(start, min(start + FACES, n)) for start in range(0, n, FACES)]


def steps_to(scan: Scan, faces: Ints, near: Ints) -> Ints:
    """Return at which depth each of some faces and its neighbors first see one another, (q, k); beyond all for -1.

    Parameters
    ----------
    faces : (q,) int64
        Rows.
    near : (q, k) int64
        Rows of neighbors, -1 for none.
    """
    place = np.empty(len(scan.order), dtype=np.int64)
    place[scan.order] = np.arange(len(place))
    own = np.repeat(np.arange(scan.lists), np.diff(scan.starts))[place]

    def depth_of(rows: Ints, lists: Ints) -> Ints:
        keys = scan.center_keys(scan.stored[place[rows]])
        return np.stack([(keys > keys[np.arange(len(rows)), column][:, None]).sum(1) for column in lists.T], axis=1) + 1

    result = np.full(near.shape, scan.lists + 1, dtype=np.int64)
    there = near >= 0
    for start in range(0, len(faces), 256):
        part = slice(start, start + 256)
        seen = depth_of(faces[part], own[near[part]])
        back = depth_of(near[part].ravel(), np.repeat(own[faces[part]], near.shape[1])[:, None]).reshape(seen.shape)
        result[part] = np.where(there[part], np.minimum(seen, back), result[part])
    return result


class _Hits(NamedTuple):
    """Pairs of faces, counted by place, whose product passes a bound: by row or by column; and the products' bits."""

    row: Ints
    column: Ints
    bits: NDArray[np.uint16]
    by_row: Bools
    by_column: Bools


def nearest_mutual(
    scan: Scan, backend: Backend, faces: Ready, k: int, progress: Progress | None = None
) -> tuple[Ints, Floats]:
    """Return the k nearest of all faces, their own groups left out: `faces.rows`, -1 for no more, and similarities.

    Of those pairs that see one another at `backend.depth`, all are found that `Scan.find` would find.

    Cost: a share depth / lists of all pairs; memory of C / 8 bytes a face, and of some candidates a face.
    """
    n = len(scan.order)
    want = min(k + SPARE + 1, n)
    group, seen, blocks = faces.group[scan.order], looks(scan, backend.depth), parts(n)
    least = np.concatenate([_first_bounds(scan, part, want, group) for part in blocks])
    mail: list[list[Packed]] = [[] for _ in blocks]
    indices, similarity = np.full((n, k), -1, dtype=np.int64), np.zeros((n, k), dtype=np.float32)
    for number, part in enumerate(blocks):
        held, mail[number] = mail[number], []
        more = ROOM * want * (part.stop - part.start)
        count, room = sum(map(len, held)), more
        for hits in _compared(scan, seen, part, least, group):
            held.append(
                packed_hits(hits.row[hits.by_row] - part.start, hits.bits[hits.by_row], hits.column[hits.by_row])
            )
            count += len(held[-1])
            for other, letter in _sent(hits, seen):
                (held if other == number else mail[other]).append(letter)
                count += len(letter) if other == number else 0
            if count > room:
                held = [_best(scan, held, part, want, least)]
                count, room = len(held[0]), len(held[0]) + more
        near = scan.table(_best(scan, held, part, want, least), part.stop - part.start, MOST * want)
        todo = scan.order[part]
        best, value, wanting = chosen((faces, todo), faces, near, (k, want), backend.edge)
        if wanting.any() and want < n:
            wider = nearest_among(backend, faces, todo[wanting], faces, k, want=4 * want)
            best[wanting], value[wanting] = _both((best[wanting], value[wanting]), wider, k)
        indices[todo], similarity[todo] = best, value
        if progress:
            progress(part.stop, n)
    for part, letters in zip(blocks, mail, strict=True):
        if letters:
            _add(scan, faces, part, np.sort(np.concatenate(letters)), (indices, similarity))
    return indices, similarity


def _compared(scan: Scan, seen: Sight, part: slice, least: Floats, group: Ints) -> Iterator[_Hits]:
    """Yield what passes the bounds of either side where faces of a part look into lists; members of a group do not."""
    for place in range(scan.lists):
        columns = slice(int(scan.starts[place]), int(scan.starts[place + 1]))
        rows = seen.askers(place, part)
        at_once = max(1, HELD // max(1, columns.stop - columns.start))
        for start in range(0, len(rows) if columns.stop > columns.start else 0, at_once):
            some = rows[start : start + at_once] + part.start
            keys = scan.products(scan.stored[some], scan.stored, columns)
            row_bound, column_bound = keys_of(least[some], scan.half), keys_of(least[columns], scan.half)
            hits = np.flatnonzero(keys >= np.minimum(row_bound[:, None], column_bound[None, :]))
            own, other = np.divmod(hits, keys.shape[1])
            row, column = some[own], other + columns.start
            strangers = np.flatnonzero(group[row] != group[column])
            own, other, row, column = own[strangers], other[strangers], row[strangers], column[strangers]
            values = keys[own, other]
            yield _Hits(row, column, bits_of(values), values >= row_bound[own], values >= column_bound[other])


def _first_bounds(scan: Scan, part: slice, want: int, group: Ints) -> Floats:
    """Return the first bounds of a part's faces, those of one list together."""
    inside = scan.starts[(scan.starts > part.start) & (scan.starts < part.stop)]
    cuts = np.unique([part.start, *inside.tolist(), part.stop]) - part.start
    return scan.first_bounds(scan.stored[part], want, Apart(group[part], group), cuts.tolist())


def _sent(hits: _Hits, seen: Sight) -> Iterator[tuple[int, Packed]]:
    """Yield what columns learn from hits that they do not see themselves, by the part that they belong to."""
    back = np.flatnonzero(hits.by_column)
    back = back[~seen.into(hits.column[back], seen.own[hits.row[back]])]
    of = hits.column[back] // FACES
    for number in np.unique(of).tolist():
        one = back[of == number]
        yield number, packed_hits(hits.column[one] - number * FACES, hits.bits[one], hits.row[one])


def _best(scan: Scan, held: list[Packed], part: slice, want: int, least: Floats) -> Packed:
    """Return the best candidates of a part, sorted; its bounds in `least` rise with them."""
    kept, fresh = scan.best(np.concatenate(held), part.stop - part.start, want)
    least[part] = np.maximum(least[part], fresh)
    return kept


def _both(one: tuple[Ints, Floats], two: tuple[Ints, Floats], k: int) -> tuple[Ints, Floats]:
    """Return the k best of two tables of neighbors of the same faces, each neighbor once."""
    near, value = np.concatenate([one[0], two[0]], axis=1), np.concatenate([one[1], two[1]], axis=1)
    order = np.argsort(near, axis=1, kind="stable")
    near, value = np.take_along_axis(near, order, 1), np.take_along_axis(value, order, 1)
    there = near >= 0
    there[:, 1:] &= near[:, 1:] != near[:, :-1]
    return ranked(np.where(there, value, np.float32(-np.inf)), near, k)


def _add(scan: Scan, faces: Ready, part: slice, letters: Packed, tables: tuple[Ints, Floats]) -> None:
    """Add to the tables what a part's faces learned after they were searched; `letters` sorted."""
    indices, similarity = tables
    some = np.unique(letters >> np.uint64(48)).astype(np.int64)
    near = scan.table(letters, part.stop - part.start)[some]
    rows = scan.order[part][some]
    value = np.clip(pair_similarities(faces.vectors, rows, near), -1.0, 1.0)
    value[near < 0] = -np.inf
    known = np.where(indices[rows] >= 0, similarity[rows], np.float32(-np.inf))
    both = np.concatenate([known, value], axis=1)
    named = np.concatenate([indices[rows], np.where(near >= 0, faces.rows[near], -1)], axis=1)
    indices[rows], similarity[rows] = ranked(both, named, indices.shape[1])


def pairs_in_lists(scan: Scan, least: float, group: Ints) -> Iterator[Ints]:
    """Yield pairs of faces whose product is all but `least` or more, (P, 2) rows, of those that see one another.

    Faces look into `LISTS_ALIKE` lists. Members of one `group` (N,) are no pairs; of those that a face is alike to in
    one list, the first `MOST_ALIKE` are named.

    Cost: 2 D `LISTS_ALIKE` N / lists operations a face.
    """
    n = len(scan.order)
    held, seen = group[scan.order], looks(scan, min(LISTS_ALIKE, scan.lists))
    bound = np.full(n, least - scan.slack, dtype=np.float32)
    for hits in _compared(scan, seen, slice(0, n), bound, held):
        first = np.flatnonzero(np.diff(hits.row, prepend=-1))
        rank = np.arange(len(hits.row)) - np.repeat(first, np.diff(np.append(first, len(hits.row))))
        some = np.flatnonzero(rank < MOST_ALIKE)
        row, column = hits.row[some], hits.column[some]
        # a pair that is seen from both sides is named by the later one: the first of a list tie the others together
        once = (row > column) | ~seen.into(column, seen.own[row])
        yield np.stack([scan.order[row[once]], scan.order[column[once]]], axis=1)
