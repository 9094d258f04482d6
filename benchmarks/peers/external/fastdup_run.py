"""Run fastdup on vectors: python fastdup_run.py CASE.npz ANSWER.npz. Needs fastdup."""

import os
import tempfile
import time

os.environ["SENTRY_OPT_OUT"] = "1"  # before the import, or it reports its use over the network

import fastdup
import numpy as np
import pandas as pd
from protocol import run
from scores import label_score

#: Similar faces a face: fastdup's own 2 give a label score three values alone.
K = 50


def main(case, say):
    given, vectors = case["given"], np.ascontiguousarray(case["vectors"], dtype=np.float32)
    n = len(given)
    # a vector of length 0 has no cosine; a constant one resembles nothing in particular
    vectors[~vectors.any(1)] = 1.0
    table = pd.DataFrame({"filename": [f"{row:08d}.jpg" for row in range(n)], "label": [f"c{y}" for y in given]})
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        tool = fastdup.create(work_dir=os.path.join(place, "work"), input_dir=place)
        tool.run(
            annotations=table,
            embeddings=vectors,
            overwrite=True,
            nearest_neighbors_k=min(K, n - 1),
            threshold=0.0,
            num_threads=os.cpu_count() or 1,
        )
        pairs = tool.similarity()
        outliers = tool.outliers()
    one, other = (pairs[f"filename_{end}"].str[:8].astype(int).to_numpy() for end in ("from", "to"))
    say("fastdup label score", start, *label_score(one, other, given))
    # fastdup's outliers are the faces whose nearest face is least similar, 5 % of the set by its default
    nearest = np.full(n, -np.inf)
    np.maximum.at(nearest, one, pairs["distance"].to_numpy())
    flagged = np.zeros(n, dtype=bool)
    flagged[outliers["filename_outlier"].str[:8].astype(int).to_numpy()] = True
    say("fastdup outlier", start, 1.0 - np.where(np.isfinite(nearest), nearest, 0.0), flagged)


if __name__ == "__main__":
    run(main)
