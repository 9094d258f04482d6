"""The map of the faces: every face as a point, near where faces like it are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..core.arrays import Bools, Doubles, Floats
from ..core.errors import InputError, MissingDependency
from ..core.refined import RefinedSet
from ..core.types import Features

MapLayout = Literal["pca", "tsne"]
LAYOUTS: tuple[MapLayout, ...] = ("pca", "tsne")
#: Principal components that t-SNE is given.
TSNE_COMPONENTS = 50


@dataclass(frozen=True, eq=False)
class Spread:
    """Points of a map.

    Parameters
    ----------
    points : (N, 2) float32 in [0, 1]
        x right, y up; 0 where not found.
    found : (N,) bool
    source : str
        What was laid out, in words.
    layout : str
    explained : tuple of 2 floats, or empty
        Share of the variance along each axis, for PCA.
    """

    points: Floats
    found: Bools
    source: str
    layout: str
    explained: tuple[float, ...]


def laid_out(refined: RefinedSet, joint: Features | None, layout: str = "pca", seed: int = 0) -> Spread:
    """Lay the faces out in the plane.

    Parameters
    ----------
    refined : RefinedSet
    joint : Features, optional
        Vectors of its faces. Without them the refined distributions are laid out (their square roots): faces of like
        labels then lie together, whatever they look like.
    layout : {"pca", "tsne"}
        Principal components, or openTSNE (extra "map") started from them.
    seed : int

    Raises
    ------
    InputError, MissingDependency
        Another layout; openTSNE is not installed.

    Cost: PCA O(N D^2); t-SNE about a minute for 30,000 faces on two cores.
    """
    if layout not in LAYOUTS:
        raise InputError(f"--map {layout}: choose one of {', '.join(LAYOUTS)}.")
    if joint is None:
        values, found = np.sqrt(refined.distribution.astype(np.float64)), np.ones(len(refined), dtype=np.bool_)
        source = "refined distributions (no vectors were at hand)"
    else:
        values, found = joint.values.astype(np.float64), joint.found
        named = joint.spec.get("views", [joint.view])
        source = f"views: {', '.join(map(str, named))}"
    points = np.zeros((len(refined), 2), dtype=np.float32)
    if found.sum() < 3:
        return Spread(points, found & False, source, layout, ())
    parts, explained = components(values[found], TSNE_COMPONENTS if layout == "tsne" else 2)
    flat = _tsne(parts, seed) if layout == "tsne" else parts[:, :2]
    low, high = np.quantile(flat, 0.001, axis=0), np.quantile(flat, 0.999, axis=0)
    points[found] = np.clip((flat - low) / np.where(high > low, high - low, 1.0), 0, 1)
    return Spread(points, found, source, layout, tuple(explained[:2].tolist()) if layout == "pca" else ())


def components(values: Doubles, count: int) -> tuple[Doubles, Doubles]:
    """Return the first principal components (N, count) and the share of variance of each; signs are fixed.

    Each direction is turned so that its entry of largest size is positive.
    """
    centered = values - values.mean(0)
    variance, directions = np.linalg.eigh(centered.T @ centered / len(values))
    order = np.argsort(-variance, kind="stable")[:count]
    directions = directions[:, order]
    largest = directions[np.abs(directions).argmax(0), np.arange(len(order))]
    parts: Doubles = centered @ (directions * np.where(largest < 0, -1.0, 1.0))
    if parts.shape[1] < 2:
        parts = np.pad(parts, ((0, 0), (0, 2 - parts.shape[1])))
    total = max(float(variance.sum()), 1e-30)
    return parts, np.pad(np.maximum(variance[order], 0) / total, (0, max(0, 2 - len(order))))


def _tsne(parts: Doubles, seed: int) -> Any:
    try:
        import openTSNE
    except ImportError as error:
        raise MissingDependency("openTSNE", "A map by t-SNE", extra="map") from error
    start = parts[:, :2] / max(float(parts[:, 0].std()), 1e-12) * 1e-4
    made = openTSNE.TSNE(
        perplexity=min(30, max(2, (len(parts) - 1) // 3)), initialization=start, random_state=seed, n_jobs=1
    )
    return np.asarray(made.fit(parts))
