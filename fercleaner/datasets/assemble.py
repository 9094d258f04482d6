"""From columns to `Samples`: distributions, splits, checks whose messages name the file and the row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.arrays import Bools, Floats, Ints, Strings
from ..core.errors import InputError
from ..core.text import counted, shown
from ..core.types import ImageSource, Samples
from ..extraction.images import SelectedImages
from .labels import CodedLabels
from .options import ReadOptions, split_name
from .table import Where


@dataclass(frozen=True)
class Given:
    """The given labels of a dataset, before it is assembled.

    Parameters
    ----------
    classes : tuple of C str
    given : (N, C) float32
    labeled : (N,) bool
    notes : (N,) str
    votes : (N, C) float32, optional
    """

    classes: tuple[str, ...]
    given: Floats
    labeled: Bools
    notes: Strings
    votes: Floats | None = None


def one_hot(labels: CodedLabels) -> Given:
    """Return single labels as distributions."""
    labeled = labels.index >= 0
    given = np.zeros((len(labels.index), len(labels.classes)), dtype=np.float32)
    given[np.flatnonzero(labeled), labels.index[labeled]] = 1
    return Given(labels.classes, given, labeled, labels.notes)


def assemble(
    *,
    layout: str,
    source: str,
    where: Where,
    ids: Sequence[str],
    labels: Given,
    options: ReadOptions,
    paths: Sequence[str] | None = None,
    images: ImageSource | None = None,
    split: Sequence[str] | None = None,
    **fields: Any,
) -> Samples:
    """Return the `Samples` of a layout, with only the splits that the user wants.

    Parameters
    ----------
    layout : str
    source : str
        What to call the set in a message, such as its list's path.
    where : callable
        Says where row i stands, for messages.
    ids, labels, paths, images, split
        As in `Samples`, all of N rows.
    options : ReadOptions
    **fields
        `group`, `site`, `boxes`, `points`, `provenance` of `Samples`.

    Raises
    ------
    InputError
        If an id stands twice, there is one class only, or no row is of the wanted split.
    """
    if not len(ids):
        raise InputError(f"{source} holds no faces.")
    _check_unique(ids, where)
    if len(labels.classes) < 2:
        raise InputError(
            f"{source}: every label is '{shown(labels.classes[0])}'; at least 2 classes are needed. Name the whole "
            "class set with --classes, or check that the right label column was taken."
        )
    samples = Samples(
        ids=np.array(ids, dtype=np.str_),
        classes=labels.classes,
        given=labels.given,
        labeled=labels.labeled,
        paths=np.array(paths if paths is not None else [""] * len(ids), dtype=np.str_),
        votes=labels.votes,
        split=None if split is None else np.array(split, dtype=np.str_),
        notes=labels.notes,
        images=images,
        layout=layout,
        **{name: value for name, value in fields.items() if value is not None},
    )
    return samples if options.splits is None else _only(samples, options.splits, source)


def select(samples: Samples, rows: Ints) -> Samples:
    """Return `samples` with only `rows` (row numbers), in that order."""
    picked: dict[str, Any] = {}
    for name in (
        "ids",
        "given",
        "labeled",
        "paths",
        "votes",
        "split",
        "group",
        "site",
        "boxes",
        "points",
        "notes",
    ):
        values = getattr(samples, name)
        if values is not None:
            picked[name] = values[rows]
    if samples.images is not None:
        picked["images"] = SelectedImages(samples.images, rows)
    return samples.replacing(**picked)


def _only(samples: Samples, wanted: Sequence[str], source: str) -> Samples:
    if samples.split is None:
        raise InputError(
            f"{source} has no splits, so --split {wanted[0]} cannot be taken. Leave "
            "--split out, or name the column that holds them: --column split=NAME"
        )
    names = {str(name) for name in np.unique(samples.split)}
    chosen = set()
    for want in wanted:
        same = {name for name in names if name == want or (split_name(name) or name) == (split_name(want) or want)}
        if not same:
            have = ", ".join(sorted(names - {""}))
            raise InputError(f"{source} has no split '{shown(want)}'; its splits are {shown(have, 400)}.")
        chosen |= same
    return select(samples, np.flatnonzero(np.isin(samples.split, sorted(chosen))))


def _check_unique(ids: Sequence[str], where: Where) -> None:
    again = len(ids) - len(set(ids))
    if not again:
        return
    seen: dict[str, int] = {}
    for i, name in enumerate(ids):
        if name in seen:
            raise InputError(
                f"{where(i)}: id '{shown(name)}' stands already in {where(seen[name])}; "
                f"{counted(again, 'row repeats', 'rows repeat')} an id, and one row a face is needed. Where each row "
                "is one annotator's label, count them: a column a class "
                "(image,anger,happiness,...). Where a picture holds several faces, add a column id. Else remove the "
                "repeats."
            )
        seen[name] = i
