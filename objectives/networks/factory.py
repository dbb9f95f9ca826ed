"""A person's own networks: built by their function, counted on the meta device, matched to a cost by that count alone.

A factory is ``build(depth, width, resolution, classes) -> nn.Module`` with multipliers of depth and width, pixels and
outputs; the baseline is ``build(1.0, 1.0, resolution, classes)``. It rounds layers and channels in its own way, and
takes images of float, (n, 3, resolution, resolution), to logits, (n, classes). Nothing here loads torch before a
network is built.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from objectives.contract import CountedNetwork
from phiscale.cost import Cost
from phiscale.errors import BudgetError, ConstraintError
from phiscale.matching import MATCH_TOLERANCE
from phiscale.scaling import multipliers
from phiscale.triangle import CostModel, Multipliers, ScalingConstants

if TYPE_CHECKING:
    import torch
    from torch import nn

Build = Callable[[float, float, int, int], "nn.Module"]
_NEAR_ENOUGH = 0.002
"""Natural-log distance from the cost asked for at which no nearer network is looked for."""
_WIDTH_DRIFT = 0.25
"""Largest natural-log change of cost that width may take up beyond the ray; more would be another direction."""
_FINEST = 1e-3
"""Relative step below which the walk, or a width, is not divided further."""
_DOUBLINGS = 6
_DEPTH_STEP = 0.08
"""Natural-log step between the depths that are tried around the ray."""
_counted: dict[str, Cost] = {}
"""Cost by architecture."""


@dataclass(frozen=True, kw_only=True)
class Factory:
    """A person's function with the resolution of its baseline."""

    name: str
    """``package.module:attribute``."""
    build: Build
    """Makes the network of (depth multiplier, width multiplier, pixels, classes)."""
    resolution: int
    """Side of the baseline's images, in pixels."""
    classes: int = 1000
    """Outputs of the classifier."""
    in_channels: ClassVar[int] = 3

    def member(self, point: Multipliers) -> FactoryMember:
        """The network at multipliers whose resolution becomes whole pixels."""
        pixels = max(1, round(self.resolution * point.resolution))
        return FactoryMember(self.name, self.build, point.depth, point.width, pixels, self.classes)

    @property
    def baseline(self) -> FactoryMember:
        """The network that is grown."""
        return self.member(Multipliers(1, 1, 1))

    def describe(self) -> dict[str, Any]:
        """JSON values that tell factories apart, those of the same name and another baseline too."""
        cost, fingerprint = count_member(self.baseline)
        plain = {"name": self.name, "resolution": self.resolution, "classes": self.classes}
        return {**plain, **dataclasses.asdict(cost), "fingerprint": fingerprint}

    def network(self, asked: Multipliers, built: Multipliers) -> CountedNetwork:
        """What a study records of the network at ``built``. Raises ``BudgetError`` where it cannot be built."""
        member = self.member(built)
        cost, fingerprint = count_member(member)
        realised = dataclasses.replace(built, resolution=member.resolution / self.resolution)
        base = count_member(self.baseline)[0]
        return CountedNetwork(self.name, asked, realised, member.resolution, cost, base, fingerprint)


@dataclass(frozen=True)
class FactoryMember:
    """One network of a factory, in the form in which a spec is trained (``objectives/training/train.py``)."""

    factory: str
    build: Build
    depth: float
    width: float
    resolution: int
    classes: int
    in_channels: ClassVar[int] = 3
    total_stride: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.factory} at depth {self.depth:.4g}, width {self.width:.4g}"

    def make(self) -> nn.Module:
        """Call the factory. Raises ``BudgetError`` where it fails or returns no module."""
        from torch import nn

        try:
            module = self.build(self.depth, self.width, self.resolution, self.classes)
        except Exception as error:  # a person's own function may raise anything
            raise BudgetError(
                f"{self.name} and {self.resolution} pixels cannot be built: {first_line(error)}"
            ) from error
        if not isinstance(module, nn.Module):
            raise BudgetError(f"expected {self.factory} to return a torch.nn.Module, got {type(module).__name__}")
        return module


