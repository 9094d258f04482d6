"""Run CROWDLAB on labels of several annotators: python crowdlab_run.py CASE.npz ANSWER.npz. Needs cleanlab."""

import time

import numpy as np
from cleanlab.multiannotator import get_label_quality_multiannotator
from protocol import run
from scores import doubt


def main(case, say):
    given, annotators = case["given"], case["annotators"]
    # CROWDLAB reads the classes off the annotators' labels and skips annotators that labeled nothing
    annotators = annotators[:, (annotators >= 0).any(0)]
    seen = np.unique(annotators[annotators >= 0])
    posterior = case["posterior"][:, seen].astype(np.float64) + 1e-12
    posterior /= posterior.sum(1, keepdims=True)
    labels = np.where(annotators >= 0, np.searchsorted(seen, np.maximum(annotators, seen[0])), np.nan)
    labeled = (annotators >= 0).any(1)
    start = time.perf_counter()
    found = get_label_quality_multiannotator(labels[labeled], posterior[labeled], verbose=False)
    consensus, quality = (
        found["label_quality"][name].to_numpy() for name in ("consensus_label", "consensus_quality_score")
    )
    detail = found["detailed_label_quality"].to_numpy()
    label, suspicion = given.copy(), np.zeros(len(given))
    label[labeled] = seen[consensus.astype(np.int64)]
    suspicion[labeled] = doubt(given[labeled], label[labeled], quality, annotators[labeled], detail)
    say("CROWDLAB", start, suspicion, label != given, label)


if __name__ == "__main__":
    run(main)
