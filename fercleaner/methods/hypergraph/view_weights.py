"""How many neighbors a set can bear, and how much each view's hyperedges weigh."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...core.types import Neighbors, Samples
from ...noise.label_model import class_frequencies
from ...similarity.whitening import JOINT, row_blocks

#: A view's information is measured with its votes mixed into the label frequencies by each of these shares.
VOTE_SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
#: A view of no measurable information keeps this share of the weight of the best.
LEAST_VIEW = 1e-3


def fitting_k(k: int, samples: Samples) -> int:
    """Return `k`, or half the mean number of labeled faces a class where that is less; at least 1.

    Classes that no label names do not count.
    """
    used = max(1, int((samples.given.max(0) > 0).sum()))
    return max(1, min(k, int(samples.labeled.sum()) // (2 * used)))


def view_weights(neighbors: Mapping[str, Neighbors], samples: Samples, k: int | None = None) -> dict[str, float]:
    """Return the factor of each view's hyperedges.

    The square of the information of its votes (`information`) relative to the best view's; the joint view, all
    others side by side, counts as often as there are others.
    """
    worth = {view: information(table, samples, k) for view, table in neighbors.items()}
    best = max(worth.values())
    often = max(1, len(neighbors) - 1)
    return {
        view: (max((value / best) ** 2, LEAST_VIEW) if best > 0 else 1.0) * (often if view == JOINT else 1)
        for view, value in worth.items()
    }


def information(table: Neighbors, samples: Samples, k: int | None = None) -> float:
    """Return how much a neighbor vote tells about the given labels beyond their frequencies, in nats a face, >= 0.

    The vote of the k nearest (by default all) is weighed by squared similarity; it is mixed into the frequencies
    by the share that serves best.
    """
    given = samples.given.astype(np.float64)
    vote = np.empty_like(given)
    for part in row_blocks(len(given)):
        index, similarity = table.indices[part, :k], table.similarity[part, :k]
        weight = np.where(index >= 0, np.clip(similarity, 0, None).astype(np.float64) ** 2, 0.0)
        vote[part] = np.einsum("nk,nkc->nc", weight, given[index])
    total = vote.sum(1)
    rows = (total > 0) & samples.labeled
    if not rows.any():
        return 0.0
    prior = class_frequencies(given)
    vote, given = vote[rows] / total[rows, None], given[rows]
    base = (given * np.log(prior)).sum(1)
    gains = [
        float(((given * np.log(share * vote + (1 - share) * prior)).sum(1) - base).mean()) for share in VOTE_SHARES
    ]
    return max(0.0, *gains)
