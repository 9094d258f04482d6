"""A promise of memory: what is refused before the work, what is known of which method, what is told at the end."""

from __future__ import annotations

import numpy as np
import pytest

from fercleaner.core.errors import InputError
from fercleaner.core.types import Features, Samples
from fercleaner.methods import build
from fercleaner.noise.injection import parse
from fercleaner.pipeline import memory, neighborhoods
from fercleaner.pipeline.inputs import Resources, Sources
from fercleaner.pipeline.memory import GIB, check_memory, check_promise, held, needed, peak
from fercleaner.pipeline.refine import refine
from fercleaner.pipeline.trial import run_trial


def view(n, width, kind=np.float16, name="v"):
    ids = np.array([f"f{i:05d}" for i in range(n)])
    return Features(name, ids, np.ones((n, width), dtype=kind), np.ones(n, dtype=bool))


def labeled(n):
    label = np.eye(2, dtype=np.float32)[np.arange(n) % 2]
    ids = np.array([f"f{i:05d}" for i in range(n)])
    return Samples(ids=ids, classes=("x", "y"), given=label, labeled=np.ones(n, dtype=bool), paths=np.full(n, ""))


def test_the_estimate_by_hand():
    one, two = view(10, 64), view(10, 512, np.float32, "w")
    faces, base = labeled(10), memory.SEARCH.base
    assert needed("hypergraph", faces, {"v": one}) == base + 10 * (500 + 64 * 2 + 64 * 6 + 1050)
    both = 500 + 1000 + (64 * 2 + 64 * 6 + 1050) + (512 * 4 + 128 * 6 + 1050)
    assert needed("hypergraph", faces, {"v": one, "w": two}) == base + 10 * both
    turned = faces.replacing(ids=faces.ids[::-1])
    assert needed("hypergraph", turned, {"v": one}) == needed("hypergraph", faces, {"v": one}) + 10 * 64 * 4
    heads = 500 + 2 * 140 + 64 * (2 + 4) + 64 * 10 + 512 * (4 + 4) + 128 * 10
    assert needed("consensus", faces, {"v": one, "w": two}) == needed("hypergraph", faces, {"v": one, "w": two})
    many = faces.replacing(classes=tuple("abcdefgh"), given=np.pad(faces.given, ((0, 0), (0, 6))))
    assert needed("consensus", many, {"v": one}) == base + 10 * (500 + 8 * 220 + 64 * 2 + 64 * 6)
    assert needed("threshold", faces, {"v": one, "w": two}) == memory.MEASURED["threshold"][0].base + 10 * heads


def test_what_does_not_fit_is_refused_with_numbers_and_before_neighbors_are_searched(monkeypatch):
    monkeypatch.setattr(neighborhoods, "searcher", lambda *_, **__: pytest.fail("searched"))
    monkeypatch.setitem(memory.MEASURED, "hypergraph", (memory.SEARCH._replace(base=0),))
    with pytest.raises(
        InputError, match=r"needs about 0\.0 GiB for 3,000 faces in 1 view \(2\.0 KiB a face\); about 2,034 fit"
    ):
        refine(
            labeled(3000),
            build("hypergraph", {}),
            Sources(views=[view(3000, 64)]),
            Resources(memory=4 << 20, device="cpu"),
        )


@pytest.mark.parametrize(
    ("name", "settings", "precision", "what"),
    [
        ("threshold", {"batch": "0"}, False, "threshold with other parameters"),
        ("landmark", {}, False, "landmark"),
        ("hypergraph", {"rounds": "2"}, False, "hypergraph with other parameters"),
        ("hypergraph", {}, True, "hypergraph with --precision"),
    ],
)
def test_no_promise_is_made_of_what_was_not_measured(name, settings, precision, what):
    with pytest.raises(InputError, match=f"how much memory {what} needs was not measured"):
        check_promise(64 * GIB, build(name, settings), precision=precision)
    check_promise(None, build(name, settings), precision=precision)


def test_what_fits_is_not_refused():
    for name in memory.MEASURED:
        method = build(name, {})
        check_promise(2 * GIB, method)
        check_memory(2 * GIB, [method], labeled(10), {"v": view(10, 64)})
        check_memory(None, [method], labeled(10), {"v": view(10, 64)})
        with pytest.raises(InputError, match=f"{name} needs about"):
            check_memory(GIB // 2, [method], labeled(10), {"v": view(10, 64)})
    with pytest.raises(InputError, match="threshold with mirrored pictures"):
        check_promise(2 * GIB, build("threshold", {}), mirrored=True)
    with pytest.raises(InputError, match=r"for 10 faces in 0 views \("):
        check_memory(GIB // 2, [build("hypergraph", {})], labeled(10), {})


def test_no_promise_is_made_of_a_trial():
    faces, sources = labeled(40), Sources(views=[view(40, 8)])
    with pytest.raises(InputError, match="how much memory hypergraph in a trial needs was not measured"):
        run_trial(faces, [build("hypergraph", {})], [parse("symmetric:0.2")], sources, Resources(memory=64 * GIB))


def test_the_end_tells_what_was_held_and_whether_it_was_more(monkeypatch):
    before = peak()
    assert before > 10 << 20
    block = np.ones(200 << 20, dtype=np.uint8)
    assert peak() >= max(before, block.nbytes)
    monkeypatch.setattr(memory, "peak", lambda: 3 * GIB // 2)
    assert held(2 * GIB) == "memory: at most 1.5 GiB of 2.0 GiB were held, mapped files included."
    assert "more than promised" in held(GIB)
    monkeypatch.setattr(memory, "peak", lambda: None)
    assert "does not say" in held(GIB)
