"""LEAF's positives, margins, experts and loss against its code's cases and against loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812
from training_cases import SMALL, check_gradient, drawn_faces, tensors, trained

from fercleaner.core.errors import InputError
from fercleaner.training import EpochSampler, Faces, Leaf, build, collate, load_network
from fercleaner.training.experts import Experts, TwoLevels, top_gates
from fercleaner.training.leaf import ambiguous_losses, class_margins, fuzzy_positives
from fercleaner.training.recipe import Clock

#: Of the notes on LEAF's code: sorted q, m, omega.
CASES = [
    ((0.55, 0.25, 0.12, 0.05, 0.02, 0.005, 0.005), 2, 0.8361),
    ((0.93, 0.03, 0.02, 0.01, 0.005, 0.003, 0.002), 1, 0.9808),
    ((0.48, 0.44, 0.03, 0.02, 0.01, 0.01, 0.01), 1, 0.2181),
    ((0.60, 0.35, 0.02, 0.01, 0.01, 0.005, 0.005), 1, 0.6174),
    ((0.40, 0.30, 0.18, 0.06, 0.03, 0.02, 0.01), 3, 0.8946),
    ((1 / 7,) * 7, 3, 0.0),
]
S = torch.tensor([[2, 1, 0.5, 0, -1, -2, -2]]).double()


@pytest.mark.parametrize(("q", "m", "omega"), CASES)
def test_positives_of_the_codes_cases(q, m, omega):
    turn = torch.tensor([3, 0, 6, 1, 5, 2, 4])  # classes in another order than their probabilities
    found = fuzzy_positives(torch.tensor([q]).double()[:, turn])
    assert int(found.mask.sum()) == m
    if omega:
        assert set(np.flatnonzero(found.mask[0]).tolist()) == set(np.flatnonzero(turn < m).tolist())
    assert float(found.weight) == pytest.approx(omega, abs=1e-4)


def test_positives_leave_a_class_out_where_there_are_few():
    assert int(fuzzy_positives(torch.tensor([[0.4, 0.35, 0.25]])).mask.sum()) == 2
    assert int(fuzzy_positives(torch.tensor([[0.6, 0.4]])).mask.sum()) == 1


def test_positives_are_those_of_the_codes_loop():
    q = torch.distributions.Dirichlet(torch.full((7,), 0.7)).sample((300,)).double()
    found = fuzzy_positives(q)
    for row in range(300):
        ranked, total, m = sorted(q[row].tolist(), reverse=True), 0.0, 0
        while m < 3 and (total := total + ranked[m]) < 0.9:
            m += 1
        m = max(m, 1)
        assert int(found.mask[row].sum()) == m
        mu = sum(ranked[: m + 1]) / (m + 1)
        omega = min(1.0, np.log(1 + 50 * (mu - ranked[m])) / np.log(1 + 50 * mu))
        assert float(found.weight[row]) == pytest.approx(omega, abs=1e-9)


def test_ambiguous_loss_of_the_codes_cases():
    one, two = torch.zeros(1, 7, dtype=torch.bool), torch.zeros(1, 7, dtype=torch.bool)
    one[0, 0], two[0, :2] = True, True
    assert float(ambiguous_losses(S, one)) == pytest.approx(0.594852, abs=1e-6)
    assert float(ambiguous_losses(S, one)) == pytest.approx(float(F.cross_entropy(S, torch.tensor([0]))))
    assert float(ambiguous_losses(S, two)) == pytest.approx(0.976145, abs=1e-6)
    pairs = sum(np.exp(float(S[0, b] - S[0, a])) for a in (0, 1) for b in range(2, 7))
    assert float(ambiguous_losses(S, two)) == pytest.approx(np.log1p(pairs), rel=1e-9)


def test_margins_of_ada_cms_example():
    p = np.zeros((5, 3))
    p[:3, 1] = 0.95, 0.85, 0.99
    p[:3, 0] = 1 - p[:3, 1]
    p[3] = 0.9, 0.1, 0.0  # labeled 1, called 0: does not count
    p[4] = 0.2, 0.2, 0.6
    label = np.array([1, 1, 1, 1, 2])
    found = {t: class_margins(p, label, t) for t in (1, 2, 3, 5)}
    assert [round(float(found[t][1]), 4) for t in (1, 2, 3, 5)] == [0.8, 0.8, 0.8593, 0.8961]
    assert found[5][0] == 0.8, "a class without a face keeps the floor"
    assert found[5][2] == 0.8


def test_gates_and_experts_by_hand():
    torch.manual_seed(0)
    np.testing.assert_allclose(top_gates(torch.tensor([[2.0, 1.0, 0.5]]), 2)[0], [0.7311, 0.2689, 0], atol=1e-4)
    layer, x = Experts(6, 3, 2).double().eval(), torch.randn(4, 6).double()
    torch.nn.init.normal_(layer.gate.weight)
    gates = top_gates(layer.gate(x), 2)
    by_hand = torch.stack([sum(gates[i, j] * layer.experts[j](x[i : i + 1])[0] for j in range(3)) for i in range(4)])
    torch.testing.assert_close(layer(x), by_hand)
    used = gates.sum(0).detach().numpy()
    assert layer.crowding.item() == pytest.approx(used.var() / used.mean() ** 2)
    one = Experts(6, 1, 1).double().train()
    expert = one.experts[0]
    residual = x + expert.outer(torch.relu(expert.inner(x)))
    torch.testing.assert_close(one(x), residual)  # one expert is a residual layer, noise or not
    assert one.crowding.item() == 0
    noisy = layer.train()
    assert not torch.equal(noisy(x), noisy(x))
    assert torch.allclose(TwoLevels(6, 3, 2).double().contrasted(x).norm(dim=1), torch.ones(4).double())


def test_gates_take_a_softmax_that_is_more_exact_than_their_logits(monkeypatch):
    """As under autocast on a GPU, which has softmax in float32."""
    softmax = torch.Tensor.softmax
    monkeypatch.setattr(torch.Tensor, "softmax", lambda x, dim: softmax(x.float(), dim))
    gates = top_gates(torch.tensor([[2.0, 1.0, 0.5]], dtype=torch.bfloat16), 2)
    np.testing.assert_allclose(gates[0], [0.7311, 0.2689, 0], atol=1e-4)


def test_gradients_of_leaf_are_those_of_finite_differences():
    torch.manual_seed(2)
    mask = torch.tensor([[True, False, True, False], [False, True, False, False]])
    check_gradient(lambda z: ambiguous_losses(z, mask), torch.randn(2, 4))
    layer = Experts(4, 3, 2).double().eval()
    torch.nn.init.normal_(layer.gate.weight)
    check_gradient(layer, torch.randn(3, 4))


def half_labeled():
    """Return the drawn faces, every second without a label."""
    faces = drawn_faces()
    return replace(faces, weight=faces.weight * (np.arange(64) % 2))


def test_the_value_is_that_of_cross_entropy_and_labels_without_weight_are_not_seen():
    torch.manual_seed(0)
    faces = half_labeled()
    recipe = Leaf(epochs=1, batch=16, dropout=0.0)
    system = recipe.system(SMALL, faces).train()
    system.margins.fill_(0.0)  # all are accepted
    data = Faces(faces, 32, recipe.views())
    batch = collate([data[k] for k in range(16)])
    held: list[torch.Tensor] = []
    scores = system.scores
    system.scores = lambda x: held.append(scores(x)) or held[-1]  # type: ignore[method-assign]
    parts = system.losses(batch, Clock(0, 1, 0, 4))
    z1, z2, s = held[0][1][::2], held[1][1], held[2][1]
    assert len(z2) == len(s) == 8
    pseudo = (z1.softmax(1) + z2.softmax(1)).argmax(1)
    assert float(parts["unlabeled"].detach()) == pytest.approx(float(F.cross_entropy(s, pseudo)), rel=1e-5)
    assert float(parts["accepted"]) == 1
    known = F.cross_entropy(held[0][1][1::2], batch["given"][1::2])
    torch.testing.assert_close(parts["label"], known)
    whole = 0.5 * known + parts["unlabeled"] + 0.1 * parts["contrast"] + 0.01 * parts["crowding"]
    torch.testing.assert_close(parts["loss"], whole)
    parts["loss"].backward()
    assert all(p.grad is None for p in system.teacher.parameters())
    system.margins.fill_(1.1)  # none are: no pseudo-label, all are contrasted
    parts = system.losses(batch, Clock(0, 1, 0, 4))
    assert float(parts["unlabeled"].detach()) == 0
    assert float(parts["contrast"].detach()) > 0


def test_teacher_follows_and_margins_rise_where_it_is_sure(tmp_path):
    trained(Leaf(epochs=2, batch=16, momentum=0.0), tmp_path / "out", faces=half_labeled())
    held = tensors(tmp_path / "out", "checkpoint.safetensors")
    for name, value in held.items():
        if name.startswith("system.network."):
            assert torch.equal(value, held[name.replace("network", "teacher", 1)]), name
    network, about = load_network(tmp_path / "out" / "model.safetensors")
    assert isinstance(network.neck, TwoLevels)
    assert about["experts"] == 4
    system = Leaf().system(SMALL, half_labeled())
    sure = np.full((64, 7), 0.001)
    sure[np.arange(64), drawn_faces().label] = 0.994
    system.ended(Clock(9, 20, 0, 1), lambda: sure)
    present = np.unique(drawn_faces().label[1::2])
    np.testing.assert_allclose(system.margins[present], 0.97 * 0.994 / (1 + np.exp(-10)), rtol=1e-5)


def test_batches_hold_as_many_faces_with_as_without_a_label():
    label = np.array([0, 1, 1] + [-1] * 10)
    draws = list(EpochSampler(label, 1, paired=True))
    assert len(draws) == len(EpochSampler(label, 1, paired=True)) == 20
    assert all((label[place] >= 0) == (k % 2 == 0) for k, (place, _) in enumerate(draws))
    assert len(set(draws)) == 20, "a face that comes again is another copy"
    assert sorted(place for place, _ in draws[1::2]) == list(range(3, 13))
    assert sorted(EpochSampler(np.array([0, 1, 1]), 1, paired=True)) == [(0, 0), (1, 0), (2, 0)]


def test_leaf_says_what_is_wrong():
    for settings, said in (
        ({"experts": 0}, "experts is 0; expected at least 1"),
        ({"mass": 1.0}, r"mass is 1\.0; expected a number above 0 and below 1"),
        ({"momentum": 1.0}, r"momentum is 1\.0; expected 0 up to 1"),
    ):
        with pytest.raises(InputError, match=said):
            build("leaf", settings)
