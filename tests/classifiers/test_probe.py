"""Cross-fitted posteriors: out of fold, grouped, independent of row order, calibrated, and strong on real faces."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fercleaner.classifiers import linear as heads
from fercleaner.classifiers.probe import assign_folds, calibrate, cross_fit, mirror_fit, side_by_side
from fercleaner.core.devices import torch_device
from fercleaner.core.errors import InputError
from fercleaner.core.numeric import softmax
from fercleaner.core.types import Features, Posteriors, Samples
from fercleaner.evaluation.metrics import auroc

torch.set_num_threads(1)
FERPLUS = Path(os.environ.get("FERCLEANER_FERPLUS", Path(__file__).parents[3] / "shared" / "ferplus"))


def _faces(
    n: int, classes: int = 3, *, seed: int = 0, flips: float = 0.0, spread: float = 0.5, dim: int = 6
) -> tuple[Samples, dict[str, Features], np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(n) % classes)
    label = np.where(rng.random(n) < flips, (truth + rng.integers(1, classes, n)) % classes, truth)
    ids = np.array([f"face {i}" for i in rng.permutation(n)])
    center = rng.normal(size=(classes, dim))
    samples = Samples(
        ids, tuple(f"c{k}" for k in range(classes)), np.eye(classes)[label], np.ones(n, dtype=bool), np.full(n, "")
    )
    values = center[truth] + spread * rng.normal(size=(n, dim))
    return samples, {"a": Features("a", ids, values, np.ones(n, dtype=bool))}, truth


def _taken(samples: Samples, views: dict[str, Features], order: np.ndarray) -> tuple[Samples, dict[str, Features]]:
    new = samples.replacing(
        ids=samples.ids[order],
        given=samples.given[order],
        labeled=samples.labeled[order],
        paths=samples.paths[order],
        group=None if samples.group is None else samples.group[order],
    )
    tables = {k: Features(k, new.ids, v.values[order], v.found[order]) for k, v in views.items()}
    return new, tables


def test_finds_flipped_labels() -> None:
    samples, views, truth = _faces(600, 4, flips=0.2)
    probe = cross_fit(samples, views)
    assert probe.name == "probe"
    assert probe.found.all()
    np.testing.assert_allclose(probe.values.sum(1), 1, atol=1e-5)
    assert (probe.values.argmax(1) == truth).mean() > 0.9
    wrong = samples.label != truth
    own = probe.values[np.arange(600), samples.label]
    assert auroc(-own, wrong) > 0.95
    assert probe.margin is not None
    assert auroc(-probe.margin, wrong) > 0.95


def test_a_label_has_no_say_in_its_own_posterior() -> None:
    samples, views, _ = _faces(120, 3)
    group = np.array([f"g{i // 2}" for i in range(120)])
    samples = samples.replacing(group=group)
    before = cross_fit(samples, views)
    # folds are dealt by the label of a group's first id: only the other member's label is changed
    second = int(max((10, 11), key=lambda row: str(samples.ids[row])))
    given = samples.given.copy()
    given[second] = np.roll(given[second], 1)
    fold = assign_folds(samples, 5, 0)
    changed = samples.replacing(given=given)
    np.testing.assert_array_equal(fold, assign_folds(changed, 5, 0))
    after = cross_fit(changed, views)
    # one temperature is shared by all; what is left after it must not move within the fold
    scores = [np.log(p.values[fold == fold[10]].astype(np.float64)) for p in (before, after)]
    flat = [s - s.mean(1, keepdims=True) for s in scores]
    scale = (flat[0] * flat[1]).sum() / (flat[0] ** 2).sum()
    np.testing.assert_allclose(flat[1], scale * flat[0], atol=1e-3)
    outside = fold != fold[10]
    assert np.abs(before.values[outside] - after.values[outside]).max() > 1e-4


def test_folds_keep_groups_spread_classes_and_ignore_row_and_class_order() -> None:
    samples, views, _ = _faces(203, 4)
    rng = np.random.default_rng(5)
    samples = samples.replacing(group=np.array([f"g{i}" for i in rng.integers(0, 90, 203)]))
    fold = assign_folds(samples, 5, 0)
    assert set(fold) == set(range(5))
    for group in np.unique(samples.group):
        assert len(set(fold[samples.group == group])) == 1
    order = rng.permutation(203)
    np.testing.assert_array_equal(assign_folds(_taken(samples, views, order)[0], 5, 0), fold[order])
    turned = samples.replacing(given=samples.given[:, [2, 0, 3, 1]])
    np.testing.assert_array_equal(assign_folds(turned, 5, 0), fold)
    assert not np.array_equal(assign_folds(samples, 5, 1), fold)
    alone = samples.replacing(group=np.full(203, ""))  # "" is no group: everybody for himself
    table = np.array([np.bincount(assign_folds(alone, 5, 0)[alone.label == c], minlength=5) for c in range(4)])
    assert (np.ptp(table, axis=1) <= 1).all()
    few = assign_folds(samples, 500, 0)
    assert few.max() + 1 == len(np.unique(samples.group))


def test_renumbering_faces_renumbers_the_bits() -> None:
    samples, views, _ = _faces(90, 3, flips=0.1)
    order = np.random.default_rng(1).permutation(90)
    here, there = cross_fit(samples, views), cross_fit(*_taken(samples, views, order))
    np.testing.assert_array_equal(here.values[order], there.values)
    assert here.margin is not None
    assert there.margin is not None
    np.testing.assert_array_equal(here.margin[order], there.margin)


def test_views_side_by_side() -> None:
    samples, views, _ = _faces(50)
    found = np.arange(50) % 5 > 0
    part = np.where(found[:, None], np.random.default_rng(0).normal(size=(50, 3)) * [1, 100, 0] + 7, 0)
    both = {**views, "b": Features("b", samples.ids, part, found)}
    design, any_found = side_by_side(samples, both)
    assert design.shape == (50, 6 + 3 + 1)
    assert any_found.all()
    np.testing.assert_allclose(np.linalg.norm(design[:, :6], axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(design[found, 6:9], axis=1), 1, rtol=1e-5)
    assert not design[~found, 6:9].any()
    assert not design[:, 8].any()  # a column that never moves says nothing
    np.testing.assert_array_equal(design[:, 9], ~found)
    z = (part[found] - part[found].mean(0))[:, :2] / part[found].std(0)[:2]
    np.testing.assert_allclose(design[found, 6:8], z / np.linalg.norm(z, axis=1, keepdims=True), rtol=1e-3, atol=1e-5)
    twice = {**both, "a again": Features("a again", samples.ids, views["a"].values, views["a"].found)}
    np.testing.assert_array_equal(side_by_side(samples, twice)[0], design)


def test_missing_and_unlabelled_faces() -> None:
    samples, views, truth = _faces(200, 3)
    found = np.arange(200) >= 10
    labeled = np.arange(200) % 3 > 0
    samples = samples.replacing(given=np.where(labeled[:, None], samples.given, 0), labeled=labeled)
    values = np.where(found[:, None], views["a"].values, 0)
    probe = cross_fit(samples, {"a": Features("a", samples.ids, values, found)})
    np.testing.assert_array_equal(probe.found, found)
    assert not probe.values[~found].any()
    assert probe.margin is not None
    assert not probe.margin[~(found & labeled)].any()
    assert (probe.values.argmax(1) == truth)[found & ~labeled].mean() > 0.85


def test_small_and_lopsided_sets() -> None:
    two, views, _ = _faces(2, 2)
    probe = cross_fit(two, views)
    assert probe.found.all()
    np.testing.assert_allclose(probe.values.sum(1), 1, atol=1e-5)
    samples, views, _ = _faces(30, 2)
    given = np.zeros((30, 5))
    given[:, 1:3] = samples.given
    given[0] = np.eye(5)[4]  # a class of one; classes 0 and 3 have nobody
    rare = replace(samples, classes=tuple("abcde"), given=given)
    probe = cross_fit(rare, views)
    assert probe.found.all()
    assert (probe.values[:, [0, 3]] < 0.1).all()
    one = samples.replacing(given=np.where(np.arange(30)[:, None] == 4, samples.given, 0), labeled=np.arange(30) == 4)
    alone = cross_fit(one, views)
    assert not alone.found[4]  # nobody else could be asked


def test_soft_labels_are_learned_as_distributions() -> None:
    samples, views, truth = _faces(600, 2, spread=0.3)
    soft = np.where(np.eye(2)[truth] > 0, 0.7, 0.3)
    probe = cross_fit(samples.replacing(given=soft), views)
    assert np.abs(probe.values - soft).mean() < 0.05
    np.testing.assert_allclose(probe.values, soft, atol=0.2)


def test_linear_head_reaches_the_ridge_optimum() -> None:
    samples, views, _ = _faces(300, 3, flips=0.2)
    design, _ = side_by_side(samples, views)
    trains = np.ones((300, 1), dtype=bool)
    logits, _ = heads.fit_linear(design, samples.given, trains, "cpu", None)
    x, y = torch.from_numpy(design).double(), torch.from_numpy(samples.given.copy()).double()
    w = torch.zeros((6, 3), dtype=torch.float64, requires_grad=True)
    b = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    ridge = heads.RIDGE / 300**0.5
    solver = torch.optim.LBFGS([w, b], max_iter=300, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = torch.nn.functional.cross_entropy(x @ w + b, y) + ridge * (w**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(closure)  # type: ignore[no-untyped-call]
    expected = softmax((x @ w + b).detach().numpy())
    np.testing.assert_allclose(softmax(logits[:, 0]), expected, atol=0.01)


def _soft_targets(n: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A design, soft targets (n, 4), and who trains each of three heads."""
    rng = np.random.default_rng(3)
    samples, views, truth = _faces(n, 4)
    design, _ = side_by_side(samples, views)
    given = 0.35 * np.eye(4)[truth] + 0.65 * rng.dirichlet(np.ones(4), n)
    return design, given.astype(np.float32), np.arange(n)[:, None] % 3 != np.arange(3)


