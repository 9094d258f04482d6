"""Tables of text: CSV, TSV and Parquet, with the row numbers that a user sees in the file."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import Doubles
from ..core.cells import restored
from ..core.errors import InputError, did_you_mean

#: Says where row i (from 0) stands, such as "faces.csv row 812".
Where = Callable[[int], str]

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq")

_SEPARATORS = re.compile(r"[\s,;()\[\]]+")


@dataclass(frozen=True)
class Table:
    """A table of text cells.

    Parameters
    ----------
    name : str
        The file's name, for messages.
    columns : mapping of column name -> list of N str
        Cells stripped; empty cells are "".
    rows : sequence of N int, optional
        Row number of each in the file, where a CSV's header is row 1; by default 0, 1, ... as pandas shows
        a Parquet file.
    places : callable, optional
        Says where data row i stands, for a table that is no single file.
    """

    name: str
    columns: Mapping[str, list[str]]
    rows: Sequence[int] | None = None
    places: Where | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def where(self, i: int) -> str:
        """Return where data row `i` (from 0) stands: "faces.csv row 2" is the first below a header."""
        if self.places is not None:
            return self.places(i)
        return f"{self.name} row {self.rows[i] if self.rows is not None else i}"

    def need(self, column: str) -> list[str]:
        """Return a column, or raise InputError that lists what there is."""
        if column not in self.columns:
            raise InputError(
                f"{self.name} has no column '{column}'; its columns are {', '.join(self.columns)}."
                f"{did_you_mean(column, self.columns)}"
            )
        return self.columns[column]


def number(text: str) -> float:
    """Return a cell as a number; NaN where it is empty, "NULL" or no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def numbers(text: str) -> list[float]:
    """Return the numbers of a cell, separated by spaces, commas or semicolons; NaN for other parts."""
    return [number(part) for part in _SEPARATORS.split(text) if part]


def decimals(cells: list[str], where: Where, column: str) -> Doubles:
    """Return a column as numbers >= 0, (N,) float64, 0 where empty; InputError names the first other cell."""
    try:
        values = np.array([cell or 0 for cell in cells], dtype=np.float64)
    except ValueError:
        values = np.array([number(cell or "0") for cell in cells], dtype=np.float64)
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"{where(row)}: column '{column}' holds '{cells[row]}', expected a number of at least 0.")
    return values


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Return the non-blank lines of a UTF-8 text file with their line numbers (from 1)."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error
    except OSError as error:
        raise unreadable(path, error) from error
    return [(k, line.strip()) for k, line in enumerate(text.splitlines(), 1) if line.strip()]


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (row number, cells) of a CSV or TSV file, the file's first row being row 1; blank rows left out.

    Tabs separate a .tsv; otherwise whichever of comma, semicolon and tab is most frequent in the first row.
    """
    row = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            marks = "\t" if path.suffix.lower() == ".tsv" else ",;\t"
            reader = csv.reader(file, delimiter=max(marks, key=head.count))
            for row, cells in enumerate(reader, 1):
                if any(cells):
                    yield row, cells
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error
    except csv.Error as error:
        raise InputError(f"{path.name} row {row + 1}: not a row of a table ({error}).") from error
    except OSError as error:
        raise unreadable(path, error) from error


def read_header(path: Path) -> list[str]:
    """Return the column names of a CSV or TSV file; empty for an empty file."""
    for _, cells in read_rows(path):
        return [cell.strip() for cell in cells]
    return []


def check_header(name: str, header: list[str]) -> None:
    """Raise InputError if two columns have one name."""
    for column in header:
        if header.count(column) > 1 and column:
            raise InputError(f"{name} has two columns named '{column}'; remove or rename one.")


def check_width(name: str, row: int, cells: list[str], header: list[str]) -> None:
    """Raise InputError unless a row has one cell a column."""
    if len(cells) != len(header):
        raise InputError(
            f"{name} row {row}: {len(cells)} cells, the header has {len(header)} ({', '.join(header)}). "
            "A cell that holds the separator must stand in double quotes."
        )


def read_table(path: Path) -> Table:
    """Read a CSV, TSV or Parquet file; its first row names the columns.

    Raises
    ------
    InputError
        If the file is missing, empty, ragged, not UTF-8, or names a column twice.
    """
    if path.suffix.lower() in (".parquet", ".pq"):
        return _read_parquet(path)
    stream = read_rows(path)
    _, first = next(stream, (1, []))
    header = [cell.strip() for cell in first]
    if not header:
        raise InputError(f"{path} is empty; its first row must name the columns.")
    check_header(path.name, header)
    rows, cells = [], []
    for row, record in stream:
        if len(record) != len(header):
            check_width(path.name, row, record, header)
        if any("\0" in cell for cell in record):
            raise InputError(f"{path.name} row {row} holds a NUL byte; this is no text file, or a damaged one.")
        rows.append(row)
        cells.append(record)
    if not cells:
        raise InputError(f"{path} has a header but no rows.")
    columns = {
        name: [cell.strip() for cell in column]
        for name, column in zip(header, zip(*cells, strict=True), strict=True)
        if name
    }
    return Table(path.name, restored(columns), tuple(rows))


def as_text(value: Any) -> str:
    """Return a Parquet cell as text: "" for None and NaN, "3" for 3.0."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, np.ndarray | list | tuple):
        return " ".join(as_text(part) for part in value)
    return str(value).strip()


def _read_parquet(path: Path) -> Table:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:
        raise InputError(f"{path} is not a Parquet file that can be read: {error}") from error
    if not len(frame):
        raise InputError(f"{path} has no rows.")
    columns: dict[str, list[str]] = {}
    for name in frame.columns:
        cells = frame[name].tolist()
        if any(isinstance(cell, dict | bytes) for cell in cells[:1]):
            raise InputError(
                f"{path.name}: column '{name}' holds pictures, not text. A Parquet manifest names files; for "
                "pictures inside, use a Hugging Face dataset saved with save_to_disk."
            )
        columns[str(name).strip()] = [as_text(cell) for cell in cells]
    return Table(path.name, columns)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise InputError if `path` is missing, or if the system refuses anything below it inside the block."""
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder.")
        yield
    except OSError as error:
        raise unreadable(Path(error.filename or path), error) from error


def unreadable(path: Path, error: OSError) -> InputError:
    """Return the InputError for a file or folder that the system refuses."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path}: no such file or folder.")
    return InputError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.")


def _not_utf8(path: Path, error: UnicodeDecodeError) -> InputError:
    return InputError(
        f"{path.name} is not UTF-8 text (byte {error.object[error.start]:#04x} unexpected). Save it as UTF-8."
    )
