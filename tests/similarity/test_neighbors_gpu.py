"""Search on a GPU: the paths by stand-ins on the CPU, and the figures where a GPU is there."""

from __future__ import annotations

import numpy as np
import pytest

from fercleaner.core.devices import full_precision
from fercleaner.core.errors import InputError
from fercleaner.core.types import Features
from fercleaner.similarity.neighbors import backend, exact, nearest, on_torch

torch = pytest.importorskip("torch")
faiss = pytest.importorskip("faiss")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")


def view(n=400, dims=20):
    rng = np.random.default_rng(0)
    ids = np.array([f"f{i:05d}" for i in range(n)])
    return Features("v", ids, rng.choice([-1.0, 0.0, 1.0], (n, dims)).astype(np.float32), np.ones(n, dtype=bool))


@pytest.fixture
def stand_in(monkeypatch):
    """torch sees one GPU, which is the CPU; FAISS sees none."""
    made = []
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0, raising=False)
    monkeypatch.setattr(backend, "torch_gpus", lambda: 1)
    monkeypatch.setattr(exact, "on_torch", lambda v, device: made.append(device) or on_torch.on_torch(v, "cpu"))
    return made


def test_torch_stands_in_where_faiss_sees_no_gpu_and_one_is_asked_for(stand_in):
    table = nearest(view(), 6, device="cuda")
    assert stand_in == ["cuda"]
    assert table.search["device"] == "cpu"  # the stand-in's
    plain = nearest(view(), 6, device="cpu")
    assert np.array_equal(table.indices, plain.indices)
    assert table.similarity.tobytes() == plain.similarity.tobytes()


@pytest.mark.parametrize("held", [1, 900, 1 << 28])
def test_torch_blocks_change_nothing(stand_in, monkeypatch, held):
    monkeypatch.setattr(on_torch, "HELD", held)
    assert nearest(view(), 6, device="cuda").indices.tobytes() == nearest(view(), 6, device="cpu").indices.tobytes()


def test_auto_stays_on_the_cpu_where_faiss_sees_no_gpu(stand_in):
    assert "device" not in nearest(view(), 6, device="auto").search
    assert not stand_in


def test_a_gpu_searches_exactly_whatever_the_size(stand_in, monkeypatch):
    monkeypatch.setattr(backend, "EXACT_UP_TO", 50)
    assert nearest(view(), 6, device="cuda").search["index"] == "exact"
    assert nearest(view(), 6, device="cpu").search["index"] == "ivf"


def test_no_gpu_anywhere_is_an_error(monkeypatch):
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0, raising=False)
    monkeypatch.setattr(backend, "torch_gpus", lambda: 0)
    with pytest.raises(InputError, match=r"--device cuda: FAISS sees no GPU here\. Use --device auto or cpu"):
        backend.use_gpu("cuda")


@pytest.mark.parametrize("before", [True, False])
def test_full_precision_turns_tf32_off_and_back(monkeypatch, before):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", before)
    with full_precision():
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before


@gpu
def test_gpu_and_cpu_give_one_table():
    here, there = nearest(view(3000, 64), 15, device="cpu"), nearest(view(3000, 64), 15, device="cuda")
    assert there.search["device"] == "cuda"
    assert np.array_equal(there.indices, here.indices)
    assert there.similarity.tobytes() == here.similarity.tobytes()
