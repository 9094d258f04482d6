"""Which published layout a path holds, and by what it is known."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..core.errors import InputError
from ..core.expressions import is_expression
from ..core.text import shown
from . import affectnet, expw, fer2013, ferplus, folders, huggingface, imagefolder, manifest, named, rafdb
from .other_files import way_to_a_table
from .table import TABLE_SUFFIXES, read_header, readable


class Recognized(NamedTuple):
    """A layout's name and why it was taken, such as ("rafdb", "found EmoLabel/list_patition_label.txt")."""

    layout: str
    why: str


def recognize(path: str | Path) -> Recognized:
    """Return the layout of a dataset; opens lists, never pictures.

    Raises
    ------
    InputError
        If the path is missing or holds no known layout; the message says what was found there.
    """
    path = Path(path)
    with readable(path):
        found = _by_lists(path) or (_file(path) if path.is_file() else _folder(path))
        if found is None:
            raise InputError(f"{path} holds no layout that is known. {_hint(path)}")
    return found


def _by_lists(path: Path) -> Recognized | None:
    if path.is_dir() and huggingface.is_saved(path):
        mark = huggingface.DICT_MARK if (path / huggingface.DICT_MARK).is_file() else huggingface.MARKS[0]
        return Recognized("huggingface", f"found {mark}")
    raf = rafdb.rafdb_list(path)
    if raf is not None:
        name, why = rafdb.kind(raf)
        return Recognized(name, f"found {_short(raf, path)}; {why}")
    exp = expw.expw_list(path)
    if exp is not None:
        return Recognized("expw", f"found {_short(exp, path)}")
    return None


def _file(path: Path) -> Recognized | None:
    if path.suffix.lower() not in TABLE_SUFFIXES:
        return None
    if path.suffix.lower() in (".parquet", ".pq"):
        return Recognized("manifest", f"{shown(path.name)} is a Parquet table")
    header = read_header(path)
    if affectnet.KEY_COLUMN in header:
        return Recognized("affectnet", f"{shown(path.name)} has the column {affectnet.KEY_COLUMN}")
    if fer2013.has_pixels(path):
        return Recognized("fer2013", f"{shown(path.name)} has the column pixels")
    if path.name == fer2013.VOTES:
        raise InputError(
            f"{path} holds FERPlus's votes without pictures. Put it beside fer2013.csv and name their folder; or, "
            "where the pictures that it names are files: --layout manifest --images DIR"
        )
    if not header:
        raise InputError(f"{path} is empty; its first row must name the columns.")
    return Recognized("manifest", f"{shown(path.name)} is a table with the columns {_first(header)}")


def _folder(path: Path) -> Recognized | None:
    names, pictures = folders.scan(path)
    lists = [file for file in affectnet.lists_of(path) if affectnet.KEY_COLUMN in read_header(file)]
    if lists:
        unread = [f for f in sorted(lists[0].parent.glob("*.csv")) if f.name not in affectnet.LISTS]
        unread = [f for f in unread if affectnet.KEY_COLUMN in read_header(f)]
        left = f"; not read: {', '.join(_short(file, path) for file in unread)}" if unread else ""
        return Recognized("affectnet", f"found {' and '.join(_short(file, path) for file in lists)}{left}")
    sets = affectnet.sets_of(path)
    if sets:
        inside = "images/ and annotations/"
        return Recognized("affectnet-npy", f"found {inside} in {', '.join(_short(f, path) for f in sets)}")
    if ferplus.folders_of(path):
        inside = ", ".join(f"{folder.name}/{ferplus.LIST}" for folder in ferplus.folders_of(path))
        return Recognized("ferplus-folders", f"found {inside}")
    pixels = fer2013.csv_of(path)
    if pixels is not None:
        if (path / fer2013.VOTES).is_file():
            return Recognized("ferplus", f"found {pixels.name} and the votes of {fer2013.VOTES}")
        beside = [f for f in sorted(path.glob("*.csv")) if f != pixels and fer2013.has_pixels(f)]
        more = f"; not read: {', '.join(_short(file, path) for file in beside)}" if beside else ""
        return Recognized("fer2013", f"found {pixels.name} with the column pixels{more}")
    table = manifest.manifest_of(path)
    filled = bool(names) and any(folders.pictures_under(path / name) for name in names)
    if table is not None and filled and sum(map(is_expression, names)) > 1 and not manifest.has_labels(table):
        return Recognized("folders", f"found a folder per class: {_first(names)}; not read: {_short(table, path)}")
    if table is not None:
        others = [f"{s}{e}" for s in manifest.STEMS for e in manifest.SUFFIXES if (path / f"{s}{e}").is_file()][1:]
        return Recognized("manifest", f"found {table.name}" + (f"; not read: {', '.join(others)}" if others else ""))
    if not any(map(folders.is_class, names)) and (lists := imagefolder.metadata_of(path)):
        return Recognized("imagefolder", f"found {' and '.join(_short(file, path) for file in lists)}")
    found = [] if any(map(folders.is_class, names)) else folders.pictures_under(path)
    if (scheme := named.scheme_of(found)) and not named.in_classes(found, scheme):
        return Recognized("named", f"its pictures are called as those of {scheme} are")
    inside_one = next((name for name in names if rafdb.rafdb_list(path / name) is not None), None)
    if inside_one is not None:
        raise InputError(f"{path} holds RAF-DB's sets in folders of their own. Name one: {path / inside_one}")
    if filled:
        return Recognized("folders", f"found a folder per class: {_first(names)}")
    if pictures:
        return Recognized("folders", f"found {len(pictures):,} pictures in no class folder")
    return None


def _short(file: Path, path: Path) -> str:
    if path.is_dir() and file != path:
        return shown(file.relative_to(path).as_posix(), 200)
    return shown(file.name, 200)


def _first(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def _hint(path: Path) -> str:
    if path.is_file():
        return way_to_a_table(path) or f"A list must end in one of {', '.join(TABLE_SUFFIXES)}."
    for depth in ("*", "*/*"):
        tables = sorted(file for file in path.glob(depth) if file.suffix.lower() in TABLE_SUFFIXES and file.is_file())
        if tables:
            return f"If {tables[0].relative_to(path)} is its list, name that file: {tables[0]}"
    entries = sorted(entry.name for entry in path.iterdir())
    return f"It holds {_first(entries)}." if entries else "The folder is empty."
