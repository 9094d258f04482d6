"""Arithmetic of the scripts beside this one: numpy alone, so that it can be tested without the tools."""

import numpy as np


def seen_classes(given, posterior):
    """Return the classes that were given at all, the labels as their numbers, and the posteriors over them."""
    seen, given = np.unique(given, return_inverse=True)
    posterior = posterior[:, seen].astype(np.float64)
    total = posterior.sum(1, keepdims=True)
    return seen, given, np.where(total > 0, posterior / np.where(total > 0, total, 1.0), 1.0 / len(seen))


def label_score(one, other, given):
    """Return suspicion, flags and labels from pairs of similar faces: `other` is similar to `one`.

    fastdup's label score is the percentage of a face's similar faces that carry its label (its gallery of suspicious
    labels shows the lowest first); suspicion is 1 less that share, and 0 for a face that resembles none. fastdup does
    not say from where on a label is wrong: flagged is where another class is more frequent than the given one.
    """
    votes = np.zeros((len(given), int(given.max()) + 1))
    np.add.at(votes, (one, given[other]), 1.0)
    count = votes.sum(1)
    own = votes[np.arange(len(given)), given]
    suspicion = np.where(count > 0, 1.0 - own / np.maximum(count, 1.0), 0.0)
    flagged = votes.max(1) > own
    return suspicion, flagged, np.where(flagged, votes.argmax(1), given)


def doubt(given, consensus, quality, annotators, detail):
    """Return how doubtful the given labels are by the qualities of CROWDLAB.

    1 - the quality of the given label, which CROWDLAB states for the annotators who chose it; where none did, the
    quality of the consensus, since the given label has at most the rest.

    Parameters
    ----------
    given, consensus : (N,) int
    quality : (N,) float
        Of the consensus.
    annotators : (N, A) int
    detail : (N, A) float
        Quality of each annotator's label.
    """
    chosen = annotators == given[:, None]
    own = np.where(chosen, detail, -np.inf).max(1)
    return np.where(chosen.any(1), 1.0 - own, np.where(consensus == given, 1.0 - quality, quality))


def share_suspected(rounds, n):
    """Return the share of its rounds in which each of `n` faces was suspected, one added to both kinds of round.

    `rounds` holds pairs of the rows suspected and the rows looked at.
    """
    suspected, seen = np.zeros(n), np.zeros(n)
    for some, of in rounds:
        suspected[np.asarray(some, dtype=np.int64)] += 1
        seen[np.asarray(of, dtype=np.int64)] += 1
    return (suspected + 1) / (seen + 2)
