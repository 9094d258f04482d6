"""Layout "fer2013": the csv of the 2013 contest; with FERPlus's votes beside it, "ferplus".

    fer2013.csv       emotion,pixels,Usage      0,"70 80 82 ...",Training
    fer2013new.csv    Usage,Image name,neutral,happiness,...,contempt,unknown,NF

Source: Goodfellow et al., ICONIP 2013 (labels, codes from 0); Barsoum et al., ICMI 2016 (votes). Row k of the
votes belongs to row k of the pixels: the number in "Image name" is not a row number.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core.arrays import Bytes, Doubles
from ..core.errors import InputError
from ..core.expressions import CLASS_SETS, FERPLUS_VOTES
from ..core.types import Samples
from ..extraction.images import ArrayImages
from .assemble import Given, assemble, one_hot
from .label_column import called_alike, check_names
from .labels import class_names, resolve
from .options import COLUMN_NAMES, FACE_COLUMNS, INDEX_COLUMNS, ReadOptions, spelled, split_name
from .table import Table, check_header, check_width, decimals, listed, read_header, read_rows, read_table
from .votes import given_from_votes

#: Names of the pixel csv, as the contest and its copies have it.
FILES = ("fer2013.csv", "icml_face_data.csv", "train.csv")
VOTES = "fer2013new.csv"

_BLOCK = 4096


def csv_of(path: Path) -> Path | None:
    """Return the csv with pixels (`path` itself or one in that folder), or None if this is no FER2013."""
    for file in (path, *(path / name for name in FILES)):
        if file.is_file() and file.suffix.lower() == ".csv" and has_pixels(file):
            return file
    return None


def has_pixels(file: Path) -> bool:
    """Whether a csv has FER2013's column of pixels."""
    return "pixels" in map(spelled, read_header(file))


def read(path: Path, options: ReadOptions) -> Samples:
    """Read the contest's csv: ids are row numbers from 0 (00000, 00001, ...), splits follow `Usage`.

    Cost: 35,887 faces (0.3 GiB of text) in about 5 s, 0.2 GiB at the peak.
    """
    file = _need_csv(path)
    held = _read_pixels(file)
    labels = resolve(held.codes, held.where, options, CLASS_SETS["fer2013"])
    for name, cells in held.alike.items():
        check_names(name, cells, held.codes, labels, held.where, options)
    return _samples("fer2013", held, one_hot(labels), options)


def read_with_votes(path: Path, options: ReadOptions) -> Samples:
    """Read FER2013's pixels with FERPlus's votes, which must lie beside them in fer2013new.csv.

    With `VoteRules.given_from` "label" the given labels are those of FER2013.
    """
    file = _need_csv(path)
    votes_file = file.parent / VOTES
    if not votes_file.is_file():
        raise InputError(f"{votes_file}: no such file. FERPlus's votes stand in {VOTES} beside {file.name}.")
    if options.votes.given_from == "label":
        return read(path, options)
    table = read_table(votes_file)
    labels = votes_given(table, options)
    held = _read_pixels(file)
    if len(table) != len(held.rows):
        raise InputError(
            f"{VOTES} has {len(table):,} rows and {file.name} {len(held.rows):,}; row k of one belongs to row k "
            "of the other, so they must be as many. Use both files whole, as published."
        )
    for i, (a, b) in enumerate(zip(table.columns.get("Usage", held.usage), held.usage, strict=True)):
        if a != b:
            raise InputError(
                f"{table.where(i)}: Usage is '{a}', but '{b}' in {held.where(i)}; row k of one "
                "belongs to row k of the other. Use both files whole and in their own order, as published."
            )
    return _samples("ferplus", held, labels, options)


def votes_given(table: Table, options: ReadOptions) -> Given:
    """Return the given distributions of a table with FERPlus's ten vote columns."""
    counts = {name: decimals(table.need(name), table.where, name) for name in FERPLUS_VOTES}
    classes = class_names(options, CLASS_SETS["ferplus"]) or ()
    unknown: Doubles = counts["unknown"] + sum(
        (counts[name] for name in CLASS_SETS["ferplus"].classes if name not in classes), np.zeros(len(table))
    )
    votes = np.stack([counts.get(name, np.zeros(len(table))) for name in classes], axis=1).astype(np.float32)
    given, labeled, notes = given_from_votes(votes, unknown, counts["NF"], options.votes)
    return Given(classes, given, labeled, notes, votes)


def _need_csv(path: Path) -> Path:
    file = csv_of(path)
    if file is None:
        raise InputError(f"{path} has no csv with the column 'pixels' ({', '.join(FILES)}).")
    return file


