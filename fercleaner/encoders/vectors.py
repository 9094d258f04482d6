"""`--view NAME=FILE`: vectors that the user already has, as a view of their own.

    .npy               (N, ...) numbers in the dataset's row order; more than two axes are flattened
    .npz               `values` (M, ...) with `ids` (M,): matched by id
    .parquet, .pq      a column that names the face (`id`) with one column of lists, or with one numeric column a
                       dimension: matched by it

A row that is NaN or zero throughout says that this face has no vector in this view; so does a row that very many faces
share, such as the vector of a black picture. Columns that are no measurement of the face (labels, row numbers, ids) are
left out with a note (`columns.left_out`).
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Floats, row_not_finite
from ..core.errors import InputError
from ..core.text import counted, shown
from ..core.types import Features, Samples
from ..datasets import npy
from ..datasets.faces import check_unique, face_column, match
from ..datasets.options import FACE_COLUMNS, INDEX_COLUMNS, NO_FEATURES, spelled
from ..datasets.parquet import arrow_errors, read_columns, texts
from ..datasets.table import PARQUET, Table, listed, number
from . import checkpoints
from .columns import left_out, numbered, repeat_labels
from .empty_rows import ALL_NAN, ALL_ZERO, CONSTANT, SHARED, empty_rows

#: How files of other kinds are opened.
FRAMES = {
    ".csv": "read_csv(FILE, dtype={'id': str})",
    ".tsv": "read_csv(FILE, sep='\\t', dtype={'id': str})",
    ".txt": "read_csv(FILE, sep=None, dtype={'id': str})",
    ".feather": "read_feather(FILE)",
    ".json": "read_json(FILE, dtype=False)",
    ".jsonl": "read_json(FILE, lines=True, dtype=False)",
}
OTHER_FILES = {
    **dict.fromkeys((".h5", ".hdf5"), "Open it with h5py.File(FILE)[NAME][:]"),
    **dict.fromkeys((".pt", ".pth"), "Open it with torch.load(FILE, weights_only=True).numpy()"),
    **dict.fromkeys((".pkl", ".pickle"), "Pickles are never opened; open it where it was made"),
    ".mat": "Open it with scipy.io.loadmat(FILE)[NAME]",
    ".safetensors": "Open it with safetensors.numpy.load_file(FILE)[NAME]",
}

#: Rows looked at together, so that a file larger than memory is converted piece by piece.
BLOCK_ROWS = 8192
#: The largest number of float32, by which vectors are held.
LARGEST = float(np.finfo(np.float32).max)

NO_ID = "no row with this id in the view's file"

#: Columns that hold codes of a label, or of who is shown, who labeled and when.
_BESIDE = re.compile(
    r"((true|clean|given|gt|emotion|expression|class|target|label)s? ?)+(id|idx|index|code|num|number|label)?"
    r"|gt|y|y true"
    r"|(subject|person|identity|actor|participant|annotator|rater|worker|coder|user|video|clip|frame|face|fold|track)s?"
    r"( ?(id|idx|index|no|number))?|age|gender|sex|race|ethnicity|timestamp|width|height|usage"
)
_LOG = logging.getLogger(__name__)


class _Held(NamedTuple):
    """What a file holds: vectors (M, ...), ids (M) or None, whether these were numbers, the names of the columns."""

    values: NDArray[Any]
    ids: list[str] | None
    numeric: bool = False
    names: tuple[str, ...] = ()


def parse_view(text: str) -> tuple[str, Path]:
    """Split "NAME=FILE"; raise InputError where either is missing."""
    name, sign, file = text.partition("=")
    name, file = name.strip(), file.strip()
    if not sign or not name or not file:
        raise InputError(f"--view '{text}' is not NAME=FILE, such as --view emotion=emotion.npy")
    return name, Path(file).expanduser()


def read_view(name: str, file: Path, samples: Samples) -> Features:
    """Read vectors from a file and align them with the faces of `samples`.

    A note says how many columns the view has and which were left out.

    Raises
    ------
    InputError
        The file is missing, of another kind, has the wrong number of rows or no known id, holds objects, NaN
        or infinity within a row, numbers as text, the same vector for every face, or the given labels themselves.
    """
    if not file.is_file():
        raise InputError(f"view '{name}': {file} {'is a folder' if file.is_dir() else 'does not exist'}.")
    suffix = file.suffix.lower()
    if suffix not in (".npy", ".npz", *PARQUET):
        raise InputError(f"view '{name}': {file} is none of .npy, .npz and .parquet.{_way_out(suffix)}")
    try:
        held = _read(name, file, suffix)
        values, rows = held.values, _rows(held, file, samples)
    except InputError as error:
        raise InputError(f"view '{name}': {error}") from error
    aligned = _aligned(values, rows)
    notes = np.where(rows < 0, NO_ID, "").astype(f"U{max(map(len, (NO_ID, ALL_NAN, CONSTANT, SHARED)))}")
    for reason, empty in empty_rows(aligned).items():
        notes[empty & (notes == "")] = reason
    found = notes == ""
    if not found.all():
        aligned = aligned if aligned.flags.writeable else aligned.copy()
        aligned[~found] = 0
    _check_finite(name, file, aligned, found, rows, values)
    _check_any(name, file, found, notes)
    out = left_out(aligned, found, samples)
    if out:
        kept = np.setdiff1d(np.arange(aligned.shape[1]), list(out))
        columns = {(held.names[c] if held.names else f"column {c}"): why for c, why in out.items()}
        _LOG.warning("view '%s': left out: %s.", name, "; ".join(f"{shown(c)} ({why})" for c, why in columns.items()))
        aligned = np.ascontiguousarray(aligned[:, kept])
    _LOG.info("view '%s': %d columns of %s.", name, aligned.shape[1], file)
    _check_different(name, file, aligned, found)
    if repeat_labels(aligned, found, samples):
        raise InputError(
            f"view '{name}': {file} holds the given labels themselves, in numbers: it would say that each of them is "
            "right. Give vectors that were made of the pictures, or leave this view out."
        )
    aligned.flags.writeable = False  # so that Features takes it as it is
    spec = {"kind": "vectors", "sha256": checkpoints.sha256(file), "shape": [int(side) for side in values.shape]}
    if out:
        spec["left_out"] = sorted(out)
    return Features(name, samples.ids, aligned, found, spec, notes)


def _way_out(suffix: str) -> str:
    """Return how vectors of another kind of file become one that is read."""
    if suffix in OTHER_FILES:
        return f" {OTHER_FILES[suffix]}, then numpy.savez('v.npz', ids=..., values=...)."
    if suffix in FRAMES:
        return f" Such as pandas.{FRAMES[suffix]}.to_parquet('v.parquet'), with a column id (or image)."
    return ""


def _read(name: str, file: Path, suffix: str) -> _Held:
    if suffix == ".npy":
        held = _Held(npy.load_npy(file), None)
    elif suffix == ".npz":
        (ids, values), others = npy.load_npz(file, ("ids", "values"), "numpy.savez(FILE, ids=..., values=...)")
        if others:
            _LOG.warning("view '%s': left out: the arrays %s.", name, listed(others))
        held = _Held(values, *npy.names_of(ids, file, len(values) if values.ndim else 0))
    else:
        held = _read_parquet(name, file)
    shape = held.values.shape
    if held.values.dtype.kind not in "fiub":
        raise InputError(f"{file} holds {held.values.dtype}, expected numbers (float16, float32, ...).")
    if held.values.ndim < 2 or 0 in shape:
        raise InputError(f"{file} has shape {shape}, expected a vector a face: (N, D).")
    return held


def _rows(held: _Held, file: Path, samples: Samples) -> NDArray[np.int64]:
    """Return the file's row of each face, (N,), -1 where it has none."""
    n = len(samples)
    if held.ids is not None:
        check_unique(held.ids, str(file), "row {}".format, "Keep one row a face.")
        return match(samples.ids, samples.paths, held.ids, str(file), numeric=held.numeric)
    if len(held.values) != n:
        raise InputError(
            f"{file} has {len(held.values):,} rows, the set has {n:,} faces. A .npy file goes by "
            "row order; give one row a face, or a .npz or .parquet file with ids."
        )
    return np.arange(n)


