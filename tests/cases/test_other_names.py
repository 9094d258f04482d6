"""Kinds of mistakes under other names than those first reported: each is understood and told, or asked about."""

from __future__ import annotations

import logging
from pathlib import Path

import dataset_builders as build
import numpy as np
import pandas as pd
import pytest

from fercleaner.core.errors import InputError
from fercleaner.core.types import Samples
from fercleaner.datasets import VoteRules, read, recognize
from fercleaner.datasets.describe import sentences
from fercleaner.datasets.faces import match
from fercleaner.datasets.truth import read_truth
from fercleaner.review.exchange import read_decisions

CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
N = 42
LABELS = [CLASSES[i % 7] for i in range(N)]
RANDOM = np.random.default_rng(0)
SHARES = RANDOM.dirichlet([1.0] * 7, N)


def table(folder: Path, head: str, cells: list[list[object]], name: str = "faces.csv", end: str = "") -> Path:
    lines = [",".join(map(str, row)) for row in cells]
    (folder / name).write_text("\n".join([head, *lines]) + "\n" + end, encoding="utf-8")
    return folder / name


def labels(folder: Path, written: list[str], head: str = "image,label") -> Path:
    return table(folder, head, [[f"{i}.jpg", f'"{written[i % len(written)]}"'] for i in range(N)])


def given(samples: Samples) -> list[str]:
    return [samples.classes[c] if c >= 0 else "" for c in samples.label]


