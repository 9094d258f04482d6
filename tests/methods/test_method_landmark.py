"""LA-Net's label distributions: by-hand cases, loops, and what each option does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import oracles_landmark as oracle
import pytest

from fercleaner.core.errors import InputError
from fercleaner.core.evidence import Evidence
from fercleaner.core.types import Features, Neighbors, Posteriors, Samples
from fercleaner.methods.generated import make_evidence, renumbered
from fercleaner.methods.landmark.landmark import Landmark, aggregate, certainty, label_bank, mean_of_parts, sharpened
from fercleaner.similarity.distinct import distinct_features, distinct_views

#: Case L1 of LA-Net's code: five faces, two neighbors a space, all scores .5 but two.
P = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7], [0.1, 0.1, 0.8]])
NEAR_U = np.array([[1, 2], [0, 2], [1, 3], [2, 4], [2, 3]])
NEAR_V = np.array([[2, 4], [2, 3], [0, 4], [1, 2], [0, 2]])
LABELS = np.array([0, 0, 1, 2, 2])
ALL = np.ones(5, dtype=bool)


def five(scores_v: np.ndarray | None = None) -> Evidence:
    """Case L1 as evidence; similarities carry the scores of the landmark space through the kernel."""
    ids = np.array(list("abcde"))
    samples = Samples(ids, ("anger", "fear", "sadness"), np.eye(3)[LABELS], ALL, np.full(5, ""))
    level = np.full((5, 2), 0.5)
    similarity_v = level if scores_v is None else scores_v
    return Evidence(
        samples,
        neighbors={
            "emotion": Neighbors("emotion", ids, NEAR_U, level),
            "landmarks": Neighbors("landmarks", ids, NEAR_V, similarity_v),
        },
        posteriors={"probe": Posteriors("probe", ids, samples.classes, P, ALL)},
    )


def test_case_l1_of_the_papers_code():
    scores_v = np.full((5, 2), 0.5)
    scores_v[0] = 0.8, 0.2
    t_u, has_u = aggregate(NEAR_U, np.full((5, 2), 0.5), P, ALL)
    t_v, has_v = aggregate(NEAR_V, scores_v, P, ALL)
    assert has_u.all()
    assert has_v.all()
    np.testing.assert_allclose(t_u[0], [0.4, 0.5, 0.1], atol=1e-12)
    np.testing.assert_allclose(t_v[0], [0.18, 0.58, 0.24], atol=1e-12)
    t, _ = mean_of_parts([(t_u, has_u), (t_v, has_v)], P.shape)
    np.testing.assert_allclose(t[0], [0.29, 0.54, 0.17], atol=1e-12)
    given = np.eye(3)[LABELS]
    first = [
        [0.929, 0.054, 0.017],
        [0.9325, 0.0425, 0.025],
        [0.04, 0.9175, 0.0425],
        [0.0275, 0.045, 0.9275],
        [0.0325, 0.0425, 0.925],
    ]
    np.testing.assert_allclose(label_bank(given, t, 1 - 0.9), first, atol=1e-12)
    np.testing.assert_allclose(label_bank(given, t, 1 - 0.9**2)[0], [0.8651, 0.1026, 0.0323], atol=1e-12)


def test_case_l1_through_the_method():
    similarity = np.full((5, 2), 0.5)
    similarity[0] = 0.5, 0.5 - 0.1 * np.log(4.0)  # exp(s / .1) in the ratio 4 : 1
    rule = Landmark(k=2, temperature=0.1, pooling="spaces", sharpness=1.0, visits=2)
    result = rule.refine(five(similarity), np.random.default_rng(0))
    np.testing.assert_allclose(result.distribution[0], [0.8651, 0.1026, 0.0323], atol=1e-6)
    assert result.quality[0] == pytest.approx(0.8651, abs=1e-6)
    assert result.evidence["expression"][0] == pytest.approx(0.4, abs=1e-6)
    assert result.evidence["landmarks"][0] == pytest.approx(0.18, abs=1e-6)
    assert not result.flagged.any()
    uniform = replace(rule, scores="uniform", visits=1).refine(five(similarity), np.random.default_rng(0))
    np.testing.assert_allclose(uniform.distribution[1], [0.9325, 0.0425, 0.025], atol=1e-6)


@pytest.mark.parametrize(("visits", "margin"), [(7, 0.917), (8, 0.756), (10, 0.535), (15, 0.259), (20, 0.138)])
def test_visits_are_a_margin_dial(visits, margin):
    share = Landmark(visits=visits).bank_share
    limit = (1 - share) / share
    assert limit == pytest.approx(margin, abs=1e-3)
    for gap, flips in ((limit + 1e-6, True), (limit - 1e-6, False)):
        target = np.array([[(1 - gap) / 2, (1 + gap) / 2]])
        bank = label_bank(np.array([[1.0, 0.0]]), target, share)
        assert bool(bank.argmax(1)[0] == 1) is flips


@pytest.mark.parametrize("pooling", ["views", "spaces"])
@pytest.mark.parametrize("sharpness", [1.0, 3.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_loops(pooling, sharpness, seed):
    evidence = make_evidence(np.random.default_rng(seed), 40, 4, soft=bool(seed)).evidence
    rule = Landmark(k=4, pooling=pooling, sharpness=sharpness, visits=12)
    result = rule.refine(evidence, np.random.default_rng(0))
    probe = evidence.posteriors["probe"]
    expected = oracle.landmark(
        evidence.samples.given.astype(float).tolist(),
        evidence.samples.labeled.tolist(),
        {
            v: (t.indices.tolist(), t.similarity.astype(float).tolist())
            for v, t in evidence.neighbors.items()
            if v != "joint"
        },
        probe.values.astype(float).tolist(),
        probe.found.tolist(),
        k=4,
        temperature=rule.temperature,
        spaces=pooling == "spaces",
        sharpness=sharpness,
        momentum=0.9,
        visits=12,
    )
    np.testing.assert_allclose(result.distribution, [row[0] for row in expected], atol=2e-6)
    np.testing.assert_allclose(result.quality, [row[1] for row in expected], atol=2e-6)
    assert result.flagged.tolist() == [row[2] for row in expected]


@pytest.mark.parametrize("level", [0.9, -0.9])
def test_a_narrow_kernel_takes_the_nearest_and_stays_a_distribution(level):
    evidence = five()
    near = {
        name: replace(table, similarity=np.tile([level, level - 0.05], (5, 1)).astype(np.float32))
        for name, table in evidence.neighbors.items()
    }
    method = Landmark(temperature=1e-3, sharpness=1.0)
    result = method.refine(replace(evidence, neighbors=near), np.random.default_rng(0))
    t = (P[NEAR_U[:, 0]] + P[NEAR_V[:, 0]]) / 2
    np.testing.assert_allclose(result.distribution, label_bank(np.eye(3)[LABELS], t, method.bank_share), atol=1e-6)


def test_missing_landmarks_leave_the_expression_views_alone():
    evidence = five()
    table = evidence.neighbors["landmarks"]
    indices, similarity = table.indices.copy(), table.similarity.copy()
    indices[0], similarity[0] = -1, 0
    cut = {**evidence.neighbors, "landmarks": Neighbors("landmarks", table.ids, indices, similarity)}
    rule = Landmark(scores="uniform", pooling="spaces", sharpness=1.0, visits=10)
    both = rule.refine(replace(evidence, neighbors=cut), np.random.default_rng(0))
    alone = {"emotion": evidence.neighbors["emotion"]}
    one = rule.refine(replace(evidence, neighbors=alone), np.random.default_rng(0))
    np.testing.assert_allclose(both.distribution[0], one.distribution[0], atol=1e-7)
    assert np.isnan(both.evidence["disagreement"][0])
    assert not np.isnan(both.evidence["disagreement"][1])


def test_flipped_labels_are_found():
    evidence, truth = make_evidence(np.random.default_rng(3), 400, 5, k=10, flips=0.25, unlabeled=0.0)
    result = Landmark().refine(evidence, np.random.default_rng(0))
    wrong = evidence.samples.label != truth
    assert wrong.mean() == pytest.approx(0.25, abs=0.08)
    assert (result.label == truth).mean() > 0.9 > (~wrong).mean()
    assert (result.flagged == wrong).mean() > 0.9
    assert result.quality[~wrong].min() <= 1
    assert result.quality[wrong].mean() + 0.3 < result.quality[~wrong].mean()


def test_learned_scores_do_not_hang_on_faces_without_vector():
    from fercleaner.methods.landmark.pair_scores import fit_pair_scores

    rng = np.random.default_rng(2)
    n, truth = 60, np.arange(60) % 3
    values = (5 + np.eye(3)[truth] + 0.3 * rng.normal(size=(n, 3))).astype(np.float32)
    near = np.stack([rng.permutation(np.setdiff1d(np.arange(n), [i]))[:5] for i in range(n)])
    p = rng.dirichlet(np.ones(3), n).astype(np.float32)

    def scores(absent: int) -> np.ndarray:
        def more(rows: np.ndarray, value: float) -> np.ndarray:
            return np.concatenate([rows, np.full((absent, *rows.shape[1:]), value, dtype=rows.dtype)])

        return fit_pair_scores(
            [more(values, 0)],
            [more(near, -1)],
            more(p, 0),
            more(np.ones(n, dtype=bool), False),
            more(np.eye(3)[truth], 1 / 3),
            share=np.full(n + absent, 0.8),
            order=np.arange(n + absent),
            rng=np.random.default_rng(0),
            names=["emotion"],
        )["emotion"][:n]

    np.testing.assert_allclose(scores(40), scores(0), atol=1e-5)


def test_learned_scores_trust_the_neighbors_that_agree():
    """A third of the neighbors come from elsewhere and can be told by their vector: they lose their say."""
    rng = np.random.default_rng(0)
    n, k = 300, 6
    truth = np.arange(n) % 3
    odd = rng.random(n) < 0.3
    values = np.concatenate([np.eye(3)[truth] + 0.1 * rng.normal(size=(n, 3)), 3.0 * odd[:, None]], axis=1)
    p = np.where(odd[:, None], np.roll(np.eye(3)[truth], 1, axis=1), np.eye(3)[truth]) * 0.8 + 0.2 / 3
    p[odd] = 1 / 3
    ids = np.array([f"{i:03d}" for i in range(n)])
    indices = np.stack([rng.permutation(np.setdiff1d(np.flatnonzero(truth == truth[i]), [i]))[:k] for i in range(n)])
    samples = Samples(ids, ("anger", "fear", "sadness"), np.eye(3)[truth], np.ones(n, bool), np.full(n, ""))
    evidence = Evidence(
        samples,
        {"emotion": Features("emotion", ids, values, np.ones(n, bool))},
        {"emotion": Neighbors("emotion", ids, indices, np.full((n, k), 0.5))},
        {"probe": Posteriors("probe", ids, samples.classes, p, np.ones(n, bool))},
    )
    from fercleaner.methods.landmark.pair_scores import fit_pair_scores

    scores = fit_pair_scores(
        [values.astype(np.float32)],
        [indices],
        p.astype(np.float32),
        np.ones(n, dtype=bool),
        np.eye(3)[truth],
        share=np.full(n, 0.8),
        order=np.arange(n),
        rng=np.random.default_rng(0),
        names=["emotion"],
        epochs=25,
    )["emotion"]
    assert scores.shape == (n, k)
    assert (scores > 0).all()
    assert (scores < 1).all()
    plain = ~odd
    assert scores[plain][odd[indices[plain]]].mean() < 0.7 * scores[plain][~odd[indices[plain]]].mean()
    rule = Landmark(k=k, scores="learned")
    assert rule.needs == {"neighbors", "posteriors", "features"}
    assert Landmark().needs == {"neighbors", "posteriors"}
    order = rng.permutation(n)
    here = rule.refine(evidence, np.random.default_rng(1))
    there = rule.refine(renumbered(evidence, order), np.random.default_rng(1))
    np.testing.assert_allclose(here.distribution[order], there.distribution, atol=1e-4)
    with pytest.raises(InputError, match=r"needs features"):
        rule.refine(replace(evidence, features={}), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "at least one neighbor"),
        ({"scores": "best"}, "choose kernel, uniform or learned"),
        ({"pooling": "max"}, "choose views or spaces"),
        ({"sharpness": 0.0}, "must be above 0"),
        ({"momentum": 1.5}, "momentum must lie in"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(InputError, match=message):
        Landmark(**change)


def test_an_unknown_witness_is_named():
    with pytest.raises(InputError, match=r"no posteriors 'panel'; there are probe. Name one with --set source=probe"):
        Landmark(source="panel").refine(five(), np.random.default_rng(0))


def test_views_are_told_apart_by_content():
    evidence = make_evidence(np.random.default_rng(0)).evidence
    emotion, points = evidence.neighbors["emotion"], evidence.neighbors["landmarks"]
    twice = {"zz": emotion, "emotion": emotion, "aa": points, "landmarks": points}
    found = distinct_views(replace(evidence, neighbors=twice))
    assert list(found) == ["emotion", "landmarks"]
    assert found["landmarks"] is points
    none = Neighbors("none", points.ids, np.full_like(points.indices, -1), np.zeros_like(points.similarity))
    assert list(distinct_views(replace(evidence, neighbors={"none": none, "emotion": emotion}))) == ["emotion"]
    vectors = {"b": evidence.features["emotion"], "a": evidence.features["emotion"]}
    assert list(distinct_features(replace(evidence, features=vectors))) == ["a"]


def test_small_helpers():
    np.testing.assert_allclose(sharpened(np.array([[0.5, 0.25, 0.25]]), 2.0), [[2 / 3, 1 / 6, 1 / 6]])
    np.testing.assert_allclose(sharpened(np.zeros((1, 4)), 3.0), np.full((1, 4), 0.25))
    np.testing.assert_allclose(certainty(np.array([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]])), [1, 0, 0.5])


def test_case_l2_of_the_papers_code():
    torch = pytest.importorskip("torch")
    from fercleaner.methods.landmark.contrast import contrastive_loss

    q, k = [[1.0, 0.0], [0.6, 0.8]], [[0.8, 0.6], [0.0, 1.0]]
    queue, ids = [[0.0, 1.0], [0.6, 0.8], [-1.0, 0.0]], [3, 1, -7]
    for labels, rows, loss in (([3, 3], [3.0647, 1.5200], 2.2923), ([3, -5], [0.1269, 2.2395], 1.1832)):
        assert oracle.contrastive(q, k, queue, labels, ids, 0.1) == pytest.approx(rows, abs=1e-4)
        tensors = [torch.tensor(x) for x in (q, k, queue, labels, ids)]
        assert float(contrastive_loss(*tensors, temperature=0.1)) == pytest.approx(loss, abs=1e-4)


def test_contrastive_loss_equals_the_loops():
    torch = pytest.importorskip("torch")
    from fercleaner.methods.landmark.contrast import contrastive_loss

    rng = np.random.default_rng(5)

    def rows(n: int) -> np.ndarray:
        x = rng.normal(size=(n, 6))
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    q, k, queue = rows(9), rows(9), rows(20)
    labels, ids = rng.integers(-2, 3, 9), rng.integers(-4, 3, 20)
    expected = np.mean(oracle.contrastive(q, k, queue, labels, ids, 0.2))
    tensors = [torch.from_numpy(x) for x in (q, k, queue, labels, ids)]
    assert float(contrastive_loss(*tensors, temperature=0.2)) == pytest.approx(expected, rel=1e-9)


def test_projection_draws_faces_of_a_class_together():
    pytest.importorskip("torch")
    from fercleaner.methods.landmark.contrast import fit_projection, pseudo_labels

    rng = np.random.default_rng(2)
    n = 1000
    truth = np.arange(n) % 4
    values = np.concatenate([3.0 * np.eye(4)[truth], 3.0 * rng.normal(size=(n, 20))], axis=1)
    points = np.concatenate([3.0 * np.eye(4)[truth], 0.5 * rng.normal(size=(n, 10))], axis=1)
    ids = np.array([f"{i:03d}" for i in rng.permutation(n)])
    found = np.ones(n, dtype=bool)
    found[-5:] = False
    points[-5:] = 0
    expression = Features("emotion", ids, values, np.ones(n, bool))
    landmarks = Features("landmarks", ids, points, found)
    train, test = np.arange(0, n, 2), np.arange(1, n, 2)

    def part(view: Features, rows: np.ndarray) -> Features:
        return Features(view.view, view.ids[rows], view.values[rows], view.found[rows])

    def agreement(x: np.ndarray, label: np.ndarray) -> float:
        unit = x - x.mean(0)
        unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
        near = np.argsort(-(unit @ unit.T) + 9 * np.eye(len(x)), axis=1)[:, :10]
        return float((label[near] == label[:, None]).mean())

    bank = 0.9 * np.eye(4)[truth] + 0.025
    fitted = fit_projection(
        part(expression, train), part(landmarks, train), bank[train], np.random.default_rng(0), epochs=10
    )
    out = fitted.apply(part(expression, test))
    assert out.values.shape == (500, 24 + 64)
    assert out.view == "contrast"
    np.testing.assert_allclose(np.linalg.norm(out.values, axis=1), 1, atol=1e-5)
    raw, learned = values[test], fitted.learned(part(expression, test))
    before = agreement(raw, truth[test])
    assert agreement(learned, truth[test]) > before + 0.05
    assert agreement(out.values, truth[test]) > before + 0.02
    x = raw - fitted.mean
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = 0.7 * (x[0] @ x[1]) + 0.3 * (learned[0] @ learned[1])
    assert out.values[0] @ out.values[1] == pytest.approx(expected, abs=1e-5)
    same = fitted.apply(part(expression, test), share=0.0).values
    np.testing.assert_allclose(same[:, :24], x, atol=1e-5)
    with pytest.raises(InputError, match=r"share = 2 must lie in \[0, 1\]"):
        fitted.apply(part(expression, test), share=2)
    order = rng.permutation(n)
    whole = fit_projection(expression, landmarks, bank, np.random.default_rng(0), epochs=2).apply(expression)
    mixed = part(expression, order), part(landmarks, order), bank[order]
    moved = fit_projection(*mixed, np.random.default_rng(0), epochs=2).apply(mixed[0])
    np.testing.assert_allclose(whole.values[order], moved.values, atol=1e-4)
    assert pseudo_labels(np.array([[0.7, 0.3], [0.6, 0.4]])).tolist() == [0, -2]
    with pytest.raises(InputError, match="the projection was trained on 24"):
        fitted.apply(landmarks)
    with pytest.raises(InputError, match="needs at least 2"):
        fit_projection(expression, replace(landmarks, found=np.zeros(n, bool)), bank, np.random.default_rng(0))
    with pytest.raises(InputError, match="must have the same rows"):
        fit_projection(expression, part(landmarks, train), bank, np.random.default_rng(0))
