"""The geometry in one place: scaling constants, cost models, shares of a growth step, and grids over all of them.

In log space the surface ``alpha**a * beta**b * gamma**c == target`` is a triangle: the share of depth is
``a * log(alpha) / log(target)``, likewise for width and resolution, and the three sum to 1.
Source: Tan & Le 2019 (arXiv 1905.11946), section 3.3, equation 3.

Two unit parameters reach every point of the triangle, so no sampler can propose a point that breaks the constraint:
``s_d = 1 - sqrt(u)``, ``s_w = sqrt(u) * v``, ``s_r = sqrt(u) * (1 - v)``; uniform (u, v) are uniform on the triangle.
An axis whose exponent is 0 does not enter the cost: the triangle is then a line with one parameter.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

from phiscale import checks
from phiscale.cost import COUNTED
from phiscale.errors import ConstraintError, SettingsError

METRICS = (*COUNTED, "formula")
"""What a cost model holds equal between networks: a counted cost, or its own formula."""
_LARGEST_EXPONENT = 100.0
_LARGEST_TARGET = 1e6
_LARGEST_CONSTANT = 1e9
_UNIT_PARAMETERS = ("u", "v")
_MOST_POINTS = 100_000


@dataclass(frozen=True)
class Multipliers:
    """How many times deeper, wider and finer than the baseline; three positive factors."""

    depth: float
    width: float
    resolution: float

    def __post_init__(self) -> None:
        for name in ("depth", "width", "resolution"):
            object.__setattr__(
                self, name, checks.positive(f"the {name} multiplier", getattr(self, name), ConstraintError)
            )


@dataclass(frozen=True)
class CostModel:
    """Exponents and target of the surface ``alpha**depth * beta**width * gamma**resolution == target``.

    Raises ``ConstraintError`` unless the exponents are in [0, 100] and not all zero, the target is above 1 and at most
    1e6, and no axis alone would have to grow more than 1e9 times to reach it.
    """

    depth: float = 1.0
    """Exponent of the depth multiplier."""
    width: float = 2.0
    """Exponent of the width multiplier."""
    resolution: float = 2.0
    """Exponent of the resolution multiplier."""
    target: float = 2.0
    """Growth of the cost for one unit of phi."""
    metric: str = "macs"
    """The counted cost that is held equal, a name of ``phiscale.cost.COUNTED``; or ``formula``: the surface itself at
    the realised multipliers, for measured costs such as latency."""

    def __post_init__(self) -> None:
        for name in ("depth", "width", "resolution"):
            value = checks.real(f"the {name} exponent", getattr(self, name), ConstraintError)
            if not 0 <= value <= _LARGEST_EXPONENT:
                raise ConstraintError(f"expected the {name} exponent in [0, {_LARGEST_EXPONENT:g}], got {value!r}")
            object.__setattr__(self, name, value)
        target = checks.real("the target", self.target, ConstraintError)
        if target <= 1:
            raise ConstraintError(f"expected a target above 1 (the growth for one unit of phi), got {target!r}")
        if target > _LARGEST_TARGET:
            raise ConstraintError(
                f"expected a target of at most {_LARGEST_TARGET:g} (the growth for one unit of phi), got {target!r}"
            )
        object.__setattr__(self, "target", target)
        if not any(self.exponents):
            raise ConstraintError("expected at least one exponent above 0, got 0, 0, 0")
        for name, exponent in zip(("depth", "width", "resolution"), self.exponents, strict=True):
            if 0 < exponent < smallest_exponent(target):
                raise ConstraintError(
                    f"expected a {name} exponent of 0, or of at least {smallest_exponent(target):.3g} for a target of "
                    f"{target:g}, got {exponent!r}; give 0 for an axis that hardly enters the cost"
                )
        if self.metric not in METRICS:
            raise ConstraintError(f"expected a metric of {', '.join(METRICS)}, got {self.metric!r}")

    @property
    def exponents(self) -> tuple[float, float, float]:
        """Exponents of depth, width and resolution."""
        return self.depth, self.width, self.resolution

    @property
    def shown(self) -> str:
        """The counted cost by which networks are shown: its own, or multiply-accumulates where it is a formula."""
        return self.metric if self.metric in COUNTED else "macs"

    def growth(self, multipliers: Multipliers) -> float:
        """Cost of the multipliers over the baseline's, by the formula. Raises ``ConstraintError`` on overflow."""
        parts = (multipliers.depth, multipliers.width, multipliers.resolution)
        return math.exp(_exponent(math.fsum(e * math.log(m) for e, m in zip(self.exponents, parts, strict=True))))

    def target_growth(self, phi: float) -> float:
        """``target ** phi``: the growth asked for at ``phi``. Raises ``ConstraintError`` where no count can grow so."""
        try:
            growth = float(self.target**phi)
        except OverflowError:
            growth = math.inf
        if not 1 / checks.LARGEST_WHOLE <= growth <= checks.LARGEST_WHOLE:
            raise ConstraintError(
                f"expected a phi whose growth {self.target:g}**phi is between {1 / checks.LARGEST_WHOLE:.0e} and "
                f"{checks.LARGEST_WHOLE:.0e}, got {phi!r}; use a phi nearer to 0"
            )
        return growth

    def describe(self) -> str:
        """The surface as a formula, e.g. ``alpha * beta**2 * gamma**2 = 2``."""
        powers = zip(("alpha", "beta", "gamma"), self.exponents, strict=True)
        terms = [name if power == 1 else f"{name}**{power:g}" for name, power in powers if power]
        return f"{' * '.join(terms)} = {self.target:g}"


