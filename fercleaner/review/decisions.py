"""Decisions of people applied to a set: decided faces are certain, and say how far the others' answers are right.

decisions = read_decisions(["ann.jsonl", "ben.csv"], samples.classes, samples)
refined = fercleaner.refine(samples, method, sources, decisions=decisions)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..core.arrays import Bools, Doubles, Floats, Ints
from ..core.errors import InputError, did_you_mean
from ..core.refined import RefinedSet
from ..core.types import Samples
from ..noise.estimate import held_wrong
from ..noise.known_labels import keeps
from ..results.assemble import input_digest
from .log import AMBIGUOUS, LABEL, NOT_A_FACE, SKIP, Decision, Entry, standing

#: Said of a face that is none.
NO_FACE_NOTE = "decided: not a face"


@dataclass(frozen=True)
class Conflict:
    """A face on which people disagree: who says what, and what more than half of them say (None: nothing)."""

    id: str
    opinions: Mapping[str, Decision]
    settled_as: Decision | None

    def __str__(self) -> str:
        said = ", ".join(f"{who}: {decision}" for who, decision in self.opinions.items())
        return f"{self.id}: {said}; {'left open' if self.settled_as is None else f'taken as {self.settled_as}'}"


@dataclass(frozen=True)
class Decisions:
    """What people decided, one decision a face.

    Parameters
    ----------
    by_id : mapping of id -> Decision
        None of them a skip.
    who : mapping of id -> tuple of str
        Who says so.
    conflicts : tuple of Conflict
        Faces on which people disagree. Where more than half say the same, that counts; else the face stays undecided.
    unreadable : int
        Lines of logs that could not be read.
    given : mapping of id -> str
        The given label that the reviewer was shown, where the log or the table says it.
    """

    by_id: Mapping[str, Decision]
    who: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    conflicts: tuple[Conflict, ...] = ()
    unreadable: int = 0
    given: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.by_id)

    def check_classes(self, classes: Iterable[str]) -> None:
        """Raise InputError for a decision that names a class outside `classes`."""
        known = list(classes)
        for name, decision in self.by_id.items():
            for label in decision.classes:
                if label not in known:
                    raise InputError(
                        f"Decisions: '{name}' is decided as '{label}', which is not in the class set "
                        f"({', '.join(known)}).{did_you_mean(label, known)}"
                    )

    def rows(self, ids: Any) -> tuple[Ints, list[Decision]]:
        """Return the rows (M,) of the faces that are decided, and their decisions."""
        found = [(row, self.by_id[name]) for row, name in enumerate(ids.tolist()) if name in self.by_id]
        return np.array([row for row, _ in found], dtype=np.int64), [decision for _, decision in found]

    def made_of_others(self, samples: Samples) -> tuple[int, int]:
        """Return how many decided faces of the set have another given label than was shown, and how many were compared.

        A set that was cleaned by these very decisions has the decided labels now; such faces do not count. Many others
        say that the decisions are of another set whose faces have the same ids.
        """
        rows, decided = self.rows(samples.ids)
        compared = [
            (samples.classes[samples.label[row]], self.given[samples.ids[row]], decision.classes)
            for row, decision in zip(rows.tolist(), decided, strict=True)
            if samples.labeled[row] and self.given.get(samples.ids[row])
        ]
        return sum(now != then and now not in settled for now, then, settled in compared), len(compared)

    def without_no_faces(self, samples: Samples) -> Samples:
        """Return the samples to run a method on: what was decided to be no face has no label, and its note says so.

        All other labels are the set's own, wrong ones too: how far they are right is learned from them, and a set in
        which people mended some of the labels would look less noisy than its other labels are.

        Raises
        ------
        InputError
            No decided face is in the set, or a decision names a class that the set does not have.
        """
        self.check_classes(samples.classes)
        rows, decided = self.rows(samples.ids)
        if not len(rows) and len(self):
            raise InputError(
                f"None of the {len(self):,} decided faces is in this set (first: '{next(iter(self.by_id))}', the set "
                f"begins with '{samples.ids[0]}'). Name the log of this set."
            )
        gone = rows[[decision.kind == NOT_A_FACE for decision in decided]]
        given, labeled = np.array(samples.given), np.array(samples.labeled)
        given[gone], labeled[gone] = 0, False
        notes = np.full(len(samples), "", dtype=object) if samples.notes is None else samples.notes.astype(object)
        notes[gone] = NO_FACE_NOTE
        return samples.replacing(given=given, labeled=labeled, notes=notes.astype(np.str_))

    def known(self, samples: Samples) -> tuple[Ints, Doubles]:
        """Return the rows (M,) of the faces of which a class is decided, and these labels, (M, C) float64.

        One class is one-hot, two are one half each.
        """
        rows, decided = self.rows(samples.ids)
        faces = [decision.kind != NOT_A_FACE for decision in decided]
        target = _distributions(decided, samples.classes).astype(np.float64)
        return rows[faces], target[faces]

    def settled(self, refined: RefinedSet, samples: Samples) -> RefinedSet:
        """Return the answer of a method with the decisions certain and the set's own labels.

        For decided faces, with y the label that the set gives:

            distribution   one-hot; one half for each of two classes; what is not a face keeps the method's
            weight         1; 0 for what is not a face
            quality        1 where y is one of the classes decided, else 0; where y is a distribution,
                           <y, d> / (max y max d), 1 at most
            flagged        no most likely class of y is decided, or it is not a face
            changed        another class than a most likely one of y leads d (`held_wrong`)
            reason         what was decided and by whom

        `given` and `labeled` are those of `samples` for all faces. Metadata "decisions" names the faces and
        counts what was decided.
        """
        if not np.array_equal(refined.ids, samples.ids):
            raise InputError("Decisions: the refined set and the samples are not the same faces in the same order.")
        rows, decided = self.rows(samples.ids)
        face: Bools = np.array([decision.kind != NOT_A_FACE for decision in decided], dtype=np.bool_)
        target = _distributions(decided, samples.classes)
        distribution, weight = np.array(refined.distribution), np.array(refined.weight)
        quality, flagged, changed = np.array(refined.quality), np.array(refined.flagged), np.array(refined.changed)
        distribution[rows[face]] = target[face]
        weight[rows] = face
        labeled = samples.labeled
        given = samples.given[rows]
        peak = target.max(1, initial=0) * given.max(1, initial=0)
        support = np.divide((target * given).sum(1), peak, out=np.zeros_like(peak), where=peak > 0)
        quality[rows] = np.where(face, np.where(labeled[rows], support, 1), 0).clip(0, 1)
        flagged[rows] = labeled[rows] & ~keeps(target, given)
        changed[rows] = labeled[rows] & held_wrong(given, distribution[rows])
        reason = refined.reason.astype(object)
        for row, decision in zip(rows.tolist(), decided, strict=True):
            reason[row] = self._sentence(samples, row, decision)
        return replace(
            refined,
            given=samples.given,
            labeled=labeled,
            distribution=distribution,
            weight=weight,
            quality=quality,
            flagged=flagged & labeled,
            changed=changed,
            reason=reason.astype(np.str_),
            metadata={
                **refined.metadata,
                "input_digest": input_digest(samples),
                "decisions": self._counts(samples.ids[rows].tolist(), decided, flagged[rows], len(self) - len(rows)),
            },
        )

    def _sentence(self, samples: Samples, row: int, decision: Decision) -> str:
        given = f"labeled {samples.classes[samples.label[row]]}" if samples.labeled[row] else "no label"
        by = ", ".join(self.who.get(str(samples.ids[row]), ()))
        return f"{given}; decided: {decision}{f' ({by})' if by else ''}"

    def _counts(self, ids: list[str], decided: list[Decision], against: Bools, elsewhere: int) -> dict[str, Any]:
        kinds = Counter(decision.kind for decision in decided)
        people = Counter(name for names in self.who.values() for name in names)
        return {
            "faces": len(decided),
            "ids": ids,
            "one_class": kinds[LABEL],
            "two_classes": kinds[AMBIGUOUS],
            "not_a_face": kinds[NOT_A_FACE],
            "against_given": int(against.sum()),
            "by": dict(sorted(people.items())),
            "conflicts": len(self.conflicts),
            "left_open": sum(conflict.settled_as is None for conflict in self.conflicts),
            "not_in_set": elsewhere,
        }


def merged(entries: Iterable[Entry], unreadable: int = 0) -> Decisions:
    """Return one decision a face from the entries of one or several people.

    The last entry of a person and face counts. Where people disagree, what more than half of them say counts; without
    such a majority the face stays undecided. A skip says nothing.
    """
    opinions: dict[str, dict[str, Decision]] = {}
    given: dict[str, str] = {}
    for (name, who), entry in sorted(standing(entries).items()):
        given[name] = str(entry.shown.get("given") or given.get(name, ""))
        if entry.after is not None and entry.after.kind != SKIP:
            opinions.setdefault(name, {})[who] = entry.after
    by_id: dict[str, Decision] = {}
    people: dict[str, tuple[str, ...]] = {}
    conflicts = []
    for name, said in opinions.items():
        votes = Counter(decision.unordered() for decision in said.values())
        (first, most) = votes.most_common(1)[0]
        settled = first if 2 * most > len(said) else None
        if len(votes) > 1:
            conflicts.append(Conflict(name, said, settled))
        if settled is not None:
            by_id[name] = settled
            people[name] = tuple(who for who, decision in said.items() if decision.unordered() == settled)
    return Decisions(by_id, people, tuple(conflicts), unreadable, given)


def _distributions(decided: list[Decision], classes: tuple[str, ...]) -> Floats:
    column = {name: c for c, name in enumerate(classes)}
    rows = np.zeros((len(decided), len(classes)), dtype=np.float32)
    for m, decision in enumerate(decided):
        for name in decision.classes:
            rows[m, column[name]] = 1.0 / len(decision.classes)
    return rows
