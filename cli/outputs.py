"""What a command may overwrite: its own earlier results, and nothing that it reads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fercleaner.core.refined import RefinedSet

#: Parameters of commands that name what is written, or where vectors are kept.
WRITTEN = ("out", "cache", "force")


def check_output(target: Path, refined: RefinedSet | None = None) -> None:
    """Raise StoreError where `target` is something that this command line names to be read, links followed.

    Not even --force overwrites that: the set, vectors, landmarks, posteriors, decisions, a refined file. Inside the
    folder of a set, --force replaces nothing but files of fercleaner's.

    Parameters
    ----------
    refined : RefinedSet, optional
        The set that it was made from is spared too, where it lies in this folder or has the target's name.
    """
    from fercleaner.core.errors import StoreError
    from fercleaner.core.files import check_spared

    read = named()
    made_from = "" if refined is None else str(refined.metadata.get("made_from", "")).rstrip("/")
    beside = target.with_name(f"{target.stem}.clean{target.suffix}")
    if made_from and target.exists() and made_from in (target.name, Path(os.path.realpath(target)).name):
        raise StoreError(
            f"{target} is called as the set that the refined file was made from, which is never overwritten. Choose "
            f"another name, such as {beside}."
        )
    if made_from:
        read["the set it was made from"] = Path(made_from)
    check_spared(target, read)
    real = Path(os.path.realpath(target))
    for said, place in read.items():
        inside = place.is_dir() and Path(os.path.realpath(place)) in real.parents
        if inside and real.is_file() and not _ours(real):
            raise StoreError(
                f"{target} lies in {said} ({place}) and fercleaner did not write it, so it is never overwritten. "
                f"Choose another name, such as {beside}."
            )


def named() -> dict[str, Path]:
    """Return the files and folders that the words of the command line lead to, by option."""
    context = click.get_current_context(silent=True)
    values: Mapping[str, Any] = {} if context is None else context.params
    found: dict[str, Path] = {}
    for name, value in values.items():
        if name in WRITTEN:
            continue
        option = {"file": "the file", "dataset": "the set", "set_": "the set"}.get(
            name, f"--{name.rstrip('_').replace('_', '-')}"
        )
        for text in value if isinstance(value, (list, tuple)) else [value]:
            for path in _paths(text):
                found[option if option not in found else f"{option} {path}"] = path
    return found


def _paths(value: Any) -> Iterator[Path]:
    """Yield the paths that a value may name: itself, FILE of NAME=FILE, NAME:FILE or FILE,word."""
    if not isinstance(value, (str, Path)):
        return
    whole = str(value)
    for text in dict.fromkeys([whole, re.sub(r"^[^=]*=", "", whole), re.sub(r"^[^:=]*:", "", whole)]):
        for name in dict.fromkeys([text, text.partition(",")[0]]):
            try:
                if name and os.path.exists(name):
                    yield Path(name)
            except ValueError:  # a null byte
                continue


def _ours(path: Path) -> bool:
    """Return whether a file is a result of fercleaner's: a refined file, an export, a projection, a list to review."""
    from fercleaner.results import parquet

    if path.suffix.lower() == ".csv":
        from fercleaner.results.export.csv_file import COLUMNS
        from fercleaner.review.exchange import COLUMNS as OF_A_LIST

        with open(path, "rb") as stream:
            first = stream.readline(4096).decode("utf-8", "replace").strip().split(",")
        return any(tuple(first[: len(names)]) == names for names in (COLUMNS, OF_A_LIST))
    if path.suffix.lower() == ".npz":
        import zipfile

        try:
            with zipfile.ZipFile(path) as held:
                arrays = {name.removesuffix(".npy") for name in held.namelist()}
        except (zipfile.BadZipFile, OSError, ValueError):
            return False
        return arrays == {"ids", "values"} or {"ids", "classes", "distribution", "given_label"} <= arrays
    return parquet.is_refined(path)
