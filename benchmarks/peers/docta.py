"""docta.ai 0.3's SimiFeat on the shared vectors: the package, beside the restatement in simifeat.py."""

from __future__ import annotations

from .base import Case, Verdict
from .outside import ask


def docta(case: Case) -> dict[str, Verdict]:
    """Doubt the labels at the tail of each class in rounds of neighbor votes, by an estimated transition matrix.

    Settings of its example on CIFAR-10 with human noise: 10 neighbors, 21 rounds over nine tenths of the faces (35,000
    at most), ranking by the transition matrix that it estimates. Its report names the faces that were suspected in over
    half of their rounds (flagged, with the label it suggests); suspicion is that share, for the other faces too. It
    knows no groups: near-duplicates speak for one another. Differs from the restatement in: fewer neighbors, and faces
    are ranked within each given label, so that a label that is wrong more often than others does not stand out.
    """
    return ask("docta", case)


PEERS = {"docta": docta}
