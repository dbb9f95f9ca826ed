"""The published rules as points on the surface of a cost model."""

from __future__ import annotations

from phiscale.constants import (
    CostModel,
    Multipliers,
    ScalingConstants,
    Shares,
    constants_from_shares,
    shares_of_direction,
)
from phiscale.published import PUBLISHED_RULES
from search.simplex import active_axes

_AXES = ("depth", "width", "resolution")


def baseline_constants(name: str, cost_model: CostModel) -> ScalingConstants | None:
    """A published rule on the surface of this cost model; None where it grows nothing that enters the cost.

    Single axes and equal shares are places on the triangle; the others keep their direction and grow to the target.
    """
    axes = active_axes(cost_model)
    if name == "equal":
        return _at({axis: 1 / len(axes) for axis in axes}, cost_model)
    if name in _AXES:
        axis = _AXES.index(name)
        return _at({axis: 1.0}, cost_model) if axis in axes else None
    direction = Multipliers(*PUBLISHED_RULES[name].constants.as_tuple())
    return constants_from_shares(shares_of_direction(direction, cost_model), cost_model)


def _at(shares: dict[int, float], cost_model: CostModel) -> ScalingConstants:
    return constants_from_shares(Shares(*(shares.get(axis, 0.0) for axis in range(3))), cost_model)
