"""What a demo wrote, by name and digest, so that drawing it again removes that and nothing else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TypeAlias

from ..core.errors import InputError
from ..core.files import write_whole
from ..core.text import read_json

#: Holds the files that a demo wrote, each with its SHA-256; the second knows those of both while one replaces another.
MARK, BOTH = ".fercleaner-demo.json", ".fercleaner-demo.both.json"

Written: TypeAlias = dict[str, list[str]]


def written_before(folder: Path) -> Written:
    """Return the files that an earlier demo wrote into `folder` and the digests that they may have; {} without one.

    Raises InputError where one of them was changed since, or is a link.
    """
    written: Written = {}
    for mark in (folder / MARK, folder / BOTH):
        try:
            held = read_json(mark.read_text(encoding="utf-8"))
            for name, digests in held.items():
                written.setdefault(str(name), []).extend(str(digest) for digest in digests)
        except FileNotFoundError:
            continue
        except (ValueError, AttributeError, TypeError) as error:
            raise InputError(f"{mark} cannot be read. Remove the demo by hand, or name another folder.") from error
    for name, digests in written.items():
        path = folder / name
        linked = any(place.is_symlink() for place in (path, *path.parents) if place.is_relative_to(folder / "."))
        if ".." in path.parts or linked or (path.exists() and _digest(path) not in digests):
            raise InputError(
                f"{path} is not as the demo wrote it, and --force replaces nothing else. Move it away, or name "
                "another folder."
            )
    return written


def install(partial: Path, folder: Path, before: Written) -> None:
    """Move the files of `partial` into `folder`, in place of those of an earlier demo; every other file stays.

    A run that is killed meanwhile leaves a list of the files of both (`BOTH`), so that it can be run again.

    Raises InputError where a file of another program has the name of one to be written.
    """
    names = sorted(str(path.relative_to(partial)) for path in partial.rglob("*") if path.is_file())
    after = {name: [_digest(partial / name)] for name in names}
    for name in names:
        if (folder / name).exists() and name not in before:
            raise InputError(
                f"{folder / name} is there, which no earlier demo wrote, and --force replaces nothing but a demo. Move "
                "it away, or name another folder."
            )
    _mark(folder / BOTH, {name: [*before.get(name, []), *after.get(name, [])] for name in {**before, **after}})
    for name in set(before) - set(after):
        (folder / name).unlink(missing_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (partial / name).replace(folder / name)
    _mark(folder / MARK, after)
    (folder / BOTH).unlink()


def _mark(path: Path, written: Written) -> None:
    write_whole(path, [json.dumps(written, indent=0, sort_keys=True).encode() + b"\n"])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
