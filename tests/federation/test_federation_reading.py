"""A site's labels beside what others learned: the formula by loops, known noise found, and who counts how much."""

from __future__ import annotations

import numpy as np
import pytest

from fercleaner.classifiers.ridge import INTERCEPT_RIDGE, RIDGE
from fercleaner.federation.heads import LEAST_SCORE, own_posteriors
from fercleaner.federation.reading import (
    FEW_FACES,
    LEAST,
    NOISE_FACES,
    RIGHT,
    SHARE_FACES,
    SHARPENED,
    STEPS,
    frequencies,
    read_beside_both,
    read_labels,
    share_of_others,
    together,
)

EVEN = np.full(3, 1 / 3)


def drawn(n=400, c=3, seed=0, wrong=0.3):
    rng = np.random.default_rng(seed)
    truth = rng.integers(c, size=n)
    said = np.exp(1.5 * np.eye(c)[truth] + 0.5 * rng.normal(size=(n, c)))
    label = np.where((truth == 0) & (rng.random(n) < wrong), 1, truth)
    return said / said.sum(1, keepdims=True), np.eye(c)[label], truth, np.arange(n) % 5


def by_loops(said, learned, given, fold):
    n, c = said.shape
    p = said**SHARPENED / learned
    p /= p.sum(1, keepdims=True)
    answer = np.zeros((n, c))
    for b in set(fold):
        transition = np.array([[RIGHT * (i == j) + (1 - RIGHT) / c for j in range(c)] for i in range(c)])
        total = FEW_FACES * learned
        for i in np.flatnonzero(fold != b):
            total = total + given[i]
        before = frequency = total / total.sum()

        def read(i, transition, frequency):
            row = np.array([p[i, k] * frequency[k] * (transition[k] @ given[i]) for k in range(c)])
            return row / row.sum()

        for _ in range(STEPS):
            counts = NOISE_FACES * np.array([[RIGHT * (i == j) + (1 - RIGHT) / c for j in range(c)] for i in range(c)])
            total = SHARE_FACES * before
            for i in range(n):
                if fold[i] != b:
                    row = read(i, transition, frequency)
                    counts += np.outer(row, given[i])
                    total = total + row
            transition = counts / counts.sum(1, keepdims=True)
            frequency = total / total.sum()
        for i in np.flatnonzero(fold == b):
            answer[i] = read(i, transition, frequency)
    return answer


def test_the_formula_by_loops():
    said, given, _, fold = drawn(n=40)
    learned = np.array([0.5, 0.2, 0.3])
    read = read_labels(said, learned, given, np.ones(40, dtype=bool), fold).distribution
    assert np.allclose(read, by_loops(said, learned, given, fold), atol=1e-9)


def test_a_head_of_other_class_frequencies_is_read_by_the_sites_own():
    """A head that is right where 60 % of faces are of class 0 says little of a site that has next to none of it."""
    rng = np.random.default_rng(4)
    truth, learned = rng.choice(3, size=600, p=[0.02, 0.49, 0.49]), np.array([0.6, 0.2, 0.2])
    likely = np.exp(1.0 * np.eye(3)[truth] + 0.5 * rng.normal(size=(600, 3))) * learned
    given, fold, known = np.eye(3)[np.where(rng.random(600) < 0.2, 1, truth)], np.arange(600) % 5, np.ones(600, bool)
    said = likely / likely.sum(1, keepdims=True)
    right = [(read_labels(said, q, given, known, fold)[0].argmax(1) == truth).mean() for q in (EVEN, learned)]
    assert right[0] < 0.75 < 0.9 < right[1]


def test_a_site_that_calls_one_class_another_is_read_so():
    said, given, truth, fold = drawn()
    read, _, borne_out = read_labels(said, EVEN, given, np.ones(400, dtype=bool), fold)
    assert borne_out == 1.0
    assert (read.argmax(1) == truth).mean() > (given.argmax(1) == truth).mean() + 0.03
    turned = (given.argmax(1) == 1) & (truth == 0)
    right = (given.argmax(1) == 1) & (truth == 1)
    assert read[turned, 1].mean() < 0.5 < 0.8 < read[right, 1].mean()


def test_labels_of_a_fold_move_the_matrix_of_the_others_alone():
    """Of faces whose own label stays, one of the fold whose labels change keeps its answer to the last bit."""
    said, given, _, fold = drawn(n=60)
    known, other = np.ones(60, dtype=bool), given.copy()
    changed = np.flatnonzero(fold == 2)[1:]
    other[changed] = np.roll(other[changed], 1, axis=1)
    before, after = read_labels(said, EVEN, given, known, fold)[0], read_labels(said, EVEN, other, known, fold)[0]
    stays = np.flatnonzero(fold == 2)[0]
    assert np.array_equal(before[stays], after[stays])
    assert (before[fold != 2] != after[fold != 2]).any(1).all()


def test_a_head_that_says_nothing_of_this_site_does_not_count():
    said, given, _, fold = drawn()
    known, order = np.ones(400, dtype=bool), np.random.default_rng(0).permutation(400)
    assert read_labels(said[order], EVEN, given, known, fold).borne_out == 0.0
    assert read_labels(np.zeros_like(said), EVEN, given, np.zeros(400, dtype=bool), fold).borne_out == 0.0