def test_heads_trained_at_once_equal_those_trained_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    design, given, trains = _soft_targets()
    logits, margin = heads.fit_linear(design, given, trains, "cpu", None)
    assert logits.shape == (80, 3, 4)
    assert not margin[~trains].any()
    for b in range(3):
        alone, own = heads.fit_linear(design, given, trains[:, b, None], "cpu", None)
        np.testing.assert_allclose(logits[:, b], alone[:, 0], atol=2e-4)
        np.testing.assert_allclose(margin[:, b], own[:, 0], atol=2e-3)
    assert np.abs(logits[:, 0] - logits[:, 1]).max() > 0.1
    monkeypatch.setattr(heads, "BLOCK", 7)
    pieces = heads.fit_linear(design, given, trains, "cpu", None)
    np.testing.assert_allclose(pieces[0], logits, atol=1e-3)
    np.testing.assert_allclose(pieces[1], margin, atol=1e-3)


def test_rows_of_one_fold_side_by_side_are_multiplied_with_fewer_heads_and_answer_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    design, given, trains = _soft_targets()
    monkeypatch.setattr(heads, "BLOCK", 9)
    order = np.argsort(np.arange(80) % 3, kind="stable")
    mixed, side = (heads._Work.of(design[rows], given[rows], trains[rows], "cpu") for rows in (np.arange(80), order))
    assert sum(len(some) for _, some in side.blocks) < 0.8 * sum(len(some) for _, some in mixed.blocks)
    logits, margin = heads.fit_linear(design, given, trains, "cpu", None)
    beside, own = heads.fit_linear(design[order], given[order], trains[order], "cpu", None)
    np.testing.assert_allclose(beside, logits[order], atol=1e-4)
    np.testing.assert_allclose(own, margin[order], atol=1e-4)


