"""Landscapes recorded from real trainings (``landscapes/*.csv``), scaled so that their range on the triangle is 1."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.random_landscapes import Array, RandomLandscape, scaled

_FOLDER = Path(__file__).parent / "landscapes"
_SMOOTHINGS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def recorded_landscape(name: str) -> RandomLandscape:
    """Mean scores of real networks by their realised shares, smoothed by a thin-plate spline, with normal noise.

    The means are noisy, and a surface through all of them would be rugged by chance; the smoothing is the one that
    predicts left-out networks best. A spline is none of the models that phiscale recommends from.
    """
    from scipy.interpolate import RBFInterpolator

    with (_FOLDER / f"{name}.csv").open(newline="") as file:
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

    smooth = spline(np.ones(len(rows), bool), min(_SMOOTHINGS, key=left_out_error))

    def raw(shares: Array) -> Array:
        return np.asarray(smooth(shares[:, :2]))

    return RandomLandscape(name, scaled(raw), lambda shares, draw: draw.standard_normal(len(shares)))
