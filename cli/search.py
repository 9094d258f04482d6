"""What `refine`, `trial` and `audit` share on neighbors: searched in parts, kept here or on a store, by machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .checks import words_of
from .extract import Engine, check_address
from .options import RUN, SetOptions

if TYPE_CHECKING:
    from fercleaner.extraction.shards import Shard
    from fercleaner.pipeline.inputs import Resources


@dataclass(frozen=True)
class SearchOptions:
    """Where neighbors are searched, as the user said it; a field is an option (`options.with_set_options`)."""

    neighbors: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Search neighbors exactly, in parts kept in this folder or at an address (s3://...); finished ones "
            "are taken over.",
            rich_help_panel=RUN,
            show_default=False,
        ),
    ] = None
    engine: Annotated[
        Engine, typer.Option(help="Search those parts here, or as tasks on Ray.", rich_help_panel=RUN)
    ] = Engine.here
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Of a Ray cluster (auto: this machine's).", rich_help_panel=RUN),
    ] = None

    @property
    def words(self) -> list[str]:
        """These options as words of a command line."""
        engine = None if self.engine is Engine.here else str(self.engine)
        return words_of({"--neighbors": self.neighbors, "--engine": engine, "--address": self.address})

    def check(self, dataset: Path, set_options: SetOptions) -> None:
        """Raise InputError or StoreError where these options do not go together, or with those on the set."""
        from fercleaner.core.errors import InputError
        from fercleaner.core.files import check_folder_apart

        check_address(self.address, self.engine)
        if self.neighbors is None:
            if self.engine is Engine.ray:
                raise InputError(
                    "--engine ray searches neighbors in parts, in a folder that all machines see. Name it: "
                    "--neighbors DIR."
                )
            return
        if set_options.index not in ("auto", "exact"):
            raise InputError(
                f"--index {set_options.index}: neighbors searched in parts are exact. Leave --index or --neighbors out."
            )
        check_folder_apart(self.neighbors, [dataset], [set_options.images, set_options.features, set_options.cache])

    @contextmanager
    def searching(self, resources: Resources, shard: Shard | None = None) -> Iterator[Resources]:
        """Yield what a run may use, with the search of neighbors in parts where that was asked for."""
        if self.neighbors is None:
            yield resources
            return
        from fercleaner.engine.neighbors import part_search
        from fercleaner.engine.on_ray import Asked

        from .console import note

        asked = Asked(self.address, device=resources.device) if self.engine is Engine.ray else None
        with part_search(self.neighbors, asked, resources.device, note, shard=shard) as searcher:
            yield replace(resources, index="exact", searcher=searcher)
