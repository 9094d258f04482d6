"""Files that are no table which is read here, and how they become one."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import InputError
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
