"""`fercleaner show` and `fercleaner evaluate`: what a refined file says, and how right it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def show(
    file: Annotated[Path, typer.Argument(help="A refined Parquet file.", show_default=False)],
    top: Annotated[int, typer.Option(min=0, help="Pairs and faces to list.")] = 10,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Summarize a refined file: rates per class, confused pairs, what to look at first.

    Quality says how far a given label is supported, 0 to 1: low is suspicious.
    """
    from fercleaner import store
    from fercleaner.summary import summarize

    from .console import note, print_json, print_table, share

    summary = summarize(store.load(file), top=top)
    if json_:
        print_json(summary.to_dict())
        return
    print_table(
        f"{file}: {summary.faces:,} faces, method {summary.method}",
        ["class", "given", "refined", "flagged", "of given", "changed", "quality"],
        [
            [
                row.name,
                f"{row.given:,}",
                f"{row.refined:,}",
                f"{row.flagged:,}",
                "-" if row.flagged_rate is None else f"{100 * row.flagged_rate:.1f} %",
                f"{row.changed:,}",
                "-" if row.mean_quality is None else f"{row.mean_quality:.3f}",
            ]
            for row in summary.classes
        ],
    )
    print_table(
        "Most often changed",
        ["given", "refined", "faces", "of given"],
        [[p.given, p.refined, f"{p.count:,}", f"{100 * p.share:.1f} %"] for p in summary.confused],
        left=2,
    )
    print_table(
        "Look at these first",
        ["id", "quality", "why"],
        [[s.id, f"{s.quality:.4f}", s.reason] for s in summary.suspects],
        left=3,
    )
    note(
        f"Flagged {share(summary.flagged, summary.labeled)} labels; changed {share(summary.changed, summary.labeled)}; "
        f"unlabeled {share(summary.unlabeled, summary.faces)}; "
        f"without evidence {share(summary.without_evidence, summary.faces)}.\n"
        f"Next: fercleaner evaluate {file} --truth FILE, or fercleaner.load('{file}') in Python."
    )


def evaluate(
    file: Annotated[Path, typer.Argument(help="A refined Parquet file.", show_default=False)],
    truth: Annotated[Path, typer.Option(metavar="FILE", help="CSV with votes a class, or with a clean label column.")],
    min_votes: Annotated[float, typer.Option(min=0, help="Judge rows whose top vote has at least this many.")] = 6,
    image_column: Annotated[str | None, typer.Option(metavar="NAME", help="Column of ids in the truth file.")] = None,
    label_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of clean labels in the truth file.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a refined file against annotators' votes or clean labels.

    Example: fercleaner evaluate set.refined.parquet --truth votes.csv --min-votes 6
    """
    from fercleaner import store
    from fercleaner.evaluation import evaluate as measure
    from fercleaner.truth import read_truth

    from .console import note, print_json, print_table, share

    refined = store.load(file)
    answer = read_truth(truth, refined.classes, image_column=image_column, label_column=label_column)
    figures = measure(refined, answer, min_votes=min_votes).to_dict()
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
    rows = [[title, _figure(figures[key])] for key, title in titles.items()]
    rows += [[f"flags: {key}", _figure(value)] for key, value in figures["flags"].items()]
    print_table(f"{file} against {truth}", ["measure", "value"], rows)
    note(f"Judged {share(figures['judged'], figures['faces'])} faces.")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
