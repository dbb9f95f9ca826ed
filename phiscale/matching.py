"""Equal real cost: from constants, as a direction, to the rounded network whose counted cost is the one asked for.

Rounding of layers, channels and pixels breaks the ideal product: with the usual rounding the paper's constants make
EfficientNet-B0 2.57 times as costly, not 2. Here the network walks along the ray ``(alpha**t, beta**t, gamma**t)``
until its counted cost is ``target ** phi`` times the baseline's; depth and resolution take whole values near the ray,
and width takes up the rest. Whatever can be scaled and counted walks by the one protocol ``Scalable``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol, TypeVar

from phiscale import checks
from phiscale.cost import Cost, count_cost
from phiscale.errors import BudgetError, ConstraintError
from phiscale.network import ScaledNetwork, largest_pixels, resize, whole_pixels
from phiscale.rounding import ROUNDINGS, Rounding
from phiscale.scaling import multipliers
from phiscale.spec import NetworkSpec
from phiscale.triangle import FLOPS, CostModel, Multipliers, ScalingConstants

MATCH_TOLERANCE = 0.02
"""Largest relative distance between the counted cost and the cost asked for."""
_WIDTH_DRIFT = 0.25
"""Largest natural-log change of cost that width may take up beyond the ray; more would be another direction. Where
whole sizes are coarse, width makes up for their distance from the ray too."""
_NEARBY = [math.exp(step / 200) for step in range(-24, 25)]
"""Factors around a point of the ray from which whole depths and resolutions are taken."""

Depth = TypeVar("Depth")
Made = TypeVar("Made")


class Scalable(Protocol[Depth, Made]):
    """A baseline that can be made at any depth, width and pixels, and counted."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    @property
    def resolution(self) -> int:
        """Side of the baseline's images, in pixels."""

    @property
    def halvings(self) -> int:
        """How often the walk along the ray is halved."""

    @property
    def finest(self) -> float:
        """Relative step below which a width is not halved further."""

    @property
    def is_exhaustive(self) -> bool:
        """Whether all whole sizes near the ray are compared, or the first within the tolerance is taken."""

    @property
    def is_coarse(self) -> bool:
        """Whether whole sizes may lie so far from the ray that width has to make up for the distance too."""

    def depth(self, multiplier: float) -> Depth:
        """Whole layers at a multiplier."""

    def depths(self, multiplier: float) -> Iterable[Depth]:
        """Whole layers around a multiplier."""

    def realised_depth(self, depth: Depth) -> float:
        """The multiplier that whole layers amount to."""

    def pixels(self, multiplier: float) -> int:
        """Whole pixels at a multiplier."""

    def all_pixels(self, multiplier: float) -> Iterable[int]:
        """Whole pixels around a multiplier."""

    def make(self, depth: Depth, width: float, pixels: int) -> Made:
        """The network of these sizes; ``width`` is a multiplier."""

    def log_growth(self, network: Made) -> float:
        """Natural log of its cost over the baseline's; minus infinity if it is too small to be built, NaN if it cannot
        be built for another reason."""


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
    cap = largest_pixels(base, max_resolution)
    if phi == 0 and base.resolution <= cap:
        return ScaledNetwork(base, base, asked)
    spec = match(_ScalableSpec(base, rounding, cost_model), constants, phi, cost_model, tolerance, cap)
    return ScaledNetwork(spec, base, asked)


def match(
    scalable: Scalable[Depth, Made],
    constants: ScalingConstants,
    phi: float,
    cost_model: CostModel,
    tolerance: float = MATCH_TOLERANCE,
    cap: float = math.inf,
) -> Made:
    """The network within ``tolerance`` of ``target ** phi`` times the baseline's cost that is nearest to the ray.

    ``cap`` is the largest resolution in pixels. Raises as ``match_budget``.
    """
    goal = phi * math.log(cost_model.target)
    on_ray = _walk(scalable, constants, cost_model, goal, cap)
    best, found, nearest = math.inf, None, math.inf
    for offset, depth, pixels in _whole_sizes(scalable, on_ray, cost_model, cap):
        if offset >= best or (found and not scalable.is_exhaustive):
            break
        drift = _WIDTH_DRIFT + (offset if scalable.is_coarse else 0)
        for width, network in _widths(scalable, depth, pixels, on_ray.width, cost_model, goal, drift):
            error = scalable.log_growth(network) - goal
            nearest = min(nearest, error, key=abs)
            distance = math.hypot(offset, cost_model.width * math.log(width / on_ray.width)) + abs(error)
            if abs(math.expm1(min(error, 700.0))) <= tolerance and distance < best:
                best, found = distance, network
    if found is not None:
        return found
    found_cost = f"the nearest whole layers, channels and pixels cost {math.exp(goal + nearest):.4g} times"
    raise BudgetError(
        f"expected a network within {tolerance:.3g} of {cost_model.target_growth(phi):.4g} times the cost of "
        f"{scalable.name} along alpha={constants.alpha:.6g}, beta={constants.beta:.6g}, gamma={constants.gamma:.6g}, "
        f"but {found_cost if nearest < math.inf else 'none near it can be built'}; "
        "use a larger baseline, a finer rounding or another phi"
    )


