"""Layout "imagefolder": metadata of Hugging Face's ImageFolder beside the pictures, in one folder or one a split."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from fercleaner import datasets
from fercleaner.core.errors import InputError

ROWS = {"train": [("a.png", "happy"), ("b.png", "sad")], "test": [("a.png", "sad")]}


def picture(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), 90).save(file)


def as_csv(folder: Path, rows: list[tuple[str, str]]) -> None:
    lines = ["file_name,label", *(",".join(row) for row in rows)]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")


def as_lines(folder: Path, rows: list[tuple[str, str]]) -> None:
    lines = [json.dumps({"file_name": name, "label": label, "age": 3}) for name, label in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n\n")


@pytest.fixture(params=[as_csv, as_lines])
def by_split(tmp_path, request):
    for split, rows in ROWS.items():
        for name, _ in rows:
            picture(tmp_path / split / name)
        request.param(tmp_path / split, rows)
    return tmp_path


def test_a_list_in_each_split_is_read_with_the_pictures_beside_it(by_split):
    samples = datasets.read(by_split)
    assert samples.layout == "imagefolder"
    assert samples.ids.tolist() == ["test/a.png", "train/a.png", "train/b.png"]
    assert [samples.classes[c] for c in samples.label] == ["sadness", "happiness", "sadness"]
    assert samples.split.tolist() == ["test", "train", "train"]
    assert all(Path(path).is_file() for path in samples.paths)


def test_lines_of_json_beside_the_pictures_are_a_list(tmp_path):
    picture(tmp_path / "more" / "a.png")
    picture(tmp_path / "b.png")
    as_lines(tmp_path, [("more/a.png", "happy"), ("b.png", "sad")])
    samples = datasets.read(tmp_path)
    assert (samples.layout, samples.ids.tolist(), samples.split) == ("imagefolder", ["more/a.png", "b.png"], None)


def test_pictures_that_no_list_names_are_said(by_split, caplog):
    picture(by_split / "train" / "c.png")
    samples = datasets.read(by_split)
    assert len(samples) == 3
    assert samples.provenance["files_left_out"] == {"pictures not in the metadata": 1}
    assert "train/c.png" in caplog.text


def test_a_split_without_a_list_is_named(by_split, caplog):
    picture(by_split / "validation" / "a.png")
    assert len(datasets.read(by_split)) == 3
    assert "no metadata in validation" in caplog.text


def test_class_folders_come_first(tmp_path):
    picture(tmp_path / "happy" / "a.png")
    picture(tmp_path / "sad" / "b.png")
    as_lines(tmp_path, [("happy/a.png", "sad"), ("sad/b.png", "sad")])
    assert datasets.read(tmp_path).layout == "folders"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("metadata.jsonl", '{"file_name": "a.png", "label": "sad"}\n{"file_name": \n', "jsonl line 2 is no JSON"),
        ("metadata.jsonl", '["a.png", "sad"]\n', r"jsonl line 1 is \['a.png', 'sad'\]; expected an object"),
        ("metadata.jsonl", "\n", "jsonl is empty"),
        ("metadata.csv", "picture,label\na.png,sad\n", "metadata.csv has no column 'file_name'"),
        ("metadata.csv", "file_name,label\n,sad\n", "metadata.csv row 2"),
    ],
)
def test_a_wrong_list_is_an_error_that_names_its_place(tmp_path, name, text, said):
    picture(tmp_path / "train" / "a.png")
    (tmp_path / "train" / name).write_text(text)
    with pytest.raises(InputError, match=said):
        datasets.read(tmp_path)


def test_two_lists_in_a_folder_are_refused(by_split):
    as_csv(by_split / "test", ROWS["test"])
    as_lines(by_split / "test", ROWS["test"])
    with pytest.raises(InputError, match=r"metadata.csv, metadata.jsonl, and only one"):
        datasets.read(by_split)
