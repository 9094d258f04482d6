"""`fercleaner methods`: what there is to choose from."""

from __future__ import annotations

import inspect
import re
from typing import Annotated, Any

import typer

from .checks import check_unused


def methods(
    name: Annotated[
        str | None, typer.Argument(help="Show this method with its parameters.", show_default=False)
    ] = None,
    formulas: Annotated[
        bool, typer.Option("--formulas", help="With a NAME: also what it computes, in formulas, and its sources.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the methods with their papers; with a NAME, its parameters, and on request its formulas."""
    from fercleaner.core.errors import InputError, did_you_mean
    from fercleaner.methods import available, parameters

    from .console import note, print_json, print_table

    kinds = available()
    if name is not None and name not in kinds:
        raise InputError(f"Method '{name}' is not known ({', '.join(kinds)}).{did_you_mean(name, kinds)}")
    if formulas and name is None:
        raise InputError(f"--formulas: name the method: fercleaner methods NAME --formulas ({', '.join(kinds)}).")
    if json_:
        check_unused({"--formulas": formulas}, "formulas are text. Leave it or --json out.")
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
        entry, document = known[name], inspect.getdoc(kinds[name]) or ""
        said = _meanings(document)
        typer.echo(f"{name}: {entry['what']}\nPaper: {entry['paper']}\n")
        rows = [[key, str(value), said.get(key, "")] for key, value in entry["parameters"].items()]
        print_table("", ["parameter", "default", "meaning"], rows, left=3)
        if formulas:
            typer.echo(document)
        more = "" if formulas else f"\nFormulas and sources: fercleaner methods {name} --formulas"
        uses = f"; uses {_words(entry['uses'])} where there are any" if entry["uses"] else ""
        note(
            f"Needs {_words(entry['needs'])}{uses}.{more}\n"
            f"Next: fercleaner refine SET --method {name} --set PARAMETER=VALUE"
        )
    else:
        rows = [[key, _words(entry["needs"]), entry["paper"], entry["what"]] for key, entry in known.items()]
        print_table("", ["method", "needs", "paper", "what it does"], rows, left=4)
        note("Next: fercleaner methods NAME, or fercleaner refine SET --method NAME")


def _meanings(document: str) -> dict[str, str]:
    """Return the first sentence that a docstring says of each name under "Parameters"; of others nothing."""
    lines = document.splitlines()
    meanings: dict[str, str] = {}
    names: list[str] = []
    start = next((i + 2 for i, line in enumerate(lines) if line == "Parameters"), len(lines))
    for here, following in zip(lines[start:], [*lines[start + 1 :], ""], strict=True):
        if following.startswith("---"):
            break
        if here and not here[0].isspace():
            names = [name.strip() for name in here.partition(" : ")[0].split(",")]
            meanings |= dict.fromkeys(names, "")
        else:
            meanings |= {name: f"{meanings[name]} {here.strip()}".strip() for name in names}
    return {name: re.split(r"(?<=[.;])\s", text, maxsplit=1)[0].rstrip(".;") for name, text in meanings.items()}


def _words(needs: list[str]) -> str:
    return ", ".join(need.replace("_", " ") for need in needs)
