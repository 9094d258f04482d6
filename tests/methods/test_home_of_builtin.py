"""The builtin model's home: the shipped reference, and what is said where it is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fercleaner.core.errors import FeatureError
from fercleaner.core.evidence import Evidence
from fercleaner.core.types import Features, Samples
from fercleaner.methods.consensus import external


def test_a_missing_or_damaged_reference(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=r"home\.npz is missing or damaged"):
        external.read_home(tmp_path / "home.npz")
    np.savez(tmp_path / "short.npz", center=np.zeros(256))
    with pytest.raises(FeatureError, match=r"short\.npz is missing or damaged.*Reinstall"):
        external.read_home(tmp_path / "short.npz")


def test_the_shipped_reference() -> None:
    home = external.home()
    count = len(home.classes)
    assert home.center.shape == (256,)
    assert home.directions.shape == (256, 32)
    assert home.means.shape == home.errors.shape == (count, 32)
    assert home.posterior.sum() == pytest.approx(1, abs=0.02)
    assert set(home.classes) == {
        *("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear"),
    }


def test_vectors_of_earlier_weights_have_a_home_of_their_own() -> None:
    now, *before = external.homes()
    assert external.HOMES[0].name == "home.npz"
    assert before
    for home in before:
        label = np.arange(700) % len(home.classes)
        rows = home.means[label] + 0.3 + np.random.default_rng(9).normal(size=(700, home.means.shape[1]))
        values = (home.center + rows @ np.linalg.pinv(home.directions)).astype(np.float32)
        everyone = np.ones(700, dtype=bool)
        ids = np.array([f"f{k}" for k in range(700)])
        given = np.eye(len(home.classes), dtype=np.float32)[label]
        samples = Samples(ids=ids, classes=home.classes, given=given, labeled=everyone, paths=np.full(700, ""))
        view = Features("builtin", ids, values, everyone)
        evidence = Evidence(samples, {"builtin": view})
        assert external.distance_from_home(evidence) == pytest.approx(0.09, abs=0.03)
        far = now.distance(view, samples)
        assert far is not None
        assert external.distance_from_home(evidence) == min(far, home.distance(view, samples) or 0.0)


def test_a_home_that_is_missing_is_an_error_and_no_other_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "HOMES", (tmp_path / "home.npz", *external.HOMES[1:]))
    external.homes.cache_clear()
    try:
        with pytest.raises(FeatureError, match=r"home\.npz is missing or damaged"):
            external.home()
    finally:
        external.homes.cache_clear()
