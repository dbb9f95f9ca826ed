"""An ImageFolder tree on disk: which files belong to which class. No image is opened here.

There are two layouts: a folder with a training part, whose folders are the classes, and a folder whose folders are the
classes. Parts are recognised by their names: ``train``, ``Training``, ``seg_train``,
``train_images``. What lies next to the training part is never part of the training images.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from objectives.data.imageset import Labels
from objectives.data.picture import SUFFIXES
from phiscale.errors import DataError
from phiscale.text import printable

_SUFFIXES = frozenset(suffix for of_format in SUFFIXES.values() for suffix in of_format)
_TRAIN = "train"
_ROLES = {
    "train": (_TRAIN, "trains", "training", "trainset"),
    "test": ("test", "tests", "testing", "testset"),
    "validation": ("val", "valid", "validation", "validate", "validating", "valset"),
    "prediction": ("pred", "predict", "prediction", "predictions"),
}
_ROLE_OF = {word: role for role, words in _ROLES.items() for word in words}
_GENERAL = frozenset(
    {"data", "dataset", "files", "folder", "image", "images", "img", "imgs", "part", "photos", "set", "split"}
)
"""Words in a name that do not say which part it is."""
_UNTOUCHED = ("test", "validation")
"""Parts, other than the training part, on which a confirmation scores, the preferred first."""


@dataclass(frozen=True, eq=False)
class ImageTree:
    """Files of all classes, sorted by class and path."""

    root: Path
    """The folder of the class folders."""
    files: tuple[Path, ...]
    labels: Labels
    """int64, (n,): index into ``classes``."""
    classes: tuple[str, ...]
    """Names of the class folders; characters that cannot be printed are escaped."""
    left_alone: Mapping[str, int] = field(default_factory=dict)
    """Files that are not read, by the reason."""


def training_tree(root: Path) -> ImageTree:
    """The training files under ``root``. Raises ``DataError`` unless there are two or more classes with images."""
    root = _training_part(_inside(root))
    folders = _folders(root)
    if len(folders) < 2:
        raise DataError(f"expected two folders or more in {root}, one for each class, got {len(folders)}")
    _refuse_parts(root, folders)
    tree = _tree(root, {name: name for name in folders})
    counts = np.bincount(tree.labels, minlength=len(folders))
    if empty := [name for name, count in zip(tree.classes, counts, strict=True) if count == 0]:
        raise DataError(
            f"expected images ({', '.join(sorted(_SUFFIXES))}) in every class of {root}, got none in "
            f"{', '.join(empty[:5])}{' and others' if len(empty) > 5 else ''}; remove the folder or fill it"
        )
    return tree


def test_tree(root: Path, classes: tuple[str, ...]) -> ImageTree | None:
    """The files of the first untouched part, next to the training part, with images of these classes alone, or None."""
    root = _inside(root)
    if _training_part(root) == root:
        return None
    for role in _UNTOUCHED:
        for name in _named(_folders(root), role):
            part = _inside(root / name)
            folders = {printable(folder): folder for folder in _folders(part)}
            if folders.keys() <= set(classes):
                tree = _tree(part, {shown: folders.get(shown) for shown in classes})
                if tree.files:
                    return tree
    return None


def role_of(name: str) -> str | None:
    """``train``, ``test``, ``validation`` or ``prediction`` where a word of a folder's name says so, in any case.

    A name of several such words, such as ``train_test``, has no role.
    """
    roles = {_ROLE_OF[word] for word in _words(name) if word in _ROLE_OF}
    return roles.pop() if len(roles) == 1 else None


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def _is_bare(name: str) -> bool:
    """Whether the name is only the name of a part: ``Testing``, ``train2017``, ``test_images``."""
    return role_of(name) is not None and all(word in _ROLE_OF or word in _GENERAL for word in _words(name))


def _named(folders: list[str], role: str) -> list[str]:
    """Folders of a role, bare names first."""
    return sorted((name for name in folders if role_of(name) == role), key=lambda name: not _is_bare(name))


def _inside(root: Path) -> Path:
    """The folder itself, or the single folder in it that holds the others, as archives often have it."""
    while len(folders := _folders(root)) == 1 and (below := _folders(root / folders[0])):
        part = role_of(folders[0]) not in (None, role_of(root.name))
        if part or below == folders or any(_is_image(entry) for entry in _entries(root)):
            break
        root = root / folders[0]
    return root


def _training_part(root: Path) -> Path:
    """The folder of the classes. Raises ``DataError`` for parts of which none, or more than one, is for training."""
    folders = _folders(root)
    named = [name for name in _named(folders, _TRAIN) if _folders(root / name)]
    bare = [name for name in named if _is_bare(name)]
    if len(bare or named) > 1:
        raise DataError(
            f"expected one training part in {root}, got {', '.join((bare or named)[:5])}; give the folder of one"
        )
    if named:
        return _inside(root / named[0])
    parts = [name for name in folders if role_of(name) not in (None, _TRAIN)]
    parts += [name for name in folders if _is_bare(name) and role_of(name) == _TRAIN and len(folders) < 3]
    if parts or (len(folders) > 1 and all(role_of(name) for name in folders)):
        raise DataError(
            f"expected a folder named train with a folder for each class next to {', '.join((parts or folders)[:5])} "
            f"in {root}, got none; rename the training folder, or what is a class"
        )
    return root


def _refuse_parts(root: Path, folders: list[str]) -> None:
    """Raise ``DataError`` if the folders look like parts of the data, or if each class seems to have its own parts."""
    inside = [names for name in folders if (names := set(_folders(root / name)))]
    shared = sorted(set.intersection(*inside)) if len(inside) > 1 else []
    if len(shared) > 1 or any(role_of(name) for name in shared):
        raise DataError(
            f"expected a folder for each class in {root}, got folders that hold the same folders "
            f"({', '.join(shared[:3])}{' and others' if len(shared) > 3 else ''}): are {', '.join(folders[:3])} parts "
            "of the data? give the one to train on, or name it train"
        )


def _tree(root: Path, folders: Mapping[str, str | None]) -> ImageTree:
    """Every image below the folder of each class, at any depth; a class without a folder has none."""
    left: Counter[str] = Counter(_reason(entry) for entry in _entries(root) if not entry.is_dir())
    by_class = [sorted(_images_below(root / name, set(), left)) if name else [] for name in folders.values()]
    files = tuple(file for of_class in by_class for file in of_class)
    labels = np.repeat(np.arange(len(folders), dtype=np.int64), [len(of_class) for of_class in by_class])
    return ImageTree(root, files, labels, tuple(printable(name) for name in folders), dict(left.most_common()))


def _reason(entry: os.DirEntry[str]) -> str:
    """Why a file next to the class folders, or in them, is skipped."""
    if not (entry.is_file() or entry.is_symlink()):
        return "not a regular file"
    if _is_image(entry):
        return "in no class folder"
    return printable(Path(entry.name).suffix.lower()) or "no ending"


def _folders(root: Path) -> list[str]:
    return sorted(entry.name for entry in _entries(root) if entry.is_dir())


def _images_below(folder: Path, seen: set[str], left: Counter[str]) -> Iterator[Path]:
    place = os.path.realpath(folder)  # a link to a folder above would never end
    if place in seen:
        return
    seen.add(place)
    for entry in _entries(folder):
        if entry.is_dir():
            yield from _images_below(Path(entry.path), seen, left)
        elif _is_image(entry) and (entry.is_file() or entry.is_symlink()):  # a link to nothing is an image that is lost
            yield Path(entry.path)
        else:
            left[_reason(entry)] += 1


def _is_image(entry: os.DirEntry[str]) -> bool:
    return Path(entry.name).suffix.lower() in _SUFFIXES


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Everything in the folder that is not hidden."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the folder {folder}: {getattr(error, 'strerror', None) or error}") from None
