"""Text that came from outside, made safe to show: no control character reaches a terminal or a message raw."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

#: Letters that a message shows of a cell or a name at most.
SHOWN = 80

#: Line breaks that a note of ours may hold; everything else of these categories is written as its code.
_KEPT = ("\n",)
_RAW = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def plain(text: str) -> str:
    """Return `text` with control, direction and other invisible characters written as their codes.

    Escape sequences, right-to-left marks and carriage returns lose their effect; line feeds, which our own notes
    hold, and tabs, as a blank, stay.

    >>> plain("a\\x1b[31mb\\u202ec")
    'a\\\\x1b[31mb\\\\u202ec'
    """
    if text.isprintable():
        return text
    return "".join(
        " " if c == "\t" else c if c in _KEPT or unicodedata.category(c) not in _RAW else _code(c) for c in text
    )


def shown(value: object, most: int = SHOWN) -> str:
    """Return a value from a file for a message: one line, at most `most` letters, nothing invisible."""
    text = str(value)
    cut = text if len(text) <= most else text[: most - 3] + "..."
    return plain(cut).replace("\n", "\\n")


def counted(count: int, one: str, more: str) -> str:
    """Return a number before the words for one or for more.

    >>> counted(1, "row repeats", "rows repeat"), counted(2000, "row repeats", "rows repeat")
    ('1 row repeats', '2,000 rows repeat')
    """
    return f"{count:,} {one if count == 1 else more}"


def read_json(data: str | bytes) -> Any:
    """Return what JSON from outside says; ValueError where it is none, not UTF-8, or nested deeper than can be read."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _code(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"
