"""Layout "manifest": a table with a row a face.

    image,label,split,group,box                        (CSV, TSV or Parquet; only `image` or `id` is a must)
    faces/a.png,happy,train,subject 3,10 12 98 100

    image,anger,disgust,...,unknown,NF                 a column a class: votes or probabilities

The names under which a column is found are in `options.COLUMN_NAMES`. Further columns are left alone.
"""

from __future__ import annotations

import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError
from ..core.expressions import canonical, is_expression, spelling_key, whole_number
from ..core.text import counted, shown
from ..core.types import ImageSource, Samples
from ..extraction.stores import pictures_at
from .assemble import assemble
from .boxes import EDGES, boxes_of
from .folders import PICTURES, is_class, pictures_under
from .given import NOT_A_FACE, UNKNOWN, given_labels, says
from .label_column import called_alike, label_column, of_refined
from .marks import DOUBTFUL, is_missing, one_spelling
from .options import COLUMN_NAMES, PEOPLE, ReadOptions, spelled
from .parquet import is_refined_table
from .paths import placed
from .table import (
    DELIMITERS,
    PARQUET,
    UNNAMED,
    Table,
    listed,
    number,
    read_header,
    read_table,
)

#: Names of the manifest in a folder, first found first taken.
STEMS = ("manifest", "labels", "metadata", "annotations")
SUFFIXES = (".csv", ".tsv", ".parquet")

#: Columns that may hold the names of pictures without saying so: names of rows, as pandas writes them.
_ROW_NAMES = (UNNAMED.casefold(), "index level 0", "index")
#: Rows from which on a first or last row that names no picture, while all others do, is none of a face.
_JUDGED_FROM = 5
#: Faces in class folders from which on the labels are compared with these.
_COMPARED_FROM = 10
_LOG = logging.getLogger(__name__)


def manifest_of(path: Path) -> Path | None:
    """Return the manifest in a folder (or `path` itself if it is a file), or None."""
    if path.is_file():
        return path
    files = [path / f"{stem}{suffix}" for stem in STEMS for suffix in SUFFIXES]
    found = [file for file in files if file.is_file()]
    if len(found) > 1 and len(labeled := [file for file in found if _has_label(file)]) > 1:
        raise InputError(
            f"{path} holds several lists of labels ({listed([file.name for file in labeled])}), and only one can be "
            f"read. Name it: {labeled[0]}"
        )
    return found[0] if found else None


def _has_label(file: Path) -> bool:
    try:
        return bool(read_table(file, lambda name: spelled(name) in COLUMN_NAMES["label"]).columns)
    except InputError:
        return False


def has_labels(file: Path) -> bool:
    """Whether a table has a column called as labels are, or two named after expressions; True for a damaged one."""
    try:
        columns = read_header(file) if file.suffix.lower() not in PARQUET else list(read_table(file).columns)
    except InputError:
        return True
    named = sum(is_expression(canonical(name)) for name in columns)
    return named > 1 or bool(called_alike(columns))


def read(path: Path, options: ReadOptions) -> Samples:
    """Read a manifest; pictures are not looked for until somebody opens them.

    Ids are the column `id`, else the images as written. Relative paths start at `options.images`, else at the
    manifest's folder; an address (s3://, gs://, hdfs://) stands by itself. Class columns (two or more, named after
    expressions or classes, with numbers) become given distributions by `options.votes`; a row with none of them filled
    falls back on its label. Of a refined file of ours the given labels are taken.
    A row without a group is alone in one of its own.
    """
    file = manifest_of(path)
    if file is None:
        raise InputError(f"{path} holds no manifest ({', '.join(STEMS)} with {', '.join(SUFFIXES)}).")
    table = read_table(file)
    if is_refined_table(file):
        options = of_refined(table, options)
    image = column_of("image", table, options)
    if image is None and column_of("id", table, options) is None:
        raise InputError(_no_image(table))
    paths: list[str] | None = None
    if image is not None:
        root = str(options.images or file.parent)
        _check_filled(table, image)
        _check_ends(table, image)
        paths = placed(table.columns[image], root, table.name)
        if column_of("id", table, options) is None:
            _check_once(table, image, paths)
    beside = unlisted(path, file.name, paths) if path.is_dir() and paths and options.images is None else 0
    samples = samples_of_columns(table, options, "manifest", str(file), paths, pictures_at(paths) if paths else None)
    if beside:
        left = {f"pictures not in {file.name}": beside}
        samples = samples.replacing(provenance={**samples.provenance, "files_left_out": left})
    _compare_with_folders(table, paths if len(samples) == len(table) else None, samples)
    return samples


