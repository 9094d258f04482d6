"""A refined set for a trainer or a reviewer: a CSV that any tool (and fercleaner) reads, or arrays in one .npz."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import Bools, Ints
from ..core.errors import InputError, did_you_mean
from ..core.refined import RefinedSet
from .parquet import replacing
from .summary import unseen

#: Columns of the CSV before those of the classes.
COLUMNS = (
    "id",
    "image",
    "split",
    "given_label",
    "label",
    "weight",
    "quality",
    "flagged",
    "reason",
    "neighbors_for",
    "neighbors_against",
)
#: What stands between two ids in a cell of the CSV.
BETWEEN = "; "


@dataclass(frozen=True)
class Selection:
    """Which faces to export.

    Parameters
    ----------
    splits : tuple of str
        These splits only; all where empty.
    drop_flagged : bool
        Leave out faces whose given label is held to be wrong.
    only_flagged : bool
        Keep these alone, the lowest quality first: a list to review.
    drop_unseen : bool
        Leave out faces of which nothing is known (`summary.unseen`): pictures that cannot be read, no vector.
    drop_unlabeled : bool
        Leave out faces that the dataset gives no label.
    min_weight : float in [0, 1]
        Leave out faces of less weight.

    Raises
    ------
    InputError
        Flagged faces are to be left out and to be kept alone.
    """

    splits: tuple[str, ...] = ()
    drop_flagged: bool = False
    drop_unlabeled: bool = False
    min_weight: float = 0.0
    only_flagged: bool = False
    drop_unseen: bool = False

    def __post_init__(self) -> None:
        if self.drop_flagged and self.only_flagged:
            raise InputError("--drop-flagged and --only-flagged together leave no face. Give one of them.")

    def rows(self, refined: RefinedSet) -> Ints:
        """Return the rows to write, in their order, (M,); raise InputError for an unknown split or where none stays."""
        kept: Bools = refined.weight >= self.min_weight
        if self.splits:
            known = sorted(set(refined.split.tolist()) - {""})
            for name in self.splits:
                if name not in known:
                    raise InputError(
                        f"The set has no split '{name}' ({', '.join(known) or 'it has none at all'})."
                        f"{did_you_mean(name, known)}"
                    )
            kept = kept & np.isin(refined.split, self.splits)
        if self.drop_flagged:
            kept = kept & ~refined.flagged
        if self.only_flagged:
            kept = kept & refined.flagged
        if self.drop_unseen:
            kept = kept & ~unseen(refined)
        if self.drop_unlabeled:
            kept = kept & refined.labeled
        if not kept.any():
            if not refined.flagged.any() and self.only_flagged:
                raise InputError(f"None of the {len(refined):,} faces is flagged: there is nothing to review.")
            raise InputError(f"None of the {len(refined):,} faces is left to export. Ask for less to be dropped.")
        rows: Ints = np.flatnonzero(kept)
        return rows[np.argsort(refined.quality[rows], kind="stable")] if self.only_flagged else rows


def export(
    refined: RefinedSet,
    path: str | os.PathLike[str],
    *,
    selection: Selection | None = None,
    overwrite: bool = False,
) -> int:
    """Write the faces selected to `path`, a .csv or an .npz, and return how many they are.

    - ``.csv``: `COLUMNS`, then one column a class with the refined distribution. `image` is the picture's path,
      or the id where it has none; relative paths that lead to pictures from the current folder are written as they
      lead there from the CSV's. Ids of neighbors stand in one cell, "; " between them. ``fercleaner.read(FILE)``
      reads it back with the refined distributions as given.
    - ``.npz``: ids, paths, split (M,) str; classes (C,) str; label, given_label (M,) int64 (-1 where not labeled);
      distribution (M, C), weight, quality (M,) float32; flagged (M,) bool. ``np.load(FILE)`` needs no pickle.

    Raises
    ------
    InputError
        Another ending, a class named as a column, or nothing left to write.
    StoreError
        The file exists and `overwrite` is False, or cannot be written.
    """
    ending = Path(path).suffix.lower()
    if ending not in WRITERS:
        raise InputError(f"{path}: the name must end in {' or '.join(WRITERS)}, which says the format.")
    rows = (selection or Selection()).rows(refined)
    content = WRITERS[ending](refined, rows, Path(path))
    with replacing(path, overwrite) as stream:
        stream.write(content)
    return len(rows)


def _csv(refined: RefinedSet, rows: Ints, path: Path) -> bytes:
    for name in refined.classes:
        if name in COLUMNS:
            raise InputError(f"Class '{name}' has the name of a column of the CSV. Export to .npz instead.")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *refined.classes])
    given, label = refined.given_label, refined.label
    images = _from_folder(refined.paths.tolist(), path.parent)
    for row in rows.tolist():
        writer.writerow(
            [
                refined.ids[row],
                images[row] or refined.ids[row],
                refined.split[row],
                refined.classes[given[row]] if given[row] >= 0 else "",
                refined.classes[label[row]],
                _shortest(refined.weight[row]),
                _shortest(refined.quality[row]),
                int(refined.flagged[row]),
                refined.reason[row],
                BETWEEN.join(refined.neighbors_for[row]),
                BETWEEN.join(refined.neighbors_against[row]),
                *map(_shortest, refined.distribution[row]),
            ]
        )
    return text.getvalue().encode("utf-8")


def _from_folder(paths: list[str], folder: Path) -> list[str]:
    """Return relative `paths` as they lead from `folder`; unchanged where none leads to a file from here."""
    relative = [path for path in paths if path and not os.path.isabs(path)]
    if os.path.realpath(folder) == os.path.realpath(".") or not any(os.path.exists(path) for path in relative):
        return paths
    moved = {path: os.path.relpath(path, os.path.realpath(folder)) for path in set(relative)}
    return [moved.get(path, path) for path in paths]


def _shortest(value: np.float32) -> str:
    """Return the shortest decimal that is this float32."""
    return np.format_float_positional(value, unique=True, trim="0")


def _npz(refined: RefinedSet, rows: Ints, path: Path) -> bytes:
    arrays: dict[str, Any] = {
        name: getattr(refined, name)[rows]
        for name in ("ids", "paths", "split", "label", "given_label", "distribution", "weight", "quality", "flagged")
    }
    held = io.BytesIO()
    np.savez_compressed(held, classes=np.array(refined.classes, dtype=np.str_), **arrays)
    return held.getvalue()


#: Ending -> (set, rows to write, path of the file) -> its content.
WRITERS: dict[str, Callable[[RefinedSet, Ints, Path], bytes]] = {".csv": _csv, ".npz": _npz}
