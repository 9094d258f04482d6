"""Vectors of large sets lie in a mapped file: the same bits, nothing left behind, memory where there is no room."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from fercleaner.core.types import Samples
from fercleaner.encoders.hog import Hog
from fercleaner.extraction import on_disk
from fercleaner.extraction.cache import FeatureCache
from fercleaner.extraction.images import ArrayImages
from fercleaner.extraction.run import vectors_of


def run(cache: FeatureCache | None) -> np.ndarray:
    pictures = np.random.default_rng(0).integers(0, 255, (12, 48, 48), dtype=np.uint8)
    ids = np.array([f"face {k:02d}" for k in range(12)])
    samples = Samples(
        ids,
        ("happiness", "sadness"),
        np.eye(2, dtype=np.float32)[np.arange(12) % 2],
        np.ones(12, bool),
        paths=np.full(12, ""),
        images=ArrayImages(pictures),
    )
    values: np.ndarray = vectors_of(samples, Hog(), cache=cache, workers=0).values
    return values


def kinds(folder: Path) -> set[str]:
    return {path.suffix for path in folder.rglob("*") if path.is_file()}


def test_mapped_values_are_the_same_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = run(FeatureCache(tmp_path / "plain"))
    monkeypatch.setattr(on_disk, "MAPPED_FROM", 1)
    mapped = run(FeatureCache(tmp_path / "mapped"))
    assert mapped.tobytes() == plain.tobytes()
    assert isinstance(mapped.base, np.memmap)  # not copied into memory on the way
    assert kinds(tmp_path / "mapped") == kinds(tmp_path / "plain")


def test_a_sealed_table_is_one_mapping_that_nobody_can_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_disk, "MAPPED_FROM", 1)
    table = on_disk.MappedTable(3, 2, tmp_path)
    assert isinstance(table.values, np.memmap)
    table.values[1] = 5
    held = table.sealed()
    assert isinstance(held, np.memmap)
    assert held.tolist() == [[0, 0], [5, 5], [0, 0]]
    with pytest.raises(ValueError, match="read-only"):
        held[0] = 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["here", None])
def test_without_room_it_is_in_memory(folder: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(on_disk, "MAPPED_FROM", 1)
    monkeypatch.setattr(os, "posix_fallocate", full)
    table = on_disk.MappedTable(3, 2, None if folder is None else tmp_path / folder)
    assert not isinstance(table.values, np.memmap)
    assert not table.sealed().flags.writeable
    assert kinds(tmp_path) == set()
