"""`fercleaner export`: a refined file as CSV or .npz, for a trainer or a reviewer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    file: Annotated[Path, typer.Argument(help="A refined Parquet file.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="File to write; .csv or .npz says the format.", show_default=False)],
    split: Annotated[list[str] | None, typer.Option(metavar="NAME", help="This split only; repeat for more.")] = None,
    drop_flagged: Annotated[bool, typer.Option("--drop-flagged", help="Leave out labels held to be wrong.")] = False,
    only_flagged: Annotated[
        bool, typer.Option("--only-flagged", help="A list to review: labels held to be wrong, lowest quality first.")
    ] = False,
    drop_unseen: Annotated[
        bool,
        typer.Option("--drop-unseen", help="Leave out faces that nothing is known of, such as unreadable pictures."),
    ] = False,
    drop_unlabeled: Annotated[
        bool, typer.Option("--drop-unlabeled", help="Leave out faces without a given label.")
    ] = False,
    min_weight: Annotated[float, typer.Option(min=0.0, max=1.0, help="Leave out faces of less weight.")] = 0.0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write ids, labels, weights and distributions for a trainer; in a .csv, reasons and neighbors too.

    Examples: fercleaner export rafdb.refined.parquet rafdb.csv --split train --drop-flagged --drop-unseen;
    fercleaner export rafdb.refined.parquet review.csv --only-flagged
    """
    from fercleaner.results import parquet
    from fercleaner.results.export import Selection
    from fercleaner.results.export import export as write

    from .console import note, share

    refined = parquet.load(file)
    selection = Selection(
        splits=tuple(split or ()),
        drop_flagged=drop_flagged,
        drop_unlabeled=drop_unlabeled,
        min_weight=min_weight,
        only_flagged=only_flagged,
        drop_unseen=drop_unseen,
    )
    kept = write(refined, out, selection=selection, overwrite=force)
    note(f"Wrote {out}: {share(kept, len(refined))} faces.")
