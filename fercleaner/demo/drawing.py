"""Draw a face from its control points: skin, shading, features and hair, then the camera.

Nothing here knows the expression: all that moves are the points, and the folds in the skin deepen with the
action units that make them.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter

from ..core.arrays import Doubles, Floats
from .canvas import DrawnFace
from .faces import SIZE
from .features import drawn_features
from .looks import Camera, Looks
from .skin import bare_head, shading


def draw_face(
    points: Doubles, intensity: Doubles, looks: Looks, camera: Camera, rng: np.random.Generator
) -> Image.Image:
    """Return the picture of a face, RGB, 100 x 100, before JPEG.

    Parameters
    ----------
    points : (96, 2) float64
        Control points in pixels, from `faces.face_points`.
    intensity : (A,) float64
        Action units: how deep the folds are that they make.
    rng : Generator
        For the camera's noise alone.
    """
    face = DrawnFace(points, intensity, looks)
    picture, mask = bare_head(face, camera)
    shade = 1 + (np.asarray(mask, dtype=np.float32) / 255)[:, :, None] * (shading(face) - 1)
    values = np.clip(np.asarray(picture, dtype=np.float32) * shade, 0, 255)
    picture = Image.fromarray(np.round(values).astype(np.uint8))
    parts = drawn_features(face)
    picture.paste(parts, mask=parts.getchannel("A"))
    return _photograph(picture, camera, rng)


def as_jpeg(picture: Image.Image, camera: Camera) -> bytes:
    """Return the picture as a JPEG of the camera's quality."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=camera.quality)
    return buffer.getvalue()


def _photograph(picture: Image.Image, camera: Camera, rng: np.random.Generator) -> Image.Image:
    """Light the picture and add the camera's faults."""
    if camera.small:
        picture = picture.resize((camera.small, camera.small), Image.Resampling.BILINEAR)
        picture = picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    if camera.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(camera.blur))
    values: Floats = np.asarray(picture, dtype=np.float32)
    across = np.linspace(-1, 1, SIZE, dtype=np.float32)
    light = 1 + camera.light[0] * across[None, :] + camera.light[1] * across[:, None]
    values = camera.contrast * (values - 128) + 128
    values = values * (camera.gain * light.astype(np.float32))[:, :, None]
    values = values * np.array([1 + camera.warmth, 1.0, 1 - camera.warmth], dtype=np.float32)
    if camera.gray:
        values = np.repeat((values @ np.array([0.299, 0.587, 0.114], dtype=np.float32))[:, :, None], 3, 2)
    values = values + camera.noise * rng.standard_normal((SIZE, SIZE, 1), dtype=np.float32)
    return Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8))
