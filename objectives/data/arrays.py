"""Images and labels from an .npz file, checked."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from objectives.data.decode import fit_square
from objectives.data.imageset import Images, Labels
from phiscale.errors import DataError


@dataclass(frozen=True, eq=False)
class LabelledArrays:
    """The arrays of one file, every class with at least one image."""

    images: Images
    """uint8, (n, 3, side, side)."""
    labels: Labels
    """int64, (n,)."""
    classes: tuple[str, ...]
    test_images: Images | None
    """The untouched part, where the file has one."""
    test_labels: Labels | None


def read_arrays(path: Path, side: int | None = None) -> LabelledArrays:
    """Read ``images`` and ``labels``, and where they are there ``test_images``, ``test_labels`` and ``classes``.

    Images: uint8 in 0..255 or float in 0..1, (n, h, w), (n, h, w, c) or (n, c, h, w) with c of 1, 3 or 4; the middle
    square is kept, and resized where ``side`` asks for it. Labels: whole numbers from 0, (n,). Raises ``DataError``.
    """
    arrays = _load(path)
    for name in ("images", "labels"):
        if name not in arrays:
            raise DataError(f"expected an array named {name} in {path}, got {', '.join(sorted(arrays)) or 'none'}")
    images, labels = _part(path, arrays, "images", "labels", side)
    classes = _classes(path, labels, arrays.get("classes"))
    if "test_images" not in arrays or "test_labels" not in arrays:
        return LabelledArrays(images, labels, classes, None, None)
    test_images, test_labels = _part(path, arrays, "test_images", "test_labels", side)
    if test_labels.max() >= len(classes):
        raise DataError(f"expected test_labels of {path} below {len(classes)}, got {test_labels.max()}")
    return LabelledArrays(images, labels, classes, test_images, test_labels)


def _load(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"expected {path} to be an .npz archive, got one array; write it with numpy.savez")
            with archive:
                return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"expected {path} to be an .npz archive of plain arrays, got a file with {error}") from None


def _part(
    path: Path, arrays: dict[str, npt.NDArray[Any]], images_name: str, labels_name: str, side: int | None
) -> tuple[Images, Labels]:
    images, labels = arrays[images_name], arrays[labels_name]
    images = _square(_channels_first(_whole_shades(images, images_name, path), images_name, path), side)
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise DataError(
            f"expected {labels_name} of {path} as {len(images)} whole numbers, one for each image, "
            f"got {labels.dtype} {labels.shape}"
        )
    if len(labels) == 0:
        raise DataError(f"expected at least one image in {images_name} of {path}, got none")
    if labels.min() < 0:
        raise DataError(f"expected {labels_name} of {path} from 0, got {labels.min()}")
    return images, labels.astype(np.int64)


def _whole_shades(images: npt.NDArray[Any], name: str, path: Path) -> Images:
    """uint8 as it is; float in 0..1 times 255."""
    if images.dtype == np.uint8:
        return images.astype(np.uint8, copy=False)
    if images.dtype.kind != "f":
        raise DataError(f"expected {name} of {path} as uint8, or float in 0..1, got {images.dtype}")
    if not np.isfinite(images).all():
        raise DataError(f"expected finite {name} in {path}, got NaN or infinity")
    if images.size and (images.min() < 0 or images.max() > 1):
        raise DataError(
            f"expected float {name} of {path} in 0..1, got {images.min():g} to {images.max():g}; "
            "give uint8 for 0..255, or scale them"
        )
    shades: Images = np.rint(images * 255).astype(np.uint8)
    return shades


def _channels_first(images: Images, name: str, path: Path) -> Images:
    """(n, 3, h, w) from any of the layouts; a grey image gets three equal channels, a fourth channel is dropped."""
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3, 4):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3, 4) or 0 in images.shape[2:]:
        raise DataError(
            f"expected {name} of {path} as (n, h, w), (n, h, w, c) or (n, c, h, w) with c of 1, 3 or 4, "
            f"got {images.shape}"
        )
    return np.repeat(images, 3, axis=1) if images.shape[1] == 1 else images[:, :3]


def _square(images: Images, side: int | None) -> Images:
    height, width = images.shape[2:]
    shorter = min(height, width)
    top, left = (height - shorter) // 2, (width - shorter) // 2
    square = images[:, :, top : top + shorter, left : left + shorter]
    if side in (None, shorter):
        return np.ascontiguousarray(square)
    pictures = (Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))) for pixels in square)
    resized = [np.asarray(fit_square(picture, side or shorter)).transpose(2, 0, 1) for picture in pictures]
    return np.stack(resized) if resized else np.empty((0, 3, side or shorter, side or shorter), np.uint8)


def _classes(path: Path, labels: Labels, names: npt.NDArray[Any] | None) -> tuple[str, ...]:
    count = int(labels.max()) + 1 if names is None else len(names)
    if labels.max() >= count or count > len(labels):
        raise DataError(f"expected labels of {path} below the number of classes, got {labels.max()} of {count} classes")
    counts = np.bincount(labels, minlength=count)
    if count < 2 or counts.min() == 0:
        raise DataError(
            f"expected images of every class from 0 to {max(1, count - 1)} in {path}, got none of class "
            f"{int(counts.argmin()) if counts.min() == 0 else 1}; number the classes without gaps"
        )
    return tuple(str(index) for index in range(count)) if names is None else tuple(str(name) for name in names)
