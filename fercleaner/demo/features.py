"""What lies on the skin: eyes, nose, mouth, brows, front hair, glasses."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ..core.arrays import Doubles
from .canvas import BLACK, DrawnFace, Layer, curve, new_layer, ribbon, tapered
from .faces import CRANIUM, HAIRLINE, IRISES, SOCKETS
from .looks import Color, mix


def drawn_features(face: DrawnFace) -> Image.Image:
    """Draw what lies on the skin, RGBA: eyes, nostrils, mouth, brows, front hair, glasses."""
    layer = new_layer("RGBA", (*face.looks.skin, 0))
    _eyes(face, layer)
    _nose(face, layer)
    _mouth(face, layer)
    _hair(face, layer)
    _brows(face, layer)
    if face.looks.glasses:
        _glasses(face, layer)
    return layer.shrink()


def _opaque(color: Color) -> tuple[int, int, int, int]:
    return (*color, 255)


def _clipped(layer: Layer, outline: Doubles, ground: Color, parts: list[tuple[Doubles, Color]]) -> None:
    """Fill `outline` with `ground`, and draw the parts over it where they lie within."""
    low = np.floor(outline.min(0) * layer.scale).astype(int) - 1
    size = np.ceil(outline.max(0) * layer.scale).astype(int) + 1 - low
    patch = Image.new("RGBA", (int(size[0]), int(size[1])), _opaque(ground))
    mask = Image.new("L", patch.size, 0)
    pen = ImageDraw.Draw(patch)
    for shape, color in parts:
        pen.polygon((shape * layer.scale - low).ravel().tolist(), fill=_opaque(color))
    ImageDraw.Draw(mask).polygon((outline * layer.scale - low).ravel().tolist(), fill=255)
    layer.image.paste(patch, (int(low[0]), int(low[1])), mask)


def _eyes(face: DrawnFace, layer: Layer) -> None:
    p, looks = face.p, face.looks
    lash = mix(looks.brow, BLACK, 0.6)
    white = mix((238, 236, 232), looks.skin, 0.12)
    for side, iris in zip((36, 42), p[IRISES], strict=True):
        upper, lower = curve(p[side : side + 4]), curve(p[[side + 3, side + 4, side + 5, side]])
        r = 0.112 * looks.iris_size
        glint = face.at(iris, 0.035, -0.035)
        parts = [
            (face.ellipse(iris, r, r), mix(looks.iris, BLACK, 0.35)),
            (face.ellipse(iris, 0.8 * r, 0.8 * r), looks.iris),
            (face.ellipse(iris, 0.45 * r, 0.45 * r), (14, 12, 12)),
            (face.ellipse(glint, 0.026, 0.026), (250, 250, 250)),
            (ribbon(upper, 0.07 * face.unit), mix(white, BLACK, 0.3)),
        ]
        _clipped(layer, np.concatenate([upper, lower]), white, parts)
        layer.fill(ribbon(lower, tapered(len(lower), 0.022 * face.unit)), _opaque(mix(looks.skin, BLACK, 0.45)))
        layer.fill(ribbon(upper, tapered(len(upper), 0.05 * face.unit, 0.4, 0.4)), _opaque(lash))
        crease = curve(
            np.array(
                [
                    face.at(p[side], 0.02, -0.03),
                    *(face.at(q, 0, -0.065) for q in p[side + 1 : side + 3]),
                    face.at(p[side + 3], -0.02, -0.03),
                ]
            )
        )
        layer.fill(ribbon(crease, tapered(len(crease), 0.022 * face.unit)), _opaque(mix(looks.skin, BLACK, 0.3)))


def _nose(face: DrawnFace, layer: Layer) -> None:
    p = face.p
    dark = _opaque(mix(face.looks.skin, BLACK, 0.62))
    line = _opaque(mix(face.looks.skin, BLACK, 0.32))
    for wing, hole, side in ((31, 32, -1), (35, 34, 1)):
        layer.fill(face.ellipse(face.at(p[hole], 0.015 * side, 0.0), 0.055, 0.028), dark)
        edge = curve(
            np.array(
                [
                    face.at(p[wing], -0.02 * side, -0.12),
                    face.at(p[wing], 0.03 * side, -0.04),
                    face.at(p[wing], -0.02 * side, 0.03),
                ]
            )
        )
        layer.fill(ribbon(edge, tapered(len(edge), 0.028 * face.unit)), line)


def _mouth(face: DrawnFace, layer: Layer) -> None:
    p, looks = face.p, face.looks
    upper, lower = curve(p[48:55]), curve(p[[54, 55, 56, 57, 58, 59, 48]])
    top, bottom = curve(p[60:65]), curve(p[[64, 65, 66, 67, 60]])
    lip = mix(looks.lip, looks.skin, 0.25)
    layer.fill(np.concatenate([upper, lower]), _opaque(lip))
    layer.fill(np.concatenate([upper, curve(p[[54, 64, 63, 62, 61, 60, 48]])]), _opaque(mix(lip, BLACK, 0.16)))
    opening = float((p[66] - p[62]) @ face.y) / face.unit
    if opening > 0.03:
        teeth = np.concatenate(
            [
                curve(p[60:65] - 0.02 * face.unit * face.y),
                curve((p[60:65] + 0.085 * face.unit * face.y)[::-1]),
            ]
        )
        tongue = face.ellipse(face.at(p[66], 0, 0.03), 0.2, 0.11)
        _clipped(
            layer,
            np.concatenate([top, bottom]),
            (62, 22, 24),
            [(tongue, (158, 74, 78)), (teeth, (236, 232, 222))],
        )
    seam = mix(looks.lip, BLACK, 0.68)
    line = curve(p[[48, 60, 61, 62, 63, 64, 54]])
    layer.fill(ribbon(line, tapered(len(line), 0.032 * face.unit, 0.5, 0.5)), _opaque(seam))
    shine = curve(p[[58, 57, 56]] * 0.55 + p[[67, 66, 65]] * 0.45)
    layer.fill(ribbon(shine, tapered(len(shine), 0.035 * face.unit)), _opaque(mix(lip, (255, 255, 255), 0.2)))


def _brows(face: DrawnFace, layer: Layer) -> None:
    p, looks = face.p, face.looks
    for brow, inner in ((p[17:22], 1.0), (p[26:21:-1], 1.0)):
        line = curve(brow)
        width = 0.105 * looks.brow_thickness * face.unit * np.linspace(0.35, inner, len(line)) ** 0.7
        layer.fill(ribbon(line, width), _opaque(looks.brow))


def _hair(face: DrawnFace, layer: Layer) -> None:
    p, looks = face.p, face.looks
    if looks.hair_style == "bald":
        return
    color = looks.cloth if looks.hair_style == "scarf" else looks.hair
    center = (p[0] + p[16]) / 2
    swell = {"short": 1.05, "side": 1.09, "long": 1.12, "fringe": 1.1, "curly": 1.16, "scarf": 1.12}[looks.hair_style]
    outer = center + swell * (p[CRANIUM] - center)
    if looks.hair_style == "curly":
        for lock in outer:
            layer.fill(face.ellipse(lock, 0.26, 0.26), _opaque(color))
    inner = p[HAIRLINE].copy()
    across = np.linspace(-1, 1, len(inner))
    if looks.hair_style == "side":
        inner = np.array([face.at(q, 0, d) for q, d in zip(inner, 0.16 * across - 0.05, strict=True)])
    elif looks.hair_style == "fringe":
        inner = np.array([face.at(q, 0, d) for q, d in zip(inner, 0.2 * (1 - across**2), strict=True)])
    elif looks.hair_style == "scarf":
        inner = np.array([face.at(q, 0, 0.12) for q in inner])
    lobes = [p[16] + 0.04 * face.unit * face.x, p[0] - 0.04 * face.unit * face.x]
    edge = np.concatenate([lobes[1:], inner, lobes[:1]])
    layer.fill(np.concatenate([[lobes[0]], curve(outer), [lobes[1]], curve(edge)]), _opaque(color))
    if looks.hair_style in ("long", "scarf"):
        for side, jaw, end in ((-1, p[0:6], outer[-2]), (1, p[16:10:-1], outer[1])):
            line = curve(np.array([end, *(face.at(q, 0.09 * side, 0.0) for q in jaw)]))
            layer.fill(ribbon(line, np.linspace(0.2, 0.24, len(line)) * face.unit), _opaque(color))
    shine = curve(0.6 * outer[3:7] + 0.4 * inner[2:6][::-1])
    layer.fill(ribbon(shine, tapered(len(shine), 0.06 * face.unit)), _opaque(mix(color, (255, 255, 255), 0.13)))


def _glasses(face: DrawnFace, layer: Layer) -> None:
    frame = _opaque((34, 30, 32))
    sockets = face.p[SOCKETS]
    for socket in sockets:
        ring = face.ellipse(face.at(socket, 0, 0.04), 0.37, 0.27)
        ring = np.concatenate([ring, ring[:1]])
        layer.fill(ribbon(ring, 0.045 * face.unit), frame)
    left, right = sockets
    layer.fill(
        ribbon(
            curve(
                np.array(
                    [
                        face.at(left, 0.36, 0.0),
                        face.at((left + right) / 2, 0, -0.05),
                        face.at(right, -0.36, 0.0),
                    ]
                )
            ),
            0.045 * face.unit,
        ),
        frame,
    )
    for socket, ear, side in ((left, face.p[0], -1), (right, face.p[16], 1)):
        layer.fill(
            ribbon(np.array([face.at(socket, 0.36 * side, 0.0), face.at(ear, 0, 0.0)]), 0.045 * face.unit),
            frame,
        )
