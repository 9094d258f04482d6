"""Files of evidence that the user brings beside a set: vectors, landmarks, action units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from fercleaner.core.types import ActionUnits, Features, Landmarks, Samples
    from fercleaner.extraction.cache import FeatureCache
    from fercleaner.extraction.extractor import Extractor


class Known(NamedTuple):
    """What files say: the set, views, landmarks, action units and identity vectors of the user's."""

    samples: Samples
    views: list[Features]
    landmarks: Landmarks | None
    action_units: ActionUnits | None
    identity: Features | None


def read_beside(
    samples: Samples,
    views: Sequence[tuple[str, Path]],
    identity: Path | None,
    action_units: Path | None,
    landmarks: str,
    tell: Callable[[str], None],
) -> Known:
    """Read the files, matched with the faces of `samples`; tell what was read and left out."""
    from fercleaner.encoders.vectors import read_view
    from fercleaner.landmarks import PointsFile
    from fercleaner.landmarks.au_columns import from_columns

    from .console import warnings_to

    with warnings_to(tell):
        found: list[Features] = []
        for name, file in views:
            found.append(read_view(name, file, samples))
            tell(f"View {name}: {found[-1].values.shape[1]:,} columns of {file}.")
        vectors = read_view("identity", identity, samples) if identity else None
        units = from_columns(str(action_units), samples) if action_units else None
        kind, _, points = landmarks.strip().partition(":")
        marks = PointsFile(points.strip()).read(samples) if kind == "points" else None
    return Known(samples, found, marks, units, vectors)


def from_shards(
    name: str, again: str, samples: Samples, encoders: list[Extractor], detector: Any
) -> tuple[Samples, FeatureCache]:
    """Return the samples with no pictures but those in finished shards of a folder, and the shards' cache.

    `again` is the set with the options it is read by, as words of a command line.
    """
    from fercleaner.core.errors import InputError
    from fercleaner.engine.places import place_of
    from fercleaner.extraction.shards import FinishedImages, cache_of, extracted, extractors_of

    from .console import note

    runs = extractors_of(encoders, detector)
    if samples.images is None or not runs:
        raise InputError("--features: no encoder runs over the pictures of this set. Leave it out.")
    folder = place_of(name).fetch()
    held = extracted(folder, samples, runs, name)
    note(held.sentence(again, name))
    return samples.replacing(images=FinishedImages(samples.images, held)), cache_of(folder)
