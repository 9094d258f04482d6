"""Decisions applied: what a method is given, what is known and certain afterwards, and where people disagree."""

from __future__ import annotations

import numpy as np
import pytest
from review_cases import CLASSES, refined_set

from fercleaner.core.errors import InputError
from fercleaner.core.types import Samples
from fercleaner.results.assemble import input_digest
from fercleaner.review.decisions import NO_FACE_NOTE, Decisions, merged
from fercleaner.review.log import Decision, Entry

SAID = {
    "face 000.png": Decision("label", ("fear",)),
    "face 001.png": Decision("ambiguous", ("anger", "happiness")),
    "face 002.png": Decision("not a face"),
    "face 009.png": Decision("label", ("neutral",)),
    "elsewhere.png": Decision("label", ("fear",)),
}


def samples_of(refined, **changes):
    fields = {name: getattr(refined, name) for name in ("ids", "classes", "given", "labeled", "paths", "split")}
    return Samples(**{**fields, **changes})


def with_given(**rows):
    """Return a refined set in which row i was given class c, and its samples; default anger."""
    refined = refined_set()
    given = np.array(refined.given)
    for row, name in ((0, "anger"), (1, "happiness"), (2, "fear"), (3, "fear")):
        given[row] = np.eye(4)[CLASSES.index(rows.get(f"r{row}", name))]
    refined = refined_set(given=given)
    return refined, samples_of(refined)


def test_the_method_sees_the_sets_own_labels_but_of_what_is_no_face():
    _, samples = with_given()
    seen = Decisions(SAID).without_no_faces(samples)
    assert not seen.labeled[2]
    assert not seen.given[2].any()
    assert seen.notes[2] == NO_FACE_NOTE
    others = [row for row in range(len(samples)) if row != 2]
    assert np.array_equal(seen.given[others], samples.given[others])
    assert np.array_equal(seen.labeled[others], samples.labeled[others])


def test_known_are_the_faces_of_which_a_class_is_decided():
    _, samples = with_given()
    rows, labels = Decisions(SAID).known(samples)
    assert rows.tolist() == [0, 1, 9]  # an unlabeled face is known, too
    assert labels.tolist() == [[0, 1, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 1]]


def test_the_answer_holds_decisions_as_certain_and_the_sets_own_labels():
    refined, samples = with_given()
    decisions = Decisions(SAID, {"face 000.png": ("ann", "ben")})
    seen = decisions.without_no_faces(samples)
    answer = refined_set(given=seen.given, labeled=seen.labeled, flagged=refined.flagged & seen.labeled)
    done = decisions.settled(answer, samples)
    assert np.array_equal(done.given, samples.given)
    assert np.array_equal(done.labeled, samples.labeled)
    assert done.distribution[0].tolist() == [0, 1, 0, 0]
    assert done.distribution[1].tolist() == [0.5, 0, 0.5, 0]
    assert np.array_equal(done.distribution[2], answer.distribution[2])
    assert done.weight[[0, 1, 2, 9]].tolist() == [1, 1, 0, 1]
    assert done.quality[[0, 1, 2, 9]].tolist() == [0, 1, 0, 1]
    assert done.flagged[[0, 1, 2, 9]].tolist() == [True, False, True, False]
    assert done.changed[0]
    assert not done.changed[9]
    assert done.reason[0] == "labeled anger; decided: fear (ann, ben)"
    assert done.reason[1] == "labeled happiness; decided: anger / happiness"
    assert done.reason[2] == "labeled fear; decided: not a face"
    others = [row for row in range(len(samples)) if row not in (0, 1, 2, 9)]
    for name in ("distribution", "weight", "quality", "reason"):
        assert np.array_equal(getattr(done, name)[others], getattr(answer, name)[others])
    assert done.metadata["input_digest"] == input_digest(samples)
    assert done.metadata["decisions"] == {
        "faces": 4,
        "ids": ["face 000.png", "face 001.png", "face 002.png", "face 009.png"],
        "one_class": 2,
        "two_classes": 1,
        "not_a_face": 1,
        "against_given": 2,
        "by": {"ann": 1, "ben": 1},
        "conflicts": 0,
        "left_open": 0,
        "not_in_set": 1,
    }


