"""Review elsewhere: a CSV with a column to fill in, and Label Studio's JSON, out and in."""

from __future__ import annotations

import csv
import json

import numpy as np
import pandas as pd
import pytest
from review_cases import CLASSES, HOSTILE, refined_set

from fercleaner.core.errors import InputError
from fercleaner.datasets.truth import read_truth
from fercleaner.results.export.label_studio import config
from fercleaner.results.export.label_studio import tasks as studio_tasks
from fercleaner.review.exchange import (
    parsed,
    read_decisions,
    review_csv,
)
from fercleaner.review.log import Decision, DecisionLog, Entry


def filled(path, text, decide):
    """Write a review CSV with the column `decision` filled in by row number."""
    rows = list(csv.reader(text.splitlines(keepends=True)))
    column = rows[0].index("decision")
    for i, row in enumerate(rows[1:]):
        row[column] = decide(i)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def test_a_csv_filled_in_comes_back_for_every_id(tmp_path):
    refined = refined_set(ids=HOSTILE)
    text, escaped = review_csv(refined, np.arange(len(refined)))
    assert escaped > 0
    for row in csv.reader(text.splitlines(keepends=True)):
        assert not any(cell[:1] in tuple("=+-@\t") for cell in row)
    words = ["fear", "accept", "keep", "fear; anger", "not a face", ""]
    path = filled(tmp_path / "ann.csv", text, lambda i: words[i % 6])
    found = read_decisions([path], CLASSES)
    assert set(found.by_id) == {name for i, name in enumerate(HOSTILE) if i % 6 != 5}
    assert found.by_id[HOSTILE[0]] == Decision("label", ("fear",))
    assert found.by_id[HOSTILE[1]].classes == (CLASSES[refined.label[1]],)
    assert found.by_id[HOSTILE[2]].classes == (CLASSES[refined.given_label[2]],)
    assert str(found.by_id[HOSTILE[3]]) == "anger / fear"
    assert found.by_id[HOSTILE[4]].kind == "not a face"
    assert found.who[HOSTILE[0]] == ("ann",)


def test_a_table_of_clean_labels_is_one_of_decisions(tmp_path):
    path = tmp_path / "clean.csv"
    path.write_text("id,clean_label\na,fear\nb,\nc,happy\n")
    found = read_decisions([path], CLASSES)
    assert {name: decision.classes for name, decision in found.by_id.items()} == {"a": ("fear",), "c": ("happiness",)}


