"""Tables of the user's own measurements: read CSV, TSV or Parquet and find each face's row by id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.arrays import Ints
from ..core.errors import InputError
from ..core.types import Samples

if TYPE_CHECKING:
    from pandas import DataFrame

#: Columns that may name the face, the first present being taken; py-feat writes "input".
ID_COLUMNS = ("id", "image", "path", "file", "filename", "name", "input")


def read_table(path: str | Path) -> DataFrame:
    """Return the table in `path` (.csv, .tsv, .txt, .parquet), column names stripped of blanks.

    Raises
    ------
    InputError
        If the file is missing, empty, or no such table.
    """
    import pandas as pd

    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: no such file.")
    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            table = pd.read_parquet(file)
        else:
            table = pd.read_csv(file, sep=None, engine="python", skipinitialspace=True, encoding="utf-8-sig")
    except Exception as error:  # pandas and pyarrow raise whatever damaged bytes lead them to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{file} cannot be read as a table: {reason}. Expected CSV, TSV or Parquet.") from error
    table.columns = [str(column).strip() for column in table.columns]
    if table.empty:
        raise InputError(f"{file} holds no rows.")
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise InputError(f"{file}: column '{twice}' stands there twice.")
    return table


def id_column(table: DataFrame, path: str | Path) -> str:
    """Return the name of the column that names the face; raise InputError where there is none."""
    by_name = {str(column).lower(): str(column) for column in table.columns}
    for name in ID_COLUMNS:
        if name in by_name:
            return by_name[name]
    raise InputError(
        f"{path}: no column names the face; columns are {', '.join(map(str, table.columns[:8]))}, ... "
        f"Add one called 'id' that holds the ids of the set (accepted: {', '.join(ID_COLUMNS)})."
    )


def numbers(table: DataFrame, column: str, path: str | Path) -> Any:
    """Return `column` as float64 (N,), NaN where empty; raise InputError at the first text in it."""
    import pandas as pd

    values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
    text = np.isnan(values) & table[column].notna().to_numpy()
    if text.any():
        row = int(np.flatnonzero(text)[0])
        raise InputError(
            f"{path} row {row + 1}: column '{column}' holds {table[column].iloc[row]!r}, expected a number."
        )
    return values


def rows_of(samples: Samples, names: Sequence[object], path: str | Path) -> Ints:
    """Return the row of `names` that belongs to each face, (N,) int64; -1 where there is none.

    Names are ids; where no id matches, paths; where no path does either, file names, if the set's are unique.
    Names that belong to no face (another split, say) are left over.

    Raises
    ------
    InputError
        If a name stands there twice or none belongs to a face of the set.
    """
    written = [str(name) for name in names]
    if not written:
        raise InputError(f"{path} holds no rows.")
    row_of: dict[str, int] = {}
    for row, name in enumerate(written):
        if name in row_of:
            raise InputError(f"{path}: '{name}' stands in rows {row_of[name] + 1} and {row + 1}; keep one row a face.")
        row_of[name] = row
    files = [PurePath(str(name)).name for name in samples.ids]
    wanted: list[list[str]] = [list(map(str, samples.ids)), list(map(str, samples.paths))]
    for keys in wanted:
        rows = np.array([row_of.get(key, -1) if key else -1 for key in keys], dtype=np.int64)
        if (rows >= 0).any():
            return rows
    by_file = {PurePath(name).name: row for name, row in row_of.items()}
    if len(set(files)) == len(files) and len(by_file) == len(row_of):
        rows = np.array([by_file.get(key, -1) for key in files], dtype=np.int64)
        if (rows >= 0).any():
            return rows
    raise InputError(
        f"{path}: none of its {len(written):,} names belongs to a face of the set "
        f"(it has '{written[0]}', the set has '{samples.ids[0]}')."
    )
