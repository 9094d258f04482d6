"""`fercleaner cache`: how much the vectors kept from earlier runs take, and their removal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

#: Units of --prune and their bytes.
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def cache(
    folder: Annotated[Path | None, typer.Option("--cache", metavar="DIR", help="The cache to look at.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the vectors.")] = False,
    of: Annotated[
        str | None, typer.Option("--of", metavar="KEY", help="Of this encoder only; KEY as in the table.")
    ] = None,
    prune: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Keep at most SIZE (2G, 500M), what was used last.", show_default=False),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what the cache of vectors holds; --clear removes it, --prune bounds it."""
    from fercleaner.core.errors import InputError, did_you_mean
    from fercleaner.extraction.cache import FeatureCache

    from .console import note, print_json, print_table, size

    if prune is not None and (clear or of is not None):
        raise InputError("--prune bounds the whole cache: leave out --clear and --of.")
    limit = None if prune is None else bytes_in(prune)
    held = FeatureCache(folder)
    specs = held.specs()
    if of is not None and of not in specs:
        raise InputError(
            f"--of {of}: {held.folder} holds no such encoder.{did_you_mean(of, specs)} See fercleaner cache."
        )
    chosen = specs if of is None else {of: specs[of]}
    freed = 0 if limit is None else held.prune(limit)
    bytes_of = {key: held.size(spec).bytes for key, spec in chosen.items()}
    total = sum(bytes_of.values())
    in_use = sum(held.in_use(spec) for spec in chosen.values()) if clear else 0
    if clear:
        for spec in chosen.values():
            held.clear(spec)
    if json_:
        entries = [{"key": key, "bytes": bytes_of[key], "spec": spec} for key, spec in chosen.items()]
        done = {"cleared": clear, "in_use": in_use, "pruned": freed}
        print_json({"folder": str(held.folder), "bytes": total, **done, "encoders": entries})
    elif chosen and not clear:
        print_table(
            "",
            ["key", "kind", "model", "size"],
            [
                [key, str(spec.get("kind", "")), str(spec.get("model", "")), size(bytes_of[key])]
                for key, spec in chosen.items()
            ],
            left=3,
        )
    many = f"{size(total)} from {len(chosen):,} encoder{'' if len(chosen) == 1 else 's'}"
    if in_use:
        note(
            f"A run is using vectors of {in_use:,} of these encoders. It keeps what it has read and goes on; what it "
            "makes from now on is kept again."
        )
    if clear:
        note(f"Removed {many} from {held.folder}.")
        return
    if limit is not None:
        note(f"Removed {size(freed)}, used longest ago.")
    note(f"{held.folder} holds {many}.\nNext: fercleaner cache --clear removes it; --of KEY clears one encoder's.")


def bytes_in(text: str) -> int:
    """Return the bytes that "500M", "2 GiB" or "1.5g" mean; units are powers of 1,024."""
    from fercleaner.core.errors import InputError

    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?\s*", text.upper())
    if match is None:
        raise InputError(f"--prune {text}: expected a size, such as 500M or 2G.")
    return int(float(match[1]) * UNITS[match[2]])
