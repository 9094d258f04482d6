"""LA-Net's bank, scores, landmark loss and contrast against its code's cases and against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812
from training_cases import SMALL, check_gradient, drawn_faces

from fercleaner.core.errors import InputError
from fercleaner.training import Faces, LaNet, build, collate
from fercleaner.training.contrast import KeyQueue, across_spaces, follow, nt_xent, pseudo_labels
from fercleaner.training.heatmaps import Heatmaps
from fercleaner.training.la_net import PairScores, adaptive_wing, landmark_loss, nearest_in_batch, neighborhood
from fercleaner.training.recipe import Clock

#: Case L1 of the notes on LA-Net's code.
U = torch.tensor([[1, 0], [0.9, 0.1], [0.6, 0.8], [0, 1], [-0.2, 1]]).double()
V = torch.tensor([[1, 0], [0.2, 1], [0.9, 0.2], [0, 1], [0.8, 0.1]]).double()
P = torch.tensor([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7], [0.1, 0.1, 0.8]]).double()


def test_case_l1_neighbors_target_and_bank():
    near_u, near_v = nearest_in_batch(U, 2), nearest_in_batch(V, 2)
    assert [set(row) for row in near_u.tolist()] == [{1, 2}, {0, 2}, {1, 3}, {2, 4}, {2, 3}]
    assert [set(row) for row in near_v.tolist()] == [{2, 4}, {2, 3}, {0, 4}, {1, 2}, {0, 2}]
    scores_u, scores_v = torch.full((5, 2), 0.5).double(), torch.full((5, 2), 0.5).double()
    scores_v[0] = torch.tensor([0.8 if j == 2 else 0.2 for j in near_v[0].tolist()])
    t = (neighborhood(scores_u, near_u, P) + neighborhood(scores_v, near_v, P)) / 2
    np.testing.assert_allclose(t[0], [0.29, 0.54, 0.17], atol=1e-6)
    y = torch.eye(3).double()[[0, 0, 1, 2, 2]]
    first = 0.9 * y + 0.1 * t
    np.testing.assert_allclose(first[0], [0.929, 0.054, 0.017], atol=1e-6)
    np.testing.assert_allclose(
        first[1:],
        [[0.9325, 0.0425, 0.025], [0.04, 0.9175, 0.0425], [0.0275, 0.045, 0.9275], [0.0325, 0.0425, 0.925]],
        atol=1e-6,
    )
    np.testing.assert_allclose((0.9 * first + 0.1 * t)[0], [0.8651, 0.1026, 0.0323], atol=1e-6)


@pytest.mark.parametrize(("pseudo", "wanted"), [([3, 3], 2.2923), ([3, -5], 1.1832)])
def test_case_l2_contrast(pseudo, wanted):
    q, k = torch.tensor([[1, 0], [0.6, 0.8]]).double(), torch.tensor([[0.8, 0.6], [0, 1]]).double()
    queue, ids = torch.tensor([[0, 1], [0.6, 0.8], [-1, 0]]).double(), torch.tensor([3, 1, -7])
    assert float(across_spaces(q, k, torch.tensor(pseudo), queue, ids, 0.1)) == pytest.approx(wanted, abs=1e-4)


def test_a_face_without_negatives_has_no_contrast_and_a_finite_gradient():
    q = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    loss = across_spaces(
        q, torch.randn(3, 4).double(), torch.zeros(3).long(), torch.ones(2, 4).double(), torch.zeros(2), 0.1
    )
    loss.backward()
    assert loss.item() == 0
    assert q.grad is not None
    assert torch.isfinite(q.grad).all()


def test_pair_scores_are_those_of_all_ordered_pairs():
    torch.manual_seed(0)
    net, x = PairScores(6).double(), torch.randn(5, 6).double()
    near = nearest_in_batch(x, 3)
    found = net(x, near).detach()
    h = net.split(x)
    for i in range(5):
        for place, j in enumerate(near[i].tolist()):
            pair = torch.cat((h[i, :3], h[j, 3:]))
            assert float(found[i, place]) == pytest.approx(float(net.score(pair).softmax(0)[0]), rel=1e-9)


def test_adaptive_wing_by_hand_and_where_its_pieces_meet():
    found, wanted = torch.tensor([0.1, 0.9, 0.0]).double(), torch.tensor([0.0, 0.2, 1.0]).double()
    by_hand = []
    for x, y in zip(found.tolist(), wanted.tolist(), strict=True):
        d, g = abs(x - y), 2.1 - y
        a = 14 * (1 / (1 + 0.5**g)) * g * 0.5 ** (g - 1)
        by_hand.append(14 * np.log(1 + d**g) if d < 0.5 else a * d - (0.5 * a - 14 * np.log(1 + 0.5**g)))
    np.testing.assert_allclose(adaptive_wing(found, wanted), by_hand, rtol=1e-9)
    below, above = (adaptive_wing(torch.tensor([0.5 + e]).double(), torch.zeros(1).double()) for e in (-1e-9, 1e-9))
    torch.testing.assert_close(below, above, atol=1e-6, rtol=0)


def test_cells_near_a_point_count_ten_times_and_faces_without_landmarks_not_at_all():
    wanted = torch.zeros(2, 1, 8, 8).double()
    wanted[0, 0, 4, 4] = 1.0
    found = wanted + 0.1
    cells = adaptive_wing(found, wanted)
    near = torch.zeros(8, 8).double()
    near[3:6, 3:6] = 1
    by_hand = (cells[0, 0] * (1 + 9 * near)).mean()
    torch.testing.assert_close(landmark_loss(found, wanted, torch.tensor([1.0, 0.0]).double()), by_hand)
    assert float(landmark_loss(found, wanted, torch.zeros(2).double())) == 0


def test_gradients_of_la_net_are_those_of_finite_differences():
    torch.manual_seed(1)
    near, net = nearest_in_batch(U, 2), PairScores(2).double()
    check_gradient(lambda s, p: neighborhood(s, near, p), torch.rand(5, 2) + 0.1, P)
    check_gradient(lambda x: net(x, near), U)
    check_gradient(adaptive_wing, torch.rand(7) + 0.05, torch.rand(7) * 0.5)
    ids, queue = torch.tensor([0, 1, 0, 2, 1]), F.normalize(torch.randn(4, 2)).double()
    check_gradient(lambda q: across_spaces(q, V, ids, queue, torch.tensor([0, 1, 5, 2]), 0.5), U)
    check_gradient(lambda a, b: nt_xent(a, b, 0.5), U, V)


def test_nt_xent_by_loops():
    a, b = F.normalize(U, dim=1), F.normalize(V, dim=1)
    x, total = torch.cat((a, b)), 0.0
    for i in range(10):
        e = torch.exp(x @ x[i] / 0.5)
        total -= float(torch.log(e[(i + 5) % 10] / (e.sum() - e[i])))
    assert float(nt_xent(U, V, 0.5)) == pytest.approx(total / 10, rel=1e-9)
    assert float(nt_xent(U[:1], V[:1], 0.5)) == 0


def test_queue_pseudo_labels_and_followers():
    queue = KeyQueue(4)
    assert torch.allclose(queue.keys.norm(dim=1), torch.ones(4))
    assert not (queue.pseudo[:, None] == torch.arange(-100, 100)).any()
    queue.push(torch.ones(3, 64), torch.tensor([1, 2, 3]))
    queue.push(2 * torch.ones(2, 64), torch.tensor([4, 5]))
    assert queue.pseudo.tolist() == [5, 2, 3, 4]
    assert int(queue.at) == 1
    queue.push(torch.ones(6, 64), torch.arange(6))
    assert sorted(queue.pseudo.tolist()) == [2, 3, 4, 5]
    bank = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    assert pseudo_labels(bank, torch.tensor([0, 0, 7]), 0.7).tolist() == [0, -1, 1]
    slow, fast = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    wanted = 0.9 * slow.weight + 0.1 * fast.weight
    follow(slow, fast, 0.9)
    torch.testing.assert_close(slow.weight, wanted)


def test_a_batch_moves_the_bank_by_a_tenth_and_score_nets_learn_through_it():
    torch.manual_seed(0)
    faces = drawn_faces()
    recipe = LaNet(epochs=1, batch=16, queue=32)
    system = recipe.system(SMALL, faces)
    assert system.edge == 8
    data = Faces(faces, 32, recipe.views(), heatmaps=Heatmaps(system.edge))
    batch = collate([data[k] for k in range(16)])
    system.train()
    seen: list[torch.Tensor] = []
    target = system.target
    system.target = lambda features, p: seen.append(target(features, p)) or seen[-1]  # type: ignore[method-assign]
    before = system.bank.clone()
    parts = system.losses(batch, Clock(0, 1, 0, 4))
    torch.testing.assert_close(system.bank[:16], 0.9 * before[:16] + 0.1 * seen[0].detach())
    assert torch.equal(system.bank[16:], before[16:])
    whole = parts["label"] + parts["landmarks"] + parts["bank"] + 0.1 * parts["contrast"]
    torch.testing.assert_close(parts["loss"], whole)
    parts["loss"].backward()
    for module in (
        *system.scores,
        system.spaces.project_u,
        system.spaces.project_v,
        system.spaces.branch.maps,
        system.network.classifier,
    ):
        for parameter in module.parameters():
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0
    assert all(p.grad is None for p in system.keys.parameters())
    assert (system.expression_queue.pseudo < 0).all(), "keys are queued after the step"
    system.stepped(Clock(0, 1, 0, 4))
    assert system.expression_queue.pseudo[:16].tolist() == batch["given"].tolist(), "given labels are sure at first"
    kept = system.kept().state_dict()
    assert not [name for name in kept if "branch" in name or "project" in name]


def test_la_net_has_its_codes_settings_and_says_what_it_lacks():
    recipe = LaNet()
    found = (recipe.epochs, recipe.batch, recipe.rate, recipe.schedule, recipe.balance, recipe.neighbors)
    assert found == (80, 128, 1e-3, "linear", "progressive", 8)
    assert recipe.statistics == ((0.5412, 0.4324, 0.3795), (0.2485, 0.2182, 0.2066))
    weak = recipe.weak()
    assert (weak.flip, weak.area, weak.jitter, weak.erase) == (0.5, (0.75, 1.0), 0.4, 0.2)
    for settings, said in (
        ({"neighbors": 0}, "neighbors is 0; expected at least 1"),
        ({"memory": 1.0}, r"memory is 1\.0; expected 0 up to 1"),
        ({"temperature": 0.0}, r"temperature is 0\.0; expected a number above 0"),
    ):
        with pytest.raises(InputError, match=said):
            build("la-net", settings)
