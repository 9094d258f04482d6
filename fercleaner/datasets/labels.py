"""Labels as they stand in a dataset to class indices: aliases, codes, the class set."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, did_you_mean
from ..expressions import BASIC, CLASS_SETS, ClassSet, canonical, closest, is_expression
from ..types import Ints, Strings
from .options import ReadOptions
from .table import Where, number

NO_LABEL = "no label"
LEFT_OUT = "left out by alias"

_EMPTY = ("", "unlabeled", "unlabelled")

#: Numbers and marks before a name, as in the folder names "02_sad" and "4 - happy".
_NUMBERED = re.compile(r"^[\d\W_]+")


@dataclass(frozen=True)
class Labels:
    """Resolved labels.

    Parameters
    ----------
    classes : tuple of C str
    index : (N,) int64
        Class of each row, -1 where it has none.
    notes : (N,) str
        Why a row has none; "" where it has one.
    """

    classes: tuple[str, ...]
    index: Ints
    notes: Strings


def class_names(options: ReadOptions, default: ClassSet | None = None) -> tuple[str, ...] | None:
    """Return the class set that the user named, else the layout's own, else None."""
    if options.class_set is not None:
        return options.class_set.classes
    if options.classes is None:
        return None if default is None else default.classes
    names = tuple(canonical(name, options.alias) for name in options.classes if name.strip())
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"--classes names '{twice[0]}' twice ({', '.join(options.classes)}).")
    if len(names) < 2:
        raise InputError(
            f"--classes names {len(names)} class ({', '.join(names)}), which is no class set "
            f"({', '.join(CLASS_SETS)}).{did_you_mean(', '.join(names), CLASS_SETS)} Name a class set, or at least 2 "
            "classes: --classes A,B"
        )
    return names


def resolve(texts: Sequence[str], where: Where, options: ReadOptions, own: ClassSet | None = None) -> Labels:
    """Return the class of each label.

    A label is looked up as an alias, then as a code, then as the name of an expression in any spelling. The
    class set is the user's, else the layout's own. With neither it follows from the labels: if more than half
    of the distinct names are known expressions, the canonical names of those present, sorted, and any other
    name is an error; otherwise the names as they are written, sorted (as numbers if all are integers).

    Parameters
    ----------
    texts : sequence of N str
        Labels as written; "" for none.
    where : callable
        Says where row i stands.
    own : ClassSet, optional
        The layout's class set; its labels are integer codes of it.

    Raises
    ------
    InputError
        For a label outside the class set, naming file, row, value, the nearest class and the way out.
    """
    first: dict[str, int] = {}
    for i, text in enumerate(texts):
        first.setdefault(text, i)
    names: dict[str, str] = {}
    notes: dict[str, str] = {}
    for text, i in first.items():
        names[text], notes[text] = _name(text, where(i), options, own)
    named = class_names(options, own)
    classes = named or _follow(list(filter(None, names.values())), where)
    column = {name: c for c, name in enumerate(classes)}
    found: dict[str, int] = {}
    for text, i in first.items():
        name = names[text] if names[text] in column else canonical(names[text])
        if name and name not in column:
            raise InputError(_unknown(text, names[text], where(i), classes, closed=named is not None))
        found[text] = column[name] if name else -1
    return Labels(
        classes,
        np.array([found[text] for text in texts], dtype=np.int64),
        np.array([notes[text] for text in texts], dtype=np.str_),
    )


def _name(text: str, where: str, options: ReadOptions, own: ClassSet | None) -> tuple[str, str]:
    """Return what a label is called or, where it is none, "" and why."""
    if text.casefold() in _EMPTY:
        return "", NO_LABEL
    target = _aliased(text, options)
    if target is not None:
        return target, "" if target else LEFT_OUT
    codes = own or options.class_set
    code = number(text)
    if codes is None or (own is None and not code.is_integer()):
        return text, ""
    if not code.is_integer():
        raise InputError(f"{where}: label '{text}' is not an integer; {codes.title} uses {_range(codes)}.")
    if code in codes.junk:
        return "", codes.junk[int(code)]
    if code not in codes.codes:
        raise InputError(f"{where}: label {text} is not a code of {codes.title}, which uses {_range(codes)}.")
    name = codes.codes[int(code)]
    target = _aliased(name, options)
    return (name, "") if target is None else (target, "" if target else LEFT_OUT)


def _aliased(name: str, options: ReadOptions) -> str | None:
    wanted = name.strip().casefold()
    for spelling, target in options.alias.items():
        if spelling.strip().casefold() == wanted:
            return target.strip()
    return None


def _follow(names: list[str], where: Where) -> tuple[str, ...]:
    """Return the class set that the labels of a set suggest."""
    if not names:
        raise InputError(
            f"{where(0)}: neither this row nor any other has a label, so the class set is not known. Name it "
            "with --classes, such as --classes anger,disgust,fear,happiness,neutral,sadness,surprise"
        )
    known = [name for name in names if is_expression(name)]
    if 2 * len(known) > len(names):
        return tuple(sorted({canonical(name) for name in known}))
    if all(number(name).is_integer() for name in names):
        return tuple(sorted(set(names), key=float))
    return tuple(sorted(set(names)))


def _range(codes: ClassSet) -> str:
    return ", ".join(f"{code} {name}" for code, name in (codes.codes | dict(codes.junk)).items())


def _unknown(text: str, name: str, where: str, classes: Sequence[str], *, closed: bool) -> str:
    """Return the message on a label outside the class set; one that follows from the labels is not closed."""
    near = closest(name, classes if closed else {*classes, *BASIC})
    if near is None:
        core = canonical(_NUMBERED.sub("", name))
        near = core if core in classes or (not closed and is_expression(core)) else None
    spelling = name if number(text).is_integer() else text
    called = f"'{text}'" if name == text else f"'{text}' ({name})"
    question = f" Did you mean '{near}'?" if near else ""
    mapped, unlabeled = shlex.quote(f"{spelling}={near or 'NAME'}"), shlex.quote(f"{spelling}=")
    return (
        f"{where}: label {called} is not in the class set ({', '.join(classes)}).{question} Map it with "
        f"--alias {mapped}, or leave such rows unlabeled with --alias {unlabeled}"
    )
