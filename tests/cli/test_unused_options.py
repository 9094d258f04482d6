"""Options that change nothing are refused: what they are, why, and the way out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from cli_runs import fails, labeled_vectors, run
from fercleaner.cli.options import SetOptions

from fercleaner.extraction import detection
from fercleaner.extraction.detection import Framing

VIEW = ("--view", "v=v.npy", "--landmarks", "none", "--device", "cpu")
RULE = ("--method", "hypergraph", "--set", "k=5")
FILE = "faces.refined.parquet"
TO = "is for a folder in another format (--to FORMAT)"
NO_PAGE = "write a list, and open no page"
SET = ("faces.csv", *VIEW)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """faces.csv (no pictures), v.npy and the refined file of both."""
    folder = labeled_vectors(tmp_path_factory.mktemp("unused"))
    before = Path.cwd()
    os.chdir(folder)
    try:
        run("refine", *SET, *RULE)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("export", FILE, "a.csv", "--label", "given"), f"--label given: that {TO}"),
        (("export", FILE, "a.csv", "--label", "flagged"), f"--label flagged: that {TO}"),
        (("export", FILE, "a.npz", "--images", "."), f"--images .: that {TO}"),
        (("export", FILE, "a.csv", "--pictures", "link"), f"--pictures link: that {TO}"),
        (("export", FILE, "a.csv", "--label-unlabeled"), f"--label-unlabeled: that {TO}"),
        (("export", FILE, "a.csv", "--dataset", "faces.csv"), f"--dataset faces.csv: that {TO}"),
        (("audit", FILE, "--out", "a", "--method", "consensus"), "--method consensus: the file was refined before"),
        (("audit", FILE, "--out", "a", "--set", "k=3"), "--set k=3: the file was refined before"),
        (("audit", FILE, "--out", "a", "--encoder", "hog"), "--encoder: the file is looked at without its set. Name"),
        (("audit", FILE, "--out", "a", "--classes", "a,b"), "--classes: the file is looked at without its set"),
        (("audit", FILE, "--out", "a", "--dataset", *SET, "--index", "hnsw"), "--index: the page of a refined file"),
        (("audit", *SET, "--out", "a", "--dataset", "faces.csv"), "goes with a refined file, and faces.csv is none"),
        (("audit", FILE, "--out", "a", "--min-votes", "3"), "--min-votes 3.0: votes are of --truth FILE"),
        (("show", FILE, "--against", FILE, "--duplicates"), "--duplicates: --against opens no picture. Leave one out"),
        (("show", FILE, "--dataset", "faces.csv"), "--dataset faces.csv: it goes with --duplicates"),
        (("review", FILE, "--json", "--no-browser"), "--json: the page prints nothing. Name a list, --top N"),
        (("review", FILE, "--top", "3", "--log", "l.jsonl"), f"--log l.jsonl: --top and --out {NO_PAGE}"),
        (("review", FILE, "--conflicts", "l.jsonl", "--top", "3"), "--top 3: --conflicts lists what logs say"),
        (("review", FILE, "--top", "3", "--force"), "--force: no list is written. Add --out FILE"),
        (("refine", *SET, "--identity", "v.npy", "--no-find-groups"), "--identity v.npy: persons are groups that are"),
        (("read", *SET, "--identity", "v.npy", "--group-by", "none"), "--identity v.npy: persons are groups that are"),
        (("site", *SET, "--dry-run", "--site-by", "label"), "--site-by label: the set is one site. Leave it out."),
        (("methods", "consensus", "--formulas", "--json"), "--formulas: formulas are text. Leave it or --json out."),
        (("train", "faces.csv", "--test-split", "a", "--hold-back", "0.3"), "--hold-back 0.3: --test-split says what"),
        (("train", "faces.csv", "--landmarks", "builtin"), "--landmarks builtin: the recipe soft learns from none"),
    ],
)
def test_what_would_change_nothing_is_refused(here, words, message):
    before = sorted(here.iterdir())
    assert message in fails(*words, *(("--out", "o.parquet") if words[0] == "refine" else ()))
    assert sorted(here.iterdir()) == before


def test_what_the_page_of_a_file_does_look_at_is_taken(here, tmp_path):
    """How a command runs says nothing of the set; a truth's labels are read by --classes and --alias."""
    truth = tmp_path / "truth.csv"
    truth.write_text(Path("clean.csv").read_text().replace("happiness", "of joy"))
    words = ("--out", tmp_path / "a", "--no-checks", "--device", "cpu", "--no-cache", "--workers", "0", "--seed", "3")
    run("audit", FILE, *words, "--truth", truth, "--alias", "of joy=happiness")
    found = json.loads((tmp_path / "a" / "audit.json").read_text())["calibration"]
    assert found["judged"] == 48
    assert found["figures"]["given_accuracy"] == pytest.approx(44 / 48)
    assert "label 'of joy' is not in the class set" in fails("audit", FILE, *words, "--force", "--truth", truth)


