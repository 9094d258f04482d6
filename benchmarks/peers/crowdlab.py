"""CROWDLAB in cleanlab 2.9: Goh, Tkachenko, Mueller, CROWDLAB, NeurIPS 2022 workshop on human in the loop learning."""

from __future__ import annotations

from .base import Case, PeerUnavailable, Verdict
from .outside import ask


def crowdlab(case: Case) -> dict[str, Verdict]:
    """Weigh several annotators' labels and the shared posteriors against each other; doubt the given label by them.

    Suspicion is 1 - the quality that CROWDLAB gives the given label, or the quality of its consensus where no annotator
    chose the given label; flagged where the consensus is another label.

    Raises
    ------
    PeerUnavailable
        The set was not given with several annotators' labels. On FERPlus the votes are the truth, and no tool may see
        them.
    """
    if case.annotators is None or case.annotators.shape[1] < 2:
        raise PeerUnavailable(
            "CROWDLAB needs the labels of several annotators, with which this set was not given (votes that are the "
            "truth stay hidden from every tool)"
        )
    return ask("cleanlab", case, script="crowdlab")


PEERS = {"CROWDLAB": crowdlab}
