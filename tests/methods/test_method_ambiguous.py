"""LEAF's positives and losses, Ada-CM's margins, the expert head, and the method on generated faces."""

from __future__ import annotations

import numpy as np
import oracles_ambiguous as oracle
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fercleaner.classifiers.probe import cross_fit
from fercleaner.core.errors import InputError
from fercleaner.core.evidence import Evidence
from fercleaner.core.types import Features, Neighbors, Posteriors, Refinement, Samples
from fercleaner.methods.ambiguous import experts
from fercleaner.methods.ambiguous.ambiguous import (
    TIE,
    Ambiguous,
    class_margins,
    disagreement,
    distribution_aligned,
    geometric_mean,
    positives,
    pseudo_distribution,
)
from fercleaner.methods.ambiguous.label_graph import graph_votes
from fercleaner.methods.contract import LAWS, check, declared
from fercleaner.methods.generated import make_evidence
from fercleaner.similarity.distinct import distinct_views
from fercleaner.similarity.hypergraph import build, leave_out_propagate

#: q, positives, mu, h, omega (concave): the table of the note on LEAF, 7 classes.
TABLE = [
    ([0.55, 0.25, 0.12, 0.05, 0.02, 0.005, 0.005], 2, 0.306667, 0.12, 0.8361),
    ([0.93, 0.03, 0.02, 0.01, 0.005, 0.003, 0.002], 1, 0.48, 0.03, 0.9808),
    ([0.48, 0.44, 0.03, 0.02, 0.01, 0.01, 0.01], 1, 0.46, 0.44, 0.2181),
    ([0.60, 0.35, 0.02, 0.01, 0.01, 0.005, 0.005], 1, 0.475, 0.35, 0.6174),
    ([0.40, 0.30, 0.18, 0.06, 0.03, 0.02, 0.01], 3, 0.235, 0.06, 0.8946),
    ([1 / 7] * 7, 3, 0.142857, 0.142857, 0.0),
]
SCORES = [2.0, 1.0, 0.5, 0.0, -1.0, -2.0, -2.0]


@pytest.mark.parametrize(("q", "number", "mu", "h", "omega"), TABLE)
def test_table_of_leaf(q: list[float], number: int, mu: float, h: float, omega: float) -> None:
    row = np.array([q])
    concave = positives(row)
    assert concave.number.tolist() == [number]
    if max(q) > min(q):
        assert concave.member[0].tolist() == [1.0] * number + [0.0] * (7 - number)
    else:  # all seven are level for the three places
        np.testing.assert_allclose(concave.member[0], 3 / 7)
    assert concave.weight[0] == pytest.approx(omega, abs=5e-5)
    assert positives(row, shape="linear").weight[0] == pytest.approx((mu - h) / mu, abs=1e-5)
    assert positives(row, shape="convex").weight[0] == pytest.approx((mu - h) / (mu + h), abs=1e-5)
    member, weight = experts.fuzzy_positives(torch.tensor(row), 3, 0.9)
    np.testing.assert_allclose(member.numpy(), concave.member, atol=1e-6)
    np.testing.assert_allclose(weight.numpy(), concave.weight, atol=1e-9)


def test_weights_of_the_first_row_by_shape() -> None:
    row = np.array([TABLE[0][0]])
    assert positives(row, shape="linear").weight[0] == pytest.approx(0.6087, abs=5e-5)
    assert positives(row, shape="convex").weight[0] == pytest.approx(0.4375, abs=5e-5)


def test_a_tie_of_two_gives_both_where_inclusive() -> None:
    tie = np.array([TABLE[2][0]])
    both = positives(tie, inclusive=True)
    assert both.number.tolist() == [2]
    d = pseudo_distribution(tie, both.member)
    np.testing.assert_allclose(d[0, :2], 0.98 * np.array([0.5217391, 0.4782609]) + 0.02 / 7, atol=1e-7)
    first = np.array([TABLE[0][0]])
    np.testing.assert_allclose(
        pseudo_distribution(first, positives(first).member)[0, :2], 0.98 * np.array([0.6875, 0.3125]) + 0.02 / 7
    )


