"""What the drawing is made with: smooth curves, strokes as polygons, layers drawn too large and shrunk."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from ..core.arrays import Doubles
from .actions import ACTION_UNITS
from .faces import SIZE, SOCKETS
from .looks import Looks

#: How many times too large flat parts are drawn.
SCALE: Final = 4
BLACK: Final = (0, 0, 0)


@lru_cache(maxsize=64)
def _spline_weights(count: int, closed: bool, steps: int) -> Doubles:
    """Return the (M, count) matrix that takes `count` points to a uniform Catmull-Rom curve through them."""
    spans = count if closed else count - 1
    rows = []
    for span in range(spans):
        for t in np.arange(steps) / steps:
            weights = 0.5 * np.array(
                [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]
            )
            row = np.zeros(count)
            for offset, weight in zip(range(-1, 3), weights, strict=True):
                at = (span + offset) % count if closed else min(max(span + offset, 0), count - 1)
                row[at] += weight
            rows.append(row)
    if not closed:
        rows.append(np.eye(count)[-1])
    matrix = np.array(rows)
    matrix.flags.writeable = False
    return matrix


def curve(points: Doubles, *, closed: bool = False, steps: int = 6) -> Doubles:
    """Return a smooth curve (M, 2) through `points` (n, 2)."""
    return np.asarray(_spline_weights(len(points), closed, steps) @ points)


def ribbon(points: Doubles, widths: Doubles | float) -> Doubles:
    """Return the outline of a stroke along `points` (n, 2) of the given widths (n,), as a polygon (2n, 2)."""
    along = np.gradient(points, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], 1) / np.maximum(np.linalg.norm(along, axis=1), 1e-9)[:, None]
    half = np.broadcast_to(np.asarray(widths) / 2, len(points))[:, None] * normal
    return np.concatenate([points + half, (points - half)[::-1]])


def tapered(count: int, width: float, start: float = 0.15, end: float = 0.15) -> Doubles:
    """Return `count` stroke widths that swell from start x width to width and fall to end x width."""
    t = np.linspace(0, 1, count)
    return np.asarray(width * np.minimum(1, np.minimum(start + 3 * t, end + 3 * (1 - t))))


class DrawnFace:
    """One face being drawn: its points (96, 2) in pixels, its action units and its looks."""

    def __init__(self, points: Doubles, intensity: Doubles, looks: Looks) -> None:
        self.p = points
        self.looks = looks
        self.units = dict(zip(ACTION_UNITS, intensity.tolist(), strict=True))
        left, right = points[SOCKETS]
        self.unit = float(np.linalg.norm(right - left))
        self.x = (right - left) / max(self.unit, 1e-9)
        self.y = np.array([-self.x[1], self.x[0]])

    def at(self, point: Doubles, right: float, down: float) -> Doubles:
        """Return `point` moved by eye distances along the face's own axes."""
        return np.asarray(point + self.unit * (right * self.x + down * self.y))

    def ellipse(self, center: Doubles, width: float, height: float) -> Doubles:
        """Return an ellipse (24, 2) about `center` with half-axes in eye distances, turned with the face."""
        t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        return np.asarray(
            center + self.unit * (width * np.cos(t)[:, None] * self.x + height * np.sin(t)[:, None] * self.y)
        )


class Layer:
    """A picture `scale` times too large, drawn on in pixels of the final size."""

    def __init__(self, image: Image.Image, scale: int) -> None:
        self.image = image
        self.pen = ImageDraw.Draw(image)
        self.scale = scale

    def fill(self, outline: Doubles, color: int | tuple[int, ...]) -> None:
        """Fill the polygon `outline` (n, 2)."""
        self.pen.polygon((outline * self.scale).ravel().tolist(), fill=color)

    def shrink(self) -> Image.Image:
        """Return the picture at its final size."""
        return self.image.reduce(self.scale)


def new_layer(mode: str, color: int | tuple[int, ...], scale: int = SCALE) -> Layer:
    """Return an empty layer of one color."""
    return Layer(Image.new(mode, (SIZE * scale, SIZE * scale), color), scale)
