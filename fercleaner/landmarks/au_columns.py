"""Action units from a detector of the user's: OpenFace, py-feat, LibreFace or the like, as a table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..core.arrays import Bools, Doubles
from ..core.errors import InputError
from ..core.types import ActionUnits, Samples
from .action_units import intensity_probability
from .tables import id_column, numbers, read_table, rows_of

if TYPE_CHECKING:
    from pandas import DataFrame

_AU = re.compile(r"^AU[_ ]?0*(\d{1,2})(?:[_ ](r|c|intensity|presence|p|prob|probability))?$", re.IGNORECASE)
_ONE_SIDED = re.compile(r"^U$")

#: What a suffix says of the numbers below it; the range decides where there is none.
_SUFFIX = {
    "r": "intensity",
    "intensity": "intensity",
    "c": "presence",
    "presence": "presence",
    "p": "probability",
    "prob": "probability",
    "probability": "probability",
}

#: Of several columns for one AU the first of these is taken: it says most.
_PREFERRED = ("probability", "intensity", "presence")
_LARGEST = {"probability": 1.0, "intensity": 5.0, "presence": 1.0}
_CONFIDENCE = ("confidence", "facescore")


def from_columns(path: str, samples: Samples, *, kinds: Mapping[str, str] | None = None) -> ActionUnits:
    """Read AU evidence from a table with a column that names the face and one or two columns an AU.

    Columns are AU1, AU01, AU_1, au_1, with or without a suffix, blanks around them ignored, and "U" for one
    mouth corner raised alone:

    - ``_r`` (OpenFace), ``_intensity`` (LibreFace): FACS intensity 0 to 5, p = sigmoid(2 (I - 1.5));
    - ``_c`` (OpenFace), ``_presence``: 0 or 1, taken as p;
    - ``_p``, ``_prob``, ``_probability``: p;
    - none (py-feat, LibreFace): all columns without a suffix are probabilities if none exceeds 1, intensities
      if one does. What each was taken for stands in ``spec["columns"]``.

    Probability is preferred to intensity, and intensity to presence, where an AU has several. A face
    without a row, with `success` 0 (OpenFace), or with an empty AU cell, is not found. Quality is
    `confidence` or `FaceScore`, else 1.

    Parameters
    ----------
    path : str
        CSV, TSV or Parquet.
    samples : Samples
    kinds : mapping of AU name -> "probability", "intensity" or "presence", optional
        Overrules suffix and range, such as {"AU12": "intensity"}.

    Raises
    ------
    InputError
        No AU column, a number outside its kind's range, a face in two rows, no face of the set.
    """
    table = read_table(path)
    identity = id_column(table, path)
    rows = rows_of(samples, table[identity].tolist(), path)
    columns: dict[str, list[tuple[str | None, str]]] = {}
    for column in map(str, table.columns):
        match = _AU.match(column)
        if match and column != identity:
            kind = _SUFFIX[match[2].lower()] if match[2] else None
            columns.setdefault(f"AU{int(match[1])}", []).append((kind, column))
        elif _ONE_SIDED.match(column):
            columns.setdefault("U", []).append((None, column))
    if not columns:
        raise InputError(
            f"{path} has no action-unit column; columns are {', '.join(map(str, table.columns[:8]))}, ... "
            "Expected names such as AU12, AU12_r (intensity 0 to 5) or AU12_c (presence)."
        )
    values = {column: numbers(table, column, path) for found in columns.values() for _, column in found}
    plain = [values[column] for found in columns.values() for kind, column in found if kind is None]
    largest = max((float(np.nanmax(v)) for v in plain if not np.isnan(v).all()), default=0.0)
    untold = "probability" if largest <= 1.0 else "intensity"

    names = tuple(sorted(columns, key=lambda name: int(name[2:]) if name != "U" else 999))
    taken: dict[str, str] = {}
    estimates: list[Doubles] = []
    for name in names:
        options = [((kinds or {}).get(name) or kind or untold, column) for kind, column in columns[name]]
        bad = next((kind for kind, _ in options if kind not in _PREFERRED), None)
        if bad is not None:
            raise InputError(f"kinds: {name} is '{bad}', expected one of {', '.join(_PREFERRED)}.")
        kind, column = min(options, key=lambda option: _PREFERRED.index(option[0]))
        _check_range(values[column], kind, column, path)
        estimates.append(intensity_probability(values[column]) if kind == "intensity" else values[column])
        taken[name] = f"{column}: {kind}"

    probability = np.stack(estimates, axis=1)
    measured = np.isfinite(probability).all(1) & _succeeded(table, path)
    found = (rows >= 0) & measured[rows]
    quality = _quality(table, path)
    return ActionUnits(
        samples.ids,
        names,
        np.where(found[:, None], probability[rows], 0.0).astype(np.float32),
        found,
        np.where(found, quality[rows], 0.0).astype(np.float32),
        {
            "kind": "au-columns",
            "version": 1,
            "file": str(path).replace("\\", "/").rsplit("/", 1)[-1],
            "columns": taken,
        },
    )


def _check_range(values: Doubles, kind: str, column: str, path: str) -> None:
    outside = (values < 0) | (values > _LARGEST[kind]) | np.isinf(values)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise InputError(
            f"{path} row {row + 1}: {column} is {values[row]:g}, expected a {kind} between 0 and {_LARGEST[kind]:g}."
        )


def _succeeded(table: DataFrame, path: str) -> Bools:
    for column in map(str, table.columns):
        if column.lower() == "success":
            return np.asarray(numbers(table, column, path) != 0, dtype=np.bool_)
    return np.ones(len(table), dtype=np.bool_)


def _quality(table: DataFrame, path: str) -> Doubles:
    for column in map(str, table.columns):
        if column.lower() in _CONFIDENCE:
            values: Doubles = np.nan_to_num(numbers(table, column, path), nan=0.0)
            _check_range(values, "probability", column, path)
            return values
    return np.ones(len(table))
