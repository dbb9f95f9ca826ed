"""What a search is about to do: data, length, networks with their cost, and how long it will take. Not a command."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeGuard

from objectives.growth import TrainableNetwork
from objectives.proxy import ProxyObjective
from phiscale.errors import BudgetError, ConstraintError, TrialError
from phiscale.family import align_columns, short_number
from phiscale.network import ScaledNetwork
from phiscale.published import PUBLISHED_RULES
from phiscale.record import Length
from phiscale.text import duration
from phiscale.triangle import CostModel
from scripts.shared.setup import fitting_resolution
from search.aim import aim_of, out_of_reach
from search.evaluation import described, network_at
from search.proposals import planned
from search.settings import SearchSettings
from search.trial import Plan

if TYPE_CHECKING:
    from objectives.contract import Objective

_SHAPES = ("depth", "width", "resolution", "equal")
"""Rules whose networks are the extremes of a study."""


def describe_data(objective: Objective) -> list[str]:
    """The images, warnings, the length of a training and its rungs; nothing for a user's own objective."""
    if not _is_proxy(objective):
        return []
    data, rungs = objective.data, objective.rungs
    length = Length(rungs[-1], data.epoch_images, data.name)
    seen = ", ".join(f"{images:,}" for images in rungs)
    length_line = f"each training: {length.describe()}, scored at {seen} images seen"
    return [*data.describe(), *_too_fine(objective), length_line]


def _too_fine(objective: ProxyObjective) -> list[str]:
    """A warning where the baseline, or its growth by equal shares, takes more pixels than the images have."""
    growth, source = objective.growth, objective.data.resolution
    base, model, phi = growth.base, growth.cost_model, growth.phi
    equal = PUBLISHED_RULES["equal"].on(model)
    grown = round(base.resolution * (equal.gamma**phi if equal else 1))
    fitting = fitting_resolution(base, model, phi, source)
    if max(base.resolution, grown) <= source or base.resolution <= fitting:
        return []
    size, how = (base.resolution, "") if base.resolution > source else (grown, " grown by equal shares")
    taken, given = (f"{side} x {side}" for side in (size, source))
    mismatch = f"{base.name}{how} takes {taken} pixels and the images have {given}"
    return [f"warning: {mismatch}: more pixels cost time and add no information; --resolution {fitting} fits"]


def describe_horizon(objective: Objective, settings: SearchSettings) -> list[str]:
    """The length for which constants are asked, where that is not the longest rung.

    Raises ``SettingsError`` for a horizon of which the rungs can say nothing, and for an objective with an unusable
    description.
    """
    plain = described(objective)
    aim = aim_of(settings, plain, objective.direction)
    if aim.horizon is None:
        return []
    epoch, name = (objective.data.epoch_images, objective.data.name) if _is_proxy(objective) else (None, None)
    lines = [f"horizon: {Length(aim.horizon, epoch, name).describe()}"]
    reason = out_of_reach(aim.horizon, plain["rungs"])
    return [*lines, f"constants will be given for the longest rung: {reason}"] if reason else lines


@dataclass(frozen=True)
class Forecast:
    """How long a study takes on this machine."""

    trainings: int
    quickest: float
    """Seconds of one training of the quickest network that was timed."""
    slowest: float
    workers: int

    def describe(self) -> str:
        """For people."""
        half = (self.quickest + self.slowest) / 2
        total = self.trainings * half / self.workers
        side_by_side = f", {self.workers} side by side" if self.workers > 1 else ""
        return (
            f"about {duration(total)} for {self.trainings} trainings of {duration(self.quickest)} to "
            f"{duration(self.slowest)} each{side_by_side}"
        )


def forecast(objective: Objective, settings: SearchSettings, cost_model: CostModel, workers: int) -> Forecast | None:
    """Time a few steps of the networks with the fewest and the most activations.

    None for a user's own objective, and if none of these networks can be trained; the trials will show why.
    """
    if not _is_proxy(objective):
        return None
    found = {n.fingerprint: n for n in _extremes(objective, cost_model)}
    networks = sorted(found.values(), key=lambda network: network.cost.activations)
    seconds = []
    for network in dict.fromkeys((*networks[:1], *networks[-1:])):
        with contextlib.suppress(TrialError):
            seconds.append(objective.estimate_seconds(network))
    if not seconds:
        return None
    return Forecast(_trials(objective, settings, cost_model) * settings.seeds, min(seconds), max(seconds), workers)


def network_table(objective: Objective, settings: SearchSettings, cost_model: CostModel) -> str:
    """The networks of the planned points with their counted cost, or of the single axes if nothing is planned."""
    points = planned(settings, cost_model, partial(network_at, objective)).plans
    rows = [["", "alpha", "beta", "gamma", "blocks", "pixels", "MACs", "parameters", "growth"]]
    for point in points or _axes(cost_model):
        constants = [f"{value:.3f}" for value in point.constants.as_tuple()]
        rows.append([" = ".join(point.names), *constants, *_network_cells(objective, point, cost_model)])
    return align_columns(rows)


def _network_cells(objective: Objective, point: Plan, cost_model: CostModel) -> list[str]:
    try:
        network = network_at(objective, point.constants)
    except (BudgetError, ConstraintError, TrialError) as error:
        return ["", "", "", "", f"none: {error}"]
    if network is None:
        return [""] * 5
    blocks = str(network.spec.total_repeats) if isinstance(network, ScaledNetwork) else ""
    cost = [short_number(network.cost.macs), short_number(network.cost.params)]
    return [blocks, str(network.resolution), *cost, f"{network.growth(cost_model):.3f}"]


def _trials(objective: Objective, settings: SearchSettings, cost_model: CostModel) -> int:
    points = len(planned(settings, cost_model, partial(network_at, objective)).plans) if settings.is_grid else 0
    return settings.total(points)


def _axes(cost_model: CostModel) -> list[Plan]:
    named = ((name, PUBLISHED_RULES[name].on(cost_model)) for name in _SHAPES)
    return [Plan(constants=constants, names=(name,)) for name, constants in named if constants is not None]


def _extremes(objective: ProxyObjective, cost_model: CostModel) -> list[TrainableNetwork]:
    found: list[TrainableNetwork] = []
    for point in _axes(cost_model):
        try:
            found.append(objective.network(point.constants))
        except (BudgetError, ConstraintError):
            continue
    return found


def _is_proxy(objective: Objective) -> TypeGuard[ProxyObjective]:
    return isinstance(objective, ProxyObjective)
