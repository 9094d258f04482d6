"""Where the pictures of a list lie that was written elsewhere: on another machine, in another folder, for a browser."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from urllib.parse import unquote

from ..core.text import shown
from ..extraction.stores import is_address

_LOG = logging.getLogger(__name__)

#: Names looked at, from the whole list; half of them must be there.
LOOKED_AT = 20


def placed(names: Sequence[str], root: str, source: str) -> list[str]:
    r"""Return the path of each picture of a list; relative names start at `root`.

    Where none of some names is there as written, they are looked for without what a browser put into them (%20), then
    below `root` without the folders that they begin with (C:\Users\me\faces\a.jpg, images/a.jpg), as few of these as
    will do and the same number in every name. A note says what is found so; two names never become one.

    Parameters
    ----------
    names : sequence of N str
    root : str
    source : str
        The list, for messages.
    """
    written = [_joined(root, name) for name in names]
    some = range(0, len(names), max(1, len(names) // LOOKED_AT))
    if any(is_address(names[i]) or os.path.isfile(written[i]) for i in some):
        return written
    ways: list[tuple[str, Callable[[str], str]]] = [("with %-codes read as characters", unquote)]
    deepest = max((len(_parts(names[i])) for i in some), default=1)
    ways += [(f"in {root} without the first {drop} parts of their paths", _without(drop)) for drop in range(1, deepest)]
    for said, way in ways:
        there = [os.path.isfile(_joined(root, way(names[i]))) for i in some]
        if 2 * sum(there) >= len(there) > 0:
            found = [_joined(root, way(name)) for name in names]
            if len(set(found)) == len(set(written)):
                _LOG.warning(
                    "%s: no picture is where it is said to be (%s); they are taken %s, such as %s.",
                    source,
                    shown(written[0], 200),
                    said,
                    shown(found[0], 200),
                )
                return found
    return written


def placed_again(names: Sequence[str], roots: Sequence[str | os.PathLike[str]], source: str) -> list[str]:
    """Return the pictures that a refined file names: as written from here, else in the first of `roots` that has them.

    In each they are looked for as `placed` does; where no folder has them, names stay as they are.
    """
    some = range(0, len(names), max(1, len(names) // LOOKED_AT))
    if not any(is_address(names[i]) or os.path.isfile(names[i]) for i in some):
        for root in roots:
            found = placed(names, os.fspath(root), source)
            if any(os.path.isfile(found[i]) for i in some):
                return found
    return list(names)


def _parts(name: str) -> list[str]:
    return [part for part in name.replace("\\", "/").split("/") if part]


def _without(drop: int) -> Callable[[str], str]:
    return lambda name: "/".join(_parts(name)[drop:]) or name


def _joined(root: str, name: str) -> str:
    """Return a name's path; a backslash parts folders, as Windows writes them, unless a file is called so."""
    whole = name if is_address(name) else os.path.join(root, name)
    return whole if "\\" not in name or os.path.isfile(whole) else os.path.join(root, *name.split("\\"))
