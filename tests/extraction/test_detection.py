"""Frames: whole pictures, aligned faces, faces found in larger pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fercleaner.core.errors import FeatureError, InputError
from fercleaner.core.types import Samples
from fercleaner.extraction import detection
from fercleaner.extraction.detection import TEMPLATE, Frame, Framing, aligned_frame, choose_framing, whole_frame
from fercleaner.extraction.images import FileImages
from fercleaner.results.checks import count_faces

MODELS = Path(os.environ.get("FERCLEANER_MODELS", Path(__file__).parents[3] / "shared" / "models"))
YUNET = MODELS / detection.DETECTOR_FILES[0]


def ramp(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(((x * 3 + y * 5) % 256).astype(np.uint8))


def test_a_crop_of_the_right_size_is_left_as_it_is() -> None:
    image = ramp(48, 48)
    assert (whole_frame(image).pixels(image, 48) == np.asarray(image)).all()


def test_the_shorter_side_is_padded_by_its_edge() -> None:
    image = ramp(40, 48)
    square = whole_frame(image).pixels(image, 48)
    assert (square[:, 4:44] == np.asarray(image)).all()
    assert (square[:, :4] == square[:, 4:5]).all()
    assert (square[:, 44:] == square[:, 43:44]).all()
    assert whole_frame(image).to_picture == ((48.0, 0.0, -4.0), (0.0, 48.0, 0.0))


def test_whole_frame_and_pixels_agree_about_odd_padding() -> None:
    image = ramp(45, 48)
    square = whole_frame(image).pixels(image, 48)
    left = -int(whole_frame(image).to_picture[0][2])
    assert (square[:, left : left + 45] == np.asarray(image)).all()


def test_an_upright_frame_is_a_crop() -> None:
    image = ramp(200, 160)
    frame = Frame(((96.0, 0.0, 30.0), (0.0, 96.0, 20.0)))
    wanted = np.asarray(image.crop((30, 20, 126, 116)).resize((48, 48), Image.Resampling.HAMMING))
    assert np.abs(frame.pixels(image, 48).astype(int) - wanted).max() <= 1


def test_a_frame_beyond_the_picture_repeats_the_edge() -> None:
    image = Image.fromarray(np.full((60, 60), 90, np.uint8))
    frame = Frame(((80.0, 20.0, -30.0), (-20.0, 80.0, 10.0)))
    assert (frame.pixels(image, 48) == 90).all()


def test_a_large_turned_frame_is_averaged_not_sampled() -> None:
    board = np.indices((2000, 2000)).sum(0) % 2 * 255
    image = Image.fromarray(board.astype(np.uint8))
    pixels = Frame(((1400.0, 300.0, 100.0), (-300.0, 1400.0, 400.0))).pixels(image, 48)
    assert np.abs(pixels.astype(int) - 127).max() <= 3


@pytest.mark.parametrize(("scale", "degrees"), [(1.0, 0.0), (200.0, 25.0), (40.0, -70.0)])
def test_alignment_undoes_scale_roll_and_shift(scale: float, degrees: float) -> None:
    turn = scale * np.exp(1j * np.radians(degrees))
    places = (TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]) * turn + (31 - 7j)
    frame = aligned_frame(np.stack((places.real, places.imag), 1))
    matrix = np.array(frame.to_picture)
    np.testing.assert_allclose(
        TEMPLATE @ matrix[:, :2].T + matrix[:, 2], np.stack((places.real, places.imag), 1), atol=1e-6
    )
    assert frame.side == pytest.approx(scale)


def test_alignment_needs_five_points() -> None:
    with pytest.raises(InputError, match=r"Five points \(5, 2\) are needed to align a face, got shape \(4, 2\)"):
        aligned_frame(np.zeros((4, 2)))


def test_choosing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(detection.MODELS_VARIABLE, raising=False)
    assert choose_framing("none") == (Framing(), "pictures are taken whole (--crop none)")
    assert choose_framing("box")[0] == Framing()
    framing, note = choose_framing("auto")
    assert framing == Framing()
    assert "no face detector here" in note
    with pytest.raises(InputError, match="--crop face is none of auto, none, box"):
        choose_framing("face")
    nothing = str(tmp_path / "nothing.onnx")
    with pytest.raises(FeatureError, match=f"^--weights yunet={nothing}: no such file, nor a folder with yunet"):
        choose_framing("auto", nothing)
    with pytest.raises(FeatureError, match=f"^--detector-weights {nothing}: no such file"):
        choose_framing("auto", nothing, "--detector-weights FILE")


def test_damaged_detector_weights(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    file = tmp_path / detection.DETECTOR_FILES[0]
    file.write_bytes(b"not a network")
    with pytest.raises(FeatureError, match="cannot be opened as YuNet"):
        detection.find_faces(ramp(300, 300), str(file))


def test_the_detector_looks_again_only_at_turned_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a detector that sees half of the roll that is left."""
    truth, looks = 0.0, 0

    def found(image: Image.Image, weights: str, room: bool = True) -> list[detection.Face]:
        nonlocal looks
        looks += 1
        side = 100.0 if looks == 1 else image.width / 2
        places = (TEMPLATE - 0.5) @ (1, 1j) * side * np.exp(1j * np.radians(truth / 2**looks))
        points = tuple((float(p.real) + image.width / 2, float(p.imag) + image.height / 2) for p in places)
        return [detection.Face((0.0, 0.0, side, side), points, 0.9)]

    monkeypatch.setattr(detection, "find_faces", found)
    for truth, wanted in ((4.0, 1), (30.0, 3), (-80.0, 4)):
        looks = 0
        frame = Framing("weights")(ramp(200, 200))
        assert isinstance(frame, Frame)
        assert looks == wanted
        assert frame.roll == pytest.approx(truth * (1 - 0.5**wanted))
        assert frame.side == pytest.approx(100.0)


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    pytest.importorskip("cv2")
    if not YUNET.is_file():
        pytest.skip(f"no {YUNET}")
    return Image.fromarray(pytest.importorskip("skimage.data").astronaut())


