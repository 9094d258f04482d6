"""`fercleaner cache`: how much the vectors kept from earlier runs take, and their removal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer


def cache(
    folder: Annotated[Path | None, typer.Option("--cache", metavar="DIR", help="The cache to look at.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the vectors.")] = False,
    prune: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Remove the vectors written longest ago until this much is left, such as 500MiB."
        ),
    ] = None,
    of: Annotated[
        str | None, typer.Option("--of", metavar="KEY", help="Of this encoder only; KEY as in the table.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what the cache of vectors holds; --clear removes it, --prune keeps the newest. A run beside goes on."""
    from fercleaner.core.errors import InputError, did_you_mean
    from fercleaner.extraction.cache import FeatureCache

    from .console import note, print_json, print_table, size

    held = FeatureCache(folder)
    if prune is not None:
        if clear or of is not None:
            raise InputError("--prune goes over all encoders and leaves some: use it without --clear and --of.")
        freed = held.prune(bytes_in(prune))
        left = held.size().bytes
        if json_:
            print_json({"folder": str(held.folder), "bytes": left, "freed": freed})
        note(f"Removed {size(freed)} from {held.folder}; {size(left)} are left.")
        return
    specs = held.specs()
    if of is not None and of not in specs:
        raise InputError(
            f"--of {of}: {held.folder} holds no such encoder.{did_you_mean(of, specs)} See fercleaner cache."
        )
    chosen = specs if of is None else {of: specs[of]}
    bytes_of = {key: held.size(spec).bytes for key, spec in chosen.items()}
    total = sum(bytes_of.values())
    if clear:
        for spec in chosen.values():
            held.clear(spec)
    if json_:
        entries = [{"key": key, "bytes": bytes_of[key], "spec": spec} for key, spec in chosen.items()]
        print_json({"folder": str(held.folder), "bytes": total, "cleared": clear, "encoders": entries})
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
    if clear:
        note(f"Removed {many} from {held.folder}.")
    else:
        note(f"{held.folder} holds {many}.\nNext: fercleaner cache --clear removes it; --of KEY clears one encoder's.")


def bytes_in(text: str, option: str = "--prune") -> int:
    """Return how many bytes a size such as "500MiB", "2 GB" or "0" is.

    Raises
    ------
    InputError
        It is no size.
    """
    from fercleaner.core.errors import InputError

    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", text.strip(), re.IGNORECASE)
    if found is None:
        raise InputError(f"{option} {text}: expected a size such as 500MiB or 2GB.")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index(unit.upper() or " "))
