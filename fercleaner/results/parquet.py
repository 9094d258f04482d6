"""The one reader and writer of refined sets: a Parquet file that explains itself.

One row a face, in the order of the dataset; `SCHEMA_TABLE` lists the columns. Any Parquet reader (pandas,
polars, DuckDB, Arrow) opens it; absent values are nulls. The file metadata holds one key, "fercleaner": a
JSON object with `schema` (number), `classes` (column order of `given` and `distribution`), `digest` (SHA-256 of
these columns and of the rest of this object) and what the caller recorded about the run: method, parameters,
encoder specs, versions, seed, digest of the input.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import Bools, Floats
from ..core.checks import expect_kind, kind_of
from ..core.errors import InputError, StoreError
from ..core.files import missing, pointed, replacing, target_of
from ..core.refined import RefinedSet, to_json
from ..core.text import read_json, shown
from ..datasets.other_files import ARRAYS, FRAMES, WORKBOOKS
from ..datasets.parquet import check_size
from . import arrow

__all__ = ["EVIDENCE_PREFIX", "SCHEMA", "SCHEMA_TABLE", "RefinedSet", "load", "write"]

#: Number of the file layout; a reader refuses files with a larger one.
SCHEMA = 1
_LOG = logging.getLogger(__name__)
#: Key of the file metadata.
METADATA_KEY = b"fercleaner"
#: Key, in that object, of the digest that `load` checks.
DIGEST = "digest"
#: Endings of files of other kinds, which a refined file is not to be called by.
OTHER_ENDINGS = (".csv", ".tsv", ".txt", *FRAMES, *WORKBOOKS, *ARRAYS)
#: Prefix of the columns that hold a method's evidence.
EVIDENCE_PREFIX = "evidence_"

#: Column, type and meaning, in file order; quoted by the manual.
SCHEMA_TABLE: tuple[tuple[str, str, str], ...] = (
    ("id", "string", "unique name of the face, as the dataset writes it"),
    ("path", "string", "picture of the face; null if none"),
    ("split", "string", "split of the dataset; null if none"),
    ("labeled", "bool", "whether the dataset gives a label"),
    ("given_label", "string", "given class (the largest entry of `given`); null if unlabeled"),
    ("given", "list<float>", "given label as a distribution over the classes; null if unlabeled"),
    ("label", "string", "refined class (the largest entry of `distribution`)"),
    ("distribution", "list<float>", "refined label distribution over the classes; sums to 1"),
    ("weight", "float", "sample weight for a trainer, 0 to 1"),
    ("quality", "float", "how far the given label is supported, 0 to 1; low = suspicious"),
    ("flagged", "bool", "whether the given label is held to be wrong"),
    ("changed", "bool", "whether the refined class differs from the given one"),
    ("reason", "string", "why, in words; empty if there is nothing to say"),
    ("neighbors_for", "list<string>", "ids of the most similar faces that spoke for the given label"),
    ("neighbors_against", "list<string>", "ids of the most similar faces that spoke against it"),
    ("evidence_<name>", "float", "a number that the method went by; null where it had none"),
)


def write(refined: RefinedSet, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a refined set as Parquet (zstd, page checksums); the same set gives the same bytes.

    The file appears whole or not at all: it is written under a temporary name in the same folder, flushed to
    disk, and renamed. On any failure the temporary file is removed and an older file of that name stays as it
    was.

    Raises
    ------
    StoreError
        The file exists and `overwrite` is False; the folder is missing or cannot be written; the disk is
        full; an id or path is not valid Unicode; a column has more than 2 GiB of text or 2 billion numbers.
    InputError
        It is no refined set, or the name ends as files of other kinds do.
    """
    import pyarrow.parquet as pq

    expect_kind(refined, RefinedSet, "what is written", "fercleaner.refine(...) or fercleaner.load(...) makes one")
    if os.path.splitext(path)[1].lower() in OTHER_ENDINGS:
        raise InputError(
            f"{path}: refined files are Parquet; give the file the ending .parquet. `fercleaner export` makes a "
            ".csv or an .npz of it, and pandas.read_parquet opens it."
        )
    target = target_of(path, overwrite)
    try:
        table = _to_table(refined, target)
    except OverflowError as error:
        raise StoreError(f"{target}: {error} Refine the set in parts, such as its splits (--split).") from error
    with replacing(target, overwrite) as stream:
        pq.write_table(table, stream, compression="zstd", write_page_checksum=True)


