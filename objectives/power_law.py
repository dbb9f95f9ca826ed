"""An objective in closed form whose best constants move with training length by a known law, to test a search.

Run: phiscale search --study law --objective objectives.power_law:MOVING --horizon-images 320000

    log error = log first_error + steepness * |s - o|^2 - x * exponent - 2 * steepness * (x + kink * x') * d . (s - o)

with s the shares, o the optimum at the shortest rung, d its drift per doubling, x the doublings since the shortest
rung, and x' the doublings beyond the kink. Every network follows a power law until the kink, and the optimum at x
doublings is o + x d.
"""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass

from objectives.contract import Evaluation
from objectives.landscape import standard_normal
from phiscale import checks
from phiscale.errors import SettingsError
from phiscale.triangle import FLOPS, CostModel, Multipliers, ScalingConstants, Shares, shares_of_direction


@dataclass(frozen=True, kw_only=True)
class PowerLawObjective:
    """Accuracy at rungs, measured with noise; raises ``SettingsError`` for impossible settings."""

    optimum: Shares
    """Shares of the best constants at the shortest rung."""
    drift: tuple[float, float, float]
    """Change of the best shares per doubling of the length; the sum is 0."""
    rungs: tuple[int, ...] = (20_000, 40_000, 80_000, 160_000)
    """Images seen at each rung, shortest first."""
    first_error: float = 0.5
    """Error rate of the best constants at the shortest rung."""
    exponent: float = 0.11
    """Fall of the log error per doubling at the optimum."""
    steepness: float = 0.25
    """Rise of the log error over a squared distance of 1 between shares."""
    kink_at: float = math.inf
    """Images seen beyond which the networks leave their power laws."""
    kink: float = 0.0
    """Change of the drift beyond the kink, as a multiple of it: -2 reverses it."""
    noise: float = 0.0
    """Standard deviation of one score, drawn anew for each rung, pair of constants and seed."""
    cost_model: CostModel = FLOPS
    """Surface that shares and constants refer to."""

    direction = "maximize"

    def __post_init__(self) -> None:
        if not self.rungs or list(self.rungs) != sorted(set(self.rungs)) or self.rungs[0] < 1:
            raise SettingsError(f"expected rungs in rising order, above 0, got {self.rungs!r}")
        if abs(sum(self.drift)) > 1e-9:
            raise SettingsError(f"expected a drift whose parts sum to 0, got {self.drift!r}")
        for name in ("first_error", "steepness"):
            checks.positive(name, getattr(self, name), SettingsError)

    def describe(self) -> dict[str, object]:
        """JSON values; two with equal ones give comparable scores."""
        plain = dataclasses.asdict(self) | {"kink_at": None if math.isinf(self.kink_at) else self.kink_at}
        data = {"name": "power law", "epoch_images": self.rungs[0]}
        lists = {"rungs": list(self.rungs), "drift": list(self.drift)}
        return {"objective": "power law", "score": "accuracy", "data": data, **plain, **lists}

    def network(self, constants: ScalingConstants) -> None:
        """None: no network is trained."""

    def best_shares(self, images: float) -> tuple[float, float, float]:
        """Shares of the best constants at a length, before any kink; outside the triangle where a part is below 0."""
        doublings = math.log2(images / self.rungs[0])
        at = zip(self.optimum.as_tuple(), self.drift, strict=True)
        depth, width, resolution = (share + doublings * shift for share, shift in at)
        return depth, width, resolution

    def true_score(self, constants: ScalingConstants, images: float) -> float:
        """The accuracy at a length, without noise."""
        shares = shares_of_direction(Multipliers(*constants.as_tuple()), self.cost_model).as_tuple()
        away = [share - best for share, best in zip(shares, self.optimum.as_tuple(), strict=True)]
        x = math.log2(images / self.rungs[0])
        turned = x + self.kink * max(0.0, math.log2(images / self.kink_at)) if math.isfinite(self.kink_at) else x
        along = sum(a * shift for a, shift in zip(away, self.drift, strict=True))
        rise = self.steepness * (sum(a * a for a in away) - 2 * turned * along) - x * self.exponent
        return 1 - self.first_error * math.exp(rise)

    def evaluate(self, constants: ScalingConstants, *, seed: int) -> Evaluation:
        """The true scores and the noise of these constants and this seed at every rung."""
        started = time.perf_counter()
        scores = {
            images: self.true_score(constants, images) + self.noise * standard_normal(constants, seed, images)
            for images in self.rungs
        }
        seconds = time.perf_counter() - started
        return Evaluation(score=scores[self.rungs[-1]], seconds=seconds, device="none", rungs=scores)


MOVING = PowerLawObjective(optimum=Shares(0.2, 0.6, 0.2), drift=(0.0, -0.08, 0.08), noise=0.005)
"""From width towards resolution, as on photographs."""
KINKED = dataclasses.replace(MOVING, kink_at=40_000, kink=-4.0)
"""The drift reverses after the second rung."""
