"""What the builtin network's training rests on: changes of faces move their points along, splits keep groups whole."""

from __future__ import annotations

import dataclasses
import io
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
if not (BENCHMARKS / "train_builtin.py").is_file():
    pytest.skip("the benchmarks are not here", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))
import builtin_augment as change  # noqa: E402
import builtin_batches as batches  # noqa: E402
import builtin_data  # noqa: E402
import builtin_figures  # noqa: E402
import builtin_photographs as photographs  # noqa: E402
import builtin_readouts as readouts  # noqa: E402
import evaluate_builtin  # noqa: E402
from builtin_start import start_network  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from fercleaner.encoders import facenet  # noqa: E402

FERPLUS = Path(os.environ.get("FERCLEANER_FERPLUS", Path(__file__).parents[3] / "shared" / "ferplus"))


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
    names = ["browInnerUp", "eyeBlinkLeft", "eyeBlinkRight", "mouthLeft", "mouthRight"]
    assert facenet.mirror_names(names) == [0, 2, 1, 4, 3]


def test_mirrored_points_fall_on_their_twins_in_real_faces() -> None:
    """All but the jaw's, which is uneven in these files."""
    if not FERPLUS.is_dir():
        pytest.skip(f"no FERPlus data in {FERPLUS}")
    points = np.load(FERPLUS / "landmarks_68.npy", allow_pickle=False).astype(np.float32)
    mean = points[np.isfinite(points).all((1, 2))].mean(0)
    off = np.abs(mean[list(facenet.MIRROR_POINTS)] * [-1, 1] + [1, 0] - mean).max(1)
    assert off[17:].max() < 0.02
    assert off[1:16].max() > 0.1


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
    assert float(one.pictures.min()) >= 0
    assert float(one.pictures.max()) <= 1
    assert not torch.equal(one.pictures, pictures)
    assert 4 < int(one.flipped.sum()) < 28


