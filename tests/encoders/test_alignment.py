"""The canonical frame of a face: fitted, kept within limits, sampled, and its points taken back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fercleaner.encoders import alignment, facenet
from fercleaner.encoders.alignment import CANONICAL, GROUPS
from fercleaner.extraction.detection import TEMPLATE

IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def frame_of(roll: float, side: float, center: tuple[float, float]) -> NDArray[np.float64]:
    """(2, 3): the square of this side around this center, its axes turned by `roll` degrees."""
    angle = math.radians(roll)
    a, d = side * math.cos(angle), side * math.sin(angle)
    return np.array([[a, -d, center[0] - (a - d) / 2], [d, a, center[1] - (d + a) / 2]])


def face(frame: NDArray[np.float64], seed: int = 0, noise: float = 0.0) -> NDArray[np.float64]:
    """68 points whose groups have their means at `CANONICAL` in the frame; the jaw lies anywhere."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-3, 3, (68, 2))
    for (start, stop), place in zip(GROUPS, np.array(CANONICAL), strict=True):
        spread = rng.normal(0, 0.02, (stop - start, 2))
        around = place + spread - spread.mean(0) + rng.normal(0, noise, 2)
        points[start:stop] = around @ frame[:, :2].T + frame[:, 2]
    return points


def frames_of(*faces: NDArray[np.float64], found: float = 3.0) -> NDArray[np.float64]:
    points = torch.tensor(np.stack(faces), dtype=torch.float64)
    return alignment.canonical_frames(points, torch.full((len(faces),), found)).numpy()


def dot(x: float, y: float, size: int) -> NDArray[np.float64]:
    """A soft dot at (x, y) in widths, 0.03 wide, in a picture (size, size)."""
    place = (np.arange(size) + 0.5) / size
    soft: NDArray[np.float64] = np.exp(-((place[None] - x) ** 2 + (place[:, None] - y) ** 2) / (2 * 0.03**2))
    return soft


def middle(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    place = (np.arange(len(picture)) + 0.5) / len(picture)
    center: NDArray[np.float64] = np.array([picture.sum(0) @ place, picture.sum(1) @ place]) / picture.sum()
    return center


@given(
    roll=st.floats(-60, 60).filter(lambda r: abs(r) > 4.1),
    side=st.floats(0.5, 0.68),
    x=st.floats(0.49, 0.51),
    y=st.floats(0.49, 0.51),
)
@settings(max_examples=40, deadline=None)
def test_a_turned_face_gives_its_frame(roll: float, side: float, x: float, y: float) -> None:
    frame = frame_of(roll, side, (x, y))
    np.testing.assert_allclose(frames_of(face(frame))[0], frame, atol=1e-6)


def test_a_quarter_turn_by_hand() -> None:
    """The picture turned clockwise by 90 degrees: up in the face is right in the crop."""
    frame = frames_of(face(np.array([[0.0, -1.0, 1.0], [1.0, 0.0, 0.0]])))[0]
    corners = np.array([(0, 0), (1, 0), (0, 1)]) @ frame[:, :2].T + frame[:, 2]
    np.testing.assert_allclose(corners, [(1, 0), (1, 1), (0, 0)], atol=1e-6)


def test_the_fit_is_least_squares() -> None:
    points = face(frame_of(17, 0.6, (0.5, 0.5)), seed=3, noise=0.05)
    rows, wanted = [], []
    for (start, stop), (u, v) in zip(GROUPS, CANONICAL, strict=True):
        x, y = points[start:stop].mean(0)
        rows += [(u, -v, 1, 0), (v, u, 0, 1)]
        wanted += [x, y]
    a, d, c, f = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0]
    np.testing.assert_allclose(frames_of(points)[0], [[a, -d, c], [d, a, f]], atol=1e-6)


def test_the_frame_is_that_of_the_detector() -> None:
    np.testing.assert_allclose(np.array(CANONICAL)[:2], TEMPLATE[:2], atol=0.001)
    np.testing.assert_allclose(np.array(CANONICAL)[5], TEMPLATE[3:].mean(0), atol=0.02)


def test_a_face_in_the_frame_stays() -> None:
    near = [frame_of(0, 1, (0.5, 0.5)), frame_of(3.9, 1, (0.5, 0.5)), frame_of(0, 0.96, (0.515, 0.5))]
    assert (frames_of(*map(face, near)) == IDENTITY).all()
    far = [frame_of(4.1, 0.9, (0.5, 0.5)), frame_of(-4.1, 0.9, (0.5, 0.5)), frame_of(0, 0.94, (0.5, 0.5))]
    assert (frames_of(*map(face, far)) != IDENTITY).any((1, 2)).all()
    shifted = frames_of(face(frame_of(0, 0.9, (0.55, 0.5))))[0]
    np.testing.assert_allclose(shifted, frame_of(0, 0.9, (0.55, 0.5)), atol=1e-6)