def test_what_cannot_be_understood_names_file_row_and_value(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,decision\na,fear\nb,fearr\n")
    with pytest.raises(InputError, match=r"a.csv row 3: decision 'fearr' is neither a class .*Did you mean 'fear'\?"):
        read_decisions([path], CLASSES)
    path.write_text("id,decision\na,keep\n")
    with pytest.raises(InputError, match=r"a.csv row 2: decision 'keep', but the row does not say"):
        read_decisions([path], CLASSES)
    path.write_text("id,label\na,fear\n")
    with pytest.raises(InputError, match=r"a.csv has no column 'decision'"):
        read_decisions([path], CLASSES)
    with pytest.raises(InputError, match=r"nowhere.jsonl: no such file"):
        read_decisions([tmp_path / "nowhere.jsonl"], CLASSES)


def test_a_table_names_faces_as_a_truth_does(tmp_path):
    """The table that `evaluate` judged by is taken as decisions: by path, by file name, from Parquet."""
    faces = refined_set(4, ids=[f"train/{i}.png" for i in range(4)], paths=[f"/set/train/{i}.png" for i in range(4)])
    tables = {
        "stems.csv": "filename,clean_label\n1.png,fear\n3.png,anger\n",
        "paths.csv": "path,clean_label\n/set/train/1.png,fear\n/set/train/3.png,anger\n",
        "counted.csv": "id,image,truth\n0,train/1.png,fear\n1,train/3.png,anger\n",
    }
    for name, text in tables.items():
        (tmp_path / name).write_text(text)
    pd.read_csv(tmp_path / "stems.csv").to_parquet(tmp_path / "stems.parquet")
    for name in (*tables, "stems.parquet"):
        truth = read_truth(tmp_path / name, CLASSES)
        found = read_decisions([tmp_path / name], CLASSES, faces)
        judged = {
            str(faces.ids[i]): CLASSES[truth.label[r]]
            for i, r in enumerate(truth.rows_of(faces.ids, faces.paths))
            if r >= 0
        }
        assert (
            {face: str(said) for face, said in found.by_id.items()}
            == judged
            == {"train/1.png": "fear", "train/3.png": "anger"}
        )
    DecisionLog(tmp_path / "log.jsonl").append([Entry("train/1.png", "ann", "label", Decision("label", ("anger",)))])
    both = read_decisions([tmp_path / "log.jsonl", tmp_path / "stems.csv"], CLASSES, faces)
    assert [conflict.id for conflict in both.conflicts] == ["train/1.png"]
    (tmp_path / "gone.csv").write_text("id,clean_label\nnowhere.png,fear\n")
    with pytest.raises(InputError, match=r"gone.csv: none of its 1 names belongs to a face of the set"):
        read_decisions([tmp_path / "gone.csv"], CLASSES, faces)


def test_ids_of_a_list_may_be_the_numbers_of_its_rows(tmp_path):
    faces = refined_set(3, ids=["0", "1", "2"], paths=["", "", ""])
    path = filled(tmp_path / "ann.csv", review_csv(faces, np.arange(2))[0], lambda i: "fear")
    assert set(read_decisions([path], CLASSES, faces).by_id) == {"0", "1"}


def test_clean_labels_beside_the_classes_decide_nothing(tmp_path, caplog):
    file = tmp_path / "d.csv"
    file.write_text("id,clean_label\na,fear\nb,contempt\nc,nan\nd,unknown\ne,not a face\nf,contempt\n")
    found = read_decisions([file], CLASSES)
    assert {name: str(said) for name, said in found.by_id.items()} == {"a": "fear", "e": "not a face"}
    assert "d.csv: 3 faces are left undecided, since no class of the set is called as the clean label" in caplog.text
    assert "contempt 2, unknown 1." in caplog.text
    file.write_text("id,decision\na,contempt\n")
    with pytest.raises(InputError, match="decision 'contempt' is neither a class"):
        read_decisions([file], CLASSES)
    file.write_text("id,decision\na,fear\n,anger\n")
    with pytest.raises(InputError, match=r"d.csv row 3 decides 'anger' and names no face"):
        read_decisions([file], CLASSES)


def test_one_person_who_decides_a_face_in_two_ways_is_asked(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,decision\na,anger\nb,fear\na,fear\n")
    with pytest.raises(InputError, match=r"a.csv row 2 and a.csv row 4 decide 'a' in two ways"):
        read_decisions([path], CLASSES)
    path.write_text("id,who,decision\na,ann,anger\na,bob,fear\na,ann,anger\n")
    assert len(read_decisions([path], CLASSES).conflicts) == 1


def test_spellings():
    assert parsed(" Happy ", CLASSES, "here") == Decision("label", ("happiness",))
    assert parsed("happy/sad", (*CLASSES, "sadness"), "here") == Decision("ambiguous", ("happiness", "sadness"))
    assert parsed("keep", ("keep", "fear"), "here") == Decision("label", ("keep",))  # a class of that name goes first
    assert parsed("", CLASSES, "here") is None
    with pytest.raises(InputError, match="'fear;fear'"):
        parsed("fear;fear", CLASSES, "here")


def test_label_studio_there_and_back(tmp_path):
    refined = refined_set(ids=HOSTILE, paths=[f"/set/{i} ü.png" for i in range(len(HOSTILE))])
    tasks = json.loads(studio_tasks(refined, np.arange(len(refined))))
    assert [task["data"]["id"] for task in tasks] == list(HOSTILE)
    assert tasks[0]["data"]["image"] == "/data/local-files/?d=set/0%20%C3%BC.png"
    assert tasks[0]["predictions"][0]["result"][0]["value"]["choices"] == [CLASSES[refined.label[0]]]
    for i, task in enumerate(tasks):
        chosen = [["fear"], ["fear", "anger"], ["not a face"]][i % 3]
        result = [{**task["predictions"][0]["result"][0], "value": {"choices": chosen}}]
        task["annotations"] = [
            {"completed_by": {"email": "ann@x"}, "created_at": "2026-01-01T00:00:00Z", "result": result},
            {"completed_by": 7, "was_cancelled": True, "created_at": "2026-01-02T00:00:00Z", "result": []},
        ]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    found = read_decisions([path], CLASSES)
    assert set(found.by_id) == set(HOSTILE)
    assert [str(found.by_id[name]) for name in HOSTILE[:3]] == ["fear", "anger / fear", "not a face"]
    assert found.who[HOSTILE[0]] == ("ann@x",)
    path.write_text(json.dumps([{"image": "a", "expression": "fear"}]))
    with pytest.raises(InputError, match=r"export.json task 0 is not a task .* not JSON-MIN"):
        read_decisions([path], CLASSES)


def test_the_label_studio_configuration_is_xml_whatever_classes_are_called():
    from xml.etree import ElementTree

    root = ElementTree.fromstring(config(["a<b", 'c"d', "e&f"]))
    assert [choice.get("value") for choice in root.iter("Choice")] == ["a<b", 'c"d', "e&f", "not a face"]
    root = ElementTree.fromstring(config(["fear", "not a face"]))
    assert [choice.get("value") for choice in root.iter("Choice")] == ["fear", "not a face"]
    with pytest.raises(InputError, match=r"Class 'fe\\x1bar' holds a control character"):
        config(["fe\x1bar"])


def test_files_of_several_kinds_merge(tmp_path):
    log = DecisionLog(tmp_path / "ann.jsonl")
    log.append([Entry("a", "ann", "label", Decision("label", ("fear",)))])
    (tmp_path / "ben.csv").write_text("id,decision\na,anger\nb,anger\n")
    found = read_decisions([log.path, tmp_path / "ben.csv"], CLASSES)
    assert [conflict.id for conflict in found.conflicts] == ["a"]
    assert list(found.by_id) == ["b"]


def test_two_people_of_one_name_are_told_apart_where_they_disagree(tmp_path):
    for name, said in (("a", {"1": "fear", "2": "fear"}), ("b", {"1": "anger", "2": "fear"})):
        DecisionLog(tmp_path / f"{name}.jsonl").append(
            [Entry(face, "root", "label", Decision("label", (label,))) for face, label in said.items()]
        )
    logs = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    found = read_decisions(logs, CLASSES)
    assert [conflict.id for conflict in found.conflicts] == ["1"]
    assert set(found.conflicts[0].opinions) == {f"root ({log})" for log in logs}
    assert set(found.by_id) == {"2"}
    assert found.who["2"] == ("root",)
    assert not read_decisions([logs[0], logs[0]], CLASSES).conflicts


def test_a_list_without_any_decision_is_refused(tmp_path):
    (tmp_path / "d.csv").write_text("id,given_label,label,decision\na.png,fear,anger,\n")
    with pytest.raises(InputError, match="every cell of its column is empty"):
        read_decisions([tmp_path / "d.csv"], ("anger", "fear"))
    predicted = {"result": [{"type": "choices", "value": {"choices": ["anger"]}}]}
    (tmp_path / "d.json").write_text(json.dumps([{"data": {"id": "a.png"}, "predictions": [predicted]}]))
    with pytest.raises(InputError, match="no task is annotated"):
        read_decisions([tmp_path / "d.json"], ("anger", "fear"))
