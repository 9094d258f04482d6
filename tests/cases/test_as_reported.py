"""Faults that users reported of tools like this one, rebuilt here: none is read wrongly in silence."""

from __future__ import annotations

import io
import logging
import os
import struct
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from fercleaner.core.errors import InputError
from fercleaner.datasets import read
from fercleaner.datasets.describe import sentences
from fercleaner.datasets.faces import match
from fercleaner.extraction.images import UnreadableImage, decode


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


@pytest.mark.parametrize("below", ["", "happy/"])
def test_uploads_to_label_studio_are_found_by_their_own_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, below: str
) -> None:
    """Eight digits stand before it; of several pictures of one name none is taken."""
    names = ["a.jpg", "b.jpg", "0123abcd-c.jpg", "d.jpg"]
    for name in (*(below + name for name in names), "one/d.jpg", "two/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    rows = [f"/data/upload/1/8fa2b3c{i}-{name},{('sad', 'happy')[i % 2]}" for i, name in enumerate(names)]
    file = table(tmp_path, "\n".join(["image,label", *rows]) + "\n")
    samples = read(file)
    assert samples.paths[:3].tolist() == [str(tmp_path / below / name) for name in names[:3]]
    assert not os.path.isfile(samples.paths[3])
    assert "each is taken for the only one of its name" in caplog.text
    rows_of = match(np.array(["d.jpg", "a.jpg"]), np.array(["", ""]), samples.ids.tolist(), "truth.csv")
    assert rows_of.tolist() == [3, 0]
    assert "matched by what Label Studio's uploads were called" in caplog.text


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "tEXt", "iCCP"])
def test_a_png_with_a_large_text_is_read(kind: str, behind: bool) -> None:
    """Programs that draw pictures keep their settings in them, beyond what Pillow reads of texts."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    png, text = buffer.getvalue(), b"workflow\0"
    many = 70 if kind == "tEXt" else 1  # Pillow's limits: a megabyte unfolded, 64 in all
    text += {"iTXt": b"\1\0\0\0", "tEXt": b""}.get(kind, b"\0")
    text += b"a" * (1 << 20) if kind == "tEXt" else zlib.compress(b"a" * (3 << 20))
    chunk = struct.pack(">I", len(text)) + kind.encode() + text + struct.pack(">I", zlib.crc32(kind.encode() + text))
    at = len(png) - 12 if behind else 33  # before the end, or behind the header
    np.testing.assert_array_equal(decode(png[:at] + chunk * many + png[at:]), pixels)
    with pytest.raises(UnreadableImage):
        decode(png[:-20] + chunk * many)


@pytest.mark.parametrize(
    "names",
    ["left,top,width,height", "region.x,region.y,region.w,region.h", "bbox_left,bbox_top,bbox_right,bbox_bottom"],
)
def test_boxes_of_detectors_are_pointed_to(tmp_path: Path, names: str) -> None:
    said = sentences(read(table(tmp_path, f"image,label,{names}\na.jpg,sad,1,2,30,40\nb.jpg,happy,1,2,30,40\n")))
    assert any(f"If the columns {names.replace(',', ', ')} say where the face is" in line for line in said)
