"""Run pyDVL's KNN-Shapley on vectors: python pydvl_run.py CASE.npz ANSWER.npz. Needs pyDVL."""

import os
import time

import numpy as np
from joblib import parallel_config
from protocol import run
from pydvl.valuation.dataset import Dataset
from pydvl.valuation.methods.knn_shapley import KNNShapleyValuation
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier

#: Neighbors of the valued classifier, as in our restatement.
VOTERS = 50
#: Parts of the set; each in turn is the test set that values the rest, so that no face values itself or its group.
PARTS = 10


def main(case, say):
    given, vectors = case["given"], case["vectors"]
    n = len(given)
    start = time.perf_counter()
    total = np.zeros(n)
    parts = min(PARTS, len(np.unique(case["group"])))
    for rest, part in GroupKFold(parts).split(vectors, given, case["group"]):
        valuation = KNNShapleyValuation(
            KNeighborsClassifier(n_neighbors=min(VOTERS, len(rest)), algorithm="brute"),
            Dataset(vectors[part], given[part]),
            progress=False,
        )
        with parallel_config(n_jobs=os.cpu_count() or 1):
            valuation.fit(Dataset(vectors[rest], given[rest]))
        # values by position: the result may come sorted
        result = valuation.result
        values = np.zeros(len(rest))
        values[np.asarray(result.indices)] = result.values
        total[rest] += values * len(part)
    say("pyDVL KNN-Shapley", start, -total / n, total < 0)


if __name__ == "__main__":
    run(main)
