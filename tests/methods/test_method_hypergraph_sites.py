"""Sites, uncertainty heads and relabelling margin of `hypergraph`: loops, recovery, and what stays as it was."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import oracles_hypergraph as plain
import oracles_sites as oracle
import pytest
from oracles_hypergraph import self_influence as oracle_of_influence
from test_method_hypergraph import clustered, make, make_samples, run, tables_of

from fercleaner.core.errors import InputError
from fercleaner.core.evidence import Evidence
from fercleaner.core.groups import fold_numbers
from fercleaner.core.types import Neighbors
from fercleaner.evaluation.metrics import auroc
from fercleaner.methods import build as build_method
from fercleaner.methods.generated import renumbered, with_class_order
from fercleaner.methods.hypergraph import hypergraph as module
from fercleaner.methods.hypergraph import uncertainty
from fercleaner.methods.hypergraph.hypergraph import HypergraphPropagation, labels_kept
from fercleaner.noise import sites as site_module
from fercleaner.noise.class_priors import base_rates
from fercleaner.noise.sites import Sites, site_posterior, sites_of


def sited(evidence, site):
    return replace(evidence, samples=evidence.samples.replacing(site=site))


def drawn(seed, n=30, c=3, names=("", "a", "b")):
    """Votes, given labels (some soft, some missing), rows, folds and sites."""
    rng = np.random.default_rng(seed)
    votes, given = rng.dirichlet(np.ones(c), n), np.eye(c)[rng.integers(0, c, n)]
    given[:5] = rng.dirichlet(np.ones(c), 5)
    rows = rng.random(n) < 0.8
    given[~rows] = 0
    return votes, given, rows, rng.integers(0, 4, n), rng.choice(names, n)


def as_sites(site):
    samples = make_samples(np.eye(2)[np.zeros(len(site), dtype=int)]).replacing(site=site)
    found = sites_of(samples)
    assert found is not None
    return found


def same(first, second):
    for name in ("distribution", "weight", "quality", "flagged"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    for name, values in first.evidence.items():
        assert values.tobytes() == second.evidence[name].tobytes()


# --- which faces belong together


def test_sites_are_numbered_by_name_and_faces_of_none_come_last():
    found = as_sites(np.array(["web", "", "lab", "web"]))
    assert found.count == 2
    assert found.number.tolist() == [1, 2, 0, 1]


@pytest.mark.parametrize("site", [None, ["lab"] * 24, [""] * 24, ["lab"] * 12 + ["web"] * 12])
def test_one_site_or_none_gives_the_bits_of_no_site(site):
    """In the last case only one of the two sites has labelled faces."""
    evidence = make(1, n=24)
    labeled = evidence.samples.labeled & (np.arange(24) < 12)
    given = np.where(labeled[:, None], evidence.samples.given, 0)
    evidence = replace(evidence, samples=evidence.samples.replacing(given=given, labeled=labeled))
    site = None if site is None else np.array(site)
    assert sites_of(evidence.samples.replacing(site=site)) is None
    same(run(sited(evidence, site), uncertainty=True), run(evidence, uncertainty=True))


# --- against the loops


@pytest.mark.parametrize("seed", range(3))
def test_site_matrices_and_frequencies_equal_the_loops(seed):
    votes, given, rows, fold, site = drawn(seed)
    sites, pooled = as_sites(site), np.random.default_rng(9).dirichlet(np.ones(3), 3)
    np.testing.assert_allclose(sites.shares(votes, rows), oracle.site_shares(votes, rows, site), atol=1e-10)
    for name in ("counted", "fitted"):
        for number in (None, 0, 2):
            expected = getattr(oracle, name)(votes, given, rows, fold, site, pooled, number)
            found = getattr(sites, name)(votes, given, rows, fold, pooled).of_faces(number)
            np.testing.assert_allclose(found, expected, atol=1e-10)
        np.testing.assert_allclose(found[site == ""], np.broadcast_to(pooled, found[site == ""].shape), atol=1e-12)
        assert np.abs(found - pooled).max() > 0.01


def test_posterior_by_own_matrices_equals_the_loops_in_every_run():
    votes, given, *_ = drawn(0)
    rng = np.random.default_rng(1)
    matrices = rng.dirichlet(np.ones(3), (30, 3))
    matrices[4, :, 0] = 0
    runs = np.stack([votes, rng.dirichlet(np.ones(3), 30)], axis=1)
    expected = [
        [plain.posterior(p, label, t) for p in both] for both, label, t in zip(runs, given, matrices, strict=True)
    ]
    np.testing.assert_allclose(site_posterior(runs, given, matrices), expected, atol=1e-12)
    np.testing.assert_allclose(site_posterior(votes, given, matrices), np.array(expected)[:, 0], atol=1e-12)


@pytest.mark.parametrize(("seed", "grouped"), [(0, False), (5, True), (6, False)])
def test_the_whole_rule_equals_the_loops(monkeypatch, seed, grouped):
    for name in ("propagate", "leave_out_propagate", "left_out_scores"):
        monkeypatch.setattr(module, name, partial(getattr(module, name), tolerance=1e-8))
    monkeypatch.setattr(module, "estimated_influence", lambda graph, alpha, signs: oracle_of_influence(graph, alpha))
    evidence = make(seed, soft=seed == 0, grouped=grouped)
    samples = evidence.samples
    site = np.random.default_rng(seed).choice(["", "a", "b"], len(samples))
    fold = fold_numbers(samples.ids, samples.group, 3, int(np.random.default_rng(seed).integers(2**31)))
    given = samples.given.astype(np.float64)
    settings = {"k": 15, "alpha": 0.8, "gamma": 2.0, "rates": base_rates(samples.classes, "wild").tolist()}
    expected = oracle.refine(tables_of(evidence), given, samples.labeled, fold, site, **settings)
    result = run(sited(evidence, site), seed, rounds=2, folds=3, base_rates="wild")
    np.testing.assert_allclose(result.distribution, expected["distribution"], atol=1e-4)
    alone = run(evidence, seed, folds=3, base_rates="wild").distribution
    assert np.abs(result.distribution - alone).max() > 1e-3


# --- what sites must and must not do


def test_a_small_site_falls_back_on_the_whole_set():
    """With the whole set's matrix at 30 faces a row, n faces of one label move that row by n / (n + 30)."""
    pooled = np.array([[0.9, 0.1], [0.2, 0.8]])
    for n in (1, 3, 30, 300):
        votes, given = np.tile([1.0, 0.0], (n + 1, 1)), np.tile([0.0, 1.0], (n + 1, 1))
        fold = np.append(np.zeros(n, dtype=np.int64), 1)
        sites = Sites(np.zeros(n + 1, dtype=np.int64), 1)
        matrix = sites.counted(votes, given, np.ones(n + 1, dtype=bool), fold, pooled).of_faces()[-1]
        np.testing.assert_allclose(matrix[0], (30 * pooled[0] + [0, n]) / (30 + n), atol=1e-12)
        np.testing.assert_allclose(matrix[1], pooled[1], atol=1e-12)


