"""Decoding, cropping, reasons for pictures that cannot be used."""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fercleaner.core.errors import InputError
from fercleaner.core.types import Samples
from fercleaner.extraction import images
from fercleaner.extraction.images import (
    ArrayImages,
    FileImages,
    SelectedImages,
    UnreadableImage,
    crop,
    decode,
    digest,
    open_face,
    read_bytes,
)


def encoded(image: Image.Image, kind: str = "PNG", **how: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def samples(source: object, boxes: np.ndarray | None = None) -> Samples:
    n = len(source)  # type: ignore[arg-type]
    return Samples(
        ids=np.array([str(i) for i in range(n)]),
        classes=("a", "b"),
        given=np.tile(np.float32([1, 0]), (n, 1)),
        labeled=np.ones(n, bool),
        paths=np.array([""] * n),
        boxes=boxes,
        images=source,  # type: ignore[arg-type]
    )


def test_rgb_and_grey_are_unchanged() -> None:
    rgb = noise(5, 7, 3)
    assert np.array_equal(np.asarray(decode(encoded(Image.fromarray(rgb)))), rgb)
    grey = noise(5, 7)
    out = decode(encoded(Image.fromarray(grey)))
    assert out.mode == "RGB"
    assert np.array_equal(np.asarray(out), np.repeat(grey[..., None], 3, 2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 257, 25700, 65535]], dtype=np.uint16)
    out = np.asarray(decode(encoded(Image.fromarray(values), kind)))
    assert out[0, :, 0].tolist() == [0, 1, 100, 255]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_eight_bits_in_a_sixteen_bit_file_are_taken_as_they_are(kind: str) -> None:
    values = np.array([[0, 7, 90, 255]], dtype=np.uint16)
    assert np.asarray(decode(encoded(Image.fromarray(values), kind)))[0, :, 0].tolist() == [0, 7, 90, 255]
    dark = b"P5 4 1 65535\n" + values.astype(">u2").tobytes()  # a PGM states its white: these are dark
    assert np.asarray(decode(dark))[0, :, 0].tolist() == [0, 0, 0, 1]


def test_float_and_integer_grey() -> None:
    unit = np.array([[0.0, 0.2, 0.6]], dtype=np.float32)
    assert np.asarray(decode(encoded(Image.fromarray(unit), "TIFF")))[0, :, 0].tolist() == [0, 51, 153]
    wide = np.array([[-10, 0, 90]], dtype=np.int32)
    assert np.asarray(decode(encoded(Image.fromarray(wide), "TIFF")))[0, :, 0].tolist() == [0, 26, 255]
    flat = np.full((2, 2), 300, dtype=np.int32)
    assert not np.asarray(decode(encoded(Image.fromarray(flat), "TIFF"))).any()
    with pytest.raises(UnreadableImage, match="not finite"):
        decode(encoded(Image.fromarray(np.full((2, 2), np.nan, dtype=np.float32)), "TIFF"))


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_wide_grey_that_fits_a_byte_is_taken_as_it_is(dtype: type) -> None:
    values = np.array([[7, 20, 90]], dtype=dtype)
    assert np.asarray(decode(encoded(Image.fromarray(values), "TIFF")))[0, :, 0].tolist() == [7, 20, 90]


def test_alpha_is_laid_on_white() -> None:
    rgba = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [0, 0, 0, 51]]], dtype=np.uint8)
    out = np.asarray(decode(encoded(Image.fromarray(rgba))))
    assert out[0].tolist() == [[200, 0, 0], [255, 255, 255], [204, 204, 204]]
    la = Image.fromarray(np.array([[[10, 0]]], dtype=np.uint8), "LA")
    assert np.asarray(decode(encoded(la)))[0, 0].tolist() == [255, 255, 255]


def test_palette_with_transparency_and_without() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 8, 7, 1, 2, 3])
    palette.putdata([0, 1])
    assert np.asarray(decode(encoded(palette)))[0].tolist() == [[9, 8, 7], [1, 2, 3]]
    assert np.asarray(decode(encoded(palette, transparency=1)))[0].tolist() == [[9, 8, 7], [255, 255, 255]]


def test_cmyk_bilevel_and_animation() -> None:
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red, green, blue = np.asarray(decode(encoded(cmyk, "JPEG"))).reshape(-1, 3).mean(0)
    assert red > 240
    assert max(green, blue) < 15
    assert np.asarray(decode(encoded(Image.new("1", (2, 2), 1)))).min() == 255
    frames = [Image.new("L", (3, 3), v) for v in (10, 200)]
    out = decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert np.asarray(out).max() == 10


def test_exif_turns_the_picture_upright() -> None:
    picture = Image.fromarray(np.repeat(np.arange(0, 160, 20, dtype=np.uint8)[None], 4, 0))  # 8 wide, 4 high
    exif = Image.Exif()
    exif[0x0112] = 6
    out = decode(encoded(picture, "PNG", exif=exif))
    assert out.size == (4, 8)
    assert np.array_equal(np.asarray(out)[..., 0], np.rot90(np.asarray(picture), -1))


