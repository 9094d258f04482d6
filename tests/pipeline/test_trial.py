"""Trials by injected noise: the flips, the figures and the paired bootstrap against loops, and who is recommended."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fercleaner.core.errors import InputError
from fercleaner.core.groups import group_numbers
from fercleaner.core.types import Features, Posteriors, Refinement, Samples
from fercleaner.evaluation.bootstrap import compare_methods, weighted_average_precision
from fercleaner.evaluation.metrics import average_precision
from fercleaner.methods import build
from fercleaner.methods.base import keep_given, require
from fercleaner.methods.hypergraph.hypergraph import HypergraphPropagation
from fercleaner.noise.estimate import expected_joint
from fercleaner.noise.injection import parse
from fercleaner.pipeline import neighborhoods, trial
from fercleaner.pipeline import refine as pipeline
from fercleaner.pipeline.inputs import Callbacks, Resources, Sources
from fercleaner.pipeline.refine import evidence_for, gather, gather_for, relabeled
from fercleaner.pipeline.trial import enough_seeds, inject, run_trial, runs_of
from fercleaner.pipeline.trial_figures import believed_by_most, led_by, trial_figures

NAMES = ("anger", "fear", "happiness", "neutral")
N = 200
CPU = Resources(device="cpu")
QUIET = Callbacks(note=lambda text: None)


def make_set(n=N, seed=0, spread=1.0, group=None, wrong=0):
    """Samples whose first `wrong` labels are wrong, and two views of them."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 4
    ids = np.array([f"face {i:04d}" for i in range(n)])
    label = np.where(np.arange(n) < wrong, (truth + 1) % 4, truth)
    samples = Samples(ids, NAMES, np.eye(4)[label], np.ones(n, dtype=bool), np.full(n, ""), group=group)
    views = [
        Features(
            name, ids, 1.5 * rng.normal(size=(4, 10))[truth] + spread * rng.normal(size=(n, 10)), np.ones(n, dtype=bool)
        )
        for name in ("a", "b")
    ]
    return samples, views


@dataclass(frozen=True)
class Guessing:
    """A method whose qualities are chance."""

    name: ClassVar[str] = "guessing"
    paper: ClassVar[str] = "none"
    needs: ClassVar[frozenset[str]] = frozenset({"features"})
    optional: ClassVar[frozenset[str]] = frozenset()

    def refine(self, evidence, rng):
        samples = evidence.samples
        require(evidence, self)
        quality = rng.random(len(samples)) * samples.labeled
        given = keep_given(samples)
        return Refinement(samples.ids, samples.classes, given, quality, quality, quality < 0.1, self.name)


@dataclass(frozen=True)
class Probing(Guessing):
    """A method that goes by the probe alone and keeps what it was shown."""

    name: ClassVar[str] = "probing"
    needs: ClassVar[frozenset[str]] = frozenset({"posteriors"})
    seen: ClassVar[list] = []

    def refine(self, evidence, rng):
        require(evidence, self)
        self.seen.append(evidence)
        samples, rows = evidence.samples, evidence.posteriors["probe"].values
        quality = np.where(samples.labeled, rows[np.arange(len(samples)), samples.label], 0)
        return Refinement(
            samples.ids, samples.classes, rows, quality, quality, samples.labeled & (quality < 0.5), self.name
        )


def tried(*methods, noises=("symmetric:0.2",), wrong=0, **options):
    samples, views = make_set(wrong=wrong)
    specs = [parse(text) for text in noises]
    return run_trial(samples, methods, specs, Sources(views=views), CPU, QUIET, **{"seeds": 2, **options})


# Evidence, once for all


def test_evidence_is_gathered_once_and_each_method_gets_its_own_part():
    samples, views = make_set(n=60)
    outside = Posteriors("panel", samples.ids, NAMES, np.full((60, 4), 0.25), np.ones(60, dtype=bool))
    seen = Sources(views=views, posteriors=[outside])
    small, large = HypergraphPropagation(k=4), HypergraphPropagation(k=9)
    shared = gather_for(samples, (small, large, Probing()), seen, CPU, QUIET)
    for method in (small, large, Probing()):
        part, alone = evidence_for(method, shared), gather(samples, method, seen, CPU, QUIET)
        assert part.neighbors.keys() == alone.neighbors.keys()
        for name, table in alone.neighbors.items():
            assert np.array_equal(part.neighbors[name].indices, table.indices)
            assert np.array_equal(part.neighbors[name].similarity, table.similarity)
        assert part.posteriors.keys() == alone.posteriors.keys()
        assert part.features.keys() == alone.features.keys()
    assert "probe" not in evidence_for(small, shared).posteriors
    assert "panel" in evidence_for(small, shared).posteriors


