"""The paper's grid: steps of alpha, beta and gamma whose product is near the target (Tan & Le 2019, section 3.3)."""

from __future__ import annotations

from phiscale.triangle import CostModel, ScalingConstants, paper_grid
from search.history import History
from search.methods._finite import next_of, point_name
from search.settings import SearchSettings
from search.trial import Plan


def points(settings: SearchSettings, cost_model: CostModel) -> list[tuple[str, ScalingConstants]]:
    """Name and constants of every point."""
    found = paper_grid(settings.step, settings.tolerance, cost_model)
    return [(point_name("grid", constants.as_tuple()), constants) for constants in found]


def propose(history: History, count: int) -> list[Plan]:
    """The first points that the study does not hold."""
    return next_of(points(history.settings, history.cost_model), history, count)
