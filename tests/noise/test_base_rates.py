"""Base rates of expressions: published counts, rates of one's own, and how they are mixed into a set's frequencies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from consensus_cases import NAMES, make_samples, run, seen_as

from fercleaner.core.errors import InputError
from fercleaner.methods import build
from fercleaner.noise.class_priors import COUNTS, balanced_by_hand, base_rates, pooled_priors, rates_beside


def test_counts_add_up_to_the_published_sizes():
    assert {name: sum(counts.values()) for name, counts in COUNTS.items()} == {
        "rafdb": 12271,
        "affectnet": 287651,
        "expw": 91793,
    }


def test_wild_is_the_geometric_mean_of_the_shares():
    rates = base_rates(NAMES, "wild")
    raw = [math.prod(COUNTS[s][c] / sum(COUNTS[s].values()) for s in COUNTS) ** (1 / 3) for c in NAMES]
    np.testing.assert_allclose(rates, np.array(raw) / sum(raw), rtol=1e-12)


def test_a_class_that_one_set_knows_has_that_sets_share():
    rates = base_rates((*NAMES, "contempt"), "wild")
    seven = base_rates(NAMES, "wild")
    np.testing.assert_allclose(rates[:7] / rates[:7].sum(), seven, rtol=1e-12)
    fear = np.mean([math.log(COUNTS[s]["fear"] / sum(COUNTS[s].values())) for s in COUNTS])
    share = COUNTS["affectnet"]["contempt"] / sum(COUNTS["affectnet"].values())
    assert rates[7] / rates[NAMES.index("fear")] == pytest.approx(share / math.exp(fear))


def test_a_set_alone_and_even_and_none():
    np.testing.assert_allclose(base_rates(("fear", "happiness"), "rafdb"), [281 / 5053, 4772 / 5053])
    np.testing.assert_allclose(base_rates(("a", "b", "c", "d"), "even"), [0.25] * 4)
    assert base_rates(NAMES, "none") is None


@pytest.mark.parametrize(("classes", "name"), [(("0", "1"), "wild"), ((*NAMES, "contempt"), "rafdb")])
def test_nothing_is_known_of_classes_that_a_set_lacks(classes, name):
    assert base_rates(classes, name) is None


def test_rates_of_ones_own_may_be_written_in_other_words():
    np.testing.assert_allclose(base_rates(("happiness", "sadness"), "happy: 3, sad:1, fear:7"), [0.75, 0.25])


def test_rates_of_any_size_forbid_no_class():
    rates = base_rates(("happiness", "sadness", "fear"), "happy:1e308, sad:1e308, fear:1e-320")
    np.testing.assert_allclose(rates, [0.5, 0.5, 0.5e-9], rtol=1e-6)


@pytest.mark.parametrize("method", ["consensus", "hypergraph"])
def test_a_name_that_is_not_known_is_told_before_anything_is_computed(method):
    with pytest.raises(InputError, match="base_rates is 'wald', which is not known"):
        build(method, {"base_rates": "wald"})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wald", "base_rates is 'wald', which is not known. Did you mean 'wild'?"),
        ("happy:0.5,sad", "base_rates has 'sad'; expected a class and a number above 0"),
        ("happy:0.5,sad:0", "base_rates has 'sad:0'; expected"),
        ("happy:0.5,sad:nan", "base_rates has 'sad:nan'; expected"),
        (":0.5", "base_rates has ':0.5'; expected"),
        ("happy:40%,sad:60%", "base_rates has 'happy:40%'; expected"),
        (
            "happy:1,happiness:2,sad:1",
            "base_rates gives two rates for happiness. Give one: 'happy:1,happiness:2,sad:1'.",
        ),
        ("", "base_rates is '', which is not known. Choose one of wild, rafdb"),
        ("happy:0.5", "base_rates gives no rate for sadness; name every class: happiness, sadness"),
    ],
)
def test_rates_that_make_no_sense_are_errors(name, message):
    with pytest.raises(InputError) as error:
        base_rates(("happiness", "sadness"), name)
    assert message in str(error.value)


def test_pooled_by_hand():
    np.testing.assert_allclose(pooled_priors(np.array([0.5, 0.5]), np.array([0.8, 0.2]), 0.5), [2 / 3, 1 / 3])
    np.testing.assert_allclose(pooled_priors(np.array([0.4, 0.6]), np.array([0.8, 0.2]), 1.0), [0.4, 0.6])
    np.testing.assert_allclose(pooled_priors(np.array([0.4, 0.6]), np.array([0.8, 0.2]), 0.0), [0.8, 0.2])
    np.testing.assert_allclose(pooled_priors(np.array([0.4, 0.6]), None, 0.0), [0.4, 0.6])


def test_a_class_that_no_label_names_stays_that_rare():
    rates = rates_beside(np.array([0.4, 1e-9, 0.6]), ("happiness", "fear", "neutral"), "happiness:2,fear:3,neutral:5")
    np.testing.assert_allclose(rates, [0.2 / 0.7, 0, 0.5 / 0.7], atol=1e-8)
    assert rates_beside(np.array([1.0]), ("happiness",), "none") is None


def test_wild_raises_no_class_of_few_labels():
    """Disgust: of 3.3 % in the wild there are .5 % here, of fear 1.9 % and 10 %; half of an even share is 12.5 %."""
    classes, own = ("happiness", "neutral", "disgust", "fear"), np.array([0.6, 0.295, 0.005, 0.1])
    known, rates = base_rates(classes, "wild"), rates_beside(own, classes, "wild")
    np.testing.assert_allclose(rates / rates[0], [1, known[1] / known[0], 0.005 / known[0], known[3] / known[0]])
    stated = rates_beside(own, classes, "happiness:4,neutral:4,disgust:1,fear:1")
    np.testing.assert_allclose(stated, [0.4, 0.4, 0.1, 0.1])
    even = rates_beside(np.full(4, 0.25), classes, "wild")
    np.testing.assert_allclose(even, known)


def crowded(seed, excess):
    """Overlapping faces of three classes, fear rare; labeled fear are the share `excess` that looks most like it."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, 900, p=[0.5, 0.45, 0.05])
    centers = np.random.default_rng(1).normal(size=(3, 8))
    values = 1.4 * centers[truth] + 1.2 * rng.normal(size=(900, 8))
    alike = values @ centers[2] + 2 * rng.normal(size=900)
    named = np.where(alike >= np.quantile(alike, 1 - excess), 2, truth)
    samples = make_samples(np.eye(3)[named], classes=("happiness", "neutral", "fear"))
    return seen_as(samples, values), truth


