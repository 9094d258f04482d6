"""The coordinator's side of secure aggregation: whose key it has, who is in the attempt at hand, who has answered.

Nothing of it is on disk: a coordinator that was killed asks for keys again, and the round is tried anew.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping

from .secure import Masked, Member, Roster
from .terms import Hello, SiteError, Terms

#: Bytes of an X25519 public key (RFC 7748).
KEY_BYTES = 32


class Attempts:
    """Attempts at rounds, one after the other; a site that gives another key, or does not answer, ends one."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.roster: Roster | None = None
        self.came: dict[str, Masked] = {}

    def key(self, site: str, public: bytes) -> None:
        """Take a site's public key; SiteError where it is none."""
        if len(public) != KEY_BYTES:
            raise SiteError(f"Site '{site}' sent a key of {len(public)} bytes; expected {KEY_BYTES}.")
        if self.keys.get(site) != public:
            self.keys[site] = public
            if self.roster is not None and site in self.roster.members:
                self.end()

    def begin(self, number: int, names: Iterable[str], hellos: Mapping[str, Hello], parts: Mapping[str, int]) -> None:
        """Begin an attempt at round `number` with these sites."""
        members = {name: Member(self.keys[name], parts[name], hellos[name].faces) for name in sorted(names)}
        self.roster, self.came = Roster(number, secrets.token_hex(16), members), {}

    def end(self, without: Iterable[str] = ()) -> None:
        """Throw the attempt away, and the keys of sites that did not answer."""
        self.roster, self.came = None, {}
        for name in without:
            self.keys.pop(name, None)

    def asked(self, site: str) -> str:
        """Return the attempt that a site has still to answer, or ""."""
        if self.roster is None or site not in self.roster.members or site in self.came:
            return ""
        return self.roster.attempt

    def take(self, site: str, attempt: str, masked: Masked, terms: Terms) -> bool:
        """Take what a site sent; return whether it counts: what is of another attempt does not.

        SiteError where its shape is wrong.
        """
        wanted = (terms.parts - 1, *terms.shape[1:])
        if masked.shape != wanted:
            raise SiteError(f"Site '{site}' sent shape {masked.shape}; expected {wanted}.")
        if not attempt or self.asked(site) != attempt:
            return False
        self.came[site] = masked
        return True
