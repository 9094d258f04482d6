"""How well the builtin model reads any folder of pictures, through the package's own path: framing, looks, posteriors.

    python benchmarks/evaluate_builtin.py --pictures FOLDER --truth CSV [--detector-weights yunet_n_320_320.onnx]

The table needs `image` (a path under the folder) and `label` (the truth, an expression by any of its names; numbers
with `--classes fer2013` or such); `given` (labels to be judged) is used if there. Without it, labels are made wrong at
random, a fifth of them, seeded. Table and pictures are read as the package reads any set. A row that cannot be judged
is left out, counted by its reason and told on stderr. Posteriors are taken over the expressions that the table has.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fercleaner import Samples
from fercleaner.core.errors import InputError
from fercleaner.datasets import read
from fercleaner.encoders.builtin import EXPRESSIONS, MIN_CONFIDENCE, BuiltinExtractor
from fercleaner.extraction.detection import NO_FACE, SEVERAL_FACES, choose_framing
from fercleaner.extraction.images import UnreadableImage, open_face

#: Bins of the calibration error. Share of labels made wrong where none are given.
BINS, NOISE = 10, 0.2
PARTS = ("embedding", "posterior", "landmarks", "trained_on")
#: What faces are told apart by.
CONDITIONS = ("size", "brightness", "turn", "roll")
#: Bytes of a prepared face before the place of its frame, and with it (`PrepareFace`).
PIXELS, PLACED = 2304, 2328


def read_labels(
    folder: Path, table: Path, column: str, classes: Sequence[str] | None, alias: Mapping[str, str] | None
) -> tuple[Samples, NDArray[np.str_]]:
    """Return a table's pictures and the labels of a column, "" where a row has none.

    Raises
    ------
    InputError
        As `fercleaner.datasets.read`; or the labels are numbers, and no classes say what they mean.
    """
    samples = read(
        table, layout="manifest", images=folder, columns={"label": column, "box": ""}, classes=classes, alias=alias
    )
    if all(name.lstrip("-").isdecimal() for name in samples.classes):
        raise InputError(
            f"{table.name}: column '{column}' holds numbers ({', '.join(samples.classes)}), which say no expression. "
            "Name the set they are from, such as --classes fer2013, or the expressions in their order."
        )
    return samples, np.where(samples.labeled, np.array(samples.classes)[samples.label], "")


def read_faces(samples: Samples, extractor: BuiltinExtractor) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return what the package gives for pictures, and why a picture has none ("" where it has).

    "size" is the side of the face's frame in pixels of the picture, "brightness" its mean gray, "turn" 0 (frontal) to 1
    by how unlike the distances of both ends of the jaw from the nose are, "roll" the slope of the eyes in degrees.
    """
    values, notes, side, dark = [], [], [], []
    for start in range(0, len(samples), extractor.batch_size):
        batch = []
        for row in range(start, min(start + extractor.batch_size, len(samples))):
            try:
                batch.append(extractor.prepare(open_face(samples, row)))
                notes.append("" if len(batch[-1]) > 1 else (SEVERAL_FACES if batch[-1][0] else NO_FACE))
            except UnreadableImage as error:
                batch.append(np.zeros(1, np.uint8))
                notes.append(str(error))
        values.append(extractor.compute(batch)[0])
        for item in batch:
            place = item[PIXELS:PLACED].view("<f4") if len(item) > 1 else np.zeros(6, np.float32)
            side.append(float(np.hypot(place[0], place[3])))
            dark.append(float(item[:PIXELS].mean()) if len(item) > 1 else 0.0)
    rows = np.concatenate(values)
    points = rows[:, 264:400].reshape(-1, 68, 2)
    eyes = points[:, 42:48].mean(1) - points[:, 36:42].mean(1)
    left, right = (np.linalg.norm(points[:, k] - points[:, 27], axis=1) for k in (0, 16))
    return {
        "embedding": rows[:, :256],
        "posterior": rows[:, 256:264],
        "confidence": rows[:, 400],
        "trained_on": rows[:, 453],
        "size": np.array(side),
        "brightness": np.array(dark),
        "turn": np.abs(left - right) / np.maximum(left + right, 1e-6),
        "roll": np.abs(np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0]))),
    }, notes


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