@dataclass(frozen=True)
class _ScalableSpec:
    """A spec: its layers are the repeats of all stages, and a network of it is a spec too."""

    base: NetworkSpec
    rounding: Rounding
    cost_model: CostModel
    halvings: ClassVar[int] = 50
    finest: ClassVar[float] = 1e-7
    is_exhaustive: ClassVar[bool] = True

    @property
    def is_coarse(self) -> bool:
        return self.base.resolution_multiple > 1

    @property
    def name(self) -> str:
        return self.base.name

    @property
    def resolution(self) -> int:
        return self.base.resolution

    @cached_property
    def _base_cost(self) -> Cost:
        return count_cost(self.base)

    def depth(self, multiplier: float) -> tuple[int, ...]:
        return self.rounding.stage_repeats(tuple(stage.repeats for stage in self.base.stages), multiplier)

    def depths(self, multiplier: float) -> Iterable[tuple[int, ...]]:
        return (self.depth(multiplier * factor) for factor in _NEARBY)

    def realised_depth(self, depth: tuple[int, ...]) -> float:
        return sum(depth) / self.base.total_repeats

    def pixels(self, multiplier: float) -> int:
        return whole_pixels(self.base, multiplier, self.rounding)

    def all_pixels(self, multiplier: float) -> Iterable[int]:
        near, step = self.pixels(multiplier), self.base.resolution_multiple
        neighbours = (near - step, near + step) if step > 1 else ()
        sides = (*(self.pixels(multiplier * factor) for factor in _NEARBY), *neighbours)
        return (side for side in sides if side >= self.pixels(0.0))

    def make(self, depth: tuple[int, ...], width: float, pixels: int) -> NetworkSpec:
        return resize(self.base, depth, width, pixels, self.rounding)

    def log_growth(self, network: NetworkSpec) -> float:
        if self.cost_model.metric == "formula":
            return math.log(ScaledNetwork(network, self.base, Multipliers(1, 1, 1)).growth(self.cost_model))
        return math.log(count_cost(network).over(self._base_cost, self.cost_model.metric))


def _walk(
    scalable: Scalable[Depth, Made], constants: ScalingConstants, cost_model: CostModel, goal: float, cap: float
) -> Multipliers:
    """The point of the ray at which the rounded network crosses the goal (or comes nearest to it)."""
    slope = math.log(constants.product(cost_model))
    if slope == 0:
        raise ConstraintError(f"expected constants that change {cost_model.describe()}, got {constants.as_tuple()}")

    def capped(t: float) -> Multipliers:
        point = multipliers(constants, t)
        return dataclasses.replace(point, resolution=min(point.resolution, cap / scalable.resolution))

    def growth(t: float) -> float:
        point = capped(t)
        pixels = int(min(cap, scalable.pixels(point.resolution)))
        return scalable.log_growth(scalable.make(scalable.depth(point.depth), point.width, pixels))

    missing = goal - growth(0.0)
    low, high = 0.0, (1.25 if missing > 0 else 2.5) * missing / slope  # networks far beyond the goal take long to count
    while missing > 0 and growth(low) < growth(high) < goal:
        low, high = high, 2 * high
    for _ in range(scalable.halvings):
        middle = (low + high) / 2
        if (growth(middle) < goal) == (missing > 0):
            low = middle
        else:
            high = middle
    return capped(high)


def _whole_sizes(
    scalable: Scalable[Depth, Made], on_ray: Multipliers, cost_model: CostModel, cap: float
) -> list[tuple[float, Depth, int]]:
    """(distance from the ray in log cost, layers, pixels) of whole depths and resolutions nearby, nearest first.

    An axis at 1, or a resolution at its cap, stays there.
    """
    depths = [scalable.depth(1.0)] if on_ray.depth == 1 else scalable.depths(on_ray.depth)
    if on_ray.resolution == cap / scalable.resolution:
        sides: Iterable[int] = [int(cap)]
    else:
        sides = [scalable.pixels(1.0)] if on_ray.resolution == 1 else scalable.all_pixels(on_ray.resolution)

    def offset(depth: Depth, pixels: int) -> float:
        return math.hypot(
            cost_model.depth * math.log(scalable.realised_depth(depth) / on_ray.depth),
            cost_model.resolution * math.log(pixels / scalable.resolution / on_ray.resolution),
        )

    all_pixels = dict.fromkeys(int(min(cap, pixels)) for pixels in sides)
    return sorted((offset(depth, pixels), depth, pixels) for depth in dict.fromkeys(depths) for pixels in all_pixels)


def _widths(
    scalable: Scalable[Depth, Made],
    depth: Depth,
    pixels: int,
    near: float,
    cost_model: CostModel,
    goal: float,
    drift: float,
) -> Iterator[tuple[float, Made]]:
    """The two neighbouring widths, at most ``drift`` from ``near``, between which the cost crosses the goal."""
    reach = math.exp(drift / (cost_model.width or 1.0))
    ends = [(width, scalable.make(depth, width, pixels)) for width in (near / reach, near * reach)]
    if scalable.log_growth(ends[0][1]) < goal < scalable.log_growth(ends[1][1]):
        while ends[1][0] / ends[0][0] > 1 + scalable.finest:
            width = math.sqrt(ends[0][0] * ends[1][0])
            network = scalable.make(depth, width, pixels)
            ends[0 if scalable.log_growth(network) < goal else 1] = width, network
    yield from ends
