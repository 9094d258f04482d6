"""`refine` says before anything is computed what is of another kind, or not in the order of the set."""

import numpy as np
import pytest

from fercleaner import (
    ActionUnits,
    Callbacks,
    Features,
    Landmarks,
    Posteriors,
    Resources,
    Samples,
    Sources,
    audit,
    evaluate,
    load,
    methods,
    read,
    refine,
)
from fercleaner.core.errors import InputError
from fercleaner.results.parquet import write

IDS = tuple(f"f{row:02}" for row in range(24))
LABEL = np.arange(24) % 2
VALUES = np.random.default_rng(0).normal(size=(24, 3)) + 4 * LABEL[:, None]
ALL = np.ones(24, dtype=bool)
SET = Samples(IDS, ("x", "y"), np.eye(2)[LABEL], ALL, [""] * 24)
BACK = IDS[::-1]
METHOD = methods.build("threshold", {})


def view(ids=IDS, values=VALUES, **more):
    return Features("v", ids, values, ALL, **more)


def units(ids):
    return ActionUnits(ids, ("AU06",), np.ones((24, 1)), ALL, np.ones(24))


def points(ids):
    return Landmarks(ids, np.random.default_rng(1).random((24, 68, 2)), ALL, np.ones(24))


def shares(ids):
    return Posteriors("p", ids, ("x", "y"), np.full((24, 2), 0.5), ALL)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"views": [view(BACK)]}, r"View 'v': row 0 is 'f23', in the set 'f00'"),
        ({"views": [Features("v", IDS[:5], VALUES[:5], ALL[:5])]}, r"View 'v': 5 rows for the 24 faces"),
        ({"action_units": units(BACK)}, r"The action units: row 0 is 'f23'"),
        ({"landmarks": points(BACK)}, r"The landmarks: row 0 is 'f23'"),
        ({"posteriors": [shares(BACK)]}, r"Posteriors 'p': row 0 is 'f23'"),
        ({"identity": view(BACK)}, r"View 'v': row 0 is 'f23'"),
        ({"views": view()}, r"Sources\.views is a Features; expected a list of Features"),
        ({"views": {"v": VALUES}}, r"Sources\.views is a dict"),
        ({"views": [VALUES]}, r"Sources\.views holds a ndarray"),
        ({"encoders": ["hog"]}, r"Sources\.encoders holds text \('hog'\); .*fercleaner\.encoders\.build"),
        ({"landmarks": np.ones((24, 68, 2))}, r"Sources\.landmarks is a ndarray; fercleaner\.landmarks\.build"),
        ({"posteriors": [np.ones((24, 2))]}, r"Sources\.posteriors holds a ndarray"),
        ({"views": [view(values=VALUES[:, :0])]}, r"View 'v' has no columns"),
        ({"views": [view(spec={"a": np.float32(1)})]}, r"View 'v': its spec must hold JSON types"),
    ],
)
def test_evidence_of_another_kind_or_order(more, message):
    with pytest.raises(InputError, match=message):
        refine(SET, METHOD, Sources(**{"views": [view()], **more}))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"samples": "demo"}, r"samples is text \('demo'\); expected Samples"),
        ({"method": "consensus"}, r"method is text \('consensus'\); fercleaner\.methods\.build"),
        ({"sources": view()}, r"sources is a Features; expected Sources"),
        ({"resources": Resources(index="flat")}, r"index 'flat' is not known; choose auto, exact"),
        ({"resources": Resources(seed=-1)}, r"seed is -1"),
        ({"resources": Resources(seed="a")}, r"seed is 'a'"),
        ({"resources": Resources(workers=-1)}, r"workers is -1"),
        ({"resources": Resources(cache="folder")}, r"Resources\.cache is text \('folder'\); expected a FeatureCache"),
        ({"precision": "0.8"}, r"precision is '0\.8'; expected a share"),
    ],
)
def test_arguments_of_another_kind(more, message):
    with pytest.raises(InputError, match=message):
        refine(**{"samples": SET, "method": METHOD, "sources": Sources(views=[view()]), **more})


def test_one_split_may_be_named_without_a_list():
    halves = SET.replacing(split=["train"] * 12 + ["test"] * 12)
    one = refine(halves, METHOD, Sources(views=[view()]), learn_from="train")
    assert one.metadata["learn_from"] == ["train"]
    assert np.array_equal(
        one.distribution, refine(halves, METHOD, Sources(views=[view()]), learn_from=("train",)).distribution
    )


def test_readers_and_writers_say_what_they_take(tmp_path):
    table = {"image": ["a.jpg"], "label": ["happy"]}
    with pytest.raises(InputError, match="read takes the name of a folder or file; it was given a dict"):
        read(table)
    with pytest.raises(InputError, match="load takes the name of a file; it was given a NoneType"):
        load(None)
    with pytest.raises(InputError, match="what is written is a Samples; expected RefinedSet"):
        write(SET, tmp_path / "out.parquet")
    with pytest.raises(InputError, match=r"refined is text \('faces.parquet'\); expected RefinedSet"):
        audit("faces.parquet")
    with pytest.raises(InputError, match="near is '1'; expected a number"):
        Posteriors("m", IDS, ("x", "y"), np.full((24, 2), 0.5), ALL, near="1")
    assert not any(tmp_path.iterdir())


def test_evaluate_says_what_it_takes():
    refined = refine(SET, METHOD, Sources(views=[view()]))
    with pytest.raises(InputError, match=r"in this order; it was given a RefinedSet and a str"):
        evaluate(refined, "truth.csv")


def test_a_view_made_of_the_given_labels_is_said_to_be():
    rows, names = 120, tuple(f"g{row}" for row in range(120))
    label, noise = np.arange(rows) % 3, np.random.default_rng(5).normal(size=(rows, 3))
    faces = Samples(names, ("a", "b", "c"), np.eye(3)[label], np.ones(rows, bool), [""] * rows)

    def notes(values):
        said: list[str] = []
        sources = Sources(views=[Features("v", names, values, np.ones(rows, bool))])
        refine(faces, METHOD, sources, callbacks=Callbacks(note=said.append))
        return [text for text in said if "labels explain" in text]

    assert notes(np.eye(3)[label] + 0.03 * noise)[0].startswith("View 'v': the given labels explain 99")
    assert notes(np.eye(3)[label])[0].startswith("View 'v': the given labels explain 100 %")
    wrong = label.copy()
    wrong[::50] = (wrong[::50] + 1) % 3
    assert not notes(np.eye(3)[wrong] + 0.01 * noise)
