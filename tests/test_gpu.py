"""The same answers on a GPU as on the CPU, within what is stated; skipped where torch sees none (`make gpu`)."""

from __future__ import annotations

import numpy as np
import pytest

from fercleaner.core.devices import torch_gpus
from fercleaner.core.types import Features, Samples
from fercleaner.methods import build
from fercleaner.pipeline.inputs import Resources, Sources
from fercleaner.pipeline.refine import refine
from fercleaner.similarity.neighbors import nearest
from fercleaner.similarity.neighbors.backend import faiss_gpus
from fercleaner.similarity.neighbors.on_torch import on_torch

pytestmark = pytest.mark.skipif(torch_gpus() == 0, reason="torch sees no GPU here")

N, C = 4000, 5


@pytest.fixture(scope="module")
def faces():
    """Samples with a fifth of the labels flipped, and two views of them."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, C, N)
    given = np.where(rng.random(N) < 0.2, rng.integers(0, C, N), true)
    ids = np.array([f"f{i:05d}" for i in range(N)])
    eye = np.eye(C, dtype=np.float32)
    samples = Samples(ids, tuple("abcde"), eye[given], np.ones(N, dtype=bool), np.full(N, ""))
    views = []
    for name in ("one", "two"):
        values = 2 * rng.normal(size=(C, 64))[true] + rng.normal(size=(N, 64))
        views.append(Features(name, ids, values.astype(np.float32), np.ones(N, dtype=bool)))
    return samples, tuple(views)


def assert_nearly_same(here, there):
    assert (here.indices == there.indices).mean() > 0.9999
    np.testing.assert_allclose(here.similarity, there.similarity, atol=1e-6)


def test_neighbors_by_torch(faces):
    view = faces[1][0]
    near = on_torch(view.values, "cuda").candidates(view.values[:200], 20)
    best = np.argsort(-(view.values[:200].astype(np.float64) @ view.values.T.astype(np.float64)), 1)[:, :20]
    assert (near == best).mean() > 0.999


@pytest.mark.skipif(faiss_gpus() == 0, reason="FAISS sees no GPU here: faiss-cpu, or a build without this GPU")
@pytest.mark.parametrize("index", ["exact", "ivf"])
def test_neighbors_by_faiss(faces, index):
    here, there = (nearest(faces[1][0], 15, index=index, device=device) for device in ("cpu", "cuda"))
    if index == "exact":
        assert_nearly_same(here, there)
    else:
        assert there.search["recall"] >= 0.98


@pytest.mark.parametrize("method", ["hypergraph", "consensus", "threshold"])
def test_methods_answer_as_on_the_cpu(faces, method):
    """Sums in another order move a distribution by up to .001; nearly all flags are the same."""
    samples, views = faces
    here, there = (
        refine(samples, build(method), Sources(views=views), Resources(device=device)) for device in ("cpu", "cuda")
    )
    assert np.quantile(np.abs(here.distribution - there.distribution).max(1), 0.999) < 1e-3
    assert (here.flagged == there.flagged).mean() > 0.999


def test_the_builtin_model_computes_as_on_the_cpu():
    from PIL import Image

    from fercleaner.encoders.builtin import PARTS, BuiltinExtractor

    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (64, 12, 12)).astype(np.uint8)
    pictures = [Image.fromarray(picture).resize((48, 48), Image.Resampling.BICUBIC) for picture in small]
    values = []
    for device in ("cpu", "cuda"):
        extractor = BuiltinExtractor(PARTS, device=device)
        assert extractor.spec.get("device") == (None if device == "cpu" else "cuda")
        values.append(extractor.compute([extractor.prepare(picture) for picture in pictures])[0])
    np.testing.assert_allclose(values[0], values[1], atol=2e-3)
