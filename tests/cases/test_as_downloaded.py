"""Files that a download, a checkout or another program left behind in place of what their names say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fercleaner
from fercleaner.core.errors import FercleanerError
from fercleaner.datasets.posteriors import read_posteriors
from fercleaner.encoders.checkpoints import read_state
from fercleaner.encoders.vectors import read_view
from fercleaner.extraction.images import UnreadableImage, open_face
from fercleaner.landmarks import PointsFile

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
SENTENCE = r"is a pointer of Git LFS, not the file itself\. Fetch it: git lfs pull"


@pytest.mark.parametrize(
    ("name", "opened"),
    [
        *((f"v.{ending}", lambda file, set_: read_view("v", file, set_)) for ending in ("npy", "npz", "parquet")),
        *(
            (f"p.{ending}", lambda file, set_: read_posteriors("p", file, set_))
            for ending in ("npy", "npz", "parquet", "csv", "json")
        ),
        *((f"l.{ending}", lambda file, set_: PointsFile(str(file)).read(set_)) for ending in ("npy", "npz", "csv")),
        ("s.parquet", lambda file, set_: fercleaner.read(file)),
        ("s.refined.parquet", lambda file, set_: fercleaner.load(file)),
        *((f"w.{ending}", lambda file, set_: read_state(file)) for ending in ("pth", "safetensors")),
    ],
)
def test_pointers_of_git_lfs(tmp_path: Path, name: str, opened) -> None:
    (tmp_path / "set.csv").write_text("image,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(8)))
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(FercleanerError, match=SENTENCE):
        opened(tmp_path / name, fercleaner.read(tmp_path / "set.csv"))


def test_pictures_that_are_pointers_of_git_lfs(tmp_path: Path) -> None:
    for label in ("happy", "sad"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.jpg").write_text(POINTER)
        Image.fromarray(np.zeros((9, 9), dtype=np.uint8)).save(tmp_path / label / "b.jpg")
    with pytest.raises(UnreadableImage, match=SENTENCE.removeprefix("is ")):
        open_face(fercleaner.read(tmp_path), 0)
