"""FiftyOne Brain's mistakenness restated, for the package needs a MongoDB server.

Source: Voxel51, fiftyone.brain.compute_mistakenness, its documentation and published code (2022), classification.
"""

from __future__ import annotations

import numpy as np

from .base import Case, Verdict


def mistakenness(case: Case) -> dict[str, Verdict]:
    """Call a confident prediction of another class a mistake, and a confident one of the given class none.

    With m = 1 where the likeliest class out of fold is not the given one and -1 where it is,

        suspicion = (1 + m c) / 2,    c = max_d p_d          (by default: confidence)
                                      c = exp(-H(p))         (from logits: entropy, in nats)

    FiftyOne says neither from where on a label is wrong nor which is right. Differs in: p is the shared posterior.
    """
    p = case.posterior
    sign = np.where(p.argmax(1) != case.given, 1.0, -1.0)
    entropy = -(p * np.log(np.where(p > 0, p, 1.0))).sum(1)
    return {
        "FiftyOne mistakenness": Verdict((1.0 + sign * p.max(1)) / 2.0),
        "FiftyOne mistakenness (entropy)": Verdict((1.0 + sign * np.exp(-entropy)) / 2.0),
    }


PEERS = {"FiftyOne mistakenness": mistakenness}
