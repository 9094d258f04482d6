"""The projected embedding: taught by refined labels, written as vectors with ids, and behind a command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_landmarks import drawn_points
from fercleaner.cli.app import app
from fercleaner.cli.project import DIMENSIONS, SHARE
from typer.testing import CliRunner

from fercleaner.core.errors import InputError, StoreError
from fercleaner.core.evidence import Evidence
from fercleaner.core.refined import RefinedSet
from fercleaner.core.types import Features, Landmarks, Posteriors, Samples
from fercleaner.encoders.vectors import read_view
from fercleaner.methods.landmark import contrast
from fercleaner.methods.threshold import Threshold
from fercleaner.pipeline import embedding
from fercleaner.pipeline.inputs import Callbacks, Sources
from fercleaner.results import parquet
from fercleaner.results.assemble import assembled

N, CLASSES = 96, ("anger", "happiness", "sadness")


def _set() -> tuple[Samples, Features, Landmarks, np.ndarray]:
    """Return faces whose class shows faintly in the vectors and clearly in the mouth, and the class of each."""
    rng = np.random.default_rng(0)
    truth = np.arange(N) % 3
    ids = np.array([f"face-{i:03d}" for i in range(N)])
    samples = Samples(ids, CLASSES, np.eye(3, dtype=np.float32)[truth], np.ones(N, dtype=bool), np.full(N, ""))
    values = rng.normal(size=(3, 12))[truth] * 0.5 + rng.normal(size=(N, 12))
    found = np.ones(N, dtype=bool)
    found[5] = False
    view = Features("emotion", ids, np.where(found[:, None], values, 0).astype(np.float32), found)
    parts = ((17, 50, 60), (5, 35, 30), (5, 65, 30), (9, 50, 50), (6, 35, 40), (6, 65, 40), (20, 50, 75))
    middle = np.repeat([part[1:] for part in parts], [part[0] for part in parts], axis=0)
    points = middle + rng.normal(size=(68, 2)) * 4 + rng.normal(size=(N, 68, 2))
    points[:, 48:, 1] += 6.0 * (truth - 1)[:, None]
    seen = np.ones(N, dtype=bool)
    seen[7] = False
    points[7] = 0
    marks = Landmarks(ids, points.astype(np.float32), seen, seen.astype(np.float32))
    return samples, view, marks, truth


def _refined(samples: Samples) -> RefinedSet:
    probe = Posteriors("probe", samples.ids, CLASSES, 0.1 / 3 + 0.9 * samples.given, np.ones(N, dtype=bool))
    evidence = Evidence(samples, posteriors={"probe": probe})
    return assembled(samples, evidence, Threshold().refine(evidence, np.random.default_rng(0)), index="exact", seed=0)


def _agreement(values: np.ndarray, found: np.ndarray, truth: np.ndarray) -> float:
    """Return how many of the five nearest others are of the same class."""
    rows = values[found] / np.linalg.norm(values[found], axis=1, keepdims=True)
    cosine = rows @ rows.T
    np.fill_diagonal(cosine, -9)
    near = np.argsort(-cosine, axis=1)[:, :5]
    return float((truth[found][near] == truth[found][:, None]).mean())


def test_faces_of_one_label_are_drawn_together() -> None:
    torch.set_num_threads(1)
    samples, view, marks, truth = _set()
    made = embedding.project_set(samples, _refined(samples), Sources(views=[view], landmarks=marks), dimensions=8)
    assert made.view == "contrast"
    np.testing.assert_array_equal(made.ids, samples.ids)
    np.testing.assert_array_equal(made.found, view.found)  # a face without landmarks is projected, too
    np.testing.assert_allclose(np.linalg.norm(made.values[made.found], axis=1), 1, atol=1e-5)
    assert _agreement(made.values, made.found, truth) > _agreement(view.values, view.found, truth) + 0.05
    kept = embedding.project_set(
        samples, _refined(samples), Sources(views=[view], landmarks=marks), dimensions=8, share=0.0
    )
    assert not kept.values[:, -8:].any()


def test_faces_that_the_refined_file_does_not_hold_teach_nothing() -> None:
    samples, _, _, _ = _set()
    refined, said = _refined(samples), []
    order = np.random.default_rng(1).permutation(N)
    shuffled = embedding._bank(
        samples.replacing(ids=samples.ids[order], given=samples.given[order]), refined, Callbacks(note=said.append)
    )
    np.testing.assert_array_equal(shuffled, refined.distribution[order].astype(np.float64))
    assert not said
    names = samples.ids.copy()
    names[:3] = ["new-1", "new-2", "new-3"]
    bank = embedding._bank(samples.replacing(ids=names), refined, Callbacks(note=said.append))
    np.testing.assert_allclose(bank[:3], 1 / 3)
    assert (contrast.pseudo_labels(bank)[:3] < 0).all()
    assert said == ["3 of 96 faces are not in the refined file; they are not trained on."]
    with pytest.raises(
        InputError,
        match=r"None of the 96 faces of this set \(first: xface-000\) is in the refined",
    ):
        embedding._bank(samples.replacing(ids=np.char.add("x", samples.ids)), refined, Callbacks())


def test_what_is_missing_is_said() -> None:
    samples, view, marks, _ = _set()
    refined = _refined(samples)
    with pytest.raises(InputError, match="needs landmarks: add --landmarks builtin"):
        embedding.project_set(samples, refined, Sources(views=[view]))
    with pytest.raises(InputError, match="needs an expression view: add --encoder"):
        embedding.project_set(samples, refined, Sources(landmarks=marks))
    with pytest.raises(InputError, match="dimensions is 0"):
        embedding.project_set(samples, refined, Sources(views=[view], landmarks=marks), dimensions=0)
    with pytest.raises(InputError, match=r"share = 1.5 must lie in \[0, 1\]"):
        embedding.project_set(samples, refined, Sources(views=[view], landmarks=marks), share=1.5)


def test_vectors_are_read_back(tmp_path: Path) -> None:
    samples, view, _, _ = _set()
    file = tmp_path / "set.npz"
    embedding.write_vectors(view, file)
    back = read_view("again", file, samples)
    np.testing.assert_array_equal(back.values, view.values)
    np.testing.assert_array_equal(back.found, view.found)
    with pytest.raises(StoreError, match="exists already"):
        embedding.write_vectors(view, file)
    embedding.write_vectors(replace(view, values=view.values * 2), file, overwrite=True)
    assert np.load(file, allow_pickle=False)["values"][0] == pytest.approx(2 * view.values[0])
    with pytest.raises(InputError, match=r"vectors are written as .npz"):
        embedding.write_vectors(view, tmp_path / "set.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["set.npz"]


def test_the_command_writes_vectors_with_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    samples, view, marks, truth = _set()
    monkeypatch.chdir(tmp_path)
    lines = [f"{face},{CLASSES[label]}" for face, label in zip(samples.ids, truth, strict=True)]
    Path("faces.csv").write_text("image,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    np.save("emotion.npy", np.where(view.found[:, None], view.values, np.nan))
    np.save("points.npy", np.where(marks.found[:, None, None], drawn_points(N), np.nan))
    parquet.write(_refined(samples), "faces.refined.parquet")
    asked = ["project", "faces.csv", "--view", "emotion=emotion.npy", "--landmarks", "points:points.npy", "--json"]
    ran = CliRunner().invoke(app, asked)
    assert ran.exit_code == 0, ran.output
    width = view.values.shape[1] + DIMENSIONS
    assert json.loads(ran.stdout) == {"file": "faces.project.npz", "faces": N, "found": N - 1, "columns": width}
    assert "do not judge the same labels by them" in ran.stderr
    held = np.load("faces.project.npz", allow_pickle=False)
    np.testing.assert_array_equal(held["ids"], samples.ids)
    assert held["values"].shape == (N, width)
    assert np.isnan(held["values"][5]).all()
    again = CliRunner().invoke(app, asked)
    assert again.exit_code == 1
    assert "faces.project.npz exists already" in again.stderr


def test_the_command_has_the_defaults_of_the_library() -> None:
    assert SHARE == contrast.SHARE
    assert embedding.project_set.__kwdefaults__["dimensions"] == DIMENSIONS
