"""Describe the home of the builtin model, the faces that it was validated on, for `methods/consensus/external.py`.

    python benchmarks/builtin_home.py --data FERPLUS --images FOLDER [--weights FILE --out FILE]

Reads FER2013's held-back faces (weights/heldback_groups.json) under the labels that they came with, runs the builtin
model on them and writes fercleaner/weights/home.npz (or `--out`): of its embedding the mean, the first 32 principal
components (each over its standard deviation), and each class's mean in them with the sampling variance; and the mean
posterior.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from fercleaner import datasets
from fercleaner.core.types import Samples
from fercleaner.encoders import builtin
from fercleaner.encoders.builtin_views import split
from fercleaner.extraction.run import extract, usable_cores

COMPONENTS = 32


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    folder = builtin.weights_folder()
    parser.add_argument("--weights", type=Path, default=folder / "builtin.safetensors")
    parser.add_argument("--out", type=Path, default=folder / "home.npz")
    options = parser.parse_args()
    samples = heldback(datasets.read(options.data / "labels.csv", images=options.images))
    model = builtin.build(weights=options.weights, parts=builtin.PARTS)
    done = extract(samples, model, cache=None, workers=usable_cores())
    parts = split(samples, done.values, done.found, done.notes, model.spec)
    assert parts.posteriors is not None, parts.reason
    described = described_by(samples, parts.features.values, parts.posteriors.values)
    np.savez(options.out, **described)


def heldback(everyone: Samples) -> Samples:
    """Return the faces of the groups that the model was not trained on."""
    frozen = json.loads((builtin.weights_folder() / "heldback_groups.json").read_text())
    groups = {*frozen["choose"], *frozen["test"]}
    assert everyone.group is not None, "labels.csv needs a group column"
    return datasets.select(everyone, np.flatnonzero([name in groups for name in everyone.group.tolist()]))


def described_by(samples: Samples, embedding: np.ndarray, posteriors: np.ndarray) -> dict[str, Any]:
    """Return the arrays of home.npz."""
    values = embedding.astype(np.float64)
    center = values.mean(0)
    variance, directions = np.linalg.eigh(np.cov((values - center).T))
    order = np.argsort(-variance)[:COMPONENTS]
    turn = directions[:, order] / np.sqrt(variance[order])
    rows = (values - center) @ turn
    faces = [rows[samples.label == c] for c in range(len(samples.classes))]
    return {
        "classes": np.array(samples.classes),
        "center": center.astype(np.float32),
        "directions": turn.astype(np.float32),
        "means": np.stack([of.mean(0) for of in faces]).astype(np.float32),
        "errors": np.stack([of.var(0, ddof=1) / len(of) for of in faces]).astype(np.float32),
        "posterior": posteriors.mean(0).astype(np.float32),
    }


if __name__ == "__main__":
    main()
