"""`fercleaner coordinate`: join what sites send, round by round; it sees no face, embedding or label."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from .federate import COLUMNS, LEAST_FACES, PARTS, ROUNDS, Aggregate, Aggregation, Columns, LeastFaces, Parts, Rounds

#: Addresses that stand for all of a machine's: a site cannot reach it by them.
EVERYWHERE = ("0.0.0.0", "::")


def coordinate(
    sites: Annotated[int, typer.Option(min=2, help="Begin when so many sites have joined.", show_default=False)],
    state: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Where keys and state are kept; a run goes on with it.", show_default=False),
    ],
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where sites reach it.")] = "127.0.0.1:8443",
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Name of a site to make a key for; site-1, site-2, ... by default."),
    ] = None,
    rounds: Rounds = ROUNDS,
    columns: Columns = COLUMNS,
    parts: Parts = PARTS,
    least_faces: LeastFaces = LEAST_FACES,
    aggregate: Aggregation = Aggregate.robust,
    patience: Annotated[
        float, typer.Option(min=1.0, help="Seconds that a round waits for a site that does not answer.")
    ] = 600.0,
    seed: Annotated[int, typer.Option(help="Of the random features.")] = 0,
    stay: Annotated[
        bool, typer.Option("--stay", help="Serve on after the last round, for sites that come later.")
    ] = False,
    new_key: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Make a new key for this site; the old one is refused from then on."),
    ] = None,
    keys_only: Annotated[bool, typer.Option("--keys-only", help="Make the sites' keys and stop.")] = False,
) -> None:
    """Bring sites together that may not share faces: average the heads that they send, and send them back.

    Keys for the sites are written to DIR/keys; hand each to its site by a way that both trust. Killed, it goes on where
    it was. Example: fercleaner coordinate --sites 3 --state federation/ --listen 0.0.0.0:8443
    """
    from fercleaner.federation.coordinator import Coordinator, Plan
    from fercleaner.federation.keys import KeyRing
    from fercleaner.federation.server import Server
    from fercleaner.federation.terms import Settings

    from .checks import host_and_port
    from .console import note, words

    address = host_and_port(listen, "--listen")
    plan = Plan(sites, Settings(rounds, columns, parts, least_faces, seed=seed, aggregate=str(aggregate)), patience)
    keys = KeyRing(state / "keys")
    names = name or ([] if len(keys.sites) >= sites else [f"site-{number}" for number in range(1, sites + 1)])
    for path in keys.invite(names, new_key or []):
        note(f"Key for its site: {path}")
    if keys_only:
        note(f"{len(keys.sites)} sites have keys. A coordinator that runs there knows them at once.")
        return
    coordinator = Coordinator(state, plan, note)
    server = Server(address, coordinator, keys)
    where = f"{address[0]}:{server.server_address[1]}"
    reached = where.replace(address[0], socket.gethostname(), 1) if address[0] in EVERYWHERE else where
    agreed = ["--least-faces", least_faces] if least_faces < LEAST_FACES else []
    agreed += ["--aggregate", aggregate] if aggregate != Aggregate.robust else []
    note(
        f"Listening on {where}; {len(keys.sites)} sites have keys. At a site: "
        f"{words('fercleaner', 'site', 'SET', '--coordinator', reached, '--key', 'FILE', *agreed)}"
    )
    server.run(stay=stay)
    note(f"Done: {coordinator.round} rounds, {len(coordinator.hellos)} sites. State: {state}")
    if coordinator.unserved:
        note(
            f"Did not fetch the last heads: {', '.join(coordinator.unserved)}. For them, run the same command again "
            "with --stay."
        )