def test_the_labels_of_a_fold_take_no_part_in_its_matrix():
    votes, given, rows, fold, site = drawn(3)
    sites, pooled = as_sites(site), np.full((3, 3), 1 / 3)
    turned = given.copy()
    turned[fold == 2] = np.roll(turned[fold == 2], 1, axis=1)
    before = sites.counted(votes, given, rows, fold, pooled)
    after = sites.counted(votes, turned, rows, fold, pooled)
    mine, other = fold == 2, fold != 2
    np.testing.assert_allclose(after.of_faces()[mine], before.of_faces()[mine], atol=1e-12)
    assert np.abs(after.of_faces()[other] - before.of_faces()[other]).max() > 1e-3
    np.testing.assert_allclose(after.of_faces(2), before.of_faces(2), atol=1e-12)
    assert np.abs(after.of_faces(1)[other] - before.of_faces(1)[other]).max() > 1e-3


def test_runs_are_read_by_matrices_that_know_no_label_of_their_fold():
    """Each run by its own matrices; votes that are the same in all runs by those without the face's own fold."""
    votes, given, rows, fold, site = drawn(4)
    rng = np.random.default_rng(0)
    matrices = as_sites(site).counted(votes, given, rows, fold, np.full((3, 3), 1 / 3))
    runs, some = rng.dirichlet(np.ones(3), (30, 4)), rng.random(30) < 0.5
    found = matrices.posterior(runs, given)
    for b in range(4):
        expected = site_posterior(runs[:, b], given, matrices.of_faces(b))
        np.testing.assert_allclose(found[:, b], expected, atol=1e-12)
        np.testing.assert_allclose(matrices.posterior(runs, given, some)[:, b], expected[some], atol=1e-12)
        in_run = replace(as_sites(site), run=b).counted(votes, given, rows, fold, np.full((3, 3), 1 / 3))
        np.testing.assert_allclose(in_run.posterior(runs[:, b], given), expected, atol=1e-12)
    own = site_posterior(votes, given, matrices.of_faces())
    np.testing.assert_allclose(matrices.posterior(votes, given), own, atol=1e-12)
    np.testing.assert_allclose(matrices.posterior(votes[:, None], given)[:, 0], own, atol=1e-12)
    np.testing.assert_allclose(matrices.posterior(votes, given, some), own[some], atol=1e-12)


