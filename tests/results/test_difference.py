"""What two refined sets differ in, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from consensus_cases import make_samples
from review_cases import CLASSES, refined_set

from fercleaner import methods
from fercleaner.core.errors import InputError
from fercleaner.core.types import Features
from fercleaner.pipeline.inputs import Sources
from fercleaner.pipeline.refine import refine
from fercleaner.results.difference import COMPARED, MovedPair, compare


def test_a_set_against_itself():
    refined = refined_set()
    found = compare(refined, refined)
    assert (found.common, found.labels, found.flags, found.given, found.mean_shift) == (40, 0, 0, 0, 0)
    assert not found.faces
    assert not found.settings


def test_labels_flags_and_settings_that_differ():
    first = refined_set(metadata={"method": "a", "params": {"k": 5, "alpha": 0.1}})
    distribution = np.array(first.distribution)
    moved = int(first.label[0])
    to = (moved + 1) % 4
    distribution[0] = np.eye(4)[to]
    flagged = np.array(first.flagged)
    flagged[[1, 2]] = ~flagged[[1, 2]]
    second = replace(
        first, distribution=distribution, flagged=flagged, metadata={"method": "a", "params": {"k": 6, "alpha": 0.1}}
    )
    found = compare(first, second)
    assert (found.labels, found.flags) == (1, 2)
    assert found.newly_flagged == int(flagged[[1, 2]].sum())
    assert found.pairs == (MovedPair(CLASSES[moved], CLASSES[to], 1),)
    assert found.faces[0].id == first.ids[0]
    shift = 1 - first.distribution[0, to]
    assert found.faces[0].shift == pytest.approx(shift, abs=1e-6)
    assert found.mean_shift == pytest.approx(shift / 40, abs=1e-6)
    assert found.settings == {"params.k": (5, 6)}


def test_all_that_made_a_file_is_compared():
    """What else stands in a file's metadata says what became of it, or where the set lay."""
    labels = np.arange(24) % 4
    samples = make_samples(np.eye(4)[labels])
    view = Features("v", samples.ids, np.eye(4)[labels] + 0.1, np.ones(24, dtype=bool))
    metadata = dict(refine(samples, methods.build("hypergraph", {"k": 5}), Sources(views=[view])).metadata)
    assert set(metadata) - set(COMPARED) == {"notes"}
    more = {"learn_from": ["train"], "read_as": {"alias": {"a": "b"}}, "boxed": True, "grouped": True, "sites": 2}
    more |= {"neighbors": {"v": {"index": "hnsw"}}, "annotators": {"people": []}}
    first = refined_set(metadata=metadata)
    found = compare(first, replace(first, metadata={**metadata, **more}))
    parts = {"neighbors": "neighbors.v"}
    assert {parts.get(name, name) for name in more} == set(found.settings)


def test_sets_of_other_faces_orders_and_classes_are_matched_by_name():
    first = refined_set(ids=["a", "b", "c"])
    order = [2, 0, 1]
    second = refined_set(
        ids=["c", "a", "d"],
        classes=("contempt", *CLASSES[::-1]),
        given=np.zeros((3, 5), dtype=np.float32),
        labeled=np.zeros(3, dtype=bool),
        flagged=np.zeros(3, dtype=bool),
        changed=np.zeros(3, dtype=bool),
        distribution=np.pad(first.distribution[order][:, ::-1], ((0, 0), (1, 0))),
    )
    found = compare(first, second)
    assert (found.common, found.only_first, found.only_second) == (2, 1, 1)
    assert (found.labels, found.mean_shift) == (0, 0)
    assert (found.classes_only_first, found.classes_only_second) == ((), ("contempt",))
    nothing = compare(first, refined_set(ids=["x", "y"]))
    assert (nothing.common, nothing.mean_shift) == (0, None)
    with pytest.raises(InputError, match="top is -1"):
        compare(first, second, top=-1)
