"""The log of a review: one JSON line a decision, only ever appended to, on disk before the next face is shown.

    {"at": "2026-03-01T10:22:07.120Z", "who": "ann", "id": "train/0012.png", "action": "accept",
     "before": null, "after": {"kind": "label", "classes": ["fear"]},
     "shown": {"given": "sadness", "refined": "fear", "probability": 0.83, "quality": 0.02, "file": "1f0c..."}}

`before` and `after` are what stood for this face and person, and what stands now; null is no decision. Undoing is a
line of its own whose `after` is an older `before`. The last line of a face and person counts.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..core.errors import InputError, StoreError
from ..core.files import sync_folder
from ..core.text import counted, read_json

_LOG = logging.getLogger(__name__)

#: What can be decided about a face.
LABEL, AMBIGUOUS, NOT_A_FACE, SKIP = "label", "ambiguous", "not a face", "skip"
#: Classes that a decision of each kind names.
CLASSES_NAMED: Mapping[str, int] = {LABEL: 1, AMBIGUOUS: 2, NOT_A_FACE: 0, SKIP: 0}


@dataclass(frozen=True)
class Decision:
    """What a person says of a face.

    Parameters
    ----------
    kind : {"label", "ambiguous", "not a face", "skip"}
        One class; two classes, equally; no label fits, since it is no face; nothing said.
    classes : tuple of str
        As many as the kind names, no class twice.
    """

    kind: str
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        if self.kind not in CLASSES_NAMED:
            raise InputError(f"'{self.kind}' is not a decision ({', '.join(CLASSES_NAMED)}).")
        if len(set(self.classes)) != CLASSES_NAMED[self.kind] or len(self.classes) != CLASSES_NAMED[self.kind]:
            raise InputError(
                f"A decision '{self.kind}' names {CLASSES_NAMED[self.kind]} classes, not "
                f"{len(self.classes)} ({', '.join(self.classes) or 'none'})."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as JSON types."""
        return {"kind": self.kind, "classes": list(self.classes)}

    def unordered(self) -> Decision:
        """Return the decision with its classes sorted: of two classes neither comes first."""
        return Decision(self.kind, tuple(sorted(self.classes)))

    def __str__(self) -> str:
        return " / ".join(self.classes) or self.kind


@dataclass(frozen=True)
class Entry:
    """One line of a log.

    Parameters
    ----------
    id : str
        The face.
    who : str
    action : str
        The key that was pressed: "accept", "keep", "label", "ambiguous", "not a face", "skip", "undo"; or "imported".
    after, before : Decision or None
        What stands for this face and person now, and what stood before.
    at : str
        Time in UTC, ISO 8601.
    shown : mapping
        What the person saw: given and refined label, probability, quality, digest of the refined file; JSON types.
    """

    id: str
    who: str
    action: str
    after: Decision | None
    before: Decision | None = None
    at: str = ""
    shown: Mapping[str, Any] = field(default_factory=dict)

    def to_line(self) -> str:
        """Return the entry as one line of JSON, without its end."""
        return json.dumps(
            {
                "at": self.at or now(),
                "who": self.who,
                "id": self.id,
                "action": self.action,
                "before": None if self.before is None else self.before.to_dict(),
                "after": None if self.after is None else self.after.to_dict(),
                "shown": dict(self.shown),
            },
            ensure_ascii=True,
            allow_nan=False,
        )


@dataclass(frozen=True)
class LogContents:
    """What a log holds: its entries in order, and the numbers (from 1) of lines that cannot be read."""

    entries: tuple[Entry, ...]
    unreadable: tuple[int, ...] = ()


def now() -> str:
    """Return the time in UTC as ISO 8601 with milliseconds."""
    return iso(datetime.now(UTC))


