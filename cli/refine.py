"""`fercleaner refine`: a dataset in, refined labels as Parquet out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from .checks import pairs
from .options import METHOD, SetOptions, with_set_options

#: Endings of a refined file.
ENDINGS = (".parquet", ".pq")


@with_set_options
def refine(
    dataset: Annotated[Path, typer.Argument(help="Folder, list or table of the set.", show_default=False)],
    *,
    method: Annotated[
        str, typer.Option(help="Rule to refine by; `fercleaner methods` lists them.", rich_help_panel=METHOD)
    ] = "consensus",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Set a parameter of the method.", rich_help_panel=METHOD),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Flag as many labels as keep this estimated share of the flags right, such as 0.8; the method is run "
            "again on labels flipped on purpose.",
            rich_help_panel=METHOD,
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write; SET.refined.parquet here by default.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    set_options: SetOptions,
) -> None:
    """Refine a set's labels: distributions, weights, suspicious faces, as one Parquet file.

    Example: fercleaner refine rafdb/ --method hypergraph
    """
    from fercleaner import methods
    from fercleaner.core.errors import InputError
    from fercleaner.noise.class_priors import WILD, balanced_by_hand, base_rates
    from fercleaner.pipeline import refine as pipeline
    from fercleaner.results import parquet
    from fercleaner.results.summary import unseen

    from .console import note, print_json, progress_callbacks, share, words

    if precision is not None and not 0 < precision < 1:
        raise typer.BadParameter(f"{precision:g} is not above 0 and below 1.", param_hint="'--precision'")
    # What costs nothing to check comes first: the output and the method; then all that the set needs.
    target = out or Path(f"{set_name(dataset)}.refined.parquet")
    if target.suffix.lower() not in ENDINGS and not target.is_dir():
        raise InputError(
            f"--out {target}: refined files are Parquet; give the file the ending .parquet. fercleaner export makes "
            "a .csv or an .npz of it."
        )
    parquet.check_writable(target, force)
    rule = methods.build(method, pairs(settings, "--set"))
    samples, sources, resources = set_options.open(dataset)
    wild = getattr(rule, "base_rates", "") == WILD and base_rates(samples.classes, WILD) is not None
    if wild and balanced_by_hand(samples.given):
        note(
            "The labels lie evenly on the classes, as in sets balanced by hand; in the wild they do not. If this "
            "set is one of those, add --set base_rates=even."
        )
    with progress_callbacks() as callbacks:
        refined = pipeline.refine(samples, rule, sources, resources, callbacks, precision=precision)
    parquet.write(refined, target, overwrite=force)
    labeled, flagged, changed = (int(rows.sum()) for rows in (refined.labeled, refined.flagged, refined.changed))
    if json_:
        counts = {"faces": len(refined), "labeled": labeled, "flagged": flagged, "changed": changed}
        asked = {} if precision is None else {"precision": refined.metadata["precision"]}
        print_json({"file": str(target), "method": method, **counts, **asked})
    if no_evidence := int(unseen(refined).sum()):
        left_out = f"{words('fercleaner', 'export', target)} FILE.csv --drop-unseen"
        note(
            f"No evidence about {share(no_evidence, len(refined))} faces: their given labels stay, at the weight of "
            f"one that nothing contradicts, and `reason` says why. {left_out} leaves them out."
        )
    if labeled and not flagged:
        trial = f"fercleaner evaluate {set_options.again(dataset)} --inject symmetric:0.2"
        note(
            "No label is flagged: they are right, or this evidence does not tell the classes apart on a set of this "
            f"size. Which of the two: {trial}"
        )
    note(
        f"Wrote {target}: {len(refined):,} faces; flagged {share(flagged, labeled)}, "
        f"changed {share(changed, labeled)}.\nNext: {words('fercleaner', 'show', target)}"
    )


def set_name(dataset: Path) -> str:
    """Return what a set is called in file names: its folder's name, or its file's without the ending."""
    whole = Path(os.path.abspath(dataset))
    return (whole.stem if whole.is_file() else whole.name) or "dataset"
