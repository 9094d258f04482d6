"""What a site sends and what the coordinator makes of it: closed forms, loops, and sites that lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fercleaner.federation.heads import CONSTANT_RIDGE, HOLD, Step, learned_mix, posteriors, shortened
from fercleaner.federation.rounds import (
    Update,
    averaged,
    bounded,
    check_update,
    dealt,
    next_part,
    others,
    start,
)
from fercleaner.federation.terms import SiteError, Terms

TERMS = Terms(("a", "b", "c"), (("v", 4, "vectors"),), 8, 0, 1.0, "", 0.02, rounds=3, parts=3, least_faces=5)


def data(seed, n=60):
    rng = np.random.default_rng(seed)
    design = np.concatenate([rng.normal(size=(n, 8)) / 3, np.ones((n, 1))], axis=1).astype(np.float32)
    return design, rng.dirichlet(np.ones(3), n), rng.random(n)


def ridge_head(designs, targets, weights):
    """The weighted ridge head of all faces, by the normal equations."""
    x, r, w = np.concatenate(designs).astype(float), np.concatenate(targets), np.concatenate(weights)
    gram = sum(w[i] * np.outer(x[i], x[i]) for i in range(len(x))) / w.sum()
    right = sum(w[i] * np.outer(x[i], r[i]) for i in range(len(x))) / w.sum()
    return np.linalg.solve(gram + np.diag([TERMS.ridge] * 8 + [CONSTANT_RIDGE]), right)


def test_a_step_is_the_ridge_head_held_to_the_shared_one():
    design, targets, weight = data(0)
    head = np.random.default_rng(1).normal(size=(10, 3))
    x = design.astype(float)
    gram = (x * weight[:, None]).T @ x / weight.sum()
    right = (x * weight[:, None]).T @ targets / weight.sum()
    ridge = np.diag([TERMS.ridge] * 8 + [CONSTANT_RIDGE])
    wanted = np.linalg.solve(gram + ridge + HOLD * np.eye(9), right + HOLD * head[:-1])
    stepped = head + Step(design, targets, weight, TERMS).of(head)
    assert np.allclose(stepped[:-1], wanted, atol=1e-9)
    assert np.allclose(stepped[-1], np.average(targets, axis=0, weights=weight), atol=1e-12)


def test_steps_lead_a_site_to_its_ridge_head():
    design, targets, weight = data(0)
    step, head = Step(design, targets, weight, TERMS), np.zeros((10, 3))
    for _ in range(60):
        head = head + step.of(head)
    assert np.allclose(head[:-1], ridge_head([design], [targets], [weight]), atol=1e-6)


def test_rounds_lead_sites_of_like_faces_to_the_head_of_all_in_one_place():
    parts = [data(seed, 600) for seed in range(3)]
    everyone = [np.ones(len(w)) for *_, w in parts]
    steps = [Step(x, r, w, TERMS) for (x, r, _), w in zip(parts, everyone, strict=True)]
    heads = start(TERMS)
    for _ in range(60):
        came = [Update(str(i), i, 600, step.send(others(heads, i))) for i, step in enumerate(steps)]
        heads = averaged(heads, came, TERMS)
    elsewhere = ridge_head([x for x, *_ in parts[1:]], [r for _, r, _ in parts[1:]], everyone[1:])
    alone = ridge_head([parts[1][0]], [parts[1][1]], everyone[1:2])
    assert np.abs(heads[0, :-1] - elsewhere).max() < 0.1 * np.abs(alone - elsewhere).max()
    assert np.allclose(learned_mix(heads[0]), np.mean([r.mean(0) for _, r, _ in parts[1:]], axis=0), atol=0.01)


def test_a_head_never_learns_from_its_own_part():
    heads = start(TERMS)
    rng = np.random.default_rng(3)

    def after(seed):
        design, targets, weight = data(seed)
        first = Update("first", 0, 60, Step(design, targets, weight, TERMS).send(others(heads, 0)))
        rest = [Update(str(p), p, 60, Step(*data(10 + p), TERMS).send(others(heads, p))) for p in (1, 2)]
        return averaged(heads, [first, *rest], TERMS)

    one, other = after(0), after(int(rng.integers(50, 99)))
    assert np.array_equal(one[0], other[0])
    assert not np.allclose(one[1], other[1])
    assert not np.allclose(one[2], other[2])


def updates(seeds=(0, 1, 2, 3, 4, 5)):
    heads = start(TERMS)
    return [Update(f"s{i}", i % 3, 60, Step(*data(i), TERMS).send(others(heads, i % 3))) for i in seeds]


def test_the_mean_is_that_of_loops():
    came = [replace(update, faces=50 + 10 * i) for i, update in enumerate(updates())]
    heads = averaged(start(TERMS), came, TERMS)
    for part in range(3):
        sent = [u for u in came if u.part != part]
        steps = [u.steps[[q for q in range(3) if q != u.part].index(part)].astype(float) for u in sent]
        median = np.median([np.linalg.norm(step) for step in steps])
        weights = bounded(np.array([float(u.faces) for u in sent]))
        total = np.zeros((10, 3))
        for step, weight in zip(steps, weights, strict=True):
            total += weight * step * min(1.0, median / np.linalg.norm(step))
        assert np.allclose(heads[part], total, atol=1e-6)


def test_the_order_in_which_sites_answer_changes_no_bit():
    came = updates()
    assert np.array_equal(averaged(start(TERMS), came, TERMS), averaged(start(TERMS), came[::-1], TERMS))


def test_scaled_weights_do_not_move_the_heads_far():
    came = updates()
    honest = averaged(start(TERMS), came, TERMS)
    lie = replace(came[0], steps=came[0].steps * np.float32(-1e6))
    lied = averaged(start(TERMS), [lie, *came[1:]], TERMS)
    norm = np.median([np.linalg.norm(step) for update in came for step in update.steps])
    assert np.linalg.norm(lied - honest, axis=(1, 2)).max() < norm


def test_a_site_that_boasts_of_faces_weighs_a_fifth_at_most():
    assert np.allclose(
        bounded(np.array([1e9, 30.0, 10.0, 20.0, 20.0, 20.0])), [0.2, 0.2, 0.086, 0.171, 0.171, 0.171], atol=1e-3
    )
    even = np.array([10.0, 20.0, 10.0, 20.0, 10.0, 20.0, 10.0])
    assert np.allclose(bounded(even), even / 100)
    assert np.allclose(bounded(np.array([5.0, 700.0, 20.0])), 1 / 3)
    assert bounded(np.array([7.0])).tolist() == [1.0]
    rng = np.random.default_rng(0)
    for _ in range(50):
        weight = bounded(np.exp(3 * rng.normal(size=rng.integers(2, 20))))
        assert np.isclose(weight.sum(), 1)
        assert weight.max() <= max(0.2, 1 / len(weight)) + 1e-9
        assert len(weight) > 5 or np.allclose(weight, 1 / len(weight))


def test_steps_are_shortened_to_the_median():
    came = updates()
    longer = [replace(came[0], steps=came[0].steps * np.float32(k)) for k in (100, 1000)]
    assert np.allclose(
        averaged(start(TERMS), [longer[0], *came[1:]], TERMS),
        averaged(start(TERMS), [longer[1], *came[1:]], TERMS),
        atol=1e-6,
    )


def test_what_cannot_be_is_refused_and_names_the_site():
    good = updates()[0]
    bad = good.steps.copy()
    bad[0, 0, 0] = np.nan
    with pytest.raises(SiteError, match=r"Site 's0' sent NaN or infinity \(1 numbers\)"):
        check_update(replace(good, steps=bad), TERMS)
    with pytest.raises(SiteError, match=r"Site 's0' sent shape \(1, 10, 3\); expected \(2, 10, 3\)"):
        check_update(replace(good, steps=good.steps[:1]), TERMS)
    with pytest.raises(SiteError, match="Site 's0' sent what 4 faces say; at least 5"):
        check_update(replace(good, faces=4), TERMS)
    with pytest.raises(SiteError, match="part 3; parts are 0 to 2"):
        check_update(replace(good, part=3), TERMS)


def test_a_site_of_few_faces_sends_nothing():
    design, targets, weight = data(0)
    with pytest.raises(SiteError, match="4 labeled faces with a vector are fewer than the 5"):
        Step(design, targets, np.where(np.arange(60) < 4, weight, 0), TERMS)


def test_a_step_is_shortened_and_noise_is_as_long_as_asked():
    assert np.isclose(np.linalg.norm(shortened(np.full((3, 3), 9.0), 2.0)), 2.0)
    assert np.array_equal(shortened(np.full((3, 3), 0.1), 2.0), np.full((3, 3), 0.1))
    step, heads = Step(*data(0), TERMS), others(start(TERMS), 0)
    clear, noisy = step.send(heads), step.send(heads, 1.0, np.random.default_rng(0))
    apart = np.linalg.norm(noisy - clear, axis=(1, 2))
    assert np.allclose(apart, TERMS.most_norm, rtol=0.5)


def test_broken_heads_are_refused():
    with pytest.raises(SiteError, match="The heads hold NaN"):
        Step(*data(0), TERMS).send(np.full((2, *TERMS.shape[1:]), np.nan, dtype=np.float32))


def test_what_a_head_says_is_a_distribution():
    design, *_ = data(0)
    found = np.arange(60) % 7 > 0
    said = posteriors(design, found, np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32))
    assert np.allclose(said[found].sum(1), 1)
    assert (said[found] > 0).all()
    assert not said[~found].any()


def test_class_frequencies_of_a_head_are_above_zero_whatever_a_site_sends():
    head = np.zeros((10, 3))
    head[-1] = [0.7, 0.3, -50.0]
    assert np.allclose(learned_mix(head), np.array([0.705, 0.305, 0.005]) / 1.015)
    assert np.allclose(learned_mix(np.zeros((10, 3))), 1 / 3)


def test_sites_are_dealt_evenly_and_later_ones_fill_up():
    parts = dealt(["d", "a", "c", "b"], 3)
    assert parts == {"a": 0, "b": 1, "c": 2, "d": 0}
    assert next_part(parts, 3) == 1