def test_reasons() -> None:
    jpeg = encoded(Image.fromarray(noise(64, 64, 3)), "JPEG")
    png = encoded(Image.fromarray(noise(64, 64, 3)))
    cases = [
        (b"", "empty file"),
        (b"hello, this is text", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (jpeg[: len(jpeg) // 2], "truncated image"),
        (jpeg[:20], "truncated image"),
        (png[: len(png) // 2], "truncated image"),
        (png[:10], "truncated image"),
        (png[:60] + bytes(len(png) - 60), "(damaged|truncated) image"),
    ]
    for data, reason in cases:
        with pytest.raises(UnreadableImage, match=f"^{reason}$"):
            decode(data)


def test_decompression_bomb_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("L", (40, 50)))
    monkeypatch.setattr(images, "MAX_PIXELS", 1999)
    with pytest.raises(UnreadableImage, match=r"too many pixels \(40 x 50\)"):
        decode(data)
    monkeypatch.setattr(images, "MAX_PIXELS", 2000)
    assert decode(data).size == (40, 50)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow's own warning would stand in the middle of the progress
        assert decode(data).size == (40, 50)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(UnreadableImage, match="too many pixels"):
        decode(data)


def test_files_and_why_they_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = tmp_path / "bücher 顔.png"
    good.write_bytes(encoded(Image.new("L", (2, 2))))
    source = FileImages([str(good), str(tmp_path / "none.png"), str(tmp_path)])
    assert read_bytes(source, 0) == good.read_bytes()
    assert source.name(0) == str(good)
    with pytest.raises(UnreadableImage, match=r"^file not found$"):
        read_bytes(source, 1)
    with pytest.raises(UnreadableImage, match=r"^a folder, not a file$"):
        read_bytes(source, 2)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(UnreadableImage, match=r"^permission denied$"):
        read_bytes(source, 0)


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 3)])
def test_array_images_round_trip(shape: tuple[int, ...]) -> None:
    pixels = noise(*shape)
    source = pickle.loads(pickle.dumps(ArrayImages(pixels)))
    assert len(source) == 3
    assert source.name(2) == "picture 2"
    out = np.asarray(decode(source.read(1)))
    assert np.array_equal(out if len(shape) == 4 else out[..., 0], pixels[1])
    picked = SelectedImages(source, np.array([2, 0]))
    assert (len(picked), picked.name(0)) == (2, "picture 2")
    assert picked.read(1) == source.read(0)


def test_array_images_check_their_shape() -> None:
    with pytest.raises(InputError, match="expected uint8"):
        ArrayImages(np.zeros((2, 3, 3)))
    with pytest.raises(InputError, match="expected uint8"):
        ArrayImages(np.zeros((2, 3), dtype=np.uint8))
    with pytest.raises(InputError, match="1 names for 2 pictures"):
        ArrayImages(np.zeros((2, 3, 3), dtype=np.uint8), ["one"])


def test_crop_clips_and_refuses_empty_boxes() -> None:
    pixels = noise(10, 20, 3)
    image = Image.fromarray(pixels)
    assert np.array_equal(np.asarray(crop(image, (2, 3, 7, 9))), pixels[3:9, 2:7])
    assert np.array_equal(np.asarray(crop(image, (-5, -5, 4, 100))), pixels[:, :4])
    for box in ((5, 5, 5, 8), (8, 2, 3, 9), (30, 0, 40, 5)):
        with pytest.raises(UnreadableImage, match="outside the picture or is empty"):
            crop(image, box)
    with pytest.raises(UnreadableImage, match="four finite numbers"):
        crop(image, (0, 0, np.inf, 5))


def test_open_face_crops_where_there_is_a_box() -> None:
    pixels = noise(2, 10, 20, 3)
    boxes = np.array([[1, 2, 5, 8], [np.nan] * 4], dtype=np.float32)
    set_ = samples(ArrayImages(pixels), boxes)
    assert np.array_equal(np.asarray(open_face(set_, 0)), pixels[0, 2:8, 1:5])
    assert np.array_equal(np.asarray(open_face(set_, 1)), pixels[1])
    with pytest.raises(InputError, match="no pictures"):
        open_face(set_.replacing(images=None), 0)


def test_digest_depends_on_content_and_box() -> None:
    data, box = b"picture", np.array([1, 2, 3, 4], dtype=np.float32)
    assert digest(data) == hashlib.sha256(data).digest() == digest(data, np.full(4, np.nan))
    assert len({digest(data), digest(data, box), digest(data, box + 1), digest(b"other", box)}) == 4
    assert digest(data, box) == digest(data, (1, 2, 3, 4))
