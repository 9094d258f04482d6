"""Quotes that begin a cell by chance: they take in the rows below, up to the next quote, without an error."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..core.errors import InputError
from ..core.text import counted, shown

#: Rows of cells.
Rows = list[list[str]]

_LINE_ENDS = re.compile(r"\r\n|\n|\r")


def rows_inside(record: Sequence[str], separator: str) -> Rows:
    r"""Return the rows of a file that a record would be without its quotes.

    Empty where that is one row, or where not all of them have as many cells as the record: line breaks that are meant.

    >>> rows_inside(["a.jpg", "sad", "so\nb.jpg,happy,fun"], ",")
    [['a.jpg', 'sad', 'so'], ['b.jpg', 'happy', 'fun']]
    >>> rows_inside(["a.jpg", "sad", "so\nfun, too"], ",")
    []
    """
    rows = [line.split(separator) for line in _LINE_ENDS.split(separator.join(record))]
    return rows if len(rows) > 1 and all(len(row) == len(record) for row in rows) else []


def check_rows_inside(name: str, inside: Mapping[int, Rows], columns: Mapping[int, Sequence[str]]) -> None:
    """Raise InputError where such rows have a cell that its column holds elsewhere, the first of a record's aside.

    Parameters
    ----------
    name : str
        The file's name.
    inside : mapping of row number -> rows
        What `rows_inside` found in the record there.
    columns : mapping of column number -> N cells
    """
    known = {number: set(cells) for number, cells in columns.items()} if inside else {}
    for place, rows in inside.items():
        for row in rows[1:]:
            if any(row[number].strip() and row[number].strip() in cells for number, cells in known.items()):
                lines = counted(len(rows) - 1, "line", "lines")
                raise InputError(
                    f"{name} row {place}: a cell that begins with a quote takes in the {lines} below, such as "
                    f"'{shown(','.join(row))}', which look like rows. Close the quote; where it is part of the text, "
                    'double it and put the cell in quotes ("""so"" he said"); where the line breaks are meant, write '
                    "blanks for them."
                )
