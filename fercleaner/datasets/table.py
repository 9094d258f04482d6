"""Tables of text: CSV, TSV and Parquet, with the row numbers that a user sees in the file.

Every table of the user's is read here: manifests, votes, truth, landmarks, action units. Cells are text until somebody
asks for numbers, so that the id 00012 stays 00012.
"""

from __future__ import annotations

import csv
import logging
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ..core.arrays import Doubles
from ..core.cells import ESCAPED, kept_text, restored, unquoted
from ..core.errors import InputError, did_you_mean
from ..core.expressions import is_expression, spelling_key
from ..core.files import missing
from ..core.text import counted, shown
from .open_quotes import Rows, check_rows_inside, rows_inside
from .other_files import check_table, no_text

#: Says where row i (from 0) stands, such as "faces.csv row 812".
Where = Callable[[int], str]
#: Says whether a column of this name is wanted.
Keep = Callable[[str], bool]

PARQUET = (".parquet", ".pq")
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", *PARQUET)

#: What may separate columns; whichever splits the header into most.
DELIMITERS = ",;\t|"
#: Letters of one cell: fer2013.csv at 224 x 224 has 200,000; Python's own limit is 131,072.
LONGEST_CELL = 1 << 26
#: Name of the first column where the header leaves it empty, as pandas and R do for names of rows.
UNNAMED = "Unnamed: 0"
#: Columns that a message names at most.
NAMED = 12

_LOG = logging.getLogger(__name__)

_SEPARATORS = re.compile(r"[\s,;()\[\]]+")
#: Stands after the last line, so that a quote that is never closed is noticed.
_END = "\x01end of the table\x01"
_BOMS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


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
    left_out : tuple of str
        Columns that the file has beside those asked for.
    numeric : frozenset of str
        Columns that the file holds as numbers, not as text: ids among them may have lost their leading zeros.
    """

    name: str
    columns: Mapping[str, list[str]]
    rows: Sequence[int] | None = None
    places: Where | None = None
    left_out: tuple[str, ...] = ()
    numeric: frozenset[str] = frozenset()

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
            there = [*self.columns, *self.left_out]
            raise InputError(
                f"{self.name} has no column '{shown(column)}'; its columns are {listed(there)}."
                f"{did_you_mean(column, there)}"
            )
        return self.columns[column]


def listed(names: Sequence[object], most: int = NAMED) -> str:
    """Return names for a message, the first `most` of them: "a, b, ... (40 in all)"."""
    first = ", ".join(shown(name, 40) for name in names[:most])
    return first if len(names) <= most else f"{first}, ... ({len(names):,} in all)"


def number(text: str) -> float:
    """Return a cell as a number; NaN where it is empty, "NULL" or no number."""
    try:
        return float(text) if "_" not in text else math.nan
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
        values = np.array([TRUTH.get(c.casefold(), number(c or "0")) for c in cells], dtype=np.float64)
    bad = ~np.isfinite(values) | (values < 0) | (values > 1e15)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{where(row)}: column '{shown(column)}' holds '{shown(cells[row])}', expected a number of at least 0."
            f"{_how(cells[row])}"
        )
    return values


def measured(cells: list[str], where: Where, column: str) -> Doubles:
    """Return a column as numbers, (N,) float64, NaN where empty or marked as missing, 1 and 0 for true and false.

    InputError at the first other text.
    """
    values = np.array([number(cell) for cell in cells], dtype=np.float64)
    for row in np.flatnonzero(np.isnan(values)).tolist():
        text = cells[row].strip().casefold()
        if text in TRUTH:
            values[row] = TRUTH[text]
        elif text not in MISSING_NUMBERS:
            raise InputError(
                f"{where(row)}: column '{shown(column)}' holds '{shown(cells[row])}', expected a number."
                f"{_how(cells[row])}"
            )
    return values


#: What a table of one column a class may say in place of 1 and 0.
TRUTH = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
#: What stands for a missing number.
MISSING_NUMBERS = frozenset(("", "nan", "-nan", "na", "n/a", "#n/a", "<na>", "null", "none", "nil", "-", "--", "?"))


def _how(cell: str) -> str:
    """Return the way out for a cell that is nearly a number, or none."""
    if cell.strip().casefold() in MISSING_NUMBERS:
        return " Leave the row's cells of all classes empty where the face has no label."
    if cell.strip().endswith("%"):
        return " Write 0.5 (or 50) in place of 50%."
    if re.fullmatch(r"[+-]?\d+,\d+", cell.strip()):
        return " Write a decimal point in place of the comma, and none between thousands."
    if re.fullmatch(r"\d{1,3}([ .,'\u00a0\u202f]\d{3})+", cell.strip()):
        return " Write nothing between thousands."
    return ""


def check_regular(path: Path) -> None:
    """Raise InputError unless `path` is a file with an end: no pipe, device or socket, which could be read forever."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{shown(path, 300)} cannot be read: is a directory.")
    if not stat.S_ISREG(mode):
        raise InputError(f"{shown(path, 300)} is no regular file but a pipe, a device or a socket. Name a file.")


