"""The truth to judge labels against: annotators' votes, or clean labels, read from a CSV or TSV file."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.arrays import Bools, Doubles, Floats, Ints, Strings, frozen_array
from ..core.errors import InputError
from ..core.expressions import canonical, closest, is_expression
from .labels import resolve as resolve_labels
from .options import ReadOptions

#: Column names taken for the picture and for the clean label, first match wins; case does not matter.
IMAGE_COLUMNS = ("image", "id", "path", "file", "filename", "image name", "image_name", "name")
LABEL_COLUMNS = ("clean_label", "clean", "truth", "true_label", "label", "emotion", "expression", "class")
#: Votes and labels that say "none of the expressions"; expressions outside the class set are treated alike.
OUTSIDE = ("unknown", "nf", "not a face", "no face", "none", "other", "uncertain", "unsure")


@dataclass(frozen=True, eq=False)
class Truth:
    """What is held to be true of some faces.

    Parameters
    ----------
    ids : (M,) str
        As the file writes them.
    classes : tuple of C str
    votes : (M, C) float32 or None
        Annotators' counts for the classes of the set; None for clean labels.
    label : (M,) int64
        Class with the most votes, or the clean label; -1 where there is none: a tie at the top, more votes
        for something outside the class set ("unknown", "not a face", another expression), or nothing said.
    top, total : (M,) float32
        Largest count among the classes; all votes, those outside the class set included. 1 for clean labels
        (0 where there is none).
    source : str
        The file.
    """

    ids: Strings
    classes: tuple[str, ...]
    votes: Floats | None
    label: Ints
    top: Floats
    total: Floats
    source: str

    def __post_init__(self) -> None:
        for name, dtype in (
            ("ids", np.str_),
            ("label", np.int64),
            ("top", np.float32),
            ("total", np.float32),
        ):
            object.__setattr__(self, name, frozen_array(getattr(self, name), dtype))
        if self.votes is not None:
            object.__setattr__(self, "votes", frozen_array(self.votes, np.float32))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def distribution(self) -> Doubles:
        """(M, C) float64: votes over their sum within the class set, or the one-hot clean label; else zero.

        Votes outside the class set are dropped before normalizing, so that rows lie on the simplex of the
        classes.
        """
        if self.votes is None:
            known = self.label >= 0
            rows = np.zeros((len(self), len(self.classes)))
            rows[np.flatnonzero(known), self.label[known]] = 1.0
            return rows
        votes = self.votes.astype(np.float64)
        sums = votes.sum(1, keepdims=True)
        return np.asarray(np.divide(votes, sums, out=np.zeros_like(votes), where=sums > 0))

    def judged(self, min_votes: float) -> Bools:
        """Whether a face has a label with at least `min_votes` votes, (M,) bool; clean labels need none."""
        known = self.label >= 0
        return known if self.votes is None else known & (self.top >= min_votes)

    def rows_of(self, ids: Strings, paths: Strings) -> Ints:
        """Return the row of this truth for each face of another set, (N,) int64, -1 where it has none.

        Faces are matched by id; if no id matches, by path; if none does, by as many of the last path
        components as match the most faces ("images/0001.png" fits "/data/set/images/0001.png"), first of the
        ids, then of the paths.

        Raises
        ------
        InputError
            Nothing matches, or one name fits several faces.
        """
        for names in (ids, paths):
            rows = _match(names, self.ids, str, self.source)
            if (rows >= 0).any():
                return rows
        for names in (ids, paths):
            rows = _match_tails(names, self.ids, self.source)
            if (rows >= 0).any():
                return rows
        raise InputError(
            f"{self.source}: none of its {len(self):,} faces is in the refined set. It writes "
            f"'{_example(self.ids)}', the refined file '{_example(ids)}'. Write the image column "
            "as the refined file writes its ids."
        )


def read_truth(
    file: str | os.PathLike[str],
    classes: Sequence[str],
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    options: ReadOptions | None = None,
) -> Truth:
    """Read votes or clean labels from a CSV or TSV file with a header.

    Votes: one column of counts for each class, named as the class or by one of its aliases; columns named in
    `OUTSIDE` or after another expression (contempt, unknown, NF in FERPlus) count when the top vote is sought
    but are no part of the distribution. Further columns are ignored. Clean labels: one column of class names.
    A file with both is read as votes unless `label_column` is given.

    Parameters
    ----------
    file : path
        UTF-8; comma, semicolon or tab.
    classes : sequence of C str
        Class set of the labels to be judged.
    image_column, label_column : str, optional
        Column names, where they are not among `IMAGE_COLUMNS` and `LABEL_COLUMNS`.
    options : ReadOptions, optional
        Its `classes` and `alias` say what clean labels mean that are numbers, or spelled otherwise, as where sets are
        read (`datasets.labels.resolve`).

    Raises
    ------
    InputError
        The file cannot be read, a column is missing, a count or label cannot be understood, an id is there
        twice; options for a file of votes.
    """
    path = Path(file)
    header, rows = _read_table(path)
    image = _find_column(path, header, image_column, IMAGE_COLUMNS, "image")
    resolve = _resolver(classes)
    votes = {} if label_column else _vote_columns(path, header, resolve)
    rows = [(line, row) for line, row in rows if row[image].strip()]
    ids = [row[image].strip() for _, row in rows]
    _check_unique(path, ids, [line for line, _ in rows])
    if len(votes) > 1:
        if options is not None:
            raise InputError(
                f"{path} holds votes, a column a class; classes and aliases say what labels mean. Leave them out, or "
                "name the column of labels: --label-column NAME"
            )
        missing = [name for index, name in enumerate(classes) if index not in votes]
        if missing:
            raise InputError(
                f"{path}: no votes column for class '{missing[0]}' (columns: {', '.join(header)}). Add one; "
                "fill it with 0 if nobody could vote for it."
            )
        outside = [i for i, n in enumerate(header) if i != image and resolve(n) is None and _is_outside(n)]
        columns = [votes[index] for index in range(len(classes))] + outside
        counts = _counts(path, header, rows, columns)
        return _from_votes(ids, tuple(classes), counts, str(path))
    label = _find_column(path, header, label_column, LABEL_COLUMNS, "label")
    texts, lines = [row[label] for _, row in rows], [line for line, _ in rows]
    if options is not None and texts:
        told = resolve_labels([text.strip() for text in texts], lambda i: f"{path} line {lines[i]}", options)
        texts = [told.classes[index] if index >= 0 else "" for index in told.index]
    pairs = zip(lines, texts, strict=True)
    labels = np.array([_label(path, line, text, classes, resolve) for line, text in pairs], dtype=np.int64)
    known = (labels >= 0).astype(np.float32)
    return Truth(np.array(ids, dtype=np.str_), tuple(classes), None, labels, known, known, str(path))


def _vote_columns(path: Path, header: list[str], resolve: Callable[[str], int | None]) -> dict[int, int]:
    """Return class index -> column of its votes."""
    found: dict[int, int] = {}
    for column, name in enumerate(header):
        index = resolve(name)
        if index is None:
            continue
        if index in found:
            raise InputError(f"{path}: columns '{header[found[index]]}' and '{name}' are the same class. Remove one.")
        found[index] = column
    return found


def _from_votes(ids: list[str], classes: tuple[str, ...], counts: Doubles, source: str) -> Truth:
    c = len(classes)
    votes = counts[:, :c]
    top = votes.max(1, initial=0.0)
    winners = (counts == top[:, None]).sum(1)
    clear = (top > 0) & (winners == 1) & (counts.max(1, initial=0.0) == top)
    label = np.where(clear, votes.argmax(1), -1)
    return Truth(
        np.array(ids, dtype=np.str_),
        classes,
        votes.astype(np.float32),
        label.astype(np.int64),
        top.astype(np.float32),
        counts.sum(1).astype(np.float32),
        source,
    )


def _read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header and the rows with their line numbers."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
            stream.seek(0)
            delimiter = max(",;\t", key=first.count)
            reader = csv.reader(stream, delimiter=delimiter)
            header = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, row) for row in reader if row]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Name a CSV of votes or of clean labels.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Name a CSV file.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a UTF-8 text table ({error}). Save it as CSV in UTF-8.") from error
    if not rows:
        raise InputError(f"{path} holds no rows; expected a header and a row a face.")
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise InputError(f"{path}: column '{twice[0]}' is there twice. Rename one of them.")
    for line, row in rows:
        if len(row) != len(header):
            raise InputError(f"{path} line {line}: {len(row)} fields, the header has {len(header)}. Mend the line.")
    return header, rows


def _find_column(path: Path, header: list[str], wanted: str | None, usual: tuple[str, ...], what: str) -> int:
    for name in (wanted,) if wanted is not None else usual:
        for index, column in enumerate(header):
            if column == name or (wanted is None and column.casefold() == name):
                return index
    asked = f"column '{wanted}'" if wanted is not None else f"{what} column (such as '{usual[0]}')"
    votes = " and no votes column a class" if what == "label" and wanted is None else ""
    raise InputError(
        f"{path} has no {asked}{votes}. Its columns: {', '.join(header)}. Name the {what} column '{usual[0]}', "
        f"or say which it is: --{what}-column NAME"
    )


def _resolver(classes: Sequence[str]) -> Callable[[str], int | None]:
    """Return a function from a name in any known spelling to its class index, or None outside the set."""
    exact = {name: index for index, name in enumerate(classes)}
    folded = {name.strip().casefold(): index for index, name in reversed(list(enumerate(classes)))}
    known = {canonical(name): index for index, name in reversed(list(enumerate(classes)))}

    def resolve(name: str) -> int | None:
        for table, key in ((exact, name), (folded, name.strip().casefold()), (known, canonical(name))):
            if key in table:
                return table[key]
        return None

    return resolve


def _is_outside(name: str) -> bool:
    return is_expression(name) or " ".join(name.casefold().replace("_", " ").split()) in OUTSIDE


def _label(path: Path, line: int, text: str, classes: Sequence[str], resolve: Callable[[str], int | None]) -> int:
    index = resolve(text)
    if index is not None:
        return index
    if not text.strip() or _is_outside(text):
        return -1
    near = closest(text, classes)
    hint = f" Did you mean '{near}'?" if near else ""
    out = "Correct it, or leave the field empty."
    if text.strip().isdecimal():
        out = "Say what the numbers mean: --classes rafdb (or another set with codes), or --classes A,B,... in order."
    raise InputError(f"{path} line {line}: label '{text}' is not in the class set ({', '.join(classes)}).{hint} {out}")


def _counts(path: Path, header: list[str], rows: list[tuple[int, list[str]]], columns: list[int]) -> Doubles:
    counts = np.zeros((len(rows), len(columns)))
    for place, column in enumerate(columns):
        for index, (line, row) in enumerate(rows):
            try:
                value = float(row[column] or 0)
            except ValueError:
                value = math.nan
            if not (math.isfinite(value) and value >= 0):
                raise InputError(
                    f"{path} line {line}, column '{header[column]}': '{row[column]}' is not a count. "
                    "Expected a number of votes, 0 or more."
                )
            counts[index, place] = value
    return counts


def _check_unique(path: Path, ids: list[str], lines: list[int]) -> None:
    first: dict[str, int] = {}
    for name, line in zip(ids, lines, strict=True):
        if name in first:
            raise InputError(f"{path}: '{name}' is in lines {first[name]} and {line}. Remove one of them.")
        first[name] = line


def _match(names: Strings, truth: Strings, key: Callable[[str], str], source: str) -> Ints:
    """Return for each of `names` the truth row with the same key; raise where a key in both fits several."""
    there = _by_key(truth, key)
    here = _by_key(names, key)
    rows = np.full(len(names), -1, dtype=np.int64)
    for text, mine in here.items():
        theirs = there.get(text)
        if theirs is None:
            continue
        if len(mine) > 1 or len(theirs) > 1:
            several = names[mine] if len(mine) > 1 else truth[theirs]
            other = truth[theirs[0]] if len(mine) > 1 else names[mine[0]]
            raise InputError(
                f"{source}: '{other}' fits both '{several[0]}' and '{several[1]}'. Write more of the path in "
                "the image column, as the refined file writes its ids."
            )
        rows[mine[0]] = theirs[0]
    return rows


def _match_tails(names: Strings, truth: Strings, source: str) -> Ints:
    """Match by the number of last path components that pairs up most faces, the larger on equal counts."""
    deepest = max((text.replace("\\", "/").count("/") for text in names.tolist()), default=0) + 1
    best_depth, best_pairs = 0, -1
    for depth in range(1, deepest + 1):
        here, there = _by_key(names, _tail(depth)), _by_key(truth, _tail(depth))
        shared = [key for key in here if key in there]
        if not shared:
            break
        pairs = sum(len(here[key]) == 1 == len(there[key]) for key in shared)
        if pairs >= best_pairs:
            best_depth, best_pairs = depth, pairs
    if not best_depth:
        return np.full(len(names), -1, dtype=np.int64)
    return _match(names, truth, _tail(best_depth), source)


def _tail(count: int) -> Callable[[str], str]:
    return lambda text: "/".join(text.replace("\\", "/").split("/")[-count:])


def _by_key(names: Strings, key: Callable[[str], str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for index, text in enumerate(names.tolist()):
        if text:
            places.setdefault(key(text), []).append(index)
    return places


def _example(names: Strings) -> str:
    return str(names[0]) if len(names) else "nothing"
