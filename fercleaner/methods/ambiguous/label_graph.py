"""What a graph over labeled and unlabeled faces says of each of them, no label of its own fold taking part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ...core.arrays import Bools, Floats, Ints
from ...core.types import Neighbors, Posteriors, Samples
from ...noise.label_model import class_frequencies, distribution, fit_sharpness, log_ratio, mean_vote
from ...similarity.hypergraph import build, leave_out_propagate
from ..hypergraph.view_weights import view_weights


class GraphVotes(NamedTuple):
    """Posteriors read off the graph.

    `posteriors` are out of fold; `by_fold` (N, F, C) float32 says what each fold's run, which saw no label of that
    fold, holds of every face: rows sum to 1, uniform where nothing speaks.
    """

    posteriors: Posteriors
    by_fold: Floats


def graph_votes(
    samples: Samples, tables: Mapping[str, Neighbors], fold: Ints, *, k: int = 15, alpha: float = 0.9
) -> GraphVotes:
    """Let labels travel to nearest neighbors, and on through faces that have none.

    Each face and view makes one hyperedge (the face and its k nearest). With P the random walk on them and Y_f the
    given labels without those of fold f,

        F^f = (1 - alpha) (I - alpha P)^-1 Y_f,   l^f_ic = log(F^f_ic / m_c),   p^f_ic ~ pi_c exp(s l^f_ic)

    m the mean of the rows of F, pi the frequencies of the given labels, s the sharpness under which the given
    labels are likeliest out of fold. Reading the votes against their mean, with the labels' frequencies put in
    its place, is distribution alignment: a class that the graph favors as a whole gains nothing by it. A
    labeled face gets p of its own fold's run; an unlabeled one that of all runs together.

    Parameters
    ----------
    tables : mapping of view -> Neighbors
        Each content once (`views.distinct_views`); views are weighed by how much of the given labels they explain.
    fold : (N,) int64 in 0 .. F-1
    k : int
        Neighbors a hyperedge; at most half the mean number of faces a class, labeled or not.
    alpha : float in [0, 1)
        How far labels travel.

    Cost: as `hypergraph.propagate` for F C columns.

    Source
    ------
    Zhou, Huang, Schoelkopf, Learning with Hypergraphs, NIPS 2006, for the propagation; distribution alignment:
    Berthelot et al., ReMixMatch, ICLR 2020.
    """
    given = samples.given.astype(np.float64)
    linked = np.logical_or.reduce([(table.indices >= 0).any(1) for table in tables.values()])
    k = linked_k(k, samples, linked)
    graph = build(tables, k=k, view_weight=view_weights(tables, samples, k))
    runs = np.clip(leave_out_propagate(graph, samples.given, fold, alpha), 0, None)
    own = runs[np.arange(len(samples)), fold]
    # every label is left out of one run, so the sum over runs is F - 1 times the run that sees them all
    everything = runs.sum(1) / max(runs.shape[1] - 1, 1)
    scores = np.where(samples.labeled[:, None], own, everything).astype(np.float64)
    spoken = linked & (scores.max(1) > 0)
    rows = spoken & samples.labeled
    mean, prior = mean_vote(scores, spoken), class_frequencies(given)
    log_ratios = log_ratio(scores, mean)
    sharpness = fit_sharpness(log_ratios[rows], given[rows], prior)
    values = np.where(spoken[:, None], distribution(log_ratios, prior, sharpness), 0.0)
    by_fold = np.empty(runs.shape, dtype=np.float32)
    for f in range(runs.shape[1]):
        run = runs[:, f].astype(np.float64)
        read = distribution(log_ratio(run, mean), prior, sharpness)
        by_fold[:, f] = np.where((linked & (run.max(1) > 0))[:, None], read, 1.0 / len(samples.classes))
    return GraphVotes(
        Posteriors("graph", samples.ids, samples.classes, values.astype(np.float32), spoken, learned=True),
        by_fold,
    )


def linked_k(k: int, samples: Samples, linked: Bools) -> int:
    """Return `k`, or half the mean number of linked faces a class that has a label, where that is less; at least 1."""
    used = max(1, int((samples.given.max(0) > 0).sum()))
    return max(1, min(k, int(linked.sum()) // (2 * used)))
