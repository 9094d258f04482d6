"""Files that are no table which is read here, and how they become one."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import InputError
from ..core.files import IS_POINTER, POINTER
from ..core.text import shown

#: Endings of packed files.
ARCHIVES = (".zip", ".tar", ".tgz", ".tbz", ".txz", ".7z", ".rar", ".gz", ".bz2", ".xz", ".zst")
#: Endings of spreadsheets.
WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".ods")
#: Endings of arrays and of what programs keep for themselves.
ARRAYS = (".npy", ".npz", ".pkl", ".pickle", ".pt", ".pth", ".mat", ".h5", ".hdf5", ".safetensors")
#: Endings of tables that pandas reads and this package does not, and by which of its functions. Without dtype=False
#: pandas makes the number 12 of the id "00012".
FRAMES = {
    ".json": "read_json({}, dtype=False)",
    ".jsonl": "read_json({}, lines=True, dtype=False)",
    ".ndjson": "read_json({}, lines=True, dtype=False)",
    ".feather": "read_feather({})",
}
#: Beginnings of files that are no table of text, whatever their name says, and the way out.
NO_TEXT = (
    (b"\x1f\x8b", "is packed with gzip. Unpack it: gunzip FILE"),
    (b"PK\x03\x04", "is an Excel workbook or another zip archive. Save the sheet as CSV, or unpack the archive."),
    (b"\xd0\xcf\x11\xe0", "is an Excel workbook. Save the sheet as CSV."),
    (b"PAR1", "is a Parquet file. Give it that ending: .parquet"),
    (b"SQLi", "is an SQLite database. Write the table as CSV."),
    (POINTER, f"is {IS_POINTER}"),
    (b"<!doctype html", "is a web page: a download that failed, or a log-in. Fetch the file itself."),
    (b"<html", "is a web page: a download that failed, or a log-in. Fetch the file itself."),
)


def no_text(head: bytes) -> str:
    """Return what a file is that begins so, and the way out; "" where it can be a table of text."""
    begins = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((why for mark, why in NO_TEXT if head.startswith(mark) or begins.startswith(mark)), "")


def way_to_a_table(path: Path) -> str:
    """Return how a file of another kind, known by its ending, becomes a table that is read; "" for other endings."""
    ending = path.suffix.lower()
    if ending in WORKBOOKS:
        return "It is a workbook: save the sheet as CSV."
    if path.name.lower().endswith(ARCHIVES):
        return "It is packed: unpack it, and name the folder or the list in it."
    if ending in FRAMES:
        read = FRAMES[ending].format(repr(path.name))
        return f"Write it as a table, such as by pandas.{read}.to_csv('faces.csv', index=False)."
    return ""


def check_table(path: Path) -> None:
    """Raise InputError where the ending says that a file is no CSV, TSV or Parquet."""
    how = way_to_a_table(path)
    if not how and path.suffix.lower() in ARRAYS:
        how = "Write a CSV or a Parquet file, a row a face and the first row naming the columns."
    if how:
        raise InputError(f"{shown(path, 300)} is no table that is read (CSV, TSV or Parquet). {how}")
