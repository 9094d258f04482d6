"""`fercleaner project`: the set's vectors, drawn together by refined labels, as .npz."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import SetOptions, with_set_options
from .refine import set_name

#: As in the library, so that `--help` need not import it.
SHARE, DIMENSIONS = 0.3, 64


@with_set_options
def project(
    dataset: Annotated[Path, typer.Argument(help="Folder, list or table of the set.", show_default=False)],
    *,
    refined: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Refined file whose labels are trained on; SET.refined.parquet here by default.",
            show_default=False,
        ),
    ] = None,
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the learned part in a cosine.")] = SHARE,
    dimensions: Annotated[int, typer.Option(min=1, help="Columns of the learned part.")] = DIMENSIONS,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write; SET.project.npz here by default.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    set_options: SetOptions,
) -> None:
    """Write an embedding for training and retrieval, learned from refined labels and facial geometry.

    Example: fercleaner project rafdb/ --refined rafdb.refined.parquet; then numpy.load("rafdb.project.npz")["values"]
    """
    from fercleaner.core.errors import StoreError
    from fercleaner.core.files import check_writable
    from fercleaner.pipeline import embedding
    from fercleaner.results import parquet

    from .console import note, print_json, progress_callbacks
    from .console import share as shown

    target = out or Path(f"{set_name(dataset)}.project.npz")
    embedding.check_ending(target)
    labels_of = refined or Path(f"{set_name(dataset)}.refined.parquet")
    set_options.check_apart(target, dataset, labels_of)
    check_writable(target, force)
    if refined is None and not labels_of.exists():
        raise StoreError(_no_labels(dataset, labels_of))
    labels = parquet.load(labels_of)
    samples, sources, resources = set_options.open(dataset)
    with progress_callbacks() as callbacks:
        made = embedding.project_set(samples, labels, sources, resources, callbacks, dimensions=dimensions, share=share)
    embedding.write_vectors(made, target, overwrite=force)
    found = int(made.found.sum())
    if json_:
        print_json({"file": str(target), "faces": len(made), "found": found, "columns": made.values.shape[1]})
    note(
        f"Wrote {target}: ids, and values with {made.values.shape[1]:,} columns, NaN where a face has none; "
        f"vectors of {shown(found, len(made))} faces.\nFor training and retrieval: labels drew these vectors together, "
        "so do not judge the same labels by them."
    )


def _no_labels(dataset: Path, labels_of: Path) -> str:
    """Return what to do where no refined file lies under its usual name."""
    from fercleaner.core.files import missing

    from .console import words

    if not dataset.exists():
        return missing(dataset)
    return (
        f"{labels_of}: no such file, and project learns from refined labels. Write it: "
        f"{words('fercleaner', 'refine', dataset)}; or name another: --refined FILE."
    )