def refused(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as error:
        read(path, **options)  # type: ignore[arg-type]
    return str(error.value)


@pytest.mark.parametrize("name", ["gt", "ground_truth", "dominant_emotion", "labels", "Gefühl"])
def test_a_label_of_another_name_beside_scores_is_asked_about(tmp_path: Path, name: str) -> None:
    rows = [[f"{i}.jpg", LABELS[i], *SHARES[i].round(4)] for i in range(N)]
    file = table(tmp_path, ",".join(["image", name, *CLASSES]), rows)
    message = refused(file)
    assert f"the column '{name}' says 'anger', but the columns" in message
    assert f"--column label={name} takes that column, --votes given_from=votes the others" in message
    assert given(read(file, columns={"label": name})) == LABELS
    assert read(file, votes=VoteRules(given_from="votes")).votes is not None
    agreeing = [[f"{i}.jpg", CLASSES[int(SHARES[i].argmax())], *SHARES[i]] for i in range(N)]
    assert read(table(tmp_path, ",".join(["image", name, *CLASSES]), agreeing)).votes is not None


@pytest.mark.parametrize("name", ["gt", "y", "labels", "true_label", "emotion_id"])
def test_codes_of_another_name_beside_scores_are_asked_about(tmp_path: Path, name: str) -> None:
    file = table(tmp_path, ",".join(["image", name, *CLASSES]), [[f"{i}.jpg", i % 7, *SHARES[i]] for i in range(N)])
    assert f"can be the numbers in '{name}' or the columns anger" in refused(file)
    aged = table(tmp_path, ",".join(["image", "age", *CLASSES]), [[f"{i}.jpg", i % 7, *SHARES[i]] for i in range(N)])
    assert read(aged).votes is not None


def test_where_no_column_is_called_a_label_the_message_names_the_one_that_is(tmp_path: Path) -> None:
    assert "but 'y' holds expressions. If these are the given labels: --column label=y" in refused(
        labels(tmp_path, list(CLASSES), "image,y")
    )
    hot = [[f"{i}.jpg", int(i % 2), 1 - i % 2] for i in range(N)]
    assert "If is_angry, is_happy are counts or shares" in refused(table(tmp_path, "image,is_angry,is_happy", hot))
    frame = pd.DataFrame({"image": ["a", "b"], "label": [{"name": "happy"}, {"name": "sad"}]})
    frame.to_parquet(tmp_path / "s.parquet")
    assert "the column 'label' holds structs or bytes" in refused(tmp_path / "s.parquet")


def test_scores_of_a_network_are_no_votes(tmp_path: Path) -> None:
    scores = np.maximum(RANDOM.normal(size=(N, 3)) * 3, 0)
    head = "image,anger,happy,sad"
    file = table(tmp_path, head, [[f"{i}.jpg", *scores[i]] for i in range(N)])
    assert "numbers that are not whole, and rows add up to different sums" in refused(file)
    assert read(file, votes=VoteRules(given_from="votes")).votes is not None
    percent = table(
        tmp_path, head, [[f"{i}.jpg", *(100 * SHARES[i, :3] / SHARES[i, :3].sum()).round(1)] for i in range(N)]
    )
    assert len(read(percent)) == N
    some = np.column_stack([SHARES[:, :3], SHARES[:, 3:].sum(1)])
    assert len(read(table(tmp_path, head + ",unknown", [[f"{i}.jpg", *some[i]] for i in range(N)]))) == N


def test_columns_that_tell_no_faces_apart_are_no_labels(tmp_path: Path, caplog) -> None:
    head = "image,anger,happy,sad"
    same = [[f"{i}.jpg", 3, 4, 3] for i in range(N)]
    assert "the same numbers in every row" in refused(table(tmp_path, head, same))
    flat = [[f"{i}.jpg", 1, 1, 1, ("anger", "happy", "sad")[i % 3]] for i in range(N)]
    samples = read(table(tmp_path, head + ",label", flat))
    assert np.bincount(samples.label).tolist() == [14, 14, 14]
    assert "each row holds one number throughout" in caplog.text


def test_an_empty_label_column_gives_way_to_columns_of_classes(tmp_path: Path) -> None:
    rows = [[f"{i}.jpg", i % 2, 1 - i % 2, ("", "NA")[i % 2]] for i in range(N)]
    samples = read(table(tmp_path, "image,happy,sad,label", rows))
    assert np.bincount(samples.label).tolist() == [21, 21]
    assert "label" not in samples.provenance["columns"]


def test_votes_for_none_of_the_classes_under_other_names(tmp_path: Path) -> None:
    rows = [[f"{i}.jpg", 3, i % 2, 6, 0] for i in range(N)]
    file = table(tmp_path, "image,anger,happy,other,not a face", rows)
    assert read(file).labeled.all()
    assert not read(file, votes=VoteRules(unknown="unlabeled")).labeled.any()


@pytest.mark.parametrize(
    "mark", ["\\N", "(null)", "[null]", "#NULL!", "#VALUE!", "—", "np.nan", "not labeled", "k.A.", "''"]
)
def test_more_marks_for_missing(tmp_path: Path, mark: str, caplog) -> None:
    for others in (["smirk", "grin", "frown"], list(CLASSES), ["0", "1", "2", "3"]):
        samples = read(labels(tmp_path, [*others, mark]))
        assert len(samples.classes) == len(others)
        assert "Labels read as missing" in caplog.text


def test_a_word_or_a_far_number_among_codes_is_asked_about(tmp_path: Path) -> None:
    codes = list("0123456")
    assert "label 'x' is no number, but 7 other labels are" in refused(labels(tmp_path, [*codes, "x"]))
    assert len(read(labels(tmp_path, [*codes, "x"]), alias={"x": "x"}).classes) == 8
    for odd in ("9", "10", "100"):
        assert f"label '{odd}' can be a class like the others, or 'missing'" in refused(labels(tmp_path, [*codes, odd]))
    assert len(read(labels(tmp_path, [*codes, "8"])).classes) == 8  # one class without faces is common
    assert "label 'x' is no number, but 7 others are" in refused(labels(tmp_path, [*codes, "x"]), classes=CLASSES)
    samples = read(labels(tmp_path, [*codes, "-1"]), classes=CLASSES)
    assert given(samples)[:8] == [*CLASSES, ""]


@pytest.mark.parametrize(
    "cell",
    ["happy>sad", "happy_sad", "happy -> sad", "happy or sad", "happy (sad)", "happy=0.6 sad=0.4", "['happy' 'sad']"],
)
def test_several_labels_in_a_cell_however_they_are_parted(tmp_path: Path, cell: str) -> None:
    assert f"label '{cell}' holds 2 labels (happy, sad)" in refused(labels(tmp_path, [*CLASSES, cell]))
    own = cell.replace("happy", "smirk").replace("sad", "grin")
    if "0.6" not in cell and "(" not in cell and "[" not in cell:
        assert "holds 2 labels (smirk, grin)" in refused(labels(tmp_path, ["smirk", "grin", "frown", own]))


@pytest.mark.parametrize("second", ["emotion2", "emotion_2", "emotions", "emotion_text"])
def test_a_second_label_of_a_face_is_not_passed_by(tmp_path: Path, second: str) -> None:
    rows = [[f"{i}.jpg", LABELS[i], "" if i % 3 else LABELS[(i + 1) % N]] for i in range(N)]
    assert f"--column label={second}" in refused(table(tmp_path, f"image,emotion,{second}", rows))


def test_names_that_differ_in_accents_marks_or_a_plural(tmp_path: Path) -> None:
    for names in (["cafe", "café", "x"], ["smirk", "Smirk.", "y"], ["frown", "frowns", "z"]):
        assert "can be one class written in two ways, or two" in refused(labels(tmp_path, names))
        assert len(read(labels(tmp_path, names), classes=names).classes) == 3
    assert "'surprises' is no expression that is known, but nearly 'surprise'" in refused(
        labels(tmp_path, ["surprises", "sad", "happy", "bored"])
    )
    assert read(labels(tmp_path, ["bliss", "boss"])).classes == ("bliss", "boss")


def test_emoji_beside_names_and_in_two_looks(tmp_path: Path) -> None:
    assert "written in another script than 'happy'" in refused(labels(tmp_path, ["😀", "happy", "sad", "😢"]))
    assert read(labels(tmp_path, ["❤\ufe0f", "❤", "😢"])).classes == ("❤", "😢")


def test_numbers_before_every_name_do_not_count(tmp_path: Path, caplog) -> None:
    assert read(labels(tmp_path, ["0: angry", "1: happy", "2: sad"])).classes == ("anger", "happiness", "sadness")
    assert "'0: angry' is angry" in caplog.text
    root = build.class_folders(tmp_path / "set", ["0_angry/a.png", "1_happy/b.png", "2_sad/c.png"])
    assert read(root).classes == ("anger", "happiness", "sadness")
    assert read(labels(tmp_path, ["1 smirk", "2 grin"])).classes == ("1 smirk", "2 grin")
    assert "can be one class written in two ways" in refused(labels(tmp_path, ["01_sad", "02_sad", "01_happy"]))
    assert read(labels(tmp_path, ["AF", "AN", "DI", "HA", "NE", "SA", "SU"])).classes == tuple(sorted(CLASSES))


def test_lists_of_published_sets_with_names_or_another_start(tmp_path: Path) -> None:
    file = tmp_path / "EmoLabel" / "list_patition_label.txt"
    file.parent.mkdir()

    def written(form: str) -> None:
        file.write_text("".join(form.format(i=i, name=LABELS[i], low=i % 7, code=i % 7 + 1) + "\n" for i in range(N)))

    written("train_{i}.jpg {name}")
    assert given(read(tmp_path)) == LABELS
    written("train_{i}.jpg {low}")
    message = refused(tmp_path)
    assert "Were the labels counted from 0? Then say so: --alias 0=surprise --alias 1=fear" in message
    alias = dict(part.split("=") for part in message.split("--alias ")[1:8] for part in [part.split()[0]])
    assert given(read(tmp_path, alias=alias))[:3] == ["surprise", "fear", "disgust"]
    written("{code} train_{i}.jpg")
    assert "'1 train_0.jpg' is not a file name and a code" in refused(tmp_path)


@pytest.mark.parametrize(
    ("head", "end"),
    [("image,anger,happy", "Total,21,21"), ("image,anger,happy", "mean,0.5,0.5"), ("image,anger,happy\nname,0,1", "")],
)
def test_rows_at_the_ends_that_are_no_faces(tmp_path: Path, head: str, end: str) -> None:
    rows = [[f"{i}.jpg", i % 2, 1 - i % 2] for i in range(N)]
    assert "is no picture's name, while those of the other rows are" in refused(table(tmp_path, head, rows, end=end))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image\tlabel\n1\ta.jpg\thappy\n", "as R writes it: write.csv(..., row.names = FALSE)"),
        ("image,label\na.jpg,happy,\n", "ends in a separator that the header has not"),
        ("image,label\na.jpg,happy\n(1 row)\n", "cut short, or no face (a comment, a total)"),
        ('image,label\n"a.jpg,happy"\n', "stands in quotes as a whole"),
        ('"image,label"\n"a.jpg,happy"\n', "stands in quotes as a whole"),
        ("# made by a tool\nimage,label\na.jpg,happy\n", "If the first row is a title or a comment, remove"),
        ("00000,1\n00001,2\n", "is that of a face, and must name the columns"),
    ],
)
def test_messages_on_rows_say_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "faces.tsv").write_text(text)
    assert said in refused(tmp_path / "faces.tsv")


