"""Action units from a detector of the user's: OpenFace, py-feat, LibreFace or the like, as a table."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..core.arrays import Bools, Doubles, Strings
from ..core.errors import InputError
from ..core.text import shown
from ..core.types import ActionUnits, Samples
from ..datasets.faces import check_unique, face_column, match
from ..datasets.options import FACE_COLUMNS, spelled
from ..datasets.table import Table, listed, measured, read_table
from .action_units import intensity_probability
from .points import CONFIDENCE, ROUNDING, confidence_of

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
_ARTICLE = {"probability": "a", "intensity": "an", "presence": "a"}
#: How far a number may leave its range and be clipped: probabilities by rounding, intensities by a regression.
_SLACK = {"probability": ROUNDING, "intensity": 0.25, "presence": ROUNDING}
#: From this share of rows with a number beyond 1 on, columns without a suffix are intensities.
MANY_LARGE = 0.05
#: Action units from which on a face's zeros, or a file's range, say something.
FEW_UNITS = 3
#: A column that is constant over at least so many rows tells no faces apart.
FEW_ROWS = 20

#: Endings that say what a column holds.
_NAMED = ("_r", " r", "_intensity", " intensity")
#: Columns of one side of the face.
_SIDED = re.compile(r"^AU[_ ]?0*(\d{1,2})[_ ]?L(EFT)?$", re.IGNORECASE)

NO_ROW = "no row in the file"
FAILED = "success is 0"
EMPTY = "an empty cell"
NOTHING = "0 throughout, as of a face that was not found"

_LOG = logging.getLogger(__name__)


def from_columns(path: str, samples: Samples, *, kinds: Mapping[str, str] | None = None) -> ActionUnits:
    """Read AU evidence from a table with a column that names the face and one or two columns an AU.

    Columns are AU1, AU01, AU_1, au_1, with or without a suffix, blanks around them ignored, and "U" for one
    mouth corner raised alone:

    - ``_r`` (OpenFace), ``_intensity`` (LibreFace): FACS intensity 0 to 5, p = sigmoid(2 (I - 1.5));
    - ``_c`` (OpenFace), ``_presence``: 0 or 1, taken as p;
    - ``_p``, ``_prob``, ``_probability``: p;
    - none (py-feat, LibreFace): a column of 0 and 1 alone is a presence; all others without a suffix are probabilities
      if none exceeds 1, intensities if `MANY_LARGE` of the rows do; anything between is an error that asks. What each
      was taken for stands in ``spec["columns"]`` and in a note.

    Probability is preferred to intensity, and intensity to presence, where an AU has several. A column that is empty
    in more than half of the rows, or constant, is left out with a note. A face without a row, with `success` 0
    (OpenFace), with an empty AU cell, or with zeros throughout, is not found, and a note counts them. Quality is
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
        No AU column, columns of one side of the face, a number outside its kind's range, a face in two rows, no face of
        the set, or none with all action units.
    """
    table = read_table(Path(path), _wanted)
    identity = face_column(table, option="rename the column")
    names = table.columns[identity]
    check_unique(names, path, table.where, "Keep one row a face, such as the largest or the surest of a picture.")
    rows = match(samples.ids, samples.paths, names, path, numeric=identity in table.numeric)
    columns = _columns_of(table, identity, path)
    values = {c: measured(table.columns[c], table.where, c) for found_ in columns.values() for _, c in found_}
    succeeded = _succeeded(table)
    if not succeeded.any():
        raise InputError(f"{path}: `success` is 0 in all {len(table):,} rows: no face was found in any picture.")
    left_out = _useless(values, succeeded)
    used = {n: kept for n, found_ in columns.items() if (kept := [pair for pair in found_ if pair[1] not in left_out])}
    if not used:
        reasons = "; ".join(f"{column} is {why}" for column, why in list(left_out.items())[:4])
        raise InputError(f"{path}: no action unit tells faces apart: {reasons}.")
    taken, probability = _probabilities(used, values, table, kinds or {})

    measured_rows = np.asarray(np.isfinite(probability).all(1), dtype=np.bool_)
    known = rows >= 0
    quality = confidence_of(table)
    nothing = _nothing(table, taken, values)
    found_rows: Bools = known & (measured_rows & succeeded & ~nothing)[rows]
    why = np.where(
        ~known,
        NO_ROW,
        np.where(~succeeded[rows], FAILED, np.where(~measured_rows[rows], EMPTY, np.where(nothing[rows], NOTHING, ""))),
    )
    _tell(path, taken, left_out, samples, found_rows, why)
    if not found_rows.any():
        reason = Counter(why.tolist()).most_common(1)[0][0]
        raise InputError(f"{path}: no face of the set has all its action units ({reason}). Fill or drop columns.")
    _tell_range(taken, values, path)
    return ActionUnits(
        samples.ids,
        tuple(taken),
        np.where(found_rows[:, None], probability[rows], 0.0).astype(np.float32),
        found_rows,
        np.where(found_rows, quality[rows], 0.0).astype(np.float32),
        {
            "kind": "au-columns",
            "version": 2,
            "file": str(path).replace("\\", "/").rsplit("/", 1)[-1],
            "columns": taken,
        },
    )


def _columns_of(table: Table, identity: str, path: str) -> dict[str, list[tuple[str | None, str]]]:
    """Return AU -> its columns, each with the kind that its suffix says; InputError for none, or one side's."""
    sided = [column for column in (*table.columns, *table.left_out) if _SIDED.match(column)]
    if sided:
        raise InputError(
            f"{path}: '{shown(sided[0])}' looks like the left side of an action unit, so that _R may be the right one "
            "and no intensity. Give each action unit one column, such as the larger of both: AU12, AU12_r or AU12_c."
        )
    columns: dict[str, list[tuple[str | None, str]]] = {}
    for column in table.columns:
        found = _AU.match(column)
        if found and column != identity:
            kind = _SUFFIX[found[2].lower()] if found[2] else None
            columns.setdefault(f"AU{int(found[1])}", []).append((kind, column))
        elif _ONE_SIDED.match(column):
            columns.setdefault("U", []).append((None, column))
    for name, found_ in columns.items():
        kinds = [kind for kind, _ in found_]
        again = next((kind for kind in kinds if kinds.count(kind) > 1), "none")
        if again != "none":
            both = [column for kind, column in found_ if kind == again]
            if table.columns[both[0]] != table.columns[both[1]]:
                raise InputError(f"{path}: '{both[0]}' and '{both[1]}' are both {name}. Remove one of the columns.")
    if not columns:
        raise InputError(
            f"{path} has no action-unit column; its columns are {listed([*table.columns, *table.left_out])}. "
            "Expected names such as AU12, AU12_r (intensity 0 to 5) or AU12_c (presence)."
        )
    return columns