def test_torch_gives_what_numpy_gives() -> None:
    design, given, trains = _soft_targets()
    expected = heads.fit_linear(design, given, trains, "cpu", None, also=design[:5])
    assert expected[0].shape == (85, 3, 4)
    np.testing.assert_allclose(expected[0][80:], expected[0][:5], atol=1e-5)
    for values, wanted in zip(
        heads.fit_linear(design, given, trains, "cpu:0", None, also=design[:5]), expected, strict=True
    ):
        np.testing.assert_allclose(values, wanted, atol=1e-4)


def test_only_the_targets_of_its_training_faces_reach_a_head() -> None:
    design, given, trains = _soft_targets()
    logits, _ = heads.fit_linear(design, given, trains, "cpu", None)
    for b in range(3):
        other = np.where(trains[:, b, None], given, given[::-1])
        found, _ = heads.fit_linear(design, other, trains, "cpu", None)
        np.testing.assert_allclose(found[:, b], logits[:, b], atol=1e-5)
        assert np.abs(found - logits).max() > 0.01


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, views, _ = _faces(100, 3, flips=0.1)
    whole = cross_fit(samples, views)
    monkeypatch.setattr(heads, "BLOCK", 7)
    pieces = cross_fit(samples, views)
    np.testing.assert_allclose(pieces.values, whole.values, atol=1e-4)
    assert whole.margin is not None
    assert pieces.margin is not None
    np.testing.assert_allclose(pieces.margin, whole.margin, atol=1e-3)


