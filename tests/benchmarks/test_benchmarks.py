"""The benchmark scripts: peers against loops, the table's columns, the results file's keys."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import oracles_peers as oracle
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import beds  # noqa: E402
import downstream  # noqa: E402
import head  # noqa: E402
import precision  # noqa: E402
import quality  # noqa: E402
import table  # noqa: E402
from peers import PEERS, Case, Verdict  # noqa: E402
from peers.base import K  # noqa: E402
from peers.knn_shapley import knn_shapley  # noqa: E402
from scoring import figures  # noqa: E402

from fercleaner.core.errors import InputError  # noqa: E402
from fercleaner.noise.injection import parse  # noqa: E402


@pytest.fixture(scope="module", params=[0, 1, 2])
def case(request: pytest.FixtureRequest) -> Case:
    """40 faces of three classes, the last alone in its class, some of one group, one with no vector or neighbor."""
    rng = np.random.default_rng(request.param)
    n, c = 40, 4
    given = rng.integers(0, c - 1, n)
    given[-1] = c - 1
    vectors = np.eye(c)[given] @ rng.normal(size=(c, 6)) + 0.8 * rng.normal(size=(n, 6))
    vectors[5] = 0
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = (vectors / np.where(length > 0, length, 1)).astype(np.float32)
    group = np.arange(n)
    group[10:13] = 10
    cosine = (vectors @ vectors.T).astype(np.float64)
    cosine[group[:, None] == group] = -np.inf
    indices = np.argsort(-cosine, axis=1, kind="stable")[:, :7]
    similarity = np.take_along_axis(cosine, indices, 1).astype(np.float32)
    indices[5], similarity[5] = -1, 0
    indices[7, 4:], similarity[7, 4:] = -1, 0
    similarity[8, 5:] = -0.3
    posterior = rng.dirichlet(np.ones(c), n)
    return Case(given, c, vectors, group, indices, similarity, posterior, rng.normal(size=n))


def test_simifeat_follows_its_formula(case: Case) -> None:
    scores, flags, votes = oracle.simifeat(case.given, case.indices, case.similarity, case.n_classes)
    said = PEERS["SimiFeat"](case)
    np.testing.assert_allclose(said.suspicion, scores, atol=1e-9)
    np.testing.assert_allclose(said.distribution, votes, atol=1e-9)
    assert said.flagged.tolist() == flags


def test_deep_knn_counts_every_neighbor_the_same(case: Case) -> None:
    scores, flags = oracle.deep_knn(case.given, case.indices, case.n_classes)
    said = PEERS["deep k-NN"](case)
    np.testing.assert_allclose(said.suspicion, scores, atol=1e-12)
    assert said.flagged.tolist() == flags


def test_relation_graph_sums_signed_kernels(case: Case) -> None:
    expected = oracle.relation_graph(case.given, case.vectors, case.posterior, case.group)
    np.testing.assert_allclose(PEERS["Neural Relation Graph"](case).suspicion, expected, atol=1e-5)


def test_class_distance_compares_nearest_of_both_kinds(case: Case) -> None:
    expected = oracle.class_distance(case.given, case.vectors, case.group)
    said = PEERS["SelfClean ratio"](case).suspicion
    np.testing.assert_allclose(said, expected, atol=1e-5)
    assert said[-1] == 1.0


@pytest.mark.parametrize("voters", [3, 50])
def test_knn_shapley_follows_the_recursion(case: Case, voters: int) -> None:
    expected = oracle.knn_shapley(case.given, case.vectors, case.group, voters)
    np.testing.assert_allclose(knn_shapley(case, voters).suspicion, expected, atol=1e-9)


def test_knn_shapley_recursion_gives_shapley_values() -> None:
    vectors = [[np.cos(a), np.sin(a)] for a in (0.0, 0.1, 0.3, 0.6, 1.0, 1.5)]
    given = [0, 1, 0, 0, 1, 0]
    match = [float(y == given[0]) for y in given[1:]]
    # the others share a group, so face 0 alone is a test point for them
    values = [-6 * v for v in oracle.knn_shapley(given, vectors, [0, 1, 1, 1, 1, 1], 2)]
    np.testing.assert_allclose(values[1:], oracle.shapley_by_definition(match, 2), atol=1e-12)


def test_bars(case: Case) -> None:
    frequency = [np.mean(case.given == y) for y in case.given]
    np.testing.assert_allclose(PEERS["class prior"](case).suspicion, 1 - np.array(frequency))
    differs = [max(range(4), key=lambda c: row[c]) != y for row, y in zip(case.posterior, case.given, strict=True)]
    assert PEERS["prediction differs"](case).flagged.tolist() == differs
    assert (PEERS["linear AUM"](case).suspicion == -case.margin).all()


def test_quality_writes_every_tool_and_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--data", "digits", "--noise", "symmetric:0.2", "--limit", "300", "--results", str(tmp_path)]
    tools = ["--methods", "hypergraph", "landmark", "au-prior", "--peers", "SimiFeat", "class prior", "KNN-Shapley"]
    assert quality.main([*common, "--seeds", "0", "1", *tools]) == 0
    content = json.loads((tmp_path / "quality-digits-symmetric-0.2.json").read_text())
    expected = {"bed", "noise", "faces", "judged", "seeds", "summary", "runs", "machine", "versions", "commit", "date"}
    assert expected | {"total", "views", "skipped", "methods"} <= content.keys()
    assert content["faces"] == 300
    assert content["total"]["seconds"] > 0
    assert content["total"]["peak_mib"] > 50
    assert set(content["summary"]) == {
        "given label",
        "hypergraph",
        "landmark",
        "SimiFeat",
        "class prior",
        "KNN-Shapley",
    }
    assert "action units" in content["skipped"]["au-prior"]
    figure = content["summary"]["SimiFeat"]["6"]
    assert figure["average_precision"]["mean"] > 0.8
    assert figure["average_precision"]["runs"] == 2
    assert content["summary"]["given label"]["6"]["refined_accuracy"]["mean"] == pytest.approx(0.8)
    assert content["summary"]["class prior"]["6"]["flag_f1"]["mean"] is None
    page = (tmp_path / "quality.md").read_text()
    for _, heading, _ in table.COLUMNS:
        assert f"| {heading} |" in page
    gap = content["summary"]["hypergraph"]["6"][table.GAP]
    assert 0 < abs(gap["mean"]) < 1
    line = next(line for line in page.splitlines() if line.startswith("| `hypergraph` |"))
    shown = line.split("|")[2 + [key for key, _, _ in table.COLUMNS].index(table.GAP)]
    assert f"{gap['mean']:.3f}" in shown
    assert "Flag calibration is the mean suspicion" in page
    assert "`hypergraph`" in page
    other = [*common, "--limit", "200", "--seeds", "0", "--methods", "--peers", "class prior", "--keep"]
    assert quality.main(other) == 1
    assert "without --keep" in capsys.readouterr().err
    more = ["--methods", "hypergraph", "hypergraph,k=5", "--peers", "class prior", "--keep"]
    assert quality.main([*common, "--seeds", "1", "2", *more]) == 0
    kept = json.loads((tmp_path / "quality-digits-symmetric-0.2.json").read_text())
    assert kept["seeds"] == [0, 1, 2]
    assert kept["methods"]["hypergraph,k=5"]["k"] == 5
    runs = {name: summary["6"]["average_precision"]["runs"] for name, summary in kept["summary"].items()}
    assert (runs["hypergraph"], runs["class prior"], runs["SimiFeat"], runs["hypergraph,k=5"]) == (3, 3, 2, 2)
    assert kept["skipped"]["SimiFeat"] == "for seeds other than 0, 1"
    assert "class prior" not in kept["skipped"]


def test_figures_of_a_perfect_and_a_blind_verdict() -> None:
    given, label = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    votes = np.eye(2)[label]
    judged = np.ones(4, dtype=bool)
    best = figures(
        Verdict((given != label).astype(float), given != label, label, votes), given, label, votes, judged, ("a", "b")
    )
    assert [best[k] for k in ("auroc", "average_precision", "flag_f1", "refined_accuracy", "js")] == [1, 1, 1, 1, 0]
    no_evidence = figures(Verdict(np.zeros(4)), given, label, votes, judged, ("a", "b"))
    assert no_evidence["auroc"] == 0.5
    assert no_evidence["flag_f1"] is None


def test_beds_say_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no labels\.csv"):
        beds.open_bed(str(tmp_path))
    digits = beds.open_bed("digits")
    with pytest.raises(InputError, match="came with clean labels"):
        quality.relabeled(digits, parse("human"), 0, digits.views[0].values)
    part = digits.sample(50)
    assert part.samples.ids.tolist() == digits.sample(50).samples.ids.tolist()
    assert (part.label == part.samples.label).all()
    assert K == 50


def test_the_drawn_bed_brings_landmarks_and_action_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beds, "DEMO_FACES", 42)
    drawn = beds.open_bed("demo")
    assert len(drawn.samples) == 42
    assert (drawn.label == drawn.samples.label).all()
    assert drawn.landmarks is not None
    assert drawn.landmarks.found.all()
    half = drawn.subset(np.arange(0, 42, 2))
    assert half.samples.ids.tolist() == drawn.samples.ids[::2].tolist()
    assert (half.views[0].values == drawn.views[0].values[::2]).all()
    assert (half.landmarks.points == drawn.landmarks.points[::2]).all()


def test_precision_counts_flags_against_the_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On digits, which stand apart, flags keep about what is asked for; an entry replaces its own."""
    monkeypatch.setattr(precision, "stamp", lambda: {"date": "today"})
    common = ["--data", "digits", "--limit", "500", "--methods", "hypergraph", "--out", str(tmp_path / "p.json")]
    assert precision.main([*common, "--noise", "symmetric:0.2", "symmetric:0"]) == 0
    assert precision.main([*common, "--noise", "symmetric:0", "--methods", "hypergraph", "threshold"]) == 0
    entries = {e["noise"]: e for e in json.loads((tmp_path / "p.json").read_text())["entries"]}
    assert entries.keys() == {"symmetric:0.2", "symmetric:0"}
    noisy, clean = (entries[name]["methods"]["hypergraph"] for name in ("symmetric:0.2", "symmetric:0"))
    assert entries["symmetric:0.2"]["wrong"] == pytest.approx(0.2, abs=0.01)
    assert abs(noisy["rate"] - 0.2) < 0.05
    assert noisy["transition_error"] < 0.05
    kept = [at["precision"] for at in noisy["flags"].values()]
    assert kept == sorted(kept)
    assert all(asked - 0.15 < share for asked, share in zip(precision.WANTED, kept, strict=True))
    assert entries["symmetric:0"]["wrong"] == 0
    assert entries["symmetric:0"]["methods"].keys() == {"hypergraph", "threshold"}  # this one needs a probe
    assert clean["flags"]["0.9"]["flagged"] <= 25


