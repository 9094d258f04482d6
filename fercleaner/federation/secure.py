"""Secure aggregation: what a site sends is covered by masks that cancel in the sum over all sites, and there alone.

Sites i and j agree on a secret by X25519 through the coordinator, and draw from it, for each round and attempt, numbers
that i adds and j takes off:

    y_i = round(2^F w_i x_i) + sum_{j > i} m_ij - sum_{j < i} m_ij    (mod 2^32)

so that sum_i y_i is the weighted sum of the steps x_i and any y_i by itself is noise. A site that drops out leaves its
masks in the sum, which is thrown away then: the round is tried again by the others, under masks of a new attempt.

Source
------
Bonawitz, Ivanov, Kreuter, Marcedone, McMahan, Patel, Ramage, Segal and Seth, Practical Secure Aggregation for
Privacy-Preserving Machine Learning, CCS 2017. Differs from it in: one mask a pair and no secret sharing; a round that a
site drops out of is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Doubles, Floats
from ..core.errors import MissingDependency
from .heads import shortened
from .rounds import bounded
from .terms import SiteError, Terms

#: A number is sent as its 2^20-fold, rounded: a millionth is the least that counts, and sums up to 2,000 fit.
FRACTION_BITS = 20
#: Sites that a head's step must be the sum of: with fewer, the sum says what a site sent.
LEAST_TOGETHER = 2
#: A sum may be longer than the longest honest one by this share: rounding.
SLACK = 1e-3

Masked = NDArray[np.uint32]


@dataclass(frozen=True)
class Member:
    """A site of an attempt: its public key (32 bytes), its part, its labeled faces as it said."""

    public: bytes
    part: int
    faces: int


@dataclass(frozen=True)
class Roster:
    """Who takes part in an attempt at a round; every site of it must answer, or the attempt is thrown away.

    Parameters
    ----------
    round : int
        From 1.
    attempt : str
        Drawn anew for each attempt; masks are drawn for it.
    members : mapping of site -> Member
    """

    round: int
    attempt: str
    members: Mapping[str, Member]

    def sharing(self, part: int) -> list[str]:
        """Return the sites, in alphabetical order, that send a step on the head of a part: those of other parts."""
        return sorted(name for name, member in self.members.items() if member.part != part)


def check_installed() -> None:
    """Raise MissingDependency where masks cannot be made here; call it before long work."""
    try:
        import cryptography  # noqa: F401 - whether it is there
    except ImportError as error:
        raise MissingDependency("cryptography", "Secure aggregation", extra="federated") from error


class Keys:
    """A site's key pair, made when it starts and never kept; MissingDependency without the package cryptography."""

    def __init__(self) -> None:
        check_installed()
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        self._private = X25519PrivateKey.generate()
        self.public: bytes = self._private.public_key().public_bytes_raw()

    def mask(self, other: bytes, label: bytes, count: int) -> Masked:
        """Return `count` numbers that this site and the one with public key `other` draw alike for `label`."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        secret = self._private.exchange(X25519PublicKey.from_public_bytes(other))
        pair = b"".join(sorted((self.public, other)))
        key = HKDF(hashes.SHA256(), 32, salt=pair, info=b"fercleaner masks " + label).derive(secret)
        stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(4 * count))
        return np.frombuffer(stream, dtype="<u4").astype(np.uint32)


def check_roster(roster: Roster, site: str, public: bytes, terms: Terms) -> None:
    """Raise SiteError where a roster would let the coordinator see what this site sends, or is not one it is in."""
    mine = roster.members.get(site)
    if mine is None or mine.public != public:
        raise SiteError(f"Site '{site}': the coordinator's list of sites for round {roster.round} holds another key.")
    for part in range(terms.parts):
        together = roster.sharing(part)
        if site in together and len(together) < LEAST_TOGETHER:
            raise SiteError(
                f"Site '{site}': round {roster.round} has {len(roster.members)} sites, and the head of part {part + 1} "
                f"would learn from this one alone. Nothing was sent: secure aggregation needs at least "
                f"{LEAST_TOGETHER} sites a head, 3 in all."
            )


def covered(steps: Floats, site: str, keys: Keys, roster: Roster, terms: Terms) -> Masked:
    """Return what a site sends: its steps (P - 1, D + 2, C) by its weight, rounded, and its masks on them.

    Steps are shortened to the terms' `most_norm` again, for noise that was added to them. Weights are those of
    `rounds.bounded`, which every site and the coordinator work out from the roster.
    """
    check_roster(roster, site, keys.public, terms)
    result = np.empty(steps.shape, dtype=np.uint32)
    others = [part for part in range(terms.parts) if part != roster.members[site].part]
    for row, part in enumerate(others):
        together = roster.sharing(part)
        weight = _weights(roster, together)[together.index(site)]
        step = shortened(steps[row].astype(np.float64), terms.most_norm)
        total = np.round(step * weight * 2.0**FRACTION_BITS).astype(np.int64).astype(np.uint32)
        for other in together:
            if other == site:
                continue
            label = f"{roster.round} {roster.attempt} {part}".encode()
            mask = keys.mask(roster.members[other].public, label, total.size).reshape(total.shape)
            total = total + mask if other > site else total - mask
        result[row] = total
    return result


def uncovered(heads: Floats, sent: Mapping[str, Masked], roster: Roster, terms: Terms) -> Floats:
    """Return the heads after a round, (P, D + 2, C) float32: the weighted mean step is added, as by `rounds.averaged`.

    Steps are not shortened to the median, which takes the single steps: a sum longer than the terms' `most_norm` is
    refused in place of that.

    Raises
    ------
    SiteError
        A site of the roster is missing, or the sum is longer than honest steps can make it.
    """
    missing = sorted(set(roster.members) - set(sent))
    if missing:
        raise SiteError(f"Round {roster.round}: site '{missing[0]}' is missing, so the masks do not cancel.")
    result = heads.astype(np.float64)
    for part in range(terms.parts):
        together = roster.sharing(part)
        if not together:
            continue
        total = np.zeros(terms.shape[1:], dtype=np.uint32)
        for name in together:
            total = total + sent[name][part - (part > roster.members[name].part)]
        step: Doubles = total.astype(np.int32).astype(np.float64) / 2.0**FRACTION_BITS
        norm = float(np.linalg.norm(step))
        if norm > terms.most_norm * (1 + SLACK) + len(together) * np.sqrt(step.size) / 2.0**FRACTION_BITS:
            raise SiteError(
                f"Round {roster.round}: the sum of what {', '.join(together)} sent has length {norm:.3g}, longer than "
                f"honest steps can make it ({terms.most_norm:g}). One of them is broken or lies, and under secure "
                "aggregation nobody can say which; --aggregate robust can."
            )
        result[part] += step
    return result.astype(np.float32)


def _weights(roster: Roster, together: Sequence[str]) -> Doubles:
    return bounded(np.array([roster.members[name].faces for name in together], dtype=np.float64))
