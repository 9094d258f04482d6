"""`fercleaner audit`: of a refined file, of a file with its set, and of a set; what it refuses."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from cli_runs import fails, labeled_vectors, manifest, run
from report_cases import picture

from fercleaner.results.parquet import load


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """faces.csv with 48 faces, pictures, columns age and group, and vectors v.npy."""
    labeled_vectors(tmp_path)
    lines = (tmp_path / "faces.csv").read_text().splitlines()
    labels = [line.split(",")[1] for line in lines[1:]]
    for i in range(48):
        picture(i).save(tmp_path / f"{i}.png")
    rows = [f"{i}.png,{label},{20 + i},s{i % 8}" for i, label in enumerate(labels)]
    (tmp_path / "faces.csv").write_text("\n".join(["image,label,age,group", *rows]) + "\n")
    manifest(tmp_path / "clean.csv", [["anger", "fear", "happiness", "neutral"][i % 4] for i in range(48)],
             [f"{i}.png" for i in range(48)])  # fmt: skip
    monkeypatch.chdir(tmp_path)
    return tmp_path


SET = ("faces.csv", "--view", "v=v.npy", "--device", "cpu")
RULE = ("--method", "hypergraph", "--set", "k=5")


def data_of(folder):
    return json.loads((folder / "audit.json").read_text(encoding="utf-8"))


def test_a_set_is_refined_and_shown(folder) -> None:
    done = run("audit", *SET, *RULE, "--out", "out", "--by", "age", "--truth", "clean.csv", "--json")
    printed = json.loads(done.stdout)
    assert printed["counts"]["faces"] == 48
    assert printed["page"] == "out/index.html"
    assert re.search(r"Wrote out/index\.html \(.* KiB\), and beside it audit\.json, checks\.parquet, refined\.parquet\.", done.stderr)  # fmt: skip  # noqa: E501
    data = data_of(folder / "out")
    assert [table["name"] for table in data["tables"]] == ["age"]
    assert data["tables"][0]["cut"]
    assert data["groups"]["groups"] == 8
    assert data["calibration"]["judged"] == 48
    assert data["points"]["source"] == "views: v"
    refined = load(folder / "out" / "refined.parquet")
    alone = run("refine", *SET, *RULE, "--out", "alone.parquet")
    assert "Wrote" in alone.stderr
    assert np.array_equal(refined.distribution, load("alone.parquet").distribution)
    assert printed["counts"]["flagged"]["count"] == refined.flagged.sum()


def test_the_file_beside_the_page_is_what_refine_writes(folder) -> None:
    """With the groups that are found, and what the method says of the set."""
    labels = ["anger", "fear"] * 18 + ["neutral", "happiness"] * 6
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(48, 60)).astype(np.float32)
    wide[:, 0] += 20 * (np.arange(48) % 2)  # labels of a third of the faces follow no vector
    wide[1:7:2] = wide[7:13:2]
    np.save("wide.npy", wide)
    manifest(folder / "few.csv", labels, [f"{i}.png" for i in range(48)])
    few = ("few.csv", "--view", "v=wide.npy", "--device", "cpu")
    made, alone = run("audit", *few, "--out", "out"), run("refine", *few, "--out", "alone.parquet")
    first, second = load("out/refined.parquet"), load("alone.parquet")
    assert first.metadata == second.metadata
    assert first.metadata["grouped"]
    assert first.metadata["notes"]
    for note in first.metadata["notes"]:
        assert note in made.stderr
        assert note in alone.stderr


def test_a_refined_file_there_is_seen_before_any_work(folder) -> None:
    run("audit", *SET, *RULE, "--out", "out", "--no-checks")
    (folder / "out" / "index.html").unlink()
    (folder / "out" / "audit.json").unlink()
    (folder / "out" / "checks.parquet").unlink()
    assert "refined.parquet exists already" in fails("audit", *SET, *RULE, "--out", "out", "--no-checks")
    assert not (folder / "out" / "index.html").exists()


def test_a_refined_file_alone_and_with_its_set(folder) -> None:
    run("refine", *SET, *RULE, "--out", "a.parquet")
    run("audit", "a.parquet", "--out", "alone", "--faces", "20")
    data = data_of(folder / "alone")
    assert len(data["shown"]) <= 20
    assert data["groups"] is None
    assert "no vectors" in data["points"]["source"]
    assert all(face["tile"] >= 0 for face in data["shown"])
    run("audit", "a.parquet", "--dataset", *SET, "--out", "both", "--by", "age", "--no-checks")
    data = data_of(folder / "both")
    assert data["points"]["source"] == "views: v"
    assert data["groups"]["groups"] == 8
    assert data["tables"][-1]["name"] == "age"


def test_pictures_that_are_gone_are_told(folder) -> None:
    run("refine", *SET, *RULE, "--out", "r.parquet")
    assert "No picture could be read" not in run("audit", "r.parquet", "--out", "there").stderr
    for file in folder.glob("*.png"):
        file.unlink()
    said = run("audit", "r.parquet", "--out", "gone").stderr
    assert re.search(r"No picture could be read, so the page has none \(first: .*0\.png\)", said)
    assert "It holds pictures" not in said


def test_columns_come_from_a_table_of_their_own(folder) -> None:
    """For a refined file without its set, and for sets without columns; matched as everywhere, other rows left over."""
    run("refine", *SET, *RULE, "--out", "a.parquet")
    rows = [f"elsewhere/{i}.png,{'f' if i % 3 else 'm'}" for i in range(40)]
    (folder / "people.csv").write_text("\n".join(["image,sex", *rows, "elsewhere/other.png,f"]) + "\n")
    by = ("--columns", "people.csv", "--by", "sex", "--no-checks")
    run("audit", "a.parquet", "--out", "alone", *by)
    run("audit", *SET, *RULE, "--out", "set", *by)
    for out in ("alone", "set"):
        [table] = data_of(folder / out)["tables"]
        assert {row["value"]: row["faces"] for row in table["rows"]} == {"f": 26, "m": 14, "(none)": 8}
    assert "has no column 'age'; its columns are image, sex" in fails(
        "audit", *SET, "--out", "x", "--columns", "people.csv", "--by", "age"
    )
    assert "name the columns to count by" in fails("audit", *SET, "--out", "y", "--columns", "people.csv")


def test_what_it_refuses(folder, monkeypatch) -> None:
    monkeypatch.delenv("FERCLEANER_MODELS", raising=False)
    run("refine", *SET, *RULE, "--out", "a.parquet")
    assert "Name its set: --dataset SET" in fails("audit", "a.parquet", "--out", "x", "--by", "age")
    assert "'height'" in fails("audit", *SET, *RULE, "--out", "y", "--by", "height")
    run("audit", "a.parquet", "--out", "z", "--no-checks")
    assert "exists already" in fails("audit", "a.parquet", "--out", "z")
    run("audit", "a.parquet", "--out", "z", "--no-checks", "--force")
    assert "choose one of pca, tsne" in fails("audit", "a.parquet", "--out", "w", "--map", "umap", "--no-checks")
    assert "--find-faces" in fails("audit", "a.parquet", "--out", "v", "--find-faces")
    assert "gone.csv: no such file" in fails("audit", "a.parquet", "--out", "deep/u", "--truth", "gone.csv")
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["z"]  # what fails leaves no folder


def test_pictures_inside_a_set_are_found_where_the_file_says(folder) -> None:
    rows = [f"{i % 7},{' '.join(map(str, np.asarray(picture(i, 48)).ravel()))},Training" for i in range(48)]
    rows[47] = f"1,{rows[0].split(',')[1]},PublicTest"
    (folder / "inside.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]) + "\n")
    run("refine", "inside.csv", "--view", "v=v.npy", "--device", "cpu", "--encoder", "none", *RULE)
    done = run("audit", "inside.refined.parquet", "--out", "found")
    assert "The set: inside.csv" in done.stderr
    found = {check["name"]: check for check in data_of(folder / "found")["checks"]}
    assert (found["leak"]["found"]["count"], found["duplicate"]["found"]["of"]) == (2, 48)
    assert found["leak"]["note"] == "1 of 1 groups of duplicates."
    assert "Pictures compared: 48 of 48" in run("show", "inside.refined.parquet", "--duplicates").stderr
    (folder / "inside.csv").rename(folder / "moved.csv")
    lost = run("audit", "inside.refined.parquet", "--out", "lost")
    assert "The refined file names no pictures: the page has none. Name its set: --dataset SET." in lost.stderr
    assert "It holds pictures" not in lost.stderr
    checks = {check["name"]: check for check in data_of(folder / "lost")["checks"]}
    assert checks["pictures"]["found"] is None
    assert checks["pictures"]["note"].startswith("Not checked: no picture was seen.")
    assert "name it: --dataset SET" in run("show", "inside.refined.parquet", "--duplicates").stderr


def test_an_audit_of_a_set_says_what_it_was_made_from(folder) -> None:
    run("audit", *SET, *RULE, "--out", "out", "--no-checks")
    assert load("out/refined.parquet").metadata["made_from"] == "faces.csv"
    notes = {check["name"]: check["note"] for check in data_of(folder / "out")["checks"]}
    assert notes["pictures"] == "Not checked: no picture was seen. They were not to be opened."
