"""`fercleaner train` from sets and refined files, and its messages."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from fercleaner.cli.app import app
from training_cases import drawn, drawn_folder
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


def manifest(file: Path, site: tuple[str, ...] = ("east", "west")) -> Path:
    """Write the drawn faces as a table with a clinic; ids are given, since faces are dealt by them."""
    samples = drawn()
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        f"{k},{path},{samples.classes[label]},{site[k % len(site)]}"
        for k, (path, label) in enumerate(zip(samples.paths, samples.label, strict=True))
    ]
    file.write_text("id,image,label,clinic\n" + "\n".join(rows) + "\n")
    return file


def refused(*words: Any) -> str:
    """Run a training that must be refused; return the message on one line."""
    done = run(*words, *SHORT)
    assert done.exit_code == 1, done.output
    return " ".join(done.stderr.split())


@pytest.mark.parametrize("more", [[], ["--force"]], ids=["plain", "force"])
@pytest.mark.parametrize("sites", [[], ["--site-by", "clinic"]], ids=["one", "sites"])
def test_what_is_read_is_never_written_over(more: list[str], sites: list[str], tmp_path: Path) -> None:
    """A table named as the log, in a folder without and with a training; in a site's folder; a set's own folder."""
    table = manifest(tmp_path / "l" / "log.csv")
    before = table.read_bytes()
    assert "own input is never overwritten" in refused(table, "--out", tmp_path / "l", *sites, *more)
    if sites:
        assert run(table, *SHORT, *sites, "--out", tmp_path / "t").exit_code == 0
        table.replace(tmp_path / "t" / "east" / "log.csv")
        table = tmp_path / "t" / "east" / "log.csv"
    else:
        (tmp_path / "t").mkdir()
        (tmp_path / "t" / ".fercleaner-training").write_text('{"sites": []}')
        table = table.replace(tmp_path / "t" / "log.csv")
    assert "own input is never overwritten" in refused(table, "--out", tmp_path / "t", *sites, *more)
    assert table.read_bytes() == before
    folder = drawn_folder()
    names = sorted(path.name for path in folder.iterdir())
    said = refused(folder, "--out", folder, "--test-split", "test", *more)
    assert "lies in the set" in said
    assert sorted(path.name for path in folder.iterdir()) == names


def test_a_split_is_on_one_side(tmp_path: Path) -> None:
    said = refused(drawn_folder(), "--train-split", "train", "--test-split", "train", "--out", tmp_path / "out")
    assert "Split 'train' is named by --train-split and by --test-split" in said
    assert not (tmp_path / "out").exists()


def test_faces_without_a_site_are_said_to_be_left_out(tmp_path: Path) -> None:
    table = manifest(tmp_path / "faces.csv", ("east", "west", "east", "west", ""))
    done = run(table, *SHORT, "--site-by", "clinic", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    said = " ".join(done.stderr.split())
    counts = [
        int(count) for count in re.findall(r"(\d+) of \d+ faces to (?:train|test) on name no site and are left", said)
    ]
    assert len(counts) == 2
    assert sum(counts) == 12  # every fifth of 64
    assert "holds a training of several sites (east, west)" in refused(table, "--out", tmp_path / "out", "--force")


def test_pictures_of_a_refined_file_are_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("here", "there", "there/else"):
        (tmp_path / folder).mkdir()
    shutil.copytree(drawn_folder(), tmp_path / "here" / "faces")
    monkeypatch.chdir(tmp_path / "here")
    refine = ["refine", "faces", "--method", "threshold", "--encoder", "hog", "--device", "cpu", "--no-cache"]
    assert CliRunner().invoke(app, [*refine, "--workers", "0", "--out", "../there/a.parquet"]).exit_code == 0
    monkeypatch.chdir(tmp_path / "there" / "else")
    done = run("../a.parquet", *SHORT)
    assert done.exit_code == 1
    assert "Name the set that was refined with --dataset SET, or where its pictures are with --images DIR" in " ".join(
        done.stderr.split()
    )
    for k, way in enumerate((["--images", "../../here"], ["--images", "../../here/faces"])):
        done = run("../a.parquet", *SHORT, *way, "--out", f"out{k}")
        assert done.exit_code == 0, done.output
    shown = CliRunner().invoke(app, ["show", "../a.parquet", "--duplicates"])
    assert "inside the set that was refined, name it: --dataset SET" in " ".join(shown.stderr.split())
    shutil.copytree(drawn_folder(), tmp_path / "there" / "faces")  # beside the refined file, as it was written
    shown = CliRunner().invoke(app, ["show", "../a.parquet", "--duplicates"])
    assert "Pictures compared: 64 of 64" in shown.stderr
