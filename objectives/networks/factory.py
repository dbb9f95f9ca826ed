"""A user's own networks as a baseline: sizes that can be built, matched to a cost by the count alone.

A factory is ``build(depth, width, resolution, classes) -> nn.Module`` with multipliers of depth and width, pixels and
outputs; the baseline is ``build(1.0, 1.0, resolution, classes)``. It rounds layers and channels in its own way, and
takes images of float, (n, 3, resolution, resolution), to logits, (n, classes). Sizes that it cannot build are replaced
by the nearest ones that it can. Nothing here loads torch before a network is built.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from objectives.contract import CountedNetwork
from objectives.networks.own_module import Build, FactoryMember, count_member
from phiscale import checks
from phiscale.errors import BudgetError, SettingsError
from phiscale.matching import MATCH_TOLERANCE, match
from phiscale.scaling import multipliers
from phiscale.triangle import CostModel, Multipliers, ScalingConstants

_ONE = Multipliers(1, 1, 1)
_DEPTH_STEP = 0.08
"""Natural-log step between the depths that are tried around the ray."""
_COMMON_MULTIPLES = 32, 16, 14, 8, 7, 4, 2, 1
"""Sides of usual networks are multiples of one of these."""
_LARGEST_STEP = 64
"""Pixels between two sides of a network, at most."""
_NEARBY = [*(step / 500 for step in range(1, 26)), *(step / 100 for step in range(6, 31))]
"""Natural logs of the factors by which a depth or a width may be moved to one that can be built."""


@dataclass(frozen=True)
class FactoryNetwork(CountedNetwork):
    """A counted network that can be trained here."""

    spec: FactoryMember = field(compare=False)
    """What training builds it from, in place of a spec."""


@dataclass(frozen=True, kw_only=True)
class Factory:
    """A user's function with the resolution of its baseline."""

    name: str
    """``package.module:attribute``, or ``library:model``."""
    build: Build
    """Makes the network of (depth multiplier, width multiplier, pixels, classes)."""
    resolution: int
    """Side of the baseline's images, in pixels."""
    resolution_multiple: int = 1
    """Pixels of which every side is a multiple, besides what the networks themselves need."""
    classes: int = 1000
    """Outputs of the classifier."""
    in_channels: ClassVar[int] = 3

    @classmethod
    def fit(cls, name: str, build: Build, most: int, multiple: int = 1) -> Factory:
        """The factory whose baseline has the largest usual side of at most ``most`` pixels that works, else the next
        larger one.

        Sides are multiples of ``multiple``.
        """
        stated = _stated_step(name, build)
        steps = {math.lcm(step, multiple) for step in (_COMMON_MULTIPLES if stated is None else (stated,))}
        sides = sorted(
            {max(step, most // step * step) for step in steps}, key=lambda side: (side > most, abs(most - side))
        )
        made = [cls(name=name, build=build, resolution=side, resolution_multiple=multiple) for side in sides]
        return next((factory for factory in made if _can_be_built(factory.baseline)), made[0])

    @cached_property
    def step(self) -> int:
        """Pixels between two sides that can be built: ``build.resolution_multiple``, else found by trying.

        It is a multiple of ``resolution_multiple``. Raises ``SettingsError`` for a multiple that is none, or does not
        divide the baseline's side.
        """
        stated, multiple = _stated_step(self.name, self.build), self.resolution_multiple
        unit = math.lcm(stated or 1, multiple)
        if self.resolution % unit:
            raise SettingsError(
                f"expected a --resolution that is a multiple of {unit} for {self.name}, got {self.resolution}"
            )
        if stated is not None:
            return unit
        steps = range(unit, max(unit, min(self.resolution, _LARGEST_STEP)) + 1, unit)
        return next((step for step in steps if _can_be_built(self.member(_ONE, self.resolution + step))), unit)

    def pixels(self, multiplier: float) -> int:
        """The side that can be built nearest to a multiplier."""
        smallest = (self.resolution - 1) % self.step + 1
        steps = round((self.resolution * multiplier - self.resolution) / self.step)
        return max(smallest, self.resolution + steps * self.step)

    def member(self, point: Multipliers, pixels: int | None = None) -> FactoryMember:
        """The network at multipliers, of ``pixels`` or of the nearest side that can be built."""
        side = self.pixels(point.resolution) if pixels is None else pixels
        return FactoryMember(self.name, self.build, point.depth, point.width, side, self.classes)

    @property
    def baseline(self) -> FactoryMember:
        """The network that is grown."""
        return self.member(_ONE, self.resolution)

    def describe(self) -> dict[str, Any]:
        """JSON values that differ between factories, also between baselines of the same name."""
        cost, fingerprint = count_member(self.baseline)
        plain = {"name": self.name, "resolution": self.resolution, "classes": self.classes}
        coarse = {"resolution_multiple": self.step} if self.step > 1 else {}
        return {**plain, **coarse, **dataclasses.asdict(cost), "fingerprint": fingerprint}

    def buildable(self, point: Multipliers) -> Multipliers:
        """The point, or if it cannot be built the one with the nearest depth and width that can."""
        if _can_be_built(self.member(point)):
            return point
        return dataclasses.replace(
            point, depth=_nearest(self, "depth", point.depth), width=_nearest(self, "width", point.width)
        )

    def network(self, asked: Multipliers, built: Multipliers) -> FactoryNetwork:
        """What a study records of the network at ``built``. Raises ``BudgetError`` where it cannot be built."""
        member = self.member(built)
        cost, fingerprint = count_member(member)
        realised = dataclasses.replace(built, resolution=member.resolution / self.resolution)
        base = count_member(self.baseline)[0]
        return FactoryNetwork(self.name, asked, realised, member.resolution, cost, base, fingerprint, member)


def _can_be_built(member: FactoryMember) -> bool:
    """Whether the network can be built, and takes an image."""
    try:
        count_member(member)
    except BudgetError:
        return False
    return True


def _stated_step(name: str, build: Build) -> int | None:
    """``build.resolution_multiple``; None where the function states none."""
    stated = getattr(build, "resolution_multiple", None)
    return None if stated is None else checks.whole(f"the resolution_multiple of {name}", stated, SettingsError)


@functools.lru_cache(maxsize=4096)
def _nearest(factory: Factory, axis: str, value: float) -> float:
    """The value of one axis nearest to ``value`` at which the baseline can be built; the value itself if none is."""

    def takes(tried: float) -> bool:
        return _can_be_built(factory.member(dataclasses.replace(_ONE, **{axis: tried})))

    nearby = (value * math.exp(sign * log) for log in (0.0, *_NEARBY) for sign in (1, -1))
    return next(filter(takes, nearby), value)


def nominal_factory(factory: Factory, constants: ScalingConstants, phi: float) -> FactoryNetwork:
    """The network at ``alpha**phi, beta**phi, gamma**phi``, or the nearest one. Raises ``BudgetError``."""
    asked = multipliers(constants, phi)
    return factory.network(asked, factory.buildable(asked))


def match_factory(
    factory: Factory,
    constants: ScalingConstants,
    *,
    phi: float,
    cost_model: CostModel,
    tolerance: float = MATCH_TOLERANCE,
) -> FactoryNetwork:
    """The network near the ray of ``constants`` that costs ``target ** phi`` times the baseline, within ``tolerance``.

    Counting takes long, so the first whole sizes near the ray that are close enough are taken. Raises
    ``BudgetError`` where there are none, ``ConstraintError`` where the constants do not change the cost.
    """
    asked = multipliers(constants, phi)
    if phi == 0:
        return factory.network(asked, asked)
    scalable = _Scalable(factory, cost_model, phi < 0)
    try:
        return factory.network(asked, match(scalable, constants, phi, cost_model, tolerance))
    except BudgetError as error:
        if not scalable.problems:
            raise
        raise BudgetError(f"{error}; {scalable.problems[0]}") from None


@dataclass(frozen=True)
class _Scalable:
    """A factory as it is matched: a depth is its multiplier, and a network the multipliers it is made with."""

    factory: Factory
    cost_model: CostModel
    shrinks: bool
    problems: list[str] = field(default_factory=list)
    """Why networks along the ray could not be built."""
    halvings: ClassVar[int] = 14
    finest: ClassVar[float] = 2e-3
    is_exhaustive: ClassVar[bool] = False
    is_coarse: ClassVar[bool] = True

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
        pixels, step = self.pixels(multiplier), self.factory.step
        return (side for side in range(pixels - 2 * step, pixels + 2 * step + 1, step) if side > 0)

    def make(self, depth: float, width: float, pixels: int) -> Multipliers:
        return self.factory.buildable(Multipliers(depth, width, pixels / self.resolution))

    def log_growth(self, network: Multipliers) -> float:
        try:
            return math.log(self.factory.network(network, network).growth(self.cost_model))
        except BudgetError as error:
            if self.shrinks:
                return -math.inf
            self.problems.append(str(error))
            return math.nan
