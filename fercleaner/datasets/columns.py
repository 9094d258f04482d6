"""Further columns of a set in a table of their own: age, sex, source, annotator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.arrays import Strings
from ..core.errors import InputError
from .faces import check_unique, face_column, match
from .table import listed, read_table


def read_face_columns(
    file: str | os.PathLike[str], ids: Strings, paths: Strings, names: Sequence[str]
) -> dict[str, Strings]:
    """Return columns of a table for the faces of a set, each (N,) str; "" for a face that the table does not name.

    Parameters
    ----------
    file : path
        A CSV, TSV or Parquet table with a column of faces (image, id, ...), one row a face.
    ids, paths : (N,) str
        Of the set; faces are matched as everywhere (`faces.match`).
    names : sequence of str
        Columns to read.

    Raises
    ------
    InputError
        A column is missing, a face stands there twice, or no face is in the set.
    """
    table = read_table(Path(file))
    face = face_column(table, option="rename the column")
    for name in names:
        if name not in table.columns:
            raise InputError(f"{table.name} has no column '{name}'; its columns are {listed(list(table.columns))}.")
    written = table.columns[face]
    check_unique(written, table.name, table.where)
    rows = match(ids, paths, written, table.name, numeric=face in table.numeric)
    return {
        name: np.where(rows >= 0, np.array(table.columns[name], dtype=np.str_)[rows], "").astype(np.str_)
        for name in names
    }
