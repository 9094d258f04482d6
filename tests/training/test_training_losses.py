"""Soft labels and DNFER's loss against cases by hand, torch's own, and finite differences."""

from __future__ import annotations

import numpy as np
import oracles_threshold as oracle
import pytest
import torch
from torch.nn import functional as F  # noqa: N812
from training_cases import check_gradient

from fercleaner.core.errors import InputError
from fercleaner.training import Dnfer, Soft, build, mixup, smoothed, soft_cross_entropy, symmetric_kl_bits
from fercleaner.training.dnfer import DnferSystem, selected, selected_cross_entropy
from fercleaner.training.recipe import Clock

#: Case D1 of the notes on DNFER's code: labels, posteriors of the weak and the strong view.
LABEL = torch.tensor([0, 0, 2, 1])
WEAK = torch.tensor([[0.70, 0.20, 0.10], [0.30, 0.60, 0.10], [0.25, 0.25, 0.50], [0.55, 0.05, 0.40]]).double()
STRONG = torch.tensor([[0.60, 0.30, 0.10], [0.40, 0.50, 0.10], [0.25, 0.25, 0.50], [0.35, 0.25, 0.40]]).double()
Y = torch.eye(3).double()[LABEL]


def logits(seed: int, rows: int = 5, classes: int = 4) -> torch.Tensor:
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_soft_cross_entropy_is_torchs_and_the_weighted_mean_by_hand():
    z, r = logits(0), logits(1).softmax(1)
    torch.testing.assert_close(soft_cross_entropy(z, r), F.cross_entropy(z, r))
    hard = torch.tensor([0, 3, 1, 1, 2])
    torch.testing.assert_close(soft_cross_entropy(z, torch.eye(4).double()[hard]), F.cross_entropy(z, hard))
    w = torch.tensor([0.0, 1.0, 0.5, 0.25, 0.0]).double()
    each = [-sum(float(r[i, c]) * float(z[i].log_softmax(0)[c]) for c in range(4)) for i in range(5)]
    by_hand = sum(float(w[i]) * each[i] for i in range(5)) / 1.75
    assert float(soft_cross_entropy(z, r, w)) == pytest.approx(by_hand, rel=1e-9)


def test_no_weight_gives_no_loss_and_no_gradient():
    z = logits(2).requires_grad_(True)
    loss = soft_cross_entropy(z, logits(1).softmax(1), torch.zeros(5).double())
    loss.backward()
    assert loss.item() == 0
    assert z.grad is not None
    assert not z.grad.any()


def test_smoothing_and_mixup_keep_the_weighted_loss():
    r, w, x = logits(3).softmax(1), torch.tensor([0.0, 1.0, 0.5, 0.25, 0.0]).double(), logits(4)
    torch.testing.assert_close(smoothed(r, 0.2), 0.8 * r + 0.05)
    partner = torch.tensor([4, 0, 1, 2, 3])
    mixed = mixup(x, r, w, 0.3, partner)
    torch.testing.assert_close(mixed.pictures, 0.3 * x + 0.7 * x[partner])
    torch.testing.assert_close(mixed.distribution.sum(1), torch.ones(5).double())
    z = logits(5)
    each = -(mixed.distribution * z.log_softmax(1)).sum(1) * mixed.weight
    own = -(r * z.log_softmax(1)).sum(1) * w
    other = -(r[partner] * z.log_softmax(1)).sum(1) * w[partner]
    torch.testing.assert_close(each, 0.3 * own + 0.7 * other)
    assert float(mixed.weight[0]) == 0
    torch.testing.assert_close(mixed.distribution[0], 0.3 * r[0] + 0.7 * r[4])


def test_dnfer_case_d1():
    assert selected(WEAK.log(), Y).tolist() == [True, False, True, False]
    assert selected(STRONG.log(), Y).tolist() == [True, True, True, False], "a tie is kept"
    weak, kept = selected_cross_entropy(WEAK.log(), Y)
    strong, _ = selected_cross_entropy(STRONG.log(), Y)
    assert float(weak) == pytest.approx(0.524911, abs=1e-6)
    assert float(strong) == pytest.approx(0.706755, abs=1e-6)
    assert kept.tolist() == [True, False, True, False]
    bits = symmetric_kl_bits(WEAK.log(), STRONG.log())
    np.testing.assert_allclose(bits.numpy(), [0.080736, 0.067807, 0, 0.594801], atol=1e-6)


