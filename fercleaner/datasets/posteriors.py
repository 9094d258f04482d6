"""`--posteriors NAME=FILE`: class probabilities of the user's own model, aligned with a set.

    .csv               a column `id` or `image`, and a column a class, by name
    .parquet, .pq      the same
    .npz               `values` (M, K), `ids` (M,) and `classes` (K,)
    .npy               (N, C) in the order of the set's rows and of its classes, such as cleanlab's pred_probs
    .json              samples.json of a FiftyOne dataset that was exported, with the classes of its metadata.json

Columns of classes that the set does not have are dropped and rows brought to sum 1, both of which is said. A row of
NaN, or of no mass on the set's classes, says that the model knows nothing of this face.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core.arrays import Bools, Doubles
from ..core.errors import InputError
from ..core.expressions import canonical
from ..core.files import pointed
from ..core.types import Posteriors, Samples
from . import npy
from .faces import check_unique, face_column, match
from .table import listed, measured, read_table

#: Endings that `read_posteriors` knows.
ENDINGS = (".csv", ".json", ".npy", ".npz", ".parquet", ".pq")
#: Rows that miss sum 1 by more than this were not distributions over the set's classes, which is said.
ROW_SUM = 1e-3
#: A probability may lie this far below 0 by rounding.
ROUNDING = 1e-6
#: Rows of smoothed labels differ by less than this part; those of a model that is sure of all faces by more.
ALIKE = 1e-4
#: Shares that were rounded miss a common sum by at most this part of it.
ROUGH_SUM = 0.2
#: Faces from which on posteriors that are all the same, or all the given label, are no accident.
FEW_FACES = 20
#: Faces of a class from which on it is no accident that nearly all are held to be of another.
FEW_OF_CLASS = 8
#: Labeled faces from which on posteriors are compared with the given labels.
COMPARED_FROM = 50


class PosteriorTable(NamedTuple):
    """What a file holds: values (M, K); names of the faces (M) and of the classes (K), where it has them.

    `numeric` says that the names of the faces are numbers in the file, which may have lost leading zeros.
    """

    values: Doubles
    names: list[str] | None
    classes: tuple[str, ...] | None
    numeric: bool = False


def read_posteriors(
    name: str, file: Path, samples: Samples, *, learned: bool = False, near: float | None = None
) -> tuple[Posteriors, tuple[str, ...]]:
    """Return a model's posteriors over the classes of `samples`, and sentences on what was changed.

    Parameters
    ----------
    name : str
        "builtin" for those of the builtin model: then the distance from its home set is measured, where there is a view
        of that name.
    file : Path
    samples : Samples
    learned, near
        As in `Posteriors`.

    Raises
    ------
    InputError
        The file is missing or of another kind, lacks a class or all faces of the set, or holds a number below 0.
    """
    where = f"posteriors '{name}': {file}"
    if not file.is_file():
        raise InputError(f"{where} {'is a folder' if file.is_dir() else 'does not exist'}.")
    table = _read(where, file, samples)
    said = []
    values = table.values
    if table.classes is None:
        if values.shape[1] != len(samples.classes):
            raise InputError(
                f"{where} has {values.shape[1]} columns for {len(samples.classes)} classes. A .npy file holds the "
                f"set's classes in order ({', '.join(samples.classes)}); give another file with class names."
            )
    else:
        columns = _columns_of(where, table.classes)
        missing = [label for label in samples.classes if canonical(label) not in columns]
        if missing:
            raise InputError(
                f"{where} has no column for {', '.join(missing)} (it has {listed(table.classes)}). Name a column "
                "after each class of the set. A column of lists becomes a .npz with ids, classes and values."
            )
        chosen = [columns[canonical(label)] for label in samples.classes]
        dropped = [label for column, label in enumerate(table.classes) if column not in chosen]
        if dropped:
            said.append(f"Posteriors '{name}': dropped {', '.join(dropped)}, which this set does not have.")
        values = values[:, chosen]
    aligned = _aligned(where, table._replace(values=values), samples)
    aligned = np.where((aligned < 0) & (aligned >= -ROUNDING), 0.0, aligned)
    bad = (aligned < 0) | np.isinf(aligned)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{where}: {samples.ids[row]} has {aligned[row, column]:g} for {samples.classes[column]}; expected "
            "probabilities."
        )
    total = np.nan_to_num(aligned).sum(1)
    found = ~np.isnan(aligned).any(1) & (total > 0)
    if not found.any():
        empty = [label for k, label in enumerate(samples.classes) if np.isnan(aligned[:, k]).all()]
        if 0 < len(empty) < len(samples.classes):
            raise InputError(f"{where}: its column {empty[0]} is empty. Fill it, with 0 where the model knows none.")
        raise InputError(f"{where} says nothing of any face of this set.")
    _check_scores(where, aligned[found], whole=table.classes is None or len(table.classes) == len(samples.classes))
    _check_evidence(where, aligned, found, samples)
    if len(scaled := total[found & (np.abs(total - 1) > ROW_SUM)]):
        low, high = f"{scaled.min():.3g}", f"{scaled.max():.3g}"
        sums = low if low == high else f"{low} to {high}"
        several = f"{len(scaled):,} of {int(found.sum()):,} rows"
        said.append(f"Posteriors '{name}': {several} brought to sum 1 (they added up to {sums}).")
    said += _odd_order(name, table.classes is None, aligned, found, samples)
    if not found.all():
        said.append(f"Posteriors '{name}': {int((~found).sum()):,} of {len(samples):,} faces have none.")
    rows = np.where(found[:, None], aligned / np.where(found, total, 1.0)[:, None], 0.0).astype(np.float32)
    return Posteriors(name, samples.ids, samples.classes, rows, found, learned=learned, near=near), tuple(said)


def _check_scores(where: str, values: Doubles, *, whole: bool) -> None:
    """Raise InputError where numbers are neither shares of one sum nor counts: scores before softmax, say."""
    sums = values.sum(1)
    spread = float(sums.max() - sums.min())
    if whole and values.max() > 1 and spread > ROUGH_SUM * float(sums.max()) and (values != np.floor(values)).any():
        raise InputError(
            f"{where}: numbers up to {values.max():g} in rows that add up to {sums.min():g} to {sums.max():g} are no "
            "probabilities. Give those behind the softmax."
        )


def _check_evidence(where: str, values: Doubles, found: Bools, samples: Samples) -> None:
    """Raise InputError where posteriors say the same of every face, or repeat the given labels."""
    rows = np.flatnonzero(found)
    if len(rows) >= FEW_FACES and (values[rows] == values[rows[0]]).all():
        raise InputError(f"{where} says the same of every face, which tells none apart.")
    rows = np.flatnonzero(found & samples.labeled)
    label = samples.label[rows]
    first = {int(c): values[rows[i]] for c, i in zip(*np.unique(label, return_index=True), strict=True)}
    same = all(np.allclose(values[rows[label == c]], row, rtol=ALIKE, atol=0) for c, row in first.items())
    if len(rows) >= FEW_FACES and same and len(first) > 1:
        how = "as 1 and 0" if all((row == 0).sum() == len(row) - 1 for row in first.values()) else "smoothed"
        raise InputError(
            f"{where} holds the given labels themselves, {how}: it would say that each of them is right. Give the "
            "probabilities of a model."
        )


def _odd_order(name: str, unnamed: bool, values: Doubles, found: Bools, samples: Samples) -> list[str]:
    """Return a sentence where posteriors fit the given labels no better than chance; InputError where other columns do.

    Labels may be wrong, but not so that another order of classes fits more than half of them and twice as many.
    """
    rows = np.flatnonzero(found & samples.labeled)
    if len(rows) < COMPARED_FROM:
        return []
    given, guess = samples.given[rows].argmax(1), values[rows].argmax(1)
    c = len(samples.classes)
    table = np.bincount(given * c + guess, minlength=c * c).reshape(c, c) / len(rows)
    agree, chance = float(np.trace(table)), float(table.sum(1) @ table.sum(0))
    best = np.arange(c)
    if (table.max(1) > np.diag(table)).any():  # else no order fits better, and SciPy need not be loaded: .3 s
        from scipy.optimize import linear_sum_assignment

        _, best = linear_sum_assignment(-table)
    fits = float(table[np.arange(c), best].sum())
    moved = [k for k in range(c) if best[k] != k]
    sure = [k for k in moved if table[k, best[k]] > 0.5 * table[k].sum() and table[k, best[k]] > 2 * table[k, k]]
    swapped = len(sure) == len(moved) > 1 and min((given == k).sum() for k in moved) >= FEW_OF_CLASS
    if unnamed and fits > 0.5 and (fits > 2 * agree or swapped):
        order = ", ".join(samples.classes[int(k)] for k in np.argsort(best))
        raise InputError(
            f"posteriors '{name}': their columns fit {agree:.0%} of the given labels as classes in this set's order, "
            f"and {fits:.0%} in the order {order}. A .npy holds the set's classes in order "
            f"({', '.join(samples.classes)}): sort its columns, or give a file with class names."
        )
    if swapped:
        names = ", ".join(f"{samples.classes[k]} for {samples.classes[int(best[k])]}" for k in moved)
        return [
            f"Posteriors '{name}': most faces labeled so are held to be of another class throughout ({names}). Are "
            "columns under each other's names?"
        ]
    if agree <= chance + 2 * np.sqrt(chance * (1 - chance) / len(rows)):
        return [
            f"Posteriors '{name}': they agree with {agree:.0%} of the given labels, as chance does ({chance:.0%}). Are "
            "rows and columns in the order of the set and of its classes?"
        ]
    return []


def _columns_of(where: str, classes: tuple[str, ...]) -> dict[str, int]:
    """Return the column of each class by its canonical name; InputError where two columns are one class."""
    columns: dict[str, int] = {}
    for column, label in enumerate(classes):
        first = columns.setdefault(canonical(label), column)
        if first != column:
            raise InputError(f"{where}: '{classes[first]}' and '{label}' are one class. Keep one of the two columns.")
    return columns


def _read(where: str, file: Path, samples: Samples) -> PosteriorTable:
    suffix = file.suffix.lower()
    if suffix == ".npy":
        return PosteriorTable(_numbers(where, npy.load_npy(file)), None, None)
    if suffix == ".npz":
        wanted = ("values", "ids", "classes")
        (held, ids, classes), _ = npy.load_npz(file, wanted, "numpy.savez(FILE, values=, ids=, classes=)")
        values = _numbers(where, held)
        names, numeric = npy.names_of(ids, file, len(values))
        return PosteriorTable(values, names, tuple(npy.names_of(classes, file, values.shape[1])[0]), numeric)
    if suffix == ".json":
        from .fiftyone import read_predictions

        try:
            values, ids, labels = read_predictions(where, file)
        except (OSError, ValueError) as error:
            if why := pointed(file):
                raise InputError(f"{where} {why}") from error
            raise InputError(f"{where} cannot be read: {' '.join(str(error).split())}.") from error
        return PosteriorTable(values, ids.tolist(), labels)
    if suffix in ENDINGS:
        return _from_table(file, samples)
    raise InputError(f"{where} is none of {', '.join(ENDINGS)}.")


def _from_table(file: Path, samples: Samples) -> PosteriorTable:
    """Return the columns of a table; those of classes that the set does not have are not read as numbers."""
    table = read_table(file)
    face = face_column(table, option="rename the column")
    known = {canonical(label) for label in samples.classes}
    classes = tuple(column for column in table.columns if column != face)
    values = [
        measured(table.columns[name], table.where, name) if canonical(name) in known else np.zeros(len(table))
        for name in classes
    ]
    stacked = np.column_stack(values) if values else np.zeros((len(table), 0))
    return PosteriorTable(stacked, table.columns[face], classes, face in table.numeric)


def _numbers(where: str, values: Any) -> Doubles:
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise InputError(
            f"{where} has shape {values.shape} and type {values.dtype}, expected numbers (faces, classes)."
        )
    return np.asarray(values, dtype=np.float64)


def _aligned(where: str, table: PosteriorTable, samples: Samples) -> Doubles:
    """Return the rows of the set's faces, NaN where the file has none."""
    values, names = table.values, table.names
    if names is None:
        if len(values) != len(samples):
            raise InputError(f"{where} has {len(values):,} rows, the set {len(samples):,} faces. Give ids with them.")
        return values
    check_unique(names, where, lambda row: f"row {row}", "Keep one row a face.")
    rows = match(samples.ids, samples.paths, names, where, numeric=table.numeric)
    return np.where((rows >= 0)[:, None], values[rows], np.nan)
