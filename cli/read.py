"""`fercleaner read`: what would be read of a set, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import SetOptions, with_set_options


@with_set_options
def read(
    dataset: Annotated[Path, typer.Argument(help="Folder, list or table of the set.", show_default=False)],
    *,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    set_options: SetOptions,
) -> None:
    """Say what would be read of a set, and stop: classes with counts, columns, what is left out, what is missing.

    No picture is opened and no model is run; files of vectors, landmarks and action units are read and matched.

    Example: fercleaner read faces.csv --view v=v.npy
    """
    from fercleaner.datasets.describe import describe, missing_pictures

    from .console import note, print_json, print_table, share, words

    notes: list[str] = []
    known = set_options.look(dataset, notes.append if json_ else note)
    samples = known.samples
    gone, first = missing_pictures(samples)
    if json_:
        views = {view.view: _coverage(view.found, columns=int(view.values.shape[1])) for view in known.views}
        evidence = {"landmarks_file": known.landmarks, "action_units": known.action_units}
        found = {name: _coverage(one.found) for name, one in evidence.items() if one is not None}
        print_json({**describe(samples), "pictures_missing": gone, "views": views, **found, "notes": notes})
        return
    counts = describe(samples)["classes"]
    print_table(
        "", ["class", "faces", "of all"], [[n, f"{c:,}", f"{100 * c / len(samples):.1f} %"] for n, c in counts.items()]
    )
    if gone:
        note(f"{share(gone, len(samples))} pictures are not where the set says; first: {first}")
    note(f"Nothing was written.\nNext: {words('fercleaner', 'refine')} {set_options.again(dataset)}")


def _coverage(found: object, **more: int) -> dict[str, int]:
    import numpy as np

    there = np.asarray(found)
    return {"faces": int(there.sum()), "of": len(there), **more}
