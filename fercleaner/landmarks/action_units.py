"""Evidence of facial action units (AUs) from 68 landmarks, or from blendshapes.

Formulas and tables are our own reading of FACS in landmark terms; the map from blendshapes is py-feat's
(approximate by its own statement). An AU that a source cannot observe is given its base rate, which the
prior's rule reads as "no evidence".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Bools, Doubles, Floats
from ..core.errors import InputError
from ..core.numeric import sigmoid
from ..core.types import ActionUnits, Features, Landmarks
from . import geometry
from .au_probabilities import ALPHA, probabilities, robust_scores

#: MediaPipe's 52 blendshapes, in the order in which FaceLandmarker gives them.
BLENDSHAPES: tuple[str, ...] = (
    "_neutral",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "eyeLookDownLeft",
    "eyeLookDownRight",
    "eyeLookInLeft",
    "eyeLookInRight",
    "eyeLookOutLeft",
    "eyeLookOutRight",
    "eyeLookUpLeft",
    "eyeLookUpRight",
    "eyeSquintLeft",
    "eyeSquintRight",
    "eyeWideLeft",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawOpen",
    "jawRight",
    "mouthClose",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthFunnel",
    "mouthLeft",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthPucker",
    "mouthRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "noseSneerLeft",
    "noseSneerRight",
)

#: Blendshapes whose mean stands for an AU.
BLENDSHAPES_OF: dict[str, tuple[str, ...]] = {
    "AU1": ("browInnerUp",),
    "AU2": ("browOuterUpLeft", "browOuterUpRight"),
    "AU4": ("browDownLeft", "browDownRight"),
    "AU5": ("eyeWideLeft", "eyeWideRight"),
    "AU6": ("cheekSquintLeft", "cheekSquintRight"),
    "AU7": ("eyeSquintLeft", "eyeSquintRight"),
    "AU9": ("noseSneerLeft", "noseSneerRight"),
    "AU10": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "AU12": ("mouthSmileLeft", "mouthSmileRight"),
    "AU14": ("mouthDimpleLeft", "mouthDimpleRight"),
    "AU15": ("mouthFrownLeft", "mouthFrownRight"),
    "AU16": ("mouthLowerDownLeft", "mouthLowerDownRight"),
    "AU17": ("mouthShrugLower",),
    "AU18": ("mouthPucker",),
    "AU20": ("mouthStretchLeft", "mouthStretchRight"),
    "AU22": ("mouthFunnel",),
    "AU23": ("mouthPressLeft", "mouthPressRight"),
    "AU24": ("mouthPressLeft", "mouthPressRight"),
    "AU25": ("jawOpen",),
    "AU26": ("jawOpen",),
    "AU28": ("mouthRollUpper", "mouthRollLower"),
}

#: The AUs that `raw_features` measures, in its column order; "U" is one mouth corner raised alone (12 or 14).
GEOMETRIC: tuple[str, ...] = (
    *("AU1", "AU2", "AU4", "AU5", "AU7", "AU9", "AU10", "AU12", "AU15"),
    *("AU17", "AU20", "AU23", "AU24", "AU25", "AU26", "U"),
)

#: AUs that points on a single picture show only faintly (AU6 through its proxy).
WEAK: frozenset[str] = frozenset({"AU6", "AU7", "AU9", "AU10", "AU17", "AU23", "AU24"})

#: Brought to a probability, then multiplied by 1 - p of another AU that moves the same points.
GATED_BY: dict[str, str] = {"AU10": "AU12", "AU17": "AU25", "AU23": "AU25", "AU24": "AU25"}

_BROW_EYE = {
    "eye": ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47)),
    "inner_brow": ((20, 21), (22, 23)),
    "outer_brow": ((17, 18), (25, 26)),
    "brow": ((17, 18, 19, 20, 21), (22, 23, 24, 25, 26)),
    "canthi": ((36, 39), (42, 45)),
    "upper_lid": ((37, 38), (43, 44)),
    "lower_lid": ((40, 41), (46, 47)),
}


def raw_features(points: NDArray[np.floating]) -> Doubles:
    """Measure each AU of `GEOMETRIC` on `points` (N, 68, 2): (N, 16) float64, in eye distances.

    With the eyes level and their distance 1 (u right, v down), M the mean v of the points named,
    h = v62 - M(48, 54) and w = u54 - u48:

        AU1   M(eye) - M(inner brow), both sides' mean     AU12  h + w / 4
        AU2   M(eye) - M(outer brow)                       AU15  -h
        AU4   -[(u22 - u21) + (M(eye) - M(brow)) / 2]      AU17  -(v8 - v57)
        AU5   M(canthi) - M(upper lid)                     AU20  w - 2 max(h, 0)
        AU7   -[M(lower lid) - M(canthi)]                  AU23, AU24  -[(v62 - v51) + (v57 - v66)]
        AU9   -(v33 - v27)                                 AU25  v66 - v62
        AU10  -(v51 - v33)                                 AU26  v8 - v33
                                                           U     |v48 - v54|

    Each rises as the AU contracts and is unchanged by shift, scale and roll. There is no neutral picture of
    the same person: resting shape is read as contraction, which standardizing over a set corrects only on
    average. Rows must be `geometry.usable`.
    """
    aligned = geometry.eye_aligned(points)
    u, v = aligned[..., 0], aligned[..., 1]

    def height(part: str) -> Doubles:
        right, left = _BROW_EYE[part]
        mean: Doubles = 0.5 * (v[:, right].mean(1) + v[:, left].mean(1))
        return mean

    eye, canthi = height("eye"), height("canthi")
    corner = v[:, 62] - 0.5 * (v[:, 48] + v[:, 54])
    width = u[:, 54] - u[:, 48]
    lips = -((v[:, 62] - v[:, 51]) + (v[:, 57] - v[:, 66]))
    columns: dict[str, Doubles] = {
        "AU1": eye - height("inner_brow"),
        "AU2": eye - height("outer_brow"),
        "AU4": -((u[:, 22] - u[:, 21]) + 0.5 * (eye - height("brow"))),
        "AU5": canthi - height("upper_lid"),
        "AU7": -(height("lower_lid") - canthi),
        "AU9": -(v[:, 33] - v[:, 27]),
        "AU10": -(v[:, 51] - v[:, 33]),
        "AU12": corner + 0.25 * width,
        "AU15": -corner,
        "AU17": -(v[:, 8] - v[:, 57]),
        "AU20": width - 2.0 * np.maximum(corner, 0.0),
        "AU23": lips,
        "AU24": lips,
        "AU25": v[:, 66] - v[:, 62],
        "AU26": v[:, 8] - v[:, 33],
        "U": np.abs(v[:, 48] - v[:, 54]),
    }
    return np.stack([columns[name] for name in GEOMETRIC], axis=1)


def from_landmarks(
    landmarks: Landmarks,
    *,
    base_rate: Mapping[str, float] | None = None,
    neutral: Bools | None = None,
    weak: Literal["base-rate", "measured"] = "base-rate",
) -> ActionUnits:
    """Estimate AU probabilities from the geometry of 68 points.

    Each feature of `raw_features` is standardized over the found faces, z = (g - median) / (1.4826 MAD), and
    mapped to (0, 1), p = sigmoid(1.5 (z - tau)). AU10, AU17, AU23 and AU24 are multiplied by 1 - p of the AU that
    moves the same points (`GATED_BY`); AU6 has no landmark of its own and is sqrt(p7 p12).

    Parameters
    ----------
    landmarks : Landmarks
    base_rate : mapping of AU name -> rate in (0, 1), optional
        How often each AU is expected (the prior table's mean over classes). tau is then set for each AU so
        that the mean probability is its rate; otherwise tau = 1.5. An AU named here that points cannot show
        (AU11, AU14, AU16, ...) is given its rate for every face. AUs not named are left out.
    neutral : (N,) bool, optional
        Faces labeled neutral: median and MAD are taken over those found (if at least 20).
    weak : "base-rate" or "measured"
        Whether AUs that single pictures show only faintly (`WEAK`) are given their base rate, or measured.
        Without `base_rate` they are measured. Given their rate, the AU prior agreed better with
        annotators on FER2013's faces than measured.

    Returns
    -------
    ActionUnits
        Quality as in `geometry.quality`. About 1 s for 30,000 faces.
    """
    if weak not in ("base-rate", "measured"):
        raise InputError(f"weak is {weak!r}, expected 'base-rate' or 'measured'.")
    rates = _checked_rates(base_rate)
    found = landmarks.found.copy()
    found[found] = geometry.usable(landmarks.points[found])
    z = robust_scores(raw_features(landmarks.points[found]), _chosen(neutral, found))
    slope = {name: ALPHA * z[:, column] for column, name in enumerate(GEOMETRIC)}
    estimates: dict[str, Doubles] = {}
    for name in sorted(slope, key=lambda name: name in GATED_BY):
        gate = 1.0 - estimates[GATED_BY[name]] if name in GATED_BY else 1.0
        estimates[name] = probabilities(slope[name], rates.get(name), gate)
    proxy = np.sqrt(estimates["AU7"] * estimates["AU12"])
    estimates["AU6"] = probabilities(_logit(proxy), rates.get("AU6"), shift=0.0)
    names = _in_order(rates if base_rate is not None else estimates)
    assumed = [
        a for a in names if base_rate is not None and (a not in estimates or (a in WEAK and weak == "base-rate"))
    ]
    for name in assumed:
        estimates[name] = np.full(int(found.sum()), rates[name])
    spec = {"kind": "au-geometry", "version": 1, "assumed": assumed, "landmarks": dict(landmarks.spec)}
    return _assemble(landmarks, names, estimates, found, geometry.quality(landmarks), spec, rates, neutral)


def from_blendshapes(
    source: Landmarks | Features,
    *,
    base_rate: Mapping[str, float] | None = None,
    neutral: Bools | None = None,
) -> ActionUnits:
    """Estimate AU probabilities from MediaPipe's 52 blendshapes.

    The blendshapes of an AU (`BLENDSHAPES_OF`) are averaged; "U", a corner raised on one side, is
    |smileLeft - smileRight| + |dimpleLeft - dimpleRight|. Their square root (they crowd at 0) is
    standardized, mapped to (0, 1) and matched to the base rate as in `from_landmarks`: the scores themselves are no
    probabilities (those of AU5, AU6 and AU9 hardly leave 0 on any face).

    Parameters
    ----------
    source : Landmarks with blendshapes, or Features with 52 columns in `BLENDSHAPES` order
    base_rate, neutral
        As in `from_landmarks`; AUs that no blendshape shows (AU11) are given their rate.

    Returns
    -------
    ActionUnits
        Quality as in `geometry.quality` from Landmarks, 1 where found from Features.

    Raises
    ------
    InputError
        If `source` has no blendshapes.
    """
    found = source.found
    if isinstance(source, Features):
        values, quality = source.values, found.astype(np.float32)
        if values.shape[1] != len(BLENDSHAPES):
            raise InputError(
                f"View '{source.view}' has {values.shape[1]} columns; MediaPipe's blendshapes are {len(BLENDSHAPES)}."
            )
    elif source.blendshapes is None:
        raise InputError(
            "These landmarks carry no blendshapes. Take them from --landmarks mediapipe, or use the points' geometry."
        )
    else:
        values, quality = source.blendshapes, geometry.quality(source)
    rates = _checked_rates(base_rate)
    shapes = values[found].astype(np.float64)
    if shapes.size and (shapes.min() < -0.01 or shapes.max() > 1.01):
        raise InputError(f"Blendshapes lie in [0, 1]; these run from {shapes.min():.3g} to {shapes.max():.3g}.")
    shapes = shapes.clip(0.0, 1.0)
    column = {name: shapes[:, index] for index, name in enumerate(BLENDSHAPES)}
    score = {name: np.mean([column[shape] for shape in shapes_], axis=0) for name, shapes_ in BLENDSHAPES_OF.items()}
    score["U"] = np.abs(column["mouthSmileLeft"] - column["mouthSmileRight"]) + np.abs(
        column["mouthDimpleLeft"] - column["mouthDimpleRight"]
    )
    names = _in_order(rates if base_rate is not None else score)
    reference = _chosen(neutral, found)
    estimates: dict[str, Doubles] = {}
    for name in names:
        if name in score:
            z = robust_scores(np.sqrt(score[name])[:, None], reference)[:, 0]
            estimates[name] = probabilities(ALPHA * z, rates.get(name))
        else:
            estimates[name] = np.full(int(found.sum()), rates[name])
    assumed = [name for name in names if name not in score]
    spec = {"kind": "au-blendshapes", "version": 1, "assumed": assumed, "source": dict(source.spec)}
    return _assemble(source, names, estimates, found, quality, spec, rates, neutral)


def from_view(
    view: Features,
    *,
    base_rate: Mapping[str, float] | None = None,
    neutral: Bools | None = None,
) -> ActionUnits:
    """Estimate AU probabilities from a view of the user's that holds MediaPipe's 52 blendshapes.

    A vector of 52 numbers need not be blendshapes: the caller decides. See `from_blendshapes`.
    """
    return from_blendshapes(view, base_rate=base_rate, neutral=neutral)


def intensity_probability(intensity: NDArray[np.floating]) -> Doubles:
    """Return sigmoid(2 (I - 1.5)) of FACS intensities 0 to 5 (A to E): .05 at 0, .5 at 1.5, .95 at 3."""
    return sigmoid(2.0 * (np.asarray(intensity, dtype=np.float64) - 1.5))


def _checked_rates(base_rate: Mapping[str, float] | None) -> dict[str, float]:
    rates = {name: float(rate) for name, rate in (base_rate or {}).items()}
    for name, rate in rates.items():
        if not 0.0 < rate < 1.0:
            raise InputError(f"Base rate of {name} is {rate:g}, expected a number between 0 and 1.")
    return rates


def _chosen(neutral: Bools | None, found: Bools) -> Bools | None:
    if neutral is None:
        return None
    if neutral.shape != found.shape:
        raise InputError(f"neutral has shape {neutral.shape}, expected ({len(found)},), a truth value for each face.")
    return np.asarray(neutral[found], dtype=np.bool_)


def _logit(p: Doubles) -> Doubles:
    inside = p.clip(1e-6, 1.0 - 1e-6)
    odds: Doubles = np.log(inside / (1.0 - inside))
    return odds


def _in_order(names: Mapping[str, Any]) -> tuple[str, ...]:
    numbered = sorted((name for name in names if name[2:].isdigit()), key=lambda name: int(name[2:]))
    return (*numbered, *sorted(name for name in names if not name[2:].isdigit()))


def _assemble(
    source: Landmarks | Features,
    names: tuple[str, ...],
    estimates: Mapping[str, Doubles],
    found: Bools,
    quality: Floats,
    spec: dict[str, Any],
    rates: Mapping[str, float],
    neutral: Bools | None,
) -> ActionUnits:
    values = np.zeros((len(found), len(names)), dtype=np.float32)
    if names:
        values[found] = np.stack([estimates[name] for name in names], axis=1).clip(0.0, 1.0)
    spec |= {"base_rate": dict(rates), "neutral": 0 if neutral is None else int((neutral & found).sum())}
    return ActionUnits(source.ids, names, values, found, np.where(found, quality, 0).astype(np.float32), spec)
