"""Every published layout, tiny: what is read, from where, and how it is recognized."""

from __future__ import annotations

import os
from pathlib import Path

import dataset_builders as build
import numpy as np
import pytest

from fercleaner.core.errors import InputError
from fercleaner.core.types import Samples
from fercleaner.datasets import LAYOUTS, read, recognize, select
from fercleaner.extraction.images import UnreadableImage, open_face

FER = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")


def given_names(samples: Samples) -> list[str]:
    return [samples.classes[c] if c >= 0 else "" for c in samples.label]


def grey(samples: Samples, row: int) -> int:
    return int(np.asarray(open_face(samples, row)).max())


def test_folder_per_class(tmp_path: Path) -> None:
    files = ["happy/b.png", "happy/deep/c.png", "angry/a.png", "unlabeled/u.png", "loose.png"]
    build.class_folders(tmp_path, files)
    build.text(tmp_path / "happy" / "notes.txt", "no picture")
    build.picture(tmp_path / ".cache" / "x.png")
    (tmp_path / "empty").mkdir()
    samples = read(tmp_path)
    assert samples.classes == ("anger", "happiness")
    assert samples.ids.tolist() == [
        "loose.png",
        "angry/a.png",
        "happy/b.png",
        "happy/deep/c.png",
        "unlabeled/u.png",
    ]
    assert given_names(samples) == ["", "anger", "happiness", "happiness", ""]
    assert samples.notes is not None
    assert samples.notes.tolist() == ["no label", "", "", "", "no label"]
    assert samples.split is None
    assert [grey(samples, i) for i in range(5)] == [4, 2, 0, 1, 3]
    assert samples.paths[1] == str(tmp_path / "angry" / "a.png")
    assert samples.layout == "folders"
    assert recognize(tmp_path).why.startswith("found a folder per class: angry, ")


def test_folder_per_split_and_class(tmp_path: Path) -> None:
    build.class_folders(tmp_path, ["train/happy/a.png", "train/sad/b.png", "Validation/sad/c.png", "test/happy/d.png"])
    (tmp_path / "docs").mkdir()
    samples = read(tmp_path)
    assert samples.split is not None
    assert dict(zip(samples.ids.tolist(), samples.split.tolist(), strict=True)) == {
        "train/happy/a.png": "train",
        "train/sad/b.png": "train",
        "Validation/sad/c.png": "val",
        "test/happy/d.png": "test",
    }
    val = read(tmp_path, split="valid")
    assert (val.ids.tolist(), val.classes, grey(val, 0)) == (
        ["Validation/sad/c.png"],
        ("happiness", "sadness"),
        2,
    )
    assert len(read(tmp_path, split=["train", "test"])) == 3
    with pytest.raises(InputError, match="has no split 'dev2'; its splits are test, train, val"):
        read(tmp_path, split="dev2")
    build.picture(tmp_path / "extra" / "x.png")
    with pytest.raises(InputError, match="beside 'extra'"):
        read(tmp_path)


def test_digit_folders_keep_their_own_names(tmp_path: Path) -> None:
    build.class_folders(tmp_path, [f"{d}/x.png" for d in (0, 1, 2, 10)])
    assert read(tmp_path).classes == ("0", "1", "2", "10")
    assert read(tmp_path, classes=["10", "2", "1", "0"]).label.tolist() == [3, 2, 0, 1]


def test_folders_named_by_the_codes_of_a_published_set(tmp_path: Path) -> None:
    build.class_folders(tmp_path, ["train/1/x.png", "train/4/y.png", "test/7/z.png"])
    samples = read(tmp_path, classes=["rafdb"])
    assert sorted(given_names(samples)) == ["happiness", "neutral", "surprise"]
    assert len(samples.classes) == 7


def test_rafdb_basic_aligned(tmp_path: Path) -> None:
    build.rafdb(tmp_path, [5, 1, 7, 4])
    samples = read(tmp_path)
    assert (samples.layout, samples.classes[0]) == ("rafdb", "surprise")
    assert given_names(samples) == ["sadness", "surprise", "neutral", "happiness"]
    assert samples.ids[0] == "train_00000.jpg"
    assert samples.split is not None
    assert samples.split.tolist() == ["train", "train", "train", "test"]
    assert samples.paths[0].endswith(os.path.join("Image", "aligned", "train_00000_aligned.jpg"))
    assert samples.boxes is None
    assert abs(grey(samples, 2) - 2) <= 2
    assert recognize(tmp_path).why == "found EmoLabel/list_patition_label.txt; its codes end at 7"
    inner = read(tmp_path / "EmoLabel" / "list_patition_label.txt")
    assert inner.paths.tolist() == samples.paths.tolist()


