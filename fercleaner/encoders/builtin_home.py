"""What the builtin model's embedding looks like at home: the reference by which a set's distance from it is measured.

    home = builtin_home.reference()
    rows = (embedding - home["center"]) @ home["directions"]

Home is FER2013's faces that were held back from training, under the labels that they came with. With m_c the mean of a
set's faces of class c in `rows`, h_c that at home and e their sampling variances, the set's distance is the mean over
classes and components of (m_c - h_c)^2 - e(m_c) - e(h_c): about 0 for FER2013's own faces, whatever their class mix,
and larger for pictures that the model knows less well. `benchmarks/builtin_finish.py` makes the file for new weights.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import FeatureError
from .builtin import EXPRESSIONS, weights_folder

#: Principal components that are kept. Classes of fewer faces are left out.
COMPONENTS, MIN_FACES = 32, 8
FILE = "home.npz"
KEYS = ("classes", "center", "directions", "means", "errors", "posterior")


def measure(embedding: NDArray[Any], labels: NDArray[Any], posterior: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the reference that faces at home make.

    Parameters
    ----------
    embedding : (N, D)
    labels : (N,) str
        Given labels, as expressions of `builtin.EXPRESSIONS`.
    posterior : (N, 8)
        Of the builtin model, in the order of `builtin.EXPRESSIONS`.

    Returns
    -------
    dict
        classes (K,) str; center (D,), the mean; directions (D, 32), principal components, each over its standard
        deviation; means and errors (K, 32), of each class in these components and the sampling variance of the mean;
        posterior (K,), the mean posterior of each class.
    """
    values = np.asarray(embedding, np.float64)
    center = values.mean(0)
    variance, vectors = np.linalg.eigh(np.cov((values - center).T))
    order = np.argsort(variance)[::-1][:COMPONENTS]
    directions = vectors[:, order] / np.sqrt(variance[order])
    rows = (values - center) @ directions
    classes = [name for name in EXPRESSIONS if (labels == name).sum() >= MIN_FACES]
    faces = [rows[labels == name] for name in classes]
    return {
        "classes": np.array(classes),
        "center": center.astype(np.float32),
        "directions": directions.astype(np.float32),
        "means": np.stack([some.mean(0) for some in faces]).astype(np.float32),
        "errors": np.stack([some.var(0, ddof=1) / len(some) for some in faces]).astype(np.float32),
        "posterior": posterior[:, [EXPRESSIONS.index(name) for name in classes]].mean(0).astype(np.float32),
    }


def reference() -> Mapping[str, NDArray[Any]]:
    """Return the shipped reference, as `measure` describes it; FeatureError where it is missing or damaged."""
    return _read(str(weights_folder() / FILE))


@functools.lru_cache(maxsize=2)
def _read(path: str) -> Mapping[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in KEYS}
    except (OSError, ValueError, KeyError) as error:
        raise FeatureError(f"{path} is missing or damaged: {error} Reinstall fercleaner.") from error
