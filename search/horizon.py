"""From scores at the rungs to the score at the horizon, the length for which constants are recommended.

Symbols: n trainings, k rungs, N points of the triangle.
    lengths  (k,)    images seen at each rung, shortest first
    values   (n, k)  scores on a scale on which they are linear in log length; larger is better
    x        (k,)    log2 of the lengths: one unit is a doubling
    level    (n,)    value of a training's line at the centre of the rungs
    slope    (n,)    rise of its line per doubling

Each training has a line ``level + slope * (x - centre)``: a power law of its error rate or loss. Levels and slopes of
neighbouring networks are alike, so one surface is fitted to each, and the surface at the horizon is
``level surface + reach * slope surface`` with ``reach`` the doublings from the centre. Its variance is the sum of both,
so it widens with the distance by itself. Weighted by the noise of each rung, level and slope of a training have
independent errors. Trainings of one network count once, by their mean: they share the effect of rounding on that
network, which repetition does not average out.

No real network keeps its power law for ever. Beyond the longest rung the slope of each corner of the triangle may
change by a fifth (one standard deviation) of the mean slope, and that of other points in proportion.

Sources: Hestness et al. 2017, "Deep learning scaling is predictable, empirically" (power laws of the error);
Alabdulmohsin et al. 2023, arXiv 2305.13035 (the best shape moves with compute).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from search.aggregation import merge_places
from search.scaling import Array
from search.surface import Calibration, Model, Surface, fit_surface

_BEND = 0.2
"""Standard deviation of the change of a corner's slope, as a part of the mean slope: from the lattice of CIFAR-10
(``benchmarks/bench_horizon.py``), where rungs up to 40,000 images seen predict 160,000."""
_LEAST_ERROR = 5e-4
"""Smaller error rates count as this: half an image of a thousand."""
_KEPT_AT_MOST = 300
"""With more values no surface is kept: at 1,000 values each would take some 100 MiB."""
_ENOUGH_FOR_NOISE = 12
"""With fewer trainings, every rung has the same weight."""


class Fitted(Protocol):
    """What a recommendation needs of a surface; values are larger where they are better."""

    @property
    def models(self) -> tuple[Model, ...]: ...

    @property
    def noise(self) -> float: ...

    @property
    def network_effect(self) -> float: ...

    @property
    def seed_effect(self) -> float: ...

    @property
    def calibration(self) -> Calibration: ...

    def means(self, shares: Array) -> Array: ...

    def predict(self, shares: Array) -> tuple[Array, Array]: ...

    def moments(self, shares: Array) -> tuple[Array, Array]: ...

    def draws(self, shares: Array, count: int, seed: int) -> Array: ...


@dataclass(frozen=True)
class Scale:
    """Scores as values that are linear in log length, where larger is better."""

    kind: str
    """``log error`` (of a score that is 1 at best), ``log loss`` (0 at best), or ``score``."""
    sign: float
    """For the kind ``score``: 1 if larger scores are better, else -1."""

    def to_values(self, scores: Array) -> Array:
        """Values of scores of any shape."""
        if self.kind == "log error":
            return np.asarray(-np.log(np.maximum(1 - scores, _LEAST_ERROR)))
        if self.kind == "log loss":
            return np.asarray(-np.log(np.maximum(scores, 1e-300)))
        return self.sign * scores

    def to_scores(self, values: Array) -> Array:
        """Scores of values of any shape."""
        if self.kind == "log error":
            return np.asarray(1 - np.exp(-values))
        return np.asarray(np.exp(-values)) if self.kind == "log loss" else self.sign * values

    def slope(self, values: Array) -> Array:
        """How fast the score changes with the value, always positive."""
        return np.ones_like(values) if self.kind == "score" else np.exp(-values)

    @property
    def better(self) -> float:
        """1 where larger scores are better, -1 where smaller ones are."""
        return -1.0 if self.kind == "log loss" else self.sign


def plain_scale(direction: str) -> Scale:
    """The scores as they are, with the sign that makes larger ones better."""
    return Scale("score", 1.0 if direction == "maximize" else -1.0)


def law_scale(scores: Array, direction: str, score_name: str) -> Scale:
    """The scale of the power law: the error rate for an accuracy, the loss if all are above 0, else the plain score."""
    if score_name == "accuracy" and direction == "maximize" and scores.max() <= 1:
        return Scale("log error", 1.0)
    if direction == "minimize" and scores.min() > 0:
        return Scale("log loss", -1.0)
    return plain_scale(direction)


@functools.lru_cache(maxsize=16)
def _kept(shares: bytes, values: bytes, counting_error: float | None) -> Surface:
    return fit_surface(np.frombuffer(shares).reshape(-1, 3), np.frombuffer(values), counting_error)


def fit(shares: Array, values: Array, counting_error: float | None = None) -> Surface:
    """The surface of values (n,) at shares (n, 3); the last small ones are kept, since several parts ask for them.

    With many networks, those that lie close together count as one.
    """
    shares = merge_places(shares)
    if len(values) > _KEPT_AT_MOST:
        return fit_surface(shares, values, counting_error)
    return _kept(np.ascontiguousarray(shares).tobytes(), np.ascontiguousarray(values).tobytes(), counting_error)


@dataclass(frozen=True)
class LineSurface:
    """The surface at a length some doublings from the centre of the rungs."""

    level: Fitted
    slope: Fitted
    reach: float
    """Doublings from the centre of the rungs."""
    bend: float = 0.0
    """Standard deviation of the value at a corner from its line."""

    @property
    def models(self) -> tuple[Model, ...]:
        """The models of the levels, heaviest first."""
        return self.level.models

    @property
    def noise(self) -> float:
        """Standard deviation of one training's value there."""
        return math.hypot(self.level.noise, self.reach * self.slope.noise)

    @property
    def network_effect(self) -> float:
        """Standard deviation of a network from the surface there."""
        return math.hypot(self.level.network_effect, self.reach * self.slope.network_effect)

    @property
    def seed_effect(self) -> float:
        """Standard deviation of the common effect of one seed on all values there."""
        return math.hypot(self.level.seed_effect, self.reach * self.slope.seed_effect)

    @property
    def calibration(self) -> Calibration:
        """Of the levels."""
        return self.level.calibration

    def means(self, shares: Array) -> Array:
        """Expected value at shares (N, 3)."""
        return self.level.means(shares) + self.reach * self.slope.means(shares)

    def predict(self, shares: Array) -> tuple[Array, Array]:
        """Expected value and its standard deviation."""
        (level, level_deviation), (slope, slope_deviation) = self.level.predict(shares), self.slope.predict(shares)
        lines = np.hypot(level_deviation, self.reach * slope_deviation)
        return level + self.reach * slope, np.hypot(lines, self.bend * np.linalg.norm(shares, axis=1))

    def moments(self, shares: Array) -> tuple[Array, Array]:
        """Expected value (N,) and covariance (N, N)."""
        (level, level_spread), (slope, slope_spread) = self.level.moments(shares), self.slope.moments(shares)
        bends = self.bend**2 * shares @ shares.T
        return level + self.reach * slope, level_spread + self.reach**2 * slope_spread + bends

    def draws(self, shares: Array, count: int, seed: int) -> Array:
        """``count`` surfaces from the posterior, (count, N)."""
        generator = np.random.default_rng([seed, 1])  # draws are ordered by model; shuffled, pairs are independent
        slopes = generator.permutation(self.slope.draws(shares, count, seed + 1))
        bends = self.bend * generator.standard_normal((count, 3)) @ shares.T
        return self.level.draws(shares, count, seed) + self.reach * slopes + bends


