"""Labels as they stand in a dataset to class indices: aliases, codes, the class set."""

from __future__ import annotations

import logging
import re
import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.arrays import Ints, Strings
from ..core.errors import InputError, did_you_mean
from ..core.expressions import (
    BASIC,
    CLASS_SETS,
    ClassSet,
    canonical,
    closest_class,
    is_expression,
    spelling_key,
    translated,
    whole_number,
)
from ..core.text import shown
from .codes import beyond, code_range, tell_absent, tell_apart
from .marks import check_label_marks, check_single, clean, is_minus_one, is_missing, one_spelling, two_ways
from .options import ReadOptions
from .table import Where, listed, number

#: More classes than this, of fewer faces each than that on average, are no classes but another column.
MOST_CLASSES, FACES_A_CLASS = 50, 3

NO_LABEL = "no label"
LEFT_OUT = "left out by alias"

#: Words that begin with the same letters as the name of their class, so many, are forms of it: happy, happiness.
_SAME_STEM = 3
#: Name of a class set whose codes count the classes that the user names.
USERS = "classes"

_LOG = logging.getLogger(__name__)

_EMPTY = ("", "unlabeled", "unlabelled")

#: Numbers and marks before a name, as in the folder names "02_sad" and "4 - happy".
_NUMBERED = re.compile(r"^[\d\W_]+")
_NUMBER_AND_NAME = re.compile(r"(\d+)[\W_]+(.*[^\W\d_].*)")


@dataclass(frozen=True)
class CodedLabels:
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
    names = tuple(canonical(clean(name), options.alias) for name in options.classes if name.strip())
    keys = [spelling_key(name) for name in names]
    twice = [name for name, key in zip(names, keys, strict=True) if keys.count(key) > 1]
    if twice:
        raise InputError(f"--classes names '{twice[0]}' twice ({', '.join(options.classes)}).")
    if len(names) < 2:
        raise InputError(
            f"--classes names {len(names)} class ({', '.join(names)}), which is no class set "
            f"({', '.join(CLASS_SETS)}).{did_you_mean(', '.join(names), CLASS_SETS)} Name a class set, or at least 2 "
            "classes: --classes A,B"
        )
    return names


def resolve(
    texts: Sequence[str], where: Where, options: ReadOptions, own: ClassSet | None = None, *, numbered: bool = True
) -> CodedLabels:
    """Return the class of each label.

    A label is looked up as an alias, then as a code, then as the name of an expression in any spelling. The
    class set is the user's, else the layout's own. Where the user names classes and the layout has no codes of its
    own, labels that are integers throughout are codes: they count these classes from 0 or from 1, whichever alone
    fits. With no class set it follows from the labels: if more than half of the distinct names are known
    expressions, the canonical names of those present, sorted, and any other name is an error; otherwise the names as
    they are written, sorted (as numbers if all are integers). A number before every name ("0_angry") does not count.

    Parameters
    ----------
    texts : sequence of N str
        Labels as written; "" for none.
    where : callable
        Says where row i stands.
    own : ClassSet, optional
        The layout's class set; its labels are integer codes of it. An alias may add a known expression to it.
    numbered : bool
        Whether integers may number the classes that the user names.

    Raises
    ------
    InputError
        For a label outside the class set, naming file, row, value, the nearest class and the way out; for integers
        that could number the classes from 0 as well as from 1.
    """
    named = class_names(options, own)
    counts = Counter(texts)
    broken = next((text for text in counts if "\n" in text or "\r" in text), None)
    if broken is not None:
        at = where(list(texts).index(broken))
        raise InputError(f"{at}: label '{shown(broken)}' holds a line break. Is a quote opened and not closed?")
    spelling = one_spelling(counts)
    first: dict[str, int] = {}
    for i, text in enumerate(texts):
        first.setdefault(spelling[text], i)
    codes = own or options.class_set or (_numbering(first, where, options) if numbered else None)
    names: dict[str, str] = {}
    notes: dict[str, str] = {}
    for text, i in first.items():
        names[text], notes[text] = _name(text, where(i), options, codes, named, closed=own is not None, used=first)
    if codes is None and named is None:
        names |= _without_numbers(names)
    if codes is None:
        _check(first, names, notes, where, options, named)
    elif codes.name != USERS:
        tell_absent(codes, first)
    _tell_missing(counts, spelling, notes)
    _tell_unused([*first, *names.values(), *(codes.classes if codes else ())], options)
    if own is not None and named is not None and options.classes is None:
        named += tuple(sorted({name for name in map(canonical, names.values()) if is_expression(name)} - {*named}))
    classes = named or _follow(list(filter(None, names.values())), where, len(texts))
    column = {spelling_key(name): c for c, name in enumerate(classes)}
    found: dict[str, int] = {}
    for text, i in first.items():
        key = spelling_key(names[text])
        key = key if key in column else spelling_key(canonical(names[text]))
        if names[text] and key not in column:
            check_single(text, where(i), column)
            aliased = _aliased(text, options) is not None
            raise InputError(_unknown(text, names[text], where(i), classes, closed=named is not None, aliased=aliased))
        found[text] = column[key] if names[text] else -1
    _tell_synonyms({text: classes[c] for text, c in found.items() if c >= 0 and _aliased(text, options) is None})
    index = np.array([found[spelling[text]] for text in texts], dtype=np.int64)
    if codes is None and named is None:
        tell_apart(classes, index, where, options.alias.values())
    return CodedLabels(
        classes,
        index,
        np.array([notes[spelling[text]] for text in texts], dtype=np.str_),
    )


