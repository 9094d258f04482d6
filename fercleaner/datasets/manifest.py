"""Layout "manifest": a table with a row a face.

    image,label,split,group,box                        (CSV, TSV or Parquet; only `image` or `id` is a must)
    faces/a.png,happy,train,subject 3,10 12 98 100

    image,anger,disgust,...,unknown,NF                 a column a class: votes or probabilities

The names under which a column is found are in `options.COLUMN_NAMES`. Further columns are left alone.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..core.arrays import Floats
from ..core.errors import InputError
from ..core.expressions import canonical, is_expression
from ..core.types import ImageSource, Samples
from ..extraction.images import FileImages
from .assemble import Given, assemble, one_hot
from .folders import PICTURES
from .labels import class_names, resolve
from .options import COLUMN_NAMES, ReadOptions
from .table import Table, decimals, number, numbers, read_table
from .votes import NO_VOTES, given_from_votes

#: Names of the manifest in a folder, first found first taken.
STEMS = ("manifest", "labels", "metadata", "annotations")
SUFFIXES = (".csv", ".tsv", ".parquet")

#: Vote columns that are no class.
UNKNOWN = ("unknown",)
NOT_A_FACE = ("nf", "not a face", "no face", "not_a_face", "no_face")

_EDGES = ("left", "top", "right", "bottom")
_LOG = logging.getLogger(__name__)


def manifest_of(path: Path) -> Path | None:
    """Return the manifest in a folder (or `path` itself if it is a file), or None."""
    if path.is_file():
        return path
    files = (path / f"{stem}{suffix}" for stem in STEMS for suffix in SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def read(path: Path, options: ReadOptions) -> Samples:
    """Read a manifest; pictures are not looked for until somebody opens them.

    Ids are the column `id`, else the images as written. Relative paths start at `options.images`, else at the
    manifest's folder. Class columns (two or more, named after expressions or classes, with numbers) become
    given distributions by `options.votes`; a row with none of them filled falls back on its label.
    A row without a group is alone in one of its own.
    """
    file = manifest_of(path)
    if file is None:
        raise InputError(f"{path} holds no manifest ({', '.join(STEMS)} with {', '.join(SUFFIXES)}).")
    table = read_table(file)
    image = column_of("image", table, options)
    if image is None and column_of("id", table, options) is None:
        raise InputError(_no_image(table))
    paths: list[str] | None = None
    if image is not None:
        root = str(options.images or file.parent)
        _check_filled(table, image)
        paths = [os.path.join(root, *name.split("\\")) for name in table.columns[image]]
    return read_columns(table, options, "manifest", str(file), paths, FileImages(paths) if paths else None)


def read_columns(
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
    group = table.columns[found["group"]] if found["group"] else None
    if group is not None:
        group = [name or f"alone: {i}" for name, i in zip(group, ids, strict=True)]
    return assemble(
        layout=layout,
        source=source,
        where=table.where,
        ids=ids,
        labels=_given(table, found["label"], options, set(filter(None, found.values()))),
        options=options,
        paths=paths,
        images=images,
        split=table.columns[found["split"]] if found["split"] else None,
        boxes=_boxes(table, found["box"]),
        group=group,
        site=table.columns[found["site"]] if found["site"] else None,
    )


def column_of(role: str, table: Table, options: ReadOptions) -> str | None:
    """Return the name of the column that plays a role, or None; one that the user names must be there."""
    if role in options.columns:
        name = options.columns[role]
        if name:
            table.need(name)
        return name or None
    lower = {name.lower(): name for name in reversed(list(table.columns))}
    return next((lower[name] for name in COLUMN_NAMES[role] if name in lower), None)


def _no_image(table: Table) -> str:
    """Return the message on a table that says neither where its pictures are nor what its rows are called."""
    columns = list(table.columns)
    if any(column.lower().endswith(PICTURES) for column in columns):
        return (
            f"{table.name}: its first row ({', '.join(columns)}) is that of a face, and must name the columns. Put a "
            "line such as image,label above it."
        )
    return (
        f"{table.name} has neither an image column ({', '.join(COLUMN_NAMES['image'])}) nor an id column; its "
        f"columns are {', '.join(columns)}. Name the column with --column image=NAME (or id=NAME, where you "
        "bring vectors)."
    )


def _check_filled(table: Table, column: str) -> None:
    cells = table.columns[column]
    if "" in cells:
        raise InputError(f"{table.where(cells.index(''))}: the cell of '{column}' is empty; every row needs one.")


def _given(table: Table, label: str | None, options: ReadOptions, taken: set[str]) -> Given:
    columns = {} if options.votes.given_from == "label" else _class_columns(table, options, taken)
    texts = table.columns[label] if label is not None else [""] * len(table)
    if not columns:
        if label is None and options.votes.given_from == "label":
            raise InputError(
                f"{table.name} has no label column ({', '.join(COLUMN_NAMES['label'])}), which given_from "
                f"'label' asks for; its columns are {', '.join(table.columns)}."
            )
        if label is None and options.classes is None:
            raise InputError(
                f"{table.name} has neither a label column ({', '.join(COLUMN_NAMES['label'])}) nor columns "
                f"named after classes; its columns are {', '.join(table.columns)}. Name the column "
                "with --column label=NAME, or, if the faces have no labels, the class set with --classes."
            )
        return one_hot(resolve(texts, table.where, options))
    named = class_names(options)
    classes = named or tuple(sorted(columns))
    none = np.zeros(len(table))
    counts = {name: decimals(table.columns[column], table.where, column) for name, column in columns.items()}
    votes = np.stack([counts.get(name, none) for name in classes], axis=1).astype(np.float32)
    unknown = _extra(table, UNKNOWN) + sum((counts[name] for name in counts if name not in classes), none)
    not_a_face = _extra(table, NOT_A_FACE)
    given, labeled, notes = given_from_votes(votes, unknown, not_a_face, options.votes)
    _LOG.info("%s: given labels from the columns %s", table.name, ", ".join(columns.values()))
    if label is not None:
        blank = (votes.sum(1) + unknown + not_a_face) == 0
        limited = options if options.classes is not None else replace(options, classes=classes)
        rest = [text if empty else "" for text, empty in zip(texts, blank, strict=True)]
        single = one_hot(resolve(rest, table.where, limited, numbered=False))
        given[blank], labeled[blank] = single.given[blank], single.labeled[blank]
        notes = np.where(blank, np.where(single.labeled, "", NO_VOTES), notes)
    return Given(classes, given, labeled, notes, votes)


def _class_columns(table: Table, options: ReadOptions, taken: set[str]) -> dict[str, str]:
    """Return class -> column, for columns named after an expression or a class that hold numbers."""
    named = class_names(options) or ()
    columns: dict[str, str] = {}
    for column, cells in table.columns.items():
        if column in taken:
            continue
        name = canonical(column, options.alias)
        if not (name in named or is_expression(name)):
            continue
        filled = [cell for cell in cells if cell]
        if not any(np.isfinite(number(cell)) for cell in filled[:1000]):
            continue
        if name in columns:
            raise InputError(f"{table.name}: the columns '{columns[name]}' and '{column}' both mean '{name}'.")
        columns[name] = column
    return columns if len(columns) >= 2 else {}


def _extra(table: Table, spellings: tuple[str, ...]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    total = np.zeros(len(table))
    for column, cells in table.columns.items():
        if column.strip().lower() in spellings:
            total = total + decimals(cells, table.where, column)
    return total


def _boxes(table: Table, column: str | None) -> Floats | None:
    """Return the face boxes (N, 4), NaN where a row has none, or None without box columns."""
    lower = {name.lower(): name for name in table.columns}
    if column is not None:
        cells = table.columns[column]
    elif all(edge in lower for edge in _EDGES):
        cells = [" ".join(parts).strip() for parts in zip(*(table.columns[lower[e]] for e in _EDGES), strict=True)]
    else:
        return None
    boxes = np.full((len(cells), 4), np.nan, dtype=np.float32)
    for i, cell in enumerate(cells):
        if not cell:
            continue
        values = numbers(cell)
        if len(values) != 4 or not np.isfinite(values).all() or values[2] <= values[0] or values[3] <= values[1]:
            raise InputError(f"{table.where(i)}: box '{cell}' is not 'left top right bottom' in pixels.")
        boxes[i] = values
    return boxes
