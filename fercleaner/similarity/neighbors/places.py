"""Faces by place: the nearest center of k-means, so that faces that are alike stand together."""

from __future__ import annotations

import numpy as np

from ...core.arrays import Floats, Ints
from .backend import import_faiss

#: Faces around one center, centers at most, faces a center that k-means looks at, and its rounds.
FACES_A_PLACE, MOST_PLACES, FACES_TRAINED, ROUNDS = 256, 2048, 48, 6


def places(vectors: Floats) -> tuple[Ints, Floats]:
    """Return the place of every vector, (N,) int64 from 0, and the centers of the places, (C, D) float32.

    Centers are unit rows; a single one is the mean.

    Cost: N C D operations at the speed of a matrix product, C = N / `FACES_A_PLACE`, at most `MOST_PLACES`.
    """
    faiss = import_faiss()
    n, d = vectors.shape
    count = max(1, min(n // FACES_A_PLACE, MOST_PLACES))
    if count == 1:
        return np.zeros(n, dtype=np.int64), vectors.mean(0, keepdims=True, dtype=np.float64).astype(np.float32)
    means = faiss.Kmeans(
        d,
        count,
        niter=ROUNDS,
        spherical=True,
        seed=0,
        min_points_per_centroid=1,
        max_points_per_centroid=FACES_TRAINED,
    )
    means.train(vectors)
    own = faiss.knn(vectors, means.centroids, 1, metric=faiss.METRIC_INNER_PRODUCT)[1][:, 0]
    return own.astype(np.int64), means.centroids


def by_place(vectors: Floats) -> Ints:
    """Return an order of the rows in which those of one place stand together, (N,)."""
    order: Ints = np.argsort(places(vectors)[0], kind="stable").astype(np.int64)
    return order