def build_member(member: FactoryMember, seed: int | torch.Generator) -> nn.Module:
    """The network on the CPU, initialised as its factory does from ``seed``: the global random state stays as it is."""
    import torch

    if isinstance(seed, torch.Generator):
        seed = int(torch.randint(2**62, (), generator=seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = member.make()
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@functools.lru_cache(maxsize=4096)
def count_member(member: FactoryMember) -> tuple[Cost, str]:
    """Counted cost of the forward pass on one image, and the fingerprint, without memory or arithmetic.

    Multiply-accumulates are those of ``torch.utils.flop_counter`` / 2; activations the output elements of modules of
    convolutions and linear layers. Raises ``BudgetError`` where the network cannot be built or run on the meta device.
    """
    import torch

    with torch.device("meta"):
        module = member.make().eval()
    shapes = {name: list(value.shape) for name, value in module.state_dict().items()}
    described = json.dumps([repr(module), shapes, member.resolution, member.classes])
    if described not in _counted:  # other multipliers may round to the same network, and counting takes longest
        _counted[described] = _count_forward(member, module)
    cost = _counted[described]
    plain = json.dumps([shapes, member.resolution, cost.macs, cost.activations], sort_keys=True)
    return cost, hashlib.sha256(plain.encode()).hexdigest()[:16]


def _count_forward(member: FactoryMember, module: nn.Module) -> Cost:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    outputs = _count_outputs(module)
    images = torch.empty(1, member.in_channels, member.resolution, member.resolution, device="meta")
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            logits = module(images)
    except Exception as error:  # a person's own module may raise anything
        what = f"{member.name} and {member.resolution} pixels cannot be counted on the meta device"
        raise BudgetError(f"{what}: {first_line(error)}") from error
    if getattr(logits, "shape", None) != (1, member.classes):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise BudgetError(f"expected {member.factory} to give logits of shape (1, {member.classes}), got {got}")
    cost = Cost(counter.get_total_flops() // 2, sum(p.numel() for p in module.parameters()), sum(outputs))
    if not cost.macs:
        raise BudgetError(f"expected {member.name} to have convolutions or linear layers, counted none")
    return cost


def _count_outputs(module: nn.Module) -> list[int]:
    """A list that a forward pass fills with the output elements of every convolution and linear layer."""
    from torch.nn import Linear
    from torch.nn.modules.conv import _ConvNd

    outputs: list[int] = []
    for part in module.modules():
        if isinstance(part, (_ConvNd, Linear)):
            part.register_forward_hook(lambda _module, _inputs, output: outputs.append(output.numel()))
    return outputs


def first_line(error: Exception) -> str:
    """Kind and first line of an error, for a sentence."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def match_factory(
    factory: Factory,
    constants: ScalingConstants,
    *,
    phi: float,
    cost_model: CostModel,
    tolerance: float = MATCH_TOLERANCE,
) -> CountedNetwork:
    """The network near the ray of ``constants`` that costs ``target ** phi`` times the baseline, within ``tolerance``.

    The ray is walked to the cost; where whole layers, channels and pixels jump over it, width takes up the rest, at
    neighbouring depths and pixels if need be. Raises ``BudgetError`` where there is none, ``ConstraintError`` where
    the constants do not change the cost.
    """
    asked = multipliers(constants, phi)
    if phi == 0:
        return factory.network(asked, asked)
    goal = math.log(cost_model.target_growth(phi))

    def error(point: Multipliers) -> float:
        try:
            return math.log(factory.network(asked, point).growth(cost_model)) - goal
        except BudgetError:
            if goal > 0:
                raise
            return -math.inf  # on the way down, too small to be built counts as too cheap

    best, nearest = asked, math.inf
    for near in _nearby(factory, _crossing(constants, cost_model, goal, error), cost_model):
        for point in _widths(near, cost_model, error):
            distance = error(point)
            if abs(distance) < abs(nearest):
                best, nearest = point, distance
            if abs(nearest) <= _NEAR_ENOUGH:
                break
        if abs(math.expm1(min(nearest, 700.0))) <= tolerance:
            return factory.network(asked, best)
    raise BudgetError(
        f"expected a network of {factory.name} within {tolerance:.3g} of {cost_model.target_growth(phi):.4g} times the "
        f"cost of its baseline along alpha={constants.alpha:.6g}, beta={constants.beta:.6g}, "
        f"gamma={constants.gamma:.6g}, but the nearest found costs {math.exp(goal + nearest):.4g} times; "
        "let the factory round less, or use a larger baseline or another phi"
    )


def _nearby(factory: Factory, on_ray: Multipliers, cost_model: CostModel) -> list[Multipliers]:
    """Points of other depths and whole pixels around the ray, the nearest in cost first; an axis at 1 stays there."""
    depths = [1.0] if on_ray.depth == 1 else [math.exp(step * _DEPTH_STEP) for step in (0, -1, 1, -2, 2)]
    pixels = round(factory.resolution * on_ray.resolution)
    offsets = [0] if on_ray.resolution == 1 else [0, -1, 1, -2, 2]
    found = []
    for factor in depths:
        for side in (pixels + offset for offset in offsets if pixels + offset > 0):
            drift = cost_model.depth * math.log(factor), cost_model.resolution * math.log(side / max(1, pixels))
            found.append(
                (math.hypot(*drift), Multipliers(factor * on_ray.depth, on_ray.width, side / factory.resolution))
            )
    return [point for _, point in sorted(found, key=lambda item: item[0])]


def _widths(near: Multipliers, cost_model: CostModel, error: Callable[[Multipliers], float]) -> Iterator[Multipliers]:
    """The point, then other widths, at most the allowed drift away, between which the cost crosses the goal."""
    yield near
    reach = math.exp(_WIDTH_DRIFT / (cost_model.width or 1.0))
    low, high = (dataclasses.replace(near, width=near.width * factor) for factor in (1 / reach, reach))
    yield low
    yield high
    while error(low) < 0 < error(high) and high.width / low.width > 1 + _FINEST:
        middle = dataclasses.replace(near, width=math.sqrt(low.width * high.width))
        yield middle
        low, high = (middle, high) if error(middle) < 0 else (low, middle)


def _crossing(
    constants: ScalingConstants, cost_model: CostModel, goal: float, error: Callable[[Multipliers], float]
) -> Multipliers:
    """The point of the ray where the cost reaches the goal, or the furthest that was tried."""
    slope = math.log(constants.product(cost_model))
    if slope == 0:
        raise ConstraintError(f"expected constants that change {cost_model.describe()}, got {constants.as_tuple()}")

    def beyond(t: float) -> bool:
        distance = error(multipliers(constants, t))
        return distance >= 0 if goal > 0 else distance <= 0

    low, high = 0.0, 1.25 * goal / slope
    for _ in range(_DOUBLINGS):
        if beyond(high):
            break
        low, high = high, 2 * high
    while abs(high - low) > _FINEST * abs(high):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return multipliers(constants, high)
