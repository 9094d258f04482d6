"""What a peer gets to see, what it says, and pairs of faces in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fercleaner.core.arrays import Bools, Doubles, Floats, Ints

#: Neighbors of the peers that vote: the best of 10, 30 and 50 for SimiFeat on FER2013's labels.
K = 50
#: Numbers in a block of pairwise similarities.
BLOCK_SIZE = 8_000_000


class PeerUnavailable(Exception):  # noqa: N818 - a state, not a fault
    """A peer cannot run here; the message is the reason that the table gives."""


@dataclass(frozen=True, eq=False)
class Case:
    """One set of given labels and the evidence about it, the same for every peer; nothing of the truth.

    Parameters
    ----------
    given : (N,) int64
    n_classes : int
    vectors : (N, D) float32
        All views side by side as the neighbor tables of our methods see them; rows of length 1, or 0 where none.
    group : (N,) int64
        Faces that share a number may not speak for one another (near-duplicates).
    indices, similarity : (N, K) int64 and float32
        Nearest faces by `vectors`, as in `fercleaner.core.types.Neighbors`.
    posterior : (N, C) float64
        Out of fold, from logistic regression on the views; the frequencies of the labels where there is none.
    margin : (N,) float64
        Area under the margin of the same logistic regression.
    annotators : (N, A) int64, optional
        Label of each annotator, -1 where there is none, of a set that was given with them. Votes that are the truth of
        a set do not belong here.
    """

    given: Ints
    n_classes: int
    vectors: Floats
    group: Ints
    indices: Ints
    similarity: Floats
    posterior: Doubles
    margin: Doubles
    annotators: Ints | None = None

    @property
    def one_hot(self) -> Doubles:
        """Given labels, (N, C)."""
        return np.eye(self.n_classes)[self.given]

    @property
    def prior(self) -> Doubles:
        """Frequencies of the given labels, (C,)."""
        return np.bincount(self.given, minlength=self.n_classes) / len(self.given)


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a method or peer says; None where it has no say.

    Parameters
    ----------
    suspicion : (N,) float64
        Larger for labels more likely wrong.
    flagged : (N,) bool, optional
        Labels held to be wrong, by the tool's own rule.
    label : (N,) int64, optional
        Refined label.
    distribution : (N, C) float64, optional
        Refined label distribution.
    weight : (N,) float64 in [0, 1], optional
        Sample weight.
    seconds : float, optional
        Wall time where the tool ran elsewhere and timed itself.
    """

    suspicion: Doubles
    flagged: Bools | None = None
    label: Ints | None = None
    distribution: Doubles | None = None
    weight: Doubles | None = None
    seconds: float | None = None


def similarities(case: Case) -> Iterator[tuple[Ints, Floats]]:
    """Yield blocks of rows and their cosine with all faces, (B, N) float32.

    -inf for the face itself, its group, and where either has no vector.
    """
    n = len(case.given)
    no_evidence = np.logical_not(np.any(case.vectors, axis=1))
    step = max(1, BLOCK_SIZE // n)
    for start in range(0, n, step):
        rows = np.arange(start, min(start + step, n))
        cosine = np.clip(case.vectors[rows] @ case.vectors.T, -1.0, 1.0)
        cosine[case.group[rows][:, None] == case.group] = -np.inf
        cosine[:, no_evidence] = -np.inf
        cosine[no_evidence[rows]] = -np.inf
        yield rows, cosine
