"""What lies where the set should: packed files, tables of other kinds, pictures of another ending, Usage."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_runs import fails, process
from PIL import Image

import fercleaner
from fercleaner.core.errors import InputError


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("faces.zip", "It is packed: unpack it"),
        ("faces.csv.gz", "It is packed: unpack it"),
        ("images.TAR", "It is packed: unpack it"),
        ("faces.json", r"pandas.read_json\('faces.json', dtype=False\).to_csv"),
        ("faces.jsonl", r"pandas.read_json\('faces.jsonl', lines=True, dtype=False\).to_csv"),
        ("faces.feather", r"pandas.read_feather\('faces.feather'\).to_csv"),
    ],
)
def test_files_of_other_kinds_say_the_way_out(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(b"whatever")
    with pytest.raises(InputError, match=message):
        fercleaner.read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "clean.json",
            b'[{"image": "a.png", "label": "happy"}]',
            r"no table that is read .*read_json\('clean.json', dtyp",
        ),
        (
            "clean.jsonl",
            b'{"image": "a.png", "label": "happy"}',
            r"no table that is read .*lines=True, dtype=False\).to_c",
        ),
        (
            "clean.npy",
            b"\x93NUMPY",
            r"no table that is read \(CSV, TSV or Parquet\)\. Write a CSV or a Parquet file, a row",
        ),
        ("clean.xlsx", b"PK\x03\x04", "It is a workbook: save the sheet as CSV"),
        (
            "clean.csv",
            "image,label\na.png,happy\n".encode("utf-16-le"),
            "NUL byte: it is no UTF-8 text",
        ),
    ],
)
def test_a_truth_in_another_kind_of_file_says_the_way_out(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        fercleaner.read_truth(tmp_path / name, ("anger", "happiness"))


def test_text_that_looks_like_numbers_survives_the_way_out_of_json(tmp_path: Path) -> None:
    (tmp_path / "faces.json").write_text('[{"id": "00012", "label": "happy"}, {"id": "00013", "label": "sad"}]')
    with pytest.raises(InputError) as error:
        fercleaner.read(tmp_path / "faces.json")
    code = str(error.value).partition("such as by ")[2].rstrip(".").replace("faces.", str(tmp_path / "faces."))
    exec(code, {"pandas": pd})
    assert fercleaner.read(tmp_path / "faces.csv").ids.tolist() == ["00012", "00013"]


def test_pictures_under_another_ending_are_pointed_to(tmp_path: Path) -> None:
    for i in range(4):
        Image.fromarray(np.full((8, 8), 40 * i, np.uint8)).save(tmp_path / f"a{i}.jpg")
    rows = "\n".join(f"A{i}.png,{'happy' if i % 2 else 'sad'}" for i in range(4))
    (tmp_path / "faces.csv").write_text(f"image,label\n{rows}\n")
    told = process("read", "faces.csv", cwd=tmp_path).stderr
    assert "first: ./A0.png (its folder has a0.jpg: names must be the same, ending included)" in told
    message = fails("refine", tmp_path / "faces.csv", "--encoder", "hog", "--no-cache", "--out", tmp_path / "o.parquet")
    assert "A0.png: file not found (its folder has a0.jpg" in message


def test_usage_is_a_split(tmp_path: Path) -> None:
    rows = "\n".join(f"{i}.png,{i % 2},{'Training' if i < 6 else 'PublicTest'}" for i in range(8))
    (tmp_path / "faces.csv").write_text(f"image,emotion,Usage\n{rows}\n")
    split = fercleaner.read(tmp_path / "faces.csv").split
    assert split is not None
    assert split.tolist() == ["Training"] * 6 + ["PublicTest"] * 2


def test_ids_saved_from_a_column_of_pandas_are_told_how_to_be_saved(tmp_path: Path) -> None:
    (tmp_path / "faces.csv").write_text("image,label\na.png,happy\nb.png,sad\n")
    np.savez(tmp_path / "v.npz", ids=np.array(["a.png", "b.png"], dtype=object), values=np.eye(2))
    message = fails("read", tmp_path / "faces.csv", "--view", f"v={tmp_path / 'v.npz'}")
    assert "pickled objects" in message
    assert "names (a column of pandas holds objects) as numpy.asarray(names, dtype=str)" in message
    np.savez(tmp_path / "v.npz", ids=np.asarray(pd.Series(["a.png", "b.png"]), dtype=str), values=np.eye(2))
    process("read", tmp_path / "faces.csv", "--view", f"v={tmp_path / 'v.npz'}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "is a pointer of Git LFS, .* git lfs",
        ),
        ("\n <!DOCTYPE html>\n<html><body>404</body></html>\n", "is a web page"),
        ("\ufeff<html>\n<body>Log in</body></html>\n", "is a web page"),
    ],
)
def test_what_was_fetched_in_place_of_a_table_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "faces.csv").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        fercleaner.read(tmp_path / "faces.csv")
