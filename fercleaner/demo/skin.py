"""The bare head with its background, body and beard, and the shading of the skin."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ..core.arrays import Doubles
from .canvas import BLACK, SCALE, DrawnFace, Layer, curve, new_layer, ribbon, tapered
from .faces import CRANIUM, EARS, SIZE, SOCKETS
from .looks import Camera, mix

# Shading is a gray map, drawn twice too large, in which this gray leaves the skin as it is.
_MAP_SCALE: Final = 2
_FLAT: Final = 128


def bare_head(face: DrawnFace, camera: Camera) -> tuple[Image.Image, Image.Image]:
    """Draw background, body, back hair and the bare head; return it with the mask of the head."""
    p, looks = face.p, face.looks
    ramp = np.linspace(0, 1, SIZE)[:, None, None]
    back = np.asarray(camera.back_top) * (1 - ramp) + np.asarray(camera.back_bottom) * ramp
    ground = Image.fromarray(np.broadcast_to(back, (SIZE, SIZE, 3)).round().astype(np.uint8))
    pen = ImageDraw.Draw(ground)
    for x, y, r, color in camera.blobs:
        pen.ellipse([SIZE * (x - r), SIZE * (y - r), SIZE * (x + r), SIZE * (y + r)], fill=color)
    if camera.blobs:
        ground = ground.filter(ImageFilter.BoxBlur(3))
    layer = Layer(ground.resize((SIZE * SCALE, SIZE * SCALE)), SCALE)
    crown, jaw = p[CRANIUM], p[:17]
    center = (p[0] + p[16]) / 2
    if looks.hair_style in ("long", "scarf"):
        color = looks.cloth if looks.hair_style == "scarf" else mix(looks.hair, BLACK, 0.25)
        top = center + 1.14 * (crown - center)
        low = [
            face.at(center, -1.2, 1.3),
            face.at(center, -1.1, 2.3),
            face.at(center, 1.1, 2.3),
            face.at(center, 1.2, 1.3),
        ]
        layer.fill(curve(np.concatenate([top, np.array(low)]), closed=True), color)
    neck = mix(looks.skin, BLACK, 0.22)
    throat = (p[4] + p[12]) / 2
    layer.fill(
        np.array(
            [
                face.at(throat, -0.62, -0.1),
                face.at(throat, 0.62, -0.1),
                face.at(throat, 0.72, 1.5),
                face.at(throat, -0.72, 1.5),
            ]
        ),
        neck,
    )
    collar = curve(
        np.array(
            [
                face.at(throat, -2.2, 1.35),
                face.at(throat, -0.75, 0.95),
                face.at(throat, 0, 1.2),
                face.at(throat, 0.75, 0.95),
                face.at(throat, 2.2, 1.35),
            ]
        )
    )
    layer.fill(np.concatenate([collar, [face.at(throat, 2.2, 3.0), face.at(throat, -2.2, 3.0)]]), looks.cloth)
    if looks.hair_style != "scarf":
        for ear in p[EARS]:
            layer.fill(face.ellipse(ear, 0.15, 0.29), mix(looks.skin, BLACK, 0.1))
            layer.fill(face.ellipse(ear, 0.08, 0.19), mix(looks.skin, BLACK, 0.25))
    head = curve(np.concatenate([jaw, crown]), closed=True)
    layer.fill(head, looks.skin)
    _beard(face, layer)
    mask = new_layer("L", 0, _MAP_SCALE)
    mask.fill(head, 255)
    return layer.shrink(), mask.shrink()


def _beard(face: DrawnFace, layer: Layer) -> None:
    p, looks = face.p, face.looks
    if looks.beard == "none":
        return
    color = mix(looks.skin, looks.hair, {"stubble": 0.22, "moustache": 0.8, "full": 0.8}[looks.beard])
    if looks.beard != "moustache":
        inner = np.array(
            [
                face.at(p[14], -0.16, 0.05),
                face.at(p[54], 0.22, 0.1),
                face.at(p[55], 0.02, 0.1),
                face.at(p[57], 0, 0.1),
                face.at(p[59], -0.02, 0.1),
                face.at(p[48], -0.22, 0.1),
                face.at(p[2], 0.16, 0.05),
            ]
        )
        layer.fill(np.concatenate([curve(p[1:16]), curve(inner)]), color)
    top = np.array(
        [
            face.at(p[48], -0.06, 0.02),
            face.at(p[31], 0, 0.13),
            face.at(p[33], 0, 0.07),
            face.at(p[35], 0, 0.13),
            face.at(p[54], 0.06, 0.02),
        ]
    )
    layer.fill(np.concatenate([curve(top), curve(p[54:47:-1])]), color)


def shading(face: DrawnFace) -> Doubles:
    """Return what multiplies the skin, (100, 100, 1): soft volumes, and folds that action units deepen."""
    p, on, age = face.p, face.units, face.looks.age
    soft, fine = new_layer("L", _FLAT, _MAP_SCALE), new_layer("L", _FLAT, _MAP_SCALE)

    def shade(outline: Doubles, amount: float) -> None:
        soft.fill(outline, round(_FLAT * (1 + amount)))

    def fold(points: list[Doubles], depth: float, width: float = 0.05) -> None:
        if depth > 0.02:
            line = curve(np.array(points))
            fine.fill(ribbon(line, tapered(len(line), face.unit * width)), round(_FLAT * (1 - min(depth, 0.75))))

    forehead = (p[19] + p[24]) / 2
    shade(face.ellipse(face.at(forehead, 0, -0.3), 0.6, 0.2), 0.07)
    cheek = 0.06 + 0.07 * max(on[6], on[12])
    for side, outer, wing, corner in ((-1, 36, 31, 48), (1, 45, 35, 54)):
        socket = p[SOCKETS][(side + 1) // 2]
        shade(face.ellipse(face.at(socket, 0, -0.1), 0.33, 0.16), -0.14)
        shade(face.ellipse(face.at(p[outer], -0.04 * side, 0.55 - 0.12 * on[6]), 0.26, 0.2), cheek)
        shade(ribbon(curve(p[[0, 2, 4, 6]] if side < 0 else p[[16, 14, 12, 10]]), 0.3 * face.unit), -0.14)
        fold_top = face.at(p[wing], 0.1 * side, -0.08)
        depth = 0.1 + 0.18 * age + 0.3 * on[12] + 0.4 * on[10] + 0.25 * on[9] + 0.12 * on[20]
        fold(
            [
                fold_top,
                face.at(p[wing], 0.27 * side, 0.1),
                face.at(p[corner], 0.16 * side, -0.08),
                face.at(p[corner], 0.17 * side, 0.1),
            ],
            depth,
            0.055,
        )
        crow = 0.26 * age + 0.45 * on[6]
        for rise in (-0.09, 0.0, 0.09):
            fold(
                [
                    face.at(p[outer], 0.06 * side, 0.4 * rise),
                    face.at(p[outer], 0.24 * side, 1.4 * rise + 0.02),
                ],
                crow,
                0.035,
            )
        lid = p[[36, 41, 40, 39]] if side < 0 else p[[45, 46, 47, 42]]
        bag = 0.12 + 0.16 * age + 0.28 * on[6] + 0.22 * on[7]
        fold([face.at(point, 0, 0.07) for point in lid], bag, 0.05)
        inner = p[21] if side < 0 else p[22]
        fold(
            [face.at(inner, 0.07 * -side, -0.08), face.at(inner, 0.09 * -side, 0.14)],
            0.1 * age + 0.6 * on[4],
            0.045,
        )
        fold(
            [face.at(p[corner], 0.03 * side, 0.02), face.at(p[corner], 0.09 * side, 0.17)],
            0.1 * age + 0.4 * on[15],
            0.05,
        )
        fold(
            [face.at(p[corner], 0.07 * side, -0.08), face.at(p[corner], 0.08 * side, 0.06)],
            0.2 * on[12] + 0.2 * on[20],
            0.05,
        )
        for rise in (0.06, 0.16):
            fold(
                [face.at(p[28], 0.03 * side, rise - 0.05), face.at(p[28], 0.14 * side, rise)],
                0.55 * on[9],
                0.04,
            )
        shade(ribbon(p[[28, 29]] + 0.12 * side * face.unit * face.x, 0.1 * face.unit), -0.09)
    raised = 0.25 * age + 0.4 * max(on[1], on[2])
    reach = 0.25 + 0.4 * on[2] if on[2] > on[1] - 0.4 else 0.25
    for rise in (0.16, 0.29, 0.42):
        ends = [face.at(forehead, x, -rise + 0.02 * (x / reach) ** 2) for x in (-reach, 0.0, reach)]
        fold(ends, raised * (1.15 - rise), 0.04)
    shade(ribbon(p[27:31], 0.11 * face.unit), 0.11)
    shade(face.ellipse(p[30], 0.11, 0.09), 0.14)
    shade(face.ellipse(face.at(p[33], 0, 0.07), 0.2, 0.07), -0.2)
    shade(face.ellipse(face.at(p[57], 0, 0.12), 0.22, 0.06), -0.2)
    chin = face.at(p[8], 0, -0.24)
    shade(face.ellipse(chin, 0.2, 0.13), 0.08)
    for x, y in ((-0.1, 0.0), (0.08, -0.05), (0.0, 0.07), (0.14, 0.06), (-0.16, 0.08), (-0.04, -0.08)):
        fold([face.at(chin, x - 0.03, y), face.at(chin, x + 0.03, y + 0.01)], 0.42 * on[17], 0.05)
    fold(
        [face.at(p[57], -0.17, 0.15), face.at(p[57], 0, 0.1), face.at(p[57], 0.17, 0.15)],
        0.12 + 0.25 * on[17] + 0.3 * on[24],
        0.05,
    )
    blurred = np.asarray(soft.shrink().filter(ImageFilter.GaussianBlur(2.2)), dtype=np.float64)
    lines = np.asarray(fine.shrink().filter(ImageFilter.GaussianBlur(0.45)), dtype=np.float64)
    return np.asarray((blurred * lines / _FLAT**2)[:, :, None])
