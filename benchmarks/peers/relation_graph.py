"""Neural Relation Graph restated: Kim, Yun, Song, NeurIPS 2023, the label score."""

from __future__ import annotations

import numpy as np

from .base import Case, Verdict, similarities

#: Their kernel's power and the smallest relation that counts, from their published code's defaults.
POWER = 4
LEAST = 0.03


def relation_graph(case: Case) -> Verdict:
    """Sum a face's relations with all others, those of its label for and those of others against it.

    k_ij = max(cos_ij, 0) <p_i, p_j> with p the posterior; relations below 0.03 are dropped;
    suspicion_i = sum_j (1[y_i != y_j] - 1[y_i = y_j]) k_ij^4. Flagged above 0.
    """
    score = np.zeros(len(case.given))
    posterior = case.posterior.astype(np.float32)
    for rows, cosine in similarities(case):
        kernel = np.maximum(cosine, 0.0) * (posterior[rows] @ posterior.T)
        kernel[kernel <= LEAST] = 0.0
        kernel **= POWER
        by_class = np.stack([kernel[:, case.given == c].sum(1, dtype=np.float64) for c in range(case.n_classes)], 1)
        score[rows] = by_class.sum(1) - 2.0 * by_class[np.arange(len(rows)), case.given[rows]]
    return Verdict(score, score > 0)


PEERS = {"Neural Relation Graph": relation_graph}
