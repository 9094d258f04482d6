"""The truth to judge labels against: annotators' votes, or clean labels, read from a CSV or TSV file."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.arrays import Bools, Doubles, Floats, Ints, Strings, frozen_array
from ..core.checks import names_in_order
from ..core.errors import InputError
from ..core.expressions import canonical, closest_class, is_expression, spelling_key, whole_number
from ..core.files import missing
from ..core.text import shown
from .faces import check_unique, face_column, match
from .label_column import called_alike, check_names, names_codes
from .labels import resolve as resolve_labels
from .marks import check_single, clean, contradictions, is_missing
from .options import COLUMN_NAMES, TRUTH_COLUMNS, ReadOptions, spelled
from .table import Table, decimals, listed, read_table

_LOG = logging.getLogger(__name__)

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
        return match(ids, paths, self.ids.tolist(), self.source)


def read_truth(
    file: str | os.PathLike[str],
    classes: Sequence[str],
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    options: ReadOptions | None = None,
) -> Truth:
    """Read votes or clean labels from a table (CSV, TSV or Parquet) whose first row names the columns.

    Votes: one column of counts for each class, named as the class or by one of its aliases; columns named in
    `OUTSIDE` or after another expression (contempt, unknown, NF in FERPlus) count when the top vote is sought
    but are no part of the distribution. Further columns are ignored. Clean labels: one column of class names.
    A file with both is read as votes unless `label_column` is given.

    Parameters
    ----------
    file : path
        As `datasets.table.read_table` reads it.
    classes : sequence of C str
        Class set of the labels to be judged, such as `RefinedSet.classes`.
    image_column, label_column : str, optional
        Column names, where they are not among `datasets.options.FACE_COLUMNS` and `TRUTH_COLUMNS`.
    options : ReadOptions, optional
        Its `classes` and `alias` say what clean labels mean that are numbers, or spelled otherwise, as where sets are
        read (`datasets.labels.resolve`).

    Raises
    ------
    InputError
        The file cannot be read, a column is missing, a count or label cannot be understood, an id is there
        twice; options for a file of votes.
    """
    classes = names_in_order(classes)
    path = Path(file)
    if not path.exists():
        raise InputError(missing(path, "no such file. Name a CSV of votes or of clean labels."))
    if path.is_dir():
        raise InputError(f"{path}: this is a folder. Name a CSV of votes or of clean labels.")
    table = read_table(path)
    image = face_column(table, image_column, "--image-column NAME")
    named = [i for i, name in enumerate(table.columns[image]) if name]
    ids = [table.columns[image][i] for i in named]
    check_unique(ids, str(path), lambda i: table.where(named[i]))
    if label_column is None and {"given label", "quality", "flagged"} <= {spelled(name) for name in table.columns}:
        raise InputError(
            f"{path} is a refined file, or an export of one: its labels are what is to be judged, and no truth. Name "
            "a table of votes or clean labels; or, if people checked these labels, the column: --label-column label"
        )
    resolve = _resolver(classes)
    votes = {} if label_column else _vote_columns(path, table, resolve, image)
    if len(votes) > 1:
        return _counted(table, path, tuple(classes), votes, image, ids, named, options)
    label = label_column or _label_column(path, table, classes)
    texts = [clean(cell) for cell in table.need(label)]
    if options is not None and texts:
        coded = resolve_labels(texts, table.where, options)
        for other in called_alike([name for name in table.columns if name != label]):
            check_names(other, table.columns[other], texts, coded, table.where, options)
        texts = [coded.classes[index] if index >= 0 else "" for index in coded.index]
    known_as = {text: _label(table.where(i), text, classes, resolve) for text, i in _first(texts).items()}
    labels = np.array([known_as[texts[i]] for i in named], dtype=np.int64)
    others = Counter(texts[i] for i in named if known_as[texts[i]] < 0 and is_expression(texts[i]))
    if others:
        _LOG.warning(
            "%s: %s faces are not judged, since no class of the refined file is called as their clean label: %s.",
            path,
            f"{sum(others.values()):,}",
            ", ".join(f"{shown(text)} {count:,}" for text, count in others.most_common()),
        )
    known = (labels >= 0).astype(np.float32)
    _LOG.info("%s: faces from '%s', clean labels from '%s'.", path, image, label)
    return Truth(np.array(ids, dtype=np.str_), tuple(classes), None, labels, known, known, str(path))


def _counted(
    table: Table,
    path: Path,
    classes: tuple[str, ...],
    votes: dict[int, str],
    image: str,
    ids: list[str],
    named: list[int],
    options: ReadOptions | None,
) -> Truth:
    """Return the truth of a table with a column of counts a class."""
    if options is not None:
        raise InputError(
            f"{path} holds votes, a column a class; classes and aliases say what labels mean. Leave them out, or "
            "name the column of labels: --label-column NAME"
        )
    missing = [name for index, name in enumerate(classes) if index not in votes]
    if missing:
        raise InputError(
            f"{path}: no votes column for class '{missing[0]}' (columns: {listed(list(table.columns))}). Add one; "
            "fill it with 0 if nobody could vote for it."
        )
    outside = [name for name in table.columns if name != image and name not in votes.values() and is_outside(name)]
    beside = [name for name in table.columns if spelled(name) in TRUTH_COLUMNS]
    if beside:
        _LOG.warning("%s: votes are judged by; --label-column %s takes that column instead.", path, beside[0])
    columns = [votes[index] for index in range(len(classes))] + outside
    counts = np.stack([decimals(table.columns[name], table.where, name) for name in columns], axis=1)[named]
    if not (counts == np.floor(counts)).all():
        _LOG.warning(
            "%s: its columns hold numbers that are not whole, up to %g: shares, not votes. --min-votes counts in them.",
            path,
            float(counts.max()),
        )
    return _from_votes(ids, classes, counts, str(path))


def _vote_columns(path: Path, table: Table, resolve: Callable[[str], int | None], image: str) -> dict[int, str]:
    """Return class index -> column of its votes."""
    found: dict[int, str] = {}
    for name in table.columns:
        index = resolve(name)
        if index is None or name == image:
            continue
        if index in found:
            raise InputError(f"{path}: columns '{found[index]}' and '{name}' are the same class. Remove one.")
        found[index] = name
    return found


def _label_column(path: Path, table: Table, classes: Sequence[str]) -> str:
    there = {spelled(name): name for name in reversed(list(table.columns))}
    found = next((there[name] for name in TRUTH_COLUMNS if name in there), None)
    if found is None:
        raise InputError(
            f"{path} has no label column (such as 'clean_label') and no votes column a class. Its columns: "
            f"{listed(list(table.columns))}. Say which it is: --label-column NAME"
        )
    others = [there[name] for name in TRUTH_COLUMNS if name in there and there[name] != found]
    for other in others:
        if spelled(found) in COLUMN_NAMES["label"] and contradictions(table.columns[found], table.columns[other]):
            raise InputError(
                f"{path}: the columns '{shown(found)}' and '{shown(other)}' can both be the clean label, and they "
                f"disagree. Say which: --label-column {shown(found)} or --label-column {shown(other)}"
            )
    alike = [name for name in called_alike(list(table.columns)) if name not in (found, *others)]
    named = next((n for n in (*others, *alike) if names_codes(table.columns[found], table.columns[n])), None)
    if named is not None and set(table.columns[found]).isdisjoint(classes):  # numbers that are none of the classes
        others, found = [found, *(name for name in others if name != named)], named
    if others:
        _LOG.warning("%s: clean labels are those of '%s'; left out: %s.", path, found, listed(others))
    return found


def _first(texts: list[str]) -> dict[str, int]:
    first: dict[str, int] = {}
    for i, text in enumerate(texts):
        first.setdefault(text, i)
    return first


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


def _resolver(classes: Sequence[str]) -> Callable[[str], int | None]:
    """Return a function from a name in any known spelling to its class index, or None outside the set."""
    exact = {name: index for index, name in enumerate(classes)}
    folded = {spelling_key(name): index for index, name in reversed(list(enumerate(classes)))}
    known = {spelling_key(canonical(name)): index for index, name in reversed(list(enumerate(classes)))}

    def resolve(name: str) -> int | None:
        for table, key in ((exact, name), (folded, spelling_key(name)), (known, spelling_key(canonical(name)))):
            if key in table:
                return table[key]
        return None

    return resolve


def is_outside(name: str) -> bool:
    return is_expression(name) or spelling_key(name) in OUTSIDE


def _label(where: str, text: str, classes: Sequence[str], resolve: Callable[[str], int | None]) -> int:
    index = resolve(text)
    if index is not None:
        return index
    if is_missing(text) or is_outside(text) or whole_number(text) == -1:
        return -1
    check_single(text, where, [spelling_key(name) for name in classes])
    near = closest_class(text, classes)
    hint = f" Did you mean '{near}'?" if near else ""
    out = "Correct it, or leave the field empty."
    if whole_number(text) is not None:
        out = "Say what the numbers mean: --classes rafdb (or another set with codes), or --classes A,B,... in order."
    raise InputError(f"{where}: label '{shown(text)}' is not in the class set ({listed(classes, 40)}).{hint} {out}")