def smallest_exponent(target: float) -> float:
    """The exponent with which an axis alone grows 1e9 times to reach the target: smaller ones are taken as 0."""
    return math.log(target, _LARGEST_CONSTANT)


def _exponent(log_value: float) -> float:
    if abs(log_value) > 700:
        raise ConstraintError(f"a growth of e**{log_value:.0f} is outside what a float holds; use a smaller phi")
    return log_value


COST_MODELS = {name: CostModel(*metric.exponents, metric=name) for name, metric in COUNTED.items()}
"""The surface of every counted cost, for a growth of 2 per unit of phi."""
FLOPS = COST_MODELS["macs"]
"""Multiply-accumulates (or FLOPs): ``alpha * beta**2 * gamma**2 = 2``."""
PARAMETERS = COST_MODELS["params"]
"""Parameters do not depend on the resolution: ``alpha * beta**2 = 2``."""
ACTIVATIONS = COST_MODELS["activations"]
"""Activations (outputs of convolutions and linear layers): ``alpha * beta * gamma**2 = 2``."""


@dataclass(frozen=True)
class Shares:
    """Which part of one growth step goes to depth, width and resolution: each >= 0, sum 1 (within 1e-9)."""

    depth: float
    width: float
    resolution: float

    def __post_init__(self) -> None:
        for name in ("depth", "width", "resolution"):
            value = checks.real(f"the share of {name}", getattr(self, name), ConstraintError)
            if value < 0:
                raise ConstraintError(f"expected the share of {name} to be 0 or more, got {value!r}")
            object.__setattr__(self, name, value)
        total = math.fsum(self.as_tuple())
        if abs(total - 1) > 1e-9:
            raise ConstraintError(f"expected shares that sum to 1, got {total!r} from {self.as_tuple()}")

    def as_tuple(self) -> tuple[float, float, float]:
        """(depth, width, resolution)."""
        return self.depth, self.width, self.resolution


@dataclass(frozen=True)
class ScalingConstants:
    """Depth (alpha), width (beta) and resolution (gamma) multipliers for one unit of phi; each above 0."""

    alpha: float
    beta: float
    gamma: float

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma"):
            object.__setattr__(self, name, checks.positive(name, getattr(self, name), ConstraintError))

    def as_tuple(self) -> tuple[float, float, float]:
        """(alpha, beta, gamma)."""
        return self.alpha, self.beta, self.gamma

    def product(self, cost_model: CostModel = FLOPS) -> float:
        """``alpha**a * beta**b * gamma**c``, to be compared with ``cost_model.target``."""
        return cost_model.growth(Multipliers(*self.as_tuple()))


