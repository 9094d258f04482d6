"""Labels as a classifier is trained on them: distributions and weights, made of what a tool says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from peers.base import Verdict

from fercleaner.core.arrays import Doubles, Ints

#: Ways to train on a verdict; see `ways`.
WAYS = ("drop", "relabel", "weight", "soft")


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels to train on: distributions (N, C) and weights (N,), 0 where a face is left out."""

    distribution: Doubles
    weight: Doubles


def ways(verdict: Verdict, given: Ints, n_classes: int) -> dict[str, Targets]:
    """Return the ways in which a verdict can be trained on.

    "drop" leaves flagged faces out, "relabel" takes the tool's label for every face, "weight" the given label times the
    sample weight, "soft" the tool's distribution times its sample weight where it gives one. A way that the verdict has
    nothing for, or that leaves no face to train on, is absent.
    """
    one_hot, ones = np.eye(n_classes), np.ones(len(given))
    answer: dict[str, Targets] = {}
    if verdict.flagged is not None:
        answer["drop"] = Targets(one_hot[given], (~verdict.flagged).astype(np.float64))
    if verdict.label is not None:
        answer["relabel"] = Targets(one_hot[verdict.label], ones)
    if verdict.weight is not None:
        answer["weight"] = Targets(one_hot[given], verdict.weight)
    if verdict.distribution is not None:
        answer["soft"] = Targets(verdict.distribution, ones if verdict.weight is None else verdict.weight)
    return {way: targets for way, targets in answer.items() if targets.weight.any()}


def fingerprint(*arrays: Any) -> str:
    """Return a digest of arrays: numbers as float64 to six digits, anything else as text."""
    digest = hashlib.blake2b(digest_size=12)
    for array in map(np.asarray, arrays):
        digest.update(f"{array.shape}".encode())
        if array.dtype.kind in "biuf":
            digest.update((np.round(array.astype(np.float64), 6) + 0.0).tobytes())
        else:
            digest.update("\0".join(map(str, array.ravel())).encode())
    return digest.hexdigest()