def test_augmentation_moves_points_with_their_pixels_and_names_mirrored_ones_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A blob stands at point 36, whose twin is 45: where it is after all, mirrored or not, and out of a frame."""
    monkeypatch.setattr(change, "degraded", lambda pictures, rng: pictures)
    rng = torch.Generator().manual_seed(8)
    points = torch.full((48, 68, 2), 0.5)
    points[:, 36] = torch.tensor([0.46, 0.48])
    frames = torch.tensor([[0.8, -0.1, 0.12], [0.1, 0.8, 0.05]]).expand(48, 2, 3)
    shapes = torch.arange(52.0).repeat(48, 1)
    done = change.augment(dots(points[:, 36:37], 96), points, shapes, [*range(1, 52), 0], rng, frames, 96, 0.3)
    which = torch.where(done.flipped, 45, 36)
    place = done.points[torch.arange(48), which]
    inside = ((place - 0.5).abs() < 0.3).all(1)
    assert int(inside.sum()) > 24
    assert 0 < int(done.flipped[inside].sum()) < int(inside.sum())
    peak = done.pictures[:, 0].flatten(1).argmax(1)
    seen = torch.stack((peak % 96, peak // 96), 1) / 96 + 0.5 / 96
    torch.testing.assert_close(seen[inside], place[inside], atol=0.02, rtol=0)
    assert torch.equal(done.blendshapes[:, 0], done.flipped.float())


def test_scrambled_pictures_keep_their_pixels_and_no_face() -> None:
    pictures = torch.rand(4, 1, 96, 96, generator=torch.Generator().manual_seed(1))
    done = change.scrambled(pictures, torch.Generator().manual_seed(2))
    assert torch.equal(done.flatten(1).sort(1).values, pictures.flatten(1).sort(1).values)
    assert (done != pictures).float().mean() > 0.8


def test_photographs_are_split_by_group_beside_the_crops(tmp_path: Path) -> None:
    file = tmp_path / "held.json"
    crops = np.array([str(k // 2) for k in range(400)])
    groups = np.array([f"g{k // 3}" for k in range(600)])
    before = builtin_data.split_groups(crops, file, 3)
    rows = photographs.split_photographs(groups, file, 0)
    assert (sum(rows[name].astype(int) for name in ("train", "choose", "test")) == 1).all()
    assert rows["choose"].sum() == rows["test"].sum() == 60
    again = photographs.split_photographs(groups, file, 9)
    assert all((rows[name] == again[name]).all() for name in rows)
    after = builtin_data.split_groups(crops, file, 5)
    assert all((before[name] == after[name]).all() for name in before)


def test_teachers_over_eight_expressions_by_hand() -> None:
    expression = np.array([[0.2, 0.1, 0.1, 0.1, 0.3, 0.1, 0.1]], np.float32)
    emotion = np.array([[0.5, 0.1, 0.1, 0.1, 0.2]], np.float32)
    seven, five = photographs.teachers_eight(expression, emotion)
    assert seven[0].tolist() == pytest.approx([0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.3, 0])
    assert five[0].tolist() == pytest.approx([0.3, 0.06, 0.06, 0.06, 0.12, 0.1, 0.3, 0])
    same = photographs.geometric_mean((0.5, seven), (0.5, seven))
    torch.testing.assert_close(same, seven, atol=2e-3, rtol=0)


def test_an_earlier_network_keeps_what_it_gives(tmp_path: Path) -> None:
    """Weights without the finer stem, whose jaw has 11 points down to the chin on one side."""
    torch.manual_seed(1)
    network = start_network("")
    for name, value in network.named_parameters():
        if name.startswith("points.correction"):
            torch.nn.init.normal_(value, 0, 0.05)
    old = {k: v for k, v in network.state_dict().items() if not k.startswith(("detail.", "photographs.", "pool"))}
    save_file({k: v.contiguous() for k, v in old.items()}, tmp_path / "old.safetensors")
    fresh = start_network(str(tmp_path / "old.safetensors"))
    pictures = torch.rand(3, 1, 96, 96)
    with torch.inference_mode():
        one, other = network(pictures), fresh(pictures)
    torch.testing.assert_close(one.embedding, other.embedding)
    torch.testing.assert_close(one.logits, other.logits)
    torch.testing.assert_close(one.points[:, 17:], other.points[:, 17:])
    torch.testing.assert_close(one.points[:, 10], other.points[:, 8])


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
    got = builtin_figures.area_under_roc(torch.tensor(score), torch.tensor(wrong))
    assert got == pytest.approx(np.mean(pairs))
    p, q = torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    assert builtin_figures.js_divergence(p, q).tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


def drawn_faces(count: int = 96) -> builtin_data.Faces:
    """Return made-up faces: a stripe whose height in the picture is the first blendshape, and decides the votes."""
    rng = torch.Generator().manual_seed(2)
    raised = torch.rand(count, generator=rng)
    pictures = torch.randint(90, 110, (count, 48, 48), generator=rng)
    for picture, row in zip(pictures, (10 + raised * 28).long().tolist(), strict=True):
        picture[row - 4 : row + 4] = 220
    counts = torch.zeros(count, 8)
    counts[torch.arange(count), (raised * 3).long()] = 10
    counts[:4] = torch.eye(8)[6] * 10
    blend = torch.full((count, 52), 0.3)
    blend[:, 1] = raised
    mean, std = blend.mean(0), blend.std(0, correction=0)
    found = torch.arange(count) % 7 > 0
    scaled = (blend - mean) / std.clamp_min(builtin_data.VARYING) * found[:, None]
    return builtin_data.Faces(
        pictures.to(torch.uint8),
        counts / 10,
        torch.linspace(0.5, 1, count),
        counts,
        torch.rand(count, 68, 2, generator=rng),
        found,
        scaled,
        np.arange(count).astype(str),
        counts.argmax(1),
        mean,
        std,
    )


def test_the_recall_of_votes_against_loops() -> None:
    faces, rows = drawn_faces(), np.arange(5, 90)
    logits = torch.randn(len(rows), 8, generator=torch.Generator().manual_seed(0))
    won, all_of = [0.0] * 7, [0.0] * 7
    for k, row in enumerate(rows):
        guess = max(range(7), key=lambda c: float(logits[k, c]))
        for c in range(7):
            all_of[c] += float(faces.counts[row, c])
            won[c] += float(faces.counts[row, c]) * (c == guess)
    got = builtin_figures.expression_figures(logits, faces, rows, 1.0)["vote_recall"]
    assert got == pytest.approx(sum(w / max(n, 1) for w, n in zip(won, all_of, strict=True)) / 7)


def test_votes_for_every_expression_weigh_the_same() -> None:
    faces = drawn_faces()
    rows = np.arange(0, 96, 2)
    weight = builtin_data.balanced_weights(faces.votes, faces.weight, rows)
    total = (faces.votes[rows] * weight[rows, None]).sum(0)
    assert float(weight[rows].mean()) == pytest.approx(1)
    assert total[[0, 1, 2, 6]].tolist() == pytest.approx([12.0] * 4, rel=1e-5)
    assert total[[3, 4, 5, 7]].tolist() == [0] * 4
    half = builtin_data.balanced_weights(faces.votes, faces.weight, rows, 0.5)
    square = half[rows] ** 2 / faces.weight[rows]
    torch.testing.assert_close(square, weight[rows] * square.mean())


def drawn_targets(count: int = 96) -> batches.Targets:
    faces = drawn_faces(count)
    return batches.crop_targets(faces, (faces.votes.roll(1, 1),) * 2, np.arange(count))


def test_read_outs_are_fitted_to_the_features_of_the_body_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readouts, "BATCH", 12)
    monkeypatch.setattr(readouts, "JAW_BATCH", 12)
    crops = drawn_targets(48)
    crops.points[:, :17] = torch.tensor([0.3, 0.9])
    wild = dataclasses.replace(crops, frames=torch.eye(3)[:2].repeat(48, 1, 1))
    network = readouts.without_finer_stem(start_network(""))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    files = [tmp_path / f"features_crops_{k}.npz" for k in range(2)]
    readouts.write_features(network, crops, batches.crops_batch, files, 24)
    readouts.write_features(network, wild, batches.photographs_batch, [tmp_path / "features_wild_0.npz"], 24)
    again = readouts.file_features(network, crops, batches.crops_batch, 1, True, 24)
    with np.load(tmp_path / "features_crops_1.npz") as stored:
        assert set(stored.files) == set(again) >= {"mix", "shape", "places", "there"}
        assert all((stored[name] == again[name]).all() for name in again)
    embedding, target = readouts.read_features(tmp_path, ("embedding", "photographs"))
    assert embedding.shape == (3 * 24, 256)
    readouts.fit_expressions(network.photographs, embedding, target[:, :7], 0, passes=60)
    features = readouts.read_features(tmp_path, ("mix", "shape", "places", "there"))
    readouts.fit_jaw(network, features, 0, passes=60)
    after = network.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved == {
        f"{n}.{p}" for n in ("photographs", "points.votes", "points.correction") for p in ("weight", "bias")
    }
    assert torch.equal(after["points.votes.weight"][51:], before["points.votes.weight"][51:])
    costs, errors = [], []
    head = network.points
    for state in (after, before):
        network.load_state_dict(state)
        logits = network.photographs(embedding.float())[:, :7].log_softmax(1)
        costs.append(float((-(target[:, :7] * logits).sum(1) * readouts.balanced(target[:, :7])).mean()))
        mix, shape, places, there = features
        found = head.place(head.votes(mix.float()), head.correction(shape.float()))
        errors.append(float((found - places)[there][:, :17].abs().mean()))
    assert costs[0] < costs[1] - 0.03
    assert errors[0] < 0.8 * errors[1]


def test_correlations_are_numpys() -> None:
    rng = np.random.default_rng(1)
    a = rng.random((30, 4))
    b = a + rng.random((30, 4))
    b[:, 3] = 0.5
    got = builtin_figures.correlations(torch.tensor(a), torch.tensor(b))
    assert got[:3].tolist() == pytest.approx([np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(3)])
    assert float(got[3]) == 0


@pytest.mark.parametrize("alike", [True, False])
def test_a_teacher_that_treats_sides_alike_agrees_with_itself(monkeypatch: pytest.MonkeyPatch, alike: bool) -> None:
    left, right = (builtin_figures.BLENDSHAPES.index(f"eyeBlink{side}") for side in ("Left", "Right"))

    class Teacher:
        """Reads one eye from each half of the picture, or both from the left half."""

        def __init__(self, model: str) -> None:
            assert model == "a.task"

        def __call__(self, image: Image.Image) -> np.ndarray:
            gray = np.asarray(image.convert("L"), np.float32) / 255
            values = np.zeros(189, np.float32)
            values[137 + left] = gray[:, :24].mean()
            values[137 + right] = gray[:, 24:].mean() if alike else gray[:, :24].mean()
            return values

    monkeypatch.setattr("fercleaner.landmarks.mediapipe.FindFace", Teacher)
    faces = drawn_faces()
    pictures = torch.randint(0, 256, (96, 4, 4), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
    pictures = pictures.repeat_interleave(12, 1).repeat_interleave(12, 2)
    teacher = Teacher("a.task")
    blend = torch.from_numpy(np.stack([teacher(Image.fromarray(p.numpy()))[137:] for p in pictures]))
    mean, std = blend.mean(0), blend.std(0, correction=0)
    faces = dataclasses.replace(
        faces,
        pictures=pictures,
        blendshapes=(blend - mean) / std.clamp_min(builtin_data.VARYING),
        blend_mean=mean,
        blend_std=std,
    )
    got = evaluate_builtin.teacher_figures(Path("a.task"), faces, np.arange(50))
    assert got["faces"] == int(faces.found[:50].sum())
    if alike:
        assert got["mirrored"] == pytest.approx(1, abs=1e-4)
        assert got["mean of both"] == pytest.approx(1, abs=1e-4)
    else:
        assert abs(got["mirrored"]) < 0.4
        assert 0.5 < got["mean of both"] < 0.9
