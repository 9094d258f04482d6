"""Published sets as their authors and copyists ship them, and lists made on another machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import fercleaner
from fercleaner.core.errors import InputError
from fercleaner.core.expressions import CLASS_SETS
from fercleaner.datasets.annotators import read_annotations
from fercleaner.datasets.describe import sentences
from fercleaner.datasets.options import ReadOptions
from fercleaner.datasets.truth import read_truth
from fercleaner.encoders.vectors import read_view

NAMES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
N = 28
PIXELS = " ".join(["7"] * 16)


def table(folder: Path, head: str, row: str, name: str = "faces.csv", n: int = N) -> Path:
    """Write a table: `row` holds {i}, {code} (0 to 6) and {name} (that of the code in alphabetical order)."""
    lines = [row.format(i=i, code=i % 7, name=NAMES[i % 7]) for i in range(n)]
    (folder / name).write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return folder / name


def pictures(folder: Path, n: int = N) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        Image.new("L", (8, 8), i).save(folder / f"f{i}.png")


def refused(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as error:
        fercleaner.read(path, **options)
    return str(error.value)


def aliases(words: str) -> dict[str, str]:
    """Return what the options --alias in a message say."""
    said = words.split()
    return dict(said[k + 1].split("=") for k, word in enumerate(said) if word == "--alias")


def test_contempt_in_a_csv_of_fer2013s_layout_is_asked_about_with_ways_that_work(tmp_path: Path) -> None:
    codes = np.arange(40) % 8
    pd.DataFrame({"emotion": codes, "pixels": PIXELS}).to_csv(tmp_path / "ck.csv", index=False)
    message = refused(tmp_path / "ck.csv")
    ways = {who: rest for who, _, rest in (part.partition(", say so: ") for part in message.split("the codes of ")[1:])}
    assert list(ways) == ["the pixel csv of CK+", "FERPlus"]
    ck = fercleaner.read(tmp_path / "ck.csv", alias=aliases(ways["the pixel csv of CK+"]))
    assert ck.classes == ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt")
    assert ck.label.tolist() == codes.tolist()
    plus = fercleaner.read(tmp_path / "ck.csv", alias=aliases(ways["FERPlus"].split(" Leave")[0]))
    assert [plus.classes[k] for k in plus.label[:3]] == ["neutral", "happiness", "surprise"]
    pd.DataFrame({"emotion": codes % 7 + 1, "pixels": PIXELS}).to_csv(tmp_path / "own.csv", index=False)
    own = refused(tmp_path / "own.csv")
    assert "Were the labels counted from 1?" in own
    assert "CK+ itself, say so: --alias 1=anger --alias 2=contempt" in own


def test_an_alias_to_a_known_expression_widens_a_closed_class_set(tmp_path: Path) -> None:
    pd.DataFrame({"emotion": np.arange(40) % 8, "pixels": PIXELS}).to_csv(tmp_path / "a.csv", index=False)
    said = refused(tmp_path / "a.csv", alias={"7": "contemt"})
    assert "label '7' is to be 'contemt', as --alias says, which is not in the class set" in said


def test_names_beside_codes_are_told_and_may_not_contradict_them(tmp_path: Path, caplog) -> None:
    file = table(tmp_path, "image,label,emotion", "{i}.png,{code},{name}")
    assert fercleaner.read(file).classes == tuple("0123456")
    assert "'emotion' has the names that they stand for. --column label=emotion" in caplog.text
    message = refused(file, classes=["fer2013"])
    assert "row 6: label 4 was taken for 'sadness', but the column 'emotion' says 'neutral'" in message
    named = fercleaner.read(file, alias=aliases(message))
    assert [named.classes[k] for k in named.label[:7]] == list(NAMES)
    assert len(fercleaner.read(file, classes=list(NAMES)).classes) == 7  # codes in this very order
    own = fercleaner.read(file, classes=["fer2013"], alias={"4": "sadness", "5": "surprise", "6": "neutral"})
    assert [own.classes[k] for k in own.label[4:7]] == ["sadness", "surprise", "neutral"]  # what is said counts


@pytest.mark.parametrize("mark", ["", "nan", "-"])
def test_names_that_are_missing_beside_some_codes_say_nothing(tmp_path: Path, mark: str) -> None:
    file = table(tmp_path, "image,label,emotion", "{i}.png,{code},{name}")
    lines = file.read_text().splitlines()
    lines[-3] = lines[-3].replace("neutral", mark)  # a face of code 4
    file.write_text("\n".join(lines))
    assert fercleaner.read(file).labeled.all()
    named = fercleaner.read(file, alias=aliases(refused(file, classes=["fer2013"])))
    assert [named.classes[k] for k in named.label[:7]] == list(NAMES)
    assert named.labeled.all()


def test_names_beside_codes_in_fer2013s_layout(tmp_path: Path) -> None:
    file = table(tmp_path, "id,emotion,emotion_name,pixels", f"x{{i}},{{code}},{{name}},{PIXELS}")
    message = refused(file)
    assert "label 4 was taken for 'sadness', but the column 'emotion_name' says 'neutral'" in message
    samples = fercleaner.read(file, alias=aliases(message))
    assert [samples.classes[k] for k in samples.label[:7]] == list(NAMES)
    assert "Columns: label from 'emotion'; left out: id, emotion_name." in sentences(samples)


def test_a_view_of_whole_numbers_called_as_what_is_known_of_a_face_says_why(tmp_path: Path) -> None:
    file = table(tmp_path, "image,label", "{i}.png,{name}")
    samples = fercleaner.read(file)
    numbers = {name: np.random.default_rng(0).integers(0, 90, N) for name in ("age", "y", "width")}
    view = tmp_path / "v.parquet"
    pd.DataFrame({"id": samples.ids, **numbers}).to_parquet(view)
    with pytest.raises(InputError, match=r"columns of numbers \(age, y, width\) .* rename them \(f0, f1, \.\.\.\)"):
        read_view("v", view, samples)
    pd.DataFrame({"id": samples.ids, **{f"f{k}": v for k, v in enumerate(numbers.values())}}).to_parquet(view)
    assert read_view("v", view, samples).values.shape == (N, 3)


@pytest.mark.parametrize(
    ("row", "images"),
    [
        ("my%20faces/f{i}.png", ""),
        ("C:\\Users\\me\\my faces\\f{i}.png", ""),
        ("C:\\Users\\me\\f{i}.png", "my faces"),
        ("/home/me/my faces/f{i}.png", ""),
        ("my faces/f{i}.png", "my faces"),
    ],
)
def test_pictures_of_a_list_from_elsewhere_are_found_and_told(tmp_path: Path, row: str, images: str, caplog) -> None:
    pictures(tmp_path / "my faces")
    file = table(tmp_path, "image,label", f"{row},{{name}}")
    samples = fercleaner.read(file, images=tmp_path / images if images else None)
    assert all(Path(path) == tmp_path / "my faces" / f"f{i}.png" for i, path in enumerate(samples.paths))
    assert samples.ids[3] == row.format(i=3)
    assert "no picture is where it is said to be" in caplog.text


def test_pictures_of_a_list_from_elsewhere_are_found_though_some_are_missing(tmp_path: Path) -> None:
    pictures(tmp_path / "faces", 20)
    samples = fercleaner.read(table(tmp_path, "image,label", "C:\\Users\\me\\faces\\f{i}.png,{name}"))
    assert all(Path(path) == tmp_path / "faces" / f"f{i}.png" for i, path in enumerate(samples.paths))


def test_pictures_are_left_where_they_are_said_to_be_if_two_would_become_one(tmp_path: Path, caplog) -> None:
    pictures(tmp_path / "faces", 2)
    rows = "".join(f"C:\\{i}\\f{i % 2}.png,{NAMES[i % 7]}\n" for i in range(N))
    (tmp_path / "faces.csv").write_text(f"image,label\n{rows}")
    samples = fercleaner.read(tmp_path / "faces.csv", images=tmp_path / "faces")
    assert "where it is said" not in caplog.text
    assert len(set(samples.paths.tolist())) == N
    pictures(tmp_path / "plain")
    caplog.clear()
    fercleaner.read(table(tmp_path / "plain", "image,label", "f{i}.png,{name}"))
    assert caplog.messages == []


def test_a_set_is_read_again_as_it_was(tmp_path: Path) -> None:
    file = table(tmp_path, "Bild,gt", "{i}.png,{code}")
    assert "read_as" not in fercleaner.read(table(tmp_path, "image,label", "{i}.png,{name}", "plain.csv")).provenance
    said = {"columns": {"image": "Bild", "label": "gt"}, "classes": ["fer2013"], "alias": {"3": ""}}
    samples = fercleaner.read(file, **said)
    assert samples.provenance["read_as"] == {"layout": "manifest", **said}
    again = fercleaner.datasets.read_again(file, samples.provenance["read_as"])
    assert np.array_equal(again.given, samples.given)
    assert again.classes == samples.classes


@pytest.mark.parametrize("later", [{"cropped": "loose"}, {"votes": {"cropped": 2}}])
def test_what_a_later_version_read_a_set_with_is_an_error_that_names_it(tmp_path: Path, later: dict[str, Any]) -> None:
    file = table(tmp_path, "image,label", "{i}.png,{name}")
    with pytest.raises(InputError, match="was read with cropped, which this version"):
        fercleaner.datasets.read_again(file, later)


def expw(folder: Path, row: str) -> Path:
    """Write ExpW's list with square boxes: `row` holds {x}, {y}, {r} = x + side, {b} = y + side."""
    rng = np.random.default_rng(0)
    lines = []
    for i in range(40):
        x, y, side = (int(number) for number in rng.integers((0, 0, 40), (600, 400, 300)))
        lines.append(f"a_{i}.jpg 0 {row.format(x=x, y=y, r=x + side, b=y + side, s=side)} 22.9 {i % 7}\n")
    folder.mkdir()
    (folder / "label.lst").write_text("".join(lines))
    return folder


