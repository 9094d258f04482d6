"""Parquet files of the user's: only the columns that are asked for are read, and none that lies about its size."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import InputError, MissingDependency
from ..core.files import pointed
from ..core.text import shown
from .options import COLUMN_NAMES, spelled
from .table import PARQUET, Keep, Table, check_regular, listed, unreadable

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

#: A file of more rows than `MANY_ROWS` with fewer bytes a row than this cannot hold an id a row.
MANY_ROWS, LEAST_BYTES_A_ROW = 1_000_000, 0.5
#: Columns that hold more bytes than `MUCH`, and more than this many times the file, are refused unread.
MUCH, LARGEST_RATIO = 256 << 20, 200
#: Rows that are unfolded together.
BATCH_ROWS = 4096
#: Rows that show whether bytes are text, and bytes that a name has at most.
FIRST_ROWS, LONGEST_NAME = 64, 1024
#: Columns by which a refined file is known where its entries are gone.
REFINED = {"given_label", "distribution", "quality", "flagged"}

#: Says whether a column is wanted, by its name and Arrow type.
KeepField = Callable[["pa.Field"], bool]


@contextmanager
def arrow_errors(path: Path) -> Iterator[None]:
    """Turn what Arrow raises on a damaged file into InputError."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingDependency("pyarrow", f"Reading {path.name}") from error
    try:
        yield
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory.") from error
    except OSError as error:
        if error.errno is not None:
            raise unreadable(path, error) from error
        raise _damaged(path, error) from error
    except (pa.ArrowException, ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    if why := pointed(path):
        return InputError(f"{path} {why}")
    reason = shown((str(error).splitlines() or [type(error).__name__])[0], 200)
    return InputError(f"{path} is not a Parquet file that can be read: {reason.rstrip('.')}.")


def read_columns(path: Path, keep: KeepField) -> tuple[pa.Table, tuple[str, ...]]:
    """Return the columns wanted as an Arrow table, and the names of the others.

    The columns of a pandas index that has a name are columns like others.

    Raises
    ------
    InputError
        No regular file, no Parquet, two columns of one name, no rows, or sizes that cannot be true.
    """
    check_regular(path)
    with arrow_errors(path):
        import pyarrow.parquet as pq

        with path.open("rb") as stream:
            file = pq.ParquetFile(stream, page_checksum_verification=True)
            fields = list(file.schema_arrow)
            names = [field.name.strip() for field in fields]
            twice = (
                next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
            )
            if twice is not None:
                raise InputError(f"{path.name} has two columns named '{shown(twice)}'; remove or rename one.")
            if not file.metadata.num_rows:
                raise InputError(f"{path} has no rows.")
            if set(names) >= REFINED and b"fercleaner" not in (file.schema_arrow.metadata or {}):
                raise InputError(
                    f"{path} has the columns of a refined file, but not its entries: another program wrote it again, "
                    "and 'label' is the refined one there. Take the file that fercleaner wrote, or make a table of "
                    "your own with the given labels (image, label)."
                )
            wanted = [field.name for field in fields if keep(field)]
            check_size(path, file)
            table, about = _read(path, file, wanted), file.schema_arrow.metadata
        table = table.rename_columns([name.strip() for name in table.column_names])
        table = table.replace_schema_metadata(about)
        return table, tuple(field.name.strip() for field in fields if field.name not in set(wanted))


def is_refined_table(path: Path) -> bool:
    """Return whether a table is a refined file of ours, by its columns and entries; only its footer is read."""
    if path.suffix.lower() not in PARQUET:
        return False
    with arrow_errors(path):
        import pyarrow.parquet as pq

        schema = pq.read_schema(path)
    return set(schema.names) >= REFINED and b"fercleaner" in (schema.metadata or {})


def check_size(path: Path, file: pq.ParquetFile) -> None:
    """Raise InputError where a small file says that it holds so much that it would fill the memory.

    What stands in the metadata of single columns is not looked at: Arrow ends the process where that is damaged.
    """
    held, rows = path.stat().st_size, file.metadata.num_rows
    if rows > MANY_ROWS and held < LEAST_BYTES_A_ROW * rows:
        raise InputError(f"{path} says that it has {rows:,} rows, but is {held:,} bytes long; it is not read.")
    size = sum(file.metadata.row_group(k).total_byte_size for k in range(file.metadata.num_row_groups))
    if size > MUCH and size > LARGEST_RATIO * held:
        raise InputError(f"{path} says that it holds {size:,} bytes in {held:,}; it is not read.")


def _read(path: Path, file: pq.ParquetFile, wanted: list[str]) -> pa.Table:
    """Return columns, read piece by piece, so that what unfolds to far more than the file holds is stopped early."""
    import pyarrow as pa

    if not wanted:
        return pa.table({})
    held, size, batches = path.stat().st_size, 0, []
    for batch in file.iter_batches(BATCH_ROWS, columns=wanted):
        size += batch.nbytes
        if size > MUCH and size > LARGEST_RATIO * held:
            raise InputError(f"{path} unfolds to more than {size:,} bytes from {held:,}; it is not read.")
        batches.append(batch)
    return pa.Table.from_batches(batches)


def read_parquet(path: Path, keep: Keep | None = None) -> Table:
    """Read a Parquet file as a table of text; columns of structs and bytes are left out.

    Integers whose names stand in the file's schema (`class_labels`) are these names. Bytes that are text, in a column
    that names the face or its label, are text: NumPy's arrays of kind S become such.

    Raises
    ------
    InputError
        As `read_columns` does; or a label is beyond its names.
    """
    import pyarrow as pa

    check_regular(path)
    with arrow_errors(path):
        text = _text_in_bytes(path)

    def plain(field: pa.Field) -> bool:
        kind = field.type
        nested = pa.types.is_struct(kind) or pa.types.is_map(kind) or pa.types.is_union(kind)
        raw = _is_raw(kind) and field.name not in text
        return not (nested or raw) and (keep is None or keep(field.name.strip()))

    table, left_out = read_columns(path, plain)
    with arrow_errors(path):
        columns = {name: texts(table.column(name)) for name in table.column_names}
        for name, names in class_labels(table.schema).items():
            columns[name] = named(table.column(name).to_pylist(), names, name, lambda k: f"{path.name} row {k}")
        numeric = frozenset(f.name for f in table.schema if pa.types.is_integer(f.type) or pa.types.is_floating(f.type))
    if not columns:
        raise InputError(f"{path.name} has no column of text or numbers; its columns are {listed(left_out)}.")
    return Table(path.name, columns, left_out=left_out, numeric=numeric)


def class_labels(schema: pa.Schema) -> dict[str, list[str]]:
    """Return column -> names of its integers, of labels and lists of them, as Hugging Face's files say in their schema.

    Nothing of columns that hold no integers any more, or where the entry is damaged.
    """
    import pyarrow as pa

    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        kinds = {str(name).strip(): kind for name, kind in features.items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
    found = {}
    for field in schema:
        kind, held = kinds.get(field.name), field.type
        while isinstance(kind, dict | list) and (pa.types.is_list(held) or pa.types.is_large_list(held)):
            kind, held = kind.get("feature") if isinstance(kind, dict) else next(iter(kind), None), held.value_type
        names = kind.get("names") if isinstance(kind, dict) and kind.get("_type") == "ClassLabel" else None
        if isinstance(names, list) and (pa.types.is_integer(held) or pa.types.is_floating(held)):
            found[field.name] = list(map(str, names))
    return found


def named(values: Sequence[Any], names: Sequence[str], column: str, where: Callable[[int], str]) -> list[str]:
    """Return labels, or lists of them, by their names: "" for None and below 0.

    Raises
    ------
    InputError
        A label is beyond the names.
    """
    cells = []
    for i, value in enumerate(values):
        codes = value if isinstance(value, list) else [value]
        held = [int(code) for code in codes if code is not None and code >= 0]
        if any(code >= len(names) for code in held):
            raise InputError(f"{where(i)}: label {max(held)} is beyond the {len(names)} names of '{shown(column)}'.")
        cells.append(" ".join(names[code].strip() for code in held))
    return cells


def _is_raw(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _text_in_bytes(path: Path) -> set[str]:
    """Return the columns of bytes that name faces, labels, splits or groups and hold text, as their first rows show."""
    import pyarrow.parquet as pq

    roles = {name for names in COLUMN_NAMES.values() for name in names}
    with path.open("rb") as stream:
        file = pq.ParquetFile(stream)
        raw = [field.name for field in file.schema_arrow if _is_raw(field.type) and spelled(field.name) in roles]
        if not raw:
            return set()
        check_size(path, file)
        cells = next(file.iter_batches(FIRST_ROWS, columns=raw), None)
    held = {} if cells is None else {name: cells.column(name).to_pylist() for name in raw}
    return {name for name, values in held.items() if any(values) and all(map(_is_text, filter(None, values)))}


def _is_text(value: bytes) -> bool:
    try:
        return len(value) <= LONGEST_NAME and value.decode().strip("\0").isprintable()
    except UnicodeDecodeError:
        return False


def texts(column: Any) -> list[str]:
    """Return an Arrow column as text cells, as `as_text` does."""
    return [as_text(cell) for cell in column.to_pylist()]


def as_text(value: Any) -> str:
    """Return a cell as text: "" for None and NaN, "3" for 3.0, lists with blanks between."""
    if isinstance(value, str):
        return value.strip()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, np.ndarray | list | tuple):
        return " ".join(as_text(part) for part in value)
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace").strip("\0 \t\r\n")
    return str(value).strip()
