"""Sets as users get them wrong: each is read right, or refused in a sentence that names the way out."""

from __future__ import annotations

import gzip
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from drawn_landmarks import drawn_points
from PIL import Image

import fercleaner
from fercleaner.core.errors import InputError
from fercleaner.core.types import Samples
from fercleaner.datasets.posteriors import read_posteriors
from fercleaner.landmarks import PointsFile

CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
N = 70
LABELS = [CLASSES[k] for k in np.random.default_rng(0).permutation(np.arange(N) % len(CLASSES))]
OTHER = LABELS[1:] + LABELS[:1]


def table(folder: Path, head: str, row: str, name: str = "faces.csv", labels: list[str] = LABELS) -> Path:
    """Write a table: `row` holds {i}, {label} and {other}."""
    lines = [row.format(i=i, label=label, other=OTHER[i % N]) for i, label in enumerate(labels)]
    (folder / name).write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return folder / name


def refused(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as error:
        fercleaner.read(path, **options)
    return str(error.value)


def labels_of(samples: Samples) -> list[str]:
    return [samples.classes[k] for k in samples.given.argmax(1)]


def test_labels_in_two_languages_are_not_two_sets_of_classes(tmp_path: Path) -> None:
    labels = ["anger", "生气", "happiness", "高兴", "sadness", "悲伤"] * 5
    file = table(tmp_path, "image,label", "{i}.png,{label}", labels=labels)
    message = refused(file)
    assert "'生气' is written in another script than 'anger' in faces.csv row 2" in message
    assert "--alias '生气=NAME'" in message
    alias = {"生气": "anger", "高兴": "happiness", "悲伤": "sadness"}
    assert fercleaner.read(file, alias=alias).classes == ("anger", "happiness", "sadness")
    alone = table(tmp_path, "image,label", "{i}.png,{label}", "zh.csv", ["生气", "高兴", "悲伤"] * 5)
    assert len(fercleaner.read(alone).classes) == 3


@pytest.mark.parametrize(
    ("labels", "odd"),
    [
        (["happy (0.6)", "happy (0.9)", "sad (0.6)", "sad (0.8)"], "happy (0.9)=happiness"),
        (["happy", "happy_aug", "sad", "sad_2", "neutral (1)"], "happy_aug=happiness"),
        (["happy", "sad", "happy - Copy"], "happy - Copy=happiness"),
    ],
)
def test_a_class_written_with_more_behind_it_is_asked_about(tmp_path: Path, labels: list[str], odd: str) -> None:
    file = table(tmp_path, "image,label", "{i}.png,{label}", labels=labels * 10)
    assert odd in refused(file)
    kept = fercleaner.read(file, classes=labels)
    assert len(kept.classes) == len(labels)


def test_compound_expressions_and_synonyms_are_left_alone(tmp_path: Path) -> None:
    compound = ["happily surprised", "happily disgusted", "sadly angry", "sadly fearful"] * 5
    assert len(fercleaner.read(table(tmp_path, "image,label", "{i}.png,{label}", labels=compound)).classes) == 4
    synonyms = ["disgust", "disgusted", "Disgust ", "happy", "joy", "scared", "fearful"] * 5
    file = table(tmp_path, "image,label", "{i}.png,{label}", labels=synonyms)
    assert fercleaner.read(file).classes == ("disgust", "fear", "happiness")


@pytest.mark.parametrize("other", ["label.1", "label_name", "Emotion Name", "class_id"])
def test_a_second_label_column_that_says_otherwise_is_asked_about(tmp_path: Path, other: str) -> None:
    message = refused(table(tmp_path, f"image,label,{other}", "{i}.png,{label},{other}"))
    assert "can both be the label" in message
    assert f"--column label={other}" in message
    agreeing = table(tmp_path, f"image,label,{other}", "{i}.png,{label},{label}!", "same.csv")
    assert labels_of(fercleaner.read(agreeing)) == LABELS


def test_two_lists_in_one_folder_are_not_chosen_from(tmp_path: Path) -> None:
    one = table(tmp_path, "image,label", "{i}.png,{label}", "labels.csv")
    table(tmp_path, "image,label", "{i}.png,{other}", "metadata.csv")
    message = refused(tmp_path)
    assert "labels.csv, metadata.csv" in message
    assert str(one) in message
    assert labels_of(fercleaner.read(one)) == LABELS


def test_labels_that_contradict_the_class_folders_are_told(tmp_path: Path, caplog) -> None:
    file = table(tmp_path, "image,label", "{other}/{i}.png,{label}")
    with caplog.at_level(logging.WARNING):
        assert labels_of(fercleaner.read(file)) == LABELS
    differ = sum(a != b for a, b in zip(LABELS, OTHER, strict=True))
    assert f"{differ} of {N} labels differ from the class folder" in caplog.text
    caplog.clear()
    fercleaner.read(table(tmp_path, "image,label", "{label}/{i}.png,{label}"))
    assert "class folder" not in caplog.text


def test_one_picture_in_two_spellings_is_one_picture(tmp_path: Path) -> None:
    file = table(tmp_path, "image,label", "a{i}.png,{label}")
    file.write_text(file.read_text() + "./a0.png,fear\nb\\c.png,fear\nb//c.png,anger\n")
    assert "faces.csv row 72: './a0.png' is the picture 'a0.png' of faces.csv row 2" in refused(file)
    named = table(tmp_path, "id,image,label", "f{i},a{i}.png,{label}", "named.csv")
    named.write_text(named.read_text() + "again,./a0.png,fear\n")
    assert len(fercleaner.read(named)) == N + 1


def test_what_excel_keeps_as_text_is_that_text(tmp_path: Path) -> None:
    file = table(tmp_path, "id;image;label", '="{i:05d}";{i}.png;{label}')
    assert fercleaner.read(file).ids[:2].tolist() == ["00000", "00001"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (gzip.compress(b"image,label\na.png,fear\n", mtime=0), "is packed with gzip"),
        (b"PK\x03\x04" + bytes(99), "is an Excel workbook or another zip archive"),
        (b"PAR1" + bytes(99), "is a Parquet file"),
    ],
)
def test_a_file_that_is_no_text_says_what_it_is(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "faces.csv").write_bytes(data)
    assert said in refused(tmp_path / "faces.csv")


