"""Neighbor tables of a set, and the groups of faces that are kept apart in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..core.arrays import Strings
from ..core.types import Features, Neighbors, Samples
from ..similarity.groups import alike_pairs, grouped, person_pairs
from ..similarity.neighbors import nearest
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

    Cost: one search a table; faces that have neighbors in a group found are searched a second time.
    """
    if k >= len(samples):
        others = len(samples) - 1
        rest = "other, which is its neighbor" if others == 1 else "others; all of them are its neighbors"
        callbacks.note(f"k = {k}, but a face has only {others} {rest}.")
        k = max(1, others)
    views = dict(ready)
    if joint and len(views) > 1:
        views[JOINT] = join(views)
    tables = {}
    for name, view in views.items():
        stage = callbacks.stage(f"neighbors: {name}")
        tables[name] = nearest(
            view,
            k,
            apart=samples.group,
            center=False,
            index=resources.index,
            device=resources.device,
            progress=stage,
        )
    whole = tables.get(JOINT) if len(ready) > 1 else next(iter(tables.values()), None)
    parted = keep_apart(samples, ready, identity, resources, callbacks, table=whole)
    if parted is samples:
        return samples, tables
    assert parted.group is not None  # something was found
    return parted, {name: _parted(table, views[name], parted.group, resources) for name, table in tables.items()}


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


def _parted(table: Neighbors, view: Features, group: Strings, resources: Resources) -> Neighbors:
    """Return a neighbor table with members of one group taken out, others moved up from further away."""
    valid = table.indices >= 0
    mates = valid & (group[table.indices] == group[:, None]) & (group != "")[:, None]
    rows = mates.any(1)
    if not rows.any():
        return table
    again = nearest(view, table.k, apart=group, center=False, index=resources.index, device=resources.device, only=rows)
    return replace(
        table,
        indices=np.where(rows[:, None], again.indices, table.indices),
        similarity=np.where(rows[:, None], again.similarity, table.similarity),
    )
