"""`--view NAME=FILE`: vectors that the user already has, as a view of their own.

    .npy               (N, ...) numbers in the dataset's row order; more than two axes are flattened
    .npz               `values` (M, ...) with `ids` (M,): matched by id
    .parquet, .pq      an `id` column with one column of lists, or with one numeric column a dimension: by id

A row that is NaN throughout says that this face has no vector in this view.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Bools, Floats, Strings
from ..core.errors import InputError, MissingDependency
from ..core.types import Features, Samples
from . import checkpoints

PARQUET = (".parquet", ".pq")
#: Rows looked at together, so that a file larger than memory is converted piece by piece.
BLOCK_ROWS = 8192

NO_ID = "no row with this id in the view's file"
ALL_NAN = "the view's row is NaN throughout"


def parse_view(text: str) -> tuple[str, Path]:
    """Split "NAME=FILE"; raise InputError where either is missing."""
    name, sign, file = text.partition("=")
    name, file = name.strip(), file.strip()
    if not sign or not name or not file:
        raise InputError(f"--view '{text}' is not NAME=FILE, such as --view emotion=emotion.npy")
    return name, Path(file).expanduser()


def read_view(name: str, file: Path, samples: Samples) -> Features:
    """Read vectors from a file and align them with the faces of `samples`.

    Raises
    ------
    InputError
        The file is missing, of another kind, has the wrong number of rows or no known id, holds objects, NaN
        or infinity within a row, or the same vector for every face.
    """
    if not file.is_file():
        raise InputError(f"view '{name}': {file} {'is a folder' if file.is_dir() else 'does not exist'}.")
    suffix = file.suffix.lower()
    if suffix == ".npy":
        values, ids = _read_npy(name, file), None
    elif suffix == ".npz":
        values, ids = _read_npz(name, file)
    elif suffix in PARQUET:
        values, ids = _read_parquet(name, file)
    else:
        raise InputError(f"view '{name}': {file} is none of .npy, .npz and .parquet.")

    n = len(samples)
    shape = [int(side) for side in values.shape]
    if values.dtype.kind not in "fiub":
        raise InputError(f"view '{name}': {file} holds {values.dtype}, expected numbers (float16, float32, ...).")
    if values.ndim < 2 or 0 in values.shape:
        raise InputError(f"view '{name}': {file} has shape {tuple(shape)}, expected a vector a face: (N, D).")
    rows = np.arange(n) if ids is None else _match(name, file, ids, samples.ids)
    if ids is None and len(values) != n:
        raise InputError(
            f"view '{name}': {file} has {len(values):,} rows, the set has {n:,} faces. A .npy file goes by "
            "row order; give one row a face, or a .npz or .parquet file with ids."
        )
    aligned = _aligned(name, file, values, rows)
    found = (rows >= 0) & ~np.isnan(aligned).all(1)
    notes = np.where(rows < 0, NO_ID, np.where(found, "", ALL_NAN))
    aligned[~found] = 0
    _check(name, file, aligned, found, rows)
    spec = {"kind": "vectors", "sha256": checkpoints.sha256(file), "shape": shape}
    return Features(name, samples.ids, aligned, found, spec, notes)


def _read_npy(name: str, file: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(name, file, error) from error
    return array


def _read_npz(name: str, file: Path) -> tuple[NDArray[Any], Strings]:
    try:
        with np.load(file, allow_pickle=False) as held:
            missing = [key for key in ("ids", "values") if key not in held]
            if missing:
                raise InputError(
                    f"view '{name}': {file} has no array '{missing[0]}' (it has {', '.join(held.files)}). "
                    "Expected numpy.savez(FILE, ids=..., values=...)."
                )
            return held["values"], _ids(name, file, held["ids"], len(held["values"]))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(name, file, error) from error


def _read_parquet(name: str, file: Path) -> tuple[NDArray[Any], Strings]:
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingDependency("pandas", f"view '{name}' ({file})") from error
    try:
        table = pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise _unreadable(name, file, error) from error
    if "id" not in table.columns:
        table = table.reset_index()
    if "id" not in table.columns:
        raise InputError(f"view '{name}': {file} has no column 'id' (it has {', '.join(map(str, table.columns[:8]))}).")
    ids = _ids(name, file, table["id"].to_numpy(), len(table))
    rest = table.drop(columns="id")
    numeric = rest.select_dtypes("number")
    lists = [column for column in rest.columns if _holds_lists(rest[column])]
    if len(lists) == 1:
        return _stack_lists(name, file, list(rest[lists[0]])), ids
    if lists:
        raise InputError(
            f"view '{name}': {file} has {len(lists)} columns of lists ({', '.join(map(str, lists[:4]))}); "
            "keep the one that is the vector."
        )
    if numeric.shape[1] == 0:
        raise InputError(f"view '{name}': {file} has neither a column of lists nor numeric columns beside 'id'.")
    return numeric.to_numpy(dtype=np.float64, na_value=np.nan), ids


def _holds_lists(column: Any) -> bool:
    present = column.dropna()
    return column.dtype == object and len(present) > 0 and isinstance(present.iloc[0], (list, np.ndarray))


def _stack_lists(name: str, file: Path, lists: list[Any]) -> Floats:
    """Return lists of one length as (M, D); a missing list is a row of NaN."""
    width = next(len(item) for item in lists if isinstance(item, (list, np.ndarray)))
    stacked: Floats = np.full((len(lists), width), np.nan, dtype=np.float32)
    for row, item in enumerate(lists):
        if not isinstance(item, (list, np.ndarray)):
            continue
        if len(item) != width:
            raise InputError(f"view '{name}': {file} row {row}: a list of {len(item)} numbers, the first has {width}.")
        try:
            stacked[row] = item
        except (TypeError, ValueError) as error:
            raise InputError(f"view '{name}': {file} row {row}: not a list of numbers: {error}.") from error
    return stacked


def _ids(name: str, file: Path, ids: NDArray[Any], rows: int) -> Strings:
    if ids.shape != (rows,):
        raise InputError(f"view '{name}': {file} has ids of shape {ids.shape} for {rows:,} vectors.")
    text = ids.astype(np.str_)
    values, counts = np.unique(text, return_counts=True)
    if (counts > 1).any():
        raise InputError(
            f"view '{name}': {file} has the id '{values[counts > 1][0]}' {counts.max()} times; ids must be unique."
        )
    return text


def _match(name: str, file: Path, ids: Strings, wanted: Strings) -> NDArray[np.int64]:
    """Return the file's row of each face, (N,), -1 where it has none."""
    row_of = {str(key): row for row, key in enumerate(ids)}
    rows = np.array([row_of.get(str(key), -1) for key in wanted], dtype=np.int64)
    if (rows < 0).all():
        raise InputError(
            f"view '{name}': none of the {len(ids):,} ids in {file} is in the set "
            f"(there '{ids[0]}', here '{wanted[0]}'). Write the ids as the set does."
        )
    return rows


