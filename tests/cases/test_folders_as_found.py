"""Folders as people have them: what is no picture is counted, what can be read in two ways is asked."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import dataset_builders as build
import numpy as np
import pytest
from PIL import Image

from fercleaner.core.errors import InputError
from fercleaner.core.types import Samples
from fercleaner.datasets import read, recognize
from fercleaner.datasets.describe import describe, sentences
from fercleaner.datasets.groups import check_groups
from fercleaner.extraction.images import FileImages, UnreadableImage, decode, open_face, read_bytes


def folder(root: Path, *files: str) -> Path:
    return build.class_folders(root, files)


@pytest.mark.parametrize("ending", ["jfif", "jpe", "pnm", "pbm", "JPG", "JFIF"])
def test_pictures_of_rarer_endings_are_read(tmp_path: Path, ending: str) -> None:
    root = folder(tmp_path / "set", "sad/a.jpg", "happy/x.png")
    picture = Image.fromarray(np.eye(8, dtype="u1") * 255).convert("1" if ending == "pbm" else "L")
    picture.save(root / "happy" / f"p.{ending}", "PPM" if ending.startswith("p") else "JPEG")
    samples = read(root)
    assert f"happy/p.{ending}" in samples.ids.tolist()
    assert open_face(samples, samples.ids.tolist().index(f"happy/p.{ending}")).size == (8, 8)


def test_what_is_left_out_is_counted_and_empty_classes_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", "sad/a.jpg", "angry/b.jpg")
    for name in (
        "happy/a.heic",
        "happy/b.HEIC",
        "happy/c.avif",
        "happy/d",
        "happy/e.jpg ",
        "sad/._a.jpg",
        "sad/Thumbs.db",
    ):
        build.text(root / name, "x")
    samples = read(root)
    assert samples.provenance["files_left_out"] == {
        ".heic": 2,
        ".avif": 1,
        ".jpg (with a blank)": 1,
        "hidden": 1,
        "no ending": 1,
    }
    assert sentences(samples)[2:] == [
        "Left out: 6 files (.heic 2, .avif 1, .jpg (with a blank) 1, hidden 1, no ending 1).",
        "No picture was found in happy: no face is of that class unless others are.",
    ]


@pytest.mark.parametrize(
    "name", ["@eaDir", "$RECYCLE.BIN", "System Volume Information", "__MACOSX", ".thumbs", "#recycle"]
)
def test_system_folders_are_no_class(tmp_path: Path, name: str) -> None:
    root = folder(tmp_path / "set", "sad/a.jpg", "happy/b.jpg", f"{name}/c.jpg", f"sad/{name}/d.jpg")
    samples = read(root)
    assert samples.ids.tolist() == ["happy/b.jpg", "sad/a.jpg"]
    assert samples.provenance["folders_left_out"].count(name) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_followed_out_of_the_set_and_nowhere_twice(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", "sad/a.jpg", "happy/b.jpg")
    folder(tmp_path / "store", "c.jpg")
    os.symlink(tmp_path / "store", root / "happy" / "more")
    os.symlink(root / "sad", root / "happy" / "back")
    os.symlink(root, root / "happy" / "loop")
    os.symlink(root / "happy", root / "glad")
    os.symlink("self", root / "sad" / "self")
    samples = read(root)
    assert samples.ids.tolist() == ["happy/b.jpg", "happy/more/c.jpg", "sad/a.jpg"]
    assert samples.provenance["folders_left_out"] == ["happy/back (a link)", "happy/loop (a link)", "glad"]
    assert samples.provenance["empty_classes"] == ["glad"]


def test_classes_a_level_below_are_asked_about(tmp_path: Path) -> None:
    root = folder(tmp_path / "a", "images/happy/a.jpg", "images/sad/b.jpg")
    build.text(root / "docs" / "x.txt", "x")
    with pytest.raises(InputError, match=r"every label would be 'images'.* \(happy, sad\).*name it: .*images"):
        read(root)
    two = folder(tmp_path / "b", "aligned/happy/a.jpg", "aligned/sad/b.jpg", "original/happy/a.jpg")
    with pytest.raises(
        InputError, match=r"can be its folders \(aligned, original\) or those a level below \(happy, sad"
    ):
        read(two)
    subjects = folder(tmp_path / "c", "s01/01_happy/a.jpg", "s01/02_sad/b.jpg", "s02/01_happy/a.jpg")
    with pytest.raises(InputError, match="a level below"):
        read(subjects)
    split = folder(tmp_path / "d", "train/images/happy/a.jpg", "train/images/sad/b.jpg", "test/images/sad/b.jpg")
    with pytest.raises(InputError, match="every label would be 'images'"):
        read(split)
    right = folder(tmp_path / "e", "happy/s01/a.jpg", "sad/s01/b.jpg", "sad/s02/b.jpg")
    assert read(right).classes == ("happiness", "sadness")
    assert recognize(right).layout == "folders"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_and_devices_are_no_files(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", "sad/a.jpg", "happy/b.jpg")
    os.mkfifo(root / "sad" / "pipe.jpg")
    assert read(root).provenance["files_left_out"] == {"no regular file": 1}
    with pytest.raises(UnreadableImage, match="no regular file"):
        read_bytes(FileImages([str(root / "sad" / "pipe.jpg")]), 0)
    with pytest.raises(UnreadableImage, match="no regular file"):
        read_bytes(FileImages(["/dev/zero"]), 0)
    with pytest.raises(UnreadableImage, match="no valid file name"):
        read_bytes(FileImages(["a\0b"]), 0)
    os.mkfifo(tmp_path / "s.csv")
    with pytest.raises(InputError, match=r"s\.csv is no regular file but a pipe"):
        read(tmp_path / "s.csv")


@pytest.mark.parametrize("white", [255, 511, 1023, 4095, 65535])
def test_gray_maps_are_scaled_by_the_white_they_state(white: int) -> None:
    gray = (np.mgrid[0:6, 0:40][1] * 6).astype("u2")
    values = np.rint(gray / 255 * white).astype(">u2" if white > 255 else "u1")
    picture = np.asarray(decode(b"P5 40 6 %d\n" % white + values.tobytes()))[..., 0]
    assert np.abs(picture.astype(int) - gray).max() <= (1 if white == 511 else 0)


@pytest.mark.parametrize("header", ["image label", "file name,label", "name\temotion"])
def test_a_list_whose_first_line_names_the_columns(tmp_path: Path, caplog, header: str) -> None:
    root = build.rafdb(tmp_path / "raf", [4, 5, 6])
    file = root / "EmoLabel" / "list_patition_label.txt"
    file.write_text(f"{header}\n{file.read_text()}")
    samples = read(root)
    assert [samples.classes[c] for c in samples.label] == ["happiness", "sadness", "anger"]
    assert caplog.text.count("names the columns and is left out") == 1
    file.write_text(f"train_a.jpg\n{file.read_text().splitlines()[1]}\n")  # a face without its code
    with pytest.raises(InputError, match=r"line 1: 'train_a.jpg' is not a file name and a code"):
        read(root)
    lines = "image_name face_id box_top box_left box_right box_bottom confidence label\na.jpg 0 1 2 3 4 60.5 3\n"
    build.text(tmp_path / "expw" / "label.lst", lines)
    assert read(tmp_path / "expw").ids.tolist() == ["a.jpg#0"]


def test_lists_with_further_fields(tmp_path: Path, caplog) -> None:
    root = build.rafdb(tmp_path / "raf", [4, 5, 6])
    file = root / "EmoLabel" / "list_patition_label.txt"
    file.write_text("train_00000.jpg 4 1\nmy face.jpg 5 11\ntest_00002.jpg\t6\t0.5 x\n")
    samples = read(root)
    assert samples.layout == "rafdb"
    assert samples.ids.tolist() == ["train_00000.jpg", "my face.jpg", "test_00002.jpg"]
    assert [samples.classes[c] for c in samples.label] == ["happiness", "sadness", "anger"]
    assert "3 lines hold more than a name and a code" in caplog.text
    file.write_text("train_00000 4 1\n")
    with pytest.raises(InputError, match=r"line 1: 'train_00000 4 1' is not a file name and a code"):
        read(root)
    build.text(tmp_path / "expw" / "label.lst", "a b.jpg 0 1 2 3 4 60.5 3 9\nc.jpg 1 1 2 3 4 50 6\n")
    samples = read(tmp_path / "expw")
    assert (samples.ids.tolist(), samples.label.tolist()) == (["a b.jpg#0", "c.jpg#1"], [3, 6])


def grouped(group: list[str], label: list[int], site: list[str] | None = None) -> Samples:
    n = len(group)
    given = np.eye(3, dtype="f4")[label]
    ids = np.array([str(i) for i in range(n)])
    return Samples(
        ids,
        ("a", "b", "c"),
        given,
        np.ones(n, bool),
        np.full(n, ""),
        group=np.array(group),
        site=None if site is None else np.array(site),
    )


def test_groups_that_hold_whole_classes() -> None:
    with pytest.raises(InputError, match=r"Every face of a is in one group \('A'\), and so is every other class"):
        check_groups(grouped(list("AABBCC"), [0, 0, 1, 1, 2, 2]))
    with pytest.raises(InputError, match="so is every other class"):
        check_groups(grouped(list("AABBAA"), [0, 0, 1, 1, 2, 2]))
    assert "All labeled faces are in one group ('A')" in check_groups(grouped(list("AAAAAA"), [0, 0, 1, 1, 2, 2]))[0]
    assert (
        "Classes with all faces in one group: c ('A', 2)"
        in check_groups(grouped(list("ABABAA"), [0, 0, 1, 1, 2, 2]))[0]
    )
    assert check_groups(grouped(list("ABABAB"), [0, 0, 1, 1, 2, 2])) == []
    sites = check_groups(grouped(list("ABABAB"), [0, 0, 1, 1, 2, 2], list("XXYYZZ")))
    assert "Every site holds one class alone" in sites[0]


def test_huggingface_splits_with_columns_in_another_order(tmp_path: Path) -> None:
    hf = pytest.importorskip("datasets", reason="the extra huggingface is not installed")
    train = hf.Dataset.from_dict({"image": ["a"], "label": ["happy"]})
    hf.DatasetDict(train=train, test=hf.Dataset.from_dict({"label": ["sad"], "image": ["b"]})).save_to_disk(
        str(tmp_path / "set")
    )
    assert read(tmp_path / "set").label.tolist() == [0, 1]


def test_what_was_read_in_words_and_as_json(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", "train/sad/a.jpg", "train/happy/b.jpg", "test/sad/c.jpg")
    shutil.copy(root / "train" / "sad" / "a.jpg", root / "train" / "x.jpg")
    samples = read(root)
    assert sentences(samples) == [
        "Read 4 faces, 2 classes; labeled 3 of 4 (75.0 %); unlabeled: 1 no label.",
        "Classes: happiness 1, sadness 2.",
        "Splits: train 3, test 1.",
        "Classes that not every split has: happiness (train).",
    ]
    said = describe(samples)
    assert (said["faces"], said["labeled"], said["unlabeled"]) == (4, 3, {"no label": 1})
    assert said["splits"] == {"train": 3, "test": 1}


def asked(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read(path)
    return str(error.value)


def test_classes_that_not_every_split_has_are_told(tmp_path: Path) -> None:
    build.class_folders(tmp_path, ["train/happy/a.png", "train/contempt/b.png", "test/Happiness/c.png"])
    assert "Classes that not every split has: contempt (train)." in sentences(read(tmp_path))


@pytest.mark.parametrize(
    "files",
    [
        ["S005/001/a.png", "S010/001/b.png"],
        ["AF01/AF01ANS.JPG", "AM02/AM02HAS.JPG"],
        ["subject_1/a.png", "subject_2/b.png"],
    ],
)
def test_folders_of_subjects_are_no_classes(tmp_path: Path, files: list[str]) -> None:
    build.class_folders(tmp_path, files)
    assert "look like subjects or sequences, not classes" in asked(tmp_path)
    assert len(read(tmp_path, classes=sorted({os.path.dirname(file).split("/")[0] for file in files})).classes) == 2


def test_roots_nested_deeper_and_pictures_without_folders(tmp_path: Path) -> None:
    build.class_folders(tmp_path / "a", ["archive/images/happy/a.png", "archive/images/sad/b.png"])
    message = asked(tmp_path / "a")
    assert "images holds several folders (happy, sad)" in message
    assert f"name it: {tmp_path / 'a' / 'archive' / 'images'}" in message
    build.class_folders(tmp_path / "b", ["KA.AN1.39.png", "KA.HA1.29.png"])
    assert "lie in no folder named after a class" in asked(tmp_path / "b")
    build.class_folders(tmp_path / "c", ["happy/a.png", "sad/b.png", "Thumbnails/c.png", "node_modules/d.png"])
    assert sorted(read(tmp_path / "c").provenance["folders_left_out"]) == ["Thumbnails", "node_modules"]


def test_pictures_that_the_lists_of_published_sets_leave_out_are_told(tmp_path: Path) -> None:
    build.rafdb(tmp_path / "raf", [5, 1, 7, 4])
    assert read(tmp_path / "raf").provenance == {"files_left_out": {}}
    build.picture(tmp_path / "raf" / "Image" / "aligned" / "train_09999_aligned.jpg")
    said = sentences(read(tmp_path / "raf"))
    assert said[-1] == "Left out: 1 file (pictures not in list_patition_label.txt 1)."
    train = tmp_path / "fer" / "FER2013Train"
    build.text(train / "label.csv", 'a.png,"(0, 0, 48, 48)",9,0,0,0,0,0,0,0,0,0\n')
    build.class_folders(tmp_path / "fer", ["FER2013Train/a.png", "FER2013Train/b.png"])
    assert read(tmp_path / "fer").provenance == {"files_left_out": {"pictures not in FER2013Train/label.csv": 1}}
