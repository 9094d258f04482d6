"""The builtin model's home: the shipped reference, and what is said where it is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fercleaner.core.errors import FeatureError
from fercleaner.encoders import builtin_home


def test_a_missing_or_damaged_reference(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=r"home\.npz is missing or damaged"):
        builtin_home._read(str(tmp_path / "home.npz"))
    np.savez(tmp_path / "short.npz", center=np.zeros(256))
    with pytest.raises(FeatureError, match=r"short\.npz is missing or damaged.*Reinstall"):
        builtin_home._read(str(tmp_path / "short.npz"))


def test_the_shipped_reference() -> None:
    home = builtin_home.reference()
    count = len(home["classes"])
    assert home["center"].shape == (256,)
    assert home["directions"].shape == (256, 32)
    assert home["means"].shape == home["errors"].shape == (count, 32)
    assert home["posterior"].sum() == pytest.approx(1, abs=0.02)
    assert set(home["classes"].tolist()) == {
        *("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear"),
    }
