"""The builtin encoder and landmarks: the shipped weights, through the package's own path."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from fercleaner.core.errors import FeatureError, InputError
from fercleaner.core.types import Samples
from fercleaner.encoders import alignment, builtin, builtin_views
from fercleaner.encoders.builtin import PARTS, BuiltinExtractor, prepare_face, weights_folder
from fercleaner.encoders.facenet import EXPRESSIONS, load_facenet, mirror_names
from fercleaner.extraction.detection import Frame, whole_frame
from fercleaner.extraction.images import ArrayImages
from fercleaner.extraction.run import extract
from fercleaner.landmarks import builtin as builtin_landmarks
from fercleaner.landmarks import detect
from fercleaner.landmarks.action_units import BLENDSHAPES

WEIGHTS = weights_folder() / "builtin.safetensors"
FERPLUS = Path(os.environ.get("FERCLEANER_FERPLUS", Path(__file__).parents[3] / "shared" / "ferplus"))

# What the card says of the test groups, less what 700 faces of them can be worse by chance.
MIN_ACCURACY, MIN_RECALL, MAX_JS = 0.89, 0.65, 0.09
MAX_LANDMARK_ERROR, MIN_BLENDSHAPES = 0.05, 0.7


def drawn_face(width: int = 48, height: int = 48, seed: int = 0) -> Image.Image:
    """Two eyes, a nose and a smile, in gray."""
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[:height, :width] + 0.5) / np.array([height, width])[:, None, None]
    face = 0.25 + 0.5 * (((x - 0.5) / 0.42) ** 2 + ((y - 0.5) / 0.52) ** 2 < 1)
    for cx in (0.31, 0.69):
        face -= 0.4 * (((x - cx) / 0.09) ** 2 + ((y - 0.39) / 0.05) ** 2 < 1)
    face -= 0.3 * ((abs(y - 0.74 - 0.3 * (0.5 - x) ** 2) < 0.03) & (abs(x - 0.5) < 0.2))
    face += rng.normal(0, 0.01, face.shape)
    return Image.fromarray((face.clip(0, 1) * 255).astype(np.uint8)).convert("RGB")


def run(extractor: BuiltinExtractor, images: list[Image.Image]) -> NDArray[np.float32]:
    values, found, _ = extractor.compute([extractor.prepare(image) for image in images])
    assert found.all()
    return values


@pytest.fixture(scope="module")
def everything() -> BuiltinExtractor:
    return BuiltinExtractor(PARTS, device="cpu")


def test_weights_are_small_and_no_pickle() -> None:
    assert WEIGHTS.stat().st_size <= 12_000_000
    data = WEIGHTS.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} == {"F16"}
    assert sum(np.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__") < 3.05e6
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(data)
    assert (weights_folder() / "trained_on.npy").stat().st_size < 400_000


def test_names_agree_with_the_rest_of_the_package() -> None:
    about = builtin.read_description(WEIGHTS)
    assert tuple(about["blendshapes"]) == BLENDSHAPES
    assert tuple(about["classes"]) == builtin.EXPRESSIONS == EXPRESSIONS


def test_vectors(everything: BuiltinExtractor) -> None:
    values = run(everything, [drawn_face(seed=k) for k in range(3)])
    assert values.shape == (3, everything.width) == (3, 454)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[:, 256:264].sum(1), 1, atol=1e-5)
    assert ((values[:, 400] >= 0) & (values[:, 400] <= 1)).all()
    assert ((values[:, 401:453] >= 0) & (values[:, 401:453] <= 1)).all()
    assert (values[:, 453] == 0).all()
    alone = run(BuiltinExtractor(device="cpu"), [drawn_face(seed=0)])
    assert (alone[0] == values[0, :256]).all()


def test_blendshapes_are_the_sigmoids_of_both_looks() -> None:
    about, network = builtin.read_description(WEIGHTS), load_facenet(str(WEIGHTS))
    image = drawn_face(seed=3)
    picture = torch.from_numpy(prepare_face(np.asarray(image)))[None, None].float() / 255
    one, other = network(picture).blendshapes[0], network(picture.flip(3)).blendshapes[0]
    logits = ((one + other[mirror_names(about["blendshapes"])]) / 2).double().numpy()
    wanted = np.where(about["blendshape_varies"], 1 / (1 + np.exp(-logits)), about["blendshape_mean"])
    got = run(BuiltinExtractor(("landmarks",), device="cpu", align=False), [image])[0, 137:]
    np.testing.assert_allclose(got, wanted, atol=2e-5)
    assert got[about["blendshape_varies"]].std() > 0.05


def test_a_face_does_not_depend_on_its_batch_or_on_the_run(everything: BuiltinExtractor) -> None:
    images = [drawn_face(seed=k) for k in range(3)] + [drawn_face(120, 120)]
    images += [image.rotate(20, Image.Resampling.BICUBIC) for image in (images[0], images[-1])]
    together = run(everything, images)
    apart = np.concatenate([run(everything, [image]) for image in images])
    assert (together == apart).all()
    again = BuiltinExtractor(PARTS, device="cpu")
    assert (run(again, images) == together).all()
    assert again.spec == everything.spec
    assert json.loads(json.dumps(dict(again.spec))) == again.spec
    assert len(str(again.spec["weights"])) == 64


def test_color_and_size_hardly_matter(everything: BuiltinExtractor) -> None:
    """Size does to posteriors: those of a picture with detail are weighed otherwise (`FaceNet.pool`)."""
    gray = drawn_face(240, 240)
    tinted = Image.merge("RGB", [gray.getchannel(0).point(lambda v, g=g: int(v * g)) for g in (1.0, 0.8, 0.6)])
    small, large, warm = run(everything, [gray.resize((48, 48), Image.Resampling.BOX), gray, tinted])
    for other in (large, warm):
        cosine = small[:256] @ other[:256] / np.linalg.norm(small[:256]) / np.linalg.norm(other[:256])
        assert cosine > 0.97
    np.testing.assert_allclose(large[256:264], warm[256:264], atol=0.05)
    assert np.abs(large[256:264] - small[256:264]).max() > 0.02


def test_landmarks_are_in_pixels_of_the_picture(everything: BuiltinExtractor) -> None:
    large = drawn_face(240, 240)
    wide = large.crop((0, 40, 240, 200))
    padded = Image.fromarray(np.pad(np.asarray(wide), ((40, 40), (0, 0), (0, 0)), mode="edge"))
    inside, around = run(everything, [wide, padded])[:, 264:400].reshape(2, 68, 2)
    np.testing.assert_allclose(inside, around - [0, 40], atol=1e-3)
    first = run(everything, [large])[0, 264:400].reshape(68, 2)
    small = run(everything, [large.resize((48, 48), Image.Resampling.HAMMING)])[0, 264:400].reshape(68, 2)
    # A quarter of the network's pixel: the larger picture is aligned from more of them.
    np.testing.assert_allclose(first, small * 5, atol=1.25)
    assert first[36:42, 0].mean() < first[42:48, 0].mean()
    assert first[36:48, 1].mean() < first[48:68, 1].mean()


def test_prepared_pictures_are_gray_48() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    assert (prepare_face(pixels) == pixels).all()
    assert prepare_face(np.zeros((100, 60, 3), np.uint8)).shape == (48, 48)


def test_larger_faces_are_prepared_twice() -> None:
    """48 x 48 with its place, and 144 x 144 to be seen and aligned from where the face has more pixels."""
    small, large = drawn_face(48, 48), drawn_face(200, 160)
    prepare = builtin.PrepareFace()
    assert prepare(small).shape == (2304 + 24,)
    done = prepare(large)
    assert done.shape == (2304 + 24 + 20736,)
    assert (done[:2304].reshape(48, 48) == prepare_face(np.asarray(large))).all()
    wanted = whole_frame(large).pixels(large, 144)
    assert (done[2328:].reshape(144, 144) == wanted).all()
    assert builtin.PrepareFace(fine=False)(large).shape == (2304 + 24,)


def aligned_from(monkeypatch: pytest.MonkeyPatch, extractor: BuiltinExtractor, images: list[Image.Image]) -> list[Any]:
    """The arguments with which the package aligns these pictures: pictures, finer ones, which are finer."""
    kept: list[Any] = []
    real = alignment.average_with_aligned

    def spy(network: Any, pictures: Any, shapes: Any, fine: Any = None, is_fine: Any = None) -> Any:
        kept.extend((pictures, fine, is_fine))
        return real(network, pictures, shapes, fine, is_fine)

    monkeypatch.setattr(alignment, "average_with_aligned", spy)
    run(extractor, images)
    return kept


def test_each_face_is_aligned_from_its_own_pixels(
    everything: BuiltinExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [drawn_face(48, 48, 0), drawn_face(150, 150, 1), drawn_face(48, 48, 2), drawn_face(100, 70, 3)]
    pictures, fine, is_fine = aligned_from(monkeypatch, everything, images)
    assert np.flatnonzero(is_fine.numpy()).tolist() == [1, 3]
    for row, image in enumerate(images):
        frame = whole_frame(image)
        assert (pictures[row, 0].numpy() * 255).round().astype(int).tolist() == frame.pixels(image, 48).tolist()
        wanted = frame.pixels(image, 144).astype(int) * bool(is_fine[row])
        assert ((fine[row, 0].numpy() * 255).round() == wanted).all()


def test_small_faces_alone_bring_no_finer_pictures(
    everything: BuiltinExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, fine, is_fine = aligned_from(monkeypatch, everything, [drawn_face(48, 48, 0)])
    assert fine is None
    assert is_fine is None


def test_aligning_changes_the_values_and_the_key_of_the_cache(everything: BuiltinExtractor) -> None:
    plain = BuiltinExtractor(PARTS, device="cpu", align=False)
    assert everything.spec != plain.spec
    assert everything.spec["version"] == 4
    assert everything.spec["align"]["side"] == [alignment.MIN_SIDE, alignment.MAX_SIDE]
    assert plain.spec["align"] is None
    assert plain.prepare(drawn_face(96, 96)).shape == (2304 + 24,)
    rolled = drawn_face(240, 240).rotate(20, Image.Resampling.BICUBIC, fillcolor=(60, 60, 60))
    one, other = run(everything, [rolled]), run(plain, [rolled])
    assert (one[0, 264:400] != other[0, 264:400]).any()


def test_pictures_without_one_face_are_not_found(everything: BuiltinExtractor) -> None:
    batch = [np.array([0], np.uint8), everything.prepare(drawn_face()), np.array([1], np.uint8)]
    values, found, notes = everything.compute(batch)
    assert found.tolist() == [False, True, False]
    assert notes == ["no face found", "", "several faces"]
    assert not values[[0, 2]].any()
    assert (values[1] == run(everything, [drawn_face()])[0]).all()


@pytest.mark.parametrize(("degrees", "lies"), [(40, False), (50, True), (-90, True), (180, True)])
def test_a_face_that_lies_in_its_picture_has_a_note(degrees: int, lies: bool) -> None:
    a, b = 100 * np.cos(np.radians(degrees)), 100 * np.sin(np.radians(degrees))
    extractor = BuiltinExtractor(("posterior",), device="cpu")
    extractor.prepare = builtin.PrepareFace(lambda image: Frame(((a, -b, 100.0), (b, a, 100.0))))  # type: ignore[arg-type]
    samples = samples_of(EXPRESSIONS, 1).replacing(images=ArrayImages(np.zeros((1, 200, 200, 3), np.uint8)))
    assert extract(samples, extractor, cache=None, workers=0).notes.tolist() == [builtin.LYING if lies else ""]


def test_builders() -> None:
    assert builtin.build("", device="cpu").width == 256
    with pytest.raises(InputError, match="--encoder builtin takes nothing after a colon, got 'large'"):
        builtin.build("large")
    with pytest.raises(InputError, match="builtin gives embedding, posterior, landmarks, trained_on, not 'age'"):
        BuiltinExtractor(("age",))
    detector = builtin_landmarks.build(device="cpu")
    assert (detector.name, detector.width) == ("landmarks", 189)


def test_missing_and_damaged_weights(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=r"needs .*w\.safetensors, which is not there"):
        BuiltinExtractor(weights=tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(b"\0" * 100)
    shutil.copy(WEIGHTS.with_suffix(".json"), tmp_path / "w.json")
    broken = BuiltinExtractor(weights=tmp_path / "w.safetensors", device="cpu")
    with pytest.raises(FeatureError, match="does not hold the builtin network"):
        run(broken, [drawn_face()])
    (tmp_path / "w.json").write_text("{}")
    with pytest.raises(FeatureError, match=r"w\.json is damaged"):
        BuiltinExtractor(weights=tmp_path / "w.safetensors")


def samples_of(classes: tuple[str, ...], n: int = 4) -> Samples:
    return Samples(
        np.array([f"f{k}" for k in range(n)]),
        classes,
        np.eye(len(classes), dtype=np.float32)[np.arange(n) % len(classes)],
        np.ones(n, bool),
        np.full(n, ""),
    )


def test_split_gives_every_view(everything: BuiltinExtractor) -> None:
    samples = samples_of(("sad", "happy", "neutral"))
    values = run(everything, [drawn_face(seed=k) for k in range(4)])
    values[1, 400] = 0.2  # uncertain landmarks
    values[2, 453] = 1  # trained on
    found = np.array([True, True, True, False])
    values[3] = 0
    notes = ["", "", "", "no face found"]
    views = builtin_views.split(samples, values, found, notes, everything.spec)
    assert views.features.values.shape == (4, 256)
    assert views.features.view == "builtin"
    assert views.landmarks.found.tolist() == [bool(values[0, 400] >= 0.5), False, bool(values[2, 400] >= 0.5), False]
    assert views.landmarks.notes is not None
    assert views.landmarks.notes[1] == "landmarks too uncertain"
    assert views.trained_on.tolist() == [False, False, True, False]
    assert views.posteriors is not None
    assert views.posteriors.name == "builtin"
    assert views.posteriors.found.tolist() == [True, True, False, False]
    kept = builtin_views.split(samples, values, found, notes, everything.spec, keep_trained_on=True)
    assert kept.posteriors is not None
    assert kept.posteriors.found.tolist() == [True, True, True, False]
    with pytest.raises(InputError, match="256 columns are not all parts of builtin"):
        builtin_views.split(samples, values[:, :256], found, notes, everything.spec)


def test_posteriors_follow_the_names_of_the_set() -> None:
    panel = np.array([[0.1, 0.2, 0.05, 0.25, 0.1, 0.1, 0.1, 0.1], [0, 0, 0, 0, 0, 0, 0, 1]], np.float32)
    posteriors, reason = builtin_views.builtin_posteriors(samples_of(("sad", "Joy"), 2), panel, np.ones(2, bool))
    assert reason == ""
    assert posteriors is not None
    np.testing.assert_allclose(posteriors.values[0], [0.25 / 0.45, 0.2 / 0.45], rtol=1e-6)
    assert posteriors.found.tolist() == [True, False]
    nothing, reason = builtin_views.builtin_posteriors(samples_of(("sad", "smirk"), 2), panel, np.ones(2, bool))
    assert nothing is None
    assert "this set has smirk too; it gives no posteriors" in reason
    twice, reason = builtin_views.builtin_posteriors(samples_of(("sad", "sadness"), 2), panel, np.ones(2, bool))
    assert twice is None
    assert "same expression" in reason


def test_through_the_packages_own_extraction(everything: BuiltinExtractor) -> None:
    pictures = np.stack([np.asarray(drawn_face(64, 64, seed=k)) for k in range(5)])
    samples = samples_of(("sad", "happy"), 5).replacing(images=ArrayImages(pictures))
    done = extract(samples, everything, cache=None, workers=0)
    views = builtin_views.split(samples, done.values, done.found, done.notes, everything.spec)
    assert views.features.found.all()
    detected = detect(samples, builtin_landmarks.build(device="cpu"))
    assert (detected.found == views.landmarks.found).all()
    assert (detected.points == views.landmarks.points).all()
    assert detected.blendshapes is not None
    assert (detected.blendshapes == views.landmarks.blendshapes).all()


def eye_distances(guess: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean distance of points (N, 68, 2) from the true ones, in eye distances; the jaw is uneven in these files."""
    eyes = np.linalg.norm(truth[:, 36:42].mean(1) - truth[:, 42:48].mean(1), axis=1)
    distances: NDArray[np.float64] = np.linalg.norm(guess - truth, axis=2)[:, 17:].mean(1) / eyes
    return distances


