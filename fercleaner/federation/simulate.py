"""Many sites on one machine: the messages that would travel, byte for byte, without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import Floats, Ints
from ..core.errors import FeatureError, InputError
from ..core.refined import RefinedSet
from ..core.types import ActionUnits, Features, Landmarks, Posteriors, Samples
from ..datasets.assemble import select
from ..methods.base import Method
from ..pipeline.inputs import Callbacks, Resources, Sources
from . import rounds
from .messages import (
    Message,
    MessageLog,
    check_leaving,
    decode,
    encode,
    of_heads,
    of_hello,
    of_masked,
    of_roster,
    of_terms,
    of_update,
    to_hello,
    to_update,
)
from .names import distinct_files
from .participant import USUAL, Participant
from .rounds import Update
from .secure import Keys, Member, Roster, covered, uncovered
from .terms import PROTOCOL, SECURE, Conditions, Settings, SiteError, Terms, agree

#: Changes what a site sends in a round, or returns None: it sends nothing. Tests and benchmarks lie with it.
Tamper = Callable[[Update, int], Update | None]


@dataclass(frozen=True, eq=False)
class Federated:
    """What a federation ends with.

    Parameters
    ----------
    terms : Terms
    parts : mapping of site -> int
    heads : (P, D + 2, C) float32
    sent, received : mapping of site -> bytes
        Of messages; `coordinate` and `site` add TLS and questions where things stand.
    refused : tuple of str
        Why steps did not count, a sentence each.
    """

    terms: Terms
    parts: dict[str, int]
    heads: Floats
    sent: dict[str, int]
    received: dict[str, int]
    refused: tuple[str, ...]

    def head_of(self, site: str) -> Floats:
        """Return the head of a site's part, (D + 2, C) float32: what it is sent after the last round."""
        head: Floats = self.heads[self.parts[site]]
        return head


def rows_by_site(samples: Samples) -> dict[str, Ints]:
    """Return the rows of each site by name; SiteError where the set names fewer than two."""
    if samples.site is None:
        raise SiteError(
            "The set names no sites. Name the column that holds them: --site-by COLUMN. A set of folders has none: "
            "write a list of its pictures with a column of sites."
        )
    names = [str(name) for name in np.unique(samples.site) if name != ""]
    if len(names) < 2:
        raise SiteError(f"The set has {len(names)} site ({', '.join(names) or 'none'}); at least 2 are needed.")
    return {name: np.flatnonzero(samples.site == name) for name in names}


def participants(
    samples: Samples,
    method: Method,
    sources: Sources,
    resources: Resources,
    callbacks: Callbacks,
    conditions: Conditions = USUAL,
) -> list[Participant]:
    """Return each site of a set with its own faces, and nothing of the others; says how many faces have no site.

    SiteError, which names the site, where one cannot be refined: without labels, or without a vector.
    """
    found = []
    rows = rows_by_site(samples)
    without = len(samples) - sum(map(len, rows.values()))
    if without:
        callbacks.note(f"{without:,} of {len(samples):,} faces name no site: no site has them, and they are left out.")
    for number, (name, chosen) in enumerate(rows.items()):
        callbacks.progress("sites", number, len(rows))
        own = select(samples, chosen).replacing(site=None)
        of_rows = sources_of_rows(sources, chosen)
        try:
            found.append(Participant(name, own, method, of_rows, resources, _named(callbacks, name), conditions))
        except (InputError, FeatureError) as error:
            raise SiteError(f"Site '{name}' ({len(chosen):,} faces): {error}") from error
    callbacks.progress("sites", len(rows), len(rows))
    return found


def _named(callbacks: Callbacks, site: str) -> Callbacks:
    """Return callbacks whose notes say which site they are of."""
    return replace(callbacks, note=lambda text: callbacks.note(f"Site '{site}': {text}"))


def sources_of_rows(sources: Sources, rows: Ints) -> Sources:
    """Return the sources of some faces alone."""

    def taken(table: Any) -> Any:
        if not isinstance(table, Features | Landmarks | ActionUnits | Posteriors):
            return table
        arrays: dict[str, Any] = {k: value[rows] for k, value in vars(table).items() if isinstance(value, np.ndarray)}
        return replace(table, **arrays)

    return replace(
        sources,
        views=tuple(taken(view) for view in sources.views),
        posteriors=tuple(taken(table) for table in sources.posteriors),
        landmarks=taken(sources.landmarks),
        action_units=taken(sources.action_units),
        identity=taken(sources.identity),
    )


