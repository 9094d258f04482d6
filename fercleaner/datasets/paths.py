"""Where the pictures of a list lie that was written elsewhere: on another machine, in another folder, for a browser."""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from ..core.text import shown
from ..extraction.stores import is_address
from .folders import pictures_under

_LOG = logging.getLogger(__name__)

#: Names looked at, from the whole list; half of them must be there.
LOOKED_AT = 20
#: Beginning of addresses of files on this machine, and what stands before the path in Label Studio's.
_LOCAL, _LABEL_STUDIO = "file://", "/data/local-files/?d="
#: Names of files that were uploaded to Label Studio: eight digits of a random number, and the name.
_UPLOAD = re.compile(r"[0-9a-f]{8}-(.+)")


def placed(names: Sequence[str], root: str, source: str) -> list[str]:
    r"""Return the path of each picture of a list; relative names start at `root`.

    A name is looked for in the other Unicode normal form, too: macOS writes é as two characters. Where none of some
    names is there as written, they are looked for as what a browser or Label Studio made of them (%20, file:///a.jpg,
    /data/local-files/?d=a.jpg), then below `root` without the folders that they begin with (C:\Users\me\faces\a.jpg,
    images/a.jpg, /a.jpg), as few of these as will do and the same number in every name; at last, uploads of Label
    Studio's (/data/upload/1/8fa2b3c4-a.jpg) by the name alone, wherever below `root` one picture has it. A note says
    what is found so; two names never become one.

    Parameters
    ----------
    names : sequence of N str
    root : str
    source : str
        The list, for messages.
    """
    written = [_joined(root, name) for name in names]
    some = range(0, len(names), max(1, len(names) // LOOKED_AT))
    away = (is_address(names[i]) and not names[i].startswith(_LOCAL) for i in some)
    if any(away) or any(os.path.isfile(written[i].removeprefix(_LOCAL)) for i in some):
        return written
    ways: list[tuple[str, Callable[[str], str]]] = [("with addresses and %-codes read as paths", _decoded)]
    deepest = max((len(_parts(names[i])) for i in some), default=1)
    for drop in range(deepest):
        said = f"in {root}" + (f" without the first {drop} parts of their paths" if drop else "")
        ways += [(said, partial(_without, drop)), (said, partial(_without, drop, of=_decoded))]
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
    found = _uploaded(names, root)
    there = [os.path.isfile(found[i]) for i in some]
    if 2 * sum(there) < len(there) or len(set(found)) < len(set(written)):
        return written
    _LOG.warning(
        "%s: no picture is where it is said to be (%s); each is taken for the only one of its name in %s, without what "
        "Label Studio puts before the names of uploads, such as %s.",
        source, shown(written[0], 200), root, shown(next(path for path in found if os.path.isfile(path)), 200),
    )  # fmt: skip
    return found


def _uploaded(names: Sequence[str], root: str) -> list[str]:
    """Return for each upload of Label Studio's the only picture of its name in `root` or below, else its own path."""
    originals = [original_name(_decoded(name)) for name in names]
    there: dict[str, list[str]] = {}
    if any(originals):
        for path in pictures_under(Path(root)):
            there.setdefault(os.path.basename(path), []).append(path)
    alone = (there.get(name, ()) if name else () for name in originals)
    return [_joined(root, one[0] if len(one) == 1 else name) for one, name in zip(alone, names, strict=True)]


def original_name(name: str) -> str:
    """Return what an upload of Label Studio's was called, or "".

    >>> original_name("/data/upload/1/8fa2b3c4-name.jpg"), original_name("faces/name.jpg")
    ('name.jpg', '')
    """
    found = _UPLOAD.fullmatch(name.replace("\\", "/").rpartition("/")[2])
    return found[1] if found else ""


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


def _decoded(name: str) -> str:
    """Return the path that a browser's file:// address, or Label Studio's of a local file, stands for."""
    return unquote(name.removeprefix(_LOCAL).rpartition(_LABEL_STUDIO)[2])


def _without(drop: int, name: str, of: Callable[[str], str] = str) -> str:
    """Return a name, or what `of` makes of it, without its first `drop` parts, as a path that begins nowhere."""
    return "/".join(_parts(of(name))[drop:]) or name


def _joined(root: str, name: str) -> str:
    """Return a name's path; a backslash parts folders, as Windows writes them, unless a file is called so.

    A name beyond ASCII is that of the file that is there, in whichever Unicode normal form.
    """
    if is_address(name):
        return name
    if "\\" in name and not os.path.isfile(os.path.join(root, name)):
        name = os.path.join(*name.split("\\"))
    whole = os.path.join(root, name)
    if name.isascii() or os.path.isfile(whole):
        return whole
    forms = (os.path.join(root, unicodedata.normalize(form, name)) for form in ("NFC", "NFD"))
    return next(filter(os.path.isfile, forms), whole)