def test_relabeled_evidence_equals_gathering_anew(monkeypatch):
    samples, views = make_set(n=80)
    noisy = inject(samples, parse("symmetric:0.3"), np.random.default_rng(0)).samples
    method, seen = Probing(), Sources(views=views)
    first = gather(samples, method, seen, CPU, QUIET)
    anew = gather(noisy, method, seen, CPU, QUIET)
    without = gather(samples, HypergraphPropagation(k=5), seen, CPU, QUIET)
    monkeypatch.setattr(neighborhoods, "searcher", lambda *a, **k: pytest.fail("neighbors do not hang on labels"))
    again = relabeled(first, noisy, CPU, QUIET)
    assert again.samples is noisy
    np.testing.assert_array_equal(again.posteriors["probe"].values, anew.posteriors["probe"].values)
    assert not np.array_equal(again.posteriors["probe"].values, first.posteriors["probe"].values)
    monkeypatch.setattr(pipeline, "_probe", lambda *a: pytest.fail("nobody asked for the probe"))
    assert relabeled(without, noisy, CPU, QUIET).neighbors is without.neighbors


# Flips


@pytest.mark.parametrize("text", ["symmetric:0.2", "asymmetric:0.2", "sparse:0.5", "instance:0.2", "human:0.2"])
def test_noise_is_put_on_labels_and_on_nothing_else(text):
    samples, views = make_set()
    labeled = np.arange(N) >= 20
    samples = samples.replacing(labeled=labeled, given=np.where(labeled[:, None], samples.given, 0))
    matrix = np.full((4, 4), 0.1) + 0.6 * np.eye(4)
    change = inject(samples, parse(text), np.random.default_rng(0), vectors=views[0].values, matrix=matrix)
    assert not change.flipped[~labeled].any()
    assert np.array_equal(change.flipped, change.samples.label != samples.label)
    assert np.array_equal(change.samples.labeled, labeled)
    if text != "sparse:0.5":
        assert change.flipped.sum() == 36


def test_flips_do_not_hang_on_the_order_of_rows():
    samples, views = make_set()
    order = np.random.default_rng(1).permutation(N)
    moved = Samples(samples.ids[order], NAMES, samples.given[order], samples.labeled[order], samples.paths[order])
    for text in ("symmetric:0.2", "instance:0.2"):
        here = inject(samples, parse(text), np.random.default_rng(0), vectors=views[0].values.astype(float))
        there = inject(moved, parse(text), np.random.default_rng(0), vectors=views[0].values[order].astype(float))
        assert np.array_equal(here.flipped[order], there.flipped)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("symmetric:0", r"Noise 'symmetric:0' flips none of the 200 labels\. Name a higher rate"),
        ("symmetric:1", r"Noise 'symmetric:1' flips all of the 200 labels\. Name a lower rate"),
    ],
)
def test_a_noise_that_leaves_nothing_to_find(text, message):
    with pytest.raises(InputError, match=message):
        tried(Guessing(), noises=(text,))


# Figures


def first_run(samples, views, method):
    return method.refine(gather(samples, method, Sources(views=views), CPU, QUIET), np.random.default_rng(0))


def test_believed_labels_are_those_of_most_methods():
    samples, views = make_set(wrong=20)
    answers = [first_run(samples, views, method) for method in (Probing(), HypergraphPropagation(k=6), Guessing())]
    votes = np.zeros(N)
    for answer in answers:
        for row in range(N):
            votes[row] += not answer.flagged[row] and answer.label[row] == samples.label[row]
    assert np.array_equal(believed_by_most(samples, answers), votes >= 2)
    assert believed_by_most(samples, answers)[:20].mean() < 0.2 < 0.9 < believed_by_most(samples, answers)[20:].mean()
    assert np.array_equal(believed_by_most(samples, answers[:2]), votes_of(samples, answers[:2]) == 2)
    none = samples.replacing(labeled=np.arange(N) > 0, given=np.where((np.arange(N) > 0)[:, None], samples.given, 0))
    assert not believed_by_most(none, answers)[0]


def votes_of(samples, answers):
    return sum((~a.flagged & (a.label == samples.label)).astype(int) for a in answers)


