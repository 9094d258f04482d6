"""Faces that are pictures of one subject in one moment: found by how alike they are, and grouped."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.arrays import Ints, Strings
from ..core.groups import first_connected, group_numbers
from ..core.types import Features, Neighbors
from .neighbors import TELLING, Searcher, nearest, searcher, use_gpu
from .neighbors.pairs import pairs_alike
from .neighbors.side import cosines_of
from .whitening import join, unit_rows

#: Cosine of two faces in all views side by side (two or more views, whitened), and in a single view, from which they
#: pass for pictures of one subject in one moment: near-duplicates, or frames of a sequence. Chosen on a posed set with
#: known subjects and checked on FER2013's, whose near-duplicates are known: docs/how-to-splits-and-groups.md.
ALIKE, ALIKE_ALONE = 0.85, 0.95
#: Cosine of two identity embeddings from which two faces are of one person. Networks for face verification accept
#: pairs at .3 to .6; above that few pairs of strangers lie.
ONE_PERSON = 0.6
#: Nearest faces that are looked at.
LOOKED_AT = 10
#: Faces up to which all pairs are compared, which a fraction of a search does without indexes (`neighbors.pairs`).
COMPARED_UP_TO = 50_000
#: Pairs above which those that connect nothing new are dropped.
CONNECTED_FROM = 1 << 22


def alike_pairs(
    views: Mapping[str, Features],
    *,
    apart: Strings | None = None,
    table: Neighbors | None = None,
    lists: Mapping[str, Searcher] | None = None,
    device: str = "auto",
) -> Ints:
    """Return the pairs of faces, not of one group yet, that pass for one subject in one moment, (P, 2) row numbers.

    Views of fewer than `TELLING` dimensions cannot tell and are left out. The similarity of a pair is the cosine of
    all others side by side, at least `ALIKE`; of a single one, at least `ALIKE_ALONE`.

    Parameters
    ----------
    views : mapping of view -> Features
        As for the neighbor tables: whitened, rows in one order.
    apart : (N,) str, optional
        Groups that are known.
    table : Neighbors, optional
        Neighbors by all these views side by side (or by the only one), where they were searched already.
    lists : mapping of view -> Searcher, optional
        Indexes of the views, where they are made already; those of lists are used.

    Cost: where no table is given, each pair is compared once (`neighbors.pairs`), a fraction of a search; on a GPU
    neighbors are searched. In sets of more than `COMPARED_UP_TO` faces each is compared with those of a few lists of
    each view (`neighbors.mutual.pairs_in_lists`), and enough pairs are returned to connect what all would.
    """
    telling = {name: view for name, view in views.items() if view.values.shape[1] >= TELLING}
    if not telling:
        return np.zeros((0, 2), dtype=np.int64)
    least = ALIKE if len(telling) > 1 else ALIKE_ALONE
    if table is None or len(telling) < len(views):
        several, on_gpu = np.logical_or.reduce([view.found for view in telling.values()]), use_gpu(device)
        if several.sum() > COMPARED_UP_TO and not on_gpu:
            return _pairs_by_lists(telling, lists or {}, least, apart)
        side = join(telling) if len(telling) > 1 else next(iter(telling.values()))
        if not on_gpu:
            rows = np.flatnonzero(side.found)
            group = group_numbers(side.ids, apart)[rows]
            return np.unique(rows[pairs_alike(unit_rows(side.values, rows), least, group)], axis=0)
        table = nearest(side, LOOKED_AT, apart=apart, center=False, device=device)
    return pairs_from(table, least)


def _pairs_by_lists(
    views: Mapping[str, Features], lists: Mapping[str, Searcher], least: float, apart: Strings | None
) -> Ints:
    """Return pairs of faces of a similarity of `least` or more by all views, enough to connect what all pairs would.

    By all views two faces are as alike as on average by each that both have, so that some view holds them to be at
    least as alike: the pairs that it finds are scored by all.
    """
    cosines, n = cosines_of(views), len(next(iter(views.values())))
    held, count = [np.zeros((0, 2), dtype=np.int64)], 0
    for name, view in views.items():
        made = lists.get(name)
        if made is None or made.index != "ivf":
            made = searcher(view, center=False, index="ivf")
        for pairs in made.alike(least, apart=apart):
            alike = pairs[cosines(pairs[:, 0], pairs[:, 1:])[:, 0] >= least]
            held.append(alike)
            count += len(alike)
            if count > CONNECTED_FROM:
                held = [_forest(np.concatenate(held), n)]
                count = 0
    return _forest(np.concatenate(held), n)


def _forest(pairs: Ints, n: int) -> Ints:
    """Return pairs that connect the same of n faces, each with the first that it is connected to, sorted."""
    first = first_connected(pairs, n)
    others = np.flatnonzero(first != np.arange(n))
    return np.stack([first[others], others], axis=1)


def person_pairs(identity: Features, *, apart: Strings | None = None, device: str = "auto") -> Ints:
    """Return the pairs of neighbors that an identity embedding holds to be one person (`ONE_PERSON`), (P, 2)."""
    return pairs_from(nearest(identity, LOOKED_AT, apart=apart, center=False, device=device), ONE_PERSON)


def pairs_from(table: Neighbors, least: float) -> Ints:
    """Return the pairs of neighbors of similarity `least` or more, (P, 2) row numbers, smaller first, sorted."""
    rows, columns = np.nonzero((table.similarity >= least) & (table.indices >= 0))
    others = table.indices[rows, columns]
    pairs = np.stack([np.minimum(rows, others), np.maximum(rows, others)], axis=1).astype(np.int64)
    return np.unique(pairs, axis=0)


def grouped(ids: Strings, group: Strings | None, pairs: Ints) -> Strings:
    """Return the group of every face, (N,) str, with the two faces of each pair in one; "" for a face alone.

    What pairs and groups connect becomes one group. It is called by the first of its old names, or, where none of its
    faces was in a group, "alike:" and the first of their ids (in alphabetical order, so that the order of the rows
    does not matter).
    """
    n = len(ids)
    old = np.full(n, "") if group is None else group
    names, number = np.unique(old, return_inverse=True)
    inside = np.flatnonzero(old != "")
    # a group is a node of its own, which its members are tied to
    tied = np.concatenate([pairs, np.stack([inside, n + number[inside]], axis=1)])
    part = first_connected(tied, n + len(names))[:n]
    size = np.bincount(part)[part]
    result = old.astype(object)
    for members in _parts(part, np.unique(pairs)):
        named = sorted({name for name in old[members].tolist() if name})
        result[members] = named[0] if named else f"alike:{min(ids[members].tolist())}"
    result[(size == 1) & (old == "")] = ""
    return result.astype(np.str_)


def _parts(part: Ints, touched: Ints) -> list[Ints]:
    """Return the rows of each part that holds a touched row."""
    wanted = np.unique(part[touched])
    rows = np.flatnonzero(np.isin(part, wanted))
    rows = rows[np.argsort(part[rows], kind="stable")]
    return np.split(rows, np.flatnonzero(np.diff(part[rows])) + 1) if len(rows) else []