@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(1, 4), st.sampled_from([0.5, 0.9]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_positives_equal_the_loop(seed: int, classes: int, limit: int, mass: float, inclusive: bool) -> None:
    """Rows without level classes, which share places (the next test)."""
    q = np.random.default_rng(seed).dirichlet(np.full(classes, 0.8), 50)
    q = q[np.diff(np.sort(q, axis=1), axis=1).min(1) > 2 * TIE]
    assume(len(q) > 0)
    for shape in ("concave", "linear", "convex"):
        found = positives(q, limit, mass, inclusive=inclusive, shape=shape)  # type: ignore[arg-type]
        for i, row in enumerate(q.tolist()):
            taken = oracle.positives(row, limit, mass, inclusive)
            assert set(np.flatnonzero(found.member[i])) == taken
            assert found.weight[i] == pytest.approx(oracle.weight(row, len(taken), shape), abs=1e-9)
        assert found.number[i] == found.member[i].sum() == len(taken)
    assert ((found.weight >= 0) & (found.weight <= 1)).all()


@pytest.mark.parametrize("inclusive", [False, True])
def test_level_classes_share_the_places_whatever_their_order(inclusive: bool) -> None:
    q = np.array([[0.5, 0.2, 0.1, 0.1, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2], [0.5, 0.5, 0.0, 0.0, 0.0]])
    found = positives(q, inclusive=inclusive)
    third = 1 / 3
    np.testing.assert_allclose(found.member[0], [1, 1, third, third, third])
    np.testing.assert_allclose(found.member[1], 3 / 5)
    np.testing.assert_allclose(found.member[2], [1, 1, 0, 0, 0] if inclusive else [0.5, 0.5, 0, 0, 0])
    order = np.array([4, 2, 0, 3, 1])
    rounded = q[:, order] + np.random.default_rng(0).uniform(-1e-7, 1e-7, q.shape)
    again = positives(rounded, inclusive=inclusive)
    np.testing.assert_allclose(again.member, found.member[:, order])
    np.testing.assert_allclose(again.weight, found.weight, atol=1e-5)
    if not inclusive:
        in_training, _ = experts.fuzzy_positives(torch.tensor(rounded, dtype=torch.float32), 3, 0.9)
        np.testing.assert_allclose(in_training.numpy(), found.member[:, order], atol=1e-6)
    for mass in (0.3, 0.9):
        torch_member, torch_weight = experts.fuzzy_positives(torch.tensor(q), 3, mass)
        same = positives(q, 3, mass)
        np.testing.assert_allclose(torch_member.numpy(), same.member, atol=1e-6)
        np.testing.assert_allclose(torch_weight.numpy(), same.weight, atol=1e-6)


def test_ambiguous_loss() -> None:
    one = torch.zeros(7, dtype=torch.bool)
    one[0] = True
    two = one.clone()
    two[1] = True
    scores = torch.tensor(SCORES, dtype=torch.float64)
    assert float(experts.ambiguous_loss(scores, one)) == pytest.approx(0.594852, abs=1e-6)
    assert float(experts.ambiguous_loss(scores, two)) == pytest.approx(0.976145, abs=1e-6)
    rng = np.random.default_rng(0)
    for _ in range(50):
        s = rng.normal(size=6) * 3
        chosen = set(rng.choice(6, rng.integers(1, 6), replace=False).tolist())
        mask = torch.tensor([c in chosen for c in range(6)])
        got = float(experts.ambiguous_loss(torch.tensor(s), mask))
        assert got == pytest.approx(oracle.ambiguous_loss(s.tolist(), chosen), rel=1e-9)
        alone = torch.arange(6) == 4
        assert float(experts.ambiguous_loss(torch.tensor(s), alone)) == pytest.approx(
            oracle.cross_entropy(s.tolist(), 4), rel=1e-9
        )
    assert float(experts.ambiguous_loss(scores, torch.ones(7, dtype=torch.bool))) == 0.0
    s, m = rng.normal(size=5), np.array([1, 0.5, 0.5, 0, 0])
    pairs = sum(m[a] * (1 - m[b]) * np.exp(s[b] - s[a]) for a in range(5) for b in range(5))
    assert float(experts.ambiguous_loss(torch.tensor(s), torch.tensor(m))) == pytest.approx(np.log1p(pairs), rel=1e-9)


def test_class_margins_shrink_and_have_a_floor() -> None:
    p = np.array([[0.9, 0.1, 0.0]] * 30 + [[0.4, 0.6, 0.0]] * 10 + [[0.2, 0.8, 0.0]] * 5)
    y = np.eye(3)[[0] * 30 + [1] * 10 + [0] * 5]  # the last five are predicted wrongly and do not count
    overall = (30 * 0.9 + 10 * 0.6) / 40
    expected = [
        0.97 * (30 * 0.9 + 10 * overall) / 40,
        0.97 * (10 * 0.6 + 10 * overall) / 20,
        0.97 * overall,
    ]
    np.testing.assert_allclose(class_margins(p, y, 3), expected, rtol=1e-12)
    half = np.array([[0.5, 0.5, 0.0], [0.8, 0.2, 0.0]])  # level: half right, whichever the label
    for name in (0, 1):
        margins = class_margins(half, np.eye(3)[[name, 0]], 3)
        shared = (0.5 * 0.5 + 0.8) / 1.5
        assert margins[2] == pytest.approx(0.97 * shared)
    assert class_margins(np.zeros((0, 3)), np.zeros((0, 3)), 3).tolist() == [0.5] * 3
    assert class_margins(np.zeros((0, 2)), np.zeros((0, 2)), 2).tolist() == [0.75] * 2


def test_gates_and_load() -> None:
    gates = experts.top_gates(torch.tensor([[2.0, 1.0, 0.5]]), 2)
    np.testing.assert_allclose(gates.numpy(), [[0.7311, 0.2689, 0.0]], atol=5e-5)
    assert float(experts.load_loss(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))) == 0.0
    assert float(experts.load_loss(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))) == pytest.approx(1.0)