def test_headers_that_come_again_in_another_case(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("Image,Label\na,x\nimage, label\nb,y\n")
    assert read(tmp_path / "s.csv").classes == ("x", "y")


@pytest.mark.parametrize("pair", ["''", "“”", "«»"])
def test_quotes_around_every_cell_of_a_column_are_no_part_of_names(tmp_path: Path, pair: str) -> None:
    rows = [[f"{pair[0]}{i}.jpg{pair[1]}", f"{pair[0]}{LABELS[i]}{pair[1]}"] for i in range(N)]
    samples = read(table(tmp_path, "image,label", rows))
    assert samples.ids[:2].tolist() == ["0.jpg", "1.jpg"]
    assert given(samples) == LABELS


def test_pictures_in_the_index_of_a_frame(tmp_path: Path) -> None:
    frame = pd.DataFrame({"label": LABELS}, index=[f"{i}.jpg" for i in range(N)])
    frame.to_parquet(tmp_path / "s.parquet")
    frame.to_csv(tmp_path / "s.csv")
    for name in ("s.parquet", "s.csv"):
        assert read(tmp_path / name).ids[:2].tolist() == ["0.jpg", "1.jpg"]
    frame.reset_index(names="image").to_csv(tmp_path / "n.csv")
    assert read(tmp_path / "n.csv").provenance["columns_left_out"] == []
    rows = [[i, LABELS[i], f"faces/{i}.jpg"] for i in range(N)]
    samples = read(table(tmp_path, "image,label,image_path", rows))
    assert samples.provenance["columns"]["image"] == "image_path"
    assert len(read(table(tmp_path, "pth,label,relFCs", [[f"{i}.jpg", LABELS[i], 0.5] for i in range(N)]))) == N


def test_marks_for_no_group_are_no_group(tmp_path: Path, caplog) -> None:
    for mark in ("unknown", "-1"):
        rows = [[f"{i}.jpg", LABELS[i], mark if i % 2 else f"s{i % 5}"] for i in range(N)]
        samples = read(table(tmp_path, "image,label,group", rows))
        assert samples.group is not None
        assert len(set(samples.group.tolist())) == 5 + N // 2
        assert f"'{mark}' in the column 'group' is read as none (21 rows)" in caplog.text


def test_boxes_that_are_shares_or_none(tmp_path: Path) -> None:
    head = "image,label,left,top,right,bottom"
    shares = [[f"{i}.jpg", LABELS[i], 0.1, 0.1, 0.5, 0.6] for i in range(N)]
    assert "are these shares of the picture's width and height" in refused(table(tmp_path, head, shares))
    some = [[f"{i}.jpg", LABELS[i], *((0, 0, 0, 0) if i % 3 else (1, 1, 9, 9))] for i in range(N)]
    samples = read(table(tmp_path, head, some))
    assert int(np.isfinite(samples.boxes).all(1).sum()) == N // 3
    assert samples.provenance["columns"]["box"] == ["left", "top", "right", "bottom"]


def test_pictures_that_a_list_leaves_out_are_told(tmp_path: Path) -> None:
    build.class_folders(tmp_path, [f"{name}/{i}.png" for name in ("happy", "sad") for i in range(3)])
    table(tmp_path, "image,label", [["happy/0.png", "happy"], ["sad/0.png", "sad"]], "labels.csv")
    assert sentences(read(tmp_path))[-1] == "Left out: 4 files (pictures not in labels.csv 4)."


def test_truth_is_read_as_carefully(tmp_path: Path, caplog) -> None:
    rows = [[f"{i}.jpg", LABELS[i], LABELS[(i + 1) % N]] for i in range(N)]
    with pytest.raises(InputError, match=r"can both be the clean label, and they disagree\. Say which: --label-column"):
        read_truth(table(tmp_path, "image,label,expression", rows), CLASSES)
    with caplog.at_level(logging.WARNING):
        read_truth(table(tmp_path, "image,label,clean_label", rows), CLASSES)
    assert "clean labels are those of 'clean_label'; left out: label" in caplog.text
    with pytest.raises(InputError, match="'happy;sad' holds 2 labels"):
        read_truth(labels(tmp_path, ["happy;sad", "fear"]), CLASSES)
    assert (read_truth(labels(tmp_path, ["-1", "fear"]), CLASSES).label[::2] == -1).all()
    shares = table(tmp_path, ",".join(["image", *CLASSES]), [[f"{i}.jpg", *SHARES[i]] for i in range(N)])
    read_truth(shares, CLASSES)
    assert "shares, not votes" in caplog.text


def test_refined_labels_are_told_and_no_truth(tmp_path: Path, caplog) -> None:
    rows = [[f"{i}.jpg", LABELS[i], LABELS[i // 2], 0.5, 0] for i in range(N)]
    file = table(tmp_path, "image,label,given_label,quality,flagged", rows)
    assert given(read(file)) == LABELS
    assert "the labels are those of 'label', which differ from 'given_label' in" in caplog.text
    assert given(read(file, columns={"label": "given_label"})) == [LABELS[i // 2] for i in range(N)]
    with pytest.raises(InputError, match="its labels are what is to be judged, and no truth"):
        read_truth(file, CLASSES)
    assert len(read_truth(file, CLASSES, label_column="label")) == N


def test_ids_that_count_from_another_start_are_refused() -> None:
    ids = np.array([f"{i:05d}" for i in range(N)])
    with pytest.raises(InputError, match="do they count the same faces from another start"):
        match(ids, np.full(N, ""), [str(i + 1) for i in range(N)], "v.csv", numeric=True)
    assert match(ids, np.full(N, ""), [str(i + 1) for i in range(N - 1)], "v.csv", numeric=True)[1] == 0
    assert match(ids, np.full(N, ""), [f"{i}.0" for i in range(N)], "v.csv").tolist() == list(range(N))


def test_fer2013_in_capitals_and_beside_another(tmp_path: Path) -> None:
    rows = [[i % 7, " ".join(["7"] * 16)] for i in range(14)]
    table(tmp_path, "Emotion, Pixels", rows, "fer2013.csv")
    assert len(read(tmp_path)) == 14
    table(tmp_path, "pixels", [[" ".join(["7"] * 16)]] * 3, "test.csv")
    assert recognize(tmp_path).why.endswith("; not read: test.csv")


def test_decisions_with_headers_in_capitals(tmp_path: Path) -> None:
    file = table(tmp_path, "ID,Given Label,Decision", [["a.jpg", "fear", "keep"], ["b.jpg", "fear", "Happy"]], "d.csv")
    decided = read_decisions([file], CLASSES)
    assert len(decided) == 2


def test_a_column_of_votes_that_cannot_be_read_does_not_lose_its_class(tmp_path: Path) -> None:
    head = "image,anger,happy,sad"
    for cell, how in (
        ('"1,000"', "none between thousands"),
        ("1 000", "Write nothing between thousands"),
        ("50%", "0.5"),
    ):
        file = table(tmp_path, head, [[f"{i}.jpg", cell, i % 3, 1] for i in range(N)])
        assert how in refused(file)
    empty = read(table(tmp_path, head, [[f"{i}.jpg", i % 3, "", 1] for i in range(N)]))
    assert empty.classes == ("anger", "happiness", "sadness")


def test_pictures_in_no_row_of_the_list_are_told_and_so_are_class_folders(tmp_path: Path, caplog) -> None:
    files = [f"{name}/{i}.png" for name in ("happy", "sad") for i in range(3)]
    build.class_folders(tmp_path, files)
    table(tmp_path, "image,label", [["happy/0.png", "happy"]], "labels.csv")
    with pytest.raises(InputError, match="every label is 'happiness'"):
        read(tmp_path)
    said = (
        f"labels.csv: 5 of the 6 pictures in {tmp_path} are in no row and are not read (first: happy/1.png). The "
        "folders named after classes (happy, sad) are passed over; --layout folders reads these, and not labels.csv."
    )
    assert said in caplog.messages
    assert len(read(tmp_path, layout="folders")) == 6
    caplog.clear()
    table(tmp_path, "image,label", [[name, name.split("/")[0]] for name in files], "labels.csv")
    assert len(read(tmp_path)) == 6
    assert not caplog.messages
    build.class_folders(tmp_path / "flat", ["faces/a.png", "faces/b.png", "faces/c.png"])
    table(tmp_path / "flat", "image,label", [["faces/a.png", "happy"], ["faces/c.png", "sad"]], "labels.csv")
    assert len(read(tmp_path / "flat")) == 2
    assert caplog.messages[0].endswith("not read (first: faces/b.png). Add rows for them to labels.csv.")


def test_a_table_without_labels_beside_class_folders_is_not_the_set(tmp_path: Path) -> None:
    build.class_folders(tmp_path, ["happy/a.png", "sad/b.png"])
    table(tmp_path, "image,age", [["happy/a.png", 3], ["sad/b.png", 4]], "metadata.csv")
    assert recognize(tmp_path).why.endswith("not read: metadata.csv")
    assert read(tmp_path).classes == ("happiness", "sadness")
    table(tmp_path, "image,label", [["happy/a.png", "sad"], ["sad/b.png", "happy"]], "metadata.csv")
    assert given(read(tmp_path)) == ["sadness", "happiness"]


def test_an_alias_that_no_label_is_written_as_is_told(tmp_path: Path, caplog) -> None:
    file = labels(tmp_path, ["smirk", "grin"])
    read(file, alias={"smrik": "happy", "grin": "sad"})
    assert "No label is written 'smrik', as --alias says." in caplog.text
    assert "from -1" not in refused(labels(tmp_path, [*"0123456", "-1"]), classes=["fer2013"])


def test_words_that_are_one_class_here_and_two_elsewhere_are_told(tmp_path: Path, caplog) -> None:
    file = labels(tmp_path, ["calm", "neutral", "happy", "Happiness", "sad"])
    assert read(file).classes == ("happiness", "neutral", "sadness")
    assert "Different words are one class: calm, neutral (neutral)." in caplog.text
    assert len(read(file, alias={"calm": "relaxed"}, classes=["relaxed", "neutral", "happy", "sad"]).classes) == 4


def test_numbers_and_names_are_not_mixed_and_numbers_in_names_are_one(tmp_path: Path) -> None:
    assert "label 'True' is no number, but 2 other labels are" in refused(labels(tmp_path, ["True", "False", "1", "0"]))
    assert "label '3' is a number, but 3 other labels are not" in refused(labels(tmp_path, ["a", "b", "c", "3"]))
    for names in (["class 1", "class1", "class 2"], ["c1", "c01", "c2"]):
        assert "can be one class written in two ways, or two" in refused(labels(tmp_path, names))
    assert len(read(labels(tmp_path, ["a1", "a2", "a11", "b1-2", "b12"])).classes) == 5


def test_columns_without_a_name_that_hold_something_are_told(tmp_path: Path) -> None:
    rows = [[f"{i}.jpg", "x", LABELS[i], ""] for i in range(N)]
    samples = read(table(tmp_path, "image,,label,", rows))
    assert samples.provenance["columns_left_out"] == ["column 2 (without a name)"]
