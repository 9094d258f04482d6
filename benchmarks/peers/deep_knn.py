"""Deep k-NN restated: Bahri, Jiang, Gupta, Deep k-NN for Noisy Labels, ICML 2020."""

from __future__ import annotations

import numpy as np

from .base import Case, Verdict


def deep_knn(case: Case) -> Verdict:
    """Doubt a label that few of the k nearest share: 1 - share; flagged where the plurality is another class.

    Every neighbor counts the same. Ties go to the given label. Differs in: the vectors are given, not the logits of a
    network trained for it.
    """
    there = case.indices >= 0
    votes = np.einsum("nk,nkc->nc", there.astype(np.float64), case.one_hot[case.indices])
    count = there.sum(1)
    votes = np.where(count[:, None] > 0, votes / np.maximum(count, 1)[:, None], case.one_hot)
    own = votes[np.arange(len(votes)), case.given]
    flagged = votes.max(1) > own
    return Verdict(1.0 - own, flagged, np.where(flagged, votes.argmax(1), case.given), votes)


PEERS = {"deep k-NN": deep_knn}
