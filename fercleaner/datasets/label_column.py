"""Which column of a table is the label, where several can be: codes and their names, two labels, refined and given."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace

from ..core.errors import InputError
from ..core.expressions import canonical, is_expression, whole_number
from ..core.text import shown
from .labels import CodedLabels
from .marks import clean, contradictions, is_missing
from .options import COLUMN_NAMES, ReadOptions, spelled, split_name
from .table import Table, Where

#: Further columns that say which class a face is of, by another spelling or name of it.
SAME_AS_LABEL = re.compile(
    r"(label|expression|emotion|class|target)s?"
    r"( ?(name|names|id|idx|index|code|str|string|text|txt|label|emotion|expression|\.?\d+))?"
)
_LOG = logging.getLogger(__name__)


def called_alike(columns: Sequence[str]) -> list[str]:
    """Return the columns that are called as labels are, or nearly so."""
    return [c for c in columns if spelled(c) in COLUMN_NAMES["label"] or SAME_AS_LABEL.fullmatch(spelled(c))]


def label_column(table: Table, found: list[str]) -> str | None:
    """Return the column of labels, the first of `found`; a note says where another has the names of its codes.

    Raises
    ------
    InputError
        It holds names of splits, or another column called alike says otherwise.
    """
    if not found:
        return None
    filled = list(filter(None, table.columns[found[0]]))
    if filled and all(map(split_name, filled)):
        raise InputError(
            f"{table.name}: the column '{shown(found[0])}' holds names of splits, no labels. Name both columns: "
            f"--column label=NAME --column split={shown(found[0])}"
        )
    others = [name for name in dict.fromkeys([*found[1:], *called_alike(list(table.columns))]) if name != found[0]]
    _check_same(table, [found[0], *others])
    lower = {spelled(name): name for name in reversed(list(table.columns))}
    if "given label" in lower:
        _tell_refined(table, found[0], lower["given label"])
    named = next((name for name in others if names_codes(table.columns[found[0]], table.columns[name])), None)
    if named is not None:
        _LOG.warning(
            "%s: the labels are the numbers in '%s', and '%s' has the names that they stand for. --column label=%s "
            "takes these.",
            table.name,
            shown(found[0]),
            shown(named),
            shown(named),
        )
    return found[0]


def names_codes(codes: Sequence[str], names: Sequence[str]) -> bool:
    """Whether one column holds numbers and the other expressions by name, one to one, wherever both say something."""
    pairs = {(clean(a), clean(b)) for a, b in zip(codes, names, strict=True) if not (is_missing(a) or is_missing(b))}
    numbers, words = {a for a, _ in pairs}, {b for _, b in pairs}
    return (
        len(pairs) == len(numbers) == len(words) > 1
        and all(whole_number(a) is not None for a in numbers)
        and all(map(is_expression, words))
    )


def check_names(
    column: str, names: Sequence[str], codes: Sequence[str], labels: CodedLabels, where: Where, options: ReadOptions
) -> None:
    """Raise InputError where names that numbers stand for (`names_codes`) are not what these were taken for."""
    if not names_codes(codes, names):
        return
    aliased = {clean(text) for text in options.alias}
    for i, name in enumerate(names):
        code = whole_number(codes[i])
        if code is None or labels.index[i] < 0 or not is_expression(name) or str(code) in aliased:
            continue
        taken = labels.classes[int(labels.index[i])]
        if canonical(name) != taken and is_expression(taken):
            pairs = ((whole_number(a), b) for a, b in zip(codes, names, strict=True))
            said = {
                str(number): canonical(text) for number, text in pairs if number is not None and not is_missing(text)
            }
            each = " ".join(f"--alias {a}={b}" for a, b in sorted(said.items(), key=lambda pair: int(pair[0])))
            raise InputError(
                f"{where(i)}: label {codes[i]} was taken for '{taken}', but the column '{shown(column)}' says "
                f"'{shown(name)}'. Say what the numbers mean: {each}"
            )


def _tell_refined(table: Table, label: str, given: str) -> None:
    """Say where labels are refined ones, as in our own files and exports, which hold the given ones too."""
    differ = sum(a != b for a, b in zip(table.columns[label], table.columns[given], strict=True))
    if differ:
        _LOG.warning(
            "%s: the labels are those of '%s', which differ from '%s' in %d of %d rows: refined? --column label=%s "
            "takes the labels as they were given.",
            table.name,
            shown(label),
            shown(given),
            differ,
            len(table),
            shown(given),
        )


def of_refined(table: Table, options: ReadOptions) -> ReadOptions:
    """Return options by which a refined file of ours is read: its given labels, no pictures where it names none."""
    given, label, image = (table.columns.get(name, []) for name in ("given_label", "label", "path"))
    columns = dict(options.columns)
    if not any(image):
        columns.setdefault("image", "")
    if "label" not in columns:
        columns["label"] = "given_label"
        differ = sum(a != b for a, b in zip(given, label, strict=True))
        _LOG.warning(
            "%s is a refined file: its given labels are taken (%d of %d refined ones differ; --column label=label "
            "takes these). It holds no groups, sites, boxes or shares of votes: where the set is at hand, name that.",
            table.name, differ, len(table),
        )  # fmt: skip
    return replace(options, columns=columns)


def _check_same(table: Table, found: list[str]) -> None:
    """Raise InputError where two columns can be the label and say different things."""
    first = table.columns[found[0]]
    for other in found[1:]:
        odds = contradictions(first, table.columns[other])
        if odds:
            odd = next(i for i, pair in enumerate(zip(first, table.columns[other], strict=True)) if pair in odds)
            raise InputError(
                f"{table.where(odd)}: the columns '{found[0]}' ('{shown(first[odd])}') and '{other}' "
                f"('{shown(table.columns[other][odd])}') can both be the label. Say which: --column label={found[0]} "
                f"or "
                f"--column label={other}"
            )