@pytest.mark.parametrize("encoder", ["hog", "none"])
def test_builtin_landmarks_alone_are_cropped_as_asked(here, monkeypatch, capsys, encoder):
    looks = Framing("yunet.onnx")
    monkeypatch.setattr(detection, "choose_framing", lambda crop, weights: (looks, "faces are looked for"))
    monkeypatch.setattr(Framing, "spec", property(lambda framing: {"detector": framing.detector}))
    view = ["v=v.npy"] if encoder == "none" else None
    opened = SetOptions(encoder=[encoder], view=view, landmarks="builtin", device="cpu").open(Path("faces.csv"))
    assert opened.sources.landmarks.spec["framing"] == {"detector": "yunet.onnx"}
    assert "builtin: faces are looked for." in capsys.readouterr().err


def test_action_units_that_no_method_looks_at_are_said_to_be_unused(here, tmp_path):
    ids = [line.split(",")[0] for line in Path("faces.csv").read_text().splitlines()[1:]]
    values = np.random.default_rng(0).uniform(0, 5, size=(len(ids), 2))
    rows = [f"{name},{a:.2f},{b:.2f}" for name, (a, b) in zip(ids, values, strict=True)]
    (tmp_path / "aus.csv").write_text("\n".join(["image,AU01_r,AU12_r", *rows]) + "\n")
    units = ("--action-units", tmp_path / "aus.csv", "--out", tmp_path / "a.parquet")
    said = run("refine", *SET, *RULE, *units).stderr
    assert "The action units given are not used: of the methods here, au-prior alone looks at any." in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "hypergraph", "--posteriors", "m=m.csv"), "no method here looks at them (consensus does, and"),
        (("--posteriors", "m=m.csv,learned"), "(none that learned from these labels count)"),
        (("--posteriors", "mirror=m.csv"), "('mirror' is for threshold)"),
        (("--method", "threshold", "--posteriors", "m=m.csv"), "no method here looks at them"),
        (("--method", "threshold", "--posteriors", "m=m.csv", "--set", "posterior=m"), ""),
        (("--posteriors", "m=m.csv"), ""),
    ],
)
def test_posteriors_that_no_method_looks_at_are_said_to_weigh_nothing(here, tmp_path, words, said):
    posteriors(tmp_path / "m.csv")
    words = [word.replace("m.csv", str(tmp_path / "m.csv")) for word in words]
    found = run("refine", *SET, *words, "--out", tmp_path / "a.parquet").stderr
    assert said in found
    assert ("weigh nothing" in found) == bool(said)


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("builtin={},validated", "how near this set is to the builtin model's home is measured, on a view named"),
        ("m={},learned,validated", "posteriors that learned from these labels overrule none. Leave ,validated out."),
    ],
)
def test_posteriors_are_validated_where_the_users_word_counts(here, tmp_path, option, why):
    given = option.format(posteriors(tmp_path / "m.csv"))
    assert why in fails("refine", *SET, "--posteriors", given, "--out", tmp_path / "a.parquet")


def posteriors(file: Path) -> Path:
    """Write a model's probabilities of the faces of faces.csv: .8 for the given label of most, of the rest another."""
    rows = [line.split(",")[:2] for line in Path("faces.csv").read_text().splitlines()[1:]]
    classes = sorted({label for _, label in rows})
    lines = [",".join(["image", *classes])]
    for number, (name, label) in enumerate(rows):
        at = (classes.index(label) + (number % 5 == 0)) % len(classes)
        lines.append(
            ",".join([name, *(f"{0.8 if k == at else 0.2 / (len(classes) - 1):.4f}" for k in range(len(classes)))])
        )
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize("command", [("refine", *RULE, "--force"), ("trial",), ("extract", "--to", "vectors")])
def test_weights_of_yunet_where_no_face_is_looked_for_are_refused(here, command):
    name, *more = command
    named = ("--weights", "yunet=y.onnx")
    said = fails(name, *SET, *more, *named)
    assert "--weights yunet=y.onnx: faces are looked for by builtin, which does not run. Add --encoder builtin" in said
    for crop in ("none", "box"):
        said = fails(name, "faces.csv", *more, *named, "--encoder", "builtin", "--crop", crop)
        assert f"with --crop {crop} no face is looked for" in said


def test_weights_of_yunet_that_find_faces_needs_alone_are_no_mistake(here, tmp_path, monkeypatch):
    """Pictures are counted in; their crop needs no detector, as vectors are the user's."""
    monkeypatch.setattr(detection, "choose_framing", lambda crop, weights: (Framing(weights or ""), "whole"))
    words = ("--weights", "yunet=y.onnx", "--no-checks")
    run("audit", *SET, *RULE, *words, "--find-faces", "--out", tmp_path / "a")
    run("audit", FILE, "--dataset", *SET, *words, "--find-faces", "--out", tmp_path / "b")
    assert "which does not run" in fails("audit", *SET, *RULE, *words, "--out", tmp_path / "c")


def test_a_number_of_votes_beside_clean_labels_is_refused_or_said_to_change_nothing(here, tmp_path):
    said = fails("evaluate", FILE, "--truth", "clean.csv", "--min-votes", "3")
    assert "--min-votes 3.0: clean.csv holds clean labels and no votes. Leave it out." in said
    run("evaluate", FILE, "--truth", "clean.csv")
    words = ("--truth", "clean.csv", "--min-votes", "3", "--no-checks", "--out", tmp_path / "page")
    assert "--min-votes 3 changes nothing: clean.csv holds clean labels" in run("audit", FILE, *words).stderr
