"""Images and labels of one search in memory: the training part, split once into what trains and what scores."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from phiscale.errors import DataError

if TYPE_CHECKING:
    from objectives.data.picture import Ranges

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Indices = npt.NDArray[np.intp]

AUGMENTATIONS = frozenset({"flip", "crop"})
"""Every augmentation that training knows."""
VALIDATION_PART = 5
"""Of all images at most a fifth is scored on."""
_FEW_SHADES = 3
"""Of 255: no network can learn from images that differ by less."""
_ALL_BUT_A_TENTH = 0.9
_FEW = 0.1
"""A larger part of the images is worth a warning."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Images to train and to score on, all of one size. Raises ``DataError`` where the parts do not fit together."""

    name: str
    """What records call it."""
    train_images: Images
    """uint8, (n, 3, side, side)."""
    train_labels: Labels
    """int64, (n,), from 0."""
    validation_images: Images
    """uint8, (m, 3, side, side); the search scores on these."""
    validation_labels: Labels
    """int64, (m,)."""
    classes: tuple[str, ...]
    """Name of each label."""
    augmentations: frozenset[str] = AUGMENTATIONS
    """Changes that keep the labels: ``flip`` (left-right mirror), ``crop`` (a shift by some pixels)."""
    epoch_images: int = 0
    """Images in the whole training part from which these were drawn: what people call an epoch. Default: those here."""
    notes: tuple[str, ...] = ()
    """What was done to the images and which files were skipped, as text."""
    warnings: tuple[str, ...] = ()
    """The part of it that the user should check."""
    ranges: Ranges | None = None
    """What was black and white in files of more than 8 bits, see ``picture.Ranges``."""

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise DataError(f"expected two classes or more in {self.name}, got {len(self.classes)}")
        if not self.augmentations <= AUGMENTATIONS:
            raise DataError(f"expected augmentations of {sorted(AUGMENTATIONS)}, got {sorted(self.augmentations)}")
        _check_part("training", self.name, self.train_images, self.train_labels, len(self.classes))
        _check_part("validation", self.name, self.validation_images, self.validation_labels, len(self.classes))
        if self.epoch_images == 0:
            object.__setattr__(self, "epoch_images", len(self.train_labels) + len(self.validation_labels))
        if self.train_images.shape[1:] != self.validation_images.shape[1:]:
            raise DataError(
                f"expected training and validation images of one size in {self.name}, got "
                f"{self.train_images.shape[1:]} and {self.validation_images.shape[1:]}"
            )

    @property
    def resolution(self) -> int:
        """Side of the stored images, in pixels; a network that takes more gets no more information."""
        return int(self.train_images.shape[-1])

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of the content, the split and the classes."""
        digest = hashlib.sha256(repr((self.classes, sorted(self.augmentations))).encode())
        for array in (self.train_images, self.train_labels, self.validation_images, self.validation_labels):
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    @cached_property
    def channel_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel of the training images, in 0..255."""
        total, squares = np.zeros(3, np.int64), np.zeros(3, np.int64)
        for image in self.train_images:
            total += image.sum((1, 2), dtype=np.int64)
            squares += np.square(image, dtype=np.uint16).sum((1, 2), dtype=np.int64)
        count = self.train_images[:, 0].size
        mean = total / count
        return tuple(mean.tolist()), tuple(np.sqrt(np.maximum(0, squares / count - mean**2)).tolist())

    def describe(self) -> list[str]:
        """One line about the images and what was skipped, then a line for each warning."""
        line = (
            f"data {self.name}: {len(self.classes)} classes, {len(self.train_labels):,} images to train on and "
            f"{len(self.validation_labels):,} to score on, of {self.epoch_images:,}; "
            f"{self.resolution} x {self.resolution} pixels"
        )
        return ["; ".join([line, *self.notes]), *(f"warning: {warning}" for warning in self.warnings)]

    def scored_on(self, images: Images, labels: Labels) -> ImageSet:
        """The same training part, scored on other images, e.g. the untouched test part."""
        return dataclasses.replace(
            self, name=f"{self.name}, test part", validation_images=images, validation_labels=labels
        )


