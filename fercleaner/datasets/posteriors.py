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

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core.arrays import Doubles, Strings
from ..core.errors import InputError
from ..core.expressions import canonical
from ..core.types import Posteriors, Samples

#: Endings that `read_posteriors` knows.
ENDINGS = (".csv", ".json", ".npy", ".npz", ".parquet", ".pq")
#: Names of the column that tells faces apart.
KEYS = ("id", "image", "path")
#: Rows that miss sum 1 by more than this were not distributions over the set's classes, which is said.
ROW_SUM = 1e-3


class PosteriorTable(NamedTuple):
    """What a file holds: values (M, K); ids (M,) and class names (K), where it names them."""

    values: Doubles
    ids: Strings | None
    classes: tuple[str, ...] | None


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
    table = _read(where, file)
    said = []
    values = table.values
    if table.classes is None:
        if values.shape[1] != len(samples.classes):
            raise InputError(
                f"{where} has {values.shape[1]} columns for {len(samples.classes)} classes. A .npy file holds the "
                f"set's classes in order ({', '.join(samples.classes)}); give another file with class names."
            )
    else:
        columns = {canonical(label): column for column, label in enumerate(table.classes)}
        missing = [label for label in samples.classes if canonical(label) not in columns]
        if missing:
            raise InputError(
                f"{where} has no column for {', '.join(missing)} (it has {', '.join(table.classes)}). Name a column "
                "after each class of the set."
            )
        chosen = [columns[canonical(label)] for label in samples.classes]
        dropped = [label for column, label in enumerate(table.classes) if column not in chosen]
        if dropped:
            said.append(f"Posteriors '{name}': dropped {', '.join(dropped)}, which this set does not have.")
        values = values[:, chosen]
    aligned = _aligned(where, values, table.ids, samples)
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
        raise InputError(f"{where} says nothing of any face of this set.")
    if scaled := int((np.abs(total[found] - 1) > ROW_SUM).sum()):
        said.append(f"Posteriors '{name}': {scaled:,} of {int(found.sum()):,} rows brought to sum 1.")
    if not found.all():
        said.append(f"Posteriors '{name}': {int((~found).sum()):,} of {len(samples):,} faces have none.")
    rows = np.where(found[:, None], aligned / np.where(found, total, 1.0)[:, None], 0.0).astype(np.float32)
    return Posteriors(name, samples.ids, samples.classes, rows, found, learned=learned, near=near), tuple(said)


def _read(where: str, file: Path) -> PosteriorTable:
    suffix = file.suffix.lower()
    try:
        if suffix == ".npy":
            return PosteriorTable(_numbers(where, np.load(file, allow_pickle=False)), None, None)
        if suffix == ".npz":
            with np.load(file, allow_pickle=False) as held:
                missing = [key for key in ("values", "ids", "classes") if key not in held]
                if missing:
                    raise InputError(
                        f"{where} has no array '{missing[0]}'. Expected numpy.savez(FILE, values=, ids=, classes=)."
                    )
                names = tuple(held["classes"].astype(np.str_).tolist())
                return PosteriorTable(_numbers(where, held["values"]), held["ids"].astype(np.str_), names)
        if suffix == ".json":
            from .fiftyone import read_predictions

            return PosteriorTable(*read_predictions(where, file))
        if suffix in ENDINGS:
            return _columns(where, file, suffix)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{where} cannot be read: {' '.join(str(error).split())}.") from error
    raise InputError(f"{where} is none of {', '.join(ENDINGS)}.")


def _columns(where: str, file: Path, suffix: str) -> PosteriorTable:
    import pandas as pd

    table = pd.read_csv(file) if suffix == ".csv" else pd.read_parquet(file)
    key = next((name for name in KEYS if name in table.columns), None)
    if key is None:
        raise InputError(f"{where} has none of the columns {', '.join(KEYS)} to tell faces by.")
    numeric = table.drop(columns=key).select_dtypes("number")
    return PosteriorTable(
        _numbers(where, numeric.to_numpy(dtype=np.float64)),
        table[key].to_numpy(dtype=np.str_),
        tuple(str(column) for column in numeric.columns),
    )


def _numbers(where: str, values: Any) -> Doubles:
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise InputError(
            f"{where} has shape {values.shape} and type {values.dtype}, expected numbers (faces, classes)."
        )
    return np.asarray(values, dtype=np.float64)


def _aligned(where: str, values: Doubles, ids: Strings | None, samples: Samples) -> Doubles:
    """Return the rows of the set's faces, NaN where the file has none."""
    if ids is None:
        if len(values) != len(samples):
            raise InputError(f"{where} has {len(values):,} rows, the set {len(samples):,} faces. Give ids with them.")
        return values
    if len(ids) != len(values) or len(np.unique(ids)) < len(ids):
        raise InputError(f"{where}: {len(ids):,} ids for {len(values):,} rows; expected one each, none twice.")
    row_of = {key: row for row, key in enumerate(ids.tolist())}
    rows = np.array(
        [row_of.get(a, row_of.get(b, -1)) for a, b in zip(samples.ids.tolist(), samples.paths.tolist(), strict=True)],
        dtype=np.int64,
    )
    if (rows < 0).all():
        raise InputError(f"{where}: none of its ids is in the set (there '{ids[0]}', here '{samples.ids[0]}').")
    return np.where((rows >= 0)[:, None], values[rows], np.nan)