def _read_parquet(name: str, file: Path) -> _Held:
    import pyarrow as pa

    table, nested = read_columns(
        file,
        lambda field: (
            not pa.types.is_nested(field.type)
            or pa.types.is_list(field.type)
            or pa.types.is_large_list(field.type)
            or pa.types.is_fixed_size_list(field.type)
        ),
    )
    there = {spelled(column): column for column in reversed(table.column_names)}
    if not any(column in there for column in FACE_COLUMNS):
        raise InputError(f"{file} has no column 'id' (it has {listed(table.column_names)}).")
    with arrow_errors(file):
        names = [column for column in table.column_names if spelled(column) in FACE_COLUMNS]
        identity = face_column(Table(file.name, {column: texts(table.column(column)) for column in names}))
        ids = texts(table.column(identity))
        kinds = {field.name: _kind(field.type) for field in table.schema if field.name != identity}
        lists = [column for column, kind in kinds.items() if kind == "list"]
        numeric = _is_number(table.schema.field(identity).type)
        if len(lists) > 1:
            raise InputError(
                f"{file} has {len(lists)} columns of lists ({listed(lists, 4)}); keep the one that is the vector."
            )
        if lists:
            used = lists
            values: NDArray[Any] = _stack(file, table.column(lists[0]))
        else:
            plain = [c for c, kind in kinds.items() if kind == "number" and not _is_code(c, table)]
            used = numbered([c for c in plain if spelled(c) not in (*NO_FEATURES, *INDEX_COLUMNS)])
            _check_text(file, table, [c for c, kind in kinds.items() if kind == "text"])
            beside = [column for column, kind in kinds.items() if kind == "number"]
            if not used and beside:
                raise InputError(
                    f"{file}: its columns of numbers ({listed(beside, 6)}) are called as labels, row numbers or what "
                    "is known of a face beside its vector are, and hold whole numbers: none is part of a vector. If "
                    "they are the vector, rename them (f0, f1, ...), or save them as one column of lists."
                )
            if not used:
                raise InputError(f"{file} has neither a column of lists nor numeric columns beside '{identity}'.")
            values = np.stack([_plain(table.column(column)) for column in used], axis=1)
    others = [*(column for column in kinds if column not in used), *nested]
    if others:
        _LOG.warning("view '%s': left out: the columns %s.", name, listed(others))
    return _Held(values, ids, numeric, () if lists else tuple(used))


