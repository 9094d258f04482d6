"""How well the builtin model reads held-back faces by size, darkness, turn and roll, through the package's own path.

    python benchmarks/builtin_conditions.py --crops UNPACKED --photographs UNPACKED --cleaned REFINED \
        --out benchmarks/results/builtin_conditions.json

Both folders hold what `../shared/ferplus/images.tar` and `../shared/wild/images.tar` unpack to, REFINED is what
`fercleaner refine` made of all photographs. Judged are FER2013's clear faces of the test groups against the votes, as
they are and enlarged to 224 pixels, and the photographs of the test groups against their labels and the cleaned ones.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import builtin_photographs as photos
import numpy as np
import torch
from builtin_data import read_faces, split_groups
from builtin_figures import SEVEN, clear_rows
from builtin_pictures import judge_folder
from PIL import Image
from stamp import stamp

from fercleaner.encoders.builtin import EXPRESSIONS, weights_folder

Table = list[tuple[str, str]]


def clear_test_faces(data: Path, groups: Path) -> Table:
    """Return name and voted expression of FER2013's clear test faces."""
    faces = read_faces(data)
    kept = torch.from_numpy(split_groups(faces.groups, groups, 0)["test"]) & clear_rows(faces.counts)
    with (data / "labels.csv").open(newline="") as file:
        names = [row["image"] for row in csv.DictReader(file)]
    truth = faces.counts[:, :SEVEN].argmax(1)
    return [(names[k], EXPRESSIONS[int(truth[k])]) for k in kept.nonzero()[:, 0].tolist()]


def test_photographs(wild: Path, groups: Path, cleaned: Path) -> dict[str, Table]:
    """Return name and label of the photographs kept for testing, as they came and as they were cleaned."""
    with (wild / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = np.flatnonzero(photos.split_photographs(np.array([row["group"] for row in rows]), groups, 0)["test"])
    names = [rows[k]["image"] for k in kept.tolist()]
    better = photos.cleaned_labels(cleaned, names)[0].argmax(1).tolist()
    return {
        "photographs, labels as they came": [(f"images/{rows[k]['image']}", rows[k]["label"]) for k in kept.tolist()],
        "photographs, cleaned labels": [(f"images/{n}", EXPRESSIONS[c]) for n, c in zip(names, better, strict=True)],
    }


def enlarged(folder: Path, table: Table, to: Path) -> None:
    """Write the pictures of a table enlarged to 224 pixels."""
    for name, _ in table:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        with Image.open(folder / name) as image:
            image.resize((224, 224), Image.Resampling.BICUBIC).save(to / name)


def main() -> None:
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(__file__).resolve().parent.parent.parent / "shared"
    parser.add_argument("--data", type=Path, default=shared / "ferplus")
    parser.add_argument("--wild", type=Path, default=shared / "wild")
    parser.add_argument("--detector-weights", default=str(shared / "models"))
    parser.add_argument("--groups", type=Path, default=weights_folder() / "heldback_groups.json")
    parser.add_argument("--weights", type=Path, default=weights_folder() / "builtin.safetensors")
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--cleaned", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    faces = clear_test_faces(args.data, args.groups)
    with tempfile.TemporaryDirectory() as scratch:
        large = Path(scratch) / "large"
        enlarged(args.crops, faces, large)
        sets = [("FER2013's crops", args.crops, faces, "auto"), ("the same at 224 pixels", large, faces, "none")]
        for name, table in test_photographs(args.wild, args.groups, args.cleaned).items():
            sets.append((name, args.photographs, table, "auto"))
        result: dict[str, Any] = {}
        for name, folder, table, crop in sets:
            truth = Path(scratch) / "truth.csv"
            with truth.open("w", newline="") as file:
                csv.writer(file).writerows([("image", "label"), *table])
            result[name] = judge_folder(folder, truth, args.weights, args.detector_weights, crop)
            print(name, json.dumps({k: v for k, v in result[name].items() if not isinstance(v, list)}), flush=True)
    if args.out:
        args.out.write_text(json.dumps({**stamp(), "results": result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
