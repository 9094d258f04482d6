"""Judge the builtin model as a source, on the faces that it was not trained on.

    python benchmarks/heldback.py --data FERPLUS --images FOLDER

FERPLUS holds labels.csv, votes.csv, view_*.npy and landmarks_68.npy; FOLDER is where the paths of labels.csv start.
Only the groups of `fercleaner/weights/heldback_groups.json` are read (4,329 of 28,709 faces). Each method refines their
original labels from the builtin model alone, from outside views alone, and from both; "alone" is the builtin model's
posterior by itself, and "shuffled" gives its posteriors to the wrong faces. Writes results/heldback.json and prints
a table.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from stamp import stamp

from fercleaner import datasets, landmarks, methods
from fercleaner.core.refined import RefinedSet
from fercleaner.core.types import Features, Landmarks
from fercleaner.datasets.truth import Truth, read_truth
from fercleaner.encoders import builtin
from fercleaner.encoders.builtin_views import split
from fercleaner.encoders.vectors import read_view
from fercleaner.evaluation.against_truth import evaluate
from fercleaner.extraction.cache import FeatureCache
from fercleaner.extraction.run import extract, usable_cores
from fercleaner.pipeline.inputs import Resources, Sources
from fercleaner.pipeline.refine import refine

VIEWS = {
    "emotion": "view_emotion_1024.npy",
    "expression": "view_expression_256.npy",
    "blendshapes": "view_blendshapes_52.npy",
}
COLUMNS = ("average_precision", "auroc", "auroc_per_class", "r_precision", "refined_accuracy", "js_refined")


def main() -> None:
    """Run all and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "heldback.json")
    options = parser.parse_args()

    everyone = datasets.read(options.data / "labels.csv", images=options.images)
    frozen = json.loads((builtin.weights_folder() / "heldback_groups.json").read_text())
    groups = {*frozen["choose"], *frozen["test"]}
    assert everyone.group is not None, "labels.csv needs a group column"
    rows = np.flatnonzero([name in groups for name in everyone.group.tolist()])
    samples = datasets.select(everyone, rows)
    truth = read_truth(options.data / "votes.csv", samples.classes)

    outside = [_taken(read_view(name, options.data / file, everyone), rows) for name, file in VIEWS.items()]
    found = landmarks.detect(everyone, landmarks.build(f"points:{options.data / 'landmarks_68.npy'}"))
    points = Landmarks(samples.ids, found.points[rows], found.found[rows], found.confidence[rows], spec=found.spec)
    box = builtin.build(parts=builtin.PARTS)
    done = extract(samples, box, cache=FeatureCache(), workers=usable_cores())
    parts = split(samples, done.values, done.found, done.notes, box.spec)
    assert parts.posteriors is not None, parts.reason
    turned = np.random.default_rng(0).permutation(len(rows))
    shuffled = replace(parts.posteriors, values=parts.posteriors.values[turned], found=parts.posteriors.found[turned])
    sources = {
        "builtin": Sources(views=[parts.features], landmarks=parts.landmarks, posteriors=[parts.posteriors]),
        "outside": Sources(views=outside, landmarks=points),
        "both": Sources(views=[*outside, parts.features], landmarks=points, posteriors=[parts.posteriors]),
        "outside + posteriors": Sources(views=outside, landmarks=points, posteriors=[parts.posteriors]),
        "outside + shuffled": Sources(views=outside, landmarks=points, posteriors=[shuffled]),
    }
    results: dict[str, Any] = {}
    for method in ("hypergraph", "consensus"):
        for source, given in sources.items():
            if method == "hypergraph" and source.startswith("outside +"):
                continue  # it takes no posteriors
            refined = refine(samples, methods.build(method), given, Resources())
            results[f"{method}, {source}"] = evaluate(refined, truth).to_dict()
            print(_line(f"{method}, {source}", results[f"{method}, {source}"]), flush=True)
    results["builtin posteriors alone"] = _alone(refined, parts.posteriors.values, truth)
    print(_line("builtin posteriors alone", results["builtin posteriors alone"]))
    options.out.write_text(json.dumps({**stamp(), "faces": len(rows), "results": results}, indent=1) + "\n")


def _taken(view: Features, rows: np.ndarray) -> Features:
    return Features(view.view, view.ids[rows], view.values[rows], view.found[rows], view.spec)


def _alone(refined: RefinedSet, values: np.ndarray, truth: Truth) -> dict[str, Any]:
    """Return the figures of the posteriors taken as the answer."""
    quality = (refined.given * values).sum(1)
    answer = replace(
        refined,
        distribution=values,
        quality=np.clip(quality, 0, 1),
        flagged=quality < 0.5,
        changed=values.argmax(1) != refined.given.argmax(1),
        metadata={},
    )
    return evaluate(answer, truth).to_dict()


def _line(name: str, figures: dict[str, Any]) -> str:
    numbers = "  ".join(f"{key} {figures[key]:.3f}" for key in COLUMNS)
    return f"{name:34s} {numbers}  f1 {figures['flags']['f1']:.3f}"


if __name__ == "__main__":
    main()