def _is_code(column: str, table: Any) -> bool:
    """Whether a column is called as what is known of a face beside its vector is, and holds whole numbers alone."""
    if not _BESIDE.fullmatch(spelled(column)):
        return False
    cells = _plain(table.column(column))
    return bool((cells == np.floor(cells))[np.isfinite(cells)].all())


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _kind(kind: Any) -> str:
    import pyarrow as pa

    if _is_number(kind):
        return "number"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "list"
    return "text" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else "other"


def _plain(column: Any) -> NDArray[np.float64]:
    import pyarrow as pa

    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def _check_text(file: Path, table: Any, columns: list[str]) -> None:
    """Raise InputError where columns of text hold numbers throughout: part of the vector would be lost."""
    hold = []
    for column in columns:
        cells = [cell for cell in texts(table.column(column)) if cell]
        if (
            cells
            and spelled(column) not in (*FACE_COLUMNS, *NO_FEATURES)
            and all(np.isfinite(number(c)) for c in cells)
        ):
            hold.append(column)
    if hold:
        raise InputError(
            f"{file}: the columns {listed(hold, 6)} hold numbers as text. If they are part of the vector, save them as "
            "numbers (.astype('float32')); if not, drop them."
        )


def _stack(file: Path, column: Any) -> NDArray[Any]:
    """Return lists of one length as (M, D); a missing list is a row of NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy()
    there = lengths >= 0
    if not there.any() or not lengths[there].max():
        return np.full((len(lengths), 0), np.nan, dtype=np.float32)
    width = int(lengths[there][0])
    if (lengths[there] != width).any():
        row = int(np.flatnonzero(there & (lengths != width))[0])
        raise InputError(f"{file} row {row}: a list of {lengths[row]} numbers, the first has {width}.")
    flat = pc.list_flatten(column)
    if not _is_number(flat.type) and not pa.types.is_boolean(flat.type):
        raise InputError(f"{file} row {int(np.flatnonzero(there)[0])}: not a list of numbers but of {flat.type}.")
    plain = _plain(flat).reshape(-1, width)
    beyond = plain.dtype == np.float64 and bool((np.isfinite(plain) & (np.abs(plain) > LARGEST)).any())  # for a message
    stacked: NDArray[Any] = np.full((len(lengths), width), np.nan, dtype=np.float64 if beyond else np.float32)
    stacked[there] = plain
    return stacked


def _aligned(values: NDArray[Any], rows: NDArray[np.int64]) -> Floats:
    """Return the chosen rows as (N, D) float16 or float32, NaN where a face has none, read block by block.

    A file that holds just these rows, as such numbers, stays mapped.
    """
    plain = values.ndim == 2 and values.dtype in (np.float16, np.float32) and values.flags.c_contiguous
    if plain and np.array_equal(rows, np.arange(len(values))):
        return values
    width = int(np.prod(values.shape[1:]))
    kind = np.float16 if values.dtype == np.float16 else np.float32
    aligned: Floats = np.full((len(rows), width), np.nan, dtype=kind)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        known = block >= 0
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinity, and is reported as such
            aligned[start : start + BLOCK_ROWS][known] = np.asarray(values[block[known]]).reshape(-1, width)
    return aligned


def _check_finite(
    name: str, file: Path, aligned: Floats, found: NDArray[np.bool_], rows: NDArray[np.int64], values: NDArray[Any]
) -> None:
    if row_not_finite(aligned) is None:
        return
    bad = ~np.isfinite(aligned)
    face, column = (int(i) for i in np.argwhere(bad)[0])
    number = np.asarray(values[int(rows[face])]).reshape(-1)[column]
    hold = counted(int(bad.any(1).sum()), "row holds such a number", "rows hold such numbers")
    where = f"view '{name}': {file} row {int(rows[face])}, column {column} is {number}"
    if np.isfinite(number):
        raise InputError(
            f"{where}, beyond the largest number of float32 ({LARGEST:.2g}); {hold} (rows count from 0). Divide the "
            "view by a number: only directions are compared."
        )
    raise InputError(
        f"{where}; {hold} (rows count from 0). Mend them, or make a row NaN throughout where a face has no vector."
    )


def _check_any(name: str, file: Path, found: NDArray[np.bool_], notes: NDArray[np.str_]) -> None:
    if not found.any():
        reason, _ = Counter(notes.tolist()).most_common(1)[0]
        kind = {ALL_NAN: "NaN", ALL_ZERO: "zeros"}.get(reason, "rows of one number")
        raise InputError(f"view '{name}': {file} holds nothing but {kind} for the faces of this set.")


def _check_different(name: str, file: Path, values: Floats, found: NDArray[np.bool_]) -> None:
    rows = np.flatnonzero(found)
    if len(rows) > 1 and all(
        (values[rows[start : start + BLOCK_ROWS]] == values[rows[0]]).all() for start in range(0, len(rows), BLOCK_ROWS)
    ):
        raise InputError(f"view '{name}': {file} has the same vector for every face, which tells nothing apart.")
