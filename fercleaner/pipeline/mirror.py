"""Vectors of mirrored pictures, which the probe is asked about: the second view of DNFER's consistency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..core.errors import InputError
from ..core.types import Features, Samples
from .inputs import Callbacks, Resources, Sources, encoder_names
from .notes import note_run

if TYPE_CHECKING:
    from ..extraction.extractor import Extractor


def mirror_encoders(sources: Sources, used: bool) -> Sequence[Extractor]:
    """Return the encoders that are run over mirrored pictures: none unless it was asked for.

    `used` says whether a method uses posteriors.

    Raises
    ------
    InputError
        It was, and no method uses posteriors, or no encoder runs.
    """
    if sources.mirrored and not used:
        raise InputError(
            "Posteriors of mirrored pictures are for a method that uses the probe's posteriors, such as threshold, "
            "and none here does. Choose another method, or leave --posteriors mirror out."
        )
    if sources.mirrored and not sources.encoders:
        raise InputError(
            "Posteriors of mirrored pictures need an encoder that sees pictures: add --encoder, or leave "
            "--posteriors mirror out."
        )
    return sources.encoders if sources.mirrored else ()


def mirrored_views(
    samples: Samples, encoders: Sequence[Extractor], resources: Resources, callbacks: Callbacks
) -> dict[str, Features]:
    """Run encoders over the mirrored pictures; tell what each run did."""
    from ..encoders.builtin import PARTS, BuiltinExtractor
    from ..encoders.builtin_views import split
    from ..extraction.images import mirrored
    from ..extraction.run import extract

    turned = mirrored(samples)
    seen: dict[str, Features] = {}
    for name, encoder in zip(encoder_names(encoders), encoders, strict=True):
        stage = callbacks.stage(f"{name}, mirrored")
        done = extract(turned, encoder, cache=resources.cache, workers=resources.workers, progress=stage)
        note_run(replace(done.log, view=f"{name}, mirrored"), callbacks)
        if isinstance(encoder, BuiltinExtractor) and encoder.parts == PARTS:
            found = split(turned, done.values, done.found, done.notes, encoder.spec).features
        else:
            found = Features(name, samples.ids, done.values, done.found)
        seen[found.view] = found
    return seen