def test_edges_of_boxes_in_another_order_are_refused(tmp_path: Path) -> None:
    sound = fercleaner.read(expw(tmp_path / "sound", "{y} {x} {r} {b}"))
    assert sound.boxes is not None
    assert (sound.boxes[:, 2] > sound.boxes[:, 0]).all()
    for k, order in enumerate(("{x} {y} {r} {b}", "{y} {x} {b} {r}", "{y} {x} {s} {s}")):
        assert "are the edges in another order, or width and height?" in refused(expw(tmp_path / str(k), order))


def test_boxes_that_no_order_of_edges_makes_alike_are_read(tmp_path: Path) -> None:
    def mostly(order: str) -> Path:
        """Write boxes of which a third are none."""
        file = expw(tmp_path / order[1], order) / "label.lst"
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(f"a_{i}.jpg 0 0 0 0 0 22.9 {i % 7}\n" if i % 3 == 0 else lines[i] for i in range(40)))
        return file.parent

    assert len(fercleaner.read(mostly("{y} {x} {r} {b}"))) == 40
    assert "are the edges in another order" in refused(mostly("{x} {y} {r} {b}"))
    file = tmp_path / "y" / "label.lst"
    rng = np.random.default_rng(0)
    rows = []
    for i in range(60):
        x, y, height = (int(number) for number in rng.integers((0, 0, 40), (600, 400, 300)))
        rows.append(f"a_{i}.jpg 0 {y} {x} {x + int(height * np.exp(rng.normal(0, 0.4)))} {y + height} 22.9 {i % 7}\n")
    file.write_text("".join(rows))
    assert len(fercleaner.read(tmp_path / "y")) == 60
    edges = rng.integers(1, 900, (60, 4)).tolist()
    file.write_text("".join(f"a_{i}.jpg 0 {' '.join(map(str, edges[i]))} 22.9 {i % 7}\n" for i in range(60)))
    assert len(fercleaner.read(tmp_path / "y")) == 60


