"""How well the builtin model reads any folder of pictures, through the package's own path: framing, looks, posteriors.

    python benchmarks/evaluate_builtin.py --pictures FOLDER --truth CSV [--detector-weights yunet_n_320_320.onnx]

The table needs `image` (a path under the folder) and `label` (the truth, an expression by any of its names); `given`
(labels to be judged) is used if there. Without it, labels are made wrong at random, a fifth of them, seeded.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fercleaner.core.expressions import canonical
from fercleaner.encoders.builtin import EXPRESSIONS, BuiltinExtractor
from fercleaner.extraction.detection import choose_framing

#: Bins of the calibration error. Share of labels made wrong where none are given.
BINS, NOISE = 10, 0.2
PARTS = ("embedding", "posterior", "landmarks")
#: What faces are told apart by.
CONDITIONS = ("size", "brightness", "turn", "roll")


def read_truth(folder: Path, table: Path) -> tuple[list[Path], list[str], list[str] | None]:
    """Return paths, true labels and given labels (None without the column) of a table."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"image", "label"} <= set(rows[0]):
        raise SystemExit(f"{table} needs columns image and label.")
    missing = [row["image"] for row in rows if not (folder / row["image"]).is_file()]
    if missing:
        raise SystemExit(f"{folder} lacks {len(missing)} pictures of {table} (first: {missing[0]}).")
    given = [canonical(row["given"]) for row in rows] if "given" in rows[0] else None
    return [folder / row["image"] for row in rows], [canonical(row["label"]) for row in rows], given


def read_faces(paths: list[Path], extractor: BuiltinExtractor) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
    """Return what the package gives for pictures, and which have one face.

    "size" is the side of the face's frame in pixels of the picture, "brightness" its mean gray, "turn" 0 (frontal) to 1
    by how unlike the distances of both ends of the jaw from the nose are, "roll" the slope of the eyes in degrees.
    """
    values, found, side, dark = [], [], [], []
    for start in range(0, len(paths), extractor.batch_size):
        batch = []
        for path in paths[start : start + extractor.batch_size]:
            with Image.open(path) as image:
                batch.append(extractor.prepare(image.convert("RGB")))
        done = extractor.compute(batch)
        values.append(done[0])
        found.append(done[1])
        for item in batch:
            place = item[2304:2328].view("<f4") if len(item) > 1 else np.zeros(6, np.float32)
            side.append(float(np.hypot(place[0], place[3])))
            dark.append(float(item[:2304].mean()) if len(item) > 1 else 0.0)
    rows = np.concatenate(values)
    points = rows[:, 264:400].reshape(-1, 68, 2)
    eyes = points[:, 42:48].mean(1) - points[:, 36:42].mean(1)
    left, right = (np.linalg.norm(points[:, k] - points[:, 27], axis=1) for k in (0, 16))
    return {
        "embedding": rows[:, :256],
        "posterior": rows[:, 256:264],
        "confidence": rows[:, 400],
        "size": np.array(side),
        "brightness": np.array(dark),
        "turn": np.abs(left - right) / np.maximum(left + right, 1e-6),
        "roll": np.abs(np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0]))),
    }, np.concatenate(found)


def posterior_figures(posterior: NDArray[Any], truth: NDArray[np.str_], classes: list[str]) -> dict[str, Any]:
    """Return accuracy, recalls, calibration error and mean confidence of posteriors (n, C) over `classes`."""
    guess, sure = np.array(classes)[posterior.argmax(1)], posterior.max(1)
    right = guess == truth
    recalls = {c: round(float(right[truth == c].mean()), 4) for c in classes if (truth == c).any()}
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    gap = sum(abs(right[bins == b].sum() - sure[bins == b].sum()) for b in range(BINS)) / len(truth)
    return {
        "faces": len(truth),
        "accuracy": float(right.mean()),
        "mean_recall": float(np.mean(list(recalls.values()))),
        "recalls": recalls,
        "calibration_error": float(gap),
        "confidence": float(sure.mean()),
    }


def average_precision(score: NDArray[Any], wrong: NDArray[np.bool_]) -> float:
    """Return the average precision of finding wrong labels by a score that is larger for them."""
    hits = wrong[np.argsort(-score, kind="stable")].astype(float)
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1) * hits).sum() / max(hits.sum(), 1))


def judging(
    posterior: NDArray[Any], truth: NDArray[np.str_], given: list[str] | None, classes: list[str]
) -> dict[str, Any]:
    """Return how well 1 - posterior of the label finds wrong labels."""
    column = {name: k for k, name in enumerate(classes)}
    true = np.array([column[name] for name in truth])
    if given is None:
        rng = np.random.default_rng(0)
        label = np.where(
            rng.random(len(true)) < NOISE,
            (true + rng.integers(1, len(classes), len(true))) % len(classes),
            true,
        )
    else:
        label = np.array([column[name] for name in given])
    wrong = label != true
    score = 1 - posterior[np.arange(len(label)), label]
    return {
        "labels": "as given" if given is not None else f"a share of {NOISE} made wrong at random",
        "wrong": float(wrong.mean()),
        "average_precision": average_precision(score, wrong),
    }


def slices(posterior: NDArray[Any], truth: NDArray[np.str_], seen: dict[str, NDArray[Any]], classes: list[str]) -> Any:
    """Return accuracy and calibration by size, brightness, turn and roll: in quarters, and in the hardest tenth."""
    done: dict[str, Any] = {}
    for name in CONDITIONS:
        order = np.argsort(seen[name], kind="stable")
        tenth = len(order) // 10
        hardest = order[:tenth] if name in ("size", "brightness") else order[len(order) - tenth :]
        done[name] = []
        for part in (*np.array_split(order, 4), hardest):
            if not len(part):
                continue
            row = posterior_figures(posterior[part], truth[part], classes)
            row = {key: row[key] for key in ("faces", "accuracy", "calibration_error", "confidence")}
            ends = [round(float(seen[name][part].min()), 3), round(float(seen[name][part].max()), 3)]
            done[name].append({"from": ends[0], "to": ends[1]} | row)
    return done


def judge_folder(folder: Path, table: Path, weights: Path | None, detector: str | None, crop: str) -> dict[str, Any]:
    """Return every figure of the builtin model on a folder of pictures with a table of truth."""
    paths, labels, given = read_truth(folder, table)
    framing, note = choose_framing(crop, detector)
    extractor = BuiltinExtractor(PARTS, weights=weights, device="cpu", framing=framing)
    seen, found = read_faces(paths, extractor)
    truth = np.array(labels)
    classes = [name for name in EXPRESSIONS if (truth == name).any() or (given is not None and name in given)]
    known = found & np.isin(truth, classes)
    if given is not None:
        known &= np.isin(np.array(given), classes)
    p = seen["posterior"][:, [EXPRESSIONS.index(name) for name in classes]].astype(np.float64)
    p = p / np.maximum(p.sum(1, keepdims=True), 1e-12)
    kept = None if given is None else [name for name, k in zip(given, known, strict=True) if k]
    part = {name: values[known] for name, values in seen.items()}
    return {
        "pictures": len(paths),
        "faces found": int(found.sum()),
        "judged": int(known.sum()),
        "framing": note,
        "classes": classes,
        **posterior_figures(p[known], truth[known], classes),
        "as a judge of labels": judging(p[known], truth[known], kept, classes),
        "quarters, and the hardest tenth": slices(p[known], truth[known], part, classes),
    }