@pytest.fixture(scope="module")
def held_back() -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """700 faces of the test groups: pictures, votes for the seven expressions, points; and one trained-on face last."""
    if not (FERPLUS / "images.tar").is_file():
        pytest.skip(f"no FERPlus data in {FERPLUS}")
    groups = set(json.loads((weights_folder() / "heldback_groups.json").read_text())["test"])
    held = groups | set(json.loads((weights_folder() / "heldback_groups.json").read_text())["choose"])
    with (FERPLUS / "labels.csv").open(newline="") as file:
        labels = list(csv.DictReader(file))
    with (FERPLUS / "votes.csv").open(newline="") as file:
        ballots = [[int(row[c]) for c in builtin.EXPRESSIONS] for row in csv.DictReader(file)]
    votes = np.array(ballots)
    chosen = [
        k for k, row in enumerate(labels) if row["group"] in groups and votes[k, :7].max() >= max(6, votes[k].max())
    ][:700]
    chosen.append(next(k for k, row in enumerate(labels) if row["group"] not in held))
    wanted = {labels[k]["image"]: n for n, k in enumerate(chosen)}
    pictures = np.zeros((len(chosen), 48, 48), np.uint8)
    with tarfile.open(FERPLUS / "images.tar") as tar:
        for member in tar:
            place = wanted.get(member.name.removeprefix("./"))
            handle = tar.extractfile(member) if place is not None else None
            if place is not None and handle is not None:
                pictures[place] = np.asarray(Image.open(io.BytesIO(handle.read())).convert("L"))
    points = np.load(FERPLUS / "landmarks_68.npy", allow_pickle=False)[chosen].astype(np.float32)
    return pictures, votes[chosen, :7], points, np.asarray(chosen, np.float32)


