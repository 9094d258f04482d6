"""Labels as people write them: one class in several spellings, marks for "missing", several labels in a cell."""

from __future__ import annotations

import logging
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from ..core.errors import InputError
from ..core.expressions import (
    IN_MANY_LANGUAGES,
    canonical,
    is_expression,
    spelling_key,
    translated,
    whole_number,
    without_invisible,
)
from ..core.text import shown
from .table import number

_LOG = logging.getLogger(__name__)

#: Marks that say "no label", by `spelling_key`; a class set or an alias that names one makes it a class.
MISSING = frozenset(
    (
        *("", "nan", "na", "n/a", "n.a.", "#n/a", "#na", "#n/a n/a", "nat", "none", "null", "nil", "<na>", "<null>"),
        *("<none>", "<nan>", "(null)", "(none)", "(blank)", "(empty)", "(missing)", "[null]", "\\n", "np.nan", "pd.na"),
        *("?", "??", ".", "...", "\u2014", "\u2013", "missing", "missing value", "not available", "no label"),
        *("''", '"', '""', "unlabeled", "not labeled", "k.a.", "keine angabe"),
        *("#null!", "#value!", "#ref!", "#name?", "#num!", "#div/0!", "#valor!", "#wert!", "#bezug!", "#valeur!"),
        *("unannotated", "not annotated", "no annotation", "not rated", "n/d", "n.a", "n\\a"),
        *("no data", "nodata", "missing data", "no value", "not applicable", "to be labeled", "to be annotated"),
    )
)
#: Marks that can be a class as well as "no label": the user says which.
DOUBTFUL = frozenset(
    (
        *("unknown", "unk", "undefined", "unsure", "not sure", "uncertain", "unclear", "n.d.", "tbd", "todo", "empty"),
        *("don't know", "can't tell", "no face", "not a face", "nf", "invalid", "blank", "skip", "skipped", "ignore"),
        *("dont know", "idk", "void", "pending", "error", "corrupt", "corrupted", "deleted", "removed", "unreadable"),
        *("unbekannt", "inconnu", "desconocido", "sconosciuto", "onbekend", "未知", "不明", "不确定", "无", "なし"),
    )
)
#: Numbers that often stand for "missing" among small codes.
SENTINELS = (99, 255, 999, 9999)
#: A code this far beyond more codes than `RUN` that follow each other, such as 9 beside 0 to 6, may be "missing".
RUN, GAP = 5, 2
#: Largest class code beside which a sentinel is taken for one.
SMALL_CODE = 20

#: Marks that say nothing by themselves, or around a mark of `MISSING`: "*", "[]", "(nan)", "None."; ":)" says more.
_NOTHING = "()[]{}'\"*!?/\\.# "

_QUOTES = ("''", '""', "\u2018\u2019", "\u201c\u201d", "``", "\u00ab\u00bb")
_BETWEEN = re.compile(r"\s*(?:->|[;|/,+&>:\\_-]|\b(?:and|or|then|vs)\b)\s*")
_BRACKETS = "[](){}"
#: How Python prints one value in a list, as bytes, or as a scalar of NumPy or torch; and Label Studio one choice.
_PRINTED = re.compile(
    r"""\[\s*'([^',]+)'\s*\]|\[\s*"([^",]+)"\s*\]|\[\s*(\d+)\s*\]|b'([^']+)'|b"([^"]+)"|(?:tensor|array)\((\d+)\)"""
    r"""|np\.\w+\('?([^'()]+)'?\)|\('([^',]+)',\)"""
    r"""|\{\s*["']choices?["']\s*:\s*\[?\s*["']([^"',{}]+)["']\s*\]?\s*\}"""
)
#: A whole number as a spreadsheet of another language may write it: 3,0.
_DECIMAL = re.compile(r"\d+,0+")
#: Fewer labels than this that are numbers and names are no mixture.
_FEW_NAMES = 3
#: A word of more letters than this that ends in one s may be a plural.
_PLURAL_FROM = 4
#: What parts the words of a label that says more than its class: "sad_2", "happy (0.6)", "happy-aug".
_APART = re.compile(r"[\W\d_]+")


def clean(text: str) -> str:
    """Return a label without blanks and quotes around it, in one normal form; whole numbers in one spelling.

    What Python or JSON puts around one value goes too: ['anger'], b'anger', tensor(3), {"choices": ["anger"]}.
    """
    if not text.isascii():
        text = without_invisible(unicodedata.normalize("NFC", text))
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
    key = spelling_key(text)
    return key in MISSING or key.strip(_NOTHING) in MISSING


def contradictions(first: Sequence[str], other: Sequence[str]) -> set[tuple[str, str]]:
    """Return the pairs of cells by which two columns of labels say different things of a face; none where they agree.

    They agree where the one follows from the other (3 and "happy"), but not where both name expressions that differ.
    """
    pairs = {(a, b) for a, b in zip(first, other, strict=True) if a and b}
    odd = {pair for pair in pairs if all(map(is_expression, pair)) and canonical(pair[0]) != canonical(pair[1])}
    if odd or len(pairs) <= min(len({a for a, _ in pairs}), len({b for _, b in pairs})):
        return odd
    return {pair for pair in pairs if pair[0] != pair[1]}


