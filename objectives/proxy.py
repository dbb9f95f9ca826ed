"""The objective of a search: train the proxy network that constants stand for, and score it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, cast, get_args

from objectives.contract import CountedNetwork, Evaluation, Report
from objectives.factory import Factory, first_line, match_factory
from objectives.imageset import ImageSet
from objectives.settings import TrainSettings
from phiscale import _checks
from phiscale.constants import FLOPS, CostModel, ScalingConstants
from phiscale.errors import BudgetError, PhiscaleError, SettingsError, TrialError
from phiscale.matching import match_budget
from phiscale.network import ScaledNetwork, scale_network
from phiscale.rounding import ROUNDINGS, Rounding
from phiscale.scaling import multipliers
from phiscale.spec import NetworkSpec

if TYPE_CHECKING:
    from objectives.training import ProxyRun

Budget = Literal["matched", "nominal"]


class ProxyObjective:
    """Proxy training at ``target ** phi`` times the cost of a baseline.

    ``budget`` is ``matched`` (the constants are a direction; the counted cost is met, see ``match_budget``) or
    ``nominal`` (the constants to the power of phi, rounded; the counted cost is whatever it turns out to be).
    The baseline, a spec or a person's own factory, gets as many classes as the data has. Raises ``SettingsError``.
    """

    def __init__(
        self,
        base: NetworkSpec | Factory,
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
        self.base: NetworkSpec | Factory = dataclasses.replace(base, classes=len(data.classes))
        self.data, self.train, self.cost_model, self.budget, self.rounding = data, train, cost_model, budget, rounding
        self.phi = _checks.real("phi", phi, SettingsError)
        if isinstance(self.base, Factory):
            try:
                self.base.describe()
            except BudgetError as error:
                raise SettingsError(f"the baseline of --factory: {error}") from error

    @property
    def direction(self) -> str:
        """``maximize`` or ``minimize``, by the score of the settings."""
        return self.train.direction

    def describe(self) -> dict[str, object]:
        """JSON values; two objectives with equal ones give comparable scores."""
        base = self.base
        return {
            "objective": "proxy",
            **({"factory": base.describe()} if isinstance(base, Factory) else {"network": base.to_dict()}),
            "data": {"name": self.data.name, "fingerprint": self.data.fingerprint},
            "train": self.train.describe(),
            "phi": self.phi,
            "cost_model": dataclasses.asdict(self.cost_model),
            "budget": self.budget,
            "rounding": dataclasses.asdict(self.rounding),
        }

    def network(self, constants: ScalingConstants) -> ScaledNetwork | CountedNetwork:
        """The network that is trained for these constants. Raises ``BudgetError`` where none meets the budget."""
        return self.network_at(constants, self.phi, self.budget)

    def network_at(self, constants: ScalingConstants, phi: float, budget: Budget) -> ScaledNetwork | CountedNetwork:
        """The network of any size. Raises ``BudgetError`` where none meets the budget."""
        if isinstance(self.base, Factory):
            if budget == "matched":
                return match_factory(self.base, constants, phi=phi, cost_model=self.cost_model)
            asked = multipliers(constants, phi)
            return self.base.network(asked, asked)
        if budget == "nominal":
            return scale_network(self.base, multipliers(constants, phi), self.rounding)
        return match_budget(self.base, constants, phi=phi, cost_model=self.cost_model, rounding=self.rounding)

    def evaluate(self, constants: ScalingConstants, *, seed: int, report: Report) -> Evaluation:
        """Train once. Raises ``TrialError`` (see ``train_proxy``) and ``BudgetError``."""
        network = self.network(constants)
        run = self._train(network, seed, report)
        return Evaluation(
            score=run.score,
            seconds=run.seconds,
            device=run.device,
            peak_memory=run.peak_memory,
            network=network,
            curves=run.curves,
        )

    def _train(self, network: ScaledNetwork | CountedNetwork, seed: int, report: Report) -> ProxyRun:
        from objectives.training import train_proxy  # torch takes a second to import; tables of networks need none

        if isinstance(network, ScaledNetwork):
            return train_proxy(network.spec, self.data, self.train, seed=seed, report=report)
        member = cast("Factory", self.base).member(network.realised)
        try:
            return train_proxy(member, self.data, self.train, seed=seed, report=report)
        except PhiscaleError:
            raise
        except (RuntimeError, ValueError, TypeError) as error:
            raise TrialError("factory", f"{member.name} cannot be trained: {first_line(error)}") from error
