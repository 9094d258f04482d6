"""Layout "huggingface": a Hugging Face dataset or dataset dict saved with `save_to_disk`.

Needs the package datasets (extra "huggingface"). Pictures stay on disk until they are read.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import InputError, MissingDependency
from ..core.text import counted
from ..core.types import Samples
from .manifest import column_of, samples_of_columns
from .options import ReadOptions
from .parquet import as_text, named
from .table import Table, listed

#: Files by which a saved dataset is known, and a saved dict of them.
MARKS = ("state.json", "dataset_info.json")
DICT_MARK = "dataset_dict.json"

_LOG = logging.getLogger(__name__)


class HuggingFaceImages:
    """Pictures in an image column of saved datasets; opened in each process when first read.

    Parameters
    ----------
    folders : sequence of str
        The saved datasets, one after the other.
    counts : sequence of int
        Rows of each.
    column : str
        The image column: encoded bytes, a path, or both.
    root : str
        Where relative paths start.
    """

    def __init__(self, folders: Sequence[str], counts: Sequence[int], column: str, root: str) -> None:
        self._folders, self._counts = tuple(folders), tuple(counts)
        self._column, self._root = column, root
        self._open: dict[int, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def __len__(self) -> int:
        return sum(self._counts)

    def _locate(self, row: int) -> tuple[int, int]:
        for part, count in enumerate(self._counts):
            if row < count:
                return part, row
            row -= count
        raise IndexError("row is beyond the dataset")

    def read(self, row: int) -> bytes:
        """Return the encoded picture; raise OSError when it cannot be read."""
        part, k = self._locate(row)
        if part not in self._open:
            self._open[part] = _undecoded(_load(Path(self._folders[part])), self._column)
        cell = self._open[part][k][self._column]
        if isinstance(cell, bytes):
            return cell
        if isinstance(cell, Mapping):
            if cell.get("bytes") is not None:
                return bytes(cell["bytes"])
            cell = cell.get("path")
        if not cell:
            raise OSError("no picture in this row")
        return (Path(self._root) / str(cell)).read_bytes()

    def name(self, row: int) -> str:
        """Return the folder and the row in it."""
        part, k = self._locate(row)
        return f"{self._folders[part]} row {k}"


def is_saved(path: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return (path / DICT_MARK).is_file() or all((path / mark).is_file() for mark in MARKS)


def read(path: Path, options: ReadOptions) -> Samples:
    """Read a saved dataset: class labels by their names, strings, integers, or vote columns as in a manifest.

    Ids are the column `id`, else the row number from 0 with the split before it (train/00012). Messages count
    rows from 0 too, as the package does.
    """
    if not is_saved(path):
        raise InputError(f"{path} holds no dataset saved with save_to_disk ({' and '.join(MARKS)}).")
    parts = _parts(path)
    first = next(iter(parts.values()), None)
    if first is None or not sum(len(part) for part in parts.values()):
        raise InputError(f"{path} holds no rows.")
    for name, part in parts.items():
        if set(part.column_names) != set(first.column_names):
            odd = sorted(set(part.column_names) ^ set(first.column_names))
            raise InputError(
                f"{path}: split '{name}' has other columns than the first ({listed(first.column_names)}); the "
                f"difference is {listed(odd)}. Give all splits the same columns."
            )
    image = _image_column(first, options)
    columns: dict[str, list[str]] = {name: [] for name in first.column_names if name != image}
    width = len(str(max(len(part) for part in parts.values()) - 1))
    ids, splits, places = [], [], []
    for split, part in parts.items():
        plain = part.select_columns(list(columns)).with_format(None)
        for name in columns:
            columns[name] += _cells(plain, name, path)
        ids += [f"{split}/{k:0{width}d}" if split else f"{k:0{width}d}" for k in range(len(part))]
        splits += [split] * len(part)
        places += [f"{split or path.name} row {k}" for k in range(len(part))]
    table = Table(str(path), columns, places=lambda i: f"{path}: {places[i]}")
    if column_of("id", table, options) is None:
        columns["id"] = ids
    if parts.keys() != {""} and column_of("split", table, options) is None:
        columns["split"] = splits
    images = None
    if image is not None:
        folders = [str(path / split) if split else str(path) for split in parts]
        images = HuggingFaceImages(folders, [len(p) for p in parts.values()], image, str(options.images or path))
    return samples_of_columns(
        Table(table.name, columns, places=table.where), options, "huggingface", str(path), None, images
    )


def _parts(path: Path) -> dict[str, Any]:
    """Return the saved dataset as {"": dataset}, or a dict's by split; those without rows are left out, and said."""
    names, folders = [""], [path]
    if (path / DICT_MARK).is_file():
        names = list(_json(path / DICT_MARK, "splits"))
        folders = [path / name for name in names]
    empty = [name for name, folder in zip(names, folders, strict=True) if not _json(folder / MARKS[0], "_data_files")]
    if 0 < len(empty) < len(names):
        said = counted(len(empty), "split without rows is", "splits without rows are")
        _LOG.warning("%s: %s left out: %s.", path, said, listed(empty))
    return {name: _load(folder) for name, folder in zip(names, folders, strict=True) if name not in empty}


def _json(file: Path, key: str) -> list[Any]:
    """Return a list in a file of the package's; the package itself cannot load a dataset without rows."""
    try:
        return list(json.loads(file.read_text(encoding="utf-8"))[key])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file.parent} cannot be loaded as a saved Hugging Face dataset: {error!r}") from error


def _load(path: Path) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingDependency("datasets", "A Hugging Face dataset on disk", extra="huggingface") from error
    try:
        return datasets.load_from_disk(str(path))
    except Exception as error:  # the package raises pyarrow's, fsspec's and its own errors
        raise InputError(f"{path} cannot be loaded as a saved Hugging Face dataset: {error}") from error


def _undecoded(dataset: Any, column: str) -> Any:
    import datasets

    if isinstance(dataset.features[column], datasets.Image):
        dataset = dataset.cast_column(column, datasets.Image(decode=False))
    return dataset.select_columns([column]).with_format(None)


def _image_column(dataset: Any, options: ReadOptions) -> str | None:
    import datasets

    if options.columns.get("image") is not None:
        name = options.columns["image"]
        if name and name not in dataset.column_names:
            raise InputError(f"The dataset has no column '{name}'; its columns are {', '.join(dataset.column_names)}.")
        return name or None
    pictures = [name for name, kind in dataset.features.items() if isinstance(kind, datasets.Image)]
    if len(pictures) > 1:
        raise InputError(f"The dataset has {len(pictures)} image columns ({', '.join(pictures)}); name one of them.")
    return pictures[0] if pictures else ("image" if "image" in dataset.column_names else None)


def _cells(dataset: Any, column: str, path: Path) -> list[str]:
    import datasets

    kind = dataset.features[column]
    values = dataset[column][:] if len(dataset) else []
    if column == "id" and all(isinstance(value, str) for value in values):
        return list(values)  # names may begin or end with spaces
    labels = getattr(kind, "feature", kind)  # of a list, what it is a list of: several are refused as everywhere
    if isinstance(labels, datasets.ClassLabel):
        return named(values, labels.names, column, lambda k: f"{path} row {k}")
    return [as_text(value) for value in values]
