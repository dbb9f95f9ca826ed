"""Points that are uniform on the triangle."""

from __future__ import annotations

from phiscale.triangle import ScalingConstants, constants_at, parameter_names
from search.history import History
from search.trial import Plan

NEEDS = {"numpy": "numpy"}


def propose(history: History, count: int) -> list[Plan]:
    """One point for each position, from the seed and the position alone."""
    first = history.places
    return [Plan(constants=_point(history, place), place=place) for place in range(first, first + count)]


def _point(history: History, place: int) -> ScalingConstants:
    import numpy as np

    names = parameter_names(history.cost_model)
    values = np.random.default_rng([history.settings.seed, place]).random(len(names))
    return constants_at(dict(zip(names, map(float, values), strict=True)), history.cost_model)
