"""Neighbor tables of a set, and the groups of faces that are kept apart in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from ..core.arrays import Bools, Ints, Progress, Strings, rows_digest
from ..core.errors import InputError
from ..core.groups import group_numbers
from ..core.text import counted
from ..core.types import Features, Neighbors, Samples
from ..datasets.groups import MOSTLY
from ..similarity.groups import alike_pairs, grouped, person_pairs
from ..similarity.neighbors import Searcher, Searches, searcher
from ..similarity.neighbors.backend import index_for
from ..similarity.neighbors.side import SEARCHED_UP_TO, WIDER, from_views
from ..similarity.whitening import JOINT, join, row_blocks, whitened
from .inputs import Callbacks, Resources


def search(
    samples: Samples,
    k: int,
    joint: bool,
    views: Mapping[str, Features],
    identity: Features | None,
    resources: Resources,
    callbacks: Callbacks,
) -> tuple[Samples, dict[str, Neighbors]]:
    """Return the samples with the groups found (`keep_apart`), and the neighbor tables of all views.

    Where others take part in the search (`Resources.searcher`) and have not done theirs, groups are not looked for.

    Parameters
    ----------
    joint : bool
        Whether a table of all views side by side is asked for.
    views : mapping of view -> Features

    Cost: one search a view, and one of all side by side in sets of up to `SEARCHED_UP_TO` faces.
    """
    if k >= len(samples):
        others = len(samples) - 1
        rest = "other, which is its neighbor" if others == 1 else "others; all of them are its neighbors"
        callbacks.note(f"k = {k}, but a face has only {others} {rest}.")
        k = max(1, others)
    ready = whitened(views)
    joint = joint and len(ready) > 1
    made = _searchers(views, ready, joint, resources)
    listed = index_for(resources.index, len(samples), resources.device) != "exact"
    by_pairs = len(ready) > 1 and not joint  # no table of all views that groups could be read off
    if resources.searcher is None and (listed or by_pairs):
        # strangers are further away and harder to find, so that an approximate search must know who is none
        parted = keep_apart(samples, ready, identity, resources, callbacks, lists=made)
        tables = _tables(parted, k, joint, ready, made, callbacks)
        _say(tables.values(), callbacks)
        return parted, {name: nearest_of(tables.pop(name), k) for name in list(tables)}
    tables = _tables(samples, k, joint, ready, made, callbacks)
    if resources.searcher is not None and resources.searcher.missing:
        return samples, tables
    whole = tables.get(JOINT) if len(ready) > 1 else next(iter(tables.values()), None)
    parted = keep_apart(samples, ready, identity, resources, callbacks, table=whole)
    if parted is samples:
        return samples, {name: nearest_of(table, k) for name, table in tables.items()}
    assert parted.group is not None  # something was found
    del whole  # each table goes when its successor is there: they are the largest part of a large set's memory
    names, again = list(tables), dict[str, Neighbors]()
    for name in names:
        if name in made:
            table = tables.pop(name)
            again[name] = _parted(table, made.pop(name), parted.group, k, callbacks.stage(f"neighbors: {name}"))
    if tables:
        again[JOINT] = _parted_among(tables.pop(JOINT), ready, parted.group, again)
    return parted, {name: nearest_of(again.pop(name), k) for name in names}


def _searchers(
    raw: Mapping[str, Features], ready: Mapping[str, Features], joint: bool, resources: Resources
) -> dict[str, Searches]:
    """Return what searches each view, and all side by side, last, where `joint` asks for it and the set is small.

    In larger sets the neighbors by all views are chosen among those of the single ones (`side.from_views`).
    """
    faces = len(next(iter(ready.values()))) if ready else 0
    among = resources.index != "exact" and faces > SEARCHED_UP_TO
    views = {**ready, JOINT: join(ready)} if joint and not among else ready
    return {
        name: searcher(view, center=False, index=resources.index, device=resources.device)
        if resources.searcher is None
        else resources.searcher(view, _made_of(raw, name))
        for name, view in views.items()
    }


def _tables(
    samples: Samples,
    k: int,
    joint: bool,
    ready: Mapping[str, Features],
    searchers: Mapping[str, Searches],
    callbacks: Callbacks,
) -> dict[str, Neighbors]:
    """Return the tables of all views, the joint one last.

    Where that is chosen among those of the single views, these are `WIDER` for it; they are cut to k in the end.
    """
    among, tables = joint and JOINT not in searchers, dict[str, Neighbors]()
    for name, searching in searchers.items():
        searching.tune(k, apart=samples.group)
        wide, stage = max(k, WIDER) if among else k, callbacks.stage(f"neighbors: {name}")
        tables[name] = searching.nearest(wide, apart=samples.group, progress=stage)
    if among:
        tables[JOINT] = from_views(ready, tables, k, apart=samples.group)
    return tables


def _made_of(views: Mapping[str, Features], name: str) -> str:
    """Return the digest of what a view, or that of all side by side, was made of."""
    made = [views[name]] if name in views else [views[one] for one in sorted(views)]
    return rows_digest(*(array for view in made for array in (view.values, view.found)))


def keep_apart(
    samples: Samples,
    ready: Mapping[str, Features],
    identity: Features | None,
    resources: Resources,
    callbacks: Callbacks,
    *,
    table: Neighbors | None = None,
    lists: Mapping[str, Searches] | None = None,
) -> Samples:
    """Return `samples`, faces that pass for one subject in one moment in one group, and say so.

    By how alike they are (`similarity.groups.alike_pairs`) and, where an identity embedding is given, by person. The
    same object where nothing is found or `Resources.find_groups` says not to look. Labels take no part.
    """
    if not resources.find_groups or not ready:
        return samples
    group = samples.group
    own = {name: made for name, made in (lists or {}).items() if isinstance(made, Searcher)}
    pairs = alike_pairs(ready, apart=group, table=table, lists=own, device=resources.device)
    persons = 0
    if identity is not None:
        more = person_pairs(identity, apart=group, device=resources.device)
        persons, pairs = len(more), np.concatenate([pairs, more])
    if not len(pairs):
        return samples
    found = grouped(samples.ids, group, pairs)
    touched = found[np.unique(pairs)]
    count, faces = len(set(touched.tolist())), len(touched)
    by = "by how alike they are or by the identity embedding" if persons else "by how alike they are"
    listed = "" if samples.images is None else " `fercleaner show FILE --duplicates` lists near-identical pictures."
    callbacks.note(
        f"{faces:,} of {len(samples):,} faces, in {count:,} group{'s' if count > 1 else ''}, pass for pictures of one "
        f"subject in one moment, {by}, and share no group: they are kept apart and do not vote for each other. "
        f"--no-find-groups lets them vote; --group-by COLUMN names groups that you know.{listed}"
    )
    parted = samples.replacing(group=found)
    _check_largest(parted, identity if persons else None, callbacks)
    return parted


def _check_largest(samples: Samples, identity: Features | None, callbacks: Callbacks) -> None:
    """Say where most faces have become one group; where too little is left beside one that persons made, refuse."""
    assert samples.group is not None  # groups were found
    name, faces = Counter(samples.group[samples.group != ""].tolist()).most_common(1)[0]
    if faces <= MOSTLY * len(samples):
        return
    outside = np.unique(samples.label[samples.labeled & (samples.group != name)])
    said = (
        f"{faces:,} of {len(samples):,} faces ({100 * faces / len(samples):.1f} %) pass for one subject, and faces of "
        f"one subject never vote for each other: the others alone, of {counted(len(outside), 'class', 'classes')}, "
        "judge their labels."
    )
    way = "--no-find-groups lets them vote."
    if identity is not None:
        way = (
            f"Is '{identity.view}' an embedding of who it is, from a network for face verification? In vectors of "
            "something else all faces are alike. Leave --identity out, or give other vectors."
        )
        if len(outside) < 2:
            raise InputError(f"{said} No label can be judged so. {way}")
    callbacks.note(f"{said} {way}")


def _say(tables: Iterable[Neighbors], callbacks: Callbacks) -> None:
    """Tell a user of approximate searches, and of a recall that is below what was wanted."""
    for table in tables:
        how = table.search
        if "recall" in how:
            wanted = how["recall_wanted"]
            short = f", fewer than the {100 * wanted:g} % wanted" if round(how["recall"], 3) < wanted else ""
            callbacks.note(
                f"neighbors: {table.view}: searched approximately ({how['index']}, depth {how['depth']}); "
                f"{100 * how['recall']:.1f} % of the true {how['recall_at']} nearest are found{short}, measured on "
                f"{how['recall_faces']:,} faces. --index exact finds all and takes longer."
            )


def nearest_of(table: Neighbors, k: int) -> Neighbors:
    """Return the first k columns of a table."""
    if table.k <= k:
        return table
    return replace(table, indices=table.indices[:, :k], similarity=table.similarity[:, :k])


def _parted_among(
    table: Neighbors, ready: Mapping[str, Features], group: Strings, tables: Mapping[str, Neighbors]
) -> Neighbors:
    """Return a table that was chosen among those of the single views, chosen anew where group members stood in it.

    `tables` are those of the single views, parted already.
    """
    groups, touched = group_numbers(table.ids, group), np.zeros(len(table), dtype=np.bool_)
    for part in row_blocks(len(table)):
        touched[part] = _mates(table.indices[part], groups[part], groups).any(1)
    if not touched.any():
        return table
    among = from_views(ready, tables, table.k, apart=group, only=touched)
    return _mended(table, touched, among)


def _mates(indices: Ints, own: Ints, groups: Ints) -> Bools:
    """Return which neighbors are of the face's own group, `own` (n,) of all `groups` (N,), (n, k)."""
    mates: Bools = (indices >= 0) & (groups[indices] == own[:, None])
    return mates


