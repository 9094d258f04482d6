"""`fercleaner show`: what a refined file says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .checks import check_unused

if TYPE_CHECKING:
    from fercleaner.core.refined import RefinedSet
    from fercleaner.results.near_duplicates import Duplicates
    from fercleaner.results.summary import Summary


def show(
    file: Annotated[Path, typer.Argument(help="A refined Parquet file.", show_default=False)],
    top: Annotated[int, typer.Option(min=0, help="Pairs and faces to list.")] = 10,
    dataset: Annotated[
        Path | None,
        typer.Option(
            metavar="SET",
            help="With --duplicates: the set that the file was made from, for pictures inside a csv or a Hugging Face "
            "dataset; by default the one the file says.",
            show_default=False,
        ),
    ] = None,
    duplicates: Annotated[
        bool,
        typer.Option(
            "--duplicates",
            help="Open the pictures too, and list copies (near, mirrored, cropped otherwise) that were given different "
            "labels or lie in several splits.",
        ),
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Another refined file: say what the two differ in.", show_default=False),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Summarize a refined file: rates per class, confused pairs, expected noise, what to look at first.

    Quality says how far a given label is supported, 0 to 1: low is suspicious. "of given" is the share of a class's
    given labels that is flagged, or changed.
    """
    if against is not None:
        from .against import show_difference

        check_unused({"--duplicates": duplicates, "--dataset": dataset}, "--against opens no picture. Leave one out.")
        show_difference(file, against, top, json_)
        return
    check_unused(
        {"--dataset": None if duplicates else dataset}, "it goes with --duplicates. Add that, or leave it out."
    )
    from fercleaner.results import parquet
    from fercleaner.results.summary import nearly_lost, summarize

    from .console import note, print_json, print_table, share, words

    refined = parquet.load(file)
    summary = summarize(refined, top=top)
    found = _find_duplicates(refined, file, dataset) if duplicates else None
    if json_:
        print_json({**summary.to_dict(), **({} if found is None else {"duplicates": found.to_dict()})})
        return
    _print_classes(file, summary)
    for sentence in [*nearly_lost(refined), *refined.metadata.get("notes", [])]:
        note(sentence)
    if summary.confused:
        print_table(
            "Most often changed",
            ["given", "refined", "faces", "of given"],
            [[p.given, p.refined, f"{p.count:,}", _percent(p.share)] for p in summary.confused],
            left=2,
        )
    _print_noise(refined, summary)
    if summary.suspects:
        print_table(
            "Look at these first",
            ["id", "quality", "why"],
            [[s.id, f"{s.quality:.4f}", s.reason or f"labeled {s.given}; not flagged"] for s in summary.suspects],
            left=3,
        )
    if summary.no_evidence:
        print_table(
            "Without evidence, and why; export --drop-unseen leaves these out",
            ["id", "picture", "what became of it"],
            [[face.id, face.path or "-", face.reason] for face in summary.no_evidence],
            left=3,
        )
    if "annotators" in refined.metadata:
        from .annotators import print_annotators

        print_annotators(refined.metadata["annotators"], top)
    if found is not None:
        _print_duplicates(found, top)
    note(
        f"Flagged {share(summary.flagged, summary.labeled)} labels; changed {share(summary.changed, summary.labeled)}; "
        f"unlabeled {share(summary.unlabeled, summary.faces)}; "
        f"without evidence {share(summary.without_evidence, summary.faces)}.\n"
        f"Next: {_next(file, int((refined.flagged & ~refined.decided).sum()))}\n"
        f"With votes or clean labels: {words('fercleaner', 'evaluate', file)} --truth FILE"
    )


def _print_classes(file: Path, summary: Summary) -> None:
    from .console import note, print_table

    print_table(
        f"{file}: {summary.faces:,} faces, method {summary.method}",
        ["class", "given", "refined", "flagged", "of given", "changed", "of given", "quality"],
        [
            [
                row.name,
                f"{row.given:,}",
                f"{row.refined:,}",
                f"{row.flagged:,}",
                _percent(row.flagged_rate),
                f"{row.changed:,}",
                _percent(row.changed / row.given if row.given else None),
                "-" if row.mean_quality is None else f"{row.mean_quality:.3f}",
            ]
            for row in summary.classes
        ],
    )
    if lost := [f"{row.name} ({row.given:,} given)" for row in summary.classes if row.given and not row.refined]:
        note(f"No face is refined to {', '.join(lost)}.")