def _wanted(name: str) -> bool:
    return bool(_AU.match(name) or _ONE_SIDED.match(name)) or spelled(name) in (*FACE_COLUMNS, *CONFIDENCE, "success")


def _nothing(table: Table, taken: Mapping[str, str], values: Mapping[str, Doubles]) -> Bools:
    """Return which rows hold nothing but zeros, and nothing says that a face was found, (M,) bool.

    Presences may all be 0 on a neutral face; probabilities and intensities that are measured are not.
    """
    used = [said.rpartition(": ") for said in taken.values()]
    sure = any(spelled(column) in (*CONFIDENCE, "success") for column in table.columns)
    if sure or len(used) < FEW_UNITS or all(kind == "presence" for _, _, kind in used):
        return np.zeros(len(table), dtype=np.bool_)
    zero: Bools = np.all([values[column] == 0 for column, _, _ in used], axis=0)
    return zero


def _tell_range(taken: Mapping[str, str], values: Mapping[str, Doubles], path: str) -> None:
    """Say where intensities, which go to 5, never exceed 1: they may be probabilities under the name of intensities."""
    used = [column for column, _, kind in (said.rpartition(": ") for said in taken.values()) if kind == "intensity"]
    small = [column for column in used if not column.lower().endswith(_NAMED) and np.nanmax(values[column]) <= 1]
    if 0 < len(small) < len(used) and len(values[small[0]]) >= FEW_ROWS:
        _LOG.warning(
            "%s: no number of %s exceeds 1, while those of others do. All are taken as intensities, which go to 5. If "
            "these are probabilities, call them so: %s_p.",
            path,
            listed(small, 6),
            small[0],
        )
    cells = np.concatenate([values[column] for column in used]) if used else np.zeros(0)
    if len(used) >= FEW_UNITS and len(cells) >= FEW_ROWS * len(used) and np.nanmax(cells) <= 1 + ROUNDING:
        _LOG.warning(
            "%s: no intensity exceeds %.3g, where they go to 5. If these are probabilities, call the columns so: %s.",
            path,
            float(np.nanmax(cells)),
            re.sub("(_r|_intensity)$", "_p", used[0], flags=re.IGNORECASE),
        )


def _useless(values: dict[str, Doubles], succeeded: Bools) -> dict[str, str]:
    """Return column -> why it is left out: it would take the evidence of most faces away, or tells none apart."""
    left_out = {}
    measured_at_all = succeeded & np.any([np.isfinite(v) for v in values.values()], axis=0)
    rows = int(measured_at_all.sum())
    for column, cells in values.items():
        there = cells[measured_at_all & np.isfinite(cells)]
        if not len(there):
            left_out[column] = "empty"
        elif len(there) < rows / 2:
            left_out[column] = f"empty in {rows - len(there):,} of {rows:,} rows"
        elif rows >= FEW_ROWS and there.min() == there.max():
            left_out[column] = f"{there[0]:g} throughout"
    return left_out