@contextmanager
def opened(path: Path) -> Iterator[IO[str]]:
    """Open a text file (UTF-8, or UTF-16 and UTF-32 with a byte-order mark); errors become InputError."""
    check_regular(path)
    try:
        with path.open("rb") as raw:
            head = raw.read(64)
        if why := no_text(head):
            raise InputError(f"{shown(path, 300)} {why}")
        encoding = next((name for mark, name in _BOMS if head.startswith(mark)), "utf-8-sig")
        with path.open(encoding=encoding, newline="") as file:
            yield file
    except UnicodeError as error:
        raise _not_utf8(path, error) from error
    except OSError as error:
        raise unreadable(path, error) from error


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (row number, cells) of a CSV or TSV file, the file's first row being row 1; blank rows left out.

    Comma, semicolon, tab or bar separate, whichever splits the first row into most cells. Blanks after a separator do
    not count, so that a cell may be quoted behind one. Excel's "sep=;" line is obeyed.
    """
    row = 0
    with opened(path) as file:
        delimiter, quote = _dialect(file)
        file.seek(0)
        csv.field_size_limit(LONGEST_CELL)
        reader = csv.reader(_ended(file), delimiter=delimiter, quotechar=quote, skipinitialspace=True)
        try:
            for row, cells in enumerate(reader, 1):
                if cells and cells[0].startswith("\ufeff"):  # of a file that was put behind another
                    cells[0] = cells[0].lstrip("\ufeff").strip('"')
                if cells and cells[-1].endswith(_END):
                    if cells != [_END]:
                        raise InputError(
                            f"{path.name} row {row}: a quote is opened and never closed. Close it, or double it."
                        )
                elif any(cells) and not (row == 1 and cells[0].casefold().startswith("sep=") and len(cells) < 3):
                    yield row, cells
        except csv.Error as error:
            raise InputError(f"{path.name} row {row + 1}: not a row of a table ({error}).") from error


def _ended(file: IO[str]) -> Iterator[str]:
    line = "\n"
    for line in file:
        yield line
    if not line.endswith(("\n", "\r")):
        yield "\n"
    yield _END


def _dialect(file: IO[str]) -> tuple[str, str]:
    """Return what separates the columns of a file, and what quotes them: the first row that is not blank says."""
    head = next((line for line in file if line.strip()), "")
    if head.casefold().startswith("sep=") and len(head.strip()) == 5:
        return head.strip()[4], '"'
    cells = {d: next(csv.reader([head], delimiter=d, skipinitialspace=True), []) for d in DELIMITERS}
    best = max(DELIMITERS, key=lambda d: len(cells[d]))
    quoted = all(len(cell.strip()) > 2 and cell.strip()[0] == cell.strip()[-1] == "'" for cell in cells[best])
    return best, "'" if cells[best] and quoted else '"'


def separator(path: Path) -> str:
    """Return what stands between the columns of a CSV or TSV file."""
    with opened(path) as file:
        return _dialect(file)[0]


def read_header(path: Path) -> list[str]:
    """Return the column names of a CSV or TSV file; empty for an empty file."""
    _, first = next(read_rows(path), (1, []))
    return [cell.strip() for cell in first]


def check_header(name: str, header: list[str]) -> None:
    """Raise InputError if two columns have one name."""
    if len(set(header)) == len(header):
        return
    for column in header:
        if header.count(column) > 1 and column:
            raise InputError(f"{name} has two columns named '{shown(column)}'; remove or rename one.")


def check_width(name: str, row: int, cells: list[str], header: list[str]) -> None:
    """Raise InputError unless a row has one cell a column."""
    if len(cells) == len(header):
        return
    above = "If the first row is a title or a comment, remove what stands above the names of the columns."
    how = "A cell that holds the separator must stand in double quotes."
    if len(cells) == 1 and any(cells[0].count(mark) + 1 == len(header) for mark in DELIMITERS):
        how = "The row stands in quotes as a whole, or its cells are parted otherwise than those of the header."
    elif (
        len(cells) == 1 < len(header)
        and cells[0].strip().lstrip("-").isdecimal()
        and all(map(is_expression, header[:3]))
    ):
        how = (
            "These look like codes, a frame a row, below the names of the classes, as Aff-Wild2 has them: write a "
            "table with a row a picture (image,label), and --classes with these names in order."
        )
    elif len(cells) < len(header):
        how = f"The row is cut short, or no face (a comment, a total): fill or remove it. {above}"
    elif len(header) == 1:
        how = above
    elif len(cells) == len(header) + 1 and not cells[-1].strip():
        how = "The row ends in a separator that the header has not: end both alike."
    elif len(cells) == len(header) + 1 and cells[0].strip().isdecimal():
        how += " If the first cell is the name of a row, as R writes it: write.csv(..., row.names = FALSE)."
    raise InputError(f"{name} row {row}: {len(cells)} cells, the header has {len(header)} ({listed(header)}). {how}")


def read_table(path: Path, keep: Keep | None = None) -> Table:
    """Read a CSV, TSV or Parquet file; its first row names the columns.

    Parameters
    ----------
    path : Path
    keep : callable, optional
        Which columns are wanted, by name; all by default. Others are named in `Table.left_out`.

    Raises
    ------
    InputError
        If the file is missing, no regular file, empty, ragged, of another encoding, or names a column twice.
    """
    check_regular(path)
    if path.suffix.lower() in PARQUET:
        from .parquet import read_parquet

        return read_parquet(path, keep)
    check_table(path)
    stream = read_rows(path)
    _, first = next(stream, (1, []))
    header = [cell.strip() for cell in first]
    if not header:
        raise InputError(f"{path} is empty; its first row must name the columns.")
    check_header(path.name, header)
    unnamed = not header[0] and UNNAMED not in header
    header[0] = UNNAMED if unnamed else header[0]
    wanted = [i for i, name in enumerate(header) if name and (keep is None or name == ESCAPED or keep(name))]
    width, rows, repeated, again = len(header), [], 0, [spelling_key(cell) for cell in first]
    columns: list[list[str]] = [[] for _ in wanted]
    filled: set[int] = set()
    inside: dict[int, Rows] = {}
    nameless = [i for i, name in enumerate(header) if not name]
    for row, record in stream:
        if width > 1 and record[0].strip().casefold() == again[0] and [spelling_key(cell) for cell in record] == again:
            repeated += 1
            continue
        if len(record) != width:
            check_width(path.name, row, record, header)
        if any("\n" in cell for cell in record) and (found := rows_inside(record, separator(path))):
            inside[row] = found
        rows.append(row)
        filled.update(i for i in nameless if record[i].strip())
        for column, i in zip(columns, wanted, strict=True):
            cell = record[i]
            if "\0" in cell:
                raise InputError(f"{path.name} row {row} holds a NUL byte: it is no UTF-8 text. Save it so.")
            column.append(kept_text(cell.strip()))
    if not rows:
        raise InputError(f"{path} has a header but no rows.")
    if repeated:
        said = counted(repeated, "row repeats the header and is", "rows repeat the header and are")
        _LOG.warning("%s: %s left out.", path.name, said)
    check_rows_inside(path.name, inside, dict(zip(wanted, columns, strict=True)))
    left = tuple(name for i, name in enumerate(header) if name and i not in set(wanted) and not (unnamed and i == 0))
    left += tuple(f"column {i + 1} (without a name)" for i in sorted(filled))
    held = restored({header[i]: unquoted(c) for i, c in zip(wanted, columns, strict=True)})
    if unnamed and all(cell.isdecimal() or not cell for cell in held.get(UNNAMED, ())):
        held.pop(UNNAMED, None)  # row numbers
    return Table(path.name, held, tuple(rows), left_out=left)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise InputError if `path` is missing, or if the system refuses anything below it inside the block."""
    try:
        if not path.exists():
            raise InputError(missing(path))
        if not path.is_dir():
            check_regular(path)
        yield
    except (OSError, RecursionError) as error:
        raise unreadable(Path(getattr(error, "filename", None) or path), error) from error
    except MemoryError as error:
        raise InputError(
            f"{shown(path, 300)} does not fit into memory. Read its splits one by one, or parts of it."
        ) from error


def unreadable(path: Path, error: Exception) -> InputError:
    """Return the InputError for a file or folder that the system refuses."""
    if isinstance(error, FileNotFoundError):
        return InputError(missing(path))
    return InputError(f"{shown(path, 300)} cannot be read: {(getattr(error, 'strerror', None) or str(error)).lower()}.")


def _not_utf8(path: Path, error: UnicodeError) -> InputError:
    byte = error.object[error.start : error.start + 1] if isinstance(error, UnicodeDecodeError) else b""
    detail = f" (byte {byte[0]:#04x} unexpected)" if byte else ""
    return InputError(f"{path.name} is not UTF-8 text{detail}. Save it as UTF-8.")
