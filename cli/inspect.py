"""`fercleaner show`: what a refined file says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fercleaner.summary import Summary


def show(
    file: Annotated[Path, typer.Argument(help="A refined Parquet file.", show_default=False)],
    top: Annotated[int, typer.Option(min=0, help="Pairs and faces to list.")] = 10,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Summarize a refined file: rates per class, confused pairs, expected noise, what to look at first.

    Quality says how far a given label is supported, 0 to 1: low is suspicious. "wrong" is the expected share of
    wrong labels, a rough figure: the refined distributions taken at their word.
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
        ["class", "given", "refined", "flagged", "of given", "changed", "quality", "wrong"],
        [
            [
                row.name,
                f"{row.given:,}",
                f"{row.refined:,}",
                f"{row.flagged:,}",
                _percent(row.flagged_rate),
                f"{row.changed:,}",
                "-" if row.mean_quality is None else f"{row.mean_quality:.3f}",
                _percent(wrong),
            ]
            for row, wrong in zip(summary.classes, summary.noise.wrong_rates, strict=True)
        ],
    )
    print_table(
        "Most often changed",
        ["given", "refined", "faces", "of given"],
        [[p.given, p.refined, f"{p.count:,}", _percent(p.share)] for p in summary.confused],
        left=2,
    )
    _print_noise(summary)
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


def _print_noise(summary: Summary) -> None:
    """Write the expected transition matrix and the pairs that are mixed most."""
    from .console import print_table

    noise, names = summary.noise, [row.name for row in summary.classes]
    if noise.rate is None:
        return
    rows, columns = _headings(names)
    print_table(
        f"Expected noise {_percent(noise.rate)}: labels (columns) given to each class (rows), in %",
        ["class", *columns],
        [[name, *(f"{100 * share:.0f}" for share in row)] for name, row in zip(rows, noise.transition, strict=True)],
    )
    print_table(
        "Most often mixed, as expected",
        ["class", "labeled", "faces", "of class"],
        [[p.true, p.given, f"{p.count:,.0f}", _percent(p.share)] for p in noise.mixed],
        left=2,
    )


def _headings(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return names for the rows and short ones for the columns: first letters, or numbers where these are alike."""
    short = [name[:4] for name in names]
    if len(set(short)) == len(names):
        return list(names), short
    return [f"{i} {name}" for i, name in enumerate(names, 1)], [str(i) for i in range(1, len(names) + 1)]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