def network_means(groups: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Shares (N, 3) and mean values (N, k) of networks given by shares (3,) and the values of their trainings."""
    return np.array([place for place, _ in groups]), np.array([values.mean(axis=0) for _, values in groups])


def fit_lines(shares: Array, values: Array, lengths: Sequence[int], length: float) -> Fitted:
    """The surface at ``length`` from the values (n, k) of networks at shares (n, 3) at two or more rungs."""
    level, slope, centre = line_parts(shares, values, lengths)
    beyond = max(0.0, math.log2(length / lengths[-1]))
    bend = _BEND * abs(float(slope.mean())) * beyond
    return LineSurface(fit(shares, level), fit(shares, slope), math.log2(length) - centre, bend)


def line_parts(shares: Array, values: Array, lengths: Sequence[int]) -> tuple[Array, Array, float]:
    """Level and slope of every training's line, (n,) each, and the centre of the rungs in doublings."""
    x = np.log2(np.asarray(lengths, dtype=float))
    weights = 1 / rung_noise(shares, values) ** 2
    weights /= weights.sum()
    centre = float(weights @ x)
    off = weights * (x - centre)
    return values @ weights, values @ off / float(off @ (x - centre)), centre


def rung_noise(shares: Array, values: Array) -> Array:
    """Standard deviation of one training at each rung, (k,), up to a factor: the residual of a quadratic in the shares.
    Near the ceiling of a score the last rungs are the noisiest, and count less. All are 1 with few trainings.
    """
    if len(values) < _ENOUGH_FOR_NOISE:
        return np.ones(values.shape[1])
    pairs = np.triu_indices(3)
    design = shares[:, pairs[0]] * shares[:, pairs[1]]  # Scheffe's quadratic: products of two shares
    residuals = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    spread = np.median(np.abs(residuals), axis=0)
    return np.asarray(np.maximum(spread, 1e-3 * max(float(spread.max()), 1e-12)))
