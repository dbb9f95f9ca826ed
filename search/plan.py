"""Points that a study measures whatever its method proposes: the published baselines, and the points of a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from objectives.contract import AnyNetwork
from phiscale.errors import BudgetError, ConstraintError
from phiscale.published import PUBLISHED_RULES
from phiscale.triangle import (
    CostModel,
    Multipliers,
    ScalingConstants,
    constants_from_shares,
    lattice_from_step,
    paper_grid,
    parameters_at,
    shares_of_direction,
)
from search.settings import SearchSettings


@dataclass(frozen=True)
class PlannedPoint:
    """One point that is enqueued before any sampling."""

    names: tuple[str, ...]
    """Every name that stands for this network, e.g. ``paper`` or ``grid:1.2/1.1/1.15``."""
    constants: ScalingConstants
    """The constants: on the surface, or for the paper's grid within its tolerance of it."""


def plan_points(
    settings: SearchSettings, cost_model: CostModel, network: Callable[[ScalingConstants], AnyNetwork | None]
) -> tuple[list[PlannedPoint], int]:
    """The planned points of a study, and how many named ones were the same network as another.

    ``network`` gives the network of constants; points it cannot reach stay in the plan and fail with their reason.
    """
    named = [(name, PUBLISHED_RULES[name].on(cost_model)) for name in settings.baseline_names]
    stated = [(name, constants) for name, constants in named if constants is not None]
    stated += [(f"{settings.method}:{place}", constants) for place, constants in _grid(settings, cost_model)]
    return _without_repeats(stated, network), len(stated)


def _grid(settings: SearchSettings, cost_model: CostModel) -> list[tuple[str, ScalingConstants]]:
    """The points of the method's grid by their place on it, which another step or tolerance does not change."""
    if settings.method == "grid":
        points = paper_grid(settings.step, settings.tolerance, cost_model)
        return [(_place(constants.as_tuple()), constants) for constants in points]
    if settings.method == "lattice":
        lattice = lattice_from_step(settings.step, cost_model)
        return [(_place(shares.as_tuple()), constants_from_shares(shares, cost_model)) for shares in lattice]
    return []


def _place(values: Iterable[float]) -> str:
    return "/".join(f"{value:.6g}" for value in values)


def _without_repeats(
    stated: Iterable[tuple[str, ScalingConstants]], network: Callable[[ScalingConstants], AnyNetwork | None]
) -> list[PlannedPoint]:
    by_key: dict[object, PlannedPoint] = {}
    for name, constants in stated:
        try:
            built = network(constants)
            key: object = constants if built is None else built.fingerprint
        except (BudgetError, ConstraintError):
            key = constants
        seen = by_key.get(key)
        by_key[key] = PlannedPoint((*seen.names, name) if seen else (name,), seen.constants if seen else constants)
    return list(by_key.values())


def point_parameters(point: PlannedPoint, cost_model: CostModel) -> dict[str, float]:
    """The unit parameters of the point's direction."""
    shares = shares_of_direction(Multipliers(*point.constants.as_tuple()), cost_model)
    return parameters_at(shares, cost_model)