def test_a_face_in_a_larger_picture_is_found(astronaut: Image.Image) -> None:
    framing, note = choose_framing("auto", str(YUNET))
    assert "YuNet" in note
    frame = framing(astronaut)
    assert isinstance(frame, Frame)
    matrix = np.array(frame.to_picture)
    center = matrix @ (0.5, 0.5, 1)
    np.testing.assert_allclose(center, (225, 115), atol=15)
    assert 80 < frame.side < 180


def test_a_turned_face_is_turned_back(astronaut: Image.Image) -> None:
    framing = Framing(str(YUNET))
    rolls = []
    for degrees in (0, 20):
        frame = framing(astronaut.rotate(degrees, resample=Image.Resampling.BICUBIC))
        assert isinstance(frame, Frame)
        rolls.append(np.degrees(np.arctan2(frame.to_picture[1][0], frame.to_picture[0][0])))
    assert rolls[0] - rolls[1] == pytest.approx(20, abs=5)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_picture_turned_by_quarters_is_framed_as_upright(astronaut: Image.Image, quarters: int) -> None:
    """The frame is that of the upright picture, turned with it; what is seen in it is the same face, upright."""
    small = astronaut.crop((100, 0, 350, 250))
    turned = small.rotate(90 * quarters, expand=True)
    upright, frame = (Framing(str(YUNET))(image) for image in (small, turned))
    assert isinstance(upright, Frame)
    assert isinstance(frame, Frame)
    assert abs((frame.roll - upright.roll + 90 * quarters + 180) % 360 - 180) < 6
    assert frame.side == pytest.approx(upright.side, rel=0.1)
    one, two = (f.pixels(i, 48).astype(float).ravel() for f, i in ((upright, small), (frame, turned)))
    assert np.corrcoef(one, two)[0, 1] > 0.9


