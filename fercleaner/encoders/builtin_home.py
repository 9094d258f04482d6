"""What the builtin model's embedding looks like at home: the reference by which a set's distance from it is measured.

    home = builtin_home.reference()
    rows = (embedding - home["center"]) @ home["directions"]

Home is FER2013's faces that were held back from training, under the labels that they came with. With m_c the mean of a
set's faces of class c in `rows`, h_c that at home and e their sampling variances, the set's distance is the mean over
classes and components of (m_c - h_c)^2 - e(m_c) - e(h_c): about 0 for FER2013's own faces, whatever their class mix,
and larger for pictures that the model knows less well. `benchmarks/builtin_home.py` makes the file for new weights.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import FeatureError
from .builtin import weights_folder

FILE = "home.npz"
KEYS = ("classes", "center", "directions", "means", "errors", "posterior")


def reference() -> Mapping[str, NDArray[Any]]:
    """Return the shipped reference; FeatureError where it is missing or damaged.

    classes (K,) str; center (256,), the mean embedding; directions (256, 32), its principal components, each over its
    standard deviation; means and errors (K, 32), of each class in these components and the sampling variance of the
    mean; posterior (K,), the mean posterior of each class.
    """
    return _read(str(weights_folder() / FILE))


@functools.lru_cache(maxsize=2)
def _read(path: str) -> Mapping[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in KEYS}
    except (OSError, ValueError, KeyError) as error:
        raise FeatureError(f"{path} is missing or damaged: {error} Reinstall fercleaner.") from error