@pytest.mark.parametrize(
    ("scheme", "names", "groups", "labels"),
    [
        ("JAFFE", ["KA.AN1.39.tiff", "KA.NE2.40.tiff", "YM.SU3.61.tiff.tiff"], ["KA", "KA", "YM"], "ans"),
        ("KDEF", ["AF01/AF01ANFL.JPG", "AF01/AF01NES.JPG", "BF01/BF01SUHR.JPG"], ["F01", "F01", "F01"], "ans"),
        (
            "RaFD",
            [f"Rafd090_0{k}_Caucasian_{who}_frontal.jpg" for k, who in ((1, "male_angry"), (2, "female_contemptuous"))],
            ["01", "02"],
            "ac",
        ),
    ],
)
def test_names_of_files_that_say_subject_and_expression(
    tmp_path: Path, scheme: str, names: list[str], groups: list[str], labels: str
) -> None:
    for k in range(4):
        for file in names:
            place = tmp_path / "set" / f"part{k}" / file
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8)).save(place, "PNG")
    found = fercleaner.datasets.recognize(tmp_path / "set")
    assert found == ("named", f"its pictures are called as those of {scheme} are")
    samples = fercleaner.read(tmp_path / "set")
    assert samples.group is not None
    said = {Path(name).name: group for name, group in zip(samples.ids.tolist(), samples.group.tolist(), strict=True)}
    assert [said[Path(file).name] for file in names] == groups
    first = {Path(name).name: samples.classes[k][0] for name, k in zip(samples.ids, samples.label, strict=True)}
    assert "".join(first[Path(file).name] for file in names) == labels


