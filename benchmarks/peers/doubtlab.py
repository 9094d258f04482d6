"""doubtlab 0.2.4: an ensemble of reasons to doubt a label, on the shared posteriors."""

from __future__ import annotations

from .base import Case, Verdict
from .outside import ask


def doubtlab(case: Case) -> dict[str, Verdict]:
    """Count the reasons to doubt a label, at doubtlab's own thresholds.

    The reasons: no class is likelier than 0.55, the likeliest is not the given one, the given class has less than 0.2,
    another has more than 0.2. Suspicion is the share of reasons that hold; doubtlab lists every face with one of them,
    so these are flagged. Its CleanlabReason is left out, since cleanlab is a peer of its own.
    """
    return ask("doubtlab", case)


PEERS = {"doubtlab": doubtlab}
