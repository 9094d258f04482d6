"""Labels of several people: Dawid-Skene against its formula, known people recovered, tables read."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from cli_runs import NAMES, fails, labeled_vectors, run

import fercleaner
from fercleaner.core.errors import InputError
from fercleaner.datasets.annotators import annotated, read_annotations
from fercleaner.noise import annotators
from fercleaner.noise.annotators import Annotations, dawid_skene, report

pytest.importorskip("crowdkit", reason="the extra annotators is not installed")

CLASSES = ("anger", "fear", "happiness")
SKILL = (0.95, 0.85, 0.7, 0.5)


def people(n=600, seed=0):
    """Four people of known skill, each labeling three quarters of the faces; annotations and true classes."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    face, person, label = [], [], []
    for p, skill in enumerate(SKILL):
        for i in np.flatnonzero(rng.random(n) < 0.75).tolist():
            right = rng.random() < skill
            face.append(i)
            person.append(p)
            label.append(truth[i] if right else (truth[i] + rng.integers(1, 3)) % 3)
    names = tuple(f"p{p}" for p in range(4))
    return Annotations(n, CLASSES, names, *(np.array(column) for column in (face, person, label))), truth


def test_known_people_are_recovered_and_beat_the_majority():
    annotations, truth = people()
    found = dawid_skene(annotations)
    skill = found.confusion[:, range(3), range(3)].mean(1)
    assert np.abs(skill - SKILL).max() < 0.08
    votes = np.zeros((annotations.faces, 3))
    np.add.at(votes, (annotations.face, annotations.label), 1)
    seen = annotations.labeled
    accuracy = (found.distribution.argmax(1) == truth)[seen].mean()
    assert accuracy > (votes.argmax(1) == truth)[seen].mean() + 0.02
    assert np.allclose(found.distribution[seen].sum(1), 1)
    assert not found.distribution[~seen].any()