def test_the_figures_are_those_of_the_runs():
    result = tried(Probing(), noises=("symmetric:0.2", "asymmetric:0.1"), wrong=20)
    samples, views = make_set(wrong=20)
    figures = result.methods["probing"]
    first = first_run(samples, views, Probing())
    faces = ~first.flagged & (first.label == samples.label)
    assert result.believed == faces.sum() < result.labeled == N
    weighted, accuracies, recalls = {}, {}, []
    for number, text in enumerate(result.noises):
        areas, heavy, right, precisions = [], [], [], []
        for repeat in range(2):
            change = inject(samples, parse(text), np.random.default_rng([0, number, repeat]))
            answer = first_run(change.samples, views, Probing())
            score, hit = -answer.quality[faces].astype(float), change.flipped[faces]
            areas.append(average_precision(score, hit))
            weight = np.where(hit, max(1.0, (N - faces.sum()) / hit.sum()), 1.0)
            heavy.append(weighted_average_precision(score, hit, weight[None])[0])
            right.append((answer.label == samples.label)[faces].mean())
            precisions.append(hit[answer.flagged[faces]].mean())
            recalls.append(answer.flagged[change.flipped].mean())
        got = figures.by_noise[text]
        assert got["average_precision"].mean == pytest.approx(np.mean(areas))
        assert got["average_precision"].spread == pytest.approx(np.std(areas, ddof=1))
        assert got["accuracy"].mean == pytest.approx(np.mean(right))
        assert got["flag_precision"].mean == pytest.approx(np.mean(precisions))
        weighted[text], accuracies[text] = np.mean(heavy), np.mean(right)
    assert figures.average_precision == pytest.approx(np.mean(list(weighted.values())))
    assert figures.accuracy == pytest.approx(np.mean(list(accuracies.values())))
    assert figures.score == pytest.approx((2 * figures.average_precision + figures.accuracy) / 3)
    assert figures.interval[0] < figures.score < figures.interval[1]
    assert result.noise_rate == pytest.approx((figures.noise_rate + 1 - faces.mean()) / 2)
    assert 0.05 < result.noise_rate < 0.15  # a tenth of these labels is wrong
    assert figures.expected_recall == pytest.approx(np.mean(recalls))
    low, high = figures.precision_range
    assert low <= figures.expected_precision <= high <= 1
    assert low < high
    truly = (np.arange(N) < 20)[first.flagged].mean()
    assert low - 0.1 < truly < high + 0.1


def test_the_word_of_a_method_whose_qualities_are_chances_is_taken():
    samples, views = make_set(wrong=20)
    runs = runs_of(samples, [build("consensus")], [parse("symmetric:0.1")], Sources(views=views), CPU, QUIET, seeds=1)
    first, figures = runs.first["consensus"], trial_figures(runs).methods["consensus"]
    assert first.flagged.sum() >= 10
    assert figures.expected_precision == pytest.approx(1 - first.quality[first.flagged].mean(), abs=1e-6)
    low, high = figures.precision_range
    assert low <= figures.expected_precision <= high


def test_finding_the_sets_own_mistakes_costs_nothing():
    """A method that finds wrong labels that came with the set is not behind one that does not."""
    clean, dirty = tried(Probing(), HypergraphPropagation(k=6)), tried(Probing(), HypergraphPropagation(k=6), wrong=40)
    for name in ("probing", "hypergraph"):
        assert dirty.methods[name].average_precision > clean.methods[name].average_precision - 0.05
    assert dirty.believed < 0.9 * clean.believed


def test_runs_are_as_many_as_give_enough_flips():
    noises = [parse("symmetric:0.05"), parse("human:0.05")]
    assert [enough_seeds(n, noises) for n in (50, 300, 1000, 50_000)] == [5, 4, 1, 1]


def test_a_set_that_no_method_believes_is_refused():
    samples, views = make_set()

    @dataclass(frozen=True)
    class Doubting(Guessing):
        name: ClassVar[str] = "doubting"

        def refine(self, evidence, rng):
            return replace(super().refine(evidence, rng), flagged=evidence.samples.labeled)

    with pytest.raises(InputError, match=r"Most methods believe only 0 of 200 labels"):
        run_trial(samples, [Doubting()], [parse("symmetric:0.2")], Sources(views=views), CPU, QUIET, seeds=1)


