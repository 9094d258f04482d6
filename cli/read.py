"""`fercleaner read`: what would be read of a set, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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

    No picture is opened and no model is run; files of vectors, landmarks, action units and posteriors are read and
    matched.

    Example: fercleaner read faces.csv --view v=v.npy
    """
    from fercleaner.core.files import named_alike
    from fercleaner.datasets.describe import describe, missing_pictures
    from fercleaner.pipeline.notes import missing_sentence

    from .checks import MIRROR, encoder_tags, posterior_files, posteriors_option
    from .console import note, print_json, print_table, share, words

    notes: list[str] = []
    tell = notes.append if json_ else note
    known = set_options.look(dataset, tell)
    samples = known.samples
    missed = [missing_sentence(view.view, view.found, view.notes, samples) for view in known.views]
    if known.landmarks is not None:
        missed.append(missing_sentence("landmarks", known.landmarks.found, known.landmarks.notes, samples))
    for sentence in filter(None, missed):
        tell(sentence)
    files, _ = posterior_files(
        [text for text in set_options.posteriors or [] if text.strip() != MIRROR],
        encoder_tags(set_options.encoder, bool(set_options.view)),
    )
    posteriors = [posteriors_option(option, samples, tell) for option in files]
    gone, first = missing_pictures(samples)
    if json_:
        views = {view.view: _coverage(view.found, columns=int(view.values.shape[1])) for view in known.views}
        beside = {"landmarks_file": known.landmarks, "action_units": known.action_units}
        found: dict[str, Any] = {name: _coverage(one.found) for name, one in beside.items() if one is not None}
        if posteriors:
            found["posteriors"] = {one.name: _coverage(one.found) for one in posteriors}
        print_json({**describe(samples), "pictures_missing": gone, "views": views, **found, "notes": notes})
        return
    counts = describe(samples)["classes"]
    print_table(
        "", ["class", "faces", "of all"], [[n, f"{c:,}", f"{100 * c / len(samples):.1f} %"] for n, c in counts.items()]
    )
    if gone:
        note(f"{share(gone, len(samples))} pictures are not where the set says; first: {first}{named_alike(first)}")
    note(f"Nothing was written.\nNext: {words('fercleaner', 'refine')} {set_options.again(dataset)}")


def _coverage(found: object, **more: int) -> dict[str, int]:
    import numpy as np

    there = np.asarray(found)
    return {"faces": int(there.sum()), "of": len(there), **more}
