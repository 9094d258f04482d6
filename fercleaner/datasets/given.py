"""The given labels of a table: a label column, a column a class, or both where they agree."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

import numpy as np

from ..core.arrays import Bools, Doubles, Floats
from ..core.errors import InputError
from ..core.expressions import canonical, is_expression, whole_number
from ..core.text import counted, shown
from .assemble import Given, one_hot
from .label_column import called_alike, check_names
from .labels import MOST_CLASSES, CodedLabels, class_names, resolve
from .marks import clean, is_missing
from .options import COLUMN_NAMES, ReadOptions, spelled
from .table import TRUTH, Table, decimals, listed, number
from .votes import NO_VOTES, given_from_votes

_LOG = logging.getLogger(__name__)

#: Vote columns that are no class, by `options.spelled`.
UNKNOWN = ("unknown", "unsure", "not sure", "uncertain", "undefined", "other", "others", "none", "don't know")
NOT_A_FACE = ("nf", "not a face", "no face", "not face", "non face", "noface", "nonface")

#: Cells of a column looked at to see whether it holds numbers.
LOOKED_AT = 1000
#: Shares of a row may miss their common sum by this much; fewer rows than `FEW_ROWS` say nothing about it.
SUM_TOLERANCE, FEW_ROWS = 0.01, 5
#: Shares that are rounded miss their sum by at most this; what is no whole number and misses it by more is no share.
ROUGH_SUM = 0.2
#: Part of a column's cells that are expressions, from which on it can be the label under another name.
MOSTLY = 0.9
#: Names that a column of codes has beside those that are looked for.
_LIKE_A_LABEL = re.compile(
    r"gt|gts|y|y ?true|ground ?truth|category|annotations?|labels|emotions|expressions|classes|targets"
    r"|(true|gt|given|ground ?truth|emotion|expression|class|target) (label|class|id|code|idx|index|num|number)"
)
#: A label agrees with the counts where its own is the largest but for this share.
TIE_TOLERANCE = 1e-5


def given_labels(table: Table, label: str | None, options: ReadOptions, taken: set[str]) -> tuple[Given, list[str]]:
    """Return the given labels of a table and the columns that they were counted from, none where `label` gave them.

    Parameters
    ----------
    table : Table
    label : str, optional
        Column of labels.
    options : ReadOptions
        `votes.given_from` decides between the two; where it does not and they contradict each other, that is an error.
    taken : set of str
        Columns that play another role.

    Raises
    ------
    InputError
        There is neither, a cell is no number, or both can be the given label.
    """
    rule = options.votes.given_from
    columns = {} if rule == "label" else _class_columns(table, options, taken)
    if label is not None and columns and not any(map(says, table.columns[label])):
        _LOG.warning("%s: the column '%s' holds no label and is left alone.", table.name, label)
        label = None
    if columns and label is None and rule == "auto":
        _check_other_name(table, columns, options, taken)
    if columns and label is not None and rule == "auto" and not _counts_win(table, label, columns, options):
        columns = {}
    if not columns:
        if label is None:
            _check_has_labels(table, options, taken)
        texts = table.columns[label] if label is not None else [""] * len(table)
        labels = resolve(texts, table.where, options)
        for name in called_alike(list(table.columns)) if label is not None else []:
            check_names(name, table.columns[name], texts, labels, table.where, options)
        return one_hot(labels), []
    classes = class_names(options) or tuple(sorted(columns))
    counts = {name: decimals(table.columns[column], table.where, column) for name, column in columns.items()}
    none = np.zeros(len(table))
    votes = np.stack([counts.get(name, none) for name in classes], axis=1).astype(np.float32)
    _check_gaps(table, counts, columns)
    if rule == "auto" and label is None:
        _check_ratings(table, counts, columns)
    if label is None:
        _check_differ(table, votes, columns)
        _tell_several(table, votes)
    unknown = _extra(table, UNKNOWN) + sum((counts[name] for name in counts if name not in classes), none)
    not_a_face = _extra(table, NOT_A_FACE)
    given, labeled, notes = given_from_votes(votes, unknown, not_a_face, options.votes)
    if label is not None:
        blank = (votes.sum(1) + unknown + not_a_face) == 0
        limited = options if options.classes is not None else replace(options, classes=classes)
        rest = [text if empty else "" for text, empty in zip(table.columns[label], blank, strict=True)]
        single = one_hot(resolve(rest, table.where, limited, numbered=False))
        given[blank], labeled[blank] = single.given[blank], single.labeled[blank]
        notes = np.where(blank, np.where(single.labeled, "", NO_VOTES), notes)
    return Given(classes, given, labeled, notes, votes), list(columns.values())


def _tell_several(table: Table, votes: Floats) -> None:
    """Say where a few rows of a table of one 1 a row hold several: each of the classes gets its part of the label."""
    ones = votes.sum(1)
    rows = np.flatnonzero(ones > 1)
    if len(rows) and np.isin(votes, (0, 1)).all() and (ones == 1).sum() >= MOSTLY * (ones > 0).sum():
        _LOG.warning(
            "%s: %s several classes, where the others have one 1 each, and is an equal part of each (first: %s). "
            "--votes ties=unlabeled leaves such rows unlabeled.",
            table.name,
            counted(len(rows), "row has a 1 in", "rows have a 1 in"),
            table.where(int(rows[0])),
        )


def _check_gaps(table: Table, counts: Mapping[str, Doubles], columns: Mapping[str, str]) -> None:
    """Raise InputError where a share is missing, which is no 0; among votes (whole numbers) an empty cell is 0."""
    values = np.stack(list(counts.values()), axis=1)
    empty = np.array([[not cell for cell in table.columns[columns[name]]] for name in counts]).T
    whole = ~empty.any(1)
    sums = values.sum(1) + _extra(table, UNKNOWN) + _extra(table, NOT_A_FACE)
    if not whole.any() or not empty.any() or np.array_equal(values, np.rint(values)):
        return
    usual = float(np.median(sums[whole]))
    gaps = empty.any(1) & ~empty.all(1) & (np.abs(sums - usual) > SUM_TOLERANCE * usual)
    if np.abs(sums[whole] - usual).max() <= SUM_TOLERANCE * usual and gaps.any():
        row = int(gaps.argmax())
        name = list(counts)[int(empty[row].argmax())]
        raise InputError(
            f"{table.where(row)}: column '{shown(columns[name])}' is empty, and the others add up to {sums[row]:.3g}, "
            f"where rows without empty cells add up to {usual:.3g}. Write the share, 0 for none; or empty the row's "
            "other shares too, which leaves the face without a label."
        )


def says(cell: str) -> bool:
    """Whether a cell holds a label, and no mark for "none"."""
    return bool(cell) and not is_missing(cell)


def _codes_of_labels(column: str, cells: list[str]) -> bool:
    """Whether a column is called as labels are, if not by a name that is looked for, and holds a few whole numbers."""
    if not _LIKE_A_LABEL.fullmatch(spelled(column)):
        return False
    codes = {whole_number(cell) for cell in set(cells) if says(cell)}
    return None not in codes and 1 < len(codes) <= MOST_CLASSES


def _other_names(table: Table, options: ReadOptions, taken: set[str]) -> list[str]:
    """Return the columns of another name than a label's whose cells are expressions, two of them or more."""
    found = []
    for column, cells in table.columns.items():
        if column in taken:
            continue
        filled = list(islice(filter(says, cells), LOOKED_AT))
        few = [cell for cell in filled if is_expression(canonical(clean(cell), options.alias))]
        if few and len(few) >= MOSTLY * len(filled) and len(set(few)) > 1:
            found.append(column)
    return found


