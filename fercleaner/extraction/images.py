"""Open pictures: read, decode to 8-bit RGB, turn as EXIF says, crop. Nothing here is learned."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
import struct
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.arrays import Bytes, Ints
from ..core.errors import FeatureError, FercleanerError, InputError
from ..core.files import IS_POINTER, POINTER
from ..core.text import shown
from ..core.types import ImageSource, Samples

if TYPE_CHECKING:
    from PIL.Image import Image

#: Larger pictures are refused before they are decoded (Pillow's own warning level: 0.25 GiB of RGB).
MAX_PIXELS = 89_478_485

#: Longer files are not read: the largest picture allowed, uncompressed in 16-bit RGB.
MAX_BYTES = 6 * MAX_PIXELS

#: Formats that are opened; others (PostScript, PDF, ...) would start foreign programs or hold no photograph.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "TGA")

_PNG, _PNG_TEXTS = b"\x89PNG\r\n\x1a\n", (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_SIGNATURES = (b"\xff\xd8\xff", _PNG, b"GIF8", b"II*\x00", b"MM\x00*")
_TRUNCATED = ("truncat", "unexpected end", "broken png", "broken data stream", "eof", "buffer is not large")


class UnreadableImage(FercleanerError):  # noqa: N818 - reads as what it is in a message
    """A picture that cannot be used; the message is a short reason such as "empty file"."""


class FileImages:
    """Pictures in files, one a row; nothing is looked at before `read`.

    Parameters
    ----------
    paths : sequence of N str
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = tuple(str(path) for path in paths)

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, row: int) -> bytes:
        """Return the file's bytes; raise OSError when it is missing, no regular file, or may not be read.

        A pipe or a device is not waited for, and a file beyond `MAX_BYTES` not read.
        """
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(self._paths[row], flags)
        except ValueError as error:  # a NUL in the name
            raise OSError("no valid file name") from error
        try:
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(self._paths[row])
            if not stat.S_ISREG(found.st_mode):
                raise OSError("no regular file")
            if found.st_size > MAX_BYTES:
                raise OSError(f"larger than {MAX_BYTES >> 20} MiB")
            with open(descriptor, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(descriptor)

    def name(self, row: int) -> str:
        """Return the file's path."""
        return self._paths[row]

    def taken(self, rows: Ints) -> FileImages:
        """Return the pictures of some rows, which know of no other; their paths hold from any working folder."""
        return type(self)([os.path.abspath(self._paths[row]) for row in rows])


class ArrayImages:
    """Pictures held in memory, such as the pixel lists of FER2013's csv; `read` encodes one as PNG.

    Parameters
    ----------
    pixels : (N, H, W) or (N, H, W, 3) uint8
    names : sequence of N str, optional
        What to call each picture; "picture 0", "picture 1", ... by default.
    """

    def __init__(self, pixels: ArrayLike, names: Sequence[str] | None = None) -> None:
        array = np.asarray(pixels)
        if array.dtype != np.uint8 or not (array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3)):
            raise InputError(
                f"Pictures in memory have shape {array.shape} and type {array.dtype}, expected uint8 of "
                "shape (N, H, W) or (N, H, W, 3)."
            )
        if names is not None and len(names) != len(array):
            raise InputError(f"{len(names)} names for {len(array)} pictures.")
        self._pixels: Bytes = array
        self._names = None if names is None else tuple(names)

    def __len__(self) -> int:
        return len(self._pixels)

    def read(self, row: int) -> bytes:
        """Return the picture as PNG."""
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(self._pixels[row]).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()

    def name(self, row: int) -> str:
        """Return the picture's name."""
        return self._names[row] if self._names is not None else f"picture {row}"


class SelectedImages:
    """Some rows of another source, in the order given.

    Parameters
    ----------
    source : ImageSource
    rows : (N,) int64
        Row numbers of `source`.
    """

    def __init__(self, source: ImageSource, rows: Ints) -> None:
        self._source = source
        self._rows = np.asarray(rows, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, row: int) -> bytes:
        """Return the encoded picture of `row`; raise OSError when it cannot be read."""
        return self._source.read(int(self._rows[row]))

    def name(self, row: int) -> str:
        """Return the picture's name."""
        return self._source.name(int(self._rows[row]))

    def resting(self) -> ImageSource:
        """Return the same pictures without the others of the source, where it can be cut."""
        taken = getattr(self._source, "taken", None)
        return self if taken is None else taken(self._rows)


