"""What the probe says of mirrored pictures: the second view of DNFER's consistency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..classifiers.probe import MIRROR, mirror_fit
from ..core.errors import InputError
from ..core.types import Features, Posteriors, Samples
from .inputs import Callbacks, Resources, Sources, encoder_names

if TYPE_CHECKING:
    from ..extraction.extractor import Extractor

__all__ = ["MIRROR", "mirror_encoders", "mirror_posteriors"]


def mirror_encoders(sources: Sources) -> Sequence[Extractor]:
    """Return the encoders that are run over mirrored pictures: none unless it was asked for.

    Raises
    ------
    InputError
        It was, and no encoder runs.
    """
    if sources.mirrored and not sources.encoders:
        raise InputError(
            "Posteriors of mirrored pictures need an encoder that sees pictures: add --encoder, or leave "
            "--posteriors mirror out."
        )
    return sources.encoders if sources.mirrored else ()


def mirror_posteriors(
    samples: Samples,
    views: Mapping[str, Features],
    encoders: Sequence[Extractor],
    resources: Resources,
    callbacks: Callbacks,
) -> Posteriors:
    """Run encoders over the mirrored pictures and ask the probe's heads about them; "mirror"."""
    from ..encoders.builtin import PARTS, BuiltinExtractor
    from ..encoders.builtin_views import split
    from ..extraction.images import mirrored
    from ..extraction.run import extract

    turned = mirrored(samples)
    seen: dict[str, Features] = {}
    for name, encoder in zip(encoder_names(encoders), encoders, strict=True):
        stage = callbacks.stage(f"{name}, mirrored")
        done = extract(turned, encoder, cache=resources.cache, workers=resources.workers, progress=stage)
        if isinstance(encoder, BuiltinExtractor) and encoder.parts == PARTS:
            found = split(turned, done.values, done.found, done.notes, encoder.spec).features
        else:
            found = Features(name, samples.ids, done.values, done.found)
        seen[found.view] = found
    return mirror_fit(samples, views, seen, seed=resources.seed, device=resources.device)
