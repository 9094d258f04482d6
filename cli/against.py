"""`fercleaner show A --against B`: what two refined files differ in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: Characters shown of a setting.
WIDTH = 60


def show_difference(first: Path, second: Path, top: int, as_json: bool) -> None:
    """Write the difference of two files, `second` being the later one, as tables or one JSON object."""
    from fercleaner.results import parquet
    from fercleaner.results.difference import compare

    from .console import note, print_json, print_table, share

    found = compare(parquet.load(first), parquet.load(second), top=top)
    if as_json:
        print_json({"first": str(first), "second": str(second), **found.to_dict()})
        return
    if found.pairs:
        print_table(
            f"Refined labels that differ: {first} -> {second}",
            ["before", "after", "faces"],
            [[pair.before, pair.after, f"{pair.count:,}"] for pair in found.pairs],
            left=2,
        )
    if found.faces:
        print_table(
            "Faces that differ most",
            ["id", "given", "before", "after", "flagged", "shift"],
            [
                [
                    face.id,
                    face.given or "-",
                    face.before,
                    face.after,
                    f"{_yes(face.flagged_before)} -> {_yes(face.flagged_after)}",
                    f"{face.shift:.3f}",
                ]
                for face in found.faces
            ],
            left=5,
        )
    if found.settings:
        print_table(
            "What made the files",
            ["setting", "first", "second"],
            [[key, _short(a), _short(b)] for key, (a, b) in found.settings.items()],
            left=3,
        )
    for which, names in (("first", found.classes_only_first), ("second", found.classes_only_second)):
        if names:
            note(f"Classes of the {which} file alone: {', '.join(names)}.")
    mean = "" if found.mean_shift is None else f" Mean shift of a distribution: {found.mean_shift:.3f} of 1."
    note(
        f"{found.common:,} faces in both files, {found.only_first:,} in the first alone, {found.only_second:,} in the "
        f"second alone. Refined labels differ: {share(found.labels, found.common)}; flags: "
        f"{share(found.flags, found.common)}, {found.newly_flagged:,} newly flagged; given labels: "
        f"{share(found.given, found.common)}.{mean}"
    )


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _short(value: Any) -> str:
    text = "-" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."
