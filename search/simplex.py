"""The triangle of shares as a search space: unit parameters, lattices and the paper's step grid.

Two unit parameters reach every point of the triangle, so no sampler can propose a point that breaks the constraint:
``s_d = 1 - sqrt(u)``, ``s_w = sqrt(u) * v``, ``s_r = sqrt(u) * (1 - v)``; uniform (u, v) are uniform on the triangle.
An axis whose exponent is 0 does not enter the cost: the triangle is then a line with one parameter.
"""

from __future__ import annotations

import functools
import itertools
import math

from phiscale.constants import CostModel, ScalingConstants, Shares, constants_from_shares
from phiscale.errors import SettingsError

PARAMETERS = ("u", "v")
_MOST_POINTS = 100_000


def active_axes(cost_model: CostModel) -> tuple[int, ...]:
    """Indices of the axes (0 depth, 1 width, 2 resolution) that enter the cost.

    Raises ``SettingsError`` where only one does: there is nothing to search then.
    """
    axes = tuple(index for index, exponent in enumerate(cost_model.exponents) if exponent > 0)
    if len(axes) < 2:
        raise SettingsError(f"expected a cost model that at least two axes enter, got {cost_model.describe()}")
    return axes


def parameter_names(cost_model: CostModel) -> tuple[str, ...]:
    """Names of the unit parameters that a trial suggests: two for a triangle, one for a line."""
    return PARAMETERS[: len(active_axes(cost_model)) - 1]


def shares_at(parameters: dict[str, float], cost_model: CostModel) -> Shares:
    """The point of the triangle at unit parameters in [0, 1]."""
    axes = active_axes(cost_model)
    if len(axes) == 3:
        rest, v = math.sqrt(parameters["u"]), parameters["v"]
        parts = [1 - rest, rest * v, rest * (1 - v)]
    else:
        parts = [1 - parameters["u"], parameters["u"]]
    return _spread(parts, axes)


def parameters_at(shares: Shares, cost_model: CostModel) -> dict[str, float]:
    """The unit parameters of a point; the inverse of ``shares_at`` (v is 0 at the depth corner)."""
    axes = active_axes(cost_model)
    first, second, *_ = (shares.as_tuple()[axis] for axis in axes)
    rest = max(0.0, 1 - first)
    if len(axes) == 2:
        return {"u": rest}
    return {"u": min(1.0, rest * rest), "v": min(1.0, second / rest) if rest > 0 else 0.0}


def _spread(parts: list[float], axes: tuple[int, ...]) -> Shares:
    """Shares with the parts on the active axes; the last part absorbs the rounding of the sum."""
    values = [0.0, 0.0, 0.0]
    for axis, part in zip(axes, parts, strict=True):
        values[axis] = part
    values[axes[-1]] = max(0.0, 1 - math.fsum(value for axis, value in enumerate(values) if axis != axes[-1]))
    return Shares(*values)


@functools.lru_cache(maxsize=16)
def lattice(steps: int, cost_model: CostModel) -> tuple[Shares, ...]:
    """All points whose shares are multiples of ``1 / steps``: (steps + 1)(steps + 2) / 2 of them on a triangle."""
    axes = active_axes(cost_model)
    if steps < 1 or (steps + 1) * (steps + 2) // 2 > _MOST_POINTS:
        raise SettingsError(f"expected a lattice of 1 to 440 steps, got {steps}")
    counts = itertools.product(range(steps + 1), repeat=len(axes) - 1)
    return tuple(
        _spread([*(c / steps for c in point), (steps - sum(point)) / steps], axes)
        for point in counts
        if sum(point) <= steps
    )


def lattice_from_step(step: float, cost_model: CostModel) -> tuple[Shares, ...]:
    """The lattice whose spacing is ``step``, which must divide 1 (0.1667 counts as a sixth)."""
    if not (math.isfinite(step) and 0 < step <= 1) or abs(1 / step - round(1 / step)) > 1e-3:
        raise SettingsError(f"expected a lattice step that divides 1, such as 0.1 or 0.05, got {step!r}")
    return lattice(round(1 / step), cost_model)


def paper_grid(step: float, tolerance: float, cost_model: CostModel) -> list[ScalingConstants]:
    """All (1 + i * step, 1 + j * step, 1 + k * step) whose product is within ``tolerance`` of the target.

    Source: Tan & Le 2019, section 3.3, step 1. Raises ``SettingsError`` where no point, or too many, are left.
    """
    if not (math.isfinite(step) and 0 < step <= 1):
        raise SettingsError(f"expected a grid step in (0, 1], got {step!r}")
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise SettingsError(f"expected a grid tolerance of 0 or more, got {tolerance!r}")
    active_axes(cost_model)
    axes = [_axis(exponent, step, cost_model.target + tolerance) for exponent in cost_model.exponents]
    if math.prod(map(len, axes)) > 100 * _MOST_POINTS:
        raise SettingsError(f"expected a grid of a size that can be searched, got a step of {step!r}; use a larger one")
    points = []
    for values in itertools.product(*axes):
        product = math.prod(value**exponent for value, exponent in zip(values, cost_model.exponents, strict=True))
        if abs(product - cost_model.target) <= tolerance + 1e-12:
            points.append(ScalingConstants(*values))
    if not points:
        raise SettingsError(
            f"no grid point with step {step:g} lies within {tolerance:g} of {cost_model.describe()}; "
            "use a smaller step or a larger tolerance"
        )
    if len(points) > _MOST_POINTS:
        raise SettingsError(f"expected a grid of at most {_MOST_POINTS} points, got {len(points)}; use a larger step")
    return points


def _axis(exponent: float, step: float, largest: float) -> list[float]:
    """Grid values of one axis, from 1 up to where the axis alone exceeds the largest product."""
    if exponent == 0:
        return [1.0]
    steps = math.floor((largest ** (1 / exponent) - 1) / step + 1e-9)
    return [round(1 + index * step, 12) for index in range(max(0, steps) + 1)]


def constants_at(parameters: dict[str, float], cost_model: CostModel) -> ScalingConstants:
    """The constants on the surface at unit parameters."""
    return constants_from_shares(shares_at(parameters, cost_model), cost_model)
