"""`fercleaner extract`: the vectors of one part of a set, for sets that outgrow a machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import SetOptions, with_set_options


@with_set_options
def extract(
    dataset: Annotated[Path, typer.Argument(help="Folder, list or table of the set.", show_default=False)],
    *,
    to: Annotated[Path, typer.Option(metavar="DIR", help="Where all parts keep their vectors.", show_default=False)],
    shard: Annotated[str, typer.Option(metavar="NUMBER/COUNT", help="Which part, such as 3/64.")] = "1/1",
    json_: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    set_options: SetOptions,
) -> None:
    """Compute the vectors of one part of a set and mark it as done; `refine SET --features DIR` takes what is there.

    Parts may run anywhere and in any order: a Slurm array, an indexed job, GNU parallel. Killed, a part goes on.
    Example: fercleaner extract affectnet/ --shard 3/64 --to vectors/
    """
    import numpy as np

    from fercleaner.core.errors import InputError
    from fercleaner.datasets.assemble import select
    from fercleaner.extraction.shards import Shard, extracted, extractors_of, write_shard

    from .console import note, print_json, progress_callbacks

    chosen = Shard.parse(shard)
    samples, sources, resources = set_options.open(dataset)
    runs = extractors_of(sources.encoders, sources.landmarks)
    if not runs:
        raise InputError("Nothing to extract: name an --encoder. Vectors that you have need no extraction.")
    start, end = chosen.rows(len(samples))
    if start == end:
        raise InputError(f"--shard {shard}: the set has {len(samples):,} faces, fewer than shards. Use fewer.")
    part = select(samples, np.arange(start, end))
    with progress_callbacks() as callbacks:
        logs = write_shard(
            chosen, part, samples, runs, to, workers=resources.workers, progress=callbacks.stage(f"shard {shard}")
        )
    held = extracted(to, samples, runs)
    if json_:
        print_json(
            {
                "shard": str(chosen),
                "faces": end - start,
                "computed": {log.view: log.computed for log in logs},
                "missing": [str(one) for one in held.missing],
            }
        )
    for log in logs:
        note(f"{log.view}: {log.computed:,} of {log.faces:,} faces computed, {log.reused:,} were there.")
    if not logs:
        note(f"Shard {chosen} was done before.")
    note(held.sentence(str(dataset), to))
