"""The data of the page: counts against plain loops, intervals, who is shown, the map, packed columns, the schema."""

from __future__ import annotations

import base64
import json
from importlib.resources import files

import numpy as np
import pytest
from report_cases import CLASSES, refined_set

from fercleaner.core.errors import InputError
from fercleaner.core.types import Features, Landmarks, Posteriors, Samples
from fercleaner.datasets.truth import Truth
from fercleaner.extraction.images import FileImages
from fercleaner.report import Material, Options, audit
from fercleaner.report.data import AMBIGUOUS, CHANGED, FLAGGED, overview
from fercleaner.report.material import MARGIN, ambiguous, choose
from fercleaner.report.rates import OTHERS, by_column, wilson
from fercleaner.report.shown import kinds_of
from fercleaner.report.spread import components, laid_out


def vectors(refined, seed=0) -> Features:
    values = np.random.default_rng(seed).normal(size=(len(refined), 20)).astype(np.float32)
    values[:, :3] += 4 * refined.distribution
    return Features("v", refined.ids, values, np.ones(len(refined), bool))


def full_material(refined, folder) -> Material:
    n, c = len(refined), len(refined.classes)
    samples = Samples(
        refined.ids, refined.classes, refined.given, refined.labeled, refined.paths, split=refined.split,
        group=np.array([f"subject {i % 7}" for i in range(n)]), site=np.array([f"site {i % 2}" for i in range(n)]),
        images=FileImages(refined.paths.tolist()),
    )  # fmt: skip
    points = np.full((n, 68, 2), 30, dtype=np.float32)
    found = np.arange(n) % 9 != 0
    marks = Landmarks(refined.ids, np.where(found[:, None, None], points, 0), found, found.astype(np.float32))
    expert = Posteriors("model", refined.ids, refined.classes, np.full((n, c), 1 / c, np.float32), np.ones(n, bool))
    truth = Truth(refined.ids, refined.classes, None, refined.label, np.ones(n), np.ones(n), "truth.csv")
    ages = np.array([str(i) for i in range(n)])
    return Material(
        samples=samples, features={"v": vectors(refined)}, landmarks=marks, posteriors={"model": expert}, truth=truth,
        columns={"age": ages},
    )  # fmt: skip


