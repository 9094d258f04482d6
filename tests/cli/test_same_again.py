"""The same input, seed and number of threads give the same bytes; another number of threads moves nothing past 2e-6."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from cli_runs import labeled_vectors, process

import fercleaner

#: What another number of threads may move a distribution, and how near to its threshold a flag may then lie.
CLOSE = 2e-6


def refined(folder: Path, method: str, threads: int, name: str) -> Path:
    words = ("refine", "faces.csv", "--view", "v=v.npy", "--method", method, "--device", "cpu", "--out", name)
    done = process(*words, cwd=folder, OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))
    assert done.returncode == 0, done.stderr
    return folder / name


@pytest.mark.parametrize("method", ["hypergraph", "consensus"])
def test_same_bytes_at_one_number_of_threads_and_close_at_another(method, tmp_path):
    labeled_vectors(tmp_path, n=600, wrong=60)
    one, again = (refined(tmp_path, method, 1, name) for name in ("one.parquet", "again.parquet"))
    assert hashlib.sha256(one.read_bytes()).digest() == hashlib.sha256(again.read_bytes()).digest()
    first, second = fercleaner.load(one), fercleaner.load(refined(tmp_path, method, 2, "two.parquet"))
    assert first.ids.tolist() == second.ids.tolist()
    assert np.abs(first.distribution - second.distribution).max() <= CLOSE
    assert np.abs(first.quality - second.quality).max() <= CLOSE
    # A flag that differs belongs to a face whose quality is that of the threshold: the largest quality flagged.
    unlike = first.flagged != second.flagged
    threshold = max(first.quality[first.flagged].max(), second.quality[second.flagged].max())
    assert (np.abs(first.quality[unlike] - threshold) <= CLOSE).all()
