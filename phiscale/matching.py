"""Equal real cost: from constants, as a direction, to the rounded network whose counted cost is the one asked for.

Rounding of layers, channels and pixels breaks the ideal product: with the usual rounding the paper's constants make
EfficientNet-B0 2.57 times as costly, not 2. Here the network walks along the ray ``(alpha**t, beta**t, gamma**t)``
until its counted cost is ``target ** phi`` times the baseline's; depth and resolution take whole values near the ray,
and width takes up the rest.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

from phiscale import checks
from phiscale.cost import count_cost
from phiscale.errors import BudgetError, ConstraintError
from phiscale.network import ScaledNetwork, resize, whole_pixels
from phiscale.rounding import ROUNDINGS, Rounding
from phiscale.scaling import multipliers
from phiscale.spec import NetworkSpec
from phiscale.triangle import FLOPS, CostModel, Multipliers, ScalingConstants

MATCH_TOLERANCE = 0.02
"""Largest relative distance between the counted cost and the cost asked for."""
_WIDTH_DRIFT = 0.25
"""Largest natural-log change of cost that width may take up beyond the ray; more would be another direction."""
_NEARBY = [math.exp(step / 200) for step in range(-24, 25)]
"""Factors around a point of the ray from which whole depths and resolutions are taken."""


def match_budget(
    base: NetworkSpec,
    constants: ScalingConstants,
    *,
    phi: float = 1.0,
    cost_model: CostModel = FLOPS,
    rounding: Rounding = ROUNDINGS["exact"],
    tolerance: float = MATCH_TOLERANCE,
    max_resolution: int | None = None,
) -> ScaledNetwork:
    """The network on the ray of ``constants`` that costs ``target ** phi`` times the baseline.

    Among the rounded networks within ``tolerance`` (relative) of that cost it is the one nearest to the ray. Where
    the resolution reaches ``max_resolution`` (pixels) it stays there, and depth and width take up the rest.
    Raises ``BudgetError`` where there is none, ``ConstraintError`` where the constants do not change the cost
    or the sizes along the ray outgrow 32 bits.
    """
    phi = checks.real("phi", phi, ConstraintError)
    tolerance = checks.positive("the tolerance", tolerance, ConstraintError)
    asked = multipliers(constants, phi)
    cap = math.inf if max_resolution is None else checks.whole("max_resolution", max_resolution, ConstraintError)
    if phi == 0 and base.resolution <= cap:
        return ScaledNetwork(base, base, asked)
    growth_of = _growth(base, cost_model)
    goal = phi * math.log(cost_model.target)
    on_ray = _walk(base, constants, cost_model, rounding, goal, cap, growth_of)
    best, nearest = (math.inf, base), math.inf
    for offset, repeats, pixels in _whole_sizes(base, on_ray, cost_model, rounding, cap):
        if offset >= best[0]:
            break
        for width, spec in _widths(base, repeats, pixels, on_ray.width, cost_model, rounding, goal, growth_of):
            error = growth_of(spec) - goal
            nearest = min(nearest, error, key=abs)
            distance = math.hypot(offset, cost_model.width * math.log(width / on_ray.width)) + abs(error)
            if abs(math.expm1(min(error, 700.0))) <= tolerance and distance < best[0]:
                best = distance, spec
    if best[0] < math.inf:
        return ScaledNetwork(best[1], base, asked)
    raise BudgetError(
        f"expected a network within {tolerance:.3g} of {cost_model.target_growth(phi):.4g} times the cost of "
        f"{base.name} along alpha={constants.alpha:.6g}, beta={constants.beta:.6g}, gamma={constants.gamma:.6g}, "
        f"but the nearest whole layers, channels and pixels cost {math.exp(goal + nearest):.4g} times; "
        "use a larger baseline, a finer rounding or another phi"
    )


def _growth(base: NetworkSpec, cost_model: CostModel) -> Callable[[NetworkSpec], float]:
    """The natural log of a network's cost relative to the baseline's."""
    if cost_model.metric == "formula":
        one = Multipliers(1, 1, 1)
        return lambda spec: math.log(ScaledNetwork(spec, base, one).growth(cost_model))
    metric = cost_model.metric
    base_cost = count_cost(base).by_metric(metric)
    return lambda spec: math.log(count_cost(spec).by_metric(metric) / base_cost)


def _repeats(base: NetworkSpec) -> tuple[int, ...]:
    return tuple(stage.repeats for stage in base.stages)


def _walk(
    base: NetworkSpec,
    constants: ScalingConstants,
    cost_model: CostModel,
    rounding: Rounding,
    goal: float,
    cap: float,
    growth_of: Callable[[NetworkSpec], float],
) -> Multipliers:
    """The point of the ray at which the rounded network crosses the goal (or comes nearest to it)."""
    slope = math.log(constants.product(cost_model))
    if slope == 0:
        raise ConstraintError(f"expected constants that change {cost_model.describe()}, got {constants.as_tuple()}")

    def capped(t: float) -> Multipliers:
        point = multipliers(constants, t)
        return dataclasses.replace(point, resolution=min(point.resolution, cap / base.resolution))

    def growth(t: float) -> float:
        point = capped(t)
        repeats = rounding.stage_repeats(_repeats(base), point.depth)
        pixels = int(min(cap, whole_pixels(base, point.resolution, rounding)))
        return growth_of(resize(base, repeats, point.width, pixels, rounding))

    missing = goal - growth(0.0)
    low, high = 0.0, 2.5 * missing / slope
    while missing > 0 and growth(low) < growth(high) < goal:
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        if (growth(middle) < goal) == (missing > 0):
            low = middle
        else:
            high = middle
    return capped(high)


def _whole_sizes(
    base: NetworkSpec, on_ray: Multipliers, cost_model: CostModel, rounding: Rounding, cap: float
) -> list[tuple[float, tuple[int, ...], int]]:
    """(distance from the ray in log cost, repeats, pixels) of whole depths and resolutions nearby, nearest first."""
    depths = [1.0] if on_ray.depth == 1 else [on_ray.depth * factor for factor in _NEARBY]
    finenesses = [1.0] if on_ray.resolution == 1 else [on_ray.resolution * factor for factor in _NEARBY]
    all_repeats = dict.fromkeys(rounding.stage_repeats(_repeats(base), depth) for depth in depths)
    if on_ray.resolution == cap / base.resolution:
        all_pixels = {int(cap): None}
    else:
        rounded_pixels = (whole_pixels(base, fineness, rounding) for fineness in finenesses)
        all_pixels = dict.fromkeys(int(min(cap, pixels)) for pixels in rounded_pixels)

    def offset(repeats: tuple[int, ...], pixels: int) -> float:
        return math.hypot(
            cost_model.depth * math.log(sum(repeats) / base.total_repeats / on_ray.depth),
            cost_model.resolution * math.log(pixels / base.resolution / on_ray.resolution),
        )

    return sorted((offset(repeats, pixels), repeats, pixels) for repeats in all_repeats for pixels in all_pixels)


def _widths(
    base: NetworkSpec,
    repeats: tuple[int, ...],
    pixels: int,
    near: float,
    cost_model: CostModel,
    rounding: Rounding,
    goal: float,
    growth_of: Callable[[NetworkSpec], float],
) -> Iterator[tuple[float, NetworkSpec]]:
    """The two neighbouring widths, at most the allowed drift from ``near``, between which the cost crosses the goal."""
    reach = math.exp(_WIDTH_DRIFT / (cost_model.width or 1.0))
    low, high = near / reach, near * reach
    networks = {width: resize(base, repeats, width, pixels, rounding) for width in (low, high)}
    if growth_of(networks[low]) < goal < growth_of(networks[high]):
        while networks[low] != networks[high] and high / low > 1 + 1e-7:
            middle = math.sqrt(low * high)
            networks[middle] = resize(base, repeats, middle, pixels, rounding)
            if growth_of(networks[middle]) < goal:
                low = middle
            else:
                high = middle
    yield low, networks[low]
    yield high, networks[high]
