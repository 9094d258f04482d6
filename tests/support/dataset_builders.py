"""Tiny datasets of every layout, drawn into a folder: flat grey pictures, no faces."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

FERPLUS_HEADER = [
    "Usage",
    "Image name",
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "NF",
]


def picture(path: Path, value: int = 128, size: tuple[int, int] = (6, 6)) -> Path:
    """Write a flat grey picture of (width, height) pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)
    return path


def text(path: Path, content: str, encoding: str = "utf-8") -> Path:
    """Write a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode(encoding))
    return path


def class_folders(root: Path, files: Sequence[str]) -> Path:
    """Write a picture for each relative path."""
    for i, name in enumerate(files):
        picture(root / name, value=i)
    return root


def rafdb(root: Path, codes: Sequence[int | str], *, folder: str = "aligned", boxes: bool = False) -> Path:
    """Write RAF-DB with one train picture a code and the last as test."""
    lines = []
    for i, code in enumerate(codes):
        name = f"{'test' if i == len(codes) - 1 else 'train'}_{i:05d}"
        lines.append(f"{name}.jpg {code}")
        picture(root / "Image" / folder / f"{name}{'_aligned' if folder == 'aligned' else ''}.jpg", value=i)
        if boxes:
            text(root / "Annotation" / "boundingbox" / f"{name}_boundingbox.txt", f"1.0 2.0 {3.0 + i} 5.0 \n")
    text(root / "EmoLabel" / "list_patition_label.txt", "\n".join(lines) + "\n")
    return root


def affectnet_csv(root: Path, codes: Sequence[int], val_codes: Sequence[int] = ()) -> Path:
    """Write AffectNet's first release; every second face has neither a box nor landmarks."""
    header = ["subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks"]
    header += ["expression", "valence", "arousal"]
    for name, part in (("training.csv", codes), ("validation.csv", val_codes)):
        if not part:
            continue
        with (root / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            for i, code in enumerate(part):
                image = f"{name[0]}{i % 2}/{i}.jpg"
                picture(root / "Manually_Annotated_Images" / image, value=i)
                points = ";".join(str(x + i) for x in range(136)) if i % 2 == 0 else "NULL"
                box = [1, 2, 3, 4] if i % 2 == 0 else ["NULL"] * 4
                writer.writerow([image, *box, points, code, 0.1, -0.2])
    return root


def affectnet_npy(root: Path, codes: Sequence[int], folder: str = "train_set") -> Path:
    """Write AffectNet's later release."""
    (root / folder / "annotations").mkdir(parents=True)
    for i, code in enumerate(codes):
        picture(root / folder / "images" / f"{i}.jpg", value=i)
        np.save(root / folder / "annotations" / f"{i}_exp.npy", np.array(str(code)))
        np.save(root / folder / "annotations" / f"{i}_lnd.npy", np.arange(136, dtype=np.float64) + i)
    return root


def fer2013(path: Path, codes: Sequence[int | str], usage: Sequence[str], *, side: int = 4) -> Path:
    """Write fer2013.csv; picture i is flat with value i."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["emotion", "pixels", "Usage"])
        for i, (code, use) in enumerate(zip(codes, usage, strict=True)):
            writer.writerow([code, " ".join([str(i)] * (side * side)), use])
    return path


def ferplus(path: Path, votes: Sequence[Sequence[int]], usage: Sequence[str]) -> Path:
    """Write fer2013new.csv; image names skip numbers, as in the original."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FERPLUS_HEADER)
        for i, (row, use) in enumerate(zip(votes, usage, strict=True)):
            writer.writerow([use, f"fer{3 * i:07d}.png", *row])
    return path


def expw(root: Path, lines: Sequence[str], images: Sequence[str] = ()) -> Path:
    """Write ExpW's list and pictures of 20 x 10 pixels."""
    text(root / "label.lst", "\n".join(lines) + "\n")
    for i, name in enumerate(images):
        picture(root / "image" / "origin" / name, value=i, size=(20, 10))
    return root
