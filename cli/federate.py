"""`fercleaner federate`: the sites of one set, each refined alone and with what the others learned, on one machine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .checks import pairs
from .options import METHOD, SetOptions, with_set_options

if TYPE_CHECKING:
    from fercleaner.federation.simulate import Federated

ROUNDS_PANEL = "Rounds"
#: As in the library, so that `--help` need not import it.
ROUNDS, COLUMNS, PARTS, LEAST_FACES = 14, 1024, 5, 50

Rounds = Annotated[int, typer.Option(min=1, help="Rounds of averaging.", rich_help_panel=ROUNDS_PANEL)]
Columns = Annotated[int, typer.Option(min=2, help="Columns of the random features.", rich_help_panel=ROUNDS_PANEL)]
Parts = Annotated[
    int,
    typer.Option(
        min=2,
        help="Parts that sites are dealt to; no head judges the part it learned from.",
        rich_help_panel=ROUNDS_PANEL,
    ),
]
LeastFaces = Annotated[
    int,
    typer.Option(
        min=1, help="A site with fewer labeled faces receives and sends nothing.", rich_help_panel=ROUNDS_PANEL
    ),
]


class Aggregate(StrEnum):
    """How steps are joined."""

    robust = "robust"
    secure = "secure"


Aggregation = Annotated[
    Aggregate,
    typer.Option(
        help="Bound each site's step (robust), or add steps under masks so that none is seen (secure): never both.",
        rich_help_panel=ROUNDS_PANEL,
    ),
]
Noise = Annotated[
    float,
    typer.Option(
        min=0.0,
        help="Noise that a site adds to what it sends; at 1 as long as the longest step.",
        rich_help_panel=ROUNDS_PANEL,
    ),
]


@with_set_options
def federate(
    dataset: Annotated[Path, typer.Argument(help="Folder, list or table of the set.", show_default=False)],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where each site's refined file goes.", show_default=False)],
    method: Annotated[str, typer.Option(help="Rule that each site refines by.", rich_help_panel=METHOD)] = "consensus",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Set a parameter of the method.", rich_help_panel=METHOD),
    ] = None,
    rounds: Rounds = ROUNDS,
    columns: Columns = COLUMNS,
    parts: Parts = PARTS,
    least_faces: LeastFaces = LEAST_FACES,
    noise: Noise = 0.0,
    aggregate: Aggregation = Aggregate.robust,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the files.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    set_options: SetOptions,
) -> None:
    """Try on one machine what sites that may not share faces gain from each other.

    Each site sees its own faces alone; the messages that would travel are made, counted and kept under DIR/messages.
    Example: fercleaner federate faces.csv --site-by hospital --out sites/
    """
    from fercleaner import methods
    from fercleaner.core.files import check_folder_apart, check_writable
    from fercleaner.federation import simulate
    from fercleaner.federation.secure import check_installed
    from fercleaner.federation.terms import Conditions, Settings
    from fercleaner.results import parquet

    from .console import note, print_json, print_table, progress_callbacks, share, size, words

    rule = methods.build(method, pairs(settings, "--set"))
    wanted = Settings(rounds, columns, parts, least_faces, seed=set_options.seed, aggregate=str(aggregate))
    if aggregate == Aggregate.secure:
        check_installed()
    check_folder_apart(out, [dataset], [set_options.images, set_options.features, set_options.cache])
    out.mkdir(parents=True, exist_ok=True)
    samples, sources, resources = set_options.open(dataset)
    files = {name: out / f"{file}.refined.parquet" for name, file in simulate.file_names(samples).items()}
    for file in files.values():
        set_options.check_apart(file, dataset)
        check_writable(file, force)
    with progress_callbacks() as callbacks:
        conditions = Conditions(least_faces, str(aggregate))
        sites = simulate.participants(samples, rule, sources, resources, callbacks, conditions)
        done = simulate.federate(sites, wanted, noise=noise, log=out / "messages", callbacks=callbacks)
        refined = simulate.finish(sites, done, callbacks)
    for name, answer in refined.items():
        parquet.write(answer, files[name], overwrite=force)
    for sentence in done.refused:
        note(sentence)
    labeled = {name: int(answer.labeled.sum()) for name, answer in refined.items()}
    if json_:
        print_json({"terms": done.terms.to_dict(), "sites": {n: _json(n, done, str(files[n])) for n in refined}})
    else:
        rows = [
            [
                name,
                f"{len(answer):,}",
                share(int(answer.flagged.sum()), labeled[name]),
                share(int(answer.changed.sum()), labeled[name]),
                size(done.sent[name]),
                size(done.received[name]),
            ]
            for name, answer in refined.items()
        ]
        print_table("", ["site", "faces", "flagged", "changed", "sent", "received"], rows)
    note(
        f"Wrote {len(files)} files to {out}; {out / 'messages'} holds all that would have left each site.\n"
        f"Next: {words('fercleaner', 'show', next(iter(files.values())))}"
    )


def _json(name: str, done: Federated, file: str) -> dict[str, object]:
    return {
        "file": file,
        "part": done.parts[name],
        "sent_bytes": done.sent[name],
        "received_bytes": done.received[name],
    }