def test_rafdb_original_has_boxes(tmp_path: Path) -> None:
    build.rafdb(tmp_path, [5, 1], folder="original", boxes=True)
    samples = read(tmp_path)
    assert samples.paths[0].endswith(os.path.join("original", "train_00000.jpg"))
    assert samples.boxes is not None
    assert samples.boxes.tolist() == [[1, 2, 3, 5], [1, 2, 4, 5]]
    assert open_face(samples, 1).size == (3, 3)
    aligned = tmp_path / "mine"
    build.picture(aligned / "train_00000_aligned.jpg")
    mixed = read(tmp_path, images=aligned)
    assert mixed.boxes is not None
    assert np.isnan(mixed.boxes).all(1).tolist() == [True, False]
    build.text(tmp_path / "Annotation" / "boundingbox" / "train_00000_boundingbox.txt", "1 2 x 4")
    with pytest.raises(InputError, match=r"train_00000_boundingbox.txt: expected four numbers"):
        read(tmp_path)


@pytest.mark.parametrize("above", [[8], [8, 9, 10], [11]])
def test_a_slip_does_not_make_a_basic_set_of_raf_db_the_compound_one(tmp_path: Path, above: list[int]) -> None:
    build.rafdb(tmp_path, [1, 2, 3, 4, 5, 6, 7, *above])
    with pytest.raises(InputError, match=rf"line 8: code {above[0]} is none of RAF-DB's basic .* Which is it\?"):
        read(tmp_path)
    assert read(tmp_path, layout="rafdb", alias={str(a): "" for a in above}).labeled.sum() == 7
    assert read(tmp_path, layout="rafdb-compound").labeled.all()
    build.rafdb(tmp_path, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    assert read(tmp_path).layout == "rafdb-compound"


def test_rafdb_compound(tmp_path: Path) -> None:
    build.rafdb(tmp_path / "a", [11, 1, 5])
    assert recognize(tmp_path / "a") == (
        "rafdb-compound",
        "found EmoLabel/list_patition_label.txt; its codes go beyond 7",
    )
    samples = read(tmp_path / "a")
    assert given_names(samples) == ["disgustedly surprised", "happily surprised", "sadly surprised"]
    build.rafdb(tmp_path / "compound", [1, 2])
    assert given_names(read(tmp_path / "compound")) == ["happily surprised", "happily disgusted"]
    assert given_names(read(tmp_path / "compound", layout="rafdb")) == ["surprise", "fear"]
    both = tmp_path / "both"
    build.rafdb(both / "basic", [1, 2])
    with pytest.raises(InputError, match="RAF-DB's sets in folders of their own"):
        read(both)


def test_rafdb_bad_lists(tmp_path: Path) -> None:
    build.rafdb(tmp_path, [5, 0, 7])
    with pytest.raises(InputError, match=r"list_patition_label.txt line 2: label 0 is not a code of RAF-DB \(basic\)"):
        read(tmp_path)
    build.rafdb(tmp_path, [5, "x", 7])
    with pytest.raises(InputError, match=r"line 2: label 'x' is not an integer; RAF-DB \(basic\) uses 1 surprise"):
        read(tmp_path)
    build.text(tmp_path / "EmoLabel" / "list_patition_label.txt", "a.jpg 1\nb.jpg\n")
    with pytest.raises(InputError, match=r"line 2: 'b.jpg' is not a file name and a code"):
        read(tmp_path)
    build.text(tmp_path / "EmoLabel" / "list_patition_label.txt", "\n")
    with pytest.raises(InputError, match="holds no faces"):
        read(tmp_path)


def test_affectnet_csv(tmp_path: Path) -> None:
    build.affectnet_csv(tmp_path, [0, 1, 8, 9, 10, 7], [6])
    samples = read(tmp_path)
    assert samples.layout == "affectnet"
    assert given_names(samples) == ["neutral", "happiness", "", "", "", "contempt", "anger"]
    assert samples.notes is not None
    assert samples.notes[2:5].tolist() == ["expression: none", "expression: uncertain", "expression: no face"]
    assert samples.split is not None
    assert samples.split.tolist() == ["train"] * 6 + ["val"]
    assert samples.boxes is not None
    assert samples.boxes[0].tolist() == [1, 2, 4, 6]
    assert np.isnan(samples.boxes[1]).all()
    assert samples.points is not None
    assert samples.points[2].tolist() == (np.arange(136).reshape(68, 2) + 2).tolist()
    assert np.isnan(samples.points[1]).all()
    assert open_face(samples, 0).size == (3, 4)
    assert recognize(tmp_path).why == "found training.csv and validation.csv"
    assert read(tmp_path / "training.csv", images=tmp_path / "Manually_Annotated_Images").split is not None


def test_affectnet_with_seven_classes(tmp_path: Path) -> None:
    build.affectnet_csv(tmp_path, [0, 1, 7])
    seven = read(tmp_path, classes=["affectnet7"])
    assert seven.notes is not None
    assert (len(seven.classes), seven.notes[2]) == (7, "expression: contempt")
    names = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger"]
    with pytest.raises(InputError, match=r"training.csv row 4: label '7' \(contempt\) is not in .*--alias contempt=$"):
        read(tmp_path, classes=names)
    left = read(tmp_path, classes=names, alias={"contempt": ""})
    assert left.labeled.tolist() == [True, True, False]
    assert given_names(read(tmp_path, classes=names, alias={"contempt": "disgust"}))[2] == "disgust"


def test_affectnet_bad_landmarks_and_codes(tmp_path: Path) -> None:
    build.affectnet_csv(tmp_path, [0, 1])
    file = tmp_path / "training.csv"
    file.write_text(file.read_text().replace("0;1;2;3", "0;1;2"))
    with pytest.raises(InputError, match=r"training.csv row 2: facial_landmarks holds 135 numbers"):
        read(tmp_path)
    build.affectnet_csv(tmp_path, [0, 12])
    with pytest.raises(InputError, match=r"training.csv row 3: label 12 is not a code of AffectNet"):
        read(tmp_path)
    file.write_text("subDirectory_filePath,face_x\na.jpg,1\n")
    with pytest.raises(InputError, match=r"training.csv has no column 'expression'; its columns are subDir"):
        read(tmp_path)


def test_affectnet_npy(tmp_path: Path) -> None:
    build.affectnet_npy(tmp_path, [3, 0, 7, *range(8)])
    build.affectnet_npy(tmp_path, [1], folder="val_set")
    notes = tmp_path / "train_set" / "annotations"
    (notes / "1_lnd.npy").unlink()
    (notes / "2_exp.npy").unlink()
    (tmp_path / "train_set" / "images" / "0.jpg").unlink()
    samples = read(tmp_path)
    assert samples.ids[:3].tolist() == [f"train_set/images/{i}.jpg" for i in range(3)]
    assert samples.ids[10] == "train_set/images/10.jpg"
    assert given_names(samples)[:4] == ["surprise", "neutral", "", "neutral"]
    assert samples.split is not None
    assert samples.split[-2:].tolist() == ["train", "val"]
    assert samples.points is not None
    assert samples.points[0, 1].tolist() == [2, 3]
    assert np.isnan(samples.points[1]).all()
    with pytest.raises(UnreadableImage, match="file not found"):
        open_face(samples, 0)
    assert recognize(tmp_path) == ("affectnet-npy", "found images/ and annotations/ in train_set, val_set")
    assert read(tmp_path / "val_set").ids.tolist() == ["images/0.jpg"]


def test_affectnet_npy_never_unpickles(tmp_path: Path) -> None:
    build.affectnet_npy(tmp_path, [3, 0])
    file = tmp_path / "train_set" / "annotations" / "0_exp.npy"
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"0_exp.npy cannot be read as a NumPy array of numbers: it holds pickled"):
        read(tmp_path)
    file.write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"0_exp.npy cannot be read as a NumPy array"):
        read(tmp_path)
    np.save(file, np.array("3"))
    np.save(tmp_path / "train_set" / "annotations" / "1_lnd.npy", np.zeros(10))
    with pytest.raises(InputError, match=r"1_lnd.npy: expected 136 numbers"):
        read(tmp_path)


