"""`fercleaner doctor`: what this machine can do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    cache: Annotated[Path | None, typer.Option(metavar="DIR", help="The cache to look at.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what this machine can do: versions, GPUs, whose weights are here, and where the cache lies."""
    from fercleaner.extraction.cache import FeatureCache
    from fercleaner.pipeline.doctor import diagnose

    from .console import note, print_json, print_table, size

    found = diagnose(FeatureCache(cache))
    if json_:
        print_json(found.to_dict())
        return
    on_gpu = ", ".join(found.gpus) or "none"
    print_table(
        "This machine",
        ["what", "found"],
        [
            ["Python", f"{found.python} on {found.system}"],
            ["cores", f"{found.cores}"],
            ["GPUs seen by torch", on_gpu],
            ["GPUs seen by FAISS", f"{found.faiss_gpus}"],
            *([name, installed or "not installed"] for name, installed in found.packages.items()),
        ],
        left=2,
    )
    tools = [("--encoder", tool) for tool in found.encoders] + [("--landmarks", tool) for tool in found.detectors]
    tools += [("--crop auto:", tool) for tool in found.finders]
    print_table(
        "Encoders, landmark detectors, and the face finder",
        ["option", "ready", "weights"],
        [[f"{option} {tool.tag}", "yes" if tool.ready else "no", tool.detail] for option, tool in tools],
        left=3,
    )
    note(
        f"Cache: {found.cache_folder}, {size(found.cache_size.bytes)}"
        f"{'' if found.cache_writable else '; it cannot be written to: name another with --cache DIR'}."
    )