def pools(seed, n=600, c=4, spread=3.0):
    """Faces in overlapping clusters, labelled by three pools; the third calls class 0 mostly 1, and 1 mostly 0."""
    evidence, truth = clustered(seed, n=n, c=c, flips=0.05, spread=spread)
    rng = np.random.default_rng(seed)
    site = rng.choice(["first", "second", "third"], n)
    label = evidence.samples.label.copy()
    swapped = (site == "third") & (label < 2) & (rng.random(n) < 0.8)
    label[swapped] = 1 - label[swapped]
    samples = evidence.samples.replacing(given=np.eye(c, dtype=np.float32)[label])
    return Evidence(samples, neighbors=evidence.neighbors), truth, site


def test_a_pool_that_swaps_two_classes_is_read_by_its_own_matrix():
    """Its labels 0 and 1 are wrong four times in five: by a matrix of its own, eight more of a hundred come right."""
    pooled, own = [], []
    for seed in range(3):
        evidence, truth, site = pools(seed)
        third = (site == "third") & (truth < 2)
        pooled.append((run(evidence).label == truth)[third].mean())
        own.append((run(sited(evidence, site)).label == truth)[third].mean())
    assert np.mean(own) > np.mean(pooled) + 0.05


def test_classes_that_are_rare_at_a_site_are_rarely_read_there():
    """Two overlapping classes, nine tenths of each at one of two sites: votes are read with the site's frequencies."""
    whole, own = [], []
    for seed in range(3):
        evidence, truth = clustered(seed, n=600, c=2, flips=0.1, spread=3.0)
        at_home = np.random.default_rng(seed).random(600) < 0.9
        site = np.where((truth == 0) == at_home, "left", "right")
        whole.append((run(evidence).label != truth).mean())
        own.append((run(sited(evidence, site)).label != truth).mean())
    assert np.mean(own) < 0.6 * np.mean(whole)


def test_renumbering_faces_and_permuting_classes_with_sites():
    evidence = sited(make(4, n=40, c=4), np.random.default_rng(0).choice(["", "a", "b"], 40))
    settings = {"uncertainty": True, "margin": 0.2}
    here = run(evidence, **settings)
    order = np.random.default_rng(1).permutation(40)
    moved = run(renumbered(evidence, order), **settings)
    np.testing.assert_allclose(moved.distribution, here.distribution[order], atol=1e-4)
    np.testing.assert_allclose(moved.evidence["uncertainty"], here.evidence["uncertainty"][order], atol=1e-3)
    classes = np.array([2, 0, 3, 1])
    turned = run(with_class_order(evidence, classes), **settings)
    np.testing.assert_allclose(turned.distribution, here.distribution[:, classes], atol=1e-4)
    np.testing.assert_allclose(turned.evidence["uncertainty"], here.evidence["uncertainty"], atol=1e-3)


