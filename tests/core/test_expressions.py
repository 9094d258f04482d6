"""Names, aliases and class sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fercleaner.core.expressions import (
    ALIASES,
    BASIC,
    CLASS_SETS,
    COMPOUND,
    EXPRESSIONS,
    canonical,
    closest_class,
    spelling_key,
    whole_number,
)

SPELLINGS = [
    ("anger", ["angry", "Anger", "ANGRY", " angry "]),
    ("disgust", ["disgusted", "Disgust"]),
    ("fear", ["fearful", "scared", "afraid"]),
    ("happiness", ["happy", "Happiness", "joy", "smile", "HAPPY"]),
    ("neutral", ["Neutral"]),
    ("sadness", ["sad", "Sadness"]),
    ("surprise", ["surprised", "Surprise"]),
    ("contempt", ["contemptuous", "Contempt"]),
    ("happily surprised", ["Happily Surprised", "happily_surprised", "Happily-surprised"]),
]


@pytest.mark.parametrize(("name", "spellings"), SPELLINGS)
def test_spellings_of_an_expression_have_one_name(name: str, spellings: list[str]) -> None:
    assert {canonical(s) for s in spellings} == {name}


def test_unknown_names_pass_through_stripped() -> None:
    assert canonical(" Smirk ") == "Smirk"
    assert canonical("7") == "7"


def test_alias_goes_first_and_is_followed_once() -> None:
    assert canonical("smirk", {"Smirk": "joy"}) == "happiness"
    assert canonical("joy", {"joy": "surprised"}) == "surprise"
    assert canonical("a", {"a": "b", "b": "anger"}) == "b"


@given(st.sampled_from(sorted(EXPRESSIONS | set(ALIASES))), st.sampled_from([str.upper, str.title, str.lower]))
def test_canonical_is_idempotent_and_ignores_case(name: str, change: object) -> None:
    changed = canonical(change(name))  # type: ignore[operator]
    assert changed == canonical(name) == canonical(changed)
    assert changed in EXPRESSIONS


def test_closest_sees_aliases_and_only_the_classes_there_are() -> None:
    assert closest_class("fearfull", ["anger", "fear"]) == "fear"
    assert closest_class("hapy", ["happiness", "anger"]) == "happiness"
    assert closest_class("hapy", ["anger", "fear"]) is None
    assert closest_class("zzz", BASIC) is None


CODES = {
    "fer2013": {0: "angry", 1: "disgust", 2: "fear", 3: "happy", 4: "sad", 5: "surprise", 6: "neutral"},
    "expw": {0: "angry", 1: "disgust", 2: "fear", 3: "happy", 4: "sad", 5: "surprise", 6: "neutral"},
    "rafdb": {1: "surprise", 2: "fear", 3: "disgust", 4: "happiness", 5: "sadness", 6: "anger", 7: "neutral"},
    "affectnet8": dict(enumerate(["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"])),
    "affectnet7": dict(enumerate(["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger"])),
    "ferplus": dict(enumerate(["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"])),
    "rafdb-compound": {i + 1: name for i, name in enumerate(COMPOUND)},
}


@pytest.mark.parametrize("name", sorted(CLASS_SETS))
def test_codes_are_those_of_the_papers(name: str) -> None:
    known = CLASS_SETS[name]
    assert known.codes == {code: canonical(text) for code, text in CODES[name].items()}
    assert set(known.classes) <= EXPRESSIONS
    assert not set(known.junk) & set(known.codes)
    assert known.source


def test_compound_order_and_affectnet_junk() -> None:
    assert len(COMPOUND) == 11
    assert (COMPOUND[0], COMPOUND[4], COMPOUND[10]) == (
        "happily surprised",
        "sadly surprised",
        "disgustedly surprised",
    )
    assert set(CLASS_SETS["affectnet8"].junk) == {8, 9, 10}
    assert set(CLASS_SETS["affectnet7"].junk) == {7, 8, 9, 10}


@pytest.mark.parametrize("text", ["\x1c61", "61\x1f", "\x1d61.0 ", " 061"])
def test_numbers_between_separators_are_numbers(text):
    """strip() takes \\x1c to \\x1f for blanks, float() does not."""
    assert spelling_key(text) == "61"
    assert whole_number(text) == 61
