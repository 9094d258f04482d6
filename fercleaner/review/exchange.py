"""Decisions made elsewhere: a CSV with a column to fill in, and Label Studio's JSON, out and in."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..core import cells
from ..core.arrays import Ints
from ..core.errors import InputError, did_you_mean
from ..core.expressions import canonical
from ..core.refined import RefinedSet
from ..core.text import counted, read_json, shown
from ..core.types import Samples
from ..datasets.faces import face_column, match
from ..datasets.marks import is_missing
from ..datasets.options import CLEAN_COLUMNS, spelled
from ..datasets.table import PARQUET, Table, listed, read_table
from ..datasets.truth import is_outside
from .decisions import Decisions, merged
from .log import AMBIGUOUS, LABEL, NOT_A_FACE, SKIP, Decision, Entry, iso, read_log, standing

_LOG = logging.getLogger(__name__)

#: Columns of the CSV for reviewers; they fill in the last.
COLUMNS = ("id", "image", "given_label", "label", "probability", "quality", "reason", "decision")
#: Who decided, where a column says so.
WHO = ("who", "annotator", "reviewer")
#: Spellings of "not a face"; and what stands between two classes.
NO_FACE = (NOT_A_FACE, "no face", "not_a_face", "nf")
BETWEEN = (";", "/", "+", "|")


def read_decisions(
    files: Iterable[str | os.PathLike[str]], classes: Sequence[str], samples: Samples | RefinedSet | None = None
) -> Decisions:
    """Read logs of `fercleaner review` (.jsonl), filled-in tables and Label Studio exports (.json), and merge them.

    A table (CSV, TSV or Parquet) names the face as every table does (`datasets.faces.face_column`) and has a column
    "decision", or one that is called clean_label. Of clean labels, expressions that are no class and marks such as
    "unknown" decide nothing, as `evaluate` does not judge by them; a note counts them.

    Parameters
    ----------
    files : paths
    classes : sequence of C str
        Class set of the faces that were reviewed.
    samples : Samples or RefinedSet, optional
        The set: names in a table are matched to its faces as `evaluate` matches them (`datasets.faces.match`). Without
        it they are the ids as they stand.

    Raises
    ------
    InputError
        A file is missing or of another kind, or a decision cannot be understood; file, row and value are named.
    """
    found: dict[Path, list[Entry]] = {}
    unreadable = 0
    for file in map(Path, files):
        entries = found.setdefault(file, [])
        if not file.is_file():
            raise InputError(f"{file}: no such file. Name a log of fercleaner review, a .csv or a Label Studio .json.")
        if file.suffix.lower() == ".json":
            entries += _from_label_studio(file, classes)
            if not entries:
                raise InputError(f"{file} holds no decision: no task is annotated (predictions are none).")
        elif file.suffix.lower() in (".csv", ".tsv", *PARQUET):
            entries += _from_table(file, classes, samples)
            if not entries:
                raise InputError(
                    f"{file} holds no decision: every cell of its column is empty. Write a class there, 'keep' or "
                    "'accept'; what is changed in other columns does not count."
                )
        else:
            contents = read_log(file)
            entries += contents.entries
            unreadable += len(contents.unreadable)
    decisions = merged(_distinguished(found), unreadable)
    decisions.check_classes(classes)
    return decisions


def _distinguished(found: Mapping[Path, Sequence[Entry]]) -> list[Entry]:
    """Return the entries of all files; where one name decides a face in two ways in two files, it is two people's.

    Two people may share a name: that of the account, unless --who says another. The name then says the file as well.
    """
    said: dict[tuple[str, str], set[Decision]] = {}
    for entries in found.values():
        for key, entry in standing(entries).items():
            if entry.after is not None and entry.after.kind != SKIP:
                said.setdefault(key, set()).add(entry.after.unordered())
    return [
        replace(entry, who=f"{entry.who} ({file})") if len(said.get((entry.id, entry.who), ())) > 1 else entry
        for file, entries in found.items()
        for entry in entries
    ]


def review_csv(refined: RefinedSet, rows: Ints) -> tuple[str, int]:
    """Return a CSV of `COLUMNS` to fill in, one row a face, and how many rows have cells made harmless.

    `decision` is empty: a class, two with ";" between, "not a face", "keep" (the given label) or "accept" (the
    refined one). Left empty, nothing is decided.
    """
    given, label = refined.given_label, refined.label
    return cells.written(
        COLUMNS,
        (
            (
                str(refined.ids[row]),
                str(refined.paths[row]),
                refined.classes[given[row]] if given[row] >= 0 else "",
                refined.classes[label[row]],
                round(float(refined.distribution[row, label[row]]), 4),
                round(float(refined.quality[row]), 4),
                str(refined.reason[row]),
                "",
            )
            for row in rows.tolist()
        ),
    )


def parsed(text: str, classes: Sequence[str], where: str, given: str = "", refined: str = "") -> Decision | None:
    """Return the decision that a text says, None for an empty one.

    The set's classes come first: where one is called "keep", that word means it.

    Raises
    ------
    InputError
        It names no class of the set.
    """
    word = text.strip()
    if not word:
        return None
    single = _class(word, classes)
    if single is not None:
        return Decision(LABEL, (single,))
    if word.casefold() in NO_FACE:
        return Decision(NOT_A_FACE)
    for key, label in (("keep", given), ("accept", refined)):
        if word.casefold() == key:
            if label not in classes:
                raise InputError(f"{where}: decision '{word}', but the row does not say which label that is.")
            return Decision(LABEL, (label,))
    for mark in BETWEEN:
        pair = [_class(part.strip(), classes) for part in word.split(mark)]
        if len(pair) == 2 and pair[0] is not None and pair[1] is not None and pair[0] != pair[1]:
            return Decision(AMBIGUOUS, (pair[0], pair[1]))
    raise InputError(
        f"{where}: decision '{shown(word)}' is neither a class ({', '.join(classes)}), two of them with ';' between, "
        f"'{NOT_A_FACE}', 'keep' nor 'accept'.{did_you_mean(word, classes)} Leave it empty to skip the face."
    )


def _class(word: str, classes: Sequence[str]) -> str | None:
    return word if word in classes else next((name for name in (canonical(word),) if name in classes), None)


def _from_table(file: Path, classes: Sequence[str], samples: Samples | RefinedSet | None) -> list[Entry]:
    table = read_table(file)
    columns = {spelled(name): cells for name, cells in table.columns.items()}
    decisive = _decisive(table, columns)
    said = columns[decisive]
    if decisive in CLEAN_COLUMNS:
        said = _without_outsiders(file, said, classes)
    own = {"id", "given label"} <= set(columns)  # a list of `review`, whose ids may be the numbers of its rows
    names = columns["id"] if own else table.columns[face_column(table, option="rename the column")]
    if samples is not None and any(said):
        names = _ids_of(names, samples, file)
    who = next((columns[name] for name in WHO if name in columns), [file.stem] * len(table))
    given, refined = (columns.get(name, [""] * len(table)) for name in ("given label", "label"))
    at = _changed_at(file)
    entries: dict[tuple[str, str], tuple[int, Entry]] = {}
    for i, text in enumerate(said):
        decision = parsed(text, classes, table.where(i), given[i], refined[i])
        if decision is None:
            continue
        if not names[i]:
            raise InputError(
                f"{table.where(i)} decides '{shown(text)}' and names no face. Write its id, or empty the cell."
            )
        person = who[i] or file.stem
        made = Entry(names[i], person, "imported", decision, at=at, shown={"given": given[i]})
        first, entry = entries.setdefault((names[i], person), (i, made))
        if entry.after != decision:
            raise InputError(
                f"{table.where(first)} and {table.where(i)} decide '{shown(names[i])}' in two ways. Keep one, "
                "or name two people in a column 'who'."
            )
    return [entry for _, entry in entries.values()]


def _ids_of(names: Sequence[str], samples: Samples | RefinedSet, file: Path) -> list[str]:
    """Return the ids of the faces that a table names, as the set writes them; other names as they stand."""
    written = list(dict.fromkeys(name for name in names if name))
    rows = match(samples.ids, samples.paths, written, str(file))
    here = {written[row]: str(samples.ids[face]) for face, row in enumerate(rows.tolist()) if row >= 0}
    return [here.get(name, name) for name in names]


def _without_outsiders(file: Path, labels: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Return clean labels, "" for those that name no class and no "not a face", with a note that counts them."""
    words = [text.strip() for text in labels]
    out = {
        word
        for word in set(words)
        if _class(word, classes) is None and word.casefold() not in NO_FACE and (is_missing(word) or is_outside(word))
    }
    others = Counter(word for word in words if word in out and not is_missing(word))
    if others:
        _LOG.warning(
            "%s: %s left undecided, since no class of the set is called as the clean label: %s.",
            file,
            counted(sum(others.values()), "face is", "faces are"),
            ", ".join(f"{shown(word)} {count:,}" for word, count in others.most_common()),
        )
    return ["" if word in out else word for word in words]


