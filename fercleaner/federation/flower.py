"""The same messages carried by Flower (flwr): a server app and a client app around the functions of this folder.

What runs at a site is the fercleaner that is installed there: Flower carries bytes of `messages`, and an app that wants
to use this is a few lines (docs/federation.md). Flower reports its use to its makers unless that is turned off;
importing this module turns it off for this process (`OFF`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..core.errors import FercleanerError, MissingDependency
from ..results.parquet import write
from . import messages
from .coordinator import Coordinator
from .heads import check_heads
from .messages import MessageLog, check_leaving, of_hello, of_update
from .participant import Participant
from .terms import PROTOCOL, SECURE, SiteError, Terms

#: Set before flwr is imported.
OFF = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
os.environ.update(OFF)
#: Name of the record that holds our bytes.
RECORD = "fercleaner"
#: Seconds that nodes are waited for.
WAIT = 60.0
HELLO, TRAIN, FINISH = "query.hello", "train", "query.finish"


def server_app(
    coordinator: Coordinator | Callable[[Any], Coordinator], *, timeout: float | None = None, wait: float = WAIT
) -> Any:
    """Return a Flower ServerApp that runs all rounds among the nodes that are connected.

    Parameters
    ----------
    coordinator : Coordinator, or callable that returns one for a Flower context
        Keeps the state on disk; one that was killed goes on with its round.
    timeout : float, optional
        Seconds that a round waits for nodes; those that do not answer are left out of it.
    wait : float
        Seconds to wait for as many nodes as the coordinator waits for sites.

    Raises
    ------
    MissingDependency
        flwr is not installed.
    SiteError
        Secure aggregation is asked for: at once, or, where a callable makes the coordinator, before a node is asked.
    """
    flower = _flower()
    app = flower.ServerApp()
    if isinstance(coordinator, Coordinator):
        _check_robust(coordinator.plan.settings.aggregate)

    def main(grid: Any, context: Any) -> None:
        here = coordinator if isinstance(coordinator, Coordinator) else coordinator(context)
        _check_robust(here.plan.settings.aggregate)
        _run(grid, here, _nodes(grid, here.plan.sites, wait), timeout)

    app.main()(main)
    return app


def _check_robust(aggregate: str, site: str = "") -> None:
    """Raise SiteError where steps are to be joined under masks: keys and masked steps are not carried by Flower."""
    if aggregate == SECURE:
        who = f"Site '{site}' asks" if site else "The coordinator asks"
        raise SiteError(
            f"{who} for secure aggregation, which Flower does not carry here. Run fercleaner coordinate and site "
            'under --aggregate secure, or choose aggregate="robust".'
        )


def _nodes(grid: Any, count: int, wait: float) -> list[int]:
    """Return the nodes that are connected, when there are enough or they were waited for."""
    until = time.monotonic() + wait
    while len(nodes := sorted(grid.get_node_ids())) < count and time.monotonic() < until:
        time.sleep(1.0)
    return nodes


def _run(grid: Any, coordinator: Coordinator, nodes: list[int], timeout: float | None) -> None:
    """Run all rounds among these nodes."""
    names: dict[int, str] = {}
    for node, held in _asked(grid, HELLO, {node: {} for node in nodes}, timeout).items():
        message = messages.expected(messages.decode(held["message"], f"node {node}"), "hello", f"Node {node}")
        name = str(message.fields["site"])
        if name in names.values():
            raise SiteError(f"Two nodes are called '{name}'. Give one of them another name.")
        names[node] = name
        coordinator.hello(names[node], message)
    if coordinator.terms is None:
        raise SiteError(f"{len(names)} nodes have joined; {coordinator.plan.sites} sites are waited for.")
    while not coordinator.done:
        number = coordinator.round
        for node, held in _asked(grid, TRAIN, _orders(coordinator, names), timeout).items():
            if "message" not in held:
                continue
            try:
                coordinator.update(names[node], messages.decode(held["message"], f"site '{names[node]}'"))
            except FercleanerError:
                continue  # the coordinator has told of it; the others go on
        coordinator.tick(over=True)
        if coordinator.round == number:
            raise SiteError(f"Round {number + 1}: fewer than two sites answered. Run it again: it goes on there.")
    _asked(grid, FINISH, _orders(coordinator, names), timeout)


def client_app(open_site: Callable[[Any], Participant], out: Callable[[Any], Path], noise: float = 0.0) -> Any:
    """Return a Flower ClientApp that is one site.

    Parameters
    ----------
    open_site : callable
        Returns the site for a Flower context; called once a process and node.
    out : callable
        Where the refined file of a context goes; messages are logged beside it before they are sent.
    noise : float
        As of `heads.Step.send`.

    A site whose conditions ask for secure aggregation answers no message: SiteError before its hello.
    """
    flower = _flower()
    app, sites = flower.ClientApp(), dict[int, Participant]()

    def here(context: Any) -> Participant:
        if context.node_id not in sites:
            site = open_site(context)
            _check_robust(site.conditions.aggregate, site.name)
            sites[context.node_id] = site
        return sites[context.node_id]

    def log(context: Any) -> MessageLog:
        return MessageLog(out(context).with_name(f"{out(context).name}.messages"))

    def hello(message: Any, context: Any) -> Any:
        data = log(context).keep(of_hello(here(context).hello(), PROTOCOL), "hello.msg")
        return _reply(message, {"message": data})

    def train(message: Any, context: Any) -> Any:
        site, terms, heads, number = _begun(here(context), message)
        if not site.gives:
            return _reply(message, {"gives": False})
        update = of_update(site.update(heads, noise), number + 1)
        check_leaving(update, terms)
        return _reply(message, {"message": log(context).keep(update, f"round-{number + 1:03d}.msg")})

    def finish(message: Any, context: Any) -> Any:
        site, terms, heads, _ = _begun(here(context), message)
        check_heads(heads, 1, terms)
        write(site.finish(heads[0], terms.rounds), out(context), overwrite=True)
        return _reply(message, {"done": True})

    app.query("hello")(hello)
    app.train()(train)
    app.query("finish")(finish)
    return app


def _begun(site: Participant, message: Any) -> tuple[Participant, Terms, Any, int]:
    """Return the site, begun under the terms in a Flower message, with the terms, the heads and their round."""
    held = message.content[RECORD]
    said, heads = (
        messages.expected(messages.decode(held[kind], "the coordinator"), kind, "The coordinator")
        for kind in ("terms", "heads")
    )
    terms = Terms.from_dict(said.fields["terms"])
    if site.terms != terms:
        site.begin(terms, said.fields["part"])
    return site, terms, heads.arrays["heads"], heads.fields["round"]


def _orders(coordinator: Coordinator, names: Mapping[int, str]) -> dict[int, dict[str, Any]]:
    """Return what each node is sent: its terms and the heads."""
    return {
        node: {
            "terms": messages.encode(coordinator.terms_for(name)),
            "heads": messages.encode(coordinator.current(name)),
        }
        for node, name in names.items()
    }


def _asked(
    grid: Any, kind: str, contents: Mapping[int, Mapping[str, Any]], timeout: float | None
) -> dict[int, Mapping[str, Any]]:
    """Send each node its content and return the answers of those that gave one."""
    flower = _flower()
    sent = [
        flower.Message(flower.RecordDict({RECORD: flower.ConfigRecord(dict(content))}), node, kind)
        for node, content in contents.items()
    ]
    answers: Iterable[Any] = grid.send_and_receive(sent, timeout=timeout)
    return {a.metadata.src_node_id: a.content[RECORD] for a in answers if not a.has_error()}


def _reply(message: Any, content: Mapping[str, Any]) -> Any:
    flower = _flower()
    return flower.Message(flower.RecordDict({RECORD: flower.ConfigRecord(dict(content))}), reply_to=message)


class _Flower:
    """The names of flwr that are used here."""

    def __init__(self) -> None:
        from flwr.app import ConfigRecord, Message, RecordDict
        from flwr.clientapp import ClientApp
        from flwr.serverapp import ServerApp

        self.ConfigRecord, self.Message, self.RecordDict = ConfigRecord, Message, RecordDict
        self.ClientApp, self.ServerApp = ClientApp, ServerApp


def _flower() -> _Flower:
    try:
        return _Flower()
    except ImportError as error:
        raise MissingDependency("flwr", "A federation over Flower", extra="federated") from error
