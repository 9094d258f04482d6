"""`--landmarks builtin`: 68 points and 52 blendshapes from the builtin model, with no download.

Where `--encoder builtin` runs as well, take both from one pass (`encoders.builtin_views.split`).
"""

from __future__ import annotations

from pathlib import Path

from ..encoders.builtin import BuiltinExtractor
from ..extraction.detection import Framing


def build(weights: str | None = None, *, device: str = "auto", framing: Framing | None = None) -> BuiltinExtractor:
    """Return a detector: 136 coordinates (pixels of the face crop), confidence, 52 blendshapes a face.

    Raises
    ------
    FeatureError
        The weights are missing or damaged.
    """
    path = Path(weights) if weights else None
    return BuiltinExtractor(("landmarks",), weights=path, device=device, framing=framing, name="landmarks")
