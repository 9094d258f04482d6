"""What to tell a reader about each face: which neighbors spoke for and against its label, and a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from .types import Bools, Ints, Neighbors, Refinement, Samples
from .views import JOINT

#: Neighbors named a face and side.
NAMED = 5
#: Neighbors counted in the sentence.
COUNTED = 10


def nearest_overall(neighbors: Mapping[str, Neighbors]) -> Ints:
    """Return the table (N, k) to name neighbors from: the joint view, or else all views by rank in turn.

    In the latter case a face that is near in several views is named once, at its first place.
    """
    if JOINT in neighbors:
        return np.asarray(neighbors[JOINT].indices)
    tables = [neighbors[view].indices for view in sorted(neighbors)]
    if len(tables) == 1:
        return np.asarray(tables[0])
    k = max(table.shape[1] for table in tables)
    padded = [np.pad(t, ((0, 0), (0, k - t.shape[1])), constant_values=-1) for t in tables]
    stacked = np.stack(padded, axis=2).reshape(len(padded[0]), -1)
    return np.where(_repeated(stacked), -1, stacked)


def _repeated(table: Ints) -> Bools:
    """Return which entries of each row stand there before, (N, m)."""
    order = np.argsort(table, axis=1, kind="stable")
    ranked = np.take_along_axis(table, order, 1)
    again = np.zeros(table.shape, dtype=np.bool_)
    again[:, 1:] = (ranked[:, 1:] == ranked[:, :-1]) & (ranked[:, 1:] >= 0)
    result = np.zeros(table.shape, dtype=np.bool_)
    np.put_along_axis(result, order, again, 1)
    return result


def witnesses(
    samples: Samples, refinement: Refinement, table: Ints
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    """Return the ids of up to `NAMED` labeled neighbors for and against each face's label, nearest first.

    The label is the given one, or the refined one where none was given; a neighbor speaks for it when it was
    given the same.
    """
    label = samples.label
    own = np.where(label >= 0, label, refinement.label)
    names = samples.ids.tolist()
    speaks = (table >= 0) & (label[table] >= 0)
    agrees = speaks & (label[table] == own[:, None])
    return _first(table, agrees, names), _first(table, speaks & ~agrees, names)


def _first(table: Ints, chosen: Bools, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the names of the first `NAMED` chosen entries of each row."""
    keep = chosen & (chosen.cumsum(1) <= NAMED)
    rows, columns = np.nonzero(keep)
    picked = table[rows, columns].tolist()
    ends = np.searchsorted(rows, np.arange(len(table) + 1)).tolist()
    return tuple(tuple(names[j] for j in picked[start:end]) for start, end in pairwise(ends))


def reasons(samples: Samples, refinement: Refinement, table: Ints | None, blind: Bools) -> list[str]:
    """Return a sentence for each face that calls for one: flagged, changed, unlabeled or without evidence.

    Parameters
    ----------
    table : (N, k) int64, optional
        Neighbors, as `nearest_overall` gives them.
    blind : (N,) bool
        Faces for which no view had anything to say.
    """
    classes = samples.classes
    given, refined = samples.label, refinement.label
    share = refinement.distribution[np.arange(len(samples)), refined]
    notes = samples.notes if samples.notes is not None else np.full(len(samples), "")
    counts = _label_counts(samples, table) if table is not None else None
    texts = [""] * len(samples)
    speak = refinement.flagged | (refined != given) | blind
    for i in np.flatnonzero(speak).tolist():
        parts = [f"labeled {classes[given[i]]}" if given[i] >= 0 else notes[i] or "no label"]
        if blind[i]:
            parts.append("no view of this face: the label is kept" if given[i] >= 0 else "no view of this face")
        else:
            if refined[i] != given[i]:
                parts.append(f"refined to {classes[refined[i]]} ({share[i]:.2f})")
            elif refinement.flagged[i]:
                parts.append("in doubt, no other label is likelier")
            if counts is not None and counts[i].sum():
                top = int(counts[i].argmax())
                parts.append(f"{counts[i, top]} of {counts[i].sum()} nearest are {classes[top]}")
        texts[i] = "; ".join(parts)
    return texts


def _label_counts(samples: Samples, table: Ints) -> Ints:
    """Return how many of the `COUNTED` nearest labeled neighbors carry each class, (N, C)."""
    label = samples.label
    speaks = (table >= 0) & (label[table] >= 0)
    speaks &= speaks.cumsum(1) <= COUNTED
    c = len(samples.classes)
    rows = np.broadcast_to(np.arange(len(table))[:, None], table.shape)
    flat = rows[speaks] * c + label[table[speaks]]
    return np.bincount(flat, minlength=len(table) * c).reshape(len(table), c).astype(np.int64)
