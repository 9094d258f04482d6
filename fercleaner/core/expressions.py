"""Expression names: the canonical ones, their aliases, and the class sets of the published datasets."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

#: The basic expressions and contempt, by the names used throughout.
BASIC: tuple[str, ...] = (
    "anger",
    "disgust",
    "fear",
    "happiness",
    "neutral",
    "sadness",
    "surprise",
    "contempt",
)

#: RAF-DB's compound expressions, in the order of its codes 1 to 11.
COMPOUND: tuple[str, ...] = (
    "happily surprised",
    "happily disgusted",
    "sadly fearful",
    "sadly angry",
    "sadly surprised",
    "sadly disgusted",
    "fearfully angry",
    "fearfully surprised",
    "angrily surprised",
    "angrily disgusted",
    "disgustedly surprised",
)

#: Every expression that has a canonical name.
EXPRESSIONS: frozenset[str] = frozenset(BASIC + COMPOUND)

_SYNONYMS = {
    "anger": "angry an ang mad furious rage annoyed",
    "disgust": "disgusted di dis disgusting",
    "fear": "fearful fe fea af afraid scared fright frightened terrified",
    "happiness": "happy ha hap joy joyful enjoyment smile smiling",
    "neutral": "ne neu neutrality calm",
    "sadness": "sad sa unhappy sorrow",
    "surprise": "surprised su sur surprising astonished astonishment",
    "contempt": "contemptuous scorn",
}

#: Other spellings -> canonical name; the two- and three-letter codes are those of JAFFE and KDEF file names.
ALIASES: Mapping[str, str] = MappingProxyType(
    {alias: name for name, words in _SYNONYMS.items() for alias in words.split()}
)

#: Words of other languages in Latin letters (German, French, Spanish, Italian, Portuguese, Dutch, Polish, Turkish), no
#: accents. They are no aliases: whether a set means these expressions is asked or said.
_ELSEWHERE = {
    "anger": "wut argerlich wutend zorn zornig arger colere enfada enfadado enojado enojo ira rabbia arrabbiato raiva "
    "boos boosheid woede zlosc zly kizgin ofke",
    "disgust": "ekel angeekelt degout degoute asco disgusto disgustato nojo walging wstret obrzydzenie tiksinti",
    "fear": "angst angstlich furcht peur apeure miedo asustado paura impaurito medo bang strach korku",
    "happiness": "glucklich freude frohlich heureux joie feliz felicidad alegria alegre felice felicita gioia "
    "felicidade blij blijdschap szczescie radosc mutlu mutluluk",
    "neutral": "neutre neutro neutrale neutraal neutralny notr",
    "sadness": "traurig traurigkeit trauer triste tristesse tristeza tristezza verdrietig smutek smutny uzgun uzuntu",
    "surprise": "uberraschung uberrascht surpris sorpresa sorprendido sorpreso surpresa verrassing verrast zdziwienie "
    "zaskoczenie saskin",
    "contempt": "verachtung mepris desprecio disprezzo desprezo minachting pogarda",
}
_TRANSLATED = {word: name for name, words in _ELSEWHERE.items() for word in words.split()}

#: Expressions whose English names are words of other languages, too.
IN_MANY_LANGUAGES = ("neutral", "surprise")

#: Least likeness of spellings (difflib ratio) worth suggesting: "smirk" is not taken for "smile" (0.6).
_NEAR = 0.7
#: A longer text is no name, and comparing it would take long.
_LONGEST_NAME = 100

_GAPS = re.compile(r"[\s_-]+")
_NUMBER = re.compile(r"[+-]?(?:\d{1,15}(?:\.\d{0,20})?|\.\d{1,20})(?:e[+-]?\d{1,2})?", re.IGNORECASE)
#: Numbers up to this are whole or not beyond doubt (float64).
_LARGEST_WHOLE = 2**53


def without_invisible(text: str) -> str:
    """Return a text without characters that show nothing of themselves: format characters, variation selectors."""
    return "".join(c for c in text if unicodedata.category(c) != "Cf" and not "\ufe00" <= c <= "\ufe0f")


def spelling_key(text: str) -> str:
    """Return what two spellings of one word have in common: case, blanks, hyphens, underscores, normal form aside.

    Invisible characters (zero-width blanks, direction marks, a byte-order mark, the selectors of an emoji's look) do
    not count either. Numbers are one however they are written (3, 3.0, 03), and keep their sign.

    >>> spelling_key("-0.50"), spelling_key("0.5")
    ('-0.5', '0.5')
    >>> spelling_key(" Not_Sure "), spelling_key("cafe\u0301") == spelling_key("CAF\u00c9"), spelling_key("-03.0")
    ('not sure', True, '-3')
    """
    if not text.isascii():
        text = without_invisible(unicodedata.normalize("NFKC", text))
    number = text.strip()  # float() alone does not take the separators \x1c to \x1f for blanks
    if _NUMBER.fullmatch(number):
        value = float(number)
        if abs(value) <= _LARGEST_WHOLE:
            return str(int(value) if value.is_integer() else value)
    folded = _GAPS.sub(" ", text).strip().casefold()
    return folded if folded.isascii() else unicodedata.normalize("NFC", folded)


_key = spelling_key


def whole_number(text: str) -> int | None:
    """Return the whole number that `text` is, in whichever spelling, or None.

    >>> whole_number("03"), whole_number("3.0"), whole_number("3.5"), whole_number("three")
    (3, 3, None, None)
    """
    key = spelling_key(text)
    return int(key) if len(key) < 18 and key.isascii() and key.lstrip("-").isdecimal() and key.count("-") < 2 else None


def _lookup(text: str, alias: Mapping[str, str]) -> str:
    key = _key(text)
    for spelling, target in alias.items():
        if _key(spelling) == key:
            text = target.strip()
            key = _key(text)
            break
    key = ALIASES.get(key, key)
    return key if key in EXPRESSIONS else text.strip()


def canonical(name: str, alias: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the canonical name of an expression, or `name` stripped where it is no known expression.

    Case, spaces, hyphens and underscores do not matter for known expressions. `alias` (spelling -> name)
    goes first and is followed once; its targets may themselves be known spellings.

    >>> canonical(" Happy "), canonical("Happily_Surprised"), canonical("smirk")
    ('happiness', 'happily surprised', 'smirk')
    >>> canonical("smirk", {"smirk": "scorn"})
    'contempt'
    """
    return _lookup(name, alias)


def is_expression(name: str) -> bool:
    """Whether `name`, in any spelling, is a known expression."""
    return _lookup(name, {}) in EXPRESSIONS


def translated(name: str) -> str | None:
    """Return the expression that a word of another language names, accents and case aside, or None.

    >>> translated("Glücklich"), translated("wuetend"), translated("happy")
    ('happiness', 'anger', None)
    """
    folded = "".join(c for c in unicodedata.normalize("NFKD", _key(name)) if not unicodedata.combining(c))
    folded = folded.replace("ı", "i").replace("ł", "l")
    return _TRANSLATED.get(folded) or _TRANSLATED.get(re.sub("(?<=[aou])e", "", folded))


def closest_class(name: str, classes: Iterable[str]) -> str | None:
    """Return the class whose name or known alias is spelled most like `name`, or None if none is near.

    >>> closest_class("fearfull", ["anger", "fear"])
    'fear'
    """
    if len(name) > _LONGEST_NAME:
        return None
    spellings = {_key(c): c for c in classes}
    spellings.update({a: c for a, c in ALIASES.items() if c in spellings and len(a) > 3})
    near = difflib.get_close_matches(_key(name), spellings, n=1, cutoff=_NEAR)
    return spellings[near[0]] if near else None


@dataclass(frozen=True)
class ClassSet:
    """The classes of a published dataset in the order of its codes.

    Parameters
    ----------
    name : str
        Short name, as `--classes` takes it.
    title : str
        Name in print.
    classes : tuple of str
        Canonical names; class i has code `first_code + i`.
    first_code : int
        0, or 1 where the dataset counts from one.
    source : str
        The paper that defines the codes.
    junk : mapping of int -> str
        Codes that are no expression, and what they say; such rows are left unlabeled.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    first_code: int
    source: str
    junk: Mapping[int, str] = field(default_factory=dict)

    @property
    def codes(self) -> dict[int, str]:
        """Code -> canonical name, without the junk codes."""
        return {self.first_code + i: name for i, name in enumerate(self.classes)}


_FER = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
_AFFECTNET = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
_AFFECTNET_JUNK = {8: "expression: none", 9: "expression: uncertain", 10: "expression: no face"}
_AFFECTNET_SOURCE = (
    "Mollahosseini, Hasani, Mahoor, AffectNet: A database for facial expression, valence, and arousal "
    "computing in the wild, IEEE Trans. Affective Computing 10(1), 2019"
)
_RAFDB_SOURCE = (
    "Li, Deng, Du, Reliable crowdsourcing and deep locality-preserving learning for expression recognition "
    "in the wild, CVPR 2017"
)

#: Vote columns of FERPlus's fer2013new.csv, in file order; the last two are no classes.
FERPLUS_VOTES: tuple[str, ...] = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "NF",
)

#: Class sets by their short names.
CLASS_SETS: Mapping[str, ClassSet] = MappingProxyType(
    {
        known.name: known
        for known in (
            ClassSet(
                "fer2013",
                "FER2013",
                _FER,
                0,
                "Goodfellow et al., Challenges in representation learning: A report on three machine "
                "learning contests, ICONIP 2013",
            ),
            ClassSet(
                "ferplus",
                "FERPlus",
                FERPLUS_VOTES[:8],
                0,
                "Barsoum, Zhang, Canton Ferrer, Zhang, Training deep networks for facial expression "
                "recognition with crowd-sourced label distribution, ICMI 2016",
            ),
            ClassSet(
                "rafdb",
                "RAF-DB (basic)",
                ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"),
                1,
                _RAFDB_SOURCE,
            ),
            ClassSet("rafdb-compound", "RAF-DB (compound)", COMPOUND, 1, _RAFDB_SOURCE),
            ClassSet(
                "affectnet7",
                "AffectNet, 7 classes",
                _AFFECTNET[:7],
                0,
                _AFFECTNET_SOURCE,
                {7: "expression: contempt", **_AFFECTNET_JUNK},
            ),
            ClassSet("affectnet8", "AffectNet, 8 classes", _AFFECTNET, 0, _AFFECTNET_SOURCE, _AFFECTNET_JUNK),
            ClassSet(
                "expw",
                "ExpW",
                _FER,
                0,
                "Zhang, Luo, Loy, Tang, From facial expression recognition to interpersonal relation "
                "prediction, IJCV 126, 2018",
            ),
        )
    }
)
