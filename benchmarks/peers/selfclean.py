"""SelfClean 0.0.39 on the shared vectors: the package, beside the restatement in class_distance.py."""

from __future__ import annotations

from .base import Case, Verdict
from .outside import ask


def selfclean(case: Case) -> dict[str, Verdict]:
    """Compare the distance to the nearest face of the same label with that to the nearest of another.

    Flagged by its automatic cleaning, an outlier test at its own settings, which expects 1 % of wrong labels. It gets
    the shared vectors where it would train a network of its own, and only its search for label errors runs. It knows
    no groups: near-duplicates speak for one another, which is all that sets it apart from the restatement. Memory grows
    by the square of the faces, in several arrays.
    """
    return ask("selfclean", case)


PEERS = {"SelfClean": selfclean}
