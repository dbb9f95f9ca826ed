"""Landscapes recorded from real trainings (``landscapes/*.csv``): at one length, or at several rungs."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.random_landscapes import Array, Heights, RandomLandscape, fine_lattice, scaled

_FOLDER = Path(__file__).parent / "landscapes"
_SMOOTHINGS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_KEY = ("depth", "width", "resolution", "seed")


@dataclass(frozen=True)
class RungLandscape:
    """Accuracy of networks of one cost at several lengths of training."""

    lengths: tuple[int, ...]
    """Images seen at each rung, shortest first."""
    heights: tuple[Heights, ...]
    """Per rung: accuracy at shares (n, 3)."""
    residuals: Array
    """(trainings, rungs): what each recorded training left of its network's mean, scaled to the noise of one."""
    misfit: Array
    """(rungs,): root mean square by which the surface misses the networks' means."""

    def best(self) -> tuple[float, float]:
        """Highest accuracy of the last rung and its range over the triangle."""
        values = self.heights[-1](fine_lattice(200))
        return float(values.max()), float(np.ptp(values))


def recorded_landscape(name: str) -> RandomLandscape:
    """Mean scores of real networks by their realised shares, smoothed, with normal noise, and a range of 1."""
    with (_FOLDER / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    points = np.array([[float(row["share_depth"]), float(row["share_width"])] for row in rows])
    scores = np.array([float(row["mean"]) for row in rows])
    return RandomLandscape(
        name, scaled(_smoothed(points, scores)), lambda shares, draw: draw.standard_normal(len(shares))
    )


def recorded_rungs(names: Iterable[str]) -> RungLandscape:
    """A landscape of rungs from files of ``benchmarks.bench_horizon``; several hold other rungs of the same trainings.

    Raises ``ValueError`` where they hold other trainings.
    """
    joined: dict[tuple[str, ...], dict[int, float]] = {}
    for name in names:
        with (_FOLDER / f"{name}.csv").open(newline="") as file:
            rows = {tuple(row[part] for part in _KEY): row for row in csv.DictReader(file)}
        if joined and rows.keys() != joined.keys():
            raise ValueError(f"expected the same trainings in all files, got others in {name}")
        for key, row in rows.items():
            found = {int(part.split()[1]): float(text) for part, text in row.items() if part.startswith("accuracy ")}
            joined.setdefault(key, {}).update(found)
    lengths = tuple(sorted(next(iter(joined.values()))))
    shares = np.array([[float(part) for part in key[:2]] for key in joined])
    accuracy = np.array([[scores[length] for length in lengths] for scores in joined.values()])
    places, network, counts = np.unique(shares, axis=0, return_inverse=True, return_counts=True)
    means = np.array([accuracy[network == index].mean(axis=0) for index in range(len(places))])
    heights = tuple(_smoothed(places, column) for column in means.T)
    misfit = means - np.stack([surface(places) for surface in heights], axis=1)
    if counts.min() > 1:
        residuals = (accuracy - means[network]) * np.sqrt(counts / (counts - 1))[network, None]
    else:  # one training a network: what the surface leaves, which holds its misfit too
        residuals = misfit
    return RungLandscape(lengths, heights, residuals, np.sqrt(np.mean(misfit**2, axis=0)))


def _smoothed(points: Array, scores: Array) -> Heights:
    """A thin-plate spline of the scores (n,) at depth and width shares (n, 2).

    The means are noisy, and a surface through all of them would be rugged by chance; the smoothing is the one that
    predicts left-out networks best. A spline is none of the models that phiscale recommends from.
    """
    from scipy.interpolate import RBFInterpolator

    def spline(kept: NDArray[np.bool_], smoothing: float) -> RBFInterpolator:
        return RBFInterpolator(points[kept], scores[kept], kernel="thin_plate_spline", smoothing=smoothing)

    def left_out_error(smoothing: float) -> float:
        errors = []
        for index in range(len(points)):
            others = np.arange(len(points)) != index
            errors.append(float(spline(others, smoothing)(points[[index]])[0]) - scores[index])
        return float(np.mean(np.square(errors)))

    smooth = spline(np.ones(len(points), bool), min(_SMOOTHINGS, key=left_out_error))
    return lambda shares: np.asarray(smooth(shares[:, :2]))
