"""Lists of text, a face a line: RAF-DB's and ExpW's."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import InputError
from ..core.text import shown
from .table import opened

_LOG = logging.getLogger(__name__)
_LINE_ENDS = re.compile(r"\r\n|\n|\r")


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Return the non-blank lines of a text file with their line numbers (from 1)."""
    with opened(path) as file:
        lines = [(k, line.strip()) for k, line in enumerate(_LINE_ENDS.split(file.read()), 1)]
    for k, line in lines:
        if "\0" in line:
            raise InputError(f"{path.name} line {k} holds a NUL byte; this is no text file, or a damaged one.")
    return [(k, line) for k, line in lines if line]


def read_list(path: Path, endings: Sequence[str]) -> list[tuple[int, str]]:
    """Return `read_lines` without a first line that names the columns, which is said.

    Such a line holds neither a number nor a picture's name, and the line below it both.
    """
    lines = read_lines(path)

    def has_both(line: str) -> tuple[bool, bool]:
        return re.search(r"\d", line) is not None, any(ending in line.lower() for ending in endings)

    if len(lines) > 1 and has_both(lines[0][1]) == (False, False) and has_both(lines[1][1]) == (True, True):
        _LOG.warning("%s line %d ('%s') names the columns and is left out.", path.name, lines[0][0], shown(lines[0][1]))
        return lines[1:]
    return lines


def split_line(line: str, endings: Sequence[str]) -> tuple[str, list[str]]:
    """Split a line of a list into a file name, which may hold blanks, and the fields behind it.

    Double quotes around the name are no part of it. The name reaches to the first ending of a picture before a blank;
    without one it is the first word.

    >>> split_line("my face.jpg 5 1", (".jpg",))
    ('my face.jpg', ['5', '1'])
    >>> split_line("my face.jpg , 5", (".jpg",))
    ('my face.jpg', ['5'])
    """
    ends = "|".join(re.escape(ending) for ending in endings)
    found = re.match(rf"\"?(.+?(?:{ends}))\"?(?:\s*[,;]\s*|\s+)(.*)", line, re.IGNORECASE)
    if found:
        return found[1].strip(), re.split(r"\s*[,;\s]\s*", found[2].strip()) if found[2].strip() else []
    name, *fields = line.split()
    return name, fields
