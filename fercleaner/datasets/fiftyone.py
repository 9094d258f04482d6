"""Predictions of a FiftyOne dataset, exported as FiftyOneDataset: samples.json with metadata.json beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import Doubles, Strings
from ..core.errors import InputError
from ..core.numeric import softmax
from ..core.text import read_json

#: Fields that are taken for predictions, first found first taken; else the only other classification field.
FIELDS = ("predictions", "prediction")
TRUTH = "ground_truth"


def read_predictions(where: str, file: Path) -> tuple[Doubles, Strings, tuple[str, ...]]:
    """Return values (M, K), ids (M,) and class names (K,).

    Ids are `face_id` or `id` of a sample, where it has one, else its `filepath` as written. A prediction with logits
    gives their softmax over the classes of metadata.json; one with a confidence c alone gives c to its label and
    (1 - c) / (K - 1) to each other class that is predicted anywhere. Samples without a prediction are left out.

    Raises
    ------
    InputError
        The file has another shape, names no predictions, or has logits without as many classes.
    """
    try:
        samples = read_json(file.read_text(encoding="utf-8"))["samples"]
        field = _field(where, samples)
        rows = [(sample, sample[field]) for sample in samples if sample.get(field)]
        ids = np.array([str(sample.get("face_id") or sample.get("id") or sample["filepath"]) for sample, _ in rows])
        if all(said.get("logits") is not None for _, said in rows):
            return _from_logits(where, file, field, [said["logits"] for _, said in rows]), ids, _classes(file, field)
        classes = tuple(sorted({str(said["label"]) for _, said in rows}))
        return _from_confidence([(str(s["label"]), float(s["confidence"])) for _, s in rows], classes), ids, classes
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{where} is not the samples.json of a FiftyOne dataset with predictions. Export it with "
            "dataset.export(DIR, dataset_type=fiftyone.types.FiftyOneDataset)."
        ) from error


def _field(where: str, samples: list[dict[str, Any]]) -> str:
    found = {
        name for sample in samples for name, value in sample.items() if isinstance(value, dict) and "label" in value
    }
    named = next((name for name in FIELDS if name in found), None)
    others = sorted(found - {TRUTH})
    if named is None and len(others) != 1:
        raise InputError(
            f"{where} has {len(others)} fields of predictions ({', '.join(others) or 'none'}), expected 1."
        )
    return named or others[0]


def _classes(file: Path, field: str) -> tuple[str, ...]:
    beside = file.with_name("metadata.json")
    about = read_json(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
    return tuple(map(str, (about.get("classes") or {}).get(field) or about.get("default_classes") or ()))


def _from_logits(where: str, file: Path, field: str, logits: list[list[float]]) -> Doubles:
    classes = _classes(file, field)
    values = np.array(logits, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(classes):
        raise InputError(
            f"{where} has {values.shape[-1]} logits a face and {file.with_name('metadata.json').name} beside it "
            f"{len(classes)} classes. Set the dataset's classes before it is exported."
        )
    return np.asarray(softmax(values), dtype=np.float64)


def _from_confidence(said: list[tuple[str, float]], classes: tuple[str, ...]) -> Doubles:
    values = np.empty((len(said), len(classes)))
    for row, (label, confidence) in enumerate(said):
        values[row] = (1 - confidence) / max(1, len(classes) - 1)
        values[row, classes.index(label)] = confidence
    return values