class _Held(NamedTuple):
    """What the csv holds, a row a face.

    Parameters
    ----------
    file : path
    codes, usage : list of N str
        "" where the csv has no such column.
    pixels : (N, S, S) uint8
    rows : list of N int
        Row numbers in the file.
    alike : mapping of column -> list of N str
        Further columns that are called as labels are.
    used, left_out : names of columns
    """

    file: Path
    codes: list[str]
    usage: list[str]
    pixels: Bytes
    rows: list[int]
    alike: dict[str, list[str]]
    used: dict[str, str]
    left_out: list[str]

    def where(self, i: int) -> str:
        """Return where row i stands."""
        return f"{self.file.name} row {self.rows[i]}"


def _samples(layout: str, held: _Held, labels: Given, options: ReadOptions) -> Samples:
    used = {role: name for role, name in held.used.items() if layout == "fer2013" or role != "label"}
    return assemble(
        layout=layout,
        source=str(held.file),
        where=held.where,
        ids=[f"{i:05d}" for i in range(len(held.rows))],
        labels=labels,
        options=options,
        images=ArrayImages(held.pixels, [held.where(i) for i in range(len(held.rows))]),
        split=[split_name(name) or name for name in held.usage] if any(held.usage) else None,
        provenance={"columns": used, "columns_left_out": held.left_out} if held.left_out else None,
    )


def _read_pixels(file: Path) -> _Held:
    """Return what the csv holds, read a row of text at a time."""
    stream = read_rows(file)
    header = [cell.strip() for cell in next(stream)[1]]
    check_header(file.name, header)
    names = [spelled(name) for name in header]
    at = {name: names.index(spelled(name)) for name in ("pixels", "emotion", "Usage") if spelled(name) in names}
    if "emotion" not in at:
        label = next((names.index(name) for name in COLUMN_NAMES["label"] if name in names), None)
        if label is None and not {*names} <= {*map(spelled, at), *FACE_COLUMNS, *INDEX_COLUMNS, ""}:
            raise InputError(
                f"{file.name} has no column 'emotion' (nor {', '.join(COLUMN_NAMES['label'])}); its columns are "
                f"{listed(header)}. Call the column of labels so; a set without labels has pixels (and Usage or id) "
                "alone."
            )
        at |= {} if label is None else {"emotion": label}
    used = {role: header[at[key]] for role, key in (("label", "emotion"), ("split", "Usage")) if key in at}
    left_out = [name for i, name in enumerate(header) if i not in at.values() and spelled(name) not in INDEX_COLUMNS]
    alike: dict[str, list[str]] = {name: [] for name in called_alike(left_out)}
    codes: list[str] = []
    usage: list[str] = []
    rows: list[int] = []
    blocks: list[Bytes] = []
    block = np.empty((0, 0), dtype=np.uint8)
    for row, cells in stream:
        check_width(file.name, row, cells, header)
        values = _pixels(cells[at["pixels"]], f"{file.name} row {row}")
        if not rows:
            side = math.isqrt(values.size)
            if side * side != values.size:
                raise InputError(f"{file.name} row {row}: {values.size} pixels are no square picture (2304 = 48 x 48).")
        elif values.size != block.shape[1]:
            raise InputError(f"{file.name} row {row}: {values.size} pixels, the rows above have {block.shape[1]}.")
        k = len(rows) % _BLOCK
        if k == 0:
            block = np.empty((_BLOCK, values.size), dtype=np.uint8)
            blocks.append(block)
        block[k] = values
        rows.append(row)
        codes.append(cells[at["emotion"]].strip() if "emotion" in at else "")
        usage.append(cells[at["Usage"]].strip() if "Usage" in at else "")
        for name, held in alike.items():
            held.append(cells[header.index(name)].strip())
    if not rows:
        raise InputError(f"{file} has a header but no rows.")
    blocks[-1] = block[: len(rows) - _BLOCK * (len(blocks) - 1)]
    pixels = np.concatenate(blocks).reshape(len(rows), side, side)
    return _Held(file, codes, usage, pixels, rows, alike, used, [name for name in left_out if name])


def _pixels(text: str, where: str) -> Bytes:
    try:
        values = np.fromstring(text, dtype=np.int32, sep=" ")
    except ValueError:
        values = np.full(1, -1, dtype=np.int32)
    if not values.size or values.min() < 0 or values.max() > 255:
        raise InputError(f"{where}: pixels must be integers from 0 to 255 with spaces between.")
    return values.astype(np.uint8)