def check_on_surface(constants: ScalingConstants, cost_model: CostModel = FLOPS, *, tolerance: float = 1e-9) -> None:
    """Raise ``ConstraintError`` unless every constant is >= 1 and the product is within ``tolerance`` of the target."""
    given = f"alpha={constants.alpha!r}, beta={constants.beta!r}, gamma={constants.gamma!r}"
    if min(constants.as_tuple()) < 1:
        raise ConstraintError(
            f"expected alpha, beta and gamma of at least 1, got {given}; use a negative phi to shrink"
        )
    product = constants.product(cost_model)
    if abs(product - cost_model.target) > tolerance:
        formula = cost_model.describe().rsplit(" = ", 1)[0]
        raise ConstraintError(
            f"expected {formula} within {tolerance:g} of {cost_model.target:g}, got {product!r} ({given}); "
            "take them as a direction, or widen the tolerance"
        )


def constants_from_shares(shares: Shares, cost_model: CostModel = FLOPS) -> ScalingConstants:
    """The point of the surface with these shares; exact to 1e-12 both ways.

    Raises ``ConstraintError`` where a share is above 0 on an axis whose exponent is 0.
    """

    def constant(axis: str, share: float, exponent: float) -> float:
        if exponent == 0:
            if share > 0:
                raise ConstraintError(
                    f"{axis} does not enter {cost_model.describe()}: its share must be 0, got {share!r}"
                )
            return 1.0
        log_value = share / exponent * math.log(cost_model.target)
        return math.exp(_exponent(log_value))

    axes = ("depth", "width", "resolution")
    return ScalingConstants(*map(constant, axes, shares.as_tuple(), cost_model.exponents))


def shares_from_constants(
    constants: ScalingConstants, cost_model: CostModel = FLOPS, *, tolerance: float = 1e-9
) -> Shares:
    """The shares of constants that lie on the surface within ``tolerance``, normalised to sum 1.

    Raises ``ConstraintError`` off the surface, below 1, or with growth on an axis whose exponent is 0.
    """
    check_on_surface(constants, cost_model, tolerance=tolerance)
    for name, value, exponent in zip(
        ("alpha", "beta", "gamma"), constants.as_tuple(), cost_model.exponents, strict=True
    ):
        if exponent == 0 and value != 1:
            raise ConstraintError(f"{name} does not enter {cost_model.describe()}: it must be 1, got {value!r}")
    return shares_of_direction(Multipliers(*constants.as_tuple()), cost_model)


def shares_of_direction(multipliers: Multipliers, cost_model: CostModel = FLOPS) -> Shares:
    """The shares of any growth, whatever its size: only the direction counts, a shrinking axis counts as 0.

    Raises ``ConstraintError`` where nothing that enters the cost grows.
    """
    parts = (multipliers.depth, multipliers.width, multipliers.resolution)
    logs = [max(0.0, e * math.log(m)) for e, m in zip(cost_model.exponents, parts, strict=True)]
    total = math.fsum(logs)
    if total <= 0:
        raise ConstraintError(
            f"expected at least one multiplier above 1 that enters {cost_model.describe()}, got {parts}"
        )
    return Shares(*(part / total for part in logs))


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
    return _UNIT_PARAMETERS[: len(active_axes(cost_model)) - 1]


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
    if not 0 <= tolerance < cost_model.target - 1:
        raise SettingsError(
            f"expected a grid tolerance of 0 or more and below {cost_model.target - 1:g}, which no growth at all would "
            f"meet, got {tolerance!r}"
        )
    active_axes(cost_model)
    sizes = [_axis_size(exponent, step, cost_model.target + tolerance) for exponent in cost_model.exponents]
    if math.prod(sizes) > 100 * _MOST_POINTS:
        raise SettingsError(f"expected a grid of a size that can be searched, got a step of {step!r}; use a larger one")
    points = []
    for values in itertools.product(*([round(1 + index * step, 12) for index in range(size)] for size in sizes)):
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


def _axis_size(exponent: float, step: float, largest: float) -> int:
    """Grid values of one axis, from 1 up to where the axis alone exceeds the largest product."""
    if exponent == 0:
        return 1
    steps: float = min((largest ** (1 / exponent) - 1) / step, 1e18)  # a tiny step divides to infinity
    return max(0, math.floor(steps + 1e-9)) + 1


def constants_at(parameters: dict[str, float], cost_model: CostModel) -> ScalingConstants:
    """The constants on the surface at unit parameters."""
    return constants_from_shares(shares_at(parameters, cost_model), cost_model)