def test_the_posterior_is_that_of_the_formula():
    annotations, _ = people(200)
    found = dawid_skene(annotations)
    log = np.tile(np.log(found.prior), (annotations.faces, 1))
    for i, p, said in zip(annotations.face, annotations.person, annotations.label, strict=True):
        log[i] += np.log(found.confusion[p, :, said])
    expected = np.exp(log - log.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    seen = annotations.labeled
    assert np.abs(found.distribution - expected)[seen].mean() < 0.02  # crowd-kit's matrices have no prior labels


def test_the_report_orders_people_as_they_are():
    annotations, _ = people()
    found = dawid_skene(annotations)
    ids = np.array([f"face {i}" for i in range(annotations.faces)])
    about = report(annotations, found, ids, found.distribution)
    right = [person["right"] for person in about["people"]]
    assert right == sorted(right, reverse=True)
    for person, skill in zip(about["people"], SKILL, strict=True):
        assert person["low"] < person["right"] < person["high"]
        assert abs(person["right"] - skill) < 0.1
    pairs = {tuple(pair["people"]): pair for pair in about["pairs"]}
    assert len(pairs) == 6
    best, worst = pairs["p0", "p1"], pairs["p2", "p3"]
    assert best["kappa"] > worst["kappa"]
    assert best["low"] < best["same"] / best["faces"] < best["high"]
    asked = set(zip(annotations.face.tolist(), annotations.person.tolist(), strict=True))
    for question in about["ask"]:
        who = annotations.people.index(question["who"])
        assert (ids.tolist().index(question["id"]), who) not in asked
    json.dumps(about, allow_nan=False)


def test_the_views_are_heard_beside_the_people():
    """Three people share a mistake: labels alone believe them, distributions that know better do not."""
    n = 300
    truth = np.arange(n) % 3
    said = np.where(truth == 1, 0, truth)
    face, person = np.tile(np.arange(n), 4), np.repeat(np.arange(4), n)
    annotations = Annotations(n, CLASSES, ("a", "b", "c", "good"), face, person, np.concatenate([said] * 3 + [truth]))
    views = np.eye(3)[truth]
    about = report(annotations, dawid_skene(annotations), np.arange(n).astype(str), views)
    alone = {who["name"]: who["right"] for who in about["people"]}
    beside = {who["name"]: who["with_views"]["right"] for who in about["people"]}
    assert alone["a"] > alone["good"]
    assert beside["good"] == 1
    assert beside["a"] == pytest.approx(2 / 3)
    assert about["people"][0]["with_views"]["low"] < 2 / 3 < about["people"][0]["with_views"]["high"]


def test_tables_are_read_and_refused(tmp_path):
    labeled_vectors(tmp_path)
    samples = fercleaner.read(tmp_path / "faces.csv")
    ids = samples.ids.tolist()
    path = tmp_path / "people.csv"
    path.write_text(
        f"image,annotator,label\n{ids[0]},ann,Happy\n{ids[0]},ben,fear\n{ids[2]},ann,\nelsewhere,ann,fear\n"
    )
    found = read_annotations(path, samples)
    assert found.people == ("ann", "ben")
    assert list(zip(found.face, found.label, strict=True)) == [(0, 2), (0, 1)]
    started, _ = annotated(samples, found)
    assert started.labeled.tolist() == [True] + [False] * (len(ids) - 1)
    path.write_text(f"image,annotator,label\n{ids[0]},ann,fear\n{ids[0]},ann,anger\n")
    with pytest.raises(InputError, match=r"row 3: 'ann' labels the face a second time \(people.csv row 2 is the first"):
        read_annotations(path, samples)
    path.write_text("image,label\na,fear\n")
    with pytest.raises(InputError, match="has no column for the annotator"):
        read_annotations(path, samples)
    path.write_text("image,annotator,label\nx,ann,fear\n")
    with pytest.raises(InputError, match="none of its 1 names belongs to a face of the set"):
        read_annotations(path, samples)
    path.write_text(f"image,annotator,label\n{ids[0]},ann,joyless\n")
    with pytest.raises(InputError, match=r"people.csv row 2: .*'joyless'"):
        read_annotations(path, samples)


def test_refine_and_show_with_annotators(tmp_path, monkeypatch):
    monkeypatch.chdir(labeled_vectors(tmp_path, wrong=0))
    rng = np.random.default_rng(0)
    samples = fercleaner.read("faces.csv")
    lines = ["image,annotator,label"]
    for who, skill in (("ann", 0.9), ("ben", 0.6), ("eve", 0.75)):
        for name, label in zip(samples.ids.tolist(), samples.label.tolist(), strict=True):
            said = label if rng.random() < skill else (label + rng.integers(1, 4)) % 4
            lines.append(f"{name},{who},{NAMES[said]}")
    (tmp_path / "people.csv").write_text("\n".join(lines) + "\n")
    made = ("refine", "faces.csv", "--view", "v=v.npy", "--landmarks", "none", "--device", "cpu", "--no-cache")
    made = (*made, "--method", "hypergraph", "--set", "k=5", "--annotators", "people.csv")
    done = run(*made)
    assert "144 labels by 3 people" in done.stderr
    refined = fercleaner.load("faces.refined.parquet")
    assert (refined.label == samples.label).mean() > 0.9
    shown = run("show", "faces.refined.parquet").stdout
    assert "Whom to ask next" in shown
    assert "ann and ben" in shown
    people = refined.metadata["annotators"]["people"]
    assert max(people, key=lambda who: who["with_views"]["right"])["name"] == "ann"
    run("audit", "faces.refined.parquet", "--out", "audit")
    page = (tmp_path / "audit" / "index.html").read_text()
    assert "right, with the views" in page
    assert "ann and ben" in page
    data = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert data["annotators"]["people"] == people
    assert "no such file" in fails(*made, "--force", "--annotators", "nowhere.csv")


def test_pairs_of_thousands_of_people_are_those_of_every_pair_looked_at(monkeypatch):
    """By blocks of people; the first people of those with equally many faces in common."""
    monkeypatch.setattr(annotators, "PEOPLE_AT_ONCE", 7)
    rng = np.random.default_rng(3)
    person = np.repeat(np.arange(40), 9)
    face = np.concatenate([rng.permutation(30)[:9] for _ in range(40)])
    shuffled = rng.permutation(len(person))
    names = tuple(f"p{p}" for p in range(40))
    table = Annotations(30, ("a", "b"), names, face[shuffled], person[shuffled], rng.integers(0, 2, len(person)))
    said = [dict(zip(table.face[own], table.label[own], strict=True)) for own in table.person == np.arange(40)[:, None]]
    every = [(len(said[a].keys() & said[b].keys()), -a, -b) for a in range(40) for b in range(a + 1, 40)]
    wanted = [(-a, -b, n) for n, a, b in sorted(every, reverse=True)[: annotators.MOST]]
    found = annotators._pairs(table)
    assert [tuple(pair["people"]) for pair in found] == [(names[a], names[b]) for a, b, _ in wanted]
    for pair, (a, b, n) in zip(found, wanted, strict=True):
        same = sum(said[a][i] == said[b][i] for i in said[a].keys() & said[b].keys())
        assert (pair["faces"], pair["same"]) == (n, same)


def test_thousands_of_people_are_reported_on_in_seconds():
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(1000), 20)
    face = (person * 7 + np.tile(rng.permutation(8000)[:20], 1000)) % 8000
    table = Annotations(8000, ("a", "b"), tuple(map(str, range(1000))), face, person, rng.integers(0, 2, len(face)))
    started = time.process_time()
    assert len(annotators._pairs(table)) == annotators.MOST
    assert time.process_time() - started < 5  # half a second; every pair by itself took 13 to 30