def check_single(text: str, where: str, others: Collection[str]) -> None:
    """Raise InputError where a cell holds several labels: parts that are labels of the set, expressions or numbers.

    Two expressions in one cell are two labels whatever stands between: "happy (sad)", "happy=0.6 sad=0.4".
    """
    core = text.strip().strip(_BRACKETS).strip()
    if is_expression(core):
        return

    def known(parts: Sequence[str]) -> bool:
        numbers = [number(part) == number(part) for part in parts]
        return all(numbers) or (not any(numbers) and all(is_expression(p) or spelling_key(p) in others for p in parts))

    words = [word for word in _APART.split(core) if len(word) > 2 and is_expression(word)]
    ways = (_BETWEEN.split(core), core.split(), words if len({canonical(word) for word in words}) > 1 else [])
    for way in ways:
        parts = [part.strip(" '\"") for part in way if part.strip(" '\"")]
        if len(parts) > 1 and known(parts):
            comma = " Or is it one number with a decimal comma? Write it with none." if _DECIMAL.fullmatch(core) else ""
            raise InputError(
                f"{where}: label '{shown(text)}' holds {len(parts)} labels ({shown(', '.join(parts))}). A cell holds "
                f"one; several become a column of counts or shares a class (image,anger,happiness,...). Or say what it "
                f"means: --alias {shlex.quote(shown(text) + '=NAME')}, or leave such rows unlabeled: "
                f"--alias {shlex.quote(shown(text) + '=')}{comma}"
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
        if key in DOUBTFUL or key.strip(_NOTHING) in DOUBTFUL:
            raise InputError(two_ways(text, where(text), "a class of its own, or say that the face has no label"))
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
    _check_near(names, where, sure)
    _check_scripts(names, where, sure)
    _check_languages(names, where, sure)
    for odd in doubtful_codes(whole):
        if str(odd) not in sure:
            raise InputError(two_ways(texts[str(odd)], where(texts[str(odd)]), "a class like the others, or 'missing'"))
    _check_mixed(names, where, sure, [value for value in whole if str(value) not in sure])


def _check_alike(names: Mapping[str, str], where: Callable[[str], str], sure: Collection[str]) -> None:
    """Raise InputError where labels begin with one expression and go on unlike: "sad" and "sad_2", "happy (0.6)"."""
    first: dict[tuple[str, bool], str] = {}
    for text, name in names.items():
        words = [word for word in _APART.split(name) if word]
        if spelling_key(name) in sure or not words or not is_expression(words[0]) or any(map(is_expression, words[1:])):
            continue
        if is_expression(name) and len(words) > 1:  # a compound expression
            continue
        other = first.setdefault((canonical(words[0]), name[0].isalpha()), text)  # "02_sad" is not held against "sad"
        if other != text and not (is_expression(names[other]) and is_expression(name)):
            odd = other if is_expression(name) else text
            raise InputError(
                f"{where(text)}: the labels '{shown(other)}' and '{shown(text)}' can be one class written in two ways, "
                f"or two. --alias {shlex.quote(f'{shown(odd)}={canonical(words[0])}')} makes them one; where they are "
                "two, name all classes: --classes A,B,..."
            )


def _check_mixed(
    names: Mapping[str, str], where: Callable[[str], str], sure: Collection[str], whole: Sequence[int]
) -> None:
    """Raise InputError where some labels are numbers and others are not: "x" among codes, True beside 1."""
    rest = [text for text, name in names.items() if spelling_key(name) not in sure and whole_number(name) is None]
    known = sum(map(is_expression, names.values()))  # where most are, a number is an unknown name among them
    if not rest or not whole or len(names) < _FEW_NAMES or 2 * known > len(names):
        return
    if len(whole) >= len(rest):
        odd, said = rest[0], f"is no number, but {len(whole)} other labels are, such as {whole[0]}"
    else:
        odd = next(text for text, name in names.items() if whole_number(name) == whole[0])
        said = f"is a number, but {len(rest)} other labels are not, such as '{shown(rest[0])}'"
    raise InputError(
        f"{where(odd)}: label '{shown(odd)}' {said}. Say what it means: --alias {shlex.quote(shown(odd) + '=')} leaves "
        f"such rows unlabeled, --alias {shlex.quote(f'{shown(odd)}={shown(odd)}')} makes it a class."
    )


def _check_near(names: Mapping[str, str], where: Callable[[str], str], sure: Collection[str]) -> None:
    """Raise InputError where two labels differ in accents, marks or a plural alone: "smirk" and "smirks", "grin!"."""
    first: dict[str, str] = {}
    for text, name in names.items():
        core = _core(_decoded(name))
        if not core or spelling_key(name) in sure or is_expression(name):
            continue
        if is_expression(core):
            raise InputError(
                f"{where(text)}: label '{shown(text)}' is no expression that is known, but nearly '{shown(core)}'. Say "
                f"what it means: --alias {shlex.quote(f'{shown(text)}={canonical(core)}')}; where it is another class, "
                f"--alias {shlex.quote(f'{shown(text)}={shown(text)}')}"
            )
        other = first.setdefault(re.sub("(?<=[aou])e", "", core), text)  # ae, oe, ue can stand for umlauts
        if other != text:
            raise InputError(
                f"{where(text)}: the labels '{shown(other)}' and '{shown(text)}' can be one class written in two ways, "
                f"or two. --alias {shlex.quote(f'{shown(text)}={shown(other)}')} makes them one; where they are two, "
                "name all classes: --classes A,B,..."
            )


def _core(name: str) -> str:
    """Return a name's letters and numbers alone: no accents, no marks, no zeros before a number, no s of a plural.

    "" for a name in other letters.
    """
    folded = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    if any(c.isalpha() and not c.isascii() for c in folded):
        return ""
    parts = [part.lstrip("0") or "0" if part.isdecimal() else part for part in re.findall(r"[a-z]+|[0-9]+", folded)]
    if not any(part.isalpha() for part in parts):
        return ""
    letters = re.sub(r"(?<=\d) (?=[a-z])|(?<=[a-z]) ", "", " ".join(parts))
    return letters[:-1] if len(letters) > _PLURAL_FROM and letters[-1] == "s" and letters[-2] != "s" else letters


def _decoded(name: str) -> str:
    """Return a name whose UTF-8 was read as Windows' encoding as it was meant: "glÃ¼cklich" is "glücklich"."""
    try:
        return name if name.isascii() else name.encode("cp1252").decode()
    except UnicodeError:
        return name


def _check_languages(names: Mapping[str, str], where: Callable[[str], str], sure: Collection[str]) -> None:
    """Raise InputError where some labels are English expressions and several name expressions in another language.

    One alone, such as "angst", is a class of its own.
    """
    english = [t for t, n in names.items() if is_expression(n) and canonical(n) not in IN_MANY_LANGUAGES]
    meant = {t: m for t, n in names.items() if not is_expression(n) and (m := translated(n)) is not None}
    text = next((t for t in meant if spelling_key(names[t]) not in sure), None)
    if english and text is not None and len(meant) > 1:
        raise InputError(
            f"{where(text)}: the label '{shown(text)}' can mean '{meant[text]}', beside '{shown(english[0])}' in "
            f"{where(english[0])}. Where these are two languages for the same classes, say what each means: "
            f"--alias {shlex.quote(f'{shown(text)}={meant[text]}')}. Where they are classes of their own, name all: "
            "--classes A,B,..."
        )


def _check_scripts(names: Mapping[str, str], where: Callable[[str], str], sure: Collection[str]) -> None:
    """Raise InputError where some labels are known expressions and others are written in another script."""
    foreign = [t for t, n in names.items() if spelling_key(n) not in sure and _foreign(n)]
    known = [text for text, name in names.items() if is_expression(name)]
    if foreign and known:
        text = foreign[0]
        raise InputError(
            f"{where(text)}: the label '{shown(text)}' is written in another script than '{shown(known[0])}' in "
            f"{where(known[0])}. Where these are two languages for the same classes, say what each means: --alias "
            f"{shlex.quote(shown(text) + '=NAME')}. Where they are classes of their own, name all: --classes A,B,..."
        )


def _foreign(name: str) -> bool:
    """Whether a name is written in another script than the Latin one, emoji included; numbers and marks are in none."""
    if any(map(str.isalpha, name)):
        return not all("LATIN" in unicodedata.name(c, "") for c in name if c.isalpha())
    return any(unicodedata.category(c) == "So" for c in name)


def doubtful_codes(codes: Sequence[int]) -> list[int]:
    """Return the whole numbers among class codes that can stand for "missing" as well as for a class.

    -1 beside codes from 0 to 2 or more is "missing" (`is_minus_one`); beside 0 and 1 alone it may be a class.
    """
    rest = [code for code in codes if code >= 0]
    below = [code for code in codes if code < 0]
    small = [code for code in rest if code <= SMALL_CODE]
    odd = below if len(below) == 1 and not is_minus_one(codes) else []
    odd += [code for code in rest if code in SENTINELS and len(small) > 1 and code > max(small)]
    top = sorted(rest)[-2:]
    if len(rest) > RUN and top[1] - top[0] > GAP and top[0] - min(rest) == len(rest) - 2 and top[1] not in odd:
        odd.append(top[1])
    return odd


def is_minus_one(codes: Sequence[int]) -> bool:
    """Whether -1 among class codes says "no label": it alone is negative, and others go to 2 or more."""
    rest = [code for code in codes if code >= 0]
    return [code for code in codes if code < 0] == [-1] and bool(rest) and max(rest) >= 2


def two_ways(text: str, where: str, what: str) -> str:
    """Return the message on a label that can be a class or something else, with both ways out."""
    left_out, kept = shlex.quote(f"{shown(text)}="), shlex.quote(f"{shown(text)}={shown(text)}")
    return (
        f"{where}: label '{shown(text)}' can be {what}. Say which: --alias {kept} makes it a class, --alias {left_out} "
        "leaves such rows unlabeled."
    )