def test_held_back_faces_come_in_whole_groups() -> None:
    digits = beds.open_bed("digits")
    group = np.array([f"g{row // 5}" for row in range(len(digits.samples))])
    aside = downstream.held_back(replace(digits, samples=digits.samples.replacing(group=group)))
    assert 0.15 < aside.mean() < 0.35
    assert all(len(set(aside[group == name])) == 1 for name in np.unique(group))


def test_ways_to_train_on_a_verdict() -> None:
    given, soft = np.array([0, 1]), np.array([[0.2, 0.8], [0.4, 0.6]])
    verdict = Verdict(np.zeros(2), np.array([True, False]), np.array([1, 1]), soft, np.array([0.1, 0.9]))
    ways = downstream.ways(verdict, given, 2)
    assert ways["drop"].weight.tolist() == [0, 1]
    assert ways["relabel"].distribution.tolist() == [[0, 1], [0, 1]]
    assert (ways["weight"].distribution.tolist(), ways["weight"].weight.tolist()) == ([[1, 0], [0, 1]], [0.1, 0.9])
    assert ways["soft"].distribution.tolist() == soft.tolist()
    assert downstream.ways(Verdict(np.zeros(2)), given, 2) == {}


def test_the_classifier_learns_and_leaves_out_faces_of_no_weight() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 200)
    inputs = (np.eye(2)[label] + 0.1 * rng.normal(size=(200, 2))).astype(np.float32)
    wrong = np.arange(200) < 120
    targets = downstream.Targets(np.eye(2)[np.where(wrong, 1 - label, label)], (~wrong).astype(np.float64))
    assert (head.train(inputs, targets, inputs, 0).argmax(1) == label).mean() > 0.97