def federate(
    sites: Iterable[Participant],
    settings: Settings,
    *,
    noise: float = 0.0,
    log: Path | None = None,
    callbacks: Callbacks | None = None,
    tamper: Tamper | None = None,
) -> Federated:
    """Run all rounds of a federation; `Participant.finish` gives each site its refined labels then.

    Parameters
    ----------
    sites : iterable of Participant
    settings : Settings
    noise : float
        As of `heads.Step.send`.
    log : path, optional
        Folder in which each site's messages are kept, a folder a site.
    tamper : callable, optional
        Changes what a site sends.
    """
    callbacks = callbacks or Callbacks()
    by_name = {site.name: site for site in sites}
    line = _Line(by_name, log)
    hellos = [line.leave(n, of_hello(site.hello(), PROTOCOL), "hello.msg", None) for n, site in by_name.items()]
    terms = agree([to_hello(message, PROTOCOL) for message in hellos], settings)
    parts = rounds.dealt(list(by_name), terms.parts)
    for number, (name, site) in enumerate(by_name.items()):
        callbacks.progress("each site alone", number, len(by_name))
        line.come(name, of_terms(terms, name, parts[name]))
        site.begin(terms, parts[name])
    callbacks.progress("each site alone", len(by_name), len(by_name))
    heads, refused = rounds.start(terms), list[str]()
    giving = {name: site for name, site in by_name.items() if site.gives}
    keys = {name: Keys() for name in giving if terms.aggregate == SECURE}
    for name, own in keys.items():
        line.leave(name, Message("key", {"site": name, "public": own.public.hex()}), "key.msg", terms)
    for number in range(1, terms.rounds + 1):
        callbacks.progress("rounds", number - 1, terms.rounds)
        came: list[Update] = []
        for name, site in giving.items():
            others = line.come(name, of_heads(rounds.others(heads, parts[name]), number - 1))
            update: Update | None = site.update(others.arrays["heads"], noise)
            update = update if tamper is None or update is None else tamper(update, number)
            if update is None:
                continue
            if keys:
                came.append(update)
                continue
            update = to_update(line.leave(name, of_update(update, number), f"round-{number:03d}.msg", terms))
            try:
                rounds.check_update(update, terms)
            except SiteError as error:
                refused.append(f"Round {number}: {error}")
                continue
            came.append(update)
        heads = _under_masks(heads, came, keys, number, terms, line) if keys else rounds.averaged(heads, came, terms)
    callbacks.progress("rounds", terms.rounds, terms.rounds)
    done = Federated(terms, parts, heads, line.sent, line.received, tuple(refused))
    for name in by_name:
        line.come(name, of_heads(done.head_of(name)[None], terms.rounds))
    return done


class _Line:
    """What travels between sites and coordinator: byte for byte, counted, and what leaves a site kept under `log`."""

    def __init__(self, names: Iterable[str], log: Path | None) -> None:
        self.sent, self.received = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
        files = {} if log is None else distinct_files(self.sent)
        self._logs = {name: None if log is None else MessageLog(log / files[name]) for name in self.sent}

    def leave(self, name: str, message: Message, file: str, terms: Terms | None) -> Message:
        """Return a message as the coordinator gets it from a site."""
        check_leaving(message, terms)
        keeper = self._logs[name]
        data = encode(message) if keeper is None else keeper.keep(message, file)
        self.sent[name] += len(data)
        return decode(data, f"site '{name}'")

    def come(self, name: str, message: Message) -> Message:
        """Return a message as a site gets it."""
        data = encode(message)
        self.received[name] += len(data)
        return decode(data, "the coordinator")


def _under_masks(
    heads: Floats, came: Sequence[Update], keys: Mapping[str, Keys], number: int, terms: Terms, line: _Line
) -> Floats:
    """Return the heads after a round of secure aggregation; sites that sent nothing are not in it."""
    roster = Roster(number, "simulated", {u.site: Member(keys[u.site].public, u.part, u.faces) for u in came})
    arrived = {}
    for update in came:
        line.come(update.site, of_roster(roster))
        masked = covered(update.steps, update.site, keys[update.site], roster, terms)
        message = line.leave(update.site, of_masked(masked, update.site, roster), f"round-{number:03d}.msg", terms)
        arrived[update.site] = message.arrays["masked"]
    return uncovered(heads, arrived, roster, terms)


def file_names(samples: Samples) -> dict[str, str]:
    """Return `folder_name` of each site of a set; SiteError where two would be the same."""
    return distinct_files(rows_by_site(samples))


def finish(sites: Iterable[Participant], done: Federated, callbacks: Callbacks) -> dict[str, RefinedSet]:
    """Return the refined labels of each site, with what the others learned."""
    refined = {}
    every = list(sites)
    for number, site in enumerate(every):
        callbacks.progress("each site with the others", number, len(every))
        refined[site.name] = site.finish(done.head_of(site.name), done.terms.rounds)
    callbacks.progress("each site with the others", len(every), len(every))
    return refined
