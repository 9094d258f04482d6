"""Hugging Face datasets saved on disk."""

from __future__ import annotations

import builtins
import io
import pickle
from pathlib import Path
from typing import Any

import dataset_builders as build
import numpy as np
import pytest
from PIL import Image

from fercleaner.core.errors import InputError, MissingDependency
from fercleaner.datasets import read, recognize
from fercleaner.extraction.images import UnreadableImage, open_face

hf = pytest.importorskip("datasets", reason="the extra huggingface is not installed")


def png(value: int) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.new("L", (3, 3), value).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def make(labels: list[Any], kind: Any, start: int = 0, **more: list[Any]) -> Any:
    features = {"image": hf.Image(), "expression": kind, **{name: hf.Value("string") for name in more}}
    data = {"image": [png(start + i) for i in range(len(labels))], "expression": labels, **more}
    return hf.Dataset.from_dict(data, features=hf.Features(features))


def test_a_list_of_one_class_label_is_that_label_and_several_are_refused(tmp_path: Path) -> None:
    kind = hf.Sequence(hf.ClassLabel(names=["happy", "angry", "sad"]))
    make([[0], [1], [], [2]], kind).save_to_disk(str(tmp_path / "one"))
    samples = read(tmp_path / "one")
    assert samples.classes == ("anger", "happiness", "sadness")
    assert samples.label.tolist() == [1, 0, -1, 2]
    make([[0], [1, 2]], kind).save_to_disk(str(tmp_path / "two"))
    with pytest.raises(InputError, match="holds 2 labels"):
        read(tmp_path / "two")


def test_class_labels_and_splits(tmp_path: Path) -> None:
    kind = hf.ClassLabel(names=["happy", "angry", "sad"])
    both = hf.DatasetDict({"train": make([0, 1, -1], kind), "test": make([2, 0], kind, start=10)})
    both.save_to_disk(str(tmp_path / "set"))
    assert recognize(tmp_path / "set") == ("huggingface", "found dataset_dict.json")
    samples = read(tmp_path / "set")
    assert samples.classes == ("anger", "happiness", "sadness")
    assert samples.label.tolist() == [1, 0, -1, 2, 1]
    assert samples.ids.tolist() == ["train/0", "train/1", "train/2", "test/0", "test/1"]
    copy = pickle.loads(pickle.dumps(samples.images))
    assert [int(np.asarray(open_face(samples.replacing(images=copy), i)).max()) for i in range(5)] == [
        0,
        1,
        2,
        10,
        11,
    ]
    assert copy.name(3).endswith("test row 0")
    test = read(tmp_path / "set", split="test")
    assert (test.ids.tolist(), int(np.asarray(open_face(test, 1)).max())) == (["test/0", "test/1"], 11)


def test_a_split_without_rows_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kind = hf.ClassLabel(names=["happy", "angry"])
    splits = {"train": make([0, 1], kind), "test": make([], kind), "val": make([1, 0], kind, start=10)}
    hf.DatasetDict(splits).save_to_disk(str(tmp_path / "set"))
    samples = read(tmp_path / "set")
    assert samples.ids.tolist() == ["train/0", "train/1", "val/0", "val/1"]
    assert int(np.asarray(open_face(samples, 3)).max()) == 11
    assert caplog.messages == [f"{tmp_path / 'set'}: 1 split without rows is left out: test."]
    hf.DatasetDict({"train": make([], kind)}).save_to_disk(str(tmp_path / "none"))
    make([], kind).save_to_disk(str(tmp_path / "one"))
    for name in ("none", "one"):
        with pytest.raises(InputError, match=f"{name} holds no rows"):
            read(tmp_path / name)


def test_strings_integers_groups_and_selected_rows(tmp_path: Path) -> None:
    one = make(["joy", "fear", "", "joy"], hf.Value("string"), subject=["a", "b", "c", "d"])
    one.select([3, 1]).save_to_disk(str(tmp_path / "a"))
    samples = read(tmp_path / "a", columns={"group": "subject"})
    assert samples.label.tolist() == [1, 0]
    assert samples.group is not None
    assert samples.group.tolist() == ["d", "b"]
    assert int(np.asarray(open_face(samples, 0)).max()) == 3
    make([0, 6], hf.Value("int64")).save_to_disk(str(tmp_path / "b"))
    assert read(tmp_path / "b").classes == ("0", "6")
    assert read(tmp_path / "b", classes=["fer2013"]).label.tolist() == [0, 6]


def test_paths_in_the_image_column(tmp_path: Path) -> None:
    build.picture(tmp_path / "x.png", value=9)
    rows = {"image": [str(tmp_path / "x.png"), str(tmp_path / "gone.png")], "label": ["happy", "sad"]}
    hf.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "set"))
    samples = read(tmp_path / "set")
    assert int(np.asarray(open_face(samples, 0)).max()) == 9
    with pytest.raises(UnreadableImage, match="file not found"):
        open_face(samples, 1)


def test_unknown_label_and_damaged_folder(tmp_path: Path) -> None:
    make(["happy", "sad", "hapy"], hf.Value("string")).save_to_disk(str(tmp_path / "a"))
    with pytest.raises(InputError, match=r"a row 2: label 'hapy' is not in the class set .*mean 'happiness'"):
        read(tmp_path / "a")
    next((tmp_path / "a").glob("*.arrow")).write_bytes(b"no arrow")
    with pytest.raises(InputError, match="cannot be loaded as a saved Hugging Face dataset"):
        read(tmp_path / "a")


def test_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(["happy", "sad"], hf.Value("string")).save_to_disk(str(tmp_path / "a"))
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "datasets":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependency, match=r"needs the package datasets.*fercleaner\[huggingface\]"):
        read(tmp_path / "a")
