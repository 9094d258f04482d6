"""The tags of encoders, and hog against scikit-image."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fercleaner import encoders
from fercleaner.core.arrays import spec_digest
from fercleaner.core.errors import InputError
from fercleaner.core.types import Samples
from fercleaner.encoders.hog import Hog
from fercleaner.extraction.images import FileImages
from fercleaner.extraction.run import extract

FERPLUS = Path(os.environ.get("FERCLEANER_FERPLUS", Path(__file__).parents[2] / ".." / "shared" / "ferplus"))


def gradients(grey: np.ndarray) -> np.ndarray:
    """HOG by loops: centered differences, unsigned orientations, cell means, L2-Hys over 2 x 2 blocks."""
    height, width = grey.shape
    cells = np.zeros((height // 6, width // 6, 8))
    for y in range(height):
        for x in range(width):
            dy = grey[y + 1, x] - grey[y - 1, x] if 0 < y < height - 1 else 0.0
            dx = grey[y, x + 1] - grey[y, x - 1] if 0 < x < width - 1 else 0.0
            angle = np.rad2deg(np.arctan2(dy, dx)) % 180
            cells[y // 6, x // 6, int(angle // 22.5) % 8] += np.hypot(dy, dx)
    cells /= 36
    blocks = []
    for y in range(cells.shape[0] - 1):
        for x in range(cells.shape[1] - 1):
            block = cells[y : y + 2, x : x + 2].ravel()
            block = np.minimum(block / np.sqrt((block**2).sum() + 1e-10), 0.2)
            blocks.append(block / np.sqrt((block**2).sum() + 1e-10))
    return np.concatenate(blocks)


def test_hog_is_what_it_says() -> None:
    rng = np.random.default_rng(5)
    picture = Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8))
    descriptor = Hog().prepare(picture)
    assert descriptor.shape == (Hog().width,) == (1568,)
    grey = np.asarray(picture.convert("L"), dtype=np.float64)
    np.testing.assert_allclose(descriptor, gradients(grey), atol=1e-5)
    assert 0 <= descriptor.min() <= descriptor.max() <= 1


def test_any_size_and_a_flat_picture() -> None:
    encoder = Hog()
    prepared = [encoder.prepare(Image.new("RGB", size, (9, 9, 9))) for size in ((48, 48), (1, 300), (640, 480))]
    values, found, notes = encoder.compute(prepared)
    assert values.shape == (3, encoder.width)
    assert values.dtype == np.float32
    assert not values.any()
    assert found.all()
    assert notes == ["", "", ""]


def test_build() -> None:
    encoder = encoders.build("hog")
    assert encoder.name == "hog"
    assert encoder.spec["kind"] == "hog"
    assert len(pickle.dumps(encoder.prepare)) < 500
    assert spec_digest(encoder.spec) == spec_digest(dict(Hog(batch_size=1).spec))


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("clipp:x", r"encoder 'clipp:x' is none of builtin, clip, timm, torchvision.*Did you mean 'clip'\?"),
        ("", "encoder '' is none of"),
        ("hog:9", "hog has no variants"),
        ("timm:", "timm has no model ''"),
    ],
)
def test_tags_that_name_nothing(tag: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encoders.build(tag)


def test_options_that_make_no_sense() -> None:
    with pytest.raises(InputError, match=r"hog needs no weights; drop --weights w\.pt"):
        encoders.build("hog", weights=Path("w.pt"))
    with pytest.raises(InputError, match="a batch of 0 pictures"):
        encoders.build("hog", batch_size=0)


def test_the_default_is_one_tag() -> None:
    from fercleaner.encoders import clip

    assert f"clip:{clip.DEFAULT}" == encoders.DEFAULT_CLIP


def test_importing_brings_nothing_heavy() -> None:
    code = (
        "import sys; import fercleaner.encoders, fercleaner.extraction.run, fercleaner.encoders.vectors, "
        "fercleaner.encoders.clip, fercleaner.encoders.timm, fercleaner.encoders.torchvision, "
        "fercleaner.encoders.hog; "
        "heavy = {'torch', 'torchvision', 'timm', 'open_clip', 'skimage', 'scipy', 'pandas', 'pyarrow'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_real_faces(tmp_path: Path) -> None:
    archive = FERPLUS / "images.tar"
    if not archive.is_file():
        pytest.skip(f"no {archive}; name the folder with FERCLEANER_FERPLUS")
    import tarfile

    paths = []
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and member.name.endswith(".png"):
                path = tmp_path / Path(member.name).name
                path.write_bytes(tar.extractfile(member).read())  # type: ignore[union-attr]
                paths.append(str(path))
            if len(paths) == 120:
                break
    n = len(paths)
    given = np.zeros((n, 2), dtype=np.float32)
    given[:, 0] = 1
    data = Samples(
        np.array(paths), ("a", "b"), given, np.ones(n, dtype=bool), np.array(paths), images=FileImages(paths)
    )
    done = extract(data, Hog(), cache=None, workers=1)
    assert done.found.all()
    assert done.values.std(0).mean() > 0.05
