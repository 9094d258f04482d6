"""Exports that cannot be written, or whose pictures are gone: one short error that names how many, and the way out."""

from __future__ import annotations

import errno
import os
import shutil

import dataset_builders as build
import numpy as np
import pytest
from review_cases import refined_set

from fercleaner import read
from fercleaner.core.errors import StoreError
from fercleaner.results.export import export_to


@pytest.fixture
def full(monkeypatch):
    """A disk that takes no picture, and arrays in part alone."""

    def copy(source, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(source))

    monkeypatch.setattr(shutil, "copy2", copy)
    monkeypatch.setattr(shutil, "copyfile", copy)


def test_a_disk_that_is_full_is_said_once_and_names_the_export(tmp_path, full):
    source = build.rafdb(tmp_path / "rafdb", [1, 2, 3] * 4)
    samples = read(source)
    refined = refined_set(
        ids=samples.ids.tolist(), classes=samples.classes, paths=samples.paths, metadata={"method": "x"}
    )
    for target in ("rafdb", "folders"):
        with pytest.raises(StoreError) as error:
            export_to(refined, target, tmp_path / "out", source=source, samples=samples, pictures="copy")
        assert str(error.value) == (f"{tmp_path / 'out'}: the disk is full. Free some space, or choose another name.")
    assert sorted(os.listdir(tmp_path)) == ["rafdb"]


def test_arrays_on_a_full_disk_name_it(tmp_path, monkeypatch):
    from pathlib import Path

    def write_bytes(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(StoreError, match=r"out: the disk is full\. Free some space"):
        export_to(refined_set(9), "cleanlab", tmp_path / "out")
    monkeypatch.undo()
    export_to(refined_set(9), "cleanlab", tmp_path / "out")
    assert np.load(tmp_path / "out" / "pred_probs.npy").shape == (9, 4)


@pytest.mark.parametrize("target", ["folders", "huggingface"])
def test_deleted_pictures_are_counted_before_anything_is_written(tmp_path, target):
    source = build.rafdb(tmp_path / "rafdb", [1, 2, 3] * 4)
    samples = read(source)
    refined = refined_set(
        ids=samples.ids.tolist(), classes=samples.classes, paths=samples.paths, metadata={"method": "x"}
    )
    for path in samples.paths[[2, 5, 7]]:
        os.remove(path)
    with pytest.raises(StoreError) as error:
        export_to(refined, target, tmp_path / "out", source=source, samples=samples)
    assert f"3 of 12 pictures are not where they should be; first: {samples.paths[2]}." in str(error.value)
    assert "--images DIR" in str(error.value)
    assert "If they are gone for good, refine the set without them." in str(error.value)
    assert ("--pictures none" in str(error.value)) == (target == "huggingface")
