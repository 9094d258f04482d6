"""SelfClean's label rule restated: Groeger et al., Intrinsic Self-Supervision for Data Quality Audits, NeurIPS 2024."""

from __future__ import annotations

import numpy as np

from .base import Case, Verdict, similarities


def class_distance(case: Case) -> Verdict:
    """Compare the distance to the nearest face of the same label with that to the nearest of another.

    suspicion_i = a^2 / (a^2 + b^2), a the least cosine distance (1 - cos) / 2 within the label and b to other labels;
    0.5 where both are 0 or the face has no vector, 1 where no other face carries the label, 0 where all do. Differs in:
    the vectors are ours, not those of a network trained on the set.
    """
    ratio = np.zeros(len(case.given))
    for rows, cosine in similarities(case):
        same = case.given[rows][:, None] == case.given
        a = (1.0 - np.where(same, cosine, -np.inf).max(1).astype(np.float64)) / 2
        b = (1.0 - np.where(same, -np.inf, cosine).max(1).astype(np.float64)) / 2
        known = np.isfinite(a) & np.isfinite(b)
        a2, b2 = np.where(known, a, 0.0) ** 2, np.where(known, b, 0.0) ** 2
        total = a2 + b2
        ratio[rows] = np.where(known & (total > 0), a2 / np.where(total > 0, total, 1.0), 0.5)
        ratio[rows[~np.isfinite(a) & np.isfinite(b)]] = 1.0
        ratio[rows[np.isfinite(a) & ~np.isfinite(b)]] = 0.0
    return Verdict(ratio)


PEERS = {"SelfClean ratio": class_distance}
