"""Published sets as their authors and copyists ship them, and lists made on another machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import fercleaner
from fercleaner.core.errors import InputError
from fercleaner.datasets.describe import sentences
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
    assert "'7' (contemt) is not in the class set" in refused(tmp_path / "a.csv", alias={"7": "contemt"})


def test_names_beside_codes_are_told_and_may_not_contradict_them(tmp_path: Path, caplog) -> None:
    file = table(tmp_path, "image,label,emotion", "{i}.png,{code},{name}")
    assert fercleaner.read(file).classes == tuple("0123456")
    assert "'emotion' has the names that they stand for. --column label=emotion" in caplog.text
    message = refused(file, classes=["fer2013"])
    assert "row 6: label 4 was taken for 'sadness', but the column 'emotion' says 'neutral'" in message
    named = fercleaner.read(file, alias=aliases(message))
    assert [named.classes[k] for k in named.label[:7]] == list(NAMES)
    assert len(fercleaner.read(file, classes=list(NAMES)).classes) == 7  # codes in this very order


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
