"""What lies where the set should: packed files, tables of other kinds, pictures of another ending, Usage."""

from pathlib import Path

import numpy as np
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
        ("faces.json", r"pandas.read_json\('faces.json'\).to_csv"),
        ("faces.jsonl", r"pandas.read_json\('faces.jsonl', lines=True\).to_csv"),
        ("faces.feather", r"pandas.read_feather\('faces.feather'\).to_csv"),
    ],
)
def test_files_of_other_kinds_say_the_way_out(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(b"whatever")
    with pytest.raises(InputError, match=message):
        fercleaner.read(tmp_path / name)


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
    assert "names (a column of pandas holds objects) as array.astype(str)" in message