def unlisted(path: Path, listing: str, paths: list[str]) -> int:
    """Return how many pictures in a folder its list does not name; say so, and that class folders are passed over."""
    named = {os.path.normpath(name) for name in paths}
    there = pictures_under(path)
    beside = [name for name in there if os.path.normpath(path / name) not in named]
    if beside:
        parents = sorted({os.path.basename(os.path.dirname(name)) for name in there})
        classes = [name for name in parents if is_class(name)]
        way = (
            f"The folders named after classes ({listed(classes, 4)}) are passed over; --layout folders reads these, "
            f"and not {listing}."
            if len(classes) > 1
            else f"Add rows for them to {listing}."
        )
        _LOG.warning(
            "%s: %d of the %s in %s are in no row and are not read (first: %s). %s",
            listing, len(beside), counted(len(there), "picture", "pictures"), path, shown(beside[0], 200), way,
        )  # fmt: skip
    return len(beside)


def samples_of_columns(
    table: Table,
    options: ReadOptions,
    layout: str,
    source: str,
    paths: list[str] | None,
    images: ImageSource | None,
) -> Samples:
    """Return the `Samples` of a table whose pictures are already settled."""
    found = {role: column_of(role, table, options) for role in COLUMN_NAMES}
    key = found["id"] or found["image"]
    if key is None:
        raise InputError(f"{source} has neither an id nor an image column.")
    _check_filled(table, key)
    ids = table.columns[key]
    _check_repeats(table, found, key)
    used: dict[str, str | list[str]] = {role: name for role, name in found.items() if name is not None}
    given, counted = given_labels(table, found["label"], options, {name for name in found.values() if name})
    if counted:
        used["classes"] = counted
        outside = [name for name in table.columns if spelled(name) in UNKNOWN + NOT_A_FACE]
        used |= {"votes for no class": outside} if outside else {}
        if found["label"] and not any(map(says, table.columns[found["label"]])):
            del used["label"]
    edges = {spelled(name): name for name in table.columns}
    if found["box"] is None and all(edge in edges for edge in EDGES):
        used["box"] = [edges[edge] for edge in EDGES]
    group = _names(table, found["group"], "Groups")
    if group is not None:
        group = [name or f"alone: {i}" for name, i in zip(group, ids, strict=True)]
    return assemble(
        layout=layout,
        source=source,
        where=table.where,
        ids=ids,
        labels=given,
        options=options,
        paths=paths,
        images=images,
        split=_names(table, found["split"], "Splits"),
        boxes=boxes_of(table, found["box"]),
        group=group,
        site=_names(table, found["site"], "Sites"),
        provenance={"columns": used, "columns_left_out": _left_out(table, used)},
    )


def _names(table: Table, column: str | None, what: str) -> list[str] | None:
    """Return a column of names, one spelling each; "" where a cell says that there is none."""
    if column is None:
        return None
    cells = table.columns[column]
    spelling = one_spelling(Counter(cells), what)
    none = {cell for cell in set(cells) if cell and what != "Splits" and _says_none(cell)}
    if none:
        _LOG.warning(
            "%s: %s in the column '%s' is read as none (%s).",
            table.name,
            listed(sorted(f"'{cell}'" for cell in none), 4),
            shown(column),
            counted(sum(cell in none for cell in cells), "row", "rows"),
        )
    return ["" if cell in none or is_missing(cell) else spelling[cell] for cell in cells]


