"""SimiFeat restated: Zhu, Dong, Liu, Detecting Corrupted Labels Without Training a Model to Predict, ICML 2022."""

from __future__ import annotations

import numpy as np

from .base import Case, Verdict


def simifeat(case: Case) -> Verdict:
    """Compare each label with the soft vote of its nearest faces.

    With s_ij the cosine clipped at 0, q_i = sum_j s_ij y_j / sum_j s_ij. Suspicion is 1 - cos(q_i, y_i) (their
    ranking score); flagged where argmax q_i is not y_i (their voting rule). Faces with no neighbor keep their label.
    Differs in: k is 50 (theirs 10, which does worse here), and the threshold of their ranking rule, from an estimated
    transition matrix, is not restated.
    """
    weight = np.where(case.indices >= 0, np.clip(case.similarity, 0.0, None), 0.0).astype(np.float64)
    vote = np.einsum("nk,nkc->nc", weight, case.one_hot[case.indices])
    mass = vote.sum(1)
    vote = np.where(mass[:, None] > 0, vote / np.where(mass > 0, mass, 1.0)[:, None], case.one_hot)
    own = vote[np.arange(len(vote)), case.given]
    label = vote.argmax(1)
    return Verdict(1.0 - own / np.linalg.norm(vote, axis=1), label != case.given, label, vote)


PEERS = {"SimiFeat": simifeat}