def test_the_data_of_a_full_audit_follows_its_schema(tmp_path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(files("fercleaner.report").joinpath("schema.json").read_text(encoding="utf-8"))
    check = jsonschema.Draft202012Validator(schema)
    check.check_schema(schema)
    refined = refined_set(tmp_path)
    for material in (Material(), full_material(refined, tmp_path)):
        made = audit(refined, material)
        check.validate(json.loads(json.dumps(made.data)))
        check.validate(made.to_dict())
        assert "sprites" not in made.to_dict()
    assert {"age", "site", "split"} == {table["name"] for table in made.data["tables"]}
    assert made.data["calibration"]["judged"] == 60
    assert all(face["experts"] and face["support"].keys() == {"probe"} for face in made.data["shown"])
    with_points = [face for face in made.data["shown"] if face["points"]]
    assert with_points
    assert all(face["row"] % 9 for face in with_points)


@pytest.mark.parametrize("kind", ["builtin", "dataset"])
def test_landmarks_lie_in_the_face_that_a_box_cuts_out(tmp_path, kind) -> None:
    """A detector sees the face cut out; points that come with a set are those of the whole picture."""
    refined = refined_set(tmp_path)
    n, corner = len(refined), np.array([20.0, 10.0])
    boxes = np.tile(np.array([*corner, 52, 42], np.float32), (n, 1))
    samples = Samples(
        refined.ids, refined.classes, refined.given, refined.labeled, refined.paths, boxes=boxes,
        images=FileImages(refined.paths.tolist()),
    )  # fmt: skip
    at = np.array([8.0, 16.0])
    points = np.tile(at if kind == "builtin" else at + corner, (n, 68, 1)).astype(np.float32)
    found = np.ones(n, bool)
    marks = Landmarks(refined.ids, points, found, found.astype(np.float32), spec={"kind": kind})
    data = audit(refined, Material(samples=samples, landmarks=marks)).data
    side = data["sprites"]["faces"]["side"]
    assert all(face["points"][0] == (at * side / 32).tolist() for face in data["shown"])


def test_counts_against_plain_loops() -> None:
    refined = refined_set(None)
    data = overview(refined)
    given, label = refined.given_label, refined.label
    for i, row in enumerate(data["classes"]):
        assert row["given"] == sum(g == i for g in given)
        assert row["won"] == sum(g != i and r == i for g, r in zip(given, label, strict=True))
        assert row["lost"] == sum(g == i and r != i for g, r in zip(given, label, strict=True))
        assert row["refined"] == row["given"] + row["won"] - row["lost"]
        assert row["flagged"]["count"] == sum(f and g == i for f, g in zip(refined.flagged, given, strict=True))
        assert row["noise"]["low"] <= row["noise"]["high"]
    assert sum(map(sum, data["transition"]["counts"])) == 60
    first = data["pairs"][0]
    expected = [
        (CLASSES[a], CLASSES[b], sum(g == a and r == b for g, r in zip(given, label, strict=True)))
        for a in range(3)
        for b in range(3)
        if a != b
    ]
    assert first["of_given"]["count"] == max(count for _, _, count in expected)
    assert (first["given"], first["refined"], first["of_given"]["count"]) in expected
    top = np.sort(refined.distribution, axis=1)
    assert data["counts"]["ambiguous"]["count"] == sum(b - a < MARGIN for a, b in top[:, 1:])


@pytest.mark.parametrize(
    ("count", "total", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)]
)
def test_wilson_intervals(count, total, low, high) -> None:
    """The last is Newcombe's (1998) example."""
    assert wilson(count, total) == pytest.approx((low, high), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


def test_groups_by_hand() -> None:
    """Faces 0 to 9 are one group, the next ten another; the rest are alone."""
    from fercleaner.report.data import groups

    refined = refined_set(None)
    group = np.array([f"g{i // 10}" if i < 20 else f"alone {i}" for i in range(60)])
    faces = Samples(refined.ids, refined.classes, refined.given, refined.labeled, refined.paths, group=group)
    told = groups(refined, faces)
    assert told is not None
    assert (told["groups"], told["large"], told["unlike"]["count"], told["unlike"]["of"]) == (42, 2, 2, 2)
    assert {row["value"] for row in told["rows"]} == {"g0", "g1"}
    for row in told["rows"]:
        here = group == row["value"]
        assert row["flagged"]["count"] == refined.flagged[here].sum()
        assert row["noise"]["of"] == 10
        assert row["noise"]["low"] <= refined.changed[here].mean() <= row["noise"]["high"]
        assert row["labels"].startswith("4 ")
    alone = Samples(refined.ids, refined.classes, refined.given, refined.labeled, refined.paths)
    assert groups(refined, alone) is None


def test_numbers_are_cut_at_quintiles_and_rare_values_added_up() -> None:
    refined = refined_set(None)
    ages = np.array([str(20 + i) for i in range(60)])
    ages[3] = ""
    table = by_column(refined, "age", ages)
    assert table["cut"]
    assert [row["faces"] for row in table["rows"]] == [1, 12, 12, 12, 12, 11]
    assert table["rows"][1]["value"].startswith("1. 20 to ")
    assert sum(row["flagged"]["count"] for row in table["rows"]) == refined.flagged.sum()
    names = np.array([f"n{i}" if i > 9 else "common" for i in range(60)])
    table = by_column(refined, "name", names)
    assert not table["cut"]
    assert (table["values"], len(table["rows"])) == (51, 40)
    assert table["rows"][0]["value"] == "common"
    assert table["rows"][-1]["value"] == OTHERS
    assert sum(row["faces"] for row in table["rows"]) == 60


def test_shown_faces_are_the_suspicious_and_apart_from_them_the_ambiguous() -> None:
    refined = refined_set(None, 600)
    rows = choose(refined, 80)
    unsure = ambiguous(refined)
    assert len(rows) == len(set(rows.tolist())) == 80
    kinds = unsure[rows]
    assert not kinds[:60].any()
    assert kinds[60:].all()
    assert (refined.flagged | refined.changed)[rows[:60]].all()
    assert (np.diff(refined.quality[rows[:60]]) >= 0).all()
    assert {int(pair) for pair in refined.given_label[rows[:60]]} == {0, 1, 2}
    calm = refined_set(
        None, flagged=np.zeros(60, bool), distribution=np.eye(3)[np.arange(60) % 3], changed=np.zeros(60, bool)
    )
    assert len(choose(calm, 600)) == 48


def test_the_map_is_that_of_principal_components() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    refined = refined_set(None)
    values = vectors(refined).values.astype(np.float64)
    parts, explained = components(values, 2)
    oracle = decomposition.PCA(2).fit(values)
    assert explained == pytest.approx(oracle.explained_variance_ratio_)
    theirs = oracle.transform(values)
    for i in range(2):
        assert np.allclose(parts[:, i], theirs[:, i]) or np.allclose(parts[:, i], -theirs[:, i])
    laid = laid_out(refined, None)
    assert "no vectors" in laid.source
    assert ((laid.points >= 0) & (laid.points <= 1)).all()
    with pytest.raises(InputError, match="--map umap: choose one of pca, tsne"):
        laid_out(refined, None, "umap")


def test_t_sne_keeps_groups_together() -> None:
    pytest.importorskip("openTSNE")
    refined = refined_set(None, 90)
    values = np.random.default_rng(0).normal(size=(90, 10)).astype(np.float32)
    values[:, 0] += 30 * (np.arange(90) % 3)
    laid = laid_out(refined, Features("v", refined.ids, values, np.ones(90, bool)), "tsne")
    middles = np.stack([laid.points[i::3].mean(0) for i in range(3)])
    own = np.linalg.norm(laid.points - middles[np.arange(90) % 3], axis=1)
    other = np.linalg.norm(laid.points - middles[(np.arange(90) + 1) % 3], axis=1)
    assert (own < other).mean() > 0.95


def test_packed_columns_hold_every_face(tmp_path) -> None:
    refined = refined_set(None)
    points = audit(refined).data["points"]

    def unpack(text, kind):
        return np.frombuffer(base64.b64decode(text), dtype=kind)

    assert (unpack(points["given"], "<u2") == refined.given_label).all()
    assert (unpack(points["refined"], "<u2") == refined.label).all()
    state = unpack(points["state"], "u1")
    assert ((state & FLAGGED > 0) == refined.flagged).all()
    assert ((state & CHANGED > 0) == refined.changed).all()
    assert ((state & AMBIGUOUS > 0) == ambiguous(refined)).all()
    split = next(column for column in points["columns"] if column["name"] == "split")
    names = np.array(split["values"])[unpack(split["index"], "<u2")]
    assert (names == refined.split).all()


def test_reasons_are_told_apart() -> None:
    reason = "labeled sad; in doubt, no other label is likelier; but 6 of 10 nearest are sad; no AU4"
    reason += "; but probe says sad (0.9)"
    assert kinds_of(reason) == ["in doubt", "neighbors", "action units", "expert: probe"]
    assert kinds_of("labeled sad; no view of this face (truncated image): the label is kept") == ["no view of the face"]
    assert kinds_of("") == []


def test_what_does_not_fit_is_told() -> None:
    refined = refined_set(None)
    with pytest.raises(InputError, match=r"0 faces to show: name 1 to 5,000"):
        audit(refined, options=Options(shown=0))
    few = Samples(refined.ids[:5], refined.classes, refined.given[:5], refined.labeled[:5], refined.paths[:5])
    with pytest.raises(InputError, match="55 of 60 faces of the refined file are not in the set"):
        audit(refined, Material(samples=few))
    other = Samples(refined.ids, ("a", "b", "c"), refined.given, refined.labeled, refined.paths)
    with pytest.raises(InputError, match="Read it with the --classes"):
        audit(refined, Material(samples=other))