def _check(
    first: Mapping[str, int],
    names: dict[str, str],
    notes: dict[str, str],
    where: Where,
    options: ReadOptions,
    named: Sequence[str] | None,
) -> None:
    """Check the labels that become classes as they are written, and unlabel those of -1 among codes from 0."""
    free = {text: name for text, name in names.items() if name and _aliased(text, options) is None}
    whole = [value for value in map(whole_number, free.values()) if value is not None]
    if named is None and "+" in free and "-" in first and "-" not in free and _aliased("-", options) is None:
        raise InputError(two_ways("-", where(first["-"]), "a class like '+', or 'missing'"))
    if named is None and len(whole) == len(free) and is_minus_one(whole):
        names["-1"], notes["-1"] = "", NO_LABEL
        del free["-1"]
    kept = {spelling_key(spelling) for spelling, target in options.alias.items() if target.strip()}
    if named is None:
        check_label_marks(free, lambda text: where(first[text]), (), kept)


def _without_numbers(names: Mapping[str, str]) -> dict[str, str]:
    """Return text -> name without its number where every label has one of its own: "0_angry", "1: happy".

    Nothing where the names behind the numbers are mostly no expressions: the number may then be part of the name.
    """
    parts = {text: _NUMBER_AND_NAME.fullmatch(name) for text, name in names.items() if name}
    split = {text: (found[1], found[2].strip()) for text, found in parts.items() if found}
    known = [name for _, name in split.values() if is_expression(name)]
    alone = len({number for number, _ in split.values()}) == len({name for _, name in split.values()}) == len(split)
    if not split or len(split) < len(parts) or 2 * len(known) <= len(split) or not alone:
        return {}
    text, (_, name) = next(iter(split.items()))
    _LOG.warning("Labels are read without the number before them: '%s' is %s.", shown(text, 40), shown(name, 40))
    return {text: name for text, (_, name) in split.items()}


def _tell_missing(counts: Mapping[str, int], spelling: Mapping[str, str], notes: Mapping[str, str]) -> None:
    """Say which marks, but for empty cells, were read as "no label"."""
    marks = {text: count for text, count in counts.items() if text.strip() and notes[spelling[text]] == NO_LABEL}
    marks = {text: count for text, count in marks.items() if text.strip().casefold() not in _EMPTY}
    if marks:
        listed = ", ".join(f"'{shown(text, 40)}' {count:,}" for text, count in list(marks.items())[:6])
        one = shlex.quote(f"{shown(next(iter(marks)), 40)}=NAME")
        _LOG.warning("Labels read as missing: %s. --alias %s makes one a class.", listed, one)


