"""The builtin network's definition: sizes, shapes, what its output must not depend on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402

from fercleaner.encoders import facenet  # noqa: E402


@pytest.fixture(scope="module")
def network() -> facenet.FaceNet:
    torch.manual_seed(0)
    return facenet.FaceNet().eval()


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    coarse = torch.rand(5, 1, 48, 48, generator=rng).repeat_interleave(2, 2).repeat_interleave(2, 3)
    return coarse * 0.5 + 0.2 + torch.rand(5, 1, 96, 96, generator=rng) * 0.1


def test_it_has_at_most_three_million_parameters(network: facenet.FaceNet) -> None:
    assert facenet.count_parameters(network) <= 3_000_000


def test_shapes(network: facenet.FaceNet, pictures: torch.Tensor) -> None:
    with torch.inference_mode():
        out = network(pictures)
    assert out.embedding.shape == (5, facenet.EMBEDDING_WIDTH)
    assert out.logits.shape == (5, len(facenet.EXPRESSIONS))
    assert out.points.shape == (5, 68, 2)
    assert out.found.shape == (5,)
    assert out.blendshapes.shape == (5, 52)
    assert all(part.dtype == torch.float32 and torch.isfinite(part).all() for part in out)


def test_brightness_and_contrast_do_not_matter(network: facenet.FaceNet, pictures: torch.Tensor) -> None:
    with torch.inference_mode():
        a, b = network(pictures), network(pictures * 0.5 + 0.3)
    for one, other in zip(a, b, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_a_small_picture_is_shown_as_blocks(network: facenet.FaceNet, pictures: torch.Tensor) -> None:
    small = torch.nn.functional.avg_pool2d(pictures, 2)
    enlarged = torch.nn.functional.interpolate(small, scale_factor=2.0, mode="nearest")
    with torch.inference_mode():
        for one, other in zip(network(small), network(enlarged), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_detail_is_what_48_pixels_do_not_hold() -> None:
    rng = torch.Generator().manual_seed(2)
    small = torch.rand(1, 1, 48, 48, generator=rng)
    enlarge = torch.nn.functional.interpolate
    smooth = enlarge(torch.rand(1, 1, 12, 12, generator=rng), size=(96, 96), mode="bicubic")
    sharp = torch.rand(1, 1, 96, 96, generator=rng)
    blocks = enlarge(small, scale_factor=2.0, mode="nearest")
    detail = facenet.detail_of(torch.cat((blocks, smooth, sharp, sharp * 0.3 + 0.2)))
    assert detail[0] == detail[1] == 0
    assert detail[2] == detail[3] == 1
    assert facenet.detail_of(small).tolist() == [0]
    far = facenet.detail_of(sharp, (0.0, 10.0))
    torch.testing.assert_close(facenet.detail_of(sharp, (0.0, 5.0)), 2 * far)


def test_both_readouts_are_pooled_by_detail() -> None:
    """By hand: exponents 1 and 0 without detail, 1/2 and 1/2 with it; contempt goes by the votes alone."""
    votes = torch.tensor([[0.5, 0.2, 0.05, 0.05, 0.05, 0.03, 0.02, 0.1]]).log()
    photographs = torch.tensor([[0.1, 0.3, 0.1, 0.1, 0.1, 0.2, 0.1, 0.0]])
    pool = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    both = [votes.repeat(2, 1), photographs.log().clamp_min(-9).repeat(2, 1)]
    out = facenet.pooled_logits(both[0], both[1], torch.tensor([0.0, 1.0]), pool)
    torch.testing.assert_close(out[0], votes[0])
    wanted = torch.cat(((votes.exp()[0, :7] * photographs[0, :7] * 0.9).sqrt(), votes.exp()[0, 7:]))
    torch.testing.assert_close(out[1].exp(), wanted)


def test_mirrored_points_come_in_pairs() -> None:
    assert [facenet.MIRROR_POINTS[k] for k in facenet.MIRROR_POINTS] == list(range(68))
    middle = [k for k, twin in enumerate(facenet.MIRROR_POINTS) if k == twin]
    assert middle == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


def test_without_a_finer_stem_it_sees_the_mean_of_four_pixels(pictures: torch.Tensor, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = facenet.FaceNet(facenet.FaceNetConfig(detail=False)).eval()
    small = torch.nn.functional.avg_pool2d(pictures, 2)
    save_file({k: v for k, v in network.state_dict().items() if "tracked" not in k}, tmp_path / "net.safetensors")
    again = facenet.load_facenet(str(tmp_path / "net.safetensors"))
    with torch.inference_mode():
        for part in ("embedding", "points"):
            one, other = getattr(network(pictures), part), getattr(network(small), part)
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(again(pictures).logits, network(pictures).logits, atol=1e-5, rtol=1e-5)


def test_a_blank_picture_gives_finite_numbers(network: facenet.FaceNet) -> None:
    with torch.inference_mode():
        out = network(torch.full((2, 1, 96, 96), 0.4))
    assert all(torch.isfinite(part).all() for part in out)


def test_points_move_with_the_votes_of_one_cell() -> None:
    """A head whose weight stands on one cell puts every point at that cell's center plus its offset."""
    head = facenet._PointHead(8, 8, 16).eval()
    side = 12
    with torch.no_grad():
        head.votes.weight.zero_()
        head.votes.bias.zero_()
        fine, coarse = torch.zeros(1, 8, side, side), torch.zeros(1, 8, side // 2, side // 2)
        even = head(fine, coarse, torch.zeros(1, facenet.EMBEDDING_WIDTH))
    torch.testing.assert_close(even, torch.full((1, 68, 2), 0.5), atol=1e-5, rtol=0)
    with torch.no_grad():
        head.votes.bias.view(68, 3)[:, 1] = 0.4  # x offset of every cell
        moved = head(fine, coarse, torch.zeros(1, facenet.EMBEDDING_WIDTH))
    torch.testing.assert_close(moved[..., 0], torch.full((1, 68), 0.6), atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[..., 1], torch.full((1, 68), 0.5), atol=1e-5, rtol=0)


def test_weights_survive_the_file(network: facenet.FaceNet, pictures: torch.Tensor, tmp_path: Path) -> None:
    state = {k: v.half().contiguous() for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "net.safetensors")
    again = facenet.load_facenet(str(tmp_path / "net.safetensors"))
    assert not again.training
    with torch.inference_mode():
        torch.testing.assert_close(again(pictures).points, network(pictures).points, atol=5e-3, rtol=0)
    state.pop("classify.weight")
    save_file(state, tmp_path / "short.safetensors")
    with pytest.raises(ValueError, match=r"weights do not fit the network \(missing \['classify.weight'\]"):
        facenet.load_facenet(str(tmp_path / "short.safetensors"))


def test_the_package_does_not_import_torch_for_it() -> None:
    code = "import sys, fercleaner.encoders.builtin, fercleaner.extraction.detection; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
