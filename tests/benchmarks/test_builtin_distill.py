"""The read-out of photographs that is fitted on a finished body: what it learns, and that all else stays as it was."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
if not (BENCHMARKS / "builtin_distill.py").is_file():
    pytest.skip("the benchmarks are not here", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))
import builtin_detail  # noqa: E402
import builtin_distill as distill  # noqa: E402
import builtin_left_out  # noqa: E402
import builtin_mix  # noqa: E402
import builtin_readouts  # noqa: E402
import builtin_start  # noqa: E402
import train_builtin  # noqa: E402
from builtin_start import start_network  # noqa: E402
from builtin_state import stored  # noqa: E402

from fercleaner.encoders import facenet  # noqa: E402


def body() -> facenet.FaceNet:
    torch.manual_seed(3)
    return facenet.FaceNet().eval().requires_grad_(False)


def test_the_fit_of_read_outs_leaves_one_of_two_layers_to_the_distillation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(stored(facenet.FaceNet(facenet.FaceNetConfig(hidden=16)).eval()), tmp_path / "body.safetensors")
    before = facenet.load_facenet(str(tmp_path / "body.safetensors")).state_dict()
    some = np.random.default_rng(0).dirichlet(np.ones(8), 300).astype(np.float32)
    embedding = np.random.default_rng(1).normal(size=(300, 256)).astype(np.float16)
    np.savez(tmp_path / "features_crops_0.npz", embedding=embedding, votes=some, photographs=some)
    words = ["--targets", str(tmp_path), "--work", str(tmp_path), "--body", "--votes", "--files", "1", "0"]
    monkeypatch.setattr(sys, "argv", ["builtin_readouts.py", *words])
    builtin_readouts.main()
    after = facenet.load_facenet(str(tmp_path / "body.safetensors")).state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"classify.weight", "classify.bias"}


@pytest.mark.parametrize("can", [True, False])
def test_passes_are_in_bfloat16_where_the_processor_multiplies_it(monkeypatch: pytest.MonkeyPatch, can: bool) -> None:
    monkeypatch.setattr(builtin_start, "multiplies_bfloat16", lambda: can)
    for half, wanted in ((None, can), (True, True), (False, False)):
        with builtin_start.mixed_precision(half):
            product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype == (torch.bfloat16 if wanted else torch.float32)


def test_a_new_read_out_learns_and_nothing_else_changes(tmp_path: Path) -> None:
    network, pictures = body(), torch.rand(6, 1, 96, 96)
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(4096, 1040, generator=rng)
    wanted = torch.nn.functional.one_hot(features[:, [5, 300]].argmax(1) * 4 + 1, 7).float()
    before = torch.get_rng_state()
    readout = distill.fit(features.half(), wanted, seed=0)
    torch.set_rng_state(before)
    with torch.inference_mode():
        said = readout(features)
    assert float((said.argmax(1) == wanted.argmax(1)).float().mean()) > 0.8
    assert (said[:, 7] == 0).all()

    done = distill.with_readout(network, readout)
    save_file(stored(done), tmp_path / "body.safetensors")
    again = facenet.load_facenet(str(tmp_path / "body.safetensors"))
    assert again.config.hidden == distill.HIDDEN
    with torch.inference_mode():
        (one, old), (other, new) = network.looks(pictures), done.looks(pictures)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert old.shape == new.shape == (6, 8)
    assert not torch.allclose(old, new)


def test_the_read_out_sees_embedding_and_body(tmp_path: Path) -> None:
    torch.manual_seed(4)
    network = facenet.FaceNet(facenet.FaceNetConfig(hidden=16)).eval()
    seen: list[torch.Tensor] = []
    network.embed.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.inference_mode():
        out, said = network.looks(torch.rand(2, 1, 96, 96))
        features = torch.cat((out.embedding, seen[0]), 1)
        assert features.shape == (2, 1040)
        torch.testing.assert_close(said, network.photographs(features))


def test_training_goes_on_from_weights_with_a_hidden_layer(tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = facenet.FaceNet(facenet.FaceNetConfig(hidden=16)).eval()
    save_file(stored(network), tmp_path / "with.safetensors")
    fresh = start_network(str(tmp_path / "with.safetensors"))
    pictures = torch.rand(2, 1, 48, 48)
    with torch.inference_mode():
        torch.testing.assert_close(fresh.looks(pictures)[1], network.looks(pictures)[1], atol=0.02, rtol=0.02)
    half = builtin_mix.mixed(network, fresh, 0.5)
    assert half.config.hidden == 16


def test_what_both_networks_say_is_their_geometric_mean() -> None:
    rng = np.random.default_rng(0)
    copy = rng.dirichlet(np.ones(7), 3).astype(np.float32)
    seven, five = (np.pad(rng.dirichlet(np.ones(7), 3), ((0, 0), (0, 1))).astype(np.float32) for _ in range(2))
    done = distill.both_networks(*(torch.from_numpy(rows) for rows in (copy, seven, five))).numpy()
    for row in range(3):
        other = copy[row].copy()
        for k in range(5):
            other[k] = five[row, k] / five[row, :5].sum() * copy[row, :5].sum()
        four = np.stack([copy[row], other, seven[row, :7], five[row, :7]]).astype(float) + 1e-4
        product = np.prod(four**0.25, axis=0)
        np.testing.assert_allclose(done[row], product / product.sum(), rtol=1e-4)


def test_rare_guesses_are_drawn_more_often_and_held_back_faces_never() -> None:
    guess = np.repeat([0, 1], [900, 100])
    seven = torch.nn.functional.one_hot(torch.from_numpy(guess), 7).float()
    rows = np.flatnonzero(np.arange(1000) % 2 == 0)
    chance = distill.chances(seven, rows)
    assert chance.sum() == pytest.approx(1)
    assert (chance[1::2] == 0).all()
    assert chance[998] / chance[0] == pytest.approx((450 / 50) ** distill.DRAWN)


def test_unchanged_copies_show_the_frame() -> None:
    """Of many copies, those that were neither moved nor degraded are the frame or its mirror image."""
    ramp = torch.linspace(0.2, 0.8, 96)
    picture = ramp[None, None, None, :].expand(200, 1, 96, 96)
    frames = torch.eye(3)[:2].expand(200, 2, 3)
    copies = distill.copies_of(picture, frames, torch.Generator().manual_seed(1))
    assert copies.shape == (200, 1, 96, 96)
    off = torch.minimum(*((copies - seen).abs().amax((1, 2, 3)) for seen in (picture, picture.flip(3))))
    still = int((off < 1e-5).sum())
    assert 4 <= still <= 36  # of 200, a fifth is not moved and two fifths of these are not degraded: 16 expected
    again = distill.copies_of(picture, frames, torch.Generator().manual_seed(1))
    assert torch.equal(copies, again)


@pytest.mark.parametrize(("without", "expected"), [("", 48), ("wild", 0), ("crops", 128)])
def test_a_source_that_is_left_out_is_in_no_batch(without: str, expected: int) -> None:
    assert train_builtin.photographs_among(128, without) == expected


def test_fidelity_weighs_every_guess_of_the_network_alike() -> None:
    teacher = torch.full((60, 7), 0.05)
    teacher[:50, 0], teacher[50:, 6] = 0.7, 0.7
    logits = torch.zeros(60, 8)
    logits[:, 0] = 2.0
    done = builtin_left_out.fidelity(logits, teacher)
    assert done["agreement"] == pytest.approx(50 / 60)
    assert done["agreement balanced"] == pytest.approx(0.5)
    said = np.exp([2.0, *[0.0] * 6]) / np.exp([2.0, *[0.0] * 6]).sum()
    rows = [np.array([0.7, *[0.05] * 6]), np.array([*[0.05] * 6, 0.7])]
    away = [float((row * np.log(row / said)).sum()) for row in rows]
    assert done["divergence"] == pytest.approx((50 * away[0] + 10 * away[1]) / 60, abs=1e-3)
    assert done["divergence balanced"] == pytest.approx(np.mean(away), abs=1e-3)


def test_every_setting_gives_what_the_network_would_with_it() -> None:
    network = body()
    soft = torch.nn.functional.interpolate(torch.rand(3, 1, 12, 12), (96, 96), mode="bicubic").clamp(0, 1)
    pictures = soft + torch.tensor([0.0, 0.05, 0.2])[:, None, None, None] * torch.rand(3, 1, 96, 96)
    found: torch.Tensor = builtin_detail.EverySetting(network, 0.7)(pictures).logits
    for (end, top), one in zip(builtin_detail.SETTINGS, found.split(8, 1), strict=True):
        if end == facenet.DETAIL[1]:
            network.pool[1] = torch.tensor([(1 - top) / 0.7, top])
            torch.testing.assert_close(one, network(pictures).logits)
    assert facenet.DETAIL[1] in builtin_detail.ENDS
    logits = dict(zip(builtin_detail.SETTINGS, found.split(8, 1), strict=True))
    near, far = logits[builtin_detail.ENDS[0], 1.0], logits[builtin_detail.ENDS[-1], 1.0]
    assert torch.equal(near[[0, 2]], far[[0, 2]])
    assert not torch.allclose(near[1], far[1])