def _says_none(cell: str) -> bool:
    return is_missing(cell) or spelling_key(cell) in DOUBTFUL or whole_number(cell) == -1


def _left_out(table: Table, used: Mapping[str, Any]) -> list[str]:
    """Return the columns that play no role."""
    taken = {name for value in used.values() for name in (value if isinstance(value, list) else [value])}
    return [name for name in (*table.columns, *table.left_out) if name not in taken]


def column_of(role: str, table: Table, options: ReadOptions) -> str | None:
    """Return the name of the column that plays a role, or None; one that the user names must be there."""
    if role in options.columns:
        name = options.columns[role]
        if name:
            table.need(name)
        return name or None
    lower = {spelled(name): name for name in reversed(list(table.columns))}
    found = [lower[name] for name in COLUMN_NAMES[role] if name in lower]
    if role == "image":
        return _image_column(table, found, lower)
    if role == "label":
        return label_column(table, found)
    return found[0] if found else None


def _image_column(table: Table, found: list[str], lower: Mapping[str, str]) -> str | None:
    """Return the column of pictures: the first named so, but rather one of these that holds names of pictures.

    Without one, names of rows may be pictures: the index of a frame.
    """
    named = [column for column in found if _pictures(table.columns[column])]
    rows = [lower[name] for name in _ROW_NAMES if name in lower and not found]
    named += [column for column in rows if _pictures(table.columns[column])]
    return next(iter(named or found), None)


def _pictures(cells: list[str]) -> bool:
    return all(cell.lower().endswith(PICTURES) for cell in cells)


def _check_ends(table: Table, image: str) -> None:
    """Raise InputError where the first or last row names no picture and all others do: a total, a second header."""
    cells = [cell.lower().endswith(PICTURES) for cell in table.columns[image]]
    if len(cells) < _JUDGED_FROM or sum(cells) < len(cells) - 2 or all(cells[i] for i in (0, -1)):
        return
    if all(cells[1:-1]):
        row = 0 if not cells[0] else len(cells) - 1
        raise InputError(
            f"{table.where(row)}: '{shown(table.columns[image][row])}' is no picture's name, while those of the other "
            f"rows are, such as '{shown(table.columns[image][1])}'. Is it a second header, or a total? Remove the row."
        )


def _no_image(table: Table) -> str:
    """Return the message on a table that says neither where its pictures are nor what its rows are called."""
    columns = list(table.columns)
    pictures = [name for name in table.left_out if spelled(name) in COLUMN_NAMES["image"]]
    if pictures:
        raise InputError(
            f"{table.name}: column '{pictures[0]}' holds pictures, not text. A Parquet manifest names files; for "
            "pictures inside, use a Hugging Face dataset saved with save_to_disk: datasets.Dataset.from_parquet(FILE)"
            ".save_to_disk(FOLDER)."
        )
    words = columns[0].split()
    if len(columns) == 1 and any(mark in columns[0] for mark in DELIMITERS):
        return (
            f"{table.name}: its first row '{shown(columns[0])}' stands in quotes as a whole, so that it is one column. "
            "Take these quotes away."
        )
    if len(columns) == 1 and len(words) > 1:
        return (
            f"{table.name}: its first row is '{shown(columns[0])}'. Blanks do not separate columns: write commas (or "
            "tabs) between them, and a first row that names them, such as image,label. If it is a title or a comment, "
            "remove it."
        )
    if any(c.lower().endswith(PICTURES) or np.isfinite(number(c)) for c in columns):
        return (
            f"{table.name}: its first row ({listed(columns)}) is that of a face, and must name the columns. Put a "
            "line such as image,label above it."
        )
    return (
        f"{table.name} has neither an image column ({', '.join(COLUMN_NAMES['image'])}) nor an id column; its "
        f"columns are {listed(columns)}. Name the column with --column image=NAME (or id=NAME, where you "
        "bring vectors)."
    )


