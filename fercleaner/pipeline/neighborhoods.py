"""Neighbor tables of a set, and the groups of faces that are kept apart in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..core.arrays import Bools, Strings
from ..core.groups import group_numbers
from ..core.types import Features, Neighbors, Samples
from ..similarity.groups import alike_pairs, grouped, person_pairs
from ..similarity.neighbors import nearest
from ..similarity.neighbors.side import SEARCHED_UP_TO, WIDER, from_views
from ..similarity.whitening import JOINT, join
from .inputs import Callbacks, Resources


def search(
    samples: Samples,
    k: int,
    joint: bool,
    ready: Mapping[str, Features],
    identity: Features | None,
    resources: Resources,
    callbacks: Callbacks,
) -> tuple[Samples, dict[str, Neighbors]]:
    """Return the samples with the groups found (`keep_apart`), and the neighbor tables of all views.

    Parameters
    ----------
    joint : bool
        Whether a table of all views side by side is asked for.
    ready : mapping of view -> Features
        Prepared as for comparison.

    Cost: one search a view, and one of all side by side in sets of up to `SEARCHED_UP_TO` faces.
    """
    if k >= len(samples):
        others = len(samples) - 1
        rest = "other, which is its neighbor" if others == 1 else "others; all of them are its neighbors"
        callbacks.note(f"k = {k}, but a face has only {others} {rest}.")
        k = max(1, others)
    tables, side = _tables(samples, k, joint and len(ready) > 1, ready, resources, callbacks)
    whole = tables.get(JOINT) if len(ready) > 1 else next(iter(tables.values()), None)
    parted = keep_apart(samples, ready, identity, resources, callbacks, table=whole)
    if parted is samples:
        return samples, {name: _cut(table, k) for name, table in tables.items()}
    assert parted.group is not None  # something was found
    again = {
        name: _parted(table, ready[name], parted.group, k, resources) for name, table in tables.items() if name in ready
    }
    if JOINT in tables:
        again[JOINT] = (
            _parted_among(tables[JOINT], ready, parted.group, again)
            if side is None
            else _parted(tables[JOINT], side, parted.group, k, resources)
        )
    return parted, {name: _cut(again[name], k) for name in tables}


def _tables(
    samples: Samples, k: int, joint: bool, ready: Mapping[str, Features], resources: Resources, callbacks: Callbacks
) -> tuple[dict[str, Neighbors], Features | None]:
    """Return the tables of all views, and all views side by side where they are searched so.

    In larger sets the neighbors by all views are chosen among those of the single ones (`side.from_views`), whose
    tables are `WIDER` for it; they are cut to k when groups are known.
    """
    among = joint and resources.index != "exact" and len(samples) > SEARCHED_UP_TO
    tables = {}
    for name, view in ready.items():
        tables[name] = _searched(view, (k, max(k, WIDER) if among else k), samples.group, resources, callbacks)
    if not joint:
        return tables, None
    if among:
        tables[JOINT] = from_views(ready, tables, k, apart=samples.group)
        return tables, None
    side = join(ready)
    tables[JOINT] = _searched(side, (k, k), samples.group, resources, callbacks)
    return tables, side


def keep_apart(
    samples: Samples,
    ready: Mapping[str, Features],
    identity: Features | None,
    resources: Resources,
    callbacks: Callbacks,
    *,
    table: Neighbors | None = None,
) -> Samples:
    """Return `samples`, faces that pass for one subject in one moment in one group, and say so.

    By how alike they are (`similarity.groups.alike_pairs`) and, where an identity embedding is given, by person. The
    same object where nothing is found or `Resources.find_groups` says not to look. Labels take no part.
    """
    if not resources.find_groups or not ready:
        return samples
    group = samples.group
    pairs = alike_pairs(ready, apart=group, table=table, device=resources.device)
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
    return samples.replacing(group=found)


def _searched(
    view: Features, k: tuple[int, int], group: Strings | None, resources: Resources, callbacks: Callbacks
) -> Neighbors:
    """Return the table of one view, k = (what is used, what is looked at), and say so where it is approximate."""
    table = nearest(
        view,
        k[1],
        apart=group,
        center=False,
        index=resources.index,
        device=resources.device,
        recall_at=k[0],
        progress=callbacks.stage(f"neighbors: {view.view}"),
    )
    if "recall" in table.search:
        callbacks.note(_said(table))
    return table


def _said(table: Neighbors) -> str:
    """Return what a user is told of an approximate search."""
    how = table.search
    return (
        f"neighbors: {table.view}: searched approximately ({how['index']}, depth {how['depth']}); "
        f"{100 * how['recall']:.1f} % of the true {how['recall_at']} nearest are found, measured on "
        f"{how['recall_faces']:,} faces. --index exact finds all and takes longer."
    )


def _cut(table: Neighbors, k: int) -> Neighbors:
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
    touched: Bools = np.asarray(_mates(table, group).any(1))
    if not touched.any():
        return table
    among = from_views(ready, tables, table.k, apart=group, only=touched)
    return replace(
        table,
        indices=np.where(touched[:, None], among.indices, table.indices),
        similarity=np.where(touched[:, None], among.similarity, table.similarity),
    )


def _mates(table: Neighbors, group: Strings) -> Bools:
    """Return which neighbors are of the face's own group, (N, k)."""
    numbers = group_numbers(table.ids, group)
    mates: Bools = (table.indices >= 0) & (numbers[table.indices] == numbers[:, None])
    return mates


def _parted(table: Neighbors, view: Features, group: Strings, k: int, resources: Resources) -> Neighbors:
    """Return a neighbor table with members of one group taken out, others moved up from further away.

    The first k columns are complete: faces that have fewer left are searched again, by an index of the same kind.
    """
    valid: Bools = np.asarray(table.indices >= 0)
    mates = _mates(table, group)
    if not mates.any():
        return table
    keep = valid & ~mates
    order = np.argsort(~keep, axis=1, kind="stable")
    indices = np.take_along_axis(np.where(keep, table.indices, -1), order, 1)
    similarity = np.take_along_axis(np.where(keep, table.similarity, np.float32(0)), order, 1)
    short = mates.any(1) & valid[:, -1] & (keep.sum(1) < k)
    if short.any():
        again = nearest(
            view,
            table.k,
            apart=group,
            center=False,
            index="exact" if table.search.get("index") == "exact" else resources.index,
            device=resources.device,
            recall_at=k,
            only=short,
        )
        indices[short], similarity[short] = again.indices[short], again.similarity[short]
    return replace(table, indices=indices, similarity=similarity)
