"""One image file to RGB pixels, by one stated rule for each kind of pixel. docs/howto/data.md has the table.

- Only plain files in the documented formats are opened, and the size is read from the header before anything else.
- Transparency, of any mode, is composited on white. EXIF orientation is applied. Of several frames the first counts.
- Values of more than 8 bits (integers or floats in one channel) are scaled by one range for the whole set, ``Ranges``.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, JpegImagePlugin, UnidentifiedImageError

from objectives.data.imageset import Images
from phiscale.errors import DataError

SUFFIXES = {
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "JPEG": (".jfif", ".jpe", ".jpeg", ".jpg"),
    "PNG": (".apng", ".png"),
    "PPM": (".pbm", ".pfm", ".pgm", ".pnm", ".ppm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
"""Formats that are read, by their name in Pillow, and the endings of their files, in any case."""
_FORMATS = (*SUFFIXES, "DIB")
_FLAT = frozenset({"1", "L", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})
_TRANSPARENT = frozenset({"LA", "La", "P", "PA", "RGBA", "RGBa"})
_INTEGERS = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_BITS = (8, 10, 12, 14, 16)
"""Usual bit depths of sensors; larger values count with as many bits as they have."""
_LARGEST_JPEG = 2**29
"""Pixels. A JPEG is reduced while it is decoded, so it may have more of them than Pillow's limit."""
_LARGEST_DEEP = 2**25
"""Pixels of more than 8 bits: they are scaled as floats, which takes some 22 bytes each."""
_ALONE = 2**24
"""Images of more pixels are decoded one after another, to save memory."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_one_large = threading.Lock()


@dataclass(frozen=True)
class Header:
    """What the header of a file tells."""

    width: int
    height: int
    mode: str
    """Pillow's name; RGB;16 stands for colours of 16 bits, of which Pillow gives the upper 8."""

    @property
    def is_deep(self) -> bool:
        """Whether the values need the range of the set."""
        return self.mode in _INTEGERS or self.mode == "F"


@dataclass(frozen=True)
class Ranges:
    """What is black and what is white in values of more than 8 bits, the same for all images of a set."""

    integers: tuple[float, float] | None = None
    """0 and the largest number of 8, 10, 12, 14, 16 or more bits; lowest and highest value where some are negative."""
    floats: tuple[float, float] | None = None
    """0 and 1 where all are in it, else 0 and the highest; lowest and highest value where some are negative."""

    def of(self, mode: str) -> tuple[float, float] | None:
        """The range for a mode; None for one of 8 bits."""
        return self.floats if mode == "F" else self.integers if mode in _INTEGERS else None

    def describe(self) -> Iterator[str]:
        """For people, one text for each range."""
        for name, found in (("integers of more than 8 bits", self.integers), ("floats", self.floats)):
            if found:
                yield f"{name} scaled from {found[0]:g}..{found[1]:g}"


def read_header(file: Path) -> Header:
    """Size and mode as they are stored; no pixel is decoded. Raises ``DataError`` that names file and mode."""
    with _opened(file) as image:
        mode = image.mode
        if mode not in _FLAT | _TRANSPARENT | _INTEGERS | {"F"}:
            raise DataError(f"cannot read the image {file}: its mode {mode} is not known; convert it to RGB")
        return Header(*image.size, "RGB;16" if _is_deep_colour(image) else mode)


def read_extremes(file: Path) -> tuple[float, float]:
    """Lowest and highest value of an image whose header is deep. Raises ``DataError``, also for NaN and infinity."""
    with _opened(file) as image:
        values = _values(file, image)
        return float(values.min()), float(values.max())


def ranges_of(extremes: Iterable[tuple[str, tuple[float, float]]]) -> Ranges:
    """The ranges of a set, from mode and extremes of each deep image."""
    found: dict[bool, tuple[float, float]] = {}
    for mode, (low, high) in extremes:
        before = found.get(mode == "F", (low, high))
        found[mode == "F"] = min(low, before[0]), max(high, before[1])
    return Ranges(_integer_range(found.get(False)), _float_range(found.get(True)))


def read_square(file: Path, side: int, ranges: Ranges) -> Images:
    """The middle square at ``side`` pixels, uint8 (3, side, side). Raises ``DataError`` that names the file."""
    with _opened(file) as image:
        image.draft("RGB", (side, side))
        turn = _TURNS.get(1 if image.format == "TIFF" else _orientation(image))  # Pillow turns TIFF itself
        found = ranges.of(image.mode)
        shown = on_white(image) if found is None else _scaled(_values(file, image), found)
        square = fit_square(shown, side)
        return np.asarray(square if turn is None else square.transpose(turn), np.uint8).transpose(2, 0, 1)