def test_base_rates_undo_what_a_keyword_put_in():
    """Where a search for fear brought in what looks like it, knowing that fear is rare corrects more labels."""
    for seed in range(2):
        evidence, truth = crowded(seed, 0.3)
        known, alone = ((run(evidence, base_rates=name).label == truth).mean() for name in ("wild", "none"))
        assert known > alone + 0.02


def test_labels_that_witnesses_confirm_set_the_frequencies():
    """Clusters that stand apart keep their labels however rare the base rates say that they are."""
    rng = np.random.default_rng(0)
    truth = np.arange(240) % 3
    values = 8 * np.eye(3, 8)[truth] + rng.normal(size=(240, 8))
    samples = make_samples(np.eye(3)[truth], classes=("happiness", "disgust", "fear"))
    assert np.array_equal(run(seen_as(samples, values)).label, truth)


def test_no_face_goes_to_a_class_without_labels():
    evidence, _ = crowded(0, 0.1)
    samples = evidence.samples
    given = np.hstack([samples.given, np.zeros((900, 1), dtype=np.float32)])
    more = make_samples(given, classes=(*samples.classes, "surprise"))
    result = run(seen_as(more, evidence.features["a"].values))
    assert result.distribution[:, 3].max() < 1e-3


@pytest.mark.parametrize(
    ("counts", "expected"),
    [((100, 100, 100), True), ((100, 150, 120, 0), True), ((100, 151, 120), False), ((50, 50), False), ((), False)],
)
def test_labels_balanced_by_hand(counts, expected):
    given = np.repeat(np.eye(len(counts), dtype=np.float32), counts, axis=0)
    assert balanced_by_hand(given) is expected
