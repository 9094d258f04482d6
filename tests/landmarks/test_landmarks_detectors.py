"""The landmark detectors: weights found or asked for, geometry of crops, coordinates given back in pixels."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fercleaner import landmarks
from fercleaner.core.arrays import spec_digest
from fercleaner.core.errors import FeatureError, InputError, MissingDependency
from fercleaner.core.types import Samples
from fercleaner.extraction.images import ArrayImages, FileImages
from fercleaner.landmarks import face_alignment as fan
from fercleaner.landmarks import mediapipe as mesh

SHARED = Path(__file__).parents[3] / "shared"
FERPLUS = Path(os.environ.get("FERCLEANER_FERPLUS", SHARED / "ferplus"))
MODELS = Path(os.environ.get("FERCLEANER_MODELS", SHARED / "models"))

needs_mesh = pytest.mark.skipif(
    not (MODELS / mesh.MODEL_FILE).exists(), reason=f"{mesh.MODEL_FILE} is not here (FERCLEANER_MODELS)"
)


def samples(images: Any) -> Samples:
    n = len(images)
    ids = np.array([f"f{i}" for i in range(n)])
    return Samples(ids, ("a", "b"), np.tile([1.0, 0.0], (n, 1)), np.ones(n, bool), ids, images=images)  # type: ignore[arg-type]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch hub, no FERCLEANER_MODELS and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("FERCLEANER_MODELS", raising=False)
    monkeypatch.setattr(fan, "reach", lambda url: "the host cannot be reached: no network here")
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_unknown_tags_are_told_apart() -> None:
    with pytest.raises(InputError, match=r"'mediapip' is not one of .*points:FILE.* Did you mean 'mediapipe'\?"):
        landmarks.build("mediapip")
    with pytest.raises(InputError, match=r"Face detector 'yunett' is not one of sfd, .* Did you mean 'yunet'"):
        landmarks.build("face-alignment:yunett")
    with pytest.raises(InputError, match="Landmark crop is 'hole', expected whole or detect"):
        landmarks.build("face-alignment", crop="hole")
    with pytest.raises(InputError, match="takes nothing after a colon, got 'x'"):
        landmarks.build("none:x")


def test_none_finds_nothing_and_says_so() -> None:
    marks = landmarks.detect(samples(ArrayImages(np.zeros((2, 8, 8), np.uint8))), landmarks.build("none"))
    assert not marks.found.any()
    assert marks.notes is not None
    assert set(marks.notes) == {landmarks.NOT_ASKED}


def test_missing_weights_are_named_with_the_ways_out(hub: Path) -> None:
    with pytest.raises(FeatureError) as caught:
        landmarks.build("face-alignment")
    text = str(caught.value)
    for part in (
        fan.FAN_FILE,
        str(hub),
        "no network here",
        "--weights face-alignment=FILE",
        "mediapipe",
        "points:FILE",
    ):
        assert part in text
    with pytest.raises(FeatureError, match=rf"needs {fan.FAN_FILE} and blazeface.pth and anchors.npy; looked in"):
        landmarks.build("face-alignment:blazeface", crop="detect")
    with pytest.raises(FeatureError, match="does not exist"):
        landmarks.build("face-alignment", weights=str(hub / "nothing"))
    with pytest.raises(FeatureError, match=f"holds no {fan.FAN_FILE}"):
        landmarks.build("face-alignment", weights=str(hub))


def test_weights_are_looked_for_in_order(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def digest() -> str:
        detector = landmarks.build("face-alignment")
        assert isinstance(detector, fan.FaceAlignmentDetector)
        return str(detector.spec["weights"])

    (hub / fan.FAN_FILE).write_bytes(b"hub")
    in_hub = digest()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / fan.FAN_FILE).write_bytes(b"models")
    monkeypatch.setenv("FERCLEANER_MODELS", str(tmp_path / "models"))
    in_models = digest()
    assert in_hub != in_models
    named = landmarks.build("face-alignment", weights=str(hub / fan.FAN_FILE))
    assert isinstance(named, fan.FaceAlignmentDetector)
    assert named.spec["weights"] == in_hub
    (hub / "s3fd-619a316812.pth").write_bytes(b"sfd")
    found = landmarks.build("face-alignment", weights=str(hub / fan.FAN_FILE), crop="detect")
    assert isinstance(found, fan.FaceAlignmentDetector)
    assert found.spec["crop"] == "detect"
    assert found.spec["face_detector"] == "sfd"
    assert spec_digest(found.spec) != spec_digest(named.spec)


def test_weights_that_are_something_else_are_refused(hub: Path) -> None:
    import torch

    torch.save({"a": torch.zeros(1)}, hub / fan.FAN_FILE)
    detector = fan.build()
    with pytest.raises(FeatureError, match="does not hold the weights of 2D-FAN-4"):
        detector.compute([detector.prepare(Image.new("RGB", (48, 48)))])


def blob(place: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    """Heatmaps (68, 64, 64) with a Gaussian at each of `place` (68, 2), heatmap pixels."""
    grid = np.arange(64)
    x = np.exp(-((grid[None] - place[:, :1]) ** 2) / (2 * sigma**2))
    y = np.exp(-((grid[None] - place[:, 1:]) ** 2) / (2 * sigma**2))
    return y[:, :, None] * x[:, None, :]


def test_heatmaps_are_read_between_pixels() -> None:
    rng = np.random.default_rng(0)
    place = rng.uniform(3, 60, (2, 68, 2))
    frames = np.array([[0.0, 0, 64], [-10, 20, 98]])
    points, height = fan.read_heatmaps(np.stack([blob(p) for p in place]), frames)
    expected = frames[:, None, :2] + (place + 0.5) * frames[:, None, 2:] / 64
    assert np.abs(points - expected).max() < 1e-6
    assert height.min() > 0.7
    edge, _ = fan.read_heatmaps(blob(np.full((68, 2), 0.0))[None], frames[:1])
    assert np.abs(edge - 0.5).max() <= 0.5
    flat, _ = fan.read_heatmaps(np.zeros((1, 68, 64, 64)), frames[:1])
    assert np.isfinite(flat).all()


def test_squares_are_those_of_the_package() -> None:
    """Corners as face_alignment's own (whole-pixel) transform gives them."""
    from face_alignment.utils import transform

    box = (30.0, 40.0, 230.0, 280.0)
    left, top, side = fan.square_of(box)
    center = np.array([(30 + 230) / 2, (40 + 280) / 2 - 0.12 * 240])
    corner = transform([0, 0], center, (200 + 240) / 195, 256.0, True).tolist()
    far = transform([256, 256], center, (200 + 240) / 195, 256.0, True).tolist()
    np.testing.assert_allclose([left, top, left + side, top + side], corner + far, atol=1)


