"""The geometry of a drawn face: who it is, how its action units move it, and how its head is turned.

Lengths are in distances between the eye centers of an average face, x to the right of the picture, y down, z
towards the viewer, the origin midway between the eyes. Points 0 to 67 are the landmarks in the iBUG order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ..core.arrays import Doubles
from .actions import ACTION_UNITS

#: Rows of the control points after the 68 landmarks.
CRANIUM: Final = slice(68, 81)
IRISES: Final = slice(81, 83)
EARS: Final = slice(83, 85)
HAIRLINE: Final = slice(85, 94)
SOCKETS: Final = slice(94, 96)
POINTS: Final = 96

#: Picture size in pixels, and where an average face stands in it: pixels an eye distance, eye height.
SIZE: Final = 100
_PIXELS_PER_UNIT, _EYE_ROW = 32.0, 38.0

# Head turns about this point, which lies inside the skull at the height of the nose.
_PIVOT: Final = np.array([0.0, 0.45, -0.6])

# Least distances that keep lids, lips and teeth in order.
_LEAST_LID, _LEAST_LIP, _LEAST_GAP = 0.035, 0.03, 0.008

_MIRROR: Final = np.array(
    [
        *(*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *(*range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65),
    ]
)

# For every unit at full intensity, how far each landmark of the picture's left half (and the midline) moves:
# outward, down. The right half is the mirror image.
# fmt: off
_MOVES: Final[dict[int, dict[int, tuple[float, float]]]] = {
    1: {
        21: (0, -0.21), 20: (0, -0.18), 19: (0, -0.08),
    },
    2: {
        17: (0, -0.13), 18: (0.01, -0.19), 19: (0, -0.14), 20: (0, -0.04),
    },
    4: {
        21: (-0.08, 0.14), 20: (-0.06, 0.13), 19: (-0.04, 0.09), 18: (-0.02, 0.04), 38: (0, 0.015),
    },
    5: {
        37: (0, -0.075), 38: (0, -0.075), 41: (0, 0.01), 40: (0, 0.01),
    },
    6: {
        41: (0, -0.045), 40: (0, -0.035), 37: (0, 0.01), 38: (0, 0.01),
    },
    7: {
        41: (0, -0.05), 40: (0, -0.05), 37: (0, 0.025), 38: (0, 0.03),
    },
    9: {
        28: (0, -0.01), 29: (0, -0.04), 30: (0, -0.07), 31: (0.03, -0.1), 32: (0.01, -0.09), 33: (0, -0.08),
        21: (-0.02, 0.06), 20: (-0.01, 0.05), 40: (0, -0.02), 41: (0, -0.015), 49: (0, -0.03),
        50: (0, -0.05), 51: (0, -0.05), 61: (0, -0.02), 62: (0, -0.02),
    },
    10: {
        49: (0.02, -0.1), 50: (0, -0.13), 51: (0, -0.12), 61: (0, -0.07), 62: (0, -0.06), 31: (0.02, -0.02),
        48: (0, 0.01),
    },
    12: {
        48: (0.15, -0.18), 60: (0.13, -0.16), 49: (0.08, -0.06), 59: (0.09, -0.04), 61: (0.04, 0),
        50: (0.02, 0), 58: (0.03, 0.02), 67: (0.04, 0.01), 31: (0.02, 0),
    },
    15: {
        48: (0.02, 0.17), 60: (0.01, 0.15), 49: (0, 0.04), 59: (0.01, 0.09), 58: (0, 0.03),
    },
    17: {
        8: (0, -0.1), 7: (0, -0.06), 6: (0, -0.02), 57: (0, -0.05), 58: (0, -0.045), 59: (0, -0.01),
        66: (0, -0.035), 67: (0, -0.03), 62: (0, -0.035), 61: (0, -0.03), 51: (0, -0.035), 50: (0, -0.035),
    },
    20: {
        48: (0.17, 0.03), 60: (0.16, 0.03), 49: (0.1, 0), 59: (0.1, 0.02), 61: (0.04, 0), 67: (0.04, 0.01),
    },
    23: {
        51: (0, 0.03), 50: (0, 0.035), 49: (0, 0.02), 57: (0, -0.05), 58: (0, -0.05), 59: (0, -0.03),
    },
    24: {
        51: (0, 0.05), 50: (0, 0.055), 49: (-0.02, 0.03), 57: (0, -0.07), 58: (0, -0.07),
        59: (-0.02, -0.04), 48: (-0.06, 0), 60: (-0.05, 0),
    },
    25: {
        66: (0, 0.1), 67: (0.02, 0.09), 57: (0, 0.09), 58: (0, 0.085), 59: (0, 0.05), 62: (0, -0.025),
        61: (0.02, -0.02), 51: (0, -0.02), 50: (0, -0.02), 49: (0, -0.01),
    },
    26: {
        8: (0, 0.26), 7: (0, 0.25), 6: (0, 0.2), 5: (0, 0.12), 4: (0, 0.05), 66: (0, 0.24), 67: (0, 0.21),
        57: (0, 0.24), 58: (0, 0.22), 59: (-0.01, 0.15), 48: (-0.05, 0.06), 60: (-0.05, 0.06),
        49: (-0.02, 0.01),
    },
}
# fmt: on


@dataclass(frozen=True)
class Shape:
    """Proportions of one person's face; 1 (or 0) is the average face. Built by `sample_shape`."""

    width: float = 1.0
    length: float = 1.0
    jaw: float = 0.0
    chin: float = 1.0
    eye_spacing: float = 1.0
    eye_width: float = 1.0
    eye_height: float = 1.0
    eye_tilt: float = 0.0
    brow_height: float = 1.0
    brow_arch: float = 1.0
    brow_tilt: float = 0.0
    nose_length: float = 1.0
    nose_width: float = 1.0
    mouth_width: float = 1.0
    mouth_rest: float = 0.0
    upper_lip: float = 1.0
    lower_lip: float = 1.0
    hairline: float = 0.0