def _decisive(table: Table, columns: Mapping[str, list[str]]) -> str:
    """Return the column of decisions, or that of clean labels where there is none."""
    found = next((name for name in ("decision", *CLEAN_COLUMNS) if name in columns), None)
    if found is None:
        raise InputError(
            f"{table.name} has no column 'decision', nor one that is called clean_label; its columns are "
            f"{listed(list(table.columns))}. Name the column of what people decided so."
        )
    return found


def _from_label_studio(file: Path, classes: Sequence[str]) -> list[Entry]:
    """Read Label Studio's JSON export: for each task the latest annotation of each person that was not cancelled."""
    try:
        tasks = read_json(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{file} is not a JSON export of Label Studio: {error}.") from error
    if not isinstance(tasks, list):
        raise InputError(f"{file} is not a JSON export of Label Studio: a list of tasks is expected.")
    entries = []
    for number, task in enumerate(tasks):
        where = f"{file.name} task {number}"
        try:
            name = str(task["data"]["id"])
            for note in task.get("annotations") or []:
                chosen = [c for part in note["result"] for c in part.get("value", {}).get("choices", [])]
                if note.get("was_cancelled") or not chosen:
                    continue
                pair = len(chosen) == 2
                decision = _pair(chosen, classes, where) if pair else parsed(";".join(chosen), classes, where)
                at = str(note.get("updated_at") or note.get("created_at") or _changed_at(file))
                entries.append(Entry(name, _person(note.get("completed_by")), "imported", decision, at=at))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{where} is not a task of Label Studio's JSON export with the id that fercleaner gave it. Export the "
                "project as JSON, not JSON-MIN."
            ) from error
    return entries


def _pair(chosen: list[str], classes: Sequence[str], where: str) -> Decision:
    for name in chosen:
        if name not in classes:
            raise InputError(f"{where}: '{name}' is chosen beside another; only two classes can be.")
    return Decision(AMBIGUOUS, tuple(chosen))


def _person(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("email") or value.get("id") or "label studio")
    return "label studio" if value is None else f"user {value}"


def _changed_at(file: Path) -> str:
    return iso(datetime.fromtimestamp(file.stat().st_mtime, UTC))