def test_a_picture_whose_name_says_nothing_is_unlabeled_and_class_folders_come_first(tmp_path: Path) -> None:
    for k in range(20):
        for folder in ("flat", "happy", "sad"):
            place = (
                tmp_path
                / ("flat" if folder == "flat" else f"classes/{folder}")
                / f"AF{k + 1:02d}{'AN' if k % 2 else 'HA'}S.JPG"
            )
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8)).save(place)
    Image.new("L", (8, 8)).save(tmp_path / "flat" / "AF31V.JPG")
    samples = fercleaner.read(tmp_path / "flat")
    assert samples.notes is not None
    assert samples.notes[~samples.labeled].tolist() == ["its name says no expression"]
    assert fercleaner.datasets.recognize(tmp_path / "classes").layout == "folders"


@pytest.mark.parametrize("above", [("",), ("train", "test")])
def test_folders_of_one_expression_each_are_the_classes_whatever_pictures_are_called(
    tmp_path: Path, above: tuple[str, ...]
) -> None:
    for k in range(10):
        for code, said in enumerate(("AN", "HA", "SA")):
            code = (code + (k == 0)) % 3  # some labels differ from the names
            place = tmp_path / above[k % len(above)] / str(code) / f"AF{k + 1:02d}{said}S.JPG"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8)).save(place)
    samples = fercleaner.read(tmp_path)
    assert samples.classes == ("0", "1", "2")
    assert [samples.classes[k] for k in samples.label] == [Path(name).parent.name for name in samples.ids.tolist()]
    assert fercleaner.read(tmp_path, layout="named").classes == ("anger", "happiness", "sadness")


def test_folders_of_splits_above_names_that_say_the_expression_are_splits(tmp_path: Path) -> None:
    for k in range(10):
        for said in ("AN", "HA", "SA"):
            place = tmp_path / ("Training" if k < 7 else "Test") / f"AF{k + 1:02d}{said}S.JPG"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8)).save(place)
    samples = fercleaner.read(tmp_path)
    assert samples.classes == ("anger", "happiness", "sadness")
    assert samples.split is not None
    assert sorted(samples.split.tolist()) == ["test"] * 9 + ["train"] * 21