def _check_once(table: Table, image: str, paths: list[str]) -> None:
    """Raise InputError where one picture is written in two ways, such as a.png and ./a.png, and rows have no ids."""
    first: dict[str, int] = {}
    for i, path in enumerate(unicodedata.normalize("NFC", os.path.normpath(path)) for path in paths):
        before = first.setdefault(path, i)
        cells = table.columns[image]
        if before != i and cells[before] != cells[i]:
            raise InputError(
                f"{table.where(i)}: '{shown(cells[i])}' is the picture '{shown(cells[before])}' of "
                f"{table.where(before)}. Remove one of the rows, or, where a picture holds several faces, add a column "
                "id."
            )


def _check_repeats(table: Table, found: Mapping[str, str | None], key: str) -> None:
    """Raise InputError where rows are votes or ids name people; say where rows with ids share a picture, whole."""
    image, cells = found["image"], table.columns[key]
    pictures = table.columns[image] if image else cells
    again, twice = len(cells) - len(set(cells)), len(pictures) - len(set(pictures))
    people = next((name for name in table.columns if spelled(name) in PEOPLE), None)
    boxed = found["box"] or set(EDGES) <= set(map(spelled, table.columns))  # several faces of a picture
    if people is not None and twice and not boxed and len(set(table.columns[people])) > 1:
        first: dict[str, int] = {}
        row = next(i for i, cell in enumerate(pictures) if first.setdefault(cell, i) != i)
        before = table.where(first[pictures[row]])
        raise InputError(
            f"{table.where(row)}: picture '{shown(pictures[row])}' stands in {before}, "
            f"too; {counted(twice, 'row repeats', 'rows repeat')} a picture, and one row a face is needed. Where each "
            f"row is one annotator's label, as '{shown(people)}' says, count them: a column a class "
            "(image,anger,happiness,...). Or give the table beside a set that names each face once: "
            "refine SET --annotators FILE"
        )
    if again and not twice:
        raise InputError(
            f"{table.name}: {counted(again, 'row repeats', 'rows repeat')} an id ('{shown(key)}'), while "
            f"'{shown(image)}' names each row once. --column id= takes that; where '{shown(key)}' names the person "
            f"shown, --column group={shown(key)} beside."
        )
    if twice and not again and not boxed:
        _LOG.warning(
            "%s: %s a picture that another row shows, and there are no boxes: such faces look the same.",
            table.name,
            counted(twice, "row shows", "rows show"),
        )


def _compare_with_folders(table: Table, paths: list[str] | None, samples: Samples) -> None:
    """Say where labels differ from the class folders that the pictures lie in."""
    if paths is None or not samples.labeled.any():
        return
    folders = [os.path.basename(os.path.dirname(path)) for path in paths]
    place = {name: c for c, name in enumerate(samples.classes)}
    of_folder = {name: place.get(canonical(name), -1) for name in set(folders) if is_expression(name)}
    column = np.array([of_folder.get(name, -1) for name in folders])
    rows = np.flatnonzero((column >= 0) & samples.labeled)
    other = rows[samples.given[rows, column[rows]] < samples.given[rows].max(1)]
    if len(rows) < _COMPARED_FROM or not len(other):
        return
    row = int(other[0])
    _LOG.warning(
        "%s: %d of %d labels differ from the class folder that the picture lies in (first: %s, '%s' in the folder "
        "'%s'). The labels of the table are taken.",
        table.name,
        len(other),
        len(rows),
        table.where(row),
        samples.classes[int(samples.given[row].argmax())],
        shown(folders[row], 40),
    )


def _check_filled(table: Table, column: str) -> None:
    cells = table.columns[column]
    if "" in cells:
        raise InputError(
            f"{table.where(cells.index(''))}: the cell of '{column}' is empty; every row needs one. Fill it, or remove "
            f"such rows ({cells.count('')} in all)."
        )
    odd = next((i for i, cell in enumerate(cells) if cell.endswith('"') and '\\"' in cell), None)
    if odd is not None:
        raise InputError(
            f"{table.where(odd)}: '{shown(cells[odd])}' in '{column}': quotes inside a quoted cell are doubled, not "
            "marked by a backslash. Write the table again as pandas' to_csv does."
        )
