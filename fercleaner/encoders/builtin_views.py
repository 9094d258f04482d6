"""What one pass of the builtin network gives for a set: embedding, landmarks, posteriors over its classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.arrays import Bools, Floats, Strings
from ..core.errors import InputError
from ..core.expressions import canonical
from ..core.types import Features, Landmarks, Posteriors, Samples
from .builtin import EXPRESSIONS, MIN_CONFIDENCE, NO_LANDMARKS, WIDTHS

#: Below this share of the posterior on the set's classes, the builtin model has no evidence about a face.
MIN_MASS = 1e-3


@dataclass(frozen=True, eq=False)
class BuiltinViews:
    """What one pass of the builtin network gives for a set.

    Parameters
    ----------
    features : Features
        The expression embedding, view "builtin".
    landmarks : Landmarks
        With blendshapes, for `action_units.from_blendshapes`; pixels of the face crop.
    posteriors : Posteriors or None
        The builtin model's posteriors over the set's classes, source "builtin"; None where `reason` says why.
    trained_on : (N,) bool
        Whether the network has seen this very picture's votes in training; its posterior is then no judgment
        but a memory, and figures made with it are not honest.
    reason : str
        Why there are no posteriors; "" where there are.
    """

    features: Features
    landmarks: Landmarks
    posteriors: Posteriors | None
    trained_on: Bools
    reason: str = ""


def split(
    samples: Samples,
    values: Floats,
    found: Bools,
    notes: Strings | Sequence[str],
    spec: Mapping[str, Any],
    *,
    keep_trained_on: bool = False,
) -> BuiltinViews:
    """Take the vectors of an extraction with all `PARTS` apart.

    Parameters
    ----------
    samples : Samples
        The set that was extracted, for ids and class names.
    values : (N, 454) float32
    found : (N,) bool
    notes : (N,) str
    spec : mapping
        The extractor's.
    keep_trained_on : bool
        Give posteriors also to pictures that the network was trained on. Off: such a face has none.

    Raises
    ------
    InputError
        If `values` does not hold all parts.
    """
    if values.shape[1] != sum(WIDTHS.values()):
        raise InputError(f"{values.shape[1]} columns are not all parts of builtin ({sum(WIDTHS.values())}).")
    edges = np.cumsum(list(WIDTHS.values()))[:-1]
    embedding, votes, shape, seen = np.split(values, edges, axis=1)
    trained_on = found & (seen[:, 0] > 0.5)
    texts = np.asarray(notes, dtype=np.str_)
    features = Features("builtin", samples.ids, embedding, found, dict(spec), texts)
    landmarks = landmarks_of(samples, shape, found, texts, spec)
    there = found if keep_trained_on else found & ~trained_on
    posteriors, reason = builtin_posteriors(samples, votes, there)
    return BuiltinViews(features, landmarks, posteriors, trained_on, reason)


def landmarks_of(samples: Samples, shape: Floats, found: Bools, notes: Strings, spec: Mapping[str, Any]) -> Landmarks:
    """Return the landmarks of "landmarks" columns (N, 189); faces below `MIN_CONFIDENCE` are not found."""
    sure = found & (shape[:, 136] >= MIN_CONFIDENCE)
    texts = np.where(sure, "", np.where(found, NO_LANDMARKS, notes)).astype(np.str_)
    kept = np.where(sure[:, None], shape, np.float32(0))
    points = kept[:, :136].reshape(-1, 68, 2)
    return Landmarks(samples.ids, points, sure, kept[:, 136], kept[:, 137:], dict(spec), texts)


def builtin_posteriors(samples: Samples, votes: Floats, found: Bools) -> tuple[Posteriors | None, str]:
    """Return the builtin model's posteriors (N, 8) over the set's classes, renormalized, or None and the reason.

    Every class of the set must be one of the builtin model's eight expressions: a class that it does not know
    cannot be given its share.
    """
    names = [canonical(name) for name in samples.classes]
    unknown = [name for name, plain in zip(samples.classes, names, strict=True) if plain not in EXPRESSIONS]
    if unknown:
        return None, (
            f"the builtin model knows {', '.join(EXPRESSIONS)}, and this set has {', '.join(unknown)} too; "
            "it gives no posteriors."
        )
    if len(set(names)) < len(names):
        return (
            None,
            "two classes of this set are the same expression for the builtin model; it gives no posteriors.",
        )
    share = votes[:, [EXPRESSIONS.index(name) for name in names]].astype(np.float64)
    mass = share.sum(1)
    there = found & (mass >= MIN_MASS)
    values = np.where(there[:, None], share / np.where(there, mass, 1.0)[:, None], 0.0).astype(np.float32)
    return Posteriors("builtin", samples.ids, samples.classes, values, there), ""