def test_columns_of_true_and_false_are_ones_and_zeros(tmp_path: Path) -> None:
    head = ",".join(["image", *CLASSES])
    rows = [",".join([f"{i}.png", *(str(label == name) for name in CLASSES)]) for i, label in enumerate(LABELS)]
    (tmp_path / "hot.csv").write_text("\n".join([head, *rows]) + "\n")
    assert labels_of(fercleaner.read(tmp_path / "hot.csv")) == LABELS


def test_a_table_without_a_first_row_of_names_is_refused(tmp_path: Path) -> None:
    assert "must name the columns" in refused(table(tmp_path, "x.png,fear", "{i}.png,{label}"))


@pytest.mark.parametrize("head", ["image,label,", "image,label,,,"])
def test_commas_at_the_end_of_every_line_are_no_columns(tmp_path: Path, head: str) -> None:
    file = table(tmp_path, head, "{i}.png,{label}" + head.removeprefix("image,label"))
    assert labels_of(fercleaner.read(file)) == LABELS
    assert "3 cells, the header has 2" in refused(table(tmp_path, "image,label", "{i}.png,{label},"))


def test_numbers_that_can_count_classes_from_0_and_from_1_are_asked_about(tmp_path: Path) -> None:
    file = tmp_path / "codes.csv"
    file.write_text("image,label\n" + "".join(f"{i}.png,{i % 6 + 1}\n" for i in range(N)))
    assert "from 0 as well as from 1" in refused(file, classes=CLASSES)
    file.write_text("image,label\n" + "".join(f"{i}.png,{i % 7 + 1}\n" for i in range(N)))
    assert labels_of(fercleaner.read(file, classes=CLASSES))[:7] == list(CLASSES)


def test_loops_pipes_and_dead_links_among_pictures_are_passed_by(tmp_path: Path) -> None:
    for i in range(6):
        file = tmp_path / ("anger", "fear")[i % 2] / f"{i}.JPG"
        file.parent.mkdir(exist_ok=True)
        Image.new("L", (8, 8)).save(file, "JPEG")
    os.symlink(tmp_path, tmp_path / "anger" / "again")
    os.symlink("loop", tmp_path / "anger" / "loop")
    os.mkfifo(tmp_path / "anger" / "pipe.jpg")
    read = fercleaner.read(tmp_path)
    assert (len(read), read.classes) == (6, ("anger", "fear"))
    assert read.provenance["folders_left_out"] == ["anger/again (a link)"]
    assert read.provenance["files_left_out"] == {"no ending": 1, "no regular file": 1}


def blocks(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points[:, :, 0], points[:, :, 1]], axis=1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p[:, :, ::-1], "mirrored"),
        (lambda p: p * [1, -1], "mirrored"),
        (lambda p: p[:, np.random.default_rng(0).permutation(68)], "not in the iBUG order"),
        (lambda p: np.roll(p, 17, axis=1), "not in the iBUG order"),
        (blocks, "not in the iBUG order"),
    ],
    ids=["x and y swapped", "y up", "any order", "jaw last", "all x, then all y"],
)
def test_landmarks_of_another_order_are_refused(tmp_path: Path, change, said: str) -> None:
    samples = fercleaner.read(table(tmp_path, "image,label", "{i}.png,{label}"))
    points = drawn_points(N)
    np.save(tmp_path / "right.npy", points)
    assert PointsFile(str(tmp_path / "right.npy")).read(samples).found.all()
    np.save(tmp_path / "turned.npy", points[:, :, ::-1] * [1, -1])  # a quarter turn is no mirror
    assert PointsFile(str(tmp_path / "turned.npy")).read(samples).found.all()
    np.save(tmp_path / "wrong.npy", change(points))
    with pytest.raises(InputError, match=said):
        PointsFile(str(tmp_path / "wrong.npy")).read(samples)


