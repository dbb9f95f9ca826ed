"""From image files to one array of square RGB images, decoded once and then read from a cache."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from objectives.data.imageset import Images
from phiscale.errors import DataError

LARGEST_COMMON_SIDE = 256
"""Images are stored no larger than this unless a side is given, in pixels."""
_MEMORY_PART = 0.6
_DEFAULT_PART = 1 / 8
"""Part of the machine's memory that the images take where nobody says how many; every worker holds them twice."""
_SAMPLED = 200
"""Files whose side is read to estimate that of all."""
_DECODING_ERRORS = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
_CACHE_ERRORS = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)


def default_cache() -> Path:
    """``~/.cache/phiscale``."""
    return Path.home() / ".cache" / "phiscale"


def decode_files(files: Sequence[Path], *, side: int | None = None, cache: Path | None = None) -> Images:
    """The images, uint8 (n, 3, side, side): the shorter side is resized, antialiased, and the middle kept.

    Without ``side`` it is the commonest shorter side (the median where none has half of the images), at most 256.
    Any mode becomes RGB; of several frames the first counts, and transparency is dropped. Later calls with the same
    unchanged files read ``cache``. Raises ``DataError`` that names the file that cannot be decoded.
    """
    folder = default_cache() if cache is None else cache
    stored = folder / f"{_key(files, side)}.npz"
    images = _read(stored, len(files))
    if images is None:
        images = _decode(files, side)
        _write(stored, images)
    return images


def most_in_memory(files: Sequence[Path], side: int | None) -> int:
    """How many of the images an eighth of the machine's memory holds; the side is that of a sample of them.

    Raises ``DataError`` that names a file that cannot be decoded.
    """
    import torch

    from objectives.training.memory import total_memory

    sample = files[:: max(1, len(files) // _SAMPLED)]
    stored = 3 * (side or _common_side([_shorter_side(file) for file in sample])) ** 2
    return int(min(len(files), _DEFAULT_PART * total_memory(torch.device("cpu")) / stored))


def fit_square(image: Image.Image, side: int) -> Image.Image:
    """The middle square of the image at ``side`` pixels, antialiased."""
    shorter = min(image.size)
    left, top = ((length - shorter) / 2 for length in image.size)
    if image.size == (side, side):
        return image
    return image.resize((side, side), Image.Resampling.BICUBIC, (left, top, left + shorter, top + shorter))


def _decode(files: Sequence[Path], side: int | None) -> Images:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            side = _common_side(list(pool.map(_shorter_side, files))) if side is None else side
            _check_memory(len(files), side)
            images = np.empty((len(files), 3, side, side), np.uint8)
            for index, pixels in enumerate(pool.map(_decode_one, files, [side] * len(files))):
                images[index] = pixels
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return images


def _common_side(sides: list[int]) -> int:
    values, counts = np.unique(sides, return_counts=True)
    best = counts.argmax()
    common = values[best] if 2 * counts[best] >= len(sides) else np.median(sides)
    return min(LARGEST_COMMON_SIDE, max(1, int(common)))


def _check_memory(count: int, side: int) -> None:
    needed = 3 * side * side * count
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return
    if needed > _MEMORY_PART * free:
        raise DataError(
            f"{count} images of {side} pixels take {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free; "
            "use fewer training images or a smaller side"
        )


def _shorter_side(file: Path) -> int:
    try:
        with Image.open(file) as image:
            return min(image.size)
    except _DECODING_ERRORS as error:
        raise _unreadable(file, error) from None


def _decode_one(file: Path, side: int) -> Images:
    try:
        with Image.open(file) as image:
            image.draft("RGB", (side, side))
            square = fit_square(_rgb(image), side)
            return np.asarray(square, np.uint8).transpose(2, 0, 1)
    except _DECODING_ERRORS as error:
        raise _unreadable(file, error) from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow clips these to 255
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:  # a palette with transparent entries goes by way of RGBA
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _unreadable(file: Path, error: BaseException) -> DataError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    return DataError(f"cannot decode the image {file}: {reason}; replace or remove it")


def _key(files: Sequence[Path], side: int | None) -> str:
    """Equal as long as no file has changed."""
    try:
        stats = [(str(file.absolute()), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]
    except OSError as error:
        raise DataError(f"cannot read the image {error.filename}: {error.strerror}") from None
    return hashlib.sha256(json.dumps(["images 1", side, stats]).encode()).hexdigest()[:32]


def _read(stored: Path, count: int) -> Images | None:
    """The cached images; None where there are none or they are damaged (the archive has checksums)."""
    try:
        with stored.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            images = archive["images"]
    except _CACHE_ERRORS:
        return None
    fits = images.dtype == np.uint8 and images.ndim == 4 and len(images) == count and images.shape[1] == 3
    return images if fits and images.shape[2] == images.shape[3] else None


def _write(stored: Path, images: Images) -> None:
    """A cache that cannot be written costs time at the next start and nothing else."""
    temporary = None
    try:
        stored.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=stored.parent, prefix=f".{stored.name}.")
        with os.fdopen(handle, "wb") as file:
            np.savez(file, images=images)
        Path(temporary).replace(stored)
    except OSError:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