def test_expw_has_several_faces_a_picture(tmp_path: Path) -> None:
    lines = ["a b.jpg 0 1 2 8 9 31.5 3", "a b.jpg 1 0 10 16 5 30 0", "c.jpg 0 0 0 4 4 20.0 6"]
    build.expw(tmp_path, lines, ["a b.jpg", "c.jpg"])
    samples = read(tmp_path)
    assert samples.ids.tolist() == ["a b.jpg#0", "a b.jpg#1", "c.jpg#0"]
    assert given_names(samples) == ["happiness", "anger", "neutral"]
    assert samples.classes == FER
    assert samples.boxes is not None
    assert samples.boxes[0].tolist() == [2, 1, 8, 9]
    assert [open_face(samples, i).size for i in range(3)] == [(6, 8), (6, 5), (4, 4)]
    assert recognize(tmp_path) == ("expw", "found label.lst")
    build.expw(tmp_path, [*lines, "c.jpg 0 0 0 4 4 20.0 6"])
    with pytest.raises(InputError, match=r"line 4: id 'c.jpg#0' stands already in label.lst line 3"):
        read(tmp_path)
    build.expw(tmp_path, ["c.jpg 0 0 0 4 4 6"])
    with pytest.raises(InputError, match=r"label.lst line 1: 'c.jpg 0 0 0 4 4 6' is not image_name face_id"):
        read(tmp_path)


