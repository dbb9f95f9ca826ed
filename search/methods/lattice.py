"""An even lattice of shares."""

from __future__ import annotations

from phiscale.triangle import CostModel, ScalingConstants, constants_from_shares, lattice_from_step
from search.history import History
from search.methods._finite import next_of, point_name
from search.settings import SearchSettings
from search.trial import Plan


def points(settings: SearchSettings, cost_model: CostModel) -> list[tuple[str, ScalingConstants]]:
    """Name and constants of every point."""
    found = lattice_from_step(settings.step, cost_model)
    return [(point_name("lattice", shares.as_tuple()), constants_from_shares(shares, cost_model)) for shares in found]


def propose(history: History, count: int) -> list[Plan]:
    """The first points that the study does not hold."""
    return next_of(points(history.settings, history.cost_model), history, count)
