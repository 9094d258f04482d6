"""`fercleaner methods`: what there is to choose from."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer


def methods(json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List the methods: paper, what each needs, and its parameters with their defaults."""
    from fercleaner.methods import available, parameters

    from .console import note, print_json, print_table

    known: dict[str, dict[str, Any]] = {}
    for name, kind in available().items():
        method = kind()
        known[name] = {
            "paper": method.paper,
            "what": (inspect.getdoc(kind) or "").split("\n", 1)[0],
            "needs": sorted(method.needs),
            "uses": sorted(method.optional),
            "parameters": parameters(method),
        }
    if json_:
        print_json(known)
        return
    rows = [
        [
            name,
            entry["paper"],
            ", ".join(need.replace("_", " ") for need in entry["needs"]),
            " ".join(f"{key}={value}" for key, value in entry["parameters"].items()),
            entry["what"],
        ]
        for name, entry in known.items()
    ]
    print_table("", ["method", "paper", "needs", "parameters", "what it does"], rows, left=5)
    note("Next: fercleaner refine SET --method NAME --set PARAMETER=VALUE")
