"""POI-style and AMY-style pieces against the library's NumPy rules, the notes' cases and loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_cases import SMALL, check_gradient, drawn_faces, trained

from fercleaner.core.errors import InputError, StoreError
from fercleaner.methods.au_prior import inference
from fercleaner.training import Amy, Faces, Poi, build, collate, fit, load_network
from fercleaner.training.amy import operator, propagated, rank_loss
from fercleaner.training.heatmaps import Heatmaps
from fercleaner.training.poi import entropies, log_evidence, mixed_regions, mutual, ramp_up, transfer
from fercleaner.training.recipe import Clock

RNG = np.random.default_rng(0)


def torched(values) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float64))


def test_evidence_and_its_mixture_are_those_of_the_method():
    p, rates = RNG.random((6, 5)), RNG.random((4, 5))
    ours = log_evidence(torched(p), torched(rates), torched(rates.mean(0)))
    np.testing.assert_allclose(ours, inference.unit_evidence(p, rates), atol=1e-12)
    parts = RNG.dirichlet(np.ones(4), (6, 3))
    np.testing.assert_allclose(mixed_regions(torched(parts)), inference.mixed(parts).distribution, atol=1e-9)


def test_the_notes_example_of_two_units():
    rates = torched([[0.85, 0.10], [0.10, 0.85]])
    o = log_evidence(torched([[0.9, 0.2]]), rates, rates.mean(0)).sum(1).softmax(1)
    assert float(o[0, 0]) == pytest.approx(0.916294, abs=1e-6)


def test_transfer_is_the_methods_share_and_leaves_plausible_labels_alone():
    o, y = RNG.dirichlet(np.ones(5) / 2, 8), np.eye(5)[RNG.integers(0, 5, 8)]
    target, trust = transfer(torched(o), torched(y), 0.5, 0.4, 0.7)
    share = 0.7 * inference.transfer_share(o, y, limit=1.0)[0]
    np.testing.assert_allclose(target, (1 - 0.5 * share)[:, None] * y + (0.5 * share)[:, None] * o, atol=1e-9)
    np.testing.assert_allclose(trust, 1 - 0.4 * share, atol=1e-9)
    flat, sure = torch.full((1, 5), 0.2).double(), torched([[0.9, 0.1, 0, 0, 0]])
    for inferred, label in ((flat, [[0, 1, 0, 0, 0]]), (sure, [[1, 0, 0, 0, 0]])):
        target, trust = transfer(inferred, torched(label), 0.5, 0.5, 1.0)
        torch.testing.assert_close(target, torched(label))
        assert float(trust) == pytest.approx(1.0)
    assert (ramp_up(0.0), ramp_up(1.0), ramp_up(3.0)) == (pytest.approx(np.exp(-5)), 1.0, 1.0)
    assert float(entropies(flat)) == pytest.approx(1.0)


def test_mutual_learning_by_loops_and_one_region_alone():
    parts = torched(RNG.dirichlet(np.ones(4), (3, 3)))
    for i in range(3):
        pairs = [
            sum(float(parts[i, s, c] * torch.log(parts[i, s, c] / parts[i, r, c])) for c in range(4))
            for r in range(3)
            for s in range(3)
            if s != r
        ]
        assert float(mutual(parts)[i]) == pytest.approx(np.mean(pairs), rel=1e-6)
    assert not mutual(parts[:, :1]).any()


def test_a_prior_network_sees_regions_and_keeps_to_its_table():
    torch.manual_seed(0)
    faces = drawn_faces()
    system = Poi(epochs=1, batch=16).system(SMALL, faces).train()
    network = system.inference
    assert network.known.all()
    points = Heatmaps(system.edge)(faces.points[0])["points"][None]
    masks = network.masks(points, torch.ones(1))[0]
    torch.testing.assert_close(masks.sum((1, 2)), torch.ones(4))
    rows = (masks.sum(2) * torch.arange(network.edge)).sum(1)
    assert rows[0] < rows[1] < rows[2] < rows[3], "brow, eye, nose, mouth lie below one another"
    blind = network.masks(points, torch.zeros(1))[0]
    assert float(blind.max() - blind.min()) < 1e-6
    data = Faces(faces, 32, Poi().views(), heatmaps=Heatmaps(system.edge))
    batch = collate([data[k] for k in range(16)])
    parts = system.losses(batch, Clock(0, 1, 0, 4))
    whole = parts["label"] + parts["units"] + 0.5 * (parts["regions"] + 0.5 * parts["mutual"])
    torch.testing.assert_close(parts["loss"], whole)
    parts["loss"].backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
    label_alone = torch.autograd.grad(
        system.losses(batch, Clock(0, 1, 0, 4))["label"], list(network.heads.parameters()), allow_unused=True
    )
    assert all(g is None for g in label_alone), "the target network does not teach the prior one"
    batch["units"][:] = torch.nan
    assert float(system.losses(batch, Clock(0, 1, 0, 4))["units"].detach()) == 0


def test_a_class_that_the_table_lacks_keeps_its_labels(tmp_path):
    faces = drawn_faces()
    samples = faces.samples.replacing(classes=("boredom", *faces.classes[1:]))
    system = Poi(epochs=1).system(SMALL, replace(faces, samples=samples))
    assert system.inference.known.tolist() == [False] + [True] * 6
    bare = replace(faces, units=None, unit_names=())
    with pytest.raises(InputError, match="poi learns from action units, and there are none: name --landmarks"):
        fit(Poi(epochs=1), SMALL, bare, bare, tmp_path / "out")
    strange = faces.samples.replacing(classes=tuple("abcdefg"))
    with pytest.raises(InputError, match="has 0 of the classes a, b, "):
        Poi(epochs=1).system(SMALL, replace(faces, samples=strange))


#: Case H1 of the notes: 0, 1, 3, 4 on a line, each with its two nearest.
H1 = torched([[0], [1], [3], [4]])
#: Case H2: 0, 1, 3, 7.
H2 = torched([[0], [1], [3], [7]])


def test_a_training_goes_on_with_its_own_units_and_its_network_needs_no_table(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("expression,AU4,AU12\nhappiness,.1,.9\nsadness,.8,.1\nanger,.9,.1\n")
    recipe, faces = Poi(epochs=1, batch=32, table=str(table)), drawn_faces()
    trained(recipe, tmp_path / "out", faces)
    trained(recipe, tmp_path / "out", faces)  # nothing is left to do
    for other in (replace(faces, units=1 - faces.units), replace(faces, unit_names=faces.unit_names[::-1])):
        with pytest.raises(StoreError, match="holds a training with another labels"):
            trained(recipe, tmp_path / "out", other)
    table.unlink()
    _, about = load_network(tmp_path / "out" / "model.safetensors")
    assert about["table"] == str(table)


def test_case_h1_of_the_operator():
    r = 0.235702
    wanted = [[1 / 3, r, r, 0], [r, 1 / 3, 1 / 3, r], [r, 1 / 3, 1 / 3, r], [0, r, r, 1 / 3]]
    theta = operator(H1, 2)
    np.testing.assert_allclose(theta, wanted, atol=1e-6)
    np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(theta)), [0, 0, 1 / 3, 1], atol=1e-9)


def test_case_h2_of_the_operator_and_of_propagation():
    weight, degree = [0.516254, 0.718508, 0.423372, 0.032128], [1.658134, 1.690262, 1.690262, 0.032128]
    members = [{0, 1, 2}, {1, 0, 2}, {2, 1, 0}, {3, 2, 1}]
    by_hand = np.zeros((4, 4))
    for e in range(4):
        for i in members[e]:
            for j in members[e]:
                by_hand[i, j] += weight[e] / 3 / np.sqrt(degree[i] * degree[j])
    theta = operator(H2, 2)
    np.testing.assert_allclose(theta, by_hand, atol=2e-5)
    y = torched(np.eye(2)[[0, 0, 0, 1]])
    m = 0.5 * np.linalg.inv(np.eye(4) - 0.5 * theta.numpy())
    np.testing.assert_allclose((m @ y.numpy())[3], [0.055060, 0.601267], atol=2e-5)
    said = propagated(theta, y, 0.5)
    np.testing.assert_allclose(said[3], [1.0, 0.0], atol=1e-9)
    without = m - np.diag(np.diag(m))
    np.testing.assert_allclose(said, (without @ y.numpy()) / (without @ y.numpy()).sum(1, keepdims=True), atol=1e-9)


def test_the_operators_laws_on_random_features():
    x = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    theta = operator(x, 4)
    torch.testing.assert_close(theta, theta.T)
    values, vectors = np.linalg.eigh(theta.numpy())
    assert values.min() > -1e-9
    assert values.max() == pytest.approx(1.0)
    assert (vectors[:, -1] > 0).all() or (vectors[:, -1] < 0).all(), "sqrt of the degrees"
    assert operator(x[:3], 8).shape == (3, 3)


def test_rank_loss_by_hand():
    sure = torched([0.9, 0.2, 0.8, 0.7, 0.6, 0.55, 0.5, 0.4, 0.3, 0.1])
    found = rank_loss(sure, 0.7, 0.5)
    top, rest = np.mean([0.9, 0.8, 0.7, 0.6, 0.55, 0.5, 0.4]), np.mean([0.3, 0.2, 0.1])
    assert float(found.loss) == pytest.approx(0.5 - (top - rest))
    assert np.flatnonzero(found.unsure).tolist() == [1, 8, 9]
    assert float(rank_loss(sure, 0.7, 0.15).loss) == 0


def test_gradients_are_those_of_finite_differences():
    parts, rates = torched(RNG.dirichlet(np.ones(4), (2, 3))), torched(RNG.random((4, 5)) * 0.8 + 0.1)
    check_gradient(lambda p: log_evidence(p, rates, rates.mean(0)), torch.rand(3, 5) * 0.8 + 0.1)
    check_gradient(mixed_regions, parts)
    held, moved = parts, parts.clone().requires_grad_(True)
    check_gradient(lambda q: _mutual_of(held, q), parts)
    ours, wanted = (torch.autograd.grad(f.sum(), moved)[0] for f in (mutual(moved), _mutual_of(held, moved)))
    torch.testing.assert_close(ours, wanted)
    check_gradient(lambda s: rank_loss(s, 0.7, 0.9).loss, torch.linspace(0.1, 0.9, 8))
    torch.manual_seed(3)
    system = Amy(hidden=4).system(SMALL, drawn_faces()).double()
    theta = operator(torch.randn(4, system.network.body.width), 2)
    check_gradient(lambda x: system.certainty(theta, x), torch.randn(4, system.network.body.width) * 3)


def _mutual_of(other: torch.Tensor, parts: torch.Tensor) -> torch.Tensor:
    """Return `mutual` with the side that it does not differentiate held."""
    n = parts.shape[1]
    total = sum(
        (other[:, s] * (other[:, s].log() - parts[:, r].log())).sum(1) for r in range(n) for s in range(n) if r != s
    )
    return total / (n * (n - 1))


def test_amy_relabels_unsure_faces_for_good_and_not_before_its_time():
    torch.manual_seed(0)
    faces = drawn_faces()
    recipe = Amy(epochs=2, batch=16, relabel_from=0.5, lead=0.0)
    system = recipe.system(SMALL, faces).train()
    data = Faces(faces, 32, recipe.views())
    batch = collate([data[k] for k in range(16)])
    parts = system.losses(batch, Clock(0, 2, 3, 8))
    assert float(parts["relabeled"]) == 0
    assert np.array_equal(system.labels, faces.distribution)
    parts = system.losses(batch, Clock(1, 2, 4, 8))
    moved = (system.labels != torch.from_numpy(faces.distribution.copy())).any(1)
    assert 0 < int(moved.sum()) == round(16 * float(parts["relabeled"])) <= 5
    assert not moved[16:].any()
    assert set(system.labels[moved].sum(1).tolist()) == {1.0}
    torch.testing.assert_close(parts["loss"], parts["label"] + parts["rank"])
    parts["loss"].backward()
    for parameter in (*system.mix.parameters(), *system.sure.parameters()):
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_settings_of_poi_and_amy_are_checked():
    for name, settings, said in (
        ("poi", {"limit": 2.0}, r"limit is 2\.0; expected 0 to 1"),
        ("poi", {"ramp": 0.0}, r"ramp is 0\.0; expected a number above 0"),
        ("poi", {"table": "du"}, "du"),
        ("amy", {"neighbors": 0}, "neighbors is 0; expected at least 1"),
        ("amy", {"alpha": 1.0}, r"alpha is 1\.0; expected a number above 0 and below 1"),
    ):
        with pytest.raises(InputError, match=said):
            build(name, settings)
