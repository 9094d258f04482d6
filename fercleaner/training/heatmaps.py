"""Landmarks as heat maps, as LA-Net's landmark branch learns them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.arrays import Floats

#: LA-Net's 19 points (AFLW's order: brows, eyes, nose, mouth, chin) out of 68 in iBUG's order; an eye's own point,
#: which iBUG lacks, is the mean of its six.
AFLW_19: tuple[tuple[int, ...], ...] = (
    *((17,), (19,), (21,), (22,), (24,), (26,)),
    *((36,), tuple(range(36, 42)), (39,), (42,), tuple(range(42, 48)), (45,)),
    *((31,), (30,), (35,), (48,), (51, 57), (54,), (8,)),
)


@dataclass(frozen=True)
class Heatmaps:
    """Makes the heat maps (19, H, H) of a face's landmarks: exp(-|cell - point|^2 / (2 sigma^2)), 1 at the point.

    Parameters
    ----------
    edge : int
        H, cells along an edge.
    sigma : float > 0
        In cells; LA-Net has 1.5 at stride 4.
    """

    edge: int
    sigma: float = 1.5

    def __call__(self, points: Floats | None) -> dict[str, Any]:
        """Return "points" (19, 2), "heatmaps" and "has_points" for landmarks (68, 2) in shares of the picture.

        A point outside the picture has a map of zeros. Where there are no landmarks, all is zero.
        """
        if points is None or not np.isfinite(points).all():
            return {
                "points": torch.zeros(len(AFLW_19), 2),
                "heatmaps": torch.zeros(len(AFLW_19), self.edge, self.edge),
                "has_points": torch.tensor(0.0),
            }
        chosen = torch.from_numpy(np.stack([points[list(group)].mean(0) for group in AFLW_19]).astype(np.float32))
        return {"points": chosen, "heatmaps": self.drawn(chosen), "has_points": torch.tensor(1.0)}

    def drawn(self, points: Tensor) -> Tensor:
        """Return the heat maps of points (K, 2) in shares of the picture."""
        cells = (torch.arange(self.edge) + 0.5) / self.edge
        spread = 2 * (self.sigma / self.edge) ** 2
        across = torch.exp(-((cells[None] - points[:, :1]) ** 2) / spread)
        down = torch.exp(-((cells[None] - points[:, 1:]) ** 2) / spread)
        inside = ((points >= 0) & (points <= 1)).all(1).float()
        return down[:, :, None] * across[:, None, :] * inside[:, None, None]