def test_posteriors_of_another_order_are_refused_or_told(tmp_path: Path) -> None:
    samples = fercleaner.read(table(tmp_path, "image,label", "{i}.png,{label}"))
    rng = np.random.default_rng(1)
    right = samples.given * 0.5 + rng.dirichlet(np.ones(len(CLASSES)), N) * 0.5
    for name, values in {
        "right": right,
        "columns": right[:, [1, 2, 0, 4, 3, 6, 5]],
        "rows": rng.permutation(right),
    }.items():
        np.save(tmp_path / f"{name}.npy", values)

    def read(name: str) -> tuple[str, ...]:
        return read_posteriors("mine", tmp_path / f"{name}.npy", samples)[1]

    assert read("right") == ()
    with pytest.raises(InputError, match=r"in the order disgust, fear, anger, neutral, happiness, surprise, sadness"):
        read("columns")
    assert "as chance does" in " ".join(read("rows"))


def test_logits_are_no_probabilities(tmp_path: Path) -> None:
    samples = fercleaner.read(table(tmp_path, "image,label", "{i}.png,{label}"))
    np.save(tmp_path / "logits.npy", np.random.default_rng(0).normal(size=(N, len(CLASSES))))
    with pytest.raises(InputError, match="expected probabilities"):
        read_posteriors("mine", tmp_path / "logits.npy", samples)


@pytest.mark.parametrize("form", ["['{label}']", "b'{label}'", "np.str_('{label}')", '["{label}"]'])
def test_labels_as_python_prints_them_are_these_labels(tmp_path: Path, form: str) -> None:
    cells = [form.format(label=label).replace('"', '""') for label in LABELS]
    (tmp_path / "faces.csv").write_text("image,label\n" + "".join(f'{i}.png,"{c}"\n' for i, c in enumerate(cells)))
    read = fercleaner.read(tmp_path / "faces.csv")
    assert (read.classes, labels_of(read)) == (CLASSES, LABELS)
    (tmp_path / "faces.csv").write_text("image,label\n" + "".join(f"{i}.png,tensor({i % 3})\n" for i in range(N)))
    assert fercleaner.read(tmp_path / "faces.csv").classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("codes", "said"), [(range(1, 7), "No label is 0 (anger)"), (range(6), "No label is 6 (neutral)")]
)
def test_codes_that_leave_out_the_first_or_the_last_class_are_told(tmp_path, codes, said: str, caplog) -> None:
    pixels = " ".join(["7"] * 48 * 48)
    rows = [f"{list(codes)[i % 6]},{pixels},Training" for i in range(12)]
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]) + "\n")
    fercleaner.read(tmp_path / "fer2013.csv")
    assert said in caplog.text


def write(file: Path, boxes: np.ndarray) -> None:
    rows = [f"{i}.png,{LABELS[i]},{' '.join(map(str, box))}" for i, box in enumerate(boxes.tolist())]
    file.write_text("\n".join(["image,label,bbox", *rows]) + "\n")


def test_boxes_of_width_and_height_are_not_taken_for_corners(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    corner, edge = rng.integers(0, 40, (N, 2)), rng.integers(45, 70, N)
    boxes = np.column_stack([corner, edge, edge + rng.integers(-4, 5, N)])
    file = tmp_path / "faces.csv"
    write(file, boxes)
    assert "the boxes look like x, y, width, height" in refused(file)
    boxes[:, 2:] += corner
    write(file, boxes)
    assert np.array_equal(fercleaner.read(file).boxes, boxes)


def test_text_beyond_unicode_in_an_array_is_damage(tmp_path: Path) -> None:
    from fercleaner.datasets.npy import names_of

    ids = np.frombuffer(b"\xff\xff\xff\x7f" * 2, dtype="<U1")
    with pytest.raises(InputError, match="cannot be read as a NumPy array"):
        names_of(ids, tmp_path / "v.npz", 2)


def test_a_refined_file_that_another_program_wrote_again_is_not_a_set(tmp_path: Path) -> None:
    """Its column `label` is the refined one, and its entries, which say so, are gone."""
    import pandas as pd

    given = LABELS[:6]
    columns = {"id": [f"{i}.png" for i in range(6)], "label": OTHER[:6], "given_label": given, "quality": 0.5}
    rows = pd.DataFrame(columns | {"distribution": [[1.0, 0.0]] * 6, "flagged": False})
    rows.to_parquet(tmp_path / "faces.parquet")
    assert "has the columns of a refined file, but not its entries" in refused(tmp_path / "faces.parquet")
    rows.drop(columns="distribution").to_parquet(tmp_path / "plain.parquet")
    assert len(fercleaner.read(tmp_path / "plain.parquet")) == 6