def test_an_upright_face_is_framed_as_by_one_look(astronaut: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = Framing(str(YUNET))(astronaut)
    monkeypatch.setattr(detection, "SURE", 0.0)
    assert Framing(str(YUNET))(astronaut) == frame


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_frame_is_turned_back_with_its_picture(quarters: int) -> None:
    image = ramp(200, 120)
    frame = Frame(((50.0, 9.0, 30.0), (-9.0, 50.0, 21.0)))
    seen = frame.pixels(image.rotate(90 * quarters, expand=True), 48)
    back = frame.turned_back(quarters, image.size)
    assert np.abs(back.pixels(image, 48).astype(int) - seen).max() <= 1
    assert back.side == pytest.approx(frame.side)


@pytest.mark.parametrize(
    ("scores", "wanted", "looks"),
    [
        ((0.9, 0.95, 0.0, 0.0), 0, 1),  # sure: nothing else is looked at
        ((0.85, 0.84, 0.0, 0.0), 0, 4),
        ((0.7, 0.81, 0.9, 0.0), 2, 4),
        ((0.0, 0.85, 0.0, 0.0), 1, 4),
        ((0.7, 0.75, 0.0, 0.79), 0, 4),  # too unsure to be turned
        ((0.0, 0.75, 0.0, 0.79), None, 4),
        ((0.0, 0.0, 0.0, 0.0), None, 4),
    ],
)
def test_the_surest_side_is_taken(
    monkeypatch: pytest.MonkeyPatch, scores: tuple[float, ...], wanted: int | None, looks: int
) -> None:
    """By a detector that sees an upright face in the middle of every side, with these scores."""
    asked = list(scores)

    def found(image: Image.Image, weights: str, room: bool = True) -> list[detection.Face]:
        middle, score = np.array(image.size) / 2, asked.pop(0)
        points = tuple((float(x), float(y)) for x, y in (TEMPLATE - 0.5) * 60 + middle)
        return [detection.Face((0.0, 0.0, 60.0, 60.0), points, score)] if score else []

    monkeypatch.setattr(detection, "find_faces", found)
    frame = Framing("weights")(ramp(200, 160))
    assert len(scores) - len(asked) == looks
    if wanted is None:
        assert frame == detection.NO_FACE
    else:
        assert isinstance(frame, Frame)
        assert np.exp(1j * np.radians(frame.roll)) == pytest.approx(1j**wanted)
        np.testing.assert_allclose(np.array(frame.to_picture) @ (0.5, 0.5, 1), (100, 80))


def test_no_face_and_several_faces_are_data(astronaut: Image.Image) -> None:
    framing = Framing(str(YUNET))
    assert framing(Image.new("RGB", (300, 200), "gray")) == detection.NO_FACE
    pair = Image.new("RGB", (500, 250))
    face = astronaut.crop((100, 0, 350, 250))
    pair.paste(face, (0, 0))
    pair.paste(face, (250, 0))
    assert framing(pair) == detection.SEVERAL_FACES


def test_faces_are_counted_whichever_way_up_the_picture_lies(astronaut: Image.Image, tmp_path: Path) -> None:
    """For `audit --find-faces`: by the search that finds the face for the crop, and in pictures of any size."""
    face = astronaut.convert("L").crop((165, 55, 285, 175)).resize((128, 128))
    pair = Image.new("L", (256, 128))
    pair.paste(face, (0, 0))
    pair.paste(face, (128, 0))
    pictures = [one.rotate(90 * quarters, expand=True) for one in (face, pair) for quarters in range(4)]
    pictures += [face.resize((90, 90)).rotate(90), Image.new("RGB", (300, 200), "gray")]
    paths = [str(tmp_path / f"{i}.png") for i in range(len(pictures) + 1)]
    for picture, path in zip(pictures, paths, strict=False):
        picture.save(path)
    given, labeled = np.full((len(paths), 2), 0.5, dtype=np.float32), np.ones(len(paths), dtype=np.bool_)
    faces = Samples(np.array(paths), ("a", "b"), given, labeled, np.array(paths), images=FileImages(paths))
    assert count_faces(faces, str(YUNET)).tolist() == [1, 1, 1, 1, 2, 2, 2, 2, 1, 0, -1]


def test_only_small_pictures_are_taken_whole(astronaut: Image.Image) -> None:
    """A portrait comes in the same frame as the whole photograph does, however much of it the face spans."""
    portrait = astronaut.crop((165, 55, 285, 175)).resize((240, 240))
    framing = Framing(str(YUNET))
    whole, close = framing(astronaut), framing(portrait)
    assert isinstance(whole, Frame)
    assert isinstance(close, Frame)
    np.testing.assert_allclose(close.side / 2, whole.side, rtol=0.1)
    middle = np.array(close.to_picture) @ (0.5, 0.5, 1) / 2 + (165, 55)
    np.testing.assert_allclose(middle, np.array(whole.to_picture) @ (0.5, 0.5, 1), atol=6)
    small = Image.new("RGB", (100, 100))
    assert framing(small) == whole_frame(small)