def _tell_unused(texts: Sequence[str], options: ReadOptions) -> None:
    """Say which aliases no label is written as, where there are labels: they may be misspelt."""
    written = {spelling_key(text) for text in texts if text}
    unused = [name for name in options.alias if name.strip() and spelling_key(clean(name)) not in written]
    if unused and written:
        _LOG.warning("No label is written %s, as --alias says.", listed([f"'{name}'" for name in unused], 6))


def _tell_synonyms(classes: Mapping[str, str]) -> None:
    """Say which different words became one class: calm and neutral are one here, and two in other sets."""
    words: dict[str, dict[str, str]] = {}
    for text, name in classes.items():
        key = spelling_key(text)
        if is_expression(text):
            same = len(key) <= _SAME_STEM or key[:_SAME_STEM] == name[:_SAME_STEM]
            words.setdefault(name, {}).setdefault(name if same else key, text)
    several = [f"{listed(sorted(texts.values()))} ({name})" for name, texts in words.items() if len(texts) > 1]
    if several:
        _LOG.warning(
            "Different words are one class: %s. Where they are two, give one another name (--alias WORD=NAME) and name "
            "all classes (--classes A,B,...).",
            "; ".join(several[:6]),
        )


def _numbering(first: Mapping[str, int], where: Where, options: ReadOptions) -> ClassSet | None:
    """Return the classes that the user names as a class set whose codes the labels are, or None where they are none.

    They are where every label, but those with an alias, is an integer and no class is. `first` gives the first row
    of each label.
    """
    named = class_names(options)
    texts = [text for text in first if not is_missing(text) and _aliased(text, options) is None]
    if named is None or not texts or any(number(name).is_integer() for name in named):
        return None
    keys = {spelling_key(name) for name in named}
    odd = [text for text in texts if not number(text).is_integer()]
    if odd and (2 * len(odd) >= len(texts) or spelling_key(canonical(odd[0])) in keys):
        return None
    if odd:
        raise InputError(
            f"{where(first[odd[0]])}: label '{shown(odd[0])}' is no number, but {len(texts) - len(odd)} others are, "
            f"which count the classes named. Say what it means: --alias {shlex.quote(shown(odd[0]) + '=NAME')}, or "
            f"leave such rows unlabeled: --alias {shlex.quote(shown(odd[0]) + '=')}"
        )
    if is_minus_one([int(number(text)) for text in texts]):
        texts.remove("-1")
    texts.sort(key=number)
    low, high = int(number(texts[0])), int(number(texts[-1]))
    sets = [ClassSet(USERS, "--classes", named, base, "the user") for base in (0, 1)]
    fitting = [codes for codes in sets if low in codes.codes and high in codes.codes]
    if not fitting:
        beyond = texts[0] if low < 0 else texts[-1]
        raise InputError(
            f"{where(first[beyond])}: label {beyond} is the number of none of the {len(named)} classes named "
            f"({', '.join(named)}), be they counted from 0 or from 1; the labels are integers from {low} to {high}. "
            f"Name one class a number, or leave such rows unlabeled with --alias {beyond}="
        )
    if len(fitting) > 1:
        ways = [" ".join([f"from {codes.first_code}:", *_aliases(texts, codes)]) for codes in fitting]
        raise InputError(
            f"{where(first[texts[0]])}: the labels are integers from {low} to {high}, which can count the "
            f"{len(named)} classes named from 0 as well as from 1. Say what each means, {', or '.join(ways)}"
        )
    _LOG.warning("The labels count the classes named from %d: %s.", fitting[0].first_code, code_range(fitting[0]))
    return fitting[0]


def _aliases(texts: Sequence[str], codes: ClassSet) -> list[str]:
    """Return the options that say what each integer label means."""
    return [f"--alias {shlex.quote(f'{text}={codes.codes[int(number(text))]}')}" for text in texts]


