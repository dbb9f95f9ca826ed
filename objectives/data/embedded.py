"""The embedded image set: drawn from a fixed grammar in a fraction of a second, so that a search needs no download.

It is synthetic and its best constants lie inside the triangle by construction: it shows that a search works, and
says nothing about photographs. Fourteen classes of two families share one softmax.

- Layouts: a class is an arrangement of 2 x 2 symbols, a symbol one of two arrangements of 2 x 2 oriented gratings.
  To tell the six apart, a network must combine parts twice: depth.
- Figures: a lobed figure, slightly brighter than its ground, is filled with a fine grating of one of eight
  orientations, and the ground with another. The orientation inside the figure is the class. Below about 28 pixels a
  side the gratings disappear (resolution), and many of them must be told apart at every place (width).

No augmentation keeps the labels. A flip turns one orientation into another, and so does the border that a shift
reflects into the image. Random hierarchies: Cagnetta et al. 2024 (arXiv 2307.02129).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from objectives.data.imageset import Images, ImageSet, Labels

SIDE = 32
"""Side of the images, in pixels."""
CLASSES = tuple(f"layout-{index}" for index in range(6)) + tuple(f"figure-{index}" for index in range(8))

_GRAMMAR_SEED = 31
_LAYOUTS, _FIGURES = 6, 8
_SYMBOLS, _RULES = 8, 2
_ORIENTATIONS, _COARSE_CYCLES = 4, (5.0, 9.0)
_FINE_CYCLES = 13.5
_CELL = SIDE // 4
_SHIFT = 4
_NOISE = 0.1

_TURN = 4096
"""Phases are whole parts of a turn: integers make the same images on every machine."""
_WAVE = np.cos(2 * np.pi * np.arange(_TURN) / _TURN).astype(np.float32)
_SEARCH_STREAM, _TEST_STREAM = 0, 1

_Ints = npt.NDArray[np.int32]
_Floats = npt.NDArray[np.float32]


EMBEDDED = "embedded"
"""What the set is called on the command line and in records."""


def load_embedded(*, train_images: int | None = None, validation_images: int = 1500, seed: int = 0) -> ImageSet:
    """The embedded set with as many images as asked for (None: 6000 to train on), in equal parts of all classes."""
    train = 6000 if train_images is None else train_images
    images, labels = draw_images(train + validation_images, seed=seed, stream=_SEARCH_STREAM)
    return ImageSet(
        name=EMBEDDED,
        train_images=images[:train],
        train_labels=labels[:train],
        validation_images=images[train:],
        validation_labels=labels[train:],
        classes=CLASSES,
        augmentations=frozenset(),
        epoch_images=train,
    )


def embedded_test_part(images: int, *, seed: int = 0) -> tuple[Images, Labels]:
    """Images of the same grammar that no search is given."""
    return draw_images(images, seed=seed, stream=_TEST_STREAM)


def draw_images(count: int, *, seed: int, stream: int) -> tuple[Images, Labels]:
    """``count`` images, uint8 (count, 3, 32, 32), and labels, int64 (count,); all classes take turns."""
    generator = np.random.default_rng([_GRAMMAR_SEED, stream, seed])
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    is_layout = labels < _LAYOUTS
    grey = np.empty((count, SIDE, SIDE), np.float32)
    grey[is_layout] = _layouts(labels[is_layout], generator)
    grey[~is_layout] = _figures(labels[~is_layout] - _LAYOUTS, generator)
    grey += _NOISE * generator.standard_normal(grey.shape, dtype=np.float32)
    shades = np.clip(np.rint(grey * 255), 0, 255).astype(np.uint8)
    return np.repeat(shades[:, None], 3, axis=1), labels


def _waves(orientations: int, cycles: tuple[float, ...]) -> tuple[_Ints, _Ints]:
    """Phase per pixel along x and along y of every grating: orientation varies fastest."""
    angles = np.pi * np.arange(orientations) / orientations
    step = np.outer(cycles, _TURN / SIDE * np.exp(1j * angles)).ravel()
    return np.rint(step.real).astype(np.int32), np.rint(step.imag).astype(np.int32)


def _layouts(labels: Labels, generator: np.random.Generator) -> _Floats:
    """Images, (n, 32, 32), of hierarchies: labels -> 2 x 2 symbols -> 4 x 4 gratings."""
    of_class, of_symbol = _grammar()
    count = len(labels)
    symbols = of_class[labels, generator.integers(_RULES, size=count)]
    tiles = of_symbol[symbols, generator.integers(_RULES, size=(count, 2, 2))]
    cells = tiles.transpose(0, 1, 3, 2, 4).reshape(count, 4, 4)
    phases = generator.integers(_TURN, size=(count, 4, 4), dtype=np.int32)
    along_x, along_y = _waves(_ORIENTATIONS, _COARSE_CYCLES)
    rows, columns = _shifted_grid(count, generator)
    cell = rows // _CELL, columns // _CELL
    which = np.arange(count)[:, None, None]
    kind = cells[which, *cell]
    turn = phases[which, *cell] + along_x[kind] * columns + along_y[kind] * rows
    grey: _Floats = np.float32(0.5) + np.float32(0.3) * _WAVE[turn % _TURN]
    return grey


def _shifted_grid(count: int, generator: np.random.Generator) -> tuple[_Ints, _Ints]:
    """Row (n, 32, 1) and column (n, 1, 32) of every pixel after a random shift that wraps around."""
    shifts = generator.integers(-_SHIFT, _SHIFT + 1, size=(2, count, 1), dtype=np.int32)
    rows, columns = (np.arange(SIDE, dtype=np.int32) + shifts) % SIDE
    return rows[:, :, None], columns[:, None, :]


def _grammar() -> tuple[_Ints, _Ints]:
    """Symbols of the classes, (6, 2, 2, 2), and gratings of the symbols, (8, 2, 2, 2): parent, rule, row, column.

    No two parents share a rule, so the images of one level determine the level above.
    """
    generator = np.random.default_rng(_GRAMMAR_SEED)
    kinds = _ORIENTATIONS * len(_COARSE_CYCLES)

    def rules(parents: int, parts: int) -> _Ints:
        numbers = generator.choice(parts**4, size=(parents, _RULES), replace=False)
        digits = numbers[..., None] // parts ** np.arange(4) % parts
        return digits.reshape(parents, _RULES, 2, 2).astype(np.int32)

    return rules(_LAYOUTS, _SYMBOLS), rules(_SYMBOLS, kinds)


def _figures(labels: Labels, generator: np.random.Generator) -> _Floats:
    """Images, (n, 32, 32), of lobed figures; the grating inside has the label's orientation, outside another."""
    count = len(labels)
    along_x, along_y = _waves(_FIGURES, (_FINE_CYCLES,))
    other = (labels + generator.integers(1, _FIGURES, size=count)) % _FIGURES
    inside = _lobed_masks(count, generator)
    kind = np.where(inside, labels[:, None, None], other[:, None, None])
    phases = generator.integers(_TURN, size=(2, count, 1, 1), dtype=np.int32)
    rows, columns = np.indices((SIDE, SIDE), dtype=np.int32)
    turn = np.where(inside, *phases) + along_x[kind] * columns + along_y[kind] * rows
    grey: _Floats = np.float32(0.45) + np.float32(0.08) * inside + np.float32(0.3) * _WAVE[turn % _TURN]
    return grey


def _lobed_masks(count: int, generator: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Inside or not, (n, 32, 32), of figures of 2 to 4 lobes around a random centre."""
    centres = generator.integers(11, SIDE - 11, size=(2, count, 1, 1), dtype=np.int32, endpoint=True)
    lobes = generator.integers(2, 5, size=(count, 1, 1), dtype=np.int32)
    turns = generator.integers(_TURN, size=(count, 1, 1), dtype=np.int32)
    offsets = np.indices((2 * SIDE, 2 * SIDE), dtype=np.int32) - SIDE
    angle = np.rint(np.arctan2(*offsets) * (_TURN / (2 * np.pi))).astype(np.int32)
    radius = np.hypot(*offsets).astype(np.float32)
    rows, columns = np.indices((SIDE, SIDE), dtype=np.int32)
    at = rows - centres[0] + SIDE, columns - centres[1] + SIDE
    inside: npt.NDArray[np.bool_] = radius[at] < 8 + 3 * _WAVE[(lobes * angle[at] + turns) % _TURN]
    return inside