def _check_other_name(table: Table, columns: dict[str, str], options: ReadOptions, taken: set[str]) -> None:
    """Raise InputError where columns named after classes would be the labels, and another column says otherwise.

    A detector's scores stand beside the label of a person, called gt or ground_truth, as often as votes stand alone.
    """
    roles = taken | set(columns.values())
    coded = next((c for c in table.columns if c not in roles and _codes_of_labels(c, table.columns[c])), None)
    if coded is not None:
        raise InputError(
            f"{table.name}: the given labels can be the numbers in '{shown(coded)}' or the columns "
            f"{listed(list(columns.values()), 8)}. --column label={shown(coded)} takes that column, --votes "
            "given_from=votes the others."
        )
    for other in _other_names(table, options, roles):
        labels = resolve(table.columns[other], table.where, options)
        counts = np.stack([decimals(table.columns[c], table.where, c) for c in columns.values()], axis=1)
        both = (labels.index >= 0) & (counts.sum(1) > 0)
        agree = both & _supports(labels, counts, list(columns))
        if agree.sum() < both.sum():
            row = int(np.flatnonzero(both & ~agree)[0])
            raise InputError(
                f"{table.where(row)}: the column '{shown(other)}' says '{shown(table.columns[other][row])}', but the "
                f"columns {listed(list(columns.values()), 8)} say otherwise; they agree on {int(agree.sum()):,} of "
                f"{int(both.sum()):,} faces. Which are the given labels? --column label={shown(other)} takes that "
                "column, --votes given_from=votes the others."
            )


