"""`fercleaner train` from sets and refined files, and its messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fercleaner.cli.app import app
from training_cases import drawn_folder
from typer.testing import CliRunner

SHORT = ["--backbone", "small", "--weights", "none", "--size", "32", "--device", "cpu", "--epochs", "1"]


def run(*words: Any) -> Any:
    return CliRunner().invoke(app, ["train", *map(str, words)])


def test_a_set_is_trained_on_and_tested_by_splits(tmp_path: Path) -> None:
    done = run(drawn_folder(), *SHORT, "--test-split", "test", "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["faces"] + found["tested"] == 64
    assert "Best epoch (1, chosen by the test faces)" in done.stderr
    assert (tmp_path / "out" / "MODEL_CARD.md").is_file()


def test_a_refined_file_is_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refine = ["refine", str(drawn_folder()), "--method", "threshold", "--encoder", "hog", "--device", "cpu"]
    assert CliRunner().invoke(app, [*refine, "--no-cache", "--workers", "0", "--out", "a.parquet"]).exit_code == 0
    for labels in ("refined", "weight", "relabel"):
        done = run("a.parquet", *SHORT, "--labels", labels, "--hold-back", "0.25", "--out", labels)
        assert done.exit_code == 0, done.output
        assert "A refined file holds no groups" in done.stderr
    done = run("a.parquet", "--dataset", drawn_folder(), *SHORT, "--recipe", "dnfer", "--train-split", "train")
    assert done.exit_code == 0, done.output
    assert "holds no groups" not in done.stderr
    assert Path("a.dnfer/model.safetensors").is_file()


def test_landmarks_come_from_a_file_or_the_builtin_model(tmp_path: Path) -> None:
    short = [*SHORT, "--recipe", "la-net", "--set", "queue=16", "--test-split", "test"]
    points = f"points:{drawn_folder() / 'landmarks.npz'}"
    done = run(drawn_folder(), *short, "--landmarks", points, "--out", tmp_path / "file", "--json")
    assert done.exit_code == 0, done.output
    assert 0 < json.loads(done.stdout)["last"]["landmarks"] < 40
    done = run(drawn_folder(), *short, "--landmarks", "none", "--out", tmp_path / "none")
    assert done.exit_code == 1
    assert "la-net learns from landmarks, and no face has any" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--recipe", "dnefr"], "'dnefr' is not a recipe"),
        (["--set", "epoch=3"], "soft has no setting 'epoch'"),
        (["--test-split", "val"], "No face is in split 'val'"),
        (["--labels", "drop"], "--labels drop needs a refined file: fercleaner refine"),
        (["--dataset", "."], "--dataset goes with a refined file"),
        (["--backbone", "resnet18"], "--backbone resnet18 is not known"),
    ],
)
def test_what_is_wrong_is_said(words: list[str], said: str, tmp_path: Path) -> None:
    done = run(drawn_folder(), *SHORT, "--out", tmp_path / "out", *words)
    assert done.exit_code == 1
    assert said in " ".join(done.stderr.split())
