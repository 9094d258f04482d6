"""Gain and harm of `consensus` set by set: right labels, the set's own noise, and noise put in; the worst set first.

    python benchmarks/by_set.py --ferplus FERPLUS --images FOLDER --posed POSED

FERPLUS is as in `beds.ferplus`, FOLDER where the paths of its labels.csv start; POSED holds labels.csv, truth.csv,
ratings.csv, view_builtin_256.npy, landmarks_68.npy and posteriors_builtin.csv. FER2013 is cut in two by groups:
constants were chosen on --half choose, results/by_set.json holds "report" (of the held-back groups: "test"). "people"
draws wrong labels from each face's own votes or ratings, weighed by how far these disagree.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from beds import Bed, demo, digits, ferplus
from stamp import stamp, write_json

from fercleaner import datasets
from fercleaner.core.arrays import Ints
from fercleaner.core.evidence import Evidence
from fercleaner.core.types import Features, Posteriors, Refinement
from fercleaner.datasets.posteriors import read_posteriors
from fercleaner.datasets.truth import read_truth
from fercleaner.encoders import builtin
from fercleaner.encoders.builtin_views import split
from fercleaner.encoders.vectors import read_view
from fercleaner.evaluation.metrics import (
    accuracy,
    average_precision,
    calibration_error,
    flag_scores,
    mean_recall,
)
from fercleaner.extraction.run import extract, usable_cores
from fercleaner.landmarks import detect
from fercleaner.landmarks.geometry import descriptor
from fercleaner.landmarks.points import PointsFile
from fercleaner.methods import build
from fercleaner.noise.injection import NoiseSpec, parse

#: Faces of FER2013 with outside views, votes that make a truth, and the share of labels that are made wrong.
FACES, VOTES, RATE = 6000, 6, 0.2
SEED = 0


def main() -> None:
    """Run all and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ferplus", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--posed", type=Path, required=True)
    parser.add_argument("--half", choices=("choose", "report"), default="report")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "by_set.json")
    options = parser.parse_args()
    rows = []
    for bed, posteriors in opened(options):
        for kind in kinds(bed):
            part = bed if kind == "own" and bed.noisy else bed.sample(None, VOTES)
            chosen = np.isin(bed.samples.ids, part.samples.ids)
            given = labels(part, kind)
            for told in [False, True][: 1 + (posteriors is not None)]:
                answer = answered(part, given, taken(posteriors, chosen) if told and posteriors else None)
                rows.append({"set": bed.name, "labels": kind, "posteriors": told, **figures(answer, part, given)})
                print(
                    " ".join(f"{k} {v:.3f}" if isinstance(v, float) else str(v) for k, v in rows[-1].items()),
                    flush=True,
                )
    rows.sort(key=lambda row: row["accuracy"] - row["given"])
    write_json(options.out, {**stamp(), "half": options.half, "seed": SEED, "rate": RATE, "rows": rows})


def opened(options: argparse.Namespace) -> Iterator[tuple[Bed, Posteriors | None]]:
    """Yield the beds, each with the builtin model's posteriors where it has a view of the model's embedding."""
    fer = ferplus(options.ferplus)
    assert fer.samples.group is not None
    side = np.array([_number(f"half:{name}") % 2 for name in fer.samples.group.tolist()])
    here = np.flatnonzero(side == (options.half == "report"))
    order = np.argsort([_number(name) for name in fer.samples.group[here].tolist()], kind="stable")
    yield with_points(replace(fer.subset(np.sort(here[order[:FACES]])), name="FER2013, outside views")), None
    yield heldback(fer, options)
    yield posed(options.posed)
    yield with_points(replace(demo(), name="drawn faces, HOG")), None
    yield digits(), None


def heldback(fer: Bed, options: argparse.Namespace) -> tuple[Bed, Posteriors | None]:
    """Return the faces that the builtin model was not trained on, seen by it alone."""
    frozen = json.loads((builtin.weights_folder() / "heldback_groups.json").read_text())
    groups = set(frozen["choose" if options.half == "choose" else "test"])
    assert fer.samples.group is not None
    rows = np.flatnonzero([name in groups for name in fer.samples.group.tolist()])
    samples = datasets.select(datasets.read(options.ferplus / "labels.csv", images=options.images), rows)
    model = builtin.build(parts=builtin.PARTS)
    done = extract(samples, model, cache=None, workers=usable_cores())
    parts = split(samples, done.values, done.found, done.notes, model.spec)
    bed = replace(fer.subset(rows), name="FER2013 held back, builtin", landmarks=None)
    return replace(bed, views=(parts.features, descriptor(parts.landmarks))), parts.posteriors


