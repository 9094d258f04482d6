"""Groups of faces that stay together, and folds dealt to whole groups: one key and one hash for all."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from .arrays import Bools, Ints, Strings

#: Stands before the id of a face without a group, so that no group's name can be the same.
ALONE = "\x01"


def group_keys(ids: Strings, group: Strings | None) -> Strings:
    """Return the name of each face's group, (N,); of a face without one (""), a name that it alone has."""
    return ids if group is None else np.where(group == "", np.char.add(ALONE, ids), group)


def group_numbers(ids: Strings, group: Strings | None) -> Ints:
    """Return a number a face, (N,) int64 from 0, equal within a group; faces without a group stand alone."""
    return np.unique(group_keys(ids, group), return_inverse=True)[1].astype(np.int64)


def first_connected(pairs: Ints, n: int) -> Ints:
    """Return the first of the n rows that each is connected to by the pairs (P, 2), (n,) int64; its own if by none.

    In each round the first row of every part that meets an earlier one points there, and all then look further along
    until nobody's first has an earlier one. Cost: a few passes over pairs and rows.
    """
    first = np.arange(n)
    while True:
        roots = first[pairs]
        roots = roots[roots[:, 0] != roots[:, 1]]
        if not len(roots):
            return first
        np.minimum.at(first, roots.max(1), roots.min(1))
        further = first[first]
        while (further != first).any():
            first, further = further, further[further]


def fold_numbers(ids: Strings, group: Strings | None, folds: int, seed: int, *, label: Ints | None = None) -> Ints:
    """Deal faces into folds by a hash of their group (or id), so that the deal does not depend on row order.

    Faces of one group share a fold; fold sizes in groups differ by at most one. Returns (N,) int64 in
    [0, min(folds, groups)).

    Parameters
    ----------
    ids, group : (N,) str
        As in `Samples`.
    folds, seed : int
    label : (N,) int64, optional
        Class of each face, -1 for none. Groups are then dealt class after class, so that classes spread evenly, those
        without a label last. A group counts for the label of its first id; classes go in the order of their smallest
        hash, so that their own order does not matter. There are at most as many folds as groups with a label.
    """
    place, dealt = _places(ids, group, seed, label)
    return place % max(1, min(folds, dealt))


def _places(ids: Strings, group: Strings | None, seed: int, label: Ints | None) -> tuple[Ints, int]:
    """Return the place of each face's group in the order of the deal, and how many groups can be dealt."""
    names, member = np.unique(group_keys(ids, group), return_inverse=True)
    drawn = np.array([_hash(seed, name) for name in names.tolist()], dtype=np.uint64)
    stratum, dealt = np.zeros(len(names), dtype=np.int64), len(names)
    if label is not None:
        known = np.flatnonzero(label >= 0)
        known = known[np.argsort(ids[known], kind="stable")[::-1]]
        own = np.full(len(names), -1, dtype=np.int64)
        own[member[known]] = label[known]  # the label of the group's first id stays
        stratum, dealt = _strata(own, drawn), int((own >= 0).sum())
    place = np.empty(len(names), dtype=np.int64)
    place[np.lexsort((drawn, stratum))] = np.arange(len(names))
    return place[member], dealt


def dealt_share(ids: Strings, group: Strings | None, share: float, seed: int, label: Ints | None = None) -> Bools:
    """Deal a share of the faces by their groups, (N,) bool: of every class alike, one group at least on each side.

    With p = 0, 1, ... the groups as `fold_numbers` deals them, those are dealt whose turn is due:

        ceil((p + 1) share) > ceil(p share)

    so that 1/k gives its fold 0 of k folds. Where no two groups have a label, all faces are dealt.

    Parameters
    ----------
    ids, group, seed, label
        As of `fold_numbers`.
    share : float in (0, 1)
    """
    place, labeled = _places(ids, group, seed, label)
    due = np.ceil(np.round(np.arange(int(place.max(initial=-1)) + 2) * share, 9))  # 3 * 0.1 is 0.30000000000000004
    dealt = np.diff(due) > 0
    dealt[:1] = True
    if labeled > 1 and dealt[:labeled].all():
        dealt[labeled - 1] = False
    chosen: Bools = dealt[place] if labeled > 1 else np.ones(len(ids), dtype=np.bool_)
    return chosen


def _strata(label: Ints, drawn: NDArray[np.uint64]) -> Ints:
    """Return the turn of each group's class: classes by their smallest hash, groups without a label (-1) last."""
    first = np.full(int(label.max(initial=0)) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(first, label[label >= 0], drawn[label >= 0])
    turn = np.empty(len(first), dtype=np.int64)
    turn[np.argsort(first, kind="stable")] = np.arange(len(first))
    return np.where(label >= 0, turn[label], len(first))


def _hash(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}\x00{name}".encode(), digest_size=8).digest(), "big")
