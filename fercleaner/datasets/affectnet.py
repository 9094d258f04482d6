"""Layouts "affectnet" and "affectnet-npy": AffectNet as first and as later released.

    training.csv, validation.csv:
    subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal

    train_set/images/123.jpg, train_set/annotations/123_exp.npy, 123_lnd.npy         (and val_set/)

Source: Mollahosseini, Hasani, Mahoor, IEEE Trans. Affective Computing 2019, and the readmes that come with
the data. Codes count from 0; 8 none, 9 uncertain and 10 no face are left unlabeled.
"""

from __future__ import annotations

import math
import os
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import Floats
from ..core.errors import InputError
from ..core.expressions import CLASS_SETS
from ..core.types import Samples
from ..extraction.images import FileImages
from .assemble import assemble, one_hot
from .folders import PICTURES, check_file_names, scan
from .labels import resolve
from .npy import load_npy, numpy_errors
from .options import ReadOptions, split_name
from .table import Table, number, read_header, read_table, unreadable

#: The lists of the first release and their splits.
LISTS = {"training.csv": "train", "validation.csv": "val"}
LIST_FOLDERS = ("", "Manually_Annotated_file_lists", "Manually_Annotated")
IMAGE_FOLDERS = ("Manually_Annotated/Manually_Annotated_Images", "Manually_Annotated_Images", "images", "")
KEY_COLUMN = "subDirectory_filePath"

#: The first row of its lists.
HEADER = f"{KEY_COLUMN},face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"

_CODES = CLASS_SETS["affectnet8"]


def lists_of(path: Path) -> list[Path]:
    """Return the list files of AffectNet's first release under `path` (or `path` itself, one list)."""
    if path.is_file():
        return [path]
    for folder in LIST_FOLDERS:
        found = [path / folder / name for name in LISTS if (path / folder / name).is_file()]
        if found:
            return found
    return []


def sets_of(path: Path) -> list[Path]:
    """Return the folders of the later release under `path` that hold annotations/, `path` itself included."""
    if (path / "annotations").is_dir() and (path / "images").is_dir():
        return [path]
    folders = sorted(path.iterdir()) if path.is_dir() else []
    return [f for f in folders if split_name(f.name) and (f / "annotations").is_dir() and (f / "images").is_dir()]


def read(path: Path, options: ReadOptions) -> Samples:
    """Read the first release: ids are `subDirectory_filePath`, boxes and 68 landmarks those of the list."""
    lists = lists_of(path)
    if not lists:
        raise InputError(f"{path} has neither {' nor '.join(LISTS)}, which AffectNet keeps its labels in.")
    root = lists[0].parent
    if root.name in LIST_FOLDERS[1:]:
        root = root.parent
    folder = options.images or next(root / place for place in IMAGE_FOLDERS if (root / place).is_dir())
    tables = [_table(file) for file in lists]
    ends = np.cumsum([len(table) for table in tables])

    def where(i: int) -> str:
        t = int(np.searchsorted(ends, i, side="right"))
        return tables[t].where(i - (int(ends[t - 1]) if t else 0))

    def column(name: str) -> list[str]:
        return [cell for table in tables for cell in table.need(name)]

    ids = column(KEY_COLUMN)
    paths = [os.path.join(folder, name) for name in ids]
    split = [LISTS.get(file.name, "") for file, table in zip(lists, tables, strict=True) for _ in range(len(table))]
    return assemble(
        layout="affectnet",
        source=str(path),
        where=where,
        ids=ids,
        labels=one_hot(resolve(column("expression"), where, options, _own(options))),
        options=options,
        paths=paths,
        images=FileImages(paths),
        split=split if any(split) else None,
        boxes=_boxes(tables),
        points=_points(column("facial_landmarks"), where) if _has(tables, "facial_landmarks") else None,
    )


