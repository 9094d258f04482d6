"""A site on the network: asks its coordinator where things stand, sends what is due, and waits out what breaks."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..core.text import read_json
from . import messages
from .heads import check_heads
from .keys import SiteKey
from .messages import Message, MessageLog, check_leaving, of_hello, of_masked, of_update, to_roster
from .participant import Participant
from .secure import Keys, covered
from .terms import PROTOCOL, SECURE, Conditions, Settings, SiteError, Terms

#: Seconds between questions, and that an answer may take.
POLL, ANSWER = 1.0, 60.0
#: Where nothing is due the next wait is longer by this factor, up to so many seconds: a question takes 2.2 kB with TLS,
#: 8 MB an hour at one a second and 2 MB at one in four. A site that is late for it is so by a quarter of its wait.
LONGER, LONGEST = 1.25, 4.0
#: What a coordinator says of where things stand.
STANDS = {"began", "round", "rounds", "have", "key", "asked", "done", "waits", "least_faces", "aggregate", "classes"}


class Link:
    """Requests to one coordinator, each on a connection of its own.

    Parameters
    ----------
    address : (str, int)
    key : SiteKey
    wait : float
        Seconds to try again while the coordinator cannot be reached, before giving up.
    tell : callable
    """

    def __init__(self, address: tuple[str, int], key: SiteKey, wait: float, tell: Callable[[str], None]) -> None:
        self._host, self._port = address
        self.address = f"{self._host}:{self._port}"
        self.key, self._wait, self._tell, self._context = key, wait, tell, key.context()

    def get(self, path: str) -> Any:
        """Return what the coordinator answers: a Message, or JSON types."""
        return self._asked("GET", path, b"")

    def post(self, path: str, body: bytes) -> Any:
        """Send a message that was written down, and return the answer."""
        return self._asked("POST", path, body)

    def _asked(self, method: str, path: str, body: bytes) -> Any:
        since, said = time.monotonic(), False
        while True:
            try:
                return self._once(method, path, body)
            except ssl.SSLCertVerificationError as error:
                raise SiteError(
                    f"Site '{self.key.site}': {self.address} is not the coordinator that this key is for (its "
                    f"certificate is another: {error.verify_message}). Nothing was sent. Check --coordinator and --key."
                ) from error
            except (OSError, http.client.HTTPException) as error:
                if time.monotonic() - since >= self._wait:
                    raise SiteError(
                        f"Site '{self.key.site}': the coordinator {self.address} cannot be reached ({error}). Run the "
                        "same command again when it is there: nothing is lost."
                    ) from error
                if not said:
                    self._tell(f"The coordinator {self.address} cannot be reached ({error}); trying again.")
                    said = True
                time.sleep(min(POLL, self._wait))

    def _once(self, method: str, path: str, body: bytes) -> Any:
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=ANSWER, context=self._context)
        try:
            connection.request(method, path, body or None, {"Authorization": f"Bearer {self.key.secret}"})
            answer = connection.getresponse()
            data = answer.read(messages.MOST_BYTES + 1)
        finally:
            connection.close()
        if answer.getheader("Content-Type") == "application/octet-stream":
            return messages.decode(data, f"the coordinator {self.address}")
        try:
            held = read_json(data)
        except ValueError as error:
            raise SiteError(f"{self.address} answered what no coordinator answers ({answer.status}).") from error
        if answer.status == 401:
            raise SiteError(f"Site '{self.key.site}': {self.address} does not know this key. Ask for a new one.")
        if answer.status != 200:
            raise SiteError(f"{self.address} refused: {held.get('error', answer.status)}")
        return held


def knock(site: str, link: Link, conditions: Conditions) -> tuple[str, ...]:
    """Return the federation's class names, none where no site has joined.

    SiteError where the coordinator cannot be reached, does not know the key, is of another version, or has terms that
    do not suit.

    Before a set is read: it may take hours.
    """
    stands = _stands(link)
    if stands.get("protocol") != PROTOCOL:  # those before 3 do not say theirs
        raise SiteError(
            f"Site '{site}' speaks protocol {PROTOCOL}, the coordinator {stands.get('protocol', 'an older one')}. Use "
            "the same version of fercleaner."
        )
    conditions.check(site, Settings(least_faces=stands["least_faces"], aggregate=stands["aggregate"]))
    return tuple(map(str, stands["classes"]))


def take_part(
    site: Participant, link: Link, log: MessageLog, *, noise: float = 0.0, poll: float = POLL
) -> tuple[Any, int]:
    """Join, answer every round, and return the last head (D + 2, C) of the site's part and how many rounds there were.

    Nothing is kept between calls: a site that was killed starts again, and finds where the federation stands.

    SiteError, before it joins, where the coordinator's settings do not meet the site's conditions: no other site is
    kept waiting for it.
    """
    knock(site.name, link, site.conditions)
    link.post("/hello", log.keep(of_hello(site.hello(), PROTOCOL), "hello.msg"))
    terms: Terms | None = None
    said = ""
    cover: Cover | None = None
    pause = poll
    while True:
        stands = _stands(link)
        site.callbacks.progress("rounds", stands["round"], stands["rounds"])
        if stands["waits"] not in ("", said):
            said = stands["waits"]
            site.callbacks.note(said)
        if not stands["began"]:
            pause = _rested(pause)
            continue
        if terms is None:
            message = _expected(link.get("/terms"), "terms")
            terms = Terms.from_dict(message.fields["terms"])
            site.begin(terms, message.fields["part"])
        if terms.aggregate == SECURE and site.gives and not stands["done"]:
            cover = cover or Cover(site, link, log, noise, terms)
            pause = poll if cover.step(stands) else _rested(pause)
        elif stands["done"] or (site.gives and not stands["have"]):
            message = _expected(link.get("/heads"), "heads")
            heads, number = message.arrays["heads"], message.fields["round"]
            if number >= terms.rounds:
                check_heads(heads, 1, terms)
                return heads[0], terms.rounds
            update = of_update(site.update(heads, noise), number + 1)
            check_leaving(update, terms)
            link.post("/update", log.keep(update, f"round-{number + 1:03d}.msg"))
            pause = poll
        else:
            pause = _rested(pause)


def _rested(pause: float) -> float:
    """Wait so many seconds, and return how long to wait next if nothing is due then either."""
    time.sleep(pause)
    return min(pause * LONGER, max(pause, LONGEST))


def _stands(link: Link) -> dict[str, Any]:
    answer = link.get("/status")
    if not isinstance(answer, dict) or not set(answer) >= STANDS:
        raise SiteError("The coordinator does not say where things stand. Use the same version of fercleaner.")
    return answer


class Cover:
    """A site's side of secure aggregation: keys of its own, and each attempt answered once."""

    def __init__(self, site: Participant, link: Link, log: MessageLog, noise: float, terms: Terms) -> None:
        self._site, self._link, self._log, self._noise, self._terms = site, link, log, noise, terms
        self._keys, self._answered, self._given = Keys(), set[str](), False

    def step(self, stands: Mapping[str, Any]) -> bool:
        """Do what is asked of the site as things stand; return whether anything was.

        SiteError where the coordinator asks for the same attempt again, which would show what masks hide, or its list
        of sites would.
        """
        if not (self._given and stands["key"]):  # the coordinator may have the key of a run that was killed
            key = Message("key", {"site": self._site.name, "public": self._keys.public.hex()})
            self._link.post("/key", self._log.keep(key, "key.msg"))
            self._given = True
            return True
        if not stands["asked"]:
            return False
        answer = self._link.get("/roster")
        if answer == {"asked": False}:  # the attempt ended between two questions
            return False
        roster = to_roster(_expected(answer, "roster"))
        if roster.attempt in self._answered:
            raise SiteError(
                f"Site '{self._site.name}': the coordinator asks for one attempt twice, which would uncover what this "
                "site sent. Nothing was sent."
            )
        message = _expected(self._link.get("/heads"), "heads")
        if message.fields["round"] != roster.round - 1:  # the round was closed without this site
            return False
        steps = self._site.update(message.arrays["heads"], self._noise).steps
        message = of_masked(covered(steps, self._site.name, self._keys, roster, self._terms), self._site.name, roster)
        check_leaving(message, self._terms)
        self._answered.add(roster.attempt)
        self._link.post("/masked", self._log.keep(message, f"round-{roster.round:03d}-{roster.attempt[:8]}.msg"))
        return True


def _expected(answer: Any, kind: str) -> Message:
    if not isinstance(answer, Message) or answer.kind != kind:
        raise SiteError(f"The coordinator answered something else than '{kind}'. Use the same version of fercleaner.")
    return answer
