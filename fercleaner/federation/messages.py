"""All that travels between site and coordinator: seven kinds of message, what each may hold, and its text for people.

A message is the 8 bytes ``FCSITES1``, the length of the header (8 bytes, little endian), the header (JSON: kind,
fields, name and shape of each array), the arrays (float32, or uint32 under masks, little endian) and the SHA-256 of
all that. Kinds, fields and arrays are those of `KINDS`; anything else is refused, by the site before it is sent and by
whoever receives it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Floats
from ..core.errors import StoreError
from ..core.files import write_whole
from ..core.text import read_json, shown
from .rounds import Update
from .secure import Masked, Member, Roster
from .terms import ROBUST, SECURE, Hello, SiteError, Terms, read_views

MAGIC = b"FCSITES1"
#: Largest message that is read, in bytes, and longest header.
MOST_BYTES, MOST_HEADER = 256 * 2**20, 2**20


class Kind(NamedTuple):
    """What a kind of message holds: fields with their types, and the one array, if any, with its type."""

    fields: Mapping[str, type | tuple[type, ...]]
    array: str = ""
    dtype: str = "<f4"


#: Kinds that leave a site, and those of them that belong to one way of joining steps alone.
LEAVING = ("hello", "update", "key", "masked")
OF_ONE_WAY = {"update": ROBUST, "key": SECURE, "masked": SECURE}
#: `terms`, `heads` and `roster` come to a site, the others leave it.
KINDS = {
    "hello": Kind({"site": str, "classes": list, "views": list, "faces": int, "spread": (int, float), "protocol": int}),
    "terms": Kind({"terms": dict, "site": str, "part": int}),
    "update": Kind({"site": str, "part": int, "faces": int, "round": int}, "steps"),
    "heads": Kind({"round": int}, "heads"),
    "key": Kind({"site": str, "public": str}),
    "roster": Kind({"round": int, "attempt": str, "members": dict}),
    "masked": Kind({"site": str, "part": int, "round": int, "attempt": str}, "masked", "<u4"),
}


@dataclass(frozen=True, eq=False)
class Message:
    """A message: its kind, its fields (JSON types) and its arrays (of its kind's type)."""

    kind: str
    fields: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kind = KINDS.get(self.kind)
        if kind is None:
            raise SiteError(f"A message of kind '{shown(self.kind)}' is none of {', '.join(KINDS)}.")
        if set(self.fields) != set(kind.fields):
            odd = ", ".join(sorted(set(self.fields) ^ set(kind.fields)))
            raise SiteError(f"A message '{self.kind}' must hold {', '.join(kind.fields)}; wrong: {shown(odd)}.")
        for name, wanted in kind.fields.items():
            if not isinstance(self.fields[name], wanted) or isinstance(self.fields[name], bool):
                raise SiteError(f"A message '{self.kind}': {name} is {shown(self.fields[name])}.")
        if set(self.arrays) != ({kind.array} if kind.array else set()):
            raise SiteError(f"A message '{self.kind}' holds the arrays {shown(', '.join(self.arrays) or 'none')}.")

    @property
    def sender(self) -> str:
        """The site that the message is from, or "the coordinator"."""
        return f"site '{self.fields['site']}'" if self.kind in LEAVING else "the coordinator"


def public_of(message: Message) -> bytes:
    """Return the public key that a message `key` holds; SiteError where it is none."""
    try:
        return bytes.fromhex(message.fields["public"])
    except ValueError as error:
        raise SiteError(f"Site '{message.fields['site']}' sent a key that is none.") from error


def encode(message: Message) -> bytes:
    """Return a message as bytes; the same message gives the same bytes."""
    arrays = {
        name: np.ascontiguousarray(values, dtype=KINDS[message.kind].dtype)
        for name, values in sorted(message.arrays.items())
    }
    shapes = {name: list(values.shape) for name, values in arrays.items()}
    header = {"kind": message.kind, "fields": dict(message.fields), "arrays": shapes}
    text = json.dumps(header, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
    body = b"".join([MAGIC, len(text).to_bytes(8, "little"), text, *(values.tobytes() for values in arrays.values())])
    return body + hashlib.sha256(body).digest()


def decode(data: bytes, sender: str) -> Message:
    """Return the message of some bytes; SiteError, which names the sender, where they are none."""
    start, end = len(MAGIC) + 8, len(data) - 32
    if end < start or data[: len(MAGIC)] != MAGIC:
        raise SiteError(f"What came from {sender} is no message of fercleaner ({len(data):,} bytes).")
    if len(data) > MOST_BYTES or hashlib.sha256(data[:end]).digest() != data[end:]:
        raise SiteError(f"A message from {sender} was cut off or altered on its way. Send it again.")
    length = int.from_bytes(data[len(MAGIC) : start], "little")
    try:
        if length > min(MOST_HEADER, end - start):
            raise ValueError("header")
        header = read_json(data[start : start + length])
        arrays, at, dtype = dict[str, NDArray[Any]](), start + length, KINDS[str(header["kind"])].dtype
        for name, shape in sorted(header["arrays"].items()):
            size = 4 * int(np.prod([int(side) for side in shape], dtype=np.int64))
            if size < 0 or at + size > end:
                raise ValueError("arrays")
            values = np.frombuffer(data[at : at + size], dtype=dtype).reshape(shape)
            arrays[str(name)] = values.astype(values.dtype.newbyteorder("="))
            at += size
        if at != end:
            raise ValueError("length")
        return Message(str(header["kind"]), dict(header["fields"]), arrays)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SiteError(f"A message from {sender} cannot be read. Use the same version of fercleaner.") from error


def expected(message: Message, kind: str, sender: str) -> Message:
    """Return a message; SiteError, which begins with the sender, where it is of another kind."""
    if message.kind != kind:
        raise SiteError(f"{sender} sent a message '{message.kind}' where '{kind}' was expected.")
    return message


def of_hello(hello: Hello, protocol: int) -> Message:
    """Return what a site says of itself as a message."""
    views = [list(view) for view in hello.views]
    fields = {"classes": list(hello.classes), "views": views, "faces": hello.faces, "spread": hello.spread}
    return Message("hello", {"site": hello.site, "protocol": protocol, **fields})


def to_hello(message: Message, protocol: int) -> Hello:
    """Return what a message of kind hello says; SiteError for another kind or version, or numbers that cannot be."""
    held = expected(message, "hello", "A site").fields
    if held["protocol"] != protocol:
        raise SiteError(
            f"Site '{held['site']}' speaks protocol {held['protocol']}, the coordinator {protocol}. Use the same "
            "version of fercleaner."
        )
    try:
        views = read_views(held["views"])
    except (TypeError, ValueError) as error:
        raise SiteError(f"Site '{held['site']}': its views cannot be read.") from error
    spread = float(held["spread"])
    if not (np.isfinite(spread) and spread > 0 and held["faces"] >= 0):
        raise SiteError(f"Site '{held['site']}' says {held['faces']} faces and spread {spread:g}.")
    classes = tuple(map(str, held["classes"]))
    if list(classes) != sorted(set(classes)):
        raise SiteError(
            f"Site '{held['site']}': its classes ({', '.join(classes)}) are not in alphabetical order, each once. "
            "Use the same version of fercleaner."
        )
    return Hello(held["site"], classes, views, held["faces"], spread)


def of_terms(terms: Terms, site: str, part: int) -> Message:
    """Return the terms, and the part that a site is dealt to, as a message."""
    return Message("terms", {"terms": terms.to_dict(), "site": site, "part": part})


def of_heads(heads: Floats, number: int) -> Message:
    """Return heads (some, D + 2, C) after round `number`, 0 before the first, as a message."""
    return Message("heads", {"round": number}, {"heads": heads})


def of_update(update: Update, number: int) -> Message:
    """Return a site's steps in round `number` as a message."""
    fields = {"site": update.site, "part": update.part, "faces": update.faces, "round": number}
    return Message("update", fields, {"steps": update.steps})


def to_update(message: Message) -> Update:
    """Return the steps that a message of kind update holds; SiteError for another kind."""
    held = expected(message, "update", "A site").fields
    return Update(held["site"], held["part"], held["faces"], message.arrays["steps"])


def of_roster(roster: Roster) -> Message:
    """Return who takes part in an attempt as a message."""
    members = {n: {"public": m.public.hex(), "part": m.part, "faces": m.faces} for n, m in roster.members.items()}
    return Message("roster", {"round": roster.round, "attempt": roster.attempt, "members": members})


def to_roster(message: Message) -> Roster:
    """Return the roster that a message of that kind holds; SiteError where it cannot be read."""
    held = message.fields
    try:
        members = {
            str(name): Member(bytes.fromhex(one["public"]), int(one["part"]), int(one["faces"]))
            for name, one in held["members"].items()
        }
    except (ValueError, TypeError, KeyError) as error:
        raise SiteError(
            "The coordinator's list of sites cannot be read. Use the same version of fercleaner."
        ) from error
    return Roster(held["round"], held["attempt"], members)


def of_masked(masked: Masked, site: str, roster: Roster) -> Message:
    """Return a site's steps under masks as a message."""
    part = roster.members[site].part
    fields = {"site": site, "part": part, "round": roster.round, "attempt": roster.attempt}
    return Message("masked", fields, {"masked": masked})


def check_leaving(message: Message, terms: Terms | None) -> None:
    """Raise SiteError unless a message is one that may leave a site, its array of the shape that the terms say."""
    if message.kind not in LEAVING:
        raise SiteError(f"A message '{message.kind}' does not leave a site.")
    way = OF_ONE_WAY.get(message.kind)
    if terms is not None and way is not None and way != terms.aggregate:
        raise SiteError(f"A message '{message.kind}' does not leave a site under --aggregate {terms.aggregate}.")
    for name, values in message.arrays.items():
        wanted = None if terms is None else (terms.parts - 1, *terms.shape[1:])
        if values.shape != wanted:
            raise SiteError(f"A message '{message.kind}': {name} has shape {values.shape}, expected {wanted}.")


def text_of(message: Message, size: int) -> str:
    """Return a message of `size` bytes as a person reads it: all fields, and each array's shape, range and norm."""
    lines = [f"{message.kind}, {size:,} bytes, from {message.sender}"]
    lines += [f"  {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in sorted(message.fields.items())]
    for name, values in message.arrays.items():
        norm = float(np.linalg.norm(values.astype(np.float64)))
        lines.append(
            f"  {name}: {' x '.join(map(str, values.shape))} {values.dtype.name}, from {values.min():.4g} to "
            f"{values.max():.4g}, norm {norm:.4g}"
        )
    if "steps" in message.arrays:
        last = message.arrays["steps"][0, -1]
        lines.append(f"  of them the step on class frequencies, first head: {' '.join(f'{x:.3f}' for x in last)}")
    return "\n".join(lines) + "\n"


class MessageLog:
    """A folder in which each message stands before it is sent: `messages.log` for people, and its very bytes.

    Parameters
    ----------
    folder : path
        Made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bytes = 0

    def keep(self, message: Message, name: str) -> bytes:
        """Write a message down as `name` and return its bytes, which may be sent then; StoreError where that fails."""
        data = encode(message)
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        digest = hashlib.sha256(data).hexdigest()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / name, [data])
            with open(self.folder / "messages.log", "a", encoding="utf-8") as stream:
                stream.write(f"{stamp} UTC {name}, SHA-256 {digest}\n{text_of(message, len(data))}\n")
        except OSError as error:
            raise StoreError(
                f"{self.folder}: the log of messages cannot be written ({error.strerror or error}), and what is not "
                "written is not sent. Make room and run the same command again."
            ) from error
        self.bytes += len(data)
        return data
