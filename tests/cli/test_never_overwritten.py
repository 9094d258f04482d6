"""No command overwrites what it reads: by its name, through a symbolic or a hard link, with --force or without."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_runs import fails, run
from drawn_landmarks import drawn_points

from fercleaner.demo import draw_dataset

FACES = 48
SMALL = ("--method", "hypergraph", "--set", "k=5", "--device", "cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A set as Parquet, with all that can stand beside it, and a refined file of it."""
    import pandas as pd

    folder = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    classes = np.array(["anger", "fear", "happiness"])
    labels = np.arange(FACES) % 3
    ids = np.array([f"f{i:02d}.png" for i in range(FACES)])
    values = (np.eye(3)[labels] * 3 + rng.normal(size=(FACES, 3)) * 0.3).astype(np.float32)
    before = Path.cwd()
    os.chdir(folder)
    try:
        pd.DataFrame({"image": ids, "label": classes[labels]}).to_parquet("faces.parquet")
        pd.DataFrame({"image": ids, "label": classes[labels]}).to_csv("labels.csv", index=False)
        named = {f"v{i}": values[:, i] for i in range(3)}
        pd.DataFrame({"id": ids, **named}).to_parquet("vectors.parquet")
        np.savez("vectors.npz", ids=ids, values=values)
        np.savez("points.npz", ids=ids, points=drawn_points(FACES).astype(np.float32))
        scores = pd.DataFrame(np.full((FACES, 3), 1 / 3), columns=classes)
        scores.insert(0, "id", ids)
        scores.to_parquet("scores.parquet")
        run("refine", "faces.parquet", "--view", "v=vectors.npz", *SMALL)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def aliases(name: str) -> list[str]:
    """The file's own name, a symbolic link, a link to that, and a hard link; endings kept."""
    ending = Path(name).suffix
    os.symlink(name, f"soft{ending}")
    os.symlink(f"soft{ending}", f"softer{ending}")
    os.link(name, f"hard{ending}")
    return [name, f"soft{ending}", f"softer{ending}", f"hard{ending}"]


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (("refine", "faces.parquet", "--view", "v=vectors.npz"), "faces.parquet"),
        (("refine", "labels.csv", "--view", "v=vectors.parquet"), "vectors.parquet"),
        (
            ("refine", "labels.csv", "--view", "v=vectors.npz", "--posteriors", "mine=scores.parquet,validated"),
            "scores.parquet",
        ),
        (("project", "labels.csv", "--view", "v=vectors.npz"), "vectors.npz"),
        (
            ("project", "labels.csv", "--view", "v=vectors.npz", "--landmarks", "points:points.npz"),
            "points.npz",
        ),
    ],
)
def test_out_is_none_of_the_inputs(here, words, target):
    names = aliases(target)
    before = contents(here)
    for name in names:
        for force in ((), ("--force",)):
            message = fails(*words, "--out", name, *force)
            assert f"{name} is {target}, which this command reads; own input is never overwritten" in message, message
    assert contents(here) == before


@pytest.mark.parametrize(
    "words", [("export", "faces.refined.parquet"), ("review", "faces.refined.parquet", "--top", "9", "--out")]
)
def test_lists_replace_neither_the_set_nor_what_people_filled_in(here, words):
    os.symlink("labels.csv", "soft.csv")
    before = contents(here)
    made_from_csv = here / "of_csv.refined.parquet"
    run("refine", "labels.csv", "--view", "v=vectors.npz", "--out", made_from_csv, *SMALL)
    for name in ("labels.csv", "soft.csv"):
        message = fails(words[0], made_from_csv.name, *words[2:], name, "--force")
        assert "never overwritten" in message
    assert {name: content for name, content in contents(here).items() if name in before} == before


def test_a_list_that_was_filled_in_is_kept(here):
    run("review", "faces.refined.parquet", "--top", "5", "--out", "list.csv")
    run("review", "faces.refined.parquet", "--top", "5", "--out", "list.csv", "--force")
    lines = Path("list.csv").read_text().splitlines()
    filled = "\n".join([lines[0], *(line + "keep" for line in lines[1:])]) + "\n"
    Path("list.csv").write_text(filled)
    message = fails("review", "faces.refined.parquet", "--top", "9", "--out", "list.csv", "--force")
    assert "list.csv holds decisions about 5 faces and is never overwritten" in message
    assert Path("list.csv").read_text() == filled


def test_an_export_is_no_folder_that_is_read(here):
    run("export", "faces.refined.parquet", "clean", "--to", "manifest", "--dataset", "faces.parquet")
    before = contents(here / "clean")
    run("refine", "clean/faces.parquet", "--view", "v=vectors.npz", "--out", "again.refined.parquet", *SMALL)
    os.symlink("clean", "soft")
    for name in ("clean", "soft"):
        words = ("export", "again.refined.parquet", name, "--to", "manifest", "--dataset", "clean/faces.parquet")
        message = fails(*words, "--force")
        assert "which this command reads" in message or "is there already and no folder" in message
    assert contents(here / "clean") == before


def test_a_set_s_own_folder_gets_no_page_no_vectors_and_no_export(tmp_path, monkeypatch):
    """By its name and through a link; also where the refined file alone says which set it was made from."""
    monkeypatch.chdir(tmp_path)
    draw_dataset(tmp_path / "faces", faces=30, noise_rate=0.1)
    hog = ("--encoder", "hog", "--landmarks", "none", "--device", "cpu", "--no-cache")
    run("refine", "faces", *hog, "--method", "hypergraph", "--set", "k=5")
    run("extract", "faces", "--to", "vectors", *hog[:-1])
    (tmp_path / "link").symlink_to("faces")
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    for folder in ("faces", "link"):
        reading = f"{folder} is a folder that this command reads. Choose another folder."
        inside = "lies in the set (faces), which is read and never written to. Choose another folder."
        for words in (
            ("audit", "faces", *hog, "--out", folder),
            ("audit", "faces.refined.parquet", "--out", folder, "--no-checks"),
            ("audit", "faces.refined.parquet", "--dataset", "faces", *hog, "--out", folder),
            ("extract", "faces", *hog[:-1], "--to", folder),
            ("export", "faces.refined.parquet", folder, "--to", "folders", "--force"),
            ("export", "faces.refined.parquet", folder, "--to", "folders", "--images", "faces", "--force"),
        ):
            message = fails(*words)
            assert reading in message or f"{folder} {inside}" in message, words
    assert f"faces/page {inside}" in fails("audit", "faces", *hog, "--out", "faces/page")
    assert f"faces/soft {inside}" in fails("train", "faces", "--out", "faces/soft")
    shards = ("--features", "vectors", *hog[:-1], "--method", "hypergraph", "--out", "vectors")
    assert "vectors is a folder that this command reads" in fails("audit", "faces", *shards)
    holds = fails("export", "faces.refined.parquet", ".", "--to", "folders", "--dataset", "faces")
    assert ". holds faces, which this command reads. Choose another folder." in holds
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
