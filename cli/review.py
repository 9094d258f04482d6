"""`fercleaner review`: faces to decide about, one after another, on a page of this machine; or a list of them."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .checks import apart, check_unused
from .export import check_not_the_set

if TYPE_CHECKING:
    from fercleaner.core.arrays import Ints
    from fercleaner.core.refined import RefinedSet
    from fercleaner.review.pictures import ShownPictures
    from fercleaner.review.session import Session

LIST = "A list in place of the page"
#: Said of faces of the lowest quality.
BY_QUALITY = (
    "By quality: this way mends the worst labels. Little is learned from such faces about the others, and with methods "
    "other than consensus it can harm them. To learn, take the default order or --by random."
)
#: Endings of a list, and what each is.
ENDINGS = (".csv", ".json")


def review(
    file: Annotated[Path, typer.Argument(help="A refined Parquet file.", show_default=False)],
    log: Annotated[
        Path | None,
        typer.Option(
            metavar="LOG", help="Decisions, appended to; FILE.decisions.jsonl by default.", show_default=False
        ),
    ] = None,
    who: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who decides; your user name by default.", show_default=False)
    ] = None,
    by: Annotated[
        str, typer.Option(help="Which faces first: gain (of a look, expected), quality (lowest first) or random.")
    ] = "gain",
    set_: Annotated[
        Path | None,
        typer.Option(
            "--dataset",
            metavar="SET",
            help="The set itself, for pictures inside a csv or a Hugging Face set and for face boxes.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Folder that pictures may lie in; repeat for more.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, open nothing.")] = False,
    top: Annotated[
        int | None,
        typer.Option(
            min=1, help="List so many faces to look at first, and stop.", rich_help_panel=LIST, show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write them: .csv with a column to fill in, or .json for Label Studio.",
            rich_help_panel=LIST,
            show_default=False,
        ),
    ] = None,
    conflicts: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="LOG",
            help="List the faces on which logs disagree, and stop; repeat for each log.",
            rich_help_panel=LIST,
            show_default=False,
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print a list as JSON.", rich_help_panel=LIST)] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.", rich_help_panel=LIST)] = False,
) -> None:
    """Decide about faces by keys, the most valuable first; each decision is on disk before the next face.

    The page is served to this machine alone. `fercleaner refine SET --decisions LOG` takes the decisions as certain,
    and corrects by them what it says of the other faces: decide about right labels, too.
    Example: fercleaner review rafdb.refined.parquet; fercleaner review rafdb.refined.parquet --top 100
    """
    from fercleaner.results import parquet

    for written in (out, log):
        if written is not None:
            apart(written, file, set_, conflicts)
    page: dict[str, Any] = {"--log": log, "--who": who, "--dataset": set_, "--images": images}
    page |= {"--port": port or None, "--no-browser": no_browser}
    if conflicts:
        words = {"--top": top, "--out": out, **page}
        check_unused(words, "--conflicts lists what logs say, and opens no page. Leave one out.")
    elif top is not None or out is not None:
        check_unused(page, "--top and --out write a list, and open no page. Leave it out.")
    else:
        check_unused(
            {"--json": json_},
            "the page prints nothing. Name a list, --top N, --out FILE or --conflicts LOG, or leave it out.",
        )
    if out is None:
        check_unused({"--force": force}, "no list is written. Add --out FILE, or leave it out.")
    refined = parquet.load(file)
    if conflicts:
        _list_conflicts(refined, conflicts, json_)
    elif top is not None or out is not None:
        _list_first(refined, file, by, top or len(refined), out, json_, force)
    else:
        from fercleaner.review.log import DecisionLog
        from fercleaner.review.session import Session, file_digest

        decisions = DecisionLog(log or default_log(file))
        decisions.check()
        session = Session(refined, decisions, who or getpass.getuser(), by=by, digest=file_digest(file))
        _serve(session, _pictures(refined, set_, images), port, no_browser, BY_QUALITY if by == "quality" else "")


def default_log(file: Path) -> Path:
    """Return "faces.decisions.jsonl" beside "faces.refined.parquet"."""
    return file.with_name(f"{file.name.removesuffix(file.suffix).removesuffix('.refined')}.decisions.jsonl")


def _pictures(refined: RefinedSet, dataset: Path | None, images: list[Path] | None) -> ShownPictures:
    from fercleaner import datasets
    from fercleaner.core.text import shown
    from fercleaner.extraction.stores import is_address
    from fercleaner.review.pictures import ShownPictures

    from .console import note
    from .export import WHOLE, pictures_of

    samples = (
        pictures_of(refined) if dataset is None else datasets.read_again(dataset, refined.metadata.get("read_as", {}))
    )
    if samples is None and not refined.paths.astype(bool).any():
        note("The refined file names no pictures. Where they lie inside the set, name it: --dataset SET.")
    if samples is None and refined.metadata.get("boxed"):
        note(WHOLE)
    named = [path for path in refined.paths.tolist() if path and not is_address(path)] if samples is None else []
    if named and not any(os.path.isfile(path) for path in named):
        note(
            f"None of the pictures is where the refined file says (first: {shown(named[0])}), and none will be shown. "
            "Run the command where these paths start, or name the set: --dataset SET."
        )
    return ShownPictures(refined, images, samples)


def _serve(session: Session, pictures: ShownPictures, port: int, no_browser: bool, about: str) -> None:
    from fercleaner.core.text import counted
    from fercleaner.review.server import serve

    from .console import note, words

    log = session.log.path
    if session.unreadable:
        note(f"{log}: {len(session.unreadable)} lines cannot be read and do not count (a crash may have torn one).")

    if about:
        note(about)

    def ready(address: str) -> None:
        note(f"Decisions by {session.who} go to {log}.\nReview at {address} (this machine only; Ctrl-C ends it).")
        if not no_browser:
            import webbrowser

            webbrowser.open(address)

    serve(session, pictures, port=port, ready=ready)
    done = session.progress()
    note(
        f"{counted(done['decided'], 'face', 'faces')} decided by {session.who}.\n"
        f"Next: {words('fercleaner', 'refine')} SET {words('--decisions', log)}"
    )


def _list_first(refined: RefinedSet, file: Path, by: str, top: int, out: Path | None, json_: bool, force: bool) -> None:
    from fercleaner.review.queue import chance_range, expected_gain, order

    from .console import note, print_json, print_table

    rows, gain = order(refined, by)[:top], expected_gain(refined)
    if out is not None:
        _write_list(refined, rows, out, force)
    given, label = refined.given_label, refined.label
    faces: list[dict[str, Any]] = [
        {
            "id": str(refined.ids[row]),
            "given": refined.classes[given[row]] if given[row] >= 0 else "",
            "refined": refined.classes[label[row]],
            "probability": round(1 - float(gain[row]), 4),
            "quality": round(float(refined.quality[row]), 4),
            "reason": str(refined.reason[row]),
        }
        for row in rows.tolist()
    ]
    expected = float(gain[rows].sum())
    low, high = chance_range(expected, float((gain[rows] * (1 - gain[rows])).sum()), len(rows))
    if json_:
        wrong = {"expected_wrong_refined": expected, "expected_wrong_refined_range": [low, high]}
        print_json({"file": str(file), "by": by, "faces": faces, **wrong})
    elif out is None:
        print_table(
            f"{file}: {len(rows):,} of {len(refined):,} faces to look at first, by {by}",
            ["id", "given", "refined", "probability", "quality"],
            [
                [f["id"], f["given"] or "-", f["refined"], f"{f['probability']:.3f}", f"{f['quality']:.4f}"]
                for f in faces
            ],
            left=3,
        )
    note(
        f"Of these {len(rows):,} refined labels, {low:,.0f} to {high:,.0f} are expected to be wrong (95 %, as far as "
        "the refined distributions can be believed)."
    )


def _write_list(refined: RefinedSet, rows: Ints, out: Path, force: bool) -> None:
    from fercleaner.core.errors import InputError
    from fercleaner.core.files import replacing
    from fercleaner.core.text import counted
    from fercleaner.results.export import label_studio
    from fercleaner.review import exchange

    from .console import note, words

    if out.suffix.lower() not in ENDINGS:
        raise InputError(f"--out {out}: the name must end in {' or '.join(ENDINGS)}, which says the format.")
    check_not_the_set(refined, out)
    _check_not_filled_in(out, refined)
    escaped = 0
    if out.suffix.lower() == ".csv":
        text, escaped = exchange.review_csv(refined, rows)
    else:
        text = label_studio.tasks(refined, rows)
        config = out.with_suffix(".xml")
        with replacing(config, force) as stream:
            stream.write(label_studio.config(refined.classes).encode())
        note(f"Wrote {config}: the labeling configuration of the Label Studio project.")
    with replacing(out, force) as stream:
        stream.write(text.encode())
    if escaped:
        held = counted(escaped, "row holds", "rows hold")
        note(f"{held} text that a spreadsheet would run or change; it is written as JSON strings.")
    note(f"Wrote {out}: {len(rows):,} faces.\nNext, once filled in: fercleaner refine SET {words('--decisions', out)}")


def _check_not_filled_in(out: Path, refined: RefinedSet) -> None:
    """Raise StoreError where OUT is a list that somebody has filled in: not even --force overwrites decisions."""
    from fercleaner.core.errors import InputError, StoreError
    from fercleaner.review.exchange import read_decisions

    try:
        decided = len(read_decisions([out], refined.classes)) if out.is_file() else 0
    except InputError:  # no list of decisions
        return
    if decided:
        raise StoreError(
            f"{out} holds decisions about {decided:,} faces and is never overwritten. Use them (fercleaner refine SET "
            f"--decisions {out}), and choose another name for the new list."
        )


def _list_conflicts(refined: RefinedSet, logs: list[Path], json_: bool) -> None:
    from fercleaner.review.exchange import read_decisions

    from .console import note, print_json, print_table

    decisions = read_decisions(logs, refined.classes, refined)
    if json_:
        print_json(
            {
                "decided": len(decisions),
                "conflicts": [
                    {
                        "id": conflict.id,
                        "opinions": {who: said.to_dict() for who, said in conflict.opinions.items()},
                        "settled_as": None if conflict.settled_as is None else conflict.settled_as.to_dict(),
                    }
                    for conflict in decisions.conflicts
                ],
            }
        )
    elif decisions.conflicts:
        print_table(
            "Faces on which people disagree",
            ["id", "opinions", "taken as"],
            [
                [
                    conflict.id,
                    ", ".join(f"{who}: {said}" for who, said in conflict.opinions.items()),
                    "left open" if conflict.settled_as is None else str(conflict.settled_as),
                ]
                for conflict in decisions.conflicts
            ],
            left=3,
        )
    note(
        f"{len(decisions):,} faces decided; people disagree on {len(decisions.conflicts):,}. What more than half say "
        "counts; without that the face stays undecided."
    )
