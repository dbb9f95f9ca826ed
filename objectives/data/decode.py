"""From image files to one array of square RGB images, decoded once and then read from a cache."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt

from objectives.data.imageset import Images
from objectives.data.picture import Header, Ranges, quiet_pillow, ranges_of, read_extremes, read_header, read_square
from phiscale.errors import DataError

LARGEST_COMMON_SIDE = 256
"""Images are stored no larger than this unless a side is given, in pixels."""
_MEMORY_PART = 0.6
_DEFAULT_PART = 1 / 8
"""Part of the machine's memory for the images if no number is given; every worker holds them twice."""
_SAMPLED = 200
"""Number of files whose side is read, to estimate the side of all."""
_DARK = 64
"""Of 255: colours of 14 bits stay below this when they are read as 16 bits."""
_CACHE_ERRORS = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)


def default_cache() -> Path:
    """``~/.cache/phiscale``."""
    return Path.home() / ".cache" / "phiscale"


@dataclass(frozen=True, eq=False)
class Decoded:
    """The images of some files, and what was done to them."""

    images: Images
    """uint8, (n, 3, side, side)."""
    sizes: npt.NDArray[np.int64]
    """Width and height of the files in pixels, as they are stored, (n, 2)."""
    ranges: Ranges


def decode_files(
    files: Sequence[Path], *, side: int | None = None, cache: Path | None = None, ranges: Ranges | None = None
) -> Decoded:
    """The images: the shorter side is resized, antialiased, and the middle kept; ``picture`` has the rules of pixels.

    Without ``side`` it is the commonest shorter side (the median where none has half of the images), at most 256.
    ``ranges`` are those of the images with which these are compared. Later calls with the same unchanged files read
    ``cache``. Raises ``DataError`` that names the file that cannot be decoded.
    """
    folder = default_cache() if cache is None else cache
    ranges = ranges or Ranges()
    stored = folder / f"{_key(files, side, ranges)}.npz"
    decoded = _read(stored, len(files))
    if decoded is None:
        with quiet_pillow():
            decoded = _decode(files, side, ranges)
        _write(stored, decoded)
    return decoded


def most_in_memory(files: Sequence[Path], side: int | None) -> int:
    """How many of the images an eighth of the machine's memory holds; the side is that of a sample of them.

    Raises ``DataError`` that names a file that cannot be decoded.
    """
    import torch

    from objectives.training.memory import total_memory

    sample = files[:: max(1, len(files) // _SAMPLED)]
    with quiet_pillow():
        sides = [] if side else [min(header.width, header.height) for header in map(read_header, sample)]
    stored = 3 * (side or _common_side(sides)) ** 2
    return int(min(len(files), _DEFAULT_PART * total_memory(torch.device("cpu")) / stored))


def _decode(files: Sequence[Path], side: int | None, given: Ranges) -> Decoded:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            headers = list(pool.map(read_header, files))
            side = _common_side([min(header.width, header.height) for header in headers]) if side is None else side
            check_memory(f"{len(files)} images of {side} pixels", 3 * side * side * len(files))
            deep = [(file, header.mode) for file, header in zip(files, headers, strict=True) if header.is_deep]
            extremes = pool.map(read_extremes, [file for file, _ in deep])
            own = ranges_of(zip([mode for _, mode in deep], extremes, strict=True))
            ranges = Ranges(given.integers or own.integers, given.floats or own.floats)
            images = np.empty((len(files), 3, side, side), np.uint8)
            for index, pixels in enumerate(pool.map(read_square, files, repeat(side), repeat(ranges))):
                images[index] = pixels
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    _check_deep_colours(files, headers, images)
    return Decoded(images, np.array([(header.width, header.height) for header in headers], np.int64), ranges)


def _check_deep_colours(files: Sequence[Path], headers: Sequence[Header], images: Images) -> None:
    """Pillow gives the upper 8 bits of 16-bit colours. If these are nearly empty, the values are in the lower ones."""
    deep = [index for index, header in enumerate(headers) if header.mode == "RGB;16"]
    if deep and max(images[index].max() for index in deep) < _DARK:
        raise DataError(
            f"expected colours of 16 bits to use them, got fewer in all {len(deep)} such images, e.g. {files[deep[0]]} "
            "(mode RGB;16); write their values with 8 bits, or scaled to 16"
        )


def _common_side(sides: list[int]) -> int:
    values, counts = np.unique(sides, return_counts=True)
    best = counts.argmax()
    common = values[best] if 2 * counts[best] >= len(sides) else np.median(sides)
    return min(LARGEST_COMMON_SIDE, max(1, int(common)))


def check_memory(what: str, needed: int) -> None:
    """Raise ``DataError`` where ``needed`` bytes do not fit the free memory; ``what`` needs them."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return
    if needed > _MEMORY_PART * free:
        raise DataError(
            f"{what} take {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free; "
            "use fewer training images or a smaller side"
        )


def _key(files: Sequence[Path], side: int | None, ranges: Ranges) -> str:
    """Equal as long as no file has changed."""
    try:
        stats = [(str(file.absolute()), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]
    except OSError as error:
        raise DataError(f"cannot read the image {error.filename}: {error.strerror}") from None
    return hashlib.sha256(json.dumps(["images 2", side, astuple(ranges), stats]).encode()).hexdigest()[:32]


def _read(stored: Path, count: int) -> Decoded | None:
    """What is cached; None where there is nothing or it is damaged (the archive has checksums)."""
    try:
        with stored.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            images, sizes = archive["images"], archive["sizes"]
            integers, floats = (tuple(archive[name].tolist()) or None for name in ("integers", "floats"))
    except _CACHE_ERRORS:
        return None
    fits = images.dtype == np.uint8 and images.ndim == 4 and len(images) == count and images.shape[1] == 3
    if not fits or images.shape[2] != images.shape[3] or sizes.shape != (count, 2):
        return None
    return Decoded(images, sizes, Ranges(integers, floats))


def _write(stored: Path, decoded: Decoded) -> None:
    """If the cache cannot be written, the next start takes longer; nothing else changes."""
    temporary = None
    try:
        stored.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=stored.parent, prefix=f".{stored.name}.")
        with os.fdopen(handle, "wb") as file:
            integers, floats = (np.array(found or ()) for found in astuple(decoded.ranges))
            np.savez(file, images=decoded.images, sizes=decoded.sizes, integers=integers, floats=floats)
        Path(temporary).replace(stored)
    except OSError:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
