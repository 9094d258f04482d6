"""Kinds of mistakes in further ways: labels, tables, groups; each is understood and told, or asked about."""

from __future__ import annotations

from pathlib import Path

import dataset_builders as build
import numpy as np
import pandas as pd
import pytest

from fercleaner.core.errors import InputError
from fercleaner.core.types import Samples
from fercleaner.datasets import VoteRules, read
from fercleaner.datasets.annotators import read_annotations
from fercleaner.datasets.describe import sentences
from fercleaner.datasets.groups import check_groups

CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
N = 42
IDS = [f"{i:05d}.jpg" for i in range(N)]
LABELS = [CLASSES[i % 7] for i in range(N)]


def labels(folder: Path, written: list[str]) -> Path:
    rows = "".join(f'{i}.jpg,"{written[i % len(written)]}"\n' for i in range(N))
    (folder / "s.csv").write_text("image,label\n" + rows, encoding="utf-8")
    return folder / "s.csv"


def table(folder: Path, name: str = "s.csv", **columns: object) -> Path:
    frame = pd.DataFrame({"image": IDS, **columns})
    frame.to_csv(folder / name, index=False) if name.endswith("csv") else frame.to_parquet(folder / name)
    return folder / name


def refused(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as error:
        read(path, **options)  # type: ignore[arg-type]
    return str(error.value)


@pytest.mark.parametrize("mark", ["(nan)", "None.", "[]", "*", "not annotated", "no data", "n/d", "#WERT!"])
def test_marks_in_marks_are_no_class(tmp_path: Path, mark: str, caplog) -> None:
    assert len(read(labels(tmp_path, ["smirk", "grin", mark])).classes) == 2
    assert "Labels read as missing" in caplog.text


@pytest.mark.parametrize("mark", ["unknown?", "(unsure)", "idk", "corrupt", "unbekannt", "未知"])
def test_marks_in_other_words_are_asked_about(tmp_path: Path, mark: str) -> None:
    assert "can be a class of its own, or say that the face has no label" in refused(
        labels(tmp_path, ["smirk", "grin", mark])
    )


def test_minus_beside_plus_is_asked_about(tmp_path: Path) -> None:
    assert "can be a class like '+', or 'missing'" in refused(labels(tmp_path, ["+", "-", "0"]))
    assert read(labels(tmp_path, ["+", "-", "0"]), alias={"-": "-"}).labeled.all()
    assert read(labels(tmp_path, [":)", ":(", ":|"])).labeled.all()


def test_two_languages_in_one_script(tmp_path: Path) -> None:
    message = refused(labels(tmp_path, ["happy", "heureux", "sad", "triste"]))
    assert "'heureux' can mean 'happiness', beside 'happy' in s.csv row 2" in message
    assert "--alias heureux=happiness" in message
    german = read(labels(tmp_path, ["Freude", "Trauer", "Wut", "Neutral"]))
    assert len(german.classes) == 4
    assert "Freude can mean happiness, Trauer can mean sadness" in sentences(german)[-1]


@pytest.mark.parametrize("names", [["angst", "joy", "strange"], ["boredom", "envy", "anger", "angst"]])
def test_one_word_that_another_language_has_too_is_a_class(tmp_path: Path, names: list[str]) -> None:
    assert read(labels(tmp_path, names)).labeled.all()


@pytest.mark.parametrize("names", [["glücklich", "gluecklich", "x"], ["glücklich", "glÃ¼cklich", "x"]])
def test_umlauts_in_two_letters_or_of_another_encoding(tmp_path: Path, names: list[str]) -> None:
    assert "can be one class written in two ways" in refused(labels(tmp_path, names))


def test_expressions_under_other_names_are_told(tmp_path: Path) -> None:
    for form in ("train/{}", "{}.jpg", "emo_{}", "{{'label': '{}'}}"):
        samples = read(labels(tmp_path, [form.format(name) for name in ("happy", "sad", "fear")]))
        assert "These classes are not known as expressions" in sentences(samples)[-1]
        assert "can mean happiness" in sentences(samples)[-1]
    for own in (["smirk", "grin"], ["big smile", "no smile"], ["happy", "emo_sad", "bored", "calm"]):
        assert "These classes" not in sentences(read(labels(tmp_path, own)))[-1]


def test_codes_of_a_class_set_without_the_first_are_told(tmp_path: Path, caplog) -> None:
    read(labels(tmp_path, list("123456")), classes=["fer2013"])
    assert "No label is 0 (anger), and every other code of FER2013 occurs. Were they counted from 1?" in caplog.text
    read(labels(tmp_path, list("0123456")), classes=["affectnet8"])
    assert "No label is 7 (contempt), and every other code of AffectNet, 8 classes occurs. Is it missing" in caplog.text
    assert "counted from" not in refused(labels(tmp_path, list("01234567")), classes=["fer2013"])


def test_label_columns_that_are_splits_or_have_a_rival(tmp_path: Path) -> None:
    split = ["train" if i % 3 else "test" for i in range(N)]
    file = table(tmp_path, **{"class": split, "emotion_label": LABELS})
    assert "the column 'class' holds names of splits" in refused(file)
    assert read(file, columns={"label": "emotion_label", "split": "class"}).classes == CLASSES
    people = [f"s{i % 5}" for i in range(N)]
    assert "--column label=Emotion Label" in refused(table(tmp_path, target=people, **{"Emotion Label": LABELS}))


def test_files_put_together_with_their_marks(tmp_path: Path) -> None:
    one = "\ufeffimage,label\na.jpg,happy\n"
    (tmp_path / "s.csv").write_text(one + one.replace("a.jpg", "b.jpg") + "\ufeffc.jpg,sad\n", encoding="utf-8")
    assert read(tmp_path / "s.csv").ids.tolist() == ["a.jpg", "b.jpg", "c.jpg"]


def test_quotes_marked_by_backslashes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text('image,label\n"a \\"0\\".jpg",happy\nb.jpg,sad\n')
    assert "quotes inside a quoted cell are doubled" in refused(tmp_path / "s.csv")


def test_one_picture_in_two_normal_forms(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("image,label\n\u00e9.jpg,happy\ne\u0301.jpg,sad\n", encoding="utf-8")
    assert "is the picture" in refused(tmp_path / "s.csv")


def test_names_and_labels_of_bytes_are_text(tmp_path: Path) -> None:
    file = table(tmp_path, "s.parquet", label=[name.encode() for name in LABELS], thumb=[b"\xff\xd8"] * N)
    assert read(file).classes == CLASSES
    pictures = pd.DataFrame({"image": [b"\xff\xd8\xff\xe0"] * N, "label": LABELS})
    pictures.to_parquet(tmp_path / "p.parquet")
    assert "column 'image' holds pictures" in refused(tmp_path / "p.parquet")


def test_a_column_of_people_is_pointed_to(tmp_path: Path) -> None:
    said = sentences(read(table(tmp_path, label=LABELS, subject_id=[i // 6 for i in range(N)])))
    assert "--group-by subject_id keeps faces of one person from voting for each other" in " ".join(said)
    grouped = sentences(read(table(tmp_path, label=LABELS, subject=LABELS, group=[i // 6 for i in range(N)])))
    assert "--group-by" not in " ".join(grouped)


def test_rows_that_repeat_a_picture_or_an_id(tmp_path: Path, caplog) -> None:
    twice = pd.DataFrame({"image": IDS * 2, "worker": ["a"] * N + ["b"] * N, "label": LABELS * 2})
    twice.to_csv(tmp_path / "s.csv", index=False)
    assert "refine SET --annotators FILE" in refused(tmp_path / "s.csv")
    twice.assign(id=range(2 * N)).to_csv(tmp_path / "s.csv", index=False)
    assert "annotator's label, as 'worker' says" in refused(tmp_path / "s.csv")
    twice.drop(columns="worker").assign(id=range(2 * N)).to_csv(tmp_path / "s.csv", index=False)
    assert len(read(tmp_path / "s.csv")) == 2 * N
    assert "42 rows show a picture that another row shows, and there are no boxes" in caplog.text
    message = refused(table(tmp_path, id=[i // 6 for i in range(N)], label=LABELS))
    assert "'image' names each row once. --column id= takes that" in message


def test_several_faces_of_a_picture_that_somebody_labeled(tmp_path: Path, caplog) -> None:
    shown = pd.DataFrame({"image": IDS * 2, "annotator": ["a", "b"] * N, "label": LABELS * 2, "id": range(2 * N)})
    left = np.arange(2 * N)
    edges = {"left": left, "top": 5, "right": left + 40, "bottom": 45}
    shown.assign(**edges).to_csv(tmp_path / "s.csv", index=False)
    assert read(tmp_path / "s.csv").labeled.all()
    shown.assign(box=[f"{i} 5 {i + 40} 45" for i in left]).to_csv(tmp_path / "s.csv", index=False)
    assert read(tmp_path / "s.csv").labeled.all()
    assert not caplog.messages


def test_columns_of_kinds_of_labels_are_no_labels(tmp_path: Path) -> None:
    kinds = {"emotion_category": ["negative", "positive"] * (N // 2), "label_class": ["posed", "wild"] * (N // 2)}
    assert read(table(tmp_path, label=LABELS, **kinds)).classes == CLASSES


def faces(group: list[str], label: list[int]) -> Samples:
    n = len(label)
    ids = np.array([str(i) for i in range(n)])
    return Samples(ids, ("a", "b", "c"), np.eye(3)[label], np.ones(n, bool), np.full(n, ""), group=np.array(group))


def test_groups_that_nearly_equal_classes() -> None:
    label = np.arange(60) % 3
    wrong = np.where(np.arange(60) % 5 == 0, (label + 1) % 3, label)
    with pytest.raises(InputError, match="Of 20 faces of a 16 are in one group"):
        check_groups(faces([f"folder {c}" for c in label], wrong.tolist()))
    assert check_groups(faces([f"s{i // 6}" for i in range(60)], label.tolist())) == []
    few = [f"s{i % 3 if i < 6 else i}" for i in range(9)]  # two of three faces of each class, of nine
    assert check_groups(faces(few, label[:9].tolist())) == []


def test_a_group_of_nearly_all_faces_is_told() -> None:
    label = (np.arange(60) % 3).tolist()
    said = check_groups(faces([f"s{i}" if i < 6 else "studio" for i in range(60)], label))
    assert "54 of 60 labeled faces are in one group ('studio')" in said[0]


def test_annotators_with_two_columns_of_labels(tmp_path: Path) -> None:
    samples = Samples(np.array(IDS), CLASSES, np.eye(7)[np.arange(N) % 7], np.ones(N, bool), np.full(N, ""))
    table(tmp_path, "a.csv", completed_by=["a"] * N, label=LABELS)
    assert read_annotations(tmp_path / "a.csv", samples).people == ("a",)
    table(tmp_path, "a.csv", annotator=["a"] * N, label=LABELS, expression=LABELS[1:] + LABELS[:1])
    with pytest.raises(InputError, match="'label' and 'expression' can both be the label, and they disagree"):
        read_annotations(tmp_path / "a.csv", samples)


def folder(root: Path, *files: str) -> Path:
    build.class_folders(root, list(files))
    return root


def test_splits_inside_class_folders(tmp_path: Path) -> None:
    inside = [f"{name}/{split}/{i}.png" for name in ("happy", "sad") for split in ("train", "test") for i in range(2)]
    samples = read(folder(tmp_path / "a", *inside))
    assert samples.split is not None
    assert samples.split.tolist() == ["test", "test", "train", "train"] * 2
    assert read(folder(tmp_path / "b", *inside, "sad/x.png")).split is None


def test_a_split_without_class_folders_is_unlabeled(tmp_path: Path) -> None:
    samples = read(folder(tmp_path, "train/happy/a.png", "train/sad/b.png", "test/1.png", "test/2.png"))
    assert samples.split is not None
    assert dict(zip(samples.ids.tolist(), samples.split.tolist(), strict=True))["test/1.png"] == "test"
    assert samples.labeled.sum() == 2


def test_splits_are_no_classes_and_lists_are_pointed_to(tmp_path: Path) -> None:
    root = folder(tmp_path / "hf", "train/0.png", "train/1.png", "test/2.png")
    assert "its folders (test, train) are splits" in refused(root)
    (root / "train" / "faces.csv").write_text("file_name,label\n0.png,happy\n1.png,sad\n")
    assert f"name that file: {root / 'train' / 'faces.csv'}" in refused(root)
    flat = folder(tmp_path / "flat", "0.png", "1.png")
    (flat / "data.csv").write_text("image,label\n0.png,happy\n1.png,sad\n")
    assert refused(flat).endswith(f"If data.csv is their list, name that file: {flat / 'data.csv'}")
    coco = folder(tmp_path / "coco", "0.png", "1.png")
    (coco / "instances.json").write_text("{}")
    assert "instances.json beside them is no table that is read" in refused(coco)
    below = folder(tmp_path / "below", "images/0.png", "images/1.png")
    (below / "labels.txt").write_text("image,label\n0.png,happy\n1.png,sad\n")
    assert "every label would be 'images', the only folder of pictures" in refused(below)


def test_pixels_with_the_label_under_another_name(tmp_path: Path) -> None:
    pixels = " ".join(["7"] * 16)
    file = tmp_path / "train.csv"
    file.write_text("label,pixels\n" + "".join(f"{i % 7},{pixels}\n" for i in range(14)))
    assert read(file).labeled.all()
    file.write_text("code,pixels\n" + "".join(f"{i % 7},{pixels}\n" for i in range(14)))
    assert "train.csv has no column 'emotion'" in refused(file)
    for head, first in (("pixels", ""), ("id,pixels", "7,"), (",pixels", "7,")):
        file.write_text(f"{head}\n" + f"{first}{pixels}\n" * 14)
        assert not read(file).labeled.any()


def test_a_folder_beside_that_of_the_classes_is_no_class(tmp_path: Path) -> None:
    root = folder(tmp_path, "figures/x.png", "data/happy/a.png", "data/sad/b.png", "@__thumb/c.png")
    message = refused(root)
    assert "the classes can be its folders (data, figures) or those a level below (happy, sad)" in message
    assert f"as the dataset ({root / 'data'})" in message
    assert read(root, classes=["data", "figures"]).classes == ("data", "figures")
    assert "@__thumb" in read(root, classes=["data", "figures"]).provenance["folders_left_out"]


def test_ranks_are_no_votes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    ranks = np.array([random.permutation(3) + 1 for _ in range(N)])
    file = table(tmp_path, **dict(zip(("anger", "fear", "happy"), ranks.T, strict=True)))
    assert "hold the numbers 1, 2, 3, each once: ranks" in refused(file)
    assert read(file, votes=VoteRules(given_from="votes")).labeled.all()
    hot = np.eye(3)[np.arange(N) % 3]
    assert read(table(tmp_path, **dict(zip(("anger", "fear", "happy"), hot.T, strict=True)))).labeled.all()


def test_lists_with_several_labels_or_counts_behind_a_name(tmp_path: Path) -> None:
    file = tmp_path / "EmoLabel" / "list_patition_label.txt"
    file.parent.mkdir()
    for rest, said in (("4,5", "holds 2 numbers"), ("3 5 1 0 0 0 1", "holds 7 numbers"), ("4|5", "several labels")):
        file.write_text(f"train_1.jpg {rest}\ntrain_2.jpg {rest}\n")
        assert said in refused(tmp_path)
    for form in ('"{}" {}', "{},{},1", "{} {} 1 0.5"):
        file.write_text("".join(form.format(f"train_{i}.jpg", i % 7 + 1) + "\n" for i in range(9)))
        assert read(tmp_path).ids.tolist() == [f"train_{i}.jpg" for i in range(9)]
