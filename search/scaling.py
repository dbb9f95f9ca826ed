"""From scores to values of mean 0 and variance 1 that a surface can be fitted to, and back.

Scores far from the median of all scores are compressed by a logarithm, so that a diverged training or a heavy tail does
not set the scale of the others. A warp compresses poor scores, which gives the top more resolution.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_WARP = 0.7
"""Strength of the warp: scores in standard deviations go through exp(0.7 x)."""
_LINEAR = 3.0
"""Up to so many robust standard deviations from the median, scores are unchanged."""
_ROUNDING_ERROR = 1e-12
"""Relative rounding error by which sums of equal numbers may differ."""


@dataclass(frozen=True)
class Scaling:
    """From scores to the values to which a model is fitted: centred, scaled, limited, and warped if asked for."""

    centre: float
    scale: float
    warped: bool
    lowest: float
    highest: float
    """The poorest and the best of all scores, in compressed robust standard deviations from the median. Beyond these,
    scores grow at the same rate as there, so that an extrapolating surface does not run away."""
    shift: float = 0.0
    stretch: float = 1.0

    def to_values(self, scores: Array) -> Array:
        """Values of scores of any shape."""
        standard = _limit((scores - self.centre) / self.scale)
        return ((np.exp(_WARP * standard) if self.warped else standard) - self.shift) / self.stretch

    def to_scores(self, values: Array) -> Array:
        """Scores of values of any shape."""
        return self._unlimited(values)[0] * self.scale + self.centre

    def slope(self, values: Array) -> Array:
        """How fast the score changes with the value, always positive. Compressed poor scores use the rate before them,
        because how poor a diverged training is says nothing about where the best one lies."""
        return self._unlimited(values)[1] * self.scale

    def jacobian(self, scores: Array) -> float:
        """Logarithm of the factor by which the values of these scores change volume."""
        standard = _limit((scores - self.centre) / self.scale)
        warp = float((math.log(_WARP) + _WARP * standard).sum()) if self.warped else 0.0
        return warp - len(scores) * math.log(self.stretch)

    def slope_at(self, score: float) -> float:
        """How fast the score changes with the value, near this score."""
        return float(self.slope(self.to_values(np.array([score])))[0])

    def _unlimited(self, values: Array) -> tuple[Array, Array]:
        """Scores in robust standard deviations from the median, and their derivative."""
        standard, slope = values * self.stretch + self.shift, np.full_like(values, self.stretch)
        if self.warped:
            standard, slope = (
                np.log(np.maximum(standard, 0.02)) / _WARP,
                slope / np.maximum(standard, 0.02) / _WARP,
            )
        inside = np.clip(standard, self.lowest, self.highest)
        beyond = np.maximum(np.abs(inside) - _LINEAR, 0.0)
        grown = np.where(standard > 0, np.exp(beyond), 1.0)
        return inside + np.sign(inside) * (np.expm1(beyond) - beyond) + (standard - inside) * grown, slope * grown


def _limit(standard: Array) -> Array:
    """Unchanged up to some distance from 0, logarithmic beyond."""
    beyond = np.maximum(np.abs(standard) - _LINEAR, 0.0)
    return np.asarray(standard - np.sign(standard) * (beyond - np.log1p(beyond)))


def are_equal(scores: Array) -> bool:
    """Whether scores (n,) differ by no more than rounding error, so that there is nothing to fit."""
    return bool(np.ptp(scores) <= _ROUNDING_ERROR * np.abs(scores).max())


def scaling_of(scores: Array, warped: bool) -> Scaling:
    """The scaling of these scores (n,); their values have mean 0 and variance 1."""
    low, centre, high = np.quantile(scores, (0.25, 0.5, 0.75))
    scale = float(high - low) / 1.349
    if scale <= _ROUNDING_ERROR * float(np.abs(scores).max()):
        scale = 1.0 if are_equal(scores) else float(scores.std())
    standard = _limit((scores - centre) / scale)
    plain = Scaling(float(centre), scale, warped, float(standard.min()), float(standard.max()))
    values = plain.to_values(scores)
    spread = float(values.std())
    return dataclasses.replace(plain, shift=float(values.mean()), stretch=spread if spread > _ROUNDING_ERROR else 1.0)