class MirroredImages:
    """The faces of a set, cropped to their boxes and mirrored; `read` encodes one as PNG.

    Parameters
    ----------
    samples : Samples
    """

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def read(self, row: int) -> bytes:
        """Return the mirrored face as PNG; raise UnreadableImage where there is none."""
        from PIL import ImageOps

        buffer = io.BytesIO()
        ImageOps.mirror(open_face(self._samples, row)).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()

    def name(self, row: int) -> str:
        """Return the picture's name."""
        return f"{self._samples.ids[row]}, mirrored"


def mirrored(samples: Samples) -> Samples:
    """Return the set with every face mirrored; boxes and landmarks, which lay in the pictures as they were, go."""
    return samples.replacing(images=MirroredImages(samples), boxes=None, points=None)


def resting(samples: Samples) -> Samples:
    """Return some rows of a set fit to be sent to another machine: without what their pictures know of the others."""
    source = samples.images
    return samples.replacing(images=source.resting()) if isinstance(source, SelectedImages) else samples


def read_bytes(images: ImageSource, row: int) -> bytes:
    """Return the encoded picture of `row`; or raise UnreadableImage, such as "file not found".

    FeatureError where the machine, not the picture, is at fault: too many open files, no memory.
    """
    try:
        return images.read(row)
    except FileNotFoundError as error:
        raise UnreadableImage("file not found") from error
    except PermissionError as error:
        raise UnreadableImage("permission denied") from error
    except IsADirectoryError as error:
        raise UnreadableImage("a folder, not a file") from error
    except ValueError as error:  # a path that no file can have
        raise UnreadableImage("not a path") from error
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):  # the machine's fault, not the picture's
            raise FeatureError(
                f"{shown(images.name(row), 300)} cannot be opened: {(error.strerror or str(error)).lower()}. No "
                "picture is left out for that; raise the limit (ulimit -n) or close other programs, and run it again."
            ) from error
        raise UnreadableImage((error.strerror or str(error) or "read error").lower()) from error


