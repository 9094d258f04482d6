"""Flags at a named precision on labels that tie and on a set with one label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fercleaner.core.types import Refinement, Samples
from fercleaner.noise.precision import calibrated, depths, flipped

NAMES = ("anger", "fear", "happiness", "neutral")


def make_samples(given):
    n = len(given)
    ids = np.array([f"face {i:03d}" for i in range(n)])
    return Samples(ids, NAMES, given.astype(np.float32), given.any(1), np.full(n, ""))


def answer(samples, distribution):
    n = len(samples)
    return Refinement(samples.ids, NAMES, distribution, np.ones(n), np.full(n, 0.5), np.zeros(n, dtype=bool), "toy")


def test_a_tie_that_changes_places_is_no_flip():
    tied = np.repeat([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]], 30, axis=0)
    crossed = np.repeat(np.eye(4)[[1, 3]], 30, axis=0)  # flips go from 0 to 1 and from 2 to 3
    samples = make_samples(tied)
    change = flipped(samples, answer(samples, 0.02 * crossed + 0.98 * tied), np.random.default_rng(0), 0.5)
    assert (change.samples.given == tied).all(1).any()
    np.testing.assert_array_equal(change.flipped, (change.samples.given != tied).any(1))


def test_one_label_alone_is_checked_without_a_number_that_is_none():
    samples = make_samples(np.eye(5, 4)[[4, 4, 4, 4, 0]])
    first = answer(samples, np.full((5, 4), 0.25))
    change = flipped(samples, first, np.random.default_rng(0))
    assert depths(np.zeros(0), np.array([0.2])).tolist() == [0.5]
    found = calibrated(0.8, samples, first, [(change, first)])
    assert np.isfinite(found.noise_rate)
    assert not found.flagged.any()


def test_a_tie_is_flipped_from_either_class_whatever_their_order():
    """Ties of the classes 0 and 1; labels of 0 go wrong to 2, those of 1 to 3."""
    tied = np.repeat([[0.5, 0.5, 0, 0]], 600, axis=0)
    crossed = np.repeat(np.eye(4)[[2, 3]], 300, axis=0)
    true = np.repeat(np.eye(4)[[0, 1]], 300, axis=0)
    for order in (np.arange(4), np.arange(4)[::-1]):
        samples = make_samples(np.concatenate([tied, crossed])[:, order])
        first = replace(answer(samples, np.concatenate([tied, true])[:, order]), quality=np.repeat([1.0, 0.0], 600))
        change = flipped(samples, first, np.random.default_rng(0), 0.4)
        given = change.samples.given[change.flipped][:, np.argsort(order)]
        assert 0.4 < (given[:, 2] > 0).mean() < 0.6
        assert (given[:, :2].max(1) == 0.5).all()  # the other one of the two stays
