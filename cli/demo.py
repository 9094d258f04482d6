"""`fercleaner demo`: a drawn set with known noise, to try everything on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to write.", show_default=False)],
    faces: Annotated[int, typer.Option(min=14, help="How many to draw.")] = 1200,
    noise_rate: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of labels made wrong.")] = 0.2,
    noise: Annotated[str, typer.Option(help="pairs, symmetric or instance.")] = "pairs",
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier demo there.")] = False,
) -> None:
    """Draw faces in color as a RAF-DB folder, with label noise of a known rate and kind."""
    from fercleaner.demo import draw_dataset

    from .console import note, progress_callbacks, share, words

    kind: Any = noise
    with progress_callbacks() as callbacks:
        done = draw_dataset(
            folder,
            faces=faces,
            noise_rate=noise_rate,
            noise=kind,
            seed=seed,
            overwrite=force,
            progress=callbacks.stage("drawing"),
        )
    refine = words("fercleaner", "refine", folder, "--encoder", "hog", "--landmarks", f"points:{done.landmarks}")
    note(
        f"Wrote {done.faces:,} faces to {folder}; wrong labels: {share(done.noisy, done.faces)}, kind {done.noise}.\n"
        f"Next: {refine}\n"
        f"Then: {words('fercleaner', 'evaluate', f'{folder.name}.refined.parquet', '--truth', done.clean_labels)}"
    )
