"""Landscapes over the triangle of shares, in closed form or recorded, scaled so that their range on it is 1.

Fixed before any method was measured on them: an interior, an edge and a corner optimum (quadratic with unequal
curvatures), a non-quadratic one (a skewed, saturating product as of diminishing returns), and two ridges whose tops are
almost equal.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ClosedForm:
    """One landscape: raw height over shares (n, 3), and its extremes on a fine lattice."""

    name: str
    interior: bool
    """Whether the optimum lies inside the triangle."""
    raw: Callable[[Array], Array]

    def scores(self, shares: Array) -> Array:
        """Heights scaled to 0 .. 1 over the triangle, (n,)."""
        low, high = _extremes(self)
        return (self.raw(np.atleast_2d(shares)) - low) / (high - low)


_cache: dict[str, tuple[float, float]] = {}


def _extremes(form: ClosedForm) -> tuple[float, float]:
    if form.name not in _cache:
        heights = form.raw(fine_lattice(400))
        _cache[form.name] = (float(heights.min()), float(heights.max()))
    return _cache[form.name]


def fine_lattice(steps: int) -> Array:
    """All shares that are multiples of 1 / steps, (n, 3)."""
    i, j = np.meshgrid(np.arange(steps + 1), np.arange(steps + 1), indexing="ij")
    inside = i + j <= steps
    depth, width = i[inside] / steps, j[inside] / steps
    return np.stack([depth, width, np.maximum(0.0, 1 - depth - width)], axis=1)


def _bowl(optimum: tuple[float, float, float], curvatures: tuple[float, float, float]) -> Callable[[Array], Array]:
    centre, weights = np.array(optimum), np.array(curvatures)
    return lambda shares: -((shares - centre) ** 2 * weights).sum(axis=1)


def _returns(shares: Array) -> Array:
    """Diminishing returns of each axis, multiplied: steep where an axis gets nothing, flat near the top."""
    gains = 1 - np.exp(-shares / np.array([0.12, 0.25, 0.18]))
    return np.asarray(np.log(0.05 + gains).sum(axis=1))


def _ridges(shares: Array) -> Array:
    """Two ridges from the middle of an edge inwards; the second is 2 % lower."""
    first = ((shares - np.array([0.15, 0.6, 0.25])) ** 2 * np.array([1.0, 6.0, 3.0])).sum(axis=1)
    second = ((shares - np.array([0.6, 0.1, 0.3])) ** 2 * np.array([6.0, 3.0, 1.0])).sum(axis=1)
    return np.asarray(np.maximum(np.exp(-first / 0.25), 0.98 * np.exp(-second / 0.25)))


_RECORDED = Path(__file__).parent / "landscapes"


def all_landscapes() -> dict[str, ClosedForm]:
    """Every landscape by name: the closed forms, and those recorded from real trainings in ``landscapes/*.csv``."""
    paths = (path for path in sorted(_RECORDED.glob("*.csv")) if not path.stem.endswith("-rungs"))  # bench_horizon's
    recorded = map(recorded_landscape, paths)
    return {form.name: form for form in (*CLOSED_FORMS, *recorded)}


def recorded_landscape(path: Path) -> ClosedForm:
    """Mean scores of real networks by their realised shares, smoothed by a thin-plate spline.

    The means are noisy, and a surface through all of them would be rugged by chance; the smoothing is the one that
    foretells left-out networks best. A spline is none of the models that phiscale recommends from.
    """
    from scipy.interpolate import RBFInterpolator

    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    points = np.array([[float(row["share_depth"]), float(row["share_width"])] for row in rows])
    scores = np.array([float(row["mean"]) for row in rows])

    def spline(kept: NDArray[np.bool_], smoothing: float) -> RBFInterpolator:
        return RBFInterpolator(points[kept], scores[kept], kernel="thin_plate_spline", smoothing=smoothing)

    def left_out_error(smoothing: float) -> float:
        errors = []
        for index in range(len(rows)):
            others = np.arange(len(rows)) != index
            errors.append(float(spline(others, smoothing)(points[[index]])[0]) - scores[index])
        return float(np.mean(np.square(errors)))

    smoothing = min((0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0), key=left_out_error)
    smooth = spline(np.ones(len(rows), bool), smoothing)
    fine = fine_lattice(100)
    best = fine[int(np.argmax(smooth(fine[:, :2])))]
    return ClosedForm(path.stem, bool(best.min() > 0.02), lambda shares: np.asarray(smooth(shares[:, :2])))


CLOSED_FORMS = (
    ClosedForm("interior", True, _bowl((0.28, 0.29, 0.43), (1.0, 2.0, 1.0))),
    ClosedForm("edge", False, _bowl((-0.05, 0.45, 0.6), (1.0, 1.0, 1.5))),
    ClosedForm("corner", False, _bowl((-0.2, 1.3, -0.1), (1.0, 1.0, 1.0))),
    ClosedForm("returns", True, _returns),
    ClosedForm("ridges", True, _ridges),
)
"""All landscapes."""
