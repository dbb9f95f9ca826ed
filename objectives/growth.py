"""How a baseline grows: from constants to the network of a size, by counted cost or by the formula.

Every objective whose networks phiscale knows takes them from here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from objectives.networks.factory import Factory, FactoryNetwork, match_factory, nominal_factory
from phiscale import checks
from phiscale.errors import BudgetError, SettingsError
from phiscale.matching import match_budget
from phiscale.network import ScaledNetwork, scale_network
from phiscale.rounding import ROUNDINGS, Rounding
from phiscale.scaling import multipliers
from phiscale.spec import NetworkSpec
from phiscale.triangle import FLOPS, CostModel, ScalingConstants

Budget = Literal["matched", "nominal"]
Baseline = NetworkSpec | Factory
"""What grows."""
TrainableNetwork = ScaledNetwork | FactoryNetwork
"""Networks that training builds from their ``spec``."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """A baseline and the cost to which it grows.

    ``budget`` is ``matched`` (the constants are a direction; the counted cost is met, see ``match_budget``) or
    ``nominal`` (the constants to the power of phi, rounded; the counted cost follows from it). Raises
    ``SettingsError``, also for a factory whose baseline cannot be built.
    """

    base: Baseline
    phi: float = 2.0
    """Networks cost ``target ** phi`` times the baseline."""
    cost_model: CostModel = FLOPS
    budget: Budget = "matched"
    rounding: Rounding = ROUNDINGS["exact"]
    """Of a spec; a factory rounds in its own way."""

    def __post_init__(self) -> None:
        if self.budget not in get_args(Budget):
            raise SettingsError(f"expected a budget of {', '.join(get_args(Budget))}, got {self.budget!r}")
        checks.real("phi", self.phi, SettingsError)
        if isinstance(self.base, Factory):
            try:
                self.base.describe()
            except BudgetError as error:
                raise SettingsError(f"the baseline of --factory: {error}") from error

    def describe(self) -> dict[str, object]:
        """JSON values; two that are equal give the same networks."""
        base = self.base
        return {
            **({"factory": base.describe()} if isinstance(base, Factory) else {"network": base.to_dict()}),
            "phi": float(self.phi),
            "cost_model": dataclasses.asdict(self.cost_model),
            "budget": self.budget,
            "rounding": dataclasses.asdict(self.rounding),
        }

    def network(self, constants: ScalingConstants) -> TrainableNetwork:
        """The network of these constants. Raises ``BudgetError`` where none meets the budget."""
        return self.network_at(constants, self.phi, self.budget)

    def network_at(self, constants: ScalingConstants, phi: float, budget: Budget) -> TrainableNetwork:
        """The network of any size. Raises ``BudgetError`` where none meets the budget."""
        if budget == "matched":
            return matched_network(self.base, constants, phi=phi, cost_model=self.cost_model, rounding=self.rounding)
        if isinstance(self.base, Factory):
            return nominal_factory(self.base, constants, phi)
        return scale_network(self.base, multipliers(constants, phi), self.rounding)


def matched_network(
    base: Baseline, constants: ScalingConstants, *, phi: float, cost_model: CostModel, rounding: Rounding
) -> TrainableNetwork:
    """The network of equal real cost, see ``match_budget``; a factory rounds in its own way. Raises as that does."""
    if isinstance(base, Factory):
        return match_factory(base, constants, phi=phi, cost_model=cost_model)
    return match_budget(base, constants, phi=phi, cost_model=cost_model, rounding=rounding)