def test_a_component_of_one_label_is_left_alone_whatever_the_sites():
    rng = np.random.default_rng(1)
    samples = make_samples(np.eye(3)[[2] * 12 + rng.integers(0, 2, 20).tolist()])
    inside = np.array([rng.choice([j for j in range(12) if j != i], 4, replace=False) for i in range(12)])
    other = np.array([rng.choice([j for j in range(12, 32) if j != i], 4, replace=False) for i in range(12, 32)])
    table = Neighbors("a", samples.ids, np.vstack([inside, other]), -np.sort(-rng.random((32, 4)), axis=1))
    result = run(sited(Evidence(samples, neighbors={"a": table}), rng.choice(["a", "b"], 32)))
    assert (result.label[:12] == 2).all()
    assert not result.flagged[:12].any()


# --- the uncertainty heads


@pytest.mark.parametrize("seed", range(2))
def test_heads_minimize_the_loss_of_the_loops(seed):
    rng = np.random.default_rng(seed)
    z = np.column_stack([rng.normal(size=(40, 2)), np.ones(40)])
    expected, chance, site = rng.uniform(0.05, 1, 40), rng.uniform(0.1, 0.4, 40), rng.integers(0, 3, 40)
    heads = uncertainty.fit_heads(z, expected, chance, site, 2)
    best = oracle.head_loss(heads, z, expected, chance, site, 2)
    for place in np.ndindex(heads.shape):
        for step in (-0.03, 0.03):
            moved = heads.copy()
            moved[place] += step
            assert oracle.head_loss(moved, z, expected, chance, site, 2) > best - 1e-4
    assert best < oracle.head_loss(np.zeros_like(heads), z, expected, chance, site, 2) - 0.5


def test_rank_regularization_by_hand():
    """Ten weights of .5 and .45: means .5 and .45 of seven and three, .10 short of the margin of .15."""
    u = np.array([0.45] * 3 + [0.5] * 7)
    value, slope = uncertainty.rank_loss(u)
    assert value == pytest.approx(10 * 0.1**2)
    np.testing.assert_allclose(slope, [2 * 10 * 0.1 / 3] * 3 + [-2 * 10 * 0.1 / 7] * 7)
    assert uncertainty.rank_loss(np.array([0.1] * 3 + [0.9] * 7))[0] == 0
    assert uncertainty.rank_loss(np.array([0.3]))[0] == 0


def test_a_site_of_few_faces_keeps_the_shared_head():
    rng = np.random.default_rng(0)
    z = np.column_stack([rng.normal(size=(400, 1)), np.ones(400)])
    small = np.arange(400) < 3
    expected = np.where(small, 0.02, 0.95)
    heads = uncertainty.fit_heads(z, expected, np.full(400, 0.2), np.where(small, 0, 1), 2)
    u = uncertainty.relied_on(heads, z, np.where(small, 0, 1))
    assert u[small].min() > 0.8
    large = np.arange(400) < 200
    heads = uncertainty.fit_heads(z, np.where(large, 0.02, 0.95), np.full(400, 0.2), np.where(large, 0, 1), 2)
    u = uncertainty.relied_on(heads, z, np.where(large, 0, 1))
    assert u[large].max() < 0.4 < 0.65 < u[~large].min()


def test_uncertainty_is_greater_where_the_answer_is_wrong():
    """Area under the ROC curve .75 to .94 of three draws; a column that knew nothing would have one half."""
    found = []
    for seed in range(3):
        evidence, truth = clustered(seed, n=500, flips=0.1, spread=1.5)
        result = run(evidence, uncertainty=True)
        unsure = result.evidence["uncertainty"]
        assert ((unsure >= 0) & (unsure <= 1)).all()
        found.append(auroc(unsure, result.label != truth))
    assert np.mean(found) > 0.75