def test_dnfer_learns_from_all_labels_of_a_batch_where_none_is_kept():
    table, y = torch.tensor([[0.2, 0.8], [0.9, 0.1]]).double(), torch.eye(2).double()
    loss, kept = selected_cross_entropy(table.log(), y)
    assert not kept.any()
    assert float(loss) == pytest.approx(-(np.log(0.2) + np.log(0.1)) / 2)


@pytest.mark.parametrize("seed", range(5))
def test_dnfer_loss_equals_the_loops(seed):
    rng = np.random.default_rng(seed)
    p, label = rng.dirichlet(np.ones(4), 20), rng.integers(0, 4, 20)
    loss, _ = selected_cross_entropy(torch.from_numpy(p).log(), torch.eye(4).double()[torch.from_numpy(label)])
    assert float(loss) == pytest.approx(oracle.loss(p, label.tolist()), rel=1e-6)


class Table(torch.nn.Module):
    """Stands for a network: class scores looked up by the first pixel."""

    def __init__(self, *tables: torch.Tensor) -> None:
        super().__init__()
        self.tables = tables

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.tables[int(pictures.flatten()[0])]


def test_dnfer_total_of_case_d1_and_its_warm_up():
    batch = {"weak": torch.zeros(4, 1), "strong": torch.ones(4, 1), "distribution": Y, "weight": torch.ones(4).double()}
    system = DnferSystem(Table(WEAK.log(), STRONG.log()), warm_up=5, alpha=0.5)  # type: ignore[arg-type]
    parts = system.losses(batch, Clock(5, 40, 0, 1))
    assert float(parts["loss"]) == pytest.approx(0.400834, abs=1e-6)
    assert float(parts["kept"]) == 0.5
    warm = system.losses(batch, Clock(4, 40, 0, 1))
    both = (F.cross_entropy(WEAK.log(), LABEL) + F.cross_entropy(STRONG.log(), LABEL)) / 2
    assert float(warm["loss"]) == pytest.approx(float(both), abs=1e-9)


def test_dnfer_trains_on_all_where_nothing_is_kept_and_a_face_cancels_out_of_its_mean():
    lone = selected_cross_entropy(torch.tensor([[0.0, 1.0]]).double(), torch.tensor([[1.0, 0.0]]).double())
    assert bool(lone[1].all()), "alone in a batch a face is its own mean"
    p = logits(6, 9, 4).softmax(1)
    label = torch.arange(9) % 4
    others = [(p[:, c].sum() - p[i, c]) / 8 for i, c in enumerate(label.tolist())]
    wanted = [bool(p[i, label[i]] >= others[i]) for i in range(9)]
    assert selected(p.log(), torch.eye(4).double()[label]).tolist() == wanted


def test_gradients_are_those_of_finite_differences():
    r, w = logits(7).softmax(1), torch.rand(5, generator=torch.Generator().manual_seed(0)).double()
    check_gradient(lambda z: soft_cross_entropy(z, r, w), logits(8))
    check_gradient(lambda a, b: symmetric_kl_bits(a, b), logits(9), logits(10))
    check_gradient(lambda z: selected_cross_entropy(z, r, w)[0], logits(11))


def test_recipes_are_built_by_name_and_say_what_is_wrong():
    assert build("dnfer", {"alpha": "0.25", "warm_up": "2"}) == Dnfer(alpha=0.25, warm_up=2)
    for name, settings, said in (
        ("dnf", {}, r"'dnf' is not a recipe \(soft, dnfer.*Did you mean 'dnfer'"),
        ("soft", {"smooth": 1}, r"soft has no setting 'smooth' .*Did you mean 'smoothing'"),
        ("soft", {"epochs": "ten"}, r"soft: epochs is 'ten'; expected a whole number"),
        ("soft", {"rate": "-1"}, r"soft: rate is -1.0; expected a number above 0"),
        ("soft", {"schedule": "step"}, r"soft: schedule is 'step'; choose exponential, linear, cosine, constant"),
        ("dnfer", {"alpha": "2"}, r"dnfer: alpha is 2.0; expected 0 to 1"),
    ):
        with pytest.raises(InputError, match=said):
            build(name, settings)


def test_steps_of_adam_follow_the_schedule():
    clocks = [Clock(0, 2, 0, 8), Clock(1, 2, 4, 8), Clock(1, 2, 6, 8)]
    found = {s: [Soft(schedule=s, decay=0.5).factor(c) for c in clocks] for s in ("exponential", "linear", "constant")}
    assert found == {"exponential": [1, 0.5, 0.5], "linear": [1, 0.5, 0.25], "constant": [1, 1, 1]}
    assert Soft(schedule="cosine").factor(clocks[1]) == pytest.approx(0.5)
