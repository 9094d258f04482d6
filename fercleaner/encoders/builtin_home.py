"""How far from home a set of faces is for the builtin model, and the reference that this is measured against.

    from fercleaner.encoders import builtin_home
    home = builtin_home.reference()
    far = builtin_home.distance(embedding, labels)

Home is FER2013's faces that were held back from training. In the first 32 principal components of their embedding, each
divided by its standard deviation, the mean of each class of a set is compared with the mean of that class at home:

    d = mean over classes c of  (|m_c - h_c|^2 - v_c / n_c - u_c / k_c) / 32

with v_c, u_c the summed variances of the set's and home's faces of class c, and n_c, k_c their counts: what sampling
alone would make of it is taken away. FER2013's own faces have about 0, whatever their class mix; it grows with pictures
that the model knows less well (`fercleaner/weights/MODEL_CARD.md`). It goes by the labels as they came.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FeatureError
from .builtin import PANEL, weights_folder

#: Principal components that are kept.
COMPONENTS = 32
#: Classes with fewer faces say nothing.
MIN_FACES = 8
FILE = "home.npz"
KEYS = ("mean", "components", "variance", "class_means", "class_variances", "classes", "counts")


def measure(embedding: NDArray[Any], labels: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the reference that faces at home make.

    Parameters
    ----------
    embedding : (N, 256)
    labels : (N,) str
        Expressions of `builtin.PANEL`; classes of fewer than `MIN_FACES` faces are left out.

    Returns
    -------
    dict
        mean (256,); components (32, 256), orthonormal rows; variance (32,), along each, of all faces;
        class_means (C, 32) and class_variances (C,), in units of these deviations, the latter summed over the
        components; classes (C,) str; counts (C,).
    """
    values = np.asarray(embedding, np.float64)
    mean = values.mean(0)
    spread, vectors = np.linalg.eigh(np.cov((values - mean).T))
    order = np.argsort(spread)[::-1][:COMPONENTS]
    components, variance = vectors[:, order].T, spread[order]
    # Eigenvectors have no sign of their own.
    components = components * np.sign(components[np.arange(len(components)), np.abs(components).argmax(1)])[:, None]
    means, variances, classes, counts = _classes((values - mean) @ components.T / np.sqrt(variance), labels)
    stored = (mean, components, variance, means, variances)
    kept = {key: value.astype(np.float32) for key, value in zip(KEYS[:5], stored, strict=True)}
    return kept | {"classes": np.array(classes), "counts": counts}


def reference() -> Mapping[str, NDArray[Any]]:
    """Return the shipped reference, as `measure` describes it; FeatureError where it is missing or damaged."""
    return _read(str(weights_folder() / FILE))


def distance(embedding: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the squared distance of a set from home, in variances a class; NaN where no class can be compared.

    Parameters
    ----------
    embedding : (N, 256)
        Of the builtin model.
    labels : (N,) str
        Given labels, as expressions of `builtin.PANEL`; others are left out.
    """
    home = reference()
    values = (np.asarray(embedding, np.float64) - home["mean"]) @ home["components"].T.astype(np.float64)
    means, variances, classes, counts = _classes(values / np.sqrt(home["variance"]), labels)
    known = home["classes"].tolist()
    gaps = []
    for mean, variance, name, count in zip(means, variances, classes, counts, strict=True):
        if name in known:
            k = known.index(name)
            noise = variance / count + home["class_variances"][k] / home["counts"][k]
            gaps.append((np.square(mean - home["class_means"][k]).sum() - noise) / COMPONENTS)
    return float(np.mean(gaps)) if gaps else float("nan")


def _classes(
    values: NDArray[np.float64], labels: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str], NDArray[np.int64]]:
    """Return means (C, D), summed variances (C,), names and counts of the classes with enough faces."""
    rows = {name: np.flatnonzero(labels == name) for name in PANEL}
    kept = {name: some for name, some in rows.items() if len(some) >= MIN_FACES}
    width = values.shape[1]
    means = np.array([values[some].mean(0) for some in kept.values()]).reshape(-1, width)
    variances = np.array([values[some].var(0, ddof=1).sum() for some in kept.values()])
    return means, variances, list(kept), np.array([len(some) for some in kept.values()], np.int64)


@functools.lru_cache(maxsize=2)
def _read(path: str) -> Mapping[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in KEYS}
    except (OSError, ValueError, KeyError) as error:
        raise FeatureError(f"{path} is missing or damaged: {error} Reinstall fercleaner.") from error
