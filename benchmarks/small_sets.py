"""Gain and harm of `consensus` on small sets: 100 to 400 faces, with and without the proof that it asks of its labels.

    python benchmarks/small_sets.py --ferplus FERPLUS --images FOLDER --posed POSED

Sets, labels and halves are those of `by_set.py`; of each some faces are drawn several times, whole subjects of the
posed set, single faces of the others. No posteriors are given: small sets far from a model's home leave heads weak.
Writes results/small_sets.json: means over the draws, and the worst of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from beds import Bed
from by_set import VOTES, kinds, labels, opened
from case import Shared
from peers.base import K
from set_tools import by_consensus
from stamp import stamp, write_json

from fercleaner.core.arrays import Ints
from fercleaner.core.types import Refinement
from fercleaner.evaluation.metrics import accuracy, average_precision, calibration_error

#: Faces of a set, and times that they are drawn.
SIZES, DRAWS = (100, 200, 400), 6
#: What `set_tools.PARTS` calls the proof.
PROOF = "proof"


def main() -> None:
    """Run all and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ferplus", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--posed", type=Path, required=True)
    parser.add_argument("--half", choices=("choose", "report"), default="report")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "small_sets.json")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for bed, _ in opened(options):
        clear = bed.sample(None, VOTES)
        whole = {kind: (bed if kind == "own" and bed.noisy else clear) for kind in kinds(bed)}
        given = {kind: labels(part, kind) for kind, part in whole.items()}
        for faces in SIZES:
            for kind, part in whole.items():
                drawn = [one(part, given[kind], faces, draw) for draw in range(DRAWS)]
                rows.append({"set": bed.name, "faces": faces, "labels": kind, **summary(drawn)})
                line = (f"{k} {v:.3f}" if isinstance(v, float) else str(v) for k, v in rows[-1].items())
                print(" ".join(line), flush=True)
    write_json(options.out, {**stamp(), "half": options.half, "draws": DRAWS, "rows": rows})


def one(part: Bed, given: Ints, faces: int, draw: int) -> dict[str, float]:
    """Return the figures of one draw."""
    rows = drawn_rows(part, faces, np.random.default_rng([draw, 11]))
    bed, label = part.subset(rows), given[rows]
    samples = bed.samples.replacing(given=np.eye(len(bed.samples.classes), dtype=np.float32)[label])
    shared = Shared.of(bed, min(K, len(rows) - 1), "cpu")
    answers = {less: by_consensus(samples, shared, None, less, draw) for less in (None, PROOF)}
    judged = bed.judged(VOTES)
    truth, was = bed.label[judged], label[judged]
    result = {"given": accuracy(was, truth)}
    for name, answer in (("", answers[None]), (" without proof", answers[PROOF])):
        result |= {key + name: value for key, value in figures(answer, judged, truth, was).items()}
    return result


def figures(answer: Refinement, judged: np.ndarray, truth: Ints, was: Ints) -> dict[str, float]:
    """Return accuracy, what it gains, right labels changed, average precision and calibration error."""
    now, wrong = answer.label[judged], was != truth
    suspicion = 1.0 - answer.quality[judged].astype(np.float64)
    return {
        "accuracy": accuracy(now, truth),
        "gain": accuracy(now, truth) - accuracy(was, truth),
        "right changed": float((now != was)[~wrong].mean()),
        "average precision": average_precision(suspicion, wrong) if wrong.any() else np.nan,
        "calibration error": calibration_error(np.clip(suspicion, 0, 1), wrong),
    }


def drawn_rows(bed: Bed, faces: int, rng: np.random.Generator) -> Ints:
    """Return rows of some faces: of whole groups where a group is many faces, else single ones."""
    group, n = bed.samples.group, len(bed.samples)
    if group is None or len(np.unique(group)) > n / 10:
        return np.sort(rng.choice(n, min(faces, n), replace=False))
    names = rng.permutation(np.unique(group))
    until = np.searchsorted(np.cumsum([(group == name).sum() for name in names]), faces)
    return np.flatnonzero(np.isin(group, names[: until + 1]))


def summary(drawn: list[dict[str, float]]) -> dict[str, Any]:
    """Return the means over draws, and the least gain."""
    means = {key: float(np.mean([one[key] for one in drawn])) for key in drawn[0]}
    worst = {f"worst {key}": min(one[key] for one in drawn) for key in drawn[0] if key.startswith("gain")}
    return {key: None if np.isnan(value) else value for key, value in (means | worst).items()}


if __name__ == "__main__":
    main()
