"""How `consensus` reads labels: class frequencies, and sources near their home."""

from __future__ import annotations

import numpy as np
import pytest

from fercleaner.methods.consensus.experts import Expert
from fercleaner.methods.consensus.external import Source
from fercleaner.methods.consensus.noise_models import Labels, Noise
from fercleaner.methods.consensus.reader import Reader
from fercleaner.noise.label_model import class_frequencies


@pytest.mark.parametrize(
    ("prior", "wild", "expected"),
    [(None, 0.0, [0.5, 0.5]), ([0.8, 0.2], 0.0, [0.8, 0.2]), ([0.8, 0.2], 1.0, [0.1, 0.9]), (None, 1.0, [0.1, 0.9])],
)
def test_far_from_the_wild_frequencies_are_those_last_learned(prior, wild, expected):
    """Nothing is explained, so that base rates (.1, .9) decide alone as far as the set is from the wild."""
    given = np.eye(2)[np.arange(6) % 2]
    labels = Labels(given, np.ones(6, dtype=bool), np.full(2, 0.5), np.zeros(6, dtype=np.int64), None)
    noise = Noise(0.0, 0.0, ())
    reader = Reader(labels, noise, {}, np.array([0.1, 0.9]), wild, None if prior is None else np.array(prior))
    np.testing.assert_allclose(np.exp(reader.log_frequencies()), expected)


@pytest.mark.parametrize(("near", "expected"), [(0.0, [0.8, 0.2]), (0.5, [2 / 3, 1 / 3]), (1.0, [0.5, 0.5])])
def test_without_base_rates_a_source_says_frequencies_as_far_as_it_is_near(near, expected):
    """Where it is far, or says none, they are those last learned, as without it; half way, the geometric mean."""
    given = np.eye(2)[np.arange(6) % 2]
    labels = Labels(given, np.ones(6, dtype=bool), np.array([0.3, 0.7]), np.zeros(6, dtype=np.int64), None)
    nothing = Expert(np.zeros((6, 2)), lambda _: np.zeros((6, 2)), np.ones(6, dtype=bool))
    learned = np.array([0.8, 0.2])
    for frequencies, wanted in ((np.full(2, 0.5), expected), (None, learned)):
        there = Source(nothing, np.zeros((6, 2)), np.full(6, near), frequencies, ())
        reader = Reader(labels, Noise(0.0, 0.0, ()), {"a": there}, None, 1.0, learned)
        np.testing.assert_allclose(np.exp(reader.log_frequencies()), wanted)


@pytest.mark.parametrize("near", [0.0, 0.4, 1.0])
def test_a_source_near_its_home_need_not_prove_labels(near):
    """What is believed of refined labels weighs 1 - near: by nothing beside a source at its home."""
    rng = np.random.default_rng(4)
    given, truth = np.eye(3)[rng.integers(0, 3, 60)], rng.dirichlet(np.ones(3), 60)
    labels = Labels(given, np.ones(60, dtype=bool), class_frequencies(given), np.zeros(60, dtype=np.int64), None)
    ratios = 2 * rng.normal(size=(60, 3))
    nothing = Expert(np.zeros((60, 3)), lambda _: np.zeros((60, 3)), np.ones(60, dtype=bool))
    there = Source(nothing, np.log(truth), np.full(60, near), np.full(3, 1 / 3), ())
    noise = Noise(0.6, 0.0, ())
    reader = Reader(labels, noise, {"a": there}, None, 1.0)
    believed, doubted = (reader.read(ratios, ratios, noise, sure) for sure in (1.0, 0.0))
    shared, left = noise.shares[0], noise.shares[2]
    alone = (believed - (1 - near) * left * given) / (near + (1 - near) * shared)
    np.testing.assert_allclose(doubted, near * alone + (1 - near) * given, atol=1e-12)


@pytest.mark.parametrize(("explained", "reach"), [(0.3, 1), (0.75, 1), (0.85, 0.6), (1.0, 0)])
def test_a_source_at_its_home_overrules_little_where_labels_are_learned_almost_wholly(explained, reach):
    """It reads class 1 for certain where the label is class 0; 4 (1 - e) of its answer counts, the label the rest."""
    given = np.eye(2)[[0, 1, 0, 1]]
    labels = Labels(given, np.ones(4, dtype=bool), np.full(2, 0.5), np.zeros(4, dtype=np.int64), None)
    nothing = Expert(np.zeros((4, 2)), lambda _: np.zeros((4, 2)), np.ones(4, dtype=bool))
    there = Source(nothing, np.log([[1e-9, 1.0]] * 4), np.ones(4), np.full(2, 0.5), ())
    reader = Reader(labels, Noise(explained, 0.0, ()), {"a": there}, None, 1.0)
    answer = reader.read(np.zeros((4, 2)), np.zeros((4, 2)), reader.noise)
    np.testing.assert_allclose(answer[0], [1 - reach, reach], atol=1e-4)
    np.testing.assert_allclose(answer.sum(1), 1)
