"""The builtin model's home: what is kept of its faces, and that it is shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fercleaner.core.errors import FeatureError
from fercleaner.encoders import builtin_home


def test_the_reference_by_scikit_learn() -> None:
    pca = pytest.importorskip("sklearn.decomposition").PCA(32, svd_solver="full")
    rng = np.random.default_rng(0)
    labels = np.repeat(["neutral", "sadness", "fear"], [400, 300, 5])
    values = (rng.normal(size=(705, 256)) + (labels == "sadness")[:, None]) @ rng.normal(size=(256, 256)) / 16
    posterior = rng.dirichlet(np.ones(8), 705)
    home = builtin_home.measure(values, labels, posterior)
    scores = pca.fit_transform(values) / np.sqrt(pca.explained_variance_)
    rows = (values - home["center"]) @ home["directions"]
    np.testing.assert_allclose(np.abs(rows), np.abs(scores), atol=1e-3)
    assert home["classes"].tolist() == ["neutral", "sadness"]
    sad = scores[labels == "sadness"]
    np.testing.assert_allclose(np.abs(home["means"][1]), np.abs(sad.mean(0)), atol=1e-4)
    np.testing.assert_allclose(home["errors"][1], sad.var(0, ddof=1) / 300, rtol=1e-3)
    np.testing.assert_allclose(home["posterior"], posterior[:, [0, 3]].mean(0), rtol=1e-5)


def test_a_missing_reference(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=r"home\.npz is missing or damaged"):
        builtin_home._read(str(tmp_path / "home.npz"))


def test_the_shipped_reference() -> None:
    home = builtin_home.reference()
    assert home["directions"].shape == (256, 32)
    assert set(home["classes"].tolist()) == {
        *("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear"),
    }