def test_classes_in_the_one_folder_of_each_split(tmp_path: Path, caplog) -> None:
    for split, inside in (("Train", "Train_Aligned_Faces"), ("Val", "Val_Aligned_Faces_new")):
        for name in ("Angry", "Happy"):
            pictures(tmp_path / split / inside / name, 3)
    pictures(tmp_path / "Test" / "Test_Aligned_Faces", 2)
    samples = fercleaner.read(tmp_path)
    assert samples.classes == ("anger", "happiness")
    assert samples.labeled.sum() == 12
    assert samples.split is not None
    assert sorted(set(samples.split.tolist())) == ["test", "train", "val"]
    assert "the classes are the folders in Test/Test_Aligned_Faces, Train/Train_Aligned_Faces" in caplog.text
    pictures(tmp_path / "own" / "train" / "smirk", 3)
    pictures(tmp_path / "own" / "train" / "grin", 3)
    pictures(tmp_path / "own" / "test" / "smirk", 3)
    assert fercleaner.read(tmp_path / "own").labeled.all()
    for split in ("train", "test"):
        for name in ("Angry", "Happy"):
            pictures(tmp_path / "other" / split / "aligned" / name, 3)
    assert "every label would be 'aligned'" in refused(tmp_path / "other")


def test_folders_of_many_videos_are_no_classes(tmp_path: Path) -> None:
    for k in range(51):
        pictures(tmp_path / f"{k}-30-1280x720", 3)
    assert "(51 in all)) look like subjects or sequences, not classes" in refused(tmp_path)
    named = fercleaner.read(tmp_path, classes=[folder.name for folder in sorted(tmp_path.iterdir())])
    assert named.labeled.all()
    assert len(named.classes) == 51


def test_codes_of_many_classes_in_a_column_of_labels_are_read(tmp_path: Path) -> None:
    (tmp_path / "f2ed.csv").write_text("image,label\n" + "".join(f"{i}.png,{i % 54}\n" for i in range(540)))
    assert fercleaner.read(tmp_path / "f2ed.csv").label[:60].tolist() == [i % 54 for i in range(60)]


def test_classes_that_are_no_expressions_and_codes_of_no_set_are_told(tmp_path: Path) -> None:
    file = table(tmp_path, "image,label", "{i}.png,c{code}")
    assert any("No class is named after an expression" in line for line in sentences(fercleaner.read(file)))
    file = table(tmp_path, "image,label", "{i}.png,{code}")
    assert any("--classes fer2013 (if these are the codes of FER2013)" in s for s in sentences(fercleaner.read(file)))
    (tmp_path / "one.csv").write_text("image,label\n" + "".join(f"{i}.png,{i % 7 + 1}\n" for i in range(N)))
    said = " ".join(sentences(fercleaner.read(tmp_path / "one.csv")))
    assert "--classes rafdb (if these are the codes of RAF-DB (basic))" in said
    assert "fer2013" not in said
    assert "affectnet8" not in said  # which has these codes and another


def test_lists_of_aff_wild2_and_of_affectnet_without_names(tmp_path: Path) -> None:
    head = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
    assert "as Aff-Wild2 has them" in refused(table(tmp_path, head, "{code}", "video1.txt"))
    row = "{i}/{i}.jpg,1,1,9,9,NULL,{code},0.1,0.2"
    names = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    table(tmp_path, names, row, "training.csv")
    table(tmp_path, names, row, "automatically_annotated.csv")
    assert "not read: automatically_annotated.csv" in fercleaner.datasets.recognize(tmp_path).why
    table(tmp_path, row.format(i=0, code=0), row, "validation.csv")
    assert f"Put AffectNet's names above it: {names}" in refused(tmp_path)


def test_one_choice_in_json_is_that_label(tmp_path: Path) -> None:
    rows = "".join(f'{i}.png,"{{""choices"":[""{NAMES[i % 7]}""]}}"\n' for i in range(N))
    (tmp_path / "a.csv").write_text(f"image,emotion\n{rows}")
    assert fercleaner.read(tmp_path / "a.csv").classes == NAMES