def test_faces_not_found_and_points_without_a_face_stay() -> None:
    turned = face(frame_of(20, 0.8, (0.5, 0.5)))
    assert (frames_of(turned, found=-0.1) == IDENTITY).all()
    assert (frames_of(turned, found=math.nan) == IDENTITY).all()
    assert (frames_of(turned, found=0.1) != IDENTITY).any()
    assert (frames_of(np.full((68, 2), 0.4), turned * math.nan) == IDENTITY).all()


def test_limits() -> None:
    small, large = frames_of(face(frame_of(30, 0.2, (0.4, 0.5))), face(frame_of(30, 1.6, (0.4, 0.5))))
    np.testing.assert_allclose(small, frame_of(30, 0.3, (0.4, 0.5)), atol=1e-6)
    np.testing.assert_allclose(large, frame_of(30, 1.1, (0.5, 0.5)), atol=1e-6)
    corner = frames_of(face(frame_of(30, 0.6, (0.1, 0.95))))[0]
    reach = 0.3 * (math.cos(math.radians(30)) + math.sin(math.radians(30)))
    np.testing.assert_allclose(corner, frame_of(30, 0.6, (reach, 1 - reach)), atol=1e-6)


@pytest.mark.parametrize("size", [48, 96])
@pytest.mark.parametrize(("roll", "side"), [(20, 0.8), (-35, 0.7), (90, 0.9)])
def test_what_lies_in_the_frame_is_sampled_upright(size: int, roll: float, side: float) -> None:
    frame = frame_of(roll, side, (0.5, 0.5))
    for u, v in CANONICAL:
        x, y = frame[:, :2] @ (u, v) + frame[:, 2]
        picture = torch.tensor(dot(x, y, size))[None, None]
        upright = alignment.resampled(picture, torch.tensor(frame)[None], 48)
        assert upright.shape == (1, 1, 48, 48)
        np.testing.assert_allclose(middle(upright[0, 0].numpy()), (u, v), atol=0.005)


def test_the_border_is_reflected() -> None:
    picture = np.random.default_rng(0).random((48, 48))
    frame = np.array([[1, 0, 5 / 48], [0, 1, -3 / 48]])
    wanted = np.pad(picture, 5, mode="symmetric")[2:50, 10:58]
    got = alignment.resampled(torch.tensor(picture)[None, None], torch.tensor(frame)[None], 48)[0, 0]
    np.testing.assert_allclose(got, wanted, atol=1e-9)


def test_blocks_are_undone_by_the_mean_of_four() -> None:
    picture = torch.rand(2, 1, 48, 48, generator=torch.Generator().manual_seed(1))
    shown = alignment.doubled(picture)
    assert shown.shape == (2, 1, 96, 96)
    assert torch.equal(torch.nn.functional.avg_pool2d(shown, 2), picture)


def test_points_go_there_and_back() -> None:
    frame = frame_of(25, 0.7, (0.4, 0.6))
    points = np.random.default_rng(2).random((5, 2))
    there = alignment.carried(torch.tensor(points)[None], torch.tensor(frame)[None])[0].numpy()
    for point, moved in zip(points, there, strict=True):
        np.testing.assert_allclose(frame[:, :2] @ point + frame[:, 2], moved)
    whole = np.vstack((frame, [0, 0, 1]))
    back = np.linalg.inv(whole)[:2]
    np.testing.assert_allclose(alignment.carried(torch.tensor(there)[None], torch.tensor(back)[None])[0], points)


class DotReader(torch.nn.Module):
    """A network that first tells `points`, and of every further picture where its dot is; it keeps what it sees.

    Its logits are 1 at the first look, 4 at the second, 10 at the third.
    """

    def __init__(self, points: NDArray[np.float64]) -> None:
        super().__init__()
        self.points = points
        self.seen: list[torch.Tensor] = []

    def forward(self, pictures: torch.Tensor) -> facenet.FaceOutput:
        first, b = not self.seen, len(pictures)
        self.seen.append(pictures)
        told = self.points if first else np.stack([np.tile(middle(p[0].numpy()), (68, 1)) for p in pictures])
        value = torch.full((b, 8), (0.0, 1.0, 4.0, 10.0)[len(self.seen)])
        return facenet.FaceOutput(
            value[:, :3], value, torch.tensor(told), torch.full((b,), 2.0), torch.arange(52.0).repeat(b, 1)
        )


