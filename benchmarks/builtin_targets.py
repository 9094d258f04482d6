"""Ask the teachers of the builtin network about every face of a set, once: MediaPipe, and two expression networks.

    python benchmarks/builtin_targets.py mesh ../shared/ferplus/images.tar WORK/ferplus_mesh.npz
    python benchmarks/builtin_targets.py teachers ../shared/wild/images.tar WORK/wild_teachers.npz \
        --points ../shared/wild/labels.csv
    python benchmarks/builtin_targets.py teachers ../shared/ferplus/images.tar WORK/ferplus_teachers.npz --only emotion

`mesh`: 478 points (x, y in picture widths, z as MediaPipe gives it) and 52 blendshapes; NaN where no face was found.
`teachers`: posteriors of `../shared/models/teachers.py`'s two networks, the mean of their log posteriors over
`LOOKS` at each face: in the canonical frame (`aligned_frame`) by the five points of the table, or the whole picture
without one; mirrored; and a little looser. The five-expression one needs `openvino`. `--only` asks one of them (that of
seven expressions takes nearly all of the time, and what it says of FER2013's crops follows from its features in
`../shared/ferplus`).
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import io
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fercleaner.extraction.detection import aligned_frame, whole_frame
from fercleaner.landmarks import mediapipe as face_mesh

MODELS = Path(__file__).resolve().parent.parent.parent / "shared" / "models"
#: Columns of the five points that frame a face, in pixels of its picture.
FIVE = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
#: Framings that the teachers' answers are averaged over: side in units of the canonical frame, mirrored.
LOOKS = ((1.0, False), (1.0, True), (1.15, False), (1.15, True))


def pictures(tar: Path) -> Iterator[tuple[str, Image.Image]]:
    """Yield name and picture (RGB) of each member, by name."""
    with tarfile.open(tar) as file:
        members = sorted((m for m in file.getmembers() if m.isfile()), key=lambda m: m.name)
        for member in members:
            handle = file.extractfile(member)
            assert handle is not None
            yield member.name.rsplit("/", 1)[-1], Image.open(io.BytesIO(handle.read())).convert("RGB")


def mesh_of(image: Image.Image, model: str) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return mesh points (478, 3) in picture widths and 52 blendshapes; None where no face is found."""
    pixels = np.asarray(image)
    for border in face_mesh.BORDERS:
        seen = face_mesh.find_mesh(model, pixels, border)
        if seen is not None:
            points, shapes = seen
            return points / np.array([image.width, image.height, image.width]), shapes
    return None


def write_mesh(tar: Path, out: Path) -> None:
    """Write ids, mesh (N, 478, 3) float16 and blendshapes (N, 52) float16."""
    names, mesh, shapes = [], [], []
    for name, image in pictures(tar):
        seen = mesh_of(image, str(MODELS / face_mesh.MODEL_FILE))
        names.append(name)
        mesh.append(np.full((478, 3), np.nan) if seen is None else seen[0])
        shapes.append(np.full(52, np.nan) if seen is None else seen[1])
        mesh[-1], shapes[-1] = mesh[-1].astype(np.float16), shapes[-1].astype(np.float16)
    np.savez(out, ids=np.array(names), mesh=np.stack(mesh), blendshapes=np.stack(shapes))


def five_points(table: Path) -> dict[str, NDArray[np.float64]]:
    """Return the five points (5, 2) of each picture of a table, in its pixels."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["image"]: np.array([[float(row[f"{p}_{axis}"]) for axis in "xy"] for p in FIVE]) for row in rows}


def _teachers() -> Any:
    spec = importlib.util.spec_from_file_location("teachers", MODELS / "teachers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["teachers"] = module
    spec.loader.exec_module(module)
    return module


def teachers_of(names: tuple[str, ...]) -> dict[str, Callable[[NDArray[Any]], NDArray[Any]]]:
    """Return the networks of these names: (B, 112, 112, 3) uint8 RGB -> posteriors (B, C)."""
    teachers = _teachers()
    weights = teachers.expression_weights()
    compiled, batch = teachers.emotion_model() if "emotion" in names else (None, 0)

    def expression(rgb: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(teachers.expression(rgb, weights)[0])

    def emotion(rgb: NDArray[Any]) -> NDArray[Any]:
        import cv2

        small = np.stack([cv2.resize(p, (64, 64), interpolation=cv2.INTER_AREA)[:, :, ::-1] for p in rgb])
        return np.asarray(teachers.emotion(np.ascontiguousarray(small), compiled, batch)[0])

    return {name: known for name, known in (("expression", expression), ("emotion", emotion)) if name in names}


def write_teachers(tar: Path, out: Path, table: Path | None, only: str | None = None) -> None:
    """Write ids and the two networks' posteriors: `expression` (N, 7), `emotion` (N, 5); or those of one alone."""
    teachers = teachers_of((only,) if only else ("expression", "emotion"))
    points = five_points(table) if table else {}
    names: list[str] = []
    large: list[NDArray[Any]] = []
    kept: dict[str, list[NDArray[Any]]] = {name: [] for name in teachers}

    def ask() -> None:
        rgb = np.stack(large)
        for key, teacher in teachers.items():
            value = teacher(rgb)
            logs = np.log(value.astype(np.float64).reshape(-1, len(LOOKS), value.shape[1]) + 1e-6).mean(1)
            odds = np.exp(logs)
            kept[key].append((odds / odds.sum(1, keepdims=True)).astype(np.float32))
        large.clear()

    for name, image in pictures(tar):
        names.append(name)
        frame = aligned_frame(points[name]) if name in points else whole_frame(image)
        for side, mirrored in LOOKS:
            wide = frame.widened(side)
            seen = np.stack([wide.pixels(band, 112) for band in image.split()], -1)
            large.append(np.ascontiguousarray(seen[:, ::-1] if mirrored else seen))
        if len(large) == 64 * len(LOOKS):
            ask()
    if large:
        ask()
    np.savez(out, ids=np.array(names), **{key: np.concatenate(parts) for key, parts in kept.items()})


def main() -> None:
    """Read the options and ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("mesh", "teachers"))
    parser.add_argument("tar", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--points", type=Path, help="table of five points a picture, for `teachers`")
    parser.add_argument("--only", choices=("expression", "emotion"), help="one of the teachers")
    args = parser.parse_args()
    if args.what == "mesh":
        write_mesh(args.tar, args.out)
    else:
        write_teachers(args.tar, args.out, args.points, args.only)


if __name__ == "__main__":
    main()
