"""project_set(): an embedding to take away, learned from refined labels and facial geometry."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np

from ..core.arrays import Doubles
from ..core.errors import InputError
from ..core.files import replacing
from ..core.refined import RefinedSet
from ..core.text import shown
from ..core.types import Features, Samples
from ..methods.base import Method
from ..methods.landmark.contrast import SHARE, fit_projection
from ..similarity.whitening import joined
from .inputs import Callbacks, Resources, Sources
from .refine import LANDMARKS, gather


@dataclass(frozen=True)
class _Asked:
    """What the projection looks at, in a method's words."""

    needs: ClassVar[frozenset[str]] = frozenset({"features", "landmarks"})
    optional: ClassVar[frozenset[str]] = frozenset()


def project_set(
    samples: Samples,
    refined: RefinedSet,
    sources: Sources,
    resources: Resources | None = None,
    callbacks: Callbacks | None = None,
    *,
    dimensions: int = 64,
    share: float = SHARE,
) -> Features:
    """Return the expression views with what `contrast.fit_projection` learned from `refined` beside them.

    Faces whose refined labels are confidently the same are drawn together across expression and landmark space.
    Sets of fewer than a few hundred faces are too small to learn from (`contrast.STEPS`).

    Parameters
    ----------
    samples : Samples
    refined : RefinedSet
        Labels to train on, matched by id. Faces that it does not hold are projected and not trained on.
    sources : Sources
        Expression views (encoders, vectors) and landmarks; all expression views are set side by side.
    dimensions : int
        Of the learned part.
    share : float in [0, 1]
        Share of the learned part in the cosine of two faces.

    Returns
    -------
    Features
        View "contrast", rows of length 1: columns of the views side by side, then the learned ones. Labels drew
        these faces together, so that neighbors among them are no source about the same labels: for training,
        retrieval and display, not for `refine`.

    Raises
    ------
    InputError
        No expression view, no landmarks, or a refined set over other faces.
    """
    if dimensions < 1:
        raise InputError(f"dimensions is {dimensions}; the learned part needs at least 1.")
    if not 0 <= share <= 1:
        raise InputError(f"share = {share} must lie in [0, 1].")
    resources, callbacks = resources or Resources(), callbacks or Callbacks()
    bank = _bank(samples, refined, callbacks)
    evidence = gather(samples, cast(Method, _Asked()), sources, resources, callbacks)
    views = {name: view for name, view in evidence.features.items() if name != LANDMARKS}
    if not views:
        raise InputError("The projection needs an expression view: add --encoder or --view NAME=FILE.")
    if LANDMARKS not in evidence.features:
        raise InputError(
            "The projection needs landmarks: add --landmarks builtin, face-alignment, mediapipe or points:FILE."
        )
    expression = joined(views)
    projection = fit_projection(
        expression,
        evidence.features[LANDMARKS],
        bank,
        np.random.default_rng(resources.seed),
        dimensions=dimensions,
        progress=callbacks.stage("projection"),
    )
    return projection.apply(expression, share=share)


def write_vectors(features: Features, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write `ids` (N,) str and `values` (N, D) float32 as .npz, NaN where a face has no vector.

    `--view NAME=FILE` and `encoders.vectors.read_view` read it.

    Raises
    ------
    InputError
        The ending is another one.
    StoreError
        The file exists and `overwrite` is False, or cannot be written.
    """
    check_ending(path)
    values = np.where(features.found[:, None], features.values, np.float32(np.nan))
    with replacing(path, overwrite) as stream:
        np.savez(stream, ids=features.ids, values=values)


def check_ending(path: str | os.PathLike[str]) -> None:
    """Raise InputError unless `path` ends in .npz."""
    if not os.fspath(path).lower().endswith(".npz"):
        raise InputError(f"{os.fspath(path)}: vectors are written as .npz; give the file that ending.")


def _bank(samples: Samples, refined: RefinedSet, callbacks: Callbacks) -> Doubles:
    """Return the refined distribution of each face of `samples`, uniform where there is none, (N, C)."""
    at = {face: row for row, face in enumerate(refined.ids.tolist())}
    rows = np.array([at.get(face, -1) for face in samples.ids.tolist()])
    missing = int((rows < 0).sum())
    if missing == len(samples):
        raise InputError(
            f"None of the {len(samples):,} faces of this set (first: {shown(samples.ids[0])}) is in the refined file "
            f"(first: {shown(refined.ids[0])}). Name the file that was made from this set: --refined FILE."
        )
    if missing:
        callbacks.note(f"{missing:,} of {len(samples):,} faces are not in the refined file; they are not trained on.")
    distribution = refined.distribution.astype(np.float64)
    bank: Doubles = np.where((rows >= 0)[:, None], distribution[rows], 1.0 / distribution.shape[1])
    return bank
