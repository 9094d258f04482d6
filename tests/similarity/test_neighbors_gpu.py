"""Neighbors on a GPU, as far as a machine without one can tell: torch's products on the CPU, and who is asked when."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fercleaner.core.devices import full_precision
from fercleaner.core.errors import InputError
from fercleaner.core.types import Features
from fercleaner.similarity.neighbors import backend, blocks, exact, nearest, search
from fercleaner.similarity.whitening import unit_rows

torch = pytest.importorskip("torch")


def ties(n=90):
    """Vectors of which many are equally near."""
    values = unit_rows(np.random.default_rng(13).choice([-1.0, 0.0, 1.0], (n, 6)).astype(np.float32))
    return Features("clip", np.array([f"f{i:03d}" for i in range(n)]), values, np.ones(n, dtype=bool))


@pytest.mark.parametrize(("queries", "vectors"), [(1024, 65_536), (7, 16), (1, 1)])
def test_products_in_torch_find_what_faiss_finds(monkeypatch, queries, vectors):
    """The search of GPUs that FAISS does not see, on the CPU: same neighbors, same ties, same groups, bit by bit."""
    monkeypatch.setattr(blocks, "QUERIES", queries)
    monkeypatch.setattr(blocks, "VECTORS", vectors)
    view = ties()
    apart = np.array([f"g{i}" for i in np.random.default_rng(0).integers(0, 40, 90)])
    flat = nearest(view, 9, apart=apart, center=False, device="cpu")
    monkeypatch.setattr(search, "exact", lambda vectors, device: blocks.blocks(vectors, device))
    products = nearest(view, 9, apart=apart, center=False, device="cpu")
    assert np.array_equal(flat.indices, products.indices)
    assert np.array_equal(flat.similarity, products.similarity)
    assert products.search == {"index": "exact", "device": "cpu", "by": "torch"}


def test_of_fewer_vectors_than_wanted_all_are_named_then_none():
    near = blocks.blocks(np.eye(3, dtype=np.float32), "cpu").candidates(np.eye(3, dtype=np.float32)[:2], 5)
    assert near.shape == (2, 5)
    assert near[:, 0].tolist() == [0, 1]
    assert np.sort(near, 1).tolist() == [[-1, -1, 0, 1, 2]] * 2


def test_torch_searches_where_it_alone_sees_a_gpu(monkeypatch):
    asked = []
    monkeypatch.setattr(backend, "faiss_gpus", lambda: 0)
    monkeypatch.setattr(exact, "faiss_gpus", lambda: 0)
    monkeypatch.setattr(backend, "count_torch_gpus", lambda: 2)
    monkeypatch.setattr(blocks, "blocks", lambda vectors, device: asked.append(device))
    for device in ("auto", "cuda", "cuda:1", "cpu"):
        exact.exact(np.eye(3, dtype=np.float32), device)
    assert asked == ["cuda", "cuda", "cuda:1"]
    with pytest.raises(InputError, match="--device cuda:2: FAISS or torch sees 2 GPU here"):
        backend.use_gpu("cuda:2")


def test_all_pairs_are_compared_on_a_gpu_however_large_the_set(monkeypatch):
    monkeypatch.setattr(backend, "faiss_gpus", lambda: 1)
    assert backend.chosen("auto", 10**7, "cuda") == "exact"
    assert backend.chosen("auto", 10**7, "cpu") == "hnsw"
    assert backend.chosen("ivf", 10**7, "cuda") == "ivf"


def test_an_index_stays_on_the_cpu_where_torch_alone_sees_a_gpu(monkeypatch):
    monkeypatch.setattr(backend, "faiss_gpus", lambda: 0)
    monkeypatch.setattr(backend, "count_torch_gpus", lambda: 1)
    assert backend.to_gpu(None, "index", "cuda") == "index"


def test_torch_is_not_loaded_to_learn_that_there_is_no_gpu():
    code = (
        "import sys; from fercleaner.core import devices; devices._has_driver = lambda: False; "
        "from fercleaner.similarity.neighbors import use_gpu; "
        "print(devices.count_torch_gpus(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False"]


def test_tensorfloat_is_off_inside_and_as_it_was_after():
    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [flag.allow_tf32 for flag in flags]
    try:
        for flag in flags:
            flag.allow_tf32 = True
        with full_precision():
            assert [flag.allow_tf32 for flag in flags] == [False, False]
        with pytest.raises(ValueError, match="stop"), full_precision():
            raise ValueError("stop")
        assert [flag.allow_tf32 for flag in flags] == [True, True]
    finally:
        for flag, value in zip(flags, before, strict=True):
            flag.allow_tf32 = value
