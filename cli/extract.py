"""`fercleaner extract`: the vectors of one part of a set, or of all parts, for sets that outgrow a machine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import SetOptions, with_set_options

if TYPE_CHECKING:
    from fercleaner.engine.on_ray import Asked
    from fercleaner.engine.places import ShardPlace

    from .options import Opened


class Engine(StrEnum):
    """Where parts run."""

    here = "here"
    ray = "ray"


@with_set_options
def extract(
    dataset: Annotated[Path, typer.Argument(help="Folder, list or table of the set.", show_default=False)],
    *,
    to: Annotated[
        str,
        typer.Option(
            metavar="DIR",
            help="Where all parts keep their vectors: a folder, or an address (s3://, gs://, hdfs://).",
            show_default=False,
        ),
    ],
    shard: Annotated[str | None, typer.Option(metavar="NUMBER/COUNT", help="One part, such as 3/64.")] = None,
    shards: Annotated[
        int | None, typer.Option(min=1, metavar="COUNT", help="All parts that are not done, of so many; 1 by default.")
    ] = None,
    engine: Annotated[Engine, typer.Option(help="Run parts here, one after the other, or as tasks on Ray.")] = (
        Engine.here
    ),
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of a Ray cluster (auto: this machine's).")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    set_options: SetOptions,
) -> None:
    """Compute the vectors of a set in parts and mark each as done; `refine SET --features DIR` takes what is there.

    Parts may run anywhere and in any order: a Slurm array, an indexed job, GNU parallel, Ray. Killed, a part goes on.
    Example: fercleaner extract affectnet/ --shard 3/64 --to vectors/
    """
    from fercleaner.core.errors import InputError
    from fercleaner.core.files import check_folder_apart
    from fercleaner.engine.on_ray import Asked
    from fercleaner.engine.places import place_of
    from fercleaner.extraction.shards import Shard, extracted, extractors_of

    from .console import note, print_json

    if shard is not None and (shards is not None or engine is Engine.ray):
        raise InputError("--shard is one part, and --shards and --engine ray are all of them. Leave one out.")
    check_address(address, engine)
    check_folder_apart(to, [dataset], [set_options.images, set_options.features, set_options.cache])
    one = None if shard is None else Shard.parse(shard)
    count = one.count if one else shards or 1
    opened = set_options.open(dataset)
    runs = extractors_of(opened.sources.encoders, opened.sources.landmarks)
    faces = len(opened.samples)
    if not runs:
        raise InputError("Nothing to extract: name an --encoder. Vectors that you have need no extraction.")
    if count > faces:
        raise InputError(f"The set has {faces:,} faces, fewer than {count:,} shards. Use fewer.")
    place = place_of(to)
    if engine is Engine.ray:
        asked = Asked(address, set_options.workers or 0, set_options.device)
        computed = _on_ray(opened, runs, place, count, asked)
    else:
        computed = _here(opened, runs, place, [one] if one else [Shard(n + 1, count) for n in range(count)])
    place.fetch_marks()
    held = extracted(place.folder, opened.samples, runs, to)
    if json_:
        missing = [str(shard) for shard in held.missing]
        print_json({"faces": faces, "shards": count, "computed": computed, "missing": missing})
    note(held.sentence(set_options.again(dataset), to))


def check_address(address: str | None, engine: Engine) -> None:
    """Raise InputError where a cluster is named and Ray is not asked for."""
    from fercleaner.core.errors import InputError

    if address is not None and engine is not Engine.ray:
        raise InputError("--address is of a Ray cluster. Add --engine ray, or leave it out.")


def _here(opened: Opened, runs: list[Any], place: ShardPlace, shards: list[Any]) -> dict[str, int]:
    """Run shards in this process, one after the other; return the vectors computed by shard."""
    import numpy as np

    from fercleaner.core.errors import StoreError
    from fercleaner.datasets.assemble import select
    from fercleaner.extraction.shards import WholeSet

    from .console import note, progress_callbacks

    samples, _, resources = opened
    whole, computed = WholeSet.of(samples), {}
    with progress_callbacks() as callbacks:
        for shard in shards:
            part = select(samples, np.arange(*shard.rows(len(samples))))
            progress = callbacks.stage(f"shard {shard}")
            try:
                logs = place.write(shard, part, whole, runs, workers=resources.workers, progress=progress)
            except StoreError as error:
                raise StoreError(f"Shard {shard}: {error}") from error
            computed[str(shard)] = sum(log.computed for log in logs)
            for log in logs:
                note(f"{log.view}: {log.computed:,} of {log.faces:,} faces computed, {log.reused:,} were there.")
            if not logs:
                note(f"Shard {shard} was done before.")
    return computed


def _on_ray(opened: Opened, runs: list[Any], place: ShardPlace, count: int, asked: Asked) -> dict[str, int]:
    """Run all shards as Ray tasks; return the vectors computed by shard."""
    from fercleaner.engine.on_ray import extract_shards

    from .console import note, progress_callbacks

    with progress_callbacks() as callbacks:
        progress = callbacks.stage("shards")
        done = extract_shards(opened.samples, runs, place, count, asked, progress=progress, tell=note)
    machines = {one.machine for one in done}
    note(f"{sum(one.computed for one in done):,} vectors computed in {count} shards; machines: {len(machines)}.")
    return {one.shard: one.computed for one in done}