def test_temperature_restores_scaled_scores() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4000, 1, 4)) * 1.5
    p = softmax(z[:, 0])
    label = np.array([rng.choice(4, p=row) for row in p])
    judged = np.ones((4000, 1), dtype=bool)
    for factor in (0.5, 1.0, 3.0):
        found = calibrate((factor * z).astype(np.float32), np.eye(4, dtype=np.float32)[label], judged)
        assert found == pytest.approx(factor, rel=0.08)


def test_area_under_the_margin_is_a_mean_of_margins() -> None:
    logits = torch.tensor([[[2.0, 0.5, 1.0], [0.0, 3.0, 1.0]]]).permute(0, 2, 1)  # one fold, three classes, two faces
    own = torch.tensor([[True, False], [False, False], [False, True]])
    np.testing.assert_allclose(heads.own_margin(torch, logits, own).numpy(), [[1.0, -2.0]])
    np.testing.assert_allclose(heads.own_margin(np, logits.numpy(), own.numpy()), [[1.0, -2.0]])


def test_progress_is_told() -> None:
    samples, views, _ = _faces(40)
    calls: list[tuple[int, int]] = []
    cross_fit(samples, views, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (heads.LINEAR_STEPS, heads.LINEAR_STEPS)
    steps = [done for done, _ in calls]
    assert steps[:-1] == list(range(1, len(steps)))
    assert len(steps) < heads.LINEAR_STEPS  # all heads were done before


def test_a_head_stops_when_it_is_done_whatever_the_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    design, given, trains = _soft_targets()
    steps: list[int] = []
    logits, margin = heads.fit_linear(design, given, trains, "cpu", lambda done, total: steps.append(done))
    slow = np.concatenate([design, design[:1] * 30])
    more = np.concatenate([given, given[:1]])
    own = np.concatenate([trains, [[False, False, True]]])
    beside, area = heads.fit_linear(slow, more, own, "cpu", None)
    np.testing.assert_allclose(beside[:80, :2], logits[:, :2], atol=1e-4)
    np.testing.assert_allclose(area[:80, :2], margin[:, :2], atol=1e-3)
    monkeypatch.setattr(heads, "CONVERGED", 0.0)
    whole, _ = heads.fit_linear(design, given, trains, "cpu", None)
    assert len(steps) < heads.LINEAR_STEPS
    np.testing.assert_allclose(softmax(logits), softmax(whole), atol=0.01)


def test_errors_name_the_way_out() -> None:
    samples, views, _ = _faces(20)
    with pytest.raises(InputError, match="The probe needs features: add --encoder or --view"):
        cross_fit(samples, {})
    with pytest.raises(InputError, match="folds is 1; cross-fitting needs at least 2"):
        cross_fit(samples, views, folds=1)
    with pytest.raises(InputError, match="device 'mps' is not known; choose auto, cuda, cuda:NUMBER or cpu"):
        cross_fit(samples, views, device="mps")
    with pytest.raises(InputError, match="device 'cuda:first' is not known; choose auto, cuda, cuda:NUMBER or cpu"):
        cross_fit(samples, views, device="cuda:first")
    with pytest.raises(InputError, match="View 'a' is not in the order of the samples"):
        cross_fit(samples, {"a": Features("a", samples.ids[::-1], views["a"].values, views["a"].found)})
    nobody = Features("a", samples.ids, np.zeros((20, 6)), np.zeros(20, dtype=bool))
    with pytest.raises(InputError, match="No labeled face has a vector in any view"):
        cross_fit(samples, {"a": nobody})


def test_real_faces() -> None:
    """A sixth of the FERPlus faces, emotion view: the linear probe separates wrong from right labels."""
    if not (FERPLUS / "labels.csv").exists():
        pytest.skip("the ferplus folder is not here; set FERCLEANER_FERPLUS")
    import pandas as pd

    classes = ["anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"]
    short = {"angry": "anger", "happy": "happiness", "sad": "sadness"}
    table, votes = pd.read_csv(FERPLUS / "labels.csv"), pd.read_csv(FERPLUS / "votes.csv")[classes].to_numpy()
    rows = np.arange(0, len(table), 6)
    label = np.array([classes.index(short.get(name, name)) for name in table.label])[rows]
    ids = table.image.to_numpy().astype(str)[rows]
    samples = Samples(
        ids,
        tuple(classes),
        np.eye(7)[label],
        np.ones(len(rows), dtype=bool),
        np.full(len(rows), ""),
        group=table.group.to_numpy().astype(str)[rows],
    )
    values = np.load(FERPLUS / "view_emotion_1024.npy", mmap_mode="r")[rows]
    view = Features("emotion", ids, values, np.ones(len(rows), dtype=bool))
    probe: Posteriors = cross_fit(samples, {"emotion": view})
    clear = votes[rows].max(1) >= 6
    wrong = (label != votes[rows].argmax(1))[clear]
    own = probe.values[np.arange(len(rows)), label]
    assert auroc(-own[clear], wrong) > 0.87
    assert (probe.values.argmax(1) == votes[rows].argmax(1))[clear].mean() > 0.73


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [torch_device(device) for device in ("auto", "cuda", "cuda:1", "cpu")] == ["cuda", "cuda", "cuda:1", "cpu"]
    with pytest.raises(InputError, match="--device cuda:2: torch sees 2 GPU here, numbered from 0"):
        torch_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch_device("auto") == "cpu"
    with pytest.raises(InputError, match="--device cuda:0: torch sees no GPU here"):
        torch_device("cuda:0")


def test_the_mirror_is_what_the_same_heads_say_of_other_vectors() -> None:
    samples, views, _ = _faces(300, 3, flips=0.2, spread=1.0)
    samples = samples.replacing(
        labeled=np.arange(300) % 10 > 0, given=samples.given * (np.arange(300) % 10 > 0)[:, None].astype(np.float32)
    )
    same = mirror_fit(samples, views, views, device="cpu")
    probe = cross_fit(samples, views, device="cpu")
    assert (same.name, same.learned, same.margin) == ("mirror", True, None)
    np.testing.assert_allclose(same.values, probe.values, atol=1e-6)
    moved = {"a": replace(views["a"], values=views["a"].values + np.float32(0.3))}
    found = mirror_fit(samples, views, moved, device="cpu")
    assert np.abs(found.values - probe.values).max() > 0.05, (
        "vectors are standardized by those of the faces as they are"
    )
    half = replace(moved["a"], found=np.arange(300) < 150, values=moved["a"].values * (np.arange(300) < 150)[:, None])
    assert mirror_fit(samples, views, {"a": half}, device="cpu").found.tolist() == (np.arange(300) < 150).tolist()


def test_mirrored_vectors_are_found_by_the_name_that_they_are_given_under() -> None:
    samples, views, _ = _faces(90, 3)
    moved = replace(views["a"], values=views["a"].values + np.float32(0.3))
    named = mirror_fit(samples, views, {"a": moved}, device="cpu").values
    other = mirror_fit(samples, {"b": views["a"]}, {"b": moved}, device="cpu").values
    np.testing.assert_array_equal(other, named)


def test_the_mirror_is_out_of_fold() -> None:
    """A label that is learned by heart by a head that saw it is not known to the one that is asked."""
    rng = np.random.default_rng(0)
    samples, views, _ = _faces(60, 3)
    random = samples.replacing(given=np.eye(3, dtype=np.float32)[rng.integers(0, 3, 60)])
    wide = {"a": replace(views["a"], values=rng.normal(size=(60, 400)).astype(np.float32))}
    said = mirror_fit(random, wide, wide, device="cpu").values
    assert (said.argmax(1) == random.label).mean() < 0.6