def _check_has_labels(table: Table, options: ReadOptions, taken: set[str]) -> None:
    columns = listed([*table.columns, *table.left_out])
    names = ", ".join(COLUMN_NAMES["label"])
    nested = [name for name in table.left_out if spelled(name) in COLUMN_NAMES["label"]]
    if nested:
        raise InputError(
            f"{table.name}: the column '{shown(nested[0])}' holds structs or bytes, no text and no numbers. Write the "
            "label of a face as text."
        )
    asked = options.classes is not None or "label" in options.columns
    others = [] if asked else _other_names(table, options, taken)
    if others:
        raise InputError(
            f"{table.name}: no column is named as labels are ({names}), but '{shown(others[0])}' holds expressions. If "
            f"these are the given labels: --column label={shown(others[0])}"
        )
    inside = [name for name in table.columns if name not in taken and _named_inside(name)]
    if len(inside) > 1 and not asked:
        raise InputError(
            f"{table.name}: no column is named as labels are ({names}), nor after a class alone. If "
            f"{listed(inside, 8)} are counts or shares of the classes, name them so (angry, happy, ...)."
        )
    if options.votes.given_from == "label":
        raise InputError(
            f"{table.name} has no label column ({names}), which given_from 'label' asks for; its columns are {columns}."
        )
    if options.classes is None:
        raise InputError(
            f"{table.name} has neither a label column ({names}) nor columns named after classes; its columns are "
            f"{columns}. Name the column with --column label=NAME, or, if the faces have no labels, the class set with "
            "--classes."
        )


def _named_inside(column: str) -> bool:
    """Whether a column's name is an expression with more around it: "is_angry", "emotion_happy", "sad_score"."""
    words = spelled(column).split()
    return len(words) > 1 and sum(len(word) > 2 and is_expression(word) for word in words) == 1


def _class_columns(table: Table, options: ReadOptions, taken: set[str]) -> dict[str, str]:
    """Return class -> column, for columns named after an expression or a class that hold numbers, two or more.

    Beside these a column without any cell counts nobody's votes. Where there is no label, a column named so whose cells
    hold digits and are no numbers ("1,000", "50%") is an error, and not left out: its class would vanish.
    """
    named = class_names(options) or ()
    columns: dict[str, str] = {}
    other: list[str] = []
    empty: dict[str, str] = {}
    for column, cells in table.columns.items():
        if column in taken:
            continue
        name = canonical(column, options.alias)
        if not (name in named or is_expression(name)):
            continue
        filled = [cell for cell in cells if cell][:LOOKED_AT]
        if not any(np.isfinite(TRUTH.get(cell.casefold(), number(cell))) for cell in filled):
            if filled:
                other.append(column)
            else:
                empty[name] = column
            continue
        if name in columns:
            raise InputError(
                f"{table.name}: the columns '{columns[name]}' and '{column}' both mean '{name}'. Rename one of them."
            )
        columns[name] = column
    nearly = [column for column in other if any(map(str.isdecimal, "".join(table.columns[column][:LOOKED_AT])))]
    odd = nearly or (other if len(columns) < 2 else [])
    if odd and len(columns) + len(other) >= 2 and not _has_label(table, options):
        decimals(table.columns[odd[0]], table.where, odd[0])
    return {**{name: empty[name] for name in empty if name not in columns}, **columns} if len(columns) >= 2 else {}


def _has_label(table: Table, options: ReadOptions) -> bool:
    return bool(options.columns.get("label")) or any(spelled(name) in COLUMN_NAMES["label"] for name in table.columns)


