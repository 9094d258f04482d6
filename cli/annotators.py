"""What `fercleaner show` says of annotators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def print_annotators(about: Mapping[str, Any], top: int) -> None:
    """Write how good each person is, how far pairs agree, and whom to ask next."""
    from .console import print_table

    def span(low: float | None, high: float | None) -> str:
        return "-" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f} %"

    def with_views(found: Mapping[str, float | None] | None) -> tuple[str, str]:
        if found is None or found["right"] is None:
            return "-", "-"
        return f"{100 * found['right']:.1f} %", span(found["low"], found["high"])

    print_table(
        "Annotators: expected share of right labels, by Dawid-Skene and with the views beside (95 % intervals)",
        ["annotator", "most often says", "for", "labels", "shared", "right", "interval", "with views", "interval"],
        [
            [
                person["name"],
                person["confuses"]["said"],
                person["confuses"]["true"],
                f"{person['labels']:,}",
                f"{person['shared']:,}",
                "-" if person["right"] is None else f"{100 * person['right']:.1f} %",
                span(person["low"], person["high"]),
                *with_views(person.get("with_views")),
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
