"""One word for one thing: the words of the glossary, in code, manual and README; no private ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_TERMS = 30

#: Private words, and the field's words that stand for them.
PRIVATE = {
    r"witness(?:es)?": "expert or source",
    r"lifts?": "log-likelihood ratio",
    r"voices?|hearing|heard": "weight",
    r"told(?! (?:from|apart|of))|untold": "said, shown, or the weight of an expert",
    r"look-?alikes?": "nearest neighbors",
    r"lessons?|teach(?:es|ing)?|taught": "train, trained on, learned from",
    r"in the box|the box's|box knows": "builtin model",
    r"(?:random|systematic|two|both|each) readings?|readings? of the (?:noise|labels)": "noise model",
    r"blind": "no evidence",
    r"shel(?:f|ves)": "cached view",
    r"squash(?:ed|es)?": "au_probabilities, or what it does",
    r"stray": "random",
}
#: Places where such a word is another thing: teachers of a distilled network.
ALLOWED = ("fercleaner/weights/MODEL_CARD.md",)


def sources() -> list[Path]:
    """Return code, manual and README, without what is made while the manual is built."""
    made = ("docs/made", "docs/auto_examples", "docs/_build")
    kinds = (".py", ".md", ".rst", ".css", ".js", ".html", ".jinja", ".json")
    found = [path for folder in ("fercleaner", "cli", "docs") for path in (ROOT / folder).rglob("*.*")]
    found = [path for path in found if path.suffix in kinds]
    return [path for path in (*found, ROOT / "README.md") if not path.relative_to(ROOT).as_posix().startswith(made)]


def private_words(text: str) -> list[tuple[int, str, str]]:
    """Return (line, word, what to say instead) of every private word; `_` parts words as a space does."""
    found = []
    for pattern, instead in PRIVATE.items():
        for match in re.finditer(rf"(?<![a-z])(?:{pattern})(?![a-z])", text, re.IGNORECASE):
            found.append((text.count("\n", 0, match.start()) + 1, match[0], instead))
    return found


def test_no_private_word_stands_in_code_or_manual():
    wrong = []
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        for line, word, instead in private_words(path.read_text(encoding="utf-8")) if name not in ALLOWED else ():
            wrong.append(f"{name}:{line} '{word}': say {instead}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_exempt_is_there(name):
    assert (ROOT / name).exists()


@pytest.mark.parametrize("text", ["each witness", "LEAST_TOLD = 2", "look-alikes", "Heard of", "a lift l"])
def test_private_words_are_seen(text):
    assert private_words(text)


@pytest.mark.parametrize("text", ["a weight", "boxes", "reading a file", "a teacher network", "shelter", "uplifted"])
def test_other_words_are_not(text):
    assert not private_words(text)


def test_the_glossary_is_short_and_its_terms_are_used():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    terms = [line for line in text[text.index("{glossary}") :].splitlines()[1:] if line and line[0] not in " `"]
    assert 20 <= len(terms) <= MOST_TERMS
    assert len(set(terms)) == len(terms)
    written = " ".join(path.read_text(encoding="utf-8").lower() for path in sources() if path.name != "glossary.md")
    unused = [word for term in terms for word in term.split(", ") if word.lower() not in written]
    assert not unused
