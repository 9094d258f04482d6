"""A shard: some vectors of one encoder spec in one file, written once and never changed.

The 8 bytes ``FCSHARD1``, the length of the header (8 bytes, little endian), the header (JSON: spec digest, rows,
width, notes), the picture digests (rows x 32 bytes), found (rows x 1 byte), the values (rows x width float32, little
endian) and the SHA-256 of all that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.arrays import Bools, Bytes, Floats

MAGIC = b"FCSHARD1"
DIGEST_SIZE = 32


@dataclass(frozen=True, slots=True)
class Shard:
    """What one file holds.

    Parameters
    ----------
    path : path
    digests : (rows, 32) uint8
        Of the pictures.
    found : (rows,) bool
    values : (rows, width) float32
        A view of the file, mapped.
    notes : mapping of row -> str
        Why a picture has no vector.
    """

    path: Path
    digests: Bytes
    found: Bools
    values: Floats
    notes: dict[int, str]

    @property
    def size(self) -> int:
        """Bytes of the vectors."""
        return int(self.values.nbytes)


def read_shard(path: Path, spec_digest: str, width: int) -> Shard | None:
    """Return a shard, its values mapped from the file, or None where it is not whole or not of this spec.

    Raises OSError where the file is gone or cannot be read.
    """
    start = len(MAGIC) + 8
    if path.stat().st_size < start + DIGEST_SIZE:
        return None
    raw: Bytes = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
    end = len(raw) - DIGEST_SIZE
    whole = hashlib.sha256(raw[:end].data).digest() == raw[end:].tobytes()
    if not whole or raw[: len(MAGIC)].tobytes() != MAGIC:
        return None
    # From here on the file is what we wrote; it can still belong to another spec.
    length = int.from_bytes(raw[len(MAGIC) : start].tobytes(), "little")
    header = json.loads(raw[start : start + length].tobytes())
    rows = int(header["rows"])
    if (header["spec"], int(header["width"])) != (spec_digest, width):
        return None
    at = start + length
    digests = raw[at : at + rows * DIGEST_SIZE].reshape(rows, DIGEST_SIZE)
    at += rows * DIGEST_SIZE
    found = raw[at : at + rows] != 0
    at += rows
    values = raw[at:end].view("<f4").reshape(rows, width)
    return Shard(path, digests, found, values, {int(row): note for row, note in header["notes"].items()})


def shard_parts(
    spec_digest: str, digests: Bytes, found: Bools, values: Floats, notes: Mapping[int, str]
) -> list[bytes]:
    """Return the bytes of a shard of vectors (rows, width), in pieces."""
    rows, width = values.shape
    header = {"spec": spec_digest, "rows": rows, "width": width, "notes": notes}
    text = json.dumps(header, ensure_ascii=False).encode()
    parts = [
        MAGIC,
        len(text).to_bytes(8, "little"),
        text,
        digests.tobytes(),
        found.astype(np.uint8).tobytes(),
        np.ascontiguousarray(values, dtype="<f4").tobytes(),
    ]
    checksum = hashlib.sha256()
    for part in parts:
        checksum.update(part)
    return [*parts, checksum.digest()]