def _name(
    text: str,
    where: str,
    options: ReadOptions,
    codes: ClassSet | None,
    named: Sequence[str] | None,
    *,
    closed: bool,
    used: Collection[str],
) -> tuple[str, str]:
    """Return what a label is called or, where it is none, "" and why; `closed` where labels can be codes alone.

    `used` are all labels.
    """
    target = _aliased(text, options)
    if target is not None and text:
        return target, "" if target else LEFT_OUT
    if text.casefold() in _EMPTY:
        return "", NO_LABEL
    if is_missing(text) and spelling_key(text) not in map(spelling_key, named or ()):
        return "", NO_LABEL
    if codes is not None and codes.name == USERS and text == "-1":
        return "", NO_LABEL  # `_numbering` has seen that it is no class
    code = number(text)
    if codes is None or (not closed and not code.is_integer()):
        return text, ""
    if not code.is_integer():
        if canonical(text) in codes.classes:
            return canonical(text), ""
        raise InputError(f"{where}: label '{shown(text)}' is not an integer; {codes.title} uses {code_range(codes)}.")
    if code in codes.junk:
        return "", codes.junk[int(code)]
    if code not in codes.codes:
        raise InputError(
            f"{where}: label {text} is not a code of {codes.title}, which uses {code_range(codes)}."
            f"{beyond(code, codes, used)} Leave such rows unlabeled with --alias {text}="
        )
    name = codes.codes[int(code)]
    target = _aliased(name, options)
    return (name, "") if target is None else (target, "" if target else LEFT_OUT)


def _aliased(name: str, options: ReadOptions) -> str | None:
    wanted = spelling_key(name)
    for spelling, target in options.alias.items():
        if spelling_key(clean(spelling)) == wanted and bool(name.strip()) == bool(spelling.strip()):
            return target.strip()
    return None


def _follow(names: list[str], where: Where, rows: int) -> tuple[str, ...]:
    """Return the class set that the labels of a set suggest."""
    if not names:
        raise InputError(
            f"{where(0)}: neither this row nor any other has a label, so the class set is not known. Name it "
            "with --classes, such as --classes anger,disgust,fear,happiness,neutral,sadness,surprise"
        )
    if len(set(names)) > MOST_CLASSES and FACES_A_CLASS * len(set(names)) > rows:
        raise InputError(
            f"{where(0)} and below: {len(set(names)):,} different labels on {rows:,} faces "
            f"({listed(sorted(set(names)), 4)}) "
            "are no classes. Name the column of labels with --column label=NAME, or the class set with --classes."
        )
    known = [name for name in names if is_expression(name)]
    if 2 * len(known) > len(names):
        return tuple(sorted({canonical(name) for name in known}))
    if all(number(name).is_integer() for name in names):
        return tuple(sorted(set(names), key=float))
    return tuple(sorted({spelling_key(name): name for name in names}.values()))


def _unknown(text: str, name: str, where: str, classes: Sequence[str], *, closed: bool, aliased: bool) -> str:
    """Return the message on a label outside the class set; one that follows from the labels is not closed."""
    near = closest_class(name, classes if closed else {*classes, *BASIC}) or translated(name)
    if near is None:
        core = canonical(_NUMBERED.sub("", name))
        near = core if core in classes or (not closed and is_expression(core)) else None
    if near is None and aliased:
        return (
            f"{where}: label '{shown(text)}' is to be '{shown(name)}', as --alias says, which is not in the class set "
            f"({listed(classes, 40)}). Write a class of it behind --alias, or name all classes: --classes A,B,..."
        )
    spelling = name if number(text).is_integer() else text
    called = f"'{shown(text)}'" if name == text else f"'{shown(text)}' ({shown(name)})"
    question = f" Did you mean '{near}'?" if near else ""
    mapped, unlabeled = (
        shlex.quote(f"{shown(spelling)}={near or 'NAME'}"),
        shlex.quote(f"{shown(spelling)}="),
    )
    return (
        f"{where}: label {called} is not in the class set ({listed(classes, 40)}).{question} Map it with "
        f"--alias {mapped}, or leave such rows unlabeled with --alias {unlabeled}"
    )
