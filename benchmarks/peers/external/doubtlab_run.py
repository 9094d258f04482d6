"""Run doubtlab's ensemble of reasons on posteriors: python doubtlab_run.py CASE.npz ANSWER.npz. Needs doubtlab."""

import time

import numpy as np
from doubtlab.ensemble import DoubtEnsemble
from doubtlab.reason import LongConfidenceReason, ProbaReason, ShortConfidenceReason, WrongPredictionReason
from protocol import run


class Posteriors:
    """A classifier whose input is its output, since the posteriors are there already."""

    def __init__(self, n_classes):
        self.classes_ = np.arange(n_classes)

    def predict_proba(self, X):
        return X

    def predict(self, X):
        return X.argmax(1)


def main(case, say):
    given, posterior = case["given"], case["posterior"].astype(np.float64)
    model = Posteriors(posterior.shape[1])
    start = time.perf_counter()
    ensemble = DoubtEnsemble(
        proba=ProbaReason(model),
        wrong=WrongPredictionReason(model),
        short=ShortConfidenceReason(model),
        long=LongConfidenceReason(model),
    )
    reasons = ensemble.get_predicates(posterior, given).sort_index().to_numpy(dtype=np.float64)
    say("doubtlab", start, reasons.mean(1), reasons.any(1))


if __name__ == "__main__":
    run(main)