def test_fer2013(tmp_path: Path) -> None:
    build.fer2013(tmp_path / "fer2013.csv", [0, 3, 6], ["Training", "PublicTest", "PrivateTest"])
    samples = read(tmp_path)
    assert (samples.layout, samples.classes) == ("fer2013", FER)
    assert samples.ids.tolist() == ["00000", "00001", "00002"]
    assert given_names(samples) == ["anger", "happiness", "neutral"]
    assert samples.split is not None
    assert samples.split.tolist() == ["train", "val", "test"]
    assert [grey(samples, i) for i in range(3)] == [0, 1, 2]
    assert samples.images is not None
    assert samples.images.name(1) == "fer2013.csv row 3"
    assert open_face(samples, 0).size == (4, 4)
    test = read(tmp_path / "fer2013.csv", split="PrivateTest")
    assert (test.ids.tolist(), grey(test, 0)) == (["00002"], 2)
    with pytest.raises(InputError, match="leave --images out"):
        read(tmp_path, images=tmp_path)


def test_fer2013_blocks_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 7
    build.fer2013(tmp_path / "fer2013.csv", [i % 7 for i in range(n)], ["Training"] * n)
    for block in (1, 3, 7, 100):
        monkeypatch.setattr("fercleaner.datasets.fer2013._BLOCK", block)
        samples = read(tmp_path)
        assert [grey(samples, i) for i in range(n)] == list(range(n))


def test_fer2013_spaced_header_and_no_usage(tmp_path: Path) -> None:
    build.text(
        tmp_path / "icml_face_data.csv",
        "emotion, Usage, pixels\n0, Training, 1 2 3 4\n1, PublicTest, 5 6 7 8\n",
    )
    samples = read(tmp_path)
    assert samples.split is not None
    assert samples.split.tolist() == ["train", "val"]
    build.text(tmp_path / "b" / "test.csv", "pixels\n1 2 3 4\n5 6 7 8\n")
    bare = read(tmp_path / "b" / "test.csv")
    assert (bare.split, bare.labeled.any(), len(bare.classes)) == (None, False, 7)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("emotion,pixels\n0,1 2 3\n", r"row 2: 3 pixels are no square picture"),
        ("emotion,pixels\n0,1 2 3 4\n1,1\n", r"row 3: 1 pixels, the rows above have 4"),
        ("emotion,pixels\n0,1 2 3 300\n", r"row 2: pixels must be integers from 0 to 255"),
        ("emotion,pixels\n0,1 2 x 4\n", r"row 2: pixels must be integers"),
        ("emotion,pixels\n0,\n", r"row 2: pixels must be integers"),
        (
            "emotion,pixels\n0,1 2 3 4\nglad,1 2 3 4\n",
            r"row 3: label 'glad' is not an integer; FER2013 uses 0 anger",
        ),
        ("emotion,pixels\n0,1 2 3 4\n9,1 2 3 4\n", r"row 3: label 9 is not a code of FER2013"),
        ("emotion,pixels\n0,1 2 3 4,x\n", r"row 2: 3 cells, the header has 2"),
        ("emotion,pixels\n", r"has a header but no rows"),
    ],
)
def test_fer2013_bad_rows(tmp_path: Path, content: str, message: str) -> None:
    build.text(tmp_path / "fer2013.csv", content)
    with pytest.raises(InputError, match=message):
        read(tmp_path)


def test_layout_can_be_overruled_and_misspelled(tmp_path: Path) -> None:
    build.class_folders(tmp_path, ["happy/a.png", "sad/b.png"])
    build.text(tmp_path / "labels.csv", "image,label\nhappy/a.png,sad\nsad/b.png,happy\n")
    assert recognize(tmp_path) == ("manifest", "found labels.csv")
    assert given_names(read(tmp_path)) == ["sadness", "happiness"]
    assert given_names(read(tmp_path, layout="folders")) == ["happiness", "sadness"]
    with pytest.raises(InputError, match=r"'folder' is not a layout .*Did you mean 'folders'\?"):
        read(tmp_path, layout="folder")
    for name in LAYOUTS.keys() - {"folders", "manifest"}:
        with pytest.raises(InputError):
            read(tmp_path, layout=name)


def test_select_keeps_rows_aligned(tmp_path: Path) -> None:
    build.affectnet_csv(tmp_path, [0, 1, 2])
    samples = read(tmp_path)
    part = select(samples, np.array([2, 0]))
    assert part.ids.tolist() == samples.ids[[2, 0]].tolist()
    assert part.points is not None
    assert samples.points is not None
    assert part.points[0].tolist() == samples.points[2].tolist()
    assert part.images is not None
    assert part.images.name(0) == samples.paths[2]
