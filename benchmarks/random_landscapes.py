"""Random landscapes over the triangle of shares, of many kinds, in two sets: one to choose a method by, one to report.

A landscape has a range of 1 over the triangle, so noise and regret are parts of the range; a flat one is 0 everywhere.
The two sets share the kinds and no landscape: ``draw_landscape("choose", ...)`` and ``("report", ...)`` draw from
different random numbers. Kinds:

    smooth, wavy, rough   draws of a Gaussian process with length-scales of 1, 0.5 and 0.25 (sides of the triangle: 1.4)
    power                 power laws of each axis with interactions of two
    cliff                 a smooth hill, cut off beyond some share of one axis
    edge                  a ridge whose top lies on an edge
    corner                an optimum at a distance of 0.03 to 0.15 from a corner
    steps                 a smooth hill on a staircase, as networks that are rounded to whole blocks and channels
    uneven                a smooth hill whose noise grows threefold with the distance from the top
    heavy                 a smooth hill with noise of Student's t with 3 degrees of freedom
    flat                  nothing but noise

Source of the draws: Rahimi & Recht 2007, "Random features for large-scale kernel machines".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Heights = Callable[[Array], Array]

KINDS = ("smooth", "wavy", "rough", "power", "cliff", "edge", "corner", "steps", "uneven", "heavy", "flat")
_SETS = {"choose": 1, "report": 2}
_FEATURES = 400
_STEP_HEIGHT = 0.04
"""Standard deviation of a step of the staircase, as a part of the range of the smooth hill."""


@dataclass(frozen=True)
class RandomLandscape:
    """One landscape and the noise of its measurements."""

    kind: str
    heights: Heights
    """Heights in 0 .. 1 at shares (n, 3)."""
    noise: Callable[[Array, np.random.Generator], Array]
    """Draws noise of one evaluation at shares (n, 3), as multiples of the noise level."""


def draw_landscape(part: Literal["choose", "report"], kind: str, number: int) -> RandomLandscape:
    """The landscape of that kind and number in one of the two sets."""
    generator = np.random.default_rng([_SETS[part], KINDS.index(kind), number])
    heights = scaled(_RAW[kind](generator))
    points = fine_lattice(100)
    top = points[int(np.argmax(heights(points)))]

    def noise(shares: Array, draw: np.random.Generator) -> Array:
        if kind == "heavy":
            return np.asarray(draw.standard_t(3, len(shares)) / np.sqrt(3))
        grown = 1 + 2 * np.linalg.norm(shares - top, axis=1) if kind == "uneven" else 1.0
        return np.asarray(draw.standard_normal(len(shares)) * grown)

    return RandomLandscape(kind, heights, noise)


def scaled(raw: Heights) -> Heights:
    """The same heights from 0 to 1 over the triangle; 0 where they are all equal."""
    fine = raw(fine_lattice(100))
    low, spread = float(fine.min()), float(np.ptp(fine)) or 1.0
    return lambda shares: np.asarray((raw(np.atleast_2d(shares)) - low) / spread)


def fine_lattice(steps: int) -> Array:
    """All shares that are multiples of 1 / steps, (n, 3)."""
    i, j = np.meshgrid(np.arange(steps + 1), np.arange(steps + 1), indexing="ij")
    inside = i + j <= steps
    depth, width = i[inside] / steps, j[inside] / steps
    return np.stack([depth, width, np.maximum(0.0, 1 - depth - width)], axis=1)


def _process(length_scale: float) -> Callable[[np.random.Generator], Heights]:
    def draw(generator: np.random.Generator) -> Heights:
        frequencies = generator.standard_normal((_FEATURES, 3)) / length_scale
        phases = generator.uniform(0, 2 * np.pi, _FEATURES)
        heights = generator.standard_normal(_FEATURES)
        return lambda shares: np.asarray(np.cos(shares @ frequencies.T + phases) @ heights)

    return draw


def _hill(generator: np.random.Generator) -> Heights:
    """A quadratic hill with unequal curvatures, skewed by a weak random process."""
    optimum = generator.dirichlet((2.0, 2.0, 2.0))
    return _hill_at(generator, optimum)


def _hill_at(generator: np.random.Generator, optimum: Array, skew: float = 0.1) -> Heights:
    curvatures = generator.uniform(0.5, 2.0, 3)
    bends = _process(0.8)(generator)
    return lambda shares: (
        -((shares - optimum) ** 2 * curvatures).sum(axis=1) + skew * bends(shares) / np.sqrt(_FEATURES / 2)
    )


def _power(generator: np.random.Generator) -> Heights:
    gains, rates = generator.dirichlet((3.0, 3.0, 3.0)), generator.uniform(1.0, 15.0, 3)
    exponents, pairs = generator.uniform(0.3, 2.0, 3), generator.normal(0, 0.3, 3)

    def heights(shares: Array) -> Array:
        falls = ((1 + rates * shares) ** -exponents) @ gains
        products = shares[:, [0, 0, 1]] * shares[:, [1, 2, 2]]
        return np.asarray(-falls + products @ pairs)

    return heights


def _cliff(generator: np.random.Generator) -> Heights:
    hill, axis = _hill(generator), generator.integers(3)
    edge, depth = generator.uniform(0.5, 0.8), generator.uniform(0.5, 3.0)
    return lambda shares: hill(shares) - depth / (1 + np.exp(-(shares[:, axis] - edge) / 0.02))


def _edge(generator: np.random.Generator) -> Heights:
    along, optimum = generator.uniform(0.2, 0.8), np.zeros(3)
    first, second, off = generator.permutation(3)
    optimum[[first, second, off]] = along, 1 - along, -generator.uniform(0.0, 0.3)
    steep, gentle = generator.uniform(1.0, 3.0), generator.uniform(0.05, 0.3)
    return lambda shares: (
        -steep * (shares[:, off] - optimum[off]) ** 2 - gentle * (shares[:, first] - optimum[first]) ** 2
    )


def _corner(generator: np.random.Generator) -> Heights:
    away = generator.uniform(0.03, 0.15) * generator.dirichlet((1.0, 1.0))
    optimum = np.empty(3)
    optimum[generator.permutation(3)] = 1 - away.sum(), away[0], away[1]
    return _hill_at(generator, optimum, skew=0.0)


def _steps(generator: np.random.Generator) -> Heights:
    hill = _hill(generator)
    counts = generator.integers(8, 20, 2)
    height = _STEP_HEIGHT * float(np.ptp(hill(fine_lattice(40))))
    effects = generator.standard_normal((counts[0] + 1, counts[1] + 1)) * height

    def heights(shares: Array) -> Array:
        cells = np.round(shares[:, :2] * counts).astype(int)
        return np.asarray(hill(shares) + effects[cells[:, 0], cells[:, 1]])

    return heights


def _flat(_: np.random.Generator) -> Heights:
    return lambda shares: np.zeros(len(shares))


_RAW: dict[str, Callable[[np.random.Generator], Heights]] = {
    "smooth": _process(1.0),
    "wavy": _process(0.5),
    "rough": _process(0.25),
    "power": _power,
    "cliff": _cliff,
    "edge": _edge,
    "corner": _corner,
    "steps": _steps,
    "uneven": _hill,
    "heavy": _hill,
    "flat": _flat,
}
