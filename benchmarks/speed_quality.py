"""Whether what large sets are given changes what is found: `hypergraph` on real faces, each switch forced and not.

    python benchmarks/speed_quality.py --data ../shared/ferplus

Exact search of all views and the joint one; the joint one chosen among the neighbors in each view; and that with lists
(or HNSW) in place of exact search; vectors in half precision. Average precision on faces with a clear truth, for the
labels that the set came with and with a fifth flipped at random. Writes results/speed_quality.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from beds import Bed, open_bed
from speed_run import average_precision, cpu_seconds
from stamp import command, stamp, tell, write_json

from fercleaner import Resources, Sources, methods, refine
from fercleaner.core.types import Features, Samples
from fercleaner.pipeline import neighborhoods
from fercleaner.similarity.neighbors import backend

RESULTS = Path(__file__).parent / "results" / "speed_quality.json"
#: Name, index, from how many faces on the joint table is chosen among the others, precision of the vectors.
SWITCHES = (
    ("exact", "exact", sys.maxsize, np.float32),
    ("joint among views", "auto", 0, np.float32),
    ("joint among views, lists", "ivf", 0, np.float32),
    ("joint among views, HNSW", "hnsw", 0, np.float32),
    ("joint among views, lists, half precision", "ivf", 0, np.float16),
)
FLIPPED = 0.2


def labels_of(bed: Bed) -> list[tuple[str, Samples]]:
    """Return the set as it came, where its labels are noisy, and with a fifth of the true labels flipped."""
    rng, c = np.random.default_rng(7), len(bed.samples.classes)
    label = np.where(bed.label >= 0, bed.label, np.maximum(bed.samples.label, 0))
    flip = rng.random(len(label)) < FLIPPED
    label = np.where(flip, (label + rng.integers(1, c, len(label))) % c, label)
    flipped = bed.samples.replacing(given=np.eye(c, dtype=np.float32)[label])
    return [*([("as it came", bed.samples)] if bed.noisy else []), ("a fifth flipped", flipped)]


def run_one(samples: Samples, views: Sequence[Features], index: Any, among_from: int) -> tuple[np.ndarray, Any, float]:
    """Return the suspicion of each face, what is said of the neighbors, and CPU seconds."""
    neighborhoods.SEARCHED_UP_TO = among_from
    backend.EXACT_UP_TO = sys.maxsize
    cpu = cpu_seconds()
    refined = refine(samples, methods.build("hypergraph", {}), Sources(views=views), Resources(index=index))
    return 1.0 - refined.quality, refined.metadata["neighbors"], cpu_seconds() - cpu


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write results/speed_quality.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", default="../shared/ferplus")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    bed = open_bed(args.data)
    judged = bed.judged(6)
    runs = []
    for labels, samples in labels_of(bed):
        wrong = (samples.label != bed.label)[judged]
        for name, index, among_from, kind in SWITCHES:
            views = [replace(view, values=view.values.astype(kind)) for view in bed.views if view.found.all()][:2]
            suspicion, neighbors, cpu = run_one(samples, views, index, among_from)
            found = average_precision(suspicion[judged].astype(np.float64), wrong)
            recall = {view: table["recall"] for view, table in neighbors.items() if "recall" in table}
            runs.append(
                {
                    "labels": labels,
                    "switch": name,
                    "average_precision": round(found, 4),
                    "recall": recall,
                    "cpu_s": round(cpu, 1),
                }
            )
            tell(f"{labels}, {name}: {found:.4f} {recall or ''}")
    write_json(args.out, {**stamp(), "set": bed.name, "faces": len(bed.samples), "runs": runs})


if __name__ == "__main__":
    sys.exit(main())
