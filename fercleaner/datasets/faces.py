"""Which row of a file belongs to which face: the one way in which votes, truth, landmarks and vectors are matched."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..core.arrays import Ints, Strings
from ..core.errors import InputError
from ..core.text import counted, shown
from .options import FACE_COLUMNS, spelled
from .paths import original_name
from .table import Table, listed

_LOG = logging.getLogger(__name__)

#: Faces from which on ids that run from 0 here and from 1 there are no accident.
COUNTED_FROM = 10

Key = Callable[[str], str]


class _Rule(NamedTuple):
    """One way to match: what it goes by, which names of the set it looks at, and what two names must share."""

    title: str
    by_path: bool
    key: Key


def face_column(table: Table, wanted: str | None = None, option: str = "--column image=NAME") -> str:
    """Return the column that names the face: an id, else the picture.

    An id column that only counts the rows gives way to the next.

    Raises
    ------
    InputError
        There is none, or not the one wanted.
    """
    if wanted is not None:
        table.need(wanted)
        return wanted
    there = {spelled(name): name for name in reversed(list(table.columns))}
    found = [there[name] for name in FACE_COLUMNS if name in there]
    if not found:
        raise InputError(
            f"{table.name}: no column names the face; its columns are {listed([*table.columns, *table.left_out])}. "
            f"Call it 'id' or 'image' (accepted: {', '.join(FACE_COLUMNS)}), or name it: {option}"
        )
    return found[1] if len(found) > 1 and _counts_rows(table.columns[found[0]]) else found[0]


def _counts_rows(cells: Sequence[str]) -> bool:
    return any(list(cells) == [str(start + i) for i in range(len(cells))] for start in (0, 1))


#: What to do about two rows for one face, in a table of labels.
ONE_ROW = "Keep one row a face; several annotators' labels become one row with a column of counts a class."


def check_unique(written: Sequence[str], source: str, where: Callable[[int], str], how: str = ONE_ROW) -> None:
    """Raise InputError where two rows of a file name one face; `how` says the way out."""
    names = [name for name in written if name]
    if len(set(names)) == len(names):
        return
    first: dict[str, int] = {}
    for row, name in enumerate(written):
        if name in first:
            again = len(names) - len(set(names))
            raise InputError(
                f"{source}: '{shown(name)}' stands in {where(first[name])} and {where(row)} ("
                f"{counted(again, 'row repeats', 'rows repeat')} a face). {how}"
            )
        if name:
            first[name] = row


def match(ids: Strings, paths: Strings, written: Sequence[str], source: str, *, numeric: bool = False) -> Ints:
    """Return the row of `written` that belongs to each face, (N,) int64; -1 where there is none.

    First that which matches most faces of: the ids as they are; ids in another Unicode normal form; ids as whole
    numbers (12 or 12.0 for 00012), where `numeric` says that the file holds numbers or where both hold nothing else.
    Where no id matches, names are paths: the set's paths; as many of the last parts of a path as match the most
    faces, first of the ids, then of the paths; file names without their ending; at last what uploads to Label Studio
    were called. A note says which way it was
    where it was not the ids. Names that belong to no face (another split, say) are left over.

    Parameters
    ----------
    ids, paths : (N,) str
        Of the set.
    written : sequence of M str
        Names in the file, unique.
    source : str
        The file, for messages.
    numeric : bool

    Raises
    ------
    InputError
        None belongs to a face of the set, or one name fits several faces.
    """
    mine, theirs = [str(name) for name in ids], [str(name) for name in written]
    alike: list[_Rule] = [_Rule("ids", False, str)]
    if not all(map(str.isascii, mine)) or not all(map(str.isascii, theirs)):
        alike.append(_Rule("ids in another Unicode normal form", False, _normal))
    if numeric or (all(map(_digits, mine)) and all(map(_whole, theirs))):
        _check_start(mine, theirs, source)
        alike.append(_Rule("ids as whole numbers, leading zeros aside", False, _whole))
    best: tuple[int, Ints, _Rule] | None = None
    for rule in alike:
        rows = _pairs(mine, theirs, rule, source, strict=False)
        count = int((rows >= 0).sum())
        if count and (best is None or count > best[0]):
            best = (count, rows, rule)
        if count == min(len(mine), len(theirs)):
            break
    if best is None:
        best = _by_path(mine, [str(path) for path in paths], theirs, source)
    if best is None:
        raise InputError(
            f"{source}: none of its {len(theirs):,} names belongs to a face of the set (it has "
            f"'{shown(theirs[0]) if theirs else 'nothing'}', the set has '{shown(mine[0])}'). Write the names as the "
            "set writes its ids."
        )
    if best[2].title != "ids":
        _LOG.warning("%s: faces are matched by %s.", source, best[2].title)
    return best[1]


def _check_start(mine: list[str], theirs: list[str], source: str) -> None:
    """Raise InputError where both count their faces, one from 0 and the other from 1: each row would be another's."""
    here, there = ({int(_whole(name)) for name in names if _whole(name)} for names in (mine, theirs))
    if len(here) < COUNTED_FROM or len(here) != len(mine) or len(there) != len(theirs) or len(here) != len(there):
        return
    runs = [max(ids) - min(ids) + 1 == len(ids) for ids in (here, there)]
    if all(runs) and abs(min(here) - min(there)) == 1:
        raise InputError(
            f"{source}: its ids are the numbers {min(there)} to {max(there)}, those of the set {min(here)} to "
            f"{max(here)}: do they count the same faces from another start? Write the ids of the set."
        )


