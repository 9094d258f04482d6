"""The training benchmark keeps what it ran, sets groups apart, and says means over seeds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import training as bench
from beds import Bed

from fercleaner.core.types import Features, Samples


def entry(recipe: str, labels: str, seed: int, accuracy: float, seconds: float = 2.0) -> dict[str, Any]:
    return {
        "settings": {"recipe": recipe, "labels": labels, "seed": seed},
        "last": {"accuracy": accuracy, "mean_recall": 0.5},
        "best": {"accuracy": accuracy + 0.01},
        "cpu_seconds_an_epoch": seconds,
        "total": {"peak_mib": 1000.0},
    }


def test_results_are_kept_by_their_settings_and_averaged_over_seeds(tmp_path: Path) -> None:
    file = tmp_path / "training.json"
    for one in (
        entry("soft", "given", 0, 0.60),
        entry("dnfer", "given", 0, 0.50, 4.0),
        entry("soft", "given", 1, 0.70),
        entry("soft", "given", 0, 0.62),
    ):
        bench.keep(file, one)
    held = bench.held(file)
    assert len(held) == 3
    rows = bench.table(held).splitlines()[2:]
    assert rows[0] == "| soft | given | 0.660 ± 0.057 | 0.500 ± 0.000 | 0.670 | 2.0 s (1.0 x) | 1,000 MiB | 2 |"
    assert rows[1].startswith("| dnfer | given | 0.500 | 0.500 | 0.510 | 4.0 s (2.0 x) |")
    assert bench.held(tmp_path / "none.json") == []


def test_no_group_is_on_both_sides_and_unclear_faces_are_not_tested_on() -> None:
    n, rng = 400, np.random.default_rng(0)
    ids = np.array([f"face {k}" for k in range(n)])
    label = rng.integers(0, 3, n)
    samples = Samples(
        ids, ("a", "b", "c"), np.eye(3)[label], np.ones(n, bool), np.full(n, ""), group=(np.arange(n) // 2).astype(str)
    )
    view = Features("v", ids, rng.normal(size=(n, 2)), np.ones(n, bool))
    bed = Bed("made up", samples, (view,), label, rng.integers(3, 11, n).astype(np.float32))
    learned, tested = bench.split(bed, 100)
    assert len(learned.samples) == 100
    assert len(tested.samples) > 30
    assert not set(learned.samples.group.tolist()) & set(tested.samples.group.tolist())
    assert tested.top.min() >= bench.VOTES
    assert learned.top.min() < bench.VOTES
