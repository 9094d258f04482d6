"""What is not geometry: colors of a person, and the camera that took the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

Color: TypeAlias = tuple[int, int, int]

_SKINS: Final = np.array(
    [
        [250, 222, 200],
        [241, 200, 168],
        [228, 178, 138],
        [204, 146, 104],
        [164, 108, 74],
        [118, 76, 52],
        [84, 55, 42],
    ]
)
_HAIRS: Final = (
    (30, 24, 22),
    (52, 36, 26),
    (88, 56, 34),
    (138, 96, 52),
    (196, 160, 96),
    (128, 52, 28),
    (150, 148, 146),
)
_IRISES: Final = ((70, 44, 26), (54, 36, 24), (92, 70, 40), (76, 100, 70), (84, 116, 148))
_CLOTHS: Final = (
    (44, 58, 96),
    (120, 44, 50),
    (60, 92, 72),
    (200, 196, 188),
    (46, 46, 50),
    (176, 132, 60),
    (110, 80, 130),
)

HAIR_STYLES: Final = ("short", "side", "long", "fringe", "curly", "bald", "scarf")
BEARDS: Final = ("none", "stubble", "moustache", "full")


@dataclass(frozen=True)
class Looks:
    """Colors (R, G, B) and accessories of one person; `age` runs from 0 to 1 and deepens the lines."""

    skin: Color
    hair: Color
    brow: Color
    iris: Color
    lip: Color
    cloth: Color
    hair_style: str
    beard: str
    glasses: bool
    age: float
    brow_thickness: float
    iris_size: float


@dataclass(frozen=True)
class Camera:
    """Light, background and the faults of a picture.

    light (x, y): change of brightness from the middle of the picture to its edge; warmth and gain multiply;
    blur in pixels (0 = none); small: side in pixels of the lower resolution that the picture went through
    (0 = none); noise in gray levels; quality of the JPEG.
    """

    back_top: Color
    back_bottom: Color
    blobs: tuple[tuple[float, float, float, Color], ...]
    light: tuple[float, float]
    gain: float
    contrast: float
    warmth: float
    gray: bool
    blur: float
    small: int
    noise: float
    quality: int


def mix(first: Color, second: Color, share: float) -> Color:
    """Return the color that lies `share` (0 to 1) of the way from `first` to `second`."""
    r, g, b = (round(a + (z - a) * share) for a, z in zip(first, second, strict=True))
    return r, g, b


def _color(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Color:
    r, g, b = (int(v) for v in np.clip(np.round(values), 0, 255))
    return r, g, b


def sample_looks(rng: np.random.Generator) -> Looks:
    """Draw the looks of a new person."""
    tone = rng.uniform(0, len(_SKINS) - 1)
    low = min(int(tone), len(_SKINS) - 2)
    skin = _color(_SKINS[low] + (tone - low) * (_SKINS[low + 1] - _SKINS[low]) + rng.normal(0, 4, 3))
    age = float(np.clip(rng.beta(1.4, 2.2), 0, 1))
    dark = tone > 3.5
    hair = _HAIRS[int(rng.integers(0, 3 if dark else 6))]
    if age > 0.65 and rng.random() < 0.7:
        hair = mix(hair, _HAIRS[6], 0.8)
    hair = _color(np.array(hair) + rng.normal(0, 5, 3))
    manly = rng.random() < 0.5
    styles = ((0.42, 0.24, 0.04, 0.08, 0.1, 0.12, 0.0), (0.08, 0.17, 0.38, 0.14, 0.12, 0.01, 0.1))[0 if manly else 1]
    beard = str(rng.choice(BEARDS, p=(0.58, 0.2, 0.08, 0.14))) if manly and age > 0.15 else "none"
    return Looks(
        skin=skin,
        hair=hair,
        brow=mix(hair, mix(skin, (0, 0, 0), 0.75), 0.35),
        iris=_IRISES[int(rng.integers(0, 2 if dark else 5))],
        lip=mix(mix(skin, (176, 60, 64), 0.5), (170, 30, 50), 0.0 if manly else float(rng.uniform(0, 0.5))),
        cloth=_CLOTHS[int(rng.integers(len(_CLOTHS)))],
        hair_style=str(rng.choice(HAIR_STYLES, p=styles)),
        beard=beard,
        glasses=bool(rng.random() < 0.1),
        age=age,
        brow_thickness=float(rng.uniform(0.8, 1.25) * (1.1 if manly else 0.85)),
        iris_size=float(rng.uniform(0.92, 1.08)),
    )


def sample_camera(rng: np.random.Generator) -> Camera:
    """Draw the conditions of a new picture."""
    top = _color(rng.uniform(40, 230) + rng.normal(0, 22, 3))
    bottom = _color(np.array(top) + rng.normal(0, 25, 3))
    blobs = tuple(
        (
            float(rng.uniform(0, 1)),
            float(rng.uniform(0, 1)),
            float(rng.uniform(0.1, 0.35)),
            _color(np.array(top) + rng.normal(0, 30, 3)),
        )
        for _ in range(int(rng.integers(0, 4)))
    )
    angle = rng.uniform(0, 2 * np.pi)
    strength = abs(rng.normal(0, 0.12))
    return Camera(
        back_top=top,
        back_bottom=bottom,
        blobs=blobs,
        light=(float(strength * np.cos(angle)), float(0.6 * strength * np.sin(angle))),
        gain=float(np.clip(rng.normal(1.0, 0.1), 0.72, 1.2)),
        contrast=float(rng.uniform(0.8, 1.08)),
        warmth=float(rng.normal(0, 0.04)),
        gray=bool(rng.random() < 0.07),
        blur=float(rng.uniform(0.3, 0.9)) if rng.random() < 0.25 else 0.0,
        small=int(rng.integers(48, 80)) if rng.random() < 0.15 else 0,
        noise=float(rng.uniform(0.5, 3.5)),
        quality=int(rng.integers(70, 96)),
    )