def test_mirror_table() -> None:
    from face_alignment.utils import shuffle_lr
    from torch import arange

    assert shuffle_lr(arange(68).reshape(1, 68, 1, 1))[0, :, 0, 0].tolist() == list(fan.MIRROR)


class DotFinder:
    """Stands in for the network: every heatmap is the picture's red channel at a quarter of its size."""

    def __call__(self, x: Any) -> list[Any]:
        from torch.nn.functional import avg_pool2d

        return [avg_pool2d(x[:, :1], 4).expand(-1, 68, -1, -1)]


def detector_with(network: Any, hub: Path, **options: Any) -> fan.FaceAlignmentDetector:
    (hub / fan.FAN_FILE).write_bytes(b"x")
    detector = fan.build(device="cpu", **options)
    detector.__dict__["_network"] = network
    return detector


@pytest.mark.parametrize("size", [(48, 48), (100, 100), (224, 180), (700, 900)])
def test_points_come_back_in_pixels_of_the_picture(hub: Path, size: tuple[int, int]) -> None:
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    x, y = round(0.3 * width), round(0.6 * height)
    spot = max(2, width // 50)
    pixels[y - spot : y + spot, x - spot : x + spot] = 255
    detector = detector_with(DotFinder(), hub)
    values, found, notes = detector.compute([detector.prepare(Image.fromarray(pixels))])
    assert found.all()
    assert notes == [""]
    assert values.shape == (1, 137)
    places = values[0, :136].reshape(68, 2)
    heat_pixel = 200 * (width + height) / 195 / 64
    assert np.abs(places - (x, y)).max() < 0.5 * heat_pixel  # edges are pixel borders: the spot's center is (x, y)
    assert 0 < values[0, 136] <= 1


def test_real_network(hub: Path) -> None:
    """The published architecture with weights made here: they load, and points lie in the square seen."""
    import torch
    from face_alignment.models import FAN

    torch.manual_seed(0)
    torch.save(FAN(4).state_dict(), hub / fan.FAN_FILE)
    detector = fan.build(device="cpu")
    pictures = np.random.default_rng(0).integers(0, 255, (1, 48, 48, 3), dtype=np.uint8)
    marks = landmarks.detect(samples(ArrayImages(pictures)), detector)
    assert marks.found.all()
    assert marks.blendshapes is None
    assert marks.spec["crop"] == "whole"
    left, top, side = fan.square_of((0, 0, 48, 48))
    inside = (marks.points - (left, top)) / side
    assert inside.min() > -1e-6
    assert inside.max() < 1 + 1e-6


class Boxes:
    """Stands in for a face detector that finds these boxes."""

    reference_scale = 195

    def __init__(self, *boxes: list[float]) -> None:
        self.boxes = list(boxes)

    def detect_from_image(self, picture: np.ndarray) -> list[list[float]]:
        return self.boxes


def test_no_face_is_data_and_the_largest_is_taken(hub: Path) -> None:
    (hub / "s3fd-619a316812.pth").write_bytes(b"x")
    detector = detector_with(DotFinder(), hub, crop="detect")
    picture = detector.prepare(Image.new("RGB", (300, 200)))
    detector.__dict__["_boxes"] = Boxes()
    values, found, notes = detector.compute([picture, picture])
    assert not found.any()
    assert notes == ["no face found"] * 2
    assert not values.any()
    detector.__dict__["_boxes"] = Boxes([0, 0, 20, 20, 0.99], [100, 50, 200, 150, 0.6], [5, 5, 5, 9, 0.9])
    pixels = np.zeros((200, 300, 3), np.uint8)
    pixels[98:102, 148:152] = 255
    values, found, _ = detector.compute([pixels])
    assert found.all()
    assert np.abs(values[0, :136].reshape(68, 2) - (150, 100)).max() < 2


@pytest.mark.skipif(
    not ((MODELS / "yunet_n_320_320.onnx").exists() and (FERPLUS / "images.tar").exists()),
    reason="YuNet's weights or ferplus are not here (FERCLEANER_MODELS, FERCLEANER_FERPLUS)",
)
def test_yunet_finds_a_real_face(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERCLEANER_MODELS", str(MODELS))
    detector = detector_with(DotFinder(), hub, crop="detect", face_detector="yunet")
    pixels = np.asarray(real_faces(1)[0].resize((192, 192)).convert("RGB"))
    canvas = np.full((400, 600, 3), 128, np.uint8)
    canvas[100:292, 300:492] = pixels
    seen = detector._find(canvas)
    assert seen is not None
    left, top, side = seen["frame"]
    assert 200 < left + side / 2 < 600
    assert 100 < top + side / 2 < 300
    assert 150 < side < 600
    assert detector.compute([np.full((90, 90, 3), 128, np.uint8)])[2] == ["no face found"]


def real_faces(count: int, start: int = 0) -> list[Image.Image]:
    """The first faces of ferplus that MediaPipe is known to find, read out of the archive."""
    import io
    import tarfile

    pictures: list[Image.Image] = []
    with tarfile.open(FERPLUS / "images.tar") as archive:
        points = np.load(FERPLUS / "landmarks_68.npy", allow_pickle=False)
        found = np.isfinite(points).all((1, 2))
        for member in archive:
            name = Path(member.name).stem
            if member.isfile() and name.isdigit() and int(name) >= start and found[int(name)]:
                file = archive.extractfile(member)
                assert file is not None
                picture = Image.open(io.BytesIO(file.read())).convert("RGB")
                picture.info["row"] = int(name)
                pictures.append(picture)
                if len(pictures) == count:
                    break
    return pictures


def test_mediapipe_without_its_model_or_package(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FeatureError, match=r"needs face_landmarker.task, .* none of: FERCLEANER_MODELS \(not set\)"):
        landmarks.build("mediapipe")
    with pytest.raises(FeatureError, match=r"--weights .* holds no face_landmarker.task"):
        landmarks.build("mediapipe", weights=str(hub))
    real = mesh.importlib.util.find_spec
    monkeypatch.setattr(mesh.importlib.util, "find_spec", lambda name: None if name == "mediapipe" else real(name))
    with pytest.raises(MissingDependency, match=r"pip install 'fercleaner\[mediapipe\]'"):
        landmarks.build("mediapipe")


def test_mediapipe_model_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    (tmp_path / mesh.MODEL_FILE).write_bytes(b"not a model")
    detector = mesh.build(str(tmp_path))
    with pytest.raises(FeatureError, match="cannot be opened as MediaPipe's Face Landmarker"):
        detector.prepare(Image.new("RGB", (48, 48)))


def test_mesh_table() -> None:
    assert len(mesh.MESH_TO_68) == 68
    assert max(mesh.MESH_TO_68) < 478
    assert len(set(mesh.MESH_TO_68)) == 68


@needs_mesh
@pytest.mark.skipif(not (FERPLUS / "images.tar").exists(), reason="ferplus is not here (FERCLEANER_FERPLUS)")
def test_mediapipe_on_real_faces() -> None:
    """Against MediaPipe's points as given with the data, but for their uneven jaw; back from an enlarged picture."""
    pytest.importorskip("mediapipe")
    detector = mesh.build(str(MODELS))
    assert isinstance(pickle.loads(pickle.dumps(detector.prepare)), mesh.FindFace)
    faces = real_faces(40)
    rows = [face.info["row"] for face in faces]
    values, found, notes = detector.compute([detector.prepare(face) for face in faces])
    assert found.mean() >= 0.85
    assert all(bool(note) != there for note, there in zip(notes, found, strict=True))
    shipped = np.load(FERPLUS / "landmarks_68.npy", allow_pickle=False)[rows].astype(np.float64) * 48
    ours = values[:, :136].reshape(-1, 68, 2)
    eyes = np.linalg.norm(shipped[:, 42:48].mean(1) - shipped[:, 36:42].mean(1), axis=1)
    error = np.linalg.norm(ours - shipped, axis=2)[:, 17:].mean(1) / eyes
    assert np.median(error[found]) < 0.02
    jaw = np.median(ours[found][:, :17], axis=0)
    assert jaw[:, 1].argmax() == 8
    np.testing.assert_allclose(jaw[:8, 1], jaw[:8:-1, 1], atol=1.5)
    shapes = np.load(FERPLUS / "view_blendshapes_52.npy", allow_pickle=False)[rows].astype(np.float64)
    assert np.abs(values[found, 137:] - shapes[found]).mean() < 0.03

    large = [face.resize((300, 240), Image.Resampling.BICUBIC) for face in faces[:5]]
    again, there, _ = detector.compute([detector.prepare(face) for face in large])
    back = again[:, :136].reshape(-1, 68, 2) * (48 / 300, 48 / 240)
    both = there & found[:5]
    assert both.sum() >= 3
    assert np.median(np.linalg.norm(back - ours[:5], axis=2)[both].mean(1) / eyes[:5][both]) < 0.08


@needs_mesh
def test_mediapipe_says_nothing_on_stderr_and_leaves_quietly() -> None:
    pytest.importorskip("mediapipe")
    code = (
        "from PIL import Image\nfrom fercleaner.landmarks import mediapipe as m\n"
        f"d = m.build({str(MODELS)!r})\n"
        "print(d.compute([d.prepare(Image.new('RGB', (48, 48)))])[2])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "['no face found']"
    assert done.stderr == ""


def test_unreadable_pictures_have_no_landmarks(hub: Path, tmp_path: Path) -> None:
    Image.new("RGB", (48, 48), "white").save(tmp_path / "ok.png")
    (tmp_path / "bad.png").write_bytes(b"")
    images = FileImages([str(tmp_path / "ok.png"), str(tmp_path / "bad.png")])
    marks = landmarks.detect(samples(images), detector_with(DotFinder(), hub))
    assert marks.found.tolist() == [True, False]
    assert marks.notes is not None
    assert marks.notes.tolist() == ["", "empty file"]
    assert marks.confidence[1] == 0
    assert not marks.points[1].any()
