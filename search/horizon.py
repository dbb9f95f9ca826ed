"""From scores at the rungs to the score at the horizon, the length for which constants are recommended.

Symbols: n trainings, k rungs, N points of the triangle.
    lengths  (k,)    images seen at each rung, shortest first
    values   (n, k)  scores on a scale on which they are about linear in log length; larger is better
    slope    (n,)    rise per doubling of the line through a training's rungs, a power law of its error rate or loss

Each training has a value at the horizon, and one surface is fitted to these values. Between two rungs it is
interpolated; beyond the longest it is the value there and the slope for every doubling. The noise of the surface is
that of such a value, so the variance widens with the distance by itself. Trainings of one network count once, by their
mean: they share the effect of rounding on that network, which repetition does not average out.

No real network keeps its power law. Beyond the longest rung the slope of each corner of the triangle may change by a
fifth (one standard deviation) of the mean slope, and that of other points in proportion. And the middle curve of all
networks bends at the rungs already: its bend is continued, give or take three quarters, until the curve is level.

Sources: Hestness et al. 2017, "Deep learning scaling is predictable, empirically" (power laws of the error);
Alabdulmohsin et al. 2023, arXiv 2305.13035 (the best shape moves with compute).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from search.aggregation import merge_places
from search.scaling import Array
from search.surface import Calibration, Model, Surface, fit_surface

_BEND = 0.2
"""Standard deviation of the change of a corner's slope, as a part of the mean slope: from the lattice of CIFAR-10
(``benchmarks/bench_horizon.py``), where rungs up to 40,000 images seen predict 160,000."""
_BEND_ERROR = 0.75
"""Standard deviation of the continued bend of the middle curve, as a part of it. On both recorded sets (``LOG.md``) .9
to 1.2 of the bend came up to 160,000 images seen, and a third of it from there to 640,000."""
_FEWEST_FOR_A_BEND = 3
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
    """A surface of values that lines predict, which may bend."""

    lines: Surface
    """Fitted to the value that each line predicts."""
    bend: float = 0.0
    """Standard deviation of the value at a corner from its line."""
    shift: float = 0.0
    """How far the bend of the middle curve lifts every value."""
    shift_error: float = 0.0
    """Its standard deviation."""

    @property
    def models(self) -> tuple[Model, ...]:
        """The models of the lines, heaviest first."""
        return self.lines.models

    @property
    def noise(self) -> float:
        """Standard deviation of the value that one training predicts."""
        return self.lines.noise

    @property
    def network_effect(self) -> float:
        """Standard deviation of a network from the surface."""
        return self.lines.network_effect

    @property
    def seed_effect(self) -> float:
        """Standard deviation of the common effect of one seed on all values."""
        return self.lines.seed_effect

    @property
    def calibration(self) -> Calibration:
        """Of the lines."""
        return self.lines.calibration

    def means(self, shares: Array) -> Array:
        """Expected value at shares (N, 3)."""
        return self.lines.means(shares) + self.shift

    def predict(self, shares: Array) -> tuple[Array, Array]:
        """Expected value and its standard deviation."""
        mean, deviation = self.lines.predict(shares)
        bends = np.hypot(self.bend * np.linalg.norm(shares, axis=1), self.shift_error)
        return mean + self.shift, np.hypot(deviation, bends)

    def moments(self, shares: Array) -> tuple[Array, Array]:
        """Expected value (N,) and covariance (N, N)."""
        mean, covariance = self.lines.moments(shares)
        return mean + self.shift, covariance + self.bend**2 * shares @ shares.T + self.shift_error**2

    def draws(self, shares: Array, count: int, seed: int) -> Array:
        """``count`` surfaces from the posterior, (count, N)."""
        generator = np.random.default_rng([seed, 1])
        bends = self.bend * generator.standard_normal((count, 3)) @ shares.T
        shifts = self.shift + self.shift_error * generator.standard_normal((count, 1))
        return self.lines.draws(shares, count, seed) + bends + shifts


def network_means(groups: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Shares (N, 3) and mean values (N, k) of networks given by shares (3,) and the values of their trainings."""
    return np.array([place for place, _ in groups]), np.array([values.mean(axis=0) for _, values in groups])


def fit_lines(shares: Array, values: Array, lengths: Sequence[int], length: float) -> LineSurface:
    """The surface at ``length`` from the values (n, k) of networks at shares (n, 3) at two or more rungs."""
    x, at = np.log2(np.asarray(lengths, dtype=float)), math.log2(length)
    slope = slope_weights(rung_noise(shares, values), lengths)
    nearest = min(max(at, float(x[0])), float(x[-1]))
    weights = np.array([np.interp(nearest, x, rung) for rung in np.eye(len(x))]) + (at - nearest) * slope
    beyond = max(0.0, at - nearest)
    bend = _BEND * abs(float((values @ slope).mean())) * beyond
    shift, error = _continued_bend(values, lengths, beyond, slope)
    return LineSurface(fit(shares, values @ weights), bend, shift, error)


def without_common_error(surface: Fitted) -> Fitted:
    """The surface without the error that all values share, for differences between them."""
    return replace(surface, shift_error=0.0) if isinstance(surface, LineSurface) else surface


def slope_weights(noise: Array, lengths: Sequence[int]) -> Array:
    """What each rung counts in the slope of a training's line, (k,); ``noise`` (k,) is that of one training there."""
    x, weights = np.log2(np.asarray(lengths, dtype=float)), 1 / noise**2
    off = weights * (x - weights @ x / weights.sum())
    return np.asarray(off / (off @ x))


def _continued_bend(values: Array, lengths: Sequence[int], beyond: float, slope: Array) -> tuple[float, float]:
    """How far the middle curve's bend lifts the value ``beyond`` doublings ahead, and its standard deviation.

    The curve is a parabola through the rungs, with medians of the networks' coefficients. It never turns down.
    ``slope`` (k,) are the weights of the slope. 0 with fewer than three rungs.
    """
    if beyond <= 0 or len(lengths) < _FEWEST_FOR_A_BEND:
        return 0.0, 0.0
    x = np.log2(np.asarray(lengths, dtype=float) / lengths[-1])
    parabola = np.linalg.pinv(np.stack([x**2, x, np.ones_like(x)], axis=1))
    curvature, rise = np.median(values @ parabola[:2].T, axis=0).tolist()
    level = max(0.0, -rise / (2 * curvature)) if curvature < 0 else math.inf
    ahead = min(beyond, level)
    lifted = values @ (ahead**2 * parabola[0] + ahead * parabola[1] - beyond * slope)
    shift = float(np.median(lifted))
    spread = 1.4826 * float(np.median(np.abs(lifted - shift)))  # of a normal distribution
    return shift, math.hypot(_BEND_ERROR * shift, 1.2533 * spread / math.sqrt(len(lifted)))


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
