"""What a coordinator that starts finds on its disk: who had joined, the heads, and the answers of the round at hand."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from ..core.arrays import Floats
from ..core.errors import StoreError
from ..core.text import read_json
from . import messages
from .heads import check_heads
from .rounds import Update
from .terms import PROTOCOL, Hello, Settings, SiteError, Terms, read_views

FEDERATION, HEADS, UPDATES = "federation.json", "heads.msg", "updates"
#: Settings that are fixed when a federation begins.
FIXED = ("rounds", "columns", "parts", "least_faces", "most_norm", "seed", "aggregate")
WAY_OUT = "Use another --state, or put it back from a copy."


@dataclass(frozen=True, eq=False)
class Kept:
    """A federation as it is on disk; without terms it has not begun.

    Parameters
    ----------
    hellos, parts : mapping by site
    terms : Terms, optional
    round : int
        Rounds that are over.
    heads : (P, D + 2, C) float32, optional
    came : mapping of site -> Update
        Answers of the next round.
    """

    hellos: dict[str, Hello]
    parts: dict[str, int]
    terms: Terms | None
    round: int = 0
    heads: Floats | None = None
    came: dict[str, Update] = field(default_factory=dict)


def update_file(number: int, site: str) -> str:
    """Return where a site's answer of round `number` is kept: by a digest of its name, whoever else joins."""
    return f"{UPDATES}/{number:03d}/{hashlib.sha256(site.encode()).hexdigest()[:32]}.msg"


def read_kept(folder: Path, settings: Settings) -> Kept | None:
    """Return what is kept in a folder, or None; StoreError where it is damaged or began under other settings.

    What a killed coordinator left of rounds that are over is removed.
    """
    path = folder / FEDERATION
    if not path.exists():
        return None
    try:
        held = read_json(path.read_text(encoding="utf-8"))
        if held["protocol"] != PROTOCOL:
            raise StoreError(f"{path} is of protocol {held['protocol']}, this is {PROTOCOL}. Use another --state.")
        parts = {str(name): int(part) for name, part in held["parts"].items()}
        hellos = {}
        for name, said in held["sites"].items():
            lists = {"classes": tuple(said["classes"]), "views": read_views(said["views"])}
            hellos[name] = Hello(**{**said, **lists})
        terms = None if held["terms"] is None else Terms.from_dict(held["terms"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is damaged ({error}). {WAY_OUT}") from error
    if terms is None:
        return Kept(hellos, parts, None)
    _check_settings(folder, terms, settings)
    number, heads = _read_heads(folder / HEADS, terms)
    return Kept(hellos, parts, terms, number, heads, _read_updates(folder / UPDATES, number))


def _check_settings(folder: Path, terms: Terms, settings: Settings) -> None:
    """Raise StoreError, which names each difference, where a federation began under other settings."""
    differ = []
    for name in FIXED:
        began, asked = getattr(terms, name), getattr(settings, name)
        if name == "parts":  # fewer sites make fewer parts
            asked = min(began, asked)
        if began != asked:
            differ.append(f"{name} {began} (this run: {asked})")
    if differ:
        raise StoreError(
            f"{folder} holds a federation that began with {', '.join(differ)}. Use the options it began with, or "
            "another --state."
        )


def _read_heads(path: Path, terms: Terms) -> tuple[int, Floats]:
    try:
        message = messages.expected(messages.decode(path.read_bytes(), f"the file {path}"), "heads", f"The file {path}")
        check_heads(message.arrays["heads"], terms.parts, terms)
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror or error}). {WAY_OUT}") from error
    except SiteError as error:
        raise StoreError(f"{path} is damaged ({error}) {WAY_OUT}") from error
    return message.fields["round"], message.arrays["heads"]


def _read_updates(folder: Path, number: int) -> dict[str, Update]:
    """Return the answers that came after round `number`."""
    for over in folder.glob("[0-9]*"):  # a coordinator killed between the heads and this
        if int(over.name) <= number:
            shutil.rmtree(over, ignore_errors=True)
    came = {}
    for file in sorted((folder / f"{number + 1:03d}").glob("*.msg")):
        try:
            update = messages.to_update(messages.decode(file.read_bytes(), f"the file {file}"))
        except (OSError, SiteError) as error:
            raise StoreError(f"{file} is damaged ({error}) Remove it: its site sends it again.") from error
        came[update.site] = update
    return came
