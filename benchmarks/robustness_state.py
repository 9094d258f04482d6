"""What a folder holds, in a form in which two runs of one command are equal though names, times and keys are drawn."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from robustness_commands import CACHE

#: Values that say how long something took.
TIMES = ("seconds", "cpu_seconds")
#: What files said when they were read last.
_READ: dict[tuple[str, int, int, int], dict[str, bytes]] = {}


def contents(folder: Path, *, cache: bool = False) -> dict[str, bytes]:
    """Return what every file below a folder holds, by name; a link's target for a link. `cache` takes that in too.

    - A cache's shard gives an entry a vector, since shards are named by chance and merged.
    - A log of messages gives what each line of it is about, without times.
    - Weights, figures and logs of a training are given without the seconds that they took.
    - Keys are drawn: the ring of keys gives who is known by the key in which file.
    """
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if (name.split("/")[0] == CACHE and not cache) or not (path.is_file() or path.is_symlink()):
            continue
        about = path.lstat()
        seen = (name, about.st_ino, about.st_size, about.st_mtime_ns)
        if path.suffix == ".key" or seen not in _READ:  # who is known by a key depends on other files
            _READ[seen] = _said(path, name)
        found |= _READ[seen]
    return found


def _said(path: Path, name: str) -> dict[str, bytes]:
    if path.is_symlink():
        return {name: os.readlink(path).encode()}
    if path.suffix == ".shard":
        return _vectors(path, name.rpartition("/")[0])
    if path.suffix == ".safetensors":
        return {name: _tensors(path)}
    if path.suffix in (".key", ".pem") or path.name == "keys.json":
        return {name: _key(path)}
    return {name: _timeless(path.name, path.read_bytes())}


def fingerprint(folder: Path) -> str:
    """Return a digest of all that a folder holds, names drawn by chance aside: what a run finds there."""
    held = contents(folder, cache=True)
    parts = sorted((re.sub(r"\.fercleaner-[0-9a-f]+\.tmp", "temporary", name), data) for name, data in held.items())
    folders = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_dir())
    return hashlib.sha256(repr((parts, folders)).encode()).hexdigest()


def decided(log: bytes) -> set[str]:
    """Return the ids of the decisions in a log; lines that are no entry do not count."""
    return {entry["id"] for entry in _objects(log.split(b"\n")) if "id" in entry}


def _objects(lines: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def _vectors(path: Path, folder: str) -> dict[str, bytes]:
    from fercleaner.extraction.cache import DIGEST_SIZE, MAGIC

    data = path.read_bytes()
    start = len(MAGIC) + 8
    length = int.from_bytes(data[len(MAGIC) : start], "little")
    try:
        header = json.loads(data[start : start + length])
    except ValueError:
        return {f"{folder}/{path.name}": data}
    rows, width, at = header["rows"], header["width"], start + length
    values = at + rows * (DIGEST_SIZE + 1)
    found = {}
    for row in range(rows):
        digest = data[at + row * DIGEST_SIZE : at + (row + 1) * DIGEST_SIZE].hex()
        found[f"{folder}/vector {digest}"] = data[values + 4 * width * row : values + 4 * width * (row + 1)]
    return found


def _tensors(path: Path) -> bytes:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
    except ValueError:
        return data
    return json.dumps({k: v for k, v in header.items() if k != "__metadata__"}).encode() + data[8 + length :]


def _key(path: Path) -> bytes:
    from fercleaner.core.errors import FercleanerError
    from fercleaner.federation.keys import KeyRing, SiteKey

    if path.suffix == ".pem":
        return b"a key" if path.read_bytes().rstrip().endswith(b"-----") else path.read_bytes()
    if path.name == "keys.json":
        return json.dumps(sorted(json.loads(path.read_text()))).encode()
    ring = path.with_name("keys.json")
    try:
        key = SiteKey.read(path)
        owner = KeyRing(path.parent).owner(key.secret) if ring.exists() else None
    except FercleanerError as error:
        return str(error).encode()
    pinned = key.certificate == path.with_name("certificate.pem").read_text()
    return json.dumps([key.site, owner, pinned]).encode()


def _timeless(name: str, data: bytes) -> bytes:
    if name == "messages.log":
        lines = re.findall(rb"UTC (\S+, SHA-256 [0-9a-f]{64})$", data, re.MULTILINE)
        return b"\n".join(sorted(set(lines)))
    if name == "figures.json":
        return json.dumps(_without_times(json.loads(data))).encode()
    if name == "log.csv":
        rows = [line.split(",") for line in data.decode().splitlines()]
        kept = [i for i, column in enumerate(rows[0]) if column not in TIMES]
        return "\n".join(",".join(row[i] for i in kept) for row in rows).encode()
    return data


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(inner) for key, inner in value.items() if key not in TIMES}
    return [_without_times(inner) for inner in value] if isinstance(value, list) else value
