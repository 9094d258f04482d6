"""What `fercleaner show` says of annotators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def print_annotators(about: Mapping[str, Any], top: int) -> None:
    """Write how good each person is, how far pairs agree, and whom to ask next."""
    from .console import print_table

    def span(low: float | None, high: float | None) -> str:
        return "-" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f} %"

    print_table(
        "Annotators: expected share of right labels, by Dawid-Skene (95 % interval)",
        ["annotator", "most often says", "for", "labels", "shared", "right", "interval"],
        [
            [
                person["name"],
                person["confuses"]["said"],
                person["confuses"]["true"],
                f"{person['labels']:,}",
                f"{person['shared']:,}",
                "-" if person["right"] is None else f"{100 * person['right']:.1f} %",
                span(person["low"], person["high"]),
            ]
            for person in about["people"]
        ],
        left=3,
    )
    print_table(
        "Pairs of annotators",
        ["pair", "faces", "same", "interval", "kappa"],
        [
            [
                " and ".join(pair["people"]),
                f"{pair['faces']:,}",
                f"{pair['same']:,}",
                span(pair["low"], pair["high"]),
                "-" if pair["kappa"] is None else f"{pair['kappa']:.2f}",
            ]
            for pair in about["pairs"][:top]
        ],
    )
    print_table(
        "Whom to ask next",
        ["id", "between", "ask"],
        [[question["id"], " and ".join(question["between"]), question["who"]] for question in about["ask"][:top]],
        left=3,
    )