def check_content(name: str, images: Images) -> None:
    """Raise ``DataError`` if most images are copies of others, or if all of them have nearly one shade."""
    if images.size and int(images.max()) - int(images.min()) < _FEW_SHADES:
        raise DataError(
            f"expected images in {name}, got {len(images):,} of one shade, {images.min()} of 255: "
            "are their values scaled otherwise than docs/howto/data.md says?"
        )
    distinct = len({hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in images})
    if 2 * distinct < len(images):
        raise DataError(
            f"expected different images in {name}, got {distinct:,} different ones of {len(images):,}: "
            "are they copies, or their values scaled otherwise than docs/howto/data.md says?"
        )


def shape_notes(sizes: npt.NDArray[np.int64]) -> tuple[list[str], list[str]]:
    """Notes and warnings on what the middle squares leave out; ``sizes``: width and height of the images, (n, 2)."""
    kept = sizes.min(1) / sizes.max(1)
    cut, halved = int((kept < _ALL_BUT_A_TENTH).sum()), int((kept <= 0.5).sum())
    if not cut:
        return [], []
    note = f"{cut:,} of {len(sizes):,} lose more than a tenth outside their middle square"
    if halved <= _FEW * len(sizes):
        return [note], []
    worst = int(kept.argmin())
    warning = (
        f"{halved:,} of {len(sizes):,} images lose half or more outside their middle square (one of "
        f"{sizes[worst, 0]} x {sizes[worst, 1]} pixels keeps {kept[worst]:.0%}); pad them to squares if that matters"
    )
    return [note], [warning]


def _check_part(part: str, name: str, images: Images, labels: Labels, classes: int) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise DataError(
            f"expected the {part} images of {name} as uint8 (n, 3, side, side), got {images.dtype} {images.shape}"
        )
    if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
        raise DataError(
            f"expected one int64 label for each of the {len(images)} {part} images of {name}, "
            f"got {labels.dtype} {labels.shape}"
        )
    if images.size == 0:
        raise DataError(f"expected at least one {part} image in {name}, got none")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"expected {part} labels of {name} from 0 to {classes - 1}, got {labels.min()} to {labels.max()}"
        )


@dataclass(frozen=True)
class Split:
    """Indices of the three parts of a training set, each sorted, each with all classes in proportion."""

    train: Indices
    validation: Indices
    spare: Indices
    """In neither of the two; the search never sees these."""


def split_labels(
    labels: Labels, classes: Sequence[str], *, train_images: int | None, validation_images: int, seed: int
) -> Split:
    """Draw validation images (at most a fifth of all) and training images from every class, by ``seed`` alone.

    Raises ``DataError`` for a class without images, or too few images to train and score on.
    """
    counts = np.bincount(labels, minlength=len(classes))
    if len(counts) == 0 or counts.min() == 0:
        empty = [name for name, count in zip(classes, counts, strict=False) if count == 0]
        raise DataError(f"expected images in every class, got none in {', '.join(empty) or 'the whole set'}")
    for_validation = _allot(min(validation_images, len(labels) // VALIDATION_PART), counts - 1)
    if for_validation.sum() == 0:
        raise DataError(f"expected at least {VALIDATION_PART} images, two in some class, got {len(labels)} in all")
    left = counts - for_validation
    wanted = int(left.sum()) if train_images is None else min(train_images, int(left.sum()))
    if wanted < len(classes):
        raise DataError(f"expected train_images of at least {len(classes)}, one for each class, got {train_images}")
    for_training = 1 + _allot(wanted - len(classes), left - 1)
    return _draw(labels, for_training, for_validation, np.random.default_rng([seed, 1]))


def _allot(total: int, room: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """``total`` (at most all the room) over the classes in proportion to their room, by largest remainder."""
    total = min(total, int(room.sum()))
    ideal = room * (total / max(1, int(room.sum())))
    parts = np.minimum(ideal.astype(np.intp), room)
    while (short := total - int(parts.sum())) > 0:
        parts[np.argsort(-np.where(parts < room, ideal - parts, -np.inf), kind="stable")[:short]] += 1
        parts = np.minimum(parts, room)
    return parts


def _draw(
    labels: Labels,
    for_training: npt.NDArray[np.intp],
    for_validation: npt.NDArray[np.intp],
    generator: np.random.Generator,
) -> Split:
    train, validation, spare = [], [], []
    for label, (trained, scored) in enumerate(zip(for_training, for_validation, strict=True)):
        members = generator.permutation(np.flatnonzero(labels == label))
        validation.append(members[:scored])
        train.append(members[scored : scored + trained])
        spare.append(members[scored + trained :])
    return Split(*(np.sort(np.concatenate(part)) for part in (train, validation, spare)))
