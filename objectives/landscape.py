"""Objectives in closed form whose best constants are known, to test a search without training anything.

Run: phiscale search --study landscape --objective objectives.landscape:INTERIOR
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, get_args

from objectives.contract import Evaluation
from phiscale import checks
from phiscale.errors import SettingsError
from phiscale.triangle import (
    FLOPS,
    CostModel,
    Multipliers,
    ScalingConstants,
    Shares,
    constants_from_shares,
    shares_of_direction,
)

Shape = Literal["quadratic", "ridge", "peak"]


@dataclass(frozen=True, kw_only=True)
class LandscapeObjective:
    """A hill over the triangle of shares, measured with noise; raises ``SettingsError`` for impossible settings.

    The score is ``top - drop * height(shares)``, or its negative where the direction is ``minimize``; the height is 0
    at the optimum and grows with the distance from it.
    """

    optimum: Shares
    """Shares of the best constants."""
    top: float = 0.9
    """Score at the optimum, without noise."""
    drop: float = 0.5
    """How far the score falls over a squared distance of 1; the squared distance of two corners is 2."""
    shape: Shape = "quadratic"
    """``quadratic``; ``ridge``: flat along one direction and steep across it; ``peak``: steep near the optimum and
    flat far from it, which no quadratic fits."""
    noise: float = 0.0
    """Standard deviation of one measurement, drawn anew for each pair of constants and seed."""
    direction: Literal["maximize", "minimize"] = "maximize"
    """Whether the top is the largest or, with the sign turned, the smallest score."""
    cost_model: CostModel = FLOPS
    """Surface that shares and constants refer to."""

    def __post_init__(self) -> None:
        for name, choice in (("shape", Shape), ("direction", Literal["maximize", "minimize"])):
            if getattr(self, name) not in get_args(choice):
                raise SettingsError(f"expected {name} of {', '.join(get_args(choice))}, got {getattr(self, name)!r}")
        checks.positive("drop", self.drop, SettingsError)
        checks.real("top", self.top, SettingsError)
        if checks.real("noise", self.noise, SettingsError) < 0:
            raise SettingsError(f"expected noise to be 0 or more, got {self.noise!r}")

    @property
    def best_constants(self) -> ScalingConstants:
        """The constants at the optimum."""
        return constants_from_shares(self.optimum, self.cost_model)

    def describe(self) -> dict[str, object]:
        """JSON values; two landscapes with equal ones give comparable scores."""
        return {"objective": "landscape", **dataclasses.asdict(self)}

    def network(self, constants: ScalingConstants) -> None:
        """None: no network is trained."""

    def true_score(self, constants: ScalingConstants) -> float:
        """The score without noise."""
        shares = shares_of_direction(Multipliers(*constants.as_tuple()), self.cost_model)
        height = self.top - self.drop * self._height(shares)
        return height if self.direction == "maximize" else -height

    def evaluate(self, constants: ScalingConstants, *, seed: int) -> Evaluation:
        """The true score and the noise of these constants and this seed."""
        started = time.perf_counter()
        score = self.true_score(constants) + self.noise * standard_normal(constants, seed)
        return Evaluation(score=score, seconds=time.perf_counter() - started, device="none")

    def _height(self, shares: Shares) -> float:
        depth, width, resolution = (a - b for a, b in zip(shares.as_tuple(), self.optimum.as_tuple(), strict=True))
        distance = depth**2 + width**2 + resolution**2
        if self.shape == "ridge":
            return 0.1 * distance + 1.8 * (width - resolution) ** 2 / 2
        if self.shape == "peak":
            return 1 - math.exp(-4 * math.sqrt(distance + 0.01) + 0.4)
        return distance


def standard_normal(constants: ScalingConstants, *names: int) -> float:
    """A standard normal number that belongs to the constants and the names: a seed, a length."""
    digest = hashlib.sha256(repr((constants.as_tuple(), *names)).encode()).digest()
    return NormalDist().inv_cdf((int.from_bytes(digest[:6], "big") + 0.5) / 2**48)


INTERIOR = LandscapeObjective(optimum=Shares(0.3, 0.5, 0.2), noise=0.01)
"""An optimum inside the triangle."""
EDGE = LandscapeObjective(optimum=Shares(0.4, 0.6, 0.0), noise=0.01)
"""An optimum without growth in resolution."""
CORNER = LandscapeObjective(optimum=Shares(0.0, 1.0, 0.0), noise=0.01)
"""An optimum at width alone."""
