"""How far from home a set is: the reference, and the distance that is measured against it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fercleaner.encoders import builtin_home
from fercleaner.errors import FeatureError

MIXING = np.random.default_rng(0).normal(size=(256, 256)) / 16


def faces(counts: dict[str, int], seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of made-up faces: each expression around its own mean, all of them moved by `shift` along one way."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(list(counts), list(counts.values()))
    means = np.random.default_rng(1).normal(size=(8, 256)) * 0.7
    codes = [builtin_home.PANEL.index(name) for name in labels]
    values = means[codes] + rng.normal(size=(len(labels), 256)) + shift
    return values @ MIXING, labels


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    made = builtin_home.measure(*faces({"neutral": 900, "happiness": 700, "sadness": 400, "fear": 5}, 2))
    monkeypatch.setattr(builtin_home, "reference", lambda: made)
    return made


def test_the_reference_by_scikit_learn(home: dict[str, np.ndarray]) -> None:
    pca = pytest.importorskip("sklearn.decomposition").PCA(32, svd_solver="full")
    values, labels = faces({"neutral": 900, "happiness": 700, "sadness": 400, "fear": 5}, 2)
    scores = pca.fit_transform(values)
    np.testing.assert_allclose(home["variance"], pca.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(np.abs((home["components"] * pca.components_).sum(1)), 1, atol=1e-3)
    assert home["classes"].tolist() == ["neutral", "happiness", "sadness"]
    assert home["counts"].tolist() == [900, 700, 400]
    want = (scores[labels == "sadness"] / np.sqrt(pca.explained_variance_)).mean(0)
    np.testing.assert_allclose(np.abs(home["class_means"][2]), np.abs(want), atol=1e-3)


def test_a_set_like_home_is_near_whatever_its_class_mix() -> None:
    for seed, counts in enumerate(({"neutral": 30, "happiness": 60}, {"sadness": 200, "neutral": 9})):
        assert abs(builtin_home.distance(*faces(counts, 10 + seed))) < 0.02


def test_a_set_that_was_moved_is_far() -> None:
    counts = {"neutral": 300, "happiness": 200, "sadness": 100}
    near, far, further = (builtin_home.distance(*faces(counts, 20, shift)) for shift in (0.0, 0.3, 0.6))
    assert near < 0.01 < far
    assert further == pytest.approx(4 * far, rel=0.4)


def test_sets_without_a_class_to_compare_have_no_distance() -> None:
    assert np.isnan(builtin_home.distance(*faces({"neutral": 7}, 3)))
    assert np.isnan(builtin_home.distance(*faces({"disgust": 50}, 3)))


def test_a_missing_reference(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=r"home\.npz is missing or damaged"):
        builtin_home._read(str(tmp_path / "home.npz"))


def test_the_shipped_reference() -> None:
    shipped = builtin_home._read(str(builtin_home.weights_folder() / builtin_home.FILE))
    np.testing.assert_allclose(shipped["components"] @ shipped["components"].T, np.eye(32), atol=1e-4)
    assert shipped["mean"].shape == (256,)
    assert set(shipped["classes"]) >= {"neutral", "happiness", "surprise", "sadness", "anger", "fear"}
