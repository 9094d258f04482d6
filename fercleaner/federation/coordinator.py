"""The coordinator without its network: who has joined, which round it is, what is kept on disk."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..core.arrays import Floats
from ..core.errors import StoreError
from ..core.files import write_whole
from . import messages, rounds
from .kept import FEDERATION, HEADS, UPDATES, read_kept, update_file
from .masked import Attempts
from .messages import Message
from .secure import uncovered
from .terms import (
    LEAST_SECURE,
    PROTOCOL,
    SECURE,
    Hello,
    Settings,
    SiteError,
    Terms,
    agree,
    check_site,
    check_together,
)

#: Answers that close a round of robust joining.
LEAST_ANSWERS = 2
#: What to do where one site seems to be two.
TWICE = "Was its set changed, or is its key used at two sites? Give each site a key of its own."


@dataclass(frozen=True)
class Plan:
    """How a coordinator runs.

    Parameters
    ----------
    sites : int
        It begins when so many have joined; more may join later.
    settings : Settings
    patience : float
        Seconds that a round waits for sites that took part before; those that did not answer are waited for no more
        until they come back.
    """

    sites: int
    settings: Settings
    patience: float = 600.0

    def __post_init__(self) -> None:
        if self.settings.aggregate == SECURE and self.sites < LEAST_SECURE:
            raise SiteError(
                f"Secure aggregation needs at least {LEAST_SECURE} sites, and {self.sites} are waited for: with fewer, "
                "a sum shows what a site sent. Wait for more (--sites), or use --aggregate robust."
            )


class Coordinator:
    """Joins the sites' steps round by round; all that it knows is on disk before a site is answered.

    Parameters
    ----------
    folder : path
        Where the state is kept; one that holds a federation goes on with it.
    plan : Plan
        StoreError where it differs from what the federation in the folder began with.
    tell : callable
        Gets a sentence as things happen.
    now : callable
        Seconds that only grow.
    """

    def __init__(
        self, folder: Path, plan: Plan, tell: Callable[[str], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder, self.plan, self.tell, self._now = folder, plan, tell, now
        self._lock = threading.RLock()
        self.hellos: dict[str, Hello] = {}
        self.parts: dict[str, int] = {}
        self.terms: Terms | None = None
        self.round = 0
        self.heads: Floats | None = None
        self._came: dict[str, rounds.Update] = {}
        self._absent: set[str] = set()
        self._fetched: set[str] = set()
        self._opened = now()
        self._attempts = Attempts()
        self._failed, self._short = "", ""
        self._load()

    @property
    def done(self) -> bool:
        """Whether the last round is over."""
        return self.terms is not None and self.round >= self.terms.rounds

    @property
    def all_served(self) -> bool:
        """Whether every site that joined has fetched the last heads, or has had its time to."""
        with self._lock:
            late = self._now() - self._opened > self.plan.patience
            return self.done and (late or not self.unserved)

    @property
    def unserved(self) -> list[str]:
        """The sites that joined and have not fetched the last heads."""
        return sorted(set(self.hellos) - self._fetched)

    def hello(self, site: str, message: Message) -> None:
        """Take in a site; SiteError where it does not fit or goes by another name than its key's."""
        said = messages.to_hello(message, PROTOCOL)
        if said.site != site:
            raise SiteError(f"The key of site '{site}' was used by one that calls itself '{said.site}'.")
        with self._lock:
            if self.terms is not None:
                check_site(said, self.terms)
            else:
                first = next((hello for name, hello in self.hellos.items() if name != site), None)
                if first is not None:
                    check_together(first, said, self.plan.settings)  # says at once who does not fit
            before = self.hellos.get(site)
            self.hellos[site] = said
            if self.terms is not None and site not in self.parts:
                self.parts[site] = rounds.next_part(self.parts, self.terms.parts)
            self._save()
            if before is None:
                of = f"of {self.plan.sites}" if self.terms is None else "sites in all"
                self.tell(f"Site '{site}' joined, {len(self.hellos)} {of}: {said.faces:,} labeled faces.")
            elif before != said:
                self.tell(
                    f"Site '{site}' joined again with another set: {said.faces:,} labeled faces, {before.faces:,} "
                    f"before. {TWICE}"
                )
            self._begin_if_all()

    def status(self, site: str) -> dict[str, Any]:
        """Return where the federation stands, for a site; JSON types."""
        with self._lock:
            self.tick()
            return {
                "protocol": PROTOCOL,
                "joined": site in self.hellos,
                "began": self.terms is not None and site in self.parts,
                "round": self.round,
                "rounds": self.plan.settings.rounds if self.terms is None else self.terms.rounds,
                "have": site in self._came,
                "key": site in self._attempts.keys,
                "asked": self._attempts.asked(site),
                "done": self.done,
                "waits": self._waits(),
                "least_faces": self.plan.settings.least_faces,
                "aggregate": self.plan.settings.aggregate,
                "classes": list(next((hello.classes for hello in self.hellos.values()), ())),
            }

    def _waits(self) -> str:
        """Return what the federation waits for, where it cannot go on for now, or ""."""
        if self.terms is None:
            joined = ", ".join(f"'{name}'" for name in sorted(self.hellos)) or "none"
            return f"{len(self.hellos)} of {self.plan.sites} sites have joined ({joined}); the others are waited for."
        return self._short

    def terms_for(self, site: str) -> Message:
        """Return the terms and the part of a site; SiteError before all have joined."""
        with self._lock:
            if self.terms is None or site not in self.parts:
                raise SiteError(f"Site '{site}': the federation has not begun.")
            return messages.of_terms(self.terms, site, self.parts[site])

    def current(self, site: str) -> Message:
        """Return what a site needs of the heads: in a round those of other parts, after the last that of its own.

        SiteError before the federation has begun.
        """
        with self._lock:
            if self.heads is None or site not in self.parts:
                raise SiteError(f"Site '{site}': the federation has not begun.")
            part = self.parts[site]
            if self.done:
                self._fetched.add(site)
            heads = self.heads[part : part + 1] if self.done else rounds.others(self.heads, part)
            return messages.of_heads(heads, self.round)

    def update(self, site: str, message: Message) -> bool:
        """Take a site's steps; return whether they count. Steps of a round that is over do not.

        SiteError, which is reported, where they are not what they must be.
        """
        with self._lock:
            if self.terms is None or site not in self.parts:
                raise SiteError(f"Site '{site}': the federation has not begun.")
            update, number = messages.to_update(message), message.fields["round"]
            try:
                if self.terms.aggregate == SECURE:
                    raise SiteError(f"Site '{site}' sent its steps uncovered, and secure aggregation was agreed on.")
                if update.site != site or update.part != self.parts[site]:
                    raise SiteError(f"Site '{site}' sent steps as site '{update.site}', part {update.part}.")
                if update.faces != (faces := self.hellos[site].faces):
                    said = f"joined with {faces:,} labeled faces, and now speaks for {update.faces:,}"
                    raise SiteError(f"Site '{site}' {said}. {TWICE} Then run the same command again.")
                rounds.check_update(update, self.terms)
            except SiteError as error:
                self.tell(f"Round {self.round + 1}: {error}")
                raise
            if number != self.round + 1 or self.done:
                return False
            self._write(update_file(self.round + 1, site), messages.encode(message))
            self._came[site] = update
            self._absent.discard(site)
            self.tick()
            return True

    def key(self, site: str, message: Message) -> None:
        """Take a site's public key of secure aggregation."""
        with self._lock:
            self._begun_secure(site, message)
            self._attempts.key(site, messages.public_of(message))
            self._absent.discard(site)
            self.tick()

    def roster(self, site: str) -> Message | dict[str, Any]:
        """Return who takes part in the attempt that a site has to answer, or that it is asked for none: JSON types."""
        with self._lock:
            roster = self._attempts.roster
            if roster is None or not self._attempts.asked(site):
                return {"asked": False}
            return messages.of_roster(roster)

    def masked(self, site: str, message: Message) -> bool:
        """Take a site's steps under masks; return whether they count: those of another attempt do not."""
        with self._lock:
            terms = self._begun_secure(site, message)
            counts = self._attempts.take(site, message.fields["attempt"], message.arrays["masked"], terms)
            if counts:
                self.tick()
            return counts

    def _begun_secure(self, site: str, message: Message) -> Terms:
        if message.fields["site"] != site:
            raise SiteError(f"The key of site '{site}' was used by one that calls itself '{message.fields['site']}'.")
        if self.terms is None or site not in self.parts:
            raise SiteError(f"Site '{site}': the federation has not begun.")
        if self.terms.aggregate != SECURE:
            raise SiteError(f"Site '{site}' sent masks, and this federation joins steps the robust way.")
        return self.terms

    def tick(self, *, over: bool = False) -> None:
        """Close the round where all sites that are waited for have answered, or have had their time (or it is `over`).

        A round that lacks answers in time waits on, and says so. SiteError where the sites that joined cannot
        begin.
        """
        with self._lock:
            if self._failed:
                raise SiteError(self._failed)
            if self.terms is None or self.done:
                return
            giving = self._giving()
            late = over or self._now() - self._opened > self.plan.patience
            if self.terms.aggregate == SECURE:
                self._tick_secure(giving - self._absent, late)
                return
            missing = giving - self._absent - set(self._came)
            if late and not over and len(self._came) < LEAST_ANSWERS:
                self._say_short(set(self._came), giving, LEAST_ANSWERS)
            if (missing and not late) or len(self._came) < LEAST_ANSWERS:
                return
            self._leave_out(missing)
            self._close()

    def _giving(self) -> set[str]:
        """Return the sites that have joined and have faces enough to send anything."""
        least = 0 if self.terms is None else self.terms.least_faces
        return {name for name, hello in self.hellos.items() if hello.faces >= least and name in self.parts}

    def _tick_secure(self, waited_for: set[str], late: bool) -> None:
        """Begin an attempt when all that are waited for have given keys, close the round when all of it answered."""
        assert self.terms is not None  # rounds begin after the federation did
        assert self.heads is not None
        attempts = self._attempts
        if attempts.roster is None:
            ready = waited_for & set(attempts.keys)
            if late and len(ready) < LEAST_SECURE:
                self._say_short(ready, self._giving(), LEAST_SECURE)
            if len(ready) >= LEAST_SECURE and (ready == waited_for or late):
                self._leave_out(waited_for - ready)
                attempts.begin(self.round + 1, ready, self.hellos, self.parts)
                self._opened, self._short = self._now(), ""
            return
        missing = set(attempts.roster.members) - set(attempts.came)
        if not missing:
            heads = uncovered(self.heads, attempts.came, attempts.roster, self.terms)
            count = len(attempts.came)
            attempts.end()
            self._settle(heads, count)
        elif late:
            self._leave_out(missing)
            attempts.end(missing)
            self._opened = self._now()

    def _say_short(self, answered: set[str], giving: set[str], least: int) -> None:
        """Tell, once a round, that it cannot be closed by the sites that answered."""
        gone = ", ".join(f"'{name}'" for name in sorted(giving - answered))
        sentence = (
            f"Round {self.round + 1}: {len(answered)} of {len(giving)} sites have answered, and at least {least} are "
            f"needed. It waits for {gone}: run the same command there again."
        )
        if sentence != self._short:
            self._short = sentence
            self.tell(sentence)

    def _leave_out(self, missing: set[str]) -> None:
        for name in sorted(missing):
            self.tell(f"Round {self.round + 1}: site '{name}' did not answer; the round goes on without it.")
        self._absent |= missing

    def _begin_if_all(self) -> None:
        """Begin where the sites that are waited for have joined; where they cannot, say so to whoever asks."""
        if self.terms is not None or len(self.hellos) < self.plan.sites:
            return
        try:
            terms = agree(list(self.hellos.values()), self.plan.settings)
        except SiteError as error:
            self._failed = (
                f"The federation cannot begin: {error} Start the coordinator again with more --sites or fewer "
                "--least-faces."
            )
            self.tell(self._failed)
            raise SiteError(self._failed) from error
        self._failed = ""
        self._begin(terms)

    def _begin(self, terms: Terms) -> None:
        self.terms = terms
        self.parts = rounds.dealt(list(self.hellos), self.terms.parts)
        self.heads = rounds.start(self.terms)
        self._opened = self._now()
        self._write(HEADS, messages.encode(messages.of_heads(self.heads, 0)))
        self._save()
        self.tell(f"All {len(self.hellos)} sites have joined; {self.terms.rounds} rounds begin.")

    def _close(self) -> None:
        assert self.terms is not None  # rounds are closed after the federation began
        assert self.heads is not None
        self._settle(rounds.averaged(self.heads, list(self._came.values()), self.terms), len(self._came))

    def _settle(self, heads: Floats, sites: int) -> None:
        """Keep the heads after a round, which this many sites answered."""
        assert self.terms is not None  # rounds are closed after the federation began
        number = self.round + 1
        self._write(HEADS, messages.encode(messages.of_heads(heads, number)))
        self.heads, self.round = heads, number
        self.tell(f"Round {number} of {self.terms.rounds}: {sites} sites.")
        self._came = {}
        self._opened, self._short = self._now(), ""
        shutil.rmtree(self.folder / UPDATES / f"{number:03d}", ignore_errors=True)

    def _save(self) -> None:
        held = {
            "protocol": PROTOCOL,
            "terms": None if self.terms is None else self.terms.to_dict(),
            "parts": self.parts,
            "sites": {name: asdict(hello) for name, hello in self.hellos.items()},
        }
        self._write(FEDERATION, json.dumps(held, indent=1).encode())

    def _write(self, name: str, content: bytes) -> None:
        try:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, [content])
        except OSError as error:
            raise StoreError(
                f"{self.folder}: the coordinator's state cannot be written ({error.strerror or error}). What was "
                "written before is whole: make room and start the coordinator again."
            ) from error

    def _load(self) -> None:
        if (kept := read_kept(self.folder, self.plan.settings)) is None:
            return
        self.hellos, self.parts, self.terms = kept.hellos, kept.parts, kept.terms
        self.round, self.heads, self._came = kept.round, kept.heads, kept.came
        if self.terms is None:  # killed after the last site joined, or this run waits for fewer
            self._begin_if_all()
            if self.terms is None:
                joined = ", ".join(f"'{name}'" for name in sorted(self.hellos))
                self.tell(f"Goes on; of {self.plan.sites} sites these have joined: {joined or 'none'}.")
            return
        self.tell(
            f"Goes on with {len(self.hellos)} sites after round {self.round} of {self.terms.rounds}; "
            f"{len(self._came)} have answered already."
        )
