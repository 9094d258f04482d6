"""Labels as people write them: one class in several spellings, marks for "missing", several labels in a cell."""

from __future__ import annotations

import logging
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from ..core.errors import InputError
from ..core.expressions import canonical, is_expression, spelling_key, whole_number
from ..core.text import shown
from .table import number

_LOG = logging.getLogger(__name__)

#: Marks that say "no label", by `spelling_key`; a class set or an alias that names one makes it a class.
MISSING = frozenset(
    (
        *("", "nan", "na", "n/a", "n.a.", "#n/a", "#na", "#n/a n/a", "nat", "none", "null", "nil", "<na>", "<null>"),
        *("<none>", "?", "??", ".", "missing", "not available", "no label", "unlabeled"),
    )
)
#: Marks that can be a class as well as "no label": the user says which.
DOUBTFUL = frozenset(
    ("unknown", "undefined", "unsure", "not sure", "uncertain", "unclear", "n.d.", "tbd", "todo", "empty")
)
#: Numbers that often stand for "missing" among small codes.
SENTINELS = (99, 255, 999, 9999)
#: Largest class code beside which a sentinel is taken for one.
SMALL_CODE = 20

_QUOTES = ("''", '""', "\u2018\u2019", "\u201c\u201d", "``", "\u00ab\u00bb")
_BETWEEN = re.compile(r"\s*[;|/,+&]\s*|\s+and\s+")
_BRACKETS = "[](){}"
#: How Python prints one value in a list, as bytes, or as a scalar of NumPy or torch.
_PRINTED = re.compile(
    r"""\[\s*'([^',]+)'\s*\]|\[\s*"([^",]+)"\s*\]|\[\s*(\d+)\s*\]|b'([^']+)'|b"([^"]+)"|(?:tensor|array)\((\d+)\)"""
    r"""|np\.\w+\('?([^'()]+)'?\)"""
)
#: What parts the words of a label that says more than its class: "sad_2", "happy (0.6)", "happy-aug".
_APART = re.compile(r"[\W\d_]+")


def clean(text: str) -> str:
    """Return a label without blanks and quotes around it, in one normal form; whole numbers in one spelling.

    What Python puts around one value when it is printed goes too: ['anger'], b'anger', tensor(3), np.str_('anger').
    """
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c) != "Cf")
    text = " ".join(text.split())
    printed = _PRINTED.fullmatch(text)
    if printed:
        text = next(filter(None, printed.groups()))
    if len(text) > 2 and text[0] + text[-1] in _QUOTES:
        text = text[1:-1].strip()
    whole = whole_number(text)
    return text if whole is None else str(whole)


def one_spelling(counts: Mapping[str, int], what: str = "Labels") -> dict[str, str]:
    """Return the spelling to use for each text: of those with one `spelling_key` the most frequent, after `clean`.

    A note says which were written in several ways; `what` says what they are.
    """
    ways: dict[str, Counter[str]] = {}
    written: dict[str, list[str]] = {}
    for text, count in counts.items():
        key = spelling_key(clean(text))
        ways.setdefault(key, Counter())[clean(text)] += count
        written.setdefault(key, []).append(text)
    chosen = {key: max(spellings, key=lambda t: (spellings[t], t)) for key, spellings in ways.items()}
    several = [
        f"'{shown(chosen[key], 40)}' as " + ", ".join(f"'{shown(t, 40)}'" for t in sorted(texts))
        for key, texts in written.items()
        if key not in MISSING and not is_expression(key) and len({text.strip() for text in texts}) > 1
    ]
    if several:
        _LOG.warning("%s written in several ways are one: %s.", what, "; ".join(several[:6]))
    return {text: chosen[key] for key, texts in written.items() for text in texts}


def is_missing(text: str) -> bool:
    """Whether a label is a mark for "no label"."""
    return spelling_key(text) in MISSING


def check_single(text: str, where: str, others: Collection[str]) -> None:
    """Raise InputError where a cell holds several labels: parts that are labels of the set, expressions or numbers."""
    core = text.strip().strip(_BRACKETS).strip()
    parts = [part.strip(" '\"") for part in _BETWEEN.split(core) if part.strip(" '\"")]
    if len(parts) < 2:
        parts = core.split()
        if len(parts) < 2 or is_expression(core):
            return
        known = all(map(is_expression, parts)) or all(number(part) == number(part) for part in parts)
    else:
        known = all(is_expression(p) or spelling_key(p) in others or number(p) == number(p) for p in parts)
    if known:
        raise InputError(
            f"{where}: label '{shown(text)}' holds {len(parts)} labels ({shown(', '.join(parts))}). A cell holds one; "
            f"several become a column of counts or shares a class (image,anger,happiness,...). Or say what it "
            f"means: --alias {shlex.quote(shown(text) + '=NAME')}, or leave such rows unlabeled: "
            f"--alias {shlex.quote(shown(text) + '=')}"
        )