def posed(folder: Path) -> tuple[Bed, Posteriors | None]:
    """Return the posed set P under the labels that it came with; truth and ratings of its raters."""
    everyone = datasets.read(folder / "labels.csv")
    truth = read_truth(folder / "truth.csv", everyone.classes)
    at = truth.rows_of(everyone.ids, everyone.paths)
    rows = np.flatnonzero(at >= 0)
    ratings, _ = read_posteriors("ratings", folder / "ratings.csv", everyone)
    points = descriptor(detect(everyone, PointsFile(str(folder / "landmarks_68.npy"))))
    view = read_view("builtin", folder / "view_builtin_256.npy", everyone)
    told, _ = read_posteriors("builtin", folder / "posteriors_builtin.csv", everyone)
    bed = Bed(
        "P, builtin",
        everyone,
        (view, points),
        np.where(at >= 0, truth.label[at], -1),
        np.where(at >= 0, np.inf, 0).astype(np.float32),
        votes=ratings.values.astype(np.float64),
        noisy=True,
    ).subset(rows)
    return bed, taken(told, np.isin(np.arange(len(everyone)), rows))


def with_points(bed: Bed) -> Bed:
    """Return the bed with its landmarks as a view."""
    return bed if bed.landmarks is None else replace(bed, views=(*bed.views, descriptor(bed.landmarks)))


def kinds(bed: Bed) -> list[str]:
    """Return the labels to try: right ones, the set's own, and three kinds of wrong ones."""
    own, people = (["own"] if bed.noisy else []), (["people"] if bed.votes is not None else [])
    return [*own, "right", *people, f"symmetric:{RATE}", f"asymmetric:{RATE}"]


def labels(bed: Bed, kind: str) -> Ints:
    """Return given classes (N,) of a kind; all but "own" are made of the true ones."""
    rng = np.random.default_rng([SEED, 7])
    if kind == "own":
        return bed.samples.label
    if kind == "right":
        return bed.label
    if kind != "people":
        spec: NoiseSpec = parse(kind)
        return spec.apply(bed.label, bed.samples.classes, rng).labels
    assert bed.votes is not None
    n, answer = len(bed.label), bed.label.copy()
    others = bed.votes.copy()
    others[np.arange(n), bed.label] = 0
    keys = np.log(others.sum(1) + 1e-4) + rng.gumbel(size=n)
    chosen = np.argsort(-keys)[: round(RATE * n)]
    chances = others[chosen] + 1e-4
    chances[np.arange(len(chosen)), bed.label[chosen]] = 0
    edges = chances.cumsum(1)
    answer[chosen] = (edges <= rng.random((len(chosen), 1)) * edges[:, -1:]).sum(1)
    return answer


def taken(table: Posteriors, chosen: np.ndarray) -> Posteriors:
    """Return the posteriors of some faces."""
    return Posteriors(table.name, table.ids[chosen], table.classes, table.values[chosen], table.found[chosen])


def answered(bed: Bed, given: Ints, posteriors: Posteriors | None) -> Refinement:
    """Return what `consensus` says of given labels."""
    samples = bed.samples.replacing(given=np.eye(len(bed.samples.classes), dtype=np.float32)[given])
    views: dict[str, Features] = {view.view: view for view in bed.views}
    evidence = Evidence(samples, views, posteriors={} if posteriors is None else {posteriors.name: posteriors})
    return build("consensus").refine(evidence, np.random.default_rng(SEED))


def figures(answer: Refinement, bed: Bed, given: Ints) -> dict[str, Any]:
    """Return the figures over the faces with a clear truth."""
    judged = bed.judged(VOTES)
    label, was, now = bed.label[judged], given[judged], answer.label[judged]
    wrong, suspicion = was != label, 1.0 - answer.quality[judged].astype(np.float64)
    return {
        "faces": int(judged.sum()),
        "given": accuracy(was, label),
        "accuracy": accuracy(now, label),
        "average_precision": average_precision(suspicion, wrong) if wrong.any() else None,
        "flag_f1": flag_scores(answer.flagged[judged], wrong).f1 if wrong.any() else None,
        "right_changed": float((now != was)[~wrong].mean()),
        "mean_recall": mean_recall(now, label, len(bed.samples.classes)),
        "calibration_error": calibration_error(np.clip(suspicion, 0, 1), wrong),
    }


def _number(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(str(name).encode(), digest_size=8).digest(), "big")


if __name__ == "__main__":
    main()