def read_npy(path: Path, options: ReadOptions) -> Samples:
    """Read the later release: ids are paths from `path`, with the 68 landmarks of `*_lnd.npy`.

    A picture without `*_exp.npy` is unlabeled; an annotation without its picture is kept.
    """
    sets = sets_of(path)
    if not sets:
        raise InputError(f"{path} has no images/ and annotations/ folders (nor train_set/, val_set/ with them).")
    ids: list[str] = []
    paths: list[str] = []
    codes: list[str] = []
    split: list[str] = []
    points: list[Floats | None] = []
    for folder in sets:
        pictures = {file.rpartition(".")[0]: file for file in scan(folder / "images")[1]}
        notes = _names(folder / "annotations")
        labeled = {name.removesuffix("_exp.npy") for name in notes if name.endswith("_exp.npy")}
        start = "" if folder == path else f"{folder.name}/"
        for stem in sorted(pictures.keys() | labeled, key=lambda s: (len(s), s) if s.isdigit() else (99, s)):
            file = pictures.get(stem, f"{stem}.jpg")
            ids.append(f"{start}images/{file}")
            paths.append(os.path.join(options.images / start if options.images else folder / "images", file))
            split.append(split_name(folder.name) or "")
            annotation = folder / "annotations" / stem
            codes.append(_code(Path(f"{annotation}_exp.npy")) if stem in labeled else "")
            points.append(_landmarks(Path(f"{annotation}_lnd.npy")) if f"{stem}_lnd.npy" in notes else None)
    check_file_names(path, ids)

    def where(i: int) -> str:
        return f"{path}: {ids[i]}"

    return assemble(
        layout="affectnet-npy",
        source=str(path),
        where=where,
        ids=ids,
        labels=one_hot(resolve(codes, where, options, _own(options))),
        options=options,
        paths=paths,
        images=FileImages(paths),
        split=split if any(split) else None,
        points=_stack(points),
    )


def _table(file: Path) -> Table:
    """Read a list; InputError where it has no row of names."""
    first = next(iter(read_header(file)), "").split(",")[0]
    if first.lower().endswith(PICTURES):
        raise InputError(
            f"{file}: its first row is that of a face, and must name the columns. Put AffectNet's names above it: "
            f"{HEADER}"
        )
    return read_table(file)


def _own(options: ReadOptions) -> Any:
    """Return the codes to read by: with --classes affectnet7, contempt is one of those left unlabeled."""
    return CLASS_SETS["affectnet7"] if options.class_set is CLASS_SETS["affectnet7"] else _CODES


def _has(tables: list[Table], *columns: str) -> bool:
    return all(column in table.columns for table in tables for column in columns)


def _boxes(tables: list[Table]) -> Floats | None:
    names = ("face_x", "face_y", "face_width", "face_height")
    if not _has(tables, *names):
        return None
    x, y, w, h = (np.array([number(c) for table in tables for c in table.columns[name]]) for name in names)
    boxes = np.stack([x, y, x + w, y + h], axis=1).astype(np.float32)
    boxes[~np.isfinite(boxes).all(1) | (w <= 0) | (h <= 0)] = np.nan
    return boxes


def _points(cells: list[str], where: Any) -> Floats | None:
    points = np.full((len(cells), 68, 2), np.nan, dtype=np.float32)
    for i, cell in enumerate(cells):
        if math.isnan(number(cell.split(";", 1)[0])):
            continue  # "NULL" or empty: no face was found
        try:
            values = np.fromstring(cell.rstrip(";"), dtype=np.float32, sep=";")
        except ValueError:
            values = np.empty(0, dtype=np.float32)
        if values.size != 136:
            raise InputError(f"{where(i)}: facial_landmarks holds {values.size} numbers, expected 136 (x;y of 68).")
        points[i] = values.reshape(68, 2)
    return points


def _stack(points: list[Floats | None]) -> Floats | None:
    if all(p is None for p in points):
        return None
    stacked = np.full((len(points), 68, 2), np.nan, dtype=np.float32)
    for i, p in enumerate(points):
        if p is not None:
            stacked[i] = p
    return stacked


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError as error:
        raise unreadable(folder, error) from error


def _code(file: Path) -> str:
    value = _load(file)
    if value.size != 1:
        raise InputError(f"{file}: expected one expression code, found an array of shape {value.shape}.")
    with numpy_errors(file):
        return str(value.reshape(-1)[0]).strip()


def _landmarks(file: Path) -> Floats:
    value = _load(file)
    if value.size != 136 or value.dtype.kind not in "fiu":
        raise InputError(f"{file}: expected 136 numbers (x, y of 68 landmarks), found {value.dtype} {value.shape}.")
    return value.astype(np.float32).reshape(68, 2)


@lru_cache(maxsize=64)
def _header(head: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Parse an .npy header once: AffectNet's half million little files share a few."""
    file = BytesIO(head)
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(file)
    return shape, dtype


def _load(file: Path) -> np.ndarray[Any, Any]:
    with numpy_errors(file):
        data = file.read_bytes()
        if data[:7] != b"\x93NUMPY\x01":
            return load_npy(file)
        size = 10 + int.from_bytes(data[8:10], "little")
        shape, dtype = _header(data[:size])
        if dtype.hasobject:
            raise ValueError("it holds pickled objects")
        return np.frombuffer(data, dtype=dtype, offset=size).reshape(shape)