def check_label_marks(
    names: Mapping[str, str], where: Callable[[str], str], named: Collection[str], kept: Collection[str]
) -> None:
    """Raise InputError where a label can be no class, or can be read in two ways.

    Parameters
    ----------
    names : mapping of text -> name
        Labels that are to be classes by themselves: no class set and no code says what they mean.
    where : callable
        Says where a text stands first.
    named : collection of str
        `spelling_key` of the classes that the user names.
    kept : collection of str
        `spelling_key` of the labels that the user maps to themselves: these are classes.
    """
    keys = {spelling_key(name) for name in names.values()}
    sure = set(named) | set(kept)
    for text, name in names.items():
        key = spelling_key(name)
        if key in sure or is_expression(name):
            continue
        check_single(name, where(text), keys)
        if key in DOUBTFUL:
            raise InputError(_two_ways(text, where(text), "a class of its own, or say that the face has no label"))
        value = number(name)
        if value == value and not value.is_integer():
            raise InputError(
                f"{where(text)}: label '{shown(text)}' is a number, but no whole one, and so no class. Name the column "
                f"of labels with --column label=NAME, or say what it means: --alias "
                f"{shlex.quote(shown(text) + '=NAME')}"
            )
    whole = sorted(value for value in map(whole_number, keys) if value is not None)
    texts = {spelling_key(name): text for text, name in names.items()}
    expressions = [text for text, name in names.items() if is_expression(name)]
    if whole and expressions and 2 * len(expressions) <= len(names):  # of more, the number is an unknown name
        expression = expressions[0]
        number_text = texts[str(whole[0])]
        raise InputError(
            f"{where(number_text)}: label '{number_text}' is a number, but '{shown(expression)}' in "
            f"{where(expression)} is a name. Say what the numbers mean: --alias {number_text}=NAME for each, or "
            "--classes with a class set that has such codes (fer2013, rafdb, ...)."
        )
    _check_alike(names, where, sure)
    _check_scripts(names, where, sure)
    for odd in doubtful_codes(whole):
        if str(odd) not in sure:
            raise InputError(
                _two_ways(texts[str(odd)], where(texts[str(odd)]), "a class like the others, or 'missing'")
            )


def _check_alike(names: Mapping[str, str], where: Callable[[str], str], sure: Collection[str]) -> None:
    """Raise InputError where labels begin with one expression and go on unlike: "sad" and "sad_2", "happy (0.6)"."""
    first: dict[str, str] = {}
    for text, name in names.items():
        words = [word for word in _APART.split(name) if word]
        if spelling_key(name) in sure or not words or not is_expression(words[0]) or any(map(is_expression, words[1:])):
            continue
        if not name[0].isalpha() or (is_expression(name) and len(words) > 1):  # "02_sad"; a compound expression
            continue
        other = first.setdefault(canonical(words[0]), text)
        if other != text and not (is_expression(names[other]) and is_expression(name)):
            odd = other if is_expression(name) else text
            raise InputError(
                f"{where(text)}: the labels '{shown(other)}' and '{shown(text)}' can be one class written in two ways, "
                f"or two. --alias {shlex.quote(f'{shown(odd)}={canonical(words[0])}')} makes them one; where they are "
                "two, name all classes: --classes A,B,..."
            )


def _check_scripts(names: Mapping[str, str], where: Callable[[str], str], sure: Collection[str]) -> None:
    """Raise InputError where some labels are known expressions and others are written in another script."""
    foreign = [
        t for t, n in names.items() if spelling_key(n) not in sure and any(map(str.isalpha, n)) and not _latin(n)
    ]
    known = [text for text, name in names.items() if is_expression(name)]
    if foreign and known:
        text = foreign[0]
        raise InputError(
            f"{where(text)}: the label '{shown(text)}' is written in another script than '{shown(known[0])}' in "
            f"{where(known[0])}. Where these are two languages for the same classes, say what each means: --alias "
            f"{shlex.quote(shown(text) + '=NAME')}. Where they are classes of their own, name all: --classes A,B,..."
        )


def _latin(name: str) -> bool:
    return all("LATIN" in unicodedata.name(c, "") for c in name if c.isalpha())


def doubtful_codes(codes: Sequence[int]) -> list[int]:
    """Return the whole numbers among class codes that can stand for "missing" as well as for a class.

    -1 beside codes from 0 to 2 or more is "missing" (`is_minus_one`); beside 0 and 1 alone it may be a class.
    """
    rest = [code for code in codes if code >= 0]
    below = [code for code in codes if code < 0]
    small = [code for code in rest if code <= SMALL_CODE]
    odd = below if len(below) == 1 and not is_minus_one(codes) else []
    return odd + [code for code in rest if code in SENTINELS and len(small) > 1 and code > max(small)]


def is_minus_one(codes: Sequence[int]) -> bool:
    """Whether -1 among class codes says "no label": it alone is negative, and others go to 2 or more."""
    rest = [code for code in codes if code >= 0]
    return [code for code in codes if code < 0] == [-1] and bool(rest) and max(rest) >= 2


def _two_ways(text: str, where: str, what: str) -> str:
    left_out, kept = shlex.quote(f"{shown(text)}="), shlex.quote(f"{shown(text)}={shown(text)}")
    return (
        f"{where}: label '{shown(text)}' can be {what}. Say which: --alias {kept} makes it a class, --alias {left_out} "
        "leaves such rows unlabeled."
    )