def load(path: str | os.PathLike[str]) -> RefinedSet:
    """Read a file written by `write`; every value comes back as it was.

    Columns that were added to the file are ignored. A note says where a file carries no digest, as those written
    before there was one.

    Raises
    ------
    StoreError
        The file is missing, is not Parquet, is not ours, has a newer layout, or is damaged: its columns or its
        metadata do not give the digest that it carries.
    InputError
        `path` is not the name of a file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not isinstance(path, str | os.PathLike):
        raise InputError(f"load takes the name of a file; it was given {kind_of(path)}.")
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise StoreError(f"{path} is no regular file but a pipe, a device or a socket. Name a .parquet file.")
    try:
        with open(path, "rb") as stream:
            file = pq.ParquetFile(stream, page_checksum_verification=True)
            check_size(path, file)
            table = file.read()
    except FileNotFoundError as error:
        raise StoreError(missing(path, "no such file. Write one with fercleaner refine.")) from error
    except IsADirectoryError as error:
        raise StoreError(f"{path} is a folder. Name the .parquet file in it.") from error
    except PermissionError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error
    except InputError as error:
        raise StoreError(str(error)) from error
    except (OSError, pa.ArrowException, ValueError, OverflowError, MemoryError) as error:
        if why := pointed(path):
            raise StoreError(f"{path} {why}") from error
        if not _has_parquet_magic(path):
            raise StoreError(
                f"{path} is not a Parquet file. Name a file that fercleaner refine has written."
            ) from error
        raise _damaged(path, shown((str(error).splitlines() or [type(error).__name__])[0], 300)) from error
    head = _read_header(path, table.schema.metadata or {})
    try:
        return _from_table(table, path, head)
    except (InputError, pa.ArrowException, ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise _damaged(path, shown((str(error).splitlines() or [type(error).__name__])[0], 300)) from error


def is_refined(path: str | os.PathLike[str]) -> bool:
    """Return whether the file says that `write` has written it; only its footer is read."""
    return bool(header(path))


def header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a refined file says of itself (`RefinedSet.metadata`, schema, classes); {} of any other file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not os.path.isfile(path):
        return {}
    try:
        held = read_json((pq.read_schema(path).metadata or {}).get(METADATA_KEY, b"{}"))
    except (OSError, ValueError, pa.ArrowException):
        return {}
    return held if isinstance(held, dict) else {}


def _schema(evidence: Sequence[str]) -> Any:
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "bool": pa.bool_(),
        "float": pa.float32(),
        "list<float>": pa.list_(pa.float32()),
        "list<string>": pa.list_(pa.string()),
    }
    fields = [(name, types[kind]) for name, kind, _ in SCHEMA_TABLE[:-1]]
    return pa.schema(fields + [(EVIDENCE_PREFIX + name, pa.float32()) for name in evidence])


def _to_table(refined: RefinedSet, target: Path) -> Any:
    import pyarrow as pa

    header = {"schema": SCHEMA, "classes": list(refined.classes), **refined.metadata}
    schema = _schema(sorted(refined.evidence))
    columns: dict[str, Any] = {}
    try:
        columns["id"] = arrow.text_column(refined.ids.tolist())
        columns["reason"] = arrow.text_column(refined.reason.tolist())
        for name, texts in (("path", refined.paths), ("split", refined.split)):
            columns[name] = arrow.text_column(texts.tolist(), texts != "")
        columns["given_label"] = arrow.name_column(refined.given_label, refined.classes, refined.labeled)
        columns["label"] = arrow.name_column(refined.label, refined.classes)
        columns["neighbors_for"] = arrow.rows_of_texts(refined.neighbors_for)
        columns["neighbors_against"] = arrow.rows_of_texts(refined.neighbors_against)
        text = to_json(header)
        text.encode()
    except UnicodeEncodeError as error:
        raise StoreError(
            f"{target}: the text {error.object!a} is not valid Unicode and cannot be stored. Rename the file."
        ) from error
    columns["given"] = arrow.rows_of_floats(refined.given, refined.labeled)
    columns["distribution"] = arrow.rows_of_floats(refined.distribution)
    for name in ("labeled", "weight", "quality", "flagged", "changed"):
        columns[name] = arrow.number_column(getattr(refined, name))
    for name, values in refined.evidence.items():
        columns[EVIDENCE_PREFIX + name] = arrow.number_column(values, ~np.isnan(values))
    table = pa.table([columns[name] for name in schema.names], schema=schema)
    text = to_json({**header, DIGEST: digest_of(table, text)})
    return table.replace_schema_metadata({METADATA_KEY: text.encode()})


def digest_of(table: Any, header: str) -> str:
    """Return the SHA-256 (hex) of the columns of a table in their order and of the header, JSON without the digest.

    Of each column: name, which cells are null, lengths of texts and lists, and the values; not how they are stored.
    """
    table = table.combine_chunks()
    found = hashlib.sha256(header.encode())
    for name in table.column_names:
        found.update(f"\0{name}\0{table.num_rows}\0".encode())
        for part in arrow.hashed_parts(_one_chunk(table.column(name))):
            found.update(part)
    return found.hexdigest()


def _from_table(table: Any, path: Path, head: dict[str, Any]) -> RefinedSet:
    evidence = [n[len(EVIDENCE_PREFIX) :] for n in table.column_names if n.startswith(EVIDENCE_PREFIX)]
    schema = _schema(evidence)
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise _damaged(path, f"column '{missing[0]}' is missing")
    table = table.select(schema.names).cast(schema).combine_chunks()
    classes = tuple(head["classes"])
    metadata = {key: value for key, value in head.items() if key not in ("schema", "classes", DIGEST)}

    def plain(name: str, dtype: Any) -> Any:
        column = table.column(name)
        if dtype is not np.str_:
            return arrow.values_of(_one_chunk(column), absent=np.nan if dtype is np.float32 else 0)
        return np.array([text or "" for text in column.to_pylist()], dtype=np.str_)

    required = ("id", "labeled", "label", "distribution", "weight", "quality", "flagged", "changed")
    empty = [name for name in required if table.column(name).null_count]
    if empty:
        raise _damaged(path, f"column '{empty[0]}' holds nulls")
    labeled = plain("labeled", np.bool_)
    refined = RefinedSet(
        ids=plain("id", np.str_),
        paths=plain("path", np.str_),
        split=plain("split", np.str_),
        classes=classes,
        labeled=labeled,
        given=_matrix(table.column("given"), len(classes), labeled, path),
        distribution=_matrix(table.column("distribution"), len(classes), np.ones_like(labeled), path),
        weight=plain("weight", np.float32),
        quality=plain("quality", np.float32),
        flagged=plain("flagged", np.bool_),
        changed=plain("changed", np.bool_),
        reason=plain("reason", np.str_),
        neighbors_for=_tuples(table.column("neighbors_for")),
        neighbors_against=_tuples(table.column("neighbors_against")),
        evidence={name: plain(EVIDENCE_PREFIX + name, np.float32) for name in evidence},
        metadata=metadata,
    )
    _check_digest(table, path, head)
    return refined


def _check_digest(table: Any, path: Path, head: dict[str, Any]) -> None:
    if DIGEST not in head:
        _LOG.warning("%s carries no digest: it was written before there was one, and damage may go unseen.", path)
        return
    said = to_json({key: value for key, value in head.items() if key != DIGEST})
    if head[DIGEST] != digest_of(table, said):
        raise _damaged(path, "its contents do not give the digest that it carries, so something in it was changed")


def _matrix(column: Any, c: int, present: Bools, path: Path) -> Floats:
    lists = _one_chunk(column)
    lengths = arrow.lengths_of(lists)
    if (lengths != np.where(present, c, 0)).any():
        row = int(np.flatnonzero(lengths != np.where(present, c, 0))[0])
        raise _damaged(path, f"row {row} holds {lengths[row]} numbers for {c if present[row] else 0} classes")
    values = np.zeros((len(present), c), dtype=np.float32)
    values[present] = arrow.values_of(lists.flatten(), absent=np.nan).reshape(-1, c)
    return values


def _tuples(column: Any) -> tuple[tuple[str, ...], ...]:
    lists = _one_chunk(column)
    ends = np.cumsum(arrow.lengths_of(lists)).tolist()
    flat = lists.flatten().to_pylist()
    if None in flat:
        raise InputError("a list of neighbors holds a null")
    return tuple(tuple(flat[start:end]) for start, end in zip([0, *ends], ends, strict=False))


def _one_chunk(column: Any) -> Any:
    import pyarrow as pa

    return column.chunk(0) if column.num_chunks else pa.nulls(0, column.type)


def _read_header(path: Path, found: Mapping[bytes, bytes]) -> dict[str, Any]:
    """Return the object that the file metadata hold, `schema`, `classes` and digest among it."""
    if METADATA_KEY not in found:
        raise StoreError(
            f"{path} is Parquet, but not written by fercleaner (no '{METADATA_KEY.decode()}' metadata). "
            "Name a file that fercleaner refine has written."
        )
    try:
        head = dict(read_json(found[METADATA_KEY]))
        schema, _ = int(head["schema"]), tuple(head["classes"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise _damaged(path, "its metadata cannot be read") from error
    if schema > SCHEMA:
        raise StoreError(
            f"{path} has schema {schema}; this version of fercleaner reads up to {SCHEMA}. "
            "Upgrade fercleaner: pip install --upgrade fercleaner"
        )
    return head


def _damaged(path: Path, what: str) -> StoreError:
    return StoreError(f"{path} is damaged: {what.rstrip('.')}. Write it again with fercleaner refine.")


def _has_parquet_magic(path: Path) -> bool:
    try:
        with open(path, "rb") as stream:
            return stream.read(4) == b"PAR1"
    except OSError:
        return False
