"""Faults that users reported of tools like this one, rebuilt here: none is read wrongly in silence."""

from __future__ import annotations

import logging
import os
import unicodedata
from pathlib import Path

import pytest

from fercleaner.core.errors import InputError
from fercleaner.datasets import read


def table(tmp_path: Path, text: str, name: str = "s.csv") -> Path:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


@pytest.mark.parametrize(
    "lines",
    [
        'image,label,note|a.jpg,sad,"so|b.jpg,happy,x|c.jpg,sad,"so|d.jpg,happy,x',  # quotes begin two cells
        'image,label,note|a.jpg,sad,"so|b.jpg,happy,x|c.jpg,sad,so"|d.jpg,happy,x',  # one begins, one ends
        'image,note,label|a.jpg,"so,sad|b.jpg,"so,happy|c.jpg,x,sad|d.jpg,x,happy',  # of two rows running
    ],
)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_rows_are_not_lost_in_a_quote(tmp_path: Path, lines: str, ends: str, delimiter: str) -> None:
    file = table(tmp_path, lines.replace(",", delimiter).replace("|", ends) + ends)
    with pytest.raises(InputError, match=r"s.csv row 2: a cell that begins with a quote takes in the .* which look li"):
        read(file)


def test_line_breaks_that_are_meant_are_read(tmp_path: Path) -> None:
    notes = ["one\ntwo", "a, b\nc, d", "x,y,z\nx,y,z", "so\n", "she said\nyes, it is, indeed"]
    rows = "".join(f'{i}.jpg,{("sad", "happy")[i % 2]},"{note}"\n' for i, note in enumerate(notes))
    assert len(read(table(tmp_path, "image,label,note\n" + rows))) == len(notes)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("faces/é 0.jpg", ""),
        ("file://{root}/faces/%C3%A9%200.jpg", "no picture is where it is said to be"),
        ("/data/local-files/?d=faces/%C3%A9%200.jpg", "no picture is where it is said to be"),
        ("/data/local-files/?d=all/faces/%C3%A9%200.jpg", "without the first 1 parts"),
        ("/faces/é 0.jpg", "no picture is where it is said to be"),
        (r"faces\é 0.jpg", ""),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_pictures_are_found_as_other_systems_write_their_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, written: str, said: str, form: str
) -> None:
    (tmp_path / "faces").mkdir()
    for i in range(3):
        (tmp_path / "faces" / unicodedata.normalize(form, f"é {i}.jpg")).touch()
    names = [written.format(root=tmp_path).replace("0.jpg", f"{i}.jpg") for i in range(3)]
    file = table(
        tmp_path, "image,label\n" + "".join(f'"{name}",{"sad" if i else "happy"}\n' for i, name in enumerate(names))
    )
    with caplog.at_level(logging.WARNING):
        samples = read(file)
    assert samples.ids.tolist() == names
    assert all(map(os.path.isfile, samples.paths.tolist())), samples.paths
    assert len(set(samples.paths.tolist())) == 3
    assert said in caplog.text if said else not caplog.text
