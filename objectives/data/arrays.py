"""Images and labels from an .npz file, checked: sizes and types from the headers first, then the arrays needed."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from objectives.data.decode import check_memory
from objectives.data.imageset import Images, Labels
from objectives.data.picture import fit_square, on_white
from phiscale.errors import DataError
from phiscale.text import printable

_CHANNELS = (1, 3, 4)
_LONGEST_NAME = 1000
"""Letters of a class name."""
_WRITE_AGAIN = "write it again with numpy.savez"


@dataclass(frozen=True, eq=False)
class LabelledArrays:
    """One part of a file."""

    images: Images
    """uint8, (n, 3, side, side)."""
    labels: Labels
    """int64, (n,)."""
    classes: tuple[str, ...]
    sizes: npt.NDArray[np.int64]
    """Width and height of the images of the file, in pixels, (n, 2)."""
    notes: tuple[str, ...]
    """What was done to the images, for people."""
    has_test_part: bool
    """Whether the file holds a test part too."""


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def read_arrays(path: Path, side: int | None = None) -> LabelledArrays:
    """Read ``images`` and ``labels``, and ``classes`` and the labels of the test part if they exist.

    Images: uint8 in 0..255 or float in 0..1, (n, h, w), (n, h, w, c) or (n, c, h, w) with c of 1, 3 or 4; the fourth is
    opacity, composited on white. The middle square is kept, and resized to ``side`` if that is given. Labels: whole
    numbers from 0, (n,). Raises ``DataError``.
    """
    with _opened(path) as file:
        labels = file.labels("images", "labels")
        classes = _classes(path, labels, file.classes())
        if file.has_test_part:
            _test_labels(file, classes)
        return _part(file, "images", labels, classes, side)


def read_test_arrays(path: Path, side: int) -> LabelledArrays | None:
    """The same of ``test_images`` and ``test_labels``; None where the file has none. Raises ``DataError``."""
    with _opened(path) as file:
        if not file.has_test_part:
            return None
        classes = _classes(path, file.labels("images", "labels"), file.classes())
        return _part(file, "test_images", _test_labels(file, classes), classes, side)


class _File:
    """An .npz file whose headers have been read; arrays are read when they are asked for."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self._archive = archive
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        wanted = ("images", "labels", "classes", "test_images", "test_labels")
        self.headers = {name: self._header(name, members[name]) for name in wanted if name in members}
        for name in ("images", "labels"):
            if name not in members:
                names = ", ".join(printable(found) for found in sorted(members)[:8])
                raise DataError(f"expected an array named {name} in {path}, got {names or 'none'}")

    @property
    def has_test_part(self) -> bool:
        return {"test_images", "test_labels"} <= self.headers.keys()

    def _header(self, name: str, info: zipfile.ZipInfo) -> _Header:
        if info.flag_bits & 1:
            raise DataError(f"expected a file without a password, got {name} of {self.path} encrypted; {_WRITE_AGAIN}")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(
                f"expected {name} of {self.path} plain or deflated, got compression {info.compress_type}; "
                f"{_WRITE_AGAIN} or numpy.savez_compressed"
            )
        with self._archive.open(info) as member:
            version = np.lib.format.read_magic(member)
            if version == (1, 0):
                shape, _, dtype = np.lib.format.read_array_header_1_0(member)
            else:
                shape, _, dtype = np.lib.format.read_array_header_2_0(member)
            stored = info.file_size - member.tell()
        if dtype.hasobject:
            raise DataError(f"expected plain arrays in {self.path}, got {name} with Python objects; convert them")
        if stored != math.prod(shape) * dtype.itemsize:
            raise DataError(f"expected the whole of {name} in {self.path}, got another size than its header says")
        return _Header(tuple(shape), dtype)

    def labels(self, images: str, labels: str) -> Labels:
        """The labels; their number and type, and those of the images, are checked before they are read."""
        shape, header = self.headers[images].shape, self.headers[labels]
        if header.dtype.kind not in "iu" or header.shape != shape[:1]:
            raise DataError(
                f"expected {labels} of {self.path} as {shape[0] if shape else 'some'} whole numbers, one for each "
                f"image, got {header.dtype} {header.shape}"
            )
        if shape[0] == 0:
            raise DataError(f"expected at least one image in {images} of {self.path}, got none")
        found = self.read(labels)
        if found.min() < 0:
            raise DataError(f"expected {labels} of {self.path} from 0, got {found.min()}")
        if found.max() >= 2**31:
            raise DataError(f"expected {labels} of {self.path} below the number of classes, got {found.max()}")
        return found.astype(np.int64)

    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes; None where the file gives none."""
        header = self.headers.get("classes")
        if header is None:
            return None
        if len(header.shape) != 1 or header.dtype.kind not in "USiu" or header.dtype.itemsize > 4 * _LONGEST_NAME:
            raise DataError(
                f"expected classes of {self.path} as a row of names, got {printable(str(header.dtype))[:40]} "
                f"{header.shape}"
            )
        names = self.read("classes").tolist()
        return tuple(
            printable(name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name))
            for name in names
        )

    def read(self, name: str) -> npt.NDArray[Any]:
        """One array."""
        header = self.headers[name]
        check_memory(f"{name} of {self.path}", math.prod(header.shape) * header.dtype.itemsize)
        with self._archive.open(f"{name}.npy" if f"{name}.npy" in self._archive.namelist() else name) as member:
            return np.asarray(np.lib.format.read_array(member, allow_pickle=False))


@contextmanager
def _opened(path: Path) -> Iterator[_File]:
    """The file. Raises ``DataError`` for everything that is wrong with the archive."""
    try:
        with path.open("rb") as file:
            if file.read(6) == np.lib.format.MAGIC_PREFIX:
                raise DataError(f"expected {path} to be an .npz archive, got one array; {_WRITE_AGAIN}")
            with zipfile.ZipFile(file) as archive:
                yield _File(path, archive)
    except DataError:
        raise
    except (MemoryError, OverflowError):
        raise DataError(f"expected arrays in {path} that fit the memory, got larger ones; use fewer images") from None
    except Exception as error:  # noqa: BLE001  damaged archives and headers raise errors of many kinds
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = printable(" ".join((reason or type(error).__name__).split()))[:120]
        raise DataError(f"expected {path} to be an .npz archive of plain arrays, cannot read it: {reason}") from None


def _test_labels(file: _File, classes: tuple[str, ...]) -> Labels:
    labels = file.labels("test_images", "test_labels")
    if labels.max() >= len(classes):
        raise DataError(f"expected test_labels of {file.path} below {len(classes)}, got {labels.max()}")
    return labels


def _part(file: _File, name: str, labels: Labels, classes: tuple[str, ...], side: int | None) -> LabelledArrays:
    axis = _channel_axis(file, name)
    images = file.read(name)
    images = images[:, None] if axis is None else images.transpose(0, 3, 1, 2) if axis == 3 else images
    height, width = images.shape[2:]
    sizes = np.tile(np.array([(width, height)], np.int64), (len(images), 1))
    notes = ("the fourth channel is opacity, composited on white",) if images.shape[1] == 4 else ()
    square = _three_channels(_eight_bit(_middle(images), name, file.path))
    return LabelledArrays(_resized(square, side), labels, classes, sizes, notes, file.has_test_part)


def _channel_axis(file: _File, name: str) -> int | None:
    """Where the channels are, from the header; None where there is no such axis."""
    shape, dtype = file.headers[name].shape, file.headers[name].dtype
    axes = [axis for axis in (1, 3) if len(shape) == 4 and shape[axis] in _CHANNELS]
    if 0 in shape[1:] or len(shape) not in (3, 4) or (len(shape) == 4 and not axes):
        raise DataError(
            f"expected {name} of {file.path} as (n, h, w), (n, h, w, c) or (n, c, h, w) with c of 1, 3 or 4, "
            f"got {shape}"
        )
    if len(axes) > 1:
        raise DataError(f"expected {name} of {file.path} with one axis of channels, got {shape}: it could be either")
    if dtype != np.uint8 and dtype.kind != "f":
        raise DataError(f"expected {name} of {file.path} as uint8, or float in 0..1, got {dtype}")
    return axes[0] if axes else None


def _middle(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    height, width = images.shape[2:]
    shorter = min(height, width)
    top, left = (height - shorter) // 2, (width - shorter) // 2
    return images[:, :, top : top + shorter, left : left + shorter]


def _eight_bit(images: npt.NDArray[Any], name: str, path: Path) -> Images:
    """uint8 unchanged; float in 0..1 times 255."""
    if images.dtype == np.uint8:
        return images
    whole = np.empty(images.shape, np.uint8)
    for index, image in enumerate(images):
        low, high = float(image.min()), float(image.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise DataError(f"expected finite {name} in {path}, got NaN or infinity")
        if low < 0 or high > 1:
            raise DataError(
                f"expected float {name} of {path} in 0..1, got {low:g} to {high:g}; give uint8 for 0..255, or scale "
                "them"
            )
        whole[index] = np.rint(image * 255)
    return whole


def _three_channels(images: Images) -> Images:
    """(n, 3, side, side): grey repeated three times, transparency composited on white, as for image files."""
    if images.shape[1] == 1:
        return np.repeat(images, 3, axis=1)
    if images.shape[1] == 3:
        return np.ascontiguousarray(images)
    pictures = (Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)), "RGBA") for pixels in images)
    return np.stack([np.asarray(on_white(picture)).transpose(2, 0, 1) for picture in pictures])


def _resized(square: Images, side: int | None) -> Images:
    if side in (None, square.shape[3]):
        return square
    pictures = (Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))) for pixels in square)
    return np.stack([np.asarray(fit_square(picture, side or 1)).transpose(2, 0, 1) for picture in pictures])


def _classes(path: Path, labels: Labels, names: tuple[str, ...] | None) -> tuple[str, ...]:
    count = int(labels.max()) + 1 if names is None else len(names)
    if labels.max() >= count or count > len(labels):
        raise DataError(f"expected labels of {path} below the number of classes, got {labels.max()} of {count} classes")
    counts = np.bincount(labels, minlength=count)
    if count < 2 or counts.min() == 0:
        raise DataError(
            f"expected images of every class from 0 to {max(1, count - 1)} in {path}, got none of class "
            f"{int(counts.argmin()) if counts.min() == 0 else 1}; number the classes without gaps"
        )
    if names is not None and len(set(names)) < count:
        raise DataError(f"expected classes of {path} with different names, got one twice; name each class once")
    return names or tuple(str(index) for index in range(count))
