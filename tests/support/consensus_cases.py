"""Generated sets for the tests of `consensus`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fercleaner.core.evidence import Evidence
from fercleaner.core.groups import fold_numbers
from fercleaner.core.types import Features, Posteriors, Samples
from fercleaner.methods.consensus.consensus import Consensus
from fercleaner.similarity.neighbors import nearest

NAMES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


def run(evidence, seed=0, **settings):
    return Consensus(**settings).refine(evidence, np.random.default_rng(seed))


def folds_of(samples, folds=5, seed=0, deals=4):
    """The folds that `run` deals, one array each time."""
    rng = np.random.default_rng(seed)
    return [fold_numbers(samples.ids, samples.group, folds, int(rng.integers(2**31))) for _ in range(deals)]


def make_samples(given, labeled=None, classes=None, **more):
    given = np.asarray(given, dtype=np.float32)
    n, c = given.shape
    labeled = np.ones(n, dtype=bool) if labeled is None else np.asarray(labeled)
    ids = np.array([f"face-{i:04d}" for i in range(n)])
    given = np.where(labeled[:, None], given, 0)
    return Samples(ids, classes or NAMES[:c], given, labeled, np.full(n, ""), **more)


def source(samples, values, name="elsewhere", found=None, **more):
    """Posteriors of a model trained elsewhere."""
    found = np.ones(len(samples), dtype=bool) if found is None else found
    values = np.where(found[:, None], values, 0).astype(np.float32)
    return Posteriors(name, samples.ids, samples.classes, values, found, **more)


def beside(evidence, values, name="elsewhere", found=None, **more):
    """Evidence with one more posterior."""
    added = {name: source(evidence.samples, values, name, found, **more)}
    return replace(evidence, posteriors={**evidence.posteriors, **added})


def seen_as(samples, values, *, k=15, found=None):
    """Evidence of one view: neighbors and vectors."""
    found = np.ones(len(samples), dtype=bool) if found is None else found
    values = np.where(found[:, None], values, 0).astype(np.float32)
    view = Features("a", samples.ids, values, found)
    return Evidence(samples, {"a": view}, {"a": nearest(view, k, device="cpu")})


def about_right(truth, c, rng):
    """Posteriors that put the true class first for about nine faces in ten."""
    right = np.exp(3 * np.eye(c)[truth] + rng.normal(size=(len(truth), c)))
    return right / right.sum(1, keepdims=True)


def crowd(seed, *, n=240, c=4, flips=0.25, cyclic=False, spread=2.2, unlabeled=0.0, dim=8):
    """Overlapping clusters with flipped labels: evidence of one view, true classes, posteriors that are about right."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % c
    to = (truth + 1) % c if cyclic else (truth + rng.integers(1, c, n)) % c
    named = np.where(rng.random(n) < flips, to, truth)
    samples = make_samples(np.eye(c)[named], rng.random(n) >= unlabeled)
    values = 1.5 * rng.normal(size=(c, dim))[truth] + spread * rng.normal(size=(n, dim))
    return seen_as(samples, values), truth, about_right(truth, c, rng)
