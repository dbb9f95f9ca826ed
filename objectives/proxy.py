"""The objective of a search: train the proxy network that constants stand for, and score it."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from objectives.contract import Evaluation, Report
from objectives.imageset import ImageSet
from objectives.settings import TrainSettings
from phiscale import _checks
from phiscale.constants import FLOPS, CostModel, ScalingConstants
from phiscale.errors import SettingsError
from phiscale.matching import match_budget
from phiscale.network import ScaledNetwork, scale_network
from phiscale.rounding import ROUNDINGS, Rounding
from phiscale.scaling import multipliers
from phiscale.spec import NetworkSpec

Budget = Literal["matched", "nominal"]


class ProxyObjective:
    """Proxy training at ``target ** phi`` times the cost of a baseline.

    ``budget`` is ``matched`` (the constants are a direction; the counted cost is met, see ``match_budget``) or
    ``nominal`` (the constants to the power of phi, rounded; the counted cost is whatever it turns out to be).
    The baseline gets as many classes as the data has. Raises ``SettingsError``.
    """

    def __init__(
        self,
        base: NetworkSpec,
        data: ImageSet,
        train: TrainSettings,
        *,
        phi: float = 2.0,
        cost_model: CostModel = FLOPS,
        budget: Budget = "matched",
        rounding: Rounding = ROUNDINGS["exact"],
    ) -> None:
        if budget not in get_args(Budget):
            raise SettingsError(f"expected a budget of {', '.join(get_args(Budget))}, got {budget!r}")
        if base.in_channels != 3:
            raise SettingsError(f"expected a baseline of 3 input channels, got {base.in_channels} in {base.name}")
        self.base = dataclasses.replace(base, classes=len(data.classes))
        self.data, self.train, self.cost_model, self.budget, self.rounding = data, train, cost_model, budget, rounding
        self.phi = _checks.real("phi", phi, SettingsError)

    @property
    def direction(self) -> str:
        """``maximize`` or ``minimize``, by the score of the settings."""
        return self.train.direction

    def describe(self) -> dict[str, object]:
        """JSON values; two objectives with equal ones give comparable scores."""
        return {
            "objective": "proxy",
            "network": self.base.to_dict(),
            "data": {"name": self.data.name, "fingerprint": self.data.fingerprint},
            "train": self.train.describe(),
            "phi": self.phi,
            "cost_model": dataclasses.asdict(self.cost_model),
            "budget": self.budget,
            "rounding": dataclasses.asdict(self.rounding),
        }

    def network(self, constants: ScalingConstants) -> ScaledNetwork:
        """The network that is trained for these constants. Raises ``BudgetError`` where none meets the budget."""
        if self.budget == "nominal":
            return scale_network(self.base, multipliers(constants, self.phi), self.rounding)
        return match_budget(self.base, constants, phi=self.phi, cost_model=self.cost_model, rounding=self.rounding)

    def evaluate(self, constants: ScalingConstants, *, seed: int, report: Report) -> Evaluation:
        """Train once. Raises ``TrialError`` (see ``train_proxy``) and ``BudgetError``."""
        from objectives.training import train_proxy  # torch takes a second to import; tables of networks need none

        network = self.network(constants)
        run = train_proxy(network.spec, self.data, self.train, seed=seed, report=report)
        return Evaluation(
            score=run.score,
            seconds=run.seconds,
            device=run.device,
            peak_memory=run.peak_memory,
            network=network,
            curves=run.curves,
        )
