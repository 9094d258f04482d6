"""Layout "imagefolder": pictures beside the metadata of Hugging Face's ImageFolder, in one folder or in one a split.

    train/metadata.csv      file_name,label            (or metadata.jsonl, metadata.parquet)
    train/a.png

Source: the documentation of the package datasets, "Create an image dataset".
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..core.errors import InputError
from ..core.text import read_json, shown
from ..core.types import Samples
from ..extraction.stores import pictures_at
from .folders import scan
from .manifest import column_of, samples_of_columns, unlisted
from .options import ReadOptions, split_name
from .parquet import as_text
from .paths import placed
from .table import Table, listed, read_table

#: Names of the metadata in a folder.
LISTS = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
#: The column that names the pictures, from the metadata's folder on.
KEY = "file_name"

_LOG = logging.getLogger(__name__)


def metadata_of(path: Path) -> list[Path]:
    """Return the metadata in a folder, else that in its folders, one each; none where there is none."""
    if own := _list_in(path):
        return [own]
    inside = [_list_in(path / name) for name in (scan(path)[0] if path.is_dir() else [])]
    return [file for file in inside if file is not None]


def _list_in(folder: Path) -> Path | None:
    found = [folder / name for name in LISTS if (folder / name).is_file()]
    if len(found) > 1:
        raise InputError(
            f"{folder} holds {listed([file.name for file in found])}, and only one can be its list. Remove the others."
        )
    return found[0] if found else None


def read(path: Path, options: ReadOptions) -> Samples:
    """Read the pictures that the metadata names; ids are their paths from `path`, splits the names of the folders."""
    lists = metadata_of(path)
    if not lists:
        raise InputError(f"{path} holds no {listed(LISTS)}, nor does a folder in it.")
    tables = {file: _json_lines(file) if file.suffix == ".jsonl" else read_table(file) for file in lists}
    read_from = {file.parent for file in lists}
    if left := [name for name in scan(path)[0] if split_name(name) and not read_from & {path, path / name}]:
        _LOG.warning("%s: no metadata in %s, whose pictures are left out.", path, listed(left))
    columns: dict[str, list[str]] = {name: [] for table in tables.values() for name in (KEY, *table.columns)}
    rows: list[tuple[Path, int]] = []
    for file, table in tables.items():
        within = file.parent.relative_to(path).as_posix()
        for name, cells in columns.items():
            values = table.need(KEY) if name == KEY else table.columns.get(name, [""] * len(table))
            cells += [_below(within, value) if name == KEY else value for value in values]
        rows += [(file, i) for i in range(len(table))]
    table = Table(str(path), columns, places=lambda i: tables[rows[i][0]].where(rows[i][1]))
    if column_of("split", table, options) is None and lists[0].parent != path:
        columns["split"] = [file.parent.name for file, _ in rows]
    if column_of("image", table, options) != KEY:
        options = replace(options, columns={**options.columns, "image": KEY})
    paths = placed(columns[KEY], str(options.images or path), str(path))
    beside = 0 if options.images else unlisted(path, "the metadata", paths)
    samples = samples_of_columns(table, options, "imagefolder", str(path), paths, pictures_at(paths))
    if beside:
        left_out = {"pictures not in the metadata": beside}
        samples = samples.replacing(provenance={**samples.provenance, "files_left_out": left_out})
    return samples


def _below(within: str, name: str) -> str:
    return name if within == "." or not name else f"{within}/{name}"


def _json_lines(file: Path) -> Table:
    """Return JSON objects, one a line, as a table; a key that a line has not is an empty cell."""
    entries: list[tuple[int, Mapping[str, object]]] = []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = read_json(line)
        except ValueError as error:
            raise InputError(f"{file} line {number} is no JSON: {error}") from None
        if not isinstance(entry, dict):
            raise InputError(f"{file} line {number} is {shown(str(entry))}; expected an object, {{...}}.")
        entries.append((number, entry))
    if not entries:
        raise InputError(f"{file} is empty.")
    names = list(dict.fromkeys(key for _, entry in entries for key in entry))
    columns = {name: [as_text(entry.get(name)) for _, entry in entries] for name in names}
    return Table(str(file), columns, places=lambda i: f"{file} line {entries[i][0]}")
