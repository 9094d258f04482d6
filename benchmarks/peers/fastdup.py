"""fastdup 2.54 on the shared vectors: its label score over similar faces, and its outliers."""

from __future__ import annotations

from .base import Case, Verdict
from .outside import ask


def fastdup(case: Case) -> dict[str, Verdict]:
    """Doubt a label that few of the most similar faces share, and a face that resembles no other.

    Its label score is the percentage of a face's similar faces that carry the same label; its nearest_neighbors_k is 50
    here, for it is 2 by default, and no similarity is too low to count. Its own report of outliers does not look at
    labels. It knows no groups: near-duplicates speak for one another.
    """
    return ask("fastdup", case)


PEERS = {"fastdup": fastdup}
