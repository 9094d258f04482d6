"""The summary of a refined set, counted by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from fercleaner.core.errors import InputError
from fercleaner.core.refined import RefinedSet
from fercleaner.noise.estimate import estimate_noise
from fercleaner.results.summary import ClassCount, ConfusedPair, absent_classes, summarize, unseen

CLASSES = ("anger", "fear", "happiness", "contempt")
GIVEN = [0, 0, 0, 1, 1, 2, -1, 2]
LABEL = [0, 1, 1, 1, 2, 2, 0, 2]
QUALITY = [0.9, 0.1, 0.2, 0.8, 0.1, 1.0, 0.05, 0.75]
WEIGHT = [1.0, 0.2, 0.2, 0.8, 0.1, 1.0, 0.3, 0.9]


def make() -> RefinedSet:
    given, label = np.array(GIVEN), np.array(LABEL)
    labeled = given >= 0
    one_hot = np.zeros((8, 4), np.float32)
    one_hot[np.flatnonzero(labeled), given[labeled]] = 1
    vote = np.array([0.5] * 6 + [np.nan] * 2, np.float32)
    return RefinedSet(
        ids=list("abcdefgh"),
        paths=[f"/d/{name}.png" for name in "abcdefgh"],
        split=[""] * 8,
        classes=CLASSES,
        labeled=labeled,
        given=one_hot,
        distribution=np.eye(4, dtype=np.float32)[label] * 0.6 + 0.1,
        weight=WEIGHT,
        quality=QUALITY,
        flagged=labeled & (np.array(QUALITY) < 0.15),
        changed=labeled & (given != label),
        reason=["", "neighbors say fear", "", "", "neighbors say happiness", "", "", ""],
        neighbors_for=((),) * 8,
        neighbors_against=(*((),) * 6, ("a",), ()),
        evidence={"vote": vote, "posterior": np.full(8, np.nan, np.float32)},
        metadata={"method": "hypergraph", "params": {"k": 30}, "views": [{"name": "clip"}], "seed": 1},
    )


def test_counts_by_hand():
    summary = summarize(make())
    assert (summary.faces, summary.labeled, summary.unlabeled) == (8, 7, 1)
    assert (summary.flagged, summary.changed, summary.without_evidence) == (2, 3, 1)
    assert summary.mean_quality == pytest.approx(sum(q for i, q in enumerate(QUALITY) if i != 6) / 7)
    assert (summary.method, summary.params, summary.views) == ("hypergraph", {"k": 30}, [{"name": "clip"}])
    counted = [(c.name, c.given, c.refined, c.flagged, c.changed) for c in summary.classes]
    assert counted == [
        ("anger", 3, 2, 1, 2),
        ("fear", 2, 3, 1, 1),
        ("happiness", 2, 3, 0, 0),
        ("contempt", 0, 0, 0, 0),
    ]
    assert [c.flagged_rate for c in summary.classes] == [pytest.approx(1 / 3), 0.5, 0.0, None]
    assert summary.classes[0].mean_quality == pytest.approx(0.4)
    assert summary.classes[3] == ClassCount("contempt", 0, 0, 0, None, 0, None)


def test_confused_pairs_come_most_frequent_first():
    assert summarize(make()).confused == (
        ConfusedPair("anger", "fear", 2, 2 / 3),
        ConfusedPair("fear", "happiness", 1, 0.5),
    )
    assert len(summarize(make(), top=1).confused) == 1


def test_pairs_add_up_to_the_changed_labels_where_annotators_are_even():
    """A label that half of the annotators chose stands, whichever of the two comes first."""
    even = np.zeros((8, 4), np.float32)
    even[:, :2] = 0.5
    even[6] = 0
    refined = replace(make(), given=even, changed=np.array(LABEL) == 2)
    summary = summarize(refined)
    assert summary.confused == (ConfusedPair("anger", "happiness", 3, 3 / 7),)
    assert sum(pair.count for pair in summary.confused) == summary.changed


def test_weight_deciles_are_weights_of_the_set():
    deciles = summarize(make()).weight_deciles
    ordered = np.sort(np.array(WEIGHT, np.float32))
    # Of 8 faces, the share p is reached at face ceil(8 p).
    expected = [ordered[max(0, int(np.ceil(8 * p / 10 - 1e-9)) - 1)] for p in range(11)]
    assert deciles == pytest.approx(tuple(expected))


def test_what_to_look_at_first_is_labeled_and_least_supported():
    suspects = summarize(make(), top=3).suspects
    assert [s.id for s in suspects] == ["b", "e", "c"]
    first = suspects[0]
    assert (first.path, first.given, first.refined, first.flagged) == ("/d/b.png", "anger", "fear", True)
    assert first.reason == "neighbors say fear"
    assert first.quality == pytest.approx(0.1)


def test_faces_without_evidence_are_named():
    summary = summarize(make())
    assert [(s.id, s.path, s.given, s.refined) for s in summary.no_evidence] == [
        ("h", "/d/h.png", "happiness", "happiness")
    ]
    assert summarize(make(), top=0).no_evidence == ()
    counted = replace(make(), evidence={"vertex_degree": np.array([2, 1, 0, 0, 0, 0, 0, 0.0])})
    assert [s.id for s in summarize(counted).no_evidence] == ["c", "d", "e", "f", "h"]
    assert summarize(replace(counted, evidence={"agreement": np.zeros(8)})).without_evidence == 0
    assert unseen(counted).tolist() == [False, False, True, True, True, True, False, True]
    unused = summarize(replace(make(), evidence={}, neighbors_against=((),) * 8), top=7)
    assert unused.without_evidence == 8
    assert [s.given for s in unused.no_evidence] == ["anger"] * 3 + ["fear"] * 2 + ["happiness", ""]


def test_to_dict_is_json():
    summary = summarize(make()).to_dict()
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["classes"][0]["name"] == "anger"
    assert summary["suspects"][0]["id"] == "b"
    assert list(summary["noise"]) == ["labels", "wrong", "rate", "doubt", "transition", "wrong_rates", "mixed"]


def test_the_expected_noise_is_part_of_it():
    assert summarize(make()).noise == estimate_noise(make())
    assert len(summarize(make(), top=2).noise.mixed) == 2


def test_an_empty_set_and_one_without_labels():
    fields = {name: getattr(make(), name) for name in RefinedSet.__dataclass_fields__}
    nothing = {
        name: value[:0] if isinstance(value, np.ndarray) else () if name.startswith("neighbors") else value
        for name, value in fields.items()
    }
    empty = summarize(RefinedSet(**{**nothing, "evidence": {}, "metadata": {}}))
    assert (empty.faces, empty.mean_quality, empty.weight_deciles, empty.suspects) == (0, None, (), ())
    assert (empty.method, dict(empty.params), empty.views) == (None, {}, [])
    no = np.zeros(8, bool)
    bare = RefinedSet(
        **{**fields, "labeled": no, "given": np.zeros((8, 4)), "flagged": no, "changed": no, "evidence": {}}
    )
    summary = summarize(bare)
    assert (summary.labeled, summary.unlabeled, summary.mean_quality) == (0, 8, None)
    assert (summary.confused, summary.suspects) == ((), ())
    assert summary.noise.rate is None
    assert summary.without_evidence == 7
    assert sum(c.refined for c in summary.classes) == 8


def test_a_negative_top_is_refused():
    with pytest.raises(InputError, match="top is -1; it must be 0 or more"):
        summarize(make(), top=-1)


def test_a_class_of_labels_that_are_held_wrong_and_stay_is_one_that_nothing_is_known_of():
    """Its surest labels stay, so that it is not emptied: "100 % of its faces are labeled so" would follow from that."""
    refined = make()
    assert absent_classes(refined) == [False, False, False, True]
    kept = refined.flagged.copy()
    kept[[5, 7]] = True  # both faces of happiness that were given it; the third is "e", changed to it
    assert absent_classes(replace(refined, flagged=kept)) == [False, False, False, True]
    label = np.array(LABEL)
    label[4] = 1
    alone = replace(refined, flagged=kept, distribution=np.eye(4, dtype=np.float32)[label] * 0.6 + 0.1)
    alone = replace(alone, changed=alone.labeled & (np.array(GIVEN) != label))
    assert absent_classes(alone) == [False, False, True, True]