def _aligned(name: str, file: Path, values: NDArray[Any], rows: NDArray[np.int64]) -> Floats:
    """Return the chosen rows as (N, D) float32, NaN where a face has none, read block by block."""
    width = int(np.prod(values.shape[1:]))
    aligned: Floats = np.full((len(rows), width), np.nan, dtype=np.float32)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        known = block >= 0
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinity, and is reported as such
            aligned[start : start + BLOCK_ROWS][known] = np.asarray(values[block[known]]).reshape(-1, width)
    return aligned


def _check(name: str, file: Path, values: Floats, found: Bools, rows: NDArray[np.int64]) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        face, column = (int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"view '{name}': {file} row {int(rows[face])}, column {column} is {values[face, column]}; "
            f"{int(bad.any(1).sum()):,} rows hold such numbers (rows count from 0). Mend them, or make a row "
            "NaN throughout where a face has no vector."
        )
    if not found.any():
        raise InputError(f"view '{name}': {file} holds nothing but NaN for the faces of this set.")
    chosen = values[found]
    if len(chosen) > 1 and (chosen == chosen[0]).all():
        raise InputError(f"view '{name}': {file} has the same vector for every face, which tells nothing apart.")


def _unreadable(name: str, file: Path, error: Exception) -> InputError:
    detail = " ".join(str(error).split())
    if any(word in detail for word in ("allow_pickle", "pickled", "Python objects")):
        return InputError(
            f"view '{name}': {file} holds pickled objects, which are never opened. "
            "Save plain numbers: numpy.save(FILE, array.astype('float32'))."
        )
    return InputError(f"view '{name}': {file} cannot be read: {detail or type(error).__name__}.")
