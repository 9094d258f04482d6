"""Annotators' votes to given distributions, by named rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from ..core.arrays import Bools, Doubles, Floats, Strings
from ..core.errors import InputError, did_you_mean

Ties = Literal["share", "unlabeled", "first"]
GivenFrom = Literal["auto", "votes", "majority", "label"]
Others = Literal["drop", "unlabeled"]

NO_VOTES = "no votes"
TOP_UNKNOWN = "top vote: unknown"
TOP_NOT_A_FACE = "top vote: not a face"
TIED = "top votes tie"


@dataclass(frozen=True)
class VoteRules:
    """How votes become a given distribution.

    Parameters
    ----------
    given_from : "auto" | "votes" | "majority" | "label"
        "votes": each class gets its share of the votes. "majority": the top class gets 1. "label": where the dataset
        has labels beside its votes, those are the given labels and the votes are left alone. "auto" (default): votes;
        but where a table has a label column too and the two contradict each other, that is an error that asks.
    ties : "share" | "unlabeled" | "first"
        Two or more classes on top. "share" (default): keep the shares (under "majority", equal parts to the
        tied classes). "unlabeled": the row has no label. "first": all of it to the first of them in class
        order.
    unknown : "drop" | "unlabeled"
        Votes for "unknown" and for expressions outside the class set. "drop" (default): leave them out and
        share the rest. "unlabeled": the same, but a row on which they outnumber every class has no label.
    not_a_face : "drop" | "unlabeled"
        Votes for "NF". "unlabeled" (default): a row on which they outnumber every class has no label.
        "drop": leave them out.
    outliers : number >= 0
        Counts of at most this are taken as slips and dropped first; FERPlus's own recipe uses 1. 0 (default)
        drops none.
    """

    given_from: GivenFrom = "auto"
    ties: Ties = "share"
    unknown: Others = "drop"
    not_a_face: Others = "unlabeled"
    outliers: float = 0

    def __post_init__(self) -> None:
        for name, kind in (
            ("given_from", GivenFrom),
            ("ties", Ties),
            ("unknown", Others),
            ("not_a_face", Others),
        ):
            value, allowed = getattr(self, name), get_args(kind)
            if value not in allowed:
                raise InputError(f"Vote rule {name} is {value!r}, expected one of: {', '.join(allowed)}.")
        if not (np.isfinite(self.outliers) and self.outliers >= 0):
            raise InputError(f"Vote rule outliers is {self.outliers!r}, expected a number of at least 0.")


def rules_of(said: Mapping[str, object]) -> VoteRules:
    """Return the rules that are said by name, such as {"ties": "unlabeled"}; numbers may be text.

    Raises
    ------
    InputError
        No rule is called so, or it takes no such value.
    """
    known = [field.name for field in fields(VoteRules)]
    for key in said:
        if key not in known:
            raise InputError(f"--votes {key}: not a rule ({', '.join(known)}).{did_you_mean(str(key), known)}")
    chosen: dict[str, Any] = dict(said)
    if "outliers" in chosen:
        try:
            chosen["outliers"] = float(chosen["outliers"])
        except (TypeError, ValueError) as error:
            raise InputError(f"--votes outliers={chosen['outliers']}: expected a number.") from error
    return VoteRules(**chosen)


def given_from_votes(
    votes: Floats, unknown: Doubles, not_a_face: Doubles, rules: VoteRules
) -> tuple[Floats, Bools, Strings]:
    """Return the given distributions (N, C) float32, which rows are labeled, and why others are not.

    Parameters
    ----------
    votes : (N, C) float
        Counts or probabilities of the classes, >= 0.
    unknown, not_a_face : (N,) float
        Counts for neither class; zeros where the dataset has no such column.
    """
    counts = np.where(votes > rules.outliers, votes, 0).astype(np.float64)
    unknown = np.where(unknown > rules.outliers, unknown, 0)
    not_a_face = np.where(not_a_face > rules.outliers, not_a_face, 0)
    top, total = counts.max(1), counts.sum(1)
    first = np.zeros_like(counts)
    first[np.arange(len(counts)), counts.argmax(1)] = 1
    tops = (counts == top[:, None]).astype(np.float64)
    tied = (tops.sum(1) > 1) & (top > 0)

    shares = tops if rules.given_from == "majority" else counts
    if rules.ties == "first":
        shares = np.where(tied[:, None], first, shares)
    whole = shares.sum(1)
    given = shares / np.where(whole > 0, whole, 1)[:, None]

    notes = np.zeros(len(counts), dtype="U24")
    if rules.ties == "unlabeled":
        notes[tied] = TIED
    if rules.unknown == "unlabeled":
        notes[unknown > top] = TOP_UNKNOWN
    if rules.not_a_face == "unlabeled":
        notes[(not_a_face > top) & ((not_a_face > unknown) | (rules.unknown == "drop"))] = TOP_NOT_A_FACE
    notes[(total <= 0) & (notes == "")] = NO_VOTES
    labeled = notes == ""
    given[~labeled] = 0
    return given.astype(np.float32), labeled, notes
