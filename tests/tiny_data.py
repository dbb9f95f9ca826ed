"""Images and a network small enough to train inside a test, shared by the tests of objectives."""

from __future__ import annotations

import numpy as np

from objectives.data.imageset import AUGMENTATIONS, ImageSet
from phiscale import NetworkSpec, StageSpec

TINY = NetworkSpec(
    name="tiny",
    resolution=8,
    stem_channels=6,
    stages=(StageSpec(kernel=3, repeats=2, channels=8, expansion=2, stride=2),),
    head_channels=12,
    classes=2,
    dropout=0.0,
    drop_path=0.0,
)


def striped_images(count: int = 128, *, side: int = 8, augmentations: frozenset[str] = AUGMENTATIONS) -> ImageSet:
    """Two classes: stripes along the rows, stripes along the columns; noisy, of any phase."""
    generator = np.random.default_rng(0)
    labels = np.arange(2 * count, dtype=np.int64) % 2
    stripes = (np.arange(side)[None, :] + generator.integers(0, 4, (2 * count, 1))) // 2 % 2
    rows = np.repeat(stripes[:, :, None], side, axis=2)
    pattern = np.where(labels[:, None, None] == 0, rows, rows.transpose(0, 2, 1))
    noisy = 64 + 128 * pattern[:, None] + generator.integers(-40, 40, (2 * count, 3, side, side))
    images = noisy.astype(np.uint8)
    return ImageSet(
        name="stripes",
        train_images=images[:count],
        train_labels=labels[:count],
        validation_images=images[count:],
        validation_labels=labels[count:],
        classes=("rows", "columns"),
        augmentations=augmentations,
    )
