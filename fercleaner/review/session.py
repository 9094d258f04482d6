"""A review in progress: which face comes next, what was decided, what is left. No web server in here."""

from __future__ import annotations

import hashlib
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import InputError
from ..core.refined import RefinedSet
from .log import LABEL, SKIP, Decision, DecisionLog, Entry, now, standing
from .queue import Z95, NoiseLeft, order

#: A face that one window shows is not given to another for so long (seconds).
LEASE = 900.0
#: Faces whose pictures a page may fetch ahead; faces of a grid at most.
AHEAD, GRID = 4, 24
#: Faces looked through for those of a grid.
GRID_REACH = 20_000
#: The action that takes decisions back.
UNDO = "undo"


@dataclass(frozen=True)
class Item:
    """One face of a request: its row and what is decided; None takes a decision back."""

    row: int
    decision: Decision | None


class Session:
    """What a review page talks to; its methods may be called from several threads.

    Parameters
    ----------
    refined : RefinedSet
    log : DecisionLog
        Faces that it holds a decision of, by anybody, or a skip, are not asked again.
    who : str
    by : str
        Order of the faces, see `queue.order`.
    digest : str
        Of the refined file, written with every decision.
    """

    def __init__(self, refined: RefinedSet, log: DecisionLog, who: str, *, by: str = "gain", digest: str = "") -> None:
        if not who.strip():
            raise InputError("Review: say who decides, --who NAME.")
        self.refined, self.log, self.who, self.digest = refined, log, who.strip(), digest
        self._lock = threading.RLock()
        self._order = order(refined, by)
        self._rank = np.empty_like(self._order)
        self._rank[self._order] = np.arange(len(self._order))
        self._row_of = {name: row for row, name in enumerate(refined.ids.tolist())}
        self._given, self._label = refined.given_label, refined.label
        self._leases: dict[int, tuple[str, float]] = {}
        self._cursor = 0
        contents = log.read()
        self.unreadable = contents.unreadable
        self._mine: dict[int, Decision] = {}
        self._older: dict[int, list[Decision | None]] = {}
        self._at: dict[int, str] = {}  # of the last line about each face by this person
        self._closed = np.zeros(len(refined), dtype=np.bool_)
        decided = np.array(refined.decided)
        strangers = 0
        for (name, person), entry in standing(contents.entries).items():
            row = self._row_of.get(name)
            if row is None:
                strangers += 1
                continue
            if person == self.who:
                self._at[row] = entry.at
            if entry.after is not None:
                self._closed[row] = True
                decided[row] |= entry.after.kind != SKIP
                if person == self.who:
                    self._mine[row] = entry.after
                    self._older[row] = [entry.before]
        if strangers and not self._closed.any():
            raise InputError(f"{log.path} holds decisions of another set: none of its faces is in this file.")
        self.left = NoiseLeft(refined, decided)
        self._tally: Counter[str] = Counter()
        for row, decision in self._mine.items():
            self._count(row, decision, 1)

    # What the page asks for

    def start(self) -> dict[str, Any]:
        """Return what a page needs once: classes and their keys, who, how many faces."""
        return {
            "classes": [{"name": name, "key": key} for name, key in zip(self.refined.classes, self.keys, strict=True)],
            "who": self.who,
            "faces": len(self.refined),
            "method": str(self.refined.metadata.get("method", "")),
            "log": self.log.path.name,
            "progress": self.progress(),
        }

    @property
    def keys(self) -> list[str]:
        """A key a class, in class order; "" for a class beyond the keys there are."""
        return [*KEYS[: len(self.refined.classes)], *[""] * (len(self.refined.classes) - len(KEYS))]

    def next(self, window: str, after: int = -1) -> dict[str, Any]:
        """Return the most valuable face that is open and that no other window shows; {"done": True} if none is.

        `after` is a row to leave out, such as the one just skipped.
        """
        with self._lock:
            rows = self._open_rows(window, 1 + AHEAD, leave_out=after)
            if not rows:
                return {"done": True, "progress": self.progress()}
            self._lease(rows[:1], window)
            return {"face": self.face(rows[0]), "ahead": rows[1:], "progress": self.progress()}

    def grid(self, window: str) -> dict[str, Any]:
        """Return up to `GRID` open faces of one kind: given and refined label as those of the most valuable one."""
        with self._lock:
            first = self._open_rows(window, 1)
            if not first:
                return {"done": True, "progress": self.progress()}
            pair = self._given[first[0]], self._label[first[0]]
            like = lambda row: (self._given[row], self._label[row]) == pair  # noqa: E731
            rows = self._open_rows(window, GRID, like=like)
            self._lease(rows, window)
            return {
                "faces": [self.face(row) for row in rows],
                "given": self._name(pair[0]),
                "refined": self._name(pair[1]),
                "progress": self.progress(),
            }

    def face(self, row: int) -> dict[str, Any]:
        """Return all that is shown of a face.

        Raises
        ------
        InputError
            There is no such row.
        """
        refined = self.refined
        if not 0 <= row < len(refined):
            raise InputError(f"Review: there is no row {row}.")
        stands = self._mine.get(row)
        return {
            "row": row,
            "id": str(refined.ids[row]),
            "split": str(refined.split[row]),
            "given": self._name(self._given[row]),
            "refined": self._name(self._label[row]),
            "distribution": [round(float(share), 4) for share in refined.distribution[row]],
            "given_distribution": [round(float(share), 4) for share in refined.given[row]],
            "quality": round(float(refined.quality[row]), 4),
            "flagged": bool(refined.flagged[row]),
            "reason": str(refined.reason[row]),
            "rank": int(self._rank[row]) + 1,
            "decision": None if stands is None else stands.to_dict(),
            "neighbors": [
                {"row": other, "id": name, "given": self._name(self._given[other]), "side": side}
                for side, names in (("for", refined.neighbors_for[row]), ("against", refined.neighbors_against[row]))
                for name in names
                if (other := self._row_of.get(name)) is not None
            ],
        }

    def progress(self) -> dict[str, Any]:
        """Return how many are decided, how often each side was right, and what is expected to be wrong still.

        Shares come as count, total and a 95 % Wilson interval.
        """
        with self._lock:
            tally = self._tally
            return {
                "decided": len(self._mine) - tally[SKIP],
                "skipped": tally[SKIP],
                "faces": len(self.refined),
                "kinds": {kind: tally[kind] for kind in (LABEL, "ambiguous", "not a face")},
                "refined_right": _interval(tally["refined"], tally[LABEL]),
                "given_right": _interval(tally["given"], tally["labeled"]),
                **self.left.to_dict(),
            }

    # What the page decides

    def decide(self, items: Sequence[Item], action: str) -> None:
        """Write decisions; when this returns they are on disk.

        Raises
        ------
        InputError
            An unknown row or class, or a face twice.
        StoreError
            The log cannot be written; nothing is counted then.
        """
        classes = self.refined.classes
        if not items or len({item.row for item in items}) != len(items):
            raise InputError("Review: each face once, and at least one.")
        for item in items:
            if not 0 <= item.row < len(self.refined):
                raise InputError(f"Review: there is no row {item.row}.")
            for name in item.decision.classes if item.decision else ():
                if name not in classes:
                    raise InputError(f"Review: '{name}' is not a class ({', '.join(classes)}).")
        with self._lock:
            at = now()
            # a clock that was set back must not put a line before the one that it follows
            entries = [self._entry(item, action, max(at, self._at.get(item.row, ""))) for item in items]
            self.log.append(entries)
            self._at |= {item.row: entry.at for item, entry in zip(items, entries, strict=True)}
            for item in items:
                if action != UNDO:
                    self._older.setdefault(item.row, []).append(self._mine.get(item.row))
                self._set(item)

    def undo(self, rows: Sequence[int]) -> None:
        """Put back what stood before the last decision about each face: an older decision, or none."""
        with self._lock:
            items = [Item(row, (self._older.get(row) or [None])[-1]) for row in rows]
            self.decide(items, UNDO)
            for row in rows:
                if self._older.get(row):
                    self._older[row].pop()

    def _entry(self, item: Item, action: str, at: str) -> Entry:
        row, refined = item.row, self.refined
        shown = {
            "given": self._name(self._given[row]),
            "refined": self._name(self._label[row]),
            "probability": round(float(refined.distribution[row, self._label[row]]), 6),
            "quality": round(float(refined.quality[row]), 6),
            "rank": int(self._rank[row]) + 1,
            "file": self.digest,
        }
        return Entry(str(refined.ids[row]), self.who, action, item.decision, self._mine.get(row), at, shown)

    def _set(self, item: Item) -> None:
        row, before = item.row, self._mine.get(item.row)
        if before is not None:
            self._count(row, before, -1)
        if item.decision is None:
            self._mine.pop(row, None)
            self._cursor = min(self._cursor, int(self._rank[row]))
        else:
            self._mine[row] = item.decision
            self._count(row, item.decision, 1)
        self._closed[row] = item.decision is not None
        self.left.set_decided(row, item.decision is not None and item.decision.kind != SKIP)
        self._leases.pop(row, None)

    def _count(self, row: int, decision: Decision, sign: int) -> None:
        self._tally[decision.kind] += sign
        if decision.kind == LABEL:
            self._tally["refined"] += sign * (decision.classes[0] == self._name(self._label[row]))
            if self._given[row] >= 0:
                self._tally["labeled"] += sign
                self._tally["given"] += sign * (decision.classes[0] == self._name(self._given[row]))

    def _open_rows(self, window: str, most: int, leave_out: int = -1, like: Any = None) -> list[int]:
        """Return up to `most` open rows in order, those that other windows show left out."""
        since = time.monotonic() - LEASE
        rows: list[int] = []
        while self._cursor < len(self._order) and self._closed[self._order[self._cursor]]:
            self._cursor += 1
        end = len(self._order) if like is None else min(len(self._order), self._cursor + GRID_REACH)
        for place in range(self._cursor, end):
            row = int(self._order[place])
            holder, at = self._leases.get(row, (window, 0.0))
            taken = holder != window and at > since
            if self._closed[row] or taken or row == leave_out or (like is not None and not like(row)):
                continue
            rows.append(row)
            if len(rows) == most:
                break
        return rows

    def _lease(self, rows: Sequence[int], window: str) -> None:
        at = time.monotonic()
        for row in [row for row, (holder, _) in self._leases.items() if holder == window]:
            del self._leases[row]
        self._leases.update(dict.fromkeys(rows, (window, at)))

    def _name(self, index: Any) -> str:
        return self.refined.classes[index] if index >= 0 else ""


#: Keys of classes, in class order; letters that commands use are left out.
KEYS = tuple("1234567890qweryiopdfjlzcv")


def _interval(count: int, total: int) -> dict[str, Any]:
    """Return a share as count, total and its 95 % Wilson interval (low, high); null where total is 0."""
    if not total:
        return {"count": count, "total": 0, "low": None, "high": None}
    share, z2 = count / total, Z95**2
    center = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return {"count": count, "total": total, "low": max(0.0, center - half), "high": min(1.0, center + half)}


def items_from(payload: Mapping[str, Any]) -> list[Item]:
    """Return the items of a request; raise InputError where it is not one."""
    try:
        return [
            Item(
                _row(part["row"]),
                None
                if part["decision"] is None
                else Decision(str(part["decision"]["kind"]), tuple(map(str, part["decision"]["classes"]))),
            )
            for part in payload["items"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("Review: the request is not a list of rows and decisions.") from error


def _row(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a row is an integer")
    return value


def file_digest(file: str | os.PathLike[str]) -> str:
    """Return the first 16 hex digits of the SHA-256 of a file."""
    sha = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()[:16]
