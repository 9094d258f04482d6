"""Text cells of a CSV that no spreadsheet takes for a formula and that come back as they were, whatever they hold.

A cell that a spreadsheet would run (it begins with = + - @ or a tab), or that would not survive being read again
(white space at an end, control characters), is written as a JSON string: =1+1 becomes "=1+1", quotes included. The
column `ESCAPED` holds 1 in rows that have such a cell; it is there only where a row has one.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .text import read_json

#: Column that says which rows hold JSON strings.
ESCAPED = "fercleaner_escaped"

_RISKY = re.compile(r'^[=+\-@"\s]|\s$|[\x00-\x1f\x7f\u0085\u2028\u2029]')


def harmless(text: str) -> str:
    """Return a text as it is, or as a JSON string where a spreadsheet or a reader would take it for something else."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f") if _RISKY.search(text) else text


def written(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> tuple[str, int]:
    """Return a CSV of `rows`, its text cells made harmless, and how many rows have such cells.

    Cells that are str are texts; numbers are written as they are.
    """
    body, marks = [], []
    for row in rows:
        cells = [harmless(cell) if isinstance(cell, str) else cell for cell in row]
        marks.append(int(any(a is not b for a, b in zip(cells, row, strict=True))))
        body.append(cells)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    names = [harmless(name) for name in header]
    some = any(marks) or names != list(header)
    writer.writerow([*names, ESCAPED] if some else names)
    for cells, mark in zip(body, marks, strict=True):
        writer.writerow([*cells, mark] if some else cells)
    return text.getvalue(), sum(marks)


def restored(columns: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the columns of a table with the cells that `harmless` changed as they were, without `ESCAPED`."""
    marks = columns.get(ESCAPED)
    if marks is None:
        return dict(columns)
    rows = [row for row, mark in enumerate(marks) if mark == "1"]
    back = {_plain(name): list(cells) for name, cells in columns.items() if name != ESCAPED}
    for cells in back.values():
        for row in rows:
            cells[row] = _plain(cells[row])
    return back


def _plain(cell: str) -> str:
    if not cell.startswith('"'):
        return cell
    try:
        value = read_json(cell)
    except ValueError:
        return cell
    return value if isinstance(value, str) else cell
