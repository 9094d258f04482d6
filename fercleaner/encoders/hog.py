"""`hog`: histograms of oriented gradients, which need no weights.

Source: N. Dalal and B. Triggs, Histograms of oriented gradients for human detection, CVPR 2005, as
`skimage.feature.hog` computes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Floats
from ..core.errors import InputError
from ..extraction.extractor import Computed

if TYPE_CHECKING:
    from PIL.Image import Image

#: Side in pixels of the square that every face is resized to; FER2013's crops have it already.
SIDE = 48
ORIENTATIONS = 8
CELL = 6
BLOCK = 2


@dataclass(frozen=True)
class Hog:
    """An `Extractor`: gray, resized to 48 x 48 (Lanczos), 8 orientations, cells of 6 x 6, blocks of 2 x 2.

    Blocks are normalized by L2-Hys (L2, clipped at 0.2, L2 again); the 1,568 numbers lie in [0, 1]. Where
    the face lies in the picture matters, who it is does too: this serves where no network is at hand.
    """

    name: str = "hog"
    batch_size: int = 256

    @property
    def spec(self) -> dict[str, Any]:
        """Everything that determines the values."""
        return {
            "kind": "hog",
            "side": SIDE,
            "filter": "lanczos",
            "orientations": ORIENTATIONS,
            "cell": CELL,
            "block": BLOCK,
            "norm": "L2-Hys",
        }

    @property
    def width(self) -> int:
        """Length of a vector."""
        blocks = SIDE // CELL - BLOCK + 1
        return blocks * blocks * BLOCK * BLOCK * ORIENTATIONS

    def prepare(self, image: Image) -> Floats:
        """Return the whole descriptor (width,): it is computed in the workers."""
        from PIL.Image import Resampling
        from skimage.feature import hog

        gray = image.convert("L")
        if gray.size != (SIDE, SIDE):
            gray = gray.resize((SIDE, SIDE), Resampling.LANCZOS)
        descriptor: Floats = hog(
            # Whole numbers: an angle on the edge of a bin falls to the same side everywhere.
            np.asarray(gray, dtype=np.float32),
            orientations=ORIENTATIONS,
            pixels_per_cell=(CELL, CELL),
            cells_per_block=(BLOCK, BLOCK),
            block_norm="L2-Hys",
        )
        return descriptor

    def compute(self, batch: Sequence[NDArray[Any]], /) -> Computed:
        """Stack descriptors; every one is found."""
        values = np.stack(list(batch)).astype(np.float32, copy=False)
        return values, np.ones(len(values), dtype=bool), [""] * len(values)


def build(name: str, *, weights: Path | None, device: str, batch_size: int | None) -> Hog:
    """Return the encoder; it has no variants, no weights, and runs on the CPU."""
    if name:
        raise InputError(f"hog has no variants, so 'hog:{name}' means nothing. Use --encoder hog.")
    if weights is not None:
        raise InputError(f"hog needs no weights; drop --weights {weights}.")
    return Hog()
