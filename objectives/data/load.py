"""Images for a search, from one word on the command line: ``embedded``, a folder, or an .npz file.

The search splits the training part and reads no other image. The test part is for the confirmation afterwards.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from objectives.data.arrays import read_arrays, read_test_arrays
from objectives.data.decode import Decoded, decode_files, most_in_memory
from objectives.data.embedded import EMBEDDED, embedded_test_part, load_embedded
from objectives.data.folder import ImageTree, test_tree, training_tree
from objectives.data.imageset import (
    VALIDATION_PART,
    Images,
    ImageSet,
    Indices,
    Labels,
    Split,
    check_content,
    shape_notes,
    split_labels,
)
from objectives.data.picture import Ranges
from phiscale import checks
from phiscale.errors import DataError, SettingsError
from phiscale.text import printable

_KEPT_PART, _FEWEST_KEPT, _MOST_KEPT = 10, 10, 5000
"""A tenth of the images, 10 to 5,000, is kept for a confirmation where the data has no test part."""


def load_data(
    source: str | Path | None = None,
    *,
    train_images: int | None = None,
    validation_images: int = 1500,
    seed: int = 0,
    side: int | None = None,
    cache: str | Path | None = None,
) -> ImageSet:
    """The images of ``source``, split by ``seed`` into a training and a validation part with all classes in proportion.

    ``source`` is ``embedded`` (or None), a folder (see ``load_image_folder``) or an .npz file (see ``load_npz``);
    ``train_images`` of None takes all there are, up to what an eighth of the memory holds. Without a test part a tenth,
    10 to 5,000 images, is kept for ``load_test_part``. Raises ``DataError``, and ``SettingsError`` for an impossible
    number.
    """
    _check_sizes(train_images, validation_images, seed, side)
    if source is None or source == EMBEDDED:
        return load_embedded(train_images=train_images, validation_images=validation_images, seed=seed)
    path = Path(source)
    if _is_archive(path):
        return load_npz(path, train_images=train_images, validation_images=validation_images, seed=seed, side=side)
    return load_image_folder(
        path, train_images=train_images, validation_images=validation_images, seed=seed, side=side, cache=cache
    )


def load_image_folder(
    path: str | Path,
    *,
    train_images: int | None = None,
    validation_images: int = 1500,
    seed: int = 0,
    side: int | None = None,
    cache: str | Path | None = None,
) -> ImageSet:
    """An ImageFolder tree: ``path/train/<class>/...`` or ``path/<class>/...``; no image next to ``train`` is read.

    Only the images that are used are decoded, to ``side`` pixels (default: the commonest shorter side, at most 256),
    once: ``cache`` (default ``~/.cache/phiscale``) keeps them. Flips and shifts count as keeping the labels.
    """
    tree = training_tree(Path(path))
    kept = 0 if train_images is not None else _kept(len(tree.files), test_tree(Path(path), tree.classes) is not None)
    split = _split_tree(tree, train_images, validation_images, seed, side, kept)
    chosen = np.sort(np.concatenate((split.train, split.validation)))
    decoded = _decoded(tree, chosen, side, cache)
    check_content(str(tree.root), images := decoded.images)
    train, validation = np.searchsorted(chosen, split.train), np.searchsorted(chosen, split.validation)
    notes, warnings = shape_notes(decoded.sizes)
    kept_notes, (left_notes, left_warnings) = _kept_notes(kept), _left_alone(tree)
    return ImageSet(
        name=_name(path),
        train_images=images[train],
        train_labels=tree.labels[split.train],
        validation_images=images[validation],
        validation_labels=tree.labels[split.validation],
        classes=tree.classes,
        epoch_images=len(tree.labels),
        notes=(*kept_notes, *notes, *decoded.ranges.describe(), *left_notes),
        warnings=(*warnings, *left_warnings),
        ranges=decoded.ranges,
    )


def _left_alone(tree: ImageTree) -> tuple[list[str], list[str]]:
    """Notes and warnings on the files that are not read."""
    total = sum(tree.left_alone.values())
    if not total:
        return [], []
    most = ", ".join(f"{count:,} {reason}" for reason, count in list(tree.left_alone.items())[:4])
    text = f"{total:,} file{'s' if total > 1 else ''} skipped ({most}{', ...' if len(tree.left_alone) > 4 else ''})"
    return ([text], []) if total <= len(tree.files) // 10 else ([], [f"{text} next to {len(tree.files):,} images"])


def _name(path: str | Path) -> str:
    return printable(Path(path).resolve().name)


def _kept(images: int, has_test: bool) -> int:
    """How many of all images are kept for a confirmation; none if there is a test part."""
    tenth = images // _KEPT_PART
    return 0 if has_test or tenth < _FEWEST_KEPT else min(tenth, _MOST_KEPT)


def _kept_notes(kept: int) -> list[str]:
    return [f"{kept:,} kept for phiscale confirm"] if kept else []


def _split_tree(
    tree: ImageTree, train_images: int | None, validation_images: int, seed: int, side: int | None, kept: int
) -> Split:
    """The split of a folder; where all images are asked for, as many as the memory holds, but for ``kept``."""
    if train_images is None:
        most = min(most_in_memory(tree.files, side), len(tree.files) - kept)
        train_images = _but_for(len(tree.files) - most, tree.labels, tree.classes, validation_images)
    return _split(tree.labels, tree.classes, train_images, validation_images, seed)


def _but_for(left_out: int, labels: Labels, classes: tuple[str, ...], validation_images: int) -> int | None:
    """Training images so that so many images stay unused; None for all."""
    if not left_out:
        return None
    scored = min(validation_images, len(labels) // VALIDATION_PART)
    return max(len(classes), len(labels) - left_out - scored)


def load_npz(
    path: str | Path,
    *,
    train_images: int | None = None,
    validation_images: int = 1500,
    seed: int = 0,
    side: int | None = None,
) -> ImageSet:
    """The arrays of an .npz file, see ``read_arrays``. Flips and shifts count as keeping the labels."""
    arrays = read_arrays(Path(path), side)
    check_content(str(path), arrays.images)
    notes, warnings = shape_notes(arrays.sizes)
    kept = 0
    if train_images is None:
        kept = _kept(len(arrays.labels), arrays.has_test_part)
        train_images = _but_for(kept, arrays.labels, arrays.classes, validation_images)
    split = _split(arrays.labels, arrays.classes, train_images, validation_images, seed)
    return ImageSet(
        name=_name(path),
        train_images=arrays.images[split.train],
        train_labels=arrays.labels[split.train],
        validation_images=arrays.images[split.validation],
        validation_labels=arrays.labels[split.validation],
        classes=arrays.classes,
        epoch_images=len(arrays.labels),
        notes=(*_kept_notes(kept), *notes, *arrays.notes),
        warnings=tuple(warnings),
    )


def load_test_part(
    source: str | Path | None,
    searched: ImageSet,
    *,
    images: int = 5000,
    train_images: int | None = None,
    validation_images: int = 1500,
    seed: int = 0,
    cache: str | Path | None = None,
) -> ImageSet:
    """The training part of ``searched``, scored on at most ``images`` images that the search has not seen.

    These are fresh embedded images; or ``test/``, ``val/`` or ``validation/`` next to ``train/`` with the same classes;
    ``test_images`` of an .npz file; or else the training images that the search left out, for which the sizes and the
    seed must be those of ``load_data``. Raises ``DataError`` where there are none.
    """
    if source is None or source == EMBEDDED:
        return searched.scored_on(*embedded_test_part(images, seed=seed))
    path, sizes = Path(source), (train_images, validation_images, seed)
    if _is_archive(path):
        pixels, labels = _arrays_test_part(path, searched, images, sizes)
    else:
        pixels, labels = _folder_test_part(path, searched, images, sizes, cache)
    return searched.scored_on(pixels, labels)


def _arrays_test_part(
    path: Path, searched: ImageSet, images: int, sizes: tuple[int | None, int, int]
) -> tuple[Images, Labels]:
    arrays = read_test_arrays(path, searched.resolution)
    if arrays is not None:
        chosen = _some(np.arange(len(arrays.labels)), images, sizes[2])
    else:
        arrays = read_arrays(path, searched.resolution)
        split = _split(arrays.labels, arrays.classes, len(searched.train_labels), *sizes[1:])
        chosen = _spare(path, split, images, sizes[2])
    return arrays.images[chosen], arrays.labels[chosen]


def _folder_test_part(
    path: Path, searched: ImageSet, images: int, sizes: tuple[int | None, int, int], cache: str | Path | None
) -> tuple[Images, Labels]:
    tree = test_tree(path, searched.classes)
    if tree is None:
        tree = training_tree(path)
        split = _split(tree.labels, tree.classes, len(searched.train_labels), *sizes[1:])
        chosen = _spare(path, split, images, sizes[2])
    else:
        chosen = _some(np.arange(len(tree.labels)), images, sizes[2])
    return _decoded(tree, chosen, searched.resolution, cache, searched.ranges).images, tree.labels[chosen]


def _spare(path: Path, split: Split, images: int, seed: int) -> Indices:
    if len(split.spare) == 0:
        raise DataError(
            f"expected images in {path} that the search has not used, got none; "
            "add a test part, or search with fewer training images"
        )
    return _some(split.spare, images, seed)


def _some(indices: Indices, count: int, seed: int) -> Indices:
    if len(indices) <= count:
        return indices
    return np.sort(np.random.default_rng([seed, 2]).choice(indices, count, replace=False))


def _split(
    labels: Labels, classes: tuple[str, ...], train_images: int | None, validation_images: int, seed: int
) -> Split:
    return split_labels(labels, classes, train_images=train_images, validation_images=validation_images, seed=seed)


def _decoded(
    tree: ImageTree, chosen: Indices, side: int | None, cache: str | Path | None, ranges: Ranges | None = None
) -> Decoded:
    files = [tree.files[index] for index in chosen]
    return decode_files(files, side=side, cache=None if cache is None else Path(cache), ranges=ranges)


def _is_archive(path: Path) -> bool:
    """Whether the source is an .npz file; raises ``DataError`` where it is nothing that can be read."""
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the data at {path}: {error}") from None
    if is_folder or (is_file and path.suffix.lower() == ".npz"):
        return is_file
    problem = "a file with another ending" if is_file else "nothing at that path"
    raise DataError(f"expected data of {EMBEDDED}, a folder of images or an .npz file, got {str(path)!r}: {problem}")


def _check_sizes(train_images: int | None, validation_images: int, seed: int, side: int | None) -> None:
    checks.whole("validation_images", validation_images, SettingsError)
    checks.whole("seed", seed, SettingsError, low=0)
    for name, value in (("train_images", train_images), ("side", side)):
        if value is not None:
            checks.whole(name, value, SettingsError)
