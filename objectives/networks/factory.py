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
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from objectives.contract import CountedNetwork
from phiscale.cost import Cost
from phiscale.errors import BudgetError
from phiscale.matching import MATCH_TOLERANCE, match
from phiscale.scaling import multipliers
from phiscale.triangle import CostModel, Multipliers, ScalingConstants

if TYPE_CHECKING:
    import torch
    from torch import nn

Build = Callable[[float, float, int, int], "nn.Module"]
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

    def pixels(self, multiplier: float) -> int:
        """Whole pixels at a multiplier."""
        return max(1, round(self.resolution * multiplier))

    def member(self, point: Multipliers) -> FactoryMember:
        """The network at multipliers whose resolution becomes whole pixels."""
        return FactoryMember(
            self.name, self.build, point.depth, point.width, self.pixels(point.resolution), self.classes
        )

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

    Counting takes long, so of the whole sizes near the ray the first that come near enough are taken. Raises
    ``BudgetError`` where there are none, ``ConstraintError`` where the constants do not change the cost.
    """
    asked = multipliers(constants, phi)
    if phi == 0:
        return factory.network(asked, asked)
    return factory.network(asked, match(_Scalable(factory, cost_model, phi < 0), constants, phi, cost_model, tolerance))


@dataclass(frozen=True)
class _Scalable:
    """A factory as it is matched: a depth is its multiplier, and a network the multipliers it is made with."""

    factory: Factory
    cost_model: CostModel
    shrinks: bool
    halvings: ClassVar[int] = 14
    finest: ClassVar[float] = 2e-3
    is_exhaustive: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.factory.name

    @property
    def resolution(self) -> int:
        return self.factory.resolution

    def depth(self, multiplier: float) -> float:
        return multiplier

    def depths(self, multiplier: float) -> Iterable[float]:
        return (multiplier * math.exp(step * _DEPTH_STEP) for step in range(-2, 3))

    def realised_depth(self, depth: float) -> float:
        return depth

    def pixels(self, multiplier: float) -> int:
        return self.factory.pixels(multiplier)

    def all_pixels(self, multiplier: float) -> Iterable[int]:
        pixels = self.pixels(multiplier)
        return range(max(1, pixels - 2), pixels + 3)

    def make(self, depth: float, width: float, pixels: int) -> Multipliers:
        return Multipliers(depth, width, pixels / self.resolution)

    def log_growth(self, network: Multipliers) -> float:
        try:
            return math.log(self.factory.network(network, network).growth(self.cost_model))
        except BudgetError:
            if not self.shrinks:
                raise
            return -math.inf
