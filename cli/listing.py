"""`fercleaner methods`: what there is to choose from."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer


def methods(
    name: Annotated[
        str | None, typer.Argument(help="Show this method with its parameters.", show_default=False)
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the methods with their papers; with a NAME, what it does and its parameters."""
    from fercleaner.core.errors import InputError, did_you_mean
    from fercleaner.methods import available, parameters

    from .console import note, print_json, print_table

    kinds = available()
    if name is not None and name not in kinds:
        raise InputError(f"Method '{name}' is not known ({', '.join(kinds)}).{did_you_mean(name, kinds)}")
    known: dict[str, dict[str, Any]] = {}
    for key, kind in kinds.items():
        if name in (None, key):
            method = kind()
            known[key] = {
                "paper": method.paper,
                "what": (inspect.getdoc(kind) or "").split("\n", 1)[0],
                "needs": sorted(method.needs),
                "uses": sorted(method.optional),
                "parameters": parameters(method),
            }
    if json_:
        print_json(known)
    elif name is not None:
        entry = known[name]
        typer.echo(inspect.getdoc(kinds[name]) or name)
        typer.echo("")
        print_table("", ["parameter", "default"], [[key, str(value)] for key, value in entry["parameters"].items()])
        note(f"Needs {_words(entry['needs'])}. Next: fercleaner refine SET --method {name} --set PARAMETER=VALUE")
    else:
        rows = [[key, _words(entry["needs"]), entry["paper"], entry["what"]] for key, entry in known.items()]
        print_table("", ["method", "needs", "paper", "what it does"], rows, left=4)
        note("Next: fercleaner methods NAME, or fercleaner refine SET --method NAME")


def _words(needs: list[str]) -> str:
    return ", ".join(need.replace("_", " ") for need in needs)