def _by_path(mine: list[str], paths: list[str], theirs: list[str], source: str) -> tuple[int, Ints, _Rule] | None:
    rules = [_Rule("their paths", True, _normal)]
    for by_path in (False, True):
        names = paths if by_path else mine
        depth = _best_depth(names, theirs)
        if depth:
            parts = "file names" if depth == 1 else f"the last {depth} parts of their paths"
            rules.append(_Rule(parts, by_path, _tail(depth)))
    rules += [_Rule("file names without their ending", by_path, _stem) for by_path in (False, True)]
    rules += [_Rule("what Label Studio's uploads were called", by_path, _original) for by_path in (False, True)]
    for rule in rules:
        rows = _pairs(paths if rule.by_path else mine, theirs, rule, source, strict=True)
        if (rows >= 0).any():
            return int((rows >= 0).sum()), rows, rule
    return None


def _pairs(mine: list[str], theirs: list[str], rule: _Rule, source: str, *, strict: bool) -> Ints:
    """Return for each of `mine` the row of `theirs` with the same key; where a key in both fits several, none.

    `strict` makes that an error.
    """
    here, there = _places(mine, rule.key), _places(theirs, rule.key)
    rows = np.full(len(mine), -1, dtype=np.int64)
    for text, places in here.items():
        others = there.get(text)
        if others is None:
            continue
        if len(places) == 1 == len(others):
            rows[places[0]] = others[0]
        elif strict:
            several = [mine[i] for i in places[:2]] if len(places) > 1 else [theirs[i] for i in others[:2]]
            other = theirs[others[0]] if len(places) > 1 else mine[places[0]]
            raise InputError(
                f"{source}: '{shown(other)}' fits both '{shown(several[0])}' and '{shown(several[1])}'. Write more of "
                "the path in the file, as the set writes its ids."
            )
    return rows


def _places(names: list[str], key: Key) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for index, text in enumerate(names):
        if text and (found := key(text)):
            places.setdefault(found, []).append(index)
    return places


def _best_depth(names: list[str], theirs: list[str]) -> int:
    """Return how many last parts of a path pair up the most faces, the larger on equal counts; 0 where none does."""
    deepest = max((_normal(text).count("/") for text in names), default=0) + 1
    best_depth, best_pairs = 0, -1
    for depth in range(1, min(deepest, 64) + 1):
        here, there = _places(names, _tail(depth)), _places(theirs, _tail(depth))
        shared = [key for key in here if key in there]
        if not shared:
            break
        pairs = sum(len(here[key]) == 1 == len(there[key]) for key in shared)
        if pairs >= best_pairs:
            best_depth, best_pairs = depth, pairs
    return best_depth


def _normal(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).replace("\\", "/")


def _tail(count: int) -> Key:
    return lambda text: "/".join(_normal(text).split("/")[-count:])


def _stem(text: str) -> str:
    name = _tail(1)(text)
    return name.rpartition(".")[0] or name


def _original(text: str) -> str:
    return original_name(_normal(text)) or _tail(1)(text)


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _whole(text: str) -> str:
    """Return a whole number without its leading zeros, "" for another text."""
    head, dot, rest = text.partition(".")
    return (head.lstrip("0") or "0") if _digits(head) and (not dot or rest.strip("0") == "") else ""