def test_uncertainty_changes_nothing_else_and_is_unknown_where_nothing_speaks():
    evidence = make(3, n=40)
    lone = np.arange(40) < 4
    cut = {
        v: Neighbors(v, t.ids, np.full_like(t.indices, -1), np.zeros_like(t.similarity))
        for v, t in evidence.neighbors.items()
    }
    plainly, with_it = run(evidence), run(evidence, uncertainty=True)
    assert set(with_it.evidence) - set(plainly.evidence) == {"uncertainty"}
    same(plainly, with_it)
    bare = {
        v: Neighbors(
            v,
            t.ids,
            np.where(lone[:, None] | lone[t.indices], -1, t.indices)[:, :1],
            np.where(lone[:, None] | lone[t.indices], 0, t.similarity)[:, :1],
        )
        for v, t in evidence.neighbors.items()
    }
    assert np.isnan(run(replace(evidence, neighbors=bare), uncertainty=True).evidence["uncertainty"][lone]).all()
    assert np.isnan(run(replace(evidence, neighbors=cut), uncertainty=True).evidence["uncertainty"]).all()


def test_no_label_of_a_fold_takes_part_in_its_uncertainty(monkeypatch):
    """With what is fitted to the whole set frozen, turning the labels of one fold leaves its own answer alone."""
    rng = np.random.default_rng(0)
    n, c = 60, 3
    log_ratios, given = rng.normal(size=(n, c)), np.eye(c)[rng.integers(0, c, n)]
    prior, fold, degree = np.full(c, 1 / c), rng.integers(0, 4, n), rng.random(n)
    model = uncertainty.fit_noise(log_ratios, given, prior)
    monkeypatch.setattr(uncertainty, "fit_noise", lambda *_: model)
    turned = given.copy()
    turned[fold == 1] = np.roll(turned[fold == 1], 1, axis=1)
    rows = np.ones(n, dtype=bool)
    before = uncertainty.estimate(log_ratios, given, prior, rows, fold, degree, None)
    after = uncertainty.estimate(log_ratios, turned, prior, rows, fold, degree, None)
    assert np.array_equal(before[fold == 1], after[fold == 1])
    assert not np.array_equal(before, after)


# --- the relabelling margin


def test_the_margin_by_hand():
    """y = A. (.3, .7, 0) leads by .4; a of (1 - a) .3 + a = (1 - a) .7 is 2/7, and both come to one half."""
    given = np.array([[1.0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0], [0.5, 0.5, 0], [0.6, 0.4, 0]])
    refined = np.array([[0.3, 0.7, 0], [0.2, 0.8, 0], [0.6, 0.4, 0], [0.1, 0.2, 0.7], [0.2, 0.5, 0.3], [0.3, 0.6, 0.1]])
    found = labels_kept(refined, given, 0.5)
    np.testing.assert_allclose(found[0], [0.5, 0.5, 0], atol=2e-5)
    np.testing.assert_allclose(found[5], [0.48, 0.48, 0.04], atol=2e-5)
    assert found.argmax(1).tolist() == [0, 1, 0, 2, 1, 0]
    assert np.array_equal(found[1:5], refined[1:5])
    assert labels_kept(refined, given, 0.0) is refined


def test_the_margin_holds_changes_back_and_nothing_else():
    evidence, _ = clustered(1, n=300, flips=0.3, spread=2.5)
    label, free = evidence.samples.label, run(evidence)
    changed = [free.label != label]
    for margin in (0.3, 1.0):
        result = run(evidence, margin=margin)
        for name in ("weight", "quality", "flagged"):
            assert np.array_equal(getattr(result, name), getattr(free, name))
        lead = free.distribution.max(1) - free.distribution[np.arange(300), label]
        assert np.array_equal(result.label != label, lead > margin)
        kept = (lead == 0) | (lead > margin)
        np.testing.assert_allclose(result.distribution[kept], free.distribution[kept], atol=1e-7)
        changed.append(result.label != label)
    assert changed[0].sum() > changed[1].sum() > changed[2].sum() == 0
    assert (changed[0] | ~changed[1]).all()


def test_settings():
    chosen = build_method("hypergraph", {"margin": "0.2", "uncertainty": "true"})
    assert chosen == HypergraphPropagation(margin=0.2, uncertainty=True)
    for margin in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match=rf"hypergraph: margin = {margin}; expected 0 <= margin <= 1"):
            HypergraphPropagation(margin=margin)


def test_constants_of_the_loops_are_those_of_the_code():
    assert (site_module.SITE_FACES, site_module.SHARE_FACES, site_module.MOST_SHARE) == (30.0, 100.0, 100.0)