@pytest.mark.parametrize("fine", [False, True])
def test_the_second_look_is_aligned_mirrored_and_taken_back(fine: bool) -> None:
    frames = [frame_of(20, 0.8, (0.5, 0.5)), frame_of(-33, 0.76, (0.5, 0.5)), IDENTITY]
    told = np.stack([face(frame, seed) for seed, frame in enumerate(frames)])
    dots = [(0.45, 0.4), (0.55, 0.62), (0.3, 0.4)]
    reader = DotReader(told)
    pictures = torch.tensor(np.stack([dot(x, y, 48) for x, y in dots]))[:, None]
    finer = torch.tensor(np.stack([dot(x, y, 144) for x, y in dots]))[:, None] if fine else None
    shapes = [*range(1, 52), 0]
    out = alignment.average_with_aligned(reader, pictures, shapes, finer)
    assert len(reader.seen) == 2
    assert all(seen.shape == (3, 1, 96, 96) for seen in reader.seen)
    if not fine:
        assert torch.equal(reader.seen[0], alignment.doubled(pictures))
    assert torch.equal(reader.seen[1][2], reader.seen[0][2].flip(2))
    for k, frame in enumerate(frames):
        u, v = np.linalg.solve(frame[:, :2], np.array(dots[k]) - frame[:, 2])
        np.testing.assert_allclose(middle(reader.seen[1][k, 0].numpy()), (1 - u, v), atol=0.005)
        np.testing.assert_allclose(out.points[k], (told[k] + dots[k]) / 2, atol=0.005)
    assert (out.logits == 2.5).all()
    assert (out.embedding == 2.5).all()
    assert (out.found == 2).all()
    assert torch.equal(out.blendshapes[0], (torch.arange(52.0) + torch.tensor(shapes)) / 2)


def test_a_face_in_a_loose_picture_is_read_in_its_frame_alone() -> None:
    frames = [frame_of(10, 0.5, (0.45, 0.5)), frame_of(10, 0.9, (0.5, 0.5))]
    told = np.stack([face(frame, seed) for seed, frame in enumerate(frames)])
    dots = [(0.5, 0.6), (0.4, 0.5)]
    reader = DotReader(told)
    pictures = torch.tensor(np.stack([dot(x, y, 144) for x, y in dots]))[:, None]
    small = torch.tensor(np.stack([dot(x, y, 48) for x, y in dots]))[:, None]
    out = alignment.average_with_aligned(reader, small, range(52), pictures)
    assert len(reader.seen) == 3
    assert torch.equal(reader.seen[2], reader.seen[1].flip(3))
    assert (out.logits[0] == 7).all()
    assert (out.logits[1] == 2.5).all()
    np.testing.assert_allclose(out.points[0], np.tile(dots[0], (68, 1)), atol=0.005)


def test_only_finer_rows_are_taken_from_the_finer_pictures() -> None:
    told = np.stack([face(frame_of(20, 0.8, (0.5, 0.5)))] * 2)
    coarse = torch.tensor(np.stack([dot(0.4, 0.4, 48)] * 2))[:, None]
    finer = torch.tensor(np.stack([dot(0.6, 0.6, 144)] * 2))[:, None]
    reader, alone = DotReader(told), DotReader(told)
    alignment.average_with_aligned(reader, coarse, range(52), finer, torch.tensor([True, False]))
    alignment.average_with_aligned(alone, coarse, range(52))
    for look in (0, 1):
        assert not torch.allclose(reader.seen[look][0], alone.seen[look][0], atol=0.1)
        assert torch.equal(reader.seen[look][1], alone.seen[look][1])


def test_without_a_face_it_is_the_mean_with_the_mirror_image() -> None:
    torch.manual_seed(0)
    network = facenet.FaceNet().eval().requires_grad_(False)
    pictures = torch.rand(3, 1, 48, 48)
    shapes = list(range(52))
    network.found.bias.fill_(-50.0)
    plain = facenet.average_with_mirror(network, pictures, shapes)
    for a, b in zip(alignment.average_with_aligned(network, pictures, shapes), plain, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    network.found.bias.fill_(50.0)
    seen = alignment.average_with_aligned(network, pictures, shapes)
    assert not torch.allclose(seen.embedding, plain.embedding, atol=1e-3)