def test_the_method_that_finds_the_flips_is_recommended():
    result = tried(Guessing(), HypergraphPropagation(k=6))
    assert result.recommended == "hypergraph"
    assert result.indistinct == ()
    assert list(result.methods) == ["hypergraph", "guessing"]
    assert result.methods["hypergraph"].share_best == 1.0
    assert result.methods["hypergraph"].average_precision > 0.9
    assert 0.1 < result.methods["guessing"].average_precision < 0.4
    plain = json.loads(json.dumps(result.to_dict()))
    assert plain["recommended"] == "hypergraph"
    assert len(plain["assumed"]) == 2
    assert plain["methods"]["guessing"]["by_noise"]["symmetric:0.2"]["auroc"].keys() == {"mean", "spread"}
    assert result.methods["hypergraph"].expected_precision is None  # it flags none of these right labels
    assert repr(result) == repr(tried(Guessing(), HypergraphPropagation(k=6)))


def test_methods_that_say_the_same_are_not_told_apart():
    @dataclass(frozen=True)
    class Twin(Probing):
        name: ClassVar[str] = "twin"

    result = tried(Probing(), Twin())
    assert result.leading == "probing"
    assert result.recommended is None  # only where they part
    assert result.indistinct == ("twin",)
    assert [figures.share_best for figures in result.methods.values()] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("best", "level", "names", "kinds", "expected"),
    [("a", ["a"], ["a", "consensus"], 4, "a"), ("a", ["a", "consensus"], ["a", "consensus"], 4, "consensus"),
     ("a", ["a"], ["a", "consensus"], 1, "consensus"), ("a", ["a", "b"], ["a", "b"], 1, "a")],
)  # fmt: skip
def test_the_default_leads_where_no_other_is_clearly_better(best, level, names, kinds, expected):
    assert led_by(best, level, names, kinds) == expected


def test_human_noise_takes_the_matrix_that_the_methods_let_expect(monkeypatch):
    given_matrix = []
    apply = trial.NoiseSpec.apply

    def spy(self, *args, **more):
        given_matrix.append(more["matrix"])
        return apply(self, *args, **more)

    samples, views = make_set()
    noisy = inject(samples, parse("asymmetric:0.3"), np.random.default_rng(4)).samples
    monkeypatch.setattr(trial.NoiseSpec, "apply", spy)
    methods, seen = (Probing(), HypergraphPropagation(k=6)), Sources(views=views)
    run_trial(noisy, methods, [parse("human")], seen, CPU, QUIET, seeds=1)
    joint = sum(
        expected_joint(noisy.given, m.refine(gather(noisy, m, seen, CPU, QUIET), np.random.default_rng(0)).distribution)
        for m in methods
    )
    np.testing.assert_allclose(given_matrix[0], joint / joint.sum(1, keepdims=True), atol=1e-6)


def test_unfit_methods_are_left_out_or_raise():
    from fercleaner import methods

    result = tried(Guessing(), methods.build("au-prior"), skip_unfit=True)
    assert list(result.methods) == ["guessing"]
    assert "needs action units" in result.skipped["au-prior"]
    with pytest.raises(InputError, match="needs action units"):
        tried(Guessing(), methods.build("au-prior"))
    with pytest.raises(InputError, match=r"No method can judge this set\. Method 'au-prior' needs action units"):
        tried(methods.build("au-prior"), skip_unfit=True)


def test_trials_of_nothing_and_names_given_twice():
    for methods, noises, seeds in (((), ("symmetric:0.2",), 1), ((Guessing(),), (), 1), ((Guessing(),), ("human",), 0)):
        with pytest.raises(InputError, match="it takes at least one of each"):
            tried(*methods, noises=noises, seeds=seeds)
    with pytest.raises(InputError, match=r"Method 'guessing' is there twice\. Name it once"):
        tried(Guessing(), Guessing())
    with pytest.raises(InputError, match=r"Noise 'symmetric:0\.2' is there twice"):
        tried(Guessing(), noises=("symmetric:0.2", "symmetric:.20"))


# The bootstrap


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 5, 1000]))
def test_weighted_average_precision_is_that_of_repeated_rows(seed, steps):
    rng = np.random.default_rng(seed)
    score, hits = np.round(rng.random(20) * steps), rng.random(20) < 0.4
    weights = rng.integers(0, 4, size=(5, 20)).astype(float)
    got = weighted_average_precision(score, hits, weights)
    for row, value in zip(weights, got, strict=True):
        copies = np.repeat(np.arange(20), row.astype(int))
        expected = average_precision(score[copies], hits[copies]) if hits[copies].any() else 0.0
        assert value == pytest.approx(expected)


