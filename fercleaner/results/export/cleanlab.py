"""Arrays as cleanlab takes them: labels and pred_probs, of the faces that have a label."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .job import Job, write_array


def write(job: Job, folder: Path) -> None:
    """Write labels.npy (M,) int64, pred_probs.npy (M, C) float64, weights.npy, ids.npy and classes.npy.

    M counts the faces with a label to write. `labels` are those that --label asks for (the refined class for
    "distribution"); `pred_probs` is the refined distribution whatever it asks for, rows summing to 1. That knows the
    given label; it is not out of sample.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = job.labels.index >= 0
    rows = job.rows[kept]
    probabilities = job.refined.distribution[rows].astype(np.float64)
    write_array(folder / "labels.npy", job.labels.index[kept])
    write_array(folder / "pred_probs.npy", probabilities / probabilities.sum(1, keepdims=True))
    write_array(folder / "weights.npy", job.labels.weight[kept])
    write_array(folder / "ids.npy", job.refined.ids[rows])
    write_array(folder / "classes.npy", np.array(job.refined.classes, dtype=np.str_))