def on_white(image: Image.Image) -> Image.Image:
    """RGB of an image of 8 bits; what is transparent is white."""
    if image.mode not in _TRANSPARENT and "transparency" not in image.info:
        return image.convert("RGB")
    if image.mode == "P" and "transparency" not in image.info and image.palette and image.palette.mode == "RGB":
        return image.convert("RGB")
    if image.mode == "PA":
        image = image.convert("RGBA")
    if image.mode in ("La", "RGBa"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")


def fit_square(image: Image.Image, side: int) -> Image.Image:
    """The middle square of the image at ``side`` pixels, antialiased."""
    shorter = min(image.size)
    left, top = ((length - shorter) / 2 for length in image.size)
    if image.size == (side, side):
        return image
    return image.resize((side, side), Image.Resampling.BICUBIC, (left, top, left + shorter, top + shorter))


def quiet_pillow() -> contextlib.AbstractContextManager[Any]:
    """Without Pillow's warnings, in all threads: each problem of a file is either an error or harmless."""
    return warnings.catch_warnings(action="ignore")


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """The image, its size checked. Raises ``DataError`` for every failure."""
    try:
        if not file.is_file():  # opening a pipe or a device could wait for ever
            file.stat()
            raise DataError(f"cannot decode the image {file}: it is not a regular file; replace or remove it")
        with _open(file) as image, _one_large if image.width * image.height > _ALONE else contextlib.nullcontext():
            yield image
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(
            f"cannot decode the image {file}: it is not one of {', '.join(SUFFIXES)}; replace or remove it"
        ) from None
    except Image.DecompressionBombError as error:
        raise DataError(
            f"cannot decode the image {file}: {error}; make it smaller, or write it as JPEG, which is reduced while it "
            "is read"
        ) from None
    except Exception as error:  # noqa: BLE001  damaged files raise errors of many kinds in Pillow
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = " ".join((reason or type(error).__name__).split())[:200]
        raise DataError(f"cannot decode the image {file}: {reason}; replace or remove it") from None


def _open(file: Path) -> Image.Image:
    try:
        image = Image.open(file, formats=_FORMATS)
        pixels = image.width * image.height
        if image.mode in _INTEGERS | {"F"} and pixels > _LARGEST_DEEP:
            image.close()
            raise Image.DecompressionBombError(
                f"it has {pixels:,} pixels of more than 8 bits, more than {_LARGEST_DEEP:,}"
            )
        return image
    except Image.DecompressionBombError:
        with file.open("rb") as content:
            if content.read(3) != b"\xff\xd8\xff":
                raise
    image = JpegImagePlugin.JpegImageFile(str(file))
    pixels = image.width * image.height
    if pixels > _LARGEST_JPEG:
        image.close()
        raise Image.DecompressionBombError(f"it has {pixels:,} pixels, more than {_LARGEST_JPEG:,}")
    return image


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001  damaged EXIF, whole pixels
        return 1


def _is_deep_colour(image: Image.Image) -> bool:
    """Whether each of several channels is stored in 16 bits."""
    tiles = getattr(image, "tile", ())
    return image.mode not in _INTEGERS and any(";16" in str(tile[-1]) for tile in tiles)


def _values(file: Path, image: Image.Image) -> npt.NDArray[Any]:
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise DataError(f"cannot read the image {file} of mode {image.mode}: it holds NaN or infinity")
    tags = getattr(image, "tag_v2", {})
    unsigned = image.mode == "I" and tags.get(339, (1,)) in (1, (1,)) and tags.get(258) == (32,)
    if unsigned and values.min() < 0:  # Pillow reads them as signed
        raise DataError(f"cannot read the image {file}: its integers of 32 bits exceed {2**31 - 1}; write 16 bits")
    return values


def _integer_range(found: tuple[float, float] | None) -> tuple[float, float] | None:
    if found is None or found[0] < 0:
        return found
    bits = int(found[1]).bit_length()
    return 0.0, float(2 ** next((depth for depth in _BITS if depth >= bits), bits) - 1)


def _float_range(found: tuple[float, float] | None) -> tuple[float, float] | None:
    if found is None or found[0] < 0:
        return found
    return 0.0, 1.0 if found[1] <= 1 else found[1]


def _scaled(values: npt.NDArray[Any], found: tuple[float, float]) -> Image.Image:
    """RGB, three equal channels; values outside the range are black or white."""
    low, high = found
    whole = np.clip((values.astype(np.float64) - low) * (255 / max(high - low, 1e-300)), 0, 255)
    return Image.fromarray(np.rint(whole).astype(np.uint8)).convert("RGB")