def test_unknown_and_unlabeled_faces():
    said, given, _, fold = drawn(n=50)
    said[3], given[4] = 0, 0
    read = read_labels(said, EVEN, given, said.any(1), fold).distribution
    assert not read[3].any()
    assert np.isclose(read[4].sum(), 1)
    assert read[4].argmax() == said[4].argmax()


def test_classes_can_be_renamed_and_faces_renumbered():
    said, given, _, fold = drawn(n=60)
    known, order, turn = np.ones(60, dtype=bool), np.random.default_rng(1).permutation(60), [2, 0, 1]
    plain = read_labels(said, EVEN, given, known, fold).distribution
    assert np.allclose(read_labels(said[order], EVEN, given[order], known, fold[order])[0], plain[order], atol=1e-12)
    assert np.allclose(read_labels(said[:, turn], EVEN, given[:, turn], known, fold)[0], plain[:, turn], atol=1e-12)


def test_expected_labels_are_those_of_the_noise():
    said, given, truth, fold = drawn(n=4000)
    expected = read_labels(said, EVEN, given, np.ones(4000, dtype=bool), fold).expected
    assert np.allclose(expected.sum(1), 1)
    turned = (given.argmax(1) == 1)[truth == 0].mean()  # .3 of class 0 are called 1
    assert expected[truth == 0, 1].mean() == pytest.approx(turned, abs=0.06)


def test_the_shared_head_stays_unless_labels_are_likelier_without_it():
    said, given, _, fold = drawn()
    known, order = np.ones(400, dtype=bool), np.random.default_rng(0).permutation(400)
    weak = 0.9 / 3 + 0.1 * said
    for own in (weak, said, said[order]):  # worse, as good, of other faces
        read, share = read_beside_both(said, own, EVEN, given, known, fold)
        assert share == 1.0
        assert np.array_equal(read.distribution, read_labels(said, EVEN, given, known, fold).distribution)
    read, share = read_beside_both(said[order], said, EVEN, given, known, fold)
    assert share == 0.0
    at_home = frequencies(given, EVEN)
    assert np.array_equal(read.distribution, read_labels(said, at_home, given, known, fold).distribution)
    half = np.arange(400) % 2 == 0  # each head knows other faces
    read, share = read_beside_both(
        np.where(half[:, None], said, said[order]), np.where(half[:, None], said[order], said), EVEN, given, known, fold
    )
    assert share == 0.5


def test_a_site_without_labels_takes_the_shared_head():
    said, given, _, fold = drawn(n=30)
    read, share = read_beside_both(said, np.zeros_like(said), EVEN, np.zeros_like(given), np.ones(30, dtype=bool), fold)
    assert share == 1.0
    assert read.borne_out == 0.0


def test_the_fewer_faces_the_more_the_others_count():
    assert share_of_others(0) == 1.0
    assert share_of_others(600) == pytest.approx(0.5)
    assert share_of_others(90_000) < 0.01


def test_answers_are_joined_by_their_logarithms():
    alone, others = np.array([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0]]), np.array([[0.1, 0.8, 0.1], [0.0, 0.0, 1.0]])
    joined = together(alone, others, np.array([True, False]), 0.25)
    wanted = (alone[0] + LEAST) ** 0.75 * (others[0] + LEAST) ** 0.25
    assert np.allclose(joined[0], wanted / wanted.sum())
    assert np.array_equal(joined[1], alone[1])
    assert np.allclose(together(alone, others, np.ones(2, dtype=bool), 0.0), (alone + LEAST) / (1 + 3 * LEAST))


def test_a_head_of_the_sites_own_by_the_formula_and_out_of_fold():
    rng = np.random.default_rng(3)
    n, c = 60, 3
    design = np.column_stack([rng.normal(size=(n, 8)), np.ones(n)]).astype(np.float32)
    given, fold, found = np.eye(c)[rng.integers(c, size=n)], np.arange(n) % 5, rng.random(n) > 0.1
    given[7] = 0
    said = own_posteriors(design, given, found, fold)
    for number in range(5):
        rows = [i for i in range(n) if found[i] and given[i].any() and fold[i] != number]
        gram = sum(np.outer(design[i], design[i]).astype(float) for i in rows)
        ridge = np.array([RIDGE * np.sqrt(len(rows))] * 8 + [INTERCEPT_RIDGE * len(rows)])
        head = np.linalg.solve(gram + np.diag(ridge), sum(np.outer(design[i], given[i]) for i in rows))
        for i in np.flatnonzero(fold == number):
            scores = np.maximum(design[i] @ head, 0) + LEAST_SCORE
            assert np.allclose(said[i], scores / scores.sum() if found[i] else 0, atol=1e-5)
    turned = given.copy()
    turned[fold == 2] = np.roll(turned[fold == 2], 1, axis=1)
    again = own_posteriors(design, turned, found, fold)
    assert np.array_equal(again[fold == 2], said[fold == 2])
    assert not np.array_equal(again[fold == 1], said[fold == 1])