def test_experts_are_distinct_and_fused_linearly() -> None:
    rng = np.random.default_rng(0)
    design = rng.normal(size=(30, 5)).astype(np.float32)
    given = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 30)]
    trains = np.ones((30, 2), dtype=bool)
    head = experts._Training(design, given, trains, np.ones(30, dtype=bool), None, 3, 2, 2, 0.9)
    head.generator = torch.Generator().manual_seed(0)
    head._build(5, "cpu")
    at = {name: layer.detach().normal_(generator=head.generator) for name, layer in head.layers.items()}
    head.layers = at
    x = torch.from_numpy(head.x)
    scores, gates = head._scores(x)
    assert ((gates > 0).sum(2) == 2).all()
    h = experts.BOTTLENECK
    for f in range(2):
        for i in range(3):
            mixed = torch.zeros(5)
            for e in range(3):
                block = slice((f * 3 + e) * h, (f * 3 + e + 1) * h)
                inner = torch.relu(x[i] @ at["inner"][:, block] + at["inner_bias"][block])
                mixed += gates[i, f, e] * (x[i] + inner @ at["outer"][f, e] + at["outer_bias"][f, e])
            expected = mixed @ at["clf"][f] + at["clf_bias"][f]
            np.testing.assert_allclose(scores[i, f].numpy(), expected.numpy(), rtol=1e-4, atol=1e-3)


def test_expert_head_learns_and_judges_out_of_fold() -> None:
    evidence, truth = make_evidence(np.random.default_rng(0), 240, 4, flips=0.2, unlabeled=0.5, missing=0.0)
    samples = evidence.samples
    made = experts.expert_posteriors(samples, evidence.features, np.random.default_rng(1))
    again = experts.expert_posteriors(samples, evidence.features, np.random.default_rng(1))
    np.testing.assert_array_equal(made.values, again.values)
    assert made.found.all()
    guess = made.values.argmax(1)
    assert (guess == truth)[~samples.labeled].mean() > 0.9
    wrong = samples.labeled & (samples.label != truth)
    assert (guess == truth)[wrong].mean() > 0.8  # a head that saw the flipped label would repeat it


