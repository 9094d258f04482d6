"""Digests of a refined file's columns and metadata: what tells a file that was changed from the one that was written.

Parquet's own checksums cover its data pages and not the footer, where the classes' names and the columns' stand. The
digests are of what was read, not of bytes on disk: another compression or another Arrow gives the same ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

#: Key of the digests in the file's metadata, beside "fercleaner".
DIGEST_KEY = b"fercleaner_sha256"


def sealed(table: Any, header: bytes) -> bytes:
    """Return the digests of a table whose "fercleaner" metadata is `header`: JSON, name -> SHA-256, "" the header's."""
    return json.dumps(_digests(table, header), sort_keys=True).encode()


def changed_since(table: Any, header: bytes, metadata: Mapping[bytes, bytes]) -> str | None:
    """Return what differs from the digests in `metadata`, "" if nothing, None where the file has no digests."""
    if DIGEST_KEY not in metadata:
        return None
    try:
        written = dict(json.loads(metadata[DIGEST_KEY]))
    except (ValueError, TypeError, RecursionError):
        return "its digests cannot be read"
    unlike = sorted(set(written) ^ {"", *table.column_names})
    if unlike:
        return f"column '{unlike[0]}' was {'removed' if unlike[0] in written else 'added'}"
    found = _digests(table, header)
    for name, digest in found.items():
        if digest != written[name]:
            return f"{f'column {name!r}' if name else 'its metadata'} is not what was written"
    return ""


def _digests(table: Any, header: bytes) -> dict[str, str]:
    columns = {name: _digest(table.column(name)) for name in table.column_names}
    return {"": hashlib.sha256(header).hexdigest(), **columns}


def _digest(column: Any) -> str:
    """Return the SHA-256 of a column: its type, which rows are null, lengths, and values."""
    import pyarrow as pa

    array = column
    if isinstance(column, pa.ChunkedArray):
        array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    kind = array.type
    parts = [str(kind).replace("element", "item").encode(), array.is_null().to_numpy(zero_copy_only=False).tobytes()]
    if pa.types.is_list(kind):
        lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        parts += [lengths.astype("<i8").tobytes(), _digest(array.flatten()).encode()]
    elif pa.types.is_string(kind):
        texts = [(text or "").encode() for text in array.to_pylist()]
        parts += [np.array([len(text) for text in texts], dtype="<i8").tobytes(), b"".join(texts)]
    else:
        empty = False if pa.types.is_boolean(kind) else 0
        values = array.fill_null(empty).to_numpy(zero_copy_only=False)
        parts.append(np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes())
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()