def test_figures_on_faces_held_back_from_training(everything: BuiltinExtractor, held_back: tuple) -> None:  # type: ignore[type-arg]
    pictures, votes, points, rows = held_back
    batch = [everything.prepare(Image.fromarray(picture).convert("RGB")) for picture in pictures]
    values = np.concatenate([everything.compute(batch[k : k + 64])[0] for k in range(0, len(batch), 64)])
    assert values[:-1, 453].sum() == 0
    assert values[-1, 453] == 1
    panel, truth = values[:-1, 256:263].astype(np.float64), votes[:-1].argmax(1)
    panel /= panel.sum(1, keepdims=True)
    right = panel.argmax(1) == truth
    assert right.mean() >= MIN_ACCURACY
    assert np.mean([right[truth == c].mean() for c in range(7) if (truth == c).any()]) >= MIN_RECALL
    share = votes[:-1] / votes[:-1].sum(1, keepdims=True)
    middle = (panel + share) / 2
    parts = [np.where(a > 0, a * np.log2(np.maximum(a, 1e-12) / middle), 0).sum(1) for a in (panel, share)]
    assert (sum(parts) / 2).mean() <= MAX_JS
    there = np.isfinite(points[:-1]).all((1, 2))
    guess = values[:-1, 264:400].reshape(-1, 68, 2)[there] / 48
    assert np.median(eye_distances(guess, points[:-1][there])) <= MAX_LANDMARK_ERROR
    jaw = np.median(values[:-1, 264:400].reshape(-1, 68, 2)[there][:, :17], axis=0)
    assert jaw[:, 1].argmax() == 8
    np.testing.assert_allclose(jaw[:8, 1], jaw[:8:-1, 1], atol=1.5)
    varies = np.array(builtin.read_description(WEIGHTS)["blendshape_varies"])
    teacher = np.load(FERPLUS / "view_blendshapes_52.npy", allow_pickle=False)[rows[:-1].astype(int)][there]
    shapes = values[:-1, 401:453][there]
    pairs = zip(shapes[:, varies].T, teacher[:, varies].T.astype(np.float64), strict=True)
    assert np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs]) >= MIN_BLENDSHAPES
    usual = teacher.astype(np.float64).mean(0)
    usual = (usual + usual[mirror_names(BLENDSHAPES)]) / 2
    assert np.abs(shapes.mean(0) - usual)[varies].max() < 0.03