def test_only_faces_whose_label_a_fold_may_not_see_are_pseudo_labelled(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence, _ = make_evidence(np.random.default_rng(0), 60, 3, unlabeled=0.5, missing=0.0)
    samples = evidence.samples
    asked: list[int] = []

    def count(
        self: experts._Training, teacher: torch.Tensor, strong: torch.Tensor, unlabeled: torch.Tensor
    ) -> torch.Tensor:
        asked.append(int(unlabeled.sum()))
        return strong.sum() * 0.0

    monkeypatch.setattr(experts._Training, "_unlabeled", count)
    experts.expert_posteriors(samples, evidence.features, np.random.default_rng(0))
    labeled = int(samples.labeled.sum())
    # five folds: an unlabelled face is unseen by all, a labelled one by the head of its own fold
    assert set(asked) == {5 * (60 - labeled) + labeled}


def test_witnesses_are_combined() -> None:
    a, b = np.array([[0.9, 0.1], [0.5, 0.5]]), np.array([[0.1, 0.9], [0.5, 0.5]])
    np.testing.assert_allclose(geometric_mean([a, b]), [[0.5, 0.5], [0.5, 0.5]])
    np.testing.assert_allclose(geometric_mean([a, a]), a)
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(disagreement([sure, sure[::-1]]), [1, 1])
    np.testing.assert_allclose(disagreement([a, a]), [0, 0], atol=1e-12)
    assert disagreement([a]).tolist() == [0, 0]


def _evidence(values: np.ndarray, label: list[int | None]) -> Evidence:
    n, c = values.shape
    ids = np.array([f"{i:04d}" for i in range(n)])
    classes = tuple(f"c{k}" for k in range(c))
    given = np.zeros((n, c), dtype=np.float32)
    for i, y in enumerate(label):
        if y is not None:
            given[i, y] = 1
    samples = Samples(ids, classes, given, given.sum(1) > 0, np.full(n, ""))
    probe = Posteriors("probe", ids, classes, values.astype(np.float32), values.sum(1) > 0)
    return Evidence(samples, posteriors={"probe": probe})


def test_rule_for_labelled_and_unlabelled_faces() -> None:
    vague = [0.17, 0.16, 0.15, 0.14, 0.13, 0.13, 0.12]
    q = np.array([TABLE[0][0]] * 3 + [TABLE[1][0]] * 2 + [vague] + [[0.0] * 7] * 2)
    method = Ambiguous(experts=0, inclusive=False, sharpen=1.0)
    result = method.refine(_evidence(q, [0, 1, None, 6, None, 6, 3, None]), np.random.default_rng(0))
    d = 0.98 * np.array([0.6875, 0.3125, 0, 0, 0, 0, 0]) + 0.02 / 7
    e = np.eye(7)
    np.testing.assert_allclose(result.distribution[0], 0.2 * e[0] + 0.8 * d, atol=1e-6)
    np.testing.assert_allclose(result.distribution[1], 0.2 * e[1] + 0.8 * d, atol=1e-6)
    np.testing.assert_allclose(result.distribution[2], d, atol=1e-6)
    sure = 0.98 * e[0] + 0.02 / 7
    np.testing.assert_allclose(result.distribution[3], 0.1 * e[6] + 0.9 * sure, atol=1e-6)
    np.testing.assert_allclose(result.distribution[6:], [e[3], np.full(7, 1 / 7)], atol=1e-6)
    # the one correct face sets every margin to .97 x .55: face 5, at .17, is unsure
    assert result.evidence["sure"][:6].tolist() == [1, 1, 1, 1, 1, 0]
    unlabelled = 0.8361
    expected = [1, 1 - 0.5 * (1 - 0.25 / 0.55), unlabelled, 1 - 0.9808, 0.9808, 0.7, 1, 0]
    np.testing.assert_allclose(result.weight, expected, atol=5e-5)
    assert result.flagged.tolist() == [False, True, False, True, False, True, False, False]
    np.testing.assert_allclose(result.quality[:2], [(1 + 0.55 - 0.25) / 2, (1 + 0.25 - 0.55) / 2], atol=1e-6)


def test_a_posterior_that_knows_nothing_contradicts_no_label() -> None:
    q = np.full((3, 4), 0.25)
    result = Ambiguous(experts=0).refine(_evidence(q, [0, 3, None]), np.random.default_rng(0))
    np.testing.assert_allclose(result.weight, [1, 1, 0], atol=1e-6)
    assert not result.flagged.any()
    np.testing.assert_allclose(result.distribution, [[0.4, 0.2, 0.2, 0.2], [0.2, 0.2, 0.2, 0.4], [0.25] * 4], atol=1e-6)


def test_alignment_brings_unlabelled_faces_to_the_labelled_frequencies() -> None:
    rng = np.random.default_rng(0)
    q = rng.dirichlet([4, 1, 1], 300)
    evidence = _evidence(q, [0] * 30 + [1] * 30 + [2] * 30 + [None] * 210)
    out = distribution_aligned(q, evidence.samples, np.ones(300, dtype=bool))
    np.testing.assert_array_equal(out[:90], q[:90])
    np.testing.assert_allclose(out.sum(1), 1)
    before, after = (np.abs(t[90:].mean(0) - 1 / 3).sum() for t in (q, out))
    assert after < 0.5 * before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"positives": 0}, "positives is 0; expected at least 1"),
        ({"mass": 1.0}, "mass is 1.0; expected between 0 and 1"),
        ({"shape": "round"}, "shape 'round' is not known; choose concave, linear, convex"),
        ({"relabel": -0.1}, "relabel is -0.1; expected 0 to 1"),
        ({"sharpen": 0.0}, "sharpen is 0.0; expected a number above 0"),
        ({"active": 0}, "experts is 4 and active 0"),
        ({"k": 0}, "k is 0; at least one neighbor"),
        ({"alpha": 1.0}, "alpha is 1.0; expected 0 <= alpha < 1"),
    ],
)
def test_parameters_are_checked(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Ambiguous(**wrong)  # type: ignore[arg-type]


def _two_moons(labels: int) -> tuple[Evidence, np.ndarray]:
    """Return two long classes side by side of which a straight line splits neither off, a few faces labelled."""
    rng = np.random.default_rng(0)
    n = 300
    truth = np.arange(n) % 2
    angle = rng.uniform(0, np.pi, n)
    x = np.where(truth, 1 - np.cos(angle), np.cos(angle))
    y = np.where(truth, 0.5 - np.sin(angle), np.sin(angle))
    values = np.stack([x, y, np.ones(n)], 1) + 0.05 * rng.normal(size=(n, 3))
    keep = np.zeros(n, dtype=bool)
    keep[:labels] = True
    samples = Samples(
        np.array([f"{i:04d}" for i in range(n)]),
        ("calm", "glad"),
        np.where(keep[:, None], np.eye(2)[truth], 0).astype(np.float32),
        keep,
        np.full(n, ""),
    )
    view = Features("plane", samples.ids, values.astype(np.float32), np.ones(n, dtype=bool))
    apart = -((values[:, None] - values) ** 2).sum(2)
    near = np.argsort(-(apart - 1e9 * np.eye(n)), axis=1)[:, :8]
    table = Neighbors("plane", samples.ids, near, np.exp(np.take_along_axis(apart, near, 1)).astype(np.float32))
    return Evidence(samples, {"plane": view}, {"plane": table}, {"probe": cross_fit(samples, {"plane": view})}), truth


def test_faces_without_a_label_help() -> None:
    torch.set_num_threads(1)
    evidence, truth = _two_moons(labels=14)
    hidden = ~evidence.samples.labeled

    def right(answer: Refinement) -> float:
        return float((answer.label == truth)[hidden].mean())

    alone = declared(evidence, Ambiguous(), optional=False)
    by_probe = right(Ambiguous().refine(alone, np.random.default_rng(0)))
    by_graph = right(Ambiguous(experts=0).refine(evidence, np.random.default_rng(0)))
    by_all = right(Ambiguous().refine(evidence, np.random.default_rng(0)))
    assert by_probe < 0.9
    assert by_graph > by_probe + 0.05
    assert by_all > by_probe + 0.05
    answer = Ambiguous().refine(evidence, np.random.default_rng(0))
    assert np.isfinite(answer.evidence["neighbor_vote"]).sum() == 14


def test_graph_votes_equal_the_loop() -> None:
    evidence, _ = make_evidence(np.random.default_rng(3), 40, 3, unlabeled=0.4, missing=0.2)
    samples, tables = evidence.samples, distinct_views(evidence)
    fold = np.random.default_rng(0).integers(0, 4, 40)
    made = graph_votes(samples, tables, fold, k=4, alpha=0.8)
    assert made.posteriors.name == "graph"
    values, by_fold, spoken = oracle.graph_votes(samples, tables, fold, k=4, alpha=0.8)
    np.testing.assert_array_equal(made.posteriors.found, spoken)
    np.testing.assert_allclose(made.posteriors.values, values, atol=1e-3)
    np.testing.assert_allclose(made.by_fold, by_fold, atol=1e-3)


def test_a_fold_never_hears_its_own_labels() -> None:
    evidence, _ = make_evidence(np.random.default_rng(5), 60, 3, unlabeled=0.3, missing=0.0)
    samples, tables = evidence.samples, distinct_views(evidence)
    fold = np.arange(60) % 3
    before = graph_votes(samples, tables, fold)
    row = int(np.flatnonzero(samples.labeled & (fold == 1))[0])
    assert np.abs(before.by_fold[:, 1].sum(1) - 1).max() < 1e-5
    runs = leave_out_propagate(build(tables), samples.given, fold, 0.9)
    given = samples.given.copy()
    given[row] = np.roll(given[row], 1)
    again = leave_out_propagate(build(tables), given, fold, 0.9)
    np.testing.assert_array_equal(runs[:, 1], again[:, 1])
    assert np.abs(runs[:, 0] - again[:, 0]).max() > 0


def test_votes_teach_the_experts() -> None:
    torch.set_num_threads(1)
    evidence, truth = make_evidence(np.random.default_rng(0), 120, 3, unlabeled=0.9, missing=0.0, flips=0.0)
    samples, fold = evidence.samples, np.arange(120) % 5
    turned = np.eye(3)[(truth + 1) % 3]
    votes = np.repeat((0.02 + 0.94 * turned)[:, None], 5, axis=1)
    made = experts.expert_posteriors(samples, evidence.features, np.random.default_rng(1), fold=fold, votes=votes)
    hidden = ~samples.labeled
    assert (made.values.argmax(1) == (truth + 1) % 3)[hidden].mean() > 0.8  # they believe what they are told
    free = experts.expert_posteriors(samples, evidence.features, np.random.default_rng(1), fold=fold)
    assert (free.values.argmax(1) == truth)[hidden].mean() > 0.8


def test_classes_that_no_label_names_stay_level() -> None:
    """Two faces and eight classes: whatever is not named gets the same, in whatever column it stands."""
    torch.set_num_threads(1)
    for seed in range(4):
        evidence, _ = make_evidence(np.random.default_rng(seed), 2, 8, k=1, unlabeled=0.0, missing=0.0)
        result = Ambiguous().refine(evidence, np.random.default_rng(0))
        unnamed = evidence.samples.given.max(0) == 0
        assert np.ptp(result.distribution[:, unnamed], axis=1).max() < 1e-4


@pytest.mark.parametrize("law", LAWS)
def test_laws_without_experts(law: str) -> None:
    check(Ambiguous(experts=0), laws=[law])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_leaves_no_class_neither_positive_nor_level(dtype):
    """Scores that lie the width of a tie apart, up to the last bit: places taken are as many as counted."""
    second = np.linspace(0.14, 0.2, 4001).astype(dtype)
    near = second + dtype(experts.TIE)
    for first in (np.nextafter(near, dtype(0)), near, np.nextafter(near, dtype(1))):
        rest = (1 - dtype(0.35) - first - second) / 3
        q = np.stack([np.full_like(first, 0.35), first, second, rest, rest, rest], 1)
        found = positives(q.astype(np.float64), 3, 0.9)
        assert found.member.max() <= 1
        np.testing.assert_allclose(found.member.sum(1), found.number)
        member, _ = experts.fuzzy_positives(torch.tensor(q), 3, 0.9)
        assert float(member.max()) <= 1
        loss = experts.ambiguous_loss(torch.zeros(member.shape), member)
        assert bool(torch.isfinite(loss).all())
