"""`fercleaner evaluate`: a refined file against a truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .checks import check_unused, classes_option, pairs

#: The library's default, so that `--help` need not import it.
MIN_VOTES = 6.0


def evaluate(
    file: Annotated[Path, typer.Argument(help="A refined Parquet file.", show_default=False)],
    *,
    truth: Annotated[
        Path,
        typer.Option(metavar="FILE", help="CSV with votes a class, or with a clean label column.", show_default=False),
    ],
    min_votes: Annotated[float, typer.Option(help="Judge rows whose top vote has at least this many.")] = MIN_VOTES,
    image_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of the image in the truth file.")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of clean labels in the truth file.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...", help="What clean labels that are numbers count: classes in order, or a class set."
        ),
    ] = None,
    alias: Annotated[list[str] | None, typer.Option(metavar="X=Y", help="Read clean label X as Y.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a refined file against votes or clean labels.

    Where clean labels are numbers, --classes says of what: rafdb, say, or A,B,... in order; or --alias NUMBER=NAME.

    Example: fercleaner evaluate set.refined.parquet --truth votes.csv --min-votes 6
    """
    from fercleaner.core.errors import StoreError
    from fercleaner.datasets.options import ReadOptions
    from fercleaner.datasets.truth import read_truth
    from fercleaner.evaluation.against_truth import evaluate as measure
    from fercleaner.results import parquet

    from .console import note, print_json, print_table, share, warnings_to, words

    if file.is_dir():
        raise StoreError(
            f"{file} is a folder; --truth judges a refined file. Write one: {words('fercleaner', 'refine', file)}; or "
            f"try methods on the set itself: {words('fercleaner', 'trial', file)} --inject symmetric:0.2."
        )
    refined = parquet.load(file)
    options = ReadOptions(classes=classes_option(classes), alias=pairs(alias, "--alias")) if classes or alias else None
    with warnings_to(note):
        answer = read_truth(
            truth, refined.classes, image_column=image_column, label_column=label_column, options=options
        )
    if answer.votes is None:
        asked = None if min_votes == MIN_VOTES else min_votes
        check_unused({"--min-votes": asked}, f"{truth} holds clean labels and no votes. Leave it out.")
    measured = measure(refined, answer, min_votes=min_votes)
    figures, details = measured.to_dict(), measured.details()
    if json_:
        print_json(figures)
        return
    titles = {
        "noise_rate": "given labels that the truth contradicts",
        "auroc": "AUROC of finding them",
        "auroc_per_class": "AUROC, mean over given classes",
        "average_precision": "average precision",
        "r_precision": "R-precision",
        "given_accuracy": "accuracy of given labels",
        "refined_accuracy": "accuracy of refined labels",
        "js_given": "Jensen-Shannon divergence of given from the truth (bits)",
        "js_refined": "Jensen-Shannon divergence of refined from the truth (bits)",
    }
    rows = [[title, figure(figures[key])] for key, title in titles.items()]
    rows += [
        ["mean recall per class of given labels", figure(details["given_mean_recall"])],
        ["mean recall per class of refined labels", figure(details["refined_mean_recall"])],
    ]
    rows += [[f"flags: {key}", figure(value)] for key, value in figures["flags"].items()]
    print_table(f"{file} against {truth}", ["measure", "value"], rows)
    _print_classes(details["classes"])
    note(f"Judged {share(figures['judged'], figures['faces'])} faces.")
    if figures["noise_rate"] == 0:
        note(
            "The truth contradicts no given label, so nothing can be said about finding wrong ones. Is it another file?"
        )


def _print_classes(classes: list[dict[str, Any]]) -> None:
    """Write each class's given labels and how well wrong ones are found; its true faces and who calls them that."""
    from .console import print_table

    print_table(
        "By class: given labels and how many are wrong; true faces, and their recall",
        ["class", "given", "wrong", "AP", "AUROC", "true", "by given", "by refined"],
        [
            [
                row["name"],
                f"{row['given']:,}",
                f"{row['wrong']:,}",
                *(figure(row[key], 3) for key in ("average_precision", "auroc")),
                f"{row['true']:,}",
                *(figure(row[key], 3) for key in ("given_recall", "refined_recall")),
            ]
            for row in classes
        ],
    )


def figure(value: float | None, digits: int = 4) -> str:
    """Return a figure for a table, "-" where there is none."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"
