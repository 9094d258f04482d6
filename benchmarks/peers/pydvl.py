"""pyDVL 0.10's KNN-Shapley on the shared vectors: the package, beside the restatement in knn_shapley.py."""

from __future__ import annotations

from .base import Case, Verdict
from .outside import ask


def pydvl(case: Case) -> dict[str, Verdict]:
    """Value each label by how it helps a 50-nearest-neighbor classifier of the given labels of other faces.

    The set is cut in ten parts that keep a group together; each is the test set that values the other nine, since
    pyDVL would let a face that is both test and training point value itself. Suspicion is minus the mean value,
    flagged where that is negative. Differs from the restatement in: the nearest faces are sought among nine tenths of
    the set (on the same parts both give the same values). Its time grows by the square of the faces, in plain Python.
    """
    return ask("pydvl", case)


PEERS = {"pyDVL": pydvl}