def _next(file: Path, flagged: int) -> str:
    """Return the command that lists the flagged faces, or where there are none that hands the set to a trainer."""
    from .console import words

    stem = file.name.removesuffix(file.suffix)
    if flagged:
        return words("fercleaner", "export", file, f"{stem}.flagged.csv", "--only-flagged")
    return words("fercleaner", "export", file, f"{stem}.csv")


def _find_duplicates(refined: RefinedSet, file: Path, dataset: Path | None) -> Duplicates:
    from fercleaner.datasets import read_again
    from fercleaner.report.pictures import faces_of
    from fercleaner.results.near_duplicates import find_duplicates

    from .console import progress_callbacks
    from .export import pictures_of

    with progress_callbacks() as callbacks:
        read_as = refined.metadata.get("read_as", {})
        inside = pictures_of(refined) if dataset is None else read_again(dataset, read_as)
        faces = faces_of(refined, inside, file.parent)
        return find_duplicates(refined, faces, progress=callbacks.stage("pictures"))


def _print_duplicates(found: Duplicates, top: int) -> None:
    """Write the groups whose labels conflict and those in several splits, and how many there are of each kind."""
    from .console import note, print_table, share

    conflicting = [group for group in found.groups if group.conflicting]
    if conflicting[:top]:
        print_table(
            "Near-duplicates that were given different labels",
            ["faces", "given", "refined", "kind", "keep"],
            [
                [_few(group.ids), _few(group.given), _few(group.refined), group.kind, group.keep]
                for group in conflicting[:top]
            ],
            left=5,
        )
    leaking = [group for group in found.groups if group.leaking]
    if leaking[:top]:
        print_table(
            "Near-duplicates that lie in several splits",
            ["faces", "splits", "kind", "keep"],
            [[_few(group.ids), _few(group.splits), group.kind, group.keep] for group in leaking[:top]],
            left=4,
        )
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in found.unread.items())
    inside = sum(len(group.ids) for group in found.groups)
    note(f"Pictures compared: {share(found.compared, found.faces)}{f' (others: {left_out})' if left_out else ''}.")
    if found.compared < 2:
        note(
            "Run the command where the pictures' paths start; or, where they lie elsewhere or inside the set that was "
            "refined, name it: --dataset SET."
        )
        return
    note(
        f"Near-duplicates: {inside:,} in {len(found.groups):,} groups; labels differ in {len(conflicting):,}, splits "
        f"in {len(leaking):,}; --json lists all. Name groups in a column `group` to "
        "keep them from voting for each other."
    )


def _few(texts: Sequence[str], most: int = 4) -> str:
    """Return "a, b, c, d, 3 more"; "-" stands for a missing label."""
    more = [f"{len(texts) - most:,} more"] if len(texts) > most else []
    return ", ".join([*(text or "-" for text in texts[:most]), *more])


def _print_noise(refined: RefinedSet, summary: Summary) -> None:
    """Write the expected transition matrix."""
    from fercleaner.results.summary import absent_classes

    from .console import note, one_line, print_table

    noise, names = summary.noise, [one_line(row.name) for row in summary.classes]
    if noise.rate is None:
        return
    rows, columns = _headings(names)
    print_table(
        f"Expected noise {noise.range_text}: labels (columns) given to each class (rows), in %",
        ["class", *columns],
        [
            [name, *("-" if absent else f"{100 * share:.0f}" for share in row)]
            for name, row, absent in zip(rows, noise.transition, absent_classes(refined), strict=True)
        ],
    )
    note(
        "Expected noise cannot tell ambiguous faces from wrong labels: it may count right labels of such faces, and "
        "misses mistakes that nearest neighbors share."
    )


def _headings(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return names for the rows and short ones for the columns: first letters, or numbers where these are alike."""
    short = [name[:4] for name in names]
    if len(set(short)) == len(names):
        return list(names), short
    return [f"{i} {name}" for i, name in enumerate(names, 1)], [str(i) for i in range(1, len(names) + 1)]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
