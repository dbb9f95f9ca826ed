"""An ImageFolder tree on disk: which files belong to which class. No image is opened here.

Two layouts are known: a folder with ``train/`` in it, whose folders are the classes, and a folder whose folders are the
classes themselves. What lies beside ``train/`` is never part of the training images.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from objectives.data.imageset import Labels
from phiscale.errors import DataError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Endings of image files, in any case; other files are left alone."""
TEST_FOLDERS = ("test", "val", "validation")
"""Names of an untouched part beside ``train``, the preferred first."""


@dataclass(frozen=True, eq=False)
class ImageTree:
    """Files of all classes, sorted by class and path."""

    root: Path
    files: tuple[Path, ...]
    labels: Labels
    """int64, (n,): index into ``classes``."""
    classes: tuple[str, ...]


def training_tree(root: Path) -> ImageTree:
    """The training files under ``root``. Raises ``DataError`` where they are not two classes or more with images."""
    folders = _folders(root)
    if "train" in folders:
        root = root / "train"
        folders = _folders(root)
    elif beside := [name for name in TEST_FOLDERS if name in folders]:
        raise DataError(
            f"expected a folder named train beside {', '.join(beside)} in {root}, got none; "
            "rename the training folder, or give the folder that holds the classes"
        )
    if len(folders) < 2:
        raise DataError(f"expected two folders or more in {root}, one for each class, got {len(folders)}")
    tree = _tree(root, tuple(folders))
    counts = np.bincount(tree.labels, minlength=len(folders))
    if empty := [name for name, count in zip(folders, counts, strict=True) if count == 0]:
        raise DataError(
            f"expected images ({', '.join(sorted(SUFFIXES))}) in every class of {root}, got none in "
            f"{', '.join(empty[:5])}{' and others' if len(empty) > 5 else ''}; remove the folder or fill it"
        )
    return tree


def test_tree(root: Path, classes: tuple[str, ...]) -> ImageTree | None:
    """The files of the first folder beside ``train`` that has images of these classes and no others, or None."""
    folders = _folders(root)
    if "train" not in folders:
        return None
    for name in TEST_FOLDERS:
        if name in folders and set(_folders(root / name)) <= set(classes):
            tree = _tree(root / name, classes)
            if tree.files:
                return tree
    return None


def _tree(root: Path, classes: tuple[str, ...]) -> ImageTree:
    """Every image below ``root/<class>``, at any depth; a class without a folder has none."""
    by_class = [sorted(_images_below(root / name, set())) if (root / name).is_dir() else [] for name in classes]
    files = tuple(file for of_class in by_class for file in of_class)
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(of_class) for of_class in by_class])
    return ImageTree(root, files, labels, classes)


def _folders(root: Path) -> list[str]:
    return sorted(entry.name for entry in _entries(root) if entry.is_dir())


def _images_below(folder: Path, seen: set[str]) -> Iterator[Path]:
    place = os.path.realpath(folder)  # a link to a folder above would never end
    if place in seen:
        return
    seen.add(place)
    for entry in _entries(folder):
        if entry.is_dir():
            yield from _images_below(Path(entry.path), seen)
        elif Path(entry.name).suffix.lower() in SUFFIXES:
            yield Path(entry.path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Everything in the folder that is not hidden."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror or error}") from None
