"""Arrays in one .npz."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from ...core.arrays import Ints
from ...core.refined import RefinedSet


def npz_content(refined: RefinedSet, rows: Ints) -> bytes:
    """Return the .npz of `rows`; `np.load` needs no pickle."""
    arrays: dict[str, Any] = {
        name: getattr(refined, name)[rows]
        for name in ("ids", "paths", "split", "label", "given_label", "distribution", "weight", "quality", "flagged")
    }
    held = io.BytesIO()
    np.savez_compressed(held, classes=np.array(refined.classes, dtype=np.str_), **arrays)
    return held.getvalue()