def _probabilities(
    used: dict[str, list[tuple[str | None, str]]],
    values: dict[str, Doubles],
    table: Table,
    kinds: Mapping[str, str],
) -> tuple[dict[str, str], Doubles]:
    """Return AU -> "column: kind", and their probabilities (M, A)."""
    plain = [column for name, found in used.items() for kind, column in found if kind is None and name not in kinds]
    default = _default_kind(plain, values, table)
    flags = {column for column in plain if np.isin(values[column][np.isfinite(values[column])], (0, 1)).all()}
    names = sorted(used, key=lambda name: int(name[2:]) if name != "U" else 999)
    taken: dict[str, str] = {}
    estimates: list[Doubles] = []
    for name in names:
        options = [
            (kinds.get(name) or kind or ("presence" if column in flags else default), column)
            for kind, column in used[name]
        ]
        bad = next((kind for kind, _ in options if kind not in _PREFERRED), None)
        if bad is not None:
            raise InputError(f"kinds: {name} is '{bad}', expected one of {', '.join(_PREFERRED)}.")
        kind, column = min(options, key=lambda option: _PREFERRED.index(option[0]))
        cells = _clipped(values[column], kind, column, table)
        estimates.append(intensity_probability(cells) if kind == "intensity" else cells)
        taken[name] = f"{column}: {kind}"
    return taken, np.stack(estimates, axis=1)


def _default_kind(plain: list[str], values: dict[str, Doubles], table: Table) -> str:
    """Return what columns without a suffix hold: probabilities where none exceeds 1, intensities where many do.

    Raises
    ------
    InputError
        A few numbers exceed 1 and the others do not: it can be either.
    """
    if not plain:
        return "probability"
    cells = np.stack([values[column] for column in plain], axis=1)
    there = np.isfinite(cells)
    large = there & (cells > 1 + ROUNDING)
    if not large.any():
        return "probability"
    if large.any(1).sum() >= MANY_LARGE * max(there.any(1).sum(), 1):
        return "intensity"
    row, c = (int(i) for i in np.argwhere(large)[0])
    raise InputError(
        f"{table.where(row)}: {plain[c]} is {cells[row, c]:g}, but {int(large.any(1).sum()):,} of "
        f"{int(there.any(1).sum()):,} rows alone hold a number beyond 1. Probabilities (0 to 1) or intensities "
        f"(0 to 5)? Name the columns {plain[c]}_p or {plain[c]}_r, or mend the cell."
    )


def _clipped(values: Doubles, kind: str, column: str, table: Table) -> Doubles:
    """Return values within their kind's range; what leaves it by rounding is clipped, more is an error."""
    largest, slack = _LARGEST[kind], _SLACK[kind]
    outside = (values < -slack) | (values > largest + slack)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise InputError(
            f"{table.where(row)}: {column} is {values[row]:g}, expected {_ARTICLE[kind]} {kind} between 0 and "
            f"{largest:g}. Divide percents by 100; leave the cell empty where the action unit is not known."
        )
    return np.clip(values, 0, largest)


def _succeeded(table: Table) -> Bools:
    for column, cells in table.columns.items():
        if spelled(column) == "success":
            return np.asarray(measured(cells, table.where, column) > 0, dtype=np.bool_)
    return np.ones(len(table), dtype=np.bool_)


def _tell(
    path: str, taken: dict[str, str], left_out: dict[str, str], samples: Samples, found: Bools, why: Strings
) -> None:
    """Say what the columns were taken for, which are left out and how many faces have none."""
    kinds: dict[str, list[str]] = {}
    for name, said in taken.items():
        kinds.setdefault(said.rpartition(": ")[2], []).append(name)
    listed = "; ".join(f"{', '.join(names)} as {kind}" for kind, names in kinds.items())
    _LOG.warning("action units: %s (%s).", listed, path)
    if left_out:
        _LOG.warning(
            "action units left out: %s.", "; ".join(f"{column} is {reason}" for column, reason in left_out.items())
        )
    if not found.all():
        counts = Counter(why[~found].tolist())
        _LOG.warning(
            "action units: %s of %s faces have none (%s); first: %s.",
            f"{int((~found).sum()):,}",
            f"{len(found):,}",
            "; ".join(f"{count:,} {reason}" for reason, count in counts.most_common()),
            shown(samples.ids[~found][0]),
        )
