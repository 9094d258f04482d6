"""export --to as a user types it."""

from __future__ import annotations

import csv
import os

import numpy as np
import pytest
from cli_runs import fails, labeled_vectors, run

import fercleaner


@pytest.fixture
def work(tmp_path, monkeypatch):
    labeled_vectors(tmp_path)
    monkeypatch.chdir(tmp_path)
    made = ("--landmarks", "none", "--device", "cpu", "--no-cache", "--method", "hypergraph", "--set", "k=5")
    run("refine", "faces.csv", "--view", "v=v.npy", *made)
    return tmp_path


def test_a_set_in_its_own_format_finds_the_set_by_itself(work):
    done = run("export", "faces.refined.parquet", "clean", "--to", "own", "--pictures", "none")
    assert "48 of 48" in done.stderr
    refined = fercleaner.load("faces.refined.parquet")
    with open("clean/faces.csv", newline="") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    expected = np.where(refined.flagged, refined.label, refined.given_label)
    assert labels == [refined.classes[c] for c in expected]
    assert refined.flagged.any()
    message = fails("export", "faces.refined.parquet", "clean", "--to", "own", "--pictures", "none")
    assert "exists already. Overwrite it with --force" in message
    run(
        "export",
        "faces.refined.parquet",
        "clean",
        "--to",
        "manifest",
        "--label",
        "given",
        "--pictures",
        "none",
        "--force",
    )
    with open("clean/faces.csv", newline="") as file:
        assert "weight" in next(csv.reader(file))


def test_a_set_that_moved_must_be_named(work):
    (work / "faces.csv").rename(work / "moved.csv")
    assert "name the set that was refined, --dataset SET" in fails(
        "export", "faces.refined.parquet", "c", "--to", "own"
    )
    run("export", "faces.refined.parquet", "c", "--to", "own", "--dataset", "moved.csv", "--pictures", "none")


def test_pictures_in_another_folder_are_named_as_for_refine(work):
    """The set was refined with --images; its export finds them by the same option."""
    from PIL import Image

    for name in fercleaner.read("faces.csv").ids.tolist():
        place = work / "elsewhere" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(place)
    images = ("--images", "elsewhere")
    run("export", "faces.refined.parquet", "c", "--to", "folders", "--dataset", "faces.csv", *images)
    assert len(fercleaner.read("c")) == 48
    assert "Name the folder that the set's pictures lie in: --images DIR" in fails(
        "export", "faces.refined.parquet", "d", "--to", "folders", "--dataset", "faces.csv"
    )


def test_what_goes_wrong_is_said(work):
    assert "Did you mean 'cleanlab'?" in fails("export", "faces.refined.parquet", "c", "--to", "cleanlabs")
    os.remove("faces.csv")
    for target in ("folders", "huggingface"):
        said = fails("export", "faces.refined.parquet", "c", "--to", target)
        assert "Name the set where it lies now: --dataset SET" in said or "or name the set: --dataset SET" in said
    assert "holds one label a face" in fails(
        "export", "faces.refined.parquet", "c", "--to", "label-studio", "--label", "distribution"
    )
    assert not (work / "c").exists()


def test_formula_cells_are_said(work):
    (work / "f.csv").write_text("id,label\n=1+1,fear\nb,anger\nc,fear\nd,anger\n")
    np.save("w.npy", np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))
    made = ("--landmarks", "none", "--device", "cpu", "--no-cache", "--method", "hypergraph", "--set", "k=1")
    run("refine", "f.csv", "--view", "w=w.npy", *made)
    done = run("export", "f.refined.parquet", "out.csv")
    assert "rows hold text that a spreadsheet would run" in done.stderr
    assert fercleaner.read("out.csv").ids.tolist() == ["=1+1", "b", "c", "d"]


def test_a_set_that_was_read_with_options_is_written_as_it_was_read(work):
    """The refined file says how its set was read, so that --to manifest finds the columns named then."""
    with open("faces.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    codes = {name: str(k) for k, name in enumerate(sorted({row["label"] for row in rows}))}
    with open("other.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["Bild", "gt", "anger", "label_id", "emotion_name"])
        out.writerows([[row["image"], row["label"], "0.5", codes[row["label"]], row["label"]] for row in rows])
    made = ("--landmarks", "none", "--device", "cpu", "--no-cache", "--method", "hypergraph", "--set", "k=5")
    named = ("--column", "image=Bild", "--column", "label=gt")
    run("refine", "other.csv", "--view", "v=v.npy", *named, *made)
    run("export", "other.refined.parquet", "clean", "--to", "own", "--pictures", "none")
    refined = fercleaner.load("other.refined.parquet")
    assert refined.metadata["read_as"] == {"layout": "manifest", "columns": {"image": "Bild", "label": "gt"}}
    with open("clean/other.csv", newline="") as file:
        after = list(csv.DictReader(file))
    expected = [refined.classes[c] for c in np.where(refined.flagged, refined.label, refined.given_label)]
    assert refined.flagged.any()
    assert [row["gt"] for row in after] == expected
    assert [row["label_id"] for row in after] == [codes[name] for name in expected]
    assert [row["emotion_name"] for row in after] == expected
    assert {row["anger"] for row in after} == {"0.5"}


def test_boxes_that_a_file_does_not_hold_are_said(work, monkeypatch):
    from PIL import Image

    ids = fercleaner.read("faces.csv").ids.tolist()
    Image.new("L", (40, 20)).save("two.png")
    with open("faces.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open("boxed.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["id", "image", "label", "box"])
        out.writerows(
            [[row["image"], "two.png", row["label"], f"{k % 20} 0 {k % 20 + 10} 10"] for k, row in enumerate(rows)]
        )
    made = ("--landmarks", "none", "--device", "cpu", "--no-cache", "--method", "hypergraph", "--set", "k=5")
    run("refine", "boxed.csv", "--view", "v=v.npy", *made)
    assert fercleaner.load("boxed.refined.parquet").metadata["boxed"]
    assert "boxed" not in fercleaner.load("faces.refined.parquet").metadata
    run("export", "boxed.refined.parquet", "a", "--to", "folders")
    assert len(fercleaner.read("a")) == len(ids)
    (work / "boxed.csv").rename(work / "moved.csv")
    message = fails("export", "boxed.refined.parquet", "b", "--to", "folders")
    assert "whole pictures would be written. Name the set that was refined with --dataset SET" in message
    assert "its pictures are whole" in run("export", "boxed.refined.parquet", "b.csv").stderr
    assert "whole pictures are shown. For the faces" in run("audit", "boxed.refined.parquet", "--out", "page").stderr
    assert "its pictures are whole" not in run("export", "faces.refined.parquet", "c.csv").stderr