def test_classes_balanced_by_hand() -> None:
    digits = beds.open_bed("digits")
    part = digits.even(20, 6.0)
    assert part.name == "even-digits"
    assert np.bincount(part.label).tolist() == [20] * 10
    assert part.samples.ids.tolist() == digits.even(20, 6.0).samples.ids.tolist()
    counts = np.bincount(digits.label)
    assert np.bincount(digits.even(180, 6.0).label).tolist() == np.minimum(counts, 180).tolist()


def test_flag_calibration_is_best_nearest_zero() -> None:
    def content(noise: str, gaps: dict[str, float | None]) -> dict[str, object]:
        summary = {
            name: {
                "ours": False,
                "peak_mib": None,
                "6": {key: {"mean": gap if key == table.GAP else 0.5, "spread": 0.0} for key, _, _ in table.COLUMNS},
            }
            for name, gap in gaps.items()
        }
        return {
            "bed": "demo",
            "noise": noise,
            "faces": 9,
            "judged": {"6": 9},
            "summary": summary,
            "seeds": [0],
            "machine": {"processor": "one", "cores": 1, "threads": 1},
            "versions": {"fercleaner": "0"},
            "commit": "0" * 40,
            "uncommitted_changes": False,
            "date": "2026-01-01T00:00:00Z",
            "skipped": {},
            "runs": [{"tool": name, "seconds": 1.0, "cpu_seconds": 1.0} for name in gaps],
        }

    def column(text: str) -> dict[str, str]:
        place = 2 + [key for key, _, _ in table.COLUMNS].index(table.GAP)
        rows = [line.split("|") for line in text.splitlines() if line.startswith("| ")]
        return {row[1].strip(): row[place].strip() for row in rows}

    first = content("symmetric:0.2", {"sure": 0.3, "modest": -0.1, "no flags": None, "given label": 0.0})
    again = content("pairs:0.2", {"sure": 0.05, "modest": -0.14, "no flags": 0.1, "given label": 0.0})
    head = {"tool": "flag calibration"}
    told = {"sure": "0.300", "modest": "**-0.100**", "no flags": "", "given label": ""}
    assert column(table.one_table(first, "6")) == head | told
    told = {"sure": "**0.050**", "modest": "-0.140", "no flags": "0.100", "given label": ""}
    assert column(table.one_table(again, "6")) == head | told
    told = {"sure": "0.175", "modest": "**0.120**", "no flags": "", "given label": ""}
    assert column(table.averages([first, again])) == head | told
