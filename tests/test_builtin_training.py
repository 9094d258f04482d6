"""What the builtin network's training rests on: changes of faces move their points along, splits keep groups whole."""

from __future__ import annotations

import io
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
if not (BENCHMARKS / "train_builtin.py").is_file():
    pytest.skip("the benchmarks are not here", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))
import builtin_augment as change  # noqa: E402
import builtin_data  # noqa: E402
import evaluate_builtin  # noqa: E402

from fercleaner import facenet  # noqa: E402

FERPLUS = Path(os.environ.get("FERCLEANER_FERPLUS", Path(__file__).parents[2] / "shared" / "ferplus"))


def dots(points: torch.Tensor, side: int = 48) -> torch.Tensor:
    """A blob at each point (B, P, 2), in pictures (B, 1, S, S)."""
    place = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(place, place, indexing="ij")
    away = (x - points[:, :, 0, None, None]) ** 2 + (y - points[:, :, 1, None, None]) ** 2
    return torch.exp(-away / 0.0015).sum(1, keepdim=True)


def centers(pictures: torch.Tensor) -> torch.Tensor:
    """Center of mass of each picture (B, 1, S, S), in widths, (B, 2)."""
    side = pictures.shape[-1]
    place = (torch.arange(side) + 0.5) / side
    mass = pictures.sum((1, 2, 3))
    x = (pictures.sum((1, 2)) * place).sum(1) / mass
    y = (pictures.sum((1, 3)) * place).sum(1) / mass
    return torch.stack((x, y), 1)


def test_a_warp_moves_points_with_their_pixels() -> None:
    rng = torch.Generator().manual_seed(0)
    points = torch.rand(16, 1, 2, generator=rng) * 0.3 + 0.35
    matrix = change.affine(
        torch.rand(16, generator=rng) * 0.4 + 0.8,
        (torch.rand(16, generator=rng) - 0.5) * math.radians(50),
        torch.zeros(16),
    )
    moved, places = change.warp(dots(points), points, matrix, torch.rand(16, 2, generator=rng) * 0.1, "zeros")
    torch.testing.assert_close(centers(moved), places[:, 0], atol=0.01, rtol=0)
    assert (places - points).abs().max() > 0.05


def test_a_looser_crop_shows_a_smaller_face() -> None:
    points = torch.tensor([[[0.2, 0.5], [0.8, 0.5]]])
    _, places = change.warp(
        torch.zeros(1, 1, 48, 48),
        points,
        change.affine(torch.tensor([1.2]), torch.zeros(1), torch.zeros(1)),
        torch.zeros(1, 2),
        "zeros",
    )
    assert float(places[0, 1, 0] - places[0, 0, 0]) == pytest.approx(0.5, abs=1e-5)


def test_mirrors_undo_themselves() -> None:
    twice = [facenet.MIRROR_POINTS[k] for k in facenet.MIRROR_POINTS]
    assert twice == list(range(68))
    assert [k for k in range(68) if facenet.MIRROR_POINTS[k] == k] == [
        1,
        2,
        3,
        4,
        10,
        27,
        28,
        29,
        30,
        33,
        51,
        57,
        62,
        66,
    ]
    names = ["browInnerUp", "eyeBlinkLeft", "eyeBlinkRight", "mouthLeft", "mouthRight"]
    assert facenet.mirror_names(names) == [0, 2, 1, 4, 3]


def test_mirrored_points_fall_on_their_twins_in_real_faces() -> None:
    if not FERPLUS.is_dir():
        pytest.skip(f"no FERPlus data in {FERPLUS}")
    points = np.load(FERPLUS / "landmarks_68.npy", allow_pickle=False).astype(np.float32)
    mean = points[np.isfinite(points).all((1, 2))].mean(0)
    off = np.abs(mean[list(facenet.MIRROR_POINTS)] * [-1, 1] + [1, 0] - mean).max(1)
    twins = [k for k in range(68) if k not in facenet.TWINLESS]
    assert off[twins].max() < 0.02
    assert off[list(facenet.TWINLESS)].min() > 0.3


def test_jpeg_is_nearly_pillows() -> None:
    face = dots(torch.tensor([[[0.3, 0.4], [0.7, 0.4], [0.5, 0.75]]]))
    picture = (face / face.max() * 0.8 + 0.1).clamp(0, 1)
    buffer = io.BytesIO()
    Image.fromarray((picture[0, 0].numpy() * 255).round().astype(np.uint8)).save(buffer, "JPEG", quality=30)
    wanted = np.asarray(Image.open(buffer)).astype(np.float32)
    got = change.jpeg(picture, torch.tensor([30.0]))[0, 0].numpy() * 255
    assert np.abs(got - wanted).mean() < 1.0
    assert np.abs(picture[0, 0].numpy() * 255 - wanted).mean() > 1.0


def test_augmentation_is_seeded_and_stays_in_range() -> None:
    rng = [torch.Generator().manual_seed(5) for _ in range(2)]
    pictures = torch.rand(32, 1, 48, 48, generator=torch.Generator().manual_seed(1))
    points, shapes = torch.rand(32, 68, 2), torch.rand(32, 52)
    one, two = (change.augment(pictures.clone(), points, shapes, list(range(52)), r) for r in rng)
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a, b)
    assert float(one[0].min()) >= 0
    assert float(one[0].max()) <= 1
    assert not torch.equal(one[0], pictures)
    flipped = ~one[3][:, 1]
    assert 4 < int(flipped.sum()) < 28
    assert one[3][:, 5:].all()


def test_groups_stay_whole_and_the_split_is_frozen(tmp_path: Path) -> None:
    groups = np.array([str(k // 2) for k in range(400)])
    rows = builtin_data.split_groups(groups, tmp_path / "held.json", 3)
    assert (sum(rows[name].astype(int) for name in ("train", "choose", "test")) == 1).all()
    assert rows["choose"].sum() == rows["test"].sum() == 30
    for name in rows:
        assert (rows[name][::2] == rows[name][1::2]).all()
    again = builtin_data.split_groups(groups, tmp_path / "held.json", 99)
    assert all((rows[name] == again[name]).all() for name in rows)


def test_judging_against_loops() -> None:
    rng = np.random.default_rng(0)
    score, wrong = rng.random(60), rng.random(60) < 0.3
    pairs = [(a > b) for a in score[wrong] for b in score[~wrong]]
    got = evaluate_builtin.area_under_roc(torch.tensor(score), torch.tensor(wrong))
    assert got == pytest.approx(np.mean(pairs))
    p, q = torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    assert evaluate_builtin.js_divergence(p, q).tolist() == pytest.approx([1.0, 0.0], abs=1e-6)