def test_names_beside_codes_in_a_truth_and_in_a_table_of_annotators(tmp_path: Path) -> None:
    samples = fercleaner.read(table(tmp_path, "image,label", "{i}.png,{name}"))
    file = table(tmp_path, "image,label,emotion", "{i}.png,{code},{name}", "truth.csv")
    assert read_truth(file, samples.classes).label.tolist() == samples.label.tolist()
    with pytest.raises(InputError, match="label 4 was taken for 'sadness', but the column 'emotion' says 'neutral'"):
        read_truth(file, samples.classes, label_column="label", options=ReadOptions(classes=["fer2013"]))
    noisy = table(tmp_path, "image,label,emotion", "{i}.png,{code},{name}", "noisy.csv")
    noisy.write_text(noisy.read_text().replace("5.png,5,sadness", "5.png,5,anger"))
    assert len(read_truth(noisy, samples.classes, label_column="label", options=ReadOptions(classes=["fer2013"]))) == N
    people = table(tmp_path, "image,annotator,label", "{i}.png,p,{code}", "people.csv")
    fer = read_annotations(people, samples, ReadOptions(classes=["fer2013"]))
    assert [samples.classes[k] for k in fer.label[:7]] == list(CLASS_SETS["fer2013"].classes)
    assert read_annotations(people, samples, ReadOptions(classes=samples.classes)).label[:7].tolist() == list(range(7))


@pytest.mark.parametrize("names", ["xmin,ymin,xmax,ymax", "X1,Y1,X2,Y2", "face_x,face_y,face_width,face_height"])
def test_boxes_under_other_names_are_pointed_to(tmp_path: Path, names: str) -> None:
    said = sentences(fercleaner.read(table(tmp_path, f"image,label,{names}", "{i}.png,{name},1,2,30,40")))
    assert f"If the columns {names.replace(',', ', ')} say where the face is" in said[-1]
    boxed = fercleaner.read(table(tmp_path, f"image,label,box,{names}", "{i}.png,{name},1 2 30 40,1,2,30,40"))
    assert not any("say where the face is" in line for line in sentences(boxed))


def test_a_decimal_comma_in_codes_is_pointed_to(tmp_path: Path) -> None:
    assert "a decimal comma? Write it with none" in refused(table(tmp_path, "image;label", "{i}.png;{code},0"))


def test_what_a_caller_says_of_labels_is_text(tmp_path: Path) -> None:
    file = table(tmp_path, "image,label", "{i}.png,{code}")
    named = fercleaner.read(file, alias=dict(enumerate(NAMES)))  # type: ignore[misc]
    assert named.classes == NAMES
    assert fercleaner.read(file, classes=np.array(NAMES)).classes == NAMES  # type: ignore[arg-type]
    for options in ({"alias": {"0": 3}}, {"classes": ["a", 1]}, {"columns": {"label": 1}}, {"alias": {"0": None}}):
        assert "expected text" in refused(file, **options)


@pytest.mark.parametrize(
    ("codes", "sets"),
    [
        (range(1, 8), ["rafdb"]),
        (range(7), ["fer2013", "affectnet7", "expw"]),
        (range(8), ["ferplus", "affectnet8"]),
        (range(11), ["affectnet8"]),
        (range(1, 12), ["rafdb-compound"]),
        (range(1, 11), ["rafdb-compound"]),
        ((0, 2, 3, 4, 5, 6), ["fer2013", "affectnet7", "expw"]),  # FER2013 without disgust
        ((1, 2, 3, 4, 5, 6, 7, 9), []),  # lies within the codes of RAF-DB's compound set, and is three short of it
        (range(3), []),
    ],
)
def test_class_sets_are_named_only_where_the_codes_are_nearly_theirs(
    tmp_path: Path, codes: tuple[int, ...], sets: list[str]
) -> None:
    rows = "".join(f"{code}-{k}.png,{code}\n" for code in codes for k in range(12))
    (tmp_path / "faces.csv").write_text("image,label\n" + rows)
    samples = fercleaner.read(tmp_path / "faces.csv")
    said = next(sentence for sentence in sentences(samples) if sentence.startswith("The classes are the numbers"))
    assert re.findall(r"--classes ([a-z][a-z0-9-]+) ", said) == sets
