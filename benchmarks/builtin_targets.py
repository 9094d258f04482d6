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
`../shared/ferplus`). What is done is kept, `AT_ONCE` faces a file beside OUT, so that the same command goes on after a
stop.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import io
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fercleaner.extraction.detection import aligned_frame, whole_frame
from fercleaner.landmarks import mediapipe as face_mesh

MODELS = Path(__file__).resolve().parent.parent.parent / "shared" / "models"
#: Faces a file while OUT is not whole: less than a minute's work.
AT_ONCE = 512
#: Columns of the five points that frame a face, in pixels of its picture.
FIVE = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
#: Framings that the teachers' answers are averaged over: side in units of the canonical frame, mirrored.
LOOKS = ((1.0, False), (1.0, True), (1.15, False), (1.15, True))

Arrays = dict[str, NDArray[Any]]
Ask = Callable[[Iterable[tuple[str, Image.Image]]], Arrays]


def pictures(tar: Path, chosen: slice = slice(None)) -> Iterator[tuple[str, Image.Image]]:
    """Yield name and picture (RGB) of each member, or of those `chosen`, by name."""
    with tarfile.open(tar) as file:
        members = sorted((m for m in file.getmembers() if m.isfile()), key=lambda m: m.name)
        for member in members[chosen]:
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


def mesh_asker(models: Path) -> Ask:
    """Return what gives ids, mesh (M, 478, 3) float16 and blendshapes (M, 52) float16 of pictures."""

    def ask(some: Iterable[tuple[str, Image.Image]]) -> Arrays:
        names, mesh, shapes = [], [], []
        for name, image in some:
            seen = mesh_of(image, str(models / face_mesh.MODEL_FILE))
            names.append(name)
            mesh.append(np.full((478, 3), np.nan) if seen is None else seen[0])
            shapes.append(np.full(52, np.nan) if seen is None else seen[1])
        return {
            "ids": np.array(names),
            "mesh": np.stack(mesh).astype(np.float16),
            "blendshapes": np.stack(shapes).astype(np.float16),
        }

    return ask


def five_points(table: Path) -> dict[str, NDArray[np.float64]]:
    """Return the five points (5, 2) of each picture of a table, in its pixels."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["image"]: np.array([[float(row[f"{p}_{axis}"]) for axis in "xy"] for p in FIVE]) for row in rows}


def _teachers(models: Path) -> Any:
    spec = importlib.util.spec_from_file_location("teachers", models / "teachers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["teachers"] = module
    spec.loader.exec_module(module)
    return module


def teachers_of(names: tuple[str, ...], models: Path = MODELS) -> dict[str, Callable[[NDArray[Any]], NDArray[Any]]]:
    """Return the networks of these names: (B, 112, 112, 3) uint8 RGB -> posteriors (B, C)."""
    teachers = _teachers(models)
    weights = teachers.expression_weights()
    compiled, batch = teachers.emotion_model() if "emotion" in names else (None, 0)

    def expression(rgb: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(teachers.expression(rgb, weights)[0])

    def emotion(rgb: NDArray[Any]) -> NDArray[Any]:
        import cv2

        small = np.stack([cv2.resize(p, (64, 64), interpolation=cv2.INTER_AREA)[:, :, ::-1] for p in rgb])
        return np.asarray(teachers.emotion(np.ascontiguousarray(small), compiled, batch)[0])

    return {name: known for name, known in (("expression", expression), ("emotion", emotion)) if name in names}


def teachers_asker(models: Path, table: Path | None, only: str | None = None) -> Ask:
    """Return what gives ids and both networks' posteriors, `expression` (M, 7) and `emotion` (M, 5), or one's alone."""
    teachers = teachers_of((only,) if only else ("expression", "emotion"), models)
    points = five_points(table) if table else {}

    def ask(some: Iterable[tuple[str, Image.Image]]) -> Arrays:
        names: list[str] = []
        large: list[NDArray[Any]] = []
        kept: dict[str, list[NDArray[Any]]] = {name: [] for name in teachers}
        for name, image in some:
            names.append(name)
            frame = aligned_frame(points[name]) if name in points else whole_frame(image)
            for side, mirrored in LOOKS:
                wide = frame.widened(side)
                seen = np.stack([wide.pixels(band, 112) for band in image.split()], -1)
                large.append(np.ascontiguousarray(seen[:, ::-1] if mirrored else seen))
        for start in range(0, len(large), 64 * len(LOOKS)):
            rgb = np.stack(large[start : start + 64 * len(LOOKS)])
            for key, teacher in teachers.items():
                value = teacher(rgb)
                odds = np.exp(np.log(value.astype(np.float64).reshape(-1, len(LOOKS), value.shape[1]) + 1e-6).mean(1))
                kept[key].append((odds / odds.sum(1, keepdims=True)).astype(np.float32))
        return {"ids": np.array(names), **{key: np.concatenate(parts) for key, parts in kept.items()}}

    return ask


def write(tar: Path, out: Path, ask: Ask) -> None:
    """Ask about every picture of a tar and write the answers; goes on from the parts that are there."""
    with tarfile.open(tar) as file:
        count = sum(member.isfile() for member in file)
    files = [out.with_suffix(f".part{start}.npz") for start in range(0, count, AT_ONCE)]
    for number, file in enumerate(files):
        if not file.exists():
            store(file, ask(pictures(tar, slice(number * AT_ONCE, (number + 1) * AT_ONCE))))
            print(f"{out.name}: {min((number + 1) * AT_ONCE, count):,} of {count:,} pictures", flush=True)
    parts = [dict(np.load(file)) for file in files]
    store(out, {key: np.concatenate([part[key] for part in parts]) for key in parts[0]})
    for file in files:
        file.unlink()


def store(file: Path, arrays: Arrays) -> None:
    """Write an .npz that is there whole or not at all."""
    scratch = file.with_suffix(".new.npz")
    np.savez(scratch, **arrays)
    scratch.replace(file)


def main() -> None:
    """Read the options and ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("mesh", "teachers"))
    parser.add_argument("tar", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--points", type=Path, help="table of five points a picture, for `teachers`")
    parser.add_argument("--only", choices=("expression", "emotion"), help="one of the teachers")
    parser.add_argument("--models", type=Path, default=MODELS)
    args = parser.parse_args()
    mesh = args.what == "mesh"
    write(
        args.tar,
        args.out,
        mesh_asker(args.models) if mesh else teachers_asker(args.models, args.points, args.only),
    )


if __name__ == "__main__":
    main()