def decode(data: bytes) -> Image:
    """Return an encoded picture as an 8-bit RGB image, turned upright by its EXIF tag.

    - 16-bit gray is scaled by 255/65535, but values within [0, 255] are taken as they are: 8 bits in a
      wider file, where scaled ones would be black. Gray PGM of more than 8 bits is scaled by 255 over the
      white that it states. 32-bit integer and float gray has no declared white: values within [0, 255] are
      taken as they are, floats within [0, 1] are scaled by 255, anything else is stretched from
      its own least to its own largest value.
    - Transparent pictures are laid on white, as viewers show them.
    - CMYK, palette, YCbCr and black-and-white pictures are converted; of several frames the first is taken.
    - A damaged EXIF block is ignored, and texts in a PNG that are larger than Pillow reads.

    Raises
    ------
    UnreadableImage
        "empty file", "not an image", "truncated image", "damaged image", "too many pixels (W x H)", ...
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise UnreadableImage("empty file")
    try:
        with warnings.catch_warnings():  # too large a picture is reported once, below
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=_formats())
        if image.width * image.height > MAX_PIXELS:
            raise UnreadableImage(f"too many pixels ({image.width} x {image.height})")
        image.load()
        _turn_upright(image)
        return _as_rgb(image)
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        if data.startswith(POINTER):
            raise UnreadableImage(IS_POINTER) from error
        cut = data.startswith(_SIGNATURES)
        raise UnreadableImage("truncated image" if cut else "not an image") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImage("too many pixels") from error
    except MemoryError as error:
        raise UnreadableImage("not enough memory") from error
    except Exception as error:  # Pillow's decoders raise whatever damaged bytes lead them to
        if isinstance(error, ValueError) and (bare := _without_text(data)) != data:
            return decode(bare)  # Pillow refuses texts beside a picture beyond a size; its pixels may be sound
        text = str(error).lower()
        cut = any(word in text for word in _TRUNCATED)
        raise UnreadableImage("truncated image" if cut else "damaged image") from error


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _without_text(data: bytes) -> bytes:
    """Return a PNG without texts and color profile, which may be compressed; anything else as it is."""
    if not data.startswith(_PNG):
        return data
    kept, at = [_PNG], len(_PNG)
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")  # length, kind, body, checksum
        if data[at + 4 : at + 8] not in _PNG_TEXTS:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _turn_upright(image: Image) -> None:
    from PIL import ImageOps

    with contextlib.suppress(Exception):  # whatever damaged EXIF bytes lead Pillow to
        ImageOps.exif_transpose(image, in_place=True)


def _as_rgb(image: Image) -> Image:
    from PIL import Image as PilImage

    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        values = np.asarray(image).astype(np.float64)
        own_white = image.format == "PPM"  # Pillow scales a PGM's own white to 65535
        return _gray(values if values.max() <= 255 and not own_white else np.rint(values / 257.0))
    if mode in ("I", "F"):
        return _gray(_stretched(np.asarray(image).astype(np.float64), unit=mode == "F"))
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        paper = PilImage.new("RGBA", layer.size, (255, 255, 255, 255))
        return PilImage.alpha_composite(paper, layer).convert("RGB")
    return image.convert("RGB")


def _gray(values: NDArray[np.float64]) -> Image:
    from PIL import Image as PilImage

    gray = np.clip(values, 0, 255).astype(np.uint8)
    return PilImage.fromarray(gray).convert("RGB")


def _stretched(values: NDArray[np.float64], *, unit: bool) -> NDArray[np.float64]:
    if not np.isfinite(values).all():
        raise UnreadableImage("pixels are not finite")
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 255:
        low, high = 0.0, 1.0 if unit and high <= 1 else 255.0
    scaled: NDArray[np.float64] = np.rint((values - low) * (255.0 / (high - low if high > low else 1.0)))
    return scaled


def crop(image: Image, box: ArrayLike) -> Image:
    """Return the part of `image` inside `box` (left, top, right, bottom; pixels, x right, y down).

    Edges are rounded to whole pixels and clipped to the picture.

    Raises
    ------
    UnreadableImage
        If the box is not four finite numbers or nothing of the picture lies in it.
    """
    values = np.asarray(box, dtype=np.float64)
    if values.shape != (4,) or not np.isfinite(values).all():
        raise UnreadableImage("face box is not four finite numbers")
    width, height = image.size
    edges = np.clip(np.rint(values), 0, [width, height, width, height]).astype(int)
    left, top, right, bottom = (int(edge) for edge in edges)
    if right <= left or bottom <= top:
        raise UnreadableImage("face box lies outside the picture or is empty")
    return image.crop((left, top, right, bottom))


def known_box(samples: Samples, row: int) -> NDArray[np.float32] | None:
    """Return the face box of `row`, (4,) float32 in pixels, or None where the dataset has none."""
    if samples.boxes is None or np.isnan(samples.boxes[row]).all():
        return None
    box: NDArray[np.float32] = samples.boxes[row]
    return box


def open_face(samples: Samples, row: int) -> Image:
    """Return the face of `row` as an 8-bit RGB image: read, decoded, turned, cropped to its box.

    Raises
    ------
    UnreadableImage
        With the reason, to be counted and noted.
    InputError
        If the dataset has no pictures at all.
    """
    if samples.images is None:
        raise InputError("This dataset has no pictures: it names none. Add an image column, or use --view vectors.")
    image = decode(read_bytes(samples.images, row))
    box = known_box(samples, row)
    return image if box is None else crop(image, box)


def digest(data: bytes, box: ArrayLike | None = None) -> bytes:
    """Return the SHA-256 (32 bytes) of an encoded picture and its face box; an all-NaN box is none."""
    sha = hashlib.sha256(data)
    values: Any = None if box is None else np.asarray(box, dtype=np.float64)
    if values is not None and not np.isnan(values).all():
        sha.update(b"\0box" + struct.pack("<4d", *values))
    return sha.digest()
