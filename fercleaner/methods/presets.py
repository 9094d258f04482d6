"""Settings by name: `--set preset=paper` gives a method the settings of the paper that it is named after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Settings of each paper, as far as they are known; what a paper does not say keeps its default.
PAPER: Mapping[str, Mapping[str, Any]] = {
    # AMY: k, alpha and its equations were not available; it weighs labels by uncertainty, which plain propagation
    # does not.
    "hypergraph": {"rounds": 2, "uncertainty": True},
    # LA-Net's released code: 8 neighbors, learned contribution scores, two spaces of equal share, a bank of momentum
    # .9 over 80 epochs, no sharpening.
    "landmark": {
        "k": 8,
        "scores": "learned",
        "pooling": "spaces",
        "sharpness": 1.0,
        "momentum": 0.9,
        "visits": 80,
    },
    # POI: action units alone, aggregated over the regions of the face; its table and formulas were not available.
    "au-prior": {"aggregate": "regions", "fusion": 1.0},
    # DNFER's released code: batches of 128, kept labels left as they are; ranked by its own rule. A dropped label,
    # which the paper leaves out of the loss, has its vote as weight and its posterior as distribution.
    "threshold": {"batch": 128, "sharpen": 1.0, "blend": 0.0, "rank": "threshold"},
    # LEAF's released code: at most 3 positives within .9, the crossing class left out, one expert that speaks.
    "ambiguous": {"positives": 3, "mass": 0.9, "inclusive": False, "shape": "concave", "sharpen": 1.0, "active": 1},
}
PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {"paper": PAPER}
