"""cleanlab 2.9: confident learning on the shared posteriors, and Datalab on the shared vectors.

Northcutt, Jiang, Chuang, Confident Learning, JAIR 2021. Scores: self-confidence and normalized margin; flags by
`find_label_issues`, prune_by_noise_rate (its default) beside the first and confident_learning beside the second.
"""

from __future__ import annotations

from .base import Case, Verdict
from .outside import ask


def cleanlab(case: Case) -> dict[str, Verdict]:
    """Return what cleanlab says, by score."""
    return ask("cleanlab", case)


PEERS = {"cleanlab": cleanlab}