def average_precision(score: NDArray[Any], wrong: NDArray[np.bool_]) -> float | None:
    """Return the average precision of finding wrong labels by a score that is larger for them; None without any."""
    if not wrong.any():
        return None
    hits = wrong[np.argsort(-score, kind="stable")].astype(float)
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1) * hits).sum() / hits.sum())


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


def left_out(
    samples: Samples, notes: Sequence[str], truth: NDArray[np.str_], given: NDArray[np.str_] | None
) -> NDArray[np.str_]:
    """Return why each row cannot be judged, "" where it can: the picture, or its labels."""
    why = np.array(notes, dtype=object)
    for name, labels in (("truth", truth), ("given label", given)):
        if labels is not None:
            why[(why == "") & (labels == "")] = f"no {name}"
            why[(why == "") & ~np.isin(labels, EXPRESSIONS)] = f"{name} is none of the model's expressions"
    return why.astype(np.str_)


def counted(samples: Samples, why: NDArray[np.str_]) -> dict[str, dict[str, Any]]:
    """Return how many rows are left out for each reason, and the first of them; say so on stderr."""
    done = {}
    for reason, count in Counter(why[why != ""].tolist()).most_common():
        first = str(samples.ids[int(np.argmax(why == reason))])
        done[reason] = {"pictures": count, "first": first}
        print(f"Not judged: {count} of {len(samples)} pictures, {reason} (first: {first}).", file=sys.stderr)
    return done


def not_in_table(folder: Path, samples: Samples) -> int:
    """Return how many pictures of the folder the table has no row for; say so on stderr."""
    from PIL import Image

    known = {str(Path(path).resolve()) for path in samples.paths}
    pictures = [p for p in folder.rglob("*") if p.suffix.lower() in Image.registered_extensions() and p.is_file()]
    others = sorted(str(p.relative_to(folder)) for p in pictures if str(p.resolve()) not in known)
    if others:
        print(f"{len(others)} pictures of {folder} have no row in the table (first: {others[0]}).", file=sys.stderr)
    return len(others)


def judge_folder(
    folder: Path,
    table: Path,
    weights: Path | None,
    detector: str | None,
    crop: str,
    classes: Sequence[str] | None = None,
    alias: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return every figure of the builtin model on a folder of pictures with a table of truth.

    Raises
    ------
    InputError
        The table cannot be read, no picture can be judged, or the truth has one expression alone.
    """
    samples, truth = read_labels(folder, table, "label", classes, alias)
    has_given = "given" in samples.provenance["columns_left_out"]
    given = read_labels(folder, table, "given", classes, alias)[1] if has_given else None
    framing, note = choose_framing(crop, detector, "--detector-weights FILE")
    extractor = BuiltinExtractor(PARTS, weights=weights, device="cpu", framing=framing)
    seen, notes = read_faces(samples, extractor)
    why = left_out(samples, notes, truth, given)
    reasons, known = counted(samples, why), why == ""
    if not known.any():
        raise InputError(f"None of the {len(samples)} pictures of {table.name} in {folder} can be judged.")
    named = set(truth[known]) | (set() if given is None else set(given[known]))
    expressions = [name for name in EXPRESSIONS if name in named]
    if len(expressions) < 2:
        raise InputError(
            f"{table.name}: the {int(known.sum())} of {len(samples)} pictures that can be judged have "
            f"{len(expressions)} expressions; the model is judged over those in the table, and 2 are needed."
        )
    p = seen["posterior"][:, [EXPRESSIONS.index(name) for name in expressions]].astype(np.float64)[known]
    p = p / np.maximum(p.sum(1, keepdims=True), 1e-12)
    part = {name: values[known] for name, values in seen.items()}
    trained_on = int((part["trained_on"] > 0).sum())
    if trained_on:
        print(
            f"{trained_on} of {len(p)} pictures trained the model: figures on them are better than elsewhere.",
            file=sys.stderr,
        )
    return {
        "pictures": len(samples),
        "faces found": sum(note == "" for note in notes),
        "judged": len(p),
        "not judged": reasons,
        "without a row in the table": not_in_table(folder, samples),
        "trained on": trained_on,
        "judged, a face unlikely": int((part["confidence"] < MIN_CONFIDENCE).sum()),
        "framing": note,
        "classes": expressions,
        **posterior_figures(p, truth[known], expressions),
        "as a judge of labels": judging(p, truth[known], None if given is None else given[known].tolist(), expressions),
        "quarters, and the hardest tenth": slices(p, truth[known], part, expressions),
    }