def iso(time: datetime) -> str:
    """Return a time in UTC as the log writes it."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class DecisionLog:
    """A log that is being written; entries of earlier runs are kept.

    Several threads, and several processes on one machine, may append to one file: each append is one locked write. A
    line that a crash has torn is left as it is, closed by a line end, and never counts.

    Parameters
    ----------
    path : path
        Created, with its first line, when something is first decided.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._known: list[Entry] = []  # what stands in the file, as far as this object has read or written it
        no_file = self.path.exists() and not self.path.is_file()
        if no_file or not self.path.absolute().parent.is_dir():
            raise StoreError(f"{self.path}: name a file in a folder that exists, such as decisions.jsonl.")

    def check(self) -> None:
        """Raise the StoreError that the first decision would raise, before anybody decides."""
        place = self.path if self.path.exists() else self.path.absolute().parent
        if not os.access(place, os.W_OK):
            raise StoreError(f"{self.path} cannot be written: no permission. Choose another --log.")

    def read(self) -> LogContents:
        """Return what stands in the file; nothing where there is none yet."""
        contents = read_log(self.path) if self.path.exists() else LogContents(())
        with self._lock:
            self._known = list(contents.entries)
        return contents

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries and return when they are on disk (fsync).

        Where somebody has removed the file, what this object knows of it is written again first, with a note.

        Raises
        ------
        StoreError
            The file cannot be written.
        """
        try:
            with self._lock:
                new = not self.path.exists()
                again = self._known if new else []
                if again:
                    _LOG.warning(
                        "%s was removed; %s written again.", self.path, counted(len(again), "line is", "lines are")
                    )
                data = "".join(entry.to_line() + "\n" for entry in (*again, *entries)).encode()
                with open(self.path, "ab+", buffering=0) as stream, _locked(stream):
                    if _torn(stream):
                        data = b"\n" + data
                    written = 0
                    while written < len(data):
                        written += stream.write(data[written:])
                    os.fsync(stream.fileno())
                self._known.extend(entries)
                if new:
                    sync_folder(self.path.absolute().parent)
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written: {error.strerror or error}. Nothing was lost before."
            ) from error


def read_log(path: str | os.PathLike[str]) -> LogContents:
    """Read a log; lines that are no entry (a torn tail, damage) are left out and counted.

    Raises
    ------
    InputError
        The file is missing or cannot be read, or holds lines but no entry (a first line that a crash has torn is none).
    """
    if Path(path).exists() and not Path(path).is_file():  # a pipe would be waited for
        raise InputError(f"{path} is no file. Name a log that fercleaner review wrote.")
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: {(error.strerror or str(error)).lower()}. Name a log that fercleaner review wrote."
        ) from error
    entries, bad = [], []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            entries.append(_entry(read_json(line.decode("utf-8"))))
        except (ValueError, KeyError, TypeError, AttributeError, InputError):
            bad.append(number)
    torn = bad == [data.count(b"\n") + 1] and data.startswith(b"{")  # its first line, cut off by a crash
    if bad and not entries and not torn:
        raise InputError(f"{path} holds no decision that can be read. Name a log that fercleaner review wrote.")
    return LogContents(tuple(entries), tuple(bad))


def standing(entries: Iterable[Entry]) -> dict[tuple[str, str], Entry]:
    """Return the last entry of each (id, who), by time; of equal times the later line."""
    last: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        key = (entry.id, entry.who)
        if key not in last or entry.at >= last[key].at:
            last[key] = entry
    return last


def _entry(record: Any) -> Entry:
    if not isinstance(record["id"], str) or not record["id"]:
        raise ValueError("an entry needs an id")
    return Entry(
        id=record["id"],
        who=str(record["who"]),
        action=str(record["action"]),
        after=_decision(record["after"]),
        before=_decision(record.get("before")),
        at=str(record["at"]),
        shown=dict(record.get("shown") or {}),
    )


def _decision(record: Any) -> Decision | None:
    return None if record is None else Decision(record["kind"], tuple(map(str, record["classes"])))


def _torn(stream: Any) -> bool:
    """Whether the file ends in the middle of a line."""
    if stream.seek(0, os.SEEK_END) == 0:
        return False
    stream.seek(-1, os.SEEK_END)
    return bool(stream.read(1) != b"\n")


@contextlib.contextmanager
def _locked(stream: Any) -> Iterator[None]:
    """Keep other processes from appending meanwhile, where the system can."""
    try:
        import fcntl
    except ImportError:  # Windows: one review a log
        yield
        return
    fcntl.flock(stream, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(stream, fcntl.LOCK_UN)
