"""Gaussian-kernel features of frozen views: what a linear head needs to draw curved borders between classes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.arrays import Bools, Floats, Ints
from ..core.types import Features
from ..similarity.whitening import join, whiten
from .linear import BLOCK

#: Faces that all others are compared with; more changed nothing on 28,709 faces.
CENTERS = 1024
#: Seed of their choice among the faces in the order of their ids.
CENTERS_SEED = 0
#: Directions of the kernel with less than this share of the greatest eigenvalue are rounding, and dropped.
LEAST_EIGENVALUE = 1e-6


def kernel_features(features: Mapping[str, Features], order: Ints, device: str = "cpu") -> tuple[Floats, Bools]:
    """Return features whose inner products are those of a Gaussian kernel on all views, and who has a vector.

    Views are brought to half-whitened components and set side by side (`views.whiten`, `views.join`). With x these rows
    and z_1 .. z_M `CENTERS` faces drawn among those with a vector,

        k(x, z) = exp(-|x - z|^2 / s),    F_i = K_ZZ^(-1/2) k(x_i, z),

    s the median of |z - z'|^2: the Nystrom approximation, exact where all faces are centers. Columns are brought to
    mean 0 and all to a mean squared length of 1; faces without a vector have zeros, as have all where s is 0 (most
    centers are copies of each other).

    Parameters
    ----------
    features : mapping of view -> Features
        Rows in one order; no view twice (`methods.views.distinct_features`), at least one face with a vector.
    order : (N,) int64
        Row numbers: the order of the answer's rows. Sorted ids make the answer independent of row numbers.
    device : str
        A torch device.

    Returns
    -------
    (N, M) float32, (N,) bool

    Cost: O(N M (D + M) + M^3) time, O(N M) memory, D at most 128 a view.

    Source
    ------
    Williams and Seeger, Using the Nystrom Method to Speed Up Kernel Machines, NIPS 2000.
    """
    import torch

    joint = join({name: whiten(view) for name, view in features.items()})
    found: Bools = np.asarray(joint.found)[order]
    x = torch.from_numpy(joint.values[order]).to(device)
    with_vector = np.flatnonzero(found)
    chosen = np.random.default_rng(CENTERS_SEED).choice(
        with_vector, min(CENTERS, len(with_vector)), replace=False, shuffle=False
    )
    centers = x[torch.from_numpy(np.sort(chosen)).to(device)]
    between = torch.cdist(centers.double(), centers.double()).square()
    apart = ~torch.eye(len(centers), dtype=torch.bool, device=between.device)
    scale = float(between[apart].median()) if bool(apart.any()) else 0.0
    if scale <= 0:
        return np.zeros((len(order), len(centers)), dtype=np.float32), found
    value, vector = torch.linalg.eigh(torch.exp(-between / scale))
    keep = value > LEAST_EIGENVALUE * value.max()
    vector = vector[:, keep]
    root = ((vector * value[keep].rsqrt()) @ vector.T).float()
    blocks = torch.split(torch.arange(len(order), device=x.device), BLOCK)
    lengths = (centers**2).sum(1)
    parts = []
    for block in blocks:
        rows = x[block]
        distance = (rows**2).sum(1, keepdim=True) + lengths - 2 * rows @ centers.T
        parts.append(torch.exp(-distance.clamp_min(0) / scale) @ root)
    table: Floats = torch.cat(parts).cpu().numpy()
    table[found] -= table[found].mean(0, dtype=np.float64).astype(np.float32)
    table[~found] = 0
    length = float(np.sqrt(np.einsum("nm,nm->", table, table, dtype=np.float64) / max(int(found.sum()), 1)))
    return (table / max(length, 1e-30)).astype(np.float32), found
