"""review, refine --decisions and show --against as a user types them."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
from cli_runs import COMMAND, environment, fails, labeled_vectors, run

import fercleaner
from fercleaner.review.log import Decision, DecisionLog, Entry, read_log

VECTORS = ("--encoder", "none", "--landmarks", "none", "--device", "cpu", "--no-cache", "--method", "hypergraph")


@pytest.fixture
def work(tmp_path, monkeypatch):
    labeled_vectors(tmp_path)
    monkeypatch.chdir(tmp_path)
    run("refine", "faces.csv", "--view", "v=v.npy", *VECTORS, "--set", "k=5")
    return tmp_path


def again(*more, out="with.refined.parquet"):
    return run("refine", "faces.csv", "--view", "v=v.npy", *VECTORS, "--set", "k=5", "--out", out, *more)


def test_top_lists_the_faces_to_look_at_first(work):
    listed = json.loads(run("review", "faces.refined.parquet", "--top", "5", "--json").stdout)
    assert len(listed["faces"]) == 5
    shares = [face["probability"] for face in listed["faces"]]
    assert listed["expected_wrong_refined"] == pytest.approx(sum(1 - share for share in shares), abs=1e-3)
    table = run("review", "faces.refined.parquet", "--top", "2")
    assert listed["faces"][0]["id"] in table.stdout
    assert re.search(r"Of these 2 refined labels, \d to \d are expected to be wrong \(95 %", table.stderr)
    low, high = listed["expected_wrong_refined_range"]
    assert 0 <= low < listed["expected_wrong_refined"] < high <= 5


def test_a_csv_goes_out_and_comes_back_as_decisions(work):
    run("review", "faces.refined.parquet", "--top", "6", "--out", "todo.csv")
    with open("todo.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    said = ["fear", "not a face", "happy; neutral", "keep", "accept", ""]
    for row, word in zip(rows, said, strict=True):
        row["decision"] = word
    with open("ann.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    done = again("--decisions", "ann.csv", "--json")
    counts = json.loads(done.stdout)["decisions"]
    assert (counts["faces"], counts["one_class"], counts["two_classes"], counts["not_a_face"]) == (5, 3, 1, 1)
    assert counts["by"] == {"ann": 5}
    assert "5 faces are certain" in done.stderr
    refined = fercleaner.load("with.refined.parquet")
    place = {name: row for row, name in enumerate(refined.ids.tolist())}
    row = place[rows[0]["id"]]
    assert refined.classes[refined.label[row]] == "fear"
    assert refined.distribution[row].max() == 1
    assert refined.weight[place[rows[1]["id"]]] == 0
    assert sorted(refined.distribution[place[rows[2]["id"]]].tolist()) == [0, 0, 0.5, 0.5]
    before = fercleaner.load("faces.refined.parquet")
    assert np.array_equal(refined.given, before.given)
    assert refined.metadata["input_digest"] == before.metadata["input_digest"]
    decided = {line["id"] for line in rows[:5]}  # they are settled: none is to be looked at again
    assert set(refined.ids[refined.decided].tolist()) == decided
    run("review", "with.refined.parquet", "--top", "6", "--out", "again.csv")
    with open("again.csv", newline="") as file:
        assert not decided & {line["id"] for line in csv.DictReader(file)}
    suspects = json.loads(run("show", "with.refined.parquet", "--json").stdout)["suspects"]
    assert suspects
    assert not decided & {face["id"] for face in suspects}


def test_refining_over_an_older_file_says_what_the_decisions_changed(work):
    refined = fercleaner.load("faces.refined.parquet")
    DecisionLog("a.jsonl").append(
        [Entry(str(refined.ids[0]), "ann", "label", Decision("label", (refined.classes[3],)))]
    )
    done = again("--decisions", "a.jsonl", "--force", out="faces.refined.parquet")
    assert re.search(r"Against faces.refined.parquet as it was: \d+ of 48 .* refined labels differ", done.stderr)


def test_decisions_against_sure_answers_are_named_where_most_labels_are_flagged(work):
    before = fercleaner.load("faces.refined.parquet")
    wrong = [(str(name), before.classes[(label + 1) % 3]) for name, label in zip(before.ids, before.label, strict=True)]
    kept = [(str(name), before.classes[label]) for name, label in zip(before.ids, before.given_label, strict=True)]
    rows = "".join(f"{name},{label}\n" for name, label in [*wrong[:20], kept[20]])
    (work / "wrong.csv").write_text(f"id,clean_label\n{rows}")
    said = again("--decisions", "wrong.csv").stderr
    assert "or decisions contradict what it is sure of. Which of these: the same command without --decisions" in said
    (work / "one.csv").write_text(f"id,clean_label\n{','.join(kept[0])}\nelsewhere.png,anger\n")
    said = again("--decisions", "one.csv", "--force").stderr
    assert "Decisions: what 1 of them says of given and refined labels" in said
    assert "Decisions: 1 face is certain" in said
    assert "Decisions: 1 decided face is not in this set." in said


def test_conflicts_are_listed_and_left_open(work):
    refined = fercleaner.load("faces.refined.parquet")
    name = str(refined.ids[0])
    for who, label in (("ann", "fear"), ("ben", "anger")):
        DecisionLog(f"{who}.jsonl").append([Entry(name, who, "label", Decision("label", (label,)))])
    listed = run("review", "faces.refined.parquet", "--conflicts", "ann.jsonl", "--conflicts", "ben.jsonl")
    assert "ann: fear, ben: anger" in listed.stdout
    assert "left open" in listed.stdout
    whole = json.loads(run("review", "faces.refined.parquet", "--conflicts", "ann.jsonl", "--json").stdout)
    assert whole == {"decided": 1, "conflicts": []}
    done = again("--decisions", "ann.jsonl", "--decisions", "ben.jsonl", "--json")
    assert json.loads(done.stdout)["decisions"]["left_open"] == 1
    assert "people disagree on 1 faces; 1 without a majority stay undecided" in done.stderr


def test_what_goes_wrong_is_said(work):
    assert "no such file" in fails(
        "refine", "faces.csv", "--view", "v=v.npy", *VECTORS, "--decisions", "no.jsonl", "--out", "x.parquet"
    )
    made = ("refine", "faces.csv", "--view", "v=v.npy", *VECTORS, "--out", "x.parquet")
    DecisionLog("other.jsonl").append([Entry("nobody", "ann", "label", Decision("label", ("fear",)))])
    assert "None of the 1 decided faces is in this set" in fails(*made, "--decisions", "other.jsonl")
    assert "must end in .csv or .json" in fails("review", "faces.refined.parquet", "--top", "3", "--out", "a.txt")
    assert "'best' is not an order" in fails("review", "faces.refined.parquet", "--top", "3", "--by", "best")
    run("review", "faces.refined.parquet", "--top", "3", "--out", "a.csv")
    assert "exists already" in fails("review", "faces.refined.parquet", "--top", "3", "--out", "a.csv")


def test_label_studio_files(work):
    run("review", "faces.refined.parquet", "--top", "3", "--out", "tasks.json")
    assert len(json.loads((work / "tasks.json").read_text())) == 3
    assert "<Choices" in (work / "tasks.xml").read_text()


def test_the_page_is_served_decides_and_survives_kill_9(work):
    """Ten decisions over the real command, killed with -9: all ten are in the log, and a second run goes on."""
    pytest.importorskip("starlette", reason="the review page needs starlette")
    pytest.importorskip("uvicorn", reason="the review page needs uvicorn")
    decided = []
    for run_number in range(2):
        server = subprocess.Popen(
            [*COMMAND, "review", "faces.refined.parquet", "--no-browser", "--who", "ann"],
            stderr=subprocess.PIPE, text=True, env=environment(), cwd=work,
        )  # fmt: skip
        try:
            address = ""
            while not address:
                address = "".join(re.findall(r"http://127\.0\.0\.1:\d+/[\w-]+/", server.stderr.readline()))
            face = ask(address + "api/next?window=w")["face"]
            assert face["id"] not in decided
            for _ in range(5):
                body = {"items": [{"row": face["row"], "decision": {"kind": "label", "classes": ["fear"]}}]}
                answer = ask(address + "api/decide", {**body, "action": "label", "window": "w"})
                decided.append(face["id"])
                face = answer["face"]
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(re.sub(r"[\w-]+/$", "guess/", address), timeout=10)
        finally:
            os.kill(server.pid, signal.SIGKILL)
            server.wait()
            server.stderr.close()
        assert [entry.id for entry in read_log("faces.decisions.jsonl").entries] == decided, run_number


def test_ctrl_c_ends_the_review_and_says_what_comes_next(work):
    """That is how it is meant to end: exit code 0, the count, and the command that takes the decisions."""
    pytest.importorskip("uvicorn", reason="the review page needs uvicorn")
    wrapped = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    wrapped += "from fercleaner.cli import main; main()"
    server = subprocess.Popen(
        [sys.executable, "-c", wrapped, "review", "faces.refined.parquet", "--no-browser", "--who", "ann", "--by",
         "quality"],
        stderr=subprocess.PIPE, text=True, env=environment(), cwd=work,
    )  # fmt: skip
    first = line = " "
    while line and "Review at" not in line:
        line = server.stderr.readline()
        first += line
    assert "Little is learned from such faces about the others" in first
    address = re.findall(r"http://127\.0\.0\.1:\d+/[\w-]+/", line)[0]
    row = ask(address + "api/next?window=w")["face"]["row"]
    item = {"row": row, "decision": {"kind": "label", "classes": ["fear"]}}
    ask(address + "api/decide", {"items": [item], "action": "label", "window": "w"})
    server.send_signal(signal.SIGINT)
    _, said = server.communicate(timeout=60)
    assert server.returncode == 0, said
    assert "1 face decided by ann.\nNext: fercleaner refine SET --decisions faces.decisions.jsonl" in said


def ask(address, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_against_says_what_two_files_differ_in(work):
    refined = fercleaner.load("faces.refined.parquet")
    name = str(refined.ids[0])
    other = next(label for label in refined.classes if label != refined.classes[refined.label[0]])
    DecisionLog("a.jsonl").append([Entry(name, "ann", "label", Decision("label", (other,)))])
    again("--decisions", "a.jsonl")
    found = json.loads(run("show", "faces.refined.parquet", "--against", "with.refined.parquet", "--json").stdout)
    assert (found["common"], found["only_first"], found["only_second"]) == (48, 0, 0)
    assert found["labels"] >= 1
    assert name in [face["id"] for face in found["faces"]]
    assert found["settings"]["decisions"]["second"]["faces"] == 1
    shown = run("show", "faces.refined.parquet", "--against", "with.refined.parquet")
    assert name in shown.stdout
    assert "Refined labels differ: " in shown.stderr
    same = json.loads(run("show", "faces.refined.parquet", "--against", "faces.refined.parquet", "--json").stdout)
    assert (same["labels"], same["flags"], same["mean_shift"], same["settings"]) == (0, 0, 0, {})