def _mended(table: Neighbors, rows: Bools, other: Neighbors) -> Neighbors:
    """Return the table with some rows from another."""
    indices, similarity = table.indices.copy(), table.similarity.copy()
    indices[rows], similarity[rows] = other.indices[rows], other.similarity[rows]
    indices.flags.writeable = similarity.flags.writeable = False  # so that Neighbors takes them as they are
    return replace(table, indices=indices, similarity=similarity)


def _parted(table: Neighbors, searching: Searches, group: Strings, k: int, progress: Progress) -> Neighbors:
    """Return a neighbor table with members of one group taken out, others moved up from further away.

    The first k columns are complete: faces that have fewer left are searched again.
    """
    groups, short = group_numbers(table.ids, group), np.zeros(len(table), dtype=np.bool_)
    indices, similarity = table.indices.copy(), table.similarity.copy()
    for part in row_blocks(len(table)):
        mates = _mates(indices[part], groups[part], groups)
        touched = np.flatnonzero(mates.any(1))
        rows, mates = touched + part.start, mates[touched]
        valid = indices[rows] >= 0
        keep = valid & ~mates
        short[rows] = valid[:, -1] & (keep.sum(1) < k)
        order = np.argsort(~keep, axis=1, kind="stable")
        indices[rows] = np.take_along_axis(np.where(keep, indices[rows], -1), order, 1)
        similarity[rows] = np.take_along_axis(np.where(keep, similarity[rows], np.float32(0)), order, 1)
    indices.flags.writeable = similarity.flags.writeable = False  # so that Neighbors takes them as they are
    parted = replace(table, indices=indices, similarity=similarity)
    if short.any():
        parted = _mended(parted, short, searching.nearest(table.k, apart=group, only=short))
    return parted