def test_a_label_that_is_kept_has_full_quality():
    refined, samples = with_given(r3="fear")
    done = Decisions({"face 003.png": Decision("label", ("fear",))}).settled(refined, samples)
    assert done.quality[3] == 1
    assert not done.flagged[3]
    assert not done.changed[3]


def test_of_a_distribution_the_most_likely_class_is_what_is_kept():
    given = np.array(refined_set().given)
    given[:4] = [0.6, 0.3, 0.05, 0.05]
    given[3] = [0.4, 0.4, 0.1, 0.1]
    refined = refined_set(given=given)
    said = {0: Decision("label", ("anger",)), 1: Decision("label", ("fear",)), 3: Decision("label", ("fear",))}
    said[2] = Decision("ambiguous", ("fear", "anger"))
    done = Decisions({f"face 00{row}.png": it for row, it in said.items()}).settled(refined, samples_of(refined))
    assert done.flagged[:4].tolist() == [False, True, False, False]
    assert done.changed[:4].tolist() == [False, True, False, False]
    assert np.allclose(done.quality[:4], [1, 0.5, 1, 1])
    assert done.metadata["decisions"]["against_given"] == 1


def test_a_label_that_is_one_of_two_decided_is_not_changed():
    refined, samples = with_given(r1="happiness")
    done = Decisions({"face 001.png": Decision("ambiguous", ("anger", "happiness"))}).settled(refined, samples)
    assert not done.flagged[1]
    assert not done.changed[1]


def test_no_decision_changes_nothing_but_the_count():
    refined, samples = with_given()
    done = Decisions({}).settled(refined, samples)
    assert np.array_equal(done.distribution, refined.distribution)
    assert np.array_equal(done.flagged, refined.flagged)
    assert done.metadata["decisions"]["faces"] == 0


def test_decisions_of_another_set_and_unknown_classes_are_refused():
    _, samples = with_given()
    with pytest.raises(InputError, match=r"None of the 1 decided faces is in this set \(first: 'elsewhere'"):
        Decisions({"elsewhere": Decision("label", ("fear",))}).without_no_faces(samples)
    with pytest.raises(InputError, match=r"'face 000.png' is decided as 'fea', .* Did you mean 'fear'\?"):
        Decisions({"face 000.png": Decision("label", ("fea",))}).without_no_faces(samples)
    with pytest.raises(InputError, match="not the same faces"):
        Decisions(SAID).settled(refined_set(20), samples)


def test_most_people_count_and_disagreement_is_listed():
    fear, anger = Decision("label", ("fear",)), Decision("label", ("anger",))
    entries = [
        Entry("agreed", "ann", "label", fear),
        Entry("agreed", "ben", "label", fear),
        Entry("two to one", "ann", "label", fear),
        Entry("two to one", "ben", "label", anger),
        Entry("two to one", "eve", "label", fear),
        Entry("even", "ann", "label", fear),
        Entry("even", "ben", "label", anger),
        Entry("skipped", "ann", "skip", Decision("skip")),
        Entry("skipped", "ben", "label", anger),
        Entry("undone", "ann", "label", anger, at="1"),
        Entry("undone", "ann", "undo", None, at="2"),
        Entry("same pair", "ann", "ambiguous", Decision("ambiguous", ("fear", "anger"))),
        Entry("same pair", "ben", "ambiguous", Decision("ambiguous", ("anger", "fear"))),
    ]
    found = merged(entries)
    assert {name: str(decision) for name, decision in found.by_id.items()} == {
        "agreed": "fear",
        "two to one": "fear",
        "skipped": "anger",
        "same pair": "anger / fear",
    }
    assert found.who["two to one"] == ("ann", "eve")
    assert [(c.id, c.settled_as) for c in found.conflicts] == [("even", None), ("two to one", fear)]
    assert str(found.conflicts[0]) == "even: ann: fear, ben: anger; left open"
