"""`fercleaner site`: refine a set with what other sites learned; no picture, embedding or label leaves it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .checks import check_unused, host_and_port, pairs
from .federate import LEAST_FACES, ROUNDS_PANEL, Aggregate, Aggregation, Noise
from .options import METHOD, SetOptions, with_set_options
from .refine import set_name


@with_set_options
def site(
    dataset: Annotated[Path, typer.Argument(help="Folder, list or table of the set.", show_default=False)],
    *,
    coordinator: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the coordinator is.", show_default=False)
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The key that the coordinator made.", show_default=False)
    ] = None,
    method: Annotated[str, typer.Option(help="Rule that each site refines by.", rich_help_panel=METHOD)] = "consensus",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Set a parameter of the method.", rich_help_panel=METHOD),
    ] = None,
    least_faces: Annotated[
        int,
        typer.Option(
            min=1,
            help="Send sums over at least so many labeled faces, and nothing where the coordinator asks for fewer.",
            rich_help_panel=ROUNDS_PANEL,
        ),
    ] = LEAST_FACES,
    aggregate: Aggregation = Aggregate.robust,
    noise: Noise = 0.0,
    wait: Annotated[
        float, typer.Option(min=0.0, help="Seconds to try again where the coordinator cannot be reached.")
    ] = 60.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would leave this site, and send nothing.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write; SET.refined.parquet here by default.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    set_options: SetOptions,
) -> None:
    """Refine a set's labels together with other sites; what leaves is written down first, in FILE.messages.

    Killed, run it again: it goes on where the federation stands.
    Example: fercleaner site faces/ --coordinator 10.0.0.1:8443 --key site-1.key
    """
    from fercleaner import methods
    from fercleaner.core.errors import InputError, StoreError
    from fercleaner.core.files import check_writable
    from fercleaner.federation.client import Link, knock, take_part
    from fercleaner.federation.keys import SiteKey
    from fercleaner.federation.messages import MessageLog
    from fercleaner.federation.participant import Participant, rehearsed
    from fercleaner.federation.secure import check_installed
    from fercleaner.federation.terms import Conditions, check_same_classes
    from fercleaner.results import parquet

    from .console import note, progress_callbacks, share, size, words

    if not dry_run and (coordinator is None or key is None):
        raise InputError("A site needs --coordinator HOST:PORT and --key FILE; --dry-run shows what would leave it.")
    if set_options.site_by not in ("auto", "none"):
        check_unused({"--site-by": set_options.site_by}, "the set is one site. Leave it out.")
    target = out or Path(f"{set_name(dataset)}.refined.parquet")
    rule = methods.build(method, pairs(settings, "--set"))
    conditions = Conditions(least_faces, str(aggregate))
    own = None if key is None else SiteKey.read(key)
    link = None
    if not dry_run and own is not None and coordinator is not None:
        link = Link(host_and_port(coordinator, "--coordinator"), own, wait, note)
    if aggregate == Aggregate.secure:
        check_installed()
    if not dry_run:
        set_options.check_apart(target, dataset, key)
        check_writable(target, force)
    classes = () if link is None else knock(link.key.site, link, conditions)
    samples, sources, resources = set_options.open(dataset)
    if link is not None and classes:  # before vectors are computed
        check_same_classes(link.key.site, samples.classes, classes)
    samples = samples.replacing(site=None)
    log = MessageLog(target.with_name(f"{target.name}.messages"))
    with progress_callbacks() as callbacks:
        name = "this site" if own is None else own.site
        here = Participant(name, samples, rule, sources, resources, callbacks, conditions)
        if link is None:
            for text in rehearsed(here, noise):
                typer.echo(text)
            note("Nothing was sent.")
            return
        head, rounds = take_part(here, link, log, noise=noise)
        refined = here.finish(head, rounds)
    try:
        parquet.write(refined, target, overwrite=force)
    except StoreError as error:  # what was learned is at the coordinator alone
        way_out = "The heads are still the coordinator's: where it has ended, it is started again with --stay."
        raise StoreError(f"{error} Then run the same command again. {way_out}") from error
    labeled = int(refined.labeled.sum())
    note(
        f"Sent {size(log.bytes)}, all of it in {log.folder}.\nWrote {target}: {len(refined):,} faces; flagged "
        f"{share(int(refined.flagged.sum()), labeled)}, changed {share(int(refined.changed.sum()), labeled)}.\n"
        f"Next: {words('fercleaner', 'show', target)}"
    )
