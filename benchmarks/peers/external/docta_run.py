"""Run docta's SimiFeat on vectors: python docta_run.py CASE.npz ANSWER.npz. Needs docta.ai."""

import time
from types import SimpleNamespace

import numpy as np
import torch
from docta.apis import detect
from docta.core.hoc import get_consensus_patterns
from docta.core.report import Report
from docta.datasets import CustomizedDataset
from protocol import run
from scores import share_suspected

#: Settings of docta's example on CIFAR with human noise (config/cifar10.py).
ROUNDS, K, SAMPLE = 21, 10, 35_000


def settings(n_classes):
    """Return docta's configuration."""
    transition = SimpleNamespace(
        max_step=1501, T0=None, p0=None, lr=0.1, num_rounds=50, sample_size=SAMPLE, already_2nn=True, device="cpu"
    )
    search = SimpleNamespace(num_epoch=ROUNDS, sample_size=SAMPLE, k=K, name="simifeat", method="rank")
    return SimpleNamespace(num_classes=n_classes, details=False, hoc_cfg=transition, detect_cfg=search)


def main(case, say):
    seen, given = np.unique(case["given"], return_inverse=True)
    n = len(given)
    np.random.seed(0)  # noqa: NPY002 - docta draws from it
    torch.manual_seed(0)
    rounds = []
    once = detect.simi_feat_batch

    def recorded(*arguments):
        rounds.append(once(*arguments))
        return rounds[-1]

    detect.simi_feat_batch = recorded
    start = time.perf_counter()
    data = CustomizedDataset(feature=case["vectors"], label=given, index=np.arange(n))
    # its option already_2nn: the two nearest of all faces once, not of a new sample in each of 50 rounds
    data.consensus_patterns, _ = get_consensus_patterns(data, np.arange(n), k=3)
    report = Report()
    detect.DetectLabel(settings(len(seen)), data, report=report).detect()
    # the report names the faces suspected in over half of their rounds; this is its share, for the others too
    suspicion = share_suspected([(some, of) for some, of, _ in rounds], n)
    flagged, label = np.zeros(n, dtype=bool), given.copy()
    for row, _ in report.detection["label_error"]:
        flagged[row] = True
    for row, suggested, _ in report.curation["label_curation"]:
        label[row] = suggested
    say("docta SimiFeat", start, suspicion, flagged, seen[label])


if __name__ == "__main__":
    run(main)
