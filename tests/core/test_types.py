"""The data types check their own shapes and laws, hold read-only copies, and say what is wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from fercleaner.core import arrays
from fercleaner.core.arrays import check_distributions, frozen_array, spec_digest
from fercleaner.core.errors import InputError
from fercleaner.core.types import ActionUnits, Features, Landmarks, Neighbors, Posteriors, Refinement, Samples

IDS = np.array(["a", "b", "c"])
TWO = ("anger", "happiness")
GIVEN = np.array([[1, 0], [0, 1], [0, 0]], dtype=np.float32)
LABELED = np.array([True, True, False])


def samples(**changes):
    fields = {"ids": IDS, "classes": TWO, "given": GIVEN, "labeled": LABELED, "paths": np.full(3, "")}
    return Samples(**{**fields, **changes})


def refinement(**changes):
    fields = {
        "ids": IDS,
        "classes": TWO,
        "distribution": np.full((3, 2), 0.5),
        "weight": np.ones(3),
        "quality": np.zeros(3),
        "flagged": np.zeros(3, dtype=bool),
        "method": "any",
    }
    return Refinement(**{**fields, **changes})


BUILDERS = {
    "Samples": lambda: (
        samples(group=IDS, votes=GIVEN, boxes=np.zeros((3, 4))),
        ("ids", "given", "labeled", "group", "votes", "boxes"),
    ),
    "Features": lambda: (Features("v", IDS, np.ones((3, 2)), LABELED), ("ids", "values", "found")),
    "Landmarks": lambda: (Landmarks(IDS, np.zeros((3, 68, 2)), LABELED, np.ones(3)), ("points", "found", "confidence")),
    "ActionUnits": lambda: (
        ActionUnits(IDS, ("AU1",), np.ones((3, 1)), LABELED, np.ones(3)),
        ("probability", "quality"),
    ),
    "Neighbors": lambda: (Neighbors("v", IDS, [[1], [0], [-1]], [[1], [1], [0]]), ("indices", "similarity")),
    "Posteriors": lambda: (Posteriors("p", IDS, TWO, GIVEN, LABELED), ("values", "found")),
    "Refinement": lambda: (refinement(evidence={"x": np.ones(3)}), ("distribution", "weight", "quality", "flagged")),
}
DTYPES = {"labeled": np.bool_, "found": np.bool_, "flagged": np.bool_, "indices": np.int64}


@pytest.mark.parametrize("name", BUILDERS)
def test_arrays_are_read_only_of_one_dtype_and_fields_frozen(name):
    built, fields = BUILDERS[name]()
    for field in fields:
        array = getattr(built, field)
        assert not array.flags.writeable
        if array.dtype.kind != "U":
            assert array.dtype == DTYPES.get(field, np.float32)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(built, fields[0], None)
    assert len(built.ids) == 3


def test_the_callers_array_is_copied_and_stays_writable():
    values = np.ones((3, 2), dtype=np.float32)
    view = Features("v", IDS, values, LABELED)
    values[0] = 7
    assert view.values[0].tolist() == [1, 1]


def test_a_frozen_array_is_shared_and_not_copied():
    array = frozen_array([1.0, 2.0], np.float32)
    assert frozen_array(array, np.float32) is array
    assert frozen_array(array, np.float64) is not array
    words = frozen_array(["a", "long word"], np.str_)
    assert frozen_array(words, np.str_) is words


@pytest.mark.parametrize(("mode", "shared"), [("r", True), ("r+", False), ("c", False)])
def test_a_file_mapped_for_reading_stays_mapped_and_one_mapped_for_writing_is_copied(tmp_path, mode, shared):
    np.save(tmp_path / "a.npy", np.arange(6, dtype=np.float16).reshape(3, 2))
    mapped = np.load(tmp_path / "a.npy", mmap_mode=mode)
    view = Features("v", IDS, mapped, LABELED)
    assert np.shares_memory(view.values, mapped) == shared
    assert type(view.values) is np.ndarray
    assert not view.values.flags.writeable
    assert view.values.tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"given": np.zeros((2, 2))}, r"Samples\.given has shape \(2, 2\), expected \(3, 2\)"),
        ({"given": np.zeros(3)}, r"Samples\.given has shape \(3,\), expected \(3, 2\)"),
        ({"labeled": np.ones(2, dtype=bool)}, r"Samples\.labeled has shape \(2,\), expected \(3\)"),
        ({"group": np.array(["x"])}, r"Samples\.group has shape \(1,\), expected \(3\)"),
        ({"points": np.zeros((3, 5, 2))}, r"Samples\.points has shape \(3, 5, 2\), expected \(3, 68, 2\)"),
        ({"classes": ("anger",), "given": GIVEN[:, :1]}, r"The set has 1 class \(anger\); at least 2 are needed"),
        ({"classes": (), "given": GIVEN[:, :0]}, r"The set has 0 class \(none\); at least 2 are needed"),
        ({"classes": ("anger", "anger")}, r"Class names are not unique: anger, anger"),
        ({"ids": np.array(["a", "b", "a"])}, r"Id 'a' stands in rows 1 and 3; ids must be unique\. Remove one"),
        ({"given": GIVEN * 0.5}, r"given labels: row 0 is not a distribution: \[0\.5, 0\.0\]"),
        ({"given": GIVEN * np.nan}, r"given labels: row 0 is not a distribution"),
        ({"given": np.array([[1, 0], [-1, 2], [0, 0]])}, r"given labels: row 1 is not a distribution: \[-1\.0, 2\.0\]"),
        ({"images": [b""]}, r"1 pictures for 3 faces"),
    ],
)
def test_samples_that_cannot_be(changes, message):
    with pytest.raises(InputError, match=message):
        samples(**changes)


def test_an_empty_set_is_an_error():
    empty = {"ids": IDS[:0], "given": GIVEN[:0], "labeled": LABELED[:0], "paths": IDS[:0]}
    with pytest.raises(InputError, match="The set holds no faces"):
        samples(**empty)


def test_samples_label_and_replacing():
    assert samples().label.tolist() == [0, 1, -1]
    tied = samples(given=[[0.5, 0.5], [0, 1], [0, 0]])
    assert tied.label.tolist() == [0, 1, -1]
    assert len(samples()) == 3
    assert samples(group=IDS).replacing(group=None).group is None
    with pytest.raises(InputError, match="Class names are not unique"):
        samples().replacing(classes=("x", "x"))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_must_be_finite(bad):
    values = np.ones((3, 2))
    values[1, 1] = bad
    with pytest.raises(InputError, match="View 'clip': row 1 holds NaN or infinity"):
        Features("clip", IDS, values, LABELED)
    with pytest.raises(InputError, match=r"Features\.values has shape \(2, 2\), expected \(3, any\)"):
        Features("clip", IDS, np.ones((2, 2)), LABELED)


def test_landmarks_must_be_finite_and_68():
    with pytest.raises(InputError, match="Landmarks hold NaN or infinity; mark such faces as not found instead"):
        Landmarks(IDS, np.full((3, 68, 2), np.nan), LABELED, np.ones(3))
    with pytest.raises(InputError, match=r"Landmarks\.points has shape \(3, 5, 2\), expected \(3, 68, 2\)"):
        Landmarks(IDS, np.zeros((3, 5, 2)), LABELED, np.ones(3))


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan])
def test_action_units_are_probabilities(bad):
    with pytest.raises(InputError, match=r"ActionUnits: probability must lie in \[0, 1\]; row 1"):
        ActionUnits(IDS, ("AU1",), [[0.5], [bad], [0]], LABELED, np.ones(3))


@pytest.mark.parametrize(
    ("indices", "similarity", "message"),
    [
        ([[3], [0], [0]], [[1], [1], [1]], "point outside the 3 faces"),
        ([[-2], [0], [0]], [[1], [1], [1]], "point outside the 3 faces"),
        ([[1], [1], [0]], [[1], [1], [1]], "a face is its own neighbor"),
        ([[-1, 1], [0, 2], [0, 1]], [[0, 0.5], [1, 1], [1, 1]], "padding must come last, with similarity 0"),
        ([[1, -1], [0, 2], [0, 1]], [[1, 0.5], [1, 1], [1, 1]], "padding must come last, with similarity 0"),
        ([[1, 2], [0, 2], [0, 1]], [[0.1, 0.5], [1, 1], [1, 1]], "similarity must not increase along a row"),
    ],
)
def test_neighbors_that_cannot_be(indices, similarity, message):
    with pytest.raises(InputError, match=f"Neighbors of view 'clip'.*{message}"):
        Neighbors("clip", IDS, indices, similarity)


def test_neighbors_that_can_be():
    table = Neighbors("clip", IDS, [[1, 2], [0, -1], [-1, -1]], [[0.5, 0.5], [-0.5, 0], [0, 0]])
    assert table.k == 2
    assert len(table) == 3


def test_posteriors_are_distributions_where_found():
    assert Posteriors("p", IDS, TWO, GIVEN, LABELED, margin=np.zeros(3)).margin is not None
    with pytest.raises(InputError, match=r"posteriors 'p': row 2 is not a distribution: \[0\.0, 0\.0\]"):
        Posteriors("p", IDS, TWO, GIVEN, np.ones(3, dtype=bool))


@pytest.mark.parametrize("name", ["weight", "quality"])
@pytest.mark.parametrize("bad", [-0.01, 1.01, np.nan])
def test_weights_and_qualities_lie_in_0_1(name, bad):
    with pytest.raises(InputError, match=rf"Method 'any': {name} must lie in \[0, 1\]"):
        refinement(**{name: [0, bad, 1]})


def test_refined_rows_are_distributions():
    with pytest.raises(InputError, match=r"method 'any': row 2 is not a distribution: \[0\.0, 0\.0\]"):
        refinement(distribution=GIVEN)
    assert refinement(distribution=[[0.2, 0.8], [0.5, 0.5], [1, 0]]).label.tolist() == [1, 0, 0]


def test_the_simplex_tolerance_is_for_rounding_only():
    row = np.full((1, 300), 1 / 300, dtype=np.float32)
    check_distributions(row, np.array([True]), "rows")
    with pytest.raises(InputError, match="rows: row 0 is not a distribution"):
        check_distributions(row * np.float32(1.0005), np.array([True]), "rows")
    check_distributions(row * 0, np.array([False]), "rows")


def test_a_specs_digest_hangs_on_content_and_not_on_order():
    spec = {"encoder": "hog", "size": 64, "name": "façade"}
    text = json.dumps({"encoder": "hog", "name": "façade", "size": 64}, separators=(",", ":"), ensure_ascii=False)
    assert spec_digest(spec) == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert spec_digest(dict(reversed(spec.items()))) == spec_digest(spec)
    assert spec_digest({**spec, "size": 65}) != spec_digest(spec)


def test_posteriors_of_a_refinement_are_of_its_faces_and_classes():
    own = Posteriors("probe", IDS, TWO, np.full((3, 2), 0.5), np.ones(3, dtype=bool), learned=True)
    assert refinement(posteriors={"probe": own}).posteriors == {"probe": own}
    for change in ({"ids": IDS[::-1]}, {"classes": TWO[::-1]}):
        with pytest.raises(InputError, match="Method 'any': posteriors 'probe' are of other faces or classes"):
            refinement(posteriors={"probe": dataclasses.replace(own, **change)})


@pytest.mark.parametrize("row", [0, 6, 7, 20])
def test_the_first_row_that_is_not_finite_is_named_whatever_block_it_stands_in(monkeypatch, row):
    monkeypatch.setattr(arrays, "CHECKED", 7)
    values = np.zeros((21, 2), dtype=np.float32)
    assert arrays.row_not_finite(values) is None
    values[row, 1], values[20, 0] = np.nan, np.inf
    assert arrays.row_not_finite(values) == row