def _counts_win(table: Table, label: str, columns: dict[str, str], options: ReadOptions) -> bool:
    """Whether the columns a class give the labels, and not the label column beside them.

    They do where they say the same as the label in every row. Where the user names the label column, or it holds
    classes that have no column, the label column does. Otherwise only the user knows.
    """
    said = ", ".join(columns.values())
    if options.columns.get("label"):
        _LOG.warning("%s: the labels are those of '%s'; the columns %s are left alone.", table.name, label, said)
        return False
    labels = resolve(table.columns[label], table.where, options)
    present = [labels.classes[c] for c in np.unique(labels.index[labels.index >= 0]).tolist()]
    without = [name for name in present if name not in columns]
    if without:
        _LOG.warning(
            "%s: the labels are those of '%s'. The columns %s are left alone: they have none for %s.",
            table.name,
            label,
            said,
            listed(without, 6),
        )
        return False
    counts = np.stack([decimals(table.columns[c], table.where, c) for c in columns.values()], axis=1)
    both = (labels.index >= 0) & (counts.sum(1) > 0)
    if both.any() and (counts[both].max(1) == counts[both].min(1)).all():
        _LOG.warning(
            "%s: the labels are those of '%s'. The columns %s say nothing: each row holds one number throughout.",
            table.name,
            label,
            said,
        )
        return False
    agree = both & _supports(labels, counts, list(columns))
    if agree.sum() == both.sum():
        return True
    row = int(np.flatnonzero(both & ~agree)[0])
    raise InputError(
        f"{table.where(row)}: the label is '{shown(table.columns[label][row])}', but the columns {shown(said, 200)} "
        f"say "
        f"otherwise; they agree on {int(agree.sum()):,} of {int(both.sum()):,} faces. Which are the given labels? "
        f"--votes given_from=label takes the column '{label}', --votes given_from=votes the others."
    )


def _supports(labels: CodedLabels, counts: Doubles, names: list[str]) -> Bools:
    """Whether each row's label is among the largest of its counts, (N,) bool; False where it has no label."""
    top = counts.max(1)
    own = np.zeros(len(counts))
    place = {name: k for k, name in enumerate(names)}
    for c, name in enumerate(labels.classes):
        rows = labels.index == c
        if name in place:
            own[rows] = counts[rows, place[name]]
    supported: Bools = (labels.index >= 0) & (own >= top * (1 - TIE_TOLERANCE))
    return supported


def _check_ratings(table: Table, counts: dict[str, Doubles], columns: dict[str, str]) -> None:
    """Raise InputError where numbers look like ratings on a scale that starts above 0, or like scores of a network.

    Votes are whole numbers, shares add up to one sum (with those for "unknown"). What is neither is asked about.
    """
    values = np.stack(list(counts.values()), axis=1)
    ordered = np.sort(values, axis=1)
    if len(values) >= FEW_ROWS and values.shape[1] > 2 and (ordered == ordered[0]).all() and np.diff(ordered[0]).all():
        raise InputError(
            f"{table.name}: in each row the columns {listed(list(columns.values()), 8)} hold the numbers "
            f"{', '.join(f'{value:g}' for value in ordered[0])}, each once: ranks, of which the first may be the best? "
            "Write counts or shares, or name a column of labels: --column label=NAME. --votes given_from=votes takes "
            "them as votes."
        )
    sums = values.sum(1) + _extra(table, UNKNOWN) + _extra(table, NOT_A_FACE)
    sums = sums[sums > 0]
    if len(sums) < FEW_ROWS:
        return
    spread = float(sums.max() - sums.min()) / float(sums.max())
    scale = values.min() > 0 and spread > SUM_TOLERANCE
    if scale or (spread > ROUGH_SUM and not (values == np.floor(values)).all()):
        says = f"{values.min():g} to {values.max():g}, never 0, and" if scale else "numbers that are not whole, and"
        kind = "ratings on a scale" if scale else "scores of a network (softmax makes them shares), ratings"
        raise InputError(
            f"{table.name}: the columns {listed(list(columns.values()))} hold {says} rows add up to different sums "
            f"({sums.min():g} to {sums.max():g}): {kind}, or votes? --votes given_from=votes takes their shares as the "
            "given labels, --votes given_from=majority the largest; or name a column of labels: --column label=NAME"
        )


def _check_differ(table: Table, votes: Floats, columns: dict[str, str]) -> None:
    """Raise InputError where every row holds the same numbers, which tell no faces apart."""
    if len(votes) >= FEW_ROWS and (votes == votes[:1]).all():
        raise InputError(
            f"{table.name}: the columns {listed(list(columns.values()), 8)} hold the same numbers in every row, which "
            "tell no faces apart. Name the column of labels: --column label=NAME"
        )


def _extra(table: Table, spellings: tuple[str, ...]) -> Doubles:
    total = np.zeros(len(table))
    for column, cells in table.columns.items():
        if spelled(column) in spellings and any(np.isfinite(number(cell)) for cell in cells[:LOOKED_AT] if cell):
            total = total + decimals(cells, table.where, column)
    return total