def test_aligning_helps_faces_that_are_rolled(everything: BuiltinExtractor, held_back: tuple) -> None:  # type: ignore[type-arg]
    """Turned by 15 degrees about the middle, either way: the points are nearer, and so are the votes."""
    pictures, votes, points, _ = held_back
    rows = np.flatnonzero(np.isfinite(points[:-1]).all((1, 2)))[:128]
    angles = np.where(rows % 2, 15.0, -15.0)
    images = [
        Image.fromarray(np.pad(pictures[k], 24, mode="symmetric")).rotate(a, Image.Resampling.BICUBIC)
        for k, a in zip(rows, angles, strict=True)
    ]
    images = [image.crop((24, 24, 72, 72)).convert("RGB") for image in images]
    turn = np.deg2rad(-angles)
    turns = np.stack([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]).transpose(2, 0, 1)
    truth = np.einsum("nij,nkj->nki", turns, points[rows].astype(np.float64) - 0.5) + 0.5
    share = votes[rows] / votes[rows].sum(1, keepdims=True)
    errors, distances = [], []
    for extractor in (everything, BuiltinExtractor(PARTS, device="cpu", align=False)):
        values = np.concatenate([run(extractor, images[k : k + 64]) for k in range(0, len(images), 64)])
        errors.append(np.median(eye_distances(values[:, 264:400].reshape(-1, 68, 2) / 48, truth)))
        distances.append(np.abs(values[:, 256:263] - share).sum(1).mean())
    assert errors[0] < errors[1] <= 1.5 * MAX_LANDMARK_ERROR
    assert distances[0] < distances[1]