@dataclass(frozen=True)
class Pose:
    """How the head stands in the picture.

    yaw (positive: towards the right of the picture), pitch (positive: up), roll (positive: clockwise) in
    degrees; scale 1 is the average size; shift (x, y) in pixels; gaze (x, y) moves the irises, in
    eye distances.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    gaze: tuple[float, float] = (0.0, 0.0)


# The average face at rest, left half and midline: x, y, z of jaw 0 to 8 and brow 17 to 21.
_JAW: Final = np.array(
    [
        [-1.10, -0.05, -0.62],
        [-1.09, 0.22, -0.60],
        [-1.06, 0.48, -0.56],
        [-0.99, 0.74, -0.50],
        [-0.87, 0.99, -0.40],
        [-0.70, 1.24, -0.26],
        [-0.48, 1.46, -0.12],
        [-0.24, 1.61, -0.02],
        [0.0, 1.66, 0.02],
    ]
)
_BROW: Final = np.array(
    [
        [-0.90, -0.27, -0.30],
        [-0.76, -0.37, -0.16],
        [-0.57, -0.41, -0.06],
        [-0.37, -0.39, 0.0],
        [-0.19, -0.355, 0.02],
    ]
)


def _moves() -> Doubles:
    table = np.zeros((len(ACTION_UNITS), 68, 2))
    for row, unit in enumerate(ACTION_UNITS):
        for point, (outward, down) in _MOVES[unit].items():
            twin = int(_MIRROR[point])
            if twin == point:
                table[row, point] = 0.0, down
            else:
                table[row, point] = -outward, down
                table[row, twin] = outward, down
    return table


_MOVE_TABLE: Final = _moves()


def sample_shape(rng: np.random.Generator) -> Shape:
    """Draw the proportions of a new person."""

    def about(center: float, spread: float) -> float:
        return float(center + spread * np.clip(rng.standard_normal(), -2, 2))

    return Shape(
        width=about(1.0, 0.04),
        length=about(1.0, 0.03),
        jaw=about(0.0, 0.04),
        chin=about(1.0, 0.15),
        eye_spacing=about(1.0, 0.03),
        eye_width=about(1.0, 0.06),
        eye_height=about(1.0, 0.13),
        eye_tilt=about(0.0, 0.02),
        brow_height=about(1.0, 0.06),
        brow_arch=about(1.0, 0.22),
        brow_tilt=about(0.0, 0.015),
        nose_length=about(1.0, 0.05),
        nose_width=about(1.0, 0.12),
        mouth_width=about(1.0, 0.07),
        mouth_rest=about(0.0, 0.016),
        upper_lip=about(1.0, 0.22),
        lower_lip=about(1.0, 0.18),
        hairline=about(0.0, 0.06),
    )


def sample_pose(rng: np.random.Generator) -> Pose:
    """Draw a nearly frontal pose, as in an aligned set: within about 14, 9 and 4 degrees."""
    yaw, pitch, roll = np.clip(rng.standard_normal(3), -2.2, 2.2) * (6.5, 4.0, 2.0)
    shift = np.clip(rng.standard_normal(2), -2, 2) * 0.6
    gaze = np.clip(rng.standard_normal(2), -2, 2) * (0.03, 0.012)
    return Pose(
        yaw=float(yaw),
        pitch=float(pitch),
        roll=float(roll),
        scale=float(rng.uniform(0.97, 1.03)),
        shift=(float(shift[0]), float(shift[1])),
        gaze=(float(gaze[0]), float(gaze[1])),
    )


def neutral_points(shape: Shape) -> Doubles:
    """Return the control points of a face at rest, (96, 3)."""
    p = np.zeros((POINTS, 3))
    jaw = _JAW.copy()
    jaw[2:7, 0] -= shape.jaw * np.array([0.4, 1.0, 1.6, 1.6, 0.9])
    jaw[5:8, 0] *= 0.6 + 0.4 * shape.chin
    jaw[:, 0] *= shape.width
    jaw[1:, 1] = jaw[0, 1] + (jaw[1:, 1] - jaw[0, 1]) * shape.length
    brow = _BROW.copy()
    middle = brow[:, 1].mean()
    brow[:, 1] = (middle + (brow[:, 1] - middle) * shape.brow_arch) * shape.brow_height
    brow[:, 1] += shape.brow_tilt * (brow[:, 0] + 0.55) / 0.35
    brow[:, 0] *= shape.eye_spacing
    p[:9], p[17:22] = jaw, brow
    nose = 0.70 * shape.nose_length
    p[27:31] = [[0, -0.06, 0.08], [0, 0.12, 0.20], [0, 0.30, 0.34], [0, nose - 0.21, 0.46]]
    wing = 0.23 * shape.nose_width
    p[31:34] = [[-wing, nose - 0.06, 0.12], [-wing / 2, nose - 0.015, 0.20], [0, nose + 0.01, 0.24]]
    half, lid = 0.215 * shape.eye_width, 0.095 * shape.eye_height
    x, tilt = -0.5 * shape.eye_spacing, shape.eye_tilt
    p[36:42] = [
        *([x - half, 0.02 - tilt, -0.20], [x - 0.42 * half, -lid, -0.10], [x + 0.38 * half, -lid, -0.08]),
        *(
            [x + half, 0.03 + tilt, -0.12],
            [x + 0.38 * half, 0.85 * lid, -0.08],
            [x - 0.42 * half, 0.85 * lid, -0.10],
        ),
    ]
    m, w = 1.04 * shape.length, 0.38 * shape.mouth_width
    up, low, rest = 0.085 * shape.upper_lip, 0.125 * shape.lower_lip, shape.mouth_rest
    p[48:52] = [
        [-w, m + rest, -0.06],
        [-0.6 * w, m - 0.7 * up, 0.06],
        [-0.22 * w, m - up - 0.01, 0.13],
        [0, m - up, 0.14],
    ]
    p[57:60] = [[0, m + low, 0.12], [-0.28 * w, m + 0.97 * low, 0.11], [-0.66 * w, m + 0.6 * low, 0.05]]
    p[60:63] = [[-0.88 * w, m + 0.9 * rest, -0.03], [-0.35 * w, m - 0.003, 0.09], [0, m, 0.12]]
    p[66:68] = [[0, m + _LEAST_GAP, 0.12], [-0.35 * w, m + _LEAST_GAP - 0.003, 0.09]]
    left = [*range(8), *range(17, 22), 31, 32, *range(36, 42), 48, 49, 50, 58, 59, 60, 61, 67]
    p[_MIRROR[left]] = p[left] * (-1, 1, 1)
    around = np.linspace(0.06, 0.94, CRANIUM.stop - CRANIUM.start) * np.pi
    p[CRANIUM, 0] = 1.14 * shape.width * np.cos(around)
    p[CRANIUM, 1] = -0.1 - 1.22 * np.sin(around)
    p[CRANIUM, 2] = -0.62 + 0.1 * np.sin(around)
    p[IRISES] = [[x, -0.005, -0.08], [-x, -0.005, -0.08]]
    p[EARS] = [[-1.13 * shape.width, 0.18, -0.75], [1.13 * shape.width, 0.18, -0.75]]
    across = np.linspace(-1, 1, HAIRLINE.stop - HAIRLINE.start)
    p[HAIRLINE, 0] = 1.04 * shape.width * across
    p[HAIRLINE, 1] = -0.92 - shape.hairline + 0.55 * np.abs(across) ** 3.5
    p[HAIRLINE, 2] = -0.1 - 0.45 * across**2
    p[SOCKETS] = [[x, -0.02, -0.15], [-x, -0.02, -0.15]]
    return p


def move(points: Doubles, intensity: Doubles) -> Doubles:
    """Return the control points (96, 3) of a face at rest moved by action units (A,) of intensity 0 to 1."""
    moved = points.copy()
    moved[:68, :2] += np.tensordot(intensity, _MOVE_TABLE, 1)
    y = moved[:, 1]
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        y[lower] = max(y[lower], y[upper] + _LEAST_LID)
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        middle, half = (y[upper] + y[lower]) / 2, max(y[lower] - y[upper], _LEAST_GAP) / 2
        y[upper], y[lower] = middle - half, middle + half
    for outer, inner in ((50, 61), (51, 62), (52, 63)):
        y[outer] = min(y[outer], y[inner] - _LEAST_LIP)
    for inner, outer in ((67, 58), (66, 57), (65, 56)):
        y[outer] = max(y[outer], y[inner] + _LEAST_LIP)
    return moved


def on_picture(points: Doubles, pose: Pose) -> Doubles:
    """Return where control points (M, 3) stand in the picture, (M, 2) pixels, by parallel projection."""
    yaw, pitch, roll = np.deg2rad([pose.yaw, pose.pitch, pose.roll])
    x, y, z = (points - _PIVOT).T
    y, z = y * np.cos(pitch) - z * np.sin(pitch), y * np.sin(pitch) + z * np.cos(pitch)
    x = x * np.cos(yaw) + z * np.sin(yaw)
    x, y = x * np.cos(roll) - y * np.sin(roll), x * np.sin(roll) + y * np.cos(roll)
    unit = _PIXELS_PER_UNIT * pose.scale
    # The pivot is put where a frontal face would have it, but for what the turn does to the eyes themselves.
    left = SIZE / 2 + pose.shift[0] - 0.35 * unit * np.sin(yaw)
    top = _EYE_ROW + pose.shift[1] + unit * (_PIVOT[1] + 0.35 * np.sin(pitch))
    return np.stack([left + unit * x, top + unit * y], 1)


def face_points(shape: Shape, intensity: Doubles, pose: Pose) -> Doubles:
    """Return the control points of one face in the picture, (96, 2) pixels; the first 68 are landmarks."""
    points = move(neutral_points(shape), intensity)
    points[IRISES, :2] += pose.gaze
    return on_picture(points, pose)