def test_the_bootstrap_equals_loops():
    rng = np.random.default_rng(0)
    hits = rng.random((5, 60)) < 0.3
    scores = rng.random((3, 5, 60)) + np.array([0.5, 0.45, 0.0])[:, None, None] * hits
    kinds, groups = np.array([0, 0, 0, 1, 1]), rng.integers(0, 25, 60)
    groups = np.unique(groups, return_inverse=True)[1]
    got = compare_methods(scores, hits, kinds, groups, np.random.default_rng(7), draws=40)

    ap = [[average_precision(scores[m, r], hits[r]) for r in range(5)] for m in range(3)]
    mean = [np.mean([np.mean(row[:3]), np.mean(row[3:])]) for row in ap]
    np.testing.assert_allclose(got.average_precision, mean)
    twin = np.random.default_rng(7)
    runs = [twin.multinomial(3, [1 / 3] * 3, size=40), twin.multinomial(2, [0.5] * 2, size=40)]
    count = int(groups.max()) + 1
    picks = twin.integers(count, size=(40, count))
    best, short = np.zeros(3), np.zeros(3)
    for draw in range(40):
        faces = np.concatenate([np.flatnonzero(groups == g) for g in picks[draw]])
        values = []
        for m in range(3):
            figures = [average_precision(scores[m, r][faces], hits[r][faces]) for r in range(5)]
            first = sum(n * f for n, f in zip(runs[0][draw], figures[:3], strict=True)) / 3
            second = sum(n * f for n, f in zip(runs[1][draw], figures[3:], strict=True)) / 2
            values.append((first + second) / 2)
        best[int(np.argmax(values))] += 1
        short += np.array(values) < values[int(np.argmax(mean))] - 1e-12
    np.testing.assert_allclose(got.share_best, best / 40)
    assert np.array_equal(got.level, short / 40 <= 0.95)
    assert got.best == 0
    assert not got.level[2]


def test_blocks_of_draws_change_nothing(monkeypatch):
    from fercleaner.evaluation import bootstrap

    rng = np.random.default_rng(0)
    hits = rng.random((2, 50)) < 0.3
    scores = rng.random((2, 2, 50)) + 0.3 * hits
    arguments = (scores, hits, np.zeros(2, dtype=int), np.arange(50))
    whole = compare_methods(*arguments, np.random.default_rng(1), draws=30)
    monkeypatch.setattr(bootstrap, "BLOCK_SIZE", 300)
    blocks = compare_methods(*arguments, np.random.default_rng(1), draws=30)
    np.testing.assert_array_equal(whole.share_best, blocks.share_best)


def test_large_groups_make_the_bootstrap_less_sure():
    rng = np.random.default_rng(3)
    hits = np.repeat(rng.random((1, 40)) < 0.3, 10, axis=1)
    noise = np.repeat(rng.random((2, 1, 40)), 10, axis=2)  # ten copies of forty faces
    scores = noise + np.array([0.35, 0.25])[:, None, None] * hits
    kinds = np.zeros(1, dtype=int)
    alone = compare_methods(scores, hits, kinds, np.arange(400), np.random.default_rng(0))
    together = compare_methods(scores, hits, kinds, np.arange(400) // 10, np.random.default_rng(0))
    assert max(alone.share_best) > max(together.share_best)


def test_groups_of_samples_are_numbered():
    samples, _ = make_set(n=5, group=np.array(["x", "", "x", "", "face 0001"]))
    numbers = group_numbers(samples.ids, samples.group)
    assert numbers[0] == numbers[2]
    assert len(set(numbers.tolist())) == 4
    assert len(set(group_numbers(samples.ids, None).tolist())) == 5


def test_shapes_that_do_not_fit():
    with pytest.raises(InputError, match=r"compare: suspicion has shape \(2, 3\)"):
        compare_methods(np.zeros((2, 3)), np.zeros((1, 3), bool), [0], [0, 1, 2], np.random.default_rng(0))


def test_a_flip_between_tied_classes_is_none() -> None:
    tied = np.tile([0.5, 0.5, 0.0], (20, 1)).astype(np.float32)
    samples = Samples([f"f{row:02}" for row in range(20)], ("a", "b", "c"), tied, np.ones(20, bool), [""] * 20)
    change = inject(samples, parse("symmetric:0.5"), np.random.default_rng(0))
    assert 0 < change.flipped.sum() < 20
    assert np.array_equal(change.flipped, (change.samples.given != samples.given).any(1))
