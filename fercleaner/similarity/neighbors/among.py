"""The nearest of some faces among those of an index, itself and its group left out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...core.arrays import Bools, Floats, Ints
from .backend import Apart, Backend
from .scoring import pair_similarities, ranked

#: Candidates beyond k, so that ties and rounding at the edge are settled exactly, not by the index.
SPARE = 8
#: A face whose wanted neighbors were not among this many candidates gets fewer (its group is that large); of
#: more equally near faces than this, those with the first row numbers are not sure to be the ones named.
MOST_CANDIDATES = 2048


class Ready(NamedTuple):
    """Faces to search among: unit vectors (m, D), row numbers that name them and settle ties, and groups (m,).

    `grouped` says whether any group has more than one member.
    """

    vectors: Floats
    rows: Ints
    group: Ints
    grouped: bool = True


def nearest_among(
    backend: Backend, asked: Ready, todo: Ints, held: Ready, k: int, *, want: int | None = None
) -> tuple[Ints, Floats]:
    """Return the k nearest of the faces asked[todo] among those held by an index, itself and its group left out.

    `want` is how many candidates are looked at first, `SPARE` more than k by default.

    Returns their `held.rows`, -1 where there are no more, and similarities, both (len(todo), k).
    """
    n = len(held.rows)
    indices, similarity = np.full((len(todo), k), -1, dtype=np.int64), np.zeros((len(todo), k), dtype=np.float32)
    place, want = np.arange(len(todo)), min(k + SPARE + 1 if want is None else want, n)
    while len(place):
        apart = Apart(asked.group[todo[place]], held.group) if held.grouped else None
        near = backend.candidates(asked.vectors[todo[place]], want, apart)
        best, value, wanting = chosen((asked, todo[place]), held, near, (k, want), backend.edge)
        settled = ~wanting if want < min(n, MOST_CANDIDATES) else np.ones(len(place), dtype=np.bool_)
        indices[place[settled]], similarity[place[settled]] = best[settled], value[settled]
        place, want = place[~settled], min(4 * want, n, max(MOST_CANDIDATES, k + SPARE + 1))
    return indices, similarity


def chosen(
    faces: tuple[Ready, Ints], held: Ready, near: Ints, numbers: tuple[int, int], edge: float
) -> tuple[Ints, Floats, Bools]:
    """Score candidates exactly, drop self and group members, and keep the k best of each row.

    `faces` are the faces and which of them are asked about, `numbers` k and how many candidates were wanted.

    Returns indices and similarities (rows, k), and which rows want more candidates: they came short of k; or their
    k-th is within `edge` of the last candidate of a full row, beyond which equals may stand; or it does not lie among
    the `want` nearest, of which alone a row is sure to have all (those that were left out took their places).
    """
    (asked, todo), (k, want) = faces, numbers
    there = near >= 0
    rows = np.where(there, held.rows[near], -1)
    allowed = there & (rows != asked.rows[todo][:, None]) & (held.group[near] != asked.group[todo][:, None])
    pairs = pair_similarities(held.vectors, todo, near, asked=asked.vectors)
    last = np.where(there.all(1), pairs.min(1, initial=np.inf), -np.inf)
    best, value = ranked(np.where(allowed, np.clip(pairs, -1.0, 1.0), np.float32(-np.inf)), rows, k)
    wanting = (allowed.sum(1) < k) | (value[:, -1] <= last + edge) | ((pairs > value[:, -1:]).sum(1) >= want)
    return best, value, np.asarray(wanting)
