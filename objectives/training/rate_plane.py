"""Learning rates of differently shaped networks: the best rate of each, whether they differ, and a plane through them.

Symbols
    P, S     shapes (networks of one cost) and seeds
    t        log2 of a learning rate over the middle one: -1, 0, 1
    y        (P, 3, S): scores, larger is better; m (P, 3): their means over the seeds
    x_p      where the quadratic through m_p is highest, in [-1, 1]

One model for all shapes, "one best rate": shape p scores h_p - a_p (t - x)^2 with a_p >= 0 and a common x. The residual
of m by least squares, divided by the interaction of rates and seeds within the shapes, is an F ratio with P - 1 and 2 P
(S - 1) degrees of freedom. With no difference it falls below p = 0.025 in at most 5 % of checks (simulated; x is
searched on a grid, so the distribution is approximate).

``phiscale check`` writes the plane; ``phiscale search --rate-plane FILE`` trains every network at its rate.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from phiscale import checks
from phiscale.errors import DataError, PhiscaleError, RecordError
from phiscale.files import read_json, write_text
from phiscale.triangle import CostModel, Multipliers, Shares, shares_of_direction

FORMAT = "phiscale-rate-plane"
VERSION = 1
FACTORS = (0.5, 1.0, 2.0)
"""Rates at which every shape is trained, as multiples of the middle one."""
LEVEL = 0.025
"""Probability below which the best rates of shapes count as different."""
_LOGS = np.array([-1.0, 0.0, 1.0])
_GRID = np.linspace(-3, 3, 121)
"""Common best rates that are tried, as log2 over the middle one."""

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RatePlane:
    """Log learning rate linear in the shares: ``rate = exp(sum of share_i * log rate_i)``; raises ``RecordError``."""

    rates: tuple[float, float, float]
    """Learning rates of networks grown in depth, width and resolution alone."""
    found: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Settings with which they were found, as JSON values."""

    def __post_init__(self) -> None:
        if not isinstance(self.rates, (list, tuple)) or len(self.rates) != 3:
            raise RecordError(f"expected the rates of three corners, got {self.rates!r}")
        names = ("depth", "width", "resolution")
        rates = (checks.positive(f"the rate of {n}", r, RecordError) for n, r in zip(names, self.rates, strict=True))
        object.__setattr__(self, "rates", tuple(rates))

    def rate(self, shares: Shares) -> float:
        """The learning rate of a network with these shares."""
        return math.exp(math.fsum(s * math.log(r) for s, r in zip(shares.as_tuple(), self.rates, strict=True)))

    def rate_of(self, realised: Multipliers, cost_model: CostModel) -> float:
        """The learning rate of a network with these multipliers over the baseline's."""
        return self.rate(shares_of_network(realised, cost_model))

    def save(self, path: str | Path) -> None:
        """Write as JSON in one step. Raises ``FileError``."""
        plain = {"format": FORMAT, "version": VERSION, "rates": list(self.rates), "found": dict(self.found)}
        write_text(path, json.dumps(plain, indent=2, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> RatePlane:
        """Read a file that ``save`` wrote. Raises ``RecordError`` that names the file and what is wrong with it."""
        value = read_json(path, "rate plane", RecordError)
        try:
            return _from_json(value)
        except PhiscaleError as error:
            raise RecordError(f"{path}: {error}") from None


def _from_json(value: object) -> RatePlane:
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise RecordError(f'expected a file with "format": "{FORMAT}", got something else; is it another file?')
    if value.get("version") != VERSION:
        raise RecordError(f"expected version {VERSION}, got {value.get('version')!r}; run phiscale check again")
    plain = checks.exact_keys("the rate plane", value, {"format", "version", "rates", "found"}, RecordError)
    if not isinstance(plain["found"], dict):
        raise RecordError(f"expected found to be an object with named fields, got {type(plain['found']).__name__}")
    return RatePlane(rates=plain["rates"], found=plain["found"])


def shape_shares(cost_model: CostModel) -> dict[str, Shares]:
    """The shapes that are compared: growth along each axis of the cost alone, and along all of them equally."""
    axes = [axis for axis, exponent in enumerate(cost_model.exponents) if exponent > 0]
    names = ("depth", "width", "resolution")
    found = {names[axis]: Shares(*(float(other == axis) for other in range(3))) for axis in axes}
    parts = [1 / len(axes) if axis in axes else 0.0 for axis in range(3)]
    return found | {"equal": Shares(*parts)}


def shares_of_network(realised: Multipliers, cost_model: CostModel) -> Shares:
    """Shares of the growth, or of the shrinking of a smaller network; equal shares where it is neither."""
    growth = cost_model.growth(realised)
    if growth == 1:
        return shape_shares(cost_model)["equal"]
    if growth < 1:
        realised = Multipliers(1 / realised.depth, 1 / realised.width, 1 / realised.resolution)
    return shares_of_direction(realised, cost_model)


@dataclass(frozen=True, kw_only=True)
class BestRates:
    """The best learning rate of every shape, and whether they differ."""

    rates: tuple[float, ...]
    """Per shape: the top of the quadratic through its mean scores in log rate, within the rates tried."""
    enclosed: tuple[bool, ...]
    """Per shape: whether the top lies between the rates tried. If not, the best rate may lie beyond them."""
    gains: tuple[float, ...]
    """Per shape: what its own best rate adds to its score over the common one, by the quadratic."""
    common: float
    """The best rate of all shapes together: the top of the mean of their quadratics."""
    probability: float
    """Of differences as large as these or larger if one rate is best for all shapes."""

    @property
    def differ(self) -> bool:
        """Whether the best rates of the shapes differ by more than the noise."""
        return self.probability < LEVEL


def best_rates(scores: npt.ArrayLike, middle: float, *, maximize: bool) -> BestRates:
    """Best rates from scores (shapes, 3 rates, seeds) at half, one and two times ``middle``.

    Raises ``DataError`` for fewer than 2 shapes or 2 seeds, or scores that are not finite.
    """
    y = np.asarray(scores, dtype=np.float64)
    if y.ndim != 3 or y.shape[0] < 2 or y.shape[1] != 3 or y.shape[2] < 2:
        raise DataError(f"expected scores of 2 shapes or more, 3 rates and 2 seeds or more, got the shape {y.shape}")
    if not np.isfinite(y).all():
        raise DataError("expected finite scores, got NaN or infinity")
    y = y if maximize else -y
    means = y.mean(axis=2)
    tops = [_top(curve) for curve in means]
    common = _top(means.mean(axis=0))
    return BestRates(
        rates=tuple(middle * 2**top for top in tops),
        enclosed=tuple(abs(top) < 1 for top in tops),
        gains=tuple(_height(c, top) - _height(c, common) for c, top in zip(means, tops, strict=True)),
        common=middle * 2**common,
        probability=_probability_of_one_rate(y),
    )


def _quadratic(curve: _Array) -> tuple[float, float]:
    """Curvature and slope at 0 of the quadratic through scores at t of -1, 0 and 1."""
    low, middle, high = map(float, curve)
    return (low + high) / 2 - middle, (high - low) / 2


def _top(curve: _Array) -> float:
    """Where the quadratic is highest in [-1, 1]."""
    curvature, slope = _quadratic(curve)
    if curvature < 0:
        return min(1.0, max(-1.0, -slope / (2 * curvature)))
    return 0.0 if slope == 0 else math.copysign(1.0, slope)


def _height(curve: _Array, at: float) -> float:
    curvature, slope = _quadratic(curve)
    return float(curve[1]) + slope * at + curvature * at * at


def _probability_of_one_rate(y: _Array) -> float:
    """The p-value of the F test of one best rate for all shapes; ``y`` (P, 3, S)."""
    from scipy.stats import f

    shapes, _, seeds = y.shape
    residual = y - y.mean(axis=2, keepdims=True) - y.mean(axis=1, keepdims=True) + y.mean(axis=(1, 2), keepdims=True)
    noise = float((residual**2).sum()) / (2 * shapes * (seeds - 1))
    misfit = _misfit(y.mean(axis=2)) * seeds / (shapes - 1)
    if noise == 0:
        return float(misfit <= 1e-24)
    return float(f.sf(misfit / noise, shapes - 1, 2 * shapes * (seeds - 1)))


def _misfit(means: _Array) -> float:
    """Least sum of squares that one common best rate leaves of the mean scores (P, 3)."""
    centred = means - means.mean(axis=1, keepdims=True)
    curves = -((_LOGS[None, :] - _GRID[:, None]) ** 2)
    curves -= curves.mean(axis=1, keepdims=True)
    curves /= np.linalg.norm(curves, axis=1, keepdims=True)
    fitted = np.maximum(centred @ curves.T, 0)
    left = (centred**2).sum() - (fitted**2).sum(axis=0)
    return max(0.0, float(left.min()))


def fit_plane(shares: Sequence[Shares], rates: Sequence[float], found: Mapping[str, Any]) -> RatePlane:
    """The plane of least squares in log rate; an axis that no network grows in gets the mean of the others.

    Raises ``DataError`` where the networks are too few or too much alike.
    """
    design = np.array([point.as_tuple() for point in shares])
    active = design.max(axis=0) > 0
    logs, _, rank, _ = np.linalg.lstsq(design[:, active], np.log(rates), rcond=1e-6)
    if rank < active.sum():
        raise DataError(f"expected networks in {active.sum()} different directions, got {rank}; no plane fits them")
    corners = np.full(3, float(logs.mean()))
    corners[active] = logs
    depth, width, resolution = np.exp(corners).tolist()
    return RatePlane(rates=(depth, width, resolution), found=found)
